//! A server's frames, in any split: pieces of messages as they come, without a copy.

use crate::Failure;
use sockeye_proto::frame::{Header, OpCode, Rsv};

/// More than any message that is asked for, so that a wrong length is no silence.
const MESSAGE_LIMIT: u64 = 256 * 1024 * 1024;
const CONTROL_LIMIT: usize = 125;

/// What a server says.
pub(crate) enum Heard<'a> {
    /// The next bytes of a message.
    Piece(Piece<'a>),
    /// A ping, which wants its payload back.
    Ping(&'a [u8]),
}

/// Bytes of a message, as many as came together.
pub(crate) struct Piece<'a> {
    pub(crate) opcode: OpCode,
    pub(crate) compressed: bool,
    /// How many bytes of the message came before.
    pub(crate) offset: usize,
    pub(crate) bytes: &'a [u8],
    /// Whether the message ends here.
    pub(crate) end: bool,
}

/// Takes frames apart.
#[derive(Default)]
pub(crate) struct Frames {
    /// The start of a header that came in parts.
    head: [u8; Header::MAX_LEN],
    head_len: usize,
    body: Option<Body>,
    message: Option<Message>,
    /// The payload of a control frame that came in parts.
    control: Vec<u8>,
}

/// A frame whose header is read.
struct Body {
    opcode: OpCode,
    fin: bool,
    left: usize,
}

/// A message that has begun.
#[derive(Clone, Copy)]
struct Message {
    opcode: OpCode,
    compressed: bool,
    offset: usize,
}

