//! The half that receives: frames into messages, the closing handshake, and the deadlines that the peer has to meet.
use std::{fmt, sync::Arc, time::Instant};

use bytes::buf::Limit;

use super::{Event, Notice, ReadyState, Reply, SendHalf, reply::News};
use crate::{
    CloseFrame, CloseOutcome, Config, Error, Message, Party, Role,
    close::Received,
    error::Fault,
    keepalive::Watch,
    limits,
    rate::Rate,
    receiver::{Receiver, Step},
};

/// The receiving half of a [`Connection`](crate::Connection) that was [split](crate::Connection::split).
///
/// It knows where the conversation is, and holds the peer to its deadlines. It never writes: what it owes the wire leaves as
/// [`Reply`] values; what it has to know of sending comes as [`Notice`] values.
///
/// **Invariant:** as with the whole connection, it is changed once, then drained with [`poll_output`](Self::poll_output) until
/// that says [`ReceiveOutput::Wait`], then changed again.
pub struct ReceiveHalf {
    config: Arc<Config>,
    state: State,
    pub(super) receiver: Receiver,
    event: Option<Event>,
    reply: Option<Reply>,
    control: Rate,
    /// Boxed, as is an outcome: most connections have neither, and every connection has the room it takes.
    watch: Option<Box<Watch>>,
}

/// What the caller of a [`ReceiveHalf`] is to do next.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum ReceiveOutput {
    /// Hand this to the sending half. If that is busy, it may wait, and be [merged](Reply::merge) with those that follow.
    Reply(Reply),
    /// Something for the application.
    Event(Event),
    /// Nothing to do until there is input, or until this instant: then call [`ReceiveHalf::handle_timeout`].
    Wait(Option<Instant>),
}

/// ```text
///            Close queued                Close received, or violation, end, deadline
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
    Finishing(Box<Finishing>),
    Closed,
}

#[derive(Debug)]
struct Finishing {
    result: Result<CloseOutcome, Error>,
    until: Instant,
    over: Over,
}

/// When it is over. "The server MUST close the underlying TCP connection first" in the normal case, so that it, not the
/// client, does so at once (RFC 6455 section 7.1.1). After a violation this end shuts down its write side and reads on for a
/// while: closing with input unread would reset the connection and could destroy the Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// Once the write side is shut down.
    WhenShut,
    /// When the peer ends TCP.
    AtEof,
    Now,
}

impl ReceiveHalf {
    pub(super) fn new(config: Arc<Config>, role: Role, now: Instant) -> Self {
        let watch = config.keepalive.map(|_| Box::new(Watch::new(now)));
        Self {
            config,
            state: State::Open,
            receiver: Receiver::new(role),
            event: None,
            reply: None,
            control: Rate::default(),
            watch,
        }
    }

    /// Feeds bytes from the peer; see [`Connection::handle_input`](crate::Connection::handle_input).
    #[inline]
    pub fn handle_input(&mut self, input: &mut [u8], now: Instant) -> usize {
        if !self.is_listening() {
            return input.len();
        }
        if self.event.is_some() {
            return 0;
        }
        if self.watch.is_some() {
            self.heard(now);
        }
        if let Some((consumed, message)) = self.receiver.receive_message(input, &self.config.limits) {
            self.event = Some(Event::Message(message));
            return consumed;
        }
        self.receive(input, now)
    }

    /// [`handle_input`](Self::handle_input) for whatever comes.
    fn receive(&mut self, input: &mut [u8], now: Instant) -> usize {
        let (consumed, result) = self.receiver.receive(input, &self.config.limits, now, &mut self.event);
        self.receiver.progressed(now);
        self.take_step(result, now);
        consumed
    }

    /// For large messages: memory of the message itself; see
    /// [`Connection::payload_space`](crate::Connection::payload_space).
    #[inline]
    pub fn payload_space(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        if self.is_listening() { self.receiver.payload_space() } else { None }
    }

    /// Takes up what was read into [`payload_space`](Self::payload_space).
    pub fn handle_payload(&mut self, now: Instant) {
        if self.is_listening() {
            self.heard(now);
            let result = self.receiver.payload_read(&mut self.event);
            self.receiver.progressed(now);
            self.take_step(result, now);
        }
    }

    /// Whether messages are handed out as they come ([`Event::Part`]), instead of when they are whole. One that is a single frame,
    /// whole in the input, is an [`Event::Message`] all the same, and the parts of one that has begun to be handed out go on
    /// coming. A part comes before whatever follows it, be it the fault that ends its message.
    ///
    /// A streamed message has a limit of its own, [`max_streamed`](crate::Limits::max_streamed), since it is not held. Its
    /// [`message_timeout`](crate::Limits::message_timeout) begins anew with whatever comes of it.
    pub fn set_streaming(&mut self, on: bool, now: Instant) {
        if let Err(fault) = self.receiver.set_streaming(on, &self.config.limits) {
            self.fail(fault, now);
        }
        if !on && self.receiver.held_when_whole() > self.config.limits.max_message {
            self.fail(Fault::MessageTooBig, now);
        }
    }

