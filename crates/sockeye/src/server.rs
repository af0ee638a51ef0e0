//! The server's end: from an accepted transport to an open connection.
use std::{io, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use sockeye_proto::{
    Config, Connection, Deflate,
    handshake::{
        HandshakeLimits, Offer, OriginPolicy, ReadRequest, Refusal, RequestProgress, Subprotocol, SubprotocolPolicy,
        is_upgrade, write_response,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{Error, WebSocket, agreed::Agreed, buffer::read_some, timer::now, transport::tcp_stream_under};

/// After a refusal, so much of what the peer still sends is read away, for so long: closing with input unread would reset
/// the connection, and the peer might never see the answer.
const LINGER_BYTES: u64 = 64 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// On which terms a server accepts.
///
/// The default takes any origin and no subprotocol. A server that browsers reach with cookies wants
/// [`OriginPolicy::same`] or a list.
///
/// ```
/// use std::sync::Arc;
/// use sockeye::{Config, OriginPolicy, ServerConfig};
/// let config = ServerConfig::with(|config| {
///     config.connection = Arc::new(Config::with(|config| config.limits.max_message = 64 * 1024));
///     config.origins = OriginPolicy::same();
/// });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Limits and keepalive of the connections.
    pub connection: Arc<Config>,
    /// Limits of the opening handshake.
    pub handshake: HandshakeLimits,
    /// Which pages may connect (RFC 6455 section 10.2).
    pub origins: OriginPolicy,
    /// Which subprotocols are spoken, and what happens to clients that speak none of them.
    pub subprotocols: SubprotocolPolicy,
    /// Compression of messages (permessage-deflate, RFC 7692) for clients that offer it. `None`, the default, declines.
    /// Needs the feature `deflate`; without it every offer is declined.
    pub deflate: Option<Deflate>,
}

impl ServerConfig {
    /// The defaults, changed.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut config = Self::default();
        change(&mut config);
        config
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connection: Arc::default(),
            handshake: HandshakeLimits::default(),
            origins: OriginPolicy::any(),
            subprotocols: SubprotocolPolicy::none(),
            deflate: None,
        }
    }
}

/// Accepts a connection on a fresh transport, with the defaults of [`ServerConfig`].
///
/// # Errors
/// If the request is no proper opening handshake ([`Error::is_refused`]: it was answered), or does not come in 10 s.
///
/// # Cancel safety
/// Dropping the future drops the transport.
///
/// ```no_run
/// # async fn run(stream: tokio::net::TcpStream) -> Result<(), sockeye::Error> {
/// let mut socket = sockeye::accept(stream).await?;
/// socket.send("welcome").await?;
/// # Ok(())
/// # }
/// ```
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin + 'static>(stream: S) -> Result<WebSocket<S>, Error> {
    Handshake::read(stream, &ServerConfig::default()).await?.accept().await
}

