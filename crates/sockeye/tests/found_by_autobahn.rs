//! What cases of the Autobahn suite have shown.

mod common;

use std::time::Duration;

use common::{BINARY, FIN, PING, masked, read_frame, server, with_keepalive};
use tokio::{io::AsyncWriteExt, time::sleep};

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
