//! Copies of payloads.

/// glibc copies 2,112 bytes and more with `rep movsb`, where the processor calls that fast. Where source and destination lie
/// badly to each other, which is chance, AMD's Zen 3 and 4 need ten times as long for it: an echo of 64 KiB then costs twice.
/// Smaller pieces are copied by vectors.
const PIECE: usize = 2 * 1024;

/// A copy, of exactly the memory that it needs.
#[inline]
pub(crate) fn copied(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() <= PIECE {
        return bytes.to_vec();
    }
    let mut copy = Vec::with_capacity(bytes.len());
    append_pieces(&mut copy, bytes);
    copy
}

/// Copies `bytes` behind what is there.
#[inline]
pub(crate) fn append(to: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() <= PIECE {
        to.extend_from_slice(bytes);
    } else {
        append_pieces(to, bytes);
    }
}

/// Apart from the others, so that small payloads have nothing to do with it.
#[inline(never)]
fn append_pieces(to: &mut Vec<u8>, bytes: &[u8]) {
    to.reserve(bytes.len());
    for piece in bytes.chunks(PIECE) {
        to.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_copied_and_no_more_room_is_made_than_is_needed() {
        for len in [0, 1, PIECE, PIECE + 1, 10 * PIECE + 7] {
            let bytes: Vec<u8> = (0..=255).cycle().take(len).collect();
            let mut copy = copied(&bytes);
            assert_eq!(copy.capacity(), len);
            append(&mut copy, &bytes);
            assert_eq!(copy, [&bytes[..], &bytes].concat());
        }
    }
}
