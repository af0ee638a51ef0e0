use std::{borrow::Cow, fmt};

use bytes::BytesMut;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::head::HeadError;

/// A server's answer to a request that it does not take: a status, headers, one sentence, and the connection ends.
///
/// Every refusal closes the connection, so nothing that follows on it is ever answered.
///
/// ```
/// use http::header;
/// use sockeye_proto::handshake::Refusal;
///
/// let refusal = Refusal::from(429).header(header::RETRY_AFTER, 30.into());
/// let response = refusal.response();
/// assert_eq!(response.status(), 429);
/// assert_eq!(response.headers()["retry-after"], "30");
/// assert_eq!(response.headers()["connection"], "close");
/// ```
#[derive(Debug, Clone)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    reason: Cow<'static, str>,
    /// `false` only in an answer to `HEAD`.
    has_body: bool,
    /// Whether the answer goes over a version of HTTP that has headers of a single hop.
    has_connection_headers: bool,
    /// Most refusals have none, and a map is far larger than the rest.
    headers: Option<Box<HeaderMap>>,
}

impl Refusal {
    /// A refusal with any status, for what the program itself decides. Its code is `refused`.
    ///
    /// A status below 300 cannot refuse; 500 takes its place.
    #[must_use]
    pub fn with_status(status: StatusCode) -> Self {
        let status = if status.as_u16() < 300 { StatusCode::INTERNAL_SERVER_ERROR } else { status };
        Self::new(status, "refused", status.canonical_reason().unwrap_or("refused"))
    }

    /// 408: the head was not whole when the handshake's time was over. Its code is `timeout`.
    #[must_use]
    pub fn timeout() -> Self {
        Cause::Timeout.into()
    }

    /// 404: nothing is served under this path. Its code is `not_found`.
    #[must_use]
    pub fn not_found() -> Self {
        Cause::NotFound.into()
    }

    /// 426 with `Upgrade: websocket`: this path speaks WebSocket only. Its code is `upgrade_required`.
    #[must_use]
    pub fn upgrade_required() -> Self {
        Cause::UpgradeRequired.into()
    }

    /// 403: pages of this origin may not connect. Its code is `origin_not_allowed`.
    #[must_use]
    pub fn origin_not_allowed() -> Self {
        Cause::OriginNotAllowed.into()
    }

    /// Sets a header of the response. `Connection`, `Content-Length` and `Content-Type` stay the refusal's own.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().insert(name, value);
        self
    }

    /// Replaces the sentence, which is sent as the body of the response.
    #[must_use]
    pub fn reason_text(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Leaves the body out, for an answer to `HEAD`.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.has_body = false;
        self
    }

    /// Leaves out `Connection` and `Upgrade`, which HTTP/2 and HTTP/3 do not have (RFC 9113 section 8.2.2).
    #[must_use]
    pub fn without_connection_headers(mut self) -> Self {
        self.has_connection_headers = false;
        self
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// A short name for logs and metrics, such as `bad_key`. It does not change between versions.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// One sentence for people. Its text is no part of the interface.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The head of the response, which goes with [`body`](Self::body).
    #[must_use]
    pub fn response(&self) -> http::Response<()> {
        let mut response = http::Response::new(());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(own) = &self.headers {
            headers.clone_from(own);
        }
        if self.has_connection_headers {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else {
            headers.remove(header::CONNECTION);
            headers.remove(header::UPGRADE);
        }
        headers.insert(header::CONTENT_LENGTH, self.body().len().into());
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::CONTENT_TYPE);
        if self.has_body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        response
    }

    /// The body of the response: the reason.
    #[must_use]
    pub fn body(&self) -> &str {
        if self.has_body { &self.reason } else { "" }
    }

    /// Appends the whole response, head and body.
    pub fn write_to(&self, out: &mut BytesMut) {
        super::write_response(&self.response(), self.body().as_bytes(), out);
    }

    fn new(status: StatusCode, code: &'static str, reason: &'static str) -> Self {
        Self {
            status,
            code,
            reason: Cow::Borrowed(reason),
            has_body: true,
            has_connection_headers: true,
            headers: None,
        }
    }
}

/// [`Refusal::with_status`].
impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Self {
        Self::with_status(status)
    }
}

