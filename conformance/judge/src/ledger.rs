//! Who stands where in which channel's order, as far as anybody has said.

use std::collections::HashMap;

use crate::anomaly::{Findings, Here, Kind};
use crate::history::{ActorId, Name, Position};
use crate::publishes::{Publish, Publishes};
use crate::rules::{ChannelRules, Epochs, Rules};

pub(crate) type ChannelId = u32;
pub(crate) type EpochId = u32;

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: Name,
    pub(crate) rules: ChannelRules,
    /// In the order in which they were first heard of.
    epochs: Vec<EpochId>,
    /// The one that was last spoken of.
    pub(crate) current: Option<EpochId>,
}

#[derive(Debug)]
pub(crate) struct Epoch {
    pub(crate) name: Name,
    channel: ChannelId,
    /// Its place among the channel's epochs.
    age: usize,
    entries: HashMap<u64, Entry>,
    /// The highest offset at which somebody found something.
    pub(crate) witnessed: u64,
    /// The highest offset in an `ok`.
    acknowledged: u64,
    /// Both as they were before this millisecond.
    earlier: (u64, u64, u64),
}

#[derive(Debug)]
struct Entry {
    id: u64,
    here: Here,
    /// Only an `ok` to a publish with a key says so, and others have that key: it may be one of theirs.
    presumed: bool,
    read: bool,
}

/// How somebody knows what is at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    Acknowledged { any_body: bool },
    Read,
}

/// What was there for certain when something was asked: the answer cannot be behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    epoch: EpochId,
    witnessed: u64,
    acknowledged: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) channels: Vec<Channel>,
    channel_ids: HashMap<Name, ChannelId>,
    pub(crate) epochs: Vec<Epoch>,
    epoch_ids: HashMap<(ChannelId, Name), EpochId>,
    pub(crate) restarts: usize,
}

impl Ledger {
    pub(crate) fn channel(&mut self, name: &Name, rules: &Rules) -> ChannelId {
        if let Some(&id) = self.channel_ids.get(name) {
            return id;
        }
        let id = ChannelId::try_from(self.channels.len()).unwrap_or(ChannelId::MAX);
        let rules = rules.of(name);
        self.channels.push(Channel { name: Name::clone(name), rules, epochs: Vec::new(), current: None });
        self.channel_ids.insert(Name::clone(name), id);
        id
    }

    pub(crate) fn name(&self, channel: ChannelId) -> Name {
        Name::clone(&self.channels[channel as usize].name)
    }

    /// The epoch of a position somebody was told of.
    pub(crate) fn epoch(&mut self, here: Here, channel: ChannelId, name: &Name, findings: &mut Findings) -> EpochId {
        let known = self.epoch_ids.get(&(channel, Name::clone(name))).copied();
        let id = known.unwrap_or_else(|| self.new_epoch(here, channel, name, findings));
        self.channels[channel as usize].current = Some(id);
        id
    }

    fn new_epoch(&mut self, here: Here, channel: ChannelId, name: &Name, findings: &mut Findings) -> EpochId {
        let of = &mut self.channels[channel as usize];
        let age = of.epochs.len();
        let allowed = match of.rules.epochs {
            Epochs::Fixed => 1,
            Epochs::AtRestart => self.restarts + 1,
            Epochs::Free => usize::MAX,
        };
        if age >= allowed {
            findings.add(Kind::EpochChanged, here, &of.name, || {
                format!("epoch {name:?} is number {}, after {} restarts", age + 1, self.restarts)
            });
        }
        let id = EpochId::try_from(self.epochs.len()).unwrap_or(EpochId::MAX);
        of.epochs.push(id);
        self.epochs.push(Epoch {
            name: Name::clone(name),
            channel,
            age,
            entries: HashMap::new(),
            witnessed: 0,
            acknowledged: 0,
            earlier: (0, 0, 0),
        });
        self.epoch_ids.insert((channel, Name::clone(name)), id);
        id
    }

    /// Somebody says that this publication is at this position.
    pub(crate) fn witness(
        &mut self,
        here: Here,
        (epoch, offset): (EpochId, u64),
        id: u64,
        how: Witness,
        publishes: &Publishes,
        findings: &mut Findings,
    ) {
        let of = &mut self.epochs[epoch as usize];
        let presumed = how == Witness::Acknowledged { any_body: true };
        let read = how == Witness::Read;
        if here.at > of.earlier.0 {
            of.earlier = (here.at, of.witnessed, of.acknowledged);
        }
        of.witnessed = of.witnessed.max(offset);
        if !read {
            of.acknowledged = of.acknowledged.max(offset);
        }
        let entry = of.entries.entry(offset).or_insert(Entry { id, here, presumed, read });
        if entry.id != id {
            if (presumed || entry.presumed) && publishes.same_key(entry.id, id) {
                if read {
                    entry.id = id;
                }
            } else {
                let name = &self.channels[of.channel as usize].name;
                let Entry { id: before, here: Here { record, actor, .. }, .. } = *entry;
                findings.add(Kind::PositionReused, here, name, || {
                    let epoch = &of.name;
                    format!("{epoch}/{offset} is {id}, and was {before} to actor {actor} in record {record}")
                });
            }
        }
        entry.presumed &= !read;
        entry.read |= read;
    }

