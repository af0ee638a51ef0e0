//! Bytes into an open connection.
use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut};
use sockeye_proto::{
    CloseCode, CloseFrame, CloseOutcome, Config, Connection, Error, Event, Keepalive, Output, Prepared, Role,
};

use crate::{
    input::{Choices, Cuts},
    peer::{BINARY, TEXT, connection, frame, other, understand},
};

const MIB: usize = 1024 * 1024;
/// The longest frame that is answered or closes: the payload, a header, a mask.
const CONTROL_FRAME_MAX: usize = 125 + 2 + 4;
/// So much of a large opening is cut with the rest of the input. What comes before is enough to read directly after it.
const OPENING_CUT: usize = 96;
/// A large opening of each role and kind, made once: making one takes as long as all else that is done with an input.
static OPENINGS: LazyLock<[[Vec<u8>; 2]; 2]> = LazyLock::new(|| {
    let opening = |role, opcode| frame(other(role), opcode, "é水🐟a".repeat(3_400).as_bytes());
    [Role::Server, Role::Client].map(|role| [BINARY, TEXT].map(|opcode| opening(role, opcode)))
});

/// Bytes from a client into the server's end of a connection, in any split.
///
/// # Panics
/// If the split makes a difference, if the answer is not understood, or if more is held than came.
pub fn frames_server(data: &[u8]) {
    frames(Role::Server, data);
}

/// Bytes from a server into the client's end of a connection, in any split.
///
/// # Panics
/// As [`frames_server`].
pub fn frames_client(data: &[u8]) {
    frames(Role::Client, data);
}

fn frames(role: Role, data: &[u8]) {
    let mut choices = Choices::new(data);
    let setting = Setting(choices.byte());
    let cuts = Cuts::read(&mut choices);
    let opening = setting.opening(role);
    let (begin, end) = opening.split_at(opening.len().saturating_sub(OPENING_CUT));
    let wire = [end, choices.rest()].concat();
    let pieces = cuts.pieces(&wire);

    let [mut whole, mut split, mut direct, mut stuck] = [(); 4].map(|()| End::new(role, setting));
    stuck.is_stuck = true;
    for end in [&mut whole, &mut split, &mut direct, &mut stuck] {
        end.drain();
        end.feed_counting(begin);
    }
    whole.feed(&wire);
    stuck.feed(&wire);
    for piece in pieces {
        split.feed_counting(piece);
        direct.feed_directly(piece);
    }
    whole.assert_same(&split);
    whole.assert_same(&direct);
    stuck.assert_bounded(&whole);
    stuck.get_unstuck();

    let open = whole.closed.is_none();
    for end in [&mut whole, &mut split, &mut direct, &mut stuck] {
        end.connection.handle_eof(end.now);
        end.drain();
        assert!(end.closed.is_some(), "the end of input is the end");
        assert_eq!(end.connection.deadline(), None);
    }
    whole.assert_same(&split);
    whole.assert_same(&direct);
    let understood = understand(role, &whole.sent);
    assert_eq!((understood.torn, understood.fragments), (0, 0));
    assert!(understood.closed.is_some() || open, "an end without a Close frame");
}

/// The first byte of the input: what the connection is like.
#[derive(Clone, Copy)]
struct Setting(u8);

impl Setting {
    const STRICT: u8 = 1;
    const ECHO: u8 = 2;
    const PREPARED: u8 = 4;
    const LARGE: u8 = 8;
    const LARGE_TEXT: u8 = 16;
    const KEEPALIVE: u8 = 32;
    const CLOSE_FIRST: u8 = 64;
    const CLOSE_AT_MESSAGE: u8 = 128;

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn config(self) -> Config {
        let mut config = Config::default();
        if self.has(Self::STRICT) {
            config.limits.max_frame = 34_500;
            config.limits.max_message = 35_000;
            config.limits.max_fragments = 5;
            config.limits.control_burst = 6;
        }
        if self.has(Self::KEEPALIVE) {
            config.keepalive = Some(Keepalive::with(|keepalive| {
                keepalive.interval = Duration::from_secs(3);
                keepalive.timeout = Duration::from_secs(2);
            }));
        }
        config
    }

    /// The first fragment of a message so large that the rest is read straight into it.
    fn opening(self, role: Role) -> &'static [u8] {
        if !self.has(Self::LARGE) {
            return &[];
        }
        &OPENINGS[usize::from(role == Role::Client)][usize::from(self.has(Self::LARGE_TEXT))]
    }
}

/// A connection, and what was seen of it. Everything is drained after each piece.
struct End {
    connection: Connection,
    setting: Setting,
    /// The transport takes nothing.
    is_stuck: bool,
    now: Instant,
    events: Vec<Event>,
    sent: Vec<u8>,
    write_shut: bool,
    closed: Option<Result<CloseOutcome, Error>>,
    /// Bytes that came since the last message.
    came: usize,
}

