//! The protocol: single steps, and whole messages through a connection.
use std::{hint::black_box, sync::Arc, time::Instant};

use bytes::{Buf, Bytes, BytesMut};
use gungraun::prelude::*;
use sockeye_proto::{
    Config, Connection, Deflate, DeflateParams, Event, Message, Output, Utf8Bytes,
    frame::{Header, MaskKey, OpCode, Rsv},
    handshake::{HandshakeLimits, Offer, ReadRequest, RequestProgress, write_response},
};

const KEY: MaskKey = MaskKey([0x37, 0xfa, 0x21, 0x3d]);
const SMALL: usize = 128;

library_benchmark_group!(name = steps, benchmarks = [header_decode, unmask, utf8, handshake]);
library_benchmark_group!(name = messages, benchmarks = [encode, receive, echo, echo_16, deflate, inflate]);

// --- steps -------------------------------------------------------------------------------------

/// A client's frame with a payload of so many bytes, all zero.
fn header(len: u64) -> Vec<u8> {
    let header = Header { fin: true, rsv: Rsv::NONE, opcode: OpCode::Binary, mask: Some(KEY), len };
    header.encode().as_slice().to_vec()
}

#[library_benchmark]
#[bench::len_7(header(100))]
#[bench::len_16(header(1_000))]
#[bench::len_64(header(100_000))]
fn header_decode(header: Vec<u8>) -> (Option<(Header, usize)>, Vec<u8>) {
    (Header::decode(black_box(&header)).ok().flatten(), header)
}

fn zeros(len: usize) -> Vec<u8> {
    vec![0; len]
}

#[library_benchmark]
#[bench::b16(zeros(16))]
#[bench::b128(zeros(SMALL))]
#[bench::kib1(zeros(1_024))]
#[bench::kib64(zeros(65_536))]
fn unmask(mut payload: Vec<u8>) -> Vec<u8> {
    black_box(KEY).apply(black_box(&mut payload), 0);
    payload
}

/// So many bytes at least: words of ASCII, or of two, three and four bytes a letter among them.
fn text(len: usize, is_ascii: bool) -> Bytes {
    let words = if is_ascii { "the fish swims " } else { "the Käse 魚 swims 🐟 " };
    Bytes::from(words.repeat(len.div_ceil(words.len())))
}

#[library_benchmark]
#[bench::ascii_128(text(SMALL, true))]
#[bench::ascii_64_kib(text(65_536, true))]
#[bench::mixed_128(text(SMALL, false))]
#[bench::mixed_64_kib(text(65_536, false))]
fn utf8(payload: Bytes) -> Option<Utf8Bytes> {
    Utf8Bytes::try_from(black_box(payload)).ok()
}

/// As a browser sends it.
const UPGRADE: &[u8] = b"GET /chat HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: http://example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// The opening handshake of a server: the request read, judged and answered.
fn answer(policy: Option<Deflate>) -> (BytesMut, Option<DeflateParams>) {
    let reading = ReadRequest::new(HandshakeLimits::default());
    let Ok(RequestProgress::Done { request, .. }) = reading.handle_input(UPGRADE) else { unreachable!("it is whole") };
    let accepted = Offer::check(&request).unwrap_or_else(|refusal| unreachable!("{}", refusal.reason()));
    let accepted = accepted.deflate(policy).accept(None).unwrap_or_else(|error| unreachable!("{error}"));
    let mut head = BytesMut::new();
    write_response(&accepted.response, b"", &mut head);
    (head, accepted.deflate)
}

#[library_benchmark]
#[bench::plain(None)]
#[bench::deflate(Some(Deflate::default()))]
fn handshake(policy: Option<Deflate>) -> (BytesMut, Option<DeflateParams>) {
    black_box(answer(black_box(policy)))
}

// --- whole messages ----------------------------------------------------------------------------

/// An open connection of a server, what it gets next, and what it sends next.
struct Setup {
    connection: Connection,
    input: Vec<u8>,
    message: Message,
    now: Instant,
}

impl Setup {
    /// For `messages` in one piece of input, each of which has come and gone once before.
    fn new(message: Message, messages: usize) -> Self {
        let mut payload = message.as_bytes().to_vec();
        KEY.apply(&mut payload, 0);
        let frame = [header(message.len() as u64), payload].concat();
        Self::with(|connection| connection, message, &frame.repeat(messages))
    }

