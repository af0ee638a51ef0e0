//! What is queued for the wire, as few pieces of memory: small frames are copied together, large payloads stay shared.
mod spare;

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

use crate::{
    Prepared,
    append::append,
    deflate::{Deflater, Parts},
    frame::{EncodedHeader, Header, MaskKey, OpCode, Rsv},
};

/// From this size on a payload is queued as it is, shared with whoever else has it. Below, copying it costs less than one
/// more piece in the system call that writes.
pub(crate) const SHARE_MIN: usize = 8 * 1024;
/// A piece of copied frames grows no longer than this, so that a pong never waits for more.
const PIECE_MAX: usize = 16 * 1024;
/// The first allocation for copied frames: room for several small ones, and within the fast path of allocators. The
/// second is [`PIECE_MAX`].
const PIECE_MIN: usize = 1024;

/// The queue. It owns no memory while empty.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// What leaves first. Empty as long as only small messages are sent.
    pieces: VecDeque<Piece>,
    /// What leaves last: small frames, whole, one after the other.
    tail: Vec<u8>,
    /// Bytes of the first piece (or of the tail, if there is none) that have left.
    front_sent: usize,
    /// Bytes that have not left.
    len: usize,
    /// Only if both ends agreed upon permessage-deflate.
    deflater: Option<Deflater>,
}

/// Never ends inside a frame, so another frame may stand between any two.
#[derive(Debug)]
enum Piece {
    Copied(Vec<u8>),
    Shared {
        header: EncodedHeader,
        payload: Bytes,
    },
    /// A ping or pong that overtook others.
    Urgent {
        opcode: OpCode,
        frame: Vec<u8>,
    },
}

impl Piece {
    fn parts(&self) -> [&[u8]; 2] {
        match self {
            Self::Copied(frames) => [frames, &[]],
            Self::Shared { header, payload } => [header.as_slice(), payload],
            Self::Urgent { frame, .. } => [frame, &[]],
        }
    }

    fn len(&self) -> usize {
        let [first, second] = self.parts();
        first.len().saturating_add(second.len())
    }
}

/// One frame: a whole message, a part of one, or a control frame.
pub(crate) struct OutFrame {
    pub(crate) fin: bool,
    pub(crate) opcode: OpCode,
    pub(crate) payload: Bytes,
    pub(crate) mask: Option<MaskKey>,
}

impl OutFrame {
    #[inline]
    fn header(&self, rsv: Rsv) -> EncodedHeader {
        let len = self.payload.len() as u64;
        Header { fin: self.fin, rsv, opcode: self.opcode, mask: self.mask, len }.encode()
    }

