//! Two ways to make a server hold memory, and how much it then holds.

use crate::open::Opener;
use crate::options::{self, Common};
use crate::poll::Poll;
use crate::process::{Memory, Server};
use crate::report::Head;
use crate::transport::Transport;
use crate::{Failure, wire};
use serde::Serialize;
use sockeye_proto::frame::OpCode;
use std::fmt;
use std::io::{self, ErrorKind};
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
    #[arg(long, default_value = "1000", value_parser = options::some)]
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
    #[serde(flatten)]
    head: Head,
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
    #[serde(flatten)]
    head: Head,
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
    let common = &options.common;
    let server = server(common)?;
    let empty = settled(server)?;
    let mut poll = Poll::new()?;
    let opened = Opener::new(common, common.target.request())?.open_all(&mut poll, 0..options.connections)?;
    let mut transports: Vec<_> = opened.into_iter().map(|opened| opened.transport).collect();
    let idle = settled(server)?;
    let header = wire::client_header(OpCode::Binary, options.announce);
    for transport in &mut transports {
        // A server that is gone has refused it.
        let _ = transport.write(&header);
    }
    let held = settled(server)?;
    Ok(HeaderReport {
        head: Head::new("attack header", common, false),
        connections: options.connections,
        announced: options.announce,
        header_bytes: header.len(),
        idle_each: (idle - empty).per(options.connections),
        header_each: (held - idle).per(options.connections),
        refused: transports.iter_mut().map(is_silent).filter(|silent| !silent).count(),
    })
}

/// # Errors
///
/// When the connection fails.
pub(crate) fn pings(options: &PingOptions) -> Result<PingReport, Failure> {
    /// Pings in one write.
    const BATCH: usize = 1_000;
    let common = &options.common;
    let server = server(common)?;
    let mut poll = Poll::new()?;
    let opened = Opener::new(common, common.target.request())?.open_all(&mut poll, 0..1)?.pop();
    let mut transport = opened.ok_or("no connection")?.transport;
    let before = settled(server)?;
    let ping = wire::client_frame(OpCode::Ping, &vec![b'p'; options.payload.into()]);
    let mut peak = before;
    let (mut sent, mut closed) = (0, false);
    while sent < options.pings {
        let batch = BATCH.min(options.pings - sent);
        let (written, error) = write_until_stuck(&mut transport, &ping.repeat(batch));
        sent += written / ping.len();
        let now = server.memory()?;
        peak.private = peak.private.max(now.private);
        peak.anonymous = peak.anonymous.max(now.anonymous);
        closed = error.is_some();
        if written < batch * ping.len() {
            break;
        }
    }
    let settled = settled(server)? - before;
    let head = Head::new("attack pings", common, false);
    Ok(PingReport { head, pings: options.pings, sent, closed, peak: peak - before, settled })
}

/// Writes all, or until nothing goes any more; returns the bytes written, and what ended the connection.
fn write_until_stuck(transport: &mut Transport, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    let mut progress = Instant::now();
    while written < bytes.len() && progress.elapsed() < STUCK {
        match transport.write(bytes.get(written..).unwrap_or_default()) {
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
fn is_silent(transport: &mut Transport) -> bool {
    transport.read(&mut [0; 16]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn server(common: &Common) -> Result<Server, Failure> {
    Ok(Server::new(common.pid.ok_or("this mode reads the server's memory: give --pid")?))
}

fn settled(server: Server) -> Result<Memory, Failure> {
    server.settled_memory(|pause| {
        thread::sleep(pause);
        Ok(())
    })
}

impl crate::Report for HeaderReport {
    fn head(&self) -> &Head {
        &self.head
    }
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

impl crate::Report for PingReport {
    fn head(&self) -> &Head {
        &self.head
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
