//! How a client is doing.
use std::time::Duration;

use crate::Error;

/// How a client is doing: see [`Client::state`](crate::Client::state).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// A connection is being made.
    Connecting,
    /// The server knows us.
    #[non_exhaustive]
    Open {
        /// The name under which others see this connection.
        session: String,
        /// The user, if the connection is not anonymous.
        user: Option<String>,
    },
    /// There is no connection; the next attempt follows by itself.
    #[non_exhaustive]
    Waiting {
        /// Why, for people.
        why: String,
        /// The time from the loss, or the failed attempt, to the next attempt.
        retry_in: Duration,
    },
    /// This is the end.
    #[non_exhaustive]
    Closed {
        /// Why, if it was not the program that ended it.
        error: Option<Error>,
    },
}

impl State {
    /// Whether the server knows us.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// Whether this is the end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}
