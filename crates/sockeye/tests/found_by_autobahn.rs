//! What cases of the Autobahn suite have shown.

mod common;

use std::time::Duration;

use common::{BINARY, FIN, PING, PONG, accept_over, masked, read_frame, server, with_keepalive, within};
use sockeye::Config;
use tokio::{
    io::{AsyncWriteExt, BufStream, duplex},
    time::sleep,
};

/// Case 12.5.15: `try_recv` with nothing at hand told the keepalive of an old instant, so that a peer that had never been
/// silent was asked for a sign of life.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_never_silent_is_not_pinged() {
    let (mut socket, mut peer) = server(64 * 1024, with_keepalive()).await;
    let echo = async {
        for _ in 0..60 {
            let mut next = socket.recv().await.unwrap();
            while let Some(message) = next {
                socket.feed(message).await.unwrap();
                next = socket.try_recv();
            }
        }
        socket.flush().await.unwrap();
    };
    let talk = async {
        for _ in 0..60 {
            peer.write_all(&masked(FIN | BINARY, b"here")).await.unwrap();
            let (first, _) = read_frame(&mut peer).await.unwrap();
            assert_ne!(first, FIN | PING);
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::join!(echo, talk);
}

/// Case 2.10 over HTTP/2, now and then: pings that came while the transport had taken everything and not passed it on got one
/// pong together, though it would have taken each.
#[tokio::test(start_paused = true)]
async fn pings_during_a_flush_have_a_pong_each() {
    const PINGS: u8 = 9;
    let (io, peer) = duplex(1_024);
    let (mut socket, mut peer) = accept_over(BufStream::new(io), peer, Config::default()).await;
    // More than the pipe takes, less than the buffer before it.
    socket.try_send(vec![0; 4_096]).unwrap();
    for number in 0..PINGS {
        peer.write_all(&masked(FIN | PING, &[number])).await.unwrap();
    }
    within(60, async {
        tokio::select! {
            biased;
            message = socket.recv() => panic!("{message:?}"),
            () = sleep(Duration::from_millis(1)) => {}
        }
        let reading = async {
            assert_eq!(read_frame(&mut peer).await.unwrap().0, FIN | BINARY);
            for number in 0..PINGS {
                assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | PONG, vec![number]));
            }
        };
        tokio::select! {
            message = socket.recv() => panic!("{message:?}"),
            () = reading => {}
        }
    })
    .await;
}
