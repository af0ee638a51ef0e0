//! Clients of the toy hub, and what happens to them, written down.

use std::collections::{BTreeMap, VecDeque};

use sockeye_judge::{Action, ActorId, Name, Position, Record, Seen, fingerprint};

use super::bug::Bug;
use super::dice::Dice;
use super::hub::{CHANNELS, Command, DISK, Hub, MEMORY, PLAIN, Publish};

const CLIENTS: u32 = 5;
/// Bugs begin after so many steps, and what is not bug-like ends with them.
const WARM_UP: u32 = 150;
const STEPS: u32 = 900;
const ACTIONS: [Action; 4] = [Action::Subscribe, Action::Publish, Action::History, Action::Presence];

#[derive(Debug, Default)]
struct Client {
    disconnected: bool,
    /// Sent, and not with the hub yet.
    out: VecDeque<Command>,
    channels: [Subscription; 3],
    /// Publishes without an outcome.
    open: Vec<Publish>,
    /// Those nobody knows the outcome of, and may be tried again.
    retry: Vec<Publish>,
    reading: bool,
}

#[derive(Clone, Debug, Default)]
struct Subscription {
    state: State,
    position: Option<Position>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Asked,
    Active,
    Leaving,
}

pub struct World {
    hub: Hub,
    dice: Dice,
    clients: Vec<Client>,
    /// What was on its way on connections that are gone.
    stray: VecDeque<(ActorId, Command)>,
    denied: BTreeMap<(usize, ActorId), Vec<Action>>,
    ids: u64,
    records: Vec<Record>,
    /// The bug's moment has come.
    calm: bool,
}

/// A history, and whether the bug's moment came.
pub struct History {
    pub records: Vec<Record>,
    pub fired: bool,
}

/// Plays a history. With `harmless` the moment of the bug is only looked for.
pub fn play(seed: u64, bug: Option<Bug>, harmless: bool) -> History {
    let mut world = World {
        hub: Hub::new(seed, bug, harmless),
        dice: Dice(!seed),
        clients: (0..CLIENTS).map(|_| Client::default()).collect(),
        stray: VecDeque::new(),
        denied: BTreeMap::new(),
        ids: 0,
        records: Vec::new(),
        calm: false,
    };
    for step in 0..STEPS {
        world.hub.warm = step > WARM_UP;
        if world.hub.fired {
            break;
        }
        world.step();
    }
    world.calm();
    History { records: world.records, fired: world.hub.fired }
}

impl World {
    fn step(&mut self) {
        self.hub.now += self.dice.below(20);
        let actor = u32::try_from(self.dice.below(u64::from(CLIENTS))).unwrap();
        let channel = usize::try_from(self.dice.below(3)).unwrap();
        match self.dice.below(100) {
            0..20 => self.publish(actor, channel),
            20..46 => self.hand_over(actor),
            46..76 => self.receive(actor),
            76..84 => self.subscribe(actor, channel),
            84..86 => self.unsubscribe(actor, channel),
            86..89 => self.ask(actor, channel),
            89..91 => self.disconnect(actor),
            91 => self.hand_over_stray(),
            92..95 => self.hub.slow_down(channel, actor),
            95..98 => self.hub.speed_up(channel, actor),
            98 => self.permit(actor, channel),
            _ => self.rarely(),
        }
    }

    fn rarely(&mut self) {
        match self.dice.below(4) {
            0 => self.restart(),
            1 => {
                self.drain();
                self.hub.now += 200_000;
                self.hub.jumped = true;
            }
            2 => self.settle(),
            _ => {}
        }
    }

    fn note(&mut self, actor: ActorId, what: Seen) {
        self.records.push(Record { at: self.hub.now, actor, what });
    }

    fn client(&mut self, actor: ActorId) -> &mut Client {
        &mut self.clients[actor as usize]
    }

    fn send(&mut self, actor: ActorId, command: Command) {
        self.client(actor).disconnected = false;
        self.client(actor).out.push_back(command);
    }

    fn publish(&mut self, actor: ActorId, channel: usize) {
        if !self.hub.fired && !self.client(actor).retry.is_empty() && self.dice.one_in(2) {
            let publish = self.client(actor).retry.remove(0);
            return self.send_publish(actor, Publish { certain: false, ..publish });
        }
        self.ids += 1;
        let id = self.ids;
        let body = fingerprint(&id.to_le_bytes());
        // Now and then the key of the publish before, with another body.
        let key_number = if id > 1 && self.dice.one_in(10) { id - 1 } else { id };
        let key = self.dice.one_in(3).then(|| Name::from(format!("{channel}-{key_number}")));
        let volatile = key.is_none() && self.dice.one_in(6);
        // What may have been skipped as somebody's own hides that bug.
        let no_echo = self.dice.one_in(4) && self.hub.bug != Some(Bug::SubscribedIsAheadInQuiet);
        let (key, volatile, no_echo) = if self.calm { (None, false, false) } else { (key, volatile, no_echo) };
        self.send_publish(actor, Publish { channel, id, body, key, volatile, no_echo, asked_at: 0, certain: true });
    }

