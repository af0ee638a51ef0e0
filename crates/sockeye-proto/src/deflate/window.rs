//! What context takeover keeps between messages.
use std::{fmt, sync::Arc};

use super::{
    budget::Reservation,
    params::{Direction, window_size},
};

/// The end of what was compressed before, as plain bytes: the LZ77 window of RFC 7692 section 7.1.1. A context of the
/// thread's takes it as its dictionary, which is all that a context carries from message to message.
pub(super) struct Window {
    bytes: Vec<u8>,
    size: usize,
    _reservation: Option<Arc<Reservation>>,
}

impl Window {
    /// `None` without context takeover.
    pub(super) fn new(direction: Direction, reservation: Option<Arc<Reservation>>) -> Option<Box<Self>> {
        let window = || Self { bytes: Vec::new(), size: window_size(direction.bits), _reservation: reservation };
        direction.takeover.then(|| Box::new(window()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes up the message that was compressed last.
    pub(super) fn push(&mut self, message: &[u8]) {
        let fresh = message.get(message.len().saturating_sub(self.size)..).unwrap_or_default();
        let surplus = self.bytes.len().saturating_add(fresh.len()).saturating_sub(self.size);
        self.bytes.drain(..surplus.min(self.bytes.len()));
        // Grows with what comes, and never beyond its size.
        if self.bytes.capacity().saturating_sub(self.bytes.len()) < fresh.len() {
            let twice = self.bytes.len().saturating_mul(2);
            let target = self.bytes.len().saturating_add(fresh.len()).max(twice).min(self.size);
            self.bytes.reserve_exact(target.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(fresh);
    }
}

/// Not what it holds: that is what users said.
impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window({} of {} bytes)", self.bytes.len(), self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_end_of_all_that_came_and_no_larger(messages: Vec<Vec<u8>>, bits in 3_u8..9) {
            let mut window = Window::new(Direction { bits, takeover: true }, None).unwrap();
            let mut all = Vec::new();
            for message in &messages {
                window.push(message);
                all.extend_from_slice(message);
                let size = 1 << bits;
                prop_assert_eq!(window.bytes(), &all[all.len().saturating_sub(size)..]);
                prop_assert!(window.bytes.capacity() <= size.max(8));
            }
        }
    }
}