    /// Whether messages are handed out as they come.
    #[must_use]
    #[inline]
    pub fn is_streaming(&self) -> bool {
        self.receiver.is_streaming()
    }

    /// The transport will give no more input: it ended, or it failed.
    pub fn handle_eof(&mut self, now: Instant) {
        match &mut self.state {
            State::Open => self.finish(Err(Error::new(Fault::Eof)), Over::Now, now),
            State::CloseSent { .. } => self.finish_unanswered(now),
            State::Finishing(finishing) => finishing.over = Over::Now,
            State::Closed => return,
        }
        self.owe(Reply::nothing());
    }

    /// Starts the closing handshake from this half: the Close frame leaves as a [`Reply`], behind what is queued. Does nothing
    /// if the connection is closing already.
    pub fn start_close(&mut self, frame: Option<CloseFrame>, now: Instant) {
        if matches!(self.state, State::Open) {
            self.owe(Reply::close(frame, false));
            self.state = State::CloseSent { until: limits::deadline(now, self.config.limits.close_timeout) };
            self.watch = None;
        }
    }

    /// Takes note of what the sending half has to tell.
    pub fn handle_notice(&mut self, notice: Notice) {
        match (*notice.0, &mut self.state) {
            (News::Pinged(payload), State::Open) => {
                if let Some(watch) = &mut self.watch {
                    watch.pinged(payload);
                }
            }
            (News::CloseQueued { until }, State::Open) => {
                self.state = State::CloseSent { until };
                // No pings any more: the deadline of the closing handshake finds a peer that is gone.
                self.watch = None;
            }
            (News::Failed { fault: Fault::Eof, at }, State::CloseSent { .. }) => self.finish_unanswered(at),
            (News::Failed { fault, at }, State::Open | State::CloseSent { .. }) => {
                self.finish(Err(Error::new(fault)), Over::Now, at);
            }
            (News::Failed { .. }, State::Finishing(finishing)) => finishing.over = Over::Now,
            (News::Shut, State::Finishing(finishing)) if finishing.over == Over::WhenShut => finishing.over = Over::Now,
            _ => {}
        }
    }

