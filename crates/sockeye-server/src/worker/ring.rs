//! A worker's ring: what many sessions are to be given leaves in one system call, where the system has `io_uring`.
use std::sync::Once;

use sockeye_uring::Ring;
use tracing::{debug, info};

/// Sockets from which on it is used. Measured through the hub, 1,000 subscribers take 0.85 of the CPU, 300 take 0.93 to 1.01,
/// and with 100 there is no difference. The tests make do with fewer.
const MIN: usize = if cfg!(test) { 16 } else { 256 };
/// Sockets in one system call. The ring has some 50 KiB.
const MAX: u16 = 512;

/// There is one from the first turn on that has use for it, if the system lets it be used.
pub(super) enum Rings {
    Untried,
    Ready(Box<Ring>),
    Never,
}

impl Rings {
    pub(super) fn new(wanted: bool) -> Self {
        if wanted { Self::Untried } else { Self::Never }
    }

    /// How many it takes at once, if it is used for so many.
    pub(super) fn batch(&mut self, waiting: usize) -> Option<usize> {
        self.for_so_many(waiting).map(|_| usize::from(MAX))
    }

    /// The ring, if it is used for so many.
    pub(super) fn for_so_many(&mut self, waiting: usize) -> Option<&mut Ring> {
        if waiting < MIN {
            return None;
        }
        if let Self::Untried = self {
            *self = make();
        }
        if let Self::Ready(ring) = self
            && let Some(error) = ring.failure()
        {
            info!("io_uring has failed, sockets are written to one by one: {error}");
            *self = Self::Never;
        }
        match self {
            Self::Ready(ring) => Some(ring),
            Self::Untried | Self::Never => None,
        }
    }
}

fn make() -> Rings {
    static REFUSED: Once = Once::new();
    match Ring::new(MAX) {
        Ok(ring) => {
            debug!("what many are told leaves through io_uring");
            Rings::Ready(Box::new(ring))
        }
        Err(error) => {
            REFUSED.call_once(|| info!("io_uring is not available, sockets are written to one by one: {error}"));
            Rings::Never
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_made_when_many_are_to_be_written_to_and_only_if_it_is_wanted() {
        let mut rings = Rings::new(true);
        assert_eq!(rings.batch(MIN - 1), None);
        assert!(matches!(rings, Rings::Untried));
        let batch = rings.batch(MIN);
        match Ring::new(1) {
            Ok(_) => assert_eq!(batch, Some(usize::from(MAX))),
            Err(error) => {
                println!("there is no ring here: {error}");
                assert_eq!(batch, None);
            }
        }
        assert!(!matches!(rings, Rings::Untried), "it is tried once");
        assert_eq!(Rings::new(false).batch(10_000), None);
    }
}
