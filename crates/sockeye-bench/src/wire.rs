//! The bytes that travel, built and masked before the clock starts.

use sockeye_proto::frame::{Header, MaskKey, OpCode, Rsv};
use std::fmt::Write;

/// Of the frame in RFC 6455, section 5.7. A server cannot know that it is always the same.
pub(crate) const MASK: MaskKey = MaskKey([0x37, 0xfa, 0x21, 0x3d]);

/// A masked frame as a client sends it.
pub(crate) fn client_frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut frame = client_header(opcode, payload.len() as u64);
    let start = frame.len();
    frame.extend(payload);
    MASK.apply(frame.get_mut(start..).unwrap_or_default(), 0);
    frame
}

/// The header alone, with its mask: 6, 8 or 14 bytes.
pub(crate) fn client_header(opcode: OpCode, len: u64) -> Vec<u8> {
    Header { fin: true, rsv: Rsv::NONE, opcode, mask: Some(MASK), len }.encode().as_slice().to_vec()
}

/// An unmasked frame as a server sends it.
pub(crate) fn server_frame(opcode: OpCode, rsv: Rsv, payload: &[u8]) -> Vec<u8> {
    let header = Header { fin: true, rsv, opcode, mask: None, len: payload.len() as u64 };
    [header.encode().as_slice(), payload].concat()
}

/// Printable and not periodic in four bytes, so that it may be text and shows a wrong mask.
pub(crate) fn payload(length: usize) -> Vec<u8> {
    (b'!'..=b'}').cycle().take(length).collect()
}

/// What a compressor meets in practice: records with the same names and other values, always the same ones.
pub(crate) fn records(length: usize) -> Vec<u8> {
    let mut text = String::with_capacity(length + 128);
    let mut state = 0x2545_f491_u32;
    let mut dice = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    while text.len() < length {
        let (id, price, volume, at) = (dice(), dice() % 100_000, dice() % 1_000, dice());
        // A string takes all that is written to it.
        let _ = write!(text, r#"{{"id":"{id:08x}","price":{price},"volume":{volume},"side":"buy","at":{at}}},"#);
    }
    text.truncate(length);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        let sizes = |length| {
            let payload = payload(length);
            let there = client_frame(OpCode::Binary, &payload).len() - length;
            (there, server_frame(OpCode::Binary, Rsv::NONE, &payload).len() - length)
        };
        assert_eq!(sizes(125), (6, 2));
        assert_eq!(sizes(126), (8, 4));
        assert_eq!(sizes(65_535), (8, 4));
        assert_eq!(sizes(65_536), (14, 10));
    }

    #[test]
    fn the_masked_hello_of_section_5_7() {
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(client_frame(OpCode::Text, b"Hello"), hello);
    }

    #[test]
    fn records_are_as_long_as_asked_and_always_the_same() {
        for length in [0, 1, 100, 5_000] {
            assert_eq!(records(length).len(), length);
        }
        assert_eq!(records(300), records(300));
    }
}
