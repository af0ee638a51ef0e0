//! The contexts of a thread. A message borrows one and gives it back; no connection owns any.
use std::{cell::RefCell, mem};

use zlib_rs::{Deflate, DeflateConfig, Inflate, Method, Strategy};

use super::params::{Effort, MAX_WINDOW_BITS};

/// Compressors a thread keeps, of as many different parameters. One of the default parameters has 381 KB, the one for small
/// messages 281 KB.
const MAX_COMPRESSORS: usize = 4;
/// Decompressors a thread keeps; each has 47.7 KB. More than one are in use only while messages arrive in pieces.
const MAX_DECOMPRESSORS: usize = 4;
/// Bytes of output before they are taken elsewhere.
pub(super) const SCRATCH: usize = 64 * 1024;

/// Memory level whose list has room for [`SMALL`] symbols, of which it leaves one free: 2 to the power of 6 more than the level.
const SMALL_MEM_LEVEL: u8 = 6;
/// Messages with fewer bytes are small.
const SMALL: usize = 4_095;

thread_local! {
    static POOL: RefCell<Pool> = const {
        RefCell::new(Pool { scratch: Vec::new(), compressors: Vec::new(), decompressors: Vec::new() })
    };
}

struct Pool {
    scratch: Vec<u8>,
    /// Those used last come last.
    compressors: Vec<(Key, Deflate)>,
    decompressors: Vec<Inflate>,
}

/// What a compressor is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) effort: Effort,
    pub(super) bits: u8,
}

impl Key {
    /// What a message of so many bytes needs of it, with which it comes out the same. zlib-rs clears its list of symbols twice for
    /// each message, 48 KiB at memory level 8; no message has more symbols than bytes. A thread has two sizes of a compressor, and
    /// not one for each length.
    pub(super) fn for_message(mut self, len: usize) -> Self {
        if len < SMALL {
            self.effort.mem_level = self.effort.mem_level.min(SMALL_MEM_LEVEL);
        }
        self
    }
}

/// Nothing of the thread's is at hand while the thread ends; then contexts are made and dropped.
fn with<T>(f: impl FnOnce(&mut Pool) -> Option<T>) -> Option<T> {
    POOL.try_with(|pool| pool.try_borrow_mut().ok().and_then(|mut pool| f(&mut pool))).ok().flatten()
}

/// Lends the thread's scratch memory, [`SCRATCH`] bytes of anything.
pub(super) fn with_scratch<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut scratch = with(|pool| Some(mem::take(&mut pool.scratch))).unwrap_or_default();
    scratch.resize(SCRATCH, 0);
    let result = f(&mut scratch);
    with(|pool| {
        pool.scratch = scratch;
        Some(())
    });
    result
}

/// Lends a compressor in its first state. `f` also says whether it took all of its output: only then is it lent again.
///
/// zlib-rs 0.6.8 keeps its place in output that nobody took when it is reset, and panics over a later message, for want of room.
pub(super) fn with_compressor<T>(key: Key, f: impl FnOnce(&mut Deflate) -> (T, bool)) -> T {
    let pooled = with(|pool| {
        let at = pool.compressors.iter().position(|(of, _)| *of == key)?;
        Some(pool.compressors.remove(at).1)
    });
    let mut compressor = pooled.unwrap_or_else(|| new_compressor(key));
    let (result, is_done) = f(&mut compressor);
    if !is_done {
        return result;
    }
    compressor.reset();
    with(|pool| {
        if pool.compressors.len() >= MAX_COMPRESSORS {
            pool.compressors.remove(0);
        }
        pool.compressors.push((key, compressor));
        Some(())
    });
    result
}

/// The ranges of [`Effort`] and of the window bits are those that zlib takes.
fn new_compressor(key: Key) -> Deflate {
    let window_bits = i32::from(key.bits);
    Deflate::new_with_config(DeflateConfig {
        level: key.effort.level.into(),
        method: Method::Deflated,
        // Negative: without a header of zlib's.
        window_bits: window_bits.saturating_neg(),
        mem_level: key.effort.mem_level.into(),
        strategy: Strategy::Default,
    })
}

/// A decompressor, which goes back to the pool of the thread that drops it.
pub(super) struct Decompressor(Option<Inflate>);

impl Decompressor {
    /// In its first state, and with `window` before it.
    pub(super) fn new(window: &[u8]) -> Self {
        let pooled = with(|pool| pool.decompressors.pop());
        let mut inflate = pooled.unwrap_or_else(|| Inflate::new(false, MAX_WINDOW_BITS));
        inflate.reset(false);
        if !window.is_empty() {
            // A raw stream takes any dictionary at any time.
            let _ = inflate.set_dictionary(window);
        }
        Self(Some(inflate))
    }

    pub(super) fn get(&mut self) -> Option<&mut Inflate> {
        self.0.as_mut()
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        let inflate = self.0.take();
        with(|pool| {
            pool.decompressors.extend(inflate);
            pool.decompressors.truncate(MAX_DECOMPRESSORS);
            Some(())
        });
    }
}

#[cfg(test)]
mod tests {
    use zlib_rs::DeflateFlush;

    use super::*;

    #[test]
    fn the_small_compressor_says_the_same() {
        let numbers =
            std::iter::successors(Some(1_u32), |n| Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
        let noise: Vec<u8> = numbers.map(|n| n.to_be_bytes()[0]).take(SMALL + 1).collect();
        let words: Vec<u8> = noise.iter().map(|byte| b"aeinrst ,:\"{}0129"[usize::from(byte % 17)]).collect();
        for (level, bits, mem_level) in (1..=9).flat_map(|level| [(level, 15, 8), (level, 15, 9), (level, 12, 3)]) {
            let key = Key { effort: Effort { level, mem_level }, bits };
            for message in [&noise, &words] {
                for len in [0, 1, 1_000, SMALL - 1, SMALL, SMALL + 1] {
                    let message = &message[..len];
                    let same = compressed(key.for_message(len), message) == compressed(key, message);
                    assert!(same, "{key:?}: {len} bytes");
                }
            }
        }
        let default = Key { effort: Effort { level: 2, mem_level: 8 }, bits: 15 };
        assert_ne!(default.for_message(SMALL - 1), default);
        assert_eq!(default.for_message(SMALL), default);
    }

    fn compressed(key: Key, message: &[u8]) -> Vec<u8> {
        let mut output = vec![0; 2 * SMALL];
        let mut compressor = new_compressor(key);
        compressor.compress(message, &mut output, DeflateFlush::SyncFlush).unwrap();
        output.truncate(usize::try_from(compressor.total_out()).unwrap());
        output
    }
}
