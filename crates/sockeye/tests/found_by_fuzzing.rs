//! Defects that `fuzz/` found in this crate, each as the shortest conversation that showed it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use common::{BINARY, CONTINUATION, FIN, KIB, TEXT, masked, pair, server};
use sockeye::{Client, CloseCode, Config, Event, ReadyState, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, duplex};

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

/// The end came before the split, of which the sender heard nothing: it said `Closing` for ever.
#[tokio::test]
async fn a_socket_split_after_its_end_is_closed_in_both_halves() {
    let (mut client, mut server) = pair(duplex(KIB), Config::default()).await;
    let (closed, end) = tokio::join!(client.close(CloseCode::NORMAL, ""), server.recv());
    assert!(closed.unwrap().is_clean() && end.unwrap().is_none());
    let (sender, receiver) = client.split();
    assert_eq!((sender.ready_state(), receiver.ready_state()), (ReadyState::Closed, ReadyState::Closed));
}

/// The message of a reader that was dropped at once came after the next one.
#[tokio::test]
async fn try_recv_does_not_overtake_a_reader() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    peer.write_all(&[masked(FIN | TEXT, b"one"), masked(FIN | TEXT, b"two")].concat()).await.unwrap();
    assert!(socket.reader().await.unwrap().is_some());
    assert_eq!(socket.try_recv(), None);
    let mut one = String::new();
    socket.reader().await.unwrap().unwrap().read_to_string(&mut one).await.unwrap();
    assert_eq!(one, "one");
    assert_eq!(socket.try_recv().unwrap().as_text(), Some("two"));
}

/// After `recv` had said that nothing more comes, a reader went on with what another had left.
#[tokio::test]
async fn at_the_end_recv_drops_what_a_reader_has_left() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    peer.write_all(&masked(FIN | TEXT, b"one")).await.unwrap();
    assert!(socket.reader().await.unwrap().is_some());
    drop(peer);
    assert!(socket.close(CloseCode::NORMAL, "").await.is_ok_and(|outcome| !outcome.is_clean()));
    assert_eq!(socket.recv().await.unwrap(), None);
    assert!(socket.reader().await.unwrap().is_none());
}

/// Parts were dropped by a `close` that was given up itself, and a reader began in the middle of their message.
#[tokio::test]
async fn no_reader_begins_in_a_message_that_close_has_dropped() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    assert!(poll_once(socket.reader()).is_pending());
    peer.write_all(&masked(BINARY, b"begin")).await.unwrap();
    assert!(poll_once(socket.close(CloseCode::NORMAL, "")).is_pending());
    peer.write_all(&[masked(FIN | CONTINUATION, b"end"), masked(FIN | TEXT, b"next")].concat()).await.unwrap();
    assert_next_is(&mut socket, "next").await;
}

/// Beside the above: the rest of a message of which a reader has seen the beginning.
#[tokio::test]
async fn close_drops_what_a_reader_has_left() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    peer.write_all(&masked(TEXT, b"begin")).await.unwrap();
    assert_eq!(socket.reader().await.unwrap().unwrap().read().await.unwrap().unwrap(), "begin");
    peer.write_all(&masked(CONTINUATION, b"middle")).await.unwrap();
    assert!(poll_once(socket.close(CloseCode::NORMAL, "")).is_pending());
    peer.write_all(&[masked(FIN | CONTINUATION, b"end"), masked(FIN | TEXT, b"next")].concat()).await.unwrap();
    assert_next_is(&mut socket, "next").await;
}

/// Beside the above: `recv_event` gave parts, of which its documentation knows nothing.
#[tokio::test]
async fn recv_event_passes_over_what_a_reader_has_left() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    peer.write_all(&masked(TEXT, b"begin")).await.unwrap();
    assert_eq!(socket.reader().await.unwrap().unwrap().read().await.unwrap().unwrap(), "begin");
    peer.write_all(&[masked(FIN | CONTINUATION, b"end"), masked(FIN | TEXT, b"next")].concat()).await.unwrap();
    let event = socket.recv_event().await.unwrap().unwrap();
    assert!(matches!(&event, Event::Message(message) if message.as_text() == Some("next")), "{event:?}");
}

async fn assert_next_is(socket: &mut WebSocket<DuplexStream>, text: &str) {
    let mut whole = String::new();
    socket.reader().await.unwrap().unwrap().read_to_string(&mut whole).await.unwrap();
    assert_eq!(whole, text);
}
