//! One error type: opaque outside, precise inside.
use std::{borrow::Cow, fmt, io, sync::Arc};

use bytes::Bytes;
use sockeye_proto::{
    CloseCode, InvalidCloseCode, Party, PayloadTooLong, SendError,
    handshake::{HandshakeError, InvalidSubprotocol, Refusal, SubprotocolNotOffered},
};

/// Why something could not be done.
///
/// The text and the [`source`](std::error::Error::source) are for people and may change; programs ask the `is_*`
/// questions, or compare [`code`](Self::code). A clean close is never an error. It is 8 bytes, and clones share it.
///
/// ```no_run
/// # async fn run() {
/// match sockeye::connect("ws://127.0.0.1:7071/echo").await {
///     Ok(_socket) => {}
///     Err(error) if error.is_refused() => {
///         let response = error.response().expect("a refusal has a response");
///         eprintln!("{}; retry after {:?}", response.status(), response.headers().get("retry-after"));
///     }
///     Err(error) => eprintln!("{error}"),
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Io(io::Error),
    Timeout(&'static str),
    Closed,
    Full,
    /// The program, or the setup of its machine, asked for what cannot be.
    Misuse {
        code: &'static str,
        what: Cow<'static, str>,
    },
    /// rustls' own error.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "nothing speaks TLS"))]
    Tls(Box<dyn std::error::Error + Send + Sync>),
    /// A SOCKS proxy's refusal.
    #[cfg_attr(not(feature = "proxy"), allow(dead_code, reason = "there are no proxies"))]
    Socks(Box<dyn std::error::Error + Send + Sync>),
    /// Something else in this list, on the way to a proxy or from it.
    #[cfg_attr(not(feature = "proxy"), allow(dead_code, reason = "there are no proxies"))]
    Proxy(Error),
    /// A redirect that is not followed, in spite of a policy to follow.
    Redirect {
        code: &'static str,
        why: String,
        response: http::Response<Bytes>,
    },
    Protocol(sockeye_proto::Error),
    /// The client's side of the opening handshake.
    Handshake(HandshakeError),
    /// The server's side of it: what this end answered.
    Refused(Refusal),
}

impl Error {
    /// A stable name for what went wrong, such as `"invalid_utf8"`, `"bad_accept"` or `"io"`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.kind() {
            Kind::Io(_) => "io",
            Kind::Tls(_) => "tls",
            Kind::Socks(_) => "socks",
            Kind::Timeout(_) => "timeout",
            Kind::Closed => "closed",
            Kind::Full => "queue_full",
            Kind::Misuse { code, .. } | Kind::Redirect { code, .. } => code,
            Kind::Proxy(error) => error.code(),
            Kind::Protocol(error) => error.code(),
            Kind::Handshake(error) => error.code(),
            Kind::Refused(refusal) => refusal.code(),
        }
    }

    /// The code of the Close frame with which this end answered a violation.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        if let Kind::Protocol(error) = self.kind() { error.close_code() } else { None }
    }

    /// What the server answered instead of opening the connection: status, headers, the start of the body. Or what its
    /// proxy did: see [`is_proxy`](Self::is_proxy).
    #[must_use]
    pub fn response(&self) -> Option<&http::Response<Bytes>> {
        match self.kind() {
            Kind::Handshake(error) => error.response(),
            Kind::Redirect { response, .. } => Some(response),
            _ => None,
        }
    }

    /// Which side caused it: [`Party::Local`] is the program calling, or this machine. `None` where this end cannot know:
    /// the transport failed or ended, TLS did not come about, or time ran out, be it for the peer's sake or the network's.
    #[must_use]
    pub fn guilty(&self) -> Option<Party> {
        match self.kind() {
            Kind::Closed | Kind::Full | Kind::Misuse { .. } => Some(Party::Local),
            Kind::Handshake(error) if error.is_user() => Some(Party::Local),
            _ if self.is_abnormal() || self.is_timeout() => None,
            _ => Some(Party::Remote),
        }
    }

    /// The transport failed: see the source for the operating system's word.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(self.kind(), Kind::Io(_))
    }

    /// TLS failed: a certificate that is not trusted, no version in common, a broken record. The source is rustls' error.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.kind(), Kind::Tls(_))
    }

    /// It happened at the proxy or on the way to it; all other questions are then about the proxy, not about the server.
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        matches!(*self.0, Kind::Proxy(_))
    }

    /// The program asked for what cannot be, such as an invalid URL or header, or its machine lacks what it needs, such as
    /// root certificates. Trying again is of no use.
    #[must_use]
    pub fn is_misuse(&self) -> bool {
        match self.kind() {
            Kind::Misuse { .. } => true,
            Kind::Handshake(error) => error.is_user(),
            _ => false,
        }
    }

    /// The peer, or the network, took too long: to shake hands, to finish a message, to read, to send a pong.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self.kind() {
            Kind::Timeout(_) => true,
            Kind::Protocol(error) => error.is_timeout(),
            Kind::Handshake(error) => error.is_timeout(),
            _ => false,
        }
    }

    /// The send queue is full; only the [`Sink`](futures_sink::Sink) says so, when it was not asked whether it is ready.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.kind(), Kind::Full)
    }

    /// Something was to be sent on a connection that is closing or closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.kind(), Kind::Closed)
    }

    /// The peer broke RFC 6455, or, in its opening handshake, HTTP.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        match self.kind() {
            Kind::Protocol(error) => error.is_protocol(),
            Kind::Handshake(error) => error.is_protocol(),
            _ => false,
        }
    }

    /// The peer sent more at once than the limits allow.
    #[must_use]
    pub fn is_too_big(&self) -> bool {
        matches!(self.kind(), Kind::Protocol(error) if error.is_too_big())
    }

    /// The transport ended, or failed, without a Close frame, or before the opening handshake was done.
    #[must_use]
    pub fn is_abnormal(&self) -> bool {
        match self.kind() {
            Kind::Io(_) | Kind::Tls(_) => true,
            Kind::Protocol(error) => error.is_eof(),
            Kind::Handshake(error) => error.is_eof(),
            _ => false,
        }
    }

    /// The opening handshake was answered with a refusal: at a client, see [`response`](Self::response); at a server, this
    /// end refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        match self.kind() {
            Kind::Handshake(error) => error.is_refused(),
            Kind::Refused(_) | Kind::Redirect { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn io(error: io::Error) -> Self {
        // The operating system's word, or rustls' in its place.
        #[cfg(feature = "tls")]
        let error = match error.downcast::<crate::rustls::Error>() {
            Ok(error) => return Self(Arc::new(Kind::Tls(error.into()))),
            Err(error) => error,
        };
        Self(Arc::new(Kind::Io(error)))
    }

    pub(crate) fn timeout(what: &'static str) -> Self {
        Self(Arc::new(Kind::Timeout(what)))
    }

    pub(crate) fn closed() -> Self {
        Self(Arc::new(Kind::Closed))
    }

    /// `code` is [the stable name](Self::code).
    pub(crate) fn misuse(code: &'static str, what: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Kind::Misuse { code, what: what.into() }))
    }

    /// Why the redirect in this response is not followed.
    pub(crate) fn redirect(code: &'static str, why: impl fmt::Display, response: http::Response<Bytes>) -> Self {
        Self(Arc::new(Kind::Redirect { code, why: why.to_string(), response }))
    }

    pub(crate) fn protocol(error: sockeye_proto::Error) -> Self {
        Self(Arc::new(Kind::Protocol(error)))
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(error: crate::rustls::Error) -> Self {
        Self(Arc::new(Kind::Tls(error.into())))
    }

    #[cfg(feature = "proxy")]
    pub(crate) fn socks(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(Kind::Socks(Box::new(error))))
    }

    /// It happened at the proxy or on the way to it.
    #[cfg(feature = "proxy")]
    pub(crate) fn at_proxy(self) -> Self {
        Self(Arc::new(Kind::Proxy(self)))
    }

    /// What happened, wherever it did.
    fn kind(&self) -> &Kind {
        if let Kind::Proxy(error) = &*self.0 { error.kind() } else { &self.0 }
    }
}

