//! Dialects: how a client speaks on an ordered two-way stream of messages, whatever carries it.
//!
//! A dialect reads what came as [`Verb`]s and writes what the hub says. It is a value: no I/O, no clock, tested by bytes.
//! What every dialect needs in common is here: the verbs, what can be wrong with one, and why a conversation ends.
use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use sockeye_hub::{Cause, Failure, FailureCode, Request};

pub(crate) mod json;

/// What a client wants, in no dialect.
#[derive(Debug)]
pub(crate) enum Verb {
    /// Says who it is; only as the first.
    Connect(Credentials),
    /// Something about a channel.
    Hub(Request),
    /// Asks for a handler of the program's own.
    Call { method: Box<str>, data: Bytes },
    /// Says again who it is.
    Refresh(Credentials),
    /// Whether anybody is there.
    Ping,
}

/// What a client shows to say who it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Nothing is the anonymous.
    pub(crate) token: Option<Box<str>>,
    /// What program it says that it is.
    pub(crate) client: Option<Box<str>>,
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// For programs.
    pub(crate) code: ErrorCode,
    /// For people.
    pub(crate) message: Cow<'static, str>,
    /// When to try again, if that can help.
    pub(crate) retry_after: Option<Duration>,
}

/// The kinds of problem, of the hub and of the server around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ErrorCode {
    BadRequest,
    UnknownVerb,
    Unauthorized,
    TokenExpired,
    Forbidden,
    BadChannel,
    TooBig,
    RateLimited,
    Limit,
    NotSubscribed,
    AlreadySubscribed,
    NotFound,
    PositionLost,
    Timeout,
    Unavailable,
    Internal,
}

/// Why the server ends a conversation, and whether the client may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The server stops; come back after this long.
    Restart(Duration),
    /// More was waiting for this client than the server keeps.
    TooSlow,
    /// What it was allowed to do, it is not any more.
    Forbidden,
    /// It sends more than it may.
    RateLimited,
    /// It began with what only others may.
    Unauthorized,
    /// What it wants cannot be had at the moment.
    Unavailable,
    /// A message of a kind that the dialect does not have.
    NotOurs,
}

impl Problem {
    pub(crate) fn new(code: ErrorCode, message: &'static str) -> Self {
        Self { code, message: Cow::Borrowed(message), retry_after: None }
    }

    pub(crate) fn bad_request(message: &'static str) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    pub(crate) fn passing(code: ErrorCode, message: &'static str, retry_after: Duration) -> Self {
        Self { code, message: Cow::Borrowed(message), retry_after: Some(retry_after) }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let code = match failure.code {
            FailureCode::BadRequest => ErrorCode::BadRequest,
            FailureCode::Forbidden => ErrorCode::Forbidden,
            FailureCode::BadChannel => ErrorCode::BadChannel,
            FailureCode::TooBig => ErrorCode::TooBig,
            FailureCode::RateLimited => ErrorCode::RateLimited,
            FailureCode::Limit => ErrorCode::Limit,
            FailureCode::NotSubscribed => ErrorCode::NotSubscribed,
            FailureCode::AlreadySubscribed => ErrorCode::AlreadySubscribed,
            FailureCode::PositionLost => ErrorCode::PositionLost,
            FailureCode::Unavailable => ErrorCode::Unavailable,
            _ => ErrorCode::Internal,
        };
        Self { code, message: Cow::Borrowed(failure.message), retry_after: failure.retry_after }
    }
}

impl From<Cause> for Farewell {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Forbidden => Self::Forbidden,
            Cause::Slow => Self::TooSlow,
            _ => Self::Unavailable,
        }
    }
}
