use super::{MaskKey, OpCode};

/// The three bits reserved for extensions (RFC 6455 section 5.2), as they stand in the first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rsv(u8);

impl Rsv {
    /// No bit set: what a frame has unless an extension was agreed upon.
    pub const NONE: Self = Self(0);

    /// RSV1, "Per-Message Compressed" (RFC 7692 section 6): on the first frame of a message that is compressed.
    pub const COMPRESSED: Self = Self(0x40);

    const BITS: u8 = 0x70;

    /// Whether any of the three bits is set.
    #[must_use]
    pub fn any(self) -> bool {
        self.0 != 0
    }
}

/// A frame's header: all of the frame but its payload.
///
/// `decode` refuses what no endpoint may ever send; what depends on the role, on extensions or on what came before is
/// judged by the receiver.
///
/// ```
/// use sockeye_proto::frame::{Header, OpCode};
/// let (header, used) = Header::decode(b"\x81\x05Hello").unwrap().expect("not cut short");
/// assert_eq!((header.opcode, header.len, used), (OpCode::Text, 5, 2));
/// assert_eq!(header.encode().as_slice(), b"\x81\x05");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last fragment of its message.
    pub fin: bool,
    /// The reserved bits.
    pub rsv: Rsv,
    /// What the frame is.
    pub opcode: OpCode,
    /// The key its payload is masked with; present in what clients send.
    pub mask: Option<MaskKey>,
    /// Bytes of payload; below 2^63.
    pub len: u64,
}

/// Why bytes are no frame header. Each of these is a protocol error (close code 1002).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Opcode 3–7 or 11–15.
    ReservedOpCode(u8),
    /// A 16- or 64-bit length that fits a shorter form ("the minimal number of bytes MUST be used").
    LengthNotMinimal,
    /// A 64-bit length with the most significant bit set.
    LengthTooLarge,
    /// A control frame of more than 125 bytes.
    ControlTooLong,
    /// A control frame without FIN.
    ControlFragmented,
}

impl Header {
    /// The longest a header can be: 2 bytes, a 64-bit length, a masking key.
    pub const MAX_LEN: usize = 14;

    const FIN: u8 = 0x80;
    const OPCODE: u8 = 0x0f;
    const MASK: u8 = 0x80;
    const LEN7: u8 = 0x7f;
    /// The largest payload length that stands in the second byte itself.
    const LEN7_MAX: u64 = 125;
    const LEN16: u8 = 126;
    const LEN64: u8 = 127;

