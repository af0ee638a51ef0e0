//! Connections that do nothing, and what each costs the server in memory.

use crate::exchange::Exchange;
use crate::link::{Burst, Link};
use crate::open::Opener;
use crate::options::{self, Common};
use crate::poll::Poll;
use crate::process::{Memory, Server};
use crate::report::{Head, Lines, grouped};
use crate::verify::{Expected, Reply};
use crate::{Failure, channel, wire};
use serde::Serialize;
use sockeye_proto::frame::OpCode;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Connections, driven by one thread
    #[arg(long, value_name = "N", default_value = "10000", value_parser = options::some)]
    connections: usize,
    /// Bytes in the message that each connection echoes once
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    payload: usize,
    /// Sessions subscribed to this channel, which echo nothing
    #[arg(long, value_name = "NAME", conflicts_with = "raw")]
    channel: Option<String>,
    /// Keep the connections for so long before they are closed
    #[arg(long, value_name = "SECONDS", value_parser = options::seconds)]
    hold: Option<Duration>,
    /// No handshake: what a plain TCP echo holds
    #[arg(long)]
    raw: bool,
}

/// Memory of the server in bytes, above the empty server before the first connection; null without --pid.
#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    head: Head,
    connections: usize,
    channel: Option<String>,
    raw: bool,
    /// To open all.
    seconds: f64,
    empty: Option<Memory>,
    after_handshake: Option<Memory>,
    after_echo: Option<Memory>,
    after_close: Option<Memory>,
    after_handshake_each: Option<Memory>,
    after_echo_each: Option<Memory>,
}

/// # Errors
///
/// When a connection fails or a reply is not what was sent.
pub(crate) fn run(options: &Options) -> Result<Report, Failure> {
    let common = &options.common;
    let opener = match &options.channel {
        _ if options.raw => Opener::raw(common)?,
        Some(channel) => Opener::new(common, channel::request(common)?)?.hello(channel::subscribe(channel)),
        None => Opener::new(common, common.target.request())?,
    };
    let mut load = Load { exchange: Exchange::new(Poll::new()?, common.patience), server: common.pid.map(Server::new) };
    let empty = load.memory()?;
    let started = Instant::now();
    let links = opener.open_all(&mut load.exchange.poll, 0..options.connections)?;
    let seconds = started.elapsed().as_secs_f64();
    let frame = wire::client_frame(OpCode::Binary, &wire::payload(options.payload));
    let payload = if options.raw { frame.clone() } else { wire::payload(options.payload) };
    let expected = Rc::new(Expected::new(OpCode::Binary, payload));
    let burst = load.exchange.burst(Burst::new(&frame, 1));
    for link in links {
        let expected = Rc::clone(&expected);
        let reply = if options.raw { Reply::Raw { expected, at: 0 } } else { Reply::Message(expected) };
        load.exchange.add(Link::new(link), burst, reply);
    }
    let above = |memory: Option<Memory>| memory.zip(empty).map(|(memory, empty)| memory - empty);
    let each = |memory: Option<Memory>| memory.map(|memory| memory.per(options.connections));
    let after_handshake = above(load.memory()?);
    if options.channel.is_none() {
        load.exchange.once()?;
    }
    let after_echo = above(load.memory()?);
    if let Some(hold) = options.hold {
        load.exchange.rest(hold)?;
    }
    load.exchange.close();
    let after_close = above(load.memory()?);
    Ok(Report {
        head: Head::new("idle", common, load.exchange.poll.is_interrupted()),
        connections: options.connections,
        channel: options.channel.clone(),
        raw: options.raw,
        seconds,
        empty,
        after_handshake,
        after_echo,
        after_close,
        after_handshake_each: each(after_handshake),
        after_echo_each: each(after_echo),
    })
}

struct Load {
    exchange: Exchange,
    server: Option<Server>,
}

impl Load {
    /// The server's memory when it has come to rest; the connections are kept meanwhile.
    fn memory(&mut self) -> Result<Option<Memory>, Failure> {
        let Self { exchange, server } = self;
        server.map(|server| server.settled_memory(|pause| exchange.rest(pause))).transpose()
    }
}

impl crate::Report for Report {
    fn head(&self) -> &Head {
        &self.head
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (&self.channel, self.raw) {
            (Some(channel), _) => format!(", subscribed to {channel}"),
            (None, true) => " of raw TCP".to_owned(),
            (None, false) => String::new(),
        };
        let mut lines = Lines::default();
        let connections = grouped(self.connections as u64);
        lines.add("idle", format!("{connections} connections{what}, opened in {:.2} s", self.seconds));
        let memory = [
            ("empty server", self.empty),
            ("each after its handshake", self.after_handshake_each),
            ("each after one message", self.after_echo_each.filter(|_| self.channel.is_none())),
            ("kept when all are closed", self.after_close),
        ];
        for (name, memory) in memory {
            if let Some(memory) = memory {
                lines.add(name, memory);
            }
        }
        f.write_str(&lines.finish())
    }
}
