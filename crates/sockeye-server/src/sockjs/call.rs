//! Requests for sessions: what is heard, and what is said.
use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use sockeye_pipe::{
    AttachError, Binding, Farewell, Found, Frame, Framing, Missing, OpenError, Output, ReceiveError, ReceiverKind,
    Resume,
    sockjs::{Cors, SessionEndpoint, Transport, jsonp_send, xhr_send},
};
use tokio::time::{Sleep, sleep};

use super::{Mount, Mounts};
use crate::{
    pipe::{Answer, Held, Opening, Outflow, Pipes, Streaming, Texts, now},
    worker::Worker,
};

/// A session's name: the place of its mount, and what its client calls it.
pub(crate) type Name = (u8, Box<str>);

/// Bytes of a body that says nothing: some clients send one where they only listen.
const IDLE_BODY: usize = 1_024;
/// How long a client that sends is kept waiting while the session has enough to do with what was sent before; and how long one
/// has to take that it is refused.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether a receiver that is in the way has gone: its client may have left it and come back, by a
/// connection that another worker has seen first.
const LOOKS: u32 = 11;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Buffering proxies of the nginx family are asked not to, for this response.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A request for a session, whose body, if any, is to be read.
pub(crate) struct Call {
    mounts: Arc<Mounts>,
    name: Name,
    binding: Binding,
    asked: Asked,
    cors: Cors,
    /// Those that the answer goes by.
    headers: HeaderMap,
}

/// What is asked of a session.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Hear(SessionEndpoint, Transport),
    Say(SessionEndpoint),
}

impl Call {
    pub(super) fn new<B>(
        (mounts, name): (Arc<Mounts>, Name),
        asked: Asked,
        cors: Cors,
        request: &Request<B>,
        (from, pipes): (Option<IpAddr>, &Pipes),
    ) -> Self {
        // To whom a session belongs the address says alone: what is no `XMLHttpRequest` often comes without an `Origin`.
        let binding = pipes.bind(from, mounts.at(name.0).map_or("", Mount::prefix));
        let kept = [header::ORIGIN, header::COOKIE, header::CONTENT_TYPE, header::ACCESS_CONTROL_REQUEST_HEADERS];
        let mut headers = HeaderMap::with_capacity(kept.len());
        for name in kept {
            for value in request.headers().get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        Self { mounts, name, binding, asked, cors, headers }
    }

    /// Bytes of the body that it takes, at most.
    pub(crate) fn max_body(&self) -> usize {
        match self.asked {
            Asked::Say(_) => self.mounts.at(self.name.0).map_or(0, |mount| mount.config.max_received_bytes),
            Asked::Hear(SessionEndpoint::Xhr | SessionEndpoint::XhrStreaming, _) => IDLE_BODY,
            Asked::Hear(..) => 0,
        }
    }

    /// How it is refused that its body is not what it may be.
    pub(crate) fn refuse(&self, status: StatusCode) -> Response<Bytes> {
        let why = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "The payload is too large.",
            StatusCode::REQUEST_TIMEOUT => "The payload did not come in time.",
            StatusCode::SERVICE_UNAVAILABLE => "Too much comes at once over this connection.",
            _ => "There is no payload here.",
        };
        self.mounts.at(self.name.0).map_or_else(unavailable, |mount| self.failed(mount, (status, why)))
    }

    /// Carries it out. `held` is what a response that is written for a while keeps as long as its client takes it.
    ///
    /// # Cancel safety
    /// Dropped, nobody hears the answer; a session that was opened for it ends by and by.
    pub(crate) async fn perform(self, body: Bytes, held: Held, worker: &Worker) -> Answer {
        let (Some(mount), Some(pipes)) = (self.mounts.at(self.name.0), worker.pipes()) else {
            return Answer::Full(unavailable());
        };
        match &self.asked {
            Asked::Say(endpoint) => Answer::Full(self.say(*endpoint, &body, mount, pipes).await),
            Asked::Hear(_, transport) => self.hear(transport, held, mount, pipes, worker).await,
        }
    }

    async fn say(&self, endpoint: SessionEndpoint, body: &[u8], mount: &Mount, pipes: &Pipes) -> Response<Bytes> {
        let (answers, headers) = (&mount.answers, &self.headers);
        let media_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
        let messages = match endpoint {
            SessionEndpoint::JsonpSend => jsonp_send(media_type, body),
            _ => xhr_send(media_type, body),
        };
        let messages = match messages {
            Ok(messages) => messages,
            Err(bad) => return answers.bad_payload(endpoint, bad, headers, self.cors),
        };
        if messages.iter().any(|message| message.len() > mount.max_message) {
            return self.failed(mount, (StatusCode::PAYLOAD_TOO_LARGE, "A message is too large."));
        }
        let pipe = match pipes.sockjs.find(now(), &self.name, &self.binding) {
            Ok(pipe) => pipe,
            // Somebody else's looks like none.
            Err(Missing::Unknown | Missing::Theirs) => return answers.no_session(endpoint, headers, self.cors),
            Err(Missing::TooManyGuesses) => {
                return self.failed(mount, (StatusCode::TOO_MANY_REQUESTS, "Too many sessions that are not there."));
            }
        };
        match pipe.receive_within(PATIENCE, messages).await {
            Ok(()) => answers.sent(endpoint, headers, self.cors),
            Err(ReceiveError::Full(_)) => {
                self.failed(mount, (StatusCode::SERVICE_UNAVAILABLE, "What was sent before has to be taken first."))
            }
            Err(ReceiveError::Gap | ReceiveError::Gone) => answers.no_session(endpoint, headers, self.cors),
        }
    }

