//! What a hub asks the store of durable channels, and what it hears.
use std::sync::Arc;

use crate::{ChannelName, Epoch, Publication};

/// What a hub asks the store. Requests for one channel are carried out in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreRequest {
    /// What there is of a channel. Answered by [`StoreReply::Loaded`] or [`StoreReply::NotLoaded`].
    Load(ChannelName),
    /// Keep a publication. Answered by [`StoreReply::Appended`] once it would survive a crash, or by
    /// [`StoreReply::NotAppended`]; after that the store drops every append of that channel without a word, until it is asked
    /// to load it again.
    Append(Append),
}

/// A publication to be kept.
#[derive(Clone, Debug)]
pub struct Append {
    /// What to keep; it has a position.
    pub publication: Arc<Publication>,
    /// The idempotency key to remember with its offset.
    pub key: Option<Arc<str>>,
    /// Publications with smaller offsets need not be kept any more.
    pub keep_from: u64,
}

/// What the store says, for each channel in the order of the requests.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreReply {
    /// What there is of a channel.
    Loaded(ChannelName, Loaded),
    /// The publication with this offset would survive a crash, and all of the channel before it.
    Appended(ChannelName, u64),
    /// What there is of the channel cannot be said at the moment.
    NotLoaded(ChannelName),
    /// The next publication of the channel may be kept or not; loading the channel tells. Those behind it are not.
    NotAppended(ChannelName),
}

/// A channel as the store has it.
#[derive(Debug)]
pub struct Loaded {
    /// Which life of the log. A channel that the store has never seen has one too, the same each time it is asked until
    /// something is appended, and from then on for as long as the store lives.
    pub epoch: Epoch,
    /// The offset of the newest publication ever, 0 if there was none.
    pub top: u64,
    /// The newest publications in order, without a hole, the last with offset `top`; may be fewer than were appended.
    pub items: Vec<Arc<Publication>>,
    /// Idempotency keys with their offsets and times in Unix milliseconds, from the oldest to the newest.
    pub keys: Vec<(Arc<str>, u64, u64)>,
}
