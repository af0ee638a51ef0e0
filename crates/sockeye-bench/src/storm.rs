//! Opening handshakes, as fast as they go or at a rate: how long a connection takes to open, and what that costs.

use crate::open::{Opener, Opening};
use crate::options::{self, Common};
use crate::pace::{Schedule, rounded};
use crate::poll::Poll;
use crate::progress::Progress;
use crate::report::{Head, Lines, Percentiles, Stopwatch, Times, grouped};
use crate::transport::Transport;
use crate::{Failure, descriptors, wire};
use serde::Serialize;
use sockeye_proto::CloseCode;
use sockeye_proto::frame::OpCode;
use std::fmt;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

const READ_BUFFER: usize = 64 * 1024;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Connections to open, if the time is long enough
    #[arg(long, value_name = "N", default_value = "10000", value_parser = options::some)]
    connections: usize,
    /// Begin no more connections after this time
    #[arg(long, default_value = "10", value_parser = options::seconds)]
    seconds: Duration,
    /// Handshakes under way at once, at most
    #[arg(long, value_name = "N", default_value = "64", value_parser = options::some)]
    concurrent: usize,
    /// Open loop: so many a second. Time counts from when each was due, also when --concurrent kept it waiting
    #[arg(long, value_name = "N", value_parser = options::rate)]
    rate: Option<f64>,
    /// Close each connection as soon as it is open
    #[arg(long)]
    close: bool,
}

#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    head: Head,
    connections: usize,
    concurrent: usize,
    rate: Option<f64>,
    close: bool,
    seconds: f64,
    handshakes: u64,
    handshakes_per_second: f64,
    cpu_ns_per_handshake: Option<f64>,
    busy: Option<f64>,
    /// From the first SYN, or from when it was due, to the answer of the opening handshake.
    #[serde(flatten)]
    times: Percentiles,
}

/// # Errors
///
/// When a connection cannot be opened or closed.
pub(crate) fn run(options: &Options) -> Result<Report, Failure> {
    let common = &options.common;
    descriptors::allow(if options.close { options.concurrent.min(options.connections) } else { options.connections })?;
    let opener = Opener::new(common, common.target.request())?;
    let mut storm = Storm::new(options, opener)?;
    let watch = Stopwatch::start(common)?;
    storm.drive(options)?;
    let lap = watch.stop()?;
    let handshakes = storm.times.len();
    Ok(Report {
        head: Head::new("storm", common, storm.poll.is_interrupted()),
        connections: options.connections,
        concurrent: options.concurrent,
        rate: options.rate,
        close: options.close,
        seconds: lap.seconds,
        handshakes,
        handshakes_per_second: lap.per_second(handshakes),
        cpu_ns_per_handshake: lap.cpu_ns_each(handshakes),
        busy: lap.busy(),
        times: storm.times.percentiles(),
    })
}

struct Storm {
    poll: Poll,
    opener: Opener,
    /// A connection's place is its token; those of closed ones are used again.
    places: Vec<Place>,
    free: Vec<usize>,
    begun: usize,
    /// Handshakes and closings under way.
    busy: usize,
    times: Times,
    close: Option<Vec<u8>>,
    buffer: Vec<u8>,
}

enum Place {
    Free,
    /// Since when it counts.
    Opening(Instant, Box<Opening>),
    /// Kept to the end.
    Open {
        _transport: Transport,
    },
    /// Our Close has left; the server's, and the end of TCP, which is for the server to begin, are waited for.
    Closing(Transport),
}

impl Storm {
    fn new(options: &Options, opener: Opener) -> Result<Self, Failure> {
        let code = CloseCode::NORMAL.get().to_be_bytes();
        Ok(Self {
            poll: Poll::new()?,
            opener,
            places: Vec::new(),
            free: Vec::new(),
            begun: 0,
            busy: 0,
            times: Times::new(),
            close: options.close.then(|| wire::client_frame(OpCode::Close, &code)),
            buffer: vec![0; READ_BUFFER],
        })
    }

