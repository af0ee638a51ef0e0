use super::{Header, HeaderError};

/// A header that the end of the input may cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct HeaderReader {
    cut: [u8; Header::MAX_LEN],
    cut_len: u8,
}

impl HeaderReader {
    /// Whether something of a header has come.
    #[inline]
    pub(crate) fn has_begun(&self) -> bool {
        self.cut_len > 0
    }

    /// Returns how much of `input` was used, and the header once it is whole.
    #[inline]
    pub(crate) fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Header>), HeaderError> {
        let before = usize::from(self.cut_len);
        if before == 0
            && let Some((header, used)) = Header::decode(input)?
        {
            return Ok((used, Some(header)));
        }
        for (slot, byte) in self.cut.iter_mut().skip(before).zip(input) {
            *slot = *byte;
            self.cut_len = self.cut_len.saturating_add(1);
        }
        match Header::decode(self.cut.get(..usize::from(self.cut_len)).unwrap_or_default())? {
            Some((header, used)) => Ok((used.saturating_sub(before), Some(header))),
            None => Ok((input.len(), None)),
        }
    }
}
