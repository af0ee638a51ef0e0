//! One publisher, many subscribers. Closed loop: the next publication leaves when all have the one before, or as many
//! before it as may be in flight. Open loop: they leave at their moments.

use crate::exchange::Pace;
use crate::frames::{Whole, start};
use crate::link::{Burst, Link};
use crate::open::{Opened, Opener};
use crate::options::{self, Common, Window};
use crate::pace::{Schedule, rounded};
use crate::poll::Poll;
use crate::progress::Progress;
use crate::publication::{Delivery, Events, Publication};
use crate::report::{Head, Lines, Percentiles, Stopwatch, Times, grouped};
use crate::{Failure, channel};
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

const READ_BUFFER: usize = 256 * 1024;
/// Publications that leave before deliveries are read again, when many are due.
const DUE_AT_ONCE: usize = 16;
/// How long deliveries are waited for when somebody wants an end.
const LAST_DELIVERIES: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    window: Window,
    /// Connections that are to get each publication
    #[arg(long, value_name = "N", default_value = "1000", value_parser = options::some)]
    subscribers: usize,
    /// Bytes of JSON in each publication
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    payload: usize,
    /// Closed loop: publications on their way at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
    /// Open loop: so many publications a second, whether those before have arrived or not. Time counts from when each
    /// was due
    #[arg(long, value_name = "N", alias = "paced", conflicts_with = "in_flight", value_parser = options::rate)]
    rate: Option<f64>,
    /// Stop after so many publications, if that comes first
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    messages: u64,
    /// The channel
    #[arg(long, value_name = "NAME", default_value = "bench")]
    channel: String,
    /// A server without channels: no subprotocol, and what one connection sends the server passes on to all others
    #[arg(long, conflicts_with = "raw")]
    broadcast: bool,
    /// With --broadcast: send binary messages in place of text
    #[arg(long, requires = "broadcast")]
    binary: bool,
    /// The subscribers listen over HTTP, to `/sse`
    #[arg(long, conflicts_with_all = ["raw", "broadcast"])]
    events: bool,
    /// Plain TCP: what the publisher sends goes to all others as it is; so many bytes for each publication
    #[arg(long, value_name = "BYTES", value_parser = options::some)]
    raw: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    head: Head,
    subscribers: usize,
    payload: usize,
    in_flight: u16,
    rate: Option<f64>,
    raw: bool,
    broadcast: bool,
    events: bool,
    /// Of the last delivery, with its header.
    delivery_bytes: usize,
    seconds: f64,
    publications: u64,
    deliveries: u64,
    deliveries_per_second: f64,
    cpu_ns_per_delivery: Option<f64>,
    busy: Option<f64>,
    /// From the publication to the last of its deliveries.
    #[serde(flatten)]
    last: Percentiles,
    /// From the publication to each of its deliveries.
    each: Percentiles,
}

/// # Errors
///
/// When a connection fails, or a delivery is late or not what was published.
pub(crate) fn run(options: &Options) -> Result<Report, Failure> {
    let common = &options.common;
    let mut load = Load::open(options)?;
    let pace = Pace::of(options.rate, options.in_flight);
    load.drive(pace, options.window.warm_up, u64::MAX)?;
    load.last.reset();
    load.each.reset();
    let watch = Stopwatch::start(common)?;
    load.drive(pace, options.window.seconds, options.messages)?;
    let lap = watch.stop()?;
    let deliveries = load.each.len();
    Ok(Report {
        head: Head::new("fanout", common, load.poll.is_interrupted()),
        subscribers: options.subscribers,
        payload: options.payload,
        in_flight: options.in_flight,
        rate: options.rate,
        raw: options.raw.is_some(),
        broadcast: options.broadcast,
        events: options.events,
        delivery_bytes: load.publication.delivery_bytes(),
        seconds: lap.seconds,
        publications: load.last.len(),
        deliveries,
        deliveries_per_second: lap.per_second(deliveries),
        cpu_ns_per_delivery: lap.cpu_ns_each(deliveries),
        busy: lap.busy(),
        last: load.last.percentiles(),
        each: load.each.percentiles(),
    })
}

