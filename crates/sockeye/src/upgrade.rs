//! The server's end inside an HTTP server: from a request that hyper has read to an open connection.
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::{ext::Protocol, upgrade::OnUpgrade};
use hyper_util::{rt::TokioIo, server::conn::auto};
use sockeye_proto::{
    Config, Connection, DeflateParams,
    handshake::{Offer, Refusal, Subprotocol},
};
use tokio::{
    net::TcpStream,
    time::{Timeout, timeout},
};

use crate::{Error, ServerConfig, Transport, WebSocket, agreed::Agreed, timer::now, upgraded::Upgraded};

/// Answers a request that hyper, axum or another server built on hyper has read: over HTTP/1.1 as RFC 6455 says, over
/// HTTP/2 as RFC 8441 says.
///
/// The response has to be returned from the service, with any body that is empty; then the [`Upgrade`], which is awaited
/// in a task of its own, gives the socket. [`UpgradeRequest`] is the longer form, for programs that look before they
/// decide. Over HTTP/1.1 the server has to allow upgrades (hyper's `with_upgrades`), over HTTP/2 it has to enable
/// extended CONNECT ([`ServerSettings`](crate::http2::ServerSettings) does).
///
/// # Errors
/// With the refusal to be returned instead; it turns into a response. It is refused if it is no proper opening
/// handshake, or not on the terms of the configuration. The limits of the request's head are the HTTP server's.
///
/// ```
/// use http_body_util::Full;
/// use hyper::{Request, Response, body::{Bytes, Incoming}};
///
/// async fn echo(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
///     let (response, upgrade) = match sockeye::upgrade(&mut request, &sockeye::ServerConfig::default()) {
///         Ok(accepted) => accepted,
///         Err(refusal) => return Ok(refusal.into()),
///     };
///     tokio::spawn(async move {
///         let mut socket = upgrade.await?;
///         while let Some(message) = socket.recv().await? {
///             socket.send(message).await?;
///         }
///         Ok::<_, sockeye::Error>(())
///     });
///     Ok(response.map(|()| Full::default()))
/// }
///
/// # async fn run(stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use hyper_util::{rt::{TokioExecutor, TokioIo}, server::conn::auto};
///
/// let mut server = auto::Builder::new(TokioExecutor::new());
/// sockeye::http2::ServerSettings::default().apply_auto(&mut server);
/// stream.set_nodelay(true)?;
/// server.serve_connection_with_upgrades(TokioIo::new(stream), hyper::service::service_fn(echo)).await
/// # }
/// ```
pub fn upgrade<B>(request: &mut Request<B>, config: &ServerConfig) -> Result<(Response<()>, Upgrade), Refusal> {
    UpgradeRequest::new(request)?.accept(config)
}

/// Whether a request asks for a WebSocket at all, properly or not: by `Upgrade`, or by `:protocol` over HTTP/2.
pub fn is_upgrade<B>(request: &Request<B>) -> bool {
    match protocol(request) {
        Some(protocol) => protocol.as_str().eq_ignore_ascii_case("websocket"),
        None => is_http1(request) && sockeye_proto::handshake::is_upgrade(request),
    }
}

/// An opening handshake that is in order, to be accepted or rejected, whichever version of HTTP brought it.
///
/// It owns what it needs of the request, so whoever decides may take its time:
///
/// ```
/// # use http_body_util::Full;
/// # use hyper::{Request, Response, body::{Bytes, Incoming}};
/// # async fn may_enter(cookie: Option<&http::HeaderValue>) -> bool { true }
/// # async fn serve(socket: sockeye::WebSocket<sockeye::Transport>) {}
/// async fn room(request: &mut Request<Incoming>) -> Result<Response<Full<Bytes>>, sockeye::Refusal> {
///     let handshake = sockeye::UpgradeRequest::new(request)?;
///     if !may_enter(request.headers().get("cookie")).await {
///         return Err(handshake.reject(sockeye::Refusal::with_status(http::StatusCode::UNAUTHORIZED)));
///     }
///     let (response, upgrade) = handshake.accept(&sockeye::ServerConfig::default())?;
///     tokio::spawn(async move {
///         if let Ok(socket) = upgrade.await {
///             serve(socket).await;
///         }
///     });
///     Ok(response.map(|()| Full::default()))
/// }
///
/// async fn service(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
///     Ok(room(&mut request).await.unwrap_or_else(Into::into))
/// }
/// ```
#[derive(Debug)]
pub struct UpgradeRequest {
    offer: Offer,
    on_upgrade: OnUpgrade,
    is_http1: bool,
}

impl UpgradeRequest {
    /// Checks a request against RFC 6455 section 4.2.1 or RFC 8441 section 4, and takes hyper's upgrade out of it.
    ///
    /// # Errors
    /// With the refusal to be returned; 500 if the server does not let this request be upgraded.
    pub fn new<B>(request: &mut Request<B>) -> Result<Self, Refusal> {
        let is_http1 = is_http1(request);
        let offer = if is_http1 {
            Offer::check(request)?
        } else {
            Offer::check_connect(request, protocol(request).map(Protocol::as_str))?
        };
        if request.extensions().get::<OnUpgrade>().is_none() {
            return Err(refusal(StatusCode::INTERNAL_SERVER_ERROR, is_http1)
                .reason_text("the HTTP server does not let this request be upgraded"));
        }
        Ok(Self { offer, on_upgrade: hyper::upgrade::on(request), is_http1 })
    }

