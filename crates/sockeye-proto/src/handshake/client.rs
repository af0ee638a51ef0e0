use bytes::{Bytes, BytesMut};
use http::Uri;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

use super::HandshakeLimits;
use super::accept_key::encode_nonce;
use super::error::{HandshakeError, Kind};
use super::fields::is_reserved;
use super::head::is_secret;
use super::response::ReadResponse;
use super::subprotocol::Subprotocol;
use super::tunnel::{ReadTunnel, write_connect};
use super::write::write_request;
use crate::deflate::{ClientOffer, Deflate};

/// A client's opening handshake before it is sent (RFC 6455 section 4.1).
///
/// ```
/// use sockeye_proto::handshake::ClientRequest;
///
/// let request = ClientRequest::new("wss://example.org/live?room=1")?
///     .origin("https://example.org")?
///     .header("Authorization", "Bearer abc")?;
/// assert_eq!((request.host(), request.port(), request.is_secure()), ("example.org", 443, true));
///
/// // The nonce is 16 fresh random bytes. This crate has no dice, so the caller rolls them.
/// let (head, _response) = request.start([7; 16]);
/// assert!(head.starts_with(b"GET /live?room=1 HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\n"));
/// # Ok::<(), sockeye_proto::handshake::HandshakeError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientRequest {
    url: Url,
    target: Uri,
    host: String,
    port: u16,
    headers: HeaderMap,
    subprotocols: Vec<Subprotocol>,
    limits: HandshakeLimits,
    deflate: Option<Deflate>,
}

impl ClientRequest {
    /// Reads a URL as browsers do: the WHATWG rules, `ws` or `wss`, with `http` and `https` taken for them.
    ///
    /// # Errors
    ///
    /// Fails with a [user error](HandshakeError::is_user) if this is no absolute URL, has another scheme, a fragment,
    /// or a user name or password. The last would have to be sent as a header, which a program should say itself.
    pub fn new(url: &str) -> Result<Self, HandshakeError> {
        let mut url = Url::parse(url).map_err(|error| Kind::BadUrl(error.to_string()))?;
        let scheme = match url.scheme() {
            "ws" | "http" => "ws",
            "wss" | "https" => "wss",
            _ => return Err(Kind::BadScheme.into()),
        };
        url.set_scheme(scheme).map_err(|()| Kind::BadScheme)?;
        if url.fragment().is_some() {
            return Err(Kind::UrlWithFragment.into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Kind::UrlWithCredentials.into());
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(Kind::BadUrl("it names no host".to_owned()).into()),
        };
        let port = url.port_or_known_default().unwrap_or(80);
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let target = Uri::try_from(target).map_err(|error| Kind::BadUrl(error.to_string()))?;
        let mut request = Self {
            host,
            port,
            target,
            headers: HeaderMap::new(),
            subprotocols: Vec::new(),
            limits: HandshakeLimits::default(),
            deflate: None,
            url,
        };
        request.headers.insert(header::HOST, request.host_value()?);
        Ok(request)
    }

    /// Offers a subprotocol. The order of the calls is the order of preference.
    ///
    /// # Errors
    ///
    /// Fails if it is offered already, or if [`Subprotocol::MAX_OFFERED`] are.
    pub fn subprotocol(mut self, subprotocol: Subprotocol) -> Result<Self, HandshakeError> {
        if self.subprotocols.contains(&subprotocol) || self.subprotocols.len() >= Subprotocol::MAX_OFFERED {
            return Err(Kind::RepeatedSubprotocol.into());
        }
        self.subprotocols.push(subprotocol);
        Ok(self)
    }

    /// Adds a header, such as `Authorization` or `Cookie`.
    ///
    /// # Errors
    ///
    /// Fails if name or value is not one of HTTP, or if the header is the handshake's own: `Host`, `Connection`,
    /// `Upgrade`, every `Sec-WebSocket-…`, and those that announce a body.
    pub fn header<N, V>(mut self, name: N, value: V) -> Result<Self, HandshakeError>
    where
        HeaderName: TryFrom<N>,
        HeaderValue: TryFrom<V>,
    {
        let name = HeaderName::try_from(name).map_err(|_| Kind::BadHeader)?;
        let mut value = HeaderValue::try_from(value).map_err(|_| Kind::BadHeader)?;
        // What the caller has marked stays marked.
        value.set_sensitive(value.is_sensitive() || is_secret(&name));
        if is_reserved(&name) {
            return Err(Kind::ReservedHeader(name).into());
        }
        if name == header::ORIGIN {
            self.headers.insert(name, value);
        } else {
            self.headers.try_append(name, value).map_err(|_| Kind::BadHeader)?;
        }
        Ok(self)
    }

    /// Sets `Origin`, which browsers send and other clients need not.
    ///
    /// # Errors
    ///
    /// Fails if the text cannot be the value of a header.
    pub fn origin(self, origin: &str) -> Result<Self, HandshakeError> {
        self.header(header::ORIGIN, origin)
    }

