//! permessage-deflate: what is agreed upon, what is compressed, what is inflated.
use std::{sync::LazyLock, time::Instant};

use bytes::{Buf, BytesMut};
use http::Request;
use sockeye_proto::{
    Config, Connection, Deflate, DeflateBudget, DeflateParams, Event, Message, Output, Prepared, Role,
    handshake::{
        ClientRequest, ExtensionOffer, HandshakeLimits, Offer, ReadRequest, RequestProgress, ResponseProgress,
        write_response,
    },
};

use crate::{
    input::{Choices, Cuts, scaled},
    peer::{BINARY, CONTINUATION, FIN, TEXT, connection, frame, other},
};

const RSV1: u8 = 0x40;
const MAX_MESSAGE: usize = 96 * 1024;
/// What an unfinished compressed message holds besides what came and what came out.
const AHEAD: usize = 16 * 1024;
/// Messages in one run, so that a long input does not take long.
const MESSAGES_MAX: usize = 64;
/// The longest message, unless the input begins with `LARGE` or more.
const SHORT: usize = 2 * 1024;
/// Few inputs have long messages, because those take a hundred times as long. (It changes nothing of the level, which is the
/// first byte modulo 9.)
const LARGE: u8 = 240;
/// So many pieces at most are made of one message's wire.
const PIECES_MAX: usize = 256;
const NONCE: [u8; 16] = *b"the sample nonce";

/// Bytes as compressed messages, in any split of the wire.
///
/// # Panics
/// If the split makes a difference, if more is held than the limits say, or if a message is larger than them.
pub fn inflate(data: &[u8]) {
    let mut choices = Choices::new(data);
    let setting = choices.byte();
    let role = if setting & 1 == 0 { Role::Server } else { Role::Client };
    let takeover = setting & 2 != 0;
    let opcode = if setting & 4 == 0 { BINARY } else { TEXT };
    let cuts = Cuts::read(&mut choices);

    let mut wire = Vec::new();
    while !choices.is_empty() {
        let (len, step) = (scaled(choices.byte()), scaled(choices.byte()).max(1));
        push_fragments(&mut wire, other(role), opcode, choices.take(len), step);
    }
    let agreed = &AGREED[usize::from(takeover)];
    let mut whole = Ear::new(role, agreed);
    let mut split = Ear::new(role, agreed);
    whole.hear(&wire);
    let mut came = 0;
    for piece in cuts.pieces(&wire) {
        split.hear(piece);
        came += piece.len();
        let held = split.connection.buffered_input();
        assert!(held <= 2 * came + MAX_MESSAGE + AHEAD, "{held} bytes held of {came}");
    }
    assert_eq!(whole.events, split.events);
    assert_eq!(whole.sent, split.sent);
    for event in &whole.events {
        let Event::Message(message) = event else { panic!("{event:?} of data frames") };
        assert!(message.len() <= MAX_MESSAGE);
    }
}

/// A list of messages and of ways to send them, from one end to the other.
///
/// # Panics
/// If what arrives is not what was sent, or if a shared form was made twice.
pub fn deflate(data: &[u8]) {
    let mut choices = Choices::new(data);
    let longest = if data.first().is_some_and(|first| *first >= LARGE) { MAX_MESSAGE } else { SHORT };
    let [server, client] = [policy(&mut choices), policy(&mut choices)];
    let agreed = agree(&server, &client);
    let mut ends = [Ear::new(Role::Server, &agreed), Ear::new(Role::Client, &agreed)];
    let step = scaled(choices.byte()).max(1);
    for _ in 0..MESSAGES_MAX {
        if choices.is_empty() {
            break;
        }
        let how = choices.byte();
        let message = message(&mut choices, how & 1 != 0, longest);
        if how & 2 != 0 {
            ends.swap(0, 1);
        }
        let [from, to] = &mut ends;
        match how >> 2 & 3 {
            0 | 1 => from.connection.send(message.clone()).expect("open and nothing queued"),
            2 => {
                let prepared = Prepared::new(message.clone());
                from.connection.send_prepared(&prepared).expect("open and nothing queued");
                from.connection.send_prepared(&prepared).expect("room for two");
                assert!(prepared.compressions() <= 1);
            }
            _ => from.connection.send_prepared(&Prepared::plain(message.clone())).expect("open and nothing queued"),
        }
        from.drain();
        let wire = std::mem::take(&mut from.sent);
        for piece in wire.chunks(step.max(wire.len().div_ceil(PIECES_MAX))) {
            to.hear(piece);
        }
        let copies = if how >> 2 & 3 == 2 { 2 } else { 1 };
        assert_eq!(to.events.len(), copies);
        for event in to.events.drain(..) {
            assert_eq!(event, Event::Message(message.clone()));
        }
    }
}

