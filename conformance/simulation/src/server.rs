//! The server: hubs, what is on its way between them, and what each connection's output holds.
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use sockeye_hub::{
    Action, ChannelName, ChannelOptions, Done, Draft, Event, Failure, FailureCode, Host, Hub, HubOptions, Namespaces,
    Now, Position, Publication, Queued, Request, SessionKey, SlowPolicy, StoreRequest, Wire, WorkerId,
};

use crate::{
    bugs::{Bug, Seeded},
    store::altered,
};

/// Workers of the server.
pub(crate) const WORKERS: usize = 3;
/// Publications that the output of a connection takes.
const OUTPUT: usize = 12;
/// How often a bug strikes where it can.
const STRIKES: f64 = 0.1;
/// Entries that the channels in memory, and the durable ones, certainly hold.
pub(crate) const KEEPS: usize = 60;

/// Who a session is: the number of its client.
pub(crate) type Actor = u32;

/// What a client is sent.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// A publication, and whether it is one of its own of which it gets the position alone.
    Publication(Arc<Publication>, bool),
    Event(Event),
}

/// Who may not do what; the same for all workers at once.
#[derive(Debug, Default)]
pub(crate) struct Denied {
    pub(crate) version: u64,
    pub(crate) all: BTreeSet<(Actor, ChannelName)>,
}

pub(crate) struct Server {
    hubs: Vec<Hub<Actor>>,
    hosts: Vec<Outside>,
    /// From one worker to another, asks (0) and tells (1) apart: each in order, one before the other at random.
    wires: BTreeMap<(usize, usize, usize), VecDeque<Wire>>,
    bug: Seeded,
}

/// What a hub has for a host.
pub(crate) struct Outside {
    outputs: BTreeMap<SessionKey, Output>,
    sent: Vec<(usize, Wire)>,
    pub(crate) stored: Vec<StoreRequest>,
    pub(crate) denied: Denied,
    rng: StdRng,
    bug: Seeded,
}

#[derive(Debug)]
struct Output {
    messages: VecDeque<Message>,
    publications: usize,
    was_full: bool,
}

pub(crate) fn namespaces() -> Namespaces {
    let day = Duration::from_secs(86_400);
    let certain = |options: &mut ChannelOptions| {
        options.history_size = KEEPS;
        options.history_age = day;
    };
    Namespaces::new(None)
        .and("mem", ChannelOptions::with(certain))
        .and(
            "dur",
            ChannelOptions::with(|options| {
                certain(options);
                options.durable = true;
            }),
        )
        .and(
            "tmp",
            ChannelOptions::with(|options| {
                options.history_size = 5;
                options.history_age = Duration::from_secs(20);
                options.slow = SlowPolicy::Skip;
            }),
        )
        .and(
            "lat",
            ChannelOptions::with(|options| {
                options.history_size = 20;
                options.slow = SlowPolicy::Latest;
            }),
        )
        .and("live", ChannelOptions::with(|options| options.history_size = 0))
}

impl Server {
    pub(crate) fn new(seed: u64, life: u64, bug: Seeded) -> Self {
        let namespaces = Arc::new(namespaces());
        // Each life of the server throws other dice, unless that is the bug.
        let life = if bug.is(Bug::ReusesEpoch) { 0 } else { life };
        let options = HubOptions::with(|options| {
            options.placement = seed;
            options.backlog_bytes = 30 * 160;
            options.idle_after = Duration::from_secs(5);
        });
        let workers = u16::try_from(WORKERS).unwrap_or(1);
        let hubs = (0..workers).map(|worker| {
            let mut rng = StdRng::seed_from_u64(seed ^ (life << 32) ^ (u64::from(worker) << 56));
            let dice = Box::new(move || rng.random());
            Hub::new(WorkerId(worker), workers, Arc::clone(&namespaces), options.clone(), dice)
        });
        let hosts = (0..WORKERS).map(|worker| Outside {
            outputs: BTreeMap::new(),
            sent: Vec::new(),
            stored: Vec::new(),
            denied: Denied::default(),
            rng: StdRng::seed_from_u64(seed.wrapping_mul(31) ^ worker as u64 ^ life),
            bug,
        });
        Self { hubs: hubs.collect(), hosts: hosts.collect(), wires: BTreeMap::new(), bug }
    }

    pub(crate) fn open(&mut self, worker: usize, actor: Actor) -> SessionKey {
        let key = self.hubs[worker].open(actor, Some(actor.to_string().into()));
        let output = Output { messages: VecDeque::new(), publications: 0, was_full: false };
        self.hosts[worker].outputs.insert(key, output);
        key
    }