    fn send_publish(&mut self, actor: ActorId, mut publish: Publish) {
        publish.asked_at = self.hub.now;
        let Publish { channel, id, body, key, volatile, no_echo, .. } = publish.clone();
        self.note(actor, Seen::Publishing { channel: CHANNELS[channel].into(), id, body, key, volatile, no_echo });
        self.client(actor).open.push(publish.clone());
        self.send(actor, Command::Publish(publish));
    }

    fn subscribe(&mut self, actor: ActorId, channel: usize) {
        let last = self.dice.one_in(4).then(|| self.dice.below(6));
        let Subscription { state, position } = self.client(actor).channels[channel].clone();
        if state != State::Idle {
            return;
        }
        let mut since = position;
        let own_next = since.as_ref().is_some_and(|since| self.hub.is_own(channel, since.offset + 1, actor));
        if let Some(since) = &mut since
            && !own_next
            && self.hub.fires(Bug::ClientMiscounts)
        {
            since.offset += 1;
        }
        let last = last.filter(|_| since.is_none() && channel != PLAIN);
        self.client(actor).channels[channel].state = State::Asked;
        self.note(actor, Seen::Subscribing { channel: CHANNELS[channel].into(), since: since.clone(), last });
        self.send(actor, Command::Subscribe { channel, since, last });
    }

    fn unsubscribe(&mut self, actor: ActorId, channel: usize) {
        let state = &mut self.client(actor).channels[channel].state;
        if *state == State::Active {
            *state = State::Leaving;
            self.send(actor, Command::Unsubscribe { channel });
        }
    }

    /// History or presence.
    fn ask(&mut self, actor: ActorId, channel: usize) {
        if self.dice.one_in(3) {
            return self.send(actor, Command::Presence { channel });
        }
        if channel == PLAIN || self.client(actor).reading {
            return;
        }
        let reverse = self.dice.one_in(3);
        let since = self.client(actor).channels[channel].position.clone();
        let since = since.filter(|_| !reverse && self.dice.one_in(2));
        self.client(actor).reading = true;
        self.note(actor, Seen::ReadingHistory { channel: CHANNELS[channel].into(), since: since.clone(), reverse });
        self.send(actor, Command::History { channel, since, reverse });
    }

    fn disconnect(&mut self, actor: ActorId) {
        self.hub.disconnect(actor);
        let keep = usize::try_from(self.dice.below(4)).unwrap();
        let client = &mut self.clients[actor as usize];
        client.disconnected = true;
        client.reading = false;
        self.stray.extend(client.out.drain(..).take(keep).map(|command| (actor, command)));
        for subscription in &mut client.channels {
            subscription.state = State::Idle;
        }
        for publish in std::mem::take(&mut client.open) {
            let id = publish.id;
            self.note(actor, Seen::Unknown { id });
            self.client(actor).retry.push(publish);
        }
        self.note(actor, Seen::Disconnected);
    }

    fn restart(&mut self) {
        for actor in 0..CLIENTS {
            self.disconnect(actor);
        }
        self.stray.clear();
        self.note(0, Seen::Restart);
        self.hub.restart();
    }

    fn permit(&mut self, actor: ActorId, channel: usize) {
        let action = ACTIONS[usize::try_from(self.dice.below(4)).unwrap()];
        let name: Name = CHANNELS[channel].into();
        let denied = self.denied.entry((channel, actor)).or_default();
        if let Some(action) = denied.pop() {
            self.note(actor, Seen::Granted { channel: name, action });
            self.hub.grant(channel, actor, action);
        } else {
            denied.push(action);
            let steady = self.clients[actor as usize].channels[channel].state == State::Active;
            self.hub.revoke(channel, actor, action, steady);
            self.note(actor, Seen::Revoked { channel: name, action });
            // What is on its way comes within the time of grace.
            while self.receive_one(actor) {}
        }
    }

    fn hand_over(&mut self, actor: ActorId) {
        let out = &mut self.clients[actor as usize].out;
        if let (Some(Command::Publish(one)), Some(Command::Publish(other))) = (out.front(), out.get(1))
            && one.channel == other.channel
            && one.channel != PLAIN
            && [one, other].iter().all(|publish| publish.key.is_none() && !publish.volatile && publish.certain)
            && self.hub.may(one.channel, actor, Action::Publish)
            && self.hub.fires(Bug::SwapsThePublishersOrder)
        {
            self.hub.must_accept = 2;
            out.swap(0, 1);
            if let Some(command) = out.pop_front() {
                self.hub.handle(actor, command, true);
            }
        }
        if let Some(command) = out.pop_front() {
            self.hub.handle(actor, command, true);
        }
    }

