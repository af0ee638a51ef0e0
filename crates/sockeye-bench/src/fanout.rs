//! One publisher, many subscribers. Closed loop: the next publication leaves when all have the one before, or as many
//! before it as may be in flight. Paced: they leave at a fixed rate, and time counts from when each was due.

use crate::channel::{self, Frames};
use crate::echo::{LONGEST_NS, float};
use crate::process::Server;
use crate::{Common, Failure, socket, wire};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
const CHANNEL: &str = "bench";

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Plain TCP: what the publisher sends goes to all others as it is; so many bytes for each publication
    #[arg(long, value_name = "BYTES")]
    raw: Option<usize>,
    /// No subprotocol: the server passes on what one connection sends to all others, not to the sender
    #[arg(long, conflicts_with = "raw")]
    broadcast: bool,
    /// Publications a second, whether those before have arrived or not; without it the next leaves when one has
    #[arg(long, value_name = "RATE", alias = "rate", conflicts_with = "in_flight")]
    paced: Option<f64>,
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Bytes of JSON in each publication
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// Publications on their way at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    #[arg(long, default_value_t = 0.2)]
    warm_up: f64,
}

#[derive(Serialize)]
pub(crate) struct Report {
    subscribers: usize,
    payload: usize,
    in_flight: u16,
    raw: bool,
    broadcast: bool,
    paced: Option<f64>,
    /// Of the last delivery, with its header.
    delivery_bytes: usize,
    seconds: f64,
    deliveries: u64,
    deliveries_per_second: f64,
    cpu_ns_per_delivery: Option<f64>,
    busy: Option<f64>,
    /// From the publication to the last of its deliveries.
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

/// # Errors
///
/// When a connection fails, or a delivery is late or not what was published.
pub(crate) fn run(options: &Options) -> Result<Report, Failure> {
    let mut load = Load::open(options)?;
    load.drive(Duration::from_secs_f64(options.warm_up))?;
    load.fan_outs_ns.reset();
    let server = options.common.pid.map(Server::new);
    let cpu_before = server.map(Server::cpu_ns).transpose()?;
    let started = Instant::now();
    load.drive(Duration::from_secs_f64(options.seconds))?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_after = server.map(Server::cpu_ns).transpose()?;
    let cpu_ns = cpu_after.zip(cpu_before).map(|(after, before)| float(after.saturating_sub(before)));
    let deliveries = load.fan_outs_ns.len() * options.subscribers as u64;
    let us = |quantile| float(load.fan_outs_ns.value_at_quantile(quantile)) / 1e3;
    Ok(Report {
        subscribers: options.subscribers,
        payload: options.payload,
        in_flight: options.in_flight,
        raw: options.raw.is_some(),
        broadcast: options.broadcast,
        paced: options.paced,
        delivery_bytes: load.delivery_bytes,
        seconds,
        deliveries,
        deliveries_per_second: float(deliveries) / seconds,
        cpu_ns_per_delivery: cpu_ns.map(|ns| ns / float(deliveries)),
        busy: cpu_ns.map(|ns| ns / (seconds * 1e9)),
        p50_us: us(0.5),
        p99_us: us(0.99),
        max_us: us(1.0),
    })
}

struct Load {
    poll: OwnedFd,
    publisher: TcpStream,
    /// What it sends for one publication.
    publication: Vec<u8>,
    /// What every delivery has in it.
    data: Vec<u8>,
    raw: Option<usize>,
    in_flight: u16,
    /// Time between two publications, where they leave at a rate.
    every: Option<Duration>,
    subscribers: Vec<Subscriber>,
    /// The publications on their way: when each left, and how many have it still to come.
    under_way: VecDeque<(Instant, usize)>,
    /// The number of the first of them.
    first: u64,
    delivery_bytes: usize,
    fan_outs_ns: Histogram<u64>,
}

struct Subscriber {
    stream: TcpStream,
    frames: Frames,
    /// Bytes since the last delivery, where there are no frames.
    raw_bytes: usize,
    /// Deliveries so far.
    deliveries: u64,
}

impl Load {
    fn open(options: &Options) -> Result<Self, Failure> {
        let target = &options.common.target;
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut subscribers = Vec::with_capacity(options.subscribers);
        for index in 0..options.subscribers {
            let stream = match options.raw {
                Some(_) => socket::open(target, socket::source(index))?,
                None if options.broadcast => socket::open_websocket(target, socket::source(index))?,
                None => channel::subscriber(target, index, CHANNEL)?,
            };
            stream.set_nonblocking(true)?;
            epoll::add(&poll, &stream, EventData::new_u64(index as u64), EventFlags::IN | EventFlags::ET)?;
            subscribers.push(Subscriber { stream, frames: Frames::default(), raw_bytes: 0, deliveries: 0 });
        }
        let publisher = match options.raw {
            Some(_) => socket::open(target, socket::source(0))?,
            None => socket::open_websocket(target, socket::source(0))?,
        };
        let data = channel::data(options.payload);
        let publication = match options.raw {
            Some(bytes) => wire::client_frame(wire::BINARY, &vec![b'x'; bytes]).into_iter().take(bytes).collect(),
            None if options.broadcast => wire::client_frame(wire::TEXT, data.as_bytes()),
            None => channel::publish(CHANNEL, &data, None),
        };
        Ok(Self {
            poll,
            publisher,
            publication,
            data: data.into_bytes(),
            raw: options.raw,
            in_flight: options.in_flight,
            every: options.paced.map(|rate| Duration::from_secs_f64(1.0 / rate.max(0.001))),
            subscribers,
            under_way: VecDeque::new(),
            first: 0,
            delivery_bytes: options.raw.unwrap_or(0),
            fan_outs_ns: Histogram::new_with_bounds(1_000, LONGEST_NS, 3)?,
        })
    }

