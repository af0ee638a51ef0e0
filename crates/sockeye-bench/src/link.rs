//! An open connection in the hands of the poll: what it owes the server, and what it hears.

use crate::Failure;
use crate::frames::{Frames, Heard, Piece};
use crate::open::Opened;
use crate::transport::Transport;
use crate::wire;
use sockeye_proto::frame::OpCode;
use std::io::{self, ErrorKind};

/// Pongs and other frames that wait because the server does not read.
const EXTRA_LIMIT: usize = 64 * 1024 * 1024;
/// Copies of a frame lie one after the other up to so many bytes, so that all that are in flight leave with one write.
const BURST_BYTES: usize = 4 * 1024 * 1024;

/// One frame, as often as it may be written at once.
pub(crate) struct Burst {
    bytes: Vec<u8>,
    frame: usize,
}

impl Burst {
    /// Copies of this frame, `count` of them unless they are very large.
    pub(crate) fn new(frame: &[u8], count: usize) -> Self {
        let fitting = BURST_BYTES / frame.len().max(1);
        Self { bytes: frame.repeat(count.min(fitting).max(1)), frame: frame.len() }
    }

    /// No frame: for links that send nothing of the kind.
    pub(crate) fn none() -> Self {
        Self { bytes: Vec::new(), frame: 0 }
    }
}

pub(crate) struct Link {
    transport: Transport,
    frames: Option<Frames>,
    rest: Vec<u8>,
    /// Copies of the burst's frame that have to leave, in bytes.
    owed: usize,
    /// Bytes of the copy under way that have left.
    at: usize,
    /// Frames of other kinds, which leave between copies.
    extra: Vec<u8>,
    extra_sent: usize,
}

impl Link {
    pub(crate) fn new(opened: Opened) -> Self {
        let Opened { transport, frames, rest, .. } = opened;
        Self { transport, frames, rest, owed: 0, at: 0, extra: Vec::new(), extra_sent: 0 }
    }

    /// So many more copies of the burst's frame are to leave with the next [`write`](Self::write).
    pub(crate) fn owe(&mut self, burst: &Burst, count: usize) {
        self.owed += burst.frame * count;
    }

    /// This frame is to leave with the next [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// When more waits than any server should leave unread.
    pub(crate) fn queue(&mut self, frame: &[u8]) -> Result<(), Failure> {
        if self.extra.len() > EXTRA_LIMIT {
            return Err("the server does not read what it is sent".into());
        }
        self.extra.extend(frame);
        Ok(())
    }

