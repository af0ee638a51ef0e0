//! Whether what comes back is what must come back, byte for byte.

use crate::Failure;
use crate::deflate::Inflater;
use crate::frames::{Piece, Whole, start};
use crate::wire;
use serde::Deserialize;
use sockeye_proto::frame::{OpCode, Rsv};
use std::cell::RefCell;
use std::rc::Rc;

/// The message that must come.
pub(crate) struct Expected {
    opcode: OpCode,
    pub(crate) payload: Vec<u8>,
    /// The message as nearly all servers send it, in one frame.
    pub(crate) frame: Vec<u8>,
}

/// What one connection waits for, again and again.
pub(crate) enum Reply {
    /// These bytes, without frames.
    Raw { expected: Rc<Expected>, at: usize },
    /// This message, in whatever frames.
    Message(Rc<Expected>),
    /// This message, compressed or not.
    Deflated { expected: Rc<Expected>, whole: Whole, seen: Rc<RefCell<Seen>> },
    /// `{"id":1,"ok":…}`.
    Acknowledged(Whole),
}

/// The compressed form last seen, and the means to see what is in others.
pub(crate) struct Seen {
    pub(crate) inflater: Inflater,
    /// Verified. Without context takeover the same bytes are the same message again.
    pub(crate) last: Vec<u8>,
}

impl Reply {
    /// The message whose whole frame can be looked for before all else.
    pub(crate) fn known(&self) -> Option<Rc<Expected>> {
        if let Self::Message(expected) = self { Some(Rc::clone(expected)) } else { None }
    }

    /// Takes the next piece and returns how many replies it completed.
    ///
    /// # Errors
    ///
    /// When a byte is not what it must be.
    pub(crate) fn hear(&mut self, piece: &Piece<'_>) -> Result<u64, Failure> {
        match self {
            Self::Raw { expected, at } => raw(expected, at, piece.bytes),
            Self::Message(expected) => expected.hear(piece),
            Self::Deflated { expected, .. } if !piece.compressed => expected.hear(piece),
            Self::Deflated { expected, whole, seen } => {
                let mut seen = seen.borrow_mut();
                let judged = whole.take(piece, |compressed| seen.judge(expected, piece.opcode, compressed));
                judged.map_or(Ok(0), |judged| judged.map(|()| 1))
            }
            Self::Acknowledged(whole) => whole.take(piece, acknowledgements).unwrap_or(Ok(0)),
        }
    }
}

impl Expected {
    pub(crate) fn new(opcode: OpCode, payload: Vec<u8>) -> Self {
        let frame = wire::server_frame(opcode, Rsv::NONE, &payload);
        Self { opcode, payload, frame }
    }

    fn hear(&self, piece: &Piece<'_>) -> Result<u64, Failure> {
        let Piece { opcode, compressed, offset, bytes, end } = *piece;
        if opcode != self.opcode || compressed {
            return Err(format!("a {opcode:?} message came, not a {:?} one: {}", self.opcode, start(bytes)).into());
        }
        let rest = self.payload.get(offset..).unwrap_or_default();
        if !rest.starts_with(bytes) {
            let same = rest.iter().zip(bytes).take_while(|(left, right)| left == right).count();
            let seen = start(bytes.get(same..).unwrap_or_default());
            return Err(format!("wrong reply at byte {}: {seen}", offset + same).into());
        }
        if end && rest.len() != bytes.len() {
            let came = offset + bytes.len();
            return Err(format!("a reply of {came} bytes, not {}", self.payload.len()).into());
        }
        Ok(end.into())
    }
}

impl Seen {
    fn judge(&mut self, expected: &Expected, opcode: OpCode, compressed: &[u8]) -> Result<(), Failure> {
        if !self.inflater.keeps_context() && !self.last.is_empty() && compressed == self.last {
            return Ok(());
        }
        let message = self.inflater.inflate(opcode, compressed)?;
        expected.hear(&Piece { opcode, compressed: false, offset: 0, bytes: &message, end: true })?;
        self.last.clear();
        self.last.extend(compressed);
        Ok(())
    }
}

