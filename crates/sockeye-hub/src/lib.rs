//! Channels as a value: publish, subscribe, presence, history and recovery, without I/O, a clock or dice.
//!
//! A [`Hub`] is one worker's share of all channels. It is told what sessions ask for, what other workers and the store
//! say, and what time it is; what it wants done it tells its [`Host`]. Nothing else comes in and nothing else goes out, so
//! that a whole cluster of workers, sessions, faults and restarts runs in one thread in virtual time, and a seed replays it.
//!
//! # Two sides
//!
//! ```text
//!  sessions of this worker                              channels whose home is this worker
//!        │ request            ┌────────┐   Ask    ┌────────┐
//!        ├───────────────────▶│ front  │─────────▶│  home  │──Append, Load──▶ store
//!        │◀───────────────────│        │◀─────────│        │◀───────────────
//!          deliver, event     └────────┘   Tell   └────────┘
//!                              of each worker      of one worker
//! ```
//!
//! Every channel has one *home*, the worker that a hash of its name points to. The home gives offsets, keeps the log, the
//! members and the idempotency keys. The *front* of each worker knows its sessions and who of them has subscribed. A front
//! asks ([`Ask`]), a home tells ([`Tell`]); between two workers both travel in order, and within one worker they are calls.
//!
//! # Why catching up leaves no gap
//!
//! A home handles one `Ask` at a time. When it handles a `Subscribe` it does three things in one step: it counts the
//! asking worker among its followers, it reads the log up to the newest entry, offset n, and it tells both in one
//! `Subscribed`. A publication handled before that step is in the log, so it is either below the subscriber's
//! position or among the entries told; one handled after it has an offset greater than n and is told to that worker as a
//! `Publication` *after* `Subscribed`, because what a home tells one worker arrives in order. At the front the
//! subscriber is silent until `Subscribed` arrives, is given its reply and the entries, and hears every `Publication` from
//! then on. So it sees exactly the entries after its position, each once, in order, whatever is published meanwhile; there
//! is no moment at which it is in neither set, and none at which it is in both.
//!
//! For a durable channel "in the log" means acknowledged by the store. What is on its way to the store is in the home's
//! queue, and an `Ask` that reads the log waits in that queue behind the appends that came before it.
//!
//! # Time
//!
//! [`Now`] is an argument of every call. The monotonic clock measures ages and deadlines; the wall clock only dates
//! publications, so that a clock that jumps changes no order and drops nothing.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic
    )
)]

mod event;
mod front;
mod home;
mod host;
mod hub;
mod message;
mod name;
mod options;
mod rate;
mod request;
mod store;
mod wire;

pub use event::{Cause, Done, Event, Failure, FailureCode, LostReason};
pub use front::SessionKey;
pub use host::{Action, Host, Queued};
pub use hub::{ChannelInfo, Hub, Stats};
pub use message::{Change, Draft, Encoded, Epoch, Kind, Member, Payload, Position, Publication, Sender, SessionId};
pub use name::{BadName, ChannelName};
pub use options::{ChannelOptions, HubOptions, Namespaces, SlowPolicy};
pub use request::{CatchUp, HistoryPage, Request, Subscribe};
pub use store::{Append, Loaded, StoreReply, StoreRequest};
pub use wire::{Ask, Tell, Ticket, Wire, WorkerId};

/// What time it is.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// On the monotonic clock.
    pub instant: std::time::Instant,
    /// On the wall clock, in Unix milliseconds.
    pub unix_ms: u64,
}
