//! A server in one thread: hubs, what is on its way between them, a store, and sessions that write down what they are told.
#![allow(dead_code, reason = "each test uses a part of it")]
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use sockeye_hub::{
    Action, CatchUp, ChannelName, Done, Draft, Event, Failure, FailureCode, Host, Hub, HubOptions, Kind, Loaded,
    LostReason, Namespaces, Now, Payload, Position, Publication, Queued, Request, SessionKey, StoreReply, StoreRequest,
    Subscribe, Wire, WorkerId,
};

/// A session of a test: its worker, and its key there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) worker: usize,
    pub(crate) key: SessionKey,
}

/// Who may do nothing in which channels, by the name of the user.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) version: u64,
    pub(crate) denied: HashSet<(&'static str, Action, ChannelName)>,
}

pub(crate) struct World {
    pub(crate) hubs: Vec<Hub<&'static str>>,
    pub(crate) hosts: Vec<Outside>,
    pub(crate) now: Now,
    tag: u64,
    names: HashMap<Client, &'static str>,
}

/// What a hub has told its host.
pub(crate) struct Outside {
    pub(crate) me: usize,
    pub(crate) rules: Rules,
    /// To other workers, in order.
    pub(crate) wires: VecDeque<(usize, Wire)>,
    pub(crate) store: VecDeque<StoreRequest>,
    /// What each session has been told, and how many publications more its output takes.
    pub(crate) told: HashMap<SessionKey, Vec<String>>,
    pub(crate) room: HashMap<SessionKey, usize>,
}

impl Host for Outside {
    type Principal = &'static str;

    fn deliver(&mut self, to: SessionKey, publication: &Arc<Publication>, own: bool) -> Queued {
        if let Some(room) = self.room.get_mut(&to) {
            match room.checked_sub(1) {
                Some(less) => *room = less,
                None => return Queued::Full,
            }
        }
        let body = String::from_utf8_lossy(&publication.payload.bytes).into_owned();
        let what = if own { "own".into() } else { body };
        self.tell(to, format!("{}@{} {what}", publication.channel, publication.offset()));
        Queued::Taken
    }

    fn event(&mut self, to: SessionKey, event: Event) {
        self.tell(to, in_words(event));
    }

    fn send(&mut self, to: WorkerId, wire: Wire) {
        assert_ne!(usize::from(to.0), self.me, "what stays here is not sent");
        self.wires.push_back((usize::from(to.0), wire));
    }

    fn store(&mut self, request: StoreRequest) {
        self.store.push_back(request);
    }

    fn authorize(&self, who: &&'static str, action: Action, channel: &ChannelName) -> Result<(), Failure> {
        if self.rules.denied.contains(&(*who, action, channel.clone())) {
            return Err(Failure::new(FailureCode::Forbidden, "not you"));
        }
        Ok(())
    }

    fn rules(&self) -> u64 {
        self.rules.version
    }
}

impl Outside {
    fn tell(&mut self, to: SessionKey, words: String) {
        self.told.get_mut(&to).expect("only open sessions are told").push(words);
    }
}

fn in_words(event: Event) -> String {
    let members = |members: Vec<Arc<sockeye_hub::Member>>| {
        let names: Vec<_> = members.iter().map(|member| member.user.clone().unwrap_or_default().to_string()).collect();
        format!("[{}]", names.join(" "))
    };
    let at = |position: Option<Position>| position.map_or("nowhere".into(), |position| position.offset.to_string());
    match event {
        Event::Done(_, Done::Subscribed { position, catch_up, recovered, members: who }) => {
            let recovered = recovered.map_or(String::new(), |recovered| format!(" recovered {recovered}"));
            let who = who.map_or(String::new(), |who| format!(" {}", members(who)));
            format!("subscribed at {} with {catch_up}{recovered}{who}", at(position))
        }
        Event::Done(_, Done::Unsubscribed) => "unsubscribed".into(),
        Event::Done(_, Done::Published(position)) => format!("published {}", at(position)),
        Event::Done(_, Done::Presence(count, who)) => format!("{count} present {}", members(who)),
        Event::Done(_, Done::History { position, items, more }) => {
            let offsets: Vec<_> = items.iter().map(|item| item.offset()).collect();
            format!("history at {} {offsets:?} more {more}", position.offset)
        }
        Event::Failed(_, failure) => format!("failed {:?}", failure.code),
        Event::Changed(change) => {
            let what = if change.joined { "joined" } else { "left" };
            format!("{} {what} {}", change.member.user.clone().unwrap_or_default(), change.channel)
        }
        Event::Lost(channel, position, LostReason::Slow) => format!("{channel} lost {} slow", at(position)),
        Event::Lost(channel, position, reason) => format!("{channel} lost {} {reason:?}", at(position)),
        Event::Ended(channel, cause) => format!("{channel} ended {cause:?}"),
        Event::Closing(cause) => format!("closing {cause:?}"),
        other => format!("{other:?}"),
    }
}

impl World {
    pub(crate) fn new(workers: u16, namespaces: Namespaces, options: &HubOptions) -> Self {
        let namespaces = Arc::new(namespaces);
        let hubs = (0..workers).map(|worker| {
            let mut next = u128::from(worker) << 64;
            let dice = Box::new(move || {
                next += 1;
                next
            });
            Hub::new(WorkerId(worker), workers, Arc::clone(&namespaces), options.clone(), dice)
        });
        let hosts = (0..usize::from(workers)).map(|me| Outside {
            me,
            rules: Rules::default(),
            wires: VecDeque::new(),
            store: VecDeque::new(),
            told: HashMap::new(),
            room: HashMap::new(),
        });
        let now = Now { instant: Instant::now(), unix_ms: 1_700_000_000_000 };
        Self { hubs: hubs.collect(), hosts: hosts.collect(), now, tag: 0, names: HashMap::new() }
    }

