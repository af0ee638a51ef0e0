//! Pings sent by this end, and how long their pongs may take (RFC 6455 section 5.5.2).
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{ControlPayload, error::Fault, limits};

/// When to ask a silent peer whether it is still there, and how long to wait for its answer.
///
/// ```
/// use std::time::Duration;
/// use sockeye_proto::Keepalive;
/// let keepalive = Keepalive::with(|keepalive| keepalive.interval = Duration::from_secs(50));
/// assert_eq!((keepalive.interval, keepalive.timeout), (Duration::from_secs(50), Duration::from_secs(10)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// A ping is sent when nothing has come for this long. Default: 25 s, below the 30 s of common proxies.
    pub interval: Duration,
    /// The connection ends when the ping's own pong has not come after this long. Default: 10 s.
    pub timeout: Duration,
}

impl Keepalive {
    /// The defaults, changed.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut keepalive = Self::default();
        change(&mut keepalive);
        keepalive
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(25), timeout: Duration::from_secs(10) }
    }
}

/// ```text
///   Listening ──interval without input──▶ Waiting ──timeout──▶ the peer is gone
///       ▲                                    │
///       └─────────── a ping's pong ──────────┘
/// ```
/// Payload of a frame that comes meanwhile holds the pong up, and the timeout begins anew.
#[derive(Debug)]
enum State {
    Listening {
        since: Instant,
    },
    /// `newer` is a ping that the program sent after the watch's own. It may have replaced that in the queue, and the peer may
    /// answer it alone, as the most recent one (RFC 6455 section 5.5.3).
    Waiting {
        due: Instant,
        newer: Option<Box<ControlPayload>>,
    },
}

/// The watch over one peer. Its pings carry a counter, so that an unsolicited pong proves nothing (B21).
#[derive(Debug)]
pub(crate) struct Watch {
    state: State,
    pings: u32,
}

impl Watch {
    pub(crate) fn new(now: Instant) -> Self {
        Self { state: State::Listening { since: now }, pings: 0 }
    }

    #[inline]
    pub(crate) fn heard(&mut self, now: Instant) {
        if let State::Listening { since } = &mut self.state {
            // Input kept for later is handled with the instant at which it was read, which may be an older one.
            *since = now.max(*since);
        }
    }

    /// A frame's payload came. No pong can come before its end, so waiting for one begins anew.
    pub(crate) fn heard_payload(&mut self, keepalive: &Keepalive, now: Instant) {
        self.heard(now);
        if let State::Waiting { due, .. } = &mut self.state {
            *due = limits::deadline(now, keepalive.timeout);
        }
    }

    /// The program sent a ping of its own. The time for an answer does not begin anew.
    pub(crate) fn pinged(&mut self, payload: ControlPayload) {
        if let State::Waiting { newer, .. } = &mut self.state {
            *newer = Some(Box::new(payload));
        }
    }

    pub(crate) fn pong(&mut self, payload: &[u8], now: Instant) {
        if let State::Waiting { newer, .. } = &self.state {
            let is_newer = newer.as_ref().is_some_and(|newer| newer.as_bytes() == payload);
            if is_newer || payload == self.pings.to_be_bytes() {
                self.state = State::Listening { since: now };
            }
        }
    }

    pub(crate) fn deadline(&self, keepalive: &Keepalive) -> Instant {
        match self.state {
            State::Listening { since } => limits::deadline(since, keepalive.interval),
            State::Waiting { due, .. } => due,
        }
    }

    /// What to do once the deadline has passed: a ping to send, or the end.
    pub(crate) fn handle_timeout(
        &mut self,
        keepalive: &Keepalive,
        now: Instant,
    ) -> Result<Option<ControlPayload>, Fault> {
        if now < self.deadline(keepalive) {
            return Ok(None);
        }
        if matches!(self.state, State::Waiting { .. }) {
            return Err(Fault::PongTimeout);
        }
        self.pings = self.pings.wrapping_add(1);
        self.state = State::Waiting { due: limits::deadline(now, keepalive.timeout), newer: None };
        Ok(Some(ControlPayload::checked_by_header(Bytes::copy_from_slice(&self.pings.to_be_bytes()))))
    }
}