    pub(crate) fn close(&mut self, worker: usize, key: SessionKey, now: Now) {
        self.hubs[worker].close(key, now, &mut self.hosts[worker]);
        self.hosts[worker].outputs.remove(&key);
        self.collect(worker);
    }

    pub(crate) fn request(&mut self, worker: usize, key: SessionKey, tag: u64, mut request: Request, now: Now) {
        if let (true, Request::Unsubscribe(_)) = (self.bug.is(Bug::IgnoresUnsubscribe), &request) {
            self.hosts[worker].event(key, Event::Done(tag, Done::Unsubscribed));
            return;
        }
        if let Request::Publish(_, draft) = &mut request {
            spoil(draft, self.bug);
        }
        self.hubs[worker].request(key, Some(tag), request, now, &mut self.hosts[worker]);
        self.collect(worker);
    }

    pub(crate) fn stored(&mut self, worker: usize, reply: sockeye_hub::StoreReply, now: Now) {
        self.hubs[worker].stored(reply, now, &mut self.hosts[worker]);
        self.collect(worker);
    }

    pub(crate) fn timeouts(&mut self, now: Now) {
        for worker in 0..WORKERS {
            if self.hubs[worker].deadline().is_some_and(|at| at <= now.instant) {
                self.hubs[worker].handle_timeout(now, &mut self.hosts[worker]);
                self.collect(worker);
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<std::time::Instant> {
        self.hubs.iter().filter_map(Hub::deadline).min()
    }

    /// Moves one wire, any that may be next.
    pub(crate) fn carry(&mut self, now: Now, rng: &mut StdRng) -> bool {
        let lanes: Vec<_> = self.wires.iter().filter(|(_, lane)| !lane.is_empty()).map(|(lane, _)| *lane).collect();
        let Some(&lane) = pick(&lanes, rng) else { return false };
        let (from, to, kind) = lane;
        let Some(queue) = self.wires.get_mut(&lane) else { return false };
        if queue.len() > 1 && strikes(self.bug, if kind == 0 { Bug::SwapsAsks } else { Bug::SwapsTells }, rng) {
            queue.swap(0, 1);
        }
        let Some(wire) = queue.pop_front() else { return false };
        if kind == 1 && strikes(self.bug, Bug::DropsTell, rng) && wire.weight() > 300 {
            return true;
        }
        let from = WorkerId(u16::try_from(from).unwrap_or(0));
        self.hubs[to].arrived(from, wire, now, &mut self.hosts[to]);
        self.collect(to);
        true
    }

    /// The next message for a client.
    pub(crate) fn read(&mut self, worker: usize, key: SessionKey, now: Now) -> Option<Message> {
        let host = &mut self.hosts[worker];
        let output = host.outputs.get_mut(&key)?;
        let message = output.messages.pop_front();
        if let Some(Message::Publication(..)) = message {
            output.publications = output.publications.saturating_sub(1);
        }
        if output.was_full && output.publications < OUTPUT / 2 {
            output.was_full = false;
            self.hubs[worker].writable(key, now, host);
            self.collect(worker);
        }
        message
    }

    /// Sets who may do what, for all workers.
    pub(crate) fn deny(&mut self, actor: Actor, channel: &ChannelName, denied: bool) {
        for host in &mut self.hosts {
            host.denied.version += 1;
            if denied {
                host.denied.all.insert((actor, channel.clone()));
            } else {
                host.denied.all.remove(&(actor, channel.clone()));
            }
        }
    }

    pub(crate) fn denied(&self) -> Vec<(Actor, ChannelName)> {
        self.hosts[0].denied.all.iter().cloned().collect()
    }

    pub(crate) fn take_store_requests(&mut self) -> Vec<(usize, StoreRequest)> {
        let hosts = self.hosts.iter_mut().enumerate();
        hosts
            .flat_map(|(worker, host)| std::mem::take(&mut host.stored).into_iter().map(move |one| (worker, one)))
            .collect()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.wires.values().all(VecDeque::is_empty)
    }

    fn collect(&mut self, from: usize) {
        for (to, wire) in std::mem::take(&mut self.hosts[from].sent) {
            let kind = usize::from(matches!(wire, Wire::Tell(_)));
            self.wires.entry((from, to, kind)).or_default().push_back(wire);
        }
    }
}

/// What some bugs make of a draft.
fn spoil(draft: &mut Draft, bug: Seeded) {
    if bug.is(Bug::IgnoresKey) {
        draft.key = None;
    }
    if bug.is(Bug::KeepsVolatile) {
        draft.volatile = false;
    }
}

pub(crate) fn strikes(seeded: Seeded, bug: Bug, rng: &mut StdRng) -> bool {
    seeded.is(bug) && rng.random_bool(STRIKES)
}

pub(crate) fn pick<'a, T>(all: &'a [T], rng: &mut StdRng) -> Option<&'a T> {
    if all.is_empty() { None } else { all.get(rng.random_range(0..all.len())) }
}

impl Outside {
    fn strikes(&mut self, bug: Bug) -> bool {
        strikes(self.bug, bug, &mut self.rng)
    }

