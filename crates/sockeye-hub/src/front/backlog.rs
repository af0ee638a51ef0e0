//! What waits for a session whose output has no room.
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{Change, ChannelName, LostReason, Position, Publication, SlowPolicy};

/// What each waiting thing counts for besides its payload.
const FIXED: usize = 128;

/// What waits, in order, bounded in bytes.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// How many have left at the front: the number of `waiting[i]` is `left + i`.
    left: u64,
    /// Which waiting publication has this conflation key, by its number.
    newest: HashMap<(ChannelName, Arc<str>), u64>,
}

/// One thing that waits.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A publication; and whether it is one of the session's own, of which it wants the position alone.
    Publication(Arc<Publication>, bool),
    Change(Arc<Change>),
    Lost(ChannelName, Option<Position>, LostReason),
}

/// There is no room, and the policy says that the session has to go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl Backlog {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn front(&self) -> Option<&Waiting> {
        self.waiting.front()
    }

    pub(super) fn pop_front(&mut self) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        if let Waiting::Publication(publication, _) = &first
            && let Some(key) = conflation(publication)
            && self.newest.get(&key) == Some(&self.left)
        {
            self.newest.remove(&key);
        }
        self.left = self.left.wrapping_add(1);
        self.bytes = self.bytes.saturating_sub(first.weight());
        Some(first)
    }

    /// Adds a publication as the policy of its channel wants it.
    ///
    /// # Errors
    /// [`Overflow`] if it has no room and the policy is to disconnect.
    pub(super) fn push(
        &mut self,
        publication: &Arc<Publication>,
        own: bool,
        policy: SlowPolicy,
        limit: usize,
    ) -> Result<(), Overflow> {
        if policy == SlowPolicy::Latest {
            self.replace_older(publication);
        }
        if self.fits(publication, limit) {
            self.push_unbounded(publication, own);
            return Ok(());
        }
        if policy == SlowPolicy::Disconnect {
            return Err(Overflow);
        }
        self.merge_losses();
        if !self.fits(publication, limit) {
            let skipped = self.skip(&publication.channel);
            if !self.fits(publication, limit) {
                // What fills it is of other channels: this one is skipped too.
                let last = publication.position.or(skipped.flatten());
                self.push_lost(publication.channel.clone(), last, LostReason::Slow);
                return Ok(());
            }
            if let Some(last) = skipped {
                self.push_lost(publication.channel.clone(), last, LostReason::Slow);
            }
        }
        self.push_unbounded(publication, own);
        Ok(())
    }

    fn fits(&self, publication: &Publication, limit: usize) -> bool {
        self.bytes.saturating_add(publication.weight()) <= limit
    }

    /// Adds a publication that has been counted elsewhere.
    pub(super) fn push_unbounded(&mut self, publication: &Arc<Publication>, own: bool) {
        if let Some(key) = conflation(publication) {
            let number = self.left.wrapping_add(u64::try_from(self.waiting.len()).unwrap_or(u64::MAX));
            self.newest.insert(key, number);
        }
        self.add(Waiting::Publication(Arc::clone(publication), own));
    }

    /// Adds that a member came or went.
    ///
    /// # Errors
    /// [`Overflow`] if it has no room.
    pub(super) fn push_change(&mut self, change: &Arc<Change>, limit: usize) -> Result<(), Overflow> {
        let waiting = Waiting::Change(Arc::clone(change));
        if self.bytes.saturating_add(waiting.weight()) > limit {
            return Err(Overflow);
        }
        self.add(waiting);
        Ok(())
    }

    /// Adds that continuity is lost. What waits of the channel before it is still in order.
    pub(super) fn push_lost(&mut self, channel: ChannelName, position: Option<Position>, reason: LostReason) {
        self.add(Waiting::Lost(channel, position, reason));
    }

    /// Forgets all of a channel.
    pub(super) fn forget(&mut self, channel: &ChannelName) {
        self.retain(|waiting| waiting.channel() != channel);
    }

    fn add(&mut self, waiting: Waiting) {
        self.bytes = self.bytes.saturating_add(waiting.weight());
        self.waiting.push_back(waiting);
    }

    /// The older publication with the same conflation key becomes the notice that it is not there.
    fn replace_older(&mut self, publication: &Publication) {
        let Some(number) = conflation(publication).and_then(|key| self.newest.remove(&key)) else { return };
        let Ok(index) = usize::try_from(number.wrapping_sub(self.left)) else { return };
        let Some(older) = self.waiting.get_mut(index) else { return };
        let Waiting::Publication(old, _) = &*older else { return };
        let lost = Waiting::Lost(old.channel.clone(), old.position, LostReason::Slow);
        let (before, after) = (older.weight(), lost.weight());
        *older = lost;
        self.bytes = self.bytes.saturating_sub(before).saturating_add(after);
    }

    /// Drops all that waits of a channel; returns the position of the last of it, if there was anything. Members who came or
    /// went stay: they would not come again.
    #[allow(clippy::option_option, reason = "whether there was anything, and whether it had a position")]
    fn skip(&mut self, channel: &ChannelName) -> Option<Option<Position>> {
        let mut last = None;
        self.retain(|waiting| match waiting {
            Waiting::Publication(publication, _) if publication.channel == *channel => {
                last = Some(publication.position.or(last.flatten()));
                false
            }
            Waiting::Lost(other, position, _) if other == channel => {
                last = Some(position.or(last.flatten()));
                false
            }
            _ => true,
        });
        last
    }

    /// Notices of one channel with nothing of it between them become one, of the last position that any of them says.
    fn merge_losses(&mut self) {
        let mut open = HashMap::new();
        let mut merged: VecDeque<Waiting> = VecDeque::with_capacity(self.waiting.len());
        for waiting in std::mem::take(&mut self.waiting) {
            if let Waiting::Lost(channel, later, _) = &waiting {
                let place = *open.entry(channel.clone()).or_insert(merged.len());
                if let Some(Waiting::Lost(_, position, _)) = merged.get_mut(place) {
                    *position = later.or(*position);
                    continue;
                }
            } else {
                open.remove(waiting.channel());
            }
            merged.push_back(waiting);
        }
        self.waiting = merged;
        self.retain(|_| true);
    }

    fn retain(&mut self, keep: impl FnMut(&Waiting) -> bool) {
        self.waiting.retain(keep);
        self.bytes = self.waiting.iter().fold(0, |sum, waiting| sum.saturating_add(waiting.weight()));
        self.newest.clear();
        for (number, waiting) in (self.left..).zip(&self.waiting) {
            if let Waiting::Publication(publication, _) = waiting
                && let Some(key) = conflation(publication)
            {
                self.newest.insert(key, number);
            }
        }
    }
}

