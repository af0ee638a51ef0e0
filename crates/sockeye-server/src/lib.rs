//! The realtime server on the `sockeye` library: channels, listeners, pages, the demos.
//!
//! ```text
//! listen ──accepted TCP──▶ (tls) ──▶ exchange ──upgrade──▶ session, dialect ──▶ hub ──▶ other workers, store
//!    │ admission                │          │               └─▶ demo::{echo, chat, cursors}
//!    │                          │          ├──plain GET──▶ pages
//!    │                          │          ├──/api/…────▶ api ──▶ hub
//!    │                          │          └──/ws/poll…─▶ pipe ──▶ session, demos, as over a WebSocket
//!    │                          └─▶ http2 ──(each stream: the same)
//!    └ one worker a core, each with its own listener, its own connections and its own hub
//! ```
//!
//! What is said in the chat and with the cursors goes through channels of the hub that nobody else can reach.
#![forbid(unsafe_code)]

mod admission;
mod api;
pub mod auth;
mod calls;
pub mod config;
mod demo;
mod dialect;
mod exchange;
mod http2;
mod listen;
mod pages;
mod permit;
mod pipe;
mod routes;
mod session;
mod sockjs;
pub mod store;
mod talk;
mod tls;
mod worker;

pub use api::{ApiKey, BadKey};
pub use calls::{Call, CallError, Calls};
pub use config::{Admission, PipeOptions, ServerOptions, SessionLimits, SockJsOptions, StorePlace};
pub use listen::{Server, StartError};
pub use routes::{Demo, Site};
/// What [`ServerOptions::namespaces`] and [`ServerOptions::hub`] are made of.
pub use sockeye_hub::{ChannelOptions, HubOptions, Namespaces, SlowPolicy};
pub use tls::{Tls, TlsError};
/// What [`Tls::config`] takes a configuration of.
pub use tokio_rustls::rustls;
