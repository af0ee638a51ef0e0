//! The sessions of one worker as its hub sees them: who is told what, and the way to other workers and to the store.
use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use sockeye_hub::{
    Action, ChannelName, Event, Failure, Host, Now, Publication, Queued, SessionKey, StoreRequest, Wire, WorkerId,
};

use super::{
    expiry::{Due, Expiries, Expiry, NOTICE},
    lanes::{Outward, Pressure},
};
use crate::{
    SessionLimits,
    dialect::Farewell,
    permit::{Permit, Principal},
    store::Store,
};

/// Where what is told a session goes. None of it calls back.
pub(crate) trait Outlet {
    /// A publication.
    fn deliver(&self, publication: &Arc<Publication>, own: bool, limits: &SessionLimits) -> Put;
    /// Anything else.
    fn event(&self, event: Event, limits: &SessionLimits) -> Put;
    /// Hands the transport what has been put.
    fn flush(&self);
    /// Its token runs out after that time.
    fn expiring(&self, within: Duration, limits: &SessionLimits) -> Put;
    /// The server ends the session.
    fn end(&self, farewell: Farewell);
}

/// What became of something that was put into an outlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It has been taken, and will leave.
    Taken,
    /// It has been taken, and has to be flushed.
    Unflushed,
    /// There is no room.
    Full,
    /// The session is over.
    Over,
}

/// The host of a worker's hub.
pub(crate) struct Crew {
    /// By the index of their keys.
    outlets: Vec<Option<(SessionKey, Rc<dyn Outlet>)>>,
    /// Those to be flushed at the end of the turn.
    unflushed: Vec<SessionKey>,
    /// Those that are over and that the hub has to hear of.
    over: Vec<SessionKey>,
    outward: Outward,
    store: Arc<dyn Store>,
    me: usize,
    permit: Arc<dyn Permit>,
    limits: Arc<SessionLimits>,
    expiries: Expiries,
}

impl Crew {
    pub(super) fn new(
        me: usize,
        outward: Outward,
        store: Arc<dyn Store>,
        permit: Arc<dyn Permit>,
        limits: Arc<SessionLimits>,
    ) -> Self {
        Self {
            outlets: Vec::new(),
            unflushed: Vec::new(),
            over: Vec::new(),
            outward,
            store,
            me,
            permit,
            limits,
            expiries: Expiries::default(),
        }
    }

    /// From now on this is where a session is told.
    pub(crate) fn insert(&mut self, key: SessionKey, outlet: Rc<dyn Outlet>) {
        if self.outlets.len() <= key.index() {
            self.outlets.resize_with(key.index() + 1, || None);
        }
        self.outlets[key.index()] = Some((key, outlet));
    }

    /// A session is told nothing more.
    pub(crate) fn remove(&mut self, key: SessionKey) {
        if let Some(place) = self.outlets.get_mut(key.index())
            && place.as_ref().is_some_and(|(own, _)| *own == key)
        {
            *place = None;
        }
    }

    pub(crate) fn permit(&self) -> &dyn Permit {
        &*self.permit
    }

    pub(crate) fn limits(&self) -> &SessionLimits {
        &self.limits
    }

    /// A session is over, and the hub is to hear of it at the end of the turn.
    pub(crate) fn is_over(&mut self, key: SessionKey) {
        self.over.push(key);
    }

    pub(super) fn next_over(&mut self) -> Option<SessionKey> {
        let key = self.over.pop()?;
        self.remove(key);
        Some(key)
    }

    /// From now on a session's token is good for so long, and `before` it does not count any more.
    pub(crate) fn expire(
        &mut self,
        key: SessionKey,
        before: Option<Expiry>,
        expires_in: Option<Duration>,
        now: Now,
    ) -> Option<Expiry> {
        if let Some(before) = before {
            self.expiries.remove(before);
        }
        expires_in.map(|expires_in| self.expiries.insert(key, expires_in, now.instant))
    }

    /// Nothing is due for it any more.
    pub(super) fn forget(&mut self, expiry: Expiry) {
        self.expiries.remove(expiry);
    }

    /// When [`handle_expiries`](Self::handle_expiries) is to be called at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.expiries.deadline()
    }

    /// Tells those whose tokens run out, and ends those whose have.
    pub(super) fn handle_expiries(&mut self, now: Now) {
        while let Some(due) = self.expiries.take_due(now.instant) {
            match due {
                Due::Notice(key) => {
                    let Some(outlet) = self.outlet(key) else { continue };
                    let put = outlet.expiring(NOTICE, &self.limits);
                    self.note(key, put);
                }
                Due::End(key) => {
                    let Some(outlet) = self.outlet(key) else { continue };
                    outlet.end(Farewell::TokenExpired);
                    self.over.push(key);
                }
            }
        }
    }

    /// Ends the sessions that are meant, each with a farewell of its own; says how many they were.
    pub(super) fn end_those(
        &mut self,
        mut farewell: impl FnMut() -> Farewell,
        mut is_meant: impl FnMut(SessionKey) -> bool,
    ) -> usize {
        let before = self.over.len();
        for (key, outlet) in self.outlets.iter().flatten().filter(|(key, _)| is_meant(*key)) {
            outlet.end(farewell());
            self.over.push(*key);
        }
        self.over.len() - before
    }

    /// Writes what the turn has put.
    pub(super) fn flush(&mut self) {
        for key in self.unflushed.drain(..) {
            if let Some(Some((_, outlet))) = self.outlets.get(key.index()) {
                outlet.flush();
            }
        }
    }

    pub(super) fn post(&mut self) -> Pressure {
        self.outward.post()
    }

    fn outlet(&self, key: SessionKey) -> Option<&Rc<dyn Outlet>> {
        self.outlets.get(key.index())?.as_ref().filter(|(own, _)| *own == key).map(|(_, outlet)| outlet)
    }

    /// What has become of something that was put into the session's outlet.
    pub(crate) fn note(&mut self, key: SessionKey, put: Put) {
        match put {
            Put::Unflushed => self.unflushed.push(key),
            Put::Over => self.over.push(key),
            Put::Taken | Put::Full => {}
        }
    }
}

impl Host for Crew {
    type Principal = Principal;

    fn deliver(&mut self, to: SessionKey, publication: &Arc<Publication>, own: bool) -> Queued {
        let Some(outlet) = self.outlet(to) else { return Queued::Taken };
        let put = outlet.deliver(publication, own, &self.limits);
        self.note(to, put);
        if put == Put::Full { Queued::Full } else { Queued::Taken }
    }

    fn event(&mut self, to: SessionKey, event: Event) {
        let Some(outlet) = self.outlet(to) else { return };
        let put = outlet.event(event, &self.limits);
        self.note(to, put);
    }

    fn send(&mut self, to: WorkerId, wire: Wire) {
        self.outward.push(to, wire);
    }

    fn store(&mut self, request: StoreRequest) {
        self.store.submit(self.me, request);
    }

    fn authorize(&self, who: &Principal, action: Action, channel: &ChannelName) -> Result<(), Failure> {
        self.permit.authorize(who, action, channel)
    }

    fn rules(&self) -> u64 {
        self.permit.rules()
    }
}
