use sockeye_proto::frame::{Header, MaskKey, OpCode, Rsv};

use crate::input::{Choices, scaled};

/// Frame headers: what is decoded encodes to the same bytes, and what the first bytes decide no further byte changes.
///
/// # Panics
/// If that does not hold.
pub fn header(data: &[u8]) {
    decoded(data);
    built(&mut Choices::new(data));
    masked(&mut Choices::new(data));
}

fn decoded(data: &[u8]) {
    let whole = Header::decode(data);
    let mut decided = false;
    for end in 0..=data.len().min(Header::MAX_LEN + 1) {
        let prefix = Header::decode(&data[..end]);
        if decided || end == data.len() {
            assert_eq!(prefix, whole, "the first {end} bytes");
        }
        if let Ok(Some((header, used))) = prefix {
            assert!(used <= end && (decided || used == end), "{used} of {end}");
            assert_eq!(header.encode().as_slice(), &data[..used]);
            assert!(!header.opcode.is_control() || (header.fin && header.len <= 125));
            assert!(i64::try_from(header.len).is_ok());
        }
        decided |= prefix != Ok(None);
    }
    assert!(decided || data.len() < Header::MAX_LEN, "a whole header is never cut short");
}

fn built(choices: &mut Choices<'_>) {
    let (first, shift) = (choices.byte(), choices.below(64));
    let mask = <[u8; 4]>::try_from(choices.take(4)).ok().map(MaskKey);
    let len = <[u8; 8]>::try_from(choices.take(8)).map_or(0, u64::from_be_bytes) >> shift;
    let Some(opcode) = OpCode::from_u8(first & 0x0f) else { return };
    let header = Header { fin: first & 0x80 != 0, rsv: Rsv::NONE, opcode, mask, len };
    let wire = header.encode();
    match Header::decode(wire.as_slice()) {
        Ok(decoded) => assert_eq!(decoded, Some((header, wire.as_slice().len()))),
        Err(error) => assert!(
            len >> 63 != 0 || (opcode.is_control() && (!header.fin || len > 125)),
            "{header:?} is refused: {error:?}"
        ),
    }
}

fn masked(choices: &mut Choices<'_>) {
    let Ok(key) = <[u8; 4]>::try_from(choices.take(4)).map(MaskKey) else { return };
    let cut = scaled(choices.byte());
    let mut payload = Vec::new();
    while !choices.is_empty() {
        payload.push(choices.byte());
    }
    let by_the_rfc: Vec<u8> = payload.iter().zip(key.0.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let cut = cut.min(payload.len());
    let (before, after) = payload.split_at_mut(cut);
    key.apply(before, 0);
    key.apply(after, before.len() as u64);
    assert_eq!(payload, by_the_rfc);
}