    /// For messages of JSON, compressed without context takeover.
    fn compressing() -> Self {
        let (_, agreed) = answer(Some(Deflate::default()));
        let agreed = agreed.unwrap_or_else(|| unreachable!("the client offers it"));
        let message = Message::from(json());
        let with_deflate = |connection: Connection| connection.with_deflate(&agreed);
        let mut wire = Self::with(with_deflate, message.clone(), b"").encode();
        // What this server sends, as a client would: without context takeover both compress alike.
        let payload = wire.split_off(4);
        let mut payload = payload.to_vec();
        KEY.apply(&mut payload, 0);
        let [first, ..] = *wire else { unreachable!("a header") };
        let mut head = header(payload.len() as u64);
        head[0] = first;
        Self::with(with_deflate, message, &[head, payload].concat())
    }

    fn with(make: impl FnOnce(Connection) -> Connection, message: Message, input: &[u8]) -> Self {
        let now = Instant::now();
        let connection = make(Connection::server(Arc::new(Config::default()), now));
        let mut setup = Self { connection, input: input.to_vec(), message, now };
        setup.encode();
        setup.echo();
        setup.input.copy_from_slice(input);
        setup
    }

    /// Queues the message and takes what leaves.
    fn encode(&mut self) -> BytesMut {
        let sent = self.connection.send(self.message.clone());
        debug_assert!(sent.is_ok());
        let mut wire = BytesMut::with_capacity(2 * 1_024);
        drain(&mut self.connection, |bytes| wire.extend_from_slice(bytes));
        wire
    }

    /// All messages of the input go back. The connection owns nothing then.
    fn echo(&mut self) {
        let Self { connection, input, now, .. } = self;
        each_message(connection, input, *now, |connection, message| {
            let sent = connection.send(message);
            debug_assert!(sent.is_ok());
        });
        drain(connection, |bytes| {
            black_box(bytes);
        });
    }

    /// The last message of the input.
    fn receive(&mut self) -> Option<Message> {
        let mut last = None;
        each_message(&mut self.connection, &mut self.input, self.now, |_, message| last = Some(message));
        last
    }
}

/// 1 KiB, as an interface answers: a list of objects of the same kind.
fn json() -> String {
    let entries = (0..9_u32).map(|n| {
        let (x, y) = (n * 7_919 % 1_000, n * 104_729 % 1_000);
        format!(r#"{{"id":{},"type":"move","user":"anna-{n}","at":{{"x":{x},"y":{y}}},"time":16999{n}12{x},"visible":true}}"#, 4_000 + n)
    });
    format!("[{}]", entries.collect::<Vec<_>>().join(","))
}

/// Feeds all input, and does something with each message that comes of it, as the driver does.
fn each_message(
    connection: &mut Connection,
    mut input: &mut [u8],
    now: Instant,
    mut f: impl FnMut(&mut Connection, Message),
) {
    while !input.is_empty() {
        let used = connection.handle_input(input, now);
        input = &mut input[used..];
        while let Output::Event(Event::Message(message)) = connection.poll_output() {
            f(connection, message);
        }
    }
}

/// Takes what waits to be written, piece by piece.
fn drain(connection: &mut Connection, mut f: impl FnMut(&[u8])) {
    let mut outgoing = connection.outgoing();
    while outgoing.has_remaining() {
        let piece = outgoing.chunk();
        f(piece);
        let len = piece.len();
        outgoing.advance(len);
    }
}

fn small() -> Setup {
    Setup::new(Message::from(zeros(SMALL)), 1)
}

// A message of 128 bytes into the queue of what is to be sent.
#[library_benchmark]
#[bench::b128(small())]
fn encode(mut setup: Setup) -> Setup {
    let sent = setup.connection.send(black_box(setup.message.clone()));
    debug_assert!(sent.is_ok());
    setup
}

// A message of 128 bytes from the input.
#[library_benchmark]
#[bench::b128(small())]
fn receive(mut setup: Setup) -> (Option<Message>, Setup) {
    (setup.receive(), setup)
}

// Received, sent, taken by the transport, and idle again.
#[library_benchmark]
#[bench::b128(small())]
fn echo(mut setup: Setup) -> Setup {
    setup.echo();
    setup
}

// Sixteen at once, as pipelining clients send them.
#[library_benchmark]
#[bench::b128(Setup::new(Message::from(zeros(SMALL)), 16))]
fn echo_16(mut setup: Setup) -> Setup {
    setup.echo();
    setup
}

// 1 KiB of JSON compressed with the thread's context, without context takeover.
#[library_benchmark]
#[bench::json_1_kib(Setup::compressing())]
fn deflate(mut setup: Setup) -> Setup {
    let sent = setup.connection.send(black_box(setup.message.clone()));
    debug_assert!(sent.is_ok());
    setup
}

// And inflated.
#[library_benchmark]
#[bench::json_1_kib(Setup::compressing())]
fn inflate(mut setup: Setup) -> (Option<Message>, Setup) {
    (setup.receive(), setup)
}