/// A header as an offer to our server, and as an answer to our client; and our client to our server.
///
/// # Panics
/// If something is agreed upon that was not offered, or that the policy does not allow.
pub fn negotiation(data: &[u8]) {
    let mut choices = Choices::new(data);
    let [server, client] = [policy(&mut choices), policy(&mut choices)];
    let agreed = agree(&server, &client);
    assert_eq!(agreed.server.server_takeover(), agreed.client.server_takeover());
    assert_eq!(agreed.server.server_window_bits(), agreed.client.server_window_bits());
    assert!(agreed.server.client_takeover() || !agreed.client.client_takeover());
    assert!(agreed.server.client_window_bits() >= agreed.client.client_window_bits());

    let text: String = String::from_utf8_lossy(choices.rest()).chars().filter(|char| !char.is_control()).collect();
    offer(&server, &text);
    answer(&client, &text);
}

fn offer(policy: &Deflate, text: &str) {
    let request = Request::get("/")
        .header("Host", "a")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Extensions", text)
        .body(())
        .expect("a request");
    let Ok(offer) = Offer::check(&request) else { return };
    let offers = offer.extensions().to_vec();
    let accepted = offer.deflate(policy.clone()).accept(None).expect("no subprotocol");
    let header = accepted.response.headers().get("sec-websocket-extensions");
    assert_eq!(header.is_some(), accepted.deflate.is_some());
    let (Some(header), Some(params)) = (header, accepted.deflate) else { return };
    let answer = ExtensionOffer::parse(header.to_str().expect("ASCII")).expect("our grammar");
    assert_eq!(answer.len(), 1);
    let says = |extension: &ExtensionOffer, name: &str| extension.params().iter().any(|(param, _)| param == name);
    assert_eq!(says(&answer[0], "server_no_context_takeover"), !params.server_takeover());
    assert_eq!(says(&answer[0], "client_no_context_takeover"), !params.client_takeover());
    // One of the offers is met by it.
    assert!(offers.iter().any(|offer| {
        offer.name().eq_ignore_ascii_case("permessage-deflate")
            && (says(&answer[0], "server_no_context_takeover") || !says(offer, "server_no_context_takeover"))
            && (says(offer, "client_max_window_bits") || !says(&answer[0], "client_max_window_bits"))
            && (says(&answer[0], "server_max_window_bits") || !says(offer, "server_max_window_bits"))
    }));
    assert!((9..=15).contains(&params.server_window_bits()) && (9..=15).contains(&params.client_window_bits()));
}

fn answer(policy: &Deflate, text: &str) {
    let (head, response) = ClientRequest::new("ws://a/").expect("a URL").deflate(policy.clone()).start(NONCE);
    let head = String::from_utf8(head.to_vec()).expect("ASCII");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: {text}\r\n\r\n"
    );
    let Ok(ResponseProgress::Done(established)) = response.handle_input(answer.as_bytes()) else { return };
    let params = established.deflate.expect("an answer that was taken");
    assert!(!params.server_takeover() || !head.contains("; server_no_context_takeover"));
    assert!((8..=15).contains(&params.server_window_bits()) && (8..=15).contains(&params.client_window_bits()));
}

/// Without context takeover and with it, agreed upon once: the handshake is not what `inflate` looks at.
static AGREED: LazyLock<[Agreed; 2]> = LazyLock::new(|| {
    [false, true].map(|takeover| {
        let policy = Deflate::default().server_takeover(takeover).client_takeover(takeover);
        agree(&policy, &policy)
    })
});

