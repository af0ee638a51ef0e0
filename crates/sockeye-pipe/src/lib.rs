//! Conversations over many HTTP requests, as values: no I/O, no clock, no dice.
//!
//! Where WebSockets do not get through, the two directions of a conversation travel in requests of their own: the
//! client hears through responses that are written for a while (streams) or until there is something to say (polls),
//! and speaks through POST requests. All of that has one core, the [`Conversation`]; transports differ in how they
//! write its [`Frame`]s ([`Framing`]) and in what they ask of it ([`Config`]):
//!
//! | | second receiver | receiver breaks | says what it got |
//! | --- | --- | --- | --- |
//! | [`sockjs`] | refused, 2010 | the end | no |
//! | [`native`]: SSE, stream, poll | takes over, first hears 4009 | may come back | counts messages |
//!
//! [`Conversations`] finds them by name, and knows whose they are. [`sse`] writes events, and reads positions from
//! `Last-Event-ID`, for those who only listen.
//!
//! # Limits
//!
//! Whatever a peer can cause has a bound: queues in [`Config`], conversations and guesses in [`Limits`], what one
//! request may bring in [`sockjs::MAX_MESSAGES`] and the constants beside it. Bodies and heads are bounded by whoever
//! reads them from the wire. So is the time that the last frame of a response may take to be written: until
//! [`Conversation::detach`] the conversation waits for it.
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

mod conversation;
mod conversations;
mod frame;
mod id;
pub mod native;
pub mod sockjs;
pub mod sse;

pub use conversation::{
    AttachError, Cause, Config, Conversation, DroppedReceiver, Ending, Event, Numbering, Output, ReceiveError,
    ReceiverId, ReceiverKind, Resume, SecondReceiver, SendError,
};
pub use conversations::{Conversations, Found, Limits, Missing, OpenError};
pub use frame::{Batch, Farewell, Frame, Framing};
pub use id::{BadConversationId, Binding, ConversationId};