    async fn hear(&self, transport: &Transport, held: Held, mount: &Mount, pipes: &Pipes, worker: &Worker) -> Answer {
        let mut looks = 1..LOOKS;
        let body = loop {
            let looked = match pipes.sockjs.lock().look(&self.name, &self.binding) {
                Found::Yours(pipe) => Some(Arc::clone(pipe)),
                Found::Nothing => None,
                // It is as if it were in use: whoever it belongs to, there is nothing in it for this client.
                Found::Theirs => break Once::told(transport.encode(&Frame::Close(still_open()))),
            };
            let Some(pipe) = looked else {
                return match self.open(transport, held, mount, pipes, worker).await {
                    Ok(body) => self.stream(transport, body, mount),
                    Err(refused) => Answer::Full(self.failed(mount, refused)),
                };
            };
            if pipe.is_free() || looks.next().is_none() {
                let kind = transport.receiver_kind(mount.response_limit);
                break match pipe.attach(transport.clone(), kind, Resume::Unchecked, held) {
                    Ok(receiver) => Box::new(receiver),
                    Err(AttachError::Busy(told)) => Once::told(told),
                    Err(AttachError::Gone) => return Answer::Full(self.failed(mount, A_MOMENT)),
                };
            }
            sleep(BETWEEN_LOOKS).await;
        };
        self.stream(transport, body, mount)
    }

    /// Opens a session, which lives on this worker.
    async fn open(
        &self,
        transport: &Transport,
        held: Held,
        mount: &Mount,
        pipes: &Pipes,
        worker: &Worker,
    ) -> Result<Box<dyn Outflow>, Failure> {
        let seat = worker.seat(mount.service).await.map_err(|_| A_MOMENT)?;
        if worker.stop().is_cancelled() {
            return Err(A_MOMENT);
        }
        let opening = Opening {
            name: self.name.clone(),
            binding: self.binding,
            config: Arc::clone(&mount.config),
            high_water: pipes.high_water(mount.service),
            texts: Texts::Plain,
            lingers: true,
            framing: transport.clone(),
            kind: transport.receiver_kind(mount.response_limit),
            held,
        };
        match pipes.sockjs.open(opening, worker.stop()) {
            Ok((end, receiver)) => {
                worker.host(seat, end, ());
                Ok(Box::new(receiver))
            }
            // By another request of the same client, a moment ago: its receiver is in the way.
            Err(OpenError::Taken) => Ok(Once::told(transport.encode(&Frame::Close(still_open())))),
            Err(OpenError::TooMany) => Err((StatusCode::SERVICE_UNAVAILABLE, "There are too many sessions.")),
            Err(OpenError::TooManyOfBinding) => {
                Err((StatusCode::TOO_MANY_REQUESTS, "There are too many sessions of this address."))
            }
        }
    }

    fn stream(&self, transport: &Transport, body: Box<dyn Outflow>, mount: &Mount) -> Answer {
        let mut head = mount.answers.receiving(transport, &self.headers, self.cors);
        head.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        let is_poll = transport.receiver_kind(mount.response_limit) == ReceiverKind::Poll;
        Answer::Stream(Streaming { head, prelude: transport.prelude(), body, is_poll })
    }

    fn failed(&self, mount: &Mount, failure: Failure) -> Response<Bytes> {
        let (Asked::Hear(endpoint, _) | Asked::Say(endpoint)) = self.asked;
        mount.answers.failed(endpoint, failure, &self.headers, self.cors)
    }
}

/// A status, and what people are told.
type Failure = (StatusCode, &'static str);

const A_MOMENT: Failure = (StatusCode::SERVICE_UNAVAILABLE, "Try again in a moment.");

fn still_open() -> Farewell {
    Farewell::new(2010, "Another connection still open")
}

fn unavailable() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// A response of one frame to who is not the session's receiver.
struct Once {
    frame: Bytes,
    /// For what comes before the frame to be taken.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Once {
    fn told(frame: Bytes) -> Box<dyn Outflow> {
        Box::new(Self { frame, timer: None })
    }
}

impl Outflow for Once {
    fn poll_output(&mut self, _: &mut Context<'_>, _: usize) -> Poll<Output> {
        Poll::Ready(Output::Last(std::mem::take(&mut self.frame)))
    }

    /// The end of the response has its own time; this is for the head, and the prelude of some transports.
    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.get_or_insert_with(|| Box::pin(sleep(PATIENCE))).as_mut().poll(cx)
    }

    fn finished(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::io;

    use http::Version;
    use tokio::{
        io::duplex,
        time::{Instant, timeout},
    };

    use super::*;
    use crate::pipe::http1::Writing;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_take_that_it_is_refused_is_given_up() {
        let (near, _far) = duplex(16);
        let body = Once::told(Transport::XhrStreaming.encode(&Frame::Close(still_open())));
        let head = Response::new(());
        let answer = Streaming { head, prelude: Transport::XhrStreaming.prelude(), body, is_poll: false };
        let start = Instant::now();
        let writing = Writing::new(near, (answer, Version::HTTP_11), Bytes::new(), Duration::from_secs(1));
        let ended = timeout(PATIENCE * 2, writing).await.expect("it has an end");
        assert_eq!(ended.map(|_| ()).map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    }
}
