//! The client of the Sockeye realtime server: publish and subscribe, history, presence and calls over one WebSocket
//! that comes back by itself, in the protocol `sockeye.v1.json`.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use sockeye_client::{Client, Event};
//!
//! let client = Client::connect("wss://example.org/live")?;
//! let mut lobby = client.subscribe("chat:lobby").last(20).await?;
//! client.publish("chat:lobby", &"hello, all").await?;
//! while let Some(event) = lobby.next().await {
//!     match event {
//!         Event::Publication(publication) => println!("{}", publication.json::<String>()?),
//!         Event::Lost { reason, .. } => println!("something is missing: {reason:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - A [`Subscription`] tells each publication of a channel with history once and in order, across lost connections;
//!   what cannot be had any more is an [`Event::Lost`], never silence.
//! - A [`Publish`] takes effect once, however often it had to be sent.
//! - A reader that does not read holds up nobody else, and loses nothing while the history holds it.
//! - Whatever the server does is bounded: by [`Limits`], and by those of [`sockeye::Limits`].
//!
//! # When it comes back
//!
//! It connects again unless that is vain: after close codes 4000 to 4099, a refused token, or a refusal with most
//! statuses of 4xx it is [closed](State::Closed). Before each attempt it waits a random time, up to 0.5 s at first,
//! twice that with each failure up to 20 s, and not before the server said (`bye`, `Retry-After`).
//!
//! # Cancel safety
//!
//! All futures may be dropped at any time; each says what becomes of what it had begun.
//!
//! # Features
//!
//! `tls`, `ring`, `proxy` and `deflate`, all default, are those of the crate [`sockeye`].
#![forbid(unsafe_code)]

mod builder;
mod client;
mod driver;
mod error;
mod event;
mod history;
mod limits;
mod machine;
mod publish;
mod roster;
mod state;
mod subscription;
mod wire;

pub use builder::Builder;
pub use client::Client;
pub use error::Error;
pub use event::{Data, Event, LostReason, Member, Peer, Position, Presence, Publication};
pub use history::{History, Page, Pages};
pub use limits::Limits;
pub use publish::Publish;
pub use sockeye;
pub use sockeye::Backoff;
pub use state::State;
pub use subscription::{Subscribe, Subscription};
