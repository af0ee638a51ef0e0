//! The log of one channel: what is kept of it, bounded by count, age and bytes.
use std::{collections::VecDeque, sync::Arc, time::Instant};

use crate::{ChannelOptions, HistoryPage, HubOptions, Position, Publication};

/// The newest publications of a channel, without a hole: their offsets are `top - len + 1 ..= top`.
#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The offset of the newest publication ever, kept or not.
    top: u64,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    publication: Arc<Publication>,
}

impl Log {
    pub(super) fn new(top: u64) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, top }
    }

    pub(super) fn top(&self) -> u64 {
        self.top
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the next publication, whose offset is `top + 1`, accepted at `since`.
    pub(super) fn push(&mut self, publication: Arc<Publication>, since: Instant, options: &ChannelOptions) {
        self.top = publication.offset();
        self.bytes = self.bytes.saturating_add(publication.weight());
        self.entries.push_back(Entry { since, publication });
        while self.entries.len() > options.history_size || self.bytes > options.history_bytes {
            self.drop_oldest();
        }
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Instant, options: &ChannelOptions) {
        while self.expires_at(options).is_some_and(|at| at <= now) {
            self.drop_oldest();
        }
    }

    /// When the oldest entry will be too old.
    pub(super) fn expires_at(&self, options: &ChannelOptions) -> Option<Instant> {
        self.entries.front().and_then(|entry| entry.since.checked_add(options.history_age))
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes = self.bytes.saturating_sub(entry.publication.weight());
        }
    }

    /// The offset of the oldest entry; that of the next publication if there is none.
    pub(super) fn first(&self) -> u64 {
        let kept = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        self.top.saturating_sub(kept).saturating_add(1)
    }

    /// Everything after this offset, or `None` if that is not all here, never was, or is more than one may have at once.
    pub(super) fn since(&self, offset: u64, limits: &HubOptions) -> Option<Vec<Arc<Publication>>> {
        if offset > self.top || offset.checked_add(1)? < self.first() {
            return None;
        }
        let missing = usize::try_from(self.top.saturating_sub(offset)).ok()?;
        if missing > limits.catch_up_count {
            return None;
        }
        let items = self.newest(missing);
        let bytes = items.iter().fold(0_usize, |sum, item| sum.saturating_add(item.weight()));
        (bytes <= limits.catch_up_bytes || missing <= 1).then_some(items)
    }

    /// So many of the newest, or as many as one may have at once.
    pub(super) fn last(&self, count: usize, limits: &HubOptions) -> Vec<Arc<Publication>> {
        let newest_first = self.entries.iter().rev().map(|entry| &entry.publication);
        let count = fitting(newest_first, count.min(limits.catch_up_count), limits).count();
        self.newest(count)
    }

    fn newest(&self, count: usize) -> Vec<Arc<Publication>> {
        let skipped = self.entries.len().saturating_sub(count);
        self.entries.iter().skip(skipped).map(|entry| Arc::clone(&entry.publication)).collect()
    }

    /// A page, and whether there is more in its direction. `None` if it begins where nothing is known any more, or yet.
    pub(super) fn page(&self, page: HistoryPage, limits: &HubOptions) -> Option<(Vec<Arc<Publication>>, bool)> {
        let first = self.first();
        let next = self.top.saturating_add(1);
        // The offsets of the page's candidates: from `from` up to, not including, `to`.
        let (from, to) = match (page.since, page.reverse) {
            (None, _) => (first, next),
            (Some(Position { offset, .. }), false) => (offset.checked_add(1)?, next),
            (Some(Position { offset, .. }), true) => (first, offset),
        };
        if from < first || from > next || to < first || to > next {
            return None;
        }
        let skipped = usize::try_from(from.saturating_sub(first)).ok()?;
        let count = usize::try_from(to.saturating_sub(from)).ok()?;
        let candidates = self.entries.iter().skip(skipped).take(count).map(|entry| &entry.publication);
        let wanted = page.limit.min(limits.page);
        let items: Vec<_> = if page.reverse {
            fitting(candidates.rev(), wanted, limits).cloned().collect()
        } else {
            fitting(candidates, wanted, limits).cloned().collect()
        };
        let more = items.len() < count;
        Some((items, more))
    }
}

