//! `sockeye bench`: load for WebSocket servers, and what it cost them.
//!
//! One thread and one epoll drive all connections, frames are built before the clock starts, and every byte that comes
//! back is compared with what must come. What is measured is the server, not this.
//!
//! ```text
//! echo, publish, idle ─▶ exchange ┐
//! fanout ─▶ publication           ├─▶ link ─▶ transport (TCP, TLS)
//! storm                           ┘     └──▶ frames ─▶ verify, publication
//! all of them ─▶ open (connections, many at once), poll (epoll, a timer, Ctrl-C), pace, report, process (/proc)
//! ```
#![forbid(unsafe_code)]

mod attack;
mod channel;
mod deflate;
mod descriptors;
mod echo;
mod exchange;
mod fanout;
mod frames;
mod idle;
mod link;
mod open;
mod options;
mod pace;
mod poll;
mod process;
mod progress;
mod publication;
mod publish;
mod report;
mod storm;
mod target;
pub mod tls;
mod transport;
mod verify;
mod wire;

use clap::{Args, Subcommand};
use serde::Serialize;
use std::error::Error;
use std::fmt::Display;
use std::io::{Write, stdout};
use std::process::ExitCode;

/// Any failure of a measurement; it ends the program.
pub type Failure = Box<dyn Error>;

/// As shells have it for SIGINT.
const INTERRUPTED: u8 = 130;

/// Put load on a WebSocket server and say what it took
#[derive(Args)]
#[command(after_long_help = MORE)]
pub struct Bench {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Messages through an echo: rate, round trips, server CPU for each
    Echo(echo::Options),
    /// One publisher, many subscribers: time to each and to the last, server CPU for each delivery
    Fanout(fanout::Options),
    /// Connections that do nothing: memory of the server for each
    Idle(idle::Options),
    /// Opening handshakes, as fast as they go: time to open, server CPU for each
    Storm(storm::Options),
    /// Acknowledged publications: time to the answer, server CPU for each
    Publish(publish::Options),
    /// What a hostile peer can make the server hold
    #[command(subcommand, hide = true)]
    Attack(attack::Attack),
}

const MORE: &str = "\
Examples:
  sockeye bench echo ws://127.0.0.1:7071/echo --in-flight 16
  sockeye bench echo ws://127.0.0.1:7071/echo --rate 20000 --seconds 10 --pid $(pidof sockeye)
  sockeye bench echo wss://localhost:7071/echo --ca cert.pem --deflate --payload 4096
  sockeye bench fanout ws://127.0.0.1:7071/ws --subscribers 5000 --rate 20
  sockeye bench storm ws://127.0.0.1:7071/echo --connections 20000 --close --json

Exit status:
  0    everything that was sent was answered, and every byte verified
  1    something was missing, late or wrong: standard error says what
  2    the command line is wrong
  130  Ctrl-C: what was measured until then is printed, and was verified";

/// Measures, prints what was found, and says how it went.
#[must_use]
pub fn run(bench: &Bench) -> ExitCode {
    let printed = match &bench.mode {
        Mode::Echo(options) => echo::run(options).and_then(|report| print(options.common.json, &report)),
        Mode::Fanout(options) => fanout::run(options).and_then(|report| print(options.common.json, &report)),
        Mode::Idle(options) => idle::run(options).and_then(|report| print(options.common.json, &report)),
        Mode::Storm(options) => storm::run(options).and_then(|report| print(options.common.json, &report)),
        Mode::Publish(options) => publish::run(options).and_then(|report| print(options.common.json, &report)),
        Mode::Attack(attack::Attack::Header(options)) => {
            attack::header(options).and_then(|report| print(options.common.json, &report))
        }
        Mode::Attack(attack::Attack::Pings(options)) => {
            attack::pings(options).and_then(|report| print(options.common.json, &report))
        }
    };
    match printed {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            let error = error.to_string();
            eprintln!("sockeye bench: {error}{}", hint(&error));
            ExitCode::FAILURE
        }
    }
}

/// What can be done about a failure, where it is the server's limits and not the server.
fn hint(error: &str) -> &'static str {
    if error.contains("\"rate_limited\"") {
        "\n(Sockeye's limits: session_rate and channel_rate of the namespace, commands_per_second and commands_burst of \
         [session]; docs/bench.md has a configuration without them)"
    } else {
        ""
    }
}

/// A report can say whether its measurement was cut short.
trait Report: Serialize + Display {
    fn head(&self) -> &report::Head;
}

/// Prints the report, and says whether it was cut short.
fn print(json: bool, report: &impl Report) -> Result<bool, Failure> {
    let interrupted = report.head().interrupted;
    if json {
        writeln!(stdout(), "{}", serde_json::to_string(report)?)?;
    } else {
        let note = if interrupted { "\ninterrupted: measured until then" } else { "" };
        writeln!(stdout(), "{report}{note}")?;
    }
    Ok(interrupted)
}