    /// The page the connection is made for; browsers say, others may not.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.offer.origin()
    }

    /// The host asked for, and its port unless it is the default one: `Host`, or `:authority` over HTTP/2.
    #[must_use]
    pub fn host(&self) -> &str {
        self.offer.host()
    }

    /// The subprotocols the client speaks, those it prefers first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.offer.subprotocols().iter().map(Subprotocol::as_str)
    }

    /// Accepts on these terms. More headers may be added to the response.
    ///
    /// # Errors
    /// With the refusal to be returned: 403 if pages of this origin may not connect, 400 if no subprotocol is shared and
    /// one is needed.
    ///
    /// # Panics
    /// Outside a tokio runtime with time: the client has [`timeout`](crate::HandshakeLimits::timeout) to take the response.
    pub fn accept(self, config: &ServerConfig) -> Result<(Response<()>, Upgrade), Refusal> {
        let is_http1 = self.is_http1;
        self.accept_on(config).map_err(|refusal| fit(refusal, is_http1))
    }

    /// Rejects. The refusal is to be returned from the service; over HTTP/2 it leaves out the headers that it does not have.
    #[must_use]
    pub fn reject(self, refusal: impl Into<Refusal>) -> Refusal {
        fit(refusal.into(), self.is_http1)
    }

    fn accept_on(self, config: &ServerConfig) -> Result<(Response<()>, Upgrade), Refusal> {
        self.offer.check_origin(&config.origins)?;
        let subprotocol = self.offer.select(&config.subprotocols)?;
        let offer = self.offer.deflate(config.deflate.clone());
        let accepted =
            offer.accept(subprotocol).map_err(|_| Refusal::with_status(StatusCode::INTERNAL_SERVER_ERROR))?;
        let upgrade = Upgrade {
            upgraded: Box::pin(timeout(config.handshake.timeout, self.on_upgrade)),
            config: Arc::clone(&config.connection),
            deflate: accepted.deflate,
            agreed: Agreed::new(accepted.subprotocol, accepted.response.headers(), None),
        };
        Ok((accepted.response, upgrade))
    }
}

/// The socket to come: awaited, it waits until the HTTP server has sent the response and let the connection go.
///
/// # Cancel safety
/// Dropping it drops the connection, or over HTTP/2 the stream.
#[must_use = "the connection is dropped with it"]
pub struct Upgrade {
    upgraded: Pin<Box<Timeout<OnUpgrade>>>,
    config: Arc<Config>,
    deflate: Option<DeflateParams>,
    agreed: Agreed,
}

impl Future for Upgrade {
    type Output = Result<WebSocket<Transport>, Error>;

    /// # Errors
    /// If the client left or did not take the response in time, or if the service did not return the response.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let upgraded = ready!(self.upgraded.as_mut().poll(cx)).map_err(|_elapsed| Error::timeout("the response"))?;
        let (transport, rest) = take_apart(upgraded.map_err(std::io::Error::other)?)?;
        let mut connection = Connection::server(Arc::clone(&self.config), now());
        if let Some(agreed) = self.deflate.take() {
            connection = connection.with_deflate(&agreed);
        }
        let agreed = std::mem::take(&mut self.agreed);
        Poll::Ready(Ok(WebSocket::new(transport, connection, &rest, agreed)))
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("agreed", &self.agreed).finish_non_exhaustive()
    }
}

/// The TCP stream itself where one is inside, so that nothing of hyper stands between it and the messages; and what hyper
/// had read beyond the request.
fn take_apart(upgraded: hyper::upgrade::Upgraded) -> std::io::Result<(Transport, Bytes)> {
    // The builder that tells HTTP/1.1 from HTTP/2 wraps what it is given once more.
    let taken = auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded).map(|parts| (parts.io, parts.read_buf));
    let taken =
        taken.or_else(|upgraded| upgraded.downcast::<TokioIo<TcpStream>>().map(|parts| (parts.io, parts.read_buf)));
    match taken {
        Ok((io, rest)) => {
            let stream = io.into_inner();
            // Messages are written when they are whole; waiting for more would only add the peer's delayed ACK.
            stream.set_nodelay(true)?;
            Ok((Transport::tcp(stream), rest))
        }
        Err(upgraded) => Ok((Transport::upgraded(Upgraded::new(TokioIo::new(upgraded))), Bytes::new())),
    }
}

/// What the request's `:protocol` says. hyper keeps it beside the headers.
fn protocol<B>(request: &Request<B>) -> Option<&Protocol> {
    if request.method() == Method::CONNECT { request.extensions().get() } else { None }
}

fn is_http1<B>(request: &Request<B>) -> bool {
    request.version() <= Version::HTTP_11
}

fn refusal(status: StatusCode, is_http1: bool) -> Refusal {
    fit(Refusal::with_status(status), is_http1)
}

fn fit(refusal: Refusal, is_http1: bool) -> Refusal {
    if is_http1 { refusal } else { refusal.without_connection_headers() }
}
