//! What was published, in how many attempts, and what became of them.

use std::collections::HashMap;

use crate::anomaly::{Findings, Here, Kind};
use crate::history::{ActorId, Name, Position};
use crate::ledger::{ChannelId, EpochId};
use crate::rules::Rules;

/// One body, with all attempts to publish it.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) actor: ActorId,
    pub(crate) channel: ChannelId,
    body: u64,
    /// Its idempotency key.
    pub(crate) key: Option<KeyId>,
    /// The first attempt that was not refused, and the last.
    pub(crate) first: Attempt,
    pub(crate) last: Attempt,
    /// What `last` is again if the latest attempt is refused.
    standing: Attempt,
    pub(crate) attempts: u32,
    pub(crate) refused: u32,
    /// In how many places it was found.
    pub(crate) entries: u32,
    record: u64,
    state: State,
    pub(crate) kind: Delivery,
    /// An attempt was answered with `ok`.
    pub(crate) acknowledged: bool,
    /// Somebody got it.
    delivered: bool,
}

/// Which connection of the publisher, and the how manieth of all its attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) connection: u32,
    pub(crate) number: u64,
}

/// Of the latest attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open { permitted: bool },
    Answered,
}

/// What the publisher asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) volatile: bool,
    pub(crate) no_echo: bool,
}

/// A `Publishing`, as the table takes it.
pub(crate) struct Asked<'a> {
    pub(crate) id: u64,
    pub(crate) channel: (ChannelId, &'a Name),
    pub(crate) body: u64,
    pub(crate) key: Option<&'a Name>,
    pub(crate) kind: Delivery,
    pub(crate) connection: u32,
    pub(crate) permitted: bool,
}

pub(crate) type KeyId = u32;

/// One idempotency key in one channel.
#[derive(Debug)]
struct Key {
    name: Name,
    first_at: u64,
    /// Attempts that may have come to the server when it no longer remembered the key: each may be a new entry.
    late: u32,
    acknowledged: Option<Position>,
    /// How many different bodies were published with it.
    bodies: u32,
    /// Who did not want theirs back.
    no_echo: Vec<ActorId>,
}

/// What was said of an answered publish.
pub(crate) enum Answer {
    /// Nothing such was asked, or there is nothing more to check.
    Done,
    /// It is in the channel's order, according to the answer.
    /// With `any_body`, which of the bodies with its key is there is not said.
    At { channel: ChannelId, any_body: bool },
}

#[derive(Debug, Default)]
pub(crate) struct Publishes {
    table: HashMap<u64, Publish>,
    keys: Vec<Key>,
    key_ids: HashMap<(ChannelId, Name), KeyId>,
    numbers: HashMap<ActorId, u64>,
    /// Delivered, but not published so far: files of several recorders may be out of order within a millisecond.
    strangers: HashMap<u64, Stranger>,
    /// Of one key in one epoch: entries.
    key_entries: HashMap<(KeyId, EpochId), u32>,
    window_ms: u64,
    grace_ms: u64,
}

#[derive(Debug)]
struct Stranger {
    here: Here,
    channel: (ChannelId, Name),
    body: u64,
}

