//! When messages leave, in an open loop: at moments fixed in advance, whatever the server does.
//!
//! A closed loop asks less of a server that stalls, and so does not see most of the stall ("coordinated omission").
//! Here each message has the moment at which it is due, and its time counts from then, even if it can only leave later.

use std::time::{Duration, Instant};

/// Evenly spaced moments from the start to the end.
pub(crate) struct Schedule {
    start: Instant,
    every_ns: f64,
    taken: u64,
    count: u64,
}

impl Schedule {
    /// As many moments as fit in `duration` at this rate, `most` at most.
    pub(crate) fn new(rate: f64, start: Instant, duration: Duration, most: u64) -> Self {
        Self { start, every_ns: 1e9 / rate, taken: 0, count: rounded(duration.as_secs_f64() * rate).min(most) }
    }

    /// The next moment, if it has come.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next().filter(|due| *due <= now)?;
        self.taken += 1;
        Some(due)
    }

    /// The next moment, if there is one.
    pub(crate) fn next(&self) -> Option<Instant> {
        (self.taken < self.count).then(|| self.start + Duration::from_nanos(rounded(float(self.taken) * self.every_ns)))
    }
}

/// Rounded; a negative number becomes 0, one that is too large the largest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` keeps to the range")]
pub(crate) fn rounded(number: f64) -> u64 {
    number.round() as u64
}

/// Counts far below 2^53, for division.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Times;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn moments_do_not_drift_and_end() {
        let start = Instant::now();
        let mut schedule = Schedule::new(3.0, start, 10 * SECOND, u64::MAX);
        assert_eq!(schedule.take(start), Some(start), "the first is due at once");
        assert_eq!(schedule.take(start), None);
        let mut last = start;
        for _ in 1..30 {
            last = schedule.take(start + 60 * SECOND).unwrap();
        }
        assert_eq!((last - start).as_millis(), 9_666);
        assert_eq!((schedule.next(), schedule.take(start + 60 * SECOND)), (None, None));
        assert_eq!(Schedule::new(1e9, start, SECOND, 0).next(), None);
    }

    /// A server that answers in 1 ms but stands still for a whole second out of ten. Of 1,000 messages a second, a
    /// tenth is due in that second, and waits half of it on average.
    #[test]
    fn a_stall_is_seen_by_all_that_were_due_in_it() {
        let start = Instant::now();
        let mut schedule = Schedule::new(1_000.0, start, 10 * SECOND, u64::MAX);
        let mut times = Times::new();
        let (stall, stall_end) = (start + 4 * SECOND, start + 5 * SECOND);
        while let Some(due) = schedule.next() {
            // The generator, too, only gets to run when the stall is over.
            let now = if due >= stall && due < stall_end { stall_end } else { due };
            while let Some(due) = schedule.take(now) {
                times.record(due, now + Duration::from_millis(1), 1);
            }
        }
        assert_eq!(times.len(), 10_000);
        let seen = times.percentiles();
        assert!((990.0..=1_010.0).contains(&seen.p50_us), "{seen:?}");
        assert!((990_000.0..=1_002_000.0).contains(&seen.max_us), "{seen:?}");
        assert!((890_000.0..=910_000.0).contains(&seen.p99_us), "a closed loop would say 1 ms: {seen:?}");
    }
}
