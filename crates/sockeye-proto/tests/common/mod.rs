//! What the conversation tests share: one end, or two, with a virtual clock and transports made of vectors; and frames
//! built and parsed by hand, so that the crate's own encoder is never its own judge.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Buf;
use sockeye_proto::{
    CloseCode, CloseOutcome, Config, Connection, Error, Event, Keepalive, Limits, Message, Output, Role,
};
pub(crate) use sockeye_testing::*;

/// "Per-Message Compressed", to be added to an opcode.
pub(crate) const RSV1: u8 = 0x40;

/// More outputs than any single input can cause in these tests; beyond it the loop does not end.
const OUTPUTS_MAX: usize = 100_000;

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn with_limits(change: impl FnOnce(&mut Limits)) -> Config {
    Config::with(|config| change(&mut config.limits))
}

pub(crate) fn with_keepalive(interval: u64, timeout: u64) -> Config {
    let keepalive = Keepalive::with(|keepalive| {
        keepalive.interval = secs(interval);
        keepalive.timeout = secs(timeout);
    });
    Config::with(|config| config.keepalive = Some(keepalive))
}

/// A whole frame as the end of this role sends it. `first` is the first byte: FIN, reserved bits, opcode.
pub(crate) fn frame(from: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    frame_with_key((from == Role::Client).then_some(KEY), first, payload)
}

/// The header alone, its length in minimal form.
pub(crate) fn header(from: Role, first: u8, len: u64) -> Vec<u8> {
    header_with_key((from == Role::Client).then_some(KEY), first, len)
}

/// A header with any first byte and any form of length.
pub(crate) fn raw_header(key: Option<[u8; 4]>, first: u8, short: u8, len: u64) -> Vec<u8> {
    let mut wire = vec![first, short | if key.is_some() { 0x80 } else { 0 }];
    match short {
        126 => wire.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes()),
        127 => wire.extend_from_slice(&len.to_be_bytes()),
        _ => {}
    }
    wire.extend_from_slice(key.as_ref().map_or(&[][..], |key| &key[..]));
    wire
}

/// A frame as this file's parser reads it, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// The code and reason of a Close frame; 1005 if it is empty.
    pub(crate) fn close(&self) -> (u16, String) {
        assert_eq!(self.first, FIN | CLOSE, "not a Close frame: {self:?}");
        let Some((code, reason)) = self.payload.split_first_chunk::<2>() else {
            assert!(self.payload.is_empty());
            return (1005, String::new());
        };
        (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap())
    }
}

/// Reads everything that an end of this role sent, and panics if RFC 6455 forbids it: wrong masking, reserved bits and
/// opcodes, lengths that are not minimal, bad control frames, bad fragments, text that is not UTF-8, anything after Close.
/// Returns the frames and the bytes of the last one if it is torn.
pub(crate) fn parse(from: Role, wire: &[u8]) -> (Vec<Frame>, usize) {
    parse_with(from, wire, 0)
}

/// The same where these reserved bits were agreed upon, for text and binary frames.
pub(crate) fn parse_with(from: Role, mut wire: &[u8], agreed: u8) -> (Vec<Frame>, usize) {
    let mut frames: Vec<Frame> = Vec::new();
    while let Some((frame, used)) = parse_one(from, wire, agreed) {
        assert!(frames.last().is_none_or(|last| last.opcode() != CLOSE), "{frame:?} after Close");
        if frame.first == FIN | TEXT {
            std::str::from_utf8(&frame.payload).unwrap();
        }
        if frame.opcode() == CLOSE {
            let (code, _) = frame.close();
            assert!(matches!(code, 1000..=1003 | 1005 | 1007..=1014 | 3000..=4999), "sent close code {code}");
        }
        frames.push(frame);
        wire = &wire[used..];
    }
    (frames, wire.len())
}

