//! Requests and their replies on many connections: the loop that `echo`, `publish` and `idle` are made of.
//!
//! Closed loop: each connection sends as many messages as may be in flight with one write, and the next as many when
//! the last reply is there; so every server is asked for the same work in the same portions. Open loop: messages leave
//! at their moments, on one connection after the other, whatever has been answered.

use crate::Failure;
use crate::link::{Burst, Link};
use crate::pace::Schedule;
use crate::poll::Poll;
use crate::progress::Progress;
use crate::report::{Times, grouped};
use crate::verify::Reply;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const READ_BUFFER: usize = 256 * 1024;
/// Messages that leave before replies are read again, when many are due.
const DUE_AT_ONCE: usize = 256;
/// How long replies are waited for when somebody wants an end.
const LAST_REPLIES: Duration = Duration::from_secs(1);

pub(crate) struct Exchange {
    pub(crate) poll: Poll,
    peers: Vec<Peer>,
    bursts: Vec<Burst>,
    /// Of each reply, from when its message was due to when it was read.
    pub(crate) times: Times,
    patience: Duration,
    buffer: Vec<u8>,
    /// Replies that are still to come.
    missing: u64,
    /// Whose turn it is in an open loop.
    turn: usize,
}

/// A connection, and what it waits for.
struct Peer {
    link: Link,
    reply: Reply,
    /// Which of the bursts it sends.
    burst: usize,
    /// Since when, and for how many replies.
    waiting: VecDeque<(Instant, u64)>,
}

/// What is to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) duration: Duration,
    pub(crate) messages: u64,
    pub(crate) pace: Pace,
}

#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// So many in flight on each connection.
    Closed(u16),
    /// So many a second on all connections together.
    Open(f64),
}

impl Pace {
    /// Of the two options.
    pub(crate) fn of(rate: Option<f64>, in_flight: u16) -> Self {
        rate.map_or(Self::Closed(in_flight), Self::Open)
    }
}

impl Exchange {
    pub(crate) fn new(poll: Poll, patience: Duration) -> Self {
        Self {
            poll,
            peers: Vec::new(),
            bursts: Vec::new(),
            times: Times::new(),
            patience,
            buffer: vec![0; READ_BUFFER],
            missing: 0,
            turn: 0,
        }
    }

    /// Adds what connections can send, and returns its number.
    pub(crate) fn burst(&mut self, burst: Burst) -> usize {
        self.bursts.push(burst);
        self.bursts.len() - 1
    }

    /// Adds a connection, whose token is the number of those before it.
    pub(crate) fn add(&mut self, link: Link, burst: usize, reply: Reply) {
        self.peers.push(Peer { link, reply, burst, waiting: VecDeque::new() });
    }

    /// Makes all connections send this from now on.
    pub(crate) fn send_only(&mut self, burst: usize) {
        self.peers.iter_mut().for_each(|peer| peer.burst = burst);
    }

    /// Ends the connections, and leaves the poll.
    pub(crate) fn close(&mut self) {
        self.peers.clear();
    }

    /// One message on each connection.
    ///
    /// # Errors
    ///
    /// As [`drive`](Self::drive).
    pub(crate) fn once(&mut self) -> Result<(), Failure> {
        let messages = self.peers.len() as u64;
        self.drive(Plan { duration: Duration::MAX, messages, pace: Pace::Closed(1) })
    }

    /// Sends until the time or the messages are over, or somebody wants an end, and every reply is there: the server
    /// rests when this returns.
    ///
    /// # Errors
    ///
    /// When a connection ends, a reply is late, or one is not what it must be.
    pub(crate) fn drive(&mut self, plan: Plan) -> Result<(), Failure> {
        let start = Instant::now();
        let end = start.checked_add(plan.duration);
        let (mut schedule, mut left) = match plan.pace {
            Pace::Open(rate) => (Some(Schedule::new(rate, start, plan.duration, plan.messages)), 0),
            Pace::Closed(_) => (None, plan.messages),
        };
        for index in 0..self.peers.len() {
            self.send_more(index, plan.pace, start, &mut left)?;
        }
        let (mut heard, mut stopped, mut tokens) = (start, None, Vec::new());
        let mut progress = Progress::new();
        loop {
            let now = Instant::now();
            if self.poll.is_interrupted() {
                (schedule, left) = (None, 0);
                if now.duration_since(*stopped.get_or_insert(now)) > LAST_REPLIES {
                    return Ok(());
                }
            }
            if self.missing == 0 {
                heard = now;
            }
            if let Some(schedule) = &mut schedule {
                for due in (0..DUE_AT_ONCE).map_while(|_| schedule.take(now)) {
                    self.send_next(due)?;
                }
            }
            let next = schedule.as_ref().and_then(Schedule::next);
            if self.missing == 0 && next.is_none() {
                return Ok(());
            }
            if now.duration_since(heard) > self.patience {
                return Err(self.late());
            }
            self.poll.wait(next, &mut tokens)?;
            if end.is_some_and(|end| Instant::now() >= end) {
                left = 0;
            }
            for &token in &tokens {
                let at = self.turn_of(token)?;
                if let Some(at) = at {
                    heard = at;
                    self.send_more(token, plan.pace, at, &mut left)?;
                }
            }
            progress.tick(heard, || format!("{} replies, p99 {:.0} us", grouped(self.times.len()), self.p99_us()));
        }
    }

