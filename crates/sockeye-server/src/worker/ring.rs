//! A worker's ring: what many sessions are to be given leaves in one system call, where the system has `io_uring`.
use std::sync::Once;

use sockeye_uring::Ring;
use tracing::{debug, info};

/// Sockets in one system call. The ring has some 50 KiB.
const MAX: u16 = 512;

/// A ring, where it pays off.
pub(super) struct Rings {
    /// Sockets from which on it is used.
    min: usize,
    state: State,
}

/// There is one from the first turn on that has use for it, if the system lets it be used.
enum State {
    Untried,
    Ready(Box<Ring>),
    Never,
}

impl Rings {
    /// To be used from so many sockets on.
    pub(super) fn new(from: Option<usize>) -> Self {
        let state = if from.is_some() { State::Untried } else { State::Never };
        Self { min: from.unwrap_or(usize::MAX), state }
    }

    /// How many it takes at once, if it is used for so many.
    pub(super) fn batch(&mut self, waiting: usize) -> Option<usize> {
        self.for_so_many(waiting).map(|_| usize::from(MAX))
    }

    /// The ring, if it is used for so many.
    pub(super) fn for_so_many(&mut self, waiting: usize) -> Option<&mut Ring> {
        if waiting < self.min {
            return None;
        }
        if let State::Untried = self.state {
            self.state = make();
        }
        if let State::Ready(ring) = &self.state
            && let Some(error) = ring.failure()
        {
            info!("io_uring has failed, sockets are written to one by one: {error}");
            self.state = State::Never;
        }
        match &mut self.state {
            State::Ready(ring) => Some(ring),
            State::Untried | State::Never => None,
        }
    }
}

fn make() -> State {
    static REFUSED: Once = Once::new();
    match Ring::new(MAX) {
        Ok(ring) => {
            debug!("what many are told leaves through io_uring");
            State::Ready(Box::new(ring))
        }
        Err(error) => {
            REFUSED.call_once(|| info!("io_uring is not available, sockets are written to one by one: {error}"));
            State::Never
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_made_when_many_are_to_be_written_to_and_only_if_it_is_wanted() {
        let mut rings = Rings::new(Some(256));
        assert_eq!(rings.batch(255), None);
        assert!(matches!(rings.state, State::Untried));
        let batch = rings.batch(256);
        match Ring::new(1) {
            Ok(_) => assert_eq!(batch, Some(usize::from(MAX))),
            Err(error) => {
                println!("there is no ring here: {error}");
                assert_eq!(batch, None);
            }
        }
        assert!(!matches!(rings.state, State::Untried), "it is tried once");
        assert_eq!(Rings::new(None).batch(10_000), None);
    }
}
