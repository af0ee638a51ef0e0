//! What the two ends of a conversation share: the session that speaks on it, and the responses that its client hears through.
//!
//! Requests of one conversation come in on any worker, so it has a lock of its own, which is held for moments. Whoever changes
//! it wakes whom that concerns:
//!
//! ```text
//! session's task ── End ──▶ ┌──────────────┐ ◀── Receiver ── a response, written by its connection's task
//!    (one worker)           │ Conversation │ ◀── what a request has brought
//!    waits for its time     └──────────────┘
//! ```
use std::{
    any::Any,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use sockeye_pipe::{
    AttachError, Conversation, Ending, Framing, Numbering, Output, ReceiveError, ReceiverId, ReceiverKind, Resume,
};
use tokio::{
    net::TcpStream,
    sync::Notify,
    time::{sleep, timeout},
};

use super::http1::{ROOM, shared_chunk, with_chunk};
use crate::worker::send;

/// How long who has said something waits for the session to have dealt with it.
const PROMPT: Duration = Duration::from_secs(1);

/// A conversation, wherever it is used from.
pub(crate) struct Pipe<F> {
    state: Mutex<State<F>>,
    /// The session has taken something of what the client has said, or waits for more.
    pub(super) taken: Notify,
}

pub(super) struct State<F> {
    pub(super) conversation: Conversation<F>,
    /// The session's task.
    session: Option<Waker>,
    pub(super) waiting: Waiting,
    /// How little has to be queued for there to be room, in bytes.
    high_water: usize,
    /// Something was queued, and who writes has not been told.
    is_unflushed: bool,
    /// Who writes was told, and has not taken all yet.
    is_behind: bool,
    /// For when the session's task has set its timer.
    pub(super) armed: Option<Instant>,
    /// The socket of the receiver, where it is a plain one.
    loan: Option<Loan>,
    /// The tasks that write responses: that of the receiver, and those of receivers before it that have not ended yet.
    writers: Vec<(ReceiverId, Waker)>,
    /// What the receiver holds as long as the conversation has not given it up.
    held: Option<(ReceiverId, Held)>,
    pub(super) end: End,
}

/// A socket to which what is queued goes at once, as long as it takes all of it.
struct Loan {
    of: ReceiverId,
    socket: Arc<TcpStream>,
    turn: Turn,
    /// What the socket has not taken: its task writes that.
    rest: Bytes,
    /// What its task has to do then, in place of the next output.
    next: Option<Output>,
}

/// What the session's task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It has something to do, or will see that it has not.
    Not,
    /// What the client says next.
    ForMore,
    /// That little enough is queued, and then for more.
    ForRoom,
}

/// Whose turn it is to write to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Its task's, which may be in the middle of something.
    Task,
    /// Anybody's: its task waits for output.
    Anyone,
    /// Nobody's: the rest is being sent together with what is for others.
    Staged {
        /// Its task has asked for output meanwhile.
        was_asked: bool,
    },
}

/// How far its end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    NotYet,
    /// The client has heard why it is over.
    Told,
    /// The session is gone, so that nothing more can be heard.
    Abandoned,
}

/// Something that ends when it is dropped.
pub(crate) type Held = Box<dyn Any + Send>;

/// Whoever writes a response: what stands in it, piece by piece.
pub(crate) trait Outflow: Send + Unpin {
    /// What the response has to do next, its connection taking about so many bytes, at least one; never [`Output::Wait`].
    fn poll_output(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Output>;
    /// For a connection that takes nothing: ready once it is not worth waiting for any more.
    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// From now on what is said may be written by whoever says it, while [`poll_output`](Self::poll_output) is pending. It is
    /// written as chunks of HTTP/1.1.
    fn lend(&mut self, _socket: &Arc<TcpStream>) {}
    /// What the socket has not taken of that. To be asked before anything else is written.
    fn take_rest(&mut self) -> Bytes {
        Bytes::new()
    }
    /// All of it has been written. Dropped without that, it has not.
    fn finished(&mut self);
}

/// One response to a client, which is the conversation's receiver until dropped, or replaced.
pub(crate) struct Receiver<F: Framing> {
    pipe: Arc<Pipe<F>>,
    /// `None` once it is detached.
    id: Option<ReceiverId>,
}

impl<F> Pipe<F> {
    pub(super) fn new(conversation: Conversation<F>, high_water: usize) -> Self {
        let state = Mutex::new(State {
            conversation,
            session: None,
            waiting: Waiting::Not,
            high_water,
            is_unflushed: false,
            is_behind: false,
            armed: None,
            loan: None,
            writers: Vec::new(),
            held: None,
            end: End::NotYet,
        });
        Self { state, taken: Notify::new() }
    }