/// An HTTP/1.1 request whose head has been read and found well-formed, on the transport it came by.
///
/// For servers that also answer plain requests; others go straight to [`Handshake::read`].
///
/// ```no_run
/// # async fn answer(io: tokio::net::TcpStream, path: &str) {}
/// # async fn run(stream: tokio::net::TcpStream) -> Result<(), sockeye::Error> {
/// use sockeye::{HttpRequest, ServerConfig, bytes::Bytes};
///
/// let config = ServerConfig::default();
/// let request = HttpRequest::read(stream, Bytes::new(), &config.handshake).await?;
/// if request.is_upgrade() {
///     let mut socket = request.handshake(&config).await?.accept().await?;
///     socket.send("welcome").await?;
/// } else {
///     let (request, io, _rest) = request.into_parts();
///     answer(io, request.uri().path()).await;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HttpRequest<S> {
    request: Request<()>,
    io: S,
    rest: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> HttpRequest<S> {
    /// Reads one request's head. `rest` is what was read beyond an earlier one.
    ///
    /// # Errors
    /// If nothing or not enough comes in time, or if it is malformed; a malformed request has been answered.
    /// [`Error::is_abnormal`] if the peer left.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn read(io: S, rest: Bytes, limits: &HandshakeLimits) -> impl Future<Output = Result<Self, Error>> + use<S> {
        Self::read_with(ReadRequest::new(*limits), io, rest, limits.timeout)
    }

    /// The same for a program that serves more than WebSockets: it also gets requests of HTTP/1.0, and paths of whatever
    /// segments, and has to look at [`Request::version`] and [`is_plain_path`](crate::proto::handshake::is_plain_path)
    /// itself. A WebSocket over HTTP/1.0 is refused by [`handshake`](Self::handshake).
    ///
    /// # Errors
    /// As those of [`read`](Self::read).
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn read_lenient(
        io: S,
        rest: Bytes,
        limits: &HandshakeLimits,
    ) -> impl Future<Output = Result<Self, Error>> + use<S> {
        Self::read_with(ReadRequest::lenient(*limits), io, rest, limits.timeout)
    }

    fn read_with(
        reader: ReadRequest,
        mut io: S,
        rest: Bytes,
        limit: Duration,
    ) -> impl Future<Output = Result<Self, Error>> + use<S> {
        let mut reader = Some(reader);
        async move {
            let refusal = match timeout(limit, read_head(&mut io, &mut reader, rest)).await {
                Ok(Ok(Ok((request, rest)))) => return Ok(Self { request, io, rest }),
                Ok(Ok(Err(refusal))) => Some(refusal),
                Ok(Err(error)) => return Err(Error::io(error)),
                Err(_elapsed) => reader.and_then(ReadRequest::handle_timeout),
            };
            match refusal {
                Some(refusal) => Err(refuse(io, refusal).await),
                None => Err(Error::timeout("the request")),
            }
        }
    }

    /// The head of the request.
    pub fn request(&self) -> &Request<()> {
        &self.request
    }

    /// Whether it asks for a WebSocket at all, properly or not.
    pub fn is_upgrade(&self) -> bool {
        is_upgrade(&self.request)
    }

    /// Checks it as an opening handshake.
    ///
    /// # Errors
    /// If it is not a proper one, or not wanted; it has been answered.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn handshake(self, config: &ServerConfig) -> impl Future<Output = Result<Handshake<S>, Error>> + use<S> {
        let checked = self.check(config);
        async move {
            match checked {
                Ok(handshake) => Ok(handshake),
                Err((io, refusal)) => Err(refuse(io, refusal).await),
            }
        }
    }

    fn check(self, config: &ServerConfig) -> Result<Handshake<S>, (S, Refusal)> {
        let checked = Offer::check(&self.request).and_then(|offer| {
            offer.check_origin(&config.origins)?;
            let subprotocol = offer.select(&config.subprotocols)?;
            Ok((offer.deflate(config.deflate.clone()), subprotocol))
        });
        match checked {
            Ok((offer, subprotocol)) => {
                let timeout = config.handshake.timeout;
                Ok(Handshake { http: self, offer, subprotocol, config: Arc::clone(&config.connection), timeout })
            }
            Err(refusal) => Err((self.io, refusal)),
        }
    }

    /// Takes it apart: the request, the transport, and what was read beyond the head.
    pub fn into_parts(self) -> (Request<()>, S, Bytes) {
        (self.request, self.io, self.rest)
    }

    /// Answers with a refusal, or with the status of one, and ends the connection: nothing more is read from it.
    ///
    /// Returns the error to pass on ([`Error::is_refused`]).
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub async fn reject(self, refusal: impl Into<Refusal>) -> Error {
        let refusal = refusal.into();
        let head_only = self.request.method() == Method::HEAD;
        refuse(self.io, if head_only { refusal.without_body() } else { refusal }).await
    }
}

