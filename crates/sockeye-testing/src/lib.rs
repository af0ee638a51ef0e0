//! What the tests of several crates share: the wire as a peer writes and reads it by hand, and dice that fall the same way.
//!
//! It knows none of our crates, so that their encoder is never its own judge.
#![forbid(unsafe_code)]
#![allow(clippy::missing_panics_doc, reason = "a test that cannot go on fails")]

use tokio::io::{AsyncRead, AsyncReadExt};

/// Opcode of a frame that continues a message (RFC 6455 section 5.2).
pub const CONTINUATION: u8 = 0;
/// Opcode of a text message.
pub const TEXT: u8 = 1;
/// Opcode of a binary message.
pub const BINARY: u8 = 2;
/// Opcode of Close.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;
/// Opcode of a pong.
pub const PONG: u8 = 10;
/// To be added to an opcode.
pub const FIN: u8 = 0x80;

/// 1,024 bytes.
pub const KIB: usize = 1024;
/// 1,048,576 bytes.
pub const MIB: usize = 1024 * KIB;

/// The masking key of the examples in RFC 6455 section 5.7.
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A proper opening handshake.
pub const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A frame as a client sends it. `first` is the first byte: FIN, reserved bits, opcode.
#[must_use]
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_with_key(Some(KEY), first, payload)
}

/// A frame as a server sends it.
#[must_use]
pub fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_with_key(None, first, payload)
}

/// A frame with this masking key, or none.
#[must_use]
pub fn frame_with_key(key: Option<[u8; 4]>, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header_with_key(key, first, payload.len() as u64);
    frame.extend(payload.iter().zip(key.unwrap_or_default().iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The header of a frame alone, its length in minimal form.
#[must_use]
pub fn header_with_key(key: Option<[u8; 4]>, first: u8, len: u64) -> Vec<u8> {
    let mut header = head(first, if key.is_some() { 0x80 } else { 0 }, len);
    header.extend(key.into_iter().flatten());
    header
}

/// The start of a header, up to the masking key.
#[must_use]
pub fn head(first: u8, mask_bit: u8, len: u64) -> Vec<u8> {
    let mut head = vec![first];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ ..=125), _) => head.push(mask_bit | len),
        (_, Ok(len)) => {
            head.push(mask_bit | 0x7e);
            head.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            head.push(mask_bit | 0x7f);
            head.extend_from_slice(&len.to_be_bytes());
        }
    }
    head
}

/// The payload of a Close frame.
pub fn close_payload(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_ref()].concat()
}

/// The first byte and the unmasked payload of the next frame; `None` at the end.
pub async fn read_frame(io: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let first = io.read_u8().await.ok()?;
    let second = io.read_u8().await.expect("a whole header");
    let len = match second & 0x7f {
        126 => u64::from(io.read_u16().await.expect("a whole header")),
        127 => io.read_u64().await.expect("a whole header"),
        len => u64::from(len),
    };
    let mut key = [0; 4];
    if second & 0x80 != 0 {
        io.read_exact(&mut key).await.expect("a whole header");
    }
    let mut payload = vec![0; usize::try_from(len).expect("a length that fits")];
    io.read_exact(&mut payload).await.expect("a whole payload");
    payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Some((first, payload))
}

/// Everything up to the empty line.
pub async fn read_head(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(head).expect("a head is text")
}

/// Dice that fall the same way each time (xorshift).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as this seed says.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 6455 section 5.7.
    #[test]
    fn frames_are_those_of_the_rfc() {
        assert_eq!(plain(FIN | TEXT, b"Hello"), b"\x81\x05Hello");
        assert_eq!(masked(FIN | TEXT, b"Hello"), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        assert_eq!(plain(FIN | BINARY, &[0; 256])[..4], [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(plain(FIN | BINARY, &vec![0; 65_536])[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(head(TEXT, 0, 125), [1, 125]);
        assert_eq!(head(TEXT, 0x80, 65_535), [1, 0xfe, 0xff, 0xff]);
    }
}
