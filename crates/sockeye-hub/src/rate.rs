//! How often something may happen.
use std::time::{Duration, Instant};

/// A token bucket in its GCRA form: so many a second in the long run, and as many at once. Its whole state is one instant.
///
/// (`sockeye-proto` has the same for what peers do; neither crate may know the other.)
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    full_at: Option<Instant>,
}

impl Rate {
    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one again.
    pub(crate) fn take(&mut self, now: Instant, per_second: u32) -> Result<(), Duration> {
        let second = Duration::from_secs(1);
        let each = second.checked_div(per_second).ok_or(second)?;
        let full_at = self.full_at.map_or(now, |at| at.max(now)).checked_add(each).ok_or(second)?;
        let wait = full_at.saturating_duration_since(now).saturating_sub(second.max(each));
        if !wait.is_zero() {
            return Err(wait);
        }
        self.full_at = Some(full_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_a_second_then_the_rate() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!((0..100).filter(|_| rate.take(start, 10).is_ok()).count(), 10);
        assert_eq!(rate.take(start, 10), Err(Duration::from_millis(100)));
        assert!(rate.take(start + Duration::from_millis(100), 10).is_ok());
        assert!(Rate::default().take(start, 0).is_err(), "zero means zero");
    }
}