fn parse_one(from: Role, wire: &[u8], agreed: u8) -> Option<(Frame, usize)> {
    let (&[first, second], rest) = wire.split_first_chunk()?;
    let opcode = first & 0x0f;
    let allowed = if matches!(opcode, TEXT | BINARY) { agreed } else { 0 };
    assert_eq!(first & 0x70 & !allowed, 0, "reserved bits");
    assert!(matches!(opcode, 0..=2 | 8..=10), "opcode {opcode}");
    assert_eq!(second & 0x80 != 0, from == Role::Client, "masking");
    assert_ne!(first & FIN, 0, "this crate sends no fragments");
    let (len, rest) = match second & 0x7f {
        126 => rest.split_first_chunk().map(|(len, rest)| (u64::from(u16::from_be_bytes(*len)), rest))?,
        127 => rest.split_first_chunk().map(|(len, rest)| (u64::from_be_bytes(*len), rest))?,
        short => (u64::from(short), rest),
    };
    let minimal = [(126, 126..=0xffff), (127, 0x1_0000..=u64::MAX >> 1)];
    assert!(minimal.iter().all(|(form, range)| second & 0x7f != *form || range.contains(&len)), "length {len}");
    assert!(opcode < 8 || len <= 125, "control frame of {len} bytes");
    let (key, rest) = if from == Role::Client { rest.split_first_chunk()? } else { (&[0; 4], rest) };
    let payload = rest.get(..usize::try_from(len).unwrap())?;
    let used = wire.len() - rest.len() + payload.len();
    let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Some((Frame { first, payload }, used))
}

/// One connection, its transport and its clock. After each method everything is drained.
pub(crate) struct End {
    pub(crate) connection: Connection,
    /// All events but the last.
    pub(crate) events: Vec<Event>,
    /// Everything that left.
    pub(crate) sent: Vec<u8>,
    /// What the last event said.
    pub(crate) closed: Option<Result<CloseOutcome, Error>>,
    /// When it said so.
    pub(crate) closed_at: Option<Duration>,
    /// Whether it shut down its write side.
    pub(crate) write_shut: bool,
    /// How many more bytes the transport takes.
    pub(crate) window: usize,
    pub(crate) now: Instant,
    start: Instant,
}

impl End {
    pub(crate) fn new(role: Role, config: Config) -> Self {
        Self::with(role, config, |connection| connection)
    }

    pub(crate) fn with(role: Role, config: Config, change: impl FnOnce(Connection) -> Connection) -> Self {
        let start = Instant::now();
        let config = Arc::new(config);
        let connection = match role {
            Role::Server => Connection::server(config, start),
            Role::Client => {
                let mut count: u32 = 0;
                let masks = move || {
                    count = count.wrapping_mul(0x9e37_79b9).wrapping_add(0x7f4a_7c15);
                    count.to_be_bytes()
                };
                Connection::client(config, masks, start)
            }
        };
        Self {
            connection: change(connection),
            events: Vec::new(),
            sent: Vec::new(),
            closed: None,
            closed_at: None,
            write_shut: false,
            window: usize::MAX,
            now: start,
            start,
        }
    }

    pub(crate) fn server() -> Self {
        Self::new(Role::Server, Config::default())
    }

    pub(crate) fn client() -> Self {
        Self::new(Role::Client, Config::default())
    }

    /// A frame as this end's peer sends it.
    pub(crate) fn peer_frame(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        frame(self.peer(), first, payload)
    }

    pub(crate) fn peer(&self) -> Role {
        match self.connection.role() {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }
    }

    /// Time since the connection began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// The peer sends these bytes.
    pub(crate) fn feed(&mut self, input: &[u8]) -> &mut Self {
        let mut input = input.to_vec();
        let mut at = 0;
        while at < input.len() {
            let consumed = self.connection.handle_input(&mut input[at..], self.now);
            assert!(consumed > 0, "input is stuck");
            at += consumed;
            self.drain();
        }
        self
    }

    /// The same in single bytes.
    pub(crate) fn feed_bytes(&mut self, input: &[u8]) -> &mut Self {
        for byte in input {
            self.feed(&[*byte]);
        }
        self
    }

