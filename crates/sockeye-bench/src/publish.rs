//! Publications that are acknowledged: how long the `ok` takes. Each connection in a channel of its own, or all in one.

use crate::Failure;
use crate::channel;
use crate::exchange::{Exchange, Pace, Plan};
use crate::frames::Whole;
use crate::link::{Burst, Link};
use crate::open::Opener;
use crate::options::{self, Common, Window};
use crate::pace::rounded;
use crate::poll::Poll;
use crate::report::{Head, Lines, Percentiles, Stopwatch, grouped};
use crate::verify::Reply;
use serde::Serialize;
use std::fmt;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    window: Window,
    /// Publishers
    #[arg(long, value_name = "N", default_value = "100", value_parser = options::some)]
    connections: usize,
    /// Bytes of JSON in each publication
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    payload: usize,
    /// The channel; {} becomes the number of the connection
    #[arg(long, value_name = "NAME", default_value = "bench-{}")]
    channel: String,
    /// Closed loop: publications that each connection has on the way at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
    /// Open loop: so many publications a second on all connections together. Time counts from when each was due
    #[arg(long, value_name = "N", conflicts_with = "in_flight", value_parser = options::rate)]
    rate: Option<f64>,
    /// Stop after so many publications, if that comes first
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    messages: u64,
}

#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    head: Head,
    connections: usize,
    payload: usize,
    in_flight: u16,
    rate: Option<f64>,
    seconds: f64,
    acknowledged: u64,
    per_second: f64,
    cpu_ns_each: Option<f64>,
    busy: Option<f64>,
    #[serde(flatten)]
    times: Percentiles,
}

/// # Errors
///
/// When a connection fails, or a publication is refused or not answered.
pub(crate) fn run(options: &Options) -> Result<Report, Failure> {
    let common = &options.common;
    let mut poll = Poll::new()?;
    let opened = Opener::new(common, channel::request(common)?)?.open_all(&mut poll, 0..options.connections)?;
    let mut exchange = Exchange::new(poll, common.patience);
    let data = channel::data(options.payload);
    for (index, opened) in opened.into_iter().enumerate() {
        let channel = options.channel.replace("{}", &index.to_string());
        let frame = channel::publish(&channel, &data, Some(1));
        let burst = exchange.burst(Burst::new(&frame, options.in_flight.into()));
        exchange.add(Link::new(opened), burst, Reply::Acknowledged(Whole::default()));
    }
    let pace = Pace::of(options.rate, options.in_flight);
    exchange.drive(Plan { duration: options.window.warm_up, messages: u64::MAX, pace })?;
    exchange.times.reset();
    let watch = Stopwatch::start(common)?;
    exchange.drive(Plan { duration: options.window.seconds, messages: options.messages, pace })?;
    let lap = watch.stop()?;
    let acknowledged = exchange.times.len();
    Ok(Report {
        head: Head::new("publish", common, exchange.poll.is_interrupted()),
        connections: options.connections,
        payload: options.payload,
        in_flight: options.in_flight,
        rate: options.rate,
        seconds: lap.seconds,
        acknowledged,
        per_second: lap.per_second(acknowledged),
        cpu_ns_each: lap.cpu_ns_each(acknowledged),
        busy: lap.busy(),
        times: exchange.times.percentiles(),
    })
}

impl crate::Report for Report {
    fn head(&self) -> &Head {
        &self.head
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, rate) = (grouped(self.acknowledged), grouped(rounded(self.per_second)));
        let mut lines = Lines::default();
        lines
            .add("publish", format!("{} publishers, {} bytes", grouped(self.connections as u64), self.payload))
            .add("acknowledged", format!("{count} in {:.2} s, {rate} a second", self.seconds))
            .cpu(self.cpu_ns_each, self.busy, "each")
            .times("time to ok", &self.times);
        f.write_str(&lines.finish())
    }
}
