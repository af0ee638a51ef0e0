//! One conversation: messages both ways, in order, over requests that come and go.
mod config;
mod queue;
mod receiver;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use bytestring::ByteString;

pub use self::{
    config::{Config, DroppedReceiver, SecondReceiver},
    receiver::{ReceiverId, ReceiverKind},
};
use self::{
    queue::{Incoming, Outgoing, Torn},
    receiver::{Receiver, Slot, after},
};
use crate::{Farewell, Frame, Framing};

/// A conversation over many requests, as a value.
///
/// The client hears through *receivers*, responses of which there is one at a time, and speaks through requests of
/// their own. Three parties change it: receivers ([`attach`](Self::attach), [`poll_output`](Self::poll_output),
/// [`detach`](Self::detach)), requests that bring messages ([`receive`](Self::receive)), and the application
/// ([`send`](Self::send), [`close`](Self::close), [`poll_event`](Self::poll_event)). After each change
///
/// 1. take events until there is none,
/// 2. for the receiver, if there is one, take output until [`Output::Wait`] or its end,
/// 3. set a timer to [`deadline`](Self::deadline), and call [`handle_timeout`](Self::handle_timeout) when it fires.
///
/// Who has attached a receiver detaches it, once, however its response ended: nothing else says that it is gone.
///
/// ```text
/// New ──first receiver: Open──▶ Open ──close──▶ Closing ──linger over──▶ Gone
///  │                             │ no receiver for the delay, or it broke   ▲
///  └─────────────────────────────┴──────────────────────────────────────────┘
/// ```
///
/// # What may be lost
///
/// What has been written to a connection may never arrive. SockJS has no way to say so: a receiver that breaks ends the
/// conversation. Clients of our own transports count the messages they get and say how many with each receiver
/// ([`Resume::After`]). What was handed out since the last heartbeat is kept until then, up to a bound, and sent again;
/// if more is missing, the conversation is closed with 4103, and the client begins a new one. There the recovery of
/// `sockeye.v1.json` takes over: it subscribes with its positions, and is told what it missed, or that it cannot be
/// told. So no gap is silent, and nothing needs to be kept for long.
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use sockeye_pipe::{Config, Conversation, Output, ReceiverKind, Resume, sockjs};
///
/// let now = Instant::now();
/// let mut conversation = Conversation::new(now, Arc::new(Config::sockjs()));
/// let poll = conversation.attach(now, sockjs::Transport::Xhr, ReceiverKind::Poll, Resume::Unchecked)?;
/// assert_eq!(conversation.poll_output(poll, now, 65536), Output::Last("o\n".into()));
/// # Ok::<(), sockeye_pipe::AttachError>(())
/// ```
#[derive(Debug)]
pub struct Conversation<F> {
    config: Arc<Config>,
    state: State,
    slot: Slot<F>,
    /// A receiver that another took the place of, and what it is still to be told.
    replaced: Option<(ReceiverId, Bytes)>,
    receivers: u64,
    outgoing: Outgoing,
    incoming: Incoming,
}

#[derive(Debug)]
enum State {
    /// Nobody has heard of it.
    New,
    Open,
    /// Until then who comes is told why.
    Closing {
        farewell: Farewell,
        until: Option<Instant>,
        is_greeted: bool,
    },
    /// With the event that says so, until it is taken.
    Gone(Option<Cause>),
}

/// What a receiver's response has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// Write these bytes, and flush.
    Write(Bytes),
    /// Write these bytes, if any, and end as a response ends that is whole. Do not ask again.
    Last(Bytes),
    /// End as one that is not: the client shall not take it for whole.
    Cut,
    /// Nothing yet.
    Wait,
}

/// What the application hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client has said something.
    Message(ByteString),
    /// The conversation is gone; the last event.
    Gone(Cause),
}

/// Why a conversation is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The application closed it.
    Closed,
    /// Its receiver broke.
    Dropped,
    /// It had no receiver for too long.
    Deserted,
    /// Its receiver took too little.
    Stalled,
    /// The client said goodbye.
    Left,
}

/// How a response was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Written to its end.
    Finished,
    /// Its connection broke before.
    Dropped,
}

