//! What is queued for the wire: frames as header and shared payload, so that one vectored write takes many.
use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

use crate::frame::{EncodedHeader, OpCode};

/// A frame in wire form, masked already if it must be.
#[derive(Debug)]
pub(crate) struct OutFrame {
    pub(crate) opcode: OpCode,
    pub(crate) header: EncodedHeader,
    pub(crate) payload: Bytes,
}

impl OutFrame {
    fn len(&self) -> usize {
        self.header.as_slice().len().saturating_add(self.payload.len())
    }

    /// Header and payload from `skip` bytes on.
    fn parts(&self, skip: usize) -> [&[u8]; 2] {
        let header = self.header.as_slice();
        match header.get(skip..) {
            Some(header) => [header, &self.payload],
            None => [&[], self.payload.get(skip.saturating_sub(header.len())..).unwrap_or_default()],
        }
    }
}

/// The queue. It owns no memory while empty.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    frames: VecDeque<OutFrame>,
    /// Bytes of the first frame that have left.
    front_sent: usize,
    /// Bytes that have not left.
    len: usize,
}

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, frame: OutFrame) {
        self.len = self.len.saturating_add(frame.len());
        self.frames.push_back(frame);
    }

    /// Puts a ping or pong before all that has not begun to leave. One that still waits there is replaced: an endpoint
    /// "MAY elect to send a Pong frame for only the most recently processed Ping frame" (RFC 6455 section 5.5.3), so a
    /// peer that pings and does not read makes this queue no longer.
    pub(crate) fn push_urgent(&mut self, frame: OutFrame) {
        let mut at = usize::from(self.front_sent > 0);
        while let Some(waiting) = self.frames.get_mut(at) {
            if waiting.opcode == frame.opcode {
                self.len = self.len.saturating_sub(waiting.len()).saturating_add(frame.len());
                *waiting = frame;
                return;
            }
            if !matches!(waiting.opcode, OpCode::Ping | OpCode::Pong) {
                break;
            }
            at = at.saturating_add(1);
        }
        self.len = self.len.saturating_add(frame.len());
        self.frames.insert(at, frame);
    }

    /// Drops everything; a frame that has begun to leave stays torn.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether [`Self::release`] would free anything.
    pub(crate) fn owns_memory(&self) -> bool {
        self.frames.capacity() > 0
    }

    /// Gives the queue's own memory back if it is empty.
    pub(crate) fn release(&mut self) {
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
    }

    /// The first bytes to leave.
    pub(crate) fn chunk(&self) -> &[u8] {
        let Some(front) = self.frames.front() else { return &[] };
        let [header, payload] = front.parts(self.front_sent);
        if header.is_empty() { payload } else { header }
    }

    /// As many bytes to leave as fit `slices`.
    pub(crate) fn chunks<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let skips = std::iter::once(self.front_sent).chain(std::iter::repeat(0));
        let parts = self.frames.iter().zip(skips).flat_map(|(frame, skip)| frame.parts(skip));
        let mut count: usize = 0;
        for (slot, part) in slices.iter_mut().zip(parts.filter(|part| !part.is_empty())) {
            *slot = IoSlice::new(part);
            count = count.saturating_add(1);
        }
        count
    }

    /// Takes note that `count` bytes have left.
    pub(crate) fn advance(&mut self, count: usize) {
        self.len = self.len.saturating_sub(count);
        self.front_sent = self.front_sent.saturating_add(count);
        while let Some(len) = self.frames.front().map(OutFrame::len).filter(|&len| len <= self.front_sent) {
            self.front_sent = self.front_sent.saturating_sub(len);
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Header, Rsv};

    fn frame(opcode: OpCode, payload: &'static str) -> OutFrame {
        let header = Header { fin: true, rsv: Rsv::NONE, opcode, mask: None, len: payload.len() as u64 };
        OutFrame { opcode, header: header.encode(), payload: Bytes::from(payload) }
    }

    /// Takes what is queued in steps of `step` bytes.
    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = outbox.chunks(&mut slices);
            let all: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
            assert!(all.starts_with(outbox.chunk()) && !outbox.chunk().is_empty());
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
    fn a_pong_waits_for_the_frame_begun_and_for_no_other_and_the_newest_wins() {
        let mut outbox = Outbox::default();
        outbox.push(frame(OpCode::Text, "begun"));
        outbox.push(frame(OpCode::Text, "next"));
        outbox.advance(1);
        outbox.push_urgent(frame(OpCode::Pong, "old"));
        outbox.push_urgent(frame(OpCode::Ping, "ours"));
        outbox.push_urgent(frame(OpCode::Pong, "new"));
        assert_eq!(drain(&mut outbox, 7), b"\x05begun\x8a\x03new\x89\x04ours\x81\x04next");
    }
}
