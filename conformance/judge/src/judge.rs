//! The judge: takes records one after the other, keeps what it must, says in the end what was broken.

use std::collections::{BTreeMap, HashMap};

use crate::anomaly::{Counts, Findings, Here, Kind, Verdict};
use crate::history::{Action, ActorId, Item, Name, Path, Position, Record, Seen};
use crate::ledger::{ChannelId, EpochId, Floor, Ledger, Witness};
use crate::page::Page;
use crate::permissions::Permissions;
use crate::publishes::{Answer, Asked, Delivery, Publish, Publishes};
use crate::rules::Rules;
use crate::subscription::{Begin, Doubtful, Subscription, World};

/// Judges one history, in one pass.
///
/// ```
/// use sockeye_judge::{Judge, Kind, Position, Record, Rules, Seen};
///
/// let mut judge = Judge::new(Rules::default());
/// let publishing = Seen::Publishing { channel: "a".into(), id: 1, body: 7, key: None, volatile: false, no_echo: false };
/// judge.see(&Record { at: 0, actor: 1, what: publishing });
/// judge.see(&Record { at: 1, actor: 1, what: Seen::Published { id: 1, position: Some(Position::new("k", 1)) } });
/// judge.see(&Record { at: 2, actor: 2, what: Seen::Subscribing { channel: "a".into(), since: None, last: None } });
/// let position = Some(Position::new("k", 0));
/// let subscribed = Seen::Subscribed { channel: "a".into(), position, recovered: None, catch_up: Some(0) };
/// judge.see(&Record { at: 3, actor: 2, what: subscribed });
/// assert!(judge.finish().has(Kind::AcknowledgedLost));
/// ```
#[derive(Debug)]
pub struct Judge {
    rules: Rules,
    findings: Findings,
    counts: Counts,
    publishes: Publishes,
    ledger: Ledger,
    permissions: Permissions,
    readers: BTreeMap<(ChannelId, ActorId), Reader>,
    /// How many connections an actor has lost.
    connections: HashMap<ActorId, u32>,
    skips: Vec<(Here, EpochId, u64)>,
    doubtful: Vec<Doubtful>,
    ahead: Vec<Ahead>,
    here: Here,
}

/// One actor in one channel.
#[derive(Debug, Default)]
struct Reader {
    asked: Option<Subscribing>,
    history: Option<Reading>,
    subscribed: Subscribed,
    /// The last position it reached, in this subscription or the last.
    position: Option<(EpochId, u64)>,
    /// Of each publisher, the latest attempt that came without a position.
    latest: HashMap<ActorId, (u32, u64)>,
}

#[derive(Debug, Default)]
enum Subscribed {
    #[default]
    Not,
    WithoutHistory,
    At(Subscription),
}

/// Somebody who was told of a position of which nobody else knows, when all was quiet, and who was not there.
#[derive(Debug)]
struct Ahead {
    here: Here,
    channel: ChannelId,
    epoch: EpochId,
    end: u64,
    behind: Vec<ActorId>,
}

impl Ahead {
    /// Those who were behind may have skipped publications of their own, of which the answer was lost.
    fn decide(
        self,
        ledger: &Ledger,
        publishes: &Publishes,
        unplaced: &HashMap<(ActorId, ChannelId), u64>,
        findings: &mut Findings,
    ) {
        let Self { here, channel, epoch, end, behind } = self;
        let skipped = |actor: &ActorId| match (ledger.at(epoch, end), ledger.presumed(epoch, end)) {
            (Some(id), _) => publishes.is_own(id, *actor),
            (None, Some(id)) => publishes.may_be_own(id, *actor),
            (None, None) => unplaced.contains_key(&(*actor, channel)),
        };
        if !behind.iter().all(skipped) {
            findings.add(Kind::Ahead, here, &ledger.name(channel), || {
                format!("at {end} when all is quiet; not so actors {behind:?}, and nobody had seen as much")
            });
        }
    }
}

#[derive(Debug)]
struct Subscribing {
    since: Option<Position>,
    last: Option<u64>,
    floor: Option<Floor>,
}

