//! The sessions of one worker as its hub sees them: who is told what, and the way to other workers and to the store.
use std::{
    array,
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
    outgoing::{BATCH, Outgoing, Taken, Writer},
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
    /// A publication that was taken, from the crew, while there was room.
    fn put_held(&self, publication: &Publication, limits: &SessionLimits) -> Put;
    /// Anything else.
    fn event(&self, event: Event, limits: &SessionLimits) -> Put;
    /// What a socket is to be given for it now: the publication that is `held` for it, or else what has been put. `None` where
    /// it is no bare socket, or has to be given more than that: then the publication is put, and all is flushed.
    fn outgoing<'a>(&'a self, _held: Option<&'a Publication>) -> Option<Outgoing<'a>> {
        None
    }
    /// So many bytes of what has been put have left by [`outgoing`](Self::outgoing).
    fn advance(&self, _count: usize) {}
    /// Hands the transport what has been put. Says whether all of it has left, and a publication would at once.
    fn flush(&self) -> bool;
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

/// One session's.
struct Place {
    key: SessionKey,
    outlet: Rc<dyn Outlet>,
    output: Output,
    /// Whether it is among those to be flushed.
    is_unflushed: bool,
}

/// What is known of a session's output without looking at it. Looking costs more than anything else that is done for one of
/// many subscribers, since it lies somewhere in memory: so who hears of nothing but one publication in a turn is looked at once,
/// at its end, and the publication goes to its socket without being copied or queued.
///
/// ```text
///             a publication                   anything more
///    Clear ───────────────────▶ Held(which) ────────────────▶ Unknown
///      ▲                             │ has left                  │
///      ├─────────────────────────────┘                           │
///      └──────────── flushed, and all has left ──────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// Nothing was in it when it was last flushed, and nothing has been told it since.
    Clear,
    /// That, and this publication of [`Crew::held`] is what it is told in this turn.
    Held(usize),
    /// It has to be asked.
    Unknown,
}

/// The host of a worker's hub.
pub(crate) struct Crew {
    /// By the index of their keys.
    places: Vec<Option<Place>>,
    /// Those to be flushed at the end of the turn, each once.
    unflushed: Vec<SessionKey>,
    /// How much the sockets of those have taken. It is kept for its memory.
    taken: Vec<Taken>,
    /// Publications of this turn that are in nobody's output yet.
    held: Vec<Arc<Publication>>,
    /// Those that are over and that the hub has to hear of.
    over: Vec<SessionKey>,
    outward: Outward,
    store: Arc<dyn Store>,
    me: usize,
    permit: Arc<dyn Permit>,
    limits: Arc<SessionLimits>,
    expiries: Expiries,
    writer: Writer,
}

impl Crew {
    pub(super) fn new(
        me: usize,
        outward: Outward,
        store: Arc<dyn Store>,
        permit: Arc<dyn Permit>,
        limits: Arc<SessionLimits>,
        writer: Writer,
    ) -> Self {
        Self {
            places: Vec::new(),
            unflushed: Vec::new(),
            taken: Vec::new(),
            held: Vec::new(),
            over: Vec::new(),
            outward,
            store,
            me,
            permit,
            limits,
            expiries: Expiries::default(),
            writer,
        }
    }

    /// From now on this is where a session is told.
    pub(crate) fn insert(&mut self, key: SessionKey, outlet: Rc<dyn Outlet>) {
        if self.places.len() <= key.index() {
            self.places.resize_with(key.index() + 1, || None);
        }
        self.places[key.index()] = Some(Place { key, outlet, output: Output::Unknown, is_unflushed: false });
    }

    /// Those that are told something.
    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<SessionKey> {
        self.places.iter().flatten().map(|place| place.key).collect()
    }

    /// A session is told nothing more.
    pub(crate) fn remove(&mut self, key: SessionKey) {
        if let Some(place) = self.places.get_mut(key.index())
            && place.as_ref().is_some_and(|place| place.key == key)
        {
            *place = None;
        }
    }

