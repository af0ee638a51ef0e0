//! Two ways to make a server hold memory, and how much it then holds.

use crate::process::Memory;
use crate::{Common, Failure, socket, wire};
use serde::Serialize;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// So long without the kernel taking a byte, and the server is taken to read no more.
const STUCK: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(5);

#[derive(clap::Subcommand)]
pub(crate) enum Attack {
    /// Frame headers that announce much, with nothing behind them
    Header(HeaderOptions),
    /// Pings from a peer that never reads
    Pings(PingOptions),
}

#[derive(clap::Args)]
pub(crate) struct HeaderOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// Length in the header; the server's limits must allow it, or it just closes
    #[arg(long, default_value_t = 16 * 1024 * 1024)]
    announce: u64,
}

#[derive(clap::Args)]
pub(crate) struct PingOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    #[arg(long, default_value_t = 100_000)]
    pings: usize,
    /// Bytes in each ping
    #[arg(long, default_value_t = 125, value_parser = clap::value_parser!(u8).range(..=125))]
    payload: u8,
}

/// Memory of the server in bytes.
#[derive(Serialize)]
pub(crate) struct HeaderReport {
    connections: usize,
    announced: u64,
    header_bytes: usize,
    /// For each connection before the header, above the empty server.
    idle_each: Memory,
    /// For each connection, what the header added.
    header_each: Memory,
    /// Connections that the server answered or closed: it refused the header.
    refused: usize,
}

/// Memory of the server in bytes, above what it had with this one connection before the first ping.
#[derive(Serialize)]
pub(crate) struct PingReport {
    pings: usize,
    /// Pings that the kernel took; fewer when the server stopped reading.
    sent: usize,
    /// Whether the server ended the connection, instead of bearing it.
    closed: bool,
    peak: Memory,
    settled: Memory,
}

/// # Errors
///
/// When a connection fails.
pub(crate) fn header(options: &HeaderOptions) -> Result<HeaderReport, Failure> {
    let server = options.common.server()?;
    let empty = server.settled_memory()?;
    let mut streams = (0..options.connections)
        .map(|index| socket::open_websocket(&options.common.target, socket::source(index)))
        .collect::<Result<Vec<_>, _>>()?;
    let idle = server.settled_memory()?;
    let header = wire::client_header(wire::BINARY, options.announce);
    for stream in &mut streams {
        stream.write_all(&header)?;
    }
    let held = server.settled_memory()?;
    Ok(HeaderReport {
        connections: options.connections,
        announced: options.announce,
        header_bytes: header.len(),
        idle_each: (idle - empty).per(options.connections),
        header_each: (held - idle).per(options.connections),
        refused: streams.iter().filter(|stream| !is_silent(stream)).count(),
    })
}

/// # Errors
///
/// When the connection fails.
pub(crate) fn pings(options: &PingOptions) -> Result<PingReport, Failure> {
    /// Pings in one write.
    const BATCH: usize = 1_000;
    let server = options.common.server()?;
    let mut stream = socket::open_websocket(&options.common.target, socket::source(0))?;
    let before = server.settled_memory()?;
    stream.set_nonblocking(true)?;
    let ping = wire::client_frame(wire::PING, &vec![b'p'; options.payload.into()]);
    let mut peak = before;
    let (mut sent, mut closed) = (0, false);
    while sent < options.pings {
        let batch = BATCH.min(options.pings - sent);
        let (written, error) = write_until_stuck(&mut stream, &ping.repeat(batch));
        sent += written / ping.len();
        let now = server.memory()?;
        peak.private = peak.private.max(now.private);
        peak.anonymous = peak.anonymous.max(now.anonymous);
        closed = error.is_some();
        if written < batch * ping.len() {
            break;
        }
    }
    let settled = server.settled_memory()? - before;
    Ok(PingReport { pings: options.pings, sent, closed, peak: peak - before, settled })
}

/// Writes all, or until nothing goes any more; returns the bytes written, and what ended the connection.
fn write_until_stuck(stream: &mut TcpStream, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    let mut progress = Instant::now();
    while written < bytes.len() && progress.elapsed() < STUCK {
        match stream.write(bytes.get(written..).unwrap_or_default()) {
            Ok(count) => {
                written += count;
                progress = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Whether the server neither said anything nor closed.
fn is_silent(mut stream: &TcpStream) -> bool {
    let nonblocking = stream.set_nonblocking(true);
    let read = stream.read(&mut [0; 16]);
    nonblocking.is_ok() && read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

impl fmt::Display for HeaderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, announced, header_bytes, .. } = self;
        writeln!(f, "{connections} connections, {header_bytes} bytes announce {announced} on each")?;
        writeln!(f, "  idle, each:           {}", self.idle_each)?;
        writeln!(f, "  for the header, each: {}", self.header_each)?;
        write!(f, "  refused: {}", self.refused)
    }
}

impl fmt::Display for PingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.closed { "; the server closed the connection" } else { "" };
        writeln!(f, "{} of {} pings sent, nothing read{end}", self.sent, self.pings)?;
        writeln!(f, "  peak:    {}", self.peak)?;
        write!(f, "  settled: {}", self.settled)
    }
}
