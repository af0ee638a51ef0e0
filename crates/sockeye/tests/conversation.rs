//! Two ends that mean well: messages in, messages out, and what it costs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{pin::pin, sync::atomic::Ordering::Relaxed};

use common::{
    BINARY, CLOSE, FIN, KIB, MIB, PING, PONG, TEXT, accept_over, close_payload, head, masked, pair, plain, read_frame,
    server,
    transport::{Counting, Flaky},
    up_to, within,
};
use futures_util::{SinkExt, StreamExt, stream::FusedStream};
use sockeye::{CloseCode, Config, ControlPayload, Message, Prepared, ReadyState, Role, Transport, WebSocket};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, duplex},
    net::TcpStream,
};

fn assert_send_sync<T: Send + Sync + Unpin>(_: &T) {}
fn assert_send<T: Send>(_: T) {}

/// What the library promises about its types: they go to any thread, and they are small.
#[tokio::test(start_paused = true)]
async fn sizes_and_threads() {
    let (mut socket, _peer) = server(KIB, Config::default()).await;
    assert_send_sync(&socket);
    assert_send(socket.recv());
    assert_send(socket.send("x"));
    assert_send(socket.feed("x"));
    assert_send(socket.close(CloseCode::NORMAL, ""));
    assert_send(sockeye::connect("ws://a/"));
    let size = size_of::<WebSocket<TcpStream>>();
    println!("size_of::<WebSocket<TcpStream>>() = {size}");
    println!("size_of::<WebSocket<Transport>>() = {}", size_of::<WebSocket<Transport>>());
    println!("size_of::<Error>() = {}", size_of::<sockeye::Error>());
    assert!(size <= 400, "the task of an idle connection would be 128 bytes more: {size}");
    assert_eq!(size_of::<sockeye::Error>(), 8);
    // A task has room for the largest future that it awaits, and is moved with it before it begins.
    let message = size_of::<Message>() + size_of::<usize>();
    assert_eq!(size_of_val(&socket.send("x")), message);
    assert_eq!(size_of_val(&socket.feed("x")), message);
    let opening = size_of_val(&sockeye::accept(duplex(KIB).0));
    println!("size_of_val(&accept(io)) = {opening}");
    assert!(opening <= 1_344, "{opening}");
}

/// Serves one connection as the first example of the documentation does.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocket<S>) -> WebSocket<S> {
    while let Some(message) = socket.recv().await.unwrap() {
        socket.send(message).await.unwrap();
    }
    socket
}

/// "Every message comes back as it was, same kind (text or binary), any length."
#[tokio::test(start_paused = true)]
async fn both_kinds_and_every_form_of_length_come_back() {
    let (mut client, server) = pair(duplex(64 * KIB), up_to(MIB)).await;
    let serving = tokio::spawn(echo(server));
    within(60, async {
        for len in [0, 1, 125, 126, 127, 1_000, 65_535, 65_536, 100_000, MIB] {
            for message in [Message::from("x".repeat(len)), Message::from(vec![0xff; len])] {
                client.send(message.clone()).await.unwrap();
                assert!(client.recv().await.unwrap().unwrap() == message, "{len}");
            }
        }
        let outcome = client.close(CloseCode::NORMAL, "done").await.unwrap();
        assert!(outcome.is_clean() && outcome.code() == 1000);
        let server = serving.await.unwrap();
        assert_eq!(server.close_outcome().unwrap().reason(), "done");
        assert_eq!((client.role(), server.role()), (Role::Client, Role::Server));
        assert_eq!((client.url(), server.url()), (Some("ws://a/"), None));
        assert_eq!((client.extensions(), client.protocol()), ("", None));
    })
    .await;
}