    /// To be called before a session says something to its own client: what is held for it comes first.
    pub(crate) fn settle(&mut self, key: SessionKey) {
        self.outlet(key);
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

    pub(super) fn has_over(&self) -> bool {
        !self.over.is_empty()
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
                    let Some((outlet, limits)) = self.outlet(key) else { continue };
                    let put = outlet.expiring(NOTICE, limits);
                    self.note(key, put);
                }
                Due::End(key) => {
                    let Some((outlet, _)) = self.outlet(key) else { continue };
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
        let keys: Vec<_> = self.places.iter().flatten().map(|place| place.key).filter(|key| is_meant(*key)).collect();
        for key in keys {
            if let Some((outlet, _)) = self.outlet(key) {
                outlet.end(farewell());
                self.over.push(key);
            }
        }
        self.over.len() - before
    }

    /// Writes what the turn has put.
    pub(super) fn flush(&mut self) {
        let mut unflushed = std::mem::take(&mut self.unflushed);
        let mut taken = std::mem::take(&mut self.taken);
        for keys in unflushed.chunks(self.writer.batch(unflushed.len())) {
            self.send(keys, &mut taken);
            for (key, taken) in keys.iter().zip(&taken) {
                self.flush_rest(*key, *taken);
            }
        }
        unflushed.clear();
        (self.unflushed, self.taken) = (unflushed, taken);
        self.held.clear();
    }

    /// Gives the sockets of these sessions what is for them; `taken` says how much of it each has taken.
    fn send(&mut self, keys: &[SessionKey], taken: &mut Vec<Taken>) {
        let outgoing = |key: &SessionKey| {
            let place = find(&self.places, *key)?;
            place.outlet.outgoing(place.held(&self.held))
        };
        if keys.len() <= BATCH {
            // Few have room here, so that no delivery takes memory.
            let few: [_; BATCH] = array::from_fn(|index| keys.get(index).and_then(outgoing));
            self.writer.send_each(few.get(..keys.len()).unwrap_or_default(), taken);
        } else {
            let many: Vec<_> = keys.iter().map(outgoing).collect();
            self.writer.send_each(&many, taken);
        }
    }

    /// What there is to do for a session whose socket has taken so much already.
    fn flush_rest(&mut self, key: SessionKey, taken: Taken) {
        let Some(place) = find_mut(&mut self.places, key) else { return };
        place.is_unflushed = false;
        if let Some(publication) = place.held(&self.held) {
            if taken.is_all {
                place.output = Output::Clear;
                return;
            }
            if place.outlet.put_held(publication, &self.limits) == Put::Over {
                self.over.push(key);
            }
        }
        place.outlet.advance(taken.bytes);
        place.output = if place.outlet.flush() { Output::Clear } else { Output::Unknown };
    }

    pub(super) fn post(&mut self) -> Pressure {
        self.outward.post()
    }

    /// To tell a session something, behind what is held for it.
    fn outlet(&mut self, key: SessionKey) -> Option<(&dyn Outlet, &SessionLimits)> {
        let place = find_mut(&mut self.places, key)?;
        if let Some(publication) = place.held(&self.held)
            && place.outlet.put_held(publication, &self.limits) == Put::Over
        {
            self.over.push(key);
        }
        place.output = Output::Unknown;
        Some((&*place.outlet, &self.limits))
    }

    /// Keeps a publication until the end of the turn, if that is all that a session is told in it.
    fn hold(&mut self, to: SessionKey, publication: &Arc<Publication>) -> bool {
        let Some(place) = find_mut(&mut self.places, to).filter(|place| place.output == Output::Clear) else {
            return false;
        };
        if self.held.last().is_none_or(|last| !Arc::ptr_eq(last, publication)) {
            self.held.push(Arc::clone(publication));
        }
        place.output = Output::Held(self.held.len() - 1);
        if !std::mem::replace(&mut place.is_unflushed, true) {
            self.unflushed.push(to);
        }
        true
    }

    /// What has become of something that was put into the session's outlet.
    pub(crate) fn note(&mut self, key: SessionKey, put: Put) {
        match put {
            Put::Unflushed => {
                if let Some(place) = find_mut(&mut self.places, key)
                    && !std::mem::replace(&mut place.is_unflushed, true)
                {
                    self.unflushed.push(key);
                }
            }
            Put::Over => self.over.push(key),
            Put::Taken | Put::Full => {}
        }
    }
}

impl Place {
    fn held<'a>(&self, held: &'a [Arc<Publication>]) -> Option<&'a Publication> {
        if let Output::Held(index) = self.output { held.get(index).map(|publication| &**publication) } else { None }
    }
}

fn find(places: &[Option<Place>], key: SessionKey) -> Option<&Place> {
    places.get(key.index())?.as_ref().filter(|place| place.key == key)
}

fn find_mut(places: &mut [Option<Place>], key: SessionKey) -> Option<&mut Place> {
    places.get_mut(key.index())?.as_mut().filter(|place| place.key == key)
}

impl Host for Crew {
    type Principal = Principal;

    fn deliver(&mut self, to: SessionKey, publication: &Arc<Publication>, own: bool) -> Queued {
        if !own && self.hold(to, publication) {
            return Queued::Taken;
        }
        let Some((outlet, limits)) = self.outlet(to) else { return Queued::Taken };
        let put = outlet.deliver(publication, own, limits);
        self.note(to, put);
        if put == Put::Full { Queued::Full } else { Queued::Taken }
    }

    fn event(&mut self, to: SessionKey, event: Event) {
        let Some((outlet, limits)) = self.outlet(to) else { return };
        let put = outlet.event(event, limits);
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
