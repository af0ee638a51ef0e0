//! One subscription: after offset n comes n + 1, or a word about it.

use crate::anomaly::{Findings, Here, Kind};
use std::collections::HashMap;

use crate::history::{ActorId, Name, Path};
use crate::ledger::{ChannelId, EpochId, Ledger};
use crate::publishes::Publishes;

/// So many gaps are kept in the hope that they fill (late, which is another anomaly); the oldest is then given up.
const MAX_GAPS: usize = 64;

/// So many offsets are looked at for one that a subscriber should have when all is quiet.
const MAX_BEHIND: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) epoch: EpochId,
    /// What the answer named.
    head: u64,
    /// What is due. Not known before the first publication caught up, if that is not `since` + 1.
    next: Option<u64>,
    /// Below this nothing was asked for.
    first: u64,
    /// The answer promised that everything comes after a position the subscriber had.
    recovered: bool,
    live: bool,
    announced: Option<u64>,
    caught_up: u64,
    gaps: Vec<Gap>,
    /// The notice that continuity was lost, until its epoch ends: what it said was passed over.
    lost: Option<Passed>,
    /// Nothing has come since.
    just_lost: bool,
}

#[derive(Clone, Copy, Debug)]
struct Gap {
    passed: Passed,
    here: Here,
    after_lost: bool,
}

/// Offsets, both included.
#[derive(Clone, Copy, Debug)]
struct Passed {
    from: u64,
    to: u64,
}

/// What a subscription was begun with.
pub(crate) struct Begin {
    pub(crate) epoch: EpochId,
    pub(crate) head: u64,
    /// The position after which everything comes.
    pub(crate) after: Option<u64>,
    /// Whether something may be caught up without a position.
    pub(crate) catches_up: bool,
    pub(crate) announced: Option<u64>,
}

/// What the subscription needs to know of everything else.
pub(crate) struct World<'a> {
    pub(crate) here: Here,
    pub(crate) channel: &'a Name,
    pub(crate) ledger: &'a Ledger,
    pub(crate) publishes: &'a Publishes,
    pub(crate) findings: &'a mut Findings,
    pub(crate) doubtful: &'a mut Vec<Doubtful>,
}

/// A gap that begins with an offset of which nobody has said what is there: a publish of the actor's own, perhaps, which it
/// did not want back and of which the answer was lost.
#[derive(Debug)]
pub(crate) struct Doubtful {
    epoch: EpochId,
    gap: Gap,
    kind: Kind,
}

impl Doubtful {
    /// When all has been seen, `unplaced` says how many such publishes there can be.
    pub(crate) fn decide(
        self,
        ledger: &Ledger,
        publishes: &Publishes,
        unplaced: &mut HashMap<(ActorId, ChannelId), u64>,
        findings: &mut Findings,
    ) {
        let Self { epoch, gap: Gap { passed: Passed { from, to }, here, .. }, kind } = self;
        let channel = ledger.epochs[epoch as usize].channel();
        for offset in from..=to {
            let own = match (ledger.at(epoch, offset), ledger.presumed(epoch, offset)) {
                (Some(id), _) => publishes.is_own(id, here.actor),
                (None, Some(id)) => publishes.may_be_own(id, here.actor),
                (None, None) => unplaced.get_mut(&(here.actor, channel)).is_some_and(|left| {
                    let some = *left > 0;
                    *left = left.saturating_sub(1);
                    some
                }),
            };
            if !own {
                return findings
                    .add(kind, here, &ledger.name(channel), || missing_text(ledger, epoch, offset, from, to));
            }
        }
    }
}

fn missing_text(ledger: &Ledger, epoch: EpochId, missing: u64, from: u64, to: u64) -> String {
    let id = ledger.at(epoch, missing);
    let what = id.map_or_else(|| "of which nobody knows".to_owned(), |id| format!("publication {id}"));
    format!("offset {missing} ({what}) never came; in all {from} to {to} were passed over")
}