impl Frames {
    /// Whether the next byte begins a frame, and that frame a message.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.head_len == 0 && self.body.is_none() && self.message.is_none()
    }

    /// # Errors
    ///
    /// When the bytes are no frames of a server, or a Close; or when `hear` fails.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        mut hear: impl FnMut(Heard<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while !bytes.is_empty() {
            if self.body.is_none() {
                self.read_head(&mut bytes)?;
            }
            self.read_body(&mut bytes, &mut hear)?;
        }
        Ok(())
    }

    fn read_head(&mut self, bytes: &mut &[u8]) -> Result<(), Failure> {
        let rest = *bytes;
        let (header, used) = if self.head_len == 0
            && let Some(whole) = decode(rest)?
        {
            whole
        } else {
            let room = self.head.get_mut(self.head_len..).unwrap_or_default();
            let added = room.len().min(rest.len());
            for (to, from) in room.iter_mut().zip(rest) {
                *to = *from;
            }
            let before = self.head_len;
            let Some((header, used)) = decode(self.head.get(..before + added).unwrap_or_default())? else {
                self.head_len += added;
                *bytes = &[];
                return Ok(());
            };
            (header, used - before)
        };
        self.head_len = 0;
        *bytes = rest.get(used..).unwrap_or_default();
        self.begin(&header)
    }

    fn begin(&mut self, header: &Header) -> Result<(), Failure> {
        let Header { fin, rsv, opcode, mask, len } = *header;
        let compressed = rsv == Rsv::COMPRESSED;
        match (opcode, self.message) {
            _ if mask.is_some() => return Err("a masked frame, which servers never send".into()),
            _ if rsv.any() && !compressed => return Err("a frame with reserved bits".into()),
            (OpCode::Text | OpCode::Binary, None) => self.message = Some(Message { opcode, compressed, offset: 0 }),
            (OpCode::Continuation, Some(_)) | (OpCode::Close | OpCode::Ping | OpCode::Pong, _) if !compressed => {}
            _ => return Err(format!("a frame that fits nowhere: {header:?}").into()),
        }
        if len > MESSAGE_LIMIT {
            return Err(format!("a frame of {len} bytes").into());
        }
        self.body = Some(Body { opcode, fin, left: usize::try_from(len)? });
        Ok(())
    }

    fn read_body(
        &mut self,
        bytes: &mut &[u8],
        hear: &mut impl FnMut(Heard<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(body) = &mut self.body else { return Ok(()) };
        let (here, rest) = bytes.split_at(body.left.min(bytes.len()));
        *bytes = rest;
        body.left -= here.len();
        let (opcode, whole, fin) = (body.opcode, body.left == 0, body.fin);
        if whole {
            self.body = None;
        }
        if opcode.is_control() {
            return self.control(opcode, here, whole, hear);
        }
        let Some(message) = &mut self.message else { return Ok(()) };
        let Message { opcode, compressed, offset } = *message;
        let end = whole && fin;
        if end {
            self.message = None;
        } else {
            message.offset += here.len();
        }
        if here.is_empty() && !end {
            return Ok(());
        }
        hear(Heard::Piece(Piece { opcode, compressed, offset, bytes: here, end }))
    }

    fn control(
        &mut self,
        opcode: OpCode,
        here: &[u8],
        whole: bool,
        hear: &mut impl FnMut(Heard<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.control.extend(here.iter().take(CONTROL_LIMIT));
        if !whole {
            return Ok(());
        }
        let payload = std::mem::take(&mut self.control);
        match (opcode, payload.split_first_chunk::<2>()) {
            (OpCode::Ping, _) => hear(Heard::Ping(&payload)),
            (OpCode::Close, Some((code, reason))) => {
                let (code, reason) = (u16::from_be_bytes(*code), start(reason));
                Err(format!("the server closed the connection: {code} {reason}").into())
            }
            (OpCode::Close, None) => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Option<(Header, usize)>, Failure> {
    Header::decode(bytes).map_err(|error| format!("no frame: {error:?}: {}", start(bytes)).into())
}

/// Enough of bytes to see what they are, safe to show.
pub(crate) fn start(bytes: &[u8]) -> String {
    const SHOWN: usize = 160;
    let mut text = String::new();
    for char in String::from_utf8_lossy(bytes.get(..SHOWN.min(bytes.len())).unwrap_or_default()).chars() {
        if char.is_control() { text.extend(char.escape_default()) } else { text.push(char) }
    }
    if bytes.len() > SHOWN {
        text.push('…');
    }
    text
}

/// A message that has to be whole before it can be judged. One that comes in one piece is not copied.
#[derive(Default)]
pub(crate) struct Whole(Vec<u8>);

impl Whole {
    /// Hands the message to `judge` with its last piece.
    pub(crate) fn take<T>(&mut self, piece: &Piece<'_>, judge: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if piece.offset == 0 && piece.end {
            return Some(judge(piece.bytes));
        }
        self.0.extend(piece.bytes);
        piece.end.then(|| judge(&std::mem::take(&mut self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(input: &[u8], size: usize) -> Result<Vec<String>, Failure> {
        let (mut frames, mut whole, mut all) = (Frames::default(), Whole::default(), Vec::new());
        for chunk in input.chunks(size) {
            frames.take(chunk, |heard| {
                match heard {
                    Heard::Ping(payload) => all.push(format!("ping {payload:?}")),
                    Heard::Piece(piece) => {
                        let kind = if piece.compressed { "compressed " } else { "" };
                        all.extend(whole.take(&piece, |text| format!("{kind}{}", text.escape_ascii())));
                    }
                }
                Ok(())
            })?;
        }
        Ok(all)
    }

    #[test]
    fn messages_come_whole_in_any_split() {
        let long = "x".repeat(300);
        let mut input = vec![0x81, 2, b'h', b'i', 0x89, 1, 7, 0x82, 126, 1, 44];
        input.extend(long.as_bytes());
        // Nothing; in fragments, the last empty, with a ping and a pong between; compressed.
        input.extend([0x81, 0, 0x01, 1, b'a', 0x89, 0, 0x00, 1, b'b', 0x8a, 1, b'!', 0x80, 0, 0xc1, 1, b'z']);
        for size in 1..=input.len() {
            let all = heard(&input, size).unwrap();
            assert_eq!(all, ["hi", "ping [7]", &long, "", "ping []", "ab", "compressed z"], "chunks of {size}");
        }
    }

    #[test]
    fn what_no_server_may_send_is_an_error() {
        for (input, what) in [
            (&[0x88, 2, 3, 0xe8][..], "closed the connection: 1000"),
            (&[0x81, 0x80, 0, 0, 0, 0], "masked"),
            (&[0x80, 1, b'x'], "fits nowhere"),
            (&[0x01, 0, 0x81, 0], "fits nowhere"),
            (&[0xa1, 0], "reserved"),
            (&[0x83, 0], "no frame"),
            (&[0x82, 127, 0, 0, 255, 0, 0, 0, 0, 0], "a frame of"),
        ] {
            for size in 1..=input.len() {
                let error = heard(input, size).unwrap_err().to_string();
                assert!(error.contains(what), "{what}: {error}");
            }
        }
    }
}
