//! Messages through an echo server. Closed loop in bursts: each connection sends as many messages as
//! may be in flight with one write, and sends the next burst when the last reply of this one is there.
//! So every server is asked for the same work in the same portions.

use crate::process::Server;
use crate::wire::{self, Wire};
use crate::{Common, Failure, socket};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use serde::Serialize;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A reply that takes longer than this ends the measurement with an error.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
const READ_BUFFER: usize = 256 * 1024;
/// Round trips are recorded from 1 us to a minute, to three digits.
pub(crate) const LONGEST_NS: u64 = 60_000_000_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    /// No handshake and no frames: the same number of bytes to a plain TCP echo
    #[arg(long)]
    raw: bool,
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Bytes in each message
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// Messages that each connection has on the way at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
    /// How long to measure
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Stop after so many messages, if that comes first
    #[arg(long, default_value_t = u64::MAX)]
    messages: u64,
    /// How long to run before measuring
    #[arg(long, default_value_t = 0.2)]
    warm_up: f64,
    /// Send text messages instead of binary ones
    #[arg(long)]
    text: bool,
}

#[derive(Serialize)]
pub(crate) struct Report {
    connections: usize,
    payload: usize,
    in_flight: u16,
    raw: bool,
    bytes_out: usize,
    bytes_in: usize,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    cpu_ns_per_message: Option<f64>,
    /// Share of one core that the server used.
    busy: Option<f64>,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

/// # Errors
///
/// When a connection fails, a reply is late or a reply is not what was sent.
pub(crate) fn run(options: &Options) -> Result<Report, Failure> {
    let mut load = Load::open(options)?;
    load.drive(Duration::from_secs_f64(options.warm_up), u64::MAX)?;
    let server = options.common.pid.map(Server::new);
    let cpu_before = server.map(Server::cpu_ns).transpose()?;
    load.round_trips_ns.reset();
    let started = Instant::now();
    load.drive(Duration::from_secs_f64(options.seconds), options.messages)?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_after = server.map(Server::cpu_ns).transpose()?;
    let cpu_ns = cpu_after.zip(cpu_before).map(|(after, before)| float(after.saturating_sub(before)));
    let messages = load.round_trips_ns.len();
    let us = |ns: u64| float(ns) / 1e3;
    Ok(Report {
        connections: options.connections,
        payload: options.payload,
        in_flight: options.in_flight,
        raw: options.raw,
        bytes_out: load.wire.request.len(),
        bytes_in: load.wire.reply.len(),
        seconds,
        messages,
        messages_per_second: float(messages) / seconds,
        cpu_ns_per_message: cpu_ns.map(|ns| ns / float(messages)),
        busy: cpu_ns.map(|ns| ns / (seconds * 1e9)),
        p50_us: us(load.round_trips_ns.value_at_quantile(0.5)),
        p99_us: us(load.round_trips_ns.value_at_quantile(0.99)),
        max_us: us(load.round_trips_ns.max()),
    })
}

struct Load {
    poll: OwnedFd,
    connections: Vec<Connection>,
    wire: Wire,
    /// The requests of one burst, one after the other.
    burst: Vec<u8>,
    in_flight: u16,
    round_trips_ns: Histogram<u64>,
}

struct Connection {
    stream: TcpStream,
    /// Bytes of the burst that have left.
    sent: usize,
    /// When the burst began to leave.
    since: Instant,
    /// Replies of the burst that are complete.
    replies: u16,
    /// Bytes of the next reply that are here.
    received: usize,
    between: Between,
}

/// A ping of the server's keepalive may stand between replies. It is passed over, not answered: no
/// measurement takes long enough for its deadline.
enum Between {
    Replies,
    PingLength,
    PingBody(usize),
}

impl Load {
    fn open(options: &Options) -> Result<Self, Failure> {
        let opcode = if options.text { wire::TEXT } else { wire::BINARY };
        let wire = if options.raw { Wire::raw(options.payload) } else { Wire::websocket(opcode, options.payload) };
        let burst = wire.request.repeat(options.in_flight.into());
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(options.connections);
        let open = if options.raw { socket::open } else { socket::open_websocket };
        for index in 0..options.connections {
            let stream = open(&options.common.target, socket::source(index))?;
            stream.set_nonblocking(true)?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&poll, &stream, EventData::new_u64(index as u64), flags)?;
            connections.push(Connection::new(stream));
        }
        let round_trips_ns = Histogram::new_with_bounds(1_000, LONGEST_NS, 3)?;
        Ok(Self { poll, connections, wire, burst, in_flight: options.in_flight, round_trips_ns })
    }

