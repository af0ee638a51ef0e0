//! Sessions: a stream of messages on one side, a hub on the other, a dialect between them.
//!
//! What a session is told goes straight into its WebSocket from the turn in which it is said, and leaves at the end of that
//! turn; its own task is woken only when the transport does not take all of it. While more than
//! [`SessionLimits::soft_output`] waits there the hub keeps publications for it, under the channel's policy for slow
//! subscribers, and the session is not read. What cannot wait in the hub, such as replies, may fill its output up to
//! [`SessionLimits::hard_output`], and then the session is ended.
//!
//! Nobody is too slow for what it has asked for. A command whose answer may be large is the last one that is taken until it has
//! been answered, and none is taken while the output is above the mark; what is left of a message waits meanwhile.
use std::{
    cell::RefCell,
    ops::ControlFlow,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use sockeye::{Config, Keepalive, Limits, Message, Rate, WebSocket};
use sockeye_hub::{CatchUp, Event, Hub, Now, Publication, Request, SessionKey};
use tokio::{task::spawn_local, time::timeout};
use tracing::debug;

use crate::{
    SessionLimits,
    calls::Call,
    dialect::{Answer, Credentials, Dialect, ErrorCode, Farewell, Problem, Said, Verb, json},
    exchange::Io,
    permit::{Identity, Principal},
    worker::{Crew, Local, Outlet, Put},
};

/// When to try again after a bound was reached that others reach too.
const SOON: Duration = Duration::from_secs(1);

/// How connections of the hub behave.
pub(crate) fn config(limits: &SessionLimits) -> Config {
    Config::with(|config| {
        config.limits = Limits::with(|own| {
            own.max_message = json::MAX_MESSAGE;
            own.max_frame = json::MAX_MESSAGE;
            own.max_fragments = 256;
            // Where a session whose output was above it is well again. What else finds room, `Line::put` decides.
            own.high_water = limits.soft_output;
            own.max_write_queue = usize::MAX;
        });
        config.keepalive = Some(Keepalive::default());
    })
}

/// A WebSocket and its session, from now until either is over. `ticket` is dropped at the end.
pub(crate) fn converse<S: Io, D: Dialect, T: Unpin>(
    socket: WebSocket<S>,
    dialect: D,
    local: Rc<Local>,
    ticket: T,
) -> Conversation<S, D, T> {
    let line = RefCell::new(Line {
        socket,
        waker: None,
        key: None,
        rate: Rate::default(),
        refused: 0,
        calls: 0,
        stage: Stage::New,
        is_full: false,
        is_unflushed: false,
        is_waiting: false,
        reading: None,
        rest: None,
    });
    let session = Rc::new(Session { line, dialect });
    let key = local.open(Rc::<Session<S, D>>::clone(&session));
    let mut line = session.line.borrow_mut();
    // A server that is stopping has said goodbye already.
    if line.stage != Stage::Leaving {
        line.key = Some(key);
    }
    drop(line);
    Conversation { session, local, _ticket: ticket }
}

/// The task of one connection.
pub(crate) struct Conversation<S: Io, D: Dialect, T> {
    session: Rc<Session<S, D>>,
    local: Rc<Local>,
    _ticket: T,
}

/// What its task and its worker share of a connection.
struct Session<S, D> {
    line: RefCell<Line<S>>,
    dialect: D,
}

/// Borrowed for moments, by the task that reads and by the turn that writes.
struct Line<S> {
    socket: WebSocket<S>,
    /// Of the task, so that whoever writes can leave the rest to it.
    waker: Option<Waker>,
    key: Option<SessionKey>,
    rate: Rate,
    /// Commands refused because they came too fast, less those that were done since.
    refused: u16,
    /// That are being answered.
    calls: u16,
    stage: Stage,
    /// The hub keeps publications until there is room.
    is_full: bool,
    /// Something was put, and will be flushed at the end of the turn.
    is_unflushed: bool,
    /// It is not read because of the pressure on its worker.
    is_waiting: bool,
    /// The command that is being answered at length; no other is taken before it has been.
    reading: Option<u64>,
    rest: Option<Box<Rest>>,
}

/// A message, and how many of its commands have been taken.
struct Rest {
    is_text: bool,
    bytes: Bytes,
    taken: usize,
}

/// ```text
/// New ──first command──▶ Open ──either side ends it──▶ Leaving
///  └──────────────────────────────────────────────────────▶┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It may still say who it is.
    New,
    /// It is who it is.
    Open,
    /// It has no session any more; the closing handshake goes on.
    Leaving,
}

