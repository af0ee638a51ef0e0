/// The 32-bit masking key of a frame sent by a client (RFC 6455 section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaskKey(pub [u8; 4]);

impl MaskKey {
    /// XORs `payload` with the key, which both masks and unmasks. `offset` is the position of `payload[0]` in its
    /// frame, so a payload may be treated in pieces.
    ///
    /// Plain safe code in blocks of 32 bytes, which the compiler turns into vector instructions; nothing written by hand
    /// was measurably faster.
    ///
    /// ```
    /// use sockeye_proto::frame::MaskKey;
    /// let mut payload = *b"\x7f\x9f\x4d\x51\x58";
    /// MaskKey([0x37, 0xfa, 0x21, 0x3d]).apply(&mut payload, 0);
    /// assert_eq!(&payload, b"Hello");
    /// ```
    pub fn apply(self, payload: &mut [u8], offset: u64) {
        let key = self.at(offset);
        let wide = u32::from_ne_bytes(key);
        let (blocks, rest) = payload.as_chunks_mut::<32>();
        for block in blocks {
            xor_words(block, wide);
        }
        let tail = xor_words(rest, wide);
        for (byte, key) in tail.iter_mut().zip(key) {
            *byte ^= key;
        }
    }

    /// The key turned so that its first byte belongs to the payload byte at `offset`.
    fn at(self, offset: u64) -> [u8; 4] {
        let byte = u32::from(offset.to_le_bytes()[0] & 3);
        u32::from_le_bytes(self.0).rotate_right(byte.wrapping_mul(8)).to_le_bytes()
    }
}

/// XORs whole words and returns the bytes after the last one.
#[inline]
fn xor_words(bytes: &mut [u8], key: u32) -> &mut [u8] {
    let (words, tail) = bytes.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 6455 section 5.3: transformed-octet-i = original-octet-i XOR masking-key-octet-(i MOD 4).
    fn by_the_rfc(key: [u8; 4], payload: &mut [u8]) {
        for (i, octet) in payload.iter_mut().enumerate() {
            *octet ^= key[i % 4];
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_what_the_rfc_says(key: [u8; 4], payload: Vec<u8>, cuts: Vec<prop::sample::Index>) {
            let mut expected = payload.clone();
            by_the_rfc(key, &mut expected);
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
            at.extend([0, payload.len()]);
            at.sort_unstable();
            let mut got = payload;
            for piece in at.windows(2) {
                MaskKey(key).apply(&mut got[piece[0]..piece[1]], piece[0] as u64);
            }
            prop_assert_eq!(got, expected);
        }
    }
}
