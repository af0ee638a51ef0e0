//! What is published, and by whom.
use std::{
    any::Any,
    fmt,
    str::FromStr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::ChannelName;

/// What the bytes of a payload are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A JSON value, well formed.
    Json,
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// The content of a publication. The hub never looks inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What the bytes are.
    pub kind: Kind,
    /// The bytes, as they came.
    pub bytes: Bytes,
}

/// What a publisher hands in.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The content.
    pub payload: Payload,
    /// A name for the kind of event.
    pub event: Option<Arc<str>>,
    /// The idempotency key: the same key in this channel within [`HubOptions::key_age`](crate::HubOptions::key_age) is one entry.
    pub key: Option<Arc<str>>,
    /// For a subscriber that is behind, a newer publication with the same value replaces an older one that still waits, where
    /// the channel's [policy](crate::SlowPolicy::Latest) is that.
    pub conflate: Option<Arc<str>>,
    /// Whether the publisher's own session gets it too, if it has subscribed.
    pub echo: bool,
    /// To those who are there now: no history, no position.
    pub volatile: bool,
}

impl Draft {
    /// A payload with nothing special: echoed, kept in the history if the channel has one.
    #[must_use]
    pub fn new(payload: Payload) -> Self {
        Self { payload, event: None, key: None, conflate: None, echo: true, volatile: false }
    }
}

/// One life of a channel's log. Within it an offset means one publication for ever; a log that begins anew has another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u128);

/// A place in a channel's order: the publication with this offset has been seen, the next has the offset after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which life of the log.
    pub epoch: Epoch,
    /// Its offset; the first publication of an epoch has 1.
    pub offset: u64,
}

/// The public name of a session: random, given by the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u128);

/// Who published, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The publisher's session.
    pub session: SessionId,
    /// The user, if not anonymous.
    pub user: Option<Arc<str>>,
}

/// One entry of a channel, as every subscriber gets it. Shared, never copied.
#[derive(Debug)]
pub struct Publication {
    /// Where.
    pub channel: ChannelName,
    /// Its place; `None` if it is volatile or the channel has no history.
    pub position: Option<Position>,
    /// The content.
    pub payload: Payload,
    /// A name for the kind of event.
    pub event: Option<Arc<str>>,
    /// See [`Draft::conflate`].
    pub conflate: Option<Arc<str>>,
    /// Who published; `None` for the server's own interface.
    pub from: Option<Sender>,
    /// Whether the publisher's own session gets it.
    pub echo: bool,
    /// When it was accepted, in Unix milliseconds.
    pub at_ms: u64,
    /// What dialects have made of it.
    pub encoded: Encoded,
}

impl Publication {
    /// The bytes that it counts for in every budget: its content, and 128 for what surrounds it.
    #[must_use]
    pub fn weight(&self) -> usize {
        let texts = [&self.event, &self.conflate].into_iter().flatten().map(|text| text.len());
        texts.fold(self.payload.bytes.len(), usize::saturating_add).saturating_add(128)
    }

    /// Its offset, 0 if it has none.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.position.map_or(0, |position| position.offset)
    }
}

/// One seen in a channel.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// The session.
    pub session: SessionId,
    /// The user, if not anonymous.
    pub user: Option<Arc<str>>,
    /// How it wants to be seen: a JSON value, well formed.
    pub shown_as: Bytes,
}

impl Member {
    /// The bytes that it counts for in a list: how it is seen, and 128 for what surrounds it.
    pub(crate) fn weight(&self) -> usize {
        let user = self.user.as_ref().map_or(0, |user| user.len());
        self.shown_as.len().saturating_add(user).saturating_add(128)
    }
}

/// A member came or went.
#[derive(Debug)]
pub struct Change {
    /// Where.
    pub channel: ChannelName,
    /// Came, or went.
    pub joined: bool,
    /// Who.
    pub member: Arc<Member>,
    /// What dialects have made of it.
    pub encoded: Encoded,
}

/// What dialects have made of a thing that goes to many: encoded by the first who needs it, once.
#[derive(Default)]
pub struct Encoded([OnceLock<Box<dyn Any + Send + Sync>>; Encoded::SLOTS]);

impl Encoded {
    /// How many dialects there can be.
    pub const SLOTS: usize = 4;

    /// What is in this slot, made now if nobody has yet. `None` if there is no such slot, or it holds another type.
    pub fn get_or_make<T: Any + Send + Sync>(&self, slot: usize, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get(slot)?.get_or_init(|| Box::new(make())).downcast_ref()
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} encoded", self.0.iter().filter(|slot| slot.get().is_some()).count())
    }
}

/// Not a number of 128 bits in 32 hexadecimal digits, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadNumber;

/// Both are written as 32 hexadecimal digits, in lower case, and read in no other form.
macro_rules! written_in_hex {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = BadNumber;

            fn from_str(text: &str) -> Result<Self, BadNumber> {
                let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if digits { u128::from_str_radix(text, 16).map(Self).map_err(|_| BadNumber) } else { Err(BadNumber) }
            }
        }
    };
}

written_in_hex!(Epoch);
written_in_hex!(SessionId);

impl fmt::Display for BadNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not 32 hexadecimal digits")
    }
}

impl std::error::Error for BadNumber {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_have_one_form() {
        let epoch = Epoch(0xabc);
        assert_eq!(epoch.to_string(), "00000000000000000000000000000abc");
        assert_eq!(epoch.to_string().parse(), Ok(epoch));
        for bad in ["", "abc", "+0000000000000000000000000000abc", "00000000000000000000000000000ABC"] {
            assert_eq!(bad.parse::<Epoch>(), Err(BadNumber), "{bad}");
        }
    }

    #[test]
    fn each_dialect_encodes_once() {
        let encoded = Encoded::default();
        assert_eq!(encoded.get_or_make(1, || 7), Some(&7));
        assert_eq!(encoded.get_or_make(1, || 8), Some(&7));
        assert_eq!(encoded.get_or_make::<u8>(1, || 8), None, "another type");
        assert_eq!(encoded.get_or_make(Encoded::SLOTS, || 8), None);
    }
}