/// So many of them, or as many as one may have at once; but one at least, or whoever pages would never get past it.
fn fitting<'a>(
    candidates: impl Iterator<Item = &'a Arc<Publication>>,
    count: usize,
    limits: &HubOptions,
) -> impl Iterator<Item = &'a Arc<Publication>> {
    let mut bytes = 0_usize;
    candidates.take(count).take_while(move |publication| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(publication.weight());
        is_first || bytes <= limits.catch_up_bytes
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::{Encoded, Epoch, Kind, Payload};

    fn publication(offset: u64) -> Arc<Publication> {
        Arc::new(Publication {
            channel: "a".parse().unwrap(),
            position: Some(Position { epoch: Epoch(1), offset }),
            payload: Payload { kind: Kind::Binary, bytes: Bytes::from_static(b"1234") },
            event: None,
            conflate: None,
            from: None,
            echo: true,
            at_ms: 0,
            encoded: Encoded::default(),
        })
    }

    fn log(count: u64, options: &ChannelOptions) -> Log {
        let now = Instant::now();
        let mut log = Log::new(0);
        for offset in 1..=count {
            log.push(publication(offset), now + Duration::from_secs(offset), options);
        }
        log
    }

    fn offsets(items: &[Arc<Publication>]) -> Vec<u64> {
        items.iter().map(|item| item.offset()).collect()
    }

    #[test]
    fn it_keeps_the_newest_by_count_bytes_and_age() {
        let three = ChannelOptions::with(|options| options.history_size = 3);
        assert_eq!((log(10, &three).first(), log(10, &three).top()), (8, 10));
        let bytes = ChannelOptions::with(|options| options.history_bytes = 2 * publication(1).weight());
        assert_eq!(log(10, &bytes).first(), 9);
        let age = ChannelOptions::with(|options| options.history_age = Duration::from_secs(5));
        let mut log = log(10, &age);
        let oldest = log.expires_at(&age).unwrap();
        log.expire(oldest + Duration::from_secs(2), &age);
        assert_eq!((log.first(), log.len()), (4, 7));
        log.expire(oldest + Duration::from_secs(60), &age);
        assert_eq!((log.first(), log.top(), log.len()), (11, 10, 0), "the next one is still 11");
    }

    #[test]
    fn since_is_everything_or_nothing() {
        let log = log(10, &ChannelOptions::with(|options| options.history_size = 3));
        let limits = HubOptions::default();
        assert_eq!(log.since(10, &limits).map(|items| offsets(&items)), Some(vec![]));
        assert_eq!(log.since(7, &limits).map(|items| offsets(&items)), Some(vec![8, 9, 10]));
        for offset in [0, 6, 11, u64::MAX] {
            assert!(log.since(offset, &limits).is_none(), "{offset}");
        }
        let two = HubOptions::with(|options| options.catch_up_count = 2);
        assert!(log.since(7, &two).is_none() && log.since(8, &two).is_some());
        assert_eq!(offsets(&log.last(usize::MAX, &two)), [9, 10]);
    }

    #[test]
    fn one_that_is_larger_than_a_page_is_a_page() {
        let log = log(3, &ChannelOptions::default());
        let limits = HubOptions::with(|options| options.catch_up_bytes = 1);
        let page = |since: Option<u64>, reverse| {
            let since = since.map(|offset| Position { epoch: Epoch(1), offset });
            log.page(HistoryPage { since, limit: 10, reverse }, &limits).map(|(items, more)| (offsets(&items), more))
        };
        assert_eq!(page(None, false), Some((vec![1], true)));
        assert_eq!(page(Some(1), false), Some((vec![2], true)));
        assert_eq!(page(Some(2), false), Some((vec![3], false)));
        assert_eq!(page(None, true), Some((vec![3], true)));
        assert_eq!(offsets(&log.last(10, &limits)), [3]);
        assert_eq!(log.since(2, &limits).map(|items| offsets(&items)), Some(vec![3]));
        assert!(log.since(1, &limits).is_none());
    }

    #[test]
    fn pages_go_both_ways_and_know_their_ends() {
        let log = log(10, &ChannelOptions::with(|options| options.history_size = 6));
        let limits = HubOptions::default();
        let page = |since: Option<u64>, limit, reverse| {
            let since = since.map(|offset| Position { epoch: Epoch(1), offset });
            log.page(HistoryPage { since, limit, reverse }, &limits).map(|(items, more)| (offsets(&items), more))
        };
        assert_eq!(page(None, 4, false), Some((vec![5, 6, 7, 8], true)));
        assert_eq!(page(Some(8), 4, false), Some((vec![9, 10], false)));
        assert_eq!(page(Some(10), 4, false), Some((vec![], false)));
        assert_eq!(page(None, 4, true), Some((vec![10, 9, 8, 7], true)));
        assert_eq!(page(Some(7), 4, true), Some((vec![6, 5], false)));
        assert_eq!(page(Some(5), 4, true), Some((vec![], false)));
        for (offset, reverse) in
            [(3, false), (11, false), (u64::MAX, false), (4, true), (0, true), (12, true), (u64::MAX, true)]
        {
            assert_eq!(page(Some(offset), 4, reverse), None, "{offset} {reverse}");
        }
        assert_eq!(page(None, 0, false), Some((vec![], true)));
        assert_eq!(page(None, usize::MAX, false).unwrap().0.len(), 6);
    }
}
