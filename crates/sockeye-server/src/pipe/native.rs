//! Our own transports, beside the path of each WebSocket: `stream`, `events` and `poll` to hear, `send` to speak, `leave`.
use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use sockeye::proto::handshake::is_upgrade;
use sockeye_pipe::{
    AttachError, ConversationId, Missing, Numbering, OpenError, ReceiveError, ReceiverKind, Resume,
    native::{self, BadMessages, Transport, Wire},
};

use super::{
    Answer, Begun, Held, Opening, Pipes, Streaming, Texts, Visitor,
    answer::{head, no_content},
    shared::{Outflow, Pipe, now},
};
use crate::{
    api::{Query, Refused},
    dialect::{ErrorCode, Problem},
    routes::Service,
    worker::Worker,
};

/// Bytes of padding that a client can ask for.
const MAX_PAD: usize = 4 * 1024;
/// When to try again after a bound was reached that others reach too.
const SOON: Duration = Duration::from_secs(1);

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Hear(Transport),
    Say,
    Leave,
}

/// A request that has been looked at.
pub(crate) struct Call {
    service: Service,
    visitor: Visitor,
    asked: Asked,
}

enum Asked {
    Open(Transport, usize),
    ComeBack(Transport, usize, ConversationId, Resume),
    Say { id: ConversationId, numbering: Numbering, received: Option<u64> },
    Leave(ConversationId),
}

impl Endpoint {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "stream" => Self::Hear(Transport::Stream),
            "events" => Self::Hear(Transport::Events),
            "poll" => Self::Hear(Transport::Poll),
            "send" => Self::Say,
            "leave" => Self::Leave,
            _ => return None,
        })
    }

    /// `EventSource` makes nothing but GET requests; other answers to those are kept by too many on the way.
    fn methods(self) -> &'static str {
        match self {
            Self::Hear(Transport::Events) => "GET",
            Self::Hear(_) => "GET, POST",
            Self::Say | Self::Leave => "POST",
        }
    }
}

/// Looks at the head of a request; `None` if it is for something else.
pub(super) fn begin<B>(request: &Request<B>, from: Option<IpAddr>, worker: &Worker) -> Option<Begun<Call>> {
    let pipes = worker.pipes().filter(|pipes| pipes.options.enabled && request.method() != Method::CONNECT)?;
    let (service, name) = worker.demos().routes().beside(request.uri().path())?;
    let endpoint = Endpoint::of(name)?;
    let policy = &worker.config(service).origins;
    let visitor = match Visitor::of(request, from, service.name(), (&pipes.keys, policy)) {
        Ok(visitor) => visitor,
        Err(refused) => return Some(Err(refused.into_response().into())),
    };
    let methods = endpoint.methods();
    if let Some(answer) = visitor.preflight(request, HeaderValue::from_static(methods)) {
        return Some(Err(answer.into()));
    }
    let asked = check(request, methods).and_then(|()| {
        let asked = Asked::read(request, endpoint)?;
        if let Asked::Say { id, .. } | Asked::Leave(id) = asked {
            // No body is read for those who have no conversation.
            find(pipes, &visitor, id)?;
        }
        Ok(asked)
    });
    Some(match asked {
        Ok(asked) => Ok(Call { service, visitor, asked }),
        Err(refused) => Err(visitor.finish(refused.into_response()).into()),
    })
}

/// Refuses a request with another method than these.
pub(super) fn methods_only<B>(request: &Request<B>, methods: &'static str) -> Result<(), Refused> {
    if !methods.split(", ").any(|method| request.method() == method) {
        let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadRequest, "not with this method");
        return Err(refused.header(header::ALLOW, HeaderValue::from_static(methods)));
    }
    Ok(())
}

fn check<B>(request: &Request<B>, methods: &'static str) -> Result<(), Refused> {
    methods_only(request, methods)?;
    if is_upgrade(request) {
        // Attack line H18.
        return Err(bad_request("this is no WebSocket"));
    }
    if request.headers().get_all(header::CONTENT_ENCODING).into_iter().any(|value| value != "identity") {
        let message = "a body is not compressed here";
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::BadRequest, message));
    }
    Ok(())
}

