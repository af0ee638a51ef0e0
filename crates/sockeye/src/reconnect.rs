//! A client that comes back by itself: [`ReconnectingWebSocket`].
//!
//! ```no_run
//! # async fn handle(_: sockeye::Message) {}
//! # async fn run(token: &str) -> Result<(), sockeye::Error> {
//! use sockeye::{Client, Config, Keepalive, ReconnectingWebSocket, reconnect::Event};
//!
//! let client = Client::new("ws://127.0.0.1:7071/live")?
//!     .header("authorization", token)
//!     // Without pings a peer that vanished is never missed.
//!     .config(Config::with(|config| config.keepalive = Some(Keepalive::default())));
//! let mut socket = ReconnectingWebSocket::new(client);
//! while let Some(event) = socket.recv().await? {
//!     match event {
//!         // Each connection begins from nothing: subscribe, and ask for what was missed.
//!         Event::Connected => drop(socket.send(r#"{"subscribe":"news"}"#).await),
//!         Event::Message(message) => handle(message).await,
//!         Event::Disconnected { why, retry_in, .. } => eprintln!("{why}; next attempt in {retry_in:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A program that also sends of its own accord awaits `recv` and its own source of messages in `tokio::select!`: `recv` may be
//! dropped at any time.
//!
//! # When it comes back, and when it does not
//!
//! [`Disconnect::retry`] is the default policy; [`policy`](ReconnectingWebSocket::policy) puts another in its place. It comes
//! back unless the next attempt would be as vain as the last:
//!
//! | what happened | what follows |
//! | --- | --- |
//! | the name is not found, nobody listens, TLS or the network fails, a timeout | back-off |
//! | the answer is no WebSocket handshake, such as a captive portal's | back-off |
//! | refused, with `Retry-After` (any status) | not before that, then back-off |
//! | refused with 408, 421, 425, 429, or anything but 4xx | back-off |
//! | refused with another 4xx, such as 400, 401, 403, 404, 426 | the end: an error |
//! | a mistake of the program, such as an invalid header | the end: an error |
//! | closed by the server with 1000: the purpose is fulfilled | the end: `None` |
//! | closed with any other code, 1012 and 1013 among them, or none | back-off |
//! | closed by the program through [`socket_mut`](ReconnectingWebSocket::socket_mut) | back-off |
//! | broken: end without Close frame, no pong, a violation | back-off |
//!
//! What codes from 4000 on mean is between a program and its server, so the default comes back, and a policy says better:
//!
//! ```
//! use std::time::Duration;
//! use sockeye::{Client, ReconnectingWebSocket, reconnect::{Disconnect, Retry}};
//!
//! # fn run(client: Client) {
//! let socket = ReconnectingWebSocket::new(client).policy(|why: &Disconnect| match why.close_code() {
//!     Some(4000..=4099) => Retry::Never,
//!     Some(4100..=4199) => Retry::AtLeast(Duration::from_secs(5)),
//!     _ => why.retry(),
//! });
//! # }
//! ```
//!
//! # How long it waits
//!
//! As RFC 6455 section 7.2.3 asks: a random time, drawn from a window that doubles with each failure up to
//! [`max`](Backoff::max). The draw is over the whole window ("full jitter"), which spreads a crowd best. Only a connection
//! that stayed open for [`stable`](Backoff::stable) resets the back-off: a server that accepts and closes at once, whatever it
//! says in between, is a failing server.
mod policy;

use std::{
    fmt,
    future::poll_fn,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use sockeye_proto::{CloseCode, CloseOutcome, CloseReason, Message, SendError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep, timeout},
};

pub use self::policy::{Backoff, Disconnect, Retry};
use crate::{Client, Error, Transport, WebSocket};

