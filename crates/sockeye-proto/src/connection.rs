//! The connection after its opening handshake: one state, changed by input and time, drained by `poll_output`.
mod outgoing;

use std::{fmt, sync::Arc, time::Instant};

use bytes::{Bytes, buf::Limit};

pub use outgoing::Outgoing;
use outgoing::Stall;

use crate::{
    CloseFrame, CloseOutcome, Config, ControlPayload, DeflateParams, Error, Limits, Message, Party, Prepared, Role,
    SendError,
    close::Received,
    deflate::Deflater,
    error::Fault,
    frame::{MaskKey, OpCode},
    keepalive::Watch,
    limits,
    outbox::{OutFrame, Outbox},
    rate::Rate,
    receiver::{Receiver, Step},
};

/// A WebSocket connection whose opening handshake is done.
///
/// See the [crate's documentation](crate) for the loop that drives it. Every queue in it is bounded: one event, one pong,
/// and [`max_write_queue`](crate::Limits::max_write_queue) bytes to send.
pub struct Connection {
    config: Arc<Config>,
    end: End,
    state: State,
    receiver: Receiver,
    outbox: Outbox,
    event: Option<Event>,
    control: Rate,
    watch: Option<Watch>,
    stall: Option<Stall>,
    discarded: usize,
}

/// What the caller is to do next.
#[derive(Debug)]
#[must_use]
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
pub enum Event {
    /// A whole message.
    Message(Message),
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

/// ```text
///            start_close               Close received, or violation, end, deadline
///   Open ───────────────▶ CloseSent ───────────────────────────────────┐
///    │                                                                 ▼
///    ├──────── Close received (ours answers it) ──────────────────▶ Finishing ──▶ Closed
///    └──────── violation (a Close says which), timeout, end ──────────▶┘
/// ```
/// In `Finishing` the outcome stands; what remains is to flush, to end TCP in the right order, and to say so.
#[derive(Debug)]
enum State {
    Open,
    CloseSent { until: Instant },
    Finishing { result: Result<CloseOutcome, Error>, until: Instant, tcp: TcpEnd },
    Closed,
}

/// How the transport ends. "The server MUST close the underlying TCP connection first" in the normal case, so that it,
/// not the client, does so at once (RFC 6455 section 7.1.1). After a violation this end shuts down its write side and
/// reads on for a while: closing with input unread would reset the connection and could destroy the Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TcpEnd {
    /// Shut down the write side; then it is over.
    Shutdown,
    /// Shut down the write side, then wait for the peer's end.
    ShutdownAndWait,
    /// Wait for the peer's end.
    Wait,
    /// It is over.
    Now,
}

