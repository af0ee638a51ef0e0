//! What comes from a channel.
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::Error;

/// A place in a channel's history: what came up to `offset` is behind it.
///
/// A program that keeps it, as JSON for instance, goes on from there after its own restart:
/// [`Subscribe::since`](crate::Subscribe::since).
///
/// ```
/// let position: sockeye_client::Position = serde_json::from_str(r#"{"epoch":"k3","offset":41}"#)?;
/// assert_eq!(position.offset, 41);
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The name of this count. A channel whose history began anew has another.
    pub epoch: String,
    /// How many publications there have been since the epoch began.
    pub offset: u64,
}

/// What [`Subscription::next`](crate::Subscription::next) tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Somebody published.
    Publication(Publication),
    /// A member came.
    Joined(Member),
    /// A member went.
    Left(Member),
    /// Something may be missing: what follows comes after `to`. It is said once, and only where nothing could be done.
    #[non_exhaustive]
    Lost {
        /// Up to where nothing was missing; `None` in a channel without history.
        from: Option<Position>,
        /// What follows comes after this; `None` in a channel without history.
        to: Option<Position>,
        /// Why.
        reason: LostReason,
    },
    /// The subscription is over, and it was not the program that ended it. Nothing follows.
    #[non_exhaustive]
    Ended {
        /// Why.
        why: Error,
    },
}

/// Why something may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LostReason {
    /// The channel's history does not reach back that far.
    History,
    /// The channel's history began anew: it has another epoch.
    Epoch,
    /// The server could not read its store, or the store has gone back.
    Store,
    /// This reader, or this connection, was too slow.
    Slow,
    /// The connection was lost, and the channel has no history to catch up from.
    Disconnected,
    /// The server passed over offsets, and did so again when asked from there.
    Hole,
    /// For a reason that this version does not know.
    Other,
}

impl LostReason {
    pub(crate) fn from_wire(name: &str) -> Self {
        match name {
            "history" => Self::History,
            "epoch" => Self::Epoch,
            "store" => Self::Store,
            "slow" => Self::Slow,
            _ => Self::Other,
        }
    }
}

/// One publication.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Publication {
    /// Its number in the channel; `None` for volatile ones and in channels without history.
    pub offset: Option<u64>,
    /// What was published.
    pub data: Data,
    /// The kind of event, if it was given a name.
    pub event: Option<String>,
    /// Who published it; `None` if the server's own API did.
    pub from: Option<Peer>,
    /// When, in milliseconds of Unix time by the server's clock.
    pub at: Option<u64>,
}

impl Publication {
    /// The data, read from its JSON.
    ///
    /// # Errors
    /// If it is bytes, or JSON of another form.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match &self.data {
            Data::Json(json) => Error::read(json),
            Data::Bytes(_) => Err(Error::protocol("the publication is bytes, not JSON")),
        }
    }
}

/// What was published.
#[derive(Clone)]
#[non_exhaustive]
pub enum Data {
    /// A JSON value, byte for byte as it was sent.
    Json(Box<RawValue>),
    /// Bytes.
    Bytes(Bytes),
}

impl Data {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(json) => json.get().len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(json) => f.write_str(json.get()),
            Self::Bytes(bytes) => fmt::Debug::fmt(bytes, f),
        }
    }
}

/// Who published.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub struct Peer {
    /// The name of the connection.
    pub session: String,
    /// The user, if the connection is not anonymous.
    pub user: Option<String>,
}

/// Who is there.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Member {
    /// The name of the connection.
    pub session: String,
    /// The user, if the connection is not anonymous.
    pub user: Option<String>,
    /// What the member says of itself: see [`Subscribe::members_as`](crate::Subscribe::members_as).
    #[serde(rename = "as")]
    pub info: Option<Box<RawValue>>,
}

impl Member {
    pub(crate) fn len(&self) -> usize {
        let user = self.user.as_ref().map_or(0, String::len);
        let info = self.info.as_ref().map_or(0, |info| info.get().len());
        self.session.len() + user + info
    }
}

/// Who is there, as [`Client::presence`](crate::Client::presence) tells.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Presence {
    /// How many members there are.
    pub count: u64,
    /// The first of them in the order of their arrival, at most 1,000.
    #[serde(default)]
    pub members: Vec<Member>,
}
