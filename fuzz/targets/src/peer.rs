//! The other end: frames as a peer sends them, and a peer that has to understand what was sent to it.
use std::{sync::Arc, time::Instant};

use sockeye_proto::{
    CloseOutcome, Config, Connection, ControlPayload, Error, Event, Message, Output, Role,
    frame::{Header, MaskKey, OpCode},
};

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;

pub(crate) fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// A connection of this role. Its masks are not random: a failure has to replay.
pub(crate) fn connection(role: Role, config: Config, now: Instant) -> Connection {
    match role {
        Role::Server => Connection::server(Arc::new(config), now),
        Role::Client => {
            let mut count: u32 = 0;
            let masks = move || {
                count = count.wrapping_mul(0x9e37_79b9).wrapping_add(0x7f4a_7c15);
                count.to_be_bytes()
            };
            Connection::client(Arc::new(config), masks, now)
        }
    }
}

/// A frame as an end of this role sends it, written without the crate under test.
pub(crate) fn frame(from: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if from == Role::Client { 0x80 } else { 0 };
    let mut wire = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ 0..126), _) => wire.push(mask_bit | len),
        (_, Ok(len)) => {
            wire.push(mask_bit | 0x7e);
            wire.extend(len.to_be_bytes());
        }
        _ => {
            wire.push(mask_bit | 0x7f);
            wire.extend((payload.len() as u64).to_be_bytes());
        }
    }
    if from == Role::Client {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        wire.extend(key);
        let start = wire.len();
        wire.extend_from_slice(payload);
        for block in wire[start..].chunks_mut(4) {
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        }
    } else {
        wire.extend_from_slice(payload);
    }
    wire
}

/// What a peer makes of what an end sent.
#[derive(Debug, Default)]
pub(crate) struct Understood {
    pub(crate) messages: Vec<Message>,
    pub(crate) pongs: Vec<ControlPayload>,
    /// How it was closed, if a Close frame came.
    pub(crate) closed: Option<CloseOutcome>,
    /// Bytes of a last frame that is not whole.
    pub(crate) torn: usize,
    /// Data frames that are not a whole message.
    pub(crate) fragments: usize,
}

/// Gives everything that an end of role `from` sent to a peer, which has to understand it.
pub(crate) fn understand(from: Role, wire: &[u8]) -> Understood {
    let (torn, fragments) = walk(from, wire);
    let mut understood = Understood { torn, fragments, ..Understood::default() };
    let huge = usize::MAX / 2;
    let config = Config::with(|config| {
        config.limits.max_frame = huge;
        config.limits.max_message = huge;
        config.limits.max_fragments = huge;
        config.limits.control_burst = u32::MAX;
    });
    let now = Instant::now();
    let mut peer = connection(other(from), config, now);
    let (mut wire, mut at) = (wire.to_vec(), 0);
    loop {
        match peer.poll_output() {
            Output::Event(Event::Message(message)) => understood.messages.push(message),
            Output::Event(Event::Pong(payload)) => understood.pongs.push(payload),
            Output::Event(Event::Ping(_)) | Output::ShutdownWrite => {}
            Output::Event(Event::Closed(result)) => {
                understood.closed = understood_close(result);
                return understood;
            }
            Output::Transmit => drop_outgoing(&mut peer),
            Output::Wait(_) if at < wire.len() => at += peer.handle_input(&mut wire[at..], now),
            Output::Wait(_) => peer.handle_eof(now),
            other => panic!("an output that nobody knows: {other:?}"),
        }
    }
}

fn understood_close(result: Result<CloseOutcome, Error>) -> Option<CloseOutcome> {
    match result {
        Ok(outcome) => Some(outcome),
        Err(error) => {
            assert!(error.is_eof(), "the peer does not understand: {error}");
            None
        }
    }
}

fn drop_outgoing(connection: &mut Connection) {
    use bytes::Buf;
    let mut outgoing = connection.outgoing();
    outgoing.advance(outgoing.remaining());
}

/// What a peer would let pass: messages in order, masked or not as the role wants, and nothing after Close. Returns the bytes
/// that are not a whole frame, and how many data frames were not a whole message.
fn walk(from: Role, mut wire: &[u8]) -> (usize, usize) {
    let (mut closed, mut unfinished, mut fragments) = (false, false, 0);
    while !wire.is_empty() {
        assert!(!closed, "bytes after Close");
        let Some((header, used)) = Header::decode(wire).expect("a header") else { break };
        assert!(!header.rsv.any(), "{header:?}");
        assert_eq!(header.mask.is_some(), from == Role::Client, "masking");
        let len = usize::try_from(header.len).expect("a length");
        let Some(payload) = wire[used..].get(..len) else { break };
        if header.opcode == OpCode::Text && header.fin {
            let mut payload = payload.to_vec();
            header.mask.unwrap_or(MaskKey([0; 4])).apply(&mut payload, 0);
            std::str::from_utf8(&payload).expect("text");
        }
        if !header.opcode.is_control() {
            assert_eq!(header.opcode == OpCode::Continuation, unfinished, "{header:?}");
            fragments += usize::from(unfinished || !header.fin);
            unfinished = !header.fin;
        }
        closed = header.opcode == OpCode::Close;
        wire = &wire[used + len..];
    }
    (wire.len(), fragments)
}
