//! What cases of the Autobahn suite have shown.

mod common;

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::{
    BINARY, FIN, PING, PONG, UPGRADE, accept_over, masked, read_frame, read_head, server, transport::Joined,
    with_keepalive, within,
};
use sockeye::Config;
use tokio::{
    io::{AsyncWriteExt, BufStream, BufWriter, duplex, simplex},
    time::sleep,
};

/// One poll, then the future is dropped.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

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

/// The same of the halves, which never had it.
#[tokio::test(start_paused = true)]
async fn pings_during_a_flush_have_a_pong_each_from_the_halves() {
    const PINGS: u8 = 9;
    for together in [false, true] {
        let ((mut peer_read, write), (read, mut peer)) = (simplex(1_024), simplex(1_024));
        peer.write_all(UPGRADE).await.unwrap();
        let socket = sockeye::accept(Joined(read, BufWriter::new(write))).await.unwrap();
        read_head(&mut peer_read).await;
        let (mut sender, mut receiver) = socket.split();
        // More than the pipe takes, less than the buffer before it.
        sender.try_send(vec![0; 4_096]).unwrap();
        assert!(poll_once(sender.flush()).is_pending());
        let pings: Vec<_> = (0..PINGS).map(|number| masked(FIN | PING, &[number])).collect();
        within(60, async {
            if together {
                peer.write_all(&pings.concat()).await.unwrap();
                assert!(poll_once(receiver.recv()).is_pending());
            } else {
                for ping in pings {
                    peer.write_all(&ping).await.unwrap();
                    assert!(poll_once(receiver.recv()).is_pending());
                }
            }
            let reading = async {
                assert_eq!(read_frame(&mut peer_read).await.unwrap().0, FIN | BINARY);
                for number in 0..PINGS {
                    assert_eq!(read_frame(&mut peer_read).await.unwrap(), (FIN | PONG, vec![number]));
                }
            };
            tokio::select! {
                message = receiver.recv() => panic!("{message:?}"),
                () = reading => {}
            }
        })
        .await;
    }
}
