//! `sockeye.v1.json`, our own dialect: docs/protocol.md is its reference.
//!
//! `read` makes verbs of a message, `write` makes messages of what the hub says, `value` looks at JSON that is passed on
//! unread.
mod read;
mod value;
mod write;

#[cfg(test)]
mod tests;

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;
use sockeye::{CloseCode, Message, Prepared};
use sockeye_hub::{Done, Event, Publication};

pub(crate) use self::read::{channel_name, passed_on};
use super::{Answer, Dialect, Farewell, Problem, Said, Verb};
use crate::SessionLimits;

/// The subprotocol's name.
pub(crate) const NAME: &str = "sockeye.v1.json";
/// Bytes of a message from a client. Crossing it closes with 1009.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;
/// Commands in one message.
pub(crate) const MAX_BATCH: usize = 100;
/// Levels of arrays and objects in a value that is passed on: whoever gets it reads it with some recursive parser.
pub(crate) const MAX_DEPTH: usize = 64;
/// Bytes of one number in a value that is passed on; the largest of a `f64`, written out, has 309.
pub(crate) const MAX_NUMBER: usize = 400;
/// Publications that a subscription can begin with.
pub(crate) const MAX_LAST: u64 = 300;
/// Publications in an answer to `history` that asked for no number.
pub(crate) const HISTORY_LIMIT: u64 = 50;
/// Members in an answer to `presence`.
pub(crate) const MEMBERS_LIMIT: u64 = 1_000;
/// The largest `id`: beyond it JavaScript does not count.
pub(crate) const MAX_ID: u64 = (1 << 53) - 1;
/// Bytes of a token.
pub(crate) const MAX_TOKEN: usize = 16 * 1024;
/// Bytes of the name of a client's program, and of a method.
pub(crate) const MAX_NAME: usize = 128;

/// The dialect; it remembers nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json;

/// `{"error":{…}}`, as others than sessions are told.
pub(crate) fn error_alone(problem: &Problem) -> Bytes {
    write::problem(None, problem).into_bytes()
}

/// How something was done, as others than sessions are told: what would stand in `ok`.
pub(crate) fn done_alone(done: &Done) -> Bytes {
    write::done(done).into_bytes()
}

impl Dialect for Json {
    fn rate(&self, limits: &SessionLimits) -> (u32, u32, u16) {
        (limits.commands_per_second, limits.commands_burst, limits.commands_refused)
    }

    fn read(
        &self,
        is_text: bool,
        bytes: &Bytes,
        skip: usize,
        each: impl FnMut(Option<u64>, Result<Verb, Problem>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Farewell> {
        if is_text { Ok(read::read(bytes, skip, each)) } else { Err(Farewell::NotOurs) }
    }

    fn publication(&self, publication: &Publication, own: bool) -> Option<Said> {
        if own {
            return write::own(publication).map(Said::One);
        }
        Some(Said::Many(write::publication(publication)))
    }

    fn shared<'a>(&self, publication: &'a Publication) -> Option<&'a Prepared> {
        write::shared(publication)
    }

    fn event(&self, event: &Event) -> Option<Said> {
        match event {
            Event::Changed(change) => Some(Said::Many(write::change(change))),
            event => write::event(event).map(Said::One),
        }
    }

    fn answer(&self, id: u64, answer: &Answer<'_>) -> Option<Message> {
        Some(match *answer {
            Answer::Connected { session, user, ping_every } => write::connected(id, session, user, ping_every),
            Answer::Refreshed { expires_in } => write::refreshed(id, expires_in),
            Answer::Called(data) => write::called(id, data),
            Answer::Pong => write::pong(id),
        })
    }

    fn expiring(&self, within: Duration) -> Option<Message> {
        Some(write::expiring(within))
    }

    fn problem(&self, id: Option<u64>, problem: &Problem) -> Option<Message> {
        Some(write::problem(id, problem))
    }

    fn bye(&self, farewell: Farewell) -> (Option<Message>, CloseCode, &'static str) {
        let (message, code, reason) = write::bye(farewell);
        (Some(message), code, reason)
    }
}
