use std::fmt;

use bytes::Bytes;
use http::Response;

use super::head::HeadError;

/// Why an opening handshake failed: at a client, or by what a server's program wanted to add to it.
///
/// The questions below and [`code`](Self::code) are stable; the text is for people.
///
/// ```
/// use sockeye_proto::handshake::ClientRequest;
///
/// let error = ClientRequest::new("ftp://example.org/").unwrap_err();
/// assert_eq!(error.code(), "bad_scheme");
/// assert!(error.is_user());
/// ```
#[derive(Debug, Clone)]
pub struct HandshakeError(Box<Kind>);

#[derive(Debug, Clone)]
pub(super) enum Kind {
    // The program's own mistakes.
    BadUrl(String),
    BadScheme,
    UrlWithFragment,
    UrlWithCredentials,
    BadHeader,
    ReservedHeader(http::HeaderName),
    RepeatedSubprotocol,
    // The server's.
    NoExtendedConnect,
    Refused(Response<Bytes>),
    Head(HeadError),
    Http10,
    BadUpgrade,
    BadConnection,
    BadAccept,
    ExtensionNotOffered,
    SubprotocolNotOffered,
    BadRedirect(String),
    RedirectToPlaintext,
    DataBeforeTunnel,
    UnexpectedEof,
    Timeout,
}

impl HandshakeError {
    /// The server speaks HTTP/2 but its SETTINGS do not enable extended CONNECT (RFC 8441 section 3), so there is no
    /// WebSocket to be had on this connection; over HTTP/1.1 there may be. Its code is `no_extended_connect`.
    #[must_use]
    pub fn no_extended_connect() -> Self {
        Kind::NoExtendedConnect.into()
    }

    /// A short name for logs and metrics, such as `refused`. It does not change between versions.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match &*self.0 {
            Kind::BadUrl(_) => "bad_url",
            Kind::BadScheme => "bad_scheme",
            Kind::UrlWithFragment => "url_with_fragment",
            Kind::UrlWithCredentials => "url_with_credentials",
            Kind::BadHeader => "bad_header",
            Kind::ReservedHeader(_) => "reserved_header",
            Kind::RepeatedSubprotocol => "repeated_subprotocol",
            Kind::NoExtendedConnect => "no_extended_connect",
            Kind::Refused(_) => "refused",
            Kind::Head(error) => error.code(),
            Kind::Http10 => "bad_http_version",
            Kind::BadUpgrade => "bad_upgrade",
            Kind::BadConnection => "bad_connection",
            Kind::BadAccept => "bad_accept",
            Kind::ExtensionNotOffered => "extension_not_offered",
            Kind::SubprotocolNotOffered => "subprotocol_not_offered",
            Kind::BadRedirect(_) => "bad_redirect",
            Kind::RedirectToPlaintext => "redirect_to_plaintext",
            Kind::DataBeforeTunnel => "data_before_tunnel",
            Kind::UnexpectedEof => "unexpected_eof",
            Kind::Timeout => "timeout",
        }
    }

    /// Whether the server answered in proper HTTP, but not with 101. Then there is a [`response`](Self::response).
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(*self.0, Kind::Refused(_))
    }

    /// Whether the URL or the headers that this program gave were at fault.
    #[must_use]
    pub fn is_user(&self) -> bool {
        matches!(
            *self.0,
            Kind::BadUrl(_)
                | Kind::BadScheme
                | Kind::UrlWithFragment
                | Kind::UrlWithCredentials
                | Kind::BadHeader
                | Kind::ReservedHeader(_)
                | Kind::RepeatedSubprotocol
        )
    }

    /// Whether time ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(*self.0, Kind::Timeout)
    }

    /// Whether the server closed the connection before it had answered.
    #[must_use]
    pub fn is_eof(&self) -> bool {
        matches!(*self.0, Kind::UnexpectedEof)
    }

    /// Whether the server broke the rules of the handshake or of HTTP.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        !self.is_user() && !self.is_refused() && !self.is_timeout() && !self.is_eof()
    }

    /// The refusal: its status, its headers (`Retry-After`, `Location`, `WWW-Authenticate`), and as much of its body
    /// as [`max_error_body`](super::HandshakeLimits::max_error_body) let through.
    #[must_use]
    pub fn response(&self) -> Option<&Response<Bytes>> {
        match &*self.0 {
            Kind::Refused(response) => Some(response),
            _ => None,
        }
    }
}

impl From<Kind> for HandshakeError {
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<HeadError> for HandshakeError {
    fn from(error: HeadError) -> Self {
        Kind::Head(error).into()
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.0 {
            Kind::BadUrl(detail) => return write!(f, "not a WebSocket URL: {detail}"),
            Kind::BadRedirect(detail) => {
                return write!(f, "the server redirects to what is no WebSocket URL: {detail}");
            }
            Kind::ReservedHeader(name) => return write!(f, "the handshake itself sets the header {name}"),
            Kind::Refused(response) => return write!(f, "the server answered {}", response.status()),
            Kind::Head(error) => return write!(f, "bad response: {}", error.reason()),
            Kind::BadScheme => "a WebSocket URL begins with ws:// or wss://",
            Kind::UrlWithFragment => "a WebSocket URL has no fragment",
            Kind::UrlWithCredentials => "a user name in a URL is never sent; set the Authorization header instead",
            Kind::BadHeader => "not a valid header name or value",
            Kind::RepeatedSubprotocol => "a subprotocol is offered twice, or too many are",
            Kind::NoExtendedConnect => "the server does not take WebSocket over HTTP/2",
            Kind::Http10 => "the server switched protocols in HTTP/1.0",
            Kind::BadUpgrade => "the server's Upgrade header is not websocket, once",
            Kind::BadConnection => "the server's Connection header does not say Upgrade",
            Kind::BadAccept => "the server's Sec-WebSocket-Accept does not answer our key",
            Kind::ExtensionNotOffered => "the server chose an extension, or parameters of one, that were not offered",
            Kind::SubprotocolNotOffered => "the server chose a subprotocol that was not offered",
            Kind::RedirectToPlaintext => "the server redirects from wss:// to ws://",
            Kind::DataBeforeTunnel => "the proxy sends data before it was sent any",
            Kind::UnexpectedEof => "the server closed the connection before it answered",
            Kind::Timeout => "the server did not answer in time",
        })
    }
}

impl std::error::Error for HandshakeError {}
