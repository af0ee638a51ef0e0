//! One connection with much input does not keep a thread to itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use common::{FIN, MIB, PONG, TEXT, head, masked, server, up_to, within};
use sockeye::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::{TcpListener, TcpStream},
    task::yield_now,
};

/// Messages that tokio lets a task handle before others have a turn.
const BUDGET: usize = 128;

/// Counts how often another task has its turn while `work` is being done.
async fn turns_of_others<F: Future<Output = ()> + Send + 'static>(work: F) -> usize {
    let (turns, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let other = tokio::spawn({
        let (turns, done) = (turns.clone(), done.clone());
        async move {
            while !done.load(Relaxed) {
                turns.fetch_add(1, Relaxed);
                yield_now().await;
            }
        }
    });
    let working = tokio::spawn(async move {
        work.await;
        done.store(true, Relaxed);
    });
    within(60, async {
        working.await.unwrap();
        other.await.unwrap();
    })
    .await;
    turns.load(Relaxed)
}

#[tokio::test]
async fn b13_ten_thousand_frames_in_one_segment() {
    let (mut socket, mut peer) = server(MIB, Config::default()).await;
    let wire: Vec<u8> = (0..10_000).flat_map(|_| masked(FIN | TEXT, b"")).collect();
    peer.write_all(&wire).await.unwrap();
    drop(peer);
    let turns = turns_of_others(async move {
        for _ in 0..10_000 {
            assert!(socket.recv().await.unwrap().unwrap().is_empty());
        }
    })
    .await;
    println!("B13: 10,000 messages, {turns} turns of another task");
    assert!(turns >= 10_000 / BUDGET, "{turns}");
}

/// Over TCP, with an echo that nobody reads until the end.
#[tokio::test]
async fn b13_over_tcp_with_echo() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let stream = listener.accept().await.unwrap().0;
    peer.write_all(common::UPGRADE).await.unwrap();
    let mut socket = sockeye::accept(stream).await.unwrap();
    assert_eq!(socket.peer_addr().unwrap(), peer.local_addr().unwrap());
    common::read_head(&mut peer).await;
    let wire: Vec<u8> = (0..10_000).flat_map(|_| masked(FIN | TEXT, b"x")).collect();
    let writing = tokio::spawn(async move {
        peer.write_all(&wire).await.unwrap();
        let mut echoed = vec![0; 30_000];
        peer.read_exact(&mut echoed).await.unwrap();
        assert!(echoed.chunks(3).all(|frame| frame == b"\x81\x01x"));
    });
    let turns = turns_of_others(async move {
        for _ in 0..10_000 {
            let message = socket.recv().await.unwrap().unwrap();
            socket.feed(message).await.unwrap();
        }
        socket.flush().await.unwrap();
        writing.await.unwrap();
    })
    .await;
    assert!(turns >= 10_000 / BUDGET, "{turns}");
}

/// Frames that are no messages are no way around the budget: `recv` never returns here, and still others have their turn.
#[tokio::test]
async fn pongs_without_end_do_not_starve_others() {
    let config = Config::with(|config| {
        config.limits.control_rate = 1_000_000;
        config.limits.control_burst = 1_000_000;
    });
    let (mut socket, mut peer) = server(MIB, config).await;
    let wire: Vec<u8> = (0..10_000).flat_map(|_| masked(FIN | PONG, b"")).collect();
    peer.write_all(&wire).await.unwrap();
    drop(peer);
    let turns = turns_of_others(async move { assert!(socket.recv().await.is_err()) }).await;
    assert!(turns >= 10_000 / BUDGET, "{turns}");
}

/// Nor is a large message that comes in small pieces.
#[tokio::test]
async fn a_large_message_in_small_pieces_does_not_starve_others() {
    let (io, mut peer) = duplex(MIB + 100);
    peer.write_all(common::UPGRADE).await.unwrap();
    let config = sockeye::ServerConfig::with(|config| config.connection = Arc::new(up_to(MIB)));
    // A transport without a budget of its own would not yield; those of tokio do.
    let io = common::transport::Flaky::new(io, 1, 100);
    let mut socket = sockeye::Handshake::read(io, &config).await.unwrap().accept().await.unwrap();
    let mut start = head(FIN | TEXT, 0x80, MIB as u64);
    start.extend_from_slice(&[0; 4]);
    peer.write_all(&start).await.unwrap();
    peer.write_all(&vec![b'x'; MIB]).await.unwrap();
    let turns = turns_of_others(async move {
        assert_eq!(socket.recv().await.unwrap().unwrap().len(), MIB);
    })
    .await;
    assert!(turns >= 100, "{turns}");
}
