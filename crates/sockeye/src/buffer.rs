//! Where input is read into before the protocol has looked at it.
use std::{
    cell::Cell,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes read at once, and thereby the most that one connection takes of a turn. A message of 64 KiB leaves room in it, by
/// which the transport sees that nothing more is there.
const SIZE: usize = 68 * 1024;

thread_local! {
    /// One buffer a thread, lent to whichever connection is being polled. A connection that waits holds none.
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    /// The memory of the last [`Rest`] that was used up on this thread, for the next one; at most [`SIZE`] bytes.
    static SPARE: Cell<Option<Box<Input>>> = const { Cell::new(None) };
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

/// Bytes of a handshake read at once. Most heads are shorter.
const SMALL: usize = 2 * 1_024;

/// Reads once, and gives what came to `take`; nothing at the end. For handshakes: the buffer is on the stack of one poll, for
/// every future on the way of one that waits would have room for it, and be moved with it.
///
/// # Cancel safety
/// What was read has been taken.
pub(crate) async fn read_some<T>(io: &mut (impl AsyncRead + Unpin), mut take: impl FnMut(&[u8]) -> T) -> io::Result<T> {
    poll_fn(|cx| {
        let mut space = [MaybeUninit::uninit(); SMALL];
        let mut input = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *io).poll_read(cx, &mut input))?;
        Poll::Ready(Ok(take(input.filled())))
    })
    .await
}

/// Input read beyond the message that was asked for: bytes of the next ones. It owns no memory once it is used up.
#[derive(Debug, Default)]
pub(crate) struct Rest(Option<Box<Input>>);

#[derive(Debug)]
struct Input {
    bytes: Vec<u8>,
    used: usize,
    /// Asking the clock again for every message in it would cost more than to parse it.
    read_at: Instant,
}

impl Rest {
    /// A copy of `bytes`, which were read at that instant.
    pub(crate) fn new(bytes: &[u8], read_at: Instant) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        let fresh = || Box::new(Input { bytes: Vec::new(), used: 0, read_at });
        let mut input = SPARE.take().unwrap_or_else(fresh);
        input.bytes.reserve_exact(bytes.len());
        input.bytes.extend_from_slice(bytes);
        (input.used, input.read_at) = (0, read_at);
        Self(Some(input))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Gives what is left, to be unmasked in place, and when it was read to `take`, which says how much of it it took; so does
    /// this. Of nothing it takes nothing, and is not asked.
    pub(crate) fn feed(&mut self, take: impl FnOnce(&mut [u8], Instant) -> usize) -> usize {
        let Some(input) = &mut self.0 else { return 0 };
        let count = take(&mut input.bytes[input.used..], input.read_at);
        input.used += count;
        if input.used == input.bytes.len()
            && let Some(mut spare) = self.0.take()
        {
            spare.bytes.clear();
            // What came with an opening handshake may be more than one read brings.
            if spare.bytes.capacity() <= SIZE {
                SPARE.set(Some(spare));
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of how many bytes the thread keeps the memory.
    fn kept() -> usize {
        let spare = SPARE.take();
        let capacity = spare.as_ref().map_or(0, |spare| spare.bytes.capacity());
        SPARE.set(spare);
        capacity
    }

    #[test]
    fn a_thread_keeps_no_more_than_a_buffer() {
        let use_up = |len| assert_eq!(Rest::new(&vec![0; len], Instant::now()).feed(|input, _| input.len()), len);
        // One after the other into the same memory, which grows.
        for len in [40_000, 50_000, SIZE] {
            use_up(len);
            assert!((len..=SIZE).contains(&kept()), "{len}: {}", kept());
        }
        SPARE.take();
        use_up(SIZE + 1);
        assert_eq!(kept(), 0);
    }
}
