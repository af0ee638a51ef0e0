//! The session's end of a conversation: what it speaks over, as it would over a WebSocket.
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use bytestring::ByteString;
use sockeye::{CloseCode, CloseReason, Error, Message, Prepared, SendError, Utf8Bytes};
use sockeye_pipe::{Cause, Event, Farewell, Framing};
use tokio::{
    net::TcpStream,
    time::{Sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    registry::Listed,
    shared::{self, Pipe, State, Waiting, now},
};
use crate::talk::Talk;

/// The session's end. Its task polls it, which is how time passes for the conversation; dropped, the conversation is over.
pub(crate) struct End<F: Framing> {
    pipe: Arc<Pipe<F>>,
    timer: Option<Pin<Box<Sleep>>>,
    texts: Texts,
    lingers: bool,
    is_over: bool,
    stop: CancellationToken,
    /// Its place among all conversations.
    _listed: Box<dyn Listed>,
}

/// How messages of the session become those of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// As they are.
    Plain,
    /// As strings of JSON, where frames hold nothing but JSON, and the messages are any text.
    Quoted,
}

impl<F: Framing> End<F> {
    pub(super) fn new(
        pipe: Arc<Pipe<F>>,
        (texts, lingers): (Texts, bool),
        stop: CancellationToken,
        listed: Box<dyn Listed>,
    ) -> Self {
        Self { pipe, timer: None, texts, lingers, is_over: false, stop, _listed: listed }
    }

    fn send(&self, message: &Message) -> Result<(), SendError<()>> {
        let Message::Text(text) = message else {
            // Nobody says such a thing to a client that has said nothing like it.
            debug!("conversations over HTTP carry texts only");
            return Err(SendError::Closed(()));
        };
        let text = match self.texts {
            Texts::Plain => shared(text),
            // A string is always JSON.
            Texts::Quoted => serde_json::to_string(text.as_str()).unwrap_or_default().into(),
        };
        let mut state = self.pipe.lock();
        let sent = state.conversation.send(text);
        state.has_queued();
        sent.map_err(|refused| match refused {
            sockeye_pipe::SendError::Full(_) => SendError::Full(()),
            sockeye_pipe::SendError::Closed(_) => SendError::Closed(()),
        })
    }
}

impl<F: Framing + Send + 'static> Talk for End<F> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let mut state = self.pipe.lock();
        state.flush();
        attend(&mut self.timer, &mut state, cx);
        let event = match state.conversation.poll_event() {
            // Nobody can come any more to be told.
            None if state.end == shared::End::Told && (!self.lingers || self.stop.is_cancelled()) => {
                Event::Gone(Cause::Closed)
            }
            None => {
                // Who sends no more because too much is queued waits here as well.
                state.waits(&self.pipe.taken);
                return Poll::Pending;
            }
            Some(event) => event,
        };
        Poll::Ready(match event {
            Event::Message(text) => {
                self.pipe.taken.notify_waiters();
                Some(Ok(message(text)))
            }
            Event::Gone(cause) => {
                drop(state);
                self.is_over = true;
                lost(cause).map(Err)
            }
        })
    }

    fn try_recv(&mut self) -> Option<Message> {
        let mut state = self.pipe.lock();
        // What else it could be is for those who wait.
        if state.conversation.held_in().0 == 0 {
            return None;
        }
        match state.conversation.poll_event() {
            Some(Event::Message(text)) => {
                self.pipe.taken.notify_waiters();
                Some(message(text))
            }
            _ => None,
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.pipe.lock();
        state.flush();
        attend(&mut self.timer, &mut state, cx);
        if !state.conversation.is_open() {
            return Poll::Ready(Err(SendError::Closed(()).into()));
        }
        if state.has_room() {
            state.waiting = Waiting::Not;
            return Poll::Ready(Ok(()));
        }
        state.waits(&self.pipe.taken);
        Poll::Pending
    }

    fn stage(&self) -> Option<(Arc<TcpStream>, Bytes)> {
        self.pipe.lock().stage()
    }

    fn is_flushed(&self) -> bool {
        self.pipe.lock().is_flushed()
    }

    fn staged(&mut self, count: usize) {
        self.pipe.lock().staged(count);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.pipe.lock();
        state.flush();
        // Who is under pressure polls nothing else; most who flush have no time to lose with it.
        if self.timer.as_ref().is_none_or(|timer| timer.is_elapsed()) {
            attend(&mut self.timer, &mut state, cx);
        }
        Poll::Ready(Ok(()))
    }

    fn buffered_amount(&self) -> usize {
        self.pipe.lock().conversation.buffered_amount()
    }

    fn try_send(&mut self, message: Message) -> Result<(), SendError<Message>> {
        self.send(&message).map_err(|refused| match refused {
            SendError::Full(()) => SendError::Full(message),
            _ => SendError::Closed(message),
        })
    }

    fn try_send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError<()>> {
        self.send(prepared.message())
    }

    fn start_close(&mut self, code: CloseCode, reason: impl Into<CloseReason>) {
        let reason: CloseReason = reason.into();
        let mut state = self.pipe.lock();
        state.conversation.close(now(), Farewell::new(code.get(), reason.as_str()));
        state.has_queued();
        state.flush();
        // For the time until which it can still be heard.
        state.wake_session();
        // Nothing waits for the session any more: whoever wants to say something need not either.
        self.pipe.taken.notify_waiters();
    }
}

/// However the session ends, no client waits for it in vain.
impl<F: Framing> Drop for End<F> {
    fn drop(&mut self) {
        self.pipe.abandon();
    }
}

/// Does what is due, and has the task woken for what is due next.
fn attend<F: Framing>(timer: &mut Option<Pin<Box<Sleep>>>, state: &mut State<F>, cx: &mut Context<'_>) {
    state.session_is(cx.waker());
    loop {
        let Some(deadline) = state.conversation.deadline() else {
            (*timer, state.armed) = (None, None);
            return;
        };
        let now = now();
        if deadline <= now {
            state.handle_timeout(now);
            continue;
        }
        // One that fires too early is set anew then: most deadlines move on with each message.
        let sleep = match timer {
            Some(sleep) if state.armed.is_some_and(|armed| armed <= deadline) => sleep,
            Some(sleep) => {
                sleep.as_mut().reset(deadline.into());
                state.armed = Some(deadline);
                sleep
            }
            None => {
                state.armed = Some(deadline);
                timer.insert(Box::pin(sleep_until(deadline.into())))
            }
        };
        if sleep.as_mut().poll(cx).is_pending() {
            return;
        }
        state.armed = None;
    }
}

/// What the session is told of an end that was not clean.
fn lost(cause: Cause) -> Option<Error> {
    let why = match cause {
        Cause::Closed | Cause::Left => return None,
        Cause::Dropped => "the response of a conversation broke",
        Cause::Deserted => "the client of a conversation did not come back",
        Cause::Stalled => "the client of a conversation took too little",
    };
    Some(io::Error::new(io::ErrorKind::ConnectionAborted, why).into())
}

/// A text as conversations have it, without a copy.
fn shared(text: &Utf8Bytes) -> ByteString {
    // It is a text already.
    ByteString::try_from(Bytes::from(text.clone())).unwrap_or_default()
}

fn message(text: ByteString) -> Message {
    Message::Text(Utf8Bytes::try_from(text.into_bytes()).unwrap_or_default())
}
