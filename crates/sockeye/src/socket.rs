//! [`WebSocket`]: a connection one can receive from and send to.
use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use sockeye_proto::{
    CloseCode, CloseFrame, CloseOutcome, CloseReason, Connection, ControlPayload, Event, Message, Prepared, ReadyState,
    Role, SendError,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{Error, Transport, agreed::Agreed, drive::Driver, streaming::Reading, timer::now};

/// A WebSocket connection over the transport `S`.
///
/// It comes from [`connect`](crate::connect), [`accept`](crate::accept) or one of their longer forms. Nothing runs in the
/// background, and an idle connection owns no buffer. While [`recv`](Self::recv) or [`close`](Self::close) is being awaited,
/// it reads, writes, answers pings and Close frames, and holds every deadline. The methods that send only write, and hold
/// the deadlines of writing: two ends that both send without receiving wait for each other until
/// [`write_timeout`](crate::Limits::write_timeout).
///
/// # Cancel safety
///
/// Dropping the future of any method at any await loses nothing that was received and tears nothing that is being sent:
/// what is unfinished stays in the `WebSocket`. So all of them may be used in `tokio::select!`. Where a message is handed
/// over, the method says when it is taken.
///
/// ```
/// # async fn run(stream: tokio::net::TcpStream) -> Result<(), sockeye::Error> {
/// let mut socket = sockeye::accept(stream).await?;
/// while let Some(message) = socket.recv().await? {
///     socket.send(message).await?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct WebSocket<S = TcpStream> {
    pub(crate) driver: Driver<S>,
    pub(crate) agreed: Agreed,
    /// A message that is being handed out as it comes.
    pub(crate) reading: Option<Box<Reading>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    pub(crate) fn new(io: S, connection: Connection, rest: &[u8], agreed: Agreed) -> Self {
        Self { driver: Driver::new(io, connection, rest), agreed, reading: None }
    }

    /// For the last of the opening handshake.
    pub(crate) fn transport_mut(&mut self) -> &mut S {
        &mut self.driver.io
    }

    /// Waits for the next message. `None` after a clean close, whoever began it: see [`close_outcome`](Self::close_outcome).
    /// What a [`reader`](Self::reader) has left of a message is passed over.
    ///
    /// Queued messages are flushed before it waits.
    ///
    /// # Errors
    /// If the peer breaks the protocol or a limit, goes silent, or the transport fails. The peer has then been told why, as
    /// far as it listens. Of all methods one call, whichever meets it first, returns this error; after it `recv` returns
    /// `None`, [`close`](Self::close) and those that send return an error that [`is_closed`](Error::is_closed), and
    /// [`close_outcome`](Self::close_outcome) stays `None`.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// The next message if it came together with the last one; never touches the transport. `None` means: not here yet, or
    /// not a message. Answering all that came at once before [`recv`](Self::recv) is awaited again spares a turn for each.
    ///
    /// At most what one read brings (68 KiB) comes this way. Replies that are owed, and anything queued, wait for the next call
    /// of another method. Nothing comes this way while a [`reader`](Self::reader) has left something of a message.
    pub fn try_recv(&mut self) -> Option<Message> {
        if self.reading.is_some() {
            // What comes next must not overtake what a reader has left.
            return None;
        }
        if self.driver.connection.is_streaming() {
            self.stop_streaming();
        }
        self.driver.take_message()
    }

    /// [`recv`](Self::recv) with the pings and pongs that come as well: for tools that show or time them. Pings are answered
    /// already; the end is `None`, never [`Event::Closed`]; and messages are whole, never [`Event::Part`].
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        if self.driver.connection.is_streaming() || self.reading.is_some() {
            self.stop_streaming();
        }
        let event = poll_fn(|cx| self.poll_whole(cx)).await?;
        Ok(event.filter(|event| !matches!(event, Event::Closed(_))))
    }

    /// [`recv`](Self::recv) for those who write futures by hand.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        self.poll_message(cx).map(Result::transpose)
    }

    #[inline]
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        // At its end a connection streams no more, but something of a message may have been left here.
        if self.driver.connection.is_streaming() || self.reading.is_some() {
            self.stop_streaming();
        }
        loop {
            match ready!(self.driver.poll_event(cx)) {
                Ok(Some(Event::Message(message))) => return Poll::Ready(Ok(Some(message))),
                Ok(Some(Event::Closed(_)) | None) => return Poll::Ready(Ok(None)),
                Ok(Some(Event::Part(part))) => self.discard(&part),
                Ok(Some(_)) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The next event that is no part of a message.
    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        loop {
            match ready!(self.driver.poll_event(cx))? {
                Some(Event::Part(part)) => self.discard(&part),
                event => return Poll::Ready(Ok(event)),
            }
        }
    }

    /// Sends a message: [`feed`](Self::feed), then [`flush`](Self::flush). When it returns, the transport has taken it.
    ///
    /// # Errors
    /// [`Error::is_closed`] if the connection is closing, or why the transport failed.
    ///
    /// # Cancel safety
    /// The message is taken whole or not at all; once it is taken it will leave with the next call of any method. It is
    /// taken at once unless the queue is above [`high_water`](crate::Limits::high_water).
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        let mut message = Some(message.into());
        poll_fn(move |cx| {
            ready!(self.poll_feed(&mut message, cx))?;
            self.poll_flush(cx)
        })
    }

    /// Queues a message without flushing. It leaves at the next [`flush`](Self::flush), or before
    /// [`recv`](Self::recv) waits, together with all else that is queued then: the way to answer many at once.
    ///
    /// Waits while more than [`high_water`](crate::Limits::high_water) bytes are queued.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub fn feed(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        let mut message = Some(message.into());
        poll_fn(move |cx| self.poll_feed(&mut message, cx))
    }

    /// Ready once there was room for the message, and nothing is left of it. By hand, because a program's task has room for the
    /// future of every `feed` in it: this one is a pointer and the message.
    fn poll_feed(&mut self, message: &mut Option<Message>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(fed) = message.take() else { return Poll::Ready(Ok(())) };
        if let Err(refused) = self.feed_now(fed) {
            *message = Some(refused.into_inner());
            // It says why if the connection can send no more.
            ready!(self.poll_ready(cx))?;
            if let Some(fed) = message.take() {
                self.driver.connection.send(fed)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn feed_now(&mut self, message: Message) -> Result<(), SendError<Message>> {
        if self.buffered_amount() > self.high_water() {
            return Err(SendError::Full(message));
        }
        self.driver.connection.send(message)
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
        self.driver.connection.send_prepared(prepared)?;
        self.flush().await
    }

    /// Queues a message without waiting, or gives it back.
    ///
    /// # Errors
    /// [`SendError::Full`] if more than [`high_water`](crate::Limits::high_water) bytes are queued and the message finds no room
    /// in [`max_write_queue`](crate::Limits::max_write_queue); [`SendError::Closed`] if the connection is closing.
    pub fn try_send(&mut self, message: impl Into<Message>) -> Result<(), SendError<Message>> {
        self.driver.connection.send(message.into())
    }

    /// [`try_send`](Self::try_send) for a message that was encoded before.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError<()>> {
        self.driver.connection.send_prepared(prepared)
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

    /// [`ready`](Self::ready) for those who write futures by hand. Writes, and reads nothing: a program that wants no more
    /// input while its output is above the mark polls this in place of [`poll_recv`](Self::poll_recv).
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.driver.poll_drain(cx, self.high_water()));
        self.driver.check()?;
        Poll::Ready(match self.ready_state() {
            ReadyState::Open => Ok(()),
            ReadyState::Closing | ReadyState::Closed => Err(Error::closed()),
        })
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

    /// [`flush`](Self::flush) for those who write futures by hand, or who write to many connections in one go: polled with the
    /// waker of the task that receives, it hands the transport at once what that takes, and leaves the rest to that task.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.driver.poll_drain(cx, 0));
        self.driver.check()?;
        Poll::Ready(if self.discarded_amount() > 0 { Err(Error::closed()) } else { Ok(()) })
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
        self.driver.connection.ping(payload)
    }

    /// Closes the connection: flushes what is queued, sends a Close frame, waits for the peer's and for the end of TCP in the
    /// order of RFC 6455 section 7.1. Messages that still come are dropped, and what a [`reader`](Self::reader) has left. A
    /// reason is cut at 123 bytes.
    ///
    /// Takes at most twice [`close_timeout`](crate::Limits::close_timeout); a peer that does not answer gives an outcome
    /// that is not [`is_clean`](CloseOutcome::is_clean). If the connection is closed already, this returns how.
    ///
    /// # Errors
    /// If the peer breaks the protocol meanwhile. If the connection had ended with an error before, which [`recv`](Self::recv)
    /// or another method has returned, an error that [`is_closed`](Error::is_closed).
    ///
    /// # Cancel safety
    /// The Close frame is queued at once. Call it again, or [`recv`](Self::recv), to go on waiting.
    pub async fn close(&mut self, code: CloseCode, reason: impl Into<CloseReason>) -> Result<CloseOutcome, Error> {
        self.start_close(code, reason);
        self.leave_reading();
        loop {
            match poll_fn(|cx| self.poll_whole(cx)).await? {
                Some(Event::Closed(outcome)) => return outcome.map_err(Error::protocol),
                Some(Event::Part(part)) => self.discard(&part),
                Some(_) => {}
                None => return self.close_outcome().cloned().ok_or_else(Error::closed),
            }
        }
    }

    /// Queues the Close frame and returns; [`recv`](Self::recv) then gives the messages that still come, and `None` at the
    /// end. Does nothing if the connection is closing.
    pub fn start_close(&mut self, code: CloseCode, reason: impl Into<CloseReason>) {
        self.driver.connection.start_close(Some(CloseFrame::new(code, reason)), now());
    }

    /// Ends the connection here and now, without the closing handshake. What is queued is lost.
    pub fn abort(self) {
        drop(self);
    }

    /// How the connection was closed, once it is: what the peer's Close frame said, who began.
    #[must_use]
    pub fn close_outcome(&self) -> Option<&CloseOutcome> {
        self.driver.end()?.ok()
    }

    /// Where the connection is in its life.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        self.driver.connection.ready_state()
    }

    /// The subprotocol agreed upon.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.agreed.protocol()
    }

    /// The extensions agreed upon, in the form of the `Sec-WebSocket-Extensions` header; empty if there are none.
    #[must_use]
    pub fn extensions(&self) -> &str {
        self.agreed.extensions()
    }

    /// The URL it was connected to; `None` at the server's end.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.agreed.url()
    }

    /// Bytes queued that the transport has not taken.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.driver.connection.buffered_amount()
    }

    /// Bytes that were queued and never left, because the connection ended or a deadline passed first. What was sent before
    /// a Close frame has left if this is zero at the end; whether the peer acted on it no transport tells.
    #[must_use]
    pub fn discarded_amount(&self) -> usize {
        self.driver.connection.discarded_amount()
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.driver.connection.role()
    }

    /// The transport, for looking at.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.driver.io
    }

    fn high_water(&self) -> usize {
        let limits = &self.driver.connection.config().limits;
        limits.high_water.min(limits.max_write_queue)
    }
}

