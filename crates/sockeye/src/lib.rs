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
//! [`Client`] sets headers, subprotocols, compression, limits and keepalive before connecting; [`Handshake`] lets a server look at a
//! request before it accepts or rejects it. Every limit a peer can push against is in [`Limits`], by name, with its
//! default. The protocol itself, without tokio, is the crate [`sockeye_proto`], here as [`proto`].
//!
//! [`ReconnectingWebSocket`] is a client that comes back by itself.
//!
//! # Sending
//!
//! [`send`](WebSocket::send) returns when the transport has the message. [`feed`](WebSocket::feed) only queues it:
//! everything queued leaves in one vectored write at the next flush, and [`recv`](WebSocket::recv) flushes before it waits.
//! A program that answers what it receives is therefore fastest with `feed`, because the replies to messages that came
//! together leave together.
//!
//! # Features
//!
//! - `deflate` (default): permessage-deflate (RFC 7692), off until [`Client::deflate`] or [`ServerConfig::deflate`] asks for it.
//! - `tls` (default): `wss://` by rustls, with the platform's roots.
//! - `ring` (default): ring's cryptography, for programs that bring none.
//! - `proxy` (default): HTTP `CONNECT` and SOCKS5.
//! - `http2` (not default): `upgrade` for servers built on hyper, axum or tower, over HTTP/1.1 and HTTP/2 (RFC 8441);
//!   clients over HTTP/2.
#![forbid(unsafe_code)]

mod agreed;
mod buffer;
mod client;
mod dial;
mod drive;
mod error;
#[cfg(feature = "http2")]
pub mod http2;
#[cfg(feature = "proxy")]
mod proxy;
pub mod reconnect;
mod redirect;
mod route;
mod server;
mod socket;
mod split;
mod stream;
mod streaming;
mod timer;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod transfer;
mod transport;
#[cfg(feature = "http2")]
mod upgrade;
#[cfg(feature = "http2")]
mod upgrade_service;
#[cfg(feature = "http2")]
mod upgraded;

pub use client::{Client, connect};
pub use error::Error;
#[cfg(feature = "proxy")]
pub use proxy::Proxy;
pub use reconnect::{Backoff, ReconnectingWebSocket};
pub use redirect::RedirectPolicy;
pub use server::{Handshake, HttpRequest, ServerConfig, accept};
pub use socket::WebSocket;
pub use sockeye_proto as proto;
pub use sockeye_proto::{
    CloseCode, CloseFrame, CloseOutcome, CloseReason, Config, ControlPayload, Deflate, DeflateBudget, Event,
    InvalidCloseCode, InvalidDeflate, Keepalive, Limits, Message, MessageKind, Party, PayloadTooLong, Prepared, Rate,
    ReadyState, Role, SendError, Utf8Bytes,
    handshake::{
        HandshakeLimits, InvalidOrigin, InvalidSubprotocol, OriginPolicy, Refusal, Subprotocol, SubprotocolPolicy,
    },
};
pub use split::{Receiver, ReuniteError, Sender, SplitTransport, TransportReader, TransportWriter};
pub use streaming::{MessageReader, MessageWriter};
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
pub use transport::Transport;
#[cfg(feature = "http2")]
pub use upgrade::{Upgrade, UpgradeRequest, is_upgrade, upgrade};
#[cfg(feature = "http2")]
pub use upgrade_service::{UpgradeFuture, UpgradeService};
pub use {bytes, http};

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