fn raw(expected: &Expected, at: &mut usize, mut bytes: &[u8]) -> Result<u64, Failure> {
    let mut replies = 0;
    while !bytes.is_empty() {
        let rest = expected.payload.get(*at..).unwrap_or_default();
        let (here, next) = bytes.split_at(rest.len().min(bytes.len()));
        if here.is_empty() || !rest.starts_with(here) {
            return Err(format!("wrong bytes at {at}: {}", start(here)).into());
        }
        *at += here.len();
        if *at == expected.payload.len() {
            *at = 0;
            replies += 1;
        }
        bytes = next;
    }
    Ok(replies)
}

#[derive(Deserialize)]
struct Answer {
    id: Option<u64>,
    ok: Option<serde::de::IgnoredAny>,
}

/// How many publications a message acknowledges; it may be an array of answers.
fn acknowledgements(text: &[u8]) -> Result<u64, Failure> {
    // As our own server writes it.
    if text.starts_with(br#"{"id":1,"ok":"#) {
        return Ok(1);
    }
    let answers = match text.first() {
        Some(b'[') => serde_json::from_slice(text),
        _ => serde_json::from_slice(text).map(|answer: Answer| vec![answer]),
    };
    match answers {
        Ok(answers) if answers.iter().all(|answer| answer.id == Some(1) && answer.ok.is_some()) => {
            Ok(answers.len() as u64)
        }
        _ => Err(format!("not published: {}", start(text)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Frames, Heard};

    fn replies(reply: &mut Reply, input: &[u8], size: usize) -> Result<u64, Failure> {
        let (mut frames, mut count) = (Frames::default(), 0);
        for chunk in input.chunks(size) {
            frames.take(chunk, |heard| {
                if let Heard::Piece(piece) = heard {
                    count += reply.hear(&piece)?;
                }
                Ok(())
            })?;
        }
        Ok(count)
    }

    fn expected(payload: &[u8]) -> Rc<Expected> {
        Rc::new(Expected::new(OpCode::Binary, payload.to_vec()))
    }

    #[test]
    fn replies_count_in_any_split() {
        let mut input = wire::server_frame(OpCode::Binary, Rsv::NONE, b"hello");
        input.extend([0x89, 3, 1, 2, 3, 0x02, 2, b'h', b'e', 0x00, 0, 0x89, 0, 0x80, 3, b'l', b'l', b'o']);
        input.extend(wire::server_frame(OpCode::Binary, Rsv::NONE, b"hello"));
        for size in 1..=input.len() {
            assert_eq!(replies(&mut Reply::Message(expected(b"hello")), &input, size).unwrap(), 3, "chunks of {size}");
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error() {
        let frame = wire::server_frame(OpCode::Binary, Rsv::NONE, b"hello");
        let whole = replies(&mut Reply::Message(expected(b"hello")), &frame, frame.len());
        assert_eq!(whole.unwrap(), 1);
        for bit in 0..frame.len() * 8 {
            let mut input = frame.clone();
            input[bit / 8] ^= 1 << (bit % 8);
            // A longer length and a missing FIN only show with what follows; one that makes it a pong, in the count.
            input.extend(&frame);
            for size in [1, input.len()] {
                let judged = replies(&mut Reply::Message(expected(b"hello")), &input, size);
                assert_ne!(judged.ok(), Some(2), "bit {bit}");
            }
        }
    }

    #[test]
    fn raw_bytes_come_in_a_circle() {
        let mut reply = Reply::Raw { expected: expected(b"abc"), at: 0 };
        let mut hear = |bytes: &[u8]| {
            reply.hear(&Piece { opcode: OpCode::Binary, compressed: false, offset: 0, bytes, end: false })
        };
        assert_eq!(hear(b"abcab").unwrap(), 1);
        assert_eq!(hear(b"cabc").unwrap(), 2);
        assert!(hear(b"abd").is_err());
    }

    #[test]
    fn only_an_ok_acknowledges() {
        for (text, count) in [
            (r#"{"id":1,"ok":{"epoch":"a","offset":1}}"#, 1),
            (r#"{"ok":{}, "id":1}"#, 1),
            (r#"[{"id":1,"ok":{}},{"id":1,"ok":{}}]"#, 2),
        ] {
            assert_eq!(acknowledgements(text.as_bytes()).unwrap(), count, "{text}");
        }
        for text in [r#"{"id":1,"error":{"code":"rate_limited"}}"#, r#"{"id":2,"ok":{}}"#, "{}", "", "[{}]"] {
            assert!(acknowledgements(text.as_bytes()).is_err(), "{text}");
        }
    }
}
