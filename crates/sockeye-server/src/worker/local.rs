//! What one thread has to itself: its hub, and the sessions that its connections are.
use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::Rng;
use sockeye_hub::{Done, Event, Failure, FailureCode, Hub, Now, Publication, Request, SessionId, SessionKey};
use tokio::{
    sync::{Notify, oneshot},
    task::unconstrained,
    time::{Instant, timeout_at},
};

use super::{
    crew::{Crew, Outlet, Put},
    expiry::Expiry,
    lanes::{Batch, Pressure},
};
use crate::{SessionLimits, calls::Calls, dialect::Farewell, permit::Principal};

/// Clients of a server that restarts come back within this time, evenly.
const RESTART_SPREAD: Duration = Duration::from_secs(5);

/// One thread's world. It is used from that thread alone, so that nothing in it is locked; and each borrow ends before
/// anything is awaited.
pub(crate) struct Local {
    state: RefCell<State>,
    pressure: Cell<Pressure>,
    /// Tasks whose sessions are not read because of it.
    waiting: RefCell<Vec<Waker>>,
    /// How often they have been woken, from 1 on.
    round: Cell<u64>,
    /// The hub has a deadline before the one that is waited for.
    sooner: Notify,
    awaited: Cell<Option<std::time::Instant>>,
    /// The server stops, and has told everybody.
    is_leaving: Cell<bool>,
    /// The server has stopped, and nothing matters any more.
    is_stopping: Cell<bool>,
    pub(crate) limits: Arc<SessionLimits>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) running_calls: Cell<usize>,
}

struct State {
    hub: Hub<Principal>,
    crew: Crew,
}

impl State {
    /// When something is due.
    fn deadline(&self) -> Option<std::time::Instant> {
        self.hub.deadline().into_iter().chain(self.crew.deadline()).min()
    }
}

impl Local {
    pub(super) fn new(hub: Hub<Principal>, crew: Crew, limits: Arc<SessionLimits>, calls: Arc<Calls>) -> Self {
        Self {
            state: RefCell::new(State { hub, crew }),
            pressure: Cell::default(),
            waiting: RefCell::default(),
            round: Cell::new(1),
            sooner: Notify::new(),
            awaited: Cell::new(None),
            is_leaving: Cell::new(false),
            is_stopping: Cell::new(false),
            limits,
            calls,
            running_calls: Cell::new(0),
        }
    }

    /// One turn: something happens to the hub, and all that follows from it is done before anything else happens.
    ///
    /// What sessions are told in a turn leaves at its end, from here: no task is woken for it. One that is told several things,
    /// as by one who publishes many at once, gets them in one write.
    pub(crate) fn turn<T>(&self, happens: impl FnOnce(&mut Hub<Principal>, &mut Crew, Now) -> T) -> T {
        let now = Now { instant: Instant::now().into_std(), unix_ms: unix_millis() };
        let mut state = self.state.borrow_mut();
        let State { hub, crew } = &mut *state;
        let result = without_budget(|| {
            let result = happens(hub, crew, now);
            loop {
                while let Some(key) = crew.next_over() {
                    hub.close(key, now, crew);
                }
                crew.flush();
                if !crew.has_over() {
                    return result;
                }
            }
        });
        let pressure = crew.post();
        let deadline = state.deadline();
        drop(state);
        self.press(pressure);
        if deadline.is_some_and(|deadline| self.awaited.get().is_none_or(|awaited| deadline < awaited)) {
            self.sooner.notify_one();
        }
        result
    }

    /// A new session.
    pub(crate) fn open(&self, outlet: Rc<dyn Outlet>) -> SessionKey {
        self.turn(|hub, crew, _| {
            let key = hub.open(Principal::Anonymous, None);
            if self.is_leaving.get() {
                outlet.end(farewell());
                crew.is_over(key);
            }
            crew.insert(key, outlet);
            key
        })
    }

    /// A session is over, and its connection.
    pub(crate) fn close(&self, key: Option<SessionKey>, expiry: Option<Expiry>) {
        // Without the runtime, nothing that follows could be done.
        if self.is_stopping.get() {
            return;
        }
        self.turn(|_, crew, _| {
            if let Some(expiry) = expiry {
                crew.forget(expiry);
            }
            if let Some(key) = key {
                crew.is_over(key);
            }
        });
    }