impl Asked {
    fn read<B>(request: &Request<B>, endpoint: Endpoint) -> Result<Self, Refused> {
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        let count = |name| Ok::<_, Refused>(query.number(name, 0, usize::MAX)?.map(|count| count as u64));
        // What cannot be the name of a conversation is not that of one.
        let id = query.get("id")?.map(|id| id.parse().map_err(|_| unknown())).transpose()?;
        let Endpoint::Hear(transport) = endpoint else {
            let id = id.ok_or_else(|| bad_request("id names the conversation"))?;
            let numbering = count("sent")?.map_or(Numbering::Unnumbered, Numbering::After);
            return Ok(match endpoint {
                Endpoint::Leave => Self::Leave(id),
                _ => Self::Say { id, numbering, received: count("received")? },
            });
        };
        let pad = query.number("pad", 0, MAX_PAD)?.unwrap_or_default();
        // An `EventSource` comes back by itself, to the URL that it was made with.
        let last = request.headers().get("last-event-id").filter(|_| transport == Transport::Events);
        if let Some((id, received)) = last.and_then(|id| id.to_str().ok()).and_then(native::parse_last_event_id) {
            return Ok(Self::ComeBack(transport, pad, id, Resume::After(received)));
        }
        let resume = count("received")?.map_or(Resume::Unchecked, Resume::After);
        Ok(id.map_or(Self::Open(transport, pad), |id| Self::ComeBack(transport, pad, id, resume)))
    }
}

impl Call {
    pub(super) fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    pub(super) fn max_body(&self, pipes: &Pipes) -> usize {
        match self.asked {
            Asked::Say { .. } => pipes.options.max_body,
            // What `navigator.sendBeacon` may send.
            Asked::Leave(_) => 1024,
            Asked::Open(..) | Asked::ComeBack(..) => 0,
        }
    }

    /// Carries it out.
    pub(super) async fn perform(self, body: Bytes, held: Held, worker: &Worker) -> Answer {
        let visitor = self.visitor;
        let done = match worker.pipes() {
            Some(pipes) => perform(self.service, &visitor, self.asked, (body, held), pipes, worker).await,
            None => Err(unknown()),
        };
        match done {
            Ok(Answer::Full(response)) => Answer::Full(visitor.finish(response)),
            Ok(Answer::Stream(Streaming { head, prelude, body, is_poll })) => {
                Answer::Stream(Streaming { head: visitor.finish(head), prelude, body, is_poll })
            }
            Err(refused) => Answer::Full(visitor.finish(refused.into_response())),
        }
    }
}

async fn perform(
    service: Service,
    visitor: &Visitor,
    asked: Asked,
    (body, held): (Bytes, Held),
    pipes: &Arc<Pipes>,
    worker: &Worker,
) -> Result<Answer, Refused> {
    match asked {
        Asked::Open(transport, pad) => {
            let id = ConversationId::from_random(rand::random());
            let body = open(service, visitor, pipes.wire(transport, id), held, pipes, worker).await?;
            Ok(stream(transport, pad, body))
        }
        Asked::ComeBack(transport, pad, id, resume) => {
            let pipe = find(pipes, visitor, id)?;
            let receiver = pipe.attach(pipes.wire(transport, id), pipes.kind(transport), resume, held);
            let receiver = receiver.map_err(|_: AttachError| unknown())?;
            Ok(stream(transport, pad, Box::new(receiver)))
        }
        Asked::Say { id, numbering, received } => {
            let messages = native::messages(&body).map_err(|error| match error {
                BadMessages::Broken => bad_request("the body is a JSON array of messages"),
                BadMessages::TooMany => too_big("at most 1,024 messages come in one request"),
            })?;
            let most = worker.config(service).connection.limits.max_message;
            if messages.iter().any(|message| message.len() > most) {
                return Err(too_big("a message is larger than this takes"));
            }
            find(pipes, visitor, id)?.receive(numbering, messages, received).map_err(|error| match error {
                ReceiveError::Full(_) => passing(ErrorCode::Unavailable, "what was sent before has to be taken first"),
                ReceiveError::Gap => Problem::new(ErrorCode::PositionLost, "messages before these are missing").into(),
                ReceiveError::Gone => unknown(),
            })?;
            Ok(Answer::Full(no_content()))
        }
        Asked::Leave(id) => {
            find(pipes, visitor, id)?.leave();
            Ok(Answer::Full(no_content()))
        }
    }
}

