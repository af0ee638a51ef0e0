//! Memory of queues that have become empty, for the next queue of the thread: so a connection that owns none while it is idle
//! answers a small message without an allocation.
use std::{cell::Cell, mem};

use super::{PIECE_MAX, PIECE_MIN};

thread_local! {
    /// One of each size. A queue that needs little never gets the large one, so what it holds does not depend on others.
    static SMALL: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static LARGE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Makes room for so many bytes more: [`PIECE_MIN`] in all, or if that is too little [`PIECE_MAX`], or else just what is needed.
#[inline]
pub(super) fn make_room(frames: &mut Vec<u8>, more: usize) {
    let needed = frames.len().saturating_add(more);
    if needed > frames.capacity() {
        grow(frames, needed);
    }
}

fn grow(frames: &mut Vec<u8>, needed: usize) {
    let (mut larger, capacity) = if needed <= PIECE_MIN {
        (SMALL.take(), PIECE_MIN)
    } else if needed <= PIECE_MAX {
        (LARGE.take(), PIECE_MAX)
    } else {
        (Vec::new(), needed)
    };
    larger.reserve_exact(capacity);
    larger.extend_from_slice(frames);
    keep(mem::replace(frames, larger));
}

/// Takes what is of use to another queue, in place of what was there. Memory of another size was a large frame's and is dropped.
pub(super) fn keep(mut frames: Vec<u8>) {
    frames.clear();
    match frames.capacity() {
        PIECE_MIN => SMALL.set(frames),
        PIECE_MAX => LARGE.set(frames),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of what the thread keeps.
    fn kept() -> [usize; 2] {
        [&SMALL, &LARGE].map(|spare| {
            let frames = spare.take();
            let capacity = frames.capacity();
            spare.set(frames);
            capacity
        })
    }

    #[test]
    fn a_queue_gets_the_smallest_memory_that_is_enough_and_the_thread_keeps_one_of_each() {
        let mut frames = Vec::new();
        for (needed, capacity, spare) in [
            (1, PIECE_MIN, [0, 0]),
            (PIECE_MIN, PIECE_MIN, [0, 0]),
            (PIECE_MIN + 1, PIECE_MAX, [PIECE_MIN, 0]),
            (PIECE_MAX + 1, PIECE_MAX + 1, [PIECE_MIN, PIECE_MAX]),
        ] {
            make_room(&mut frames, needed);
            assert_eq!((frames.capacity(), kept()), (capacity, spare), "{needed}");
        }
        keep(frames);
        assert_eq!(kept(), [PIECE_MIN, PIECE_MAX], "a large frame's memory is not kept");
    }

    #[test]
    fn what_was_queued_stays_and_what_was_anothers_does_not_come_back() {
        keep(vec![b'x'; PIECE_MAX]);
        let mut frames = b"queued".to_vec();
        make_room(&mut frames, PIECE_MIN);
        assert_eq!(frames, b"queued");
        assert_eq!(kept()[1], 0, "it is in use");
    }
}
