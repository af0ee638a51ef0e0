//! One error type: opaque outside, precise inside.
use std::{fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Why something could not be done.
///
/// The text is for people and may change; programs ask the `is_*` questions, or compare [`code`](Self::code). Clones
/// share it.
///
/// ```no_run
/// # async fn run(client: sockeye_client::Client) {
/// match client.publish("chat:lobby", &"hi").await {
///     Ok(_position) => {}
///     Err(error) if error.code() == "rate_limited" => eprintln!("again in {:?}", error.retry_after()),
///     Err(error) if error.is_outcome_unknown() => eprintln!("perhaps published: {error}"),
///     Err(error) => eprintln!("not published: {error}"),
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    /// The server said no.
    Refused(Refusal),
    /// The server ended a subscription.
    Ended(String),
    Timeout {
        sent: bool,
    },
    Disconnected {
        sent: bool,
    },
    /// Too much is waiting to be sent.
    Full,
    Closed,
    TooBig,
    AlreadySubscribed,
    Misuse(String),
    Protocol(String),
    /// The server closed the connection for good.
    ClosedByServer {
        code: u16,
        reason: String,
    },
    Transport(sockeye::Error),
}

/// What the server says when it does not do something.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
    pub(crate) retry_after_ms: Option<u64>,
}

impl Error {
    /// A stable name for what went wrong: the server's code, such as `"forbidden"` or `"rate_limited"`, or one of this
    /// client's own: `"timeout"`, `"disconnected"`, `"queue_full"`, `"closed"`, `"too_big"`, `"already_subscribed"`,
    /// `"misuse"`, `"protocol"`, or that of a [`sockeye::Error`].
    #[must_use]
    pub fn code(&self) -> &str {
        match &*self.0 {
            Kind::Refused(refusal) => &refusal.code,
            Kind::Ended(code) => code,
            Kind::Timeout { .. } => "timeout",
            Kind::Disconnected { .. } => "disconnected",
            Kind::Full => "queue_full",
            Kind::Closed | Kind::ClosedByServer { .. } => "closed",
            Kind::TooBig => "too_big",
            Kind::AlreadySubscribed => "already_subscribed",
            Kind::Misuse(_) => "misuse",
            Kind::Protocol(_) => "protocol",
            Kind::Transport(error) => error.code(),
        }
    }

    /// The server refused: the code is its own.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(*self.0, Kind::Refused(_) | Kind::Ended(_))
    }

    /// The answer did not come in time, be it for the server's sake or because there was no connection.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(&*self.0, Kind::Timeout { .. })
    }

    /// There is no connection, or it was lost before the answer came.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(&*self.0, Kind::Disconnected { .. })
    }

    /// As much is waiting already as [`Limits`](crate::Limits) allow. It was not taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(*self.0, Kind::Full)
    }

    /// The client is closed, by the program or, with a code that says so, by the server for good.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(&*self.0, Kind::Closed | Kind::ClosedByServer { .. })
    }

    /// The command had left, and nobody knows whether the server carried it out.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(*self.0, Kind::Timeout { sent: true } | Kind::Disconnected { sent: true })
    }

    /// How long the server asks to wait before the same is tried again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let Kind::Refused(refusal) = &*self.0 else { return None };
        refusal.retry_after_ms.map(Duration::from_millis)
    }

    /// The code of the Close frame with which the server ended the connection for good.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        let Kind::ClosedByServer { code, .. } = *self.0 else { return None };
        Some(code)
    }

    /// Asking again can help.
    pub(crate) fn is_passing(&self) -> bool {
        match &*self.0 {
            Kind::Timeout { .. } => true,
            Kind::Refused(refusal) => matches!(
                refusal.code.as_str(),
                "rate_limited" | "limit" | "timeout" | "unavailable" | "internal" | "already_subscribed"
            ),
            _ => false,
        }
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self(Arc::new(Kind::Refused(refusal)))
    }

    pub(crate) fn ended(code: String) -> Self {
        Self(Arc::new(Kind::Ended(code)))
    }

    pub(crate) fn timeout(sent: bool) -> Self {
        Self(Arc::new(Kind::Timeout { sent }))
    }

    pub(crate) fn disconnected(sent: bool) -> Self {
        Self(Arc::new(Kind::Disconnected { sent }))
    }

    pub(crate) fn full() -> Self {
        Self(Arc::new(Kind::Full))
    }

    pub(crate) fn closed() -> Self {
        Self(Arc::new(Kind::Closed))
    }

    pub(crate) fn too_big() -> Self {
        Self(Arc::new(Kind::TooBig))
    }

    pub(crate) fn already_subscribed() -> Self {
        Self(Arc::new(Kind::AlreadySubscribed))
    }

    pub(crate) fn misuse(what: impl Into<String>) -> Self {
        Self(Arc::new(Kind::Misuse(what.into())))
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self(Arc::new(Kind::Protocol(what.into())))
    }

    pub(crate) fn closed_by_server(code: u16, reason: &str) -> Self {
        Self(Arc::new(Kind::ClosedByServer { code, reason: reason.into() }))
    }

    pub(crate) fn transport(error: sockeye::Error) -> Self {
        Self(Arc::new(Kind::Transport(error)))
    }

    /// What the server answered, as a `T`.
    pub(crate) fn read<T: DeserializeOwned>(json: &RawValue) -> Result<T, Self> {
        serde_json::from_str(json.get()).map_err(|error| Self::protocol(error.to_string()))
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
            Kind::Refused(Refusal { code, message, .. }) if message.is_empty() => write!(f, "refused: {code}"),
            Kind::Refused(Refusal { code, message, .. }) => write!(f, "refused: {code}: {message}"),
            Kind::Ended(code) => write!(f, "the server ended the subscription: {code}"),
            Kind::Timeout { sent: true } => f.write_str("no answer came in time; perhaps it was done"),
            Kind::Timeout { sent: false } => f.write_str("it could not be sent in time"),
            Kind::Disconnected { sent: true } => {
                f.write_str("the connection was lost before the answer came; perhaps it was done")
            }
            Kind::Disconnected { sent: false } => f.write_str("there is no connection"),
            Kind::Full => f.write_str("too much is waiting to be sent"),
            Kind::Closed => f.write_str("the client is closed"),
            Kind::TooBig => f.write_str("the command is bigger than the server takes"),
            Kind::AlreadySubscribed => f.write_str("this client has a subscription to this channel"),
            Kind::Misuse(what) | Kind::Protocol(what) => f.write_str(what),
            Kind::ClosedByServer { code, reason } => write!(f, "the server closed with {code} {reason:?}"),
            Kind::Transport(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Kind::Transport(error) = &*self.0 { Some(error) } else { None }
    }
}

impl From<sockeye::Error> for Error {
    fn from(error: sockeye::Error) -> Self {
        Self::transport(error)
    }
}