/// An opening handshake that is in order, to be accepted or rejected.
///
/// ```no_run
/// # fn allowed(origin: Option<&str>) -> bool { true }
/// # async fn run(stream: tokio::net::TcpStream) -> Result<(), sockeye::Error> {
/// let config = sockeye::ServerConfig::default();
/// let request = sockeye::Handshake::read(stream, &config).await?;
/// let mut socket = if allowed(request.origin()) {
///     request.accept().await?
/// } else {
///     return Err(request.reject(403).await);
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Handshake<S> {
    http: HttpRequest<S>,
    offer: Offer,
    subprotocol: Option<Subprotocol>,
    config: Arc<Config>,
    /// Time for the peer to take the response.
    timeout: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Handshake<S> {
    /// Reads a request and checks it.
    ///
    /// # Errors
    /// If it is no proper opening handshake, or not wanted ([`Error::is_refused`]: it has been answered); if it does not
    /// come in time.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub async fn read(io: S, config: &ServerConfig) -> Result<Self, Error> {
        let http = HttpRequest::read(io, Bytes::new(), &config.handshake).await?;
        match http.check(config) {
            Ok(handshake) => Ok(handshake),
            Err((io, refusal)) => Err(refuse(io, refusal).await),
        }
    }

    /// The head of the request: path, query, headers.
    pub fn request(&self) -> &Request<()> {
        &self.http.request
    }

    /// The page the connection is made for; browsers say, others may not.
    pub fn origin(&self) -> Option<&str> {
        self.offer.origin()
    }

    /// The subprotocols the client speaks, those it prefers first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.offer.subprotocols().iter().map(Subprotocol::as_str)
    }

    /// Sets limits and keepalive of this connection in place of the [`ServerConfig`]'s.
    #[must_use]
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = config.into();
        self
    }

    /// Sets the compression of this connection in place of the [`ServerConfig`]'s; `None` declines it.
    #[must_use]
    pub fn deflate(mut self, policy: impl Into<Option<Deflate>>) -> Self {
        self.offer = self.offer.deflate(policy);
        self
    }

    /// Accepts.
    ///
    /// # Errors
    /// If the transport fails.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn accept(self) -> impl Future<Output = Result<WebSocket<S>, Error>> {
        self.accept_with(HeaderMap::new())
    }

    /// Accepts, with more headers in the response, such as `Set-Cookie`.
    ///
    /// ```no_run
    /// # async fn run(request: sockeye::Handshake<tokio::net::TcpStream>) -> Result<(), sockeye::Error> {
    /// use sockeye::http::{HeaderMap, HeaderValue, header::SET_COOKIE};
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert(SET_COOKIE, HeaderValue::from_static("seen=1; Secure; HttpOnly"));
    /// let socket = request.accept_with(headers).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the transport fails. If a header is the handshake's own (`Connection`, `Upgrade`, every `Sec-WebSocket-…`, and
    /// those that announce a body), the client has been answered 500 and the code is `reserved_header`.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn accept_with(self, headers: HeaderMap) -> impl Future<Output = Result<WebSocket<S>, Error>> {
        let limit = self.timeout;
        let mut answer = self.answer(headers);
        async move {
            if let Ok((socket, head)) = &mut answer {
                let written = timeout(limit, write(socket.transport_mut(), head)).await;
                written.map_err(|_| Error::timeout("the response"))?.map_err(Error::io)?;
            }
            match answer {
                Ok((socket, _)) => Ok(socket),
                Err((io, error)) => {
                    refuse(io, StatusCode::INTERNAL_SERVER_ERROR.into()).await;
                    Err(error)
                }
            }
        }
    }

    /// The connection, and the response that opens it.
    fn answer(self, headers: HeaderMap) -> Result<(WebSocket<S>, BytesMut), (S, Error)> {
        let Self { http: HttpRequest { io, rest, .. }, offer, subprotocol, config, .. } = self;
        let accepted = offer.accept(subprotocol).map_err(Error::from);
        let accepted = match accepted.and_then(|accepted| Ok(accepted.headers(headers)?)) {
            Ok(accepted) => accepted,
            Err(error) => return Err((io, error)),
        };
        // Messages are written when they are whole; waiting for more would only add the peer's delayed ACK.
        if let Some(stream) = tcp_stream_under(&io)
            && let Err(error) = stream.set_nodelay(true)
        {
            return Err((io, Error::io(error)));
        }
        let mut head = BytesMut::new();
        write_response(&accepted.response, b"", &mut head);
        let mut connection = Connection::server(config, now());
        if let Some(agreed) = &accepted.deflate {
            connection = connection.with_deflate(agreed);
        }
        let agreed = Agreed::new(accepted.subprotocol, accepted.response.headers(), None);
        Ok((WebSocket::new(io, connection, &rest, agreed), head))
    }

    /// Rejects with a status, such as 401, 403 or 503, or with a [`Refusal`] that has headers and a reason of its own; and
    /// ends the connection.
    ///
    /// Returns the error to pass on ([`Error::is_refused`]).
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    ///
    /// ```no_run
    /// # async fn run(request: sockeye::Handshake<tokio::net::TcpStream>) -> Result<(), sockeye::Error> {
    /// use http::header::RETRY_AFTER;
    /// use sockeye::Refusal;
    ///
    /// let busy = Refusal::from(503).header(RETRY_AFTER, 30.into()).reason_text("the room is full");
    /// return Err(request.reject(busy).await);
    /// # }
    /// ```
    pub async fn reject(self, refusal: impl Into<Refusal>) -> Error {
        self.http.reject(refusal).await
    }
}

/// Outside, an error of the transport; inside, what was wrong with the request. `reader` is left where it got to.
async fn read_head<S: AsyncRead + Unpin>(
    io: &mut S,
    reader: &mut Option<ReadRequest>,
    rest: Bytes,
) -> io::Result<Result<(Request<()>, Bytes), Refusal>> {
    if let Some(head) = take_head(reader, &rest) {
        return Ok(head);
    }
    drop(rest);
    loop {
        // The end of the input, or what came of it.
        let take = |input: &[u8]| (!input.is_empty()).then(|| take_head(reader, input));
        match read_some(io, take).await? {
            Some(Some(head)) => return Ok(head),
            Some(None) => {}
            None => break,
        }
    }
    match reader.take().and_then(ReadRequest::handle_eof) {
        Some(refusal) => Ok(Err(refusal)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// `None` while the head is not whole.
fn take_head(reader: &mut Option<ReadRequest>, input: &[u8]) -> Option<Result<(Request<()>, Bytes), Refusal>> {
    match reader.take()?.handle_input(input) {
        Ok(RequestProgress::Done { request, rest }) => Some(Ok((request, rest))),
        Ok(RequestProgress::More(more)) => {
            *reader = Some(more);
            None
        }
        Err(refusal) => Some(Err(refusal)),
    }
}

async fn write(io: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}

/// Answers with the refusal, ends the connection so that the answer arrives, and returns the error to pass on.
///
/// In a box, since every handshake would have room for it, and few are refused.
fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut io: S, refusal: Refusal) -> Pin<Box<impl Future<Output = Error>>> {
    Box::pin(async move {
        let answer = async {
            let mut response = BytesMut::new();
            refusal.write_to(&mut response);
            write(&mut io, &response).await?;
            io.shutdown().await?;
            tokio::io::copy(&mut (&mut io).take(LINGER_BYTES), &mut tokio::io::sink()).await
        };
        // The refusal is the news; that the peer did not wait for it is not.
        let _ = timeout(LINGER, answer).await;
        refusal.into()
    })
}
