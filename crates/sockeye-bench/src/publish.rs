//! Publications that are acknowledged: how long the `ok` takes. Closed loop, one on its way for each connection, each
//! connection in a channel of its own or all in one.

use crate::channel::{self, Frames};
use crate::echo::{LONGEST_NS, float};
use crate::process::Server;
use crate::{Common, Failure, socket};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use serde::Serialize;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Bytes of JSON in each publication
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// The channel; `{}` becomes the number of the connection
    #[arg(long, default_value = "bench-{}")]
    channel: String,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

#[derive(Serialize)]
pub(crate) struct Report {
    connections: usize,
    payload: usize,
    seconds: f64,
    acknowledged: u64,
    per_second: f64,
    cpu_ns_each: Option<f64>,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

struct Publisher {
    stream: TcpStream,
    frame: Vec<u8>,
    frames: Frames,
    since: Instant,
}

/// # Errors
///
/// When a connection fails, or a publication is refused or not answered.
pub(crate) fn run(options: &Options) -> Result<Report, Failure> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let data = channel::data(options.payload);
    let mut publishers = Vec::with_capacity(options.connections);
    for index in 0..options.connections {
        let stream = socket::open_websocket(&options.common.target, socket::source(index))?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, EventData::new_u64(index as u64), EventFlags::IN | EventFlags::ET)?;
        let frame = channel::publish(&options.channel.replace("{}", &index.to_string()), &data, Some(1));
        publishers.push(Publisher { stream, frame, frames: Frames::default(), since: Instant::now() });
    }
    let server = options.common.pid.map(Server::new);
    let cpu_before = server.map(Server::cpu_ns).transpose()?;
    let mut round_trips_ns = Histogram::<u64>::new_with_bounds(1_000, LONGEST_NS, 3)?;
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(options.seconds);
    for publisher in &mut publishers {
        publisher.publish()?;
    }
    let mut waiting = publishers.len();
    let mut buffer = vec![0; 64 * 1024];
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    while waiting > 0 {
        if epoll::wait(&poll, spare_capacity(&mut events), Some(&PATIENCE))? == 0 {
            return Err("no answer for 10 s".into());
        }
        for event in events.drain(..) {
            let publisher = publishers.get_mut(usize::try_from(event.data.u64())?).ok_or("unknown token")?;
            if !publisher.read(&mut buffer)? {
                continue;
            }
            let ns = u64::try_from(publisher.since.elapsed().as_nanos())?;
            round_trips_ns.record(ns.clamp(1_000, LONGEST_NS))?;
            if Instant::now() < end {
                publisher.publish()?;
            } else {
                waiting -= 1;
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu_after = server.map(Server::cpu_ns).transpose()?;
    let cpu_ns = cpu_after.zip(cpu_before).map(|(after, before)| float(after.saturating_sub(before)));
    let acknowledged = round_trips_ns.len();
    let us = |ns: u64| float(ns) / 1e3;
    Ok(Report {
        connections: options.connections,
        payload: options.payload,
        seconds,
        acknowledged,
        per_second: float(acknowledged) / seconds,
        cpu_ns_each: cpu_ns.map(|ns| ns / float(acknowledged)),
        p50_us: us(round_trips_ns.value_at_quantile(0.5)),
        p99_us: us(round_trips_ns.value_at_quantile(0.99)),
        max_us: us(round_trips_ns.max()),
    })
}

impl Publisher {
    fn publish(&mut self) -> Result<(), Failure> {
        self.since = Instant::now();
        // A frame of this size always fits into the buffer of a socket whose last one was answered.
        Ok(self.stream.write_all(&self.frame)?)
    }

    /// Whether the answer is there.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool, Failure> {
        let (mut answered, mut wrong) = (false, None);
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed a publisher's connection".into()),
                Ok(count) => self.frames.take(buffer.get(..count).unwrap_or_default(), |text| {
                    answered = true;
                    if !text.windows(4).any(|window| window == b"\"ok\"") {
                        wrong = Some(String::from_utf8_lossy(text).into_owned());
                    }
                })?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        wrong.map_or(Ok(answered), |wrong| Err(format!("not published: {wrong}").into()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} publishers of {} bytes: {:.0} acknowledged a second",
            self.connections, self.payload, self.per_second
        )?;
        if let Some(cpu_ns) = self.cpu_ns_each {
            writeln!(f, "server CPU {cpu_ns:.0} ns each")?;
        }
        write!(f, "p50 {:.0} us, p99 {:.0} us, max {:.0} us", self.p50_us, self.p99_us, self.max_us)
    }
}