    /// Reads a header from the start of `input`: the header and its length in bytes, or `None` if it is cut short.
    ///
    /// # Errors
    /// If the bytes cannot become a header: said of the opcode and the short length as soon as they are there, of a longer
    /// length once it is whole.
    #[inline]
    pub fn decode(input: &[u8]) -> Result<Option<(Self, usize)>, HeaderError> {
        let Some((&first, rest)) = input.split_first() else { return Ok(None) };
        let number = first & Self::OPCODE;
        let opcode = OpCode::from_u8(number).ok_or(HeaderError::ReservedOpCode(number))?;
        let fin = first & Self::FIN != 0;
        if opcode.is_control() && !fin {
            return Err(HeaderError::ControlFragmented);
        }
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        let short = second & Self::LEN7;
        if opcode.is_control() && u64::from(short) > Self::LEN7_MAX {
            return Err(HeaderError::ControlTooLong);
        }
        let Some((len, rest)) = Self::decode_len(short, rest)? else { return Ok(None) };
        let (mask, rest) = if second & Self::MASK == 0 {
            (None, rest)
        } else {
            let Some((&key, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
            (Some(MaskKey(key)), rest)
        };
        let header = Self { fin, rsv: Rsv(first & Rsv::BITS), opcode, mask, len };
        Ok(Some((header, input.len().saturating_sub(rest.len()))))
    }

    #[inline]
    fn decode_len(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, HeaderError> {
        match short {
            Self::LEN16 => {
                let Some((&bytes, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
                let len = u64::from(u16::from_be_bytes(bytes));
                if len <= Self::LEN7_MAX {
                    return Err(HeaderError::LengthNotMinimal);
                }
                Ok(Some((len, rest)))
            }
            Self::LEN64 => {
                let Some((&bytes, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
                let len = u64::from_be_bytes(bytes);
                if len >> 63 != 0 {
                    return Err(HeaderError::LengthTooLarge);
                }
                if u16::try_from(len).is_ok() {
                    return Err(HeaderError::LengthNotMinimal);
                }
                Ok(Some((len, rest)))
            }
            short => Ok(Some((u64::from(short), rest))),
        }
    }

    /// The header as bytes, with the length in its minimal form.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> EncodedHeader {
        let first = (if self.fin { Self::FIN } else { 0 }) | self.rsv.0 | self.opcode as u8;
        let mask_bit = if self.mask.is_some() { Self::MASK } else { 0 };
        let mut bytes = [0; Self::MAX_LEN];
        let [start, short_len, rest @ ..] = &mut bytes;
        *start = first;
        let rest = if self.len <= Self::LEN7_MAX {
            *short_len = mask_bit | self.len.to_le_bytes()[0];
            rest.as_mut_slice()
        } else if let (Ok(len), Some((slot, rest))) = (u16::try_from(self.len), rest.split_first_chunk_mut()) {
            *short_len = mask_bit | Self::LEN16;
            *slot = len.to_be_bytes();
            rest
        } else if let Some((slot, rest)) = rest.split_first_chunk_mut() {
            *short_len = mask_bit | Self::LEN64;
            *slot = self.len.to_be_bytes();
            rest
        } else {
            &mut []
        };
        let unused = match (self.mask, rest.split_first_chunk_mut()) {
            (Some(MaskKey(key)), Some((slot, rest))) => {
                *slot = key;
                rest.len()
            }
            _ => rest.len(),
        };
        EncodedHeader { bytes, len: Self::MAX_LEN.saturating_sub(unused).to_le_bytes()[0] }
    }
}

/// A header in wire form: at most [`Header::MAX_LEN`] bytes, held inline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodedHeader {
    bytes: [u8; Header::MAX_LEN],
    len: u8,
}

impl EncodedHeader {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(len: u64) -> Header {
        Header { fin: true, rsv: Rsv::NONE, opcode: OpCode::Binary, mask: None, len }
    }

    /// RFC 6455 section 5.7, the examples.
    #[test]
    fn the_examples_of_section_5_7() {
        let (hello, used) = Header::decode(b"\x81\x05Hello").unwrap().unwrap();
        assert_eq!((hello.opcode, hello.fin, hello.len, hello.mask, used), (OpCode::Text, true, 5, None, 2));
        let (masked, used) = Header::decode(b"\x81\x85\x37\xfa\x21\x3d\x7f").unwrap().unwrap();
        assert_eq!((masked.mask, used), (Some(MaskKey([0x37, 0xfa, 0x21, 0x3d])), 6));
        let (first, _) = Header::decode(b"\x01\x03Hel").unwrap().unwrap();
        assert!(!first.fin);
        assert_eq!(header(256).encode().as_slice(), b"\x82\x7e\x01\x00");
        assert_eq!(header(65_536).encode().as_slice(), b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00");
    }

    /// "The minimal number of bytes MUST be used to encode the length" (B7).
    #[test]
    fn lengths_are_minimal() {
        for input in [&b"\x82\x7e\x00\x7d"[..], b"\x82\x7f\0\0\0\0\0\0\xff\xff", b"\x82\x7f\0\0\0\0\0\0\0\x01"] {
            assert_eq!(Header::decode(input), Err(HeaderError::LengthNotMinimal));
        }
    }

    /// "The most significant bit MUST be 0" (B8).
    #[test]
    fn lengths_stay_below_2_to_the_63() {
        assert_eq!(Header::decode(b"\x82\x7f\x80\0\0\0\0\0\0\0"), Err(HeaderError::LengthTooLarge));
        let (largest, _) = Header::decode(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff").unwrap().unwrap();
        assert_eq!(largest.len, u64::MAX >> 1);
    }

    #[test]
    fn reserved_opcodes_and_bad_control_frames_have_no_header() {
        for number in (3..=7).chain(11..=15) {
            assert_eq!(Header::decode(&[0x80 | number]), Err(HeaderError::ReservedOpCode(number)));
        }
        for opcode in [8, 9, 10] {
            assert_eq!(Header::decode(&[opcode, 0]), Err(HeaderError::ControlFragmented));
            assert_eq!(Header::decode(&[0x80 | opcode, 126]), Err(HeaderError::ControlTooLong));
            assert_eq!(Header::decode(&[0x80 | opcode, 127]), Err(HeaderError::ControlTooLong));
        }
    }

    proptest! {
        #[test]
        fn decode_undoes_encode_and_never_reads_on(
            fin: bool, rsv in 0_u8..8, opcode in prop::sample::select(vec![0_u8, 1, 2]),
            mask: Option<[u8; 4]>, len in (0_u32..63, any::<u64>()).prop_map(|(bits, n)| n & ((1 << bits) - 1)),
        ) {
            let opcode = OpCode::from_u8(opcode).unwrap();
            let header = Header { fin, rsv: Rsv(rsv << 4), opcode, mask: mask.map(MaskKey), len };
            let wire = header.encode();
            let wire = wire.as_slice();
            prop_assert_eq!(Header::decode(wire), Ok(Some((header, wire.len()))));
            for cut in 0..wire.len() {
                prop_assert_eq!(Header::decode(&wire[..cut]), Ok(None));
            }
        }
    }
}