    /// Copies the payload behind the header and masks the copy: the payload may be shared with others.
    #[inline]
    fn copy_to(&self, header: &EncodedHeader, out: &mut Vec<u8>) {
        out.extend_from_slice(header.as_slice());
        let start = out.len();
        append(out, &self.payload);
        if let (Some(mask), Some(copy)) = (self.mask, out.get_mut(start..)) {
            mask.apply(copy, 0);
        }
    }
}

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// From now on messages are compressed where it pays.
    pub(crate) fn set_deflater(&mut self, deflater: Option<Deflater>) {
        self.deflater = deflater;
    }

    /// A frame that is a whole message, compressed if that was agreed upon.
    #[inline]
    pub(crate) fn push_message(&mut self, mut frame: OutFrame) {
        let mut rsv = Rsv::NONE;
        if let Some(compressed) = self.deflater.as_mut().and_then(|deflater| deflater.deflate(&frame.payload)) {
            (rsv, frame.payload) = (Rsv::COMPRESSED, compressed);
        }
        let header = frame.header(rsv);
        self.push_encoded(&header, frame);
    }

    /// [`push_message`](Self::push_message) for a message that may have been encoded before; `frame` has it as it is.
    #[inline]
    pub(crate) fn push_prepared(&mut self, prepared: &Prepared, mut frame: OutFrame) {
        if let (Some(deflater), Some(forms)) = (&mut self.deflater, prepared.forms())
            && let Some(compressed) = deflater.deflate_shared(&frame.payload, forms)
        {
            frame.payload = compressed.clone();
            let header = frame.header(Rsv::COMPRESSED);
            return self.push_encoded(&header, frame);
        }
        let header = if frame.mask.is_none() { *prepared.header() } else { frame.header(Rsv::NONE) };
        self.push_encoded(&header, frame);
    }

    /// What [`push_prepared`](Self::push_prepared) would queue for a server's connection, if it would queue nothing else and
    /// that is at hand in one piece.
    #[inline]
    pub(crate) fn alone<'a>(&self, prepared: &'a Prepared) -> Option<&'a [u8]> {
        let is_plain = self.deflater.is_none() || prepared.forms().is_none();
        prepared.frame().filter(|_| is_plain && self.is_empty()).map(|frame| &**frame)
    }

    /// What the parts of a message that is sent in parts have in common, if it is to be compressed.
    pub(crate) fn begin_parts(&self) -> Option<Parts> {
        self.deflater.as_ref().map(Deflater::begin_parts)
    }

    /// A frame that is a part of a message.
    pub(crate) fn push_part(&mut self, mut frame: OutFrame, parts: Option<&mut Parts>) {
        let mut rsv = Rsv::NONE;
        if let (Some(deflater), Some(parts)) = (&mut self.deflater, parts) {
            frame.payload = deflater.deflate_part(parts, &frame.payload, frame.fin);
            // Only the first frame of a message says that it is compressed (RFC 7692 section 6.1).
            if frame.opcode != OpCode::Continuation {
                rsv = Rsv::COMPRESSED;
            }
        }
        let header = frame.header(rsv);
        self.push_encoded(&header, frame);
    }

    /// A frame as it is: a control frame.
    #[inline]
    pub(crate) fn push(&mut self, frame: OutFrame) {
        let header = frame.header(Rsv::NONE);
        self.push_encoded(&header, frame);
    }

    #[inline]
    fn push_encoded(&mut self, header: &EncodedHeader, frame: OutFrame) {
        let len = header.as_slice().len().saturating_add(frame.payload.len());
        self.len = self.len.saturating_add(len);
        if len >= SHARE_MIN && frame.mask.is_none() {
            self.seal_tail();
            self.pieces.push_back(Piece::Shared { header: *header, payload: frame.payload });
            return;
        }
        if self.tail.len().saturating_add(len) > PIECE_MAX {
            self.seal_tail();
        }
        spare::make_room(&mut self.tail, len);
        frame.copy_to(header, &mut self.tail);
    }

    /// Puts a ping or pong before all that has not begun to leave. One that still waits there is replaced: an endpoint
    /// "MAY elect to send a Pong frame for only the most recently processed Ping frame" (RFC 6455 section 5.5.3), so a
    /// peer that pings and does not read makes this queue no longer.
    pub(crate) fn push_urgent(&mut self, frame: &OutFrame) {
        if self.pieces.is_empty() && self.front_sent > 0 {
            self.seal_tail();
        }
        let mut bytes = Vec::new();
        frame.copy_to(&frame.header(Rsv::NONE), &mut bytes);
        self.len = self.len.saturating_add(bytes.len());
        let mut at = usize::from(self.front_sent > 0);
        while let Some(Piece::Urgent { opcode, frame: waiting }) = self.pieces.get_mut(at) {
            if *opcode == frame.opcode {
                self.len = self.len.saturating_sub(waiting.len());
                *waiting = bytes;
                return;
            }
            at = at.saturating_add(1);
        }
        self.pieces.insert(at.min(self.pieces.len()), Piece::Urgent { opcode: frame.opcode, frame: bytes });
    }

    /// Drops everything; a frame that has begun to leave stays torn.
    pub(crate) fn clear(&mut self) {
        *self = Self { deflater: self.deflater.take(), ..Self::default() };
    }

    /// The first bytes to leave.
    pub(crate) fn chunk(&self) -> &[u8] {
        self.whole().or_else(|| self.unsent().next()).unwrap_or_default()
    }

    /// All that is to leave, if it is one piece.
    #[inline]
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        if self.pieces.is_empty() { self.tail.as_slice().get(self.front_sent..) } else { None }
    }

    /// As many bytes to leave as fit `slices`.
    pub(crate) fn chunks<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        if let (Some(whole), [first, ..]) = (self.whole().filter(|whole| !whole.is_empty()), &mut *slices) {
            *first = IoSlice::new(whole);
            return 1;
        }
        let mut count: usize = 0;
        for (slot, part) in slices.iter_mut().zip(self.unsent()) {
            *slot = IoSlice::new(part);
            count = count.saturating_add(1);
        }
        count
    }

    /// Takes note that `count` bytes have left.
    pub(crate) fn advance(&mut self, count: usize) {
        self.len = self.len.saturating_sub(count);
        self.front_sent = self.front_sent.saturating_add(count);
        while let Some(len) = self.pieces.front().map(Piece::len).filter(|&len| len <= self.front_sent) {
            self.front_sent = self.front_sent.saturating_sub(len);
            self.pieces.pop_front();
        }
        if self.len == 0 {
            self.release();
        }
    }

    /// An empty queue owns no memory: its own goes to the thread's next queue, or else to the allocator. Not when its
    /// connection waits for input, since not everybody who writes to one waits for it afterwards.
    fn release(&mut self) {
        spare::keep(std::mem::take(&mut self.tail));
        self.pieces = VecDeque::new();
        self.front_sent = 0;
    }

    fn unsent(&self) -> impl Iterator<Item = &[u8]> {
        let mut skip = self.front_sent;
        let parts = self.pieces.iter().flat_map(Piece::parts).chain(std::iter::once(self.tail.as_slice()));
        parts
            .map(move |part| {
                let (_, unsent) = part.split_at(skip.min(part.len()));
                skip = skip.saturating_sub(part.len());
                unsent
            })
            .filter(|unsent| !unsent.is_empty())
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            let mut piece = std::mem::take(&mut self.tail);
            // It may wait long, so it keeps no room for what will not come; a little of it is not worth a copy.
            if piece.capacity() > PIECE_MIN && piece.len() < piece.capacity() / 2 {
                piece.shrink_to_fit();
            }
            self.pieces.push_back(Piece::Copied(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: OpCode, payload: &'static str) -> OutFrame {
        OutFrame { fin: true, opcode, payload: Bytes::from(payload), mask: None }
    }

    /// Takes what is queued in steps of `step` bytes.
    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = outbox.chunks(&mut slices);
            let all: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
            assert_eq!(outbox.chunk(), &*slices[0]);
            let taken = step.min(all.len());
            wire.extend_from_slice(&all[..taken]);
            outbox.advance(taken);
        }
        wire
    }

    #[test]
    fn any_step_gives_the_same_bytes() {
        for step in 1..20 {
            let mut outbox = Outbox::default();
            for payload in ["Hello", "", "you"] {
                outbox.push(frame(OpCode::Text, payload));
            }
            assert_eq!(outbox.len(), 14);
            assert_eq!(drain(&mut outbox, step), b"\x81\x05Hello\x81\x00\x81\x03you");
            assert_eq!(outbox.len(), 0);
        }
    }

    #[test]
    fn large_payloads_are_shared_and_keep_their_place() {
        let payload = Bytes::from(vec![b'x'; SHARE_MIN]);
        for step in [1, 7, 5_000, 100_000] {
            let mut outbox = Outbox::default();
            outbox.push(frame(OpCode::Text, "before"));
            outbox.push(OutFrame { fin: true, opcode: OpCode::Binary, payload: payload.clone(), mask: None });
            outbox.push(frame(OpCode::Text, "after"));
            let mut slices = [IoSlice::new(&[]); 4];
            assert_eq!(outbox.chunks(&mut slices), 4);
            assert_eq!(slices[2].as_ptr(), payload.as_ptr(), "not copied");
            let mut expected = b"\x81\x06before\x82\x7e\x20\x00".to_vec();
            expected.extend_from_slice(&payload);
            expected.extend_from_slice(b"\x81\x05after");
            assert_eq!(drain(&mut outbox, step), expected);
        }
    }

    #[test]
    fn a_pong_waits_for_what_has_begun_and_for_nothing_else_and_the_newest_wins() {
        let mut outbox = Outbox::default();
        outbox.push(frame(OpCode::Text, "begun"));
        outbox.advance(1);
        outbox.push_urgent(&frame(OpCode::Pong, "old"));
        outbox.push(frame(OpCode::Text, "next"));
        outbox.push_urgent(&frame(OpCode::Ping, "ours"));
        outbox.push_urgent(&frame(OpCode::Pong, "new"));
        assert_eq!(drain(&mut outbox, 7), b"\x05begun\x8a\x03new\x89\x04ours\x81\x04next");
    }

    #[test]
    fn pongs_nobody_reads_do_not_add_up() {
        let mut outbox = Outbox::default();
        outbox.push(frame(OpCode::Text, "begun"));
        outbox.advance(1);
        for _ in 0..1_000 {
            outbox.push_urgent(&frame(OpCode::Pong, "again"));
        }
        assert_eq!(outbox.len(), 6 + 7);
    }

    fn prepared(payload: &'static str) -> (Prepared, OutFrame) {
        (Prepared::new(crate::Message::from(payload)), frame(OpCode::Text, payload))
    }

    fn push(outbox: &mut Outbox, payload: &'static str) {
        let (prepared, frame) = prepared(payload);
        outbox.push_prepared(&prepared, frame);
    }

    #[test]
    fn what_many_get_is_not_even_queued_where_it_is_alone() {
        let mut outbox = Outbox::default();
        let (shared, _) = prepared("to all");
        assert_eq!(outbox.alone(&shared), Some(&b"\x81\x06to all"[..]));
        assert_eq!(
            shared.message().as_bytes().as_ptr(),
            outbox.alone(&shared).unwrap()[2..].as_ptr(),
            "in memory once"
        );
        push(&mut outbox, "first");
        assert_eq!(outbox.alone(&shared), None, "it has to wait");
        push(&mut outbox, "second");
        assert_eq!(outbox.whole(), Some(&b"\x81\x05first\x81\x06second"[..]), "they leave in one write");
    }

    #[test]
    fn others_come_before_and_behind_a_frame_that_has_begun_to_leave() {
        for begun in 0..8 {
            for step in 1..12 {
                let mut outbox = Outbox::default();
                push(&mut outbox, "shared");
                let mut wire = outbox.chunk()[..begun].to_vec();
                outbox.advance(begun);
                outbox.push_urgent(&frame(OpCode::Pong, "pong"));
                push(&mut outbox, "again");
                outbox.push(frame(OpCode::Close, ""));
                assert_eq!(outbox.len(), 8 - begun + 6 + 7 + 2);
                wire.extend(drain(&mut outbox, step));
                let expected: &[u8] = if begun == 0 {
                    b"\x8a\x04pong\x81\x06shared\x81\x05again\x88\x00"
                } else {
                    b"\x81\x06shared\x8a\x04pong\x81\x05again\x88\x00"
                };
                assert_eq!(wire, expected, "{begun} {step}");
            }
        }
    }

    #[test]
    fn a_client_masks_what_is_prepared() {
        let mut outbox = Outbox::default();
        let (prepared, frame) = prepared("masked");
        outbox.push_prepared(&prepared, OutFrame { mask: Some(MaskKey([1, 2, 3, 4])), ..frame });
        assert_eq!(outbox.chunk()[..6], [0x81, 0x86, 1, 2, 3, 4]);
    }
}
