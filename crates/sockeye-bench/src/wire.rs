//! The bytes that travel, built once before the clock starts.

/// The sample nonce of RFC 6455, section 1.3. The server cannot know that it is always the same.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What section 1.3 says must come back for `KEY`; so the load generator needs no SHA-1.
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// In the place of a length: the length follows, in 2 or in 8 bytes.
const LENGTH_16: u8 = 0x7e;
const LENGTH_64: u8 = 0x7f;

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const PING: u8 = 0x9;

/// What one message looks like in each direction.
pub(crate) struct Wire {
    /// Sent to the server for one message.
    pub(crate) request: Vec<u8>,
    /// Expected from the server for one message.
    pub(crate) reply: Vec<u8>,
    /// Whether a ping may stand between two replies.
    pub(crate) pings: bool,
}

impl Wire {
    /// WebSocket: a masked frame there, an unmasked frame back.
    pub(crate) fn websocket(opcode: u8, payload: usize) -> Self {
        let payload = self::payload(payload);
        Self { request: client_frame(opcode, &payload), reply: server_frame(opcode, &payload), pings: true }
    }

    /// No protocol: as many bytes as the WebSocket request would have, there and back.
    pub(crate) fn raw(payload: usize) -> Self {
        let request = client_frame(BINARY, &self::payload(payload));
        Self { reply: request.clone(), request, pings: false }
    }
}

/// The opening handshake of section 4.1.
pub(crate) fn handshake(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// A masked frame as a client sends it.
pub(crate) fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = client_header(opcode, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The header alone, with its mask: 6, 8 or 14 bytes.
pub(crate) fn client_header(opcode: u8, length: u64) -> Vec<u8> {
    let mut frame = header(opcode, MASKED, length);
    frame.extend(MASK);
    frame
}

fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, 0, payload.len() as u64);
    frame.extend(payload);
    frame
}

fn header(opcode: u8, masked: u8, length: u64) -> Vec<u8> {
    let mut header = vec![FIN | opcode];
    if let Ok(length @ 0..=125) = u8::try_from(length) {
        header.push(masked | length);
    } else if let Ok(length) = u16::try_from(length) {
        header.push(masked | LENGTH_16);
        header.extend(length.to_be_bytes());
    } else {
        header.push(masked | LENGTH_64);
        header.extend(length.to_be_bytes());
    }
    header
}

/// Printable and not periodic in four bytes, so that it may be text and shows a wrong mask.
fn payload(length: usize) -> Vec<u8> {
    (b'!'..=b'}').cycle().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        let sizes = |payload| {
            let wire = Wire::websocket(BINARY, payload);
            (wire.request.len() - payload, wire.reply.len() - payload)
        };
        assert_eq!(sizes(125), (6, 2));
        assert_eq!(sizes(126), (8, 4));
        assert_eq!(sizes(65_535), (8, 4));
        assert_eq!(sizes(65_536), (14, 10));
    }

    #[test]
    fn raw_has_the_bytes_of_the_request_both_ways() {
        let (raw, websocket) = (Wire::raw(128), Wire::websocket(BINARY, 128));
        assert_eq!(raw.request.len(), websocket.request.len());
        assert_eq!(raw.reply.len(), websocket.request.len());
    }

    #[test]
    fn the_masked_hello_of_section_5_7() {
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(client_frame(TEXT, b"Hello"), hello);
    }
}