    /// What was begun under the lock is done: nothing in it can panic half way.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Framing> Pipe<F> {
    /// Makes a response the receiver. `held` is dropped when it is not any more, even if nobody has noticed yet.
    ///
    /// # Errors
    /// As [`Conversation::attach`].
    pub(crate) fn attach(
        self: &Arc<Self>,
        framing: F,
        kind: ReceiverKind,
        resume: Resume,
        held: Held,
    ) -> Result<Receiver<F>, AttachError> {
        let mut state = self.lock();
        if state.end == End::Abandoned {
            return Err(AttachError::Gone);
        }
        let id = state.conversation.attach(now(), framing, kind, resume)?;
        let before = state.held.replace((id, held));
        let loan = state.loan.take();
        if let Some(torn) = loan.as_ref().filter(|loan| !loan.rest.is_empty()) {
            // What has half left cannot be followed by why it is over.
            state.conversation.detach(torn.of, now(), Ending::Dropped);
        }
        // Before its task hears of it, which goes on with the socket when nobody else has it.
        drop(loan);
        state.wake_writers();
        state.wake_session();
        drop(state);
        drop(before);
        Ok(Receiver { pipe: Arc::clone(self), id: Some(id) })
    }

    /// Whether it could have a receiver now.
    pub(crate) fn is_free(&self) -> bool {
        let state = self.lock();
        state.end != End::Abandoned && !state.conversation.is_gone() && state.conversation.receiver().is_none()
    }

    /// What the client has said, and how many messages it has got, if it says so.
    ///
    /// # Errors
    /// As [`Conversation::receive`].
    pub(crate) fn receive(
        &self,
        numbering: Numbering,
        messages: Vec<ByteString>,
        received: Option<u64>,
    ) -> Result<(), ReceiveError> {
        let mut state = self.lock();
        if let Some(received) = received {
            state.conversation.confirm(received);
        }
        state.conversation.receive(numbering, messages)?;
        state.waiting = Waiting::Not;
        state.wake_session();
        Ok(())
    }

    /// The same, as soon as the session has taken enough of what was said before. Done when it has dealt with these, if that is
    /// soon: who polls next hears the answer, as clients of servers with one thread are used to.
    ///
    /// # Errors
    /// As [`Conversation::receive`]; `Full` if it has not after so long.
    ///
    /// # Cancel safety
    /// Dropped, either all of it or nothing has been taken.
    pub(crate) async fn receive_within(&self, time: Duration, messages: Vec<ByteString>) -> Result<(), ReceiveError> {
        let mut messages = messages;
        let end = sleep(time);
        let mut end = pin!(end);
        loop {
            // Before the attempt, so that none that comes after it is missed.
            let taken = self.taken.notified();
            match self.receive(Numbering::Unnumbered, messages, None) {
                Err(ReceiveError::Full(back)) => messages = back,
                Ok(()) => {
                    // One that takes its time answers whoever asks later.
                    let _ = timeout(PROMPT, self.dealt_with()).await;
                    return Ok(());
                }
                refused => return refused,
            }
            tokio::select! {
                () = taken => {}
                () = &mut end => return Err(ReceiveError::Full(messages)),
            }
        }
    }

    /// Ready once the session has taken all that was said, and has done with it what it does at once.
    ///
    /// # Cancel safety
    /// Nothing happens.
    async fn dealt_with(&self) {
        loop {
            let taken = self.taken.notified();
            if self.lock().is_at_rest() {
                return;
            }
            taken.await;
        }
    }

    /// The client says goodbye.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        state.conversation.leave();
        state.wake_writers();
        state.wake_session();
    }

    /// The session is gone.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.conversation.leave();
        state.end = End::Abandoned;
        (state.session, state.armed) = (None, None);
        self.taken.notify_waiters();
        let held = state.held.take();
        state.wake_writers();
        drop(state);
        drop(held);
    }

    fn detach(&self, id: ReceiverId, ending: Ending) {
        let mut state = self.lock();
        let is_current = state.conversation.receiver() == Some(id);
        state.writers.retain(|(writer, _)| *writer != id);
        let loan = state.loan.take_if(|loan| loan.of == id);
        state.conversation.detach(id, now(), ending);
        if is_current && ending == Ending::Finished && state.end == End::NotYet && !state.conversation.is_open() {
            state.end = End::Told;
        }
        let held = state.held.take_if(|(holder, _)| *holder == id);
        state.wake_session();
        drop(state);
        drop((held, loan));
    }
}

