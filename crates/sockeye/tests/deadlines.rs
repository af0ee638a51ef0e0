//! Time: peers that vanish, stop reading, never finish, or flood. All on a clock that stands still.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{
    BINARY, CLOSE, FIN, KIB, MIB, PING, PONG, TEXT, assert_passed, head, masked, read_frame, server, up_to,
    with_keepalive, within,
};
use sockeye::{Config, Message};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};

/// C13: "found by ping within 35 s".
#[tokio::test(start_paused = true)]
async fn c13_a_dead_peer_is_found_within_35_seconds() {
    let (mut socket, mut peer) = server(KIB, with_keepalive()).await;
    let start = Instant::now();
    let error = within(120, socket.recv()).await.unwrap_err();
    assert_passed(start, 35);
    assert!(error.is_timeout());
    assert_eq!((error.code(), error.close_code()), ("pong_timeout", None));
    assert_eq!(read_frame(&mut peer).await.unwrap().0, FIN | PING);
    assert!(within(60, socket.recv()).await.unwrap().is_none());
}

/// A quiet peer that answers pings is never dropped; neither is one that talks.
#[tokio::test(start_paused = true)]
async fn a_quiet_peer_that_answers_pings_stays() {
    let (mut socket, mut peer) = server(KIB, with_keepalive()).await;
    let start = Instant::now();
    let answering = async {
        for _ in 0..100 {
            let (first, payload) = read_frame(&mut peer).await.unwrap();
            assert_eq!(first, FIN | PING);
            sleep(Duration::from_secs(9)).await;
            peer.write_all(&masked(FIN | PONG, &payload)).await.unwrap();
        }
        peer.write_all(&masked(FIN | TEXT, b"still here")).await.unwrap();
    };
    let (message, ()) = within(10_000, async { tokio::join!(socket.recv(), answering) }).await;
    assert_eq!(message.unwrap().unwrap().as_text(), Some("still here"));
    assert_passed(start, 100 * 34);
}

/// B21: pongs that nobody asked for prove nothing.
#[tokio::test(start_paused = true)]
async fn b21_unsolicited_pongs_do_not_count() {
    let (mut socket, mut peer) = server(KIB, with_keepalive()).await;
    let start = Instant::now();
    let lying = async {
        loop {
            sleep(Duration::from_millis(900)).await;
            // From the 26th second on: before it, anything that comes shows that the peer is there.
            if start.elapsed() > Duration::from_secs(26) && peer.write_all(&masked(FIN | PONG, b"here")).await.is_err()
            {
                return;
            }
        }
    };
    let error = within(120, async {
        tokio::select! {
            result = socket.recv() => result.unwrap_err(),
            () = lying => unreachable!("the socket lives longer"),
        }
    })
    .await;
    assert_eq!(error.code(), "pong_timeout");
    assert_passed(start, 35);
}

/// C14, E1: a peer that stops reading. Whatever method is waiting, 10 s.
#[tokio::test(start_paused = true)]
async fn c14_a_peer_that_stops_reading() {
    for by_send in [true, false] {
        let (mut socket, _peer) = server(64 * KIB, Config::default()).await;
        let start = Instant::now();
        let error = if by_send {
            within(60, socket.send(vec![0; MIB])).await.unwrap_err()
        } else {
            socket.try_send(vec![0; MIB]).unwrap();
            within(60, socket.recv()).await.unwrap_err()
        };
        assert_passed(start, 10);
        assert!(error.is_timeout());
        assert_eq!((error.code(), error.close_code()), ("write_timeout", None));
        assert_eq!(socket.discarded_amount(), MIB + 10 - 64 * KIB);
        assert!(within(60, socket.send("x")).await.unwrap_err().is_closed());
    }
}

