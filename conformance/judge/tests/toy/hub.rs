//! A hub in the small, exact but for the bug it is given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sockeye_judge::{Action, ActorId, Name, Path, Position, Seen};

use super::bug::Bug;
use super::dice::Dice;

pub const CHANNELS: [&str; 3] = ["memory:a", "disk:b", "plain:c"];
pub const MEMORY: usize = 0;
pub const DISK: usize = 1;
pub const PLAIN: usize = 2;
/// What a channel with history holds.
pub const KEEPS: u64 = 10;
const KEY_WINDOW_MS: u64 = 300_000;

#[derive(Clone, Debug)]
pub struct Publish {
    pub channel: usize,
    pub id: u64,
    pub body: u64,
    pub key: Option<Name>,
    pub volatile: bool,
    pub no_echo: bool,
    /// When it was sent.
    pub asked_at: u64,
    /// This is the only attempt.
    pub certain: bool,
}

#[derive(Clone, Debug)]
pub enum Command {
    Publish(Publish),
    Subscribe { channel: usize, since: Option<Position>, last: Option<u64> },
    Unsubscribe { channel: usize },
    History { channel: usize, since: Option<Position>, reverse: bool },
    Presence { channel: usize },
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub offset: u64,
    publisher: ActorId,
    pub publish: Publish,
}

#[derive(Debug, Default)]
pub struct Channel {
    pub epoch: Option<Name>,
    former: Option<Name>,
    pub head: u64,
    entries: Vec<Entry>,
    keys: BTreeMap<Name, (u64, Position)>,
}

#[derive(Debug, Default)]
pub struct Subscriber {
    slow: bool,
    /// The last offset it did not get, and should.
    missed: u64,
    /// A frame held back by a bug until the next one has gone.
    pub held: Vec<Seen>,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a test")]
pub struct Hub {
    pub channels: Vec<Channel>,
    pub subscribers: BTreeMap<(usize, ActorId), Subscriber>,
    denied: BTreeMap<(usize, ActorId, Action), u64>,
    /// What goes to each client, in order.
    pub to: BTreeMap<ActorId, VecDeque<Seen>>,
    epochs: u64,
    pub now: u64,
    pub dice: Dice,
    pub bug: Option<Bug>,
    /// The bug's moment is recognised and nothing done.
    pub harmless: bool,
    pub warm: bool,
    pub fired: bool,
    /// Everything is as the end will find it: no publication follows.
    pub last_call: bool,
    /// Epochs that some client has heard of, with the offsets whose publication one knows.
    pub heard: BTreeMap<Name, BTreeSet<u64>>,
    /// So many publishes are not refused for no reason.
    pub must_accept: u32,
    /// Time has made a leap, so that keys may be forgotten.
    pub jumped: bool,
    /// Whose publication is held back.
    swapped: Option<ActorId>,
}

impl Hub {
    pub fn new(seed: u64, bug: Option<Bug>, harmless: bool) -> Self {
        let channels = CHANNELS.iter().map(|_| Channel::default()).collect();
        let mut hub = Self {
            channels,
            subscribers: BTreeMap::new(),
            denied: BTreeMap::new(),
            heard: BTreeMap::new(),
            must_accept: 0,
            jumped: false,
            swapped: None,
            to: BTreeMap::new(),
            epochs: 0,
            now: 0,
            dice: Dice(seed),
            bug,
            harmless,
            warm: false,
            fired: false,
            last_call: false,
        };
        for channel in [MEMORY, DISK] {
            hub.begin_epoch(channel);
        }
        hub
    }

    /// Whether this is the moment of this bug.
    pub fn fires(&mut self, bug: Bug) -> bool {
        let last = matches!(bug, Bug::DropsTheLast | Bug::SubscribedIsAheadInQuiet);
        let fires = self.bug == Some(bug) && (self.warm || (last && self.last_call)) && !self.fired;
        self.fired |= fires;
        fires && !self.harmless
    }

    fn begin_epoch(&mut self, channel: usize) {
        self.epochs += 1;
        let epoch = format!("e{}", self.epochs).into();
        let former = self.channels[channel].epoch.take();
        self.channels[channel] = Channel { epoch: Some(epoch), former, ..Channel::default() };
    }

