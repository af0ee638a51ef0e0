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
    /// Channels that are being skipped: the number of the notice that says so, behind which nothing of the channel waits.
    skipped: HashMap<ChannelName, u64>,
    #[cfg(test)]
    searched: usize,
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
        if let Waiting::Lost(channel, ..) = &first
            && self.skipped.get(channel) == Some(&self.left)
        {
            self.skipped.remove(channel);
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
        let weight = publication.weight();
        let fits = |backlog: &Self, limit| backlog.bytes.saturating_add(weight) <= limit;
        if policy == SlowPolicy::Disconnect {
            if !fits(self, limit) {
                return Err(Overflow);
            }
            self.push_unbounded(publication, own);
            return Ok(());
        }
        // Who has looked for room once goes on with plenty of it: else it would look through all of it for each publication.
        let plenty = limit.saturating_sub(limit.checked_div(8).unwrap_or(0));
        if policy == SlowPolicy::Latest {
            self.replace_older(publication);
        }
        let mut has_room = fits(self, if self.is_skipping(&publication.channel) { plenty } else { limit });
        if !has_room && !self.is_skipping(&publication.channel) {
            if policy == SlowPolicy::Latest {
                self.merge_losses();
            }
            if !fits(self, plenty) {
                self.skip(&publication.channel);
            }
            has_room = fits(self, plenty);
        }
        if has_room {
            self.push_unbounded(publication, own);
        } else {
            self.skip_also(publication);
        }
        Ok(())
    }

    /// Adds a publication that has been counted elsewhere.
    pub(super) fn push_unbounded(&mut self, publication: &Arc<Publication>, own: bool) {
        if let Some(key) = conflation(publication) {
            self.newest.insert(key, self.next());
        }
        if !self.skipped.is_empty() {
            self.skipped.remove(&publication.channel);
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

    /// The number of what is added next.
    fn next(&self) -> u64 {
        self.left.wrapping_add(u64::try_from(self.waiting.len()).unwrap_or(u64::MAX))
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

    /// All that waits of a channel becomes one notice. Members who came or went stay: they would not come again.
    fn skip(&mut self, channel: &ChannelName) {
        let mut last = None;
        self.retain(|waiting| match waiting {
            Waiting::Publication(publication, _) if publication.channel == *channel => {
                last = publication.position.or(last);
                false
            }
            Waiting::Lost(other, position, _) if other == channel => {
                last = position.or(last);
                false
            }
            _ => true,
        });
        self.skipped.insert(channel.clone(), self.next());
        self.push_lost(channel.clone(), last, LostReason::Slow);
    }

    fn is_skipping(&self, channel: &ChannelName) -> bool {
        !self.skipped.is_empty() && self.skipped.contains_key(channel)
    }

    /// The notice that its channel is being skipped is about this one too.
    fn skip_also(&mut self, publication: &Publication) {
        let Some(number) = self.skipped.get(&publication.channel) else { return };
        let Ok(index) = usize::try_from(number.wrapping_sub(self.left)) else { return };
        if let Some(Waiting::Lost(_, position, _)) = self.waiting.get_mut(index) {
            *position = publication.position.or(*position);
        }
    }

    /// Of notices of one channel with nothing of it between them only one is needed, with the last position.
    fn merge_losses(&mut self) {
        let mut notices: HashMap<ChannelName, usize> = HashMap::new();
        let mut needed = VecDeque::with_capacity(self.waiting.len());
        for waiting in std::mem::take(&mut self.waiting) {
            if let Waiting::Lost(channel, position, _) = &waiting {
                let earlier = notices.get(channel).and_then(|index| needed.get_mut(*index));
                if let Some(Waiting::Lost(_, before, _)) = earlier {
                    *before = position.or(*before);
                    continue;
                }
                notices.insert(channel.clone(), needed.len());
            } else {
                notices.remove(waiting.channel());
            }
            needed.push_back(waiting);
        }
        self.waiting = needed;
        self.count();
    }

    fn retain(&mut self, keep: impl FnMut(&Waiting) -> bool) {
        self.waiting.retain(keep);
        self.count();
    }

    /// What waits has other numbers now.
    fn count(&mut self) {
        #[cfg(test)]
        {
            self.searched += 1;
        }
        self.bytes = self.waiting.iter().fold(0, |sum, waiting| sum.saturating_add(waiting.weight()));
        self.newest.clear();
        let skipped = std::mem::take(&mut self.skipped);
        for (number, waiting) in (self.left..).zip(&self.waiting) {
            match waiting {
                Waiting::Publication(publication, _) => {
                    if let Some(key) = conflation(publication) {
                        self.newest.insert(key, number);
                    }
                }
                Waiting::Lost(channel, ..) if skipped.contains_key(channel) => {
                    self.skipped.insert(channel.clone(), number);
                }
                Waiting::Lost(..) | Waiting::Change(_) => {}
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
    fn a_conflated_one_without_a_position_hides_no_other_s_loss() {
        let mut backlog = Backlog::default();
        let volatile = |key| volatile("a", key);
        let mut push = |publication: &Arc<Publication>| {
            backlog.push(publication, false, SlowPolicy::Latest, LIMIT).unwrap();
        };
        push(&publication("a", 1, Some("x")));
        push(&volatile("y"));
        push(&publication("a", 2, Some("x")));
        push(&volatile("y"));
        for _ in 0..4 {
            push(&volatile("z"));
        }
        let all: Vec<_> = std::iter::from_fn(|| backlog.pop_front())
            .filter_map(|waiting| match waiting {
                Waiting::Publication(publication, _) => publication.position.map(|at| (at.offset, false)),
                Waiting::Lost(_, position, _) => position.map(|at| (at.offset, true)),
                Waiting::Change(_) => None,
            })
            .collect();
        assert_eq!(all, [(1, true), (2, false)]);
    }

    #[test]
    fn many_channels_keep_no_more_than_one() {
        for policy in [SlowPolicy::Skip, SlowPolicy::Latest] {
            let mut backlog = Backlog::default();
            for offset in 1..=20 {
                for channel in 0..50 {
                    backlog.push(&publication(&format!("a{channel}"), offset, None), false, policy, LIMIT).unwrap();
                }
            }
            // One notice a channel is the most that there is beyond the bound.
            assert!(backlog.bytes() <= LIMIT + 50 * FIXED, "{policy:?}: {}", backlog.bytes());
            let mut last = HashMap::new();
            while let Some(waiting) = backlog.pop_front() {
                let (channel, offset) = match &waiting {
                    Waiting::Publication(publication, _) => (publication.channel.clone(), publication.offset()),
                    Waiting::Lost(channel, position, _) => (channel.clone(), position.unwrap().offset),
                    Waiting::Change(_) => panic!("nobody came"),
                };
                let before = last.insert(channel, offset);
                let goes_on = before.is_none_or(|before| before + 1 == offset) || matches!(waiting, Waiting::Lost(..));
                assert!(goes_on, "{policy:?}: {offset} after {before:?}");
            }
            assert!(last.len() == 50 && last.values().all(|offset| *offset == 20), "{policy:?}: {last:?}");
        }
    }

    #[test]
    fn a_full_backlog_is_not_searched_for_every_publication() {
        for policy in [SlowPolicy::Skip, SlowPolicy::Latest] {
            let mut backlog = Backlog::default();
            let limit = 1024 * LIMIT;
            while backlog.push(&publication("b", 1, None), false, SlowPolicy::Disconnect, limit).is_ok() {}
            for offset in 1..=10_000 {
                let key = if offset % 2 == 0 { "x" } else { "y" };
                backlog.push(&publication("a", offset, Some(key)), false, policy, limit).unwrap();
            }
            assert!(backlog.searched <= 10, "{policy:?}: {}", backlog.searched);
        }
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
