//! [`Receiver`]: the half of a socket that receives.
use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::{FusedStream, Stream};
use sockeye_proto::{
    CloseCode, CloseFrame, CloseOutcome, CloseReason, Event, Message, ReadyState, ReceiveHalf, ReceiveOutput, Reply,
    Role,
};
use tokio::{net::TcpStream, task::coop};

use super::{SplitTransport, shared::Shared};
use crate::{
    Error,
    buffer::Rest,
    drive::outcome,
    streaming::Reading,
    timer::{Timer, now},
    transfer,
};

/// The half of a [`WebSocket`](crate::WebSocket) that receives; see [`WebSocket::split`](crate::WebSocket::split).
///
/// While [`recv`](Self::recv) is being awaited it reads, answers pings and Close frames, and holds every deadline, whatever the
/// [`Sender`](super::Sender) does. It never waits for the sender.
///
/// When it is dropped, the sender can still send, but nobody reads: pings are not answered, a Close frame is not seen, and a
/// peer that goes on sending gets stuck.
///
/// # Cancel safety
///
/// As with the [`WebSocket`](crate::WebSocket#cancel-safety): dropping the future of any method loses nothing.
pub struct Receiver<S: SplitTransport = TcpStream> {
    pub(super) io: S::Read,
    pub(super) half: ReceiveHalf,
    pub(super) rest: Rest,
    timer: Timer,
    pub(super) failure: Option<io::Error>,
    pub(super) end: Option<Box<Result<CloseOutcome, ()>>>,
    /// A message of which a reader has left the rest; it is passed over.
    pub(super) reading: Option<Box<Reading>>,
    pub(super) shared: Arc<Shared<S::Write>>,
}

impl<S: SplitTransport> Receiver<S> {
    pub(super) fn new(
        io: S::Read,
        half: ReceiveHalf,
        rest: Rest,
        failure: Option<io::Error>,
        end: Option<Box<Result<CloseOutcome, ()>>>,
        reading: Option<Box<Reading>>,
        shared: Arc<Shared<S::Write>>,
    ) -> Self {
        Self { io, half, rest, timer: Timer::default(), failure, end, reading, shared }
    }