impl Publishes {
    pub(crate) fn new(rules: &Rules) -> Self {
        Self { window_ms: rules.key_window_ms, grace_ms: rules.grace_ms, ..Self::default() }
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Publish> {
        self.table.get(&id)
    }

    /// Whether the publication with this id was sent by `actor` with the wish not to get it back.
    pub(crate) fn is_own(&self, id: u64, actor: ActorId) -> bool {
        self.get(id).is_some_and(|publish| publish.actor == actor && publish.kind.no_echo)
    }

    /// Whether something of this actor's with the same key may be in this one's place.
    pub(crate) fn may_be_own(&self, id: u64, actor: ActorId) -> bool {
        let key = self.get(id).and_then(|publish| self.keys.get(publish.key? as usize));
        key.is_some_and(|key| key.no_echo.contains(&actor))
    }

    /// Whether both stand for one entry, because of their key.
    pub(crate) fn same_key(&self, one: u64, other: u64) -> bool {
        let key = |id| self.get(id).and_then(|publish| publish.key);
        key(one).is_some() && key(one) == key(other)
    }

    pub(crate) fn ask(&mut self, here: Here, asked: &Asked<'_>, findings: &mut Findings) {
        let Asked { id, channel: (channel, name), body, kind, permitted, .. } = *asked;
        let number = self.numbers.entry(here.actor).or_default();
        *number += 1;
        let attempt = Attempt { connection: asked.connection, number: *number };
        let key = asked.key.map(|key| self.key(channel, key, here.at));
        let publish = self.table.entry(id).or_insert_with(|| Publish {
            actor: here.actor,
            channel,
            body,
            key,
            first: attempt,
            last: attempt,
            standing: attempt,
            attempts: 0,
            refused: 0,
            entries: 0,
            record: here.record,
            state: State::Answered,
            kind,
            acknowledged: false,
            delivered: false,
        });
        if publish.attempts == 0
            && let Some(key) = key.and_then(|key| self.keys.get_mut(key as usize))
        {
            key.bodies += 1;
            if kind.no_echo {
                key.no_echo.push(here.actor);
            }
        }
        if publish.attempts == publish.refused {
            publish.first = attempt;
        }
        publish.attempts += 1;
        publish.standing = std::mem::replace(&mut publish.last, attempt);
        publish.state = State::Open { permitted };
        if let Some(stranger) = self.strangers.remove(&id) {
            let Stranger { here, channel, body } = stranger;
            self.look(here, (channel.0, &channel.1), id, body, findings);
        }
        if publish_conflict(self.get(id), channel, body, here.actor) {
            findings.add(Kind::StrayReply, here, name, || {
                format!("id {id} was used before for another body, channel or publisher: the recorder's fault")
            });
        }
    }

    fn key(&mut self, channel: ChannelId, name: &Name, at: u64) -> KeyId {
        let Self { keys, key_ids, .. } = self;
        *key_ids.entry((channel, Name::clone(name))).or_insert_with(|| {
            keys.push(Key {
                name: Name::clone(name),
                first_at: at,
                late: 0,
                acknowledged: None,
                bodies: 0,
                no_echo: Vec::new(),
            });
            KeyId::try_from(keys.len() - 1).unwrap_or(KeyId::MAX)
        })
    }

    /// An `ok`. What it says about the position is for the ledger, unless the key has one already.
    pub(crate) fn acknowledge(
        &mut self,
        here: Here,
        id: u64,
        position: Option<&Position>,
        (names, still_permitted): (impl Fn(ChannelId) -> Name, impl Fn(ChannelId) -> bool),
        findings: &mut Findings,
    ) -> Answer {
        let Some(publish) = self.table.get_mut(&id) else {
            findings.add(Kind::StrayReply, here, &Name::from(""), || format!("ok to {id}, which was not published"));
            return Answer::Done;
        };
        let channel = publish.channel;
        match std::mem::replace(&mut publish.state, State::Answered) {
            State::Answered => findings
                .add(Kind::StrayReply, here, &names(channel), || format!("{id} was answered before, and then with ok")),
            State::Open { permitted } if !permitted && !still_permitted(channel) => {
                findings.add(Kind::Unauthorised, here, &names(channel), || format!("publish {id} was done"));
            }
            State::Open { .. } => {}
        }
        publish.acknowledged = true;
        let volatile = publish.kind.volatile;
        let key = publish.key;
        let Some(position) = position else { return Answer::Done };
        if volatile {
            findings
                .add(Kind::VolatileStored, here, &names(channel), || format!("{id} has offset {}", position.offset));
        }
        if let Some(key) = key.and_then(|key| self.keys.get_mut(key as usize)) {
            if here.at > key.first_at.saturating_add(self.window_ms) {
                key.late += 1;
            }
            match &key.acknowledged {
                Some(before) if before.epoch == position.epoch && before != position && key.late == 0 => {
                    findings.add(Kind::KeyMoved, here, &names(channel), || {
                        let Position { offset, .. } = position;
                        format!(
                            "key {:?} of publish {id} is at offset {offset}, and was at {}",
                            key.name, before.offset
                        )
                    });
                    return Answer::Done;
                }
                _ => key.acknowledged = Some(position.clone()),
            }
        }
        let any_body = key.and_then(|key| self.keys.get(key as usize)).is_some_and(|key| key.bodies > 1);
        Answer::At { channel, any_body }
    }

    /// An error, or nothing ever (`unknown`).
    pub(crate) fn fail(&mut self, here: Here, id: u64, unknown: bool, findings: &mut Findings) {
        let Some(publish) = self.table.get_mut(&id).filter(|publish| publish.state != State::Answered) else {
            findings.add(Kind::StrayReply, here, &Name::from(""), || format!("{id} is refused and was not asked for"));
            return;
        };
        publish.state = State::Answered;
        if !unknown {
            publish.refused += 1;
            publish.last = publish.standing;
        } else if let Some(key) = publish.key {
            self.may_be_late(key, here.at);
        }
    }

    fn may_be_late(&mut self, key: KeyId, at: u64) {
        if let Some(key) = self.keys.get_mut(key as usize)
            && at.saturating_add(self.grace_ms) > key.first_at.saturating_add(self.window_ms)
        {
            key.late += 1;
        }
    }

    /// Somebody got this: is it what was published?
    pub(crate) fn look(
        &mut self,
        here: Here,
        (channel, name): (ChannelId, &Name),
        id: u64,
        body: u64,
        findings: &mut Findings,
    ) {
        let Some(publish) = self.table.get_mut(&id) else {
            self.strangers.entry(id).or_insert_with(|| Stranger { here, channel: (channel, Name::clone(name)), body });
            return;
        };
        publish.delivered = true;
        if publish.channel != channel {
            let record = publish.record;
            findings.add(Kind::WrongChannel, here, name, || {
                format!("publication {id} is of another channel (published in record {record})")
            });
        } else if publish.body != body {
            let Publish { body: published, record, .. } = *publish;
            findings.add(Kind::Altered, here, name, || {
                format!("publication {id} has body {body}, and had {published} when published in record {record}")
            });
        }
    }

    /// A place where it was found, in the end.
    pub(crate) fn count_entry(&mut self, id: u64, epoch: EpochId) {
        if let Some(publish) = self.table.get_mut(&id) {
            publish.entries += 1;
            if let Some(key) = publish.key {
                *self.key_entries.entry((key, epoch)).or_default() += 1;
            }
        }
    }

    /// How many publishes with `no_echo` may be stored where nobody but the publisher could have seen them.
    pub(crate) fn unplaced_own(&self) -> HashMap<(ActorId, ChannelId), u64> {
        let mut unplaced = HashMap::new();
        for publish in self.table.values() {
            let Publish { kind, entries, attempts, refused, .. } = *publish;
            if kind.no_echo && !kind.volatile {
                let more = u64::from((attempts - refused).saturating_sub(entries));
                if more > 0 {
                    *unplaced.entry((publish.actor, publish.channel)).or_default() += more;
                }
            }
        }
        unplaced
    }

    /// What can only be said when all has been seen. Returns how many attempts nobody knows the outcome of.
    pub(crate) fn finish(&mut self, end: Here, names: impl Fn(ChannelId) -> Name, findings: &mut Findings) {
        let mut ids: Vec<u64> = self.table.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.finish_one(id, end, &names, findings);
        }
        let mut keys: Vec<_> = self.key_entries.iter().collect();
        keys.sort_unstable();
        let of_key: HashMap<KeyId, ChannelId> =
            self.key_ids.iter().map(|((channel, _), &key)| (key, *channel)).collect();
        for (&(id, _), &entries) in keys {
            let Some(key) = self.keys.get(id as usize) else { continue };
            if entries > 1 + key.late {
                let name = of_key.get(&id).map_or_else(|| Name::from(""), |&channel| names(channel));
                findings.add(Kind::KeyTwice, end, &name, || format!("key {:?} has {entries} entries", key.name));
            }
        }
        let mut strangers: Vec<_> = self.strangers.drain().collect();
        strangers.sort_unstable_by_key(|(id, _)| *id);
        for (id, Stranger { here, channel, .. }) in strangers {
            findings.add(Kind::Invented, here, &channel.1, || format!("nobody published {id}"));
        }
    }

    fn finish_one(&mut self, id: u64, end: Here, names: &impl Fn(ChannelId) -> Name, findings: &mut Findings) {
        let Some(publish) = self.table.get(&id) else { return };
        let Publish { channel, attempts, refused, entries, record, delivered, .. } = *publish;
        let here = Here { record, actor: publish.actor, at: end.at };
        if attempts == refused && (entries > 0 || delivered) {
            findings.add(Kind::RefusedAppears, here, &names(channel), || format!("publish {id} was refused, and came"));
        } else if entries > attempts - refused {
            findings.add(Kind::StoredTwice, here, &names(channel), || {
                format!("publish {id} has {entries} entries; attempts that were not refused: {}", attempts - refused)
            });
        }
        if let (State::Open { .. }, Some(key)) = (publish.state, publish.key) {
            self.may_be_late(key, end.at);
        }
    }
}

fn publish_conflict(publish: Option<&Publish>, channel: ChannelId, body: u64, actor: ActorId) -> bool {
    publish.is_some_and(|publish| publish.channel != channel || publish.body != body || publish.actor != actor)
}