impl Waiting {
    pub(super) fn channel(&self) -> &ChannelName {
        match self {
            Self::Publication(publication, _) => &publication.channel,
            Self::Change(change) => &change.channel,
            Self::Lost(channel, ..) => channel,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Publication(publication, _) => publication.weight(),
            Self::Change(change) => change.member.shown_as.len().saturating_add(FIXED),
            Self::Lost(..) => FIXED,
        }
    }
}

fn conflation(publication: &Publication) -> Option<(ChannelName, Arc<str>)> {
    publication.conflate.as_ref().map(|key| (publication.channel.clone(), Arc::clone(key)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Encoded, Epoch, Kind, Payload};

    const LIMIT: usize = 1024;

    fn publication(channel: &str, offset: u64, conflate: Option<&str>) -> Arc<Publication> {
        Arc::new(Publication {
            channel: channel.parse().unwrap(),
            position: Some(Position { epoch: Epoch(1), offset }),
            payload: Payload { kind: Kind::Binary, bytes: Bytes::from_static(b"1234") },
            event: None,
            conflate: conflate.map(Into::into),
            from: None,
            echo: true,
            at_ms: 0,
            encoded: Encoded::default(),
        })
    }

    fn drained(backlog: &mut Backlog) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(waiting) = backlog.pop_front() {
            all.push(match waiting {
                Waiting::Publication(publication, _) => format!("{}{}", publication.channel, publication.offset()),
                Waiting::Change(_) => "change".into(),
                Waiting::Lost(channel, position, _) => format!("{channel} lost {}", position.unwrap().offset),
            });
        }
        assert_eq!((backlog.bytes(), backlog.newest.len()), (0, 0), "all is counted, and counted off");
        all
    }

    #[test]
    fn the_first_policy_is_to_end_the_session() {
        let mut backlog = Backlog::default();
        for offset in 1..=7 {
            assert_eq!(backlog.push(&publication("a", offset, None), false, SlowPolicy::Disconnect, LIMIT), Ok(()));
        }
        assert_eq!(backlog.push(&publication("a", 8, None), false, SlowPolicy::Disconnect, LIMIT), Err(Overflow));
    }

    #[test]
    fn skipping_leaves_one_notice_and_what_comes_after_it() {
        let mut backlog = Backlog::default();
        backlog.push(&publication("b", 1, None), false, SlowPolicy::Skip, LIMIT).unwrap();
        for offset in 1..=20 {
            backlog.push(&publication("a", offset, None), false, SlowPolicy::Skip, LIMIT).unwrap();
            assert!(backlog.bytes() <= LIMIT + FIXED);
        }
        let all = drained(&mut backlog);
        assert_eq!(all[..2], ["b1", "a lost 16"]);
        assert_eq!(all[2..], ["a17", "a18", "a19", "a20"]);
    }

    #[test]
    fn only_the_newest_of_a_key_waits_and_the_gap_is_told() {
        let mut backlog = Backlog::default();
        for (offset, key) in [(1, "x"), (2, "y"), (3, "x"), (4, "x"), (5, "y")] {
            backlog.push(&publication("a", offset, Some(key)), false, SlowPolicy::Latest, LIMIT).unwrap();
        }
        assert_eq!(drained(&mut backlog), ["a lost 1", "a lost 2", "a lost 3", "a4", "a5"]);
        for offset in 1..=1000 {
            let key = if offset % 2 == 0 { "x" } else { "y" };
            backlog.push(&publication("a", offset, Some(key)), false, SlowPolicy::Latest, LIMIT).unwrap();
        }
        let all = drained(&mut backlog);
        assert_eq!(all[all.len() - 2..], ["a999", "a1000"]);
        assert!(all.len() < 10, "{all:?}");
    }

    #[test]
    fn a_channel_s_newest_publications_are_known_after_others_left() {
        let mut backlog = Backlog::default();
        for offset in 1..=3 {
            backlog.push(&publication("a", offset, Some("k")), false, SlowPolicy::Disconnect, LIMIT).unwrap();
            backlog.push(&publication("b", offset, None), false, SlowPolicy::Disconnect, LIMIT).unwrap();
        }
        backlog.pop_front();
        backlog.forget(&"b".parse().unwrap());
        backlog.push(&publication("a", 4, Some("k")), false, SlowPolicy::Latest, LIMIT).unwrap();
        assert_eq!(drained(&mut backlog), ["a2", "a lost 3", "a4"]);
    }

    #[test]
    fn whatever_is_dropped_is_told_of_in_its_place() {
        use std::collections::BTreeMap;
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for policy in [SlowPolicy::Skip, SlowPolicy::Latest] {
            for _ in 0..2_000 {
                let mut backlog = Backlog::default();
                let (mut published, mut seen) = (BTreeMap::new(), BTreeMap::<String, u64>::new());
                for _ in 0..60 {
                    if random(3) == 0 {
                        take(&mut backlog, &mut seen);
                    } else {
                        let channel = ["a", "b"][usize::try_from(random(2)).unwrap()];
                        let offset = published.entry(channel).or_insert(0);
                        let key = ["x", "y", "z"][usize::try_from(random(3)).unwrap()];
                        let one = if random(4) == 0 {
                            volatile(channel, key)
                        } else {
                            *offset += 1;
                            publication(channel, *offset, Some(key))
                        };
                        backlog.push(&one, false, policy, LIMIT).unwrap();
                    }
                }
                while !backlog.is_empty() {
                    take(&mut backlog, &mut seen);
                }
                for (channel, offset) in published {
                    assert_eq!(seen.get(channel), Some(&offset), "{policy:?}");
                }
            }
        }
    }

    fn volatile(channel: &str, key: &str) -> Arc<Publication> {
        let mut one = publication(channel, 0, Some(key));
        Arc::get_mut(&mut one).unwrap().position = None;
        one
    }

    /// Takes the next thing as a subscriber does: n + 1 after n, or a notice.
    fn take(backlog: &mut Backlog, seen: &mut std::collections::BTreeMap<String, u64>) {
        match backlog.pop_front() {
            Some(Waiting::Publication(publication, _)) if publication.position.is_none() => {}
            Some(Waiting::Publication(publication, _)) => {
                let at = seen.entry(publication.channel.to_string()).or_insert(0);
                *at += 1;
                assert_eq!(publication.offset(), *at);
            }
            Some(Waiting::Lost(channel, position, _)) => {
                let at = seen.entry(channel.to_string()).or_insert(0);
                let offset = position.map_or(*at, |position| position.offset);
                assert!(offset >= *at);
                *at = offset;
            }
            Some(Waiting::Change(_)) | None => {}
        }
    }
}