    fn hand_over_stray(&mut self) {
        if let Some((actor, mut command)) = self.stray.pop_front() {
            if let Command::Publish(publish) = &mut command {
                publish.certain &=
                    self.client(actor).retry.iter().any(|waiting| waiting.id == publish.id && waiting.certain);
            }
            self.hub.handle(actor, command, false);
        }
    }

    fn receive(&mut self, actor: ActorId) {
        for _ in 0..=self.dice.below(4) {
            self.receive_one(actor);
        }
    }

    fn receive_one(&mut self, actor: ActorId) -> bool {
        let Some(seen) = self.hub.to.get_mut(&actor).and_then(VecDeque::pop_front) else { return false };
        self.note(actor, seen.clone());
        if let Seen::Published { position: Some(position), .. } | Seen::Delivered { position: Some(position), .. } =
            &seen
        {
            let heard = self.hub.heard.entry(Name::clone(&position.epoch)).or_default();
            heard.insert(position.offset);
        }
        let client = &mut self.clients[actor as usize];
        let of = |channel: &Name| CHANNELS.iter().position(|name| **name == **channel).unwrap();
        match seen {
            Seen::Published { id, .. } | Seen::Refused { id } => client.open.retain(|publish| publish.id != id),
            Seen::Subscribed { channel, position, recovered, catch_up } => {
                let subscription = &mut client.channels[of(&channel)];
                subscription.state = State::Active;
                if recovered != Some(true) {
                    subscription.position = position.filter(|_| catch_up == Some(0));
                }
            }
            Seen::Delivered { channel, position: Some(position), .. }
            | Seen::Skipped { channel, position }
            | Seen::Lost { channel, position, .. } => client.channels[of(&channel)].position = Some(position),
            Seen::Unsubscribed { channel } | Seen::Ended { channel } => {
                client.channels[of(&channel)].state = State::Idle;
            }
            Seen::HistoryPage { .. } => client.reading = false,
            _ => {}
        }
        true
    }

    /// Until nothing is on its way.
    fn drain(&mut self) {
        // No bug begins here: what is on its way could hide it.
        let warm = std::mem::take(&mut self.hub.warm);
        while !self.stray.is_empty() {
            self.hand_over_stray();
        }
        for actor in 0..CLIENTS {
            for channel in 0..CHANNELS.len() {
                self.hub.speed_up(channel, actor);
            }
            while !self.client(actor).out.is_empty() {
                self.hand_over(actor);
            }
        }
        for actor in 0..CLIENTS {
            while self.receive_one(actor) {}
            // History that was refused has no answer here.
            self.client(actor).reading = false;
        }
        self.hub.warm = warm;
    }

    fn settle(&mut self) {
        self.drain();
        self.note(0, Seen::Settled);
    }

    fn all(&mut self, mut act: impl FnMut(&mut Self, ActorId, usize)) {
        for actor in 0..CLIENTS {
            for channel in [MEMORY, DISK, PLAIN] {
                act(self, actor, channel);
            }
        }
        self.hub.now += 10;
        self.drain();
    }

    /// What follows a bug must not hide it: publishes are stored and come to all, nobody unsubscribes;
    /// what of the other kind is on its way does not arrive.
    fn be_plain(&mut self) {
        self.calm = true;
        self.hub.must_accept = u32::MAX;
        self.stray.clear();
        for client in &mut self.clients {
            client.out.retain(|command| !matches!(command, Command::Unsubscribe { .. } | Command::Publish(_)));
        }
    }

    /// Nothing bad happens any more: everybody subscribes, publishes, reads; comes back; and it is quiet.
    fn calm(&mut self) {
        self.hub.warm = false;
        if self.hub.fired {
            self.be_plain();
        }
        self.drain();
        self.hub.now += 1_500;
        if self.hub.bug == Some(Bug::DeliversAfterUnsubscribe) {
            self.all(Self::publish);
            self.all(Self::publish);
        }
        self.all(Self::subscribe);
        for _ in 0..3 {
            self.all(Self::publish);
            self.all(Self::ask);
        }
        self.settle();
        for actor in 0..CLIENTS {
            self.disconnect(actor);
        }
        self.all(Self::subscribe);
        self.all(Self::publish);
        self.settle();
        self.disconnect(1);
        self.hub.last_call = true;
        self.all(Self::subscribe);
        let quiet = self.hub.fired;
        if !quiet {
            self.all(|world, actor, channel| {
                if actor == 1 && channel != PLAIN {
                    world.publish(actor, channel);
                }
            });
        }
        self.settle();
    }
}
