//! The API over HTTP/1.1, after the head of a request.
//!
//! One parser reads all heads of a connection, the strict one that a WebSocket and a page have too: there is no second opinion
//! about where a request ends, which is what smuggling lives on. What is read here is a body, by the length that its head said.
use std::{io, net::IpAddr, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, header};
use sockeye::proto::handshake::BodyLength;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Api, BODY_TIMEOUT, Backend, Call, MAX_BODY, Refused, without_body};
use crate::{
    dialect::{ErrorCode, Problem},
    talk::Io,
};

/// Bytes of the line before a chunk, with its extensions, which mean nothing.
const MAX_CHUNK_LINE: usize = 256;

/// The answer to one request.
pub(crate) struct Answered {
    pub(crate) response: Response<Bytes>,
    /// What was read beyond the request; `None` if not all of the request has been read, so that nothing can follow it.
    pub(crate) rest: Option<Bytes>,
}

/// Reads what is left of a request, and carries it out.
///
/// # Errors
/// If the client leaves in the middle of its request.
pub(crate) async fn answer(
    request: &Request<()>,
    stream: &mut impl Io,
    rest: Bytes,
    (api, from): (&Api, Option<IpAddr>),
    backend: &impl Backend,
) -> io::Result<Answered> {
    let (response, rest) = match begin(request, api, from) {
        Ok((call, BodyLength::Absent)) => (call.perform(Bytes::new(), backend).await, Some(rest)),
        Ok((call, length)) => match read_body(request.headers(), length, (MAX_BODY, BODY_TIMEOUT), stream, rest).await?
        {
            Ok((body, rest)) => (call.perform(body, backend).await, Some(rest)),
            Err(refused) => (refused.into_response(), None),
        },
        Err(refused) => {
            // Without a body nothing is unread.
            let is_whole = matches!(BodyLength::of(request.headers()), Ok(BodyLength::Absent | BodyLength::Known(0)));
            (refused.into_response(), is_whole.then_some(rest))
        }
    };
    Ok(Answered { response: without_body(request.method(), response), rest })
}

fn begin(request: &Request<()>, api: &Api, from: Option<IpAddr>) -> Result<(Call, BodyLength), Refused> {
    let call = api.begin(request, from)?;
    let bad = |message| Refused::new(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, message);
    // The reader of heads has looked at it already.
    let length = BodyLength::of(request.headers()).map_err(|_| bad("the length of the body is not clear"))?;
    match length {
        BodyLength::Absent | BodyLength::Known(0) => {}
        _ if !call.takes_body() => return Err(bad("a GET request has no body here")),
        BodyLength::Known(length) if length > MAX_BODY as u64 => return Err(too_big()),
        _ => {}
    }
    match request.headers().get(header::EXPECT) {
        None => Ok((call, length)),
        Some(expect) if expect.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok((call, length)),
        Some(_) => {
            Err(Refused::new(StatusCode::EXPECTATION_FAILED, ErrorCode::BadRequest, "nothing else can be expected"))
        }
    }
}