/// A client's connection that is made anew when it is lost, with back-off, until the server or the program is done.
///
/// The [module](self) has an example, what it comes back from, and how long it waits.
///
/// Nothing runs in the background: it connects, waits and comes back while [`recv`](Self::recv) is being awaited, and the
/// first `recv` makes the first connection. Nothing is sent twice: what a lost connection had taken is gone with it, and what
/// is to be sent while there is none is given back. A program that must not lose messages numbers them, and asks for what is
/// missing at [`Event::Connected`].
///
/// While it waits it owns a timer and nothing else.
///
/// ```no_run
/// # async fn run() -> Result<(), sockeye::Error> {
/// use sockeye::{Client, ReconnectingWebSocket, reconnect::Event};
///
/// let mut socket = ReconnectingWebSocket::new(Client::new("wss://example.org/live")?);
/// while let Some(event) = socket.recv().await? {
///     if let Event::Message(message) = event {
///         println!("{message:?}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct ReconnectingWebSocket<S = Transport> {
    state: State<S>,
    dial: Dial<S>,
    policy: Box<dyn FnMut(&Disconnect) -> Retry + Send>,
    backoff: Backoff,
    /// Attempts and short-lived connections since the last one that was stable.
    failures: u32,
    /// Why the connection failed, where a send was told and `recv` is yet to tell.
    failure: Option<Error>,
    /// How the last connection was closed, if that was the end.
    outcome: Option<CloseOutcome>,
}

/// Takes the number of failures, and how long the attempt may take.
type Dial<S> = Box<dyn FnMut(u32, Duration) -> Dialing<S> + Send>;
type Dialing<S> = Pin<Box<dyn Future<Output = Result<WebSocket<S>, Error>> + Send>>;

/// ```text
///            ┌──────────── the attempt failed ────────────┐
///            ▼                                            │
///  Due ─▶ Dialing ─────────▶ Open ─── start_close ──▶ Closing ─▶ Over
///  ▲         │                 │                                  ▲
///  └─ Waiting ◀── failed, lost ┴── the policy says never ─────────┘
/// ```
enum State<S> {
    /// An attempt is to be made now.
    Due,
    Dialing(Dialing<S>),
    Open {
        socket: WebSocket<S>,
        since: Instant,
    },
    Waiting(Pin<Box<Sleep>>),
    /// The program has closed it for good.
    Closing(WebSocket<S>),
    Over,
}

/// What [`ReconnectingWebSocket::recv`] tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection is open, the first or the next one. The server knows nothing of those before.
    Connected,
    /// A message came.
    Message(Message),
    /// An attempt failed or a connection was lost. The next attempt follows by itself.
    #[non_exhaustive]
    Disconnected {
        /// What happened.
        why: Disconnect,
        /// The time until the next attempt.
        retry_in: Duration,
    },
}

impl ReconnectingWebSocket<Transport> {
    /// Connects as this client says, each time.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self::connect_with(move |_failures| client.clone().connect())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ReconnectingWebSocket<S> {
    /// Asks `connect` for each connection: for fresh tokens, other servers, or transports of one's own. It is given the number
    /// of failures since the last stable connection, zero at first.
    ///
    /// ```no_run
    /// # async fn fresh_token() -> std::io::Result<String> { Ok(String::new()) }
    /// use sockeye::{Client, ReconnectingWebSocket};
    ///
    /// let servers = ["ws://a.example.org/live", "ws://b.example.org/live"];
    /// let mut socket = ReconnectingWebSocket::connect_with(move |failures| async move {
    ///     let url = servers[failures as usize % servers.len()];
    ///     let token = fresh_token().await?;
    ///     Client::new(url)?.header("authorization", format!("Bearer {token}")).connect().await
    /// });
    /// ```
    pub fn connect_with<F, C>(mut connect: C) -> Self
    where
        C: FnMut(u32) -> F + Send + 'static,
        F: Future<Output = Result<WebSocket<S>, Error>> + Send + 'static,
    {
        Self {
            state: State::Due,
            dial: Box::new(move |failures, limit| {
                let attempt = timeout(limit, connect(failures));
                Box::pin(async { attempt.await.unwrap_or_else(|_elapsed| Err(Error::timeout("connecting"))) })
            }),
            policy: Box::new(Disconnect::retry),
            backoff: Backoff::default(),
            failures: 0,
            failure: None,
            outcome: None,
        }
    }