/// What a client that attaches says it has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Nothing is said: it is as if all had arrived.
    Unchecked,
    /// So many messages of this conversation.
    After(u64),
}

/// Which messages these are, of those that the client has sent in this conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// Those after all that came before.
    Unnumbered,
    /// Those after the first so many. Messages that came already are passed over, so that a request whose answer was
    /// lost can be made again.
    After(u64),
}

/// Why there is no receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// There is one already: write the prelude and these bytes, and end.
    Busy(Bytes),
    /// There is no such conversation any more.
    Gone,
}

/// Why a message was not sent. It comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// As much waits as may; the caller decides what that means.
    Full(ByteString),
    /// The conversation is closing or gone.
    Closed(ByteString),
}

/// Why messages of the client were not taken. None of them was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// As much waits for the application as may: try again when it has taken some.
    Full(Vec<ByteString>),
    /// Others, which came before these, are missing.
    Gap,
    /// There is no such conversation any more.
    Gone,
}

/// What a receiver is told when a newer one takes its place.
const REPLACED: (u16, &str) = (4009, "replaced by another receiver");
/// What a receiver is told that SockJS does not allow.
const STILL_OPEN: (u16, &str) = (2010, "Another connection still open");
/// What a client is told that has missed more than is kept.
const POSITION_LOST: (u16, &str) = (4103, "position lost");

impl std::fmt::Display for AttachError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Busy(_) => "another receiver is attached",
            Self::Gone => "the conversation is gone",
        })
    }
}

impl std::error::Error for AttachError {}

/// For receivers.
impl<F: Framing> Conversation<F> {
    /// A conversation that nobody has heard of yet.
    #[must_use]
    pub fn new(now: Instant, config: Arc<Config>) -> Self {
        Self {
            config,
            state: State::New,
            slot: Slot::Absent { since: now },
            replaced: None,
            receivers: 0,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
        }
    }

    /// A response that is to be written from now on.
    ///
    /// # Errors
    /// There is one already, and this one does not take over; or the conversation is gone.
    pub fn attach(
        &mut self,
        now: Instant,
        framing: F,
        kind: ReceiverKind,
        resume: Resume,
    ) -> Result<ReceiverId, AttachError> {
        let is_over = match &self.state {
            State::Gone(_) => return Err(AttachError::Gone),
            State::Closing { farewell, .. } => Some(farewell.clone()),
            State::New | State::Open => None,
        };
        if let Slot::Attached(first) = &self.slot {
            let told =
                |framing: &F, otherwise| framing.encode(&Frame::Close(is_over.unwrap_or_else(|| farewell(otherwise))));
            match self.config.second {
                SecondReceiver::Refused => return Err(AttachError::Busy(told(&framing, STILL_OPEN))),
                SecondReceiver::TakesOver => self.replaced = Some((first.id, told(&first.framing, REPLACED))),
            }
        }
        self.receivers = self.receivers.saturating_add(1);
        let id = ReceiverId(self.receivers);
        self.slot = Slot::Attached(Receiver::new(id, framing, kind, now));
        if let Resume::After(received) = resume
            && let Err(Torn) = self.outgoing.resume_after(received)
        {
            // What is queued would come after a gap. If it closes already, the farewell stays as it is.
            self.outgoing.clear();
            self.close(now, farewell(POSITION_LOST));
        }
        Ok(id)
    }

    /// What this receiver's response has to do, if about so many bytes find room in its connection. One message and
    /// what is around it may be more; where there is no room at all, nothing is handed out.
    pub fn poll_output(&mut self, id: ReceiverId, now: Instant, room: usize) -> Output {
        match &mut self.slot {
            Slot::Attached(receiver) if receiver.id == id && !matches!(self.state, State::Gone(_)) => {}
            Slot::Ending { id: ending, .. } if *ending == id => return Output::Last(Bytes::new()),
            _ => return self.poll_replaced(id),
        }
        let Slot::Attached(receiver) = &mut self.slot else { return Output::Cut };
        if room == 0 {
            if self.state.owes_something() || !self.outgoing.is_empty() || receiver.owes_heartbeat() {
                receiver.must_progress(now);
            }
            return Output::Wait;
        }
        let Some((frame, is_last)) = next_frame(&mut self.state, &mut self.outgoing, &self.config, receiver, room)
        else {
            receiver.has_caught_up();
            return Output::Wait;
        };
        let bytes = receiver.framing.encode(&frame);
        if receiver.has_written(bytes.len(), now) || is_last {
            self.slot = Slot::Ending { id, since: now };
            return Output::Last(bytes);
        }
        Output::Write(bytes)
    }