/// E3: one byte a second is no progress.
#[tokio::test(start_paused = true)]
async fn e3_a_peer_that_reads_a_byte_a_second() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    let start = Instant::now();
    let crawling = async {
        while peer.read_u8().await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let sending = async {
        let error = socket.send(vec![0; MIB]).await.unwrap_err();
        let took = start.elapsed();
        drop(socket);
        (error, took)
    };
    let ((error, took), ()) = within(6_000, async { tokio::join!(sending, crawling) }).await;
    assert_eq!(error.code(), "write_timeout");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// A slow line is no crime: a send that makes progress for longer than a pong may take is not held against a peer whose
/// pongs, and the rest of whose message, nobody has read meanwhile.
#[tokio::test(start_paused = true)]
async fn a_long_send_does_not_blame_the_peer_for_what_was_not_read() {
    let (mut socket, mut peer) = server(4 * KIB, with_keepalive()).await;
    // The first half of a message, which the peer finishes only later.
    let message = masked(FIN | TEXT, b"Hello");
    peer.write_all(&message[..8]).await.unwrap();
    tokio::select! {
        biased;
        _ = socket.recv() => unreachable!("it is not whole"),
        () = sleep(Duration::from_secs(1)) => {}
    }
    let start = Instant::now();
    let reading = async {
        let mut left = 100 * KIB + 10;
        let mut part = [0; KIB];
        peer.write_all(&message[8..]).await.unwrap();
        while left > 0 {
            left -= peer.read(&mut part).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    };
    let (result, ()) = within(600, async { tokio::join!(socket.send(vec![0; 100 * KIB]), reading) }).await;
    result.unwrap();
    assert!(start.elapsed() > Duration::from_secs(90), "{:?}", start.elapsed());
    assert_eq!(within(60, socket.recv()).await.unwrap(), Some(Message::from("Hello")));
}

/// B17: fragments without FIN, a byte a second; B9: a header that announces 1 MiB, then nothing.
#[tokio::test(start_paused = true)]
async fn b17_b9_a_message_has_30_seconds() {
    for fragments in [true, false] {
        let (mut socket, mut peer) = server(64 * KIB, up_to(MIB)).await;
        let start = Instant::now();
        let crawling = async {
            if !fragments {
                let mut header = head(FIN | BINARY, 0x80, MIB as u64);
                header.extend_from_slice(&[1; 4]);
                peer.write_all(&header).await.unwrap();
            }
            for i in 0.. {
                let bytes = if fragments { masked(if i == 0 { BINARY } else { 0 }, b"x") } else { vec![0] };
                if peer.write_all(&bytes).await.is_err() || start.elapsed() > Duration::from_secs(29) {
                    break;
                }
                sleep(Duration::from_secs(1)).await;
            }
            let close = read_frame(&mut peer).await.unwrap();
            assert_passed(start, 30);
            drop(peer);
            close
        };
        let (result, (first, payload)) = within(120, async { tokio::join!(socket.recv(), crawling) }).await;
        let error = result.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(error.code(), "message_timeout");
        assert_eq!((first, &payload[..2]), (FIN | CLOSE, &1008_u16.to_be_bytes()[..]));
    }
}

/// B20: "≤ 1 pong queued; over 50/s·100 → 1008", to a peer that never reads.
#[tokio::test(start_paused = true)]
async fn b20_a_ping_flood_from_a_peer_that_never_reads() {
    let (mut socket, mut peer) = server(256, Config::default()).await;
    // Keeps the transport full, so that every pong has to wait.
    socket.try_send(vec![0; KIB]).unwrap();
    let ping = masked(FIN | PING, &[b'p'; 125]);
    let flooding = async {
        for _ in 0..100_000 {
            if peer.write_all(&ping).await.is_err() {
                break;
            }
        }
        peer
    };
    let mut most = 0;
    let receiving = async {
        let error = std::future::poll_fn(|cx| {
            let polled = socket.poll_recv(cx);
            most = most.max(socket.buffered_amount());
            polled
        })
        .await
        .unwrap()
        .unwrap_err();
        drop(socket);
        error
    };
    let start = Instant::now();
    let (error, _peer) = within(120, async { tokio::join!(receiving, flooding) }).await;
    assert_eq!(error.code(), "control_flood");
    assert!(start.elapsed() <= Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(most <= KIB + 4 + 127 + 125, "{most} bytes queued");
}

/// Pings at the allowed rate are answered one by one while the peer reads.
#[tokio::test(start_paused = true)]
async fn b20_pings_within_the_rate_are_answered_each() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    let pinging = async {
        for i in 0_u32..1_000 {
            peer.write_all(&masked(FIN | PING, &i.to_be_bytes())).await.unwrap();
            assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | PONG, i.to_be_bytes().to_vec()));
            sleep(Duration::from_millis(20)).await;
        }
    };
    within(120, async {
        tokio::select! {
            result = socket.recv() => unreachable!("{result:?}"),
            () = pinging => {}
        }
    })
    .await;
}

/// Time that is longer than the clock is no reason to fail.
#[tokio::test(start_paused = true)]
async fn limits_beyond_the_end_of_the_clock() {
    let mut config = with_keepalive();
    config.limits.write_timeout = Duration::MAX;
    config.limits.close_timeout = Duration::MAX;
    config.limits.message_timeout = Duration::MAX;
    if let Some(keepalive) = &mut config.keepalive {
        keepalive.interval = Duration::MAX;
        keepalive.timeout = Duration::MAX;
    }
    let (mut socket, mut peer) = server(64, config).await;
    peer.write_all(&masked(TEXT, b"unfinished")).await.unwrap();
    tokio::select! {
        result = socket.send(vec![0; KIB]) => unreachable!("{result:?}"),
        result = sleep(Duration::from_secs(3_600)) => result,
    }
    socket.start_close(sockeye::CloseCode::NORMAL, "");
    tokio::select! {
        result = socket.recv() => unreachable!("{result:?}"),
        () = sleep(Duration::from_secs(3_600)) => {}
    }
}

/// A peer that asks for a connection and does not take the answer is not waited for longer than for its request.
#[tokio::test(start_paused = true)]
async fn r5_a_response_that_nobody_takes() {
    let (io, mut peer) = tokio::io::duplex(16);
    let asking = async {
        peer.write_all(common::UPGRADE).await.unwrap();
        peer
    };
    let (accepted, _peer) = within(60, Box::pin(async { tokio::join!(sockeye::accept(io), asking) })).await;
    assert!(accepted.unwrap_err().is_timeout());
}