/// [`Refusal::with_status`]. A number that is no status between 300 and 599 becomes 500.
impl From<u16> for Refusal {
    fn from(status: u16) -> Self {
        let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() < 600);
        Self::with_status(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

/// The whole response, for HTTP servers with a body type of their own.
///
/// ```
/// let response: http::Response<String> = sockeye_proto::handshake::Refusal::not_found().into();
/// assert_eq!((response.status().as_u16(), response.body().is_empty()), (404, false));
/// ```
impl<B: From<String>> From<Refusal> for http::Response<B> {
    fn from(refusal: Refusal) -> Self {
        refusal.response().map(|()| refusal.body().to_owned().into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handshake refused with {}: {}", self.status.as_u16(), self.reason)
    }
}

impl std::error::Error for Refusal {}

/// Why this crate refuses. One line of the table in [`Cause::describe`] each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Head(HeadError),
    Incomplete,
    Timeout,
    NotFound,
    BadTarget,
    BadHost,
    BadContentLength,
    LengthAndEncoding,
    BadTransferEncoding,
    TransferEncodingOfOld,
    UnknownTransferCoding,
    MethodNotAllowed,
    ConnectNeeded,
    UnknownProtocol,
    ProtocolMissing,
    ConnectionHeader,
    ConnectVersion,
    HttpVersion,
    UpgradeRequired,
    WebSocketVersion,
    BadKey,
    BodyAnnounced,
    Expectation,
    BadOrigin,
    OriginNotAllowed,
    BadSubprotocols,
    NoSubprotocol,
    BadExtensions,
}

impl Cause {
    fn describe(self) -> (StatusCode, &'static str, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        match self {
            Self::Head(error) => (error.status(), error.code(), error.reason()),
            Self::Incomplete => (BAD, "incomplete", "the connection ended within the head"),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "nothing is served under this path"),
            Self::BadTarget => (BAD, "bad_target", "the request target is not a plain absolute path"),
            Self::BadHost => (BAD, "bad_host", "exactly one valid Host header is needed"),
            Self::BadContentLength => (BAD, "bad_content_length", "Content-Length is not one decimal number"),
            Self::LengthAndEncoding => {
                (BAD, "length_and_encoding", "Content-Length and Transfer-Encoding exclude each other")
            }
            Self::BadTransferEncoding => {
                (BAD, "bad_transfer_encoding", "Transfer-Encoding must end with chunked, once")
            }
            Self::TransferEncodingOfOld => (BAD, "bad_transfer_encoding", "HTTP/1.0 has no Transfer-Encoding"),
            Self::UnknownTransferCoding => {
                (StatusCode::NOT_IMPLEMENTED, "unknown_transfer_coding", "chunked is the only transfer coding here")
            }
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "a WebSocket handshake is a GET request")
            }
            Self::ConnectNeeded => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "over HTTP/2 a WebSocket handshake is a CONNECT request",
            ),
            Self::UnknownProtocol => {
                (StatusCode::NOT_IMPLEMENTED, "unknown_protocol", "websocket is the only :protocol here")
            }
            Self::ProtocolMissing => (BAD, "protocol_missing", "a CONNECT request needs :protocol = websocket"),
            Self::ConnectionHeader => (BAD, "connection_header", "HTTP/2 has no headers about the connection"),
            // 426 would need the header `Upgrade`, which HTTP/2 does not have.
            Self::ConnectVersion => (BAD, "bad_websocket_version", "Sec-WebSocket-Version must be 13"),
            Self::HttpVersion => HeadError::BadVersion.describe(),
            Self::UpgradeRequired => {
                (StatusCode::UPGRADE_REQUIRED, "upgrade_required", "this path speaks WebSocket only")
            }
            Self::WebSocketVersion => {
                (StatusCode::UPGRADE_REQUIRED, "bad_websocket_version", "Sec-WebSocket-Version must be 13")
            }
            Self::BadKey => (BAD, "bad_key", "Sec-WebSocket-Key must be the base64 form of 16 bytes, once"),
            Self::BodyAnnounced => (BAD, "body_announced", "a WebSocket handshake has no body"),
            Self::Expectation => {
                (StatusCode::EXPECTATION_FAILED, "expectation_failed", "a WebSocket handshake expects nothing")
            }
            Self::BadOrigin => (BAD, "bad_origin", "Origin must not be repeated"),
            Self::OriginNotAllowed => {
                (StatusCode::FORBIDDEN, "origin_not_allowed", "pages of this origin may not connect")
            }
            Self::BadSubprotocols => {
                (BAD, "bad_subprotocols", "Sec-WebSocket-Protocol must be a list of different tokens")
            }
            Self::NoSubprotocol => (BAD, "no_subprotocol", "none of the subprotocols spoken here was offered"),
            Self::BadExtensions => (BAD, "bad_extensions", "Sec-WebSocket-Extensions does not follow its grammar"),
        }
    }
}

impl HeadError {
    fn describe(self) -> (StatusCode, &'static str, &'static str) {
        (self.status(), self.code(), self.reason())
    }
}

impl From<HeadError> for Cause {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        Cause::Head(error).into()
    }
}

impl From<Cause> for Refusal {
    fn from(cause: Cause) -> Self {
        let (status, code, reason) = cause.describe();
        let refusal = Self::new(status, code, reason);
        match cause {
            Cause::MethodNotAllowed => refusal.header(header::ALLOW, HeaderValue::from_static("GET")),
            Cause::ConnectNeeded => refusal.header(header::ALLOW, HeaderValue::from_static("CONNECT")),
            Cause::ConnectVersion => refusal.header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            Cause::UpgradeRequired => refusal.header(header::UPGRADE, HeaderValue::from_static("websocket")),
            // RFC 6455 section 4.4; RFC 9110 section 15.5.22 wants `Upgrade` in every 426.
            Cause::WebSocketVersion => refusal
                .header(header::UPGRADE, HeaderValue::from_static("websocket"))
                .header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            _ => refusal,
        }
    }
}