/// Messages of 1 MiB and 8 MiB are read straight into their own memory (DESIGN, the road of one message): in any split, and
/// with text whose code points are cut by the reads.
#[tokio::test(start_paused = true)]
async fn large_messages_survive_odd_splits() {
    let text = "a🐟ä€".repeat(MIB / 10);
    for (seed, most) in [(1, 7_919), (2, 65_536), (3, 100_003)] {
        let (client_io, server_io) = duplex(64 * KIB);
        let io = (Flaky::new(client_io, seed, most), Flaky::new(server_io, seed + 100, most));
        let (mut client, server) = pair(io, up_to(9 * MIB)).await;
        let serving = tokio::spawn(echo(server));
        within(600, async {
            let binary: Vec<u8> = (0..8 * MIB).map(|i| u8::try_from(i % 251).unwrap()).collect();
            for message in [Message::from(text.as_str()), Message::from(binary)] {
                // Not `send`: the echo begins before all has left, and somebody has to read it.
                client.try_send(message.clone()).unwrap();
                assert!(client.recv().await.unwrap().unwrap() == message);
            }
            assert!(client.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
            serving.await.unwrap();
        })
        .await;
    }
}

/// A bad byte in a large text is found while it is being read into its own memory, not at its end (C3).
#[tokio::test(start_paused = true)]
async fn c3_a_bad_byte_in_a_large_text_fails_before_its_end() {
    let (mut socket, mut peer) = server(MIB, up_to(MIB)).await;
    let mut start = head(FIN | TEXT, 0x80, MIB as u64);
    start.extend_from_slice(&[0; 4]);
    start.extend_from_slice(&vec![b'a'; 300 * KIB]);
    start.push(0xff);
    within(60, async {
        peer.write_all(&start).await.unwrap();
        let error = socket.recv().await.unwrap_err();
        assert_eq!((error.code(), error.close_code()), ("invalid_utf8", Some(CloseCode::INVALID_PAYLOAD)));
        assert_eq!(read_frame(&mut peer).await.unwrap().1[..2], 1007_u16.to_be_bytes());
    })
    .await;
}

/// DESIGN: "Replies to pipelined messages leave together": 16 messages in one read are answered with one write.
#[tokio::test(start_paused = true)]
async fn replies_to_pipelined_messages_leave_in_one_write() {
    for (vectored, len) in [(true, 128), (false, 128), (true, 3_000), (false, 3_000)] {
        let (io, peer) = duplex(MIB);
        let (mut socket, mut peer) = accept_over(Counting::new(io, vectored), peer, Config::default()).await;
        let writes = socket.get_ref().writes.clone();
        let before = writes.load(Relaxed);
        let pipelined: Vec<u8> = (0..16).flat_map(|i| masked(FIN | TEXT, &vec![b'a' + i; len])).collect();
        peer.write_all(&pipelined).await.unwrap();
        let serving = tokio::spawn(async move {
            while let Some(message) = socket.recv().await.unwrap() {
                socket.feed(message).await.unwrap();
            }
        });
        within(60, async {
            for i in 0..16 {
                assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | TEXT, vec![b'a' + i; len]));
            }
        })
        .await;
        assert_eq!(writes.load(Relaxed) - before, 1, "vectored: {vectored}, {len} bytes");
        serving.abort();
    }
}

/// Payloads that are not copied leave with the small frames around them in one vectored write; a transport that takes one
/// piece at a time gets them in order.
#[tokio::test(start_paused = true)]
async fn shared_payloads_leave_in_one_vectored_write() {
    for vectored in [true, false] {
        let (io, peer) = duplex(MIB);
        let (mut socket, mut peer) = accept_over(Counting::new(io, vectored), peer, Config::default()).await;
        let writes = socket.get_ref().writes.clone();
        let before = writes.load(Relaxed);
        let prepared = Prepared::new(Message::from(vec![7; 9_000]));
        within(60, async {
            for _ in 0..3 {
                socket.feed("small").await.unwrap();
                socket.try_send_prepared(&prepared).unwrap();
            }
            socket.send_prepared(&prepared).await.unwrap();
            for _ in 0..3 {
                assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | TEXT, b"small".to_vec()));
                assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | BINARY, vec![7; 9_000]));
            }
            assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | BINARY, vec![7; 9_000]));
        })
        .await;
        assert_eq!(writes.load(Relaxed) - before, 1, "vectored: {vectored}");
    }
}

/// "`recv` flushes before it waits."
#[tokio::test(start_paused = true)]
async fn recv_flushes_before_it_waits() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    socket.feed("queued").await.unwrap();
    assert_eq!(socket.buffered_amount(), 8);
    within(60, async {
        tokio::select! {
            _ = socket.recv() => unreachable!("nobody sends"),
            frame = read_frame(&mut peer) => assert_eq!(frame.unwrap().1, b"queued"),
        }
    })
    .await;
    assert_eq!(socket.buffered_amount(), 0);
}

/// Frames that come in the same segment as the opening handshake are kept (A14), and those of a client may.
#[tokio::test(start_paused = true)]
async fn a14_frames_right_behind_the_request_are_not_lost() {
    let (io, mut peer) = duplex(4 * KIB);
    let early = [common::UPGRADE, &masked(FIN | TEXT, b"early"), &masked(FIN | PING, b"p")].concat();
    within(60, async {
        peer.write_all(&early).await.unwrap();
        let mut socket = sockeye::accept(io).await.unwrap();
        assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("early"));
        peer.write_all(&masked(FIN | TEXT, b"late")).await.unwrap();
        assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("late"));
        common::read_head(&mut peer).await;
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | PONG, b"p".to_vec()));
    })
    .await;
}

