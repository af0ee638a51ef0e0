//! Messages through an echo server, and what they cost.

use crate::deflate::{self, Inflater, Takeover};
use crate::exchange::{Exchange, Pace, Plan};
use crate::link::{Burst, Link};
use crate::open::{Opened, Opener};
use crate::options::{self, Common, Window};
use crate::pace::rounded;
use crate::poll::Poll;
use crate::report::{Head, Lines, Percentiles, Stopwatch, grouped};
use crate::verify::{Expected, Reply, Seen};
use crate::{Failure, wire};
use serde::Serialize;
use sockeye_proto::DeflateParams;
use sockeye_proto::frame::{OpCode, Rsv};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    window: Window,
    /// Connections, driven by one thread
    #[arg(long, value_name = "N", default_value = "100", value_parser = options::some)]
    connections: usize,
    /// Bytes in each message
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    payload: usize,
    /// Closed loop: messages that each connection has on the way at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
    /// Open loop: so many messages a second on all connections together, whether those before are answered or not. Time
    /// counts from when each was due
    #[arg(long, value_name = "N", conflicts_with = "in_flight", value_parser = options::rate)]
    rate: Option<f64>,
    /// Stop after so many messages, if that comes first
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    messages: u64,
    /// Send text messages in place of binary ones
    #[arg(long)]
    text: bool,
    /// Compress (permessage-deflate) messages that are records of JSON, with context takeover or without
    #[arg(long, value_name = "HOW", num_args = 0..=1, default_missing_value = "no-takeover", require_equals = true)]
    deflate: Option<Takeover>,
    /// No handshake and no frames: the same number of bytes to a plain TCP echo
    #[arg(long, conflicts_with = "deflate")]
    raw: bool,
}

#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    head: Head,
    connections: usize,
    payload: usize,
    in_flight: u16,
    rate: Option<f64>,
    raw: bool,
    text: bool,
    /// Whether the server agreed to context takeover for what it sends; null without compression.
    deflate_takeover: Option<bool>,
    bytes_out: usize,
    bytes_in: usize,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    cpu_ns_per_message: Option<f64>,
    /// Share of one core that the server used.
    busy: Option<f64>,
    #[serde(flatten)]
    times: Percentiles,
}

/// # Errors
///
/// When a connection fails, a reply is late or a reply is not what was sent.
pub(crate) fn run(options: &Options) -> Result<Report, Failure> {
    let common = &options.common;
    let mut poll = Poll::new()?;
    let opened = opener(options)?.open_all(&mut poll, 0..options.connections)?;
    let mut load = Load::new(options, poll, opened)?;
    let pace = Pace::of(options.rate, options.in_flight);
    load.exchange.drive(Plan { duration: options.window.warm_up, messages: u64::MAX, pace })?;
    load.exchange.times.reset();
    let watch = Stopwatch::start(common)?;
    load.exchange.drive(Plan { duration: options.window.seconds, messages: options.messages, pace })?;
    let lap = watch.stop()?;
    let messages = load.exchange.times.len();
    Ok(Report {
        head: Head::new("echo", common, load.exchange.poll.is_interrupted()),
        connections: options.connections,
        payload: options.payload,
        in_flight: options.in_flight,
        rate: options.rate,
        raw: options.raw,
        text: options.text,
        deflate_takeover: load.deflate.as_ref().map(|(agreed, _)| agreed.server_takeover()),
        bytes_out: load.bytes_out,
        bytes_in: load.bytes_in(),
        seconds: lap.seconds,
        messages,
        messages_per_second: lap.per_second(messages),
        cpu_ns_per_message: lap.cpu_ns_each(messages),
        busy: lap.busy(),
        times: load.exchange.times.percentiles(),
    })
}

fn opener(options: &Options) -> Result<Opener, Failure> {
    if options.raw {
        return Opener::raw(&options.common);
    }
    let request = options.common.target.request();
    let request = match options.deflate {
        Some(takeover) => request.deflate(deflate::offer(takeover)),
        None => request,
    };
    Opener::new(&options.common, request)
}