    /// Tells that the deadline of [`ReceiveOutput::Wait`] has come. Calling it earlier does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_close_timeout(now);
        self.handle_peer_timeout(now);
    }

    /// The closing handshake's deadline.
    pub(super) fn handle_close_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::CloseSent { until } if *until <= now => {
                self.finish_unanswered(now);
                self.owe(Reply::nothing());
            }
            State::Finishing(finishing) if finishing.until <= now => {
                finishing.over = Over::Now;
                self.owe(Reply::nothing());
            }
            _ => {}
        }
    }

    /// The deadlines that only a peer can miss whose input is read.
    pub(super) fn handle_peer_timeout(&mut self, now: Instant) {
        if self.message_due().is_some_and(|due| due <= now) {
            self.fail(Fault::MessageTimeout, now);
        }
        let (Some(watch), Some(keepalive)) = (&mut self.watch, &self.config.keepalive) else { return };
        match watch.handle_timeout(keepalive, now) {
            Ok(Some(payload)) => self.owe(Reply::ping(payload)),
            Ok(None) => {}
            Err(fault) => self.fail(fault, now),
        }
    }

    /// What to do next. A reply comes before the event that it answers.
    pub fn poll_output(&mut self) -> ReceiveOutput {
        if let Some(reply) = self.reply.take() {
            return ReceiveOutput::Reply(reply);
        }
        match self.take_event().or_else(|| self.take_end()) {
            Some(event) => ReceiveOutput::Event(event),
            None => ReceiveOutput::Wait(self.deadline()),
        }
    }

    /// The message that is the next output, if a message is. Input may follow at once, as after
    /// [`Connection::take_message`](crate::Connection::take_message).
    #[inline]
    pub fn take_message(&mut self) -> Option<Message> {
        match self.event.take_if(|event| matches!(event, Event::Message(_))) {
            Some(Event::Message(message)) => Some(message),
            _ => None,
        }
    }

    /// Whether the next output is a [`Reply`].
    #[must_use]
    pub fn has_reply(&self) -> bool {
        self.reply.is_some()
    }

    /// Where the connection is in its life.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        match self.state {
            State::Open => ReadyState::Open,
            State::CloseSent { .. } | State::Finishing(_) => ReadyState::Closing,
            State::Closed => ReadyState::Closed,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted: what the next [`ReceiveOutput::Wait`] will say.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        limits::earlier(self.close_due(), self.peer_due())
    }

    /// Whether the outcome stands and nothing more will be read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        (self.is_ending() || matches!(self.state, State::Closed)) && self.event.is_none()
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.receiver.role()
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes of memory held for a message or control frame that is not whole; see
    /// [`Connection::buffered_input`](crate::Connection::buffered_input).
    #[must_use]
    pub fn buffered_input(&self) -> usize {
        self.receiver.held()
    }

    /// Whether both came from one [`Connection::split`](crate::Connection::split), which gave them a configuration of their own.
    #[must_use]
    pub fn belongs_to(&self, send: &SendHalf) -> bool {
        Arc::ptr_eq(&self.config, send.shared_config())
    }

    pub(super) fn config_mut(&mut self) -> &mut Arc<Config> {
        &mut self.config
    }

    #[inline]
    pub(super) fn take_reply(&mut self) -> Option<Reply> {
        self.reply.take()
    }

    /// Whether there is an event, be it the end.
    #[inline]
    pub(super) fn has_output(&self) -> bool {
        self.event.is_some() || self.is_ending() || self.receiver.has_part()
    }

    #[inline]
    pub(super) fn take_event(&mut self) -> Option<Event> {
        self.event.take().or_else(|| self.receiver.take_part().map(Event::Part))
    }

    /// [`Event::Closed`], once it is over.
    #[inline]
    pub(super) fn take_end(&mut self) -> Option<Event> {
        if !self.is_ending() {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Finishing(finishing) => Some(Event::Closed(finishing.result)),
            _ => None,
        }
    }

    pub(super) fn close_due(&self) -> Option<Instant> {
        match &self.state {
            State::CloseSent { until } => Some(*until),
            State::Finishing(finishing) => Some(finishing.until),
            State::Open | State::Closed => None,
        }
    }

    pub(super) fn peer_due(&self) -> Option<Instant> {
        let watch = self.watch.as_ref().zip(self.config.keepalive.as_ref());
        let pong = watch.map(|(watch, keepalive)| watch.deadline(keepalive));
        limits::earlier(self.message_due(), pong)
    }

    fn message_due(&self) -> Option<Instant> {
        let since = self.receiver.unfinished_since()?;
        Some(limits::deadline(since, self.config.limits.message_timeout))
    }

    /// Messages may come until the peer's Close, also after our own.
    #[inline]
    fn is_listening(&self) -> bool {
        matches!(self.state, State::Open | State::CloseSent { .. })
    }

    /// Whether the end is all that is left to say.
    #[inline]
    fn is_ending(&self) -> bool {
        matches!(&self.state, State::Finishing(finishing) if finishing.over == Over::Now)
    }

    #[inline]
    fn heard(&mut self, now: Instant) {
        if let (Some(watch), Some(keepalive)) = (&mut self.watch, &self.config.keepalive) {
            if self.receiver.is_inside_payload() { watch.heard_payload(keepalive, now) } else { watch.heard(now) }
        }
    }

    #[inline]
    fn take_step(&mut self, result: Result<Step, Fault>, now: Instant) {
        match result {
            Ok(Step::More) => {}
            Ok(Step::Event) => match &self.event {
                Some(Event::Ping(payload)) => {
                    let payload = payload.clone();
                    if self.allow_control(now) && matches!(self.state, State::Open) {
                        self.owe(Reply::pong(payload));
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
    /// frame in response" (RFC 6455 section 5.5.1). The sending half knows whether it did.
    fn take_close(&mut self, frame: Option<CloseFrame>, now: Instant) {
        let initiator = if matches!(self.state, State::Open) { Party::Remote } else { Party::Local };
        let over = match self.role() {
            Role::Server => Over::WhenShut,
            Role::Client => Over::AtEof,
        };
        self.owe(Reply::close(frame.clone(), over == Over::WhenShut));
        self.finish(Ok(CloseOutcome::new(initiator, Received::from(frame))), over, now);
    }

    /// Our Close was not answered.
    fn finish_unanswered(&mut self, now: Instant) {
        let outcome = CloseOutcome::new(Party::Local, Received::Nothing);
        self.finish(Ok(outcome), Over::Now, now);
    }

    /// _Fail the WebSocket Connection_ (RFC 6455 section 7.1.7): what was queued before still leaves, then a Close
    /// frame says why.
    fn fail(&mut self, fault: Fault, now: Instant) {
        if !self.is_listening() {
            return;
        }
        let over = if let Some(code) = fault.close_code() {
            self.owe(Reply::close(Some(CloseFrame::new(code, fault.describe().1)), true));
            Over::AtEof
        } else {
            self.owe(Reply::nothing());
            Over::Now
        };
        self.finish(Err(Error::new(fault)), over, now);
    }

    fn finish(&mut self, result: Result<CloseOutcome, Error>, over: Over, now: Instant) {
        let until = limits::deadline(now, self.config.limits.close_timeout);
        self.state = State::Finishing(Box::new(Finishing { result, until, over }));
        self.receiver = Receiver::new(self.role());
        self.watch = None;
    }

    fn owe(&mut self, reply: Reply) {
        match &mut self.reply {
            Some(owed) => owed.merge(reply),
            None => self.reply = Some(reply),
        }
    }
}

impl fmt::Debug for ReceiveHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveHalf")
            .field("role", &self.role())
            .field("ready_state", &self.ready_state())
            .finish_non_exhaustive()
    }
}