    pub(crate) fn open(&mut self, worker: usize, name: &'static str) -> Client {
        let key = self.hubs[worker].open(name, Some(name.into()));
        self.hosts[worker].told.insert(key, Vec::new());
        let client = Client { worker, key };
        self.names.insert(client, name);
        client
    }

    pub(crate) fn close(&mut self, client: Client) {
        self.hubs[client.worker].close(client.key, self.now, &mut self.hosts[client.worker]);
        self.hosts[client.worker].told.remove(&client.key);
        self.run();
    }

    /// Asks, and waits for nothing.
    pub(crate) fn begin(&mut self, client: Client, request: Request) {
        self.tag += 1;
        self.hubs[client.worker].request(client.key, Some(self.tag), request, self.now, &mut self.hosts[client.worker]);
    }

    /// Asks, and lets everything happen that follows.
    pub(crate) fn ask(&mut self, client: Client, request: Request) -> &mut Self {
        self.begin(client, request);
        self.run();
        self
    }

    /// Brings everything that is on its way to where it belongs.
    pub(crate) fn run(&mut self) {
        while (0..self.hosts.len()).any(|worker| self.carry(worker)) {}
    }

    /// Brings the oldest thing that a worker has sent to where it belongs.
    pub(crate) fn carry(&mut self, from: usize) -> bool {
        let Some((to, wire)) = self.hosts[from].wires.pop_front() else { return false };
        let from = WorkerId(u16::try_from(from).unwrap());
        self.hubs[to].arrived(from, wire, self.now, &mut self.hosts[to]);
        true
    }

    /// The oldest request to the store, of any worker, and whose it is.
    pub(crate) fn asked_of_store(&mut self) -> Option<(usize, StoreRequest)> {
        let worker = self.hosts.iter().position(|host| !host.store.is_empty())?;
        self.hosts[worker].store.pop_front().map(|request| (worker, request))
    }

    pub(crate) fn store_replies(&mut self, worker: usize, reply: StoreReply) {
        self.hubs[worker].stored(reply, self.now, &mut self.hosts[worker]);
        self.run();
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now.instant + time;
        while let Some((at, worker)) = self.next_deadline().filter(|(at, _)| *at <= until) {
            self.advance_to(at.max(self.now.instant));
            self.hubs[worker].handle_timeout(self.now, &mut self.hosts[worker]);
            self.run();
        }
        self.advance_to(until);
    }

    fn next_deadline(&self) -> Option<(Instant, usize)> {
        self.hubs.iter().enumerate().filter_map(|(worker, hub)| hub.deadline().map(|at| (at, worker))).min()
    }

    fn advance_to(&mut self, at: Instant) {
        self.now.unix_ms += u64::try_from((at - self.now.instant).as_millis()).unwrap();
        self.now.instant = at;
    }

    /// What a session has been told since it was asked last.
    pub(crate) fn heard(&mut self, client: Client) -> Vec<String> {
        self.hosts[client.worker].told.get_mut(&client.key).map(std::mem::take).unwrap_or_default()
    }

    /// So many publications more fit into the session's output.
    pub(crate) fn room(&mut self, client: Client, count: usize) {
        let host = &mut self.hosts[client.worker];
        host.room.insert(client.key, count);
        self.hubs[client.worker].writable(client.key, self.now, host);
        self.run();
    }

    pub(crate) fn deny(&mut self, who: &'static str, action: Action, channel: &str) {
        for host in &mut self.hosts {
            host.rules.version += 1;
            host.rules.denied.insert((who, action, name(channel)));
        }
    }
}

pub(crate) fn name(channel: &str) -> ChannelName {
    channel.parse().unwrap()
}

pub(crate) fn subscribe(channel: &str) -> Request {
    Request::Subscribe(name(channel), Subscribe::default())
}

pub(crate) fn since(channel: &str, epoch: sockeye_hub::Epoch, offset: u64) -> Request {
    let catch_up = CatchUp::Since(Position { epoch, offset });
    Request::Subscribe(name(channel), Subscribe { catch_up, ..Subscribe::default() })
}

pub(crate) fn seen_as(channel: &str) -> Request {
    let subscribe = Subscribe { shown_as: Some(Bytes::from_static(b"{}")), members: true, ..Subscribe::default() };
    Request::Subscribe(name(channel), subscribe)
}

pub(crate) fn draft(text: &str) -> Draft {
    Draft::new(Payload { kind: Kind::Text, bytes: Bytes::copy_from_slice(text.as_bytes()) })
}

pub(crate) fn publish(channel: &str, text: &str) -> Request {
    Request::Publish(name(channel), draft(text))
}

pub(crate) fn keyed(channel: &str, text: &str, key: &str) -> Request {
    Request::Publish(name(channel), Draft { key: Some(key.into()), ..draft(text) })
}

/// A store that has kept these.
pub(crate) fn loaded(channel: &str, epoch: u128, items: &[Arc<Publication>]) -> StoreReply {
    let top = items.last().map_or(0, |item| item.offset());
    let loaded = Loaded { epoch: sockeye_hub::Epoch(epoch), top, items: items.to_vec(), keys: Vec::new() };
    StoreReply::Loaded(name(channel), loaded)
}
