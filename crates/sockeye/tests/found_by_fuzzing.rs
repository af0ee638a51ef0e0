//! Defects that `fuzz/` found in this crate, each as the shortest conversation that showed it.
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use sockeye::{Client, Config, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, BufStream, duplex};

/// The client's end over a transport that buffers what is written (8 KiB, as `BufStream` does), with 64 bytes of room behind it;
/// and the server's end.
async fn buffered_client(
    config: Config,
) -> (WebSocket<impl AsyncRead + AsyncWrite + Unpin>, WebSocket<impl AsyncRead + AsyncWrite + Unpin>) {
    let (near, far) = duplex(64);
    let connect = Client::new("ws://example.org/").unwrap().config(config).connect_over(BufStream::new(near));
    let (client, server) = tokio::join!(connect, sockeye::accept(far));
    (client.unwrap(), server.unwrap())
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The queue was below `high_water`, but `ready` waited until the transport had emptied its own buffer as well.
#[tokio::test]
async fn ready_does_not_wait_for_a_flush() {
    let config = Config::with(|config| config.limits.high_water = 500);
    let (mut client, mut server) = buffered_client(config).await;
    client.try_send("x".repeat(2_400)).unwrap();
    assert!(matches!(poll_once(client.ready()), Poll::Ready(Ok(()))));
    let (flushed, received) = tokio::join!(client.flush(), server.recv());
    flushed.unwrap();
    assert_eq!(received.unwrap().unwrap().len(), 2_400);
}