impl<F: Framing> State<F> {
    /// Takes note of who is to be woken for what the client says, and for the time.
    pub(super) fn session_is(&mut self, waker: &Waker) {
        if !self.session.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.session = Some(waker.clone());
        }
    }

    /// Whether little enough is queued.
    pub(super) fn has_room(&self) -> bool {
        self.conversation.buffered_amount() <= self.high_water
    }

    /// The session has nothing to take, or takes nothing until there is room.
    pub(super) fn waits(&mut self, taken: &Notify) {
        let waiting = if self.has_room() { Waiting::ForMore } else { Waiting::ForRoom };
        if std::mem::replace(&mut self.waiting, waiting) == Waiting::Not {
            taken.notify_waiters();
        }
    }

    fn is_at_rest(&self) -> bool {
        self.waiting != Waiting::Not || self.end != End::NotYet || !self.conversation.is_open()
    }

    pub(super) fn wake_session(&self) {
        if let Some(session) = &self.session {
            session.wake_by_ref();
        }
    }

    fn wake_writers(&self) {
        self.writers.iter().for_each(|(_, writer)| writer.wake_by_ref());
    }

    /// Something was queued.
    pub(super) fn has_queued(&mut self) {
        self.is_unflushed = true;
    }

    /// Whether nothing was queued since it was written, or somebody was told to write it.
    pub(super) fn is_flushed(&self) -> bool {
        !self.is_unflushed
    }

    /// Has what is queued written.
    pub(super) fn flush(&mut self) {
        if !std::mem::take(&mut self.is_unflushed) || self.write() {
            return;
        }
        if std::mem::replace(&mut self.is_behind, true) {
            self.must_progress();
            self.may_be_due_sooner();
        }
        self.wake_writers();
    }

    /// Writes what is queued, if nobody needs to be woken for it; whether all of it has left.
    fn write(&mut self) -> bool {
        let Some(loan) = self.loan.as_mut().filter(|loan| loan.turn == Turn::Anyone) else { return false };
        loop {
            match self.conversation.poll_output(loan.of, now(), ROOM) {
                Output::Wait => return true,
                Output::Write(bytes) => {
                    loan.rest = with_chunk(&bytes, |chunk| {
                        let taken = send(&loan.socket, chunk);
                        Bytes::copy_from_slice(chunk.get(taken..).unwrap_or_default())
                    });
                    if loan.rest.is_empty() {
                        continue;
                    }
                }
                last => loan.next = Some(last),
            }
            loan.turn = Turn::Task;
            return false;
        }
    }

    /// What of it is to be sent next, and to which socket, if nobody needs to be woken for it. Then [`staged`](Self::staged) has
    /// to be told how much has left.
    pub(super) fn stage(&mut self) -> Option<(Arc<TcpStream>, Bytes)> {
        let loan = self.loan.as_mut().filter(|loan| loan.turn == Turn::Anyone)?;
        match self.conversation.poll_output(loan.of, now(), ROOM) {
            Output::Wait => None,
            Output::Write(bytes) => {
                loan.rest = shared_chunk(&bytes);
                loan.turn = Turn::Staged { was_asked: false };
                Some((Arc::clone(&loan.socket), loan.rest.clone()))
            }
            last => {
                (loan.turn, loan.next) = (Turn::Task, Some(last));
                None
            }
        }
    }

    /// So much of what was staged has left; what has not is for the task that writes the response.
    pub(super) fn staged(&mut self, count: usize) {
        let Some(loan) = &mut self.loan else { return };
        let Turn::Staged { was_asked } = loan.turn else { return };
        loan.rest.advance(count.min(loan.rest.len()));
        let has_left = loan.rest.is_empty();
        loan.turn = if has_left { Turn::Anyone } else { Turn::Task };
        if has_left && self.conversation.is_open() && self.conversation.buffered_amount() == 0 {
            self.is_unflushed = false;
        }
        if was_asked {
            self.wake_writers();
        }
    }

    /// Begins the watch over a receiver for which something waits. It is not left to whoever writes: over HTTP/2 nobody is asked
    /// for output while there is no room.
    fn must_progress(&mut self) {
        if let Some(id) = self.conversation.receiver() {
            let _ = self.conversation.poll_output(id, now(), 0);
        }
    }

    /// It is this late.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.conversation.handle_timeout(now);
        if self.conversation.receiver().is_none() {
            // Whoever holds it may not hear of it for as long as the connection takes nothing.
            self.held = None;
        } else {
            self.is_behind = true;
            self.must_progress();
        }
        self.wake_writers();
    }

    /// To be called after all that can bring the deadline nearer, by others than the session's task.
    fn may_be_due_sooner(&self) {
        let deadline = self.conversation.deadline();
        if deadline.is_some_and(|deadline| self.armed.is_none_or(|armed| deadline < armed)) {
            self.wake_session();
        }
    }

    /// What a response has to do next.
    fn poll_output(&mut self, id: ReceiverId, cx: &Context<'_>, room: usize) -> Poll<Output> {
        if self.end == End::Abandoned {
            return Poll::Ready(Output::Cut);
        }
        if let Some(loan) = self.loan.as_mut().filter(|loan| loan.of == id) {
            if let Turn::Staged { was_asked } = &mut loan.turn {
                *was_asked = true;
                self.wait(id, cx);
                return Poll::Pending;
            }
            if !loan.rest.is_empty() {
                // It was still being sent when its task asked for the rest. That comes first, so it has to ask again.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            loan.turn = Turn::Task;
            if let Some(next) = loan.next.take() {
                return Poll::Ready(next);
            }
        }
        let output = self.conversation.poll_output(id, now(), room);
        if self.waiting == Waiting::ForRoom && self.has_room() {
            self.waiting = Waiting::Not;
            self.wake_session();
        }
        self.may_be_due_sooner();
        if output != Output::Wait {
            return Poll::Ready(output);
        }
        self.is_behind = false;
        if let Some(loan) = self.loan.as_mut().filter(|loan| loan.of == id) {
            loan.turn = Turn::Anyone;
        }
        self.wait(id, cx);
        Poll::Pending
    }

    /// Whether a response whose connection takes nothing is not the receiver any more.
    fn poll_blocked(&mut self, id: ReceiverId, cx: &Context<'_>) -> Poll<()> {
        if self.end == End::Abandoned || self.conversation.is_gone() || self.conversation.receiver() != Some(id) {
            return Poll::Ready(());
        }
        self.must_progress();
        self.may_be_due_sooner();
        self.wait(id, cx);
        Poll::Pending
    }

    fn wait(&mut self, id: ReceiverId, cx: &Context<'_>) {
        match self.writers.iter_mut().find(|(writer, _)| *writer == id) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => self.writers.push((id, cx.waker().clone())),
        }
    }
}