/// Which end this is, with what only that end has.
enum End {
    Server,
    Client { masks: Box<dyn FnMut() -> [u8; 4] + Send + Sync> },
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
        Self::new(config, End::Client { masks: Box::new(masks) }, now)
    }

    /// With the compression that the opening handshake agreed upon: `Accepted::deflate` or `Established::deflate`.
    #[must_use]
    pub fn with_deflate(mut self, agreed: &DeflateParams) -> Self {
        self.receiver.set_deflate(agreed);
        self.outbox.set_deflater(Deflater::new(self.end.role(), agreed));
        self
    }

    fn new(config: Arc<Config>, end: End, now: Instant) -> Self {
        let watch = config.keepalive.map(|keepalive| Watch::new(keepalive, now));
        let receiver = Receiver::new(end.role());
        Self {
            config,
            end,
            state: State::Open,
            receiver,
            outbox: Outbox::default(),
            event: None,
            control: Rate::default(),
            watch,
            stall: None,
            discarded: 0,
        }
    }

    /// Feeds bytes from the peer, which are unmasked in place, and returns how many were consumed: all of them, or those
    /// up to the end of the frame that completed an event. Drain [`poll_output`](Self::poll_output) before feeding the
    /// rest: nothing is consumed while an event waits. After the end of the conversation input is consumed and ignored.
    pub fn handle_input(&mut self, input: &mut [u8], now: Instant) -> usize {
        if !self.is_listening() {
            return input.len();
        }
        if self.event.is_some() {
            return 0;
        }
        if let Some(watch) = &mut self.watch {
            if self.receiver.is_inside_payload() { watch.heard_payload(now) } else { watch.heard(now) }
        }
        let (consumed, result) = self.receiver.receive(input, &self.config.limits, now, &mut self.event);
        self.take_step(result, now);
        consumed
    }

    /// For large messages: memory of the message itself, to read the next input into. Call
    /// [`handle_payload`](Self::handle_payload) after reading. `None` means: use [`handle_input`](Self::handle_input).
    ///
    /// The space never exceeds what has come of the message already, nor 1 MiB.
    pub fn payload_space(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        if self.is_listening() { self.receiver.payload_space() } else { None }
    }

    /// Takes up what was read into [`payload_space`](Self::payload_space).
    pub fn handle_payload(&mut self, now: Instant) {
        if self.is_listening() {
            if let Some(watch) = &mut self.watch {
                watch.heard_payload(now);
            }
            let result = self.receiver.payload_read(&mut self.event);
            self.take_step(result, now);
        }
    }

    /// The transport will give no more input: it ended, or it failed.
    pub fn handle_eof(&mut self, now: Instant) {
        match &mut self.state {
            State::Open => self.finish(Err(Error::new(Fault::Eof)), TcpEnd::Now, now),
            State::CloseSent { .. } => self.finish_unanswered(now),
            State::Finishing { tcp, .. } => *tcp = TcpEnd::Now,
            State::Closed => return,
        }
        self.discard_outgoing();
    }

    /// Tells that the deadline of [`Output::Wait`] has come. Calling it earlier does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_write_timeout(now);
        if self.message_due().is_some_and(|due| due <= now) {
            self.fail(Fault::MessageTimeout, now);
        }
        self.check_peer(now);
    }

    /// [`handle_timeout`](Self::handle_timeout) for a caller that waits only for bytes to leave, and does not read
    /// meanwhile: the peer is not blamed for a pong, or the rest of a message, that nobody has read.
    pub fn handle_write_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::CloseSent { until } if *until <= now => {
                self.finish_unanswered(now);
                self.discard_outgoing();
            }
            State::Finishing { until, tcp, .. } if *until <= now => {
                *tcp = TcpEnd::Now;
                self.discard_outgoing();
            }
            State::Closed => return,
            _ => {}
        }
        self.check_stall(now);
    }

    /// Tells that the transport does not take all of [`outgoing`](Self::outgoing) now. Starts the watch over
    /// [`write_timeout`](crate::Limits::write_timeout).
    pub fn handle_write_blocked(&mut self, now: Instant) {
        match &mut self.stall {
            Some(stall) => stall.blocked = true,
            None if self.outbox.is_empty() => {}
            None => self.stall = Some(self.new_stall(now)),
        }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// Gives the message back if [`max_write_queue`](crate::Limits::max_write_queue) bytes are queued, or if the
    /// connection is closing.
    pub fn send(&mut self, message: Message) -> Result<(), SendError<Message>> {
        if let Some(refuse) = self.refusal(message.len()) {
            return Err(refuse(()).map(|()| message));
        }
        let frame = self.end.frame(message.opcode(), message.into_bytes());
        self.outbox.push_message(frame);
        Ok(())
    }

    /// Queues a message that was encoded before. A client masks it like any other.
    ///
    /// # Errors
    /// As [`send`](Self::send), without the message: the caller still has it.
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError<()>> {
        let message = prepared.message();
        if let Some(refuse) = self.refusal(message.len()) {
            return Err(refuse(()));
        }
        let frame = self.end.frame(message.opcode(), message.clone().into_bytes());
        self.outbox.push_prepared(prepared, frame);
        Ok(())
    }

    /// Queues a ping, ahead of messages. An earlier ping that has not left is replaced.
    ///
    /// # Errors
    /// If the connection is closing.
    pub fn ping(&mut self, payload: ControlPayload) -> Result<(), SendError<ControlPayload>> {
        if !matches!(self.state, State::Open) {
            return Err(SendError::Closed(payload));
        }
        self.push_urgent(OpCode::Ping, payload.into());
        Ok(())
    }

    /// Starts the closing handshake: what is queued leaves first, then a Close frame with this code and reason (`None`
    /// sends an empty one). The answer must come within [`close_timeout`](crate::Limits::close_timeout). Does nothing if
    /// the connection is closing already.
    pub fn start_close(&mut self, frame: Option<CloseFrame>, now: Instant) {
        if matches!(self.state, State::Open) {
            self.push_close(frame);
            self.state = State::CloseSent { until: self.close_due(now) };
            // No pings any more: the deadline of the closing handshake finds a peer that is gone.
            self.watch = None;
        }
    }

    /// What to do next; see the [crate's documentation](crate).
    pub fn poll_output(&mut self) -> Output {
        if let Some(event) = self.event.take() {
            return Output::Event(event);
        }
        if !self.outbox.is_empty() && !self.stall.as_ref().is_some_and(|stall| stall.blocked) {
            return Output::Transmit;
        }
        if let State::Finishing { tcp, .. } = &mut self.state {
            match *tcp {
                _ if !self.outbox.is_empty() => {}
                TcpEnd::Shutdown => {
                    *tcp = TcpEnd::Now;
                    return Output::ShutdownWrite;
                }
                TcpEnd::ShutdownAndWait => {
                    *tcp = TcpEnd::Wait;
                    return Output::ShutdownWrite;
                }
                TcpEnd::Wait => {}
                TcpEnd::Now => {
                    if let State::Finishing { result, .. } = std::mem::replace(&mut self.state, State::Closed) {
                        return Output::Event(Event::Closed(result));
                    }
                }
            }
        }
        Output::Wait(self.deadline())
    }

    /// The message that is the next output, if a message is.
    pub fn take_message(&mut self) -> Option<Message> {
        match self.event.take_if(|event| matches!(event, Event::Message(_))) {
            Some(Event::Message(message)) => Some(message),
            _ => None,
        }
    }

    /// The bytes to write. Advance it by what the transport took.
    pub fn outgoing(&mut self) -> Outgoing<'_> {
        Outgoing { connection: self }
    }

    /// Bytes queued that the transport has not taken.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.outbox.len()
    }

    /// Bytes that were queued and will never leave, because the transport ended or a deadline passed first. What this end
    /// wrote before its Close frame has left if, at [`Event::Closed`], this is zero.
    #[must_use]
    pub fn discarded_amount(&self) -> usize {
        self.discarded
    }

    /// Where the connection is in its life.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        match self.state {
            State::Open => ReadyState::Open,
            State::CloseSent { .. } | State::Finishing { .. } => ReadyState::Closing,
            State::Closed => ReadyState::Closed,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted: what the next [`Output::Wait`] will say.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let watch = self.watch.as_ref().map(Watch::deadline);
        [self.write_deadline(), self.message_due(), watch].into_iter().flatten().min()
    }

    /// When [`handle_write_timeout`](Self::handle_write_timeout) is wanted.
    #[must_use]
    pub fn write_deadline(&self) -> Option<Instant> {
        let close = match self.state {
            State::CloseSent { until } | State::Finishing { until, .. } => Some(until),
            State::Open | State::Closed => None,
        };
        let stall = self.stall.as_ref().map(|stall| stall.due);
        [close, stall].into_iter().flatten().min()
    }

    /// Whether the outcome stands and nothing more will be read or written: [`Event::Closed`] is the next output, or was the
    /// last.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Finishing { tcp: TcpEnd::Now, .. } | State::Closed)
            && self.event.is_none()
            && self.outbox.is_empty()
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.end.role()
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes of memory held for a message or control frame that is not whole: at most twice what came of it, and at most
    /// 1 MiB more.
    #[must_use]
    pub fn buffered_input(&self) -> usize {
        self.receiver.held()
    }

    /// Gives the memory of an empty send queue back, for a connection that is about to be idle.
    pub fn release_memory(&mut self) {
        self.outbox.release();
    }

    /// Messages may come until the peer's Close, also after our own.
    fn is_listening(&self) -> bool {
        matches!(self.state, State::Open | State::CloseSent { .. })
    }

    fn take_step(&mut self, result: Result<Step, Fault>, now: Instant) {
        match result {
            Ok(Step::More) => {}
            Ok(Step::Event) => match &self.event {
                Some(Event::Ping(payload)) => {
                    let payload = payload.clone();
                    if self.allow_control(now) && matches!(self.state, State::Open) {
                        self.push_urgent(OpCode::Pong, payload.into());
                    }
                }
                Some(Event::Pong(payload)) => {
                    if let Some(watch) = &mut self.watch {
                        watch.pong(payload.as_bytes(), now);
                    }
                    self.allow_control(now);
                }
                _ => {}
            },
            Ok(Step::Close(frame)) => self.take_close(frame, now),
            Err(fault) => self.fail(fault, now),
        }
    }

    /// Counts a ping or pong; one too many is the end, and is no event.
    fn allow_control(&mut self, now: Instant) -> bool {
        let limits = &self.config.limits;
        let allowed = self.control.take(now, limits.control_rate, limits.control_burst);
        if !allowed {
            self.event = None;
            self.fail(Fault::ControlFlood, now);
        }
        allowed
    }

    /// "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint MUST send a Close
    /// frame in response" (RFC 6455 section 5.5.1).
    fn take_close(&mut self, frame: Option<CloseFrame>, now: Instant) {
        let initiator = if matches!(self.state, State::Open) {
            self.push_close(frame.clone());
            Party::Remote
        } else {
            Party::Local
        };
        let tcp = match self.end {
            End::Server => TcpEnd::Shutdown,
            End::Client { .. } => TcpEnd::Wait,
        };
        self.finish(Ok(CloseOutcome { initiator, received: Received::from(frame) }), tcp, now);
    }

    /// Our Close was not answered.
    fn finish_unanswered(&mut self, now: Instant) {
        let outcome = CloseOutcome { initiator: Party::Local, received: Received::Nothing };
        self.finish(Ok(outcome), TcpEnd::Now, now);
    }

    /// _Fail the WebSocket Connection_ (RFC 6455 section 7.1.7): what was queued before still leaves, then a Close
    /// frame says why.
    fn fail(&mut self, fault: Fault, now: Instant) {
        if !self.is_listening() {
            return;
        }
        let tcp = if let Some(code) = fault.close_code() {
            if matches!(self.state, State::Open) {
                self.push_close(Some(CloseFrame::new(code, fault.describe().1)));
            }
            TcpEnd::ShutdownAndWait
        } else {
            self.discard_outgoing();
            TcpEnd::Now
        };
        self.finish(Err(Error::new(fault)), tcp, now);
    }

    fn finish(&mut self, result: Result<CloseOutcome, Error>, tcp: TcpEnd, now: Instant) {
        self.state = State::Finishing { result, until: self.close_due(now), tcp };
        self.receiver = Receiver::new(self.end.role());
        self.watch = None;
    }

    fn discard_outgoing(&mut self) {
        self.discarded = self.discarded.saturating_add(self.outbox.len());
        self.outbox.clear();
        self.stall = None;
    }

    fn check_stall(&mut self, now: Instant) {
        match &self.stall {
            Some(stall) if stall.due <= now && stall.owed > 0 => {
                if let State::Finishing { tcp, .. } = &mut self.state {
                    *tcp = TcpEnd::Now;
                    self.discard_outgoing();
                } else {
                    self.fail(Fault::WriteTimeout, now);
                }
            }
            Some(stall) if stall.due <= now => {
                let blocked = stall.blocked;
                self.stall = Some(Stall { blocked, ..self.new_stall(now) });
            }
            _ => {}
        }
    }

    fn check_peer(&mut self, now: Instant) {
        match self.watch.as_mut().map(|watch| watch.handle_timeout(now)) {
            Some(Ok(Some(payload))) if matches!(self.state, State::Open) => {
                self.push_urgent(OpCode::Ping, payload.into());
            }
            Some(Err(fault)) => self.fail(fault, now),
            _ => {}
        }
    }

    fn new_stall(&self, now: Instant) -> Stall {
        let Limits { write_progress, write_timeout, .. } = self.config.limits;
        let owed = write_progress.min(self.outbox.len());
        Stall { due: limits::deadline(now, write_timeout), owed, blocked: true }
    }

    fn close_due(&self, now: Instant) -> Instant {
        limits::deadline(now, self.config.limits.close_timeout)
    }

    fn message_due(&self) -> Option<Instant> {
        let since = self.receiver.unfinished_since()?;
        Some(limits::deadline(since, self.config.limits.message_timeout))
    }

    /// Why a message of `len` bytes is not taken, as the error's constructor.
    fn refusal(&self, len: usize) -> Option<fn(()) -> SendError<()>> {
        if !matches!(self.state, State::Open) {
            return Some(SendError::Closed);
        }
        let queued = self.outbox.len();
        let full = queued > 0 && queued.saturating_add(len) > self.config.limits.max_write_queue;
        full.then_some(SendError::Full)
    }

    fn push_frame(&mut self, opcode: OpCode, payload: Bytes) {
        let frame = self.end.frame(opcode, payload);
        self.outbox.push(frame);
    }

    fn push_urgent(&mut self, opcode: OpCode, payload: Bytes) {
        let frame = self.end.frame(opcode, payload);
        self.outbox.push_urgent(&frame);
    }

    fn push_close(&mut self, frame: Option<CloseFrame>) {
        self.push_frame(OpCode::Close, frame.map(|frame| frame.encode()).unwrap_or_default());
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

impl End {
    fn role(&self) -> Role {
        match self {
            Self::Server => Role::Server,
            Self::Client { .. } => Role::Client,
        }
    }

    /// A frame of this end: masked if it is the client's.
    fn frame(&mut self, opcode: OpCode, payload: Bytes) -> OutFrame {
        let mask = match self {
            Self::Server => None,
            Self::Client { masks } => Some(MaskKey(masks())),
        };
        OutFrame { opcode, payload, mask }
    }
}