/// For programs that write to many connections in one go, past the methods that send: what to write to
/// [`get_ref`](WebSocket::get_ref), and how much of it has left.
impl WebSocket<TcpStream> {
    /// All that is queued, if it is one piece of memory.
    #[must_use]
    #[inline]
    pub fn queued(&self) -> Option<&[u8]> {
        self.driver.connection.queued()
    }

    /// What [`try_send_prepared`](Self::try_send_prepared) would queue, if nothing else is queued and it is one piece that all
    /// connections share: not where messages are compressed, and not if it is large.
    ///
    /// Once the transport has taken all of it, nothing more is to be done. If it has taken a part, the message is to be queued
    /// after all, and the part [left](Self::advance).
    #[must_use]
    #[inline]
    pub fn alone<'a>(&self, prepared: &'a Prepared) -> Option<&'a [u8]> {
        self.driver.connection.alone(prepared)
    }

    /// Takes note that the transport has been given so many of the bytes that are queued. The rest leaves with the next call of
    /// any method.
    pub fn advance(&mut self, count: usize) {
        let mut outgoing = self.driver.connection.outgoing();
        outgoing.advance(count.min(outgoing.remaining()));
    }
}

impl WebSocket<TcpStream> {
    /// The peer's address.
    ///
    /// # Errors
    /// If the operating system does not tell.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.driver.io.peer_addr()
    }
}

impl WebSocket<Transport> {
    /// The peer's address.
    ///
    /// # Errors
    /// If the operating system does not tell.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.driver.io.peer_addr()
    }
}

impl<S> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("connection", &self.driver.connection)
            .field("protocol", &self.agreed.protocol())
            .field("url", &self.agreed.url())
            .finish_non_exhaustive()
    }
}
