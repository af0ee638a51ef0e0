//! [`Builder`]: a client to be.
use std::{io, sync::Arc, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use sockeye::{Backoff, Config, Keepalive, ReconnectingWebSocket, WebSocket};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime,
};

use crate::{
    Client, Error, Limits,
    client::Handle,
    driver::{Driver, Shared, TokenSource},
    machine::Machine,
    wire::SUBPROTOCOL,
};

/// A client to be: where to, who it is, and on which terms.
///
/// ```no_run
/// # async fn fetch_token() -> std::io::Result<String> { Ok(String::new()) }
/// # async fn run() -> Result<(), sockeye_client::Error> {
/// use sockeye_client::{Client, Limits};
///
/// let client = Client::builder("wss://example.org/live")?
///     .token_source(fetch_token)
///     .transport(|socket| socket.header("x-tenant", "north"))
///     .limits(Limits::with(|limits| limits.max_in_flight = 1))
///     .connect()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is connected until `connect` is called"]
pub struct Builder {
    pub(crate) transport: sockeye::Client,
    token: Option<String>,
    source: Option<TokenSource>,
    limits: Limits,
    backoff: Backoff,
}

impl Builder {
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        let config = Config::with(|config| {
            config.limits.max_message = MAX_MESSAGE;
            config.limits.max_frame = MAX_MESSAGE;
            config.keepalive = Some(Keepalive::default());
        });
        let transport = sockeye::Client::new(url)?.subprotocol(SUBPROTOCOL).config(config);
        let backoff = Backoff::with(|backoff| {
            backoff.base = Duration::from_millis(500);
            backoff.max = Duration::from_secs(20);
            // The server spreads its clients itself, with `retry_after_ms`.
            backoff.spread = backoff.base;
        });
        Ok(Self { transport, token: None, source: None, limits: Limits::default(), backoff })
    }

    /// Says who it is, with the same token for each connection.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Asks for a token before each attempt to connect, and when the server says that it runs out. An error counts as a
    /// failed attempt.
    pub fn token_source<F, T>(mut self, source: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = io::Result<String>> + Send + 'static,
    {
        self.source = Some(Arc::new(move || Box::pin(source())));
        self
    }

    /// Changes how the connection is made: TLS, headers, proxy, compression, limits of messages and keepalive. The
    /// subprotocol is set. By default messages have up to 4 MiB, and a connection that is silent for 25 s is pinged.
    ///
    /// ```no_run
    /// # fn tls() -> std::sync::Arc<sockeye::rustls::ClientConfig> { unimplemented!() }
    /// # async fn run() -> Result<(), sockeye_client::Error> {
    /// let client = sockeye_client::Client::builder("wss://example.org/live")?
    ///     .transport(|socket| socket.tls(tls()).deflate(sockeye::Deflate::default()))
    ///     .connect()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn transport(mut self, change: impl FnOnce(sockeye::Client) -> sockeye::Client) -> Self {
        self.transport = change(self.transport);
        self
    }

    /// Sets what the server, or the program, may make this client hold, do or wait for.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how long it waits before it connects again, on top of what the server asks for. By default a random time up
    /// to 0.5 s, doubled with each failure in a row to at most 20 s.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Starts connecting, in a task of its own, and returns at once: the client can be used before it is connected.
    ///
    /// # Errors
    /// If this is not called within a tokio runtime. What else may be wrong shows in [`Client::state`].
    pub fn connect(self) -> Result<Client, Error> {
        let transport = self.transport.clone();
        self.start(move || {
            let transport = transport.clone();
            async move {
                let socket = transport.connect().await?;
                if socket.protocol() == Some(SUBPROTOCOL) {
                    return Ok(socket);
                }
                Err(io::Error::other("the server does not speak sockeye.v1.json").into())
            }
        })
    }

    /// With a transport for each connection from `dial`.
    pub(crate) fn start<S, D, F>(self, dial: D) -> Result<Client, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        D: Fn() -> F + Send + 'static,
        F: Future<Output = Result<WebSocket<S>, sockeye::Error>> + Send + 'static,
    {
        let Self { token, source, limits, backoff, .. } = self;
        let runtime = runtime::Handle::try_current().map_err(|error| Error::misuse(error.to_string()))?;
        let dice = Box::new(rand::random::<f64>);
        let mut machine = Machine::new(limits.clone(), backoff.clone(), source.is_some(), dice);
        if let Some(token) = token {
            machine.set_token(token);
        }
        let shared = Arc::new(Shared::new(machine));
        let (asking, telling) = (source.clone(), Arc::clone(&shared));
        let socket = ReconnectingWebSocket::connect_with(move |_failures| {
            let (fetch, shared, dialling) = (asking.as_ref().map(|ask| ask()), Arc::clone(&telling), dial());
            async move {
                if let Some(fetch) = fetch {
                    let token = fetch.await?;
                    shared.lock().set_token(token);
                }
                dialling.await
            }
        });
        runtime.spawn(Driver::new(Arc::clone(&shared), socket.backoff(backoff), source).run());
        let keys = BASE64URL_NOPAD.encode(&rand::random::<[u8; 16]>());
        Ok(Client::new(Handle::new(shared, limits, keys)))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("transport", &self.transport)
            .field("limits", &self.limits)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// Bytes of a message from the server: a hundred publications, or a page of history, of ordinary size.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
