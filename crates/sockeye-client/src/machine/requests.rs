//! What the program asked for once: publications, reads, calls. Kept until it is answered, in the program's order.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::{Error, Limits};

/// What becomes of a request whose connection is lost before the answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is sent again: it reads, or it has a key by which the server knows it.
    Repeatable,
    /// It waits for a connection, and is sent once.
    Once,
    /// It is for those who are there now: it does not wait for a connection.
    Volatile,
}

pub(crate) type Answer = Result<Box<RawValue>, Error>;

#[derive(Debug)]
struct Request {
    text: String,
    kind: Kind,
    tries: u32,
    deadline: Instant,
    reply: oneshot::Sender<Answer>,
}

/// Requests by their ids, which rise in the program's order and stay the same however often one is sent.
#[derive(Debug, Default)]
pub(super) struct Requests {
    all: BTreeMap<u64, Request>,
    unsent: BTreeSet<u64>,
    deadlines: BTreeSet<(Instant, u64)>,
    bytes: usize,
}

impl Requests {
    pub(super) fn insert(
        &mut self,
        id: u64,
        text: String,
        kind: Kind,
        deadline: Instant,
        limits: &Limits,
    ) -> Result<oneshot::Receiver<Answer>, Error> {
        if text.len() > limits.max_command {
            return Err(Error::too_big());
        }
        if self.all.len() >= limits.max_requests || self.bytes.saturating_add(text.len()) > limits.max_request_bytes {
            return Err(Error::full());
        }
        let (reply, answer) = oneshot::channel();
        self.bytes += text.len();
        self.unsent.insert(id);
        self.deadlines.insert((deadline, id));
        self.all.insert(id, Request { text, kind, tries: 0, deadline, reply });
        Ok(answer)
    }

    /// The next to be sent, if another may be under way.
    pub(super) fn next(&mut self, limits: &Limits) -> Option<String> {
        if self.all.len() - self.unsent.len() >= limits.max_in_flight.max(1) {
            return None;
        }
        let request = self.all.get_mut(&self.unsent.pop_first()?)?;
        request.tries += 1;
        Some(request.text.clone())
    }

    /// Whether it was a request of ours that was answered.
    pub(super) fn answer(&mut self, id: u64, answer: Answer) -> bool {
        // Nobody can have been answered what was not sent.
        if self.unsent.contains(&id) {
            return false;
        }
        self.remove(id).map(|request| request.reply.send(answer)).is_some()
    }

    /// Nobody waits any more. What has not left will not.
    pub(super) fn cancel(&mut self, id: u64) {
        self.remove(id);
    }

    /// Gives up those whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                return;
            }
            self.fail(id, Error::timeout);
        }
    }

    /// The connection is lost: what can be sent again will be, before what comes later.
    pub(super) fn disconnect(&mut self, limits: &Limits) {
        let mut gone = Vec::new();
        for (&id, request) in &self.all {
            let is_sent = !self.unsent.contains(&id);
            match request.kind {
                Kind::Repeatable if is_sent && request.tries >= limits.max_tries => gone.push(id),
                Kind::Repeatable if is_sent => drop(self.unsent.insert(id)),
                Kind::Once if is_sent => gone.push(id),
                Kind::Volatile => gone.push(id),
                Kind::Repeatable | Kind::Once => {}
            }
        }
        for id in gone {
            self.fail(id, Error::disconnected);
        }
    }

    /// No connection will follow.
    pub(super) fn end(&mut self, why: &Error) {
        for id in self.all.keys().copied().collect::<Vec<_>>() {
            self.fail(id, |sent| if sent { Error::disconnected(true) } else { why.clone() });
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// `why` is told whether the request had left, now or ever.
    fn fail(&mut self, id: u64, why: impl FnOnce(bool) -> Error) {
        if let Some(request) = self.remove(id) {
            // Who asked may have gone.
            let _ = request.reply.send(Err(why(request.tries > 0)));
        }
    }

    fn remove(&mut self, id: u64) -> Option<Request> {
        let request = self.all.remove(&id)?;
        self.unsent.remove(&id);
        self.deadlines.remove(&(request.deadline, id));
        self.bytes -= request.text.len();
        Some(request)
    }
}
