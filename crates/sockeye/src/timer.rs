//! A connection's deadlines on tokio's clock.
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};

/// The clock that all deadlines are measured by. It stands still where tokio's does, in tests.
pub(crate) fn now() -> Instant {
    TokioInstant::now().into_std()
}

/// The instant a time limit ends at. One beyond the end of the clock, such as [`Duration::MAX`], ends when nobody is there
/// to see it.
pub(crate) fn deadline(limit: Duration) -> TokioInstant {
    const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    let now = TokioInstant::now();
    now.checked_add(limit).unwrap_or_else(|| now + FOREVER)
}

/// A timer that exists only while there is a deadline, and is moved as rarely as possible: a deadline that moves away is
/// looked at again when the old one comes.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready once `deadline` has come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let deadline = deadline.map(TokioInstant::from_std);
        if let Some(deadline) = deadline {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
        }
        while let Some(sleep) = &mut self.sleep {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match deadline {
                Some(deadline) if deadline > TokioInstant::now() => sleep.as_mut().reset(deadline),
                Some(_) => {
                    self.sleep = None;
                    return Poll::Ready(());
                }
                None => self.sleep = None,
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::{
        future::poll_fn,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Wake, Waker},
    };

    use tokio::time::{advance, timeout};

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Counter {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn who_polled_last_is_woken() {
        let (first, last) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let wakers = [&first, &first, &last, &last].map(|counter| Waker::from(Arc::clone(counter)));
        let (mut timer, deadline) = (Timer::default(), Some(now() + SECOND));
        for waker in &wakers {
            assert!(timer.poll(&mut Context::from_waker(waker), deadline).is_pending());
        }
        advance(2 * SECOND).await;
        assert_eq!((first.count(), last.count()), (0, 1));
        assert!(timer.poll(&mut Context::from_waker(&wakers[3]), deadline).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_either_way_is_met() {
        let (mut timer, begin) = (Timer::default(), now());
        for (first, then) in [(60, 5), (10, 20)] {
            let mut first = Some(first);
            let met = poll_fn(|cx| {
                if let Some(first) = first.take() {
                    assert!(timer.poll(cx, Some(begin + SECOND * first)).is_pending());
                }
                timer.poll(cx, Some(begin + SECOND * then))
            });
            timeout(100 * SECOND, met).await.unwrap();
            assert_eq!(now().duration_since(begin).as_secs(), u64::from(then));
        }
    }
}