    /// Sets the bounds for the server's answer.
    pub fn limits(mut self, limits: HandshakeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same request, to where a redirect points (RFC 9110 section 15.4): the value of `Location`, resolved.
    ///
    /// Headers whose values are [sensitive](HeaderValue::is_sensitive), as those of `Authorization` and `Cookie` always
    /// are, stay behind unless scheme, host and port are the same.
    ///
    /// ```
    /// use sockeye_proto::handshake::ClientRequest;
    ///
    /// let request = ClientRequest::new("wss://example.org/live")?.header("Authorization", "Bearer abc")?;
    /// let moved = request.clone().redirected("/v2/live")?;
    /// assert_eq!(moved.url(), "wss://example.org/v2/live");
    /// assert!(moved.headers().contains_key("authorization"));
    ///
    /// let elsewhere = request.clone().redirected("https://eu.example.org/")?;
    /// assert!(!elsewhere.headers().contains_key("authorization"));
    /// assert_eq!(request.redirected("ws://example.org/").unwrap_err().code(), "redirect_to_plaintext");
    /// # Ok::<(), sockeye_proto::handshake::HandshakeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if that is no URL for a WebSocket, or one without TLS where this one has it.
    pub fn redirected(self, location: &str) -> Result<Self, HandshakeError> {
        let mut url = self.url.join(location).map_err(|error| Kind::BadRedirect(error.to_string()))?;
        url.set_fragment(None);
        // Its mistakes are the server's, not the program's.
        let next = Self::new(url.as_str()).map_err(|error| Kind::BadRedirect(error.to_string()))?;
        if self.is_secure() && !next.is_secure() {
            return Err(Kind::RedirectToPlaintext.into());
        }
        let stays = self.url.origin() == next.url.origin();
        let kept = self.headers.iter().filter(|(_, value)| stays || !value.is_sensitive());
        let mut headers: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        headers.insert(header::HOST, next.host_value()?);
        Ok(Self { url: next.url, target: next.target, host: next.host, port: next.port, headers, ..self })
    }

    /// Writes the request for a tunnel to this host through an HTTP proxy (RFC 9110 section 9.3.6), and waits for the
    /// proxy's answer. The opening handshake, or TLS, then goes through the tunnel.
    ///
    /// `authorization` is for the proxy alone: the value of `Proxy-Authorization`.
    ///
    /// ```
    /// use sockeye_proto::handshake::ClientRequest;
    ///
    /// let request = ClientRequest::new("wss://example.org/live")?;
    /// let (head, answer) = request.tunnel(None);
    /// assert_eq!(head, "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    /// assert!(answer.handle_input(b"HTTP/1.1 200 Connection established\r\n\r\n")?.is_none(), "it is open");
    /// # Ok::<(), sockeye_proto::handshake::HandshakeError>(())
    /// ```
    pub fn tunnel(&self, authorization: Option<&HeaderValue>) -> (Bytes, ReadTunnel) {
        let host = self.url.host_str().unwrap_or_default();
        (write_connect(host, self.port, authorization), ReadTunnel::new(self.limits))
    }

    /// Offers permessage-deflate (RFC 7692). What the server answers is in [`Established::deflate`](super::Established::deflate).
    pub fn deflate(mut self, policy: Deflate) -> Self {
        self.deflate = Some(policy);
        self
    }

    /// Writes the head to be sent, and waits for the answer.
    ///
    /// `nonce` is chosen anew at random for each connection.
    pub fn start(mut self, nonce: [u8; 16]) -> (Bytes, ReadResponse) {
        let key = encode_nonce(nonce);
        self.set(header::UPGRADE, "websocket");
        self.set(header::CONNECTION, "Upgrade");
        self.set(header::SEC_WEBSOCKET_KEY, &key);
        let offered = self.set_offer();
        let mut request = http::Request::new(());
        *request.uri_mut() = self.target;
        *request.headers_mut() = self.headers;
        let mut head = BytesMut::with_capacity(512);
        write_request(&request, &mut head);
        (head.freeze(), ReadResponse::new(&key, self.subprotocols, offered, self.limits))
    }

    /// The host to connect to, and the name for TLS: a name in punycode or an address, IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to: that of the URL, else 80 or 443.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the connection has to run over TLS (`wss`).
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "wss"
    }

    /// The URL in its normal form, with `ws` or `wss` as its scheme.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The path of the URL, percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// The bounds for the server's answer.
    #[must_use]
    pub fn handshake_limits(&self) -> &HandshakeLimits {
        &self.limits
    }

    /// The headers set so far, with `Host`.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Sets the headers with which every version of HTTP makes the offer. Returns what of compression is offered.
    pub(super) fn set_offer(&mut self) -> Option<ClientOffer> {
        self.set(header::SEC_WEBSOCKET_VERSION, "13");
        if !self.subprotocols.is_empty() {
            let names: Vec<_> = self.subprotocols.iter().map(Subprotocol::as_str).collect();
            self.set(header::SEC_WEBSOCKET_PROTOCOL, &names.join(", "));
        }
        let offered = self.deflate.as_ref().and_then(ClientOffer::new);
        if let Some(offer) = &offered {
            self.set(header::SEC_WEBSOCKET_EXTENSIONS, &offer.header());
        }
        offered
    }

    /// `Host`, which has a place of its own in HTTP/2.
    pub(super) fn take_host(&mut self) -> Result<String, HandshakeError> {
        let host = self.headers.remove(header::HOST).map_or_else(|| self.host_value(), Ok)?;
        Ok(host.to_str().map_err(|error| Kind::BadUrl(error.to_string()))?.to_owned())
    }

    pub(super) fn target(&self) -> &Uri {
        &self.target
    }

    pub(super) fn into_parts(self) -> (HeaderMap, Vec<Subprotocol>, HandshakeLimits) {
        (self.headers, self.subprotocols, self.limits)
    }

    /// Name or address (IPv6 in brackets), and the port where it is not the scheme's default.
    fn host_value(&self) -> Result<HeaderValue, HandshakeError> {
        let host = self.url.host_str().unwrap_or_default();
        // The URL parser leaves a default port out.
        let value = match self.url.port() {
            Some(port) => HeaderValue::try_from(format!("{host}:{port}")),
            None => HeaderValue::from_str(host),
        };
        value.map_err(|error| Kind::BadUrl(error.to_string()).into())
    }

    /// Only for values made of tokens, base64 and what we offer, which are always valid.
    fn set(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }
}
