//! How often a peer may do a thing.
use std::time::{Duration, Instant};

/// A token bucket without a clock of its own: up to `burst` at once and `per_second` in the long run.
///
/// Its state is one instant (the bucket in its GCRA form), so it can be kept per peer.
///
/// ```
/// use std::time::Instant;
/// let mut rate = sockeye_proto::Rate::default();
/// let now = Instant::now();
/// assert_eq!((0..100).filter(|_| rate.take(now, 50, 10)).count(), 10);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// When the bucket will be full again; in the past if it is full.
    full_at: Option<Instant>,
}

impl Rate {
    /// Takes one; `false` if there is none left. Zero `per_second` or `burst` never gives any.
    pub fn take(&mut self, now: Instant, per_second: u32, burst: u32) -> bool {
        let each = Duration::from_secs(1).checked_div(per_second).unwrap_or(Duration::MAX);
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let Some(after) = full_at.checked_add(each) else { return false };
        if after.saturating_duration_since(now) > each.saturating_mul(burst) {
            return false;
        }
        self.full_at = Some(after);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!((0..1000).filter(|_| rate.take(start, 50, 100)).count(), 100);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| rate.take(later, 50, 100)).count(), 50);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!((0..1000).filter(|_| rate.take(much_later, 50, 100)).count(), 100);
    }

    #[test]
    fn zero_means_zero() {
        let now = Instant::now();
        assert!(!Rate::default().take(now, 0, 100));
        assert!(!Rate::default().take(now, 50, 0));
    }
}
