//! The closing handshake over a transport and in time: group C of the list of hostile inputs, C9 to C16, and B22.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{
    BINARY, CLOSE, FIN, KIB, MIB, PING, TEXT, assert_passed, client, close_payload, masked, pair, plain, read_frame,
    server, up_to, within,
};
use sockeye::{CloseCode, Config, Party, ReadyState};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, sleep},
};

/// This end closes, the peer answers: clean, and the server ends TCP first (RFC 6455 section 7.1.1).
#[tokio::test(start_paused = true)]
async fn a_close_that_is_answered() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    let answering = async {
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | CLOSE, close_payload(4100, "why")));
        peer.write_all(&masked(FIN | CLOSE, &close_payload(4100, "why"))).await.unwrap();
        assert!(read_frame(&mut peer).await.is_none(), "the server ends TCP");
    };
    let closing = socket.close(CloseCode::new(4100).unwrap(), "why");
    let (outcome, ()) = within(60, async { tokio::join!(closing, answering) }).await;
    let outcome = outcome.unwrap();
    assert!(outcome.is_clean());
    assert_eq!((outcome.code(), outcome.reason(), outcome.initiator()), (4100, "why", Party::Local));
    assert_eq!(socket.close_outcome(), Some(&outcome));
    assert_eq!(socket.ready_state(), ReadyState::Closed);
    assert_eq!(within(60, socket.close(CloseCode::NORMAL, "again")).await.unwrap(), outcome);
    assert!(within(60, socket.recv()).await.unwrap().is_none());
}

/// The peer closes: its Close is answered with the same code, `recv` says `None`.
#[tokio::test(start_paused = true)]
async fn a_close_of_the_peer() {
    for (payload, code, reason) in
        [(close_payload(1001, "leaving"), 1001, "leaving"), (close_payload(3999, ""), 3999, ""), (Vec::new(), 1005, "")]
    {
        let (mut socket, mut peer) = server(KIB, Config::default()).await;
        within(60, async {
            peer.write_all(&masked(FIN | CLOSE, &payload)).await.unwrap();
            assert!(socket.recv().await.unwrap().is_none());
            let outcome = socket.close_outcome().unwrap();
            assert!(outcome.is_clean());
            assert_eq!((outcome.code(), outcome.reason(), outcome.initiator()), (code, reason, Party::Remote));
            let (first, answer) = read_frame(&mut peer).await.unwrap();
            assert_eq!((first, answer.get(..2)), (FIN | CLOSE, payload.get(..2)));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn c9_both_sides_close_at_once() {
    let (mut client, mut server) = pair(duplex(KIB), Config::default()).await;
    client.start_close(CloseCode::GOING_AWAY, "c");
    server.start_close(CloseCode::SERVICE_RESTART, "s");
    let start = Instant::now();
    let (at_client, at_server) = within(60, async { tokio::join!(client.recv(), server.recv()) }).await;
    assert!(at_client.unwrap().is_none() && at_server.unwrap().is_none());
    assert_eq!(client.close_outcome().unwrap().code(), 1012);
    assert_eq!(server.close_outcome().unwrap().code(), 1001);
    drop(server);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn c10_close_then_the_end_of_tcp_at_once() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    peer.write_all(&masked(FIN | CLOSE, &close_payload(1000, ""))).await.unwrap();
    // Gone for both directions: our answer cannot be written.
    drop(peer);
    assert!(within(60, socket.recv()).await.unwrap().is_none());
    assert!(socket.close_outcome().unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn c11_a_peer_that_never_answers_our_close() {
    let (mut socket, _peer) = server(KIB, Config::default()).await;
    let start = Instant::now();
    let outcome = within(60, socket.close(CloseCode::NORMAL, "")).await.unwrap();
    assert_passed(start, 5);
    assert!(!outcome.is_clean());
    assert_eq!((outcome.code(), outcome.initiator()), (1006, Party::Local));
    assert_eq!(socket.discarded_amount(), 0);
}

/// A peer that goes on sending does not prolong it.
#[tokio::test(start_paused = true)]
async fn c11_a_peer_that_talks_on_instead_of_answering() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    let start = Instant::now();
    let talking = async {
        while peer.write_all(&masked(FIN | TEXT, b"bla")).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let closing = async {
        let outcome = socket.close(CloseCode::NORMAL, "").await.unwrap();
        drop(socket);
        outcome
    };
    let (outcome, ()) = within(60, async { tokio::join!(closing, talking) }).await;
    assert_passed(start, 5);
    assert!(!outcome.is_clean());
}

#[tokio::test(start_paused = true)]
async fn c12_a_peer_that_answers_and_keeps_tcp_open() {
    // The client waits for the server to end TCP, so this is its case.
    let (mut socket, mut peer) = client(KIB, Config::default()).await;
    let start = Instant::now();
    let answering = async {
        read_frame(&mut peer).await.unwrap();
        peer.write_all(&plain(FIN | CLOSE, &close_payload(1000, ""))).await.unwrap();
        sleep(Duration::from_secs(60)).await;
    };
    let outcome = within(120, async {
        tokio::select! {
            outcome = socket.close(CloseCode::NORMAL, "") => outcome.unwrap(),
            () = answering => unreachable!("dropped before"),
        }
    })
    .await;
    assert_passed(start, 5);
    assert!(outcome.is_clean());

    // The server does not wait at all.
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    let start = Instant::now();
    peer.write_all(&masked(FIN | CLOSE, &close_payload(1000, ""))).await.unwrap();
    assert!(within(60, socket.recv()).await.unwrap().is_none());
    assert_passed(start, 0);
}

#[tokio::test(start_paused = true)]
async fn c16_close_while_a_mebibyte_is_queued() {
    // A peer that reads gets all of it, then the Close frame.
    let (mut socket, mut peer) = server(4 * KIB, up_to(2 * MIB)).await;
    socket.try_send(vec![7; MIB]).unwrap();
    let reading = async {
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | BINARY, vec![7; MIB]));
        assert_eq!(read_frame(&mut peer).await.unwrap().0, FIN | CLOSE);
        peer.write_all(&masked(FIN | CLOSE, &close_payload(1000, ""))).await.unwrap();
    };
    let (outcome, ()) = within(60, async { tokio::join!(socket.close(CloseCode::NORMAL, ""), reading) }).await;
    assert!(outcome.unwrap().is_clean());
    assert_eq!(socket.discarded_amount(), 0);

    // One that does not: over at the deadline, and it is said how much never left.
    let (mut socket, _peer) = server(4 * KIB, up_to(2 * MIB)).await;
    socket.try_send(vec![7; MIB]).unwrap();
    let start = Instant::now();
    let outcome = within(60, socket.close(CloseCode::NORMAL, "")).await.unwrap();
    assert_passed(start, 5);
    assert!(!outcome.is_clean());
    assert_eq!(socket.discarded_amount(), 10 + MIB - 4 * KIB + 4);
    assert_eq!(socket.buffered_amount(), 0);
}

/// B22: what follows a Close frame is not read, and gets no answer.
#[tokio::test(start_paused = true)]
async fn b22_frames_after_the_close_frame() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    let mut wire = masked(FIN | CLOSE, &close_payload(1000, ""));
    wire.extend(masked(FIN | TEXT, b"late"));
    wire.extend(masked(FIN | PING, b"late"));
    wire.extend(b"\xff\xff\xff\xff");
    within(60, async {
        peer.write_all(&wire).await.unwrap();
        assert!(socket.recv().await.unwrap().is_none());
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | CLOSE, close_payload(1000, "")));
        assert!(read_frame(&mut peer).await.is_none());
    })
    .await;
}

/// Messages that come between our Close frame and the peer's are still given by `recv`.
#[tokio::test(start_paused = true)]
async fn messages_under_way_when_we_close() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    socket.start_close(CloseCode::NORMAL, "");
    within(60, async {
        peer.write_all(&masked(FIN | TEXT, b"under way")).await.unwrap();
        assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("under way"));
        peer.write_all(&masked(FIN | CLOSE, b"")).await.unwrap();
        assert!(socket.recv().await.unwrap().is_none());
    })
    .await;
}

