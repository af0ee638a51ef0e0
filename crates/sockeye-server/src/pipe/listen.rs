//! `GET /sse?channel=a&channel=b`: for those who only listen, with nothing but an `EventSource`.
//!
//! It is a conversation whose client says nothing: what it would say, to subscribe, stands in the URL. Each event's id says
//! where it stands in all of its channels, and an `EventSource` that comes back says that again, so that it hears what it has
//! missed, or that it has missed something.
use std::{cell::RefCell, net::IpAddr, ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use bytestring::ByteString;
use http::{HeaderValue, Method, Request, header};
use serde_json::json;
use sockeye::{CloseCode, Message, Prepared, proto::handshake::is_upgrade};
use sockeye_hub::{Action, ChannelName, Done, Epoch, Event, LostReason, Position as HubPosition, Publication};
use sockeye_pipe::{
    Config, ConversationId, Numbering, OpenError, ReceiverKind,
    sse::{self, Events, MAX_CHANNELS, Position, Positions},
};

use super::{Answer, Begun, Held, Opening, Pipes, Streaming, Texts, Visitor, answer::head, native::methods_only};
use crate::{
    Site,
    api::{Query, Refused},
    dialect::{
        Answer as Replied, Credentials, Dialect, ErrorCode, Farewell, Problem, Said, Verb,
        json::{self, Json, MAX_LAST},
    },
    routes::Service,
    worker::Worker,
};

/// The path.
const PATH: &str = "/sse";
/// The place of events in [`Encoded`](sockeye_hub::Encoded).
const SLOT: usize = 1;
/// How long a client waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);
/// When to try again after a bound was reached that others reach too.
const SOON: Duration = Duration::from_secs(1);

/// A request that has been looked at.
pub(crate) struct Call {
    visitor: Visitor,
    wanted: Wanted,
    token: Option<Box<str>>,
}

/// What is to be heard.
struct Wanted {
    channels: Vec<ChannelName>,
    /// With so many of the last to begin with.
    last: Option<usize>,
    /// Where it was, if it has been here before.
    before: Option<Positions>,
}

/// How conversations are that only speak.
pub(super) fn config(native: &Config) -> Config {
    Config {
        // Who comes back begins another, and says where it was.
        disconnect_delay: Duration::ZERO,
        max_kept_messages: 0,
        max_kept_bytes: 0,
        // What it would say stands in a URL, which has a bound of its own.
        max_received_bytes: usize::MAX,
        ..native.clone()
    }
}

/// Looks at the head of a request; `None` if it is for something else.
pub(super) fn begin<B>(request: &Request<B>, from: Option<IpAddr>, worker: &Worker) -> Option<Begun<Call>> {
    let pipes = worker.pipes().filter(|pipes| pipes.options.enabled && request.method() != Method::CONNECT)?;
    if request.uri().path() != PATH || worker.demos().routes().site != Site::Server || is_upgrade(request) {
        return None;
    }
    let policy = &worker.config(Service::Hub).origins;
    let visitor = match Visitor::of(request, from, "sse", (&pipes.keys, policy)) {
        Ok(visitor) => visitor,
        Err(refused) => return Some(Err(refused.into_response().into())),
    };
    if let Some(answer) = visitor.preflight(request, HeaderValue::from_static("GET")) {
        return Some(Err(answer.into()));
    }
    Some(match methods_only(request, "GET").and_then(|()| read(request)) {
        Ok((wanted, token)) => Ok(Call { visitor, wanted, token }),
        Err(refused) => Err(visitor.finish(refused.into_response()).into()),
    })
}

fn read<B>(request: &Request<B>) -> Result<(Wanted, Option<Box<str>>), Refused> {
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let mut channels = Vec::new();
    for name in query.all("channel") {
        let channel = json::channel_name(name)?;
        if channels.contains(&channel) {
            return Err(Problem::bad_request("a channel comes twice").into());
        }
        if channels.len() == MAX_CHANNELS {
            return Err(Problem::bad_request("a stream has at most 64 channels").into());
        }
        channels.push(channel);
    }
    if channels.is_empty() {
        return Err(Problem::bad_request("channel names what is to be heard").into());
    }
    let last = query.number("last", 1, usize::try_from(MAX_LAST).unwrap_or(usize::MAX))?;
    // One that was not made here is still somebody's who has been here (attack line H9).
    let before = request.headers().get("last-event-id").filter(|id| !id.is_empty()).map(|id| {
        let parsed = id.to_str().ok().and_then(|id| Positions::parse(id, channels.len()).ok());
        parsed.unwrap_or_else(|| Positions::new(channels.len()))
    });
    let token = query.get("token")?.or_else(|| bearer(request)).map(Box::from);
    Ok((Wanted { channels, last, before }, token))
}

/// For those who read event streams with something better than an `EventSource`.
fn bearer<B>(request: &Request<B>) -> Option<&str> {
    let (scheme, token) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Call {
    pub(super) fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// Carries it out.
    pub(super) fn perform(self, held: Held, worker: &Worker) -> Answer {
        let Self { visitor, wanted, token } = self;
        match worker.pipes().map(|pipes| open(&visitor, wanted, token, held, (pipes, worker))) {
            Some(Ok(Streaming { head, prelude, body, is_poll })) => {
                Answer::Stream(Streaming { head: visitor.finish(head), prelude, body, is_poll })
            }
            Some(Err(refused)) => Answer::Full(visitor.finish(refused.into_response())),
            None => Answer::Full(
                Refused::from(Problem::new(ErrorCode::NotFound, "there is no such stream")).into_response(),
            ),
        }
    }
}

fn open(
    visitor: &Visitor,
    wanted: Wanted,
    token: Option<Box<str>>,
    held: Held,
    (pipes, worker): (&Arc<Pipes>, &Worker),
) -> Result<Streaming, Refused> {
    let said = wanted.said(token, worker)?;
    let opening = Opening {
        name: ConversationId::from_random(rand::random()),
        binding: visitor.binding,
        config: Arc::clone(&pipes.listening),
        high_water: pipes.high_water(Service::Hub),
        texts: Texts::Plain,
        lingers: false,
        framing: Events,
        // An `EventSource` keeps nothing of what it has told.
        kind: ReceiverKind::Streaming { limit: usize::MAX },
        held,
    };
    let passing = |code, message| Refused::from(Problem::passing(code, message, SOON));
    let (end, receiver) = pipes.listeners.open(opening, worker.stop()).map_err(|error| match error {
        OpenError::TooManyOfBinding => passing(ErrorCode::RateLimited, "too many streams from this address"),
        OpenError::Taken | OpenError::TooMany => passing(ErrorCode::Limit, "too many streams"),
    })?;
    receiver
        .pipe()
        .receive(Numbering::Unnumbered, said, None)
        .map_err(|_| passing(ErrorCode::Unavailable, "the server is stopping"))?;
    worker.listen(end, Listen::to(wanted));
    let mut prelude = String::new();
    sse::write_retry(&mut prelude, millis(RETRY));
    Ok(Streaming { head: head(sse::CONTENT_TYPE), prelude: prelude.into(), body: Box::new(receiver), is_poll: false })
}

impl Wanted {
    /// What a client that speaks would say; or why it may not. What can be told by a status is told by a status, as nothing else
    /// is seen by an `EventSource`; but what holds is what the hub says when it is asked.
    fn said(&self, token: Option<Box<str>>, worker: &Worker) -> Result<Vec<ByteString>, Refused> {
        let shown = Credentials { token, client: None };
        let may_catch_up = worker.local.turn(|_, crew, _| {
            let who = crew.permit().identify(&shown)?.principal;
            let may = |action, channel| crew.permit().authorize(&who, action, channel);
            let each = self.channels.iter().map(|channel| {
                may(Action::Subscribe, channel)?;
                let catch_up = may(Action::CatchUp, channel);
                if self.last.is_some() { catch_up.map(|()| true) } else { Ok(catch_up.is_ok()) }
            });
            Ok::<_, Refused>(each.collect::<Result<Vec<bool>, _>>().map_err(Problem::from)?)
        })?;
        let mut said = Vec::new();
        if let Some(token) = &shown.token {
            said.push(json!({"connect": {"token": token}}).to_string().into());
        }
        for (index, (channel, may_catch_up)) in self.channels.iter().zip(may_catch_up).enumerate() {
            let mut command = json!({"id": index + 1, "subscribe": channel.as_str()});
            let since = self.before.as_ref().and_then(|before| before.get(index)).filter(|_| may_catch_up);
            if let Some(Position { epoch, offset }) = since {
                command["since"] = json!({"epoch": Epoch(epoch).to_string(), "offset": offset});
            } else if let Some(last) = self.last {
                command["last"] = last.into();
            }
            said.push(command.to_string().into());
        }
        Ok(said)
    }
}

/// What is said to those who only listen: the objects of `sockeye.v1.json` as events, each with where its client is then.
pub(crate) struct Listen {
    channels: Vec<ChannelName>,
    positions: RefCell<Positions>,
    /// It has heard something of these channels before, and has to be told what it has missed.
    has_been_here: bool,
}

impl Listen {
    fn to(wanted: Wanted) -> Self {
        let Wanted { channels, before, .. } = wanted;
        let has_been_here = before.is_some();
        // Who is cut off before it has heard of all channels comes back with what it had of the others.
        let positions = RefCell::new(before.unwrap_or_else(|| Positions::new(channels.len())));
        Self { channels, positions, has_been_here }
    }

    fn is_at(&self, channel: &ChannelName, position: Option<HubPosition>) {
        // Who listens to one hears of no other.
        let is_only = self.channels.len() == 1;
        let index = if is_only { Some(0) } else { self.channels.iter().position(|own| own == channel) };
        if let (Some(index), Some(HubPosition { epoch, offset })) = (index, position) {
            self.positions.borrow_mut().set(index, Position { epoch: epoch.0, offset });
        }
    }

    /// An event, with where its client is when it has got it.
    fn write(&self, out: &mut String, event: Option<&str>, data: &str) {
        let id = self.positions.borrow().to_string();
        sse::Event { id: Some(&id), event, data }.write(out);
    }

    fn named(&self, name: &str, data: &str) -> Message {
        let mut out = String::new();
        self.write(&mut out, Some(name), data);
        Message::text(out)
    }

    /// An object of the protocol, under a name.
    fn relay(&self, name: &str, event: &Event) -> Option<Said> {
        let Some(Said::One(message)) = Json.event(event) else { return None };
        Some(Said::One(self.named(name, message.as_text()?)))
    }

    /// The channel that a command was about.
    fn channel(&self, id: u64) -> Option<&ChannelName> {
        self.channels.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    fn subscribed(&self, id: u64, done: &Done) -> Option<Said> {
        let Done::Subscribed { position, catch_up, recovered, .. } = done else { return None };
        let channel = self.channel(id)?;
        // What follows up to the newest has not been heard yet.
        let behind = u64::try_from(*catch_up).unwrap_or(u64::MAX);
        let begins = position.map(|newest| HubPosition { offset: newest.offset.saturating_sub(behind), ..newest });
        self.is_at(channel, begins);
        let mut out = String::new();
        if self.has_been_here && *recovered != Some(true) {
            let lost = Json.event(&Event::Lost(channel.clone(), begins, LostReason::History));
            if let Some(Said::One(lost)) = lost {
                self.write(&mut out, Some("lost"), lost.as_text()?);
            }
        }
        let done = json::done_alone(done);
        let data = on(channel, "subscribed", std::str::from_utf8(&done).ok()?);
        self.write(&mut out, Some("subscribed"), &data);
        Some(Said::One(Message::text(out)))
    }
}

impl Dialect for Listen {
    /// The commands are the server's own.
    fn rate(&self, _: &crate::SessionLimits) -> (u32, u32, u16) {
        let commands = u32::try_from(MAX_CHANNELS + 1).unwrap_or(u32::MAX);
        (commands, commands, u16::MAX)
    }

    fn read(
        &self,
        is_text: bool,
        bytes: &Bytes,
        skip: usize,
        each: impl FnMut(Option<u64>, Result<Verb, Problem>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Farewell> {
        Json.read(is_text, bytes, skip, each)
    }

    fn publication(&self, publication: &Publication, own: bool) -> Option<Said> {
        if own {
            return None;
        }
        self.is_at(&publication.channel, publication.position);
        let Some(Said::Many(prepared)) = Json.publication(publication, false) else { return None };
        let text = prepared.message().as_text()?;
        let make = || {
            // For the id, and what is around.
            let mut out = String::with_capacity(text.len() + 64);
            self.write(&mut out, None, text);
            Message::text(out)
        };
        if self.channels.len() > 1 || publication.position.is_none() {
            return Some(Said::One(make()));
        }
        // Whoever listens to this channel alone is where this publication is.
        publication.encoded.get_or_make(SLOT, make).cloned().map(Said::One)
    }

    /// Where each is, is its own.
    fn shared<'a>(&self, _: &'a Publication) -> Option<&'a Prepared> {
        None
    }

    fn event(&self, event: &Event) -> Option<Said> {
        match event {
            Event::Done(id, done) => self.subscribed(*id, done),
            Event::Failed(id, failure) => {
                let error = json::error_alone(&failure.clone().into());
                let error = std::str::from_utf8(&error).ok()?;
                let of_channel = id.and_then(|id| self.channel(id)).map(|channel| on(channel, "failed", error));
                Some(Said::One(self.named("failed", of_channel.as_deref().unwrap_or(error))))
            }
            Event::Lost(channel, position, _) => {
                self.is_at(channel, *position);
                self.relay("lost", event)
            }
            Event::Ended(..) => self.relay("end", event),
            _ => None,
        }
    }

    fn answer(&self, _: u64, _: &Replied<'_>) -> Option<Message> {
        None
    }

    fn expiring(&self, within: Duration) -> Option<Message> {
        let message = Json.expiring(within)?;
        Some(self.named("expiring", message.as_text()?))
    }

    fn problem(&self, _: Option<u64>, problem: &Problem) -> Option<Message> {
        let error = json::error_alone(problem);
        Some(self.named("failed", std::str::from_utf8(&error).ok()?))
    }

    fn bye(&self, farewell: Farewell) -> (Option<Message>, CloseCode, &'static str) {
        let (message, code, reason) = Json.bye(farewell);
        let mut out = String::new();
        if let Farewell::Restart(after) = farewell {
            sse::write_retry(&mut out, millis(after));
        }
        if let Some(text) = message.as_ref().and_then(Message::as_text) {
            self.write(&mut out, Some("bye"), text);
        }
        (Some(Message::text(out)), code, reason)
    }
}

/// `{"on":channel,name:value}`
fn on(channel: &ChannelName, name: &str, value: &str) -> String {
    format!("{{\"on\":{},\"{name}\":{value}}}", serde_json::Value::from(channel.as_str()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
