//! Dialects: how a client speaks on an ordered two-way stream of messages, whatever carries it.
//!
//! A dialect reads what came as [`Verb`]s and writes what the hub says. It is a value: no I/O, no clock, tested by bytes.
//! What every dialect needs in common is here: the verbs, what can be wrong with one, and why a conversation ends.
use std::{borrow::Cow, ops::ControlFlow, time::Duration};

use bytes::Bytes;
use sockeye::{CloseCode, Message, Prepared};
use sockeye_hub::{Cause, Event, Failure, FailureCode, Publication, Request, SessionId};

use crate::SessionLimits;

pub(crate) mod json;

/// How one client speaks. Its methods change nothing that anybody else sees.
pub(crate) trait Dialect: 'static {
    /// Commands that a client may send in a second, in the long run and at once; and how many beyond that, less those that were
    /// done meanwhile, after which its conversation is ended.
    fn rate(&self, limits: &SessionLimits) -> (u32, u32, u16);

    /// Gives the commands of a message to `each`, in order, with their ids if they have any; not the first `skip`, and none
    /// after `each` has broken off. What is no command is given as a problem. What of `bytes` is passed on is a part of them,
    /// not a copy, where that does not keep much else in memory. Breaks off if there are others left.
    ///
    /// # Errors
    /// If the message is of a kind that ends the conversation.
    fn read(
        &self,
        is_text: bool,
        bytes: &Bytes,
        skip: usize,
        each: impl FnMut(Option<u64>, Result<Verb, Problem>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Farewell>;

    /// How a publication is said; `own` is one of its own that it did not want back. `None` is silence.
    fn publication(&self, publication: &Publication, own: bool) -> Option<Said>;

    /// The same, of what is said alike to all who are told, and encoded once.
    fn shared<'a>(&self, publication: &'a Publication) -> Option<&'a Prepared>;

    /// How anything else from the hub is said.
    fn event(&self, event: &Event) -> Option<Said>;

    /// How the server's own answer to a command is said.
    fn answer(&self, id: u64, answer: &Answer<'_>) -> Option<Message>;

    /// How it is said that the client's token runs out.
    fn expiring(&self, within: Duration) -> Option<Message>;

    /// How it is said that a command was not done.
    fn problem(&self, id: Option<u64>, problem: &Problem) -> Option<Message>;

    /// How the end is announced, and the close code and the reason that follow.
    fn bye(&self, farewell: Farewell) -> (Option<Message>, CloseCode, &'static str);
}

/// Something to be said.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// To one.
    One(Message),
    /// To many, encoded once.
    Many(Prepared),
}

/// The server's own answer to a command that the hub does not know.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    Connected { session: SessionId, user: Option<&'a str>, ping_every: Duration },
    Refreshed { expires_in: Option<Duration> },
    Called(&'a Bytes),
    Pong,
}

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
    #[allow(dead_code, reason = "the defaults take no tokens")]
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
    /// The server's own interface asked for it, with this code.
    Dismissed(CloseCode),
    /// It sends more than it may.
    RateLimited,
    /// Its token has run out: with a newer one it may come back.
    TokenExpired,
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
            FailureCode::Unauthorized => ErrorCode::Unauthorized,
            FailureCode::Forbidden => ErrorCode::Forbidden,
            FailureCode::BadChannel => ErrorCode::BadChannel,
            FailureCode::TooBig => ErrorCode::TooBig,
            FailureCode::RateLimited => ErrorCode::RateLimited,
            FailureCode::Limit => ErrorCode::Limit,
            FailureCode::NotSubscribed => ErrorCode::NotSubscribed,
            FailureCode::AlreadySubscribed => ErrorCode::AlreadySubscribed,
            FailureCode::PositionLost => ErrorCode::PositionLost,
            FailureCode::Unavailable => ErrorCode::Unavailable,
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