    /// Waits for the next message. `None` after a clean close, whoever began it: see [`close_outcome`](Self::close_outcome).
    ///
    /// # Errors
    /// If the peer breaks the protocol or a limit, goes silent, or the transport fails. The peer has then been told why, as
    /// far as it listens; further calls return `None`.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// The next message if it came together with the last one; never touches the transport. `None` means: not here yet, or
    /// not a message.
    pub fn try_recv(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.half.take_message() {
                return Some(message);
            }
            if self.rest.feed(|input, read_at| self.half.handle_input(input, read_at)) == 0 {
                return None;
            }
        }
    }

    /// [`recv`](Self::recv) for those who write futures by hand.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        self.poll_message(cx).map(Result::transpose)
    }

    /// Closes the connection as [`WebSocket::close`](crate::WebSocket::close) does: what the sender has queued leaves, then a
    /// Close frame; messages that still come are dropped.
    ///
    /// # Errors
    /// If the peer breaks the protocol meanwhile, or if the connection had ended with an error before.
    ///
    /// # Cancel safety
    /// The Close frame is on its way at once. Call it again, or [`recv`](Self::recv), to go on waiting.
    pub async fn close(&mut self, code: CloseCode, reason: impl Into<CloseReason>) -> Result<CloseOutcome, Error> {
        self.start_close(code, reason);
        while poll_fn(|cx| self.poll_message(cx)).await?.is_some() {}
        self.close_outcome().cloned().ok_or_else(Error::closed)
    }

    /// Starts the closing handshake and returns; [`recv`](Self::recv) then gives the messages that still come, and `None` at
    /// the end. The Close frame leaves while either half is polled. Does nothing if the connection is closing.
    pub fn start_close(&mut self, code: CloseCode, reason: impl Into<CloseReason>) {
        self.hear();
        self.half.start_close(Some(CloseFrame::new(code, reason)), now());
        if self.half.has_reply()
            && let ReceiveOutput::Reply(reply) = self.half.poll_output()
        {
            self.shared.slot.leave(Some(reply));
        }
    }

    /// How the connection was closed, once it is: what the peer's Close frame said, who began.
    #[must_use]
    pub fn close_outcome(&self) -> Option<&CloseOutcome> {
        self.end.as_ref()?.as_ref().as_ref().ok()
    }

    /// Where the connection is in its life, as far as this half has heard.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        self.half.ready_state()
    }

    /// The subprotocol agreed upon.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.shared.agreed.protocol()
    }

    /// The extensions agreed upon, in the form of the `Sec-WebSocket-Extensions` header; empty if there are none.
    #[must_use]
    pub fn extensions(&self) -> &str {
        self.shared.agreed.extensions()
    }

    /// The URL it was connected to; `None` at the server's end.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.shared.agreed.url()
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.half.role()
    }

    /// The transport's half, for looking at.
    #[must_use]
    pub fn get_ref(&self) -> &S::Read {
        &self.io
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        // Once a poll is enough: whoever holds the write side meanwhile writes for both.
        let mut has_helped = false;
        loop {
            self.hear();
            match self.half.poll_output() {
                ReceiveOutput::Reply(reply) => {
                    self.leave(cx, Some(reply));
                    continue;
                }
                ReceiveOutput::Event(Event::Message(message)) => return Poll::Ready(Ok(Some(message))),
                ReceiveOutput::Event(Event::Closed(result)) => return Poll::Ready(self.ended(result)),
                ReceiveOutput::Event(event) => {
                    if matches!(event, Event::Part(part) if part.fin) {
                        self.reading = None;
                    }
                    continue;
                }
                _ => {}
            }
            if self.end.is_some() {
                return Poll::Ready(Ok(None));
            }
            if !self.rest.is_empty() {
                ready!(coop::poll_proceed(cx)).made_progress();
                self.rest.feed(|input, read_at| self.half.handle_input(input, read_at));
                continue;
            }
            let (help, write_due) = {
                let news = self.shared.board.lock();
                (news.help, news.write_due)
            };
            if help && !has_helped {
                has_helped = true;
                self.leave(cx, None);
                continue;
            }
            if self.poll_read(cx).is_ready() || self.shared.board.poll_fresh(cx).is_ready() {
                continue;
            }
            // One that has passed already is being looked at.
            let write_due = write_due.filter(|due| !has_helped || *due > now());
            ready!(self.timer.poll(cx, self.half.deadline().into_iter().chain(write_due).min()));
            let now = now();
            if write_due.is_some_and(|due| due <= now) {
                has_helped = true;
                self.leave(cx, None);
            }
            self.half.handle_timeout(now);
        }
    }

    /// Hands a reply to the write side, or only sees to it that something leaves. The transport may have to wake this task.
    fn leave(&mut self, cx: &Context<'_>, reply: Option<Reply>) {
        self.shared.wakers.receiver.register(cx.waker());
        self.shared.slot.leave(reply);
    }

    /// Takes up what sending has to tell.
    fn hear(&mut self) {
        if let Some(failure) = self.shared.board.hear(&mut self.half) {
            self.failure.get_or_insert(failure);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { io, half, rest, failure, shared, .. } = self;
        let hear = |half: &mut ReceiveHalf| {
            // The peer may answer what was sent since.
            if let Some(new) = shared.board.hear(half) {
                failure.get_or_insert(new);
            }
        };
        match ready!(transfer::poll_read(io, half, rest, cx, hear)) {
            Ok(true) => {}
            Ok(false) => {
                self.hear();
                self.half.handle_eof(now());
            }
            Err(error) => {
                self.hear();
                self.failure.get_or_insert(error);
                self.half.handle_eof(now());
            }
        }
        Poll::Ready(())
    }

    fn ended(&mut self, result: Result<CloseOutcome, sockeye_proto::Error>) -> Result<Option<Message>, Error> {
        self.end = Some(Box::new(result.clone().map_err(|_| ())));
        self.shared.board.lock().ended = true;
        outcome(result, self.failure.take()).map(|_| None)
    }
}

/// [`Receiver::recv`] as a stream: it ends after a clean close, or after the error.
impl<S: SplitTransport<Read: Unpin>> Stream for Receiver<S> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<S: SplitTransport> FusedStream for Receiver<S> {
    fn is_terminated(&self) -> bool {
        self.ready_state() == ReadyState::Closed
    }
}

impl<S: SplitTransport> fmt::Debug for Receiver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("half", &self.half).field("url", &self.url()).finish_non_exhaustive()
    }
}
