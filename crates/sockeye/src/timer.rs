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
