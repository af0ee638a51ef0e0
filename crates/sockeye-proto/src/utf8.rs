//! UTF-8 checked as it arrives: a bad byte is found when it comes, not when its message ends.

/// Validates a byte stream piece by piece, keeping only the up to three bytes of a code point cut by a piece's end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Utf8Stream {
    cut: [u8; 4],
    cut_len: u8,
}

/// The stream is not, and can no longer become, UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidUtf8;

impl Utf8Stream {
    /// Takes the next piece.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let mut rest = piece;
        while self.cut_len > 0 {
            let Some((&byte, after)) = rest.split_first() else { return Ok(()) };
            rest = after;
            self.extend_cut(byte)?;
        }
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
            Err(error) => rest.iter().skip(error.valid_up_to()).try_for_each(|&byte| self.push_cut(byte)),
        }
    }

    /// Whether the stream may end here: not inside a code point.
    pub(crate) fn is_complete(&self) -> bool {
        self.cut_len == 0
    }

    /// Adds a byte to the cut code point and forgets it once it is whole.
    fn extend_cut(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        self.push_cut(byte)?;
        match std::str::from_utf8(self.cut.get(..usize::from(self.cut_len)).unwrap_or_default()) {
            Ok(_) => {
                self.cut_len = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
            Err(_) => Ok(()),
        }
    }

    fn push_cut(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let slot = self.cut.get_mut(usize::from(self.cut_len)).ok_or(InvalidUtf8)?;
        *slot = byte;
        self.cut_len = self.cut_len.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether the bytes are UTF-8, judged at every byte: the index of the first byte after which it is hopeless.
    fn fails_at(bytes: &[u8]) -> Option<usize> {
        (1..=bytes.len()).find(|&n| std::str::from_utf8(&bytes[..n]).is_err_and(|e| e.error_len().is_some()))
    }

    #[test]
    fn overlongs_surrogates_and_too_large_fail_at_their_first_bad_byte() {
        for (bytes, at) in [
            (&b"\xc0"[..], 1), // overlong forms have no valid first byte
            (b"\xe0\x80", 2),
            (b"\xf0\x80", 2),
            (b"\xed\xa0", 2), // surrogates
            (b"\xf4\x90", 2), // above U+10FFFF
            (b"\xf5", 1),
            (b"\xff", 1),
            (b"a\x80", 2),
        ] {
            let mut stream = Utf8Stream::default();
            let failed = bytes.iter().position(|&b| stream.feed(&[b]).is_err()).map(|i| i + 1);
            assert_eq!(failed, Some(at), "{bytes:x?}");
        }
    }

    fn nearly_utf8() -> impl Strategy<Value = Vec<u8>> {
        (any::<String>(), any::<Vec<u8>>(), any::<prop::sample::Index>(), any::<bool>()).prop_map(
            |(text, noise, at, clean)| {
                let mut bytes = text.into_bytes();
                if !clean {
                    let at = at.index(bytes.len() + 1);
                    bytes.splice(at..at, noise.into_iter().take(3));
                }
                bytes
            },
        )
    }

    proptest! {
        #[test]
        fn any_split_agrees_with_std(bytes in nearly_utf8(), cuts: Vec<prop::sample::Index>) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let mut stream = Utf8Stream::default();
            for piece in at.windows(2) {
                let result = stream.feed(&bytes[piece[0]..piece[1]]);
                prop_assert_eq!(result.is_err(), fails_at(&bytes[..piece[1]]).is_some());
                if result.is_err() {
                    return Ok(());
                }
            }
            prop_assert_eq!(stream.is_complete(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