    /// The same the way of large payloads: read straight into the message where the connection offers that, at most
    /// `step` bytes at a time.
    pub(crate) fn feed_payload(&mut self, mut input: &[u8], step: usize) -> &mut Self {
        use bytes::BufMut;
        while !input.is_empty() {
            let (piece, _) = input.split_at(step.min(input.len()));
            if let Some(mut space) = self.connection.payload_space() {
                assert!(space.has_remaining_mut(), "a read into no space looks like the end");
                let (piece, rest) = input.split_at(piece.len().min(space.remaining_mut()));
                space.put_slice(piece);
                input = rest;
                self.connection.handle_payload(self.now);
                self.drain();
            } else {
                self.feed(piece);
                input = &input[piece.len()..];
            }
        }
        self
    }

    /// The peer sends a frame.
    pub(crate) fn feed_frame(&mut self, first: u8, payload: &[u8]) -> &mut Self {
        let wire = self.peer_frame(first, payload);
        self.feed(&wire)
    }

    /// The transport gives no more input.
    pub(crate) fn eof(&mut self) -> &mut Self {
        self.connection.handle_eof(self.now);
        self.drain();
        self
    }

    /// Time passes; each deadline on the way is met on time.
    pub(crate) fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        for _ in 0..OUTPUTS_MAX {
            let Some(deadline) = self.connection.deadline().filter(|deadline| *deadline <= end) else {
                self.now = end;
                return self;
            };
            self.now = self.now.max(deadline);
            self.connection.handle_timeout(self.now);
            self.drain();
        }
        panic!("deadlines without end");
    }

    /// The program sends a message.
    pub(crate) fn send(&mut self, message: impl Into<Message>) -> &mut Self {
        self.connection.send(message.into()).unwrap();
        self.drain();
        self
    }

    pub(crate) fn close(&mut self, code: u16, reason: &str) -> &mut Self {
        let frame = sockeye_proto::CloseFrame::new(CloseCode::new(code).unwrap(), reason);
        self.connection.start_close(Some(frame), self.now);
        self.drain();
        self
    }

    /// The transport takes so many bytes more.
    pub(crate) fn open_window(&mut self, bytes: usize) -> &mut Self {
        self.window = self.window.saturating_add(bytes);
        self.write();
        self.drain();
        self
    }

    /// Drains the outputs as the crate's documentation says.
    pub(crate) fn drain(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            match self.connection.poll_output() {
                Output::Event(Event::Closed(result)) => {
                    assert!(self.closed.is_none(), "two ends");
                    assert_eq!(self.connection.buffered_amount(), 0);
                    self.closed = Some(result);
                    self.closed_at = Some(self.elapsed());
                }
                Output::Event(event) => {
                    assert!(self.closed.is_none(), "{event:?} after the end");
                    self.events.push(event);
                }
                Output::Transmit => {
                    assert!(!self.write_shut, "writes after the shutdown");
                    self.write();
                }
                Output::ShutdownWrite => {
                    assert!(!std::mem::replace(&mut self.write_shut, true), "two shutdowns");
                }
                Output::Wait(deadline) => {
                    assert_eq!(deadline, self.connection.deadline());
                    return;
                }
                other => panic!("an output that nobody knows: {other:?}"),
            }
        }
        panic!("outputs without end");
    }

    fn write(&mut self) {
        let mut outgoing = self.connection.outgoing();
        while outgoing.has_remaining() && self.window > 0 {
            let chunk = outgoing.chunk();
            let taken = chunk.len().min(self.window);
            assert!(taken > 0, "an empty chunk of {} bytes", outgoing.remaining());
            self.sent.extend_from_slice(&chunk[..taken]);
            self.window -= if self.window == usize::MAX { 0 } else { taken };
            outgoing.advance(taken);
        }
        if outgoing.has_remaining() {
            self.connection.handle_write_blocked(self.now);
        }
    }

    /// The frames that left, whole ones only.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        let (frames, torn) = parse(self.connection.role(), &self.sent);
        assert_eq!(torn, 0, "a torn frame");
        frames
    }

    /// The same where compression was agreed upon.
    pub(crate) fn frames_maybe_compressed(&self) -> Vec<Frame> {
        let (frames, torn) = parse_with(self.connection.role(), &self.sent, RSV1);
        assert_eq!(torn, 0, "a torn frame");
        frames
    }

    /// The Close frame that left last.
    pub(crate) fn close_frame(&self) -> (u16, String) {
        self.frames_maybe_compressed().last().expect("a Close frame").close()
    }

    pub(crate) fn messages(&self) -> Vec<&Message> {
        self.events
            .iter()
            .filter_map(|event| if let Event::Message(message) = event { Some(message) } else { None })
            .collect()
    }

    pub(crate) fn outcome(&self) -> &CloseOutcome {
        self.closed.as_ref().expect("closed").as_ref().expect("no error")
    }

    pub(crate) fn error(&self) -> Error {
        *self.closed.as_ref().expect("closed").as_ref().expect_err("an error")
    }

    /// The peer broke a rule just now: the Close frame that left last has `code` and a reason, the write side is shut down,
    /// and the end comes with the peer's, or 5 s from now without it, as an error called `name`.
    #[track_caller]
    pub(crate) fn assert_refused(&mut self, code: u16, name: &str) {
        let (sent, reason) = self.close_frame();
        assert_eq!((sent, reason.is_empty()), (code, false), "{name}");
        assert!(self.write_shut && self.closed.is_none());
        let (before, broken_at) = (self.sent.len(), self.elapsed());
        // Whatever else the peer sends is nobody's business.
        let late = [self.peer_frame(FIN | PING, b"late"), vec![0xff; 100]].concat();
        self.feed(&late).pass(secs(60));
        assert_eq!(self.sent.len(), before);
        assert_eq!(self.closed_at, Some(broken_at + secs(5)), "{name}");
        let error = self.error();
        assert_eq!((error.code(), error.close_code().map(CloseCode::get)), (name, Some(code)));
        assert_eq!(error.is_protocol(), matches!(code, 1002 | 1007));
        assert_eq!(error.is_too_big(), code == 1009);
        assert_eq!(error.is_policy(), code == 1008);
        assert!(!error.is_eof());
        assert_eq!(self.connection.buffered_input(), 0);
    }
}

