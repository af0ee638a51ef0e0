//! Where input is read into before the protocol has looked at it.
use std::{cell::Cell, time::Instant};

/// Bytes read at once, and thereby the most that one connection takes of a turn.
const SIZE: usize = 64 * 1024;

thread_local! {
    /// One buffer a thread, lent to whichever connection is being polled. A connection that waits holds none.
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    /// The memory of the last [`Rest`] that was used up on this thread, for the next one; at most [`SIZE`] bytes.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's buffer for the duration of one call.
///
/// A transport may itself be a WebSocket that is polled inside `f`; it then gets a buffer of its own.
pub(crate) fn with_thread_buffer<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = BUFFER.take().unwrap_or_else(|| vec![0; SIZE].into_boxed_slice());
    let result = f(&mut buffer);
    BUFFER.set(Some(buffer));
    result
}

/// Input read beyond the message that was asked for: bytes of the next ones. It owns no memory once it is used up.
#[derive(Debug)]
pub(crate) struct Rest {
    bytes: Vec<u8>,
    used: usize,
    read_at: Instant,
}

impl Rest {
    /// A copy of `bytes`, which were read at that instant.
    pub(crate) fn new(bytes: &[u8], read_at: Instant) -> Self {
        let mut copy = if bytes.is_empty() { Vec::new() } else { SPARE.take() };
        copy.extend_from_slice(bytes);
        Self { bytes: copy, used: 0, read_at }
    }

    /// When it was read: asking the clock again for every message in it would cost more than to parse it.
    pub(crate) fn read_at(&self) -> Instant {
        self.read_at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == self.bytes.len()
    }

    /// What is left, to be unmasked in place.
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.used..]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.used += count;
        if self.is_empty() {
            let mut spare = std::mem::take(&mut self.bytes);
            spare.clear();
            SPARE.set(spare);
            self.used = 0;
        }
    }
}
