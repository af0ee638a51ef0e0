//! What workers say to each other about channels.
use std::{sync::Arc, time::Instant};

use crate::{
    CatchUp, Change, ChannelName, Done, Draft, Failure, HistoryPage, LostReason, Member, Position, Publication, Sender,
    SessionId, SessionKey,
};
use bytes::Bytes;

/// One worker of a server, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

/// Between two workers. All that one sends to another has to arrive in order and without loss, for as long as both live.
#[derive(Debug)]
pub enum Wire {
    /// From a front to a home. May be held back while the home's worker has too much to tell.
    Ask(Ask),
    /// From a home to a front. Never held back for anything that a front waits for: telling ends in sessions.
    Tell(Tell),
}

/// Whom an answer is for. Means nothing to a home, which passes it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub(crate) session: SessionKey,
    pub(crate) tag: Option<u64>,
    /// Of the subscription, which may have been ended and asked for again meanwhile.
    pub(crate) serial: u64,
}

/// What a front asks a home.
#[derive(Debug)]
pub struct Ask {
    pub(crate) channel: ChannelName,
    pub(crate) ticket: Ticket,
    pub(crate) what: AskWhat,
}

#[derive(Debug)]
pub(crate) enum AskWhat {
    Subscribe {
        who: Sender,
        catch_up: CatchUp,
        shown_as: Option<Bytes>,
        members: bool,
    },
    /// Of a subscription that was begun: one for each [`TellWhat::Subscribed`], never for another.
    Unsubscribe {
        who: SessionId,
    },
    Publish {
        from: Option<Sender>,
        draft: Draft,
    },
    Presence {
        limit: usize,
    },
    History(HistoryPage),
}

/// What a home tells a front.
#[derive(Debug)]
pub struct Tell {
    pub(crate) channel: ChannelName,
    pub(crate) what: TellWhat,
}

#[derive(Debug)]
pub(crate) enum TellWhat {
    Subscribed(Ticket, Box<Begun>),
    /// The subscription was not begun; the home counts nobody for it.
    NotSubscribed(Ticket, Failure),
    Publication(Arc<Publication>),
    Changed(Arc<Change>),
    Lost(Position, LostReason),
    Answer(Ticket, Result<Done, Failure>),
}

/// How a subscription begins.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Whose it is.
    pub(crate) who: SessionId,
    pub(crate) position: Option<Position>,
    pub(crate) recovered: Option<bool>,
    pub(crate) items: Vec<Arc<Publication>>,
    pub(crate) members: Option<Vec<Arc<Member>>>,
}

/// Which epochs and session ids are used; a random number of 128 bits each time it is asked.
pub(crate) type Dice = Box<dyn FnMut() -> u128 + Send>;

/// When something is due, or never.
pub(crate) fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Ask {
    pub(crate) fn weight(&self) -> usize {
        match &self.what {
            AskWhat::Publish { draft, .. } => draft.payload.bytes.len(),
            AskWhat::Subscribe { shown_as, .. } => shown_as.as_ref().map_or(0, Bytes::len),
            _ => 0,
        }
    }
}