struct Load {
    poll: Poll,
    publisher: Link,
    /// It may be sent something that nobody waits for: some servers broadcast to the sender as well.
    hears_itself: bool,
    subscribers: Vec<Subscriber>,
    publication: Publication,
    /// The publications on their way: when each was due, and how many have it still to come.
    under_way: VecDeque<(Instant, usize)>,
    /// The number of the first of them.
    first: u64,
    last: Times,
    each: Times,
    patience: Duration,
    buffer: Vec<u8>,
}

struct Subscriber {
    link: Link,
    delivery: Delivery,
    /// Deliveries so far: the number of the publication that must come next.
    next: u64,
}

impl Load {
    fn open(options: &Options) -> Result<Self, Failure> {
        let (common, count) = (&options.common, options.subscribers);
        let mut poll = Poll::new()?;
        let (subscribers, publisher) = match (options.raw, options.broadcast) {
            (Some(_), _) => (Opener::raw(common)?, Opener::raw(common)?),
            (None, true) => {
                let opener = || Opener::new(common, common.target.request());
                (opener()?, opener()?)
            }
            (None, false) if options.events => {
                if common.target.is_secure() {
                    return Err("event streams are asked for in the clear only: give an address of ws://".into());
                }
                (Opener::raw(common)?, Opener::new(common, channel::request(common)?)?)
            }
            (None, false) => {
                let opener = || Opener::new(common, channel::request(common)?);
                (opener()?.hello(channel::subscribe(&options.channel)), opener()?)
            }
        };
        let opened = subscribers.open_all(&mut poll, 0..count)?;
        let publisher = publisher.open_all(&mut poll, count..count + 1)?.pop().ok_or("no publisher")?;
        let publication = match (options.raw, options.broadcast) {
            (Some(bytes), _) => Publication::raw(bytes),
            (None, true) => Publication::broadcast(options.payload, options.binary),
            (None, false) => Publication::channel(&options.channel, options.payload),
        };
        let subscriber = |opened: Opened| {
            let delivery = if opened.frames.is_some() {
                Delivery::Message(Whole::default())
            } else if options.events {
                Delivery::Event(Events::default())
            } else {
                Delivery::Raw(0)
            };
            Subscriber { link: Link::new(opened), delivery, next: 0 }
        };
        let mut load = Self {
            poll,
            publisher: Link::new(publisher),
            hears_itself: options.broadcast,
            subscribers: opened.into_iter().map(subscriber).collect(),
            publication,
            under_way: VecDeque::new(),
            first: 0,
            last: Times::new(),
            each: Times::new(),
            patience: common.patience,
            buffer: vec![0; READ_BUFFER],
        };
        if options.events {
            load.listen(&channel::events_request(common, &options.channel))?;
        }
        Ok(load)
    }

    /// Has all subscribers ask for their streams, and waits until those have begun.
    fn listen(&mut self, request: &[u8]) -> Result<(), Failure> {
        for Subscriber { link, .. } in &mut self.subscribers {
            link.queue(request)?;
            link.write(&Burst::none())?;
        }
        let (start, mut tokens) = (Instant::now(), Vec::new());
        let is_waiting =
            |subscriber: &Subscriber| matches!(&subscriber.delivery, Delivery::Event(events) if !events.is_subscribed);
        while self.subscribers.iter().any(is_waiting) {
            if self.poll.is_interrupted() || start.elapsed() > self.patience {
                return Err("not all event streams have begun".into());
            }
            self.poll.wait(None, &mut tokens)?;
            for &token in &tokens {
                self.turn(token)?;
            }
        }
        Ok(())
    }

    /// Publishes until the time or the publications are over, or somebody wants an end, and everybody has everything.
    fn drive(&mut self, pace: Pace, duration: Duration, most: u64) -> Result<(), Failure> {
        let start = Instant::now();
        let end = start + duration;
        let (mut schedule, in_flight) = match pace {
            Pace::Open(rate) => (Some(Schedule::new(rate, start, duration, most)), 0),
            Pace::Closed(in_flight) => (None, usize::from(in_flight)),
        };
        let (mut left, mut heard, mut stopped, mut tokens) = (most, start, None, Vec::new());
        let mut progress = Progress::new();
        loop {
            let now = Instant::now();
            if self.poll.is_interrupted() {
                (schedule, left) = (None, 0);
                if now.duration_since(*stopped.get_or_insert(now)) > LAST_DELIVERIES {
                    return Ok(());
                }
            }
            if self.under_way.is_empty() {
                heard = now;
            }
            if let Some(schedule) = &mut schedule {
                for due in (0..DUE_AT_ONCE).map_while(|_| schedule.take(now)) {
                    self.publish(due)?;
                }
            }
            while self.under_way.len() < in_flight && left > 0 && now < end {
                left -= 1;
                self.publish(Instant::now())?;
            }
            let next = schedule.as_ref().and_then(Schedule::next);
            if self.under_way.is_empty() && next.is_none() {
                return Ok(());
            }
            if now.duration_since(heard) > self.patience {
                return Err(self.late());
            }
            self.poll.wait(next, &mut tokens)?;
            for &token in &tokens {
                if self.turn(token)? {
                    heard = now;
                }
            }
            self.finish();
            progress.tick(now, || {
                let p99 = self.last.percentiles().p99_us;
                format!("{} publications, p99 to the last delivery {p99:.0} us", grouped(self.last.len()))
            });
        }
    }