#[derive(Debug)]
struct Reading {
    since: Option<Position>,
    reverse: bool,
    floor: Option<Floor>,
}

/// A `Subscribed`, in parts.
struct Reply<'a> {
    position: Option<&'a Position>,
    recovered: Option<bool>,
    catch_up: Option<u64>,
}

/// A `Delivered`, in parts.
struct Publication<'a> {
    position: Option<&'a Position>,
    id: u64,
    body: u64,
    path: Path,
}

impl Judge {
    /// A judge of one history.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            findings: Findings::new(rules.max_anomalies),
            counts: Counts::default(),
            publishes: Publishes::new(&rules),
            ledger: Ledger::default(),
            permissions: Permissions::new(&rules),
            readers: BTreeMap::new(),
            connections: HashMap::new(),
            skips: Vec::new(),
            doubtful: Vec::new(),
            ahead: Vec::new(),
            here: Here { record: 0, at: 0, actor: 0 },
            rules,
        }
    }

    /// The next record.
    pub fn see(&mut self, record: &Record) {
        self.counts.records += 1;
        self.here = Here { record: self.counts.records, at: record.at, actor: record.actor };
        match &record.what {
            Seen::Publishing { .. } | Seen::Published { .. } | Seen::Refused { .. } | Seen::Unknown { .. } => {
                self.see_publisher(&record.what);
            }
            Seen::Granted { channel, action } => {
                let channel = self.channel(channel);
                self.permissions.grant(record.actor, channel, *action);
            }
            Seen::Revoked { channel, action } => {
                let channel = self.channel(channel);
                self.permissions.revoke(record.actor, channel, *action, record.at);
            }
            Seen::Disconnected => self.disconnected(),
            Seen::Restart => {
                self.counts.restarts += 1;
                self.ledger.restarts += 1;
            }
            Seen::Settled => self.settled(),
            _ => self.see_reader(&record.what),
        }
    }

    /// The history is at its end.
    pub fn finish(mut self) -> Verdict {
        let readers: Vec<_> = self.readers.keys().copied().collect();
        for (channel, actor) in readers {
            self.here.actor = actor;
            self.end_subscription(channel);
        }
        self.check_skips();
        let Self { mut publishes, ledger, mut findings, mut counts, here, doubtful, ahead, .. } = self;
        counts.epochs = ledger.epochs.len() as u64;
        (counts.entries, counts.entries_read) = ledger.finish(&mut publishes, &mut findings);
        let mut unplaced = publishes.unplaced_own();
        for ahead in ahead {
            ahead.decide(&ledger, &publishes, &unplaced, &mut findings);
        }
        for gap in doubtful {
            gap.decide(&ledger, &publishes, &mut unplaced, &mut findings);
        }
        publishes.finish(here, |channel| ledger.name(channel), &mut findings);
        counts.unknown = counts.attempts.saturating_sub(counts.acknowledged).saturating_sub(counts.refused);
        Verdict { anomalies: findings.anomalies, kinds: findings.kinds, counts }
    }

    /// What was found so far, and so what a record has just shown; some anomalies only the end can show.
    #[must_use]
    pub fn anomalies(&self) -> &[crate::Anomaly] {
        &self.findings.anomalies
    }

    fn see_publisher(&mut self, what: &Seen) {
        let here = self.here;
        match what {
            Seen::Publishing { channel: name, id, body, key, volatile, no_echo } => {
                self.counts.attempts += 1;
                let channel = self.channel(name);
                let asked = Asked {
                    id: *id,
                    channel: (channel, name),
                    body: *body,
                    key: key.as_ref(),
                    kind: Delivery { volatile: *volatile, no_echo: *no_echo },
                    connection: self.connection(here.actor),
                    permitted: self.permissions.allow(here.actor, channel, Action::Publish, here.at),
                };
                self.publishes.ask(here, &asked, &mut self.findings);
            }
            Seen::Published { id, position } => {
                self.counts.acknowledged += 1;
                self.published(*id, position.as_ref());
            }
            Seen::Refused { id } => {
                self.counts.refused += 1;
                self.publishes.fail(here, *id, false, &mut self.findings);
            }
            Seen::Unknown { id } => self.publishes.fail(here, *id, true, &mut self.findings),
            _ => {}
        }
    }

    fn published(&mut self, id: u64, position: Option<&Position>) {
        let (ledger, permissions, here) = (&self.ledger, &self.permissions, self.here);
        let permitted = |channel| permissions.allow(here.actor, channel, Action::Publish, here.at);
        let ways = (|channel| ledger.name(channel), permitted);
        let answer = self.publishes.acknowledge(here, id, position, ways, &mut self.findings);
        if let (Answer::At { channel, any_body }, Some(position)) = (answer, position) {
            let epoch = self.epoch(channel, position);
            self.witness((epoch, position.offset), id, Witness::Acknowledged { any_body });
        }
    }

    fn see_reader(&mut self, what: &Seen) {
        match what {
            Seen::Subscribing { channel, since, last } => self.subscribing(channel, since.as_ref(), *last),
            Seen::Subscribed { channel, position, recovered, catch_up } => {
                let reply = Reply { position: position.as_ref(), recovered: *recovered, catch_up: *catch_up };
                self.subscribed(channel, &reply);
            }
            Seen::Delivered { channel, position, id, body, path } => {
                let publication = Publication { position: position.as_ref(), id: *id, body: *body, path: *path };
                self.delivered(channel, &publication);
            }
            Seen::Skipped { channel, position } => self.skipped(channel, position),
            Seen::Lost { channel, position, .. } => self.lost(channel, position),
            Seen::Unsubscribed { channel } | Seen::Ended { channel } => {
                let channel = self.channel(channel);
                self.end_subscription(channel);
            }
            Seen::ReadingHistory { channel, since, reverse } => {
                let channel = self.channel(channel);
                let floor = self.ledger.floor(channel, self.here.at, &self.rules);
                self.reader(channel).history = Some(Reading { since: since.clone(), reverse: *reverse, floor });
            }
            Seen::HistoryPage { channel, position, items, more } => {
                self.history_page(channel, &Page { position, items, more: *more });
            }
            Seen::Presence { channel } => {
                let id = self.channel(channel);
                self.need(id, channel, Action::Presence, || "presence was told".to_owned());
            }
            _ => {}
        }
    }

    fn subscribing(&mut self, name: &Name, since: Option<&Position>, last: Option<u64>) {
        let channel = self.channel(name);
        let floor = self.ledger.floor(channel, self.here.at, &self.rules);
        let before = self.reader(channel).position;
        self.reader(channel).asked = Some(Subscribing { since: since.cloned(), last, floor });
        let (Some(since), Some((epoch, offset))) = (since, before) else { return };
        let Self { ledger, publishes, findings, here, .. } = self;
        let mut own = (offset.saturating_add(1)..=since.offset)
            .map(|offset| ledger.at(epoch, offset).is_some_and(|id| publishes.is_own(id, here.actor)));
        let same_epoch = ledger.epoch_of(channel, since) == Some(epoch);
        if !same_epoch || since.offset < offset || !own.all(|own| own) {
            let was = &ledger.epochs[epoch as usize].name;
            let Position { epoch, offset: asked } = since;
            findings
                .add(Kind::WrongSince, *here, name, || format!("goes on from {epoch}/{asked}, was at {was}/{offset}"));
        }
    }

    fn subscribed(&mut self, name: &Name, reply: &Reply<'_>) {
        self.counts.subscriptions += 1;
        let channel = self.channel(name);
        self.end_subscription(channel);
        self.need(channel, name, Action::Subscribe, || "the subscribe was done".to_owned());
        let asked = self.reader(channel).asked.take();
        let asked = asked.unwrap_or(Subscribing { since: None, last: None, floor: None });
        let Some(position) = reply.position else {
            self.reader(channel).subscribed = Subscribed::WithoutHistory;
            return;
        };
        let head = position.offset;
        let epoch = self.epoch(channel, position);
        self.ledger.not_behind(self.here, (epoch, head), asked.floor, &mut self.findings);
        let after = self.recovery(channel, name, &asked, reply, epoch);
        self.counts.recovered += u64::from(after.is_some());
        if let (Some(last), Some(count)) = (asked.last, reply.catch_up) {
            let keeps = self.ledger.channels[channel as usize].rules.keeps;
            let least = keeps.map_or(0, |keeps| last.min(keeps).min(head));
            if count > last || count < least {
                self.find(Kind::WrongCatchUp, name, || {
                    format!("{count} announced where the last {last} were asked for")
                });
            }
        }
        let catches_up = reply.catch_up.map_or(asked.last.is_some() || asked.since.is_some(), |count| count > 0);
        let begin = Begin { epoch, head, after, catches_up, announced: reply.catch_up };
        self.reader(channel).subscribed = Subscribed::At(Subscription::new(&begin));
    }

    /// The offset after which everything is promised to come, if that was asked for and not denied.
    fn recovery(
        &mut self,
        channel: ChannelId,
        name: &Name,
        asked: &Subscribing,
        reply: &Reply<'_>,
        epoch: EpochId,
    ) -> Option<u64> {
        let since = asked.since.as_ref()?;
        let same_epoch = self.ledger.epoch_of(channel, since) == Some(epoch);
        let head = reply.position?.offset;
        if reply.recovered == Some(false) {
            let keeps = self.ledger.channels[channel as usize].rules.keeps;
            if same_epoch && head >= since.offset && keeps.is_some_and(|keeps| head - since.offset <= keeps) {
                self.find(Kind::NeedlessLoss, name, || {
                    format!("offset {} is held, the channel is at {head}", since.offset + 1)
                });
            }
            return None;
        }
        if !same_epoch {
            self.find(Kind::FalseRecovery, name, || {
                format!("since epoch {}, and the channel is in another", since.epoch)
            });
            return None;
        }
        Some(since.offset)
    }

    fn delivered(&mut self, name: &Name, publication: &Publication<'_>) {
        let channel = self.channel(name);
        let &Publication { position, id, body, path } = publication;
        match path {
            Path::Live => self.counts.live += 1,
            Path::CatchUp => self.counts.caught_up += 1,
        }
        self.need(channel, name, Action::Subscribe, || format!("publication {id} came ({path:?})"));
        self.publishes.look(self.here, (channel, name), id, body, &mut self.findings);
        let place = position.map(|position| (self.epoch(channel, position), position.offset));
        if let Some(place) = place {
            self.witness(place, id, Witness::Read);
        }
        self.check_wishes(channel, name, publication);
        let reader = self.readers.entry((channel, self.here.actor)).or_default();
        let mut world = World {
            here: self.here,
            channel: name,
            ledger: &self.ledger,
            publishes: &self.publishes,
            findings: &mut self.findings,
            doubtful: &mut self.doubtful,
        };
        match (&mut reader.subscribed, place) {
            (Subscribed::Not, _) => {
                world
                    .findings
                    .add(Kind::NotSubscribed, self.here, name, || format!("publication {id} came ({path:?})"));
            }
            (Subscribed::At(subscription), Some((epoch, offset))) => {
                if epoch != subscription.epoch {
                    let new = position.map(|position| &position.epoch);
                    world.findings.add(Kind::EpochUnannounced, self.here, name, || format!("now in epoch {new:?}"));
                    subscription.end(false, &mut world);
                    subscription.change_epoch(epoch, offset);
                }
                subscription.deliver(offset, path, &mut world);
            }
            (Subscribed::At(_) | Subscribed::WithoutHistory, _) => {}
        }
    }

    /// What the publisher asked for: volatile, no echo; and its order, where there are no positions.
    fn check_wishes(&mut self, channel: ChannelId, name: &Name, publication: &Publication<'_>) {
        let here = self.here;
        let &Publication { position, id, path, .. } = publication;
        let connection = self.connection(here.actor);
        let reader = self.readers.entry((channel, here.actor)).or_default();
        let Self { findings, publishes, .. } = self;
        let Some(publish) = publishes.get(id) else { return };
        let &Publish { actor, last, kind: Delivery { volatile, no_echo }, attempts, .. } = publish;
        if volatile && (position.is_some() || path == Path::CatchUp) {
            findings.add(Kind::VolatileStored, here, name, || format!("{id} came with {position:?} ({path:?})"));
        }
        // An attempt of an earlier connection is not this session's own, and may be the one that succeeded.
        if no_echo && attempts == 1 && path == Path::Live && (actor, last.connection) == (here.actor, connection) {
            findings.add(Kind::Echoed, here, name, || format!("its own publication {id} came back"));
        }
        if position.is_some() {
            return;
        }
        if !volatile && matches!(reader.subscribed, Subscribed::At(_)) {
            findings.add(Kind::NoPosition, here, name, || format!("publication {id} is not volatile"));
        }
        let attempt = (last.connection, last.number);
        if attempts > 1 {
            // There is doubt about which attempt this is.
            return;
        }
        let before = reader.latest.insert(actor, attempt);
        // Connections may overtake each other.
        if let Some((connection, number)) = before.filter(|before| before.0 == attempt.0)
            && number >= attempt.1
        {
            let kind = if number == attempt.1 { Kind::Doubled } else { Kind::PublisherOrder };
            findings.add(kind, here, name, || {
                format!("publication {id}, without a position, comes after a later one, or again")
            });
            reader.latest.insert(actor, (connection, number));
        }
    }

    fn skipped(&mut self, name: &Name, position: &Position) {
        let channel = self.channel(name);
        let epoch = self.epoch(channel, position);
        self.skips.push((self.here, epoch, position.offset));
        self.in_subscription(channel, |subscription, world| {
            if subscription.epoch == epoch {
                subscription.skip(position.offset, world);
            }
        });
    }

    fn check_skips(&mut self) {
        for (here, epoch, offset) in std::mem::take(&mut self.skips) {
            let Some(id) = self.ledger.at(epoch, offset) else { continue };
            if !self.publishes.is_own(id, here.actor) {
                let of = &self.ledger.epochs[epoch as usize];
                let name = self.ledger.name(of.channel());
                let text = || format!("{}/{offset} is publication {id}", of.name);
                self.findings.add(Kind::SkippedForeign, here, &name, text);
            }
        }
    }

    fn lost(&mut self, name: &Name, position: &Position) {
        self.counts.lost_notices += 1;
        let channel = self.channel(name);
        let epoch = self.epoch(channel, position);
        let told =
            self.in_subscription(channel, |subscription, world| subscription.lose(epoch, position.offset, world));
        if !told {
            self.find(Kind::NotSubscribed, name, || "a lost notice came".to_owned());
        }
    }

    fn history_page(&mut self, name: &Name, page: &Page<'_>) {
        let channel = self.channel(name);
        let Some(asked) = self.reader(channel).history.take() else {
            return self.find(Kind::StrayReply, name, || "history that was not asked for".to_owned());
        };
        self.counts.history_items += page.items.len() as u64;
        self.need(channel, name, Action::History, || format!("a page of {} came", page.items.len()));
        let epoch = self.epoch(channel, page.position);
        self.ledger.not_behind(self.here, (epoch, page.position.offset), asked.floor, &mut self.findings);
        for &Item { offset, id, body } in page.items {
            self.publishes.look(self.here, (channel, name), id, body, &mut self.findings);
            self.witness((epoch, offset), id, Witness::Read);
            if self.publishes.get(id).is_some_and(|publish| publish.kind.volatile) {
                self.find(Kind::VolatileStored, name, || format!("{id} is in history at {offset}"));
            }
        }
        let since = asked.since.as_ref().filter(|since| self.ledger.epoch_of(channel, since) == Some(epoch));
        let keeps = self.ledger.channels[channel as usize].rules.keeps;
        if let Some(hole) = page.hole(since.map(|since| since.offset), asked.reverse, keeps) {
            self.find(Kind::HistoryHole, name, || hole);
        }
    }

    fn settled(&mut self) {
        self.counts.settled += 1;
        let settled = self.here;
        let mut ends: BTreeMap<ChannelId, Vec<(ActorId, u64)>> = BTreeMap::new();
        let readers: Vec<_> = self.readers.keys().copied().collect();
        for (channel, actor) in readers {
            if !self.permissions.allow(
                actor,
                channel,
                Action::Subscribe,
                settled.at.saturating_add(self.rules.grace_ms),
            ) {
                continue;
            }
            self.here.actor = actor;
            let current = self.ledger.channels[channel as usize].current;
            let ends = ends.entry(channel).or_default();
            self.in_subscription(channel, |subscription, world| {
                let end = subscription.settle(current, world);
                if Some(subscription.epoch) == current {
                    ends.push((actor, end));
                }
            });
        }
        for (channel, ends) in ends {
            let Some(epoch) = self.ledger.channels[channel as usize].current else { continue };
            let witnessed = self.ledger.epochs[epoch as usize].witnessed;
            for &(actor, end) in ends.iter().filter(|(_, end)| *end > witnessed) {
                let behind = ends.iter().filter(|(_, other)| *other < end).map(|(actor, _)| *actor).collect();
                self.ahead.push(Ahead { here: Here { actor, ..settled }, channel, epoch, end, behind });
            }
        }
        self.here = settled;
    }

    fn disconnected(&mut self) {
        let actor = self.here.actor;
        *self.connections.entry(actor).or_default() += 1;
        let channels: Vec<ChannelId> =
            self.readers.keys().filter(|(_, reader)| *reader == actor).map(|(channel, _)| *channel).collect();
        for channel in channels {
            self.end_subscription(channel);
            let reader = self.reader(channel);
            (reader.asked, reader.history) = (None, None);
        }
    }

    fn end_subscription(&mut self, channel: ChannelId) {
        self.in_subscription(channel, |subscription, world| subscription.end(false, world));
        let reader = self.reader(channel);
        if let Subscribed::At(subscription) = std::mem::take(&mut reader.subscribed) {
            reader.position = subscription.reached().map(|offset| (subscription.epoch, offset));
        }
    }

    /// Does something to the subscription of this record's actor, if there is one with positions. Says whether there is any.
    fn in_subscription(&mut self, channel: ChannelId, act: impl FnOnce(&mut Subscription, &mut World<'_>)) -> bool {
        let Some(reader) = self.readers.get_mut(&(channel, self.here.actor)) else { return false };
        let Subscribed::At(subscription) = &mut reader.subscribed else {
            return matches!(reader.subscribed, Subscribed::WithoutHistory);
        };
        let name = &self.ledger.channels[channel as usize].name;
        let mut world = World {
            here: self.here,
            channel: name,
            ledger: &self.ledger,
            publishes: &self.publishes,
            findings: &mut self.findings,
            doubtful: &mut self.doubtful,
        };
        act(subscription, &mut world);
        true
    }

    fn witness(&mut self, place: (EpochId, u64), id: u64, how: Witness) {
        self.ledger.witness(self.here, place, id, how, &self.publishes, &mut self.findings);
    }

    fn need(&mut self, channel: ChannelId, name: &Name, action: Action, text: impl FnOnce() -> String) {
        if !self.permissions.allow(self.here.actor, channel, action, self.here.at) {
            self.findings.add(Kind::Unauthorised, self.here, name, text);
        }
    }

    fn find(&mut self, kind: Kind, name: &Name, text: impl FnOnce() -> String) {
        self.findings.add(kind, self.here, name, text);
    }

    fn reader(&mut self, channel: ChannelId) -> &mut Reader {
        self.readers.entry((channel, self.here.actor)).or_default()
    }

    fn channel(&mut self, name: &Name) -> ChannelId {
        self.ledger.channel(name, &self.rules)
    }

    fn epoch(&mut self, channel: ChannelId, position: &Position) -> EpochId {
        self.ledger.epoch(self.here, channel, &position.epoch, &mut self.findings)
    }

    fn connection(&self, actor: ActorId) -> u32 {
        self.connections.get(&actor).copied().unwrap_or_default()
    }
}
