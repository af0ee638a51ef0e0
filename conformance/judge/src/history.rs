//! What can be seen: the words of a history.
//!
//! A history is a sequence of [`Record`]s, each written by the one who saw it. As JSON it is one record a line:
//!
//! ```json
//! {"at":12,"actor":1,"what":{"publishing":{"channel":"a","id":7,"body":4711}}}
//! {"at":13,"actor":1,"what":{"published":{"id":7,"position":{"epoch":"k3","offset":46}}}}
//! {"at":13,"actor":2,"what":{"delivered":{"channel":"a","position":{"epoch":"k3","offset":46},"id":7,"body":4711,"path":"live"}}}
//! {"at":99,"actor":0,"what":"settled"}
//! ```
//!
//! Who records keeps to this:
//!
//! - What an actor is about to do (`publishing`, `subscribing`, `reading_history`) is recorded before it is sent; what it
//!   sees is recorded when it has it. The records of one actor are in its own order. That is enough: the judge draws
//!   conclusions from "recorded before" only where the one was certainly there before the other was asked for.
//! - An actor is one client with one connection at a time. It sends in the order it records. One that publishes over
//!   several connections at once (HTTP requests side by side) is several actors.
//! - The `id` of a publication is inside its body, so that whoever gets it can read it out, and belongs to one body. Publishing
//!   it again is a retry, after the outcome of the attempt before.
//! - `granted`, `revoked` and `disconnected` are about the actor of the record; `granted` is recorded before the right is
//!   given, `revoked` after it has been taken away.

use std::io::{self, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a channel, an epoch or a key; cheap to clone.
pub type Name = Arc<str>;

/// Who saw it. The judge only asks whether two are the same.
pub type ActorId = u32;

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Milliseconds on a clock that all actors share.
    pub at: u64,
    /// Who saw it.
    pub actor: ActorId,
    /// What was seen.
    pub what: Seen,
}

/// A place in a channel's order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Which life of the channel.
    pub epoch: Name,
    /// Which publication of it, from 1; 0 is before the first.
    pub offset: u64,
}

impl Position {
    /// The place `offset` in `epoch`.
    #[must_use]
    pub fn new(epoch: impl Into<Name>, offset: u64) -> Self {
        Self { epoch: epoch.into(), offset }
    }
}

/// What an actor did or was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Seen {
    /// About to send a publish.
    Publishing {
        /// Where.
        channel: Name,
        /// What the body is known by, up to 2^53 - 1.
        id: u64,
        /// Any fingerprint of the body on which all recorders agree, such as [`fingerprint`].
        body: u64,
        /// The idempotency key. Unique to whom the server keeps keys apart for, so prefix the user where it does that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Name>,
        /// Not to be stored.
        #[serde(default, skip_serializing_if = "is_false")]
        volatile: bool,
        /// Not to be sent back to the publisher's own session.
        #[serde(default, skip_serializing_if = "is_false")]
        no_echo: bool,
    },
    /// The publish was answered with `ok`.
    Published {
        /// Which.
        id: u64,
        /// Where it is; none for what is not stored.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
    },
    /// The publish was answered with an error that says it was not done.
    Refused {
        /// Which.
        id: u64,
    },
    /// The connection was lost before the answer, or the answer says that nobody knows.
    Unknown {
        /// Which.
        id: u64,
    },
    /// About to send a subscribe.
    Subscribing {
        /// To what.
        channel: Name,
        /// The position of which it goes on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Position>,
        /// Or how many of the last are asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<u64>,
    },
    /// The subscribe was answered with `ok`.
    Subscribed {
        /// To what.
        channel: Name,
        /// Where the channel is, catching up included; none without history.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
        /// Whether everything after `since` follows. Not said where `since` was given counts as yes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
        /// How many publications are announced as caught up; not judged if not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        catch_up: Option<u64>,
    },
    /// A publication came.
    Delivered {
        /// On which channel.
        channel: Name,
        /// Where it stands; none for what is not stored. The recorder adds the epoch where the wire leaves it out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
        /// What was read out of the body; 0 if nothing could be.
        id: u64,
        /// The fingerprint of the body that came.
        body: u64,
        /// On which way.
        path: Path,
    },
    /// A position that has no data for this actor: its own publication, sent with `no_echo`. Need not be recorded: the judge
    /// finds out by itself that a missing position was the actor's own.
    Skipped {
        /// On which channel.
        channel: Name,
        /// Which.
        position: Position,
    },
    /// Continuity was lost; the next publication follows this position.
    Lost {
        /// On which channel.
        channel: Name,
        /// What the next one follows.
        position: Position,
        /// Why, as it was said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Name>,
    },
    /// The unsubscribe was answered with `ok`.
    Unsubscribed {
        /// From what.
        channel: Name,
    },
    /// The server ended the subscription, or refused it.
    Ended {
        /// To what.
        channel: Name,
    },
    /// About to ask for history. One at a time for each actor and channel.
    ReadingHistory {
        /// Of what.
        channel: Name,
        /// Only what comes after; with `reverse`, before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Position>,
        /// The newest first.
        #[serde(default, skip_serializing_if = "is_false")]
        reverse: bool,
    },
    /// History came.
    HistoryPage {
        /// Of what.
        channel: Name,
        /// Where the channel is.
        position: Position,
        /// What it holds, in the order it came.
        items: Vec<Item>,
        /// Whether there is more in this direction.
        #[serde(default, skip_serializing_if = "is_false")]
        more: bool,
    },
    /// The actor was told who is there: an answer, a join or a leave.
    Presence {
        /// Where.
        channel: Name,
    },
    /// The actor may do this from now on.
    Granted {
        /// Where.
        channel: Name,
        /// What.
        action: Action,
    },
    /// The actor may do this no longer.
    Revoked {
        /// Where.
        channel: Name,
        /// What.
        action: Action,
    },
    /// The actor's connection is gone, and its subscriptions with it.
    Disconnected,
    /// The server, or a part of it that keeps channels in memory, ended or was killed; recorded before anybody can see it come
    /// back.
    Restart,
    /// All is quiet: nothing is on its way to anybody any more.
    Settled,
}

/// One publication in a page of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its place in the page's epoch.
    pub offset: u64,
    /// What was read out of the body; 0 if nothing could be.
    pub id: u64,
    /// The fingerprint of the body.
    pub body: u64,
}

/// How a publication came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// As it happened.
    Live,
    /// Because of `since` or `last`.
    CatchUp,
}

/// What needs a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// To get publications, live and caught up.
    Subscribe,
    /// To publish.
    Publish,
    /// To read history.
    History,
    /// To know who is there.
    Presence,
}

/// A fingerprint for bodies: FNV-1a of 64 bits, folded to the 53 that every JSON reader keeps.
///
/// ```
/// assert_eq!(sockeye_judge::fingerprint(b"hello"), sockeye_judge::fingerprint(b"hello"));
/// assert_ne!(sockeye_judge::fingerprint(b"hello"), sockeye_judge::fingerprint(b"hellO"));
/// ```
#[must_use]
pub fn fingerprint(body: &[u8]) -> u64 {
    let hash = body
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 53)) & ((1 << 53) - 1)
}

/// Writes a record as one line.
///
/// # Errors
///
/// What the writer says.
pub fn write_line(mut out: impl Write, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut out, record)?;
    out.write_all(b"\n")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}
