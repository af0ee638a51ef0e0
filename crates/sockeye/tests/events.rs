//! Pings and pongs, for those who ask for them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{FIN, KIB, PING, PONG, TEXT, close_payload, masked, read_frame, server, within};
use sockeye::{Config, ControlPayload, Event, Message};
use tokio::io::AsyncWriteExt;

#[tokio::test(start_paused = true)]
async fn recv_event_gives_pings_and_pongs_in_order_and_ends_with_none() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    let payload = |text: &str| ControlPayload::try_from(text.as_bytes()).unwrap();
    let frames = [
        masked(FIN | PING, b"a"),
        masked(FIN | TEXT, b"hello"),
        masked(FIN | PONG, b"unasked"),
        masked(FIN | common::CLOSE, &close_payload(1000, "")),
    ];
    peer.write_all(&frames.concat()).await.unwrap();
    let peer = tokio::spawn(async move {
        assert_eq!(read_frame(&mut peer).await, Some((FIN | PONG, b"a".to_vec())));
        while read_frame(&mut peer).await.is_some() {}
    });
    within(10, async {
        assert_eq!(socket.recv_event().await.unwrap(), Some(Event::Ping(payload("a"))));
        assert_eq!(socket.recv_event().await.unwrap(), Some(Event::Message(Message::from("hello"))));
        assert_eq!(socket.recv_event().await.unwrap(), Some(Event::Pong(payload("unasked"))));
        assert_eq!(socket.recv_event().await.unwrap(), None);
        assert_eq!(socket.recv_event().await.unwrap(), None);
    })
    .await;
    assert!(socket.close_outcome().unwrap().is_clean());
    drop(socket);
    within(10, peer).await.unwrap();
}
