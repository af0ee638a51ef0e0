//! Deadlines by name.
use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Instant,
};

/// One deadline for each key.
#[derive(Debug)]
pub(super) struct Timers<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: HashMap<K, Instant>,
}

impl<K: Copy + Ord + Hash> Timers<K> {
    pub(super) fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_key: HashMap::new() }
    }

    pub(super) fn set(&mut self, key: K, at: Instant) {
        self.clear(key);
        self.by_key.insert(key, at);
        self.by_time.insert((at, key));
    }

    pub(super) fn clear(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(K) -> bool) {
        self.by_key.retain(|&key, _| keep(key));
        self.by_time.retain(|&(_, key)| keep(key));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// Takes out one whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        let &(at, key) = self.by_time.first()?;
        (at <= now).then(|| self.clear(key)).map(|()| key)
    }
}
