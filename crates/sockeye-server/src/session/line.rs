//! The line to one client: its stream of messages, and what holds for it.
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use sockeye::{Message, Rate};
use sockeye_hub::SessionKey;
use tracing::debug;

use crate::{
    SessionLimits,
    dialect::Said,
    talk::Talk,
    worker::{Expiry, Local, Put},
};

/// Borrowed for moments, by the task that reads and by the turn that writes.
pub(super) struct Line<S> {
    pub(super) socket: S,
    /// Of the task, so that whoever writes can leave the rest to it.
    pub(super) waker: Option<Waker>,
    pub(super) key: Option<SessionKey>,
    pub(super) rate: Rate,
    /// Commands refused because they came too fast, less those that were done since.
    pub(super) refused: u16,
    /// That are being answered.
    pub(super) calls: u16,
    pub(super) stage: Stage,
    /// The hub keeps publications until there is room.
    pub(super) is_full: bool,
    /// Something was put, and will be flushed at the end of the turn.
    pub(super) is_unflushed: bool,
    /// In which round it has asked to be woken when the pressure on its worker lets it be read.
    pub(super) asked_for_room: u64,
    /// The command that is being answered at length; no other is taken before it has been.
    pub(super) reading: Option<u64>,
    pub(super) rest: Option<Box<Rest>>,
    /// When its token runs out.
    pub(super) expiry: Option<Expiry>,
}

/// A message, and how many of its commands have been taken.
pub(super) struct Rest {
    pub(super) is_text: bool,
    pub(super) bytes: Bytes,
    pub(super) taken: usize,
}

/// ```text
/// New ──first command──▶ Open ──either side ends it──▶ Leaving
///  └──────────────────────────────────────────────────────▶┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It may still say who it is.
    New,
    /// It is who it is.
    Open,
    /// It has no session any more; the closing handshake goes on.
    Leaving,
}

/// What a task has to do next.
pub(super) enum Next {
    /// Something was said.
    Take(Rest),
    /// The hub can go on.
    Writable(SessionKey),
    /// The connection is over.
    End,
}

impl<S: Talk> Line<S> {
    pub(super) fn new(socket: S) -> Self {
        Self {
            socket,
            waker: None,
            key: None,
            rate: Rate::default(),
            refused: 0,
            calls: 0,
            stage: Stage::New,
            is_full: false,
            is_unflushed: false,
            asked_for_room: 0,
            reading: None,
            rest: None,
            expiry: None,
        }
    }

    pub(super) fn poll_next(&mut self, local: &Local, cx: &mut Context<'_>) -> Poll<Next> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        loop {
            if self.stage != Stage::Leaving {
                if self.is_full || self.socket.buffered_amount() > local.limits.soft_output {
                    if let Err(error) = ready!(self.socket.poll_ready(cx)) {
                        debug!(code = error.code(), "session ended: {error}");
                        return Poll::Ready(Next::End);
                    }
                    if std::mem::take(&mut self.is_full)
                        && let Some(key) = self.key
                    {
                        return Poll::Ready(Next::Writable(key));
                    }
                }
                if local.pressure().on_sessions {
                    local.wait_for_room(cx.waker(), &mut self.asked_for_room);
                    // What fails here is told when it is read again.
                    let _ = self.socket.poll_flush(cx);
                    return Poll::Pending;
                }
                if self.rest.is_some() && self.reading.is_some() {
                    let _ = self.socket.poll_flush(cx);
                    return Poll::Pending;
                }
                if let Some(rest) = self.rest.take() {
                    return Poll::Ready(Next::Take(*rest));
                }
            }
            return Poll::Ready(match ready!(self.socket.poll_recv(cx)) {
                Some(Ok(_)) if self.stage == Stage::Leaving => continue,
                Some(Ok(message)) if self.reading.is_some() => {
                    self.rest = Some(Box::new(Rest::of(message)));
                    continue;
                }
                Some(Ok(message)) => Next::Take(Rest::of(message)),
                Some(Err(error)) => {
                    debug!(code = error.code(), "session ended: {error}");
                    Next::End
                }
                None => Next::End,
            });
        }
    }

    /// The next message if it is here already and may be taken now.
    pub(super) fn next_at_hand(&mut self, limits: &SessionLimits) -> Option<Rest> {
        if self.is_busy(limits) { None } else { self.socket.try_recv().map(Rest::of) }
    }

    /// Whether no command may be taken now.
    pub(super) fn is_busy(&self, limits: &SessionLimits) -> bool {
        self.stage == Stage::Leaving
            || self.reading.is_some()
            || self.is_full
            || self.socket.buffered_amount() > limits.soft_output
    }

    /// Puts something into the output, which has room for so much.
    pub(super) fn put(&mut self, said: Said, room: usize) -> Result<Put, TooSlow> {
        let len = match &said {
            Said::One(message) => message.len(),
            Said::Many(message) => message.message().len(),
        };
        if !self.fits(len, room) {
            // Nothing of what this turn has put has left yet.
            self.write();
        }
        if !self.fits(len, room) {
            debug!(len, waiting = self.socket.buffered_amount(), "a session is too slow");
            return Err(TooSlow);
        }
        let sent = match said {
            Said::One(message) => self.socket.try_send(message).map_err(|refused| refused.is_full()),
            Said::Many(message) => self.socket.try_send_prepared(&message).map_err(|refused| refused.is_full()),
        };
        match sent {
            Ok(()) if std::mem::replace(&mut self.is_unflushed, true) => Ok(Put::Taken),
            Ok(()) => Ok(Put::Unflushed),
            Err(true) => Err(TooSlow),
            // It is closing, and will be over in a moment.
            Err(false) => Ok(Put::Taken),
        }
    }

    /// One thing may be larger than the bound, while less than half of it waits.
    pub(super) fn fits(&self, len: usize, room: usize) -> bool {
        let waiting = self.socket.buffered_amount();
        waiting <= room / 2 || waiting.saturating_add(len) <= room
    }

    /// Hands the transport what it takes now; its task sees to the rest.
    pub(super) fn write(&mut self) {
        let Some(waker) = &self.waker else { return };
        if let Poll::Ready(Err(error)) = self.socket.poll_flush(&mut Context::from_waker(waker)) {
            debug!(code = error.code(), "session lost: {error}");
            waker.wake_by_ref();
        }
    }

    /// The session is over; which one, if it was not before.
    pub(super) fn leave(&mut self) -> Option<SessionKey> {
        self.stage = Stage::Leaving;
        self.key.take()
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// More was waiting for a client than is kept.
pub(super) struct TooSlow;

impl Rest {
    pub(super) fn of(message: Message) -> Self {
        Self { is_text: message.is_text(), bytes: message.into_bytes(), taken: 0 }
    }
}