    pub fn position(&self, channel: usize, offset: u64) -> Position {
        let epoch = self.channels[channel].epoch.clone().expect("only channels with history have positions");
        Position { epoch, offset }
    }

    pub fn window(&self, channel: usize) -> Vec<Entry> {
        let Channel { head, entries, .. } = &self.channels[channel];
        entries.iter().filter(|entry| entry.offset + KEEPS > *head).cloned().collect()
    }

    pub fn push(&mut self, actor: ActorId, seen: Seen) {
        self.to.entry(actor).or_default().push_back(seen);
    }

    pub fn may(&self, channel: usize, actor: ActorId, action: Action) -> bool {
        !self.denied.contains_key(&(channel, actor, action))
    }

    fn heard_of(&self, channel: usize) -> u64 {
        let epoch = self.channels[channel].epoch.as_ref();
        epoch.and_then(|epoch| self.heard.get(epoch)?.last()).copied().unwrap_or_default()
    }

    pub fn is_heard(&self, channel: usize, offset: u64) -> bool {
        let epoch = self.channels[channel].epoch.as_ref();
        epoch.and_then(|epoch| self.heard.get(epoch)).is_some_and(|heard| heard.contains(&offset))
    }

    /// Somebody but the publisher gets what is published now.
    fn has_audience(&self, channel: usize, publisher: ActorId) -> bool {
        self.listeners(channel).iter().any(|listener| *listener != publisher)
    }

    /// Denied for so long that not even grace is left, when this was asked.
    pub fn long_denied(&self, channel: usize, actor: ActorId, action: Action, asked_at: u64) -> bool {
        self.denied.get(&(channel, actor, action)).is_some_and(|since| since + 1_000 < asked_at)
    }

    pub fn grant(&mut self, channel: usize, actor: ActorId, action: Action) {
        self.denied.remove(&(channel, actor, action));
    }

    /// `steady` if the client is not about to do something about its subscription.
    pub fn revoke(&mut self, channel: usize, actor: ActorId, action: Action, steady: bool) {
        self.denied.insert((channel, actor, action), self.now);
        let subscribed = self.subscribers.get(&(channel, actor)).is_some_and(|subscriber| !subscriber.slow);
        let subscribed = subscribed && steady && action == Action::Subscribe;
        if subscribed && self.fires(Bug::LiveWithoutPermission) {
            return;
        }
        if action == Action::Subscribe && self.subscribers.remove(&(channel, actor)).is_some() {
            self.push(actor, Seen::Ended { channel: CHANNELS[channel].into() });
        }
    }

    pub fn disconnect(&mut self, actor: ActorId) {
        self.subscribers.retain(|(_, subscriber), _| *subscriber != actor);
        self.to.remove(&actor);
    }

    pub fn restart(&mut self) {
        let epoch = self.channels[MEMORY].epoch.clone();
        let used = self.channels[MEMORY].head > 0;
        let all_heard = used && self.heard_of(MEMORY) == self.channels[MEMORY].head;
        let former = self.channels[MEMORY].former.clone();
        self.begin_epoch(MEMORY);
        if all_heard && self.fires(Bug::EpochReused) {
            self.channels[MEMORY].epoch = epoch;
        } else if former.as_ref().is_some_and(|former| self.heard.contains_key(former))
            && used
            && self.heard.contains_key(epoch.as_ref().unwrap())
            && self.fires(Bug::EpochReturns)
        {
            self.channels[MEMORY].epoch = former;
        }
        if self.channels[DISK].head > 2 && self.heard_of(DISK) == self.channels[DISK].head {
            if self.fires(Bug::RestartLosesTheLastOnDisk) {
                self.channels[DISK].head -= 2;
                let head = self.channels[DISK].head;
                self.channels[DISK].entries.retain(|entry| entry.offset <= head);
            } else if self.fires(Bug::RestartLosesAllOnDisk) {
                self.begin_epoch(DISK);
            }
        }
    }

