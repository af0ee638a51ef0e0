//! What sessions ask for.
use bytes::Bytes;

use crate::{ChannelName, Draft, Position};

/// What a session asks for. Requests of one session are carried out in their order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Request {
    /// Everything published in a channel from now on, and perhaps some of what was. Answered by [`Done::Subscribed`](crate::Done::Subscribed).
    Subscribe(ChannelName, Subscribe),
    /// No more of it. Answered by [`Done::Unsubscribed`](crate::Done::Unsubscribed), after which nothing of it follows, but the
    /// refusal of a subscription that had not begun when it was left.
    Unsubscribe(ChannelName),
    /// Something for all subscribers. Answered by [`Done::Published`](crate::Done::Published) when it is as durable as the channel is.
    Publish(ChannelName, Draft),
    /// Who is there, so many at most. Answered by [`Done::Presence`](crate::Done::Presence).
    Presence(ChannelName, usize),
    /// What was published. Answered by [`Done::History`](crate::Done::History).
    History(ChannelName, HistoryPage),
}

impl Request {
    /// The channel it is about.
    #[must_use]
    pub fn channel(&self) -> &ChannelName {
        match self {
            Self::Subscribe(channel, _)
            | Self::Unsubscribe(channel)
            | Self::Publish(channel, _)
            | Self::Presence(channel, _)
            | Self::History(channel, _) => channel,
        }
    }
}

/// How to subscribe.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// What of the past comes first.
    pub catch_up: CatchUp,
    /// Be a member, seen with this JSON value.
    pub shown_as: Option<Bytes>,
    /// See the members, and who comes and goes.
    pub members: bool,
    /// Whether what this session publishes itself is sent to it.
    pub echo: bool,
}

impl Default for Subscribe {
    fn default() -> Self {
        Self { catch_up: CatchUp::None, shown_as: None, members: false, echo: true }
    }
}

/// What of the past a subscriber gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// Nothing.
    None,
    /// What came after this position.
    Since(Position),
    /// So many of the newest.
    Last(usize),
}

/// Which part of the history.
#[derive(Clone, Copy, Debug)]
pub struct HistoryPage {
    /// Newer than this position; with `reverse`, older. `None`: from the end at which the page begins.
    pub since: Option<Position>,
    /// So many at most.
    pub limit: usize,
    /// From the newest to the oldest.
    pub reverse: bool,
}
