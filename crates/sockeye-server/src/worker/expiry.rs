//! When sessions have to say again who they are.
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sockeye_hub::SessionKey;

/// So long before its token runs out a client is told.
pub(super) const NOTICE: Duration = Duration::from_secs(60);
/// The longest time a token is good for; longer ones could leave the clock's range.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The sessions of a worker whose tokens run out, by when something is due for them.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    due: BTreeMap<(Instant, u64), Due>,
    last: u64,
}

/// What is due for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is to be told that its token runs out after [`NOTICE`].
    Notice(SessionKey),
    /// Its token has run out.
    End(SessionKey),
}

/// A session's place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    at: Instant,
    number: u64,
}

impl Expiries {
    pub(super) fn insert(&mut self, key: SessionKey, expires_in: Duration, now: Instant) -> Expiry {
        let at = now + expires_in.min(LONGEST);
        self.last = self.last.wrapping_add(1);
        let expiry = Expiry { at, number: self.last };
        self.due.insert((at, expiry.number), Due::End(key));
        // A token that is short from the beginning needs no notice of it.
        if let Some(notice) = expiry.notice().filter(|notice| *notice > now) {
            self.due.insert((notice, expiry.number), Due::Notice(key));
        }
        expiry
    }

    pub(super) fn remove(&mut self, expiry: Expiry) {
        self.due.remove(&(expiry.at, expiry.number));
        if let Some(notice) = expiry.notice() {
            self.due.remove(&(notice, expiry.number));
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// What is due by now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

impl Expiry {
    fn notice(&self) -> Option<Instant> {
        self.at.checked_sub(NOTICE)
    }
}
