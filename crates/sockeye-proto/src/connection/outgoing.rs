//! What waits to be written, and the watch over a transport that does not take it.
use std::{fmt, io::IoSlice, time::Instant};

use bytes::Buf;

use super::SendHalf;

/// The bytes of a connection that wait to be written, as a [`Buf`]: any number of frames leave in one vectored write.
pub struct Outgoing<'a> {
    pub(super) half: &'a mut SendHalf,
}

impl Buf for Outgoing<'_> {
    fn remaining(&self) -> usize {
        self.half.outbox.len()
    }

    fn chunk(&self) -> &[u8] {
        self.half.outbox.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.half.outbox.chunks(slices)
    }

    /// Takes note that the transport took `count` bytes.
    fn advance(&mut self, count: usize) {
        let half = &mut *self.half;
        half.outbox.advance(count);
        if half.outbox.is_empty() {
            half.stall = None;
        } else if let Some(stall) = &mut half.stall {
            stall.owed = stall.owed.saturating_sub(count);
            stall.blocked = stall.blocked && count == 0;
        }
    }
}

impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("remaining", &self.remaining()).finish()
    }
}

/// A transport that takes less than is queued: so many bytes must leave in time.
#[derive(Debug)]
pub(super) struct Stall {
    pub(super) due: Instant,
    pub(super) owed: usize,
    /// Nothing has left since the transport last said that it takes no more.
    pub(super) blocked: bool,
}
