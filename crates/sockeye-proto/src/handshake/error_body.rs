//! The beginning of a refusal's body, so that a user sees what the server had to say.

use bytes::Bytes;
use http::Response;

use super::fields::{BodyLength, body_length};
use super::write::has_body;

/// Collects a body until its end or until enough is kept. It never fails: what is kept is for people to read.
#[derive(Debug)]
pub(super) struct ErrorBody {
    kept: Vec<u8>,
    max: usize,
    framing: Framing,
}

/// What comes next, by RFC 9112 section 6.3 and, for chunks, section 7.1.
#[derive(Debug, Clone, Copy)]
enum Framing {
    /// All of the body has come, or all that is wanted.
    Done,
    /// No length was announced: the body ends with the connection.
    UntilEof,
    /// So many bytes.
    Length(u64),
    /// The size of a chunk: its value so far.
    ChunkSize(u64),
    /// What may follow the size, up to its LF.
    ChunkExtension(u64),
    /// Bytes of a chunk to come.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
}

impl ErrorBody {
    pub(super) fn new(response: &Response<()>, max: usize) -> Self {
        let framing = match body_length(response.headers()) {
            _ if max == 0 || !has_body(response.status()) => Framing::Done,
            Ok(BodyLength::Known(0)) => Framing::Done,
            Ok(BodyLength::Known(length)) => Framing::Length(length),
            Ok(BodyLength::Chunked) => Framing::ChunkSize(0),
            // The connection is closed afterwards, so a wrong length cannot mislead anybody.
            Ok(BodyLength::Absent) | Err(_) => Framing::UntilEof,
        };
        Self { kept: Vec::new(), max, framing }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.framing, Framing::Done)
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.kept.into()
    }

    pub(super) fn push(&mut self, mut input: &[u8]) {
        while !self.is_done() && !input.is_empty() {
            input = match self.framing {
                Framing::Done => return,
                Framing::UntilEof => self.keep(input, u64::MAX, |_| Framing::UntilEof),
                Framing::Length(left) => {
                    self.keep(input, left, |left| if left == 0 { Framing::Done } else { Framing::Length(left) })
                }
                Framing::Chunk(left) => {
                    self.keep(input, left, |left| if left == 0 { Framing::ChunkEnd } else { Framing::Chunk(left) })
                }
                Framing::ChunkSize(_) | Framing::ChunkExtension(_) | Framing::ChunkEnd => self.frame(input),
            };
        }
    }

    /// Keeps up to `left` bytes and returns the input after them.
    fn keep<'a>(&mut self, input: &'a [u8], left: u64, next: impl FnOnce(u64) -> Framing) -> &'a [u8] {
        let room = self.max.saturating_sub(self.kept.len());
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(room).min(input.len());
        let (piece, rest) = input.split_at_checked(wanted).unwrap_or((input, &[]));
        self.kept.extend_from_slice(piece);
        let taken = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.framing = if self.kept.len() >= self.max { Framing::Done } else { next(left.saturating_sub(taken)) };
        rest
    }

    /// Takes one byte between chunks.
    fn frame<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let Some((&byte, rest)) = input.split_first() else { return input };
        let digit = char::from(byte).to_digit(16).map(u64::from);
        self.framing = match (self.framing, byte, digit) {
            (Framing::ChunkSize(size), _, Some(digit)) => match size.checked_mul(16) {
                Some(size) => Framing::ChunkSize(size | digit),
                None => Framing::Done,
            },
            // The last chunk: trailers are of no interest.
            (Framing::ChunkSize(0) | Framing::ChunkExtension(0), b'\n', _) => Framing::Done,
            (Framing::ChunkSize(size) | Framing::ChunkExtension(size), b'\n', _) => Framing::Chunk(size),
            (Framing::ChunkSize(size), b'\r' | b';' | b' ' | b'\t', _) | (Framing::ChunkExtension(size), _, _) => {
                Framing::ChunkExtension(size)
            }
            (Framing::ChunkEnd, b'\r', _) => Framing::ChunkEnd,
            (Framing::ChunkEnd, b'\n', _) => Framing::ChunkSize(0),
            _ => Framing::Done,
        };
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(header: (&str, &str), input: &[u8], max: usize) -> (String, bool) {
        let response = Response::builder().status(403).header(header.0, header.1).body(()).unwrap();
        let mut whole = ErrorBody::new(&response, max);
        whole.push(input);
        let mut split = ErrorBody::new(&response, max);
        for byte in input {
            split.push(&[*byte]);
        }
        assert_eq!((&whole.kept, whole.is_done()), (&split.kept, split.is_done()));
        let done = whole.is_done();
        (String::from_utf8(whole.kept).unwrap(), done)
    }

    #[test]
    fn a_body_ends_with_its_length() {
        assert_eq!(collect(("content-length", "5"), b"hello, more", 99), ("hello".into(), true));
        assert_eq!(collect(("content-length", "0"), b"hello", 99), (String::new(), true));
        assert_eq!(collect(("content-length", "9"), b"hello", 99), ("hello".into(), false));
        assert_eq!(collect(("content-length", "18446744073709551615"), b"hello", 3), ("hel".into(), true));
    }

    #[test]
    fn a_body_in_chunks_is_joined() {
        let chunked = ("transfer-encoding", "chunked");
        assert_eq!(collect(chunked, b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", 99), ("hello".into(), true));
        assert_eq!(collect(chunked, b"00A \r\n0123456789\r\nz", 99), ("0123456789".into(), true));
        assert_eq!(collect(chunked, b"ffffffffffffffff\r\nhello", 99), ("hello".into(), false));
        assert_eq!(collect(chunked, b"11111111111111111\r\nhello", 99), (String::new(), true));
        assert_eq!(collect(chunked, b"5\r\nhello\r\n", 4), ("hell".into(), true));
    }

    #[test]
    fn a_body_without_length_ends_with_the_connection_or_the_limit() {
        assert_eq!(collect(("x", "y"), b"hello", 99), ("hello".into(), false));
        assert_eq!(collect(("x", "y"), b"hello", 5), ("hello".into(), true));
        assert_eq!(collect(("content-length", "+5"), b"hello!", 99), ("hello!".into(), false));
        assert_eq!(collect(("x", "y"), b"hello", 0), (String::new(), true));
    }
}
