//! Connections that do nothing, and what each costs the server in memory.

use crate::process::Memory;
use crate::wire::{self, Wire};
use crate::{Common, Failure, channel, socket};
use serde::Serialize;
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    /// No handshake: what a plain TCP echo holds
    #[arg(long)]
    raw: bool,
    /// Sessions subscribed to this channel in place of echoes
    #[arg(long, conflicts_with = "raw")]
    channel: Option<String>,
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Bytes in the message that each connection echoes once
    #[arg(long, default_value_t = 128)]
    payload: usize,
}

/// Memory of the server in bytes, above the empty server before the first connection.
#[derive(Serialize)]
pub(crate) struct Report {
    connections: usize,
    empty: Memory,
    after_handshake: Memory,
    after_echo: Memory,
    after_close: Memory,
    after_handshake_each: Memory,
    after_echo_each: Memory,
}

/// # Errors
///
/// When a connection fails or a reply is not what was sent.
pub(crate) fn run(options: &Options) -> Result<Report, Failure> {
    let server = options.common.server()?;
    let wire = if options.raw { Wire::raw(options.payload) } else { Wire::websocket(wire::BINARY, options.payload) };
    let open = if options.raw { socket::open } else { socket::open_websocket };
    let empty = server.settled_memory()?;
    let target = &options.common.target;
    let mut streams = (0..options.connections)
        .map(|index| match &options.channel {
            Some(channel) => channel::subscriber(target, index, channel),
            None => open(target, socket::source(index)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let after_handshake = server.settled_memory()? - empty;
    if options.channel.is_none() {
        for stream in &mut streams {
            echo(stream, &wire)?;
        }
    }
    let after_echo = server.settled_memory()? - empty;
    drop(streams);
    let after_close = server.settled_memory()? - empty;
    Ok(Report {
        connections: options.connections,
        empty,
        after_handshake,
        after_echo,
        after_close,
        after_handshake_each: after_handshake.per(options.connections),
        after_echo_each: after_echo.per(options.connections),
    })
}

fn echo(stream: &mut TcpStream, wire: &Wire) -> Result<(), Failure> {
    stream.write_all(&wire.request)?;
    let mut reply = vec![0; wire.reply.len()];
    stream.read_exact(&mut reply)?;
    if reply == wire.reply { Ok(()) } else { Err("wrong reply".into()) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "empty server: {}", self.empty)?;
        writeln!(f, "{} connections, each:", self.connections)?;
        writeln!(f, "  after the handshake: {}", self.after_handshake_each)?;
        writeln!(f, "  after one echo:      {}", self.after_echo_each)?;
        write!(f, "kept after all closed, in all: {}", self.after_close)
    }
}