    /// Writes what the kernel takes.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
    pub(crate) fn write(&mut self, burst: &Burst) -> Result<(), Failure> {
        self.transport.flush().map_err(|error| lost(&error))?;
        while self.owed > 0 || !self.extra.is_empty() {
            let between = self.at == 0 && !self.extra.is_empty();
            let bytes = if between {
                self.extra.get(self.extra_sent..)
            } else {
                // Only to the end of this copy, if something else is to follow it.
                let end = if self.extra.is_empty() { burst.bytes.len() } else { burst.frame };
                burst.bytes.get(self.at..end.min(self.at + self.owed))
            };
            let count = match self.transport.write(bytes.unwrap_or_default()) {
                Ok(0) => return Err("the connection takes nothing".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(lost(&error)),
            };
            if between {
                self.extra_sent += count;
                if self.extra_sent == self.extra.len() {
                    self.extra.clear();
                    self.extra_sent = 0;
                }
            } else {
                self.owed -= count;
                self.at = (self.at + count) % burst.frame;
            }
        }
        Ok(())
    }

    /// Reads until the socket is empty, and returns how often `known` came, a whole frame that is looked for first: nearly
    /// all that comes is that, and one comparison is all it needs. What else comes is heard. Pings are answered with the
    /// next [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// When the connection is closed or lost, what comes is no WebSocket, or `hear` fails.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        known: &[u8],
        mut hear: impl FnMut(&Piece<'_>) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let mut count_known = 0;
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            count_known += self.take(&rest, known, &mut hear)?;
        }
        loop {
            let count = match self.transport.read(buffer) {
                Ok(0) => return Err("the server closed the connection without a word".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(count_known),
                Err(error) => return Err(lost(&error)),
            };
            count_known += self.take(buffer.get(..count).unwrap_or_default(), known, &mut hear)?;
            if count < buffer.len() && self.transport.short_read_is_all() {
                return Ok(count_known);
            }
        }
    }

    fn take(
        &mut self,
        mut bytes: &[u8],
        known: &[u8],
        hear: &mut impl FnMut(&Piece<'_>) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let Some(mut frames) = self.frames.take() else {
            hear(&Piece { opcode: OpCode::Binary, compressed: false, offset: 0, bytes, end: false })?;
            return Ok(0);
        };
        let mut count_known = 0;
        if !known.is_empty() && frames.is_between_messages() {
            while let Some(rest) = bytes.strip_prefix(known) {
                bytes = rest;
                count_known += 1;
            }
        }
        frames.take(bytes, |heard| match heard {
            Heard::Piece(piece) => hear(&piece),
            Heard::Ping(payload) => self.queue(&wire::client_frame(OpCode::Pong, payload)),
        })?;
        self.frames = Some(frames);
        Ok(count_known)
    }
}

fn lost(error: &io::Error) -> Failure {
    format!("the connection was lost: {error}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_proto::frame::Rsv;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let transport = Transport::Plain(stream);
        let opened = Opened { transport, frames: Some(Frames::default()), deflate: None, rest: Vec::new() };
        (Link::new(opened), listener.accept().unwrap().0)
    }

    /// A pong leaves between two copies of a frame, never within one, however little the kernel takes.
    #[test]
    fn other_frames_leave_between_copies() {
        let (mut link, mut server) = pair();
        let frame = wire::client_frame(OpCode::Binary, &[b'x'; 1_000]);
        let burst = Burst::new(&frame, 4);
        let copies = 20_000;
        link.owe(&burst, copies);
        link.write(&burst).unwrap();
        assert!(link.owed > 0, "the kernel cannot take twenty megabytes");
        let pong = wire::client_frame(OpCode::Pong, b"here");
        link.queue(&pong).unwrap();
        let (mut all, mut chunk) = (Vec::new(), vec![0; 65_536]);
        while all.len() < copies * frame.len() + pong.len() {
            let count = server.read(&mut chunk).unwrap();
            all.extend(&chunk[..count]);
            link.write(&burst).unwrap();
        }
        let (mut rest, mut frames, mut pongs) = (&all[..], 0, 0);
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(&frame[..]) {
                (rest, frames) = (after, frames + 1);
            } else {
                (rest, pongs) = (rest.strip_prefix(&pong[..]).expect("a frame within another"), pongs + 1);
            }
        }
        assert_eq!((frames, pongs), (copies, 1));
    }

    /// What is known is counted where it is whole; the rest of one that is cut is heard.
    #[test]
    fn a_known_frame_counts_in_any_split() {
        let known = wire::server_frame(OpCode::Binary, Rsv::NONE, b"hello");
        let input = [&known[..], &known, &[0x89, 0], &known].concat();
        for size in 1..=input.len() {
            let (mut link, _server) = pair();
            let (mut whole, mut heard) = (0, 0);
            for chunk in input.chunks(size) {
                let mut hear = |piece: &Piece<'_>| {
                    heard += u64::from(piece.end);
                    Ok(())
                };
                whole += link.take(chunk, &known, &mut hear).unwrap();
            }
            assert_eq!(whole + heard, 3, "chunks of {size}");
            assert_eq!(whole > 0, size >= known.len(), "chunks of {size}");
        }
    }

    #[test]
    fn a_ping_is_answered() {
        let (mut link, mut server) = pair();
        server.write_all(&[0x89, 2, b'h', b'i']).unwrap();
        let mut answer = vec![0; 8];
        while link.extra.is_empty() {
            link.read(&mut [0; 64], &[], |_| Ok(())).unwrap();
        }
        link.write(&Burst::none()).unwrap();
        server.read_exact(&mut answer).unwrap();
        assert_eq!(answer, wire::client_frame(OpCode::Pong, b"hi"));
    }
}