/// Opens a conversation, whose session lives on this worker.
async fn open(
    service: Service,
    visitor: &Visitor,
    framing: Wire,
    held: Held,
    pipes: &Arc<Pipes>,
    worker: &Worker,
) -> Result<Box<dyn Outflow>, Refused> {
    let stopping = || passing(ErrorCode::Unavailable, "the server is stopping");
    let seat =
        worker.seat(service).await.map_err(|_| passing(ErrorCode::Unavailable, "there is no place at the moment"))?;
    if worker.stop().is_cancelled() {
        return Err(stopping());
    }
    let opening = Opening {
        name: framing.id,
        binding: visitor.binding,
        config: Arc::clone(&pipes.config),
        high_water: pipes.high_water(service),
        lingers: true,
        texts: if service == Service::Hub { Texts::Plain } else { Texts::Quoted },
        kind: pipes.kind(framing.transport),
        framing,
        held,
    };
    let (end, receiver) = pipes.native.open(opening, worker.stop()).map_err(|error| match error {
        OpenError::TooManyOfBinding => passing(ErrorCode::RateLimited, "too many conversations from this address"),
        OpenError::Taken | OpenError::TooMany => passing(ErrorCode::Limit, "too many conversations"),
    })?;
    worker.host(seat, end, ());
    Ok(Box::new(receiver))
}

fn find(pipes: &Pipes, visitor: &Visitor, id: ConversationId) -> Result<Arc<Pipe<Wire>>, Refused> {
    pipes.native.find(now(), &id, &visitor.binding).map_err(|missing| match missing {
        // Somebody else's looks like none (attack line H1).
        Missing::Unknown | Missing::Theirs => unknown(),
        Missing::TooManyGuesses => passing(ErrorCode::RateLimited, "too many wrong names from this address"),
    })
}

impl Pipes {
    fn wire(&self, transport: Transport, id: ConversationId) -> Wire {
        Wire { transport, id, heartbeat: self.options.heartbeat }
    }

    fn kind(&self, transport: Transport) -> ReceiverKind {
        match transport {
            Transport::Poll => ReceiverKind::Poll,
            Transport::Events | Transport::Stream => ReceiverKind::Streaming { limit: self.options.response_limit },
        }
    }
}

/// The response that a conversation is heard by.
fn stream(transport: Transport, pad: usize, body: Box<dyn Outflow>) -> Answer {
    let prelude = match transport {
        _ if pad == 0 => Bytes::new(),
        Transport::Events => format!(":{}\n\n", " ".repeat(pad)).into(),
        Transport::Stream => format!("{}\n", " ".repeat(pad)).into(),
        // It is whole at once, so nothing holds it back.
        Transport::Poll => Bytes::new(),
    };
    let is_poll = transport == Transport::Poll;
    Answer::Stream(Streaming { head: head(transport.content_type()), prelude, body, is_poll })
}

fn unknown() -> Refused {
    Problem::new(ErrorCode::NotFound, "there is no such conversation").into()
}

fn bad_request(message: &'static str) -> Refused {
    Problem::bad_request(message).into()
}

fn too_big(message: &'static str) -> Refused {
    Problem::new(ErrorCode::TooBig, message).into()
}

fn passing(code: ErrorCode, message: &'static str) -> Refused {
    Problem::passing(code, message, SOON).into()
}