impl<F: Framing> Receiver<F> {
    /// What it is a receiver of.
    pub(crate) fn pipe(&self) -> &Pipe<F> {
        &self.pipe
    }
}

impl<F: Framing + Send> Outflow for Receiver<F> {
    fn poll_output(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Output> {
        match self.id {
            Some(id) => self.pipe.lock().poll_output(id, cx, room.max(1)),
            None => Poll::Ready(Output::Cut),
        }
    }

    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.id.map_or(Poll::Ready(()), |id| self.pipe.lock().poll_blocked(id, cx))
    }

    fn lend(&mut self, socket: &Arc<TcpStream>) {
        let mut state = self.pipe.lock();
        if let Some(id) = self.id.filter(|id| state.conversation.receiver() == Some(*id)) {
            let socket = Arc::clone(socket);
            state.loan = Some(Loan { of: id, socket, turn: Turn::Task, rest: Bytes::new(), next: None });
        }
    }

    fn take_rest(&mut self) -> Bytes {
        let mut state = self.pipe.lock();
        let own = state.loan.as_mut().filter(|loan| Some(loan.of) == self.id);
        let Some(loan) = own.filter(|loan| !matches!(loan.turn, Turn::Staged { .. })) else { return Bytes::new() };
        loan.turn = Turn::Task;
        std::mem::take(&mut loan.rest)
    }

    fn finished(&mut self) {
        if let Some(id) = self.id.take() {
            self.pipe.detach(id, Ending::Finished);
        }
    }
}

/// Whatever happens to the connection or its task, the conversation hears of it, once.
impl<F: Framing> Drop for Receiver<F> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.pipe.detach(id, Ending::Dropped);
        }
    }
}

/// By tokio's clock, which tests can hold.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
