//! The connection after its opening handshake: two halves that own their data, and the value that joins them.
mod outgoing;
mod part;
mod receive;
mod reply;
mod send;

use std::{fmt, sync::Arc, time::Instant};

use bytes::{Bytes, buf::Limit};

pub use outgoing::Outgoing;
pub use part::{MessageKind, Part};
pub use receive::{ReceiveHalf, ReceiveOutput};
pub use reply::{Notice, Reply};
use send::{End, Masks};
pub use send::{SendHalf, SendOutput};

use crate::{
    CloseFrame, CloseOutcome, Config, ControlPayload, DeflateParams, Error, Message, Prepared, Role, SendError,
    deflate::Deflater, limits,
};

/// A WebSocket connection whose opening handshake is done.
///
/// See the [crate's documentation](crate) for the loop that drives it. Every queue in it is bounded: one event, one pong,
/// and [`max_write_queue`](crate::Limits::max_write_queue) bytes to send.
///
/// It is a [`ReceiveHalf`] and a [`SendHalf`], and hands each what the other has for it at once. [`split`](Self::split) gives
/// the two, for a program that receives in one task and sends in another.
pub struct Connection {
    receive: ReceiveHalf,
    send: SendHalf,
}

/// What the caller is to do next.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Output {
    /// Something for the application.
    Event(Event),
    /// Bytes wait in [`Connection::outgoing`]: write what the transport takes. Not offered again after
    /// [`Connection::handle_write_blocked`] until something has left.
    Transmit,
    /// Shut down the transport's write side; reading goes on.
    ShutdownWrite,
    /// Nothing to do until there is input, or until this instant: then call [`Connection::handle_timeout`].
    Wait(Option<Instant>),
}

/// Something for the application.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A whole message.
    Message(Message),
    /// A part of a message that is being [streamed](Connection::set_streaming).
    Part(Part),
    /// A ping; its pong is queued already, unless this end has sent its Close frame: nothing follows that.
    Ping(ControlPayload),
    /// A pong, asked for or not.
    Pong(ControlPayload),
    /// The end, and the last event: the transport can be dropped. A clean close is not an error.
    Closed(Result<CloseOutcome, Error>),
}

/// Where a connection is in its life, in the words of browsers. A connection that is still connecting has no value yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadyState {
    /// Messages can be sent and received.
    Open,
    /// The closing handshake is under way, or the connection has failed and its last bytes are leaving.
    Closing,
    /// It is over.
    Closed,
}

impl Connection {
    /// The server's end.
    #[must_use]
    pub fn server(config: Arc<Config>, now: Instant) -> Self {
        Self::new(config, End::Server, now)
    }

    /// The client's end. `masks` gives each frame its masking key, which "MUST be derived from a strong source of
    /// entropy" (RFC 6455 section 5.3); only tests may do otherwise.
    #[must_use]
    pub fn client(config: Arc<Config>, masks: impl FnMut() -> [u8; 4] + Send + Sync + 'static, now: Instant) -> Self {
        Self::new(config, End::Client(Box::new(Masks(Box::new(masks)))), now)
    }

    /// With the compression that the opening handshake agreed upon: `Accepted::deflate` or `Established::deflate`.
    #[must_use]
    pub fn with_deflate(mut self, agreed: &DeflateParams) -> Self {
        self.receive.receiver.set_deflate(agreed);
        self.send.outbox.set_deflater(Deflater::new(self.role(), agreed));
        self
    }

    fn new(config: Arc<Config>, end: End, now: Instant) -> Self {
        let send = SendHalf::new(Arc::clone(&config), end);
        Self { receive: ReceiveHalf::new(config, send.role(), now), send }
    }

    /// The two halves, for two tasks. Each is driven like a connection; between them go [`Reply`] and [`Notice`] values.
    ///
    /// ```
    /// use std::{sync::Arc, time::Instant};
    /// use sockeye_proto::{Config, Connection, ReceiveOutput, SendOutput};
    ///
    /// let now = Instant::now();
    /// let (mut receive, mut send) = Connection::server(Arc::new(Config::default()), now).split();
    /// receive.handle_input(&mut [0x89, 0x80, 0, 0, 0, 0], now);
    /// let ReceiveOutput::Reply(pong) = receive.poll_output() else { panic!("a ping is answered") };
    /// send.handle_reply(pong);
    /// assert!(matches!(send.poll_output(), SendOutput::Transmit));
    /// ```
    #[must_use]
    pub fn split(self) -> (ReceiveHalf, SendHalf) {
        let Self { mut receive, mut send } = self;
        // Halves belong together if they share a configuration, which therefore nobody else may have: it costs a connection
        // that is never split nothing.
        let config = Arc::new(receive.config().clone());
        receive.config_mut().clone_from(&config);
        *send.config_mut() = config;
        (receive, send)
    }

