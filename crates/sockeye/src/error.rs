//! One error type: opaque outside, precise inside.
use std::{fmt, io};

use bytes::Bytes;
use sockeye_proto::{
    CloseCode, Party, SendError,
    handshake::{HandshakeError, InvalidSubprotocol, Refusal, SubprotocolNotOffered},
};

/// Why something could not be done.
///
/// The text and the [`source`](std::error::Error::source) are for people and may change; programs ask the `is_*`
/// questions, or compare [`code`](Self::code). A clean close is never an error. It is 8 bytes.
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
pub struct Error(Box<Kind>);

#[derive(Debug)]
enum Kind {
    Io(io::Error),
    Timeout(&'static str),
    Closed,
    Full,
    /// The program asked for what cannot be.
    Misuse(&'static str),
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
        match &*self.0 {
            Kind::Io(_) => "io",
            Kind::Timeout(_) => "timeout",
            Kind::Closed => "closed",
            Kind::Full => "queue_full",
            Kind::Misuse(_) => "misuse",
            Kind::Protocol(error) => error.code(),
            Kind::Handshake(error) => error.code(),
            Kind::Refused(refusal) => refusal.code(),
        }
    }

    /// The code of the Close frame with which this end answered a violation.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        if let Kind::Protocol(error) = &*self.0 { error.close_code() } else { None }
    }

    /// What the server answered instead of opening the connection: status, headers, the start of the body.
    #[must_use]
    pub fn response(&self) -> Option<&http::Response<Bytes>> {
        if let Kind::Handshake(error) = &*self.0 { error.response() } else { None }
    }

    /// Which side caused it: [`Party::Local`] is the program calling, or this machine.
    #[must_use]
    pub fn guilty(&self) -> Party {
        match &*self.0 {
            Kind::Io(_) | Kind::Closed | Kind::Full | Kind::Misuse(_) => Party::Local,
            Kind::Handshake(error) if error.is_user() => Party::Local,
            _ => Party::Remote,
        }
    }

    /// The transport failed: see the source for the operating system's word.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(*self.0, Kind::Io(_))
    }

    /// The peer took too long: to shake hands, to finish a message, to read, to send a pong.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match &*self.0 {
            Kind::Timeout(_) => true,
            Kind::Protocol(error) => error.is_timeout(),
            Kind::Handshake(error) => error.is_timeout(),
            _ => false,
        }
    }

    /// The send queue is full; only the [`Sink`](futures_sink::Sink) says so, when it was not asked whether it is ready.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(*self.0, Kind::Full)
    }

    /// The program asked for what cannot be, such as another message in the middle of one that is sent in parts.
    #[must_use]
    pub fn is_misuse(&self) -> bool {
        matches!(*self.0, Kind::Misuse(_))
    }

    /// Something was to be sent on a connection that is closing or closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(*self.0, Kind::Closed)
    }

    /// The peer broke RFC 6455, or, in its opening handshake, HTTP.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        match &*self.0 {
            Kind::Protocol(error) => error.is_protocol(),
            Kind::Handshake(error) => error.is_protocol(),
            _ => false,
        }
    }

    /// The peer sent more at once than the limits allow.
    #[must_use]
    pub fn is_too_big(&self) -> bool {
        matches!(&*self.0, Kind::Protocol(error) if error.is_too_big())
    }

    /// The transport ended, or failed, without a Close frame, or before the opening handshake was done.
    #[must_use]
    pub fn is_abnormal(&self) -> bool {
        match &*self.0 {
            Kind::Io(_) => true,
            Kind::Protocol(error) => error.is_eof(),
            Kind::Handshake(error) => error.is_eof(),
            _ => false,
        }
    }

    /// The opening handshake was answered with a refusal: at a client, see [`response`](Self::response); at a server, this
    /// end refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        match &*self.0 {
            Kind::Handshake(error) => error.is_refused(),
            Kind::Refused(_) => true,
            _ => false,
        }
    }

    pub(crate) fn io(error: io::Error) -> Self {
        Self(Box::new(Kind::Io(error)))
    }

    pub(crate) fn timeout(what: &'static str) -> Self {
        Self(Box::new(Kind::Timeout(what)))
    }

    pub(crate) fn closed() -> Self {
        Self(Box::new(Kind::Closed))
    }

    pub(crate) fn misuse(what: &'static str) -> Self {
        Self(Box::new(Kind::Misuse(what)))
    }

    pub(crate) fn protocol(error: sockeye_proto::Error) -> Self {
        Self(Box::new(Kind::Protocol(error)))
    }
}

impl From<HandshakeError> for Error {
    fn from(error: HandshakeError) -> Self {
        Self(Box::new(Kind::Handshake(error)))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(Kind::Refused(refusal)))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::io(error)
    }
}

impl From<SubprotocolNotOffered> for Error {
    fn from(_: SubprotocolNotOffered) -> Self {
        Self::misuse("a subprotocol was selected that the client did not offer")
    }
}

impl From<InvalidSubprotocol> for Error {
    fn from(_: InvalidSubprotocol) -> Self {
        Self::misuse("a subprotocol's name is a token of at most 4,096 bytes")
    }
}

impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Self {
        match error {
            SendError::Full(_) => Self(Box::new(Kind::Full)),
            SendError::Unfinished(_) => Self::misuse("a message that is sent in parts is not finished"),
            SendError::InvalidText(_) => Self::misuse("a text that is not UTF-8 was to be sent"),
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
            Kind::Misuse(what) => f.write_str(what),
            Kind::Protocol(error) => error.fmt(f),
            Kind::Handshake(error) => error.fmt(f),
            Kind::Refused(refusal) => write!(f, "refused: {refusal}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Kind::Io(error) = &*self.0 { Some(error) } else { None }
    }
}
