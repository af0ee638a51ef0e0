//! [`Sender`]: the half of a socket that sends.
use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_sink::Sink;
use sockeye_proto::{
    CloseCode, CloseFrame, CloseReason, ControlPayload, Message, Prepared, ReadyState, Role, SendError,
};
use tokio::net::TcpStream;

use super::{
    SplitTransport,
    shared::{Shared, WriteSide},
};
use crate::{
    Error,
    timer::{Timer, now},
};

/// The half of a [`WebSocket`](crate::WebSocket) that sends; see [`WebSocket::split`](crate::WebSocket::split).
///
/// Its methods write, and hold the deadlines of writing. Pongs and the answer to a Close frame leave without it: the
/// [`Receiver`](super::Receiver) sees to that, also while this half waits for a transport that takes no more, or is idle.
///
/// When it is dropped, what it has queued still leaves while the receiver is polled. The connection stays open: call
/// [`close`](Self::close) first, or drop both, to end it.
///
/// # Cancel safety
///
/// As with the [`WebSocket`](crate::WebSocket#cancel-safety): dropping the future of any method loses and tears nothing.
pub struct Sender<S: SplitTransport = TcpStream> {
    pub(super) shared: Arc<Shared<S::Write>>,
    timer: Timer,
}

impl<S: SplitTransport> Sender<S> {
    pub(super) fn new(shared: Arc<Shared<S::Write>>) -> Self {
        Self { shared, timer: Timer::default() }
    }

    /// Sends a message: [`feed`](Self::feed), then [`flush`](Self::flush). When it returns, the transport has taken it.
    ///
    /// # Errors
    /// [`Error::is_closed`] if the connection is closing, or why the transport failed. The receiver is told of a failure too.
    ///
    /// # Cancel safety
    /// The message is taken whole or not at all; once it is taken it will leave with the next call of any method. It is
    /// taken at once unless the queue is above [`high_water`](crate::Limits::high_water).
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.feed(message).await?;
        self.flush().await
    }

    /// Queues a message without flushing. It leaves at the next [`flush`](Self::flush), or together with a pong.
    ///
    /// Waits while more than [`high_water`](crate::Limits::high_water) bytes are queued.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.ready().await?;
        Ok(self.try_send(message)?)
    }

    /// Sends a message that was encoded before, such as one that goes to many.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        self.ready().await?;
        self.try_send_prepared(prepared)?;
        self.flush().await
    }

    /// Queues a message without waiting, or gives it back.
    ///
    /// # Errors
    /// As [`WebSocket::try_send`](crate::WebSocket::try_send).
    pub fn try_send(&mut self, message: impl Into<Message>) -> Result<(), SendError<Message>> {
        let message = message.into();
        self.shared.with(|side| side.half.send(message))
    }

    /// [`try_send`](Self::try_send) for a message that was encoded before.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError<()>> {
        self.shared.with(|side| side.half.send_prepared(prepared))
    }

    /// Waits until at most [`high_water`](crate::Limits::high_water) bytes are queued.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let high_water = self.shared.with(|side| {
            let limits = &side.half.config().limits;
            limits.high_water.min(limits.max_write_queue)
        });
        ready!(self.poll_drain(cx, high_water));
        Poll::Ready(self.shared.with(|side| match side.failure.take() {
            Some(failure) => Err(failure),
            None if side.half.is_open() => Ok(()),
            None => Err(Error::closed()),
        }))
    }

    /// Waits until all that is queued has been taken by the transport.
    ///
    /// # Errors
    /// Why the transport failed; [`Error::is_closed`] if it had ended before with some of what was queued.
    ///
    /// # Cancel safety
    /// Nothing is lost; the rest leaves with the next call of any method.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_drain(cx, 0));
        Poll::Ready(self.shared.with(|side| match side.failure.take() {
            Some(failure) => Err(failure),
            None if side.half.discarded_amount() > 0 => Err(Error::closed()),
            None => Ok(()),
        }))
    }

    /// Sends a ping with up to 125 bytes of payload. The peer's pong is taken note of, not returned.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// The ping is queued at once.
    pub async fn ping(&mut self, payload: ControlPayload) -> Result<(), Error> {
        self.try_ping(payload)?;
        self.flush().await
    }

    /// Queues a ping without waiting; one that has not left yet is replaced.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the connection is closing.
    pub fn try_ping(&mut self, payload: ControlPayload) -> Result<(), SendError<ControlPayload>> {
        self.shared.with(|side| {
            let result = side.half.ping(payload);
            side.tell();
            result
        })
    }

    /// Starts the closing handshake: flushes what is queued, with a Close frame behind it. It does not wait for the peer's:
    /// the [`Receiver`](super::Receiver) sees that, and the end. Does nothing more if the connection is closing already. A
    /// reason is cut at 123 bytes.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    /// The Close frame is queued at once, and leaves while the receiver is polled.
    pub async fn close(&mut self, code: CloseCode, reason: impl Into<CloseReason>) -> Result<(), Error> {
        self.start_close(code, reason);
        self.flush().await
    }

    /// Queues the Close frame and returns.
    pub fn start_close(&mut self, code: CloseCode, reason: impl Into<CloseReason>) {
        let frame = CloseFrame::new(code, reason);
        self.shared.with(|side| {
            side.half.start_close(Some(frame), now());
            side.hand_over();
        });
    }

    /// Where the connection is in its life.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        if self.shared.with(|side| side.half.is_open()) {
            return ReadyState::Open;
        }
        if self.shared.board.lock().ended { ReadyState::Closed } else { ReadyState::Closing }
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

    /// Bytes queued that the transport has not taken.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.shared.with(|side| side.half.buffered_amount())
    }

    /// Bytes that were queued and never left, because the connection ended or a deadline passed first.
    #[must_use]
    pub fn discarded_amount(&self) -> usize {
        self.shared.with(|side| side.half.discarded_amount())
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.shared.with(|side| side.half.role())
    }

    /// Ready once at most `left` bytes are queued, or the connection can send no more.
    fn poll_drain(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<()> {
        loop {
            let is_drained = self.shared.with(|side| {
                if !side.is_drained(left) {
                    self.shared.wakers.sender.register(cx.waker());
                    side.drive();
                }
                side.is_drained(left)
            });
            if is_drained {
                return Poll::Ready(());
            }
            let due = self.shared.board.lock().write_due;
            ready!(self.timer.poll(cx, due));
        }
    }
}

impl<S: SplitTransport> Drop for Sender<S> {
    fn drop(&mut self) {
        self.shared.with(WriteSide::hand_over);
    }
}

/// [`Sender::feed`] and [`Sender::flush`] as a sink. Closing it sends a Close frame with 1000 and flushes.
impl<S: SplitTransport> Sink<Message> for Sender<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Sender::poll_ready(self.get_mut(), cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.get_mut().try_send(message).map_err(Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Sender::poll_flush(self.get_mut(), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let sender = self.get_mut();
        sender.start_close(CloseCode::NORMAL, "");
        Sender::poll_flush(sender, cx)
    }
}

impl<S: SplitTransport> fmt::Debug for Sender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("url", &self.url()).finish_non_exhaustive()
    }
}
