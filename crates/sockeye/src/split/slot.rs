//! The only place where the two halves of a socket meet: flat combining, and wakers for both.
//!
//! This file is compiled a second time in `tests/loom_slot.rs`, where loom tries every interleaving of it.
use std::{
    sync::{Arc, PoisonError, TryLockError},
    task::{Wake, Waker},
};

use super::sync::Mutex;

/// A value that one task works on, and what another task wants done to it.
///
/// The other task never waits for the first: it leaves its debt and, unless the value is held just then, settles it itself.
/// Whoever holds the value looks for debts after letting go of it.
///
/// **Invariant:** no debt is stranded. One that was left before the holder's last look is found by it. One that was left after
/// it was left after the value was let go, so that whoever left it gets the value, or another holder does who looks later.
pub(crate) struct Slot<T: Settle> {
    held: Mutex<T>,
    owed: Mutex<Option<T::Debt>>,
}

/// How debts are settled.
pub(crate) trait Settle {
    type Debt;

    /// Makes one of two debts, so that what waits is bounded.
    fn merge(debt: &mut Self::Debt, newer: Self::Debt);

    fn settle(&mut self, debt: Self::Debt);
}

impl<T: Settle> Slot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { held: Mutex::new(value), owed: Mutex::new(None) }
    }

    /// Works on the value. Waits for the other task only while that settles a debt.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let result = work(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner));
        self.settle();
        result
    }

    /// Leaves a debt. Never waits for work on the value.
    pub(crate) fn leave(&self, debt: T::Debt) {
        match &mut *self.owed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(owed) => T::merge(owed, debt),
            none => *none = Some(debt),
        }
        self.settle();
    }

    pub(crate) fn into_inner(self) -> (T, Option<T::Debt>) {
        let owed = self.owed.into_inner().unwrap_or_else(PoisonError::into_inner);
        (self.held.into_inner().unwrap_or_else(PoisonError::into_inner), owed)
    }

    fn settle(&self) {
        while self.is_owed() {
            let mut held = match self.held.try_lock() {
                Ok(held) => held,
                Err(TryLockError::Poisoned(held)) => held.into_inner(),
                // Whoever holds it comes by here after letting go.
                Err(TryLockError::WouldBlock) => return,
            };
            let debt = self.owed.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(debt) = debt {
                held.settle(debt);
            }
        }
    }

    fn is_owed(&self) -> bool {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// The two tasks that wait for the transport to take more. A transport keeps one waker for writing, so it is given this one,
/// which wakes both.
pub(crate) struct Wakers {
    pub(crate) sender: Waiting,
    pub(crate) receiver: Waiting,
}

/// A task that waits, or none.
pub(crate) struct Waiting(Mutex<Option<Waker>>);

impl Wakers {
    pub(crate) fn new() -> Self {
        Self { sender: Waiting(Mutex::new(None)), receiver: Waiting(Mutex::new(None)) }
    }
}

impl Waiting {
    /// To be called before looking whether there is something to wait for.
    pub(crate) fn register(&self, waker: &Waker) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(present) => present.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(crate) fn wake(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.sender.wake();
        self.receiver.wake();
    }
}