/// A violation: the peer is told why, sees the end of TCP, and has 5 s to leave.
#[tokio::test(start_paused = true)]
async fn a_violation_is_answered_and_ends_in_time() {
    let violations: [(&[u8], u16, &str); 5] = [
        (b"\x81\x01x", 1002, "mask_missing"),
        (b"\xc1\x80\0\0\0\0", 1002, "reserved_bits"),
        (b"\x81\x81\0\0\0\0\xff", 1007, "invalid_utf8"),
        (b"\x82\xff\0\0\0\0\0\x10\0\x01\0\0\0\0", 1009, "frame_too_big"),
        (b"\x88\x81\0\0\0\0\x03", 1002, "close_too_short"),
    ];
    for (wire, code, name) in violations {
        let (mut socket, mut peer) = server(KIB, Config::default()).await;
        let start = Instant::now();
        peer.write_all(wire).await.unwrap();
        let watching = async {
            let (first, payload) = read_frame(&mut peer).await.unwrap();
            assert_eq!((first, &payload[..2]), (FIN | CLOSE, &code.to_be_bytes()[..]));
            assert!(read_frame(&mut peer).await.is_none(), "the write side is shut down");
            peer
        };
        // It stays connected all the same, and goes on writing.
        let (error, mut peer) = within(60, async { tokio::join!(socket.recv(), watching) }).await;
        let error = error.unwrap_err();
        assert_eq!((error.code(), error.close_code().map(CloseCode::get)), (name, Some(code)));
        assert_passed(start, 5);
        assert!(within(60, socket.recv()).await.unwrap().is_none());
        assert!(socket.close_outcome().is_none());
        drop(socket);
        assert!(peer.write_all(b"x").await.is_err());
    }
}

/// `abort`: the peer sees the end of TCP and no Close frame, which its library calls abnormal.
#[tokio::test(start_paused = true)]
async fn abort_sends_no_close_frame() {
    let (mut client, mut server) = pair(duplex(64), Config::default()).await;
    client.try_send(vec![0; KIB]).unwrap();
    client.abort();
    let error = within(60, server.recv()).await.unwrap_err();
    assert!(error.is_abnormal() && !error.is_timeout() && !error.is_protocol());
    assert_eq!((error.code(), error.close_code(), error.guilty()), ("eof", None, None));
}

/// The end in the middle of a frame is no message and no clean close.
#[tokio::test(start_paused = true)]
async fn the_end_inside_a_message() {
    for cut in 1..12 {
        let (mut socket, mut peer) = server(KIB, Config::default()).await;
        peer.write_all(&masked(FIN | TEXT, b"Hello!")[..cut]).await.unwrap();
        drop(peer);
        assert!(within(60, socket.recv()).await.unwrap_err().is_abnormal(), "{cut}");
    }
}

/// A half-closed TCP connection is over: RFC 6455 has no half-open state.
#[tokio::test(start_paused = true)]
async fn a_peer_that_ends_its_half() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    peer.shutdown().await.unwrap();
    assert!(within(60, socket.recv()).await.unwrap_err().is_abnormal());
    drop(socket);
    let mut rest = Vec::new();
    within(60, peer.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
}
