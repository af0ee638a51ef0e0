//! Back-pressure: what waits, what is given back, what a flush means.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    future::Future,
    pin::pin,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll, Waker},
};

use common::{
    BINARY, FIN, KIB, TEXT, accept_over, assert_passed, masked, read_frame, server,
    transport::{Breaking, Holding},
    within,
};
use sockeye::{CloseCode, Config, Message, Prepared, SendError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::Instant,
};

fn small_queue() -> Config {
    Config::with(|config| {
        config.limits.high_water = 4 * KIB;
        config.limits.max_write_queue = 16 * KIB;
    })
}

/// `feed` and `ready` wait above `high_water`, and go on when the peer has read.
#[tokio::test(start_paused = true)]
async fn feed_waits_above_high_water_and_goes_on_below() {
    let (mut socket, mut peer) = server(KIB, small_queue()).await;
    within(60, async {
        let mut fed = 0;
        while socket.buffered_amount() <= 4 * KIB {
            socket.feed(vec![b'x'; 500]).await.unwrap();
            fed += 1;
            // The transport is full all the while.
            let _ = poll_once(socket.flush());
        }
        assert!(poll_once(socket.ready()).is_pending());
        assert!(poll_once(socket.feed("no")).is_pending());
        assert!(poll_once(socket.send("no")).is_pending());
        assert!(socket.buffered_amount() > 3 * KIB, "{}", socket.buffered_amount());
        let reading = async {
            for _ in 0..fed {
                assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | BINARY, vec![b'x'; 500]));
            }
        };
        let writing = async {
            socket.ready().await.unwrap();
            assert!(socket.buffered_amount() <= 4 * KIB);
            socket.flush().await.unwrap();
            assert_eq!(socket.buffered_amount(), 0);
        };
        tokio::join!(reading, writing);
        // The cancelled ones were not taken: "whole or not at all".
        socket.send("yes").await.unwrap();
        assert_eq!(read_frame(&mut peer).await.unwrap().1, b"yes");
    })
    .await;
}

/// One poll, then the future is dropped.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// `max_write_queue` gives the message back; a message above it is taken when nothing is queued.
#[tokio::test(start_paused = true)]
async fn a_full_queue_gives_the_message_back() {
    let (mut socket, mut peer) = server(64, small_queue()).await;
    within(60, async {
        socket.try_send(vec![1; 10 * KIB]).unwrap();
        let Err(SendError::Full(back)) = socket.try_send(vec![2; 10 * KIB]) else { panic!("there is no room") };
        assert_eq!(back, Message::from(vec![2; 10 * KIB]));
        let prepared = Prepared::new(Message::from(vec![3; 10 * KIB]));
        assert!(socket.try_send_prepared(&prepared).unwrap_err().is_full());
        socket.try_send("small").unwrap();
        let reading = async {
            for (first, len) in [(BINARY, 10 * KIB), (TEXT, 5), (BINARY, 100 * KIB), (BINARY, 10 * KIB)] {
                let (opcode, payload) = read_frame(&mut peer).await.unwrap();
                assert_eq!((opcode, payload.len()), (FIN | first, len));
            }
        };
        let writing = async {
            // Larger than the queue: waits until all else has left, then is taken.
            socket.send(vec![4; 100 * KIB]).await.unwrap();
            socket.send_prepared(&prepared).await.unwrap();
        };
        tokio::join!(reading, writing);
    })
    .await;
}

/// What cannot be sent any more comes back as such, from every method that sends.
#[tokio::test(start_paused = true)]
async fn nothing_is_taken_once_the_connection_is_closing() {
    let (mut socket, _peer) = server(KIB, Config::default()).await;
    socket.start_close(CloseCode::NORMAL, "");
    let Err(SendError::Closed(back)) = socket.try_send("late") else { panic!("it is closing") };
    assert_eq!(back.as_text(), Some("late"));
    let prepared = Prepared::new(Message::from("late"));
    within(60, async {
        assert!(socket.send("late").await.unwrap_err().is_closed());
        assert!(socket.feed("late").await.unwrap_err().is_closed());
        assert!(socket.ready().await.unwrap_err().is_closed());
        assert!(socket.send_prepared(&prepared).await.unwrap_err().is_closed());
        assert!(socket.ping(b""[..].try_into().unwrap()).await.unwrap_err().is_closed());
        socket.flush().await.unwrap();
    })
    .await;
}

/// A message that was taken and never left is not passed over: `flush` says so, however late it is asked.
#[tokio::test(start_paused = true)]
async fn flush_tells_that_something_never_left() {
    let (mut socket, peer) = server(64, Config::default()).await;
    socket.feed(vec![0; KIB]).await.unwrap();
    drop(peer);
    within(60, async {
        assert!(socket.recv().await.unwrap_err().is_abnormal());
        assert!(socket.discarded_amount() > 0);
        assert!(socket.flush().await.unwrap_err().is_closed());
        assert!(socket.send("late").await.unwrap_err().is_closed());
    })
    .await;
}

/// A failing transport is told by the method that met it, with the operating system's word as its source.
#[tokio::test(start_paused = true)]
async fn a_failed_write_is_the_senders_error() {
    let (mut socket, peer) = server(64, Config::default()).await;
    drop(peer);
    let error = within(60, socket.send("x")).await.unwrap_err();
    assert!(error.is_io() && error.is_abnormal() && !error.is_closed(), "{error:?}");
    assert!(std::error::Error::source(&error).is_some());
    assert!(within(60, socket.recv()).await.unwrap().is_none());
}