    /// Joins what [`split`](Self::split) parted. What the halves still have for each other is handed over.
    ///
    /// # Errors
    /// Gives both back if they are not of one connection.
    #[expect(
        clippy::result_large_err,
        reason = "the halves themselves come back; a box would be for the rarest of mistakes"
    )]
    pub fn reunite(receive: ReceiveHalf, send: SendHalf) -> Result<Self, (ReceiveHalf, SendHalf)> {
        if !receive.belongs_to(&send) {
            return Err((receive, send));
        }
        let mut connection = Self { receive, send };
        connection.tell();
        connection.settle();
        Ok(connection)
    }

    /// Feeds bytes from the peer, which are unmasked in place, and returns how many were consumed: all of them, or those
    /// up to the end of the frame that completed an event. Drain [`poll_output`](Self::poll_output) before feeding the
    /// rest: nothing is consumed while an event waits. After the end of the conversation input is consumed and ignored.
    #[inline]
    pub fn handle_input(&mut self, input: &mut [u8], now: Instant) -> usize {
        let consumed = self.receive.handle_input(input, now);
        self.settle();
        consumed
    }

    /// For large messages: memory of the message itself, to read the next input into. Call
    /// [`handle_payload`](Self::handle_payload) after reading. `None` means: use [`handle_input`](Self::handle_input).
    ///
    /// The space never exceeds what has come of the message already, nor 1 MiB.
    #[inline]
    pub fn payload_space(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        self.receive.payload_space()
    }

    /// Takes up what was read into [`payload_space`](Self::payload_space).
    pub fn handle_payload(&mut self, now: Instant) {
        self.receive.handle_payload(now);
        self.settle();
    }

    /// The transport will give no more input: it ended, or it failed.
    pub fn handle_eof(&mut self, now: Instant) {
        self.receive.handle_eof(now);
        self.settle();
    }

    /// Tells that the deadline of [`Output::Wait`] has come. Calling it earlier does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_write_timeout(now);
        self.receive.handle_peer_timeout(now);
        self.settle();
    }

    /// [`handle_timeout`](Self::handle_timeout) for a caller that waits only for bytes to leave, and does not read
    /// meanwhile: the peer is not blamed for a pong, or the rest of a message, that nobody has read.
    pub fn handle_write_timeout(&mut self, now: Instant) {
        self.receive.handle_close_timeout(now);
        self.settle();
        self.send.handle_timeout(now);
        self.tell();
    }

    /// Tells that the transport does not take all of [`outgoing`](Self::outgoing) now. Starts the watch over
    /// [`write_timeout`](crate::Limits::write_timeout).
    pub fn handle_write_blocked(&mut self, now: Instant) {
        self.send.handle_write_blocked(now);
    }

    /// Queues a message.
    ///
    /// # Errors
    /// Gives the message back if it finds no room in [`max_write_queue`](crate::Limits::max_write_queue), or if the connection
    /// is closing. It is never [`Full`](SendError::Full) while at most [`high_water`](crate::Limits::high_water) bytes wait.
    #[inline]
    pub fn send(&mut self, message: Message) -> Result<(), SendError<Message>> {
        self.send.send(message)
    }

    /// Queues a message that was encoded before. A client masks it like any other.
    ///
    /// # Errors
    /// As [`send`](Self::send), without the message: the caller still has it.
    #[inline]
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError<()>> {
        self.send.send_prepared(prepared)
    }

    /// Queues a part of a message; see [`SendHalf::send_part`].
    ///
    /// # Errors
    /// As [`SendHalf::send_part`].
    pub fn send_part(&mut self, kind: MessageKind, bytes: Bytes, fin: bool) -> Result<(), SendError<Bytes>> {
        self.send.send_part(kind, bytes, fin)
    }

    /// The kind of the message that was begun with [`send_part`](Self::send_part) and is not finished.
    #[must_use]
    pub fn unfinished(&self) -> Option<MessageKind> {
        self.send.unfinished()
    }

    /// Whether messages are handed out as they come, instead of when they are whole; see [`ReceiveHalf::set_streaming`].
    pub fn set_streaming(&mut self, on: bool, now: Instant) {
        self.receive.set_streaming(on, now);
        self.settle();
    }

    /// Whether messages are handed out as they come.
    #[must_use]
    #[inline]
    pub fn is_streaming(&self) -> bool {
        self.receive.is_streaming()
    }

    /// Queues a ping, ahead of messages. An earlier ping that has not left is replaced.
    ///
    /// # Errors
    /// If the connection is closing.
    pub fn ping(&mut self, payload: ControlPayload) -> Result<(), SendError<ControlPayload>> {
        let result = self.send.ping(payload);
        self.tell();
        result
    }

    /// Starts the closing handshake: what is queued leaves first, then a Close frame with this code and reason (`None`
    /// sends an empty one). The answer must come within [`close_timeout`](crate::Limits::close_timeout). Does nothing if
    /// the connection is closing already.
    pub fn start_close(&mut self, frame: Option<CloseFrame>, now: Instant) {
        self.send.start_close(frame, now);
        self.tell();
    }

    /// What to do next; see the [crate's documentation](crate).
    pub fn poll_output(&mut self) -> Output {
        if let Some(event) = self.receive.take_event() {
            return Output::Event(event);
        }
        match self.send.poll_output() {
            SendOutput::Transmit => return Output::Transmit,
            SendOutput::ShutdownWrite => {
                self.tell();
                return Output::ShutdownWrite;
            }
            SendOutput::Notice(_) | SendOutput::Wait(_) => {}
        }
        match self.receive.take_end() {
            Some(closed) => Output::Event(closed),
            None => Output::Wait(self.deadline()),
        }
    }

    /// Whether the next output is neither [`Output::Transmit`] nor [`Output::Wait`]. Asking costs less than the output, for a
    /// caller that looks after writing and deadlines anyway.
    #[must_use]
    #[inline]
    pub fn has_output(&self) -> bool {
        self.receive.has_output() || self.send.is_to_shut_down()
    }

    /// The message that is the next output, if a message is.
    ///
    /// This is the one exception to the drain loop: once it has been taken, [`handle_input`](Self::handle_input) may follow at
    /// once. Only bytes to write can be left then, and they wait for the next [`poll_output`](Self::poll_output).
    #[inline]
    pub fn take_message(&mut self) -> Option<Message> {
        self.receive.take_message()
    }

    /// The bytes to write. Advance it by what the transport took.
    pub fn outgoing(&mut self) -> Outgoing<'_> {
        self.send.outgoing()
    }

    /// All that is queued, if it is one piece.
    #[must_use]
    #[inline]
    pub fn queued(&self) -> Option<&[u8]> {
        self.send.queued()
    }

    /// What [`send_prepared`](Self::send_prepared) would queue, if that were all that is queued; see [`SendHalf::alone`].
    #[must_use]
    #[inline]
    pub fn alone<'a>(&self, prepared: &'a Prepared) -> Option<&'a [u8]> {
        self.send.alone(prepared)
    }

    /// Bytes queued that the transport has not taken.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.send.buffered_amount()
    }

    /// Bytes that were queued and will never leave, because the transport ended or a deadline passed first. What this end
    /// wrote before its Close frame has left if, at [`Event::Closed`], this is zero.
    #[must_use]
    pub fn discarded_amount(&self) -> usize {
        self.send.discarded_amount()
    }

    /// Where the connection is in its life.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        self.receive.ready_state()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted: what the next [`Output::Wait`] will say.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        limits::earlier(self.write_deadline(), self.receive.peer_due())
    }

    /// When [`handle_write_timeout`](Self::handle_write_timeout) is wanted.
    #[must_use]
    pub fn write_deadline(&self) -> Option<Instant> {
        limits::earlier(self.receive.close_due(), self.send.deadline())
    }

    /// Whether the outcome stands and nothing more will be read or written: [`Event::Closed`] is the next output, or was the
    /// last.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.receive.is_over() && self.send.buffered_amount() == 0
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.receive.role()
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.receive.config()
    }

    /// Bytes of memory held for a message or control frame that is not whole: at most twice what came of it, and at most
    /// 1 MiB more.
    #[must_use]
    pub fn buffered_input(&self) -> usize {
        self.receive.buffered_input()
    }

    /// Hands what receiving owes the wire to the sending half.
    #[inline]
    fn settle(&mut self) {
        if let Some(reply) = self.receive.take_reply() {
            self.send.handle_reply(reply);
        }
    }

    /// Hands what sending has to tell to the receiving half.
    #[inline]
    fn tell(&mut self) {
        if let Some(notice) = self.send.take_notice() {
            self.receive.handle_notice(notice);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role())
            .field("ready_state", &self.ready_state())
            .field("buffered_amount", &self.buffered_amount())
            .finish_non_exhaustive()
    }
}