    /// Carries out a command; `alive` if somebody waits for the answer.
    pub fn handle(&mut self, actor: ActorId, command: Command, alive: bool) {
        match command {
            Command::Publish(mut publish) => {
                let certain = publish.certain;
                publish.certain &= alive;
                if !alive && publish.channel != PLAIN && !publish.volatile && publish.key.is_none() && certain {
                    let again = publish.clone();
                    let before = self.channels[publish.channel].head;
                    self.publish(actor, publish, alive);
                    if self.channels[again.channel].head > before
                        && self.has_audience(again.channel, actor)
                        && self.fires(Bug::UnknownAppearsTwice)
                    {
                        self.store(actor, &again);
                    }
                    return;
                }
                self.publish(actor, publish, alive);
            }
            _ if !alive => {}
            Command::Subscribe { channel, since, last } => self.subscribe(actor, channel, since.as_ref(), last),
            Command::Unsubscribe { channel } => self.unsubscribe(actor, channel),
            Command::History { channel, since, reverse } => self.history(actor, channel, since.as_ref(), reverse),
            Command::Presence { channel } => {
                if self.may(channel, actor, Action::Presence)
                    || self.long_denied(channel, actor, Action::Presence, self.now)
                        && self.fires(Bug::PresenceWithoutPermission)
                {
                    self.push(actor, Seen::Presence { channel: CHANNELS[channel].into() });
                }
            }
        }
    }

    fn publish(&mut self, actor: ActorId, publish: Publish, alive: bool) {
        let Publish { channel, id, .. } = publish;
        let answer = |hub: &mut Self, seen| {
            if alive {
                hub.push(actor, seen);
            }
        };
        let permitted = self.may(channel, actor, Action::Publish);
        let long_denied = self.long_denied(channel, actor, Action::Publish, publish.asked_at);
        if !permitted {
            if !(long_denied && alive && self.fires(Bug::PublishWithoutPermission)) {
                return answer(self, Seen::Refused { id });
            }
            self.must_accept = 1;
        }
        let unstored = publish.volatile || channel == PLAIN;
        let must_accept = self.must_accept > 0;
        self.must_accept = self.must_accept.saturating_sub(1);
        if self.dice.one_in(12) && !must_accept {
            answer(self, Seen::Refused { id });
            if alive
                && publish.certain
                && !self.listeners(channel).is_empty()
                && !publish.no_echo
                && !unstored
                && publish.key.is_none()
                && self.fires(Bug::RefusedAppears)
            {
                self.store(actor, &publish);
            }
            return;
        }
        if unstored {
            self.fan_out(actor, &publish, None);
            if publish.volatile
                && channel != PLAIN
                && self.has_audience(channel, actor)
                && self.fires(Bug::StoresAVolatile)
            {
                self.append(actor, publish);
            }
            return answer(self, Seen::Published { id, position: None });
        }
        if let Some(position) = self.remembered(&publish) {
            let heard = self.heard_of(channel);
            let tell = alive && !self.jumped;
            let moved = tell && heard > position.offset && self.fires(Bug::KeyMoves);
            let offset = if moved { heard } else { position.offset };
            if tell && self.has_audience(channel, actor) && self.fires(Bug::KeyTwice) {
                self.store(actor, &publish);
            }
            return answer(self, Seen::Published { id, position: Some(Position { offset, ..position }) });
        }
        self.accept(actor, &publish, alive);
    }

    fn accept(&mut self, actor: ActorId, publish: &Publish, alive: bool) {
        let Publish { channel, id, .. } = *publish;
        let next = Some(self.position(channel, self.channels[channel].head + 1));
        let listened = self.has_audience(channel, actor);
        if alive && publish.certain && publish.key.is_none() && self.fires(Bug::OkBeforeStored) {
            return self.push(actor, Seen::Published { id, position: next });
        }
        if alive && listened && self.fires(Bug::OkNeverStored) {
            self.channels[channel].head += 1;
            return self.push(actor, Seen::Published { id, position: next });
        }
        if alive && publish.certain && publish.key.is_none() && listened && self.fires(Bug::StoresTwice) {
            self.store(actor, publish);
        }
        let position = self.store(actor, publish);
        if alive {
            let published = Seen::Published { id, position: Some(position) };
            self.push(actor, published.clone());
            if self.fires(Bug::OkTwice) {
                self.push(actor, published);
            }
        }
    }