/// A transport with a buffer of its own, such as TLS, is flushed to the end, also when it says "not yet" first.
#[tokio::test(start_paused = true)]
async fn a_transport_that_holds_back_is_flushed() {
    let (io, peer) = duplex(KIB);
    let (mut socket, mut peer) = accept_over(Holding::new(io), peer, Config::default()).await;
    within(60, async {
        socket.send("sent").await.unwrap();
        let mut wire = [0; 6];
        // Not `read_exact`: what `send` has returned for is there already.
        assert_eq!(peer.read(&mut wire).await.unwrap(), 6);
        assert_eq!(&wire, b"\x81\x04sent");
        for _ in 0..3 {
            peer.write_all(&masked(FIN | TEXT, b"ask")).await.unwrap();
            let message = socket.recv().await.unwrap().unwrap();
            socket.feed(message).await.unwrap();
            tokio::select! {
                _ = socket.recv() => unreachable!("nobody sends"),
                frame = read_frame(&mut peer) => assert_eq!(frame.unwrap().1, b"ask"),
            }
        }
    })
    .await;
}

/// And if it never passes on what it holds, it is as dead as one that takes nothing (C14).
#[tokio::test(start_paused = true)]
async fn c14_a_transport_that_holds_back_for_ever() {
    let (io, peer) = duplex(KIB);
    let (mut socket, _peer) = accept_over(Holding::new(io), peer, Config::default()).await;
    socket.get_ref().stuck.store(true, Relaxed);
    let start = Instant::now();
    let error = within(60, socket.send("held")).await.unwrap_err();
    assert!(error.is_io(), "{error:?}");
    assert_passed(start, 10);
}

/// The end of such a transport waits for what it holds: the Close frame arrives.
#[tokio::test(start_paused = true)]
async fn a_close_frame_leaves_a_transport_that_holds_back() {
    let (io, peer) = duplex(KIB);
    let (mut socket, mut peer) = accept_over(Holding::new(io), peer, Config::default()).await;
    within(60, async {
        peer.write_all(&masked(FIN | common::CLOSE, &common::close_payload(1000, "bye"))).await.unwrap();
        assert!(socket.recv().await.unwrap().is_none());
        assert_eq!(read_frame(&mut peer).await.unwrap().0, FIN | common::CLOSE);
        // Shut down although it said "not yet": the peer sees the end while the socket still lives.
        assert!(read_frame(&mut peer).await.is_none());
    })
    .await;
    assert!(socket.close_outcome().unwrap().is_clean());
}

/// The write side that cannot be shut down does not keep the connection for longer than `close_timeout`.
#[tokio::test(start_paused = true)]
async fn a_transport_that_cannot_be_shut_down() {
    let (io, peer) = duplex(KIB);
    let (mut socket, mut peer) = accept_over(Holding::new(io), peer, Config::default()).await;
    let start = Instant::now();
    within(60, async {
        peer.write_all(&masked(FIN | common::CLOSE, b"")).await.unwrap();
        socket.get_ref().stuck.store(true, Relaxed);
        assert!(socket.recv().await.unwrap().is_none());
        assert_passed(start, 5);
        assert!(matches!(poll_once(socket.recv()), Poll::Ready(Ok(None))));
    })
    .await;
}

/// The first failure is the one told, at once: nothing more is asked of a dead transport, and no time is given to it.
#[tokio::test(start_paused = true)]
async fn a_dead_transport_is_not_asked_to_flush() {
    for by_receiving in [false, true] {
        let (io, peer) = duplex(KIB);
        let (mut socket, _peer) = accept_over(Breaking::new(io), peer, Config::default()).await;
        socket.get_ref().broken.store(true, Relaxed);
        let start = Instant::now();
        within(60, async {
            let error = if by_receiving {
                socket.feed("x").await.unwrap();
                socket.recv().await.unwrap_err()
            } else {
                socket.send("x").await.unwrap_err()
            };
            let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<std::io::Error>());
            assert_eq!(source.unwrap().kind(), std::io::ErrorKind::ConnectionReset);
            assert!(socket.flush().await.unwrap_err().is_closed());
            assert!(socket.recv().await.unwrap().is_none());
            assert!(socket.close(CloseCode::NORMAL, "").await.unwrap_err().is_closed());
            assert!(socket.close_outcome().is_none());
        })
        .await;
        assert_passed(start, 0);
    }
}

/// Whoever asked the sink whether it is ready is never told that it is full.
#[tokio::test(start_paused = true)]
async fn a_sink_that_was_ready_takes_any_message() {
    use futures_util::SinkExt;
    let (mut socket, _peer) = server(64, small_queue()).await;
    within(60, async {
        socket.try_send(vec![1; 3 * KIB]).unwrap();
        std::future::poll_fn(|cx| socket.poll_ready_unpin(cx)).await.unwrap();
        socket.start_send_unpin(Message::from(vec![2; 100 * KIB])).unwrap();
        assert!(poll_once(std::future::poll_fn(|cx| socket.poll_ready_unpin(cx))).is_pending());
        assert!(socket.start_send_unpin(Message::from("x")).unwrap_err().is_full());
    })
    .await;
}
