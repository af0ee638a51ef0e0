//! WebSocket for [axum](https://docs.rs/axum/0.8), over HTTP/1.1 (RFC 6455) and HTTP/2 (RFC 8441) alike.
//!
//! ```no_run
//! use axum::{Router, response::Response, routing::any};
//! use sockeye_axum::{WebSocket, WebSocketUpgrade};
//!
//! async fn echo(upgrade: WebSocketUpgrade) -> Response {
//!     upgrade.on_upgrade(async |mut socket: WebSocket| {
//!         while let Ok(Some(message)) = socket.recv().await {
//!             if socket.send(message).await.is_err() {
//!                 return;
//!             }
//!         }
//!     })
//! }
//!
//! # async fn run() -> std::io::Result<()> {
//! use axum::serve::ListenerExt;
//!
//! // `any`, not `get`: over HTTP/2 a WebSocket begins with CONNECT.
//! let app: Router = Router::new().route("/echo", any(echo));
//! // Without TCP_NODELAY, what is sent over HTTP/2 may wait 40 ms for the peer's acknowledgement.
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?.tap_io(|tcp| drop(tcp.set_nodelay(true)));
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! The handler decides before it upgrades: it may await a session, look at the [`origin`](WebSocketUpgrade::origin), and
//! return any other response instead. What the extractor or the terms refuse is answered with the right status: 426 to a
//! plain GET, 405 to one over HTTP/2, 403 to a foreign origin, 400 to what is malformed, 501 to another `:protocol`.
//!
//! ```no_run
//! # use axum::{http::{HeaderMap, StatusCode}, response::{IntoResponse, Response}};
//! # use sockeye_axum::{WebSocket, WebSocketUpgrade};
//! # async fn user_of(headers: &HeaderMap) -> Option<String> { None }
//! # async fn chat(socket: WebSocket, user: String) {}
//! use sockeye::{Config, OriginPolicy};
//!
//! async fn room(upgrade: WebSocketUpgrade, headers: HeaderMap) -> Response {
//!     let Some(user) = user_of(&headers).await else { return StatusCode::UNAUTHORIZED.into_response() };
//!     let mut config = Config::default();
//!     config.limits.max_message = 64 * 1024;
//!     upgrade
//!         .origins(OriginPolicy::same())
//!         .protocols(["chat.v2", "chat.v1"])
//!         .config(config)
//!         .on_failed_upgrade(|error| eprintln!("no socket: {error}"))
//!         .on_upgrade(async move |socket| chat(socket, user).await)
//! }
//! ```
//!
//! Which pages may connect is up to the server: unless [`origins`](WebSocketUpgrade::origins) says otherwise all may, which
//! is wrong for a server that knows its users by cookies.
//!
//! # A page and a socket under one path
//!
//! `Option<WebSocketUpgrade>` is `None` for requests that ask for no WebSocket at all.
//!
//! # Shutting down
//!
//! An upgraded socket outlives its request, and over HTTP/1.1 its connection, so that axum's graceful shutdown does not
//! wait for it. A [`TaskTracker`] does:
//!
//! ```no_run
//! # use axum::{Router, extract::State, response::Response, routing::any};
//! # use sockeye_axum::{TaskTracker, WebSocket, WebSocketUpgrade};
//! # async fn signal() {}
//! # async fn run(listener: tokio::net::TcpListener) -> std::io::Result<()> {
//! async fn live(State(sockets): State<TaskTracker>, upgrade: WebSocketUpgrade) -> Response {
//!     upgrade.tracked_by(&sockets).on_upgrade(async |mut socket: WebSocket| while let Ok(Some(_)) = socket.recv().await {})
//! }
//!
//! let sockets = TaskTracker::new();
//! let app = Router::new().route("/live", any(live)).with_state(sockets.clone());
//! axum::serve(listener, app).with_graceful_shutdown(signal()).await?;
//! sockets.close();
//! sockets.wait().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! Those of a connection are in [`sockeye::Limits`]. Those of HTTP are the server's: `axum::serve` takes hyper's defaults;
//! a server of its own loop around `hyper_util::server::conn::auto` can take
//! [`sockeye::http2::ServerSettings`], which bounds what HTTP/2 lets a peer do.
#![forbid(unsafe_code)]

mod rejection;
mod upgrade;

pub use rejection::Rejection;
pub use sockeye;
pub use tokio_util::task::TaskTracker;
pub use upgrade::WebSocketUpgrade;

/// The socket that a handler gets.
pub type WebSocket = sockeye::WebSocket<sockeye::Transport>;
