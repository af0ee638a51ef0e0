//! The one response that is being written.
use std::time::{Duration, Instant};

use super::Config;

/// Which of a conversation's receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiverId(pub(super) u64);

/// How a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverKind {
    /// With the first frame after which so many bytes have been written, the prelude not counted.
    Streaming {
        /// Bytes with all that is around messages.
        limit: usize,
    },
    /// After one frame.
    Poll,
}

/// What the conversation knows of its receiver.
///
/// ```text
/// Absent ──attach──▶ Attached ──last frame──▶ Ending ──attach──▶ Attached
///    ▲                  │ detach, stall          │ detach
///    └──────────────────┴────────────────────────┘ or takes too long
/// ```
#[derive(Debug)]
pub(super) enum Slot<F> {
    Absent {
        since: Instant,
    },
    Attached(Receiver<F>),
    /// Its last frame has been handed out; the transport still writes it.
    Ending {
        id: ReceiverId,
        since: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Receiver<F> {
    pub(super) id: ReceiverId,
    pub(super) framing: F,
    kind: ReceiverKind,
    written: usize,
    pub(super) spoke_at: Instant,
    owes_heartbeat: bool,
    watch: Option<Watch>,
}

/// Over a receiver for which something waits.
#[derive(Debug)]
struct Watch {
    since: Instant,
    taken: usize,
}

impl<F> Receiver<F> {
    pub(super) fn new(id: ReceiverId, framing: F, kind: ReceiverKind, now: Instant) -> Self {
        Self { id, framing, kind, written: 0, spoke_at: now, owes_heartbeat: false, watch: None }
    }

    /// Bytes that it may still take.
    pub(super) fn left(&self) -> usize {
        match self.kind {
            ReceiverKind::Streaming { limit } => limit.saturating_sub(self.written),
            ReceiverKind::Poll => usize::MAX,
        }
    }

    /// A frame of so many bytes has been handed out. Whether it was the last one.
    pub(super) fn has_written(&mut self, bytes: usize, now: Instant) -> bool {
        self.written = self.written.saturating_add(bytes);
        self.spoke_at = now;
        self.owes_heartbeat = false;
        if let Some(watch) = &mut self.watch {
            watch.taken = watch.taken.saturating_add(bytes);
        }
        match self.kind {
            ReceiverKind::Streaming { limit } => self.written >= limit,
            ReceiverKind::Poll => true,
        }
    }

    pub(super) fn owes_heartbeat(&self) -> bool {
        self.owes_heartbeat
    }

    /// Something waits, and there is no room.
    pub(super) fn must_progress(&mut self, now: Instant) {
        self.watch.get_or_insert(Watch { since: now, taken: 0 });
    }

    /// It has taken all.
    pub(super) fn has_caught_up(&mut self) {
        self.watch = None;
    }

    pub(super) fn deadline(&self, config: &Config) -> Option<Instant> {
        let heartbeat = if self.owes_heartbeat { None } else { after(self.spoke_at, config.heartbeat) };
        let stall = self.watch.as_ref().and_then(|watch| after(watch.since, config.stall));
        heartbeat.into_iter().chain(stall).min()
    }

    /// Whether it goes on.
    pub(super) fn handle_timeout(&mut self, now: Instant, config: &Config) -> bool {
        if after(self.spoke_at, config.heartbeat).is_some_and(|at| at <= now) {
            self.owes_heartbeat = true;
        }
        let Some(watch) = &mut self.watch else { return true };
        if after(watch.since, config.stall).is_none_or(|at| at > now) {
            return true;
        }
        let is_slow = watch.taken < config.min_progress;
        *watch = Watch { since: now, taken: 0 };
        !is_slow
    }
}

/// Then; `None` is never.
pub(super) fn after(instant: Instant, duration: Duration) -> Option<Instant> {
    instant.checked_add(duration)
}