    fn push(&mut self, to: SessionKey, message: Message) {
        if let Some(output) = self.outputs.get_mut(&to) {
            if let Message::Publication(..) = message {
                output.publications += 1;
            }
            output.messages.push_back(message);
        }
    }

    fn swap_last(&mut self, to: SessionKey) {
        let Some(output) = self.outputs.get_mut(&to) else { return };
        let length = output.messages.len();
        if length > 1
            && let (Message::Publication(one, _), Message::Publication(other, _)) =
                (&output.messages[length - 1], &output.messages[length - 2])
            && one.channel == other.channel
        {
            output.messages.swap(length - 1, length - 2);
        }
    }
}

impl Host for Outside {
    type Principal = Actor;

    fn deliver(&mut self, to: SessionKey, publication: &Arc<Publication>, own: bool) -> Queued {
        let Some(output) = self.outputs.get_mut(&to) else {
            return Queued::Taken;
        };
        if output.publications >= OUTPUT {
            output.was_full = true;
            return Queued::Full;
        }
        if self.strikes(Bug::DropsDelivery) {
            return Queued::Taken;
        }
        let mut publication = Arc::clone(publication);
        let mut own = own && !self.bug.is(Bug::EchoesAnyway);
        own |= publication.position.is_some() && self.strikes(Bug::TakesForOwn);
        if self.strikes(Bug::AltersPayload) {
            publication = Arc::new(altered(&publication));
        }
        if self.strikes(Bug::ShiftsOffset)
            && let Some(Position { epoch, offset }) = publication.position
        {
            let mut other = altered(&publication);
            other.payload = publication.payload.clone();
            other.position = Some(Position { epoch, offset: offset + 1 });
            publication = Arc::new(other);
        }
        if self.strikes(Bug::CrossesSessions)
            && let Some(other) = self.outputs.keys().copied().find(|key| *key != to)
        {
            self.push(other, Message::Publication(Arc::clone(&publication), false));
        }
        if self.strikes(Bug::DoublesDelivery) {
            self.push(to, Message::Publication(Arc::clone(&publication), own));
        }
        self.push(to, Message::Publication(publication, own));
        if self.strikes(Bug::SwapsDeliveries) {
            self.swap_last(to);
        }
        Queued::Taken
    }

    fn event(&mut self, to: SessionKey, mut event: Event) {
        match &mut event {
            Event::Lost(_, position, _) => {
                if self.bug.is(Bug::ForgetsLost) {
                    return;
                }
                if let Some(position) = position.as_mut().filter(|_| self.bug.is(Bug::LostTooFar)) {
                    position.offset += 1;
                }
            }
            Event::Done(_, Done::Subscribed { catch_up, recovered, .. }) => {
                if self.bug.is(Bug::ClaimsRecovery) && recovered.is_some() {
                    *recovered = Some(true);
                }
                if self.strikes(Bug::MiscountsCatchUp) {
                    *catch_up += 1;
                }
            }
            Event::Done(tag, Done::Published(position)) => {
                if self.strikes(Bug::RefusesAfterwards) {
                    event = Event::Failed(Some(*tag), Failure::new(FailureCode::Forbidden, "not you"));
                } else if let Some(position) = position.as_mut().filter(|_| self.bug.is(Bug::AnswersWrongPosition)) {
                    position.offset += 1;
                }
            }
            Event::Done(_, Done::History { items, .. }) if items.len() > 2 && self.strikes(Bug::LeavesOutHistory) => {
                items.remove(1);
            }
            _ => {}
        }
        self.push(to, Message::Event(event));
    }

    fn send(&mut self, to: WorkerId, wire: Wire) {
        self.sent.push((usize::from(to.0), wire));
    }

    fn store(&mut self, request: StoreRequest) {
        self.stored.push(request);
    }

    fn authorize(&self, who: &Actor, _: Action, channel: &ChannelName) -> Result<(), Failure> {
        if !self.bug.is(Bug::AllowsEverything) && self.denied.all.contains(&(*who, channel.clone())) {
            return Err(Failure::new(FailureCode::Forbidden, "not you"));
        }
        Ok(())
    }

    fn rules(&self) -> u64 {
        if self.bug.is(Bug::ChecksAtSubscribeOnly) { 0 } else { self.denied.version }
    }
}