    /// Holds the connections for so long, or until somebody wants an end: nothing is sent but pongs.
    ///
    /// # Errors
    ///
    /// When a connection ends.
    pub(crate) fn rest(&mut self, duration: Duration) -> Result<(), Failure> {
        let (end, mut tokens) = (Instant::now() + duration, Vec::new());
        while Instant::now() < end {
            if self.poll.is_interrupted() {
                return Ok(());
            }
            self.poll.wait(Some(end), &mut tokens)?;
            for &token in &tokens {
                self.turn_of(token)?;
            }
        }
        Ok(())
    }

    fn p99_us(&self) -> f64 {
        self.times.percentiles().p99_us
    }

    /// In a closed loop the next burst, if there is none on its way.
    fn send_more(&mut self, index: usize, pace: Pace, now: Instant, left: &mut u64) -> Result<(), Failure> {
        let Pace::Closed(in_flight) = pace else { return Ok(()) };
        let count = u64::from(in_flight).min(*left);
        if count == 0 || self.peers.get(index).is_none_or(|peer| !peer.waiting.is_empty()) {
            return Ok(());
        }
        *left -= count;
        self.send(index, now, count)
    }

    /// In an open loop one message on the connection whose turn it is.
    fn send_next(&mut self, due: Instant) -> Result<(), Failure> {
        let index = self.turn % self.peers.len().max(1);
        self.turn = index + 1;
        self.send(index, due, 1)
    }

    fn send(&mut self, index: usize, since: Instant, count: u64) -> Result<(), Failure> {
        let peer = self.peers.get_mut(index).ok_or("no such connection")?;
        let burst = self.bursts.get(peer.burst).ok_or("no such burst")?;
        peer.waiting.push_back((since, count));
        peer.link.owe(burst, usize::try_from(count)?);
        self.missing += count;
        peer.link.write(burst).map_err(|error| on(index, &error))
    }

    /// Writes and reads what there is, and says when, if replies were among it.
    fn turn_of(&mut self, index: usize) -> Result<Option<Instant>, Failure> {
        let Some(peer) = self.peers.get_mut(index) else { return Ok(None) };
        let burst = self.bursts.get(peer.burst).ok_or("no such burst")?;
        let replies = peer.turn(burst, &mut self.buffer).map_err(|error| on(index, &error))?;
        if replies == 0 {
            return Ok(None);
        }
        let now = Instant::now();
        peer.answered(replies, |since, count| self.times.record(since, now, count))
            .map_err(|error| on(index, &error))?;
        self.missing -= replies;
        Ok(Some(now))
    }

    fn late(&self) -> Failure {
        let waiting = self.peers.iter().filter(|peer| !peer.waiting.is_empty()).count();
        let (seconds, came) = (self.patience.as_secs_f64(), self.times.len());
        let missing = self.missing;
        format!("{missing} replies on {waiting} connections are missing for {seconds} s; {came} came").into()
    }
}

impl Peer {
    fn turn(&mut self, burst: &Burst, buffer: &mut [u8]) -> Result<u64, Failure> {
        let Self { link, reply, .. } = self;
        link.write(burst)?;
        let (mut replies, known) = (0, reply.known());
        let known = known.as_ref().map(|expected| &expected.frame[..]).unwrap_or_default();
        let whole = link.read(buffer, known, |piece| {
            replies += reply.hear(piece)?;
            Ok(())
        })?;
        // Pongs.
        link.write(burst)?;
        Ok(whole + replies)
    }

    /// Takes off the oldest of what it waits for.
    fn answered(&mut self, mut replies: u64, mut each: impl FnMut(Instant, u64)) -> Result<(), Failure> {
        while replies > 0 {
            let (since, count) = self.waiting.front_mut().ok_or("more replies than requests")?;
            let answered = replies.min(*count);
            each(*since, answered);
            *count -= answered;
            replies -= answered;
            if *count == 0 {
                self.waiting.pop_front();
            }
        }
        Ok(())
    }
}

fn on(index: usize, error: &Failure) -> Failure {
    format!("connection {}: {error}", index + 1).into()
}
