//! A load generator: one thread and one epoll drive all connections, so that what is measured is the
//! server. `bench echo` measures time, `bench idle` memory, `bench attack` memory under two attacks; `bench fanout` and
//! `bench publish` the realtime server's channels.
#![forbid(unsafe_code)]

mod attack;
mod channel;
mod echo;
mod fanout;
mod idle;
mod process;
mod publish;
mod socket;
mod wire;

use clap::{Args, Subcommand};
use process::Server;
use serde::Serialize;
use socket::Target;
use std::error::Error;
use std::fmt::Display;

/// `sockeye bench`: the arguments of the subcommand.
#[derive(Args)]
pub struct Bench {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Messages through an echo: server CPU per message, rate, round trips
    Echo(echo::Options),
    /// Connections that do nothing: private memory of the server for each
    Idle(idle::Options),
    /// One publisher, many subscribers: server CPU per delivery
    Fanout(fanout::Options),
    /// Acknowledged publications: how long the answer takes
    Publish(publish::Options),
    /// What a hostile peer can make the server hold
    #[command(hide = true)]
    #[command(subcommand)]
    Attack(attack::Attack),
}

/// What every mode needs to know.
#[derive(Args, Clone)]
pub(crate) struct Common {
    /// `ws://HOST:PORT/PATH`, `http://…` or `HOST:PORT`; the host is an IPv4 address
    pub(crate) target: Target,
    /// Process whose CPU time and memory are read from /proc
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// Any failure of a measurement; it ends the program.
pub type Failure = Box<dyn Error>;

/// Measures, and prints what was found.
///
/// # Errors
///
/// When the server cannot be reached, or answers late or wrong.
pub fn run(bench: &Bench) -> Result<(), Failure> {
    match &bench.mode {
        Mode::Echo(options) => print(options.common.json, &echo::run(options)?),
        Mode::Idle(options) => print(options.common.json, &idle::run(options)?),
        Mode::Fanout(options) => print(options.common.json, &fanout::run(options)?),
        Mode::Publish(options) => print(options.common.json, &publish::run(options)?),
        Mode::Attack(attack) => match attack {
            attack::Attack::Header(options) => print(options.common.json, &attack::header(options)?),
            attack::Attack::Pings(options) => print(options.common.json, &attack::pings(options)?),
        },
    }
}

fn print(json: bool, report: &(impl Serialize + Display)) -> Result<(), Failure> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}

impl Common {
    /// The process under test, for modes that are pointless without it.
    ///
    /// # Errors
    ///
    /// When no `--pid` was given.
    pub(crate) fn server(&self) -> Result<Server, Failure> {
        Ok(Server::new(self.pid.ok_or("this mode reads the server's memory: give --pid")?))
    }
}
