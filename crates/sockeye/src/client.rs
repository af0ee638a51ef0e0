//! The client's end: from a URL to an open connection.
use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use sockeye_proto::{
    Config, Connection, Deflate,
    handshake::{ClientRequest, Established, HandshakeLimits, ReadResponse, ResponseProgress, Subprotocol},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::{
    Error, RedirectPolicy, Transport, WebSocket,
    agreed::Agreed,
    buffer::read_some,
    route::{Http, Route},
    timer::{deadline, now},
};

/// Connects to a `ws://` or `wss://` URL with the defaults of [`Client`].
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
/// What a method is given is checked by [`connect`](Self::connect), so that calls can be chained. A clone makes the same
/// connection once more.
///
/// ```no_run
/// # async fn run(token: &str) -> Result<(), sockeye::Error> {
/// let mut socket = sockeye::Client::new("wss://example.org/ws")?
///     .subprotocol("sockeye.v1.json")
///     .header("authorization", token)
///     .connect()
///     .await?;
/// assert_eq!(socket.protocol(), Some("sockeye.v1.json"));
/// # Ok(())
/// # }
/// ```
///
/// # TLS
///
/// `wss://` is TLS 1.2 or 1.3 by rustls, with the root certificates of the platform (or those in the files that
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` name). `root_certificates` trusts others in their place, and `tls` takes a whole
/// configuration. The cryptography is that of the configuration, or the `CryptoProvider` installed for the process, or ring,
/// if the feature `ring` is on. Nothing has to be installed, and nothing is.
///
/// # Proxies
///
/// With the feature `proxy`, the environment is asked when connecting (`https_proxy`, `ALL_PROXY`, `NO_PROXY`: see
/// `Proxy::from_env`), as browsers and curl do, unless the method `proxy` says otherwise. This machine itself is never reached
/// through a proxy that only the environment names.
#[derive(Clone)]
pub struct Client {
    /// What was wrong with a setting, until somebody connects.
    pub(crate) request: Result<ClientRequest, Error>,
    pub(crate) config: Arc<Config>,
    pub(crate) timeout: Duration,
    redirects: RedirectPolicy,
    route: Route,
}

impl Client {
    /// A connection to this URL, whose scheme is `ws` or `wss` (or `http` or `https`, which mean the same here).
    ///
    /// # Errors
    /// If it is no URL, has another scheme, a fragment or a user name (RFC 6455 section 3).
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self {
            request: Ok(ClientRequest::new(url)?),
            config: Arc::default(),
            timeout: HandshakeLimits::default().timeout,
            redirects: RedirectPolicy::none(),
            route: Route::default(),
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

    /// Sets whether redirects are followed. They are not, unless this is called.
    #[must_use]
    pub fn redirects(mut self, policy: RedirectPolicy) -> Self {
        self.redirects = policy;
        self
    }

    /// Sets the proxy to go through, or [that there is none](crate::Proxy::none), whatever the environment says.
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn proxy(mut self, proxy: crate::Proxy) -> Self {
        self.route.proxy = Some(proxy);
        self
    }

    /// Sets the whole configuration of TLS, which is taken as it is: client certificates, roots, versions, cryptography.
    ///
    /// If it has [`alpn_protocols`](crate::rustls::ClientConfig::alpn_protocols), `http/1.1` should be among them.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: impl Into<Arc<crate::rustls::ClientConfig>>) -> Self {
        self.route.tls = Some(config.into());
        self
    }

    /// Trusts these root certificates in place of the platform's: those of a company, or of a test.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockeye::rustls::pki_types::{CertificateDer, pem::PemObject};
    ///
    /// let root = CertificateDer::from_pem_file("ca.pem")?;
    /// let socket = sockeye::Client::new("wss://localhost:8443/")?.root_certificates([root]).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn root_certificates<C>(mut self, roots: C) -> Self
    where
        C: IntoIterator<Item = crate::rustls::pki_types::CertificateDer<'static>>,
    {
        match crate::tls::provider().and_then(|provider| crate::tls::trusting(provider, roots)) {
            Ok(config) => self.route.tls = Some(Arc::new(config)),
            Err(error) => return self.change(|_| Err(Error::misuse(error.code(), error.to_string()))),
        }
        self
    }

    /// Prefers HTTP/2 (RFC 8441): `h2` is offered before what TLS's configuration offers, and what the server chooses is
    /// spoken. A server that chooses HTTP/2 and then takes no WebSocket over it is asked again over HTTP/1.1.
    ///
    /// A `ws` URL is then reached by HTTP/2 in the clear, which only servers that are known to speak it understand.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), sockeye::Error> {
    /// let mut socket = sockeye::Client::new("wss://example.org/live")?.http2().connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.route.http = Http::Two;
        self
    }

    /// Connects: looks the name up, tries its addresses, goes through the proxy if there is one, shakes hands.
    ///
    /// # Errors
    /// If something set before was invalid; if the server or its proxy cannot be reached, refuses ([`Error::response`] then
    /// has its answer) or breaks the handshake; if TLS does not come about; if all of it takes longer than the limits say
    /// (10 s by default).
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt.
    pub async fn connect(self) -> Result<WebSocket<Transport>, Error> {
        let limit = self.timeout;
        let mut reader = None;
        // On the heap: callers would keep the room it takes in their own futures for as long as those live.
        let attempt = Box::pin(self.follow(&mut reader));
        let result = timeout(limit, attempt).await;
        result.unwrap_or_else(|_elapsed| Err(too_late(reader)))
    }

    /// Connects through a Unix socket. Host and path come from the URL, and so does whether there is TLS. No proxy is used
    /// and no redirect followed.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), sockeye::Error> {
    /// let socket = sockeye::Client::new("ws://localhost/echo")?.connect_unix("/run/sockeye.sock").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt.
    #[cfg(unix)]
    pub async fn connect_unix(self, path: impl AsRef<std::path::Path>) -> Result<WebSocket<Transport>, Error> {
        let Self { request, config, timeout: limit, route, .. } = self;
        let request = request?;
        let mut reader = None;
        let attempt = Box::pin(async {
            let connecting = async {
                let stream = tokio::net::UnixStream::connect(path).await.map_err(Error::io)?;
                Ok(Transport::unix(stream))
            };
            let transport = route.secure(&request, connecting).await?;
            let http = route.spoken(&request, transport.alpn_protocol())?;
            speak(http, transport, request, config, deadline(limit), &mut reader).await
        });
        let result = timeout(limit, attempt).await;
        result.unwrap_or_else(|_elapsed| Err(too_late(reader)))
    }

    /// Shakes hands over a transport that is connected already, and brings its own TLS for `wss`. Host and path come from
    /// the URL. No redirect is followed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sockeye::Error> {
    /// let (near, far) = tokio::io::duplex(4096);
    /// let client = sockeye::Client::new("ws://example.org/")?;
    /// let (client, server) = tokio::join!(client.connect_over(near), sockeye::accept(far));
    /// client?.send("hello").await?;
    /// assert_eq!(server?.recv().await?, Some("hello".into()));
    /// # Ok(())
    /// # }
    /// ```
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

    /// Connects, and goes where it is sent if the policy says so.
    async fn follow(self, reader: &mut Option<ReadResponse>) -> Result<WebSocket<Transport>, Error> {
        let mut request = self.request?;
        let mut route = self.route;
        let deadline = deadline(self.timeout);
        let mut followed = 0;
        loop {
            let transport = route.open(&request).await?;
            let http = route.spoken(&request, transport.alpn_protocol())?;
            match speak(http, transport, request.clone(), Arc::clone(&self.config), deadline, reader).await {
                Ok(socket) => return Ok(socket),
                // Over TLS the next attempt can offer HTTP/1.1 alone; in the clear there was no offer.
                Err(error)
                    if error.code() == "no_extended_connect" && request.is_secure() && route.http != Http::One =>
                {
                    route.stop_offering_http2();
                }
                Err(error) => {
                    request = self.redirects.follow(request, followed, error)?;
                    followed += 1;
                }
            }
        }
    }

    /// The first mistake is the one that is told.
    fn change(mut self, change: impl FnOnce(ClientRequest) -> Result<ClientRequest, Error>) -> Self {
        self.request = self.request.and_then(change);
        self
    }
}

