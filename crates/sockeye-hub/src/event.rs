//! What sessions are told.
use std::{sync::Arc, time::Duration};

use crate::{Change, ChannelName, Member, Position, Publication};

/// What a session is told, besides publications, which go through [`Host::deliver`](crate::Host::deliver).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A request with a tag was done.
    Done(u64, Done),
    /// A request was not done. Without a tag if it had none.
    Failed(Option<u64>, Failure),
    /// A member came or went.
    Changed(Arc<Change>),
    /// Continuity was lost: what follows comes after this position, if the channel has positions.
    Lost(ChannelName, Option<Position>, LostReason),
    /// The hub ended a subscription.
    Ended(ChannelName, Cause),
    /// The hub ended the session; nothing follows.
    Closing(Cause),
}

/// How a request was done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Done {
    /// The newest position (if the channel has any), how many publications up to it follow, whether nothing is missing since the
    /// position that was asked for, and the members if they were asked for.
    Subscribed {
        /// The newest position when the subscription began.
        position: Option<Position>,
        /// How many publications up to that position follow.
        catch_up: usize,
        /// Whether all since the position asked for follows; `None` if none was.
        recovered: Option<bool>,
        /// Who is there.
        members: Option<Vec<Arc<Member>>>,
    },
    /// Nothing of that channel follows.
    Unsubscribed,
    /// Its place; `None` if it is volatile or the channel has no history.
    Published(Option<Position>),
    /// How many are there, and some of them in the order in which they came.
    Presence(usize, Vec<Arc<Member>>),
    /// A part of the history.
    History {
        /// The newest position.
        position: Position,
        /// In the order asked for.
        items: Vec<Arc<Publication>>,
        /// Whether there are others in that direction.
        more: bool,
    },
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: FailureCode,
    /// For people.
    pub message: &'static str,
    /// When to try again, if that can help.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that trying again does not mend.
    #[must_use]
    pub fn new(code: FailureCode, message: &'static str) -> Self {
        Self { code, message, retry_after: None }
    }

    /// A failure that may have passed after that time.
    #[must_use]
    pub fn passing(code: FailureCode, message: &'static str, retry_after: Duration) -> Self {
        Self { code, message, retry_after: Some(retry_after) }
    }
}

/// The kinds of failure. Not `non_exhaustive`: a dialect has a word for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// The request makes no sense for this channel.
    BadRequest,
    /// Not allowed to somebody who has not said who it is.
    Unauthorized,
    /// Not allowed.
    Forbidden,
    /// There is no such channel, and can be none.
    BadChannel,
    /// A part of it is larger than it may be.
    TooBig,
    /// Too often.
    RateLimited,
    /// A bound of the session or the hub is reached.
    Limit,
    /// Not subscribed to that channel.
    NotSubscribed,
    /// Subscribed to it already.
    AlreadySubscribed,
    /// The history does not hold that position any more, or never did.
    PositionLost,
    /// The store does not answer as it should. Whether it was done is not known; it may be tried again with the same key.
    Unavailable,
}

/// Why continuity was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LostReason {
    /// The history does not reach back so far.
    History,
    /// The subscriber did not keep up.
    Slow,
    /// The store lost something.
    Store,
    /// The channel's log began anew.
    Epoch,
}

/// Why the hub ended a subscription or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It is not allowed any more.
    Forbidden,
    /// More waited for it than is kept.
    Slow,
    /// The channel cannot be had at the moment.
    Unavailable,
}

impl Cause {
    /// Whether asking again can help.
    #[must_use]
    pub fn may_come_back(self) -> bool {
        !matches!(self, Self::Forbidden)
    }
}