struct Load {
    exchange: Exchange,
    expected: Rc<Expected>,
    bytes_out: usize,
    /// What was agreed upon on the first connection, and what came last there.
    deflate: Option<(DeflateParams, Rc<RefCell<Seen>>)>,
    raw: bool,
}

impl Load {
    fn new(options: &Options, poll: Poll, opened: Vec<Opened>) -> Result<Self, Failure> {
        let opcode = if options.text { OpCode::Text } else { OpCode::Binary };
        let compresses = options.deflate.is_some();
        let payload = if compresses { wire::records(options.payload) } else { wire::payload(options.payload) };
        let agreed = opened.first().and_then(|first| first.deflate.clone());
        let requests = match &agreed {
            Some(agreed) => deflate::requests(agreed, opcode, &payload)?,
            None if compresses => return Err("the server does not agree to permessage-deflate".into()),
            None => deflate::Requests { lead: Vec::new(), steady: wire::client_frame(opcode, &payload) },
        };
        let payload = if options.raw { requests.steady.clone() } else { payload };
        let bytes_out = requests.steady.len();
        let seen = agreed.map(|agreed| (agreed.clone(), seen(&agreed)));
        let mut load = Self {
            exchange: Exchange::new(poll, options.common.patience),
            expected: Rc::new(Expected::new(opcode, payload)),
            bytes_out,
            deflate: seen,
            raw: options.raw,
        };
        for (index, opened) in opened.into_iter().enumerate() {
            let reply = load.reply(opened.deflate.as_ref(), index == 0);
            load.exchange.add(Link::new(opened), 0, reply);
        }
        for frame in &requests.lead {
            let burst = load.exchange.burst(Burst::new(frame, 1));
            load.exchange.send_only(burst);
            load.exchange.once()?;
        }
        let burst = load.exchange.burst(Burst::new(&requests.steady, options.in_flight.into()));
        load.exchange.send_only(burst);
        Ok(load)
    }

    /// What a connection waits for on which this was agreed upon.
    fn reply(&self, agreed: Option<&DeflateParams>, is_first: bool) -> Reply {
        let expected = Rc::clone(&self.expected);
        match (agreed, &self.deflate) {
            _ if self.raw => Reply::Raw { expected, at: 0 },
            (Some(agreed), Some((_, shared))) => {
                // With context takeover each connection's messages refer to its own.
                let is_common = is_first || !agreed.server_takeover();
                let seen = if is_common { Rc::clone(shared) } else { seen(agreed) };
                Reply::Deflated { expected, whole: crate::frames::Whole::default(), seen }
            }
            _ => Reply::Message(expected),
        }
    }

    /// What the server sends for one message.
    fn bytes_in(&self) -> usize {
        if self.raw {
            return self.expected.payload.len();
        }
        let last = self.deflate.as_ref().map(|(_, seen)| seen.borrow().last.clone());
        match last.filter(|last| !last.is_empty()) {
            Some(last) => wire::server_frame(OpCode::Binary, Rsv::COMPRESSED, &last).len(),
            None => self.expected.frame.len(),
        }
    }
}

fn seen(agreed: &DeflateParams) -> Rc<RefCell<Seen>> {
    Rc::new(RefCell::new(Seen { inflater: Inflater::new(agreed), last: Vec::new() }))
}

impl crate::Report for Report {
    fn head(&self) -> &Head {
        &self.head
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.raw { "raw TCP" } else { "WebSocket" };
        let (connections, payload) = (grouped(self.connections as u64), self.payload);
        let loop_is = match self.rate {
            Some(rate) => format!("{rate} messages a second"),
            None => format!("{} in flight on each", self.in_flight),
        };
        let mut lines = Lines::default();
        lines
            .add("echo", format!("{what}, {connections} connections, {payload} bytes, {loop_is}"))
            .add("on the wire", format!("{} bytes there, {} back for each message", self.bytes_out, self.bytes_in))
            .add(
                "messages",
                format!(
                    "{} in {:.2} s, {} a second",
                    grouped(self.messages),
                    self.seconds,
                    grouped(rounded(self.messages_per_second))
                ),
            )
            .cpu(self.cpu_ns_per_message, self.busy, "a message")
            .times("round trip", &self.times);
        f.write_str(&lines.finish())
    }
}
