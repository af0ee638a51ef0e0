//! What the two halves of a connection tell each other.
use std::{fmt, time::Instant};

use crate::{CloseFrame, ControlPayload, Error, error::Fault};

/// What receiving owes the wire: pongs, pings that look for the peer, the Close frame that ends the conversation.
///
/// [`ReceiveHalf`](crate::ReceiveHalf) gives it, [`SendHalf::handle_reply`](crate::SendHalf::handle_reply) takes it. While the
/// sending half is busy any number of replies [`merge`](Self::merge) into one, so that what waits is bounded: an endpoint "MAY
/// elect to send a Pong frame for only the most recently processed Ping frame" (RFC 6455 section 5.5.3), and nothing follows a
/// Close frame.
#[must_use]
pub struct Reply(pub(super) Box<Owed>);

#[derive(Debug)]
pub(super) enum Owed {
    /// Frames that overtake messages; of each kind the newest.
    Control { pong: Option<ControlPayload>, ping: Option<ControlPayload> },
    /// A Close frame behind what is queued, unless this end has queued one before; `shutdown`: then the end of TCP's write
    /// side.
    Close { frame: Option<CloseFrame>, shutdown: bool },
    /// Nothing: the peer is gone, or the time for it is over. What is queued is discarded.
    Nothing,
}

impl Reply {
    pub(super) fn pong(payload: ControlPayload) -> Self {
        Self(Box::new(Owed::Control { pong: Some(payload), ping: None }))
    }

    pub(super) fn ping(payload: ControlPayload) -> Self {
        Self(Box::new(Owed::Control { pong: None, ping: Some(payload) }))
    }

    pub(super) fn close(frame: Option<CloseFrame>, shutdown: bool) -> Self {
        Self(Box::new(Owed::Close { frame, shutdown }))
    }

    pub(super) fn nothing() -> Self {
        Self(Box::new(Owed::Nothing))
    }

    /// Takes up what is owed since. The newest pong and the newest ping remain; a Close frame replaces both, and nothing
    /// joins it.
    pub fn merge(&mut self, newer: Self) {
        match (&mut *self.0, *newer.0) {
            (Owed::Control { pong, ping }, Owed::Control { pong: after, ping: then }) => {
                *pong = after.or_else(|| pong.take());
                *ping = then.or_else(|| ping.take());
            }
            // The one that this end queued, then what the peer's answer to it makes of TCP.
            (Owed::Close { shutdown, .. }, Owed::Close { shutdown: then, .. }) => *shutdown |= then,
            (Owed::Control { .. }, newer) | (Owed::Close { .. }, newer @ Owed::Nothing) => *self.0 = newer,
            (Owed::Close { .. } | Owed::Nothing, _) => {}
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self.0 {
            Owed::Control { pong: Some(_), .. } => "Reply(pong)",
            Owed::Control { .. } => "Reply(ping)",
            Owed::Close { .. } => "Reply(close)",
            Owed::Nothing => "Reply(nothing)",
        })
    }
}

/// What the receiving half has to know of sending.
///
/// [`SendHalf`](crate::SendHalf) gives it, [`ReceiveHalf::handle_notice`](crate::ReceiveHalf::handle_notice) takes it. A newer
/// one replaces one that waits: each makes those before it meaningless.
#[must_use]
pub struct Notice(pub(super) Box<News>);

#[derive(Debug)]
pub(super) enum News {
    /// A ping of the program's was queued. Its pong may be the only one that the pings before it get.
    Pinged(ControlPayload),
    /// A Close frame was queued, and is to be answered by then.
    CloseQueued { until: Instant },
    /// Nothing more can be written.
    Failed { fault: Fault, at: Instant },
    /// The write side is shut down, as the [`Reply`] wanted.
    Shut,
}

impl Notice {
    pub(super) fn new(news: News) -> Self {
        Self(Box::new(news))
    }

    /// Why nothing more can be written, if that is the news. [`Error::is_eof`] stands for whatever made the caller say
    /// [`handle_eof`](crate::SendHalf::handle_eof).
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        if let News::Failed { fault, .. } = *self.0 { Some(Error::new(fault)) } else { None }
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self.0 {
            News::Pinged(_) => "Notice(pinged)",
            News::CloseQueued { .. } => "Notice(close queued)",
            News::Failed { .. } => "Notice(failed)",
            News::Shut => "Notice(shut)",
        })
    }
}
