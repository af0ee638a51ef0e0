//! From what the hub says to messages.
use std::{fmt::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use data_encoding::BASE64;
use sockeye::{CloseCode, Message, Prepared};
use sockeye_hub::{
    Cause, Change, ChannelName, Done, Event, Kind, LostReason, Member, Payload, Position, Publication, Sender,
    SessionId,
};

use crate::dialect::{ErrorCode, Farewell, Problem};

/// This dialect's place in [`Encoded`](sockeye_hub::Encoded).
const SLOT: usize = 0;

/// A publication, encoded once for everybody.
pub(crate) fn publication(publication: &Publication) -> Prepared {
    shared(publication).cloned().unwrap_or_else(|| prepare(publication))
}

/// The same where it lies.
pub(crate) fn shared(publication: &Publication) -> Option<&Prepared> {
    publication.encoded.get_or_make(SLOT, || prepare(publication))
}

fn prepare(publication: &Publication) -> Prepared {
    Prepared::new(text(|json| write_publication(json, publication)))
}

/// What the publisher gets in place of its own, where it wants no echo: the position alone, if there is one.
pub(crate) fn own(publication: &Publication) -> Option<Message> {
    let offset = publication.position?.offset;
    Some(text(|json| {
        json.object(|json| {
            json.name("on").string(publication.channel.as_str());
            json.name("offset").number(offset);
        });
    }))
}

/// Who came or went, encoded once for everybody.
pub(crate) fn change(change: &Change) -> Prepared {
    let make = || {
        Prepared::new(text(|json| {
            json.object(|json| {
                json.name("on").string(change.channel.as_str());
                json.name(if change.joined { "join" } else { "leave" });
                json.member(&change.member);
            });
        }))
    };
    change.encoded.get_or_make(SLOT, make).cloned().unwrap_or_else(make)
}

/// What is told to one session. Not changes of members, which are told to many.
pub(crate) fn event(event: &Event) -> Option<Message> {
    Some(match event {
        Event::Done(id, done) => reply(*id, |json| json.done(done)),
        Event::Failed(id, failure) => problem(*id, &failure.clone().into()),
        Event::Lost(channel, position, reason) => lost(channel, *position, *reason),
        Event::Ended(channel, cause) => ended(channel, *cause),
        _ => return None,
    })
}

/// How something was done.
pub(crate) fn done(done: &Done) -> Message {
    text(|json| json.done(done))
}

/// The reply to `connect`.
pub(crate) fn connected(id: u64, session: SessionId, user: Option<&str>, ping_every: Duration) -> Message {
    reply(id, |json| {
        json.object(|json| {
            json.name("session").plain(session);
            if let Some(user) = user {
                json.name("user").string(user);
            }
            json.name("ping_every_ms").number(millis(ping_every));
        });
    })
}

/// The reply to `refresh`.
pub(crate) fn refreshed(id: u64, expires_in: Option<Duration>) -> Message {
    reply(id, |json| {
        json.object(|json| {
            if let Some(expires_in) = expires_in {
                json.name("expires_in_ms").number(millis(expires_in));
            }
        });
    })
}

/// The reply to `ping`.
pub(crate) fn pong(id: u64) -> Message {
    reply(id, |json| json.object(|_| {}))
}

/// The reply to `call`. `data` is JSON.
pub(crate) fn called(id: u64, data: &Bytes) -> Message {
    reply(id, |json| json.object(|json| json.name("data").value(data)))
}

/// That a command was not done.
pub(crate) fn problem(id: Option<u64>, problem: &Problem) -> Message {
    text(|json| {
        json.object(|json| {
            if let Some(id) = id {
                json.name("id").number(id);
            }
            json.name("error").object(|json| {
                json.name("code").string(problem.code.as_str());
                json.name("message").string(&problem.message);
                if let Some(after) = problem.retry_after {
                    json.name("retry_after_ms").number(millis(after));
                }
            });
        });
    })
}

/// That the token runs out.
pub(crate) fn expiring(within: Duration) -> Message {
    text(|json| {
        json.object(|json| {
            json.name("expiring").object(|json| {
                json.name("in_ms").number(millis(within));
            });
        });
    })
}

/// That the server is about to close the connection, and the Close frame that follows.
pub(crate) fn bye(farewell: Farewell) -> (Message, CloseCode, &'static str) {
    let (code, reason, retry_after) = match farewell {
        Farewell::Restart(after) => (1012, "restart", Some(after)),
        Farewell::Unavailable => (1013, "unavailable", Some(Duration::from_secs(1))),
        Farewell::NotOurs => (1003, "text messages only", None),
        Farewell::Forbidden => (4003, "forbidden", None),
        Farewell::Dismissed(code) => (code.get().into(), "disconnected", None),
        Farewell::TokenExpired => (4100, "token expired", Some(Duration::ZERO)),
        Farewell::TooSlow => (4101, "too slow", Some(Duration::ZERO)),
        Farewell::RateLimited => (4108, "rate limited", Some(Duration::from_secs(1))),
    };
    let message = text(|json| {
        json.object(|json| {
            json.name("bye").object(|json| {
                json.name("code").number(code);
                json.name("reason").string(reason);
                if let Some(after) = retry_after {
                    json.name("retry_after_ms").number(millis(after));
                }
            });
        });
    });
    let code = u16::try_from(code).ok().and_then(|code| CloseCode::new(code).ok()).unwrap_or(CloseCode::INTERNAL_ERROR);
    (message, code, reason)
}

fn reply(id: u64, ok: impl FnOnce(&mut Json)) -> Message {
    text(|json| {
        json.object(|json| {
            json.name("id").number(id);
            json.name("ok");
            ok(json);
        });
    })
}

fn lost(channel: &ChannelName, position: Option<Position>, reason: LostReason) -> Message {
    let reason = match reason {
        LostReason::History => "history",
        LostReason::Slow => "slow",
        LostReason::Store => "store",
        LostReason::Epoch => "epoch",
    };
    text(|json| {
        json.object(|json| {
            json.name("on").string(channel.as_str());
            json.name("lost").object(|json| {
                if let Some(position) = position {
                    json.position(position);
                }
                json.name("reason").string(reason);
            });
        });
    })
}

fn ended(channel: &ChannelName, cause: Cause) -> Message {
    let code = match cause {
        Cause::Forbidden => ErrorCode::Forbidden,
        Cause::Slow => ErrorCode::Limit,
        _ => ErrorCode::Unavailable,
    };
    text(|json| {
        json.object(|json| {
            json.name("on").string(channel.as_str());
            json.name("end").object(|json| {
                json.name("code").string(code.as_str());
                json.name("retry").plain(cause.may_come_back());
            });
        });
    })
}

fn write_publication(json: &mut Json, publication: &Publication) {
    json.object(|json| {
        json.name("on").string(publication.channel.as_str());
        json.publication(publication);
    });
}

fn text(write: impl FnOnce(&mut Json)) -> Message {
    let mut json = Json { text: String::with_capacity(128), first: true };
    write(&mut json);
    Message::text(json.text)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// JSON being written: no tree in between, and what is JSON already is copied as it is.
pub(crate) struct Json {
    text: String,
    /// Nothing has been written in this object or array yet.
    first: bool,
}

impl Json {
    fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.nested('{', '}', members);
    }

    fn array<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.nested('[', ']', |json| {
            for item in items {
                json.comma();
                write(json, item);
            }
        });
    }

    fn nested(&mut self, open: char, close: char, inside: impl FnOnce(&mut Self)) {
        self.text.push(open);
        self.first = true;
        inside(self);
        self.text.push(close);
        self.first = false;
    }

    fn comma(&mut self) {
        if !self.first {
            self.text.push(',');
        }
        self.first = false;
    }

    /// The name of a member, which is to be followed by its value.
    fn name(&mut self, name: &'static str) -> &mut Self {
        self.comma();
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
        self
    }

    fn number(&mut self, number: u64) {
        // Writing to a `String` does not fail, here and below.
        let _ = write!(self.text, "{number}");
    }

    fn string(&mut self, string: &str) {
        self.text.push('"');
        let mut rest = string;
        while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') {
            let (plain, special) = rest.split_at(at);
            self.text.push_str(plain);
            let mut characters = special.chars();
            match characters.next() {
                Some(character @ ('"' | '\\')) => self.text.extend(['\\', character]),
                Some(character) => {
                    let _ = write!(self.text, "\\u{:04x}", u32::from(character));
                }
                None => {}
            }
            rest = characters.as_str();
        }
        self.text.push_str(rest);
        self.text.push('"');
    }

    /// What has nothing to escape: a `bool` as it is, numbers of sessions and epochs in quotes.
    fn plain(&mut self, value: impl Plain) {
        value.write(&mut self.text);
    }

    /// What is JSON already.
    fn value(&mut self, json: &[u8]) {
        self.text.push_str(std::str::from_utf8(json).unwrap_or("null"));
    }

    fn position(&mut self, position: Position) {
        self.name("epoch").plain(position.epoch);
        self.name("offset").number(position.offset);
    }

    fn publication(&mut self, publication: &Publication) {
        if let Some(position) = publication.position {
            self.name("offset").number(position.offset);
        }
        self.payload(&publication.payload);
        if let Some(event) = &publication.event {
            self.name("event").string(event);
        }
        if let Some(Sender { session, user }) = &publication.from {
            self.name("from").object(|json| json.who(*session, user.as_ref()));
        }
        self.name("at").number(publication.at_ms);
    }

    fn payload(&mut self, payload: &Payload) {
        let bytes = &payload.bytes;
        match payload.kind {
            Kind::Json => self.name("data").value(bytes),
            Kind::Text => self.name("data").string(&String::from_utf8_lossy(bytes)),
            Kind::Binary => {
                self.name("base64");
                self.text.push('"');
                BASE64.encode_append(bytes, &mut self.text);
                self.text.push('"');
            }
        }
    }

    fn who(&mut self, session: SessionId, user: Option<&Arc<str>>) {
        self.name("session").plain(session);
        if let Some(user) = user {
            self.name("user").string(user);
        }
    }

    fn member(&mut self, member: &Member) {
        self.object(|json| {
            json.who(member.session, member.user.as_ref());
            json.name("as").value(&member.shown_as);
        });
    }

    fn members(&mut self, members: &[Arc<Member>]) {
        self.name("members").array(members, |json, member| json.member(member));
    }

    fn done(&mut self, done: &Done) {
        self.object(|json| match done {
            Done::Subscribed { position, catch_up, recovered, members } => {
                if let Some(position) = position {
                    json.position(*position);
                    json.name("catch_up").number(count(*catch_up));
                }
                if let Some(recovered) = recovered {
                    json.name("recovered").plain(*recovered);
                }
                if let Some(members) = members {
                    json.members(members);
                }
            }
            Done::Published(Some(position)) => json.position(*position),
            Done::Presence(all, members) => {
                json.name("count").number(count(*all));
                json.members(members);
            }
            Done::History { position, items, more } => {
                json.position(*position);
                json.name("items").array(items, |json, item| json.object(|json| json.publication(item)));
                json.name("more").plain(*more);
            }
            // The others say all with being done.
            _ => {}
        });
    }
}

trait Plain {
    fn write(self, text: &mut String);
}

impl Plain for bool {
    fn write(self, text: &mut String) {
        text.push_str(if self { "true" } else { "false" });
    }
}

impl Plain for SessionId {
    fn write(self, text: &mut String) {
        let _ = write!(text, "\"{self}\"");
    }
}

impl Plain for sockeye_hub::Epoch {
    fn write(self, text: &mut String) {
        let _ = write!(text, "\"{self}\"");
    }
}

impl ErrorCode {
    /// Its name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnknownVerb => "unknown_verb",
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token_expired",
            Self::Forbidden => "forbidden",
            Self::BadChannel => "bad_channel",
            Self::TooBig => "too_big",
            Self::RateLimited => "rate_limited",
            Self::Limit => "limit",
            Self::NotSubscribed => "not_subscribed",
            Self::AlreadySubscribed => "already_subscribed",
            Self::NotFound => "not_found",
            Self::PositionLost => "position_lost",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