    fn publish(&mut self, due: Instant) -> Result<(), Failure> {
        let number = self.first + self.under_way.len() as u64;
        self.under_way.push_back((due, self.subscribers.len()));
        self.publisher.queue(self.publication.frame(number))?;
        self.publisher.write(&Burst::none()).map_err(|error| format!("the publisher: {error}").into())
    }

    /// Reads what there is, and says whether it was a delivery.
    fn turn(&mut self, token: usize) -> Result<bool, Failure> {
        let Self { publisher, hears_itself, subscribers, publication, under_way, first, each, buffer, .. } = self;
        let Some(Subscriber { link, delivery, next }) = subscribers.get_mut(token) else {
            publisher.write(&Burst::none())?;
            publisher.read(buffer, &[], |piece| {
                if *hears_itself {
                    return Ok(());
                }
                let said = start(piece.bytes);
                Err(format!("the publisher, who asked for no answer, was told {said}").into())
            })?;
            return Ok(false);
        };
        let before = *next;
        let on = |error: Failure| -> Failure { format!("subscriber {}: {error}", token + 1).into() };
        link.read(buffer, &[], |piece| {
            *next += delivery.hear(piece, publication, *next)?;
            Ok(())
        })
        .map_err(on)?;
        link.write(&Burst::none()).map_err(on)?;
        let now = Instant::now();
        for number in before..*next {
            let place = number.checked_sub(*first).ok_or("a delivery too many")?;
            let (since, missing) = under_way.get_mut(usize::try_from(place)?).ok_or("a delivery too early")?;
            *missing -= 1;
            each.record(*since, now, 1);
            if *missing == 0 {
                self.last.record(*since, now, 1);
            }
        }
        Ok(before != *next)
    }

    /// Takes off what everybody has.
    fn finish(&mut self) {
        while let Some((_, 0)) = self.under_way.front() {
            self.under_way.pop_front();
            self.first += 1;
        }
    }

    fn late(&self) -> Failure {
        let missing = self.under_way.front().map_or(0, |(_, missing)| *missing);
        let (all, seconds, number) = (self.subscribers.len(), self.patience.as_secs_f64(), self.first + 1);
        format!("publication {number}: {missing} of {all} deliveries are missing for {seconds} s").into()
    }
}

impl crate::Report for Report {
    fn head(&self) -> &Head {
        &self.head
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.raw, self.broadcast, self.events) {
            (true, ..) => "raw TCP",
            (_, true, _) => "broadcast",
            (.., true) => "event streams",
            _ => "channel",
        };
        let loop_is = match self.rate {
            Some(rate) => format!("{rate} a second"),
            None => format!("{} in flight", self.in_flight),
        };
        let (subscribers, payload) = (grouped(self.subscribers as u64), self.payload);
        let (count, rate) = (grouped(self.deliveries), grouped(rounded(self.deliveries_per_second)));
        let mut lines = Lines::default();
        lines
            .add("fanout", format!("{what}, {subscribers} subscribers, {payload} bytes of data, {loop_is}"))
            .add("on the wire", format!("{} bytes a delivery", self.delivery_bytes))
            .add("publications", grouped(self.publications))
            .add("deliveries", format!("{count} in {:.2} s, {rate} a second", self.seconds))
            .cpu(self.cpu_ns_per_delivery, self.busy, "a delivery")
            .times("to each", &self.each)
            .times("to the last", &self.last);
        f.write_str(&lines.finish())
    }
}