impl From<HandshakeError> for Error {
    fn from(error: HandshakeError) -> Self {
        Self(Arc::new(Kind::Handshake(error)))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self(Arc::new(Kind::Refused(refusal)))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::io(error)
    }
}

impl From<SubprotocolNotOffered> for Error {
    fn from(_: SubprotocolNotOffered) -> Self {
        Self::misuse("misuse", "a subprotocol was selected that the client did not offer")
    }
}

impl From<InvalidSubprotocol> for Error {
    fn from(_: InvalidSubprotocol) -> Self {
        Self::misuse("misuse", "a subprotocol's name is a token of at most 4,096 bytes")
    }
}

impl From<InvalidCloseCode> for Error {
    fn from(_: InvalidCloseCode) -> Self {
        Self::misuse("misuse", "a number that must not stand in a Close frame was to be a close code")
    }
}

impl From<PayloadTooLong> for Error {
    fn from(_: PayloadTooLong) -> Self {
        Self::misuse("misuse", "a control frame carries at most 125 bytes")
    }
}

impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Self {
        match error {
            SendError::Full(_) => Self(Arc::new(Kind::Full)),
            SendError::Unfinished(_) => {
                Self::misuse("unfinished_message", "a message that is sent in parts is not finished")
            }
            SendError::InvalidText(_) => Self::misuse("invalid_text", "a text that is not UTF-8 was to be sent"),
            _ => Self::closed(),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?})", self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Io(error) => write!(f, "transport: {error}"),
            Kind::Timeout(what) => write!(f, "{what} took too long"),
            Kind::Closed => f.write_str("the connection is closing"),
            Kind::Full => f.write_str("the send queue is full"),
            Kind::Misuse { what, .. } => f.write_str(what),
            Kind::Tls(error) => write!(f, "TLS: {error}"),
            Kind::Socks(error) => error.fmt(f),
            Kind::Proxy(error) => write!(f, "proxy: {error}"),
            Kind::Redirect { why, response, .. } => write!(f, "the server answered {}: {why}", response.status()),
            Kind::Protocol(error) => error.fmt(f),
            Kind::Handshake(error) => error.fmt(f),
            Kind::Refused(refusal) => write!(f, "refused: {refusal}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            Kind::Io(error) => Some(error),
            Kind::Tls(error) | Kind::Socks(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}