impl World<'_> {
    fn add(&mut self, kind: Kind, text: impl FnOnce() -> String) {
        self.findings.add(kind, self.here, self.channel, text);
    }

    fn is_own(&self, epoch: EpochId, offset: u64, actor: ActorId) -> bool {
        self.ledger.at(epoch, offset).is_some_and(|id| self.publishes.is_own(id, actor))
    }

    /// The first of these offsets that holds something for this actor.
    fn first_foreign(&self, epoch: EpochId, mut offsets: std::ops::RangeInclusive<u64>) -> Option<u64> {
        offsets.find(|&offset| !self.is_own(epoch, offset, self.here.actor))
    }
}

impl Subscription {
    pub(crate) fn new(begin: &Begin) -> Self {
        let Begin { epoch, head, after, catches_up, announced } = *begin;
        let next = match after {
            Some(after) => Some(after.saturating_add(1)),
            None if catches_up => None,
            None => Some(head.saturating_add(1)),
        };
        Self {
            epoch,
            head,
            next,
            first: next.unwrap_or(0),
            recovered: after.is_some(),
            live: false,
            announced,
            caught_up: 0,
            gaps: Vec::new(),
            lost: None,
            just_lost: false,
        }
    }

    /// The last position reached.
    pub(crate) fn position(&self) -> u64 {
        self.next.map_or(self.head, |next| next.saturating_sub(1))
    }

    /// The same, if it is known: before the first publication caught up it may not be.
    pub(crate) fn reached(&self) -> Option<u64> {
        self.next.map(|_| self.position())
    }

    /// Nothing was said, and the epoch is another: go on there.
    pub(crate) fn change_epoch(&mut self, epoch: EpochId, offset: u64) {
        let (head, announced) = (offset.saturating_sub(1), self.announced);
        let begun = Self::new(&Begin { epoch, head, after: None, catches_up: false, announced });
        *self = Self { caught_up: self.caught_up, live: self.live, ..begun };
    }

    pub(crate) fn deliver(&mut self, offset: u64, path: Path, world: &mut World<'_>) {
        let late = path == Path::CatchUp && self.live;
        match path {
            Path::CatchUp => self.caught_up += 1,
            Path::Live => self.live = true,
        }
        let next = match (self.next, path) {
            (Some(next), _) => next,
            (None, Path::Live) => {
                self.first = self.head.saturating_add(1);
                self.first
            }
            (None, Path::CatchUp) => {
                self.first = offset;
                offset
            }
        };
        if offset >= next {
            self.pass(next, offset, world);
            if late {
                world.add(Kind::CatchUpAfterLive, || format!("offset {offset} is caught up after something live"));
            }
        } else {
            self.next = Some(next);
            self.behind(next, offset, late, world);
        }
        self.just_lost = false;
    }

    /// Up to `offset`, which is not behind: what is between is missing.
    fn pass(&mut self, next: u64, offset: u64, world: &mut World<'_>) {
        if offset > next {
            if self.gaps.len() >= MAX_GAPS {
                let gap = self.gaps.remove(0);
                self.give_up(gap, world);
            }
            let passed = Passed { from: next, to: offset - 1 };
            self.gaps.push(Gap { passed, here: world.here, after_lost: self.just_lost });
        }
        self.next = Some(offset.saturating_add(1));
    }

    fn behind(&mut self, next: u64, offset: u64, late: bool, world: &mut World<'_>) {
        let (kind, why) = if self.fill(offset) {
            let kind = if late { Kind::CatchUpAfterLive } else { Kind::Reordered };
            (kind, "it comes late")
        } else if self.lost.is_some_and(|lost| lost.from <= offset && offset <= lost.to) {
            (Kind::WrongLost, "the lost notice said that it would not come")
        } else if offset < self.first && late {
            (Kind::CatchUpAfterLive, "it is caught up after something live")
        } else if offset < self.first && !self.recovered {
            (Kind::BeforeStart, "the subscription began later")
        } else {
            (Kind::Doubled, "it came before")
        };
        world.add(kind, || format!("offset {offset} where {next} is due: {why}"));
    }