    /// The response of this receiver is over. One that was replaced, or let go, changes nothing any more.
    pub fn detach(&mut self, id: ReceiverId, now: Instant, ending: Ending) {
        match &self.slot {
            Slot::Attached(receiver) if receiver.id == id => {}
            Slot::Ending { id: current, .. } if *current == id => {}
            _ => {
                if self.replaced.as_ref().is_some_and(|(replaced, _)| *replaced == id) {
                    self.replaced = None;
                }
                return;
            }
        }
        self.slot = Slot::Absent { since: now };
        if ending == Ending::Dropped {
            self.has_lost_receiver(Cause::Dropped);
        }
    }

    /// What the client has said. All of it or nothing is taken; while the conversation closes it is taken and
    /// forgotten.
    ///
    /// # Errors
    /// There is no room, something is missing before it, or the conversation is gone.
    pub fn receive(&mut self, numbering: Numbering, mut messages: Vec<ByteString>) -> Result<(), ReceiveError> {
        match self.state {
            State::Gone(_) => return Err(ReceiveError::Gone),
            State::Closing { .. } => return Ok(()),
            State::New | State::Open => {}
        }
        if let Numbering::After(before) = numbering {
            let known = self.incoming.known(before).ok_or(ReceiveError::Gap)?;
            messages.drain(..known.min(messages.len()));
        }
        let count = messages.len();
        self.incoming.push(messages, &self.config).map_err(ReceiveError::Full)?;
        if numbering != Numbering::Unnumbered {
            self.incoming.count(count);
        }
        Ok(())
    }

    /// The client says how many messages it has got, so that no more of them need to be kept. What cannot be true is
    /// passed over.
    pub fn confirm(&mut self, received: u64) {
        let _ = self.outgoing.confirm(received);
    }

    /// The client says goodbye.
    pub fn leave(&mut self) {
        if let Slot::Attached(receiver) = &self.slot {
            self.slot = Slot::Ending { id: receiver.id, since: receiver.spoke_at };
        }
        self.go(Cause::Left);
    }

    /// For a receiver that is not this conversation's any more.
    fn poll_replaced(&mut self, id: ReceiverId) -> Output {
        match self.replaced.take_if(|(replaced, _)| *replaced == id) {
            Some((_, notice)) => Output::Last(notice),
            None => Output::Cut,
        }
    }
}

/// For the application.
impl<F> Conversation<F> {
    /// Queues a message.
    ///
    /// # Errors
    /// As much waits as may, or nobody will hear it. The message comes back.
    pub fn send(&mut self, message: ByteString) -> Result<(), SendError> {
        match self.state {
            State::New | State::Open => self.outgoing.push(message, &self.config).map_err(SendError::Full),
            State::Closing { .. } | State::Gone(_) => Err(SendError::Closed(message)),
        }
    }

    /// Ends the conversation: what is queued leaves, then the farewell, and for some time whoever comes is told. What
    /// the client has said and nobody has taken is forgotten. The first farewell holds.
    pub fn close(&mut self, now: Instant, farewell: Farewell) {
        let is_greeted = match self.state {
            State::New => false,
            State::Open => true,
            State::Closing { .. } | State::Gone(_) => return,
        };
        let until = after(now, self.config.closing_linger);
        self.state = State::Closing { farewell, until, is_greeted };
        self.incoming.clear();
    }

