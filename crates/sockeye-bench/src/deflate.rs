//! permessage-deflate: frames compressed before the clock starts, and a look into those that come back.

use crate::Failure;
use crate::wire::{self, MASK};
use bytes::Buf;
use sockeye_proto::frame::{OpCode, Rsv};
use sockeye_proto::{Config, Connection, Deflate, DeflateBudget, DeflateParams, Event, Message, Output};
use std::sync::Arc;
use std::time::Instant;

/// A compressor that keeps its window comes to repeat itself when that is full, or a few messages later.
const LEAD_MORE: usize = 64;
/// Below this a window would take too many messages to fill.
const SHORTEST: usize = 16;
const LIMIT: usize = 256 * 1024 * 1024;

/// Whether messages may refer to those before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Takeover {
    Takeover,
    NoTakeover,
}

/// What to offer. It is for the server to agree.
pub(crate) fn offer(takeover: Takeover) -> Deflate {
    let takeover = takeover == Takeover::Takeover;
    let budget = DeflateBudget::new(usize::MAX / 2);
    Deflate::default().threshold(0).server_takeover(takeover).client_takeover(takeover).budget(budget)
}

/// One message again and again, as a client that compresses sends it.
pub(crate) struct Requests {
    /// The first messages, each of which finds another window than the one before.
    pub(crate) lead: Vec<Vec<u8>>,
    /// All that follow: the window repeats the message, and so the frame repeats itself.
    pub(crate) steady: Vec<u8>,
}

/// # Errors
///
/// When the message is too long or too short, or frames never repeat themselves.
pub(crate) fn requests(agreed: &DeflateParams, opcode: OpCode, payload: &[u8]) -> Result<Requests, Failure> {
    if agreed.client_takeover() && payload.len() < SHORTEST {
        return Err(format!("for context takeover give a --payload of {SHORTEST} bytes at least").into());
    }
    let now = Instant::now();
    let mut connection = Connection::client(config(), || MASK.0, now).with_deflate(agreed);
    let mut lead: Vec<Vec<u8>> = Vec::new();
    loop {
        let message = match opcode {
            OpCode::Text => Message::text(std::str::from_utf8(payload)?.to_owned()),
            _ => Message::binary(payload.to_vec()),
        };
        connection.send(message).map_err(|_| "the message is too long to be compressed")?;
        let mut frame = Vec::new();
        while let Output::Transmit = connection.poll_output() {
            let mut outgoing = connection.outgoing();
            while outgoing.has_remaining() {
                let count = outgoing.chunk().len();
                frame.extend(outgoing.chunk());
                outgoing.advance(count);
            }
        }
        // Two in a row when the window holds nothing but this message: whatever they refer to is the same from then on.
        let full = lead.len() * payload.len() >= 1 << agreed.client_window_bits();
        if !agreed.client_takeover() || (full && lead.last() == Some(&frame)) {
            return Ok(Requests { lead, steady: frame });
        }
        lead.push(frame);
        if lead.len() > (1 << agreed.client_window_bits()) / payload.len() + LEAD_MORE {
            return Err("with context takeover this message never looks the same".into());
        }
    }
}

/// Sees what is in compressed messages.
pub(crate) struct Inflater {
    connection: Connection,
    keeps_context: bool,
}

impl Inflater {
    pub(crate) fn new(agreed: &DeflateParams) -> Self {
        let connection = Connection::client(config(), || MASK.0, Instant::now()).with_deflate(agreed);
        Self { connection, keeps_context: agreed.server_takeover() }
    }

    /// Whether it has to see every message to understand the next.
    pub(crate) fn keeps_context(&self) -> bool {
        self.keeps_context
    }

    /// # Errors
    ///
    /// When this is no Deflate, or too much of it.
    pub(crate) fn inflate(&mut self, opcode: OpCode, compressed: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut frame = wire::server_frame(opcode, Rsv::COMPRESSED, compressed);
        self.connection.handle_input(&mut frame, Instant::now());
        let mut found = None;
        loop {
            match self.connection.poll_output() {
                Output::Event(Event::Message(message)) => found = Some(message.as_bytes().to_vec()),
                Output::Wait(_) => return found.ok_or_else(|| "a reply that does not inflate".into()),
                // It says why it closes, before it has.
                _ => return Err("a reply that does not inflate".into()),
            }
        }
    }
}

fn config() -> Arc<Config> {
    Arc::new(Config::with(|config| {
        config.limits.max_message = LIMIT;
        config.limits.max_frame = LIMIT;
        config.limits.max_write_queue = LIMIT;
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_proto::handshake::{
        ClientRequest, Offer, ReadRequest, RequestProgress, ResponseProgress, write_response,
    };

    /// What two ends agree upon that both want this; the client's and the server's view of it.
    fn agreed(takeover: Takeover) -> (DeflateParams, DeflateParams) {
        let request = ClientRequest::new("ws://a/").unwrap().deflate(offer(takeover));
        let (head, answer) = request.start([7; 16]);
        let read = ReadRequest::new(sockeye_proto::handshake::HandshakeLimits::default()).handle_input(&head).unwrap();
        let RequestProgress::Done { request, .. } = read else { panic!("the head is whole") };
        let accepted = Offer::check(&request).unwrap().deflate(offer(takeover)).accept(None).unwrap();
        let mut response = bytes::BytesMut::new();
        write_response(&accepted.response, b"", &mut response);
        let ResponseProgress::Done(established) = answer.handle_input(&response).unwrap() else { panic!("whole") };
        (established.deflate.unwrap(), accepted.deflate.unwrap())
    }

    /// A server understands the frames in their order, however often the last is repeated.
    #[test]
    fn the_steady_frame_says_the_same_again_and_again() {
        for (takeover, length) in [
            (Takeover::NoTakeover, 500),
            (Takeover::Takeover, 500),
            (Takeover::Takeover, 40_000),
            (Takeover::Takeover, 64),
        ] {
            let (client, server) = agreed(takeover);
            let payload = wire::records(length);
            let requests = requests(&client, OpCode::Text, &payload).unwrap();
            assert_eq!(requests.lead.is_empty(), takeover == Takeover::NoTakeover, "{length}");
            let mut end = Connection::server(config(), Instant::now()).with_deflate(&server);
            let steady = std::iter::repeat_n(&requests.steady, 200);
            for (index, frame) in requests.lead.iter().chain(steady).enumerate() {
                end.handle_input(&mut frame.clone(), Instant::now());
                let Output::Event(Event::Message(message)) = end.poll_output() else { panic!("{length}: {index}") };
                assert_eq!(message.as_bytes(), payload);
                assert!(matches!(end.poll_output(), Output::Wait(_)));
            }
        }
    }

    #[test]
    fn what_a_server_compresses_is_seen_and_a_wrong_byte_too() {
        for takeover in [Takeover::NoTakeover, Takeover::Takeover] {
            let (client, server) = agreed(takeover);
            let mut inflater = Inflater::new(&client);
            let mut end = Connection::server(config(), Instant::now()).with_deflate(&server);
            for _ in 0..3 {
                end.send(Message::text("again and again and again")).unwrap();
                let Output::Transmit = end.poll_output() else { panic!("something is queued") };
                let mut outgoing = end.outgoing();
                let frame = outgoing.copy_to_bytes(outgoing.remaining());
                assert!(matches!(end.poll_output(), Output::Wait(_)));
                let message = inflater.inflate(OpCode::Text, &frame[2..]).unwrap();
                assert_eq!(message, b"again and again and again");
            }
            assert!(inflater.inflate(OpCode::Text, &[0xff, 0xff, 0xff]).is_err());
        }
    }
}
