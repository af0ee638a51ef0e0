//! Pings sent by this end, and how long their pongs may take (RFC 6455 section 5.5.2).
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{ControlPayload, error::Fault, limits};

/// When to ask a silent peer whether it is still there, and how long to wait for its answer.
///
/// ```
/// use std::time::Duration;
/// use sockeye_proto::Keepalive;
/// let keepalive = Keepalive::default();
/// assert_eq!((keepalive.interval, keepalive.timeout), (Duration::from_secs(25), Duration::from_secs(10)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// A ping is sent when nothing has come for this long. Default: 25 s, below the 30 s of common proxies.
    pub interval: Duration,
    /// The connection ends when the ping's own pong has not come after this long. Default: 10 s.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(25), timeout: Duration::from_secs(10) }
    }
}

/// ```text
///   Listening ──interval without input──▶ Waiting ──timeout──▶ the peer is gone
///       ▲                                    │
///       └────────── the ping's pong ─────────┘
/// ```
/// Payload of a frame that comes meanwhile holds the pong up, and the timeout begins anew.
#[derive(Debug)]
enum State {
    Listening { since: Instant },
    Waiting { due: Instant },
}

/// The watch over one peer. Its pings carry a counter, so that an unsolicited pong proves nothing (B21).
#[derive(Debug)]
pub(crate) struct Watch {
    keepalive: Keepalive,
    state: State,
    pings: u32,
}

impl Watch {
    pub(crate) fn new(keepalive: Keepalive, now: Instant) -> Self {
        Self { keepalive, state: State::Listening { since: now }, pings: 0 }
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        if let State::Listening { since } = &mut self.state {
            // Input kept for later is handled with the instant at which it was read, which may be an older one.
            *since = now.max(*since);
        }
    }

    /// A frame's payload came. No pong can come before its end, so waiting for one begins anew.
    pub(crate) fn heard_payload(&mut self, now: Instant) {
        self.heard(now);
        if let State::Waiting { due } = &mut self.state {
            *due = limits::deadline(now, self.keepalive.timeout);
        }
    }

    pub(crate) fn pong(&mut self, payload: &[u8], now: Instant) {
        if payload == self.pings.to_be_bytes() {
            self.state = State::Listening { since: now };
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        match self.state {
            State::Listening { since } => limits::deadline(since, self.keepalive.interval),
            State::Waiting { due } => due,
        }
    }

    /// What to do once the deadline has passed: a ping to send, or the end.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<Option<ControlPayload>, Fault> {
        if now < self.deadline() {
            return Ok(None);
        }
        if matches!(self.state, State::Waiting { .. }) {
            return Err(Fault::PongTimeout);
        }
        self.pings = self.pings.wrapping_add(1);
        self.state = State::Waiting { due: limits::deadline(now, self.keepalive.timeout) };
        Ok(Some(ControlPayload::checked_by_header(Bytes::copy_from_slice(&self.pings.to_be_bytes()))))
    }
}