    /// Sets how long to wait.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Decides what follows a disconnect, in place of [`Disconnect::retry`].
    #[must_use]
    pub fn policy(mut self, policy: impl FnMut(&Disconnect) -> Retry + Send + 'static) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// Waits for the next event; connects, and waits until it is time to, meanwhile. `None` at the end: after
    /// [`close`](Self::close), or after the server's Close frame if the policy comes back no more
    /// ([`close_outcome`](Self::close_outcome) then says how it was closed).
    ///
    /// # Errors
    /// Why the last attempt or connection failed, if the policy comes back no more. Further calls return `None`.
    ///
    /// # Cancel safety
    /// Nothing is lost: an attempt that is being made goes on with the next call, and so does a wait.
    pub async fn recv(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Sends a message over the connection there is. `Ok` means that the connection has taken it; if it is lost before the
    /// message has left, nobody sends it again.
    ///
    /// # Errors
    /// [`SendError::Closed`] with the message if there is no connection, or it ended before it took the message.
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`]: the message is taken whole or not at all.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), SendError<Message>> {
        let mut message = message.into();
        let Some(socket) = self.state.socket_mut() else { return Err(SendError::Closed(message)) };
        while let Err(refused) = socket.try_send(message) {
            let SendError::Full(back) = refused else { return Err(refused) };
            message = back;
            if let Err(error) = socket.flush().await {
                self.failure.get_or_insert(error);
                return Err(SendError::Closed(message));
            }
        }
        // That it is taken stands. Why it may not arrive is for `recv` to tell.
        if let Err(error) = socket.flush().await {
            self.failure.get_or_insert(error);
        }
        Ok(())
    }

    /// Queues a message without waiting, or gives it back.
    ///
    /// # Errors
    /// As [`WebSocket::try_send`]; [`SendError::Closed`] if there is no connection.
    pub fn try_send(&mut self, message: impl Into<Message>) -> Result<(), SendError<Message>> {
        match self.state.socket_mut() {
            Some(socket) => socket.try_send(message),
            None => Err(SendError::Closed(message.into())),
        }
    }

    /// Closes the connection there is, and comes back no more. Events that still come are dropped; the outcome is `None` if
    /// there was no connection to close.
    ///
    /// # Errors
    /// As [`WebSocket::close`].
    ///
    /// # Cancel safety
    /// That this is the end is settled when it is first polled. Call it again, or [`recv`](Self::recv), to go on waiting.
    pub async fn close(
        &mut self,
        code: CloseCode,
        reason: impl Into<CloseReason>,
    ) -> Result<Option<CloseOutcome>, Error> {
        self.start_close(code, reason);
        while self.recv().await?.is_some() {}
        Ok(self.close_outcome().cloned())
    }

    /// Queues the Close frame and returns; [`recv`](Self::recv) then gives the messages that still come, and `None` at the
    /// end. An attempt that is being made is dropped.
    pub fn start_close(&mut self, code: CloseCode, reason: impl Into<CloseReason>) {
        self.state = match mem::replace(&mut self.state, State::Over) {
            State::Open { mut socket, .. } => {
                socket.start_close(code, reason);
                State::Closing(socket)
            }
            State::Closing(socket) => State::Closing(socket),
            State::Due | State::Dialing(_) | State::Waiting(_) | State::Over => State::Over,
        };
    }

    /// The connection, if there is one.
    #[must_use]
    pub fn socket(&self) -> Option<&WebSocket<S>> {
        match &self.state {
            State::Open { socket, .. } | State::Closing(socket) => Some(socket),
            State::Due | State::Dialing(_) | State::Waiting(_) | State::Over => None,
        }
    }

    /// The connection, if there is one, to feed, flush and ping. Closing it, rather than this, makes it come back.
    pub fn socket_mut(&mut self) -> Option<&mut WebSocket<S>> {
        self.state.socket_mut()
    }

    /// How the last connection was closed, once this is over; `None` if it was not by a closing handshake.
    #[must_use]
    pub fn close_outcome(&self) -> Option<&CloseOutcome> {
        self.outcome.as_ref()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        loop {
            match &mut self.state {
                State::Due => {
                    self.state = State::Dialing((self.dial)(self.failures, self.backoff.attempt_timeout));
                }
                State::Dialing(attempt) => match ready!(attempt.as_mut().poll(cx)) {
                    Ok(socket) => {
                        self.failure = None;
                        self.state = State::Open { socket, since: Instant::now() };
                        return Poll::Ready(Ok(Some(Event::Connected)));
                    }
                    Err(error) => return Poll::Ready(self.disconnected(Disconnect::Failed(error))),
                },
                State::Open { socket, since } => match ready!(poll_socket(socket, &mut self.failure, cx)) {
                    Ok(message) => return Poll::Ready(Ok(Some(Event::Message(message)))),
                    Err(why) => {
                        if since.elapsed() >= self.backoff.stable {
                            self.failures = 0;
                        }
                        return Poll::Ready(self.disconnected(why));
                    }
                },
                State::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.state = State::Due;
                }
                State::Closing(socket) => {
                    return Poll::Ready(match ready!(poll_socket(socket, &mut self.failure, cx)) {
                        Ok(message) => Ok(Some(Event::Message(message))),
                        Err(why) => self.finish(why),
                    });
                }
                State::Over => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn disconnected(&mut self, why: Disconnect) -> Result<Option<Event>, Error> {
        let at_least = match (self.policy)(&why) {
            Retry::Backoff => Duration::ZERO,
            Retry::AtLeast(time) => time.min(self.backoff.max_retry_after),
            Retry::Never => return self.finish(why),
        };
        let mut window = self.backoff.window(self.failures);
        if why.is_everybodys() {
            window = window.max(self.backoff.spread);
        }
        let retry_in = at_least.saturating_add(window.mul_f64(rand::random()));
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting(Box::pin(sleep(retry_in)));
        Ok(Some(Event::Disconnected { why, retry_in }))
    }

    fn finish(&mut self, why: Disconnect) -> Result<Option<Event>, Error> {
        self.state = State::Over;
        match why {
            Disconnect::Closed(outcome) => {
                self.outcome = Some(outcome);
                Ok(None)
            }
            Disconnect::Failed(error) | Disconnect::Broken(error) => Err(error),
        }
    }
}

impl<S> State<S> {
    fn socket_mut(&mut self) -> Option<&mut WebSocket<S>> {
        match self {
            Self::Open { socket, .. } | Self::Closing(socket) => Some(socket),
            Self::Due | Self::Dialing(_) | Self::Waiting(_) | Self::Over => None,
        }
    }
}

/// The next message, or why there will be none: the socket tells that once, so a send may have been `told` before.
fn poll_socket<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocket<S>,
    told: &mut Option<Error>,
    cx: &mut Context<'_>,
) -> Poll<Result<Message, Disconnect>> {
    Poll::Ready(match ready!(socket.poll_recv(cx)) {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(Disconnect::Broken(error)),
        None => Err(match socket.close_outcome() {
            Some(outcome) => Disconnect::Closed(outcome.clone()),
            // With no word of why if the program was told, through `socket_mut`.
            None => Disconnect::Broken(told.take().unwrap_or_else(Error::closed)),
        }),
    })
}

/// [`ReconnectingWebSocket::recv`] as a stream: it ends where that returns `None`, or after the error.
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for ReconnectingWebSocket<S> {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx).map(Result::transpose)
    }
}

impl<S> fmt::Debug for ReconnectingWebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state: &dyn fmt::Debug = match &self.state {
            State::Due => &"Due",
            State::Dialing(_) => &"Dialing",
            State::Open { socket, .. } | State::Closing(socket) => socket,
            State::Waiting(_) => &"Waiting",
            State::Over => &"Over",
        };
        f.debug_struct("ReconnectingWebSocket")
            .field("state", state)
            .field("failures", &self.failures)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}