/// Pings of ours reach the peer, its pongs are taken note of in silence, and a program sees messages only.
#[tokio::test(start_paused = true)]
async fn pings_are_ours_to_send_and_pongs_are_no_messages() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    within(60, async {
        socket.ping(ControlPayload::try_from(&b"there?"[..]).unwrap()).await.unwrap();
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | PING, b"there?".to_vec()));
        peer.write_all(&masked(FIN | PONG, b"there?")).await.unwrap();
        peer.write_all(&masked(FIN | TEXT, b"after")).await.unwrap();
        assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("after"));
    })
    .await;
}

/// The view for code built on `futures`: a stream that ends, a sink that closes.
#[tokio::test(start_paused = true)]
async fn stream_and_sink() {
    let (mut socket, mut peer) = server(64 * KIB, Config::default()).await;
    within(60, async {
        for text in ["a", "b"] {
            peer.write_all(&masked(FIN | TEXT, text.as_bytes())).await.unwrap();
        }
        let first = socket.next().await.unwrap().unwrap();
        SinkExt::feed(&mut socket, first).await.unwrap();
        let second = socket.next().await.unwrap().unwrap();
        SinkExt::send(&mut socket, second).await.unwrap();
        assert_eq!(read_frame(&mut peer).await.unwrap().1, b"a");
        assert_eq!(read_frame(&mut peer).await.unwrap().1, b"b");
        SinkExt::close(&mut socket).await.unwrap();
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | CLOSE, close_payload(1000, "")));
        assert!(SinkExt::send(&mut socket, Message::from("late")).await.unwrap_err().is_closed());
        peer.write_all(&masked(FIN | CLOSE, &close_payload(1000, ""))).await.unwrap();
        assert!(socket.next().await.is_none() && socket.next().await.is_none());
        assert!(FusedStream::is_terminated(&socket));
        assert!(socket.close_outcome().unwrap().is_clean());
    })
    .await;
}

/// An error comes once; then the stream has ended.
#[tokio::test(start_paused = true)]
async fn a_stream_ends_after_its_error() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    within(60, async {
        peer.write_all(&plain(FIN | TEXT, b"unmasked")).await.unwrap();
        drop(peer);
        assert_eq!(socket.next().await.unwrap().unwrap_err().code(), "mask_missing");
        assert!(socket.next().await.is_none());
        assert_eq!(socket.ready_state(), ReadyState::Closed);
        assert!(socket.recv().await.unwrap().is_none());
        assert!(socket.close(CloseCode::NORMAL, "").await.unwrap_err().is_closed());
    })
    .await;
}

/// A `select!` loop over `recv` and a timer loses nothing, however often `recv` is dropped (C15).
#[tokio::test(start_paused = true)]
async fn c15_recv_in_a_select_loop() {
    let (mut socket, mut peer) = server(64 * KIB, Config::default()).await;
    let message = masked(FIN | TEXT, &[b'x'; 1_000]);
    let writing = async {
        for byte in message {
            peer.write_all(&[byte]).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
        peer
    };
    let mut writing = pin!(writing);
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(1));
    let mut cancelled = 0;
    let message = within(60, async {
        let mut done = None;
        loop {
            tokio::select! {
                received = socket.recv() => return received.unwrap().unwrap(),
                _ = ticks.tick() => cancelled += 1,
                peer = &mut writing, if done.is_none() => done = Some(peer),
            }
        }
    })
    .await;
    assert_eq!(message.as_bytes(), [b'x'; 1_000]);
    assert!(cancelled > 1_000, "{cancelled}");
}

/// What came with the last message is at hand without another turn; a ping among it waits for `recv`, which answers it.
#[tokio::test(start_paused = true)]
async fn try_recv_gives_what_came_together() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    within(60, async {
        assert!(socket.try_recv().is_none(), "nothing came");
        let ping = masked(FIN | PING, b"?");
        let wire = [masked(FIN | TEXT, b"1"), masked(FIN | TEXT, b"2"), ping, masked(FIN | TEXT, b"3")].concat();
        peer.write_all(&wire).await.unwrap();
        assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("1"));
        assert_eq!(socket.try_recv().unwrap().as_text(), Some("2"));
        assert!(socket.try_recv().is_none(), "the ping is next");
        assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("3"));
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | PONG, b"?".to_vec()));
    })
    .await;
}