    /// What is at this position, if anybody has said, and without doubt.
    pub(crate) fn at(&self, epoch: EpochId, offset: u64) -> Option<u64> {
        self.epochs[epoch as usize].entries.get(&offset).filter(|entry| !entry.presumed).map(|entry| entry.id)
    }

    /// What an `ok` says is at this position, if it may be another with the same key.
    pub(crate) fn presumed(&self, epoch: EpochId, offset: u64) -> Option<u64> {
        let entry = self.epochs[epoch as usize].entries.get(&offset).filter(|entry| entry.presumed)?;
        Some(entry.id)
    }

    /// What is there when something is asked at `now`; of several recorders only what was there a millisecond before.
    pub(crate) fn floor(&self, channel: ChannelId, now: u64, rules: &Rules) -> Option<Floor> {
        let &epoch = self.channels[channel as usize].epochs.last()?;
        let Epoch { mut witnessed, mut acknowledged, earlier, .. } = self.epochs[epoch as usize];
        if !rules.one_recorder && earlier.0 == now {
            (_, witnessed, acknowledged) = earlier;
        }
        Some(Floor { epoch, witnessed, acknowledged })
    }

    /// An answer says that the channel is at this position: not behind what was there when it was asked?
    pub(crate) fn not_behind(
        &self,
        here: Here,
        (epoch, offset): (EpochId, u64),
        floor: Option<Floor>,
        findings: &mut Findings,
    ) {
        let Some(floor) = floor else { return };
        let of = &self.epochs[epoch as usize];
        let then = &self.epochs[floor.epoch as usize];
        let channel = &self.channels[of.channel as usize].name;
        if epoch != floor.epoch {
            if of.age < then.age {
                findings.add(Kind::EpochReturned, here, channel, || format!("{}, after {}", of.name, then.name));
            }
        } else if offset < floor.acknowledged {
            findings.add(Kind::AcknowledgedLost, here, channel, || Self::behind(of, offset, floor.acknowledged));
        } else if offset < floor.witnessed {
            findings.add(Kind::WentBack, here, channel, || Self::behind(of, offset, floor.witnessed));
        }
    }

    fn behind(epoch: &Epoch, offset: u64, floor: u64) -> String {
        let name = &epoch.name;
        let Some(entry) = epoch.entries.get(&floor) else { return format!("{name}/{offset} after {name}/{floor}") };
        let Entry { id, here: Here { record, .. }, .. } = entry;
        format!("the channel is at {name}/{offset}, and {name}/{floor} was publication {id} in record {record}")
    }

    pub(crate) fn epoch_of(&self, channel: ChannelId, position: &Position) -> Option<EpochId> {
        self.epoch_ids.get(&(channel, Name::clone(&position.epoch))).copied()
    }

    /// Returns how many entries there are, and how many somebody got.
    pub(crate) fn finish(&self, publishes: &mut Publishes, findings: &mut Findings) -> (u64, u64) {
        let (mut entries, mut read) = (0, 0);
        for (id, epoch) in (0..).zip(&self.epochs) {
            let mut order: Vec<(&u64, &Entry)> = epoch.entries.iter().collect();
            order.sort_unstable_by_key(|(offset, _)| *offset);
            let name = &self.channels[epoch.channel as usize].name;
            let mut attempts = PublisherOrder::default();
            for (&offset, entry) in order {
                entries += 1;
                read += u64::from(entry.read);
                publishes.count_entry(entry.id, id);
                if let Some(publish) = publishes.get(entry.id).filter(|_| !entry.presumed) {
                    attempts.check(publish, (&epoch.name, offset), entry, name, findings);
                }
            }
        }
        (entries, read)
    }
}

impl Epoch {
    pub(crate) fn channel(&self) -> ChannelId {
        self.channel
    }
}

/// The latest attempt so far, by publisher and by connection.
#[derive(Default)]
struct PublisherOrder {
    of_all: HashMap<ActorId, u64>,
    of_connection: HashMap<(ActorId, u32), u64>,
}

impl PublisherOrder {
    /// An earlier entry whose first attempt came after this one's last is out of order; if this one's outcome was unknown, a
    /// later connection may have overtaken it.
    fn check(
        &mut self,
        publish: &Publish,
        (epoch, offset): (&Name, u64),
        entry: &Entry,
        channel: &Name,
        findings: &mut Findings,
    ) {
        let Publish { actor, first, last, acknowledged, .. } = *publish;
        let once = publish.attempts == publish.refused + 1;
        // Of several attempts the first may be carried out last, unless they came by one connection.
        let connection = (actor, last.connection);
        let in_connection = once || first.connection == last.connection;
        let latest = if once && acknowledged {
            self.of_all.get(&actor)
        } else {
            self.of_connection.get(&connection).filter(|_| in_connection)
        };
        if latest.is_some_and(|&latest| latest > last.number) {
            findings.add(Kind::PublisherOrder, entry.here, channel, || {
                let id = entry.id;
                format!("publication {id} of actor {actor} is at {epoch}/{offset}, after one that was published later")
            });
        }
        let latest = self.of_all.entry(actor).or_default();
        *latest = first.number.max(*latest);
        if in_connection {
            let latest = self.of_connection.entry(connection).or_default();
            *latest = first.number.max(*latest);
        }
    }
}
