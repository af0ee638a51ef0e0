//! Group M of the hostile inputs: HTTP/2 itself, against a server set as we advise. Each line holds an answer on the wire
//! and a bound of memory, counted by an allocator that counts the whole process, the attacker included.
#![cfg(feature = "http2")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{
    BINARY, CLOSE, FIN, KIB, MIB, PONG, TEXT, close_payload,
    h2_frames::{
        ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, GOAWAY,
        HEADERS, NO_ERROR, PING, PROTOCOL_ERROR, Peer, RST_STREAM, SETTINGS, WINDOW_UPDATE, connect, connect_fields,
        frame, literals,
    },
    hyper::{FLOOD, Http, Server},
    masked, within,
};
use peak_alloc::PeakAlloc;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// One test at a time, so that each counts its own.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What an attacked connection may cost.
const BOUND: usize = 2 * MIB;

/// Counts from here on.
struct Memory {
    before: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Memory {
    async fn watch() -> Self {
        let alone = ALONE.lock().await;
        HEAP.reset_peak_usage();
        Self { before: HEAP.current_usage(), _alone: alone }
    }

    #[track_caller]
    fn assert_below(&self, bound: usize) {
        let grown = HEAP.peak_usage().saturating_sub(self.before);
        assert!(grown < bound, "{grown} bytes");
    }
}

async fn start() -> (Memory, Server, Peer) {
    let memory = Memory::watch().await;
    let server = Server::start().await;
    let peer = Peer::connect(server.address).await;
    (memory, server, peer)
}

/// Writes the frames one batch after the other until the server says GOAWAY; returns its code.
async fn attack_until_goaway(peer: &mut Peer, mut batch: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let attack = async {
        for round in 0..2_000 {
            if peer.attack(&batch(round)).await.is_err() {
                break;
            }
            // What has come meanwhile is looked at without waiting for more.
            while let Ok(frame) = timeout(Duration::ZERO, peer.read()).await {
                match frame {
                    Some(frame) if frame.kind == GOAWAY && frame.code() != NO_ERROR => return frame.code(),
                    Some(_) => {}
                    None => panic!("closed without a word"),
                }
            }
        }
        loop {
            let frame = peer.read().await.expect("a GOAWAY before the end");
            if frame.kind == GOAWAY {
                return frame.code();
            }
        }
    };
    within(20, attack).await
}

/// Client streams have odd numbers.
fn streams(round: u32, each: u32) -> impl Iterator<Item = u32> {
    (round * each..(round + 1) * each).map(|index| 2 * index + 1)
}

#[tokio::test]
async fn rapid_reset() {
    let (memory, _server, mut peer) = start().await;
    let cancel = CANCEL.to_be_bytes();
    let code = attack_until_goaway(&mut peer, |round| {
        let pairs = streams(round, 100).map(|id| [connect(id, "/never"), frame(RST_STREAM, 0, id, &cancel)].concat());
        pairs.collect::<Vec<_>>().concat()
    })
    .await;
    assert_eq!(code, ENHANCE_YOUR_CALM);
    memory.assert_below(BOUND);
}

#[tokio::test]
async fn made_you_reset() {
    let (memory, _server, mut peer) = start().await;
    // A window beyond the largest is an error of the stream: the server has to reset it (RFC 9113 section 6.9.1).
    let most = 0x7fff_ffff_u32.to_be_bytes();
    let code = attack_until_goaway(&mut peer, |round| {
        let pairs = streams(round, 10).map(|id| [connect(id, "/never"), frame(WINDOW_UPDATE, 0, id, &most)].concat());
        pairs.collect::<Vec<_>>().concat()
    })
    .await;
    assert_eq!(code, ENHANCE_YOUR_CALM);
    memory.assert_below(BOUND);
}

#[tokio::test]
async fn continuation_flood() {
    let (memory, _server, mut peer) = start().await;
    peer.write(&frame(HEADERS, 0, 1, &connect_fields("/echo"))).await;
    let piece = frame(CONTINUATION, 0, 1, &literals(&[("x-more", &"a".repeat(100))]));
    let code = attack_until_goaway(&mut peer, |_| piece.repeat(100)).await;
    assert_eq!(code, ENHANCE_YOUR_CALM);
    memory.assert_below(BOUND);
}

#[tokio::test]
async fn empty_data_flood() {
    let (memory, _server, mut peer) = start().await;
    peer.open(1, "/echo").await;
    let code = attack_until_goaway(&mut peer, |_| frame(DATA, 0, 1, &[]).repeat(100)).await;
    assert_eq!(code, ENHANCE_YOUR_CALM);
    memory.assert_below(BOUND);
}

/// A byte a frame, at a socket that is not read: the bytes would fit into the window, what each frame costs would not.
#[tokio::test]
async fn tiny_data_flood() {
    let (memory, _server, mut peer) = start().await;
    peer.open(1, "/slow").await;
    let code = attack_until_goaway(&mut peer, |_| frame(DATA, 0, 1, &[0]).repeat(100)).await;
    assert_eq!(code, ENHANCE_YOUR_CALM);
    memory.assert_below(BOUND);
}

/// A field of 3.9 KiB goes into the dynamic table once, then a byte stands for it, thousands of times in each request; and
/// the window is closed, so that no answer leaves.
#[tokio::test]
async fn hpack_bomb_with_a_stalled_window() {
    let (memory, _server, mut peer) = start().await;
    peer.write(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    let mut planted = connect_fields("/echo");
    // Literal with incremental indexing: a name of 1 byte, a value of 3,900 (RFC 7541 sections 5.1 and 6.2.1).
    planted.extend([0x40, 1, b'x', 0x7f, 0xbd, 0x1d]);
    planted.extend([b'v'; 3_900]);
    peer.write(&frame(HEADERS, END_HEADERS, 1, &planted)).await;
    // 0xbe is index 62, the newest entry. A few of them are more than the limit of 16 KiB, thousands an attack.
    let some = [connect_fields("/echo"), vec![0xbe; 5]].concat();
    for id in (3..).step_by(2).take(50) {
        peer.write(&frame(HEADERS, END_HEADERS, id, &some)).await;
    }
    for _ in 0..50 {
        // The one that planted the field has become a WebSocket; the others are refused with 431 and over.
        while within(5, peer.read_until(HEADERS)).await.flags & END_STREAM == 0 {}
    }
    memory.assert_below(BOUND);
    let bomb = [connect_fields("/echo"), vec![0xbe; 10_000]].concat();
    peer.write(&frame(HEADERS, END_HEADERS, 201, &bomb)).await;
    assert_eq!(within(5, peer.read_until(GOAWAY)).await.code(), ENHANCE_YOUR_CALM);
    memory.assert_below(BOUND);
}

/// Who asks and does not listen is not listened to either: nothing is queued for it. It stays connected, as back-pressure
/// costs the server nothing.
#[tokio::test]
async fn ping_and_settings_flood() {
    for (attack, answer) in [(frame(PING, 0, 0, &[7; 8]), PING), (frame(SETTINGS, 0, 0, &[]), SETTINGS)] {
        let (memory, _server, mut peer) = start().await;
        let many = attack.repeat(1_000);
        let mut whole = 0;
        // Until the buffers between the two are full.
        while timeout(Duration::from_millis(200), peer.write(&many)).await.is_ok() {
            whole += 1_000;
            assert!(whole < 10_000_000, "something queues them all");
        }
        memory.assert_below(BOUND);
        for _ in 0..whole {
            assert_eq!(within(5, peer.read_until(answer)).await.flags, ACK);
        }
    }
}

#[tokio::test]
async fn window_update_overflow() {
    let (memory, _server, mut peer) = start().await;
    let most = 0x7fff_ffff_u32.to_be_bytes();
    peer.open(1, "/slow").await;
    peer.write(&frame(WINDOW_UPDATE, 0, 1, &most)).await;
    let reset = within(5, peer.read_until(RST_STREAM)).await;
    assert_eq!((reset.stream, reset.code()), (1, FLOW_CONTROL_ERROR));
    peer.write(&frame(WINDOW_UPDATE, 0, 0, &most)).await;
    assert_eq!(within(5, peer.read_until(GOAWAY)).await.code(), FLOW_CONTROL_ERROR);
    memory.assert_below(BOUND);
}

/// More than the window allows is an error of whoever sends it.
#[tokio::test]
async fn more_than_the_window() {
    let (memory, _server, mut peer) = start().await;
    peer.open(1, "/slow").await;
    let data = frame(DATA, 0, 1, &[0; 16 * KIB]);
    let code = within(10, async {
        // The connection's window is that of 64 such frames.
        for _ in 0..65 {
            if peer.attack(&data).await.is_err() {
                break;
            }
        }
        // Of the stream or of the connection, whichever window the server finds overrun first.
        loop {
            let frame = peer.read().await.expect("the server says why");
            if frame.kind == RST_STREAM || frame.kind == GOAWAY {
                break frame.code();
            }
        }
    });
    assert_eq!(code.await, FLOW_CONTROL_ERROR);
    memory.assert_below(BOUND);
}

#[tokio::test]
async fn more_streams_than_allowed() {
    let (memory, _server, mut peer) = start().await;
    for id in streams(0, 101) {
        peer.write(&connect(id, "/never")).await;
    }
    let reset = within(5, peer.read_until(RST_STREAM)).await;
    assert_eq!(reset.stream, 201);
    memory.assert_below(BOUND);
}

/// A plain CONNECT has no path; one with a path but without `:protocol` is malformed, and so is one with headers of HTTP/1.
#[tokio::test]
async fn malformed_connects_are_reset() {
    let (memory, _server, mut peer) = start().await;
    let fields = [(":method", "CONNECT"), (":scheme", "http"), (":path", "/echo"), (":authority", "a")];
    let without_protocol = literals(&fields);
    let with_upgrade = [connect_fields("/echo"), literals(&[("upgrade", "websocket")])].concat();
    for (id, block) in [(1, without_protocol), (3, with_upgrade)] {
        peer.write(&frame(HEADERS, END_HEADERS, id, &block)).await;
        let reset = within(5, peer.read_until(RST_STREAM)).await;
        assert_eq!((reset.stream, reset.code()), (id, PROTOCOL_ERROR));
    }
    memory.assert_below(BOUND);
}

/// What comes before the 200 is the first of the WebSocket, not a body.
#[tokio::test]
async fn frames_before_the_answer_are_not_lost() {
    let (_memory, _server, mut peer) = start().await;
    let early = frame(DATA, 0, 1, &masked(TEXT | FIN, b"early"));
    peer.write(&[connect(1, "/late"), early].concat()).await;
    assert_eq!(within(5, peer.read_until(DATA)).await.payload, [&[TEXT | FIN, 5][..], b"early"].concat());
}

#[tokio::test]
async fn pings_are_answered_and_closing_ends_the_stream() {
    let (_memory, _server, mut peer) = start().await;
    peer.open(1, "/echo").await;
    peer.write(&frame(DATA, 0, 1, &masked(common::PING | FIN, b"?"))).await;
    assert_eq!(within(5, peer.read_until(DATA)).await.payload, [PONG | FIN, 1, b'?']);
    // As many as came together are answered together.
    let asked: Vec<u8> = (0..10).flat_map(|number| masked(common::PING | FIN, &[number])).collect();
    peer.write(&frame(DATA, 0, 1, &asked)).await;
    let mut answers = Vec::new();
    while answers.len() < 30 {
        answers.extend(within(5, peer.read_until(DATA)).await.payload);
    }
    assert_eq!(answers, (0..10).flat_map(|number| [PONG | FIN, 1, number]).collect::<Vec<_>>());
    peer.write(&frame(DATA, 0, 1, &masked(CLOSE | FIN, &close_payload(1000, "")))).await;
    let close = within(5, peer.read_until(DATA)).await;
    assert_eq!(close.payload[..2], [CLOSE | FIN, 2]);
    let last = if close.flags & END_STREAM == 0 { within(5, peer.read_until(DATA)).await } else { close };
    assert_eq!(last.flags & END_STREAM, END_STREAM, "the end of TCP is END_STREAM");
}

/// RFC 8441 section 5: `END_STREAM` is the end of TCP, `RST_STREAM` its reset.
#[tokio::test]
async fn ends_of_the_stream_are_ends_of_the_transport() {
    let (_memory, mut server, mut peer) = start().await;
    peer.open(1, "/watch").await;
    peer.write(&frame(DATA, END_STREAM, 1, &[])).await;
    assert_eq!(within(5, server.ends.recv()).await.unwrap(), "eof");
    peer.open(3, "/watch").await;
    peer.write(&frame(RST_STREAM, 0, 3, &CANCEL.to_be_bytes())).await;
    assert_eq!(within(5, server.ends.recv()).await.unwrap(), "eof");
    peer.open(5, "/watch").await;
    peer.write(&frame(RST_STREAM, 0, 5, &PROTOCOL_ERROR.to_be_bytes())).await;
    assert_eq!(within(5, server.ends.recv()).await.unwrap(), "io");
    peer.open(7, "/watch").await;
    let close = frame(DATA, END_STREAM, 7, &masked(CLOSE | FIN, &close_payload(4000, "")));
    peer.write(&close).await;
    assert_eq!(within(5, server.ends.recv()).await.unwrap(), "4000");
    peer.open(9, "/watch").await;
    drop(peer);
    assert!(["eof", "io"].contains(&&*within(5, server.ends.recv()).await.unwrap()));
}

/// A client that stops reading stops the server: what waits is a window, three writes and the connection's queue.
#[tokio::test]
async fn a_peer_that_does_not_read_holds_little() {
    let memory = Memory::watch().await;
    let server = Server::start().await;
    let mut socket = server.connect(Http::Two, "/flood").await.unwrap();
    let first = within(5, socket.recv()).await.unwrap().unwrap();
    // The server goes on by itself until it is stopped. Turns of the runtime, not time, decide how far it gets.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    memory.assert_below(BOUND);
    assert_eq!(first.len(), FLOOD.1);
    let mut count = 1;
    while let Some(message) = within(5, socket.recv()).await.unwrap() {
        assert_eq!(message.len(), FLOOD.1);
        count += 1;
    }
    assert_eq!(count, FLOOD.0);
    memory.assert_below(BOUND);
}

/// A server that stops reading stops the client.
#[tokio::test]
async fn a_server_that_does_not_read_stops_its_client() {
    let memory = Memory::watch().await;
    let server = Server::start().await;
    let mut socket = server.connect(Http::Two, "/slow").await.unwrap();
    let mut sent = 0;
    let message = bytes::Bytes::from(vec![7; 64 * KIB]);
    while timeout(Duration::from_millis(200), socket.send(message.clone())).await.is_ok() {
        sent += 1;
        assert!(sent < 100, "something queues them all");
    }
    memory.assert_below(BOUND);
    server.may_read.add_permits(1_000);
    for _ in 0..100 {
        within(5, socket.send(message.clone())).await.unwrap();
    }
    memory.assert_below(BOUND);
}

/// One stalled WebSocket does not stop the others of its connection.
#[tokio::test]
async fn a_stalled_stream_does_not_stop_the_others() {
    let (_memory, _server, mut peer) = start().await;
    peer.open(1, "/slow").await;
    let head = common::head(BINARY | FIN, 0x80, 1 << 20);
    peer.write(&frame(DATA, 0, 1, &head)).await;
    for _ in 0..15 {
        peer.write(&frame(DATA, 0, 1, &[0; 16 * KIB])).await;
    }
    peer.open(3, "/echo").await;
    peer.write(&frame(DATA, 0, 3, &masked(TEXT | FIN, b"hello"))).await;
    let echo = within(5, peer.read_until(DATA)).await;
    assert_eq!((echo.stream, &echo.payload[2..]), (3, b"hello".as_slice()));
}

/// The library's connection owns no buffer while it is idle; the rest is hyper's stream and task.
#[tokio::test]
async fn an_idle_stream_costs_little() {
    let (_memory, _server, mut peer) = start().await;
    peer.open(1, "/echo").await;
    let before = HEAP.current_usage();
    for id in (3..).step_by(2).take(90) {
        peer.open(id, "/echo").await;
    }
    let each = HEAP.current_usage().saturating_sub(before) / 90;
    assert!(each < 6 * KIB, "{each} bytes");
    eprintln!("{each} bytes for an idle WebSocket over HTTP/2");
}