    /// What the client has said, and at last the end.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(message) = self.incoming.pop() {
            return Some(Event::Message(message));
        }
        match &mut self.state {
            State::Gone(cause) => cause.take().map(Event::Gone),
            _ => None,
        }
    }

    /// It is this late.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if let State::Closing { until, .. } = &self.state
            && is_due(*until)
        {
            return self.go(Cause::Closed);
        }
        match &mut self.slot {
            Slot::Attached(receiver) => {
                if !receiver.handle_timeout(now, &self.config) {
                    self.slot = Slot::Absent { since: now };
                    self.has_lost_receiver(Cause::Stalled);
                }
            }
            Slot::Absent { since } => {
                if matches!(self.state, State::New | State::Open) && is_due(after(*since, self.config.disconnect_delay))
                {
                    self.go(Cause::Deserted);
                }
            }
            Slot::Ending { since, .. } => {
                if is_due(after(*since, self.config.last_frame)) {
                    self.slot = Slot::Absent { since: now };
                    self.has_lost_receiver(Cause::Stalled);
                }
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let of_state = match &self.state {
            State::Closing { until, .. } => *until,
            State::New | State::Open => None,
            State::Gone(_) => return None,
        };
        let of_slot = match &self.slot {
            Slot::Attached(receiver) => receiver.deadline(&self.config),
            Slot::Absent { since } if of_state.is_none() => after(*since, self.config.disconnect_delay),
            Slot::Absent { .. } => None,
            Slot::Ending { since, .. } => after(*since, self.config.last_frame),
        };
        of_state.into_iter().chain(of_slot).min()
    }

    /// The receiver that [`poll_output`](Self::poll_output) may have something for.
    #[must_use]
    pub fn receiver(&self) -> Option<ReceiverId> {
        match &self.slot {
            Slot::Attached(receiver) => Some(receiver.id),
            Slot::Ending { id, .. } => Some(*id),
            Slot::Absent { .. } => None,
        }
    }

    /// Whether messages can be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::New | State::Open)
    }

    /// Whether nothing more can happen.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone(_))
    }

    /// Bytes of the messages that wait for a receiver.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.outgoing.bytes()
    }

    /// Messages and bytes to the client that are held: those that wait, and those that are kept.
    #[must_use]
    pub fn held_out(&self) -> (usize, usize) {
        self.outgoing.held()
    }

    /// Messages and bytes of the client that wait for the application.
    #[must_use]
    pub fn held_in(&self) -> (usize, usize) {
        self.incoming.held()
    }

    /// Whether so many messages of so many bytes would be taken from the client.
    #[must_use]
    pub fn has_room(&self, messages: usize, bytes: usize) -> bool {
        self.incoming.fits(messages, bytes, &self.config)
    }

    /// Without its client saying what has arrived, nothing that comes later may be heard.
    fn has_lost_receiver(&mut self, cause: Cause) {
        if self.config.dropped == DroppedReceiver::Ends {
            self.outgoing.clear();
            if self.is_open() {
                self.go(cause);
            }
        }
    }

    fn go(&mut self, cause: Cause) {
        if !self.is_gone() {
            self.state = State::Gone(Some(cause));
            self.outgoing.clear();
        }
    }
}

impl State {
    /// Something that is no message.
    fn owes_something(&self) -> bool {
        matches!(self, Self::New | Self::Closing { .. })
    }
}

/// What is said next, and whether it is the last that is said.
fn next_frame<F>(
    state: &mut State,
    outgoing: &mut Outgoing,
    config: &Config,
    receiver: &Receiver<F>,
    room: usize,
) -> Option<(Frame, bool)> {
    match state {
        State::New => {
            *state = State::Open;
            return Some((Frame::Open, false));
        }
        State::Closing { is_greeted, .. } if !*is_greeted => {
            *is_greeted = true;
            return Some((Frame::Open, false));
        }
        _ => {}
    }
    let bytes = room.min(receiver.left()).min(config.max_frame);
    if let Some(batch) = outgoing.take(bytes, config) {
        return Some((Frame::Messages(batch), false));
    }
    if let State::Closing { farewell, .. } = state {
        return Some((Frame::Close(farewell.clone()), true));
    }
    if !receiver.owes_heartbeat() {
        return None;
    }
    // Who is idle owns no memory.
    outgoing.forget();
    Some((Frame::Heartbeat, false))
}

fn farewell((code, reason): (u16, &'static str)) -> Farewell {
    Farewell::new(code, ByteString::from_static(reason))
}