    fn remembered(&self, publish: &Publish) -> Option<Position> {
        let (at, position) = self.channels[publish.channel].keys.get(publish.key.as_ref()?)?;
        (self.now <= at + KEY_WINDOW_MS).then(|| position.clone())
    }

    fn append(&mut self, publisher: ActorId, publish: Publish) -> Position {
        let channel = publish.channel;
        self.channels[channel].head += 1;
        let offset = self.channels[channel].head;
        let position = self.position(channel, offset);
        if let Some(key) = &publish.key {
            self.channels[channel].keys.insert(Name::clone(key), (self.now, position.clone()));
        }
        self.channels[channel].entries.push(Entry { offset, publisher, publish });
        position
    }

    fn store(&mut self, actor: ActorId, publish: &Publish) -> Position {
        if publish.channel == MEMORY && !self.listeners(MEMORY).is_empty() && self.fires(Bug::EpochChangesInSilence) {
            self.begin_epoch(MEMORY);
        }
        let position = self.append(actor, publish.clone());
        self.fan_out(actor, publish, Some(&position));
        position
    }

    pub fn listeners(&self, channel: usize) -> Vec<ActorId> {
        let of = self.subscribers.iter().filter(|((of, _), subscriber)| *of == channel && !subscriber.slow);
        of.map(|((_, actor), _)| *actor).collect()
    }

    fn fan_out(&mut self, publisher: ActorId, publish: &Publish, position: Option<&Position>) {
        let channel = publish.channel;
        let all: Vec<ActorId> =
            self.subscribers.keys().filter(|(of, _)| *of == channel).map(|(_, actor)| *actor).collect();
        for actor in all {
            let subscriber = self.subscribers.get_mut(&(channel, actor)).unwrap();
            if subscriber.slow {
                if let Some(position) = position.filter(|_| !(publish.no_echo && actor == publisher)) {
                    subscriber.missed = position.offset;
                }
                continue;
            }
            if publish.no_echo && actor == publisher && !(publish.certain && self.fires(Bug::EchoesAnyway)) {
                if let Some(position) = position.cloned().filter(|_| self.dice.one_in(2)) {
                    self.push(actor, Seen::Skipped { channel: CHANNELS[channel].into(), position });
                }
                continue;
            }
            let seen = delivered(publish, position.cloned(), Path::Live);
            match position {
                Some(position) => self.deliver(actor, channel, position.offset, seen),
                None => self.deliver_volatile(actor, publisher, publish, seen),
            }
        }
    }

    /// Whether the actor did not want to get what is there back.
    pub fn is_own(&self, channel: usize, offset: u64, actor: ActorId) -> bool {
        self.channels[channel].entries.iter().any(|entry| entry.offset == offset && entry.is_own(actor))
    }

    /// To one subscriber, as it happens.
    fn deliver(&mut self, actor: ActorId, channel: usize, offset: u64, mut seen: Seen) {
        let held = std::mem::take(&mut self.subscribers.get_mut(&(channel, actor)).unwrap().held);
        if !held.is_empty() {
            if self.bug == Some(Bug::SwapsBodies) {
                let mut held = held.into_iter().next().unwrap();
                swap_bodies(&mut held, &mut seen);
                self.push(actor, held);
                return self.push(actor, seen);
            }
            self.push(actor, seen);
            return held.into_iter().for_each(|held| self.push(actor, held));
        }
        if self.fires(Bug::DropsOne) || (self.last_call && self.fires(Bug::DropsTheLast)) {
            return;
        }
        if self.fires(Bug::SwapsTwo) || self.fires(Bug::SwapsBodies) {
            self.subscribers.get_mut(&(channel, actor)).unwrap().held.push(seen);
            return;
        }
        let before = self.channels[channel].entries.iter().rev().nth(1).map(|entry| entry.publish.clone());
        let Seen::Delivered { id, body, position, .. } = &mut seen else { unreachable!() };
        if self.fires(Bug::AltersAByte) {
            *body ^= 1 << 7;
        }
        if let Some(before) = before.filter(|_| self.fires(Bug::ShowsAnother)) {
            (*id, *body) = (before.id, before.body);
        }
        if self.fires(Bug::InventsOne) {
            *id = 1 << 40;
        }
        if self.fires(Bug::ForgetsThePosition) {
            *position = None;
        }
        if self.listeners(channel).len() > 1 && self.fires(Bug::SkipsAnothers) {
            let position = self.position(channel, offset);
            seen = Seen::Skipped { channel: CHANNELS[channel].into(), position };
        }
        self.push(actor, seen.clone());
        if self.fires(Bug::DoublesOne) {
            self.push(actor, seen);
        }
    }