/// Where to, and how; no query, no header, no password, which may be secrets.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Client");
        match &self.request {
            Ok(request) => debug
                .field("secure", &request.is_secure())
                .field("host", &request.host())
                .field("port", &request.port())
                .field("path", &request.path()),
            Err(mistake) => debug.field("mistake", mistake),
        };
        #[cfg(feature = "proxy")]
        debug.field("proxy", &self.route.proxy);
        debug.field("redirects", &self.redirects).finish_non_exhaustive()
    }
}

/// Shakes hands in the version of HTTP that was agreed upon: what ALPN chose is known here, before a byte of it is sent.
#[cfg_attr(
    not(feature = "http2"),
    expect(unused_variables, reason = "only HTTP/2 has parts that end before the whole")
)]
async fn speak(
    http: Http,
    transport: Transport,
    request: ClientRequest,
    config: Arc<Config>,
    deadline: Instant,
    reader: &mut Option<ReadResponse>,
) -> Result<WebSocket<Transport>, Error> {
    match http {
        Http::One => shake_hands(transport, request, config, reader).await,
        #[cfg(feature = "http2")]
        Http::Two => crate::http2::connect_over(transport, request, config, deadline).await,
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
    Ok(WebSocket::new(io, connection, &rest, Agreed::new(subprotocol, response.headers(), url)))
}

async fn read_response(
    io: &mut (impl AsyncRead + Unpin),
    reader: &mut Option<ReadResponse>,
) -> Result<Established, Error> {
    loop {
        let take = |input: &[u8]| {
            let Some(reading) = reader.take() else { return Err(Error::timeout("connecting")) };
            if input.is_empty() {
                return Err(reading.handle_eof().into());
            }
            Ok(match reading.handle_input(input)? {
                ResponseProgress::More(next) => {
                    *reader = Some(next);
                    None
                }
                ResponseProgress::Done(established) => Some(established),
            })
        };
        if let Some(established) = read_some(io, take).await.map_err(Error::io)?? {
            return Ok(established);
        }
    }
}

/// Time is over. A refusal whose body was still coming is told with what came of it.
fn too_late(reader: Option<ReadResponse>) -> Error {
    reader.map_or_else(|| Error::timeout("connecting"), |reader| reader.handle_timeout().into())
}
