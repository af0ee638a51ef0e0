//! The opening handshake over HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220): a `CONNECT` request with `:protocol`.
//!
//! An HTTP library has read the frames; here are the rules for what they say. `Upgrade`, `Connection` and the proof by
//! `Sec-WebSocket-Key` have no place in it; version, origin, subprotocols and extensions mean what they mean over HTTP/1.1.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri, Version};

use super::client::ClientRequest;
use super::error::{HandshakeError, Kind};
use super::fields::{self, Single, single};
use super::offer::{Offer, Proof};
use super::refusal::{Cause, Refusal};
use super::response::{Established, Expected};

/// What `:protocol` says for WebSocket.
const PROTOCOL: &str = "websocket";

/// Headers of a single hop, which HTTP/2 and HTTP/3 do not have (RFC 9113 section 8.2.2).
const CONNECTION_SPECIFIC: [HeaderName; 5] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

impl Offer {
    /// Checks a request that came over HTTP/2 or HTTP/3 against RFC 8441 section 4 and RFC 9220 section 3.
    ///
    /// `protocol` is the request's `:protocol`, which HTTP libraries keep beside the headers. The offer goes on like any
    /// other; its response has the status 200.
    ///
    /// ```
    /// use http::{Method, Request, Version};
    /// use sockeye_proto::handshake::Offer;
    ///
    /// let request = Request::builder()
    ///     .version(Version::HTTP_2)
    ///     .method(Method::CONNECT)
    ///     .uri("https://example.org/live")
    ///     .header("sec-websocket-version", "13")
    ///     .body(())?;
    /// let offer = Offer::check_connect(&request, Some("websocket"))?;
    /// assert_eq!(offer.host(), "example.org");
    /// assert_eq!(offer.accept(None)?.response.status(), 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the refusal to be sent: 405 (not `CONNECT`), 417 (`Expect`), 501 (another `:protocol`), 505 (an older
    /// HTTP), else 400. None of them names the header `Upgrade` or `Connection`.
    pub fn check_connect<B>(request: &Request<B>, protocol: Option<&str>) -> Result<Self, Refusal> {
        check_connect(request, protocol).map_err(|cause| Refusal::from(cause).without_connection_headers())
    }
}

fn check_connect<B>(request: &Request<B>, protocol: Option<&str>) -> Result<Offer, Cause> {
    if !matches!(request.version(), Version::HTTP_2 | Version::HTTP_3) {
        return Err(Cause::HttpVersion);
    }
    if request.method() != Method::CONNECT {
        return Err(Cause::ConnectNeeded);
    }
    match protocol {
        // Tokens of the upgrade registry are compared without case (RFC 9110 section 16.7).
        Some(protocol) if protocol.eq_ignore_ascii_case(PROTOCOL) => {}
        Some(_) => return Err(Cause::UnknownProtocol),
        // A plain CONNECT asks for a tunnel to somewhere else.
        None => return Err(Cause::ProtocolMissing),
    }
    let headers = request.headers();
    if CONNECTION_SPECIFIC.iter().any(|name| headers.contains_key(name)) {
        return Err(Cause::ConnectionHeader);
    }
    let scheme_is_http = request.uri().scheme().is_some_and(|it| *it == Scheme::HTTP || *it == Scheme::HTTPS);
    if !scheme_is_http || !request.uri().path().starts_with('/') {
        return Err(Cause::BadTarget);
    }
    match single(headers, &header::SEC_WEBSOCKET_VERSION) {
        Single::One(version) if version == "13" => {}
        _ => return Err(Cause::ConnectVersion),
    }
    Offer::from_parts(Proof::None, host(request.uri(), headers)?, headers)
}

/// The authority asked for. `Host` may stand for it or say the same (RFC 9113 section 8.3.1).
fn host(uri: &Uri, headers: &HeaderMap) -> Result<HeaderValue, Cause> {
    let Some(authority) = uri.authority().map(Authority::as_str) else {
        return fields::host(headers).cloned();
    };
    let agrees = match single(headers, &header::HOST) {
        Single::Absent => true,
        Single::One(host) => host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()),
        Single::Repeated => false,
    };
    if !agrees || !fields::is_authority(authority) {
        return Err(Cause::BadHost);
    }
    HeaderValue::from_str(authority).map_err(|_| Cause::BadHost)
}

impl ClientRequest {
    /// The handshake for a connection that speaks HTTP/2 or HTTP/3 (RFC 8441 section 5.1).
    ///
    /// The request goes out with `:protocol` set to `websocket`, which HTTP libraries keep beside the headers, and only
    /// after the server's SETTINGS have enabled extended CONNECT; see [`HandshakeError::no_extended_connect`].
    ///
    /// ```
    /// use sockeye_proto::handshake::ClientRequest;
    ///
    /// let (request, answer) = ClientRequest::new("wss://example.org/live")?.start_connect()?;
    /// assert_eq!((request.method().as_str(), request.uri()), ("CONNECT", &"https://example.org/live".parse().unwrap()));
    /// assert!(!request.headers().contains_key("sec-websocket-key"));
    ///
    /// let established = answer.handle_response(http::Response::default())?;
    /// assert_eq!(established.subprotocol, None);
    /// # Ok::<(), sockeye_proto::handshake::HandshakeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with a [user error](HandshakeError::is_user) if the URL cannot be said in HTTP.
    pub fn start_connect(mut self) -> Result<(Request<()>, AwaitConnect), HandshakeError> {
        let bad_url = |error: http::Error| Kind::BadUrl(error.to_string());
        let host = self.take_host()?;
        let scheme = if self.is_secure() { Scheme::HTTPS } else { Scheme::HTTP };
        let target = self.target().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(target).build().map_err(bad_url)?;
        let deflate = self.set_offer();
        let (headers, subprotocols, limits) = self.into_parts();
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let expected = Expected { accept: String::new(), subprotocols, deflate };
        Ok((request, AwaitConnect { expected, max_error_body: limits.max_error_body }))
    }
}

/// Waits for the server's answer to an extended CONNECT. The second state of a client's handshake over HTTP/2.
#[derive(Debug)]
#[must_use]
pub struct AwaitConnect {
    expected: Expected,
    max_error_body: usize,
}

impl AwaitConnect {
    /// Bytes of a refusal's body that are kept for the user.
    #[must_use]
    pub fn max_error_body(&self) -> usize {
        self.max_error_body
    }

    /// Checks the answer. Its body is the start of a refusal's; after a 2xx it is empty, as what follows is WebSocket.
    ///
    /// # Errors
    ///
    /// Fails if the server refused, or chose a subprotocol or an extension that was not offered.
    pub fn handle_response(self, response: Response<Bytes>) -> Result<Established, HandshakeError> {
        if !response.status().is_success() {
            return Err(Kind::Refused(response).into());
        }
        let (parts, _) = response.into_parts();
        let (subprotocol, deflate) = self.expected.check_agreed(&parts.headers)?;
        Ok(Established { response: Response::from_parts(parts, ()), subprotocol, deflate, rest: Bytes::new() })
    }
}