    fn drive(&mut self, options: &Options) -> Result<(), Failure> {
        let start = Instant::now();
        let most = options.connections as u64;
        let mut schedule = options.rate.map(|rate| Schedule::new(rate, start, options.seconds, most));
        let (mut last, mut tokens, mut progress) = (start, Vec::new(), Progress::new());
        let mut wanted = options.connections;
        loop {
            let now = Instant::now();
            if self.poll.is_interrupted() || (schedule.is_none() && now.duration_since(start) >= options.seconds) {
                (wanted, schedule) = (self.begun, None);
            }
            while self.busy < options.concurrent && self.begun < wanted {
                let since = match &mut schedule {
                    None => Instant::now(),
                    Some(schedule) => match schedule.take(Instant::now()) {
                        Some(due) => due,
                        None => break,
                    },
                };
                if self.busy == 0 {
                    last = Instant::now();
                }
                self.begin(since)?;
            }
            let next = schedule.as_ref().map(Schedule::next);
            if self.busy == 0 && (self.begun == wanted || next == Some(None)) {
                return Ok(());
            }
            if self.busy > 0 && last.elapsed() > options.common.patience {
                return Err(self.late(options.common.patience));
            }
            // With every place taken no moment to begin is worth waking for.
            let wake = next.flatten().filter(|_| self.busy < options.concurrent);
            self.poll.wait(wake, &mut tokens)?;
            for &token in &tokens {
                if self.turn(token).map_err(|error| format!("after {} handshakes: {error}", self.times.len()))? {
                    last = Instant::now();
                }
            }
            progress.tick(Instant::now(), || format!("{} handshakes", grouped(self.times.len())));
        }
    }

    fn begin(&mut self, since: Instant) -> Result<(), Failure> {
        let opening = self.opener.begin(self.begun)?;
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(Place::Free);
        }
        self.poll.add(opening.transport()?, place)?;
        if let Some(slot) = self.places.get_mut(place) {
            *slot = Place::Opening(since, Box::new(opening));
        }
        self.begun += 1;
        self.busy += 1;
        Ok(())
    }

    /// Takes a connection as far as it goes; says whether that was a step.
    fn turn(&mut self, place: usize) -> Result<bool, Failure> {
        let Some(slot) = self.places.get_mut(place) else { return Ok(false) };
        if let Place::Opening(since, opening) = slot {
            let Some(opened) = opening.turn(&self.opener, &mut self.buffer)? else { return Ok(false) };
            self.times.record(*since, Instant::now(), 1);
            let Some(close) = &self.close else {
                *slot = Place::Open { _transport: opened.transport };
                self.busy -= 1;
                return Ok(true);
            };
            let mut transport = opened.transport;
            // A socket that has sent no more than a request has room for eight bytes.
            if transport.write(close)? != close.len() {
                return Err("a Close does not fit into the socket".into());
            }
            *slot = Place::Closing(transport);
        }
        if let Place::Closing(transport) = slot
            && is_closed(transport, &mut self.buffer)?
        {
            *slot = Place::Free;
            self.free.push(place);
            self.busy -= 1;
            return Ok(true);
        }
        Ok(false)
    }

    fn late(&self, patience: Duration) -> Failure {
        let (mut waits, mut closing) = (None, 0);
        for place in &self.places {
            match place {
                Place::Opening(_, opening) => waits = waits.or(Some(opening.waits_for())),
                Place::Closing(_) => closing += 1,
                Place::Free | Place::Open { .. } => {}
            }
        }
        let (done, seconds) = (self.times.len(), patience.as_secs_f64());
        match waits {
            Some(waits) => format!("{done} connections were opened; {waits} is missing for {seconds} s").into(),
            None => format!("{closing} closed connections have not ended for {seconds} s").into(),
        }
    }
}

/// Whether the server has ended TCP. What it says of its Close is its own affair.
fn is_closed(transport: &mut Transport, buffer: &mut [u8]) -> Result<bool, Failure> {
    transport.flush()?;
    loop {
        match transport.read(buffer) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

impl crate::Report for Report {
    fn head(&self) -> &Head {
        &self.head
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loop_is = self.rate.map_or("as fast as they go".to_owned(), |rate| format!("{rate} a second"));
        let closed = if self.close { ", closed at once" } else { "" };
        let (count, rate) = (grouped(self.handshakes), grouped(rounded(self.handshakes_per_second)));
        let mut lines = Lines::default();
        lines
            .add("storm", format!("{loop_is}, {} at once at most{closed}", grouped(self.concurrent as u64)))
            .add("handshakes", format!("{count} in {:.2} s, {rate} a second", self.seconds))
            .cpu(self.cpu_ns_per_handshake, self.busy, "a handshake")
            .times("time to open", &self.times);
        f.write_str(&lines.finish())
    }
}
