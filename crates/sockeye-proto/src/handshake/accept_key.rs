use data_encoding::BASE64;
use sha1_smol::Sha1;

/// The fixed string that both sides append to the key (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2, item 5.4).
///
/// The key goes in as it stood in the header: it is not decoded first.
///
/// ```
/// // The example of RFC 6455 section 1.3.
/// assert_eq!(sockeye_proto::handshake::accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept_key(key: &str) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(GUID);
    BASE64.encode(&sha1.digest().bytes())
}

/// Whether this is the base64 form of 16 bytes, in the one canonical spelling.
pub(super) fn is_key(text: &str) -> bool {
    let mut nonce = [0_u8; 18];
    // The decoder also takes one text after the other, each with padding of its own.
    let is_one = text.len() == 24 && text.find('=') == Some(22);
    is_one && BASE64.decode_mut(text.as_bytes(), &mut nonce).is_ok_and(|length| length == 16)
}

pub(super) fn encode_nonce(nonce: [u8; 16]) -> String {
    BASE64.encode(&nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6455_section_1_3_example() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(encode_nonce(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn a6_only_the_canonical_base64_of_16_bytes_is_a_key() {
        assert!(is_key("dGhlIHNhbXBsZSBub25jZQ=="));
        for bad in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",       // no padding
            "dGhlIHNhbXBsZSBub25jZR==",     // bits after the last byte
            "dGhlIHNhbXBsZSBub25jZQ= ",     // space for padding
            "dGhlIHNhbXBsZSBub25j",         // 15 bytes
            "dGhlIHNhbXBsZSBub25jZTEx",     // 18 bytes
            "dGhlIHNhbXBsZSBub25jZTE=",     // 17 bytes
            "dGhlIHNhbXBsZSBub25j_Q==",     // the alphabet of URLs, and spare bits
            "dGhlIHNhbXBsZSBub24=jZQ=",     // two texts, together 16 bytes: found by fuzzing
            "dGhl\r\nIHNhbXBsZSBub25jZQ==", // broken over lines
            "!!!!!!!!!!!!!!!!!!!!!!!!",
        ] {
            assert!(!is_key(bad), "{bad:?}");
        }
    }
}
