//! RFC 6455 as a value: bytes and time in, bytes and events out.
//!
//! This crate is the WebSocket protocol and nothing else. It does no I/O, reads no clock and rolls no dice: the
//! instant "now" and the source of masking keys are arguments. So ten minutes of protocol run in a microsecond of
//! test time, a failure replays from a byte string, and the same core serves tokio, a blocking program or a simulation.
//! Most programs want the crate `sockeye`, which puts this one on tokio.
//!
//! # The drain loop
//!
//! **Invariant:** a [`Connection`] is changed once, then drained, then changed again. That is the whole contract:
//!
//! 1. Feed it one thing: [`handle_input`](Connection::handle_input), [`handle_eof`](Connection::handle_eof),
//!    [`handle_timeout`](Connection::handle_timeout), [`send`](Connection::send), [`start_close`](Connection::start_close)…
//! 2. Call [`poll_output`](Connection::poll_output) until it says [`Output::Wait`].
//! 3. If `handle_input` consumed only a part of the input, feed the rest; else wait for bytes or for the deadline.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use bytes::Buf;
//! use sockeye_proto::{Config, Connection, Event, Message, Output};
//!
//! // "Hello" from the RFC's section 5.7: a single-frame masked text message.
//! let mut input = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
//! let now = Instant::now();
//! let mut connection = Connection::server(Arc::new(Config::default()), now);
//! let mut wire = Vec::new();
//!
//! let consumed = connection.handle_input(&mut input, now);
//! assert_eq!(consumed, 11);
//! loop {
//!     match connection.poll_output() {
//!         Output::Event(Event::Message(message)) => connection.send(message).expect("open and nothing queued"),
//!         Output::Event(_) => {}
//!         Output::Transmit => {
//!             let mut outgoing = connection.outgoing();
//!             while outgoing.has_remaining() {
//!                 let chunk = outgoing.chunk().len();
//!                 wire.extend_from_slice(outgoing.chunk());
//!                 outgoing.advance(chunk);
//!             }
//!         }
//!         Output::ShutdownWrite => unreachable!("nobody closed"),
//!         Output::Wait(_deadline) => break,
//!         other => unreachable!("{other:?}"),
//!     }
//! }
//! assert_eq!(wire, b"\x81\x05Hello");
//! ```
//!
//! A program that receives in one task and sends in another takes the two halves of a connection: [`Connection::split`].
//!
//! The opening handshake comes before and is in [`handshake`].
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

mod append;
mod close;
mod connection;
mod deflate;
mod error;
pub mod frame;
pub mod handshake;
mod keepalive;
mod limits;
mod message;
mod outbox;
mod rate;
mod receiver;
mod utf8;

pub use close::{CloseCode, CloseFrame, CloseOutcome, CloseReason, InvalidCloseCode, Party};
pub use connection::{
    Connection, Event, MessageKind, Notice, Outgoing, Output, Part, ReadyState, ReceiveHalf, ReceiveOutput, Reply,
    SendHalf, SendOutput,
};
pub use deflate::{Deflate, DeflateBudget, DeflateParams, InvalidDeflate};
pub use error::{Error, SendError};
pub use keepalive::Keepalive;
pub use limits::{Config, Limits};
pub use message::{ControlPayload, Message, PayloadTooLong, Prepared, Utf8Bytes};
pub use rate::Rate;

/// Which end of the connection one is. It decides who masks (RFC 6455 section 5.1) and who closes TCP first (7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that asked for the connection. It masks what it sends.
    Client,
    /// The end that accepted it. It never masks.
    Server,
}
