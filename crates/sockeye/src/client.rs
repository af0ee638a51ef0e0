//! The client's end: from a URL to an open connection.
use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use sockeye_proto::{
    Config, Connection, Deflate,
    handshake::{ClientRequest, Established, HandshakeLimits, ReadResponse, ResponseProgress, Subprotocol},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{
    Error, Transport, WebSocket,
    dial::dial,
    socket::{Agreed, extensions},
    timer::now,
};

/// Connects to a `ws://` URL with the defaults of [`Client`].
///
/// # Errors
/// If the URL is none, the server cannot be reached, refuses, breaks the handshake, or takes more than 10 s.
///
/// # Cancel safety
/// Dropping the future drops the attempt.
///
/// ```no_run
/// # async fn run() -> Result<(), sockeye::Error> {
/// let mut socket = sockeye::connect("ws://127.0.0.1:7071/echo").await?;
/// socket.send("hello").await?;
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str) -> Result<WebSocket<Transport>, Error> {
    Client::new(url)?.connect().await
}

/// A connection to be made: where to, and on which terms.
///
/// What a method is given is checked by [`connect`](Self::connect), so that calls can be chained.
///
/// ```no_run
/// # async fn run(token: &str) -> Result<(), sockeye::Error> {
/// let mut socket = sockeye::Client::new("ws://127.0.0.1:7071/ws")?
///     .subprotocol("sockeye.v1.json")
///     .header("authorization", token)
///     .connect()
///     .await?;
/// assert_eq!(socket.protocol(), Some("sockeye.v1.json"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    request: Result<ClientRequest, Error>,
    config: Arc<Config>,
    timeout: Duration,
}

impl Client {
    /// A connection to this URL, whose scheme is `ws`; or `wss` if it is made over a transport that brings its own TLS,
    /// with [`connect_over`](Self::connect_over).
    ///
    /// # Errors
    /// If it is no URL, has another scheme, a fragment or a user name (RFC 6455 section 3).
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self {
            request: Ok(ClientRequest::new(url)?),
            config: Arc::default(),
            timeout: HandshakeLimits::default().timeout,
        })
    }

    /// Offers a subprotocol; those offered first are preferred.
    #[must_use]
    pub fn subprotocol(self, name: &str) -> Self {
        self.change(|request| Ok(request.subprotocol(Subprotocol::new(name)?)?))
    }

    /// Adds a header to the request. Those of the handshake itself cannot be set.
    #[must_use]
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N>,
        HeaderValue: TryFrom<V>,
    {
        self.change(|request| Ok(request.header(name, value)?))
    }

    /// Says which page the connection is made for, as browsers do.
    #[must_use]
    pub fn origin(self, origin: &str) -> Self {
        self.change(|request| Ok(request.origin(origin)?))
    }

    /// Offers compression of messages (permessage-deflate, RFC 7692). Whether the server takes it is in
    /// [`WebSocket::extensions`].
    ///
    /// Needs the feature `deflate`; without it nothing is offered.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), sockeye::Error> {
    /// let socket = sockeye::Client::new("ws://127.0.0.1:7071/echo")?.deflate(sockeye::Deflate::default()).connect().await?;
    /// assert!(socket.extensions().starts_with("permessage-deflate"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn deflate(self, policy: Deflate) -> Self {
        self.change(|request| Ok(request.deflate(policy)))
    }

    /// Sets limits and keepalive of the connection.
    #[must_use]
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = config.into();
        self
    }

    /// Sets the limits of the opening handshake, its time among them.
    #[must_use]
    pub fn handshake_limits(mut self, limits: HandshakeLimits) -> Self {
        self.timeout = limits.timeout;
        self.change(|request| Ok(request.limits(limits)))
    }

    /// Connects: looks the name up, tries its addresses, shakes hands.
    ///
    /// # Errors
    /// If something set before was invalid; if the server cannot be reached, refuses ([`Error::response`] then has its
    /// answer) or breaks the handshake; if all of it takes longer than the limits say (10 s by default).
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt.
    pub async fn connect(self) -> Result<WebSocket<Transport>, Error> {
        let request = self.request?;
        if request.is_secure() {
            // Never in the clear what was to be encrypted.
            return Err(Error::misuse("wss:// needs TLS: connect a TLS stream, then use connect_over"));
        }
        let mut reader = None;
        let attempt = async {
            let stream = dial(request.host(), request.port()).await.map_err(Error::io)?;
            // Messages are written when they are whole; waiting for more would only add the peer's delayed ACK.
            stream.set_nodelay(true).map_err(Error::io)?;
            shake_hands(Transport::tcp(stream), request, self.config, &mut reader).await
        };
        let result = timeout(self.timeout, attempt).await;
        result.unwrap_or_else(|_elapsed| Err(too_late(reader)))
    }

    /// Shakes hands over a transport that is connected already. Host and path come from the URL.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub async fn connect_over<S: AsyncRead + AsyncWrite + Unpin>(self, transport: S) -> Result<WebSocket<S>, Error> {
        let mut reader = None;
        let attempt = shake_hands(transport, self.request?, self.config, &mut reader);
        let result = timeout(self.timeout, attempt).await;
        result.unwrap_or_else(|_elapsed| Err(too_late(reader)))
    }

    fn change(mut self, change: impl FnOnce(ClientRequest) -> Result<ClientRequest, Error>) -> Self {
        self.request = self.request.and_then(change);
        self
    }
}

/// `reader` is left where it got to.
async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    mut io: S,
    request: ClientRequest,
    config: Arc<Config>,
    reader: &mut Option<ReadResponse>,
) -> Result<WebSocket<S>, Error> {
    let url = Some(request.url().into());
    let (head, response) = request.start(rand::random());
    io.write_all(&head).await.map_err(Error::io)?;
    io.flush().await.map_err(Error::io)?;
    *reader = Some(response);
    let Established { subprotocol, deflate, response, rest, .. } = read_response(&mut io, reader).await?;
    let mut connection = Connection::client(config, rand::random, now());
    if let Some(agreed) = &deflate {
        connection = connection.with_deflate(agreed);
    }
    let extensions = extensions(response.headers());
    Ok(WebSocket::new(io, connection, &rest, Agreed { protocol: subprotocol, extensions, url }))
}

async fn read_response(
    io: &mut (impl AsyncRead + Unpin),
    reader: &mut Option<ReadResponse>,
) -> Result<Established, Error> {
    let mut buffer = [0; 2048];
    loop {
        let count = io.read(&mut buffer).await.map_err(Error::io)?;
        let Some(reading) = reader.take() else { return Err(Error::timeout("connecting")) };
        if count == 0 {
            return Err(reading.handle_eof().into());
        }
        match reading.handle_input(&buffer[..count])? {
            ResponseProgress::More(next) => *reader = Some(next),
            ResponseProgress::Done(established) => return Ok(established),
        }
    }
}

/// Time is over. A refusal whose body was still coming is told with what came of it.
fn too_late(reader: Option<ReadResponse>) -> Error {
    reader.map_or_else(|| Error::timeout("connecting"), |reader| reader.handle_timeout().into())
}