impl End {
    fn new(role: Role, setting: Setting) -> Self {
        let now = Instant::now();
        let mut connection = connection(role, setting.config(), now);
        if setting.has(Setting::CLOSE_FIRST) {
            connection.start_close(Some(CloseFrame::new(CloseCode::GOING_AWAY, "first")), now);
        }
        Self {
            connection,
            setting,
            is_stuck: false,
            now,
            events: Vec::new(),
            sent: Vec::new(),
            write_shut: false,
            closed: None,
            came: 0,
        }
    }

    fn feed(&mut self, input: &[u8]) {
        let (mut input, mut at) = (input.to_vec(), 0);
        while at < input.len() {
            let consumed = self.connection.handle_input(&mut input[at..], self.now);
            assert!(consumed > 0, "input is stuck");
            at += consumed;
            self.drain();
        }
    }

    /// Holds the promise of `Connection::buffered_input`.
    fn feed_counting(&mut self, piece: &[u8]) {
        let before = self.events.len();
        self.feed(piece);
        let is_message = |event: &Event| matches!(event, Event::Message(_));
        let whole = self.events[before..].iter().any(is_message);
        self.came = piece.len() + if whole { 0 } else { self.came };
        let held = self.connection.buffered_input();
        assert!(held <= self.came + self.came.min(MIB) + 125, "{held} bytes are held of {}", self.came);
    }

    /// Reads large payloads straight into their message, as the library on tokio does.
    fn feed_directly(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let Some(mut space) = self.connection.payload_space() else {
                // In short pieces, so as not to run over all of what could be read directly.
                let (short, rest) = piece.split_at(piece.len().min(512));
                self.feed(short);
                piece = rest;
                continue;
            };
            assert!(space.has_remaining_mut() && space.remaining_mut() <= MIB);
            let (fits, rest) = piece.split_at(piece.len().min(space.remaining_mut()));
            space.put_slice(fits);
            self.connection.handle_payload(self.now);
            self.drain();
            piece = rest;
        }
    }

    fn drain(&mut self) {
        loop {
            match self.connection.poll_output() {
                Output::Event(Event::Closed(result)) => {
                    assert!(self.closed.is_none(), "a second end");
                    self.closed = Some(result);
                }
                Output::Event(event) => {
                    assert!(self.closed.is_none(), "{event:?} after the end");
                    self.answer(&event);
                    self.events.push(event);
                }
                Output::Transmit => self.write(),
                Output::ShutdownWrite => {
                    assert!(!std::mem::replace(&mut self.write_shut, true), "a second shutdown");
                }
                Output::Wait(deadline) => {
                    assert_eq!(deadline, self.connection.deadline());
                    return;
                }
                other => panic!("an output that nobody knows: {other:?}"),
            }
        }
    }

    fn answer(&mut self, event: &Event) {
        let Event::Message(message) = event else { return };
        assert!(message.len() <= self.connection.config().limits.max_message);
        // What is full or closing says so; that is no concern here.
        if self.setting.has(Setting::PREPARED) {
            let _ = self.connection.send_prepared(&Prepared::new(message.clone()));
        } else if self.setting.has(Setting::ECHO) {
            let _ = self.connection.send(message.clone());
        }
        if self.setting.has(Setting::CLOSE_AT_MESSAGE) {
            self.connection.start_close(None, self.now);
        }
    }

    fn write(&mut self) {
        assert!(!self.write_shut, "bytes after the shutdown");
        if self.is_stuck {
            return self.connection.handle_write_blocked(self.now);
        }
        let mut outgoing = self.connection.outgoing();
        while outgoing.has_remaining() {
            let chunk = outgoing.chunk();
            assert!(!chunk.is_empty());
            self.sent.extend_from_slice(chunk);
            outgoing.advance(chunk.len());
        }
    }

    fn assert_same(&self, other: &Self) {
        assert_eq!(self.events, other.events);
        assert_eq!(self.sent, other.sent);
        assert_eq!(self.closed, other.closed);
        assert_eq!(self.write_shut, other.write_shut);
        assert_eq!(self.connection.ready_state(), other.connection.ready_state());
        let due = |end: &Self| end.connection.deadline().map(|at| at - end.now);
        assert_eq!(due(self), due(other));
    }

    /// A peer that does not read gets no other events, and makes the queue no longer than what the program itself sent, a
    /// pong and a Close frame.
    fn assert_bounded(&self, whole: &Self) {
        assert_eq!(self.events, whole.events);
        assert!(self.sent.is_empty());
        let answers = self.setting.has(Setting::ECHO) || self.setting.has(Setting::PREPARED);
        let limits = &self.connection.config().limits;
        let own = if answers { limits.max_write_queue + limits.max_message + 14 } else { 0 };
        let queued = self.connection.buffered_amount();
        assert!(queued <= own + 3 * CONTROL_FRAME_MAX, "{queued} bytes are queued");
    }

    /// The peer reads at last: what it gets is as much as was said to be queued, and whole.
    fn get_unstuck(&mut self) {
        let queued = self.connection.buffered_amount();
        self.is_stuck = false;
        if queued > 0 {
            self.write();
        }
        assert_eq!(self.sent.len(), queued);
        assert_eq!(understand(self.connection.role(), &self.sent).torn, 0);
    }
}
