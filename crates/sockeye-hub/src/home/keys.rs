//! Idempotency keys: the same key within some time is the same entry.
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// What the keys of one channel stand for, for as long as they are remembered.
#[derive(Debug, Default)]
pub(super) struct Keys {
    entries: HashMap<Arc<str>, Entry>,
    /// From the oldest to the newest; a key that was taken back stays here until its time.
    order: VecDeque<(Instant, Arc<str>)>,
}

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    since: Instant,
    /// `None` where publications have no offset.
    pub(super) offset: Option<u64>,
}

impl Keys {
    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).copied()
    }

    pub(super) fn insert(&mut self, key: Arc<str>, offset: Option<u64>, now: Instant) {
        self.entries.insert(Arc::clone(&key), Entry { since: now, offset });
        self.order.push_back((now, key));
    }

    /// What it stood for did not happen.
    pub(super) fn take_back(&mut self, key: &str) {
        self.entries.remove(key);
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// When the oldest is to be forgotten.
    pub(super) fn expires_at(&self, age: Duration) -> Option<Instant> {
        self.order.front().and_then(|(since, _)| since.checked_add(age))
    }

    pub(super) fn expire(&mut self, now: Instant, age: Duration) {
        while self.expires_at(age).is_some_and(|at| at <= now) {
            let Some((since, key)) = self.order.pop_front() else { return };
            // A key that was taken back and came again has another time.
            if self.entries.get(&key).is_some_and(|entry| entry.since == since) {
                self.entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_for_its_time() {
        let start = Instant::now();
        let age = Duration::from_secs(300);
        let mut keys = Keys::default();
        keys.insert("a".into(), Some(1), start);
        keys.insert("b".into(), None, start + Duration::from_secs(1));
        keys.expire(start + Duration::from_secs(299), age);
        let offset = |keys: &Keys, key| keys.get(key).map(|entry| entry.offset);
        assert_eq!((offset(&keys, "a"), offset(&keys, "b"), offset(&keys, "c")), (Some(Some(1)), Some(None), None));
        keys.expire(start + age, age);
        assert_eq!((offset(&keys, "a"), keys.len()), (None, 1));
        keys.take_back("b");
        assert!(keys.get("b").is_none());
        keys.insert("b".into(), Some(2), start + age);
        keys.expire(start + age + Duration::from_secs(1), age);
        assert_eq!(offset(&keys, "b"), Some(Some(2)), "its first time does not end its second");
        keys.expire(start + 2 * age, age);
        assert!(keys.is_empty() && keys.get("b").is_none());
    }
}
