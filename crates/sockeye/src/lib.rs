//! WebSocket for tokio: RFC 6455 to the letter, cancel-safe everywhere, and nothing held while idle.
//!
//! A client:
//!
//! ```no_run
//! # async fn run() -> Result<(), sockeye::Error> {
//! let mut socket = sockeye::connect("ws://127.0.0.1:7071/echo").await?;
//! socket.send("hello").await?;
//! if let Some(message) = socket.recv().await? {
//!     println!("{}", message.as_text().unwrap_or("(binary)"));
//! }
//! socket.close(sockeye::CloseCode::NORMAL, "done").await?;
//! # Ok(())
//! # }
//! ```
//!
//! A server:
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9001").await?;
//! loop {
//!     let (stream, _) = listener.accept().await?;
//!     tokio::spawn(async move {
//!         let mut socket = sockeye::accept(stream).await?;
//!         while let Some(message) = socket.recv().await? {
//!             socket.send(message).await?;
//!         }
//!         Ok::<_, sockeye::Error>(())
//!     });
//! }
//! # }
//! ```
//!
//! [`Client`] sets headers, subprotocols, limits and keepalive before connecting; [`Handshake`] lets a server look at a
//! request before it accepts or rejects it. Every limit a peer can push against is in [`Limits`], by name, with its
//! default. The protocol itself, without tokio, is the crate [`sockeye_proto`], here as [`proto`].
//!
//! # Sending
//!
//! [`send`](WebSocket::send) returns when the transport has the message. [`feed`](WebSocket::feed) only queues it:
//! everything queued leaves in one vectored write at the next flush, and [`recv`](WebSocket::recv) flushes before it waits.
//! A program that answers what it receives is therefore fastest with `feed`, because the replies to messages that came
//! together leave together.
#![forbid(unsafe_code)]

mod buffer;
mod client;
mod dial;
mod drive;
mod error;
mod server;
mod socket;
mod split;
mod stream;
mod streaming;
mod timer;
mod transfer;
mod transport;

pub use client::{Client, connect};
pub use error::Error;
pub use server::{Handshake, HttpRequest, ServerConfig, accept};
pub use socket::WebSocket;
pub use sockeye_proto as proto;
pub use sockeye_proto::{
    CloseCode, CloseFrame, CloseOutcome, CloseReason, Config, ControlPayload, Keepalive, Limits, Message, MessageKind,
    Party, Prepared, Rate, ReadyState, Role, SendError, Utf8Bytes,
    handshake::{HandshakeLimits, OriginPolicy, Refusal, Subprotocol, SubprotocolPolicy},
};
pub use split::{Receiver, ReuniteError, Sender, SplitTransport, TransportReader, TransportWriter};
pub use streaming::{MessageReader, MessageWriter};
pub use transport::Transport;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