    /// Takes an offset out of the gap it is in.
    fn fill(&mut self, offset: u64) -> bool {
        let inside = |gap: &Gap| gap.passed.from <= offset && offset <= gap.passed.to;
        let Some(index) = self.gaps.iter().position(inside) else { return false };
        let gap = self.gaps.swap_remove(index);
        let Passed { from, to } = gap.passed;
        if from < offset {
            self.gaps.push(Gap { passed: Passed { from, to: offset - 1 }, ..gap });
        }
        if offset < to {
            self.gaps.push(Gap { passed: Passed { from: offset + 1, to }, ..gap });
        }
        true
    }

    /// The actor's own publication is at this position, it says.
    pub(crate) fn skip(&mut self, offset: u64, world: &mut World<'_>) {
        let next = self.next.unwrap_or(offset);
        if self.next.is_none() {
            self.first = offset;
        }
        if offset <= self.head {
            self.caught_up += 1;
        }
        if offset >= next {
            self.pass(next, offset, world);
        } else {
            self.fill(offset);
        }
        self.just_lost = false;
    }

    pub(crate) fn lose(&mut self, epoch: EpochId, offset: u64, world: &mut World<'_>) {
        if epoch == self.epoch {
            let last = self.position();
            if offset < last {
                world.add(Kind::WrongLost, || format!("it names offset {offset}, and {last} was passed"));
            }
            self.lost = Some(Passed { from: last.saturating_add(1), to: offset });
            self.next = Some(offset.max(last).saturating_add(1));
        } else {
            self.close_gaps(world);
            self.epoch = epoch;
            self.recovered = false;
            self.lost = Some(Passed { from: 0, to: offset });
            self.next = Some(offset.saturating_add(1));
        }
        self.just_lost = true;
    }

    /// It has ended. If not `in_peace`, the rest of what was announced may have been on its way.
    pub(crate) fn end(&mut self, in_peace: bool, world: &mut World<'_>) {
        self.close_gaps(world);
        let Some(announced) = self.announced else { return };
        let caught_up = self.caught_up;
        if caught_up > announced || (caught_up < announced && (self.live || in_peace) && self.lost.is_none()) {
            world.add(Kind::WrongCatchUp, || format!("{announced} announced, {caught_up} caught up"));
            self.announced = None;
        }
    }

    fn close_gaps(&mut self, world: &mut World<'_>) {
        for gap in std::mem::take(&mut self.gaps) {
            self.give_up(gap, world);
        }
    }

    fn give_up(&self, gap: Gap, world: &mut World<'_>) {
        let Passed { from, to } = gap.passed;
        let Some(missing) = world.first_foreign(self.epoch, from..=to) else { return };
        let kind = if gap.after_lost {
            Kind::WrongLost
        } else if self.recovered && from <= self.head {
            Kind::FalseRecovery
        } else {
            Kind::Gap
        };
        if world.ledger.at(self.epoch, missing).is_none() {
            let gap = Gap { passed: Passed { from: missing, to }, ..gap };
            return world.doubtful.push(Doubtful { epoch: self.epoch, gap, kind });
        }
        let text = || missing_text(world.ledger, self.epoch, missing, from, to);
        world.findings.add(kind, gap.here, world.channel, text);
    }

    /// All is quiet: is it at the end of what its channel holds? Returns how far it is, its own publications counted in.
    pub(crate) fn settle(&mut self, current: Option<EpochId>, world: &mut World<'_>) -> u64 {
        self.end(true, world);
        let position = self.position();
        let epoch = &world.ledger.epochs[self.epoch as usize];
        let (name, witnessed) = (&epoch.name, epoch.witnessed);
        if let Some(current) = current.filter(|current| *current != self.epoch) {
            let current = &world.ledger.epochs[current as usize].name;
            world.add(Kind::Undelivered, || format!("still in epoch {name}, the channel is in {current}"));
            return position;
        }
        let actor = world.here.actor;
        let mut due = (position.saturating_add(1)..=witnessed).take(MAX_BEHIND);
        let missing = due.find_map(|offset| {
            let id = world.ledger.at(self.epoch, offset)?;
            (!world.publishes.is_own(id, actor)).then_some((offset, id))
        });
        let Some((missing, id)) = missing else { return position.max(witnessed).max(self.head) };
        world.add(Kind::Undelivered, || format!("at {name}/{position}, and publication {id} is at {missing}"));
        position
    }
}
