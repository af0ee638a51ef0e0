//! What the machine hears from the server, which may be anybody.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::value::RawValue;
use sockeye::CloseCode;

use super::{
    Ask, Bye, Fate, Link, Machine, Timer, after,
    channel::{Next, Phase},
};
use crate::{
    Error, Event, State,
    error::Refusal,
    wire::{Connected, Incoming, News, Subscribed, Violation},
};

impl Machine {
    pub(crate) fn handle_message(&mut self, message: Result<Vec<Incoming>, Violation>, now: Instant) {
        let handled = message.and_then(|objects| {
            objects.into_iter().try_for_each(|object| match self.link {
                Link::Greeting | Link::Open | Link::Leaving { is_trusted: true } => self.handle_object(object, now),
                Link::Down | Link::Fresh | Link::Leaving { is_trusted: false } => Ok(()),
            })
        });
        if let Err(violation) = handled {
            self.leave(CloseCode::PROTOCOL_ERROR, violation);
        }
    }

    fn handle_object(&mut self, object: Incoming, now: Instant) -> Result<(), Violation> {
        match object {
            Incoming::Reply { id, result } => self.handle_reply(id, result, now)?,
            Incoming::Channel { on, news } => self.handle_news(&on, news, now),
            Incoming::Expiring => {
                let is_soon = |asked: Instant| now.saturating_duration_since(asked) < self.limits.refresh_pause;
                if self.token.has_source && !self.token.asked_at.is_some_and(is_soon) {
                    self.token.is_wanted = true;
                    self.token.asked_at = Some(now);
                }
            }
            Incoming::Bye { code, reason, retry_after } => {
                self.bye = Some(Bye { code, reason, retry_after });
                if self.link != (Link::Leaving { is_trusted: true }) {
                    self.link = Link::Leaving { is_trusted: true };
                    self.timers.set(Timer::Bye, after(now, self.limits.bye_timeout));
                }
            }
            Incoming::Unknown => {}
        }
        Ok(())
    }

    fn handle_reply(&mut self, id: u64, result: Result<Box<RawValue>, Refusal>, now: Instant) -> Result<(), Violation> {
        let Some(ask) = self.asks.remove(&id) else {
            self.requests.answer(id, result.map_err(Error::refused));
            return Ok(());
        };
        self.timers.clear(Timer::Ask(id));
        match (ask, result) {
            (Ask::Connect, Ok(ok)) => {
                let Connected { session, user } = Error::read(&ok).map_err(|error| error.to_string())?;
                // After a bye it is too late.
                if self.link == Link::Greeting {
                    self.link = Link::Open;
                    self.tell(State::Open { session, user });
                }
            }
            (Ask::Connect, Err(refusal)) => self.not_welcome(refusal),
            (Ask::Subscribe(serial), Ok(ok)) => self.subscribed(serial, id, &ok)?,
            (Ask::Subscribe(serial), Err(refusal)) => self.refused(serial, id, Error::refused(refusal), now),
            // Who left need not wait for it.
            (Ask::Unsubscribe(left), _) => left.into_iter().for_each(|left| left.send(()).unwrap_or_default()),
            (Ask::Refresh, _) => {}
        }
        Ok(())
    }

    fn not_welcome(&mut self, refusal: Refusal) {
        let can_refresh = self.token.has_source && refusal.code == "token_expired";
        let retry_after = refusal.retry_after_ms.map(Duration::from_millis);
        let error = Error::refused(refusal);
        if !error.is_passing() && !can_refresh {
            return self.finish(Fate::Failed(error));
        }
        self.bye = Some(Bye { code: CloseCode::NORMAL.get(), reason: String::new(), retry_after });
        self.leave(CloseCode::NORMAL, error.to_string());
    }

    fn subscribed(&mut self, serial: u64, id: u64, ok: &RawValue) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&serial) else { return Ok(()) };
        if channel.phase != (Phase::Asked { id }) {
            return Ok(());
        }
        let reply: Subscribed = Error::read(ok).map_err(|error| error.to_string())?;
        channel.open(reply, &self.limits)?;
        self.timers.clear(Timer::Begin(serial));
        Ok(())
    }

    /// The server did not subscribe us.
    fn refused(&mut self, serial: u64, id: u64, error: Error, now: Instant) {
        let Some(channel) = self.channels.get_mut(&serial) else { return };
        if channel.phase != (Phase::Asked { id }) {
            return;
        }
        if error.is_refused() {
            self.held.remove(&channel.name);
        } else {
            // It may yet do so: it is told to leave before it is asked again.
            self.dirty.insert(Arc::clone(&channel.name));
        }
        if channel.opened.is_none() && error.is_passing() {
            self.rest(serial, error.retry_after(), now);
        } else {
            self.end_channel(serial, error);
        }
    }

    fn handle_news(&mut self, on: &str, news: News, now: Instant) {
        let Some(&serial) = self.names.get(on) else { return };
        let Some(channel) = self.channels.get_mut(&serial) else { return };
        // What comes before the reply is for a subscription that came before this one.
        if channel.phase != Phase::Live {
            return;
        }
        let limits = &self.limits;
        let next = match news {
            News::Publication(publication) => {
                channel.publication(publication.offset, Some(Event::Publication(publication)), limits)
            }
            News::Bare(offset) => channel.publication(Some(offset), None, limits),
            News::Joined(member) => channel.push(Event::Joined(member), limits),
            News::Left(member) => channel.push(Event::Left(member), limits),
            News::Lost { to, reason } => {
                channel.lost(to, reason);
                Next::GoOn
            }
            News::End { code, retry } => {
                self.held.remove(on);
                if retry {
                    self.rest(serial, None, now);
                } else {
                    self.end_channel(serial, Error::ended(code));
                }
                return;
            }
        };
        match next {
            Next::GoOn => return,
            Next::AskAgain => channel.phase = Phase::Wanted,
            Next::Pause => channel.pause(),
        }
        self.dirty.insert(Arc::clone(&channel.name));
    }

    /// The server does not answer.
    pub(super) fn ask_is_late(&mut self, id: u64, now: Instant) {
        match self.asks.remove(&id) {
            Some(Ask::Connect) => self.leave(CloseCode::NORMAL, "no answer to connect".into()),
            Some(Ask::Subscribe(serial)) => self.refused(serial, id, Error::timeout(true), now),
            Some(Ask::Refresh | Ask::Unsubscribe(_)) | None => {}
        }
    }
}
