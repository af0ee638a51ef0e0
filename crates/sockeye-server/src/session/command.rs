//! What clients ask for: within their rate, in their order.
use std::{
    rc::{Rc, Weak},
    time::Duration,
};

use bytes::Bytes;
use sockeye::Keepalive;
use sockeye_hub::{CatchUp, Hub, Now, Request, SessionKey};
use tokio::{task::spawn_local, time::timeout};

use super::{Session, line::Stage};
use crate::{
    CallError,
    calls::Call,
    dialect::{Answer, Credentials, Dialect, ErrorCode, Farewell, Problem, Verb},
    permit::{Identity, Principal},
    talk::Talk,
    worker::{Crew, Local},
};

/// When to try again after a bound was reached that others reach too.
const SOON: Duration = Duration::from_secs(1);

/// What a turn is made of.
pub(super) struct Turn<'a> {
    pub(super) hub: &'a mut Hub<Principal>,
    pub(super) crew: &'a mut Crew,
    pub(super) now: Now,
    pub(super) local: &'a Rc<Local>,
}

impl<S: Talk, D: Dialect> Session<S, D> {
    pub(super) fn command(self: &Rc<Self>, id: Option<u64>, verb: Result<Verb, Problem>, turn: &mut Turn<'_>) {
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
            Ok(Verb::Refresh(shown)) => self.refresh(key, id, &shown, turn),
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
    pub(super) fn is_allowed(&self, id: Option<u64>, turn: &mut Turn<'_>) -> bool {
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
        let Identity { principal, expires_in } = turn.crew.permit().identify(shown)?;
        let user = principal.user();
        let mut own = key;
        if principal != Principal::Anonymous {
            // Nobody has seen the session that it was so far.
            own = turn.hub.open(principal, user.clone());
            turn.crew.insert(own, Rc::<Self>::clone(self));
            turn.crew.is_over(key);
        }
        let mut line = self.line.borrow_mut();
        (line.key, line.stage) = (Some(own), Stage::Open);
        line.expiry = turn.crew.expire(own, line.expiry, expires_in, turn.now);
        drop(line);
        if let Some(session) = turn.hub.session_id(own) {
            let ping_every = Keepalive::default().interval;
            self.answer(id, &Answer::Connected { session, user: user.as_deref(), ping_every }, turn.crew);
        }
        Ok(())
    }

    /// Shows again who it is, which has to be the same: others know the session by it.
    fn refresh(
        &self,
        key: SessionKey,
        id: Option<u64>,
        shown: &Credentials,
        turn: &mut Turn<'_>,
    ) -> Result<(), Problem> {
        let Identity { principal, expires_in } = turn.crew.permit().identify(shown)?;
        let Some(own) = turn.hub.principal_mut(key) else { return Ok(()) };
        if own.user() != principal.user() {
            return Err(Problem::new(ErrorCode::Forbidden, "the token is somebody else's"));
        }
        *own = principal;
        let mut line = self.line.borrow_mut();
        line.expiry = turn.crew.expire(key, line.expiry, expires_in, turn.now);
        drop(line);
        self.answer(id, &Answer::Refreshed { expires_in }, turn.crew);
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
        let local = turn.local;
        let mut line = self.line.borrow_mut();
        if line.calls >= local.calls.per_connection || local.running_calls.get() >= local.calls.per_worker {
            return Err(Problem::passing(ErrorCode::Limit, "too many calls are running", SOON));
        }
        let user = match turn.hub.principal_mut(key) {
            Some(principal) => {
                turn.crew.permit().may_call(principal)?;
                principal.user()
            }
            None => return Ok(()),
        };
        let session = turn.hub.session_id(key).map_or_else(String::new, |id| id.to_string());
        let running = local.calls.begin(method, Call::new(data, user, session));
        let running = running.ok_or_else(|| Problem::new(ErrorCode::NotFound, "there is no such method"))?;
        line.calls += 1;
        local.running_calls.set(local.running_calls.get() + 1);
        let mut reply = Reply { session: Rc::downgrade(self), local: Rc::clone(local), id, result: None };
        let limit = local.calls.timeout;
        spawn_local(async move {
            reply.result = Some(match timeout(limit, running).await {
                Ok(result) => result.map_err(CallError::into_problem),
                Err(_) => Err(Problem::new(ErrorCode::Timeout, "it took too long; whether it was done is not known")),
            });
            drop(reply);
        });
        Ok(())
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

/// The reply to a call, given when dropped: a handler that panics has an answer too. A client that leaves is not kept by it.
struct Reply<S: Talk, D: Dialect> {
    session: Weak<Session<S, D>>,
    local: Rc<Local>,
    id: Option<u64>,
    result: Option<Result<Bytes, Problem>>,
}

impl<S: Talk, D: Dialect> Drop for Reply<S, D> {
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