    /// Runs until the time or the count is over and every reply is there, so that the server rests
    /// when this returns.
    fn drive(&mut self, duration: Duration, messages: u64) -> Result<(), Failure> {
        let end = Instant::now() + duration;
        let mut busy = self.connections.len();
        for connection in &mut self.connections {
            connection.start();
            connection.write(&self.burst)?;
        }
        let mut buffer = vec![0; READ_BUFFER];
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        while busy > 0 {
            if epoll::wait(&self.poll, spare_capacity(&mut events), Some(&PATIENCE))? == 0 {
                return Err(format!("{busy} connections wait for a reply for 10 s").into());
            }
            let goes_on = Instant::now() < end && self.round_trips_ns.len() < messages;
            for event in events.drain(..) {
                let index = usize::try_from(event.data.u64())?;
                let connection = self.connections.get_mut(index).ok_or("unknown token")?;
                if connection.sent < self.burst.len() {
                    connection.write(&self.burst)?;
                }
                let before = connection.replies;
                connection.read(&mut buffer, &self.wire, self.in_flight)?;
                let replies = u64::from(connection.replies - before);
                if replies == 0 {
                    continue;
                }
                let elapsed_ns = u64::try_from(connection.since.elapsed().as_nanos())?;
                self.round_trips_ns.record_n(elapsed_ns.clamp(1_000, LONGEST_NS), replies)?;
                if connection.replies < self.in_flight {
                    continue;
                }
                if goes_on {
                    connection.start();
                    connection.write(&self.burst)?;
                } else {
                    busy -= 1;
                }
            }
        }
        Ok(())
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let since = Instant::now();
        Self { stream, sent: 0, since, replies: 0, received: 0, between: Between::Replies }
    }

    fn start(&mut self) {
        self.sent = 0;
        self.replies = 0;
        self.since = Instant::now();
    }

    fn write(&mut self, burst: &[u8]) -> Result<(), Failure> {
        while self.sent < burst.len() {
            match self.stream.write(burst.get(self.sent..).unwrap_or_default()) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads until the burst is answered or the socket is empty.
    fn read(&mut self, buffer: &mut [u8], wire: &Wire, in_flight: u16) -> Result<(), Failure> {
        while self.replies < in_flight {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(count) => self.take(buffer.get(..count).unwrap_or_default(), wire)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.replies > in_flight { Err("more replies than requests".into()) } else { Ok(()) }
    }

    /// Compares every byte with what must come.
    fn take(&mut self, mut bytes: &[u8], wire: &Wire) -> Result<(), Failure> {
        const FIN_PING: u8 = 0x80 | wire::PING;
        while let Some(&first) = bytes.first() {
            let count = match self.between {
                Between::PingLength => {
                    self.between = Between::PingBody(first.into());
                    1
                }
                Between::PingBody(0) => {
                    self.between = Between::Replies;
                    0
                }
                Between::PingBody(rest) => {
                    let count = rest.min(bytes.len());
                    self.between = Between::PingBody(rest - count);
                    count
                }
                Between::Replies if wire.pings && self.received == 0 && first == FIN_PING => {
                    self.between = Between::PingLength;
                    1
                }
                Between::Replies => {
                    let rest = wire.reply.get(self.received..).unwrap_or_default();
                    let count = rest.len().min(bytes.len());
                    if rest.get(..count) != bytes.get(..count) {
                        let seen = bytes.get(..count.min(32)).unwrap_or_default();
                        return Err(format!("wrong reply at byte {}: {}", self.received, seen.escape_ascii()).into());
                    }
                    self.received += count;
                    count
                }
            };
            bytes = bytes.get(count..).unwrap_or_default();
            if self.received == wire.reply.len() {
                self.received = 0;
                self.replies += 1;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.raw { "raw TCP" } else { "WebSocket" };
        writeln!(
            f,
            "{what}, {} connections, {} bytes, {} in flight: {} bytes there, {} back for each message",
            self.connections, self.payload, self.in_flight, self.bytes_out, self.bytes_in
        )?;
        writeln!(f, "{} messages in {:.2} s, {:.0} a second", self.messages, self.seconds, self.messages_per_second)?;
        if let Some((cpu_ns, busy)) = self.cpu_ns_per_message.zip(self.busy) {
            writeln!(f, "server CPU {cpu_ns:.0} ns a message, {:.0} % of a core", busy * 100.0)?;
        }
        write!(f, "round trip p50 {:.1} us, p99 {:.1} us, max {:.1} us", self.p50_us, self.p99_us, self.max_us)
    }
}

/// Counts far below 2^53, for division.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn connection() -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Connection::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap())
    }

    #[test]
    fn replies_count_in_any_split() {
        let wire = Wire::websocket(wire::BINARY, 5);
        let mut input = wire.reply.clone();
        input.extend([0x89, 3, 1, 2, 3]);
        input.extend(&wire.reply);
        input.extend([0x89, 0]);
        input.extend(&wire.reply);
        for size in 1..input.len() {
            let mut connection = connection();
            for chunk in input.chunks(size) {
                connection.take(chunk, &wire).unwrap();
            }
            assert_eq!((connection.replies, connection.received), (3, 0), "chunks of {size}");
        }
    }

    #[test]
    fn a_changed_byte_is_an_error() {
        let wire = Wire::websocket(wire::BINARY, 5);
        for index in 0..wire.reply.len() {
            let mut input = wire.reply.clone();
            input[index] ^= 0x20;
            assert!(connection().take(&input, &wire).is_err(), "byte {index}");
        }
    }
}