    /// Publishes until the time is over and everybody has everything.
    fn drive(&mut self, duration: Duration) -> Result<(), Failure> {
        let start = Instant::now();
        let end = start + duration;
        let mut due = start;
        if self.every.is_none() {
            for _ in 0..self.in_flight {
                self.publish(Instant::now())?;
            }
        }
        let mut heard = start;
        let mut buffer = vec![0; 256 * 1024];
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        loop {
            while let Some(every) = self.every.filter(|_| due < end && due <= Instant::now()) {
                self.publish(due)?;
                due += every;
            }
            let publishing = self.every.is_some() && due < end;
            if self.under_way.is_empty() && !publishing {
                return Ok(());
            }
            let wait = if publishing { due.saturating_duration_since(Instant::now()).min(PATIENCE) } else { PATIENCE };
            let wait = Timespec::try_from(wait)?;
            if epoll::wait(&self.poll, spare_capacity(&mut events), Some(&wait))? > 0 {
                heard = Instant::now();
            } else if !self.under_way.is_empty() && heard.elapsed() >= PATIENCE {
                return Err("deliveries are missing for 10 s".into());
            }
            for event in events.drain(..) {
                self.read(usize::try_from(event.data.u64())?, &mut buffer)?;
            }
            while let Some((since, 0)) = self.under_way.front().copied() {
                let ns = u64::try_from(since.elapsed().as_nanos())?;
                self.fan_outs_ns.record(ns.clamp(1_000, LONGEST_NS))?;
                self.under_way.pop_front();
                self.first += 1;
                if self.every.is_none() && Instant::now() < end {
                    self.publish(Instant::now())?;
                }
            }
        }
    }

    fn publish(&mut self, since: Instant) -> Result<(), Failure> {
        self.under_way.push_back((since, self.subscribers.len()));
        Ok(self.publisher.write_all(&self.publication)?)
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) -> Result<(), Failure> {
        let Self { subscribers, under_way, first, raw, data, delivery_bytes, .. } = self;
        let subscriber = subscribers.get_mut(index).ok_or("unknown token")?;
        loop {
            let count = match subscriber.stream.read(buffer) {
                Ok(0) => return Err("the server closed a subscriber's connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let before = subscriber.deliveries;
            let read = buffer.get(..count).unwrap_or_default();
            if let Some(bytes) = raw {
                subscriber.raw_bytes += count;
                subscriber.deliveries += (subscriber.raw_bytes / *bytes) as u64;
                subscriber.raw_bytes %= *bytes;
            } else {
                let (deliveries, mut wrong) = (&mut subscriber.deliveries, None);
                subscriber.frames.take(read, |text| {
                    *deliveries += 1;
                    *delivery_bytes = text.len() + if text.len() < 126 { 2 } else { 4 };
                    if !text.windows(data.len()).any(|window| window == &data[..]) {
                        wrong = Some(String::from_utf8_lossy(text).into_owned());
                    }
                })?;
                if let Some(wrong) = wrong {
                    return Err(format!("not what was published: {wrong}").into());
                }
            }
            for number in before..subscriber.deliveries {
                let place = number.checked_sub(*first).ok_or("a delivery too many")?;
                let (_, missing) = under_way.get_mut(usize::try_from(place)?).ok_or("a delivery too early")?;
                *missing -= 1;
            }
            if count < buffer.len() {
                return Ok(());
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.raw { "raw TCP" } else { "channel" };
        writeln!(
            f,
            "{what}, {} subscribers, {} bytes of data, {} bytes a delivery, {} in flight",
            self.subscribers, self.payload, self.delivery_bytes, self.in_flight
        )?;
        writeln!(
            f,
            "{} deliveries in {:.2} s, {:.0} a second",
            self.deliveries, self.seconds, self.deliveries_per_second
        )?;
        if let Some((cpu_ns, busy)) = self.cpu_ns_per_delivery.zip(self.busy) {
            writeln!(f, "server CPU {cpu_ns:.0} ns a delivery, {:.0} % of a core", busy * 100.0)?;
        }
        write!(f, "publication to last delivery p50 {:.0} us, p99 {:.0} us", self.p50_us, self.p99_us)
    }
}
