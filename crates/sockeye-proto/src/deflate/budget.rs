//! How much memory context takeover may cost a process.
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Bytes that the windows of context takeover may take, over all connections that share the budget. Clones share it.
///
/// Each connection reserves its windows at the opening handshake, in full, and gives them back at its end. When a budget is
/// spent, further handshakes agree on no context takeover, which holds nothing.
///
/// ```
/// use sockeye_proto::DeflateBudget;
/// let budget = DeflateBudget::new(16 * 1024 * 1024);
/// assert_eq!((budget.limit(), budget.used()), (16 * 1024 * 1024, 0));
/// ```
#[derive(Clone)]
pub struct DeflateBudget(Arc<Shared>);

struct Shared {
    limit: usize,
    used: AtomicUsize,
}

impl DeflateBudget {
    /// A budget of so many bytes. Zero allows no takeover at all.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Shared { limit: bytes, used: AtomicUsize::new(0) }))
    }

    /// Bytes in all.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes reserved at the moment.
    #[must_use]
    pub fn used(&self) -> usize {
        // Only a number for people: nothing else is ordered by it.
        self.0.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes` until the reservation is dropped, if there are as many left.
    pub(super) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let take = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.0.limit);
        self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Reservation { budget: self.clone(), bytes })
    }
}

impl Default for DeflateBudget {
    /// 64 MiB.
    fn default() -> Self {
        Self::new(64 * 1024 * 1024)
    }
}

impl fmt::Debug for DeflateBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeflateBudget").field("limit", &self.limit()).field("used", &self.used()).finish()
    }
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: DeflateBudget,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_comes_back_and_no_more_is_given_than_there_is() {
        let budget = DeflateBudget::new(100);
        let first = budget.reserve(60).unwrap();
        assert!(budget.reserve(41).is_none());
        let second = budget.clone().reserve(40).unwrap();
        assert_eq!(budget.used(), 100);
        drop(first);
        assert_eq!(budget.used(), 40);
        drop(second);
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(usize::MAX).is_none());
    }
}