struct Agreed {
    server: DeflateParams,
    client: DeflateParams,
}

/// A whole opening handshake between ends of these policies.
fn agree(server: &Deflate, client: &Deflate) -> Agreed {
    let (head, response) = ClientRequest::new("ws://a/").expect("a URL").deflate(client.clone()).start(NONCE);
    let Ok(RequestProgress::Done { request, .. }) = ReadRequest::new(HandshakeLimits::default()).handle_input(&head)
    else {
        panic!("our own request")
    };
    let offer = Offer::check(&request).expect("our own request").deflate(server.clone());
    let accepted = offer.accept(None).expect("no subprotocol");
    let mut answer = BytesMut::new();
    write_response(&accepted.response, b"", &mut answer);
    let Ok(ResponseProgress::Done(established)) = response.handle_input(&answer) else { panic!("our own answer") };
    Agreed { server: accepted.deflate.expect("an offer"), client: established.deflate.expect("an answer") }
}

fn policy(choices: &mut Choices<'_>) -> Deflate {
    let (level, mem_level) = (1 + choices.below(9), 1 + choices.below(9));
    let (server, client) = (9 + choices.below(7), 9 + choices.below(7));
    let flags = choices.byte();
    let policy = Deflate::default().level(level).and_then(|policy| policy.mem_level(mem_level));
    let policy = policy.and_then(|policy| policy.server_window_bits(server)?.client_window_bits(client));
    let budget = if flags & 4 == 0 { 1 << 20 } else { 40_000 };
    policy
        .expect("numbers in their ranges")
        .server_takeover(flags & 1 != 0)
        .client_takeover(flags & 2 != 0)
        .threshold(scaled(flags >> 3))
        .budget(DeflateBudget::new(budget))
}

fn message(choices: &mut Choices<'_>, is_text: bool, longest: usize) -> Message {
    let (len, times) = (choices.byte(), scaled(choices.byte()));
    let once = choices.take(len.into());
    let most = longest.checked_div(once.len()).unwrap_or_default();
    let payload = once.repeat(times.min(most));
    match String::from_utf8(payload) {
        Ok(text) if is_text => Message::from(text),
        Ok(text) => Message::from(text.into_bytes()),
        Err(error) => Message::from(error.into_bytes()),
    }
}

fn push_fragments(wire: &mut Vec<u8>, from: Role, opcode: u8, payload: &[u8], step: usize) {
    let count = payload.len().div_ceil(step).max(1);
    for (n, start) in (0..count).map(|n| (n, n * step)) {
        let fin = if n + 1 == count { FIN } else { 0 };
        let first = if n == 0 { RSV1 | opcode } else { CONTINUATION };
        wire.extend(frame(from, fin | first, &payload[start..payload.len().min(start + step)]));
    }
}

/// An end that hears what it is fed, and keeps what it says.
struct Ear {
    connection: Connection,
    events: Vec<Event>,
    sent: Vec<u8>,
    now: Instant,
}

impl Ear {
    fn new(role: Role, agreed: &Agreed) -> Self {
        let now = Instant::now();
        let params = if role == Role::Server { &agreed.server } else { &agreed.client };
        let connection =
            connection(role, Config::with(|config| config.limits.max_message = MAX_MESSAGE), now).with_deflate(params);
        Self { connection, events: Vec::new(), sent: Vec::new(), now }
    }

    fn hear(&mut self, input: &[u8]) {
        let mut input = input.to_vec();
        let mut at = 0;
        while at < input.len() {
            at += self.connection.handle_input(&mut input[at..], self.now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        loop {
            match self.connection.poll_output() {
                Output::Event(event) => self.events.push(event),
                Output::Transmit => {
                    let mut outgoing = self.connection.outgoing();
                    while outgoing.has_remaining() {
                        let len = outgoing.chunk().len();
                        self.sent.extend_from_slice(outgoing.chunk());
                        outgoing.advance(len);
                    }
                }
                Output::Wait(_) => return,
                _ => {}
            }
        }
    }
}