/// A client and a server that talk to each other.
pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
    /// How many bytes of each direction have arrived.
    arrived: [usize; 2],
    /// Whether the end of each direction has arrived.
    ended: [bool; 2],
}

impl Pair {
    pub(crate) fn new(config: &Config) -> Self {
        let (client, mut server) = (End::new(Role::Client, config.clone()), End::new(Role::Server, config.clone()));
        (server.now, server.start) = (client.now, client.start);
        Self { client, server, arrived: [0; 2], ended: [false; 2] }
    }

    /// Moves bytes both ways until nothing is left to move.
    pub(crate) fn run(&mut self) {
        self.run_in_pieces(|| usize::MAX);
    }

    /// The same, each piece as long as `piece` says (at least one byte).
    pub(crate) fn run_in_pieces(&mut self, mut piece: impl FnMut() -> usize) {
        loop {
            let [to_server, to_client] = &mut self.arrived;
            let [client_ended, server_ended] = &mut self.ended;
            let forth = deliver(&self.client, &mut self.server, to_server, client_ended, piece());
            let back = deliver(&self.server, &mut self.client, to_client, server_ended, piece());
            if !forth && !back {
                return;
            }
        }
    }

    /// Lets time pass for both, and what they say meanwhile arrive at once.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.client.now + time;
        loop {
            self.run();
            let next = [&self.client, &self.server].into_iter().filter_map(|end| end.connection.deadline()).min();
            let next = next.unwrap_or(end).clamp(self.client.now, end);
            let step = next - self.client.now;
            self.client.pass(step);
            self.server.pass(step);
            if next == end {
                self.run();
                return;
            }
        }
    }
}

/// Takes what has not arrived of `from`'s output, at most `piece` bytes of it, to `to`. `false` if there is nothing.
fn deliver(from: &End, to: &mut End, arrived: &mut usize, ended: &mut bool, piece: usize) -> bool {
    let waiting = &from.sent[*arrived..];
    if !waiting.is_empty() {
        let piece = &waiting[..piece.clamp(1, waiting.len())];
        *arrived += piece.len();
        to.feed(piece);
        return true;
    }
    if (from.write_shut || from.closed.is_some()) && !*ended {
        *ended = true;
        to.eof();
        return true;
    }
    false
}