/// The body and what follows it, if it is no larger, and comes in time (attack line E4).
pub(crate) async fn read_body(
    headers: &HeaderMap,
    length: BodyLength,
    (most, time): (usize, Duration),
    stream: &mut impl Io,
    rest: Bytes,
) -> io::Result<Result<(Bytes, Bytes), Refused>> {
    let reading = async {
        if headers.contains_key(header::EXPECT) && rest.is_empty() && length != BodyLength::Known(0) {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            stream.flush().await?;
        }
        let mut input = BytesMut::from(rest);
        let mut body = Body::new(length, most);
        loop {
            match body.take(&mut input) {
                Ok(true) => return Ok(Ok((body.bytes.freeze(), input.freeze()))),
                Ok(false) => {}
                Err(refused) => return Ok(Err(refused)),
            }
            if stream.read_buf(&mut input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    match timeout(time, reading).await {
        Ok(read) => read,
        Err(_) => {
            Ok(Err(Refused::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::Timeout, "the body did not come in time")))
        }
    }
}

/// A body as it arrives.
struct Body {
    bytes: BytesMut,
    most: usize,
    next: Next,
}

/// What comes next in it.
#[derive(Clone, Copy)]
enum Next {
    /// So many bytes, and it is whole.
    Rest(usize),
    /// The line before a chunk.
    ChunkLine,
    /// So many bytes of a chunk.
    Chunk(usize),
    /// The end of the line after a chunk.
    ChunkEnd,
    /// The empty line after the last chunk.
    LastLine,
}

impl Body {
    fn new(length: BodyLength, most: usize) -> Self {
        let next = match length {
            BodyLength::Absent => Next::Rest(0),
            BodyLength::Known(length) => Next::Rest(usize::try_from(length).unwrap_or(usize::MAX)),
            BodyLength::Chunked => Next::ChunkLine,
        };
        Self { bytes: BytesMut::new(), most, next }
    }

    /// Takes of the input what belongs to it; whether it is whole.
    fn take(&mut self, input: &mut BytesMut) -> Result<bool, Refused> {
        loop {
            self.next = match self.next {
                Next::Rest(left) => {
                    let left = self.keep(left, input)?;
                    if left > 0 {
                        self.next = Next::Rest(left);
                    }
                    return Ok(left == 0);
                }
                Next::ChunkLine => match chunk_line(input)? {
                    Some(0) => Next::LastLine,
                    Some(size) => Next::Chunk(size),
                    None => return Ok(false),
                },
                Next::Chunk(left) => match self.keep(left, input)? {
                    0 => Next::ChunkEnd,
                    left => {
                        self.next = Next::Chunk(left);
                        return Ok(false);
                    }
                },
                Next::ChunkEnd if end_of_line(input)? => Next::ChunkLine,
                Next::ChunkEnd => return Ok(false),
                // What else could stand there, trailers, means nothing here.
                Next::LastLine => return end_of_line(input),
            };
        }
    }

    /// Keeps up to so many bytes; how many are missing.
    fn keep(&mut self, left: usize, input: &mut BytesMut) -> Result<usize, Refused> {
        if left > self.most - self.bytes.len() {
            return Err(too_big());
        }
        let here = input.split_to(left.min(input.len()));
        self.bytes.extend_from_slice(&here);
        Ok(left - here.len())
    }
}

fn chunk_line(input: &mut BytesMut) -> Result<Option<usize>, Refused> {
    match input.first() {
        None => return Ok(None),
        // The parser would take white space, and no digit at all, for nothing.
        Some(first) if !first.is_ascii_hexdigit() => return Err(bad_chunk()),
        Some(_) => {}
    }
    match httparse::parse_chunk_size(input).map_err(|_| bad_chunk())? {
        httparse::Status::Complete((line, size)) => {
            input.advance(line);
            usize::try_from(size).map(Some).map_err(|_| too_big())
        }
        httparse::Status::Partial if input.len() > MAX_CHUNK_LINE => Err(bad_chunk()),
        httparse::Status::Partial => Ok(None),
    }
}

fn end_of_line(input: &mut BytesMut) -> Result<bool, Refused> {
    if !b"\r\n".starts_with(&input[..input.len().min(2)]) {
        return Err(bad_chunk());
    }
    let is_here = input.len() >= 2;
    if is_here {
        input.advance(2);
    }
    Ok(is_here)
}

fn bad_chunk() -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, "the chunks of the body are malformed")
}

pub(crate) fn too_big() -> Refused {
    Problem::new(ErrorCode::TooBig, "the body is larger than this takes").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a body that comes in pieces of this size.
    fn read(length: BodyLength, wire: &[u8], piece: usize) -> Result<Option<(Bytes, Bytes)>, StatusCode> {
        let (mut body, mut input) = (Body::new(length, MAX_BODY), BytesMut::new());
        for (index, part) in wire.chunks(piece).enumerate() {
            input.extend_from_slice(part);
            if body.take(&mut input).map_err(|refused| refused.status())? {
                input.extend_from_slice(&wire[((index + 1) * piece).min(wire.len())..]);
                return Ok(Some((body.bytes.freeze(), input.freeze())));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_body_ends_where_its_head_says_however_it_comes() {
        for piece in [1, 2, 3, 1000] {
            for (length, wire) in [
                (BodyLength::Known(5), "helloGET /"),
                (BodyLength::Chunked, "5\r\nhello\r\n0\r\n\r\nGET /"),
                (BodyLength::Chunked, "2;a=b\r\nhe\r\n03\r\nllo\r\n0\r\n\r\nGET /"),
            ] {
                let (body, rest) = read(length, wire.as_bytes(), piece).unwrap().expect("it is whole");
                assert_eq!((&body[..], &rest[..]), (&b"hello"[..], &b"GET /"[..]), "{wire:?} by {piece}");
            }
        }
        assert!(read(BodyLength::Known(6), b"hello", 2).unwrap().is_none());
        assert!(read(BodyLength::Chunked, b"5\r\nhello\r\n0\r\n", 2).unwrap().is_none());
    }

    #[test]
    fn chunks_that_two_readers_could_read_differently_are_refused() {
        for wire in [
            "\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello",
            "0x5\r\nhello",
            "5\nhello\n0\n\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "5\r\nhello\r0\r\n\r\n",
            "5\r\nhello\r\n0\r\nx: y\r\n\r\n",
            "-1\r\n",
            "g\r\n",
            "ffffffffffffffffff\r\n",
        ] {
            for piece in [1, 1000] {
                assert_eq!(read(BodyLength::Chunked, wire.as_bytes(), piece), Err(StatusCode::BAD_REQUEST), "{wire:?}");
            }
        }
        let long = format!("5;{}", "x".repeat(2 * MAX_CHUNK_LINE));
        assert_eq!(read(BodyLength::Chunked, long.as_bytes(), 64), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn a_body_has_a_bound_however_it_is_cut() {
        let chunks = format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(MAX_BODY / 1024 + 1);
        assert_eq!(read(BodyLength::Chunked, chunks.as_bytes(), 4096), Err(StatusCode::PAYLOAD_TOO_LARGE));
        assert_eq!(read(BodyLength::Chunked, b"fffffffffff\r\n", 100), Err(StatusCode::PAYLOAD_TOO_LARGE));
    }
}