    fn deliver_volatile(&mut self, actor: ActorId, publisher: ActorId, publish: &Publish, mut seen: Seen) {
        let channel = publish.channel;
        if channel == PLAIN && publish.certain && !publish.no_echo && self.fires(Bug::SwapsVolatiles) {
            self.subscribers.get_mut(&(channel, actor)).unwrap().held.push(seen);
            self.swapped = Some(publisher);
            return;
        }
        let again = publish.certain && self.swapped == Some(publisher) && channel == PLAIN;
        let subscriber = self.subscribers.get_mut(&(channel, actor)).unwrap();
        let held = if again { std::mem::take(&mut subscriber.held) } else { Vec::new() };
        if channel == PLAIN
            && self.subscribers.contains_key(&(MEMORY, actor))
            && self.fires(Bug::DeliversToAnotherChannel)
        {
            let Seen::Delivered { channel, .. } = &mut seen else { unreachable!() };
            *channel = CHANNELS[MEMORY].into();
        }
        self.push(actor, seen.clone());
        if publish.certain && self.fires(Bug::DoublesAVolatile) {
            self.push(actor, seen);
        }
        for held in held {
            self.push(actor, held);
        }
    }

    /// A subscriber takes too little: what comes now is not for it.
    pub fn slow_down(&mut self, channel: usize, actor: ActorId) {
        if let Some(subscriber) = self.subscribers.get_mut(&(channel, actor)) {
            subscriber.slow = channel != PLAIN && subscriber.held.is_empty();
        }
    }

    pub fn speed_up(&mut self, channel: usize, actor: ActorId) {
        let Some(subscriber) = self.subscribers.get_mut(&(channel, actor)).filter(|subscriber| subscriber.slow) else {
            return;
        };
        let missed = subscriber.missed;
        *subscriber = Subscriber::default();
        let head = self.channels[channel].head;
        let mut offset = head;
        if missed == head && head > 3 {
            if self.fires(Bug::ForgetsTheLostNotice) {
                return;
            }
            if self.fires(Bug::LostNamesTooSmall) {
                offset = head - 1;
            } else if self.fires(Bug::LostNamesTooBig) {
                offset = head + 1;
            } else if self.fires(Bug::LostNamesThePast) {
                offset = 0;
            }
        }
        if missed > 0 {
            let position = self.position(channel, offset);
            self.push(actor, Seen::Lost { channel: CHANNELS[channel].into(), position, reason: Some("slow".into()) });
        }
    }

    fn unsubscribe(&mut self, actor: ActorId, channel: usize) {
        let was = self.subscribers.get(&(channel, actor)).is_some_and(|subscriber| !subscriber.slow);
        self.push(actor, Seen::Unsubscribed { channel: CHANNELS[channel].into() });
        if !(was && self.fires(Bug::DeliversAfterUnsubscribe)) {
            self.subscribers.remove(&(channel, actor));
        }
    }
}

impl Entry {
    /// The actor did not want it back.
    pub fn is_own(&self, actor: ActorId) -> bool {
        self.publisher == actor && self.publish.no_echo
    }
}

pub fn delivered(publish: &Publish, position: Option<Position>, path: Path) -> Seen {
    let &Publish { channel, id, body, .. } = publish;
    Seen::Delivered { channel: CHANNELS[channel].into(), position, id, body, path }
}

fn swap_bodies(one: &mut Seen, other: &mut Seen) {
    if let (Seen::Delivered { id, body, .. }, Seen::Delivered { id: other_id, body: other_body, .. }) = (one, other) {
        std::mem::swap(id, other_id);
        std::mem::swap(body, other_body);
    }
}