/// What a task has to do next.
enum Next {
    /// Something was said.
    Take(Rest),
    /// The hub can go on.
    Writable(SessionKey),
    /// The connection is over.
    End,
}

impl<S: Io, D: Dialect, T: Unpin> Future for Conversation<S, D, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = ready!(self.session.line.borrow_mut().poll_next(&self.local, cx));
            match next {
                Next::Take(rest) => self.session.take(rest, &self.local),
                Next::Writable(key) => self.local.turn(|hub, crew, now| hub.writable(key, now, crew)),
                Next::End => return Poll::Ready(()),
            }
        }
    }
}

/// However it ends, the hub hears of it.
impl<S: Io, D: Dialect, T> Drop for Conversation<S, D, T> {
    fn drop(&mut self) {
        let key = self.session.line.borrow_mut().leave();
        if let Some(key) = key {
            self.local.close(key);
        }
    }
}

impl<S: Io> Line<S> {
    fn poll_next(&mut self, local: &Local, cx: &mut Context<'_>) -> Poll<Next> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        loop {
            if self.stage != Stage::Leaving {
                if self.is_full || self.socket.buffered_amount() > local.limits.soft_output {
                    if let Err(error) = ready!(self.socket.poll_ready(cx)) {
                        debug!(code = error.code(), "session ended: {error}");
                        return Poll::Ready(Next::End);
                    }
                    if std::mem::take(&mut self.is_full)
                        && let Some(key) = self.key
                    {
                        return Poll::Ready(Next::Writable(key));
                    }
                }
                if local.pressure().on_sessions {
                    if !self.is_waiting {
                        self.is_waiting = true;
                        local.wait_for_room(cx.waker());
                    }
                    // What fails here is told when it is read again.
                    let _ = self.socket.poll_flush(cx);
                    return Poll::Pending;
                }
                self.is_waiting = false;
                if self.rest.is_some() && self.reading.is_some() {
                    let _ = self.socket.poll_flush(cx);
                    return Poll::Pending;
                }
                if let Some(rest) = self.rest.take() {
                    return Poll::Ready(Next::Take(*rest));
                }
            }
            return Poll::Ready(match ready!(self.socket.poll_recv(cx)) {
                Some(Ok(_)) if self.stage == Stage::Leaving => continue,
                Some(Ok(message)) if self.reading.is_some() => {
                    self.rest = Some(Box::new(Rest::of(message)));
                    continue;
                }
                Some(Ok(message)) => Next::Take(Rest::of(message)),
                Some(Err(error)) => {
                    debug!(code = error.code(), "session ended: {error}");
                    Next::End
                }
                None => Next::End,
            });
        }
    }

    /// The next message if it is here already and may be taken now.
    fn next_at_hand(&mut self, limits: &SessionLimits) -> Option<Rest> {
        if self.is_busy(limits) { None } else { self.socket.try_recv().map(Rest::of) }
    }

    /// Whether no command may be taken now.
    fn is_busy(&self, limits: &SessionLimits) -> bool {
        self.stage == Stage::Leaving
            || self.reading.is_some()
            || self.is_full
            || self.socket.buffered_amount() > limits.soft_output
    }

    /// Puts something into the output, which has room for so much.
    fn put(&mut self, said: Said, room: usize) -> Result<Put, TooSlow> {
        let len = match &said {
            Said::One(message) => message.len(),
            Said::Many(message) => message.message().len(),
        };
        if !self.fits(len, room) {
            // Nothing of what this turn has put has left yet.
            self.write();
        }
        if !self.fits(len, room) {
            debug!(len, waiting = self.socket.buffered_amount(), "a session is too slow");
            return Err(TooSlow);
        }
        let sent = match said {
            Said::One(message) => self.socket.try_send(message).map_err(|refused| refused.is_full()),
            Said::Many(message) => self.socket.try_send_prepared(&message).map_err(|refused| refused.is_full()),
        };
        match sent {
            Ok(()) if std::mem::replace(&mut self.is_unflushed, true) => Ok(Put::Taken),
            Ok(()) => Ok(Put::Unflushed),
            Err(true) => Err(TooSlow),
            // It is closing, and will be over in a moment.
            Err(false) => Ok(Put::Taken),
        }
    }

    /// One thing may be larger than the bound, while less than half of it waits.
    fn fits(&self, len: usize, room: usize) -> bool {
        let waiting = self.socket.buffered_amount();
        waiting <= room / 2 || waiting.saturating_add(len) <= room
    }

    /// Hands the transport what it takes now; its task sees to the rest.
    fn write(&mut self) {
        let Some(waker) = &self.waker else { return };
        if let Poll::Ready(Err(error)) = self.socket.poll_flush(&mut Context::from_waker(waker)) {
            debug!(code = error.code(), "session lost: {error}");
            waker.wake_by_ref();
        }
    }

    /// The session is over; which one, if it was not before.
    fn leave(&mut self) -> Option<SessionKey> {
        self.stage = Stage::Leaving;
        self.key.take()
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// More was waiting for a client than is kept.
struct TooSlow;

impl<S: Io, D: Dialect> Session<S, D> {
    /// What a client has said, and what else of it is here already, in one turn.
    fn take(self: &Rc<Self>, first: Rest, local: &Rc<Local>) {
        // Its own task flushes before it waits.
        self.line.borrow_mut().is_unflushed = true;
        local.turn(|hub, crew, now| {
            let turn = &mut Turn { hub, crew, now, local };
            let mut next = Some(first);
            while let Some(message) = next {
                self.take_message(message, turn);
                next = self.line.borrow_mut().next_at_hand(&local.limits);
            }
        });
        self.line.borrow_mut().is_unflushed = false;
    }

    /// The commands of one message, or of what is left of it, as far as they may be taken now.
    fn take_message(self: &Rc<Self>, mut message: Rest, turn: &mut Turn<'_>) {
        let Rest { is_text, bytes, taken } = &mut message;
        let before = *taken;
        let read = self.dialect.read(*is_text, bytes, before, |id, verb| {
            *taken += 1;
            self.command(id, verb, turn);
            if self.line.borrow().is_busy(&turn.local.limits) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        match read {
            Ok(ControlFlow::Break(())) => self.line.borrow_mut().rest = Some(Box::new(message)),
            // Even nothing takes its time.
            Ok(ControlFlow::Continue(())) if *taken == 0 => {
                self.is_allowed(None, turn);
            }
            Ok(ControlFlow::Continue(())) => {}
            Err(farewell) => self.dismiss(farewell, turn.crew),
        }
    }

    fn command(self: &Rc<Self>, id: Option<u64>, verb: Result<Verb, Problem>, turn: &mut Turn<'_>) {
        let Some(key) = self.line.borrow().key else { return };
        if !self.is_allowed(id, turn) {
            return;
        }
        let is_first = {
            let mut line = self.line.borrow_mut();
            let is_connect = matches!(verb, Ok(Verb::Connect(_)));
            let is_first = line.stage == Stage::New;
            if is_first && verb.is_ok() && !is_connect {
                line.stage = Stage::Open;
            }
            is_first
        };
        let done = match verb {
            Ok(Verb::Hub(request)) => {
                self.line.borrow_mut().reading = id.filter(|_| answers_at_length(&request));
                return turn.hub.request(key, id, request, turn.now, turn.crew);
            }
            Ok(Verb::Connect(_)) if !is_first => Err(Problem::bad_request("connect comes first, and once")),
            Ok(Verb::Connect(shown)) => self.connect(key, id, &shown, turn),
            Ok(Verb::Refresh(shown)) => turn.crew.permit().identify(&shown).map(|identity| {
                if let Some(principal) = turn.hub.principal_mut(key) {
                    *principal = identity.principal;
                }
                self.answer(id, &Answer::Refreshed { expires_in: None }, turn.crew);
            }),
            Ok(Verb::Call { method, data }) => self.call(key, id, &method, data, turn),
            Ok(Verb::Ping) => {
                self.answer(id, &Answer::Pong, turn.crew);
                Ok(())
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = done {
            self.complain(id, &problem, turn.crew);
        }
    }

    /// Whether a command is within the rate; if not, the client is told, and in the end sent away.
    fn is_allowed(&self, id: Option<u64>, turn: &mut Turn<'_>) -> bool {
        let (per_second, burst, max_refused) = self.dialect.rate(&turn.local.limits);
        let mut line = self.line.borrow_mut();
        if line.stage == Stage::Leaving {
            return false;
        }
        if line.rate.take(turn.now.instant, per_second, burst) {
            line.refused = line.refused.saturating_sub(1);
            return true;
        }
        line.refused = line.refused.saturating_add(1);
        let has_enough = line.refused > max_refused;
        drop(line);
        if has_enough {
            self.dismiss(Farewell::RateLimited, turn.crew);
        } else {
            let wait = Duration::from_secs(1) / per_second.max(1);
            let problem = Problem::passing(ErrorCode::RateLimited, "too many commands in a second", wait);
            self.complain(id, &problem, turn.crew);
        }
        false
    }

    fn connect(
        self: &Rc<Self>,
        key: SessionKey,
        id: Option<u64>,
        shown: &Credentials,
        turn: &mut Turn<'_>,
    ) -> Result<(), Problem> {
        let Identity { principal, user } = turn.crew.permit().identify(shown)?;
        let mut own = key;
        if principal != Principal::Anonymous {
            // Nobody has seen the session that it was so far.
            own = turn.hub.open(principal, user.clone());
            turn.crew.insert(own, Rc::<Self>::clone(self));
            turn.crew.is_over(key);
        }
        let mut line = self.line.borrow_mut();
        (line.key, line.stage) = (Some(own), Stage::Open);
        drop(line);
        if let Some(session) = turn.hub.session_id(own) {
            let ping_every = Keepalive::default().interval;
            self.answer(id, &Answer::Connected { session, user: user.as_deref(), ping_every }, turn.crew);
        }
        Ok(())
    }

    fn call(
        self: &Rc<Self>,
        key: SessionKey,
        id: Option<u64>,
        method: &str,
        data: Bytes,
        turn: &mut Turn<'_>,
    ) -> Result<(), Problem> {
        if let Some(principal) = turn.hub.principal_mut(key) {
            turn.crew.permit().may_call(principal)?;
        }
        let local = turn.local;
        let mut line = self.line.borrow_mut();
        if line.calls >= local.calls.per_connection || local.running_calls.get() >= local.calls.per_worker {
            return Err(Problem::passing(ErrorCode::Limit, "too many calls are running", SOON));
        }
        let user = turn.hub.principal_mut(key).and_then(|principal| principal.user());
        let session = turn.hub.session_id(key).map_or_else(String::new, |id| id.to_string());
        let running = local.calls.begin(method, Call::new(data, user, session));
        let running = running.ok_or_else(|| Problem::new(ErrorCode::NotFound, "there is no such method"))?;
        line.calls += 1;
        local.running_calls.set(local.running_calls.get() + 1);
        let mut reply = Reply { session: Rc::downgrade(self), local: Rc::clone(local), id, result: None };
        let limit = local.calls.timeout;
        spawn_local(async move {
            reply.result = Some(match timeout(limit, running).await {
                Ok(result) => result.map_err(crate::CallError::into_problem),
                Err(_) => Err(Problem::new(ErrorCode::Timeout, "it took too long; whether it was done is not known")),
            });
            drop(reply);
        });
        Ok(())
    }

    fn answer(&self, id: Option<u64>, answer: &Answer<'_>, crew: &mut Crew) {
        if let Some(message) = id.and_then(|id| self.dialect.answer(id, answer)) {
            self.tell(Said::One(message), crew);
        }
    }

    fn complain(&self, id: Option<u64>, problem: &Problem, crew: &mut Crew) {
        if let Some(message) = self.dialect.problem(id, problem) {
            self.tell(Said::One(message), crew);
        }
    }

    /// Tells the client something that cannot wait in the hub.
    fn tell(&self, said: Said, crew: &mut Crew) {
        let Some(key) = self.line.borrow().key else { return };
        let put = self.put(said, crew.limits().hard_output);
        crew.note(key, put);
    }

    fn dismiss(&self, farewell: Farewell, crew: &mut Crew) {
        let Some(key) = self.line.borrow().key else { return };
        self.end(farewell);
        crew.is_over(key);
    }

    fn put(&self, said: Said, room: usize) -> Put {
        let put = self.line.borrow_mut().put(said, room);
        put.unwrap_or_else(|TooSlow| {
            self.end(Farewell::TooSlow);
            Put::Over
        })
    }
}

impl Rest {
    fn of(message: Message) -> Self {
        Self { is_text: message.is_text(), bytes: message.into_bytes(), taken: 0 }
    }
}

/// Whether the answer can be large.
fn answers_at_length(request: &Request) -> bool {
    match request {
        Request::History(..) => true,
        Request::Presence(_, limit) => *limit > 0,
        Request::Subscribe(_, subscribe) => subscribe.members || subscribe.catch_up != CatchUp::None,
        _ => false,
    }
}

/// What a turn is made of.
struct Turn<'a> {
    hub: &'a mut Hub<Principal>,
    crew: &'a mut Crew,
    now: Now,
    local: &'a Rc<Local>,
}

impl<S: Io, D: Dialect> Outlet for Session<S, D> {
    fn deliver(&self, publication: &Arc<Publication>, own: bool, limits: &SessionLimits) -> Put {
        let mut line = self.line.borrow_mut();
        if line.stage == Stage::Leaving {
            return Put::Taken;
        }
        if line.is_full || line.socket.buffered_amount() > limits.soft_output {
            line.is_full = true;
            // Its task sees to it that the rest leaves, and says when.
            line.wake();
            return Put::Full;
        }
        drop(line);
        let Some(said) = self.dialect.publication(publication, own) else { return Put::Taken };
        self.put(said, limits.hard_output)
    }

    fn event(&self, event: Event, limits: &SessionLimits) -> Put {
        if let Event::Closing(cause) = event {
            self.end(cause.into());
            return Put::Over;
        }
        let mut line = self.line.borrow_mut();
        if line.stage == Stage::Leaving {
            return Put::Taken;
        }
        if let Event::Done(id, _) | Event::Failed(Some(id), _) = event
            && line.reading == Some(id)
        {
            line.reading = None;
            if line.rest.is_some() {
                line.wake();
            }
        }
        drop(line);
        self.dialect.event(&event).map_or(Put::Taken, |said| self.put(said, limits.hard_output))
    }

    fn flush(&self) {
        let mut line = self.line.borrow_mut();
        line.is_unflushed = false;
        line.write();
    }

    fn end(&self, farewell: Farewell) {
        let mut line = self.line.borrow_mut();
        if line.stage == Stage::Leaving {
            return;
        }
        line.leave();
        let (message, code, reason) = self.dialect.bye(farewell);
        if let Some(message) = message {
            // The output has room for it; and who is gone needs none.
            let _ = line.socket.try_send(message);
        }
        line.socket.start_close(code, reason);
        line.wake();
    }
}

/// The reply to a call, given when dropped: a handler that panics has an answer too. A client that leaves is not kept by it.
struct Reply<S: Io, D: Dialect> {
    session: Weak<Session<S, D>>,
    local: Rc<Local>,
    id: Option<u64>,
    result: Option<Result<Bytes, Problem>>,
}

impl<S: Io, D: Dialect> Drop for Reply<S, D> {
    fn drop(&mut self) {
        let Self { session, local, id, result } = self;
        local.running_calls.set(local.running_calls.get().saturating_sub(1));
        let Some(session) = session.upgrade() else { return };
        let mut line = session.line.borrow_mut();
        line.calls = line.calls.saturating_sub(1);
        let is_there = line.key.is_some();
        drop(line);
        if !is_there || local.is_stopping() {
            return;
        }
        let failed = || Err(Problem::new(ErrorCode::Internal, "the handler failed"));
        let result = result.take().unwrap_or_else(failed);
        local.turn(|_, crew, _| match &result {
            Ok(data) => session.answer(*id, &Answer::Called(data), crew),
            Err(problem) => session.complain(*id, problem, crew),
        });
    }
}