    /// Something that is asked on nobody's behalf but `principal`'s, as through the server's own interface: it has no
    /// session that others see, and what it publishes is from nobody. It is asked before this returns.
    ///
    /// # Cancel safety
    /// Dropped, nobody hears the answer; what was asked is done.
    pub(crate) fn ask(
        &self,
        principal: Principal,
        request: Request,
    ) -> impl Future<Output = Result<Done, Failure>> + use<'_> {
        let (reply, answer) = oneshot::channel();
        let key = self.turn(|hub, crew, now| {
            let key = hub.open_hidden(principal);
            crew.insert(key, Rc::new(Asked(Cell::new(Some(reply)))));
            hub.request(key, Some(0), request, now, crew);
            key
        });
        let ended = Ended { local: self, key };
        async move {
            let _ended = ended;
            answer.await.unwrap_or_else(|_| Err(Failure::new(FailureCode::Unavailable, "the server is stopping")))
        }
    }

    #[cfg(test)]
    pub(super) fn has_expiries(&self) -> bool {
        self.state.borrow().crew.deadline().is_some()
    }

    /// Looks at the hub and changes nothing, as for lists of channels and numbers.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Hub<Principal>) -> T) -> T {
        look(&self.state.borrow().hub)
    }

    /// Ends the sessions that are meant, and says how many they were.
    pub(crate) fn dismiss(&self, farewell: Farewell, is_meant: impl Fn(SessionId, &Principal) -> bool) -> usize {
        self.turn(|hub, crew, _| {
            crew.end_those(
                || farewell,
                |key| {
                    let id = hub.session_id(key);
                    let who = hub.principal_mut(key);
                    id.zip(who).is_some_and(|(id, who)| is_meant(id, who))
                },
            )
        })
    }

    /// What others have told or asked this worker.
    pub(super) fn arrived(&self, mut batch: Batch) {
        self.turn(|hub, crew, now| {
            while let Some(wire) = batch.wires.pop_front() {
                hub.arrived(batch.from, wire, now, crew);
            }
        });
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&self) {
        self.turn(|hub, crew, now| {
            crew.handle_expiries(now);
            hub.handle_timeout(now, crew);
        });
    }

    /// Ready once something is due.
    pub(super) async fn due(&self) {
        loop {
            let deadline = self.state.borrow().deadline();
            self.awaited.set(deadline);
            let Some(deadline) = deadline else {
                self.sooner.notified().await;
                continue;
            };
            if timeout_at(deadline.into(), self.sooner.notified()).await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn pressure(&self) -> Pressure {
        self.pressure.get()
    }

    /// Has a task woken when sessions are read again. `asked` is the task's own, 0 at first: it says in which round it has
    /// asked, for one that is polled again meanwhile; and one that was woken and finds the pressure back asks anew.
    pub(crate) fn wait_for_room(&self, waker: &Waker, asked: &mut u64) {
        let round = self.round.get();
        if std::mem::replace(asked, round) != round {
            self.waiting.borrow_mut().push(waker.clone());
        }
    }

    /// Ends every session: the server stops, and tells each client when to come back.
    pub(super) fn stop(&self) {
        self.is_leaving.set(true);
        self.turn(|_, crew, _| crew.end_those(farewell, |_| true));
    }

    /// From here on nothing is done any more.
    pub(super) fn stopped(&self) {
        self.is_stopping.set(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    pub(super) fn press(&self, pressure: Pressure) {
        let before = self.pressure.replace(pressure);
        if before.on_sessions && !pressure.on_sessions {
            self.round.set(self.round.get() + 1);
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// Who asked without a session that others see.
struct Asked(Cell<Option<oneshot::Sender<Result<Done, Failure>>>>);

impl Outlet for Asked {
    fn deliver(&self, _: &Arc<Publication>, _: bool, _: &SessionLimits) -> Put {
        Put::Taken
    }

    fn event(&self, event: Event, _: &SessionLimits) -> Put {
        let result = match event {
            Event::Done(_, done) => Ok(done),
            Event::Failed(_, failure) => Err(failure),
            _ => return Put::Taken,
        };
        if let Some(reply) = self.0.take() {
            // Who asked may have left.
            let _ = reply.send(result);
        }
        Put::Taken
    }

    fn put_held(&self, _: &Publication, _: &SessionLimits) -> Put {
        Put::Taken
    }

    fn flush(&self) -> bool {
        false
    }

    fn expiring(&self, _: Duration, _: &SessionLimits) -> Put {
        Put::Taken
    }

    fn end(&self, _: Farewell) {
        self.0.take();
    }
}

/// Ends a session when dropped.
struct Ended<'a> {
    local: &'a Local,
    key: SessionKey,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.local.close(Some(self.key), None);
    }
}

/// Does something that is not to be cut short by the budget of the task that happens to do it: who publishes to a thousand
/// writes to a thousand.
fn without_budget<T>(work: impl FnOnce() -> T) -> T {
    match pin!(unconstrained(async { work() })).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("it awaits nothing"),
    }
}

/// For a server that restarts.
fn farewell() -> Farewell {
    let spread = u64::try_from(RESTART_SPREAD.as_millis()).unwrap_or(u64::MAX);
    Farewell::Restart(Duration::from_millis(rand::rng().random_range(0..=spread)))
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
