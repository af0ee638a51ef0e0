//! Futures that are dropped: what was not sent never is, and nothing is lost for those that stay.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::future::IntoFuture;

use common::{Server, publication, within};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::{join, select};

/// Polled once and dropped before the driver can run, which is a task of the same thread.
#[tokio::test]
async fn what_is_dropped_at_once_is_never_sent() {
    let server = Server::start().await;
    let client = server.client().connect().unwrap();
    let mut peer = server.accept().await;
    within(client.ready()).await.unwrap();
    assert!(client.publish("a", &1).into_future().now_or_never().is_none());
    assert!(client.publish_bytes("a", vec![1]).volatile().into_future().now_or_never().is_none());
    assert!(client.subscribe("a").into_future().now_or_never().is_none());
    assert!(client.presence("a").now_or_never().is_none());
    assert!(client.history("a").into_future().now_or_never().is_none());
    assert!(client.history("a").pages().next().now_or_never().is_none());
    assert!(client.call::<Value>("m", &1).now_or_never().is_none());
    assert!(client.ping().now_or_never().is_none());
    let last = async {
        let ping = peer.expect("ping").await;
        peer.ok(&ping, json!({})).await;
    };
    let (pinged, ()) = join!(within(client.ping()), last);
    pinged.unwrap();
}

#[tokio::test]
async fn what_is_dropped_when_it_was_sent_is_not_sent_again() {
    let server = Server::start().await;
    let client = server.client().connect().unwrap();
    let mut peer = server.accept().await;
    select! {
        _ = client.publish("a", &1).into_future() => panic!("nobody answered"),
        _ = client.subscribe("a").into_future() => panic!("nobody answered"),
        _ = client.presence("a") => panic!("nobody answered"),
        _ = client.history("a").into_future() => panic!("nobody answered"),
        _ = client.call::<Value>("m", &1) => panic!("nobody answered"),
        () = async {
            for _ in 0..5 {
                peer.recv().await;
            }
        } => {}
    }
    // The subscription that was asked for is left again.
    assert_eq!(peer.expect("unsubscribe").await["unsubscribe"], "a");
    drop(peer);
    let mut peer = server.accept().await;
    let last = async {
        let ping = peer.expect("ping").await;
        peer.ok(&ping, json!({})).await;
    };
    let (pinged, ()) = join!(within(client.ping()), last);
    pinged.unwrap();
}

/// `next` is dropped between any two polls.
#[tokio::test]
async fn next_loses_nothing() {
    let server = Server::start().await;
    let client = server.client().connect().unwrap();
    let serving = async {
        let mut peer = server.accept().await;
        peer.subscribed(0, 0).await;
        for offset in 1..=500 {
            peer.publication("a", offset).await;
        }
        peer
    };
    let reading = async {
        let mut subscription = within(client.subscribe("a").into_future()).await.unwrap();
        for offset in 1..=400 {
            let publication = loop {
                if let Some(Some(event)) = subscription.next().now_or_never() {
                    break event;
                }
                tokio::task::yield_now().await;
            };
            assert!(matches!(publication, sockeye_client::Event::Publication(it) if it.offset == Some(offset)));
        }
        // As a stream it is the same.
        assert!(within(StreamExt::next(&mut subscription)).await.is_some());
        assert_eq!(publication(&mut subscription).await.offset, Some(402));
    };
    join!(serving, reading);
}

#[tokio::test]
async fn unsubscribe_and_close_are_settled_when_first_polled() {
    let server = Server::start().await;
    let client = server.client().connect().unwrap();
    let (mut peer, subscription) = join!(
        async {
            let mut peer = server.accept().await;
            peer.subscribed(0, 0).await;
            peer
        },
        async { within(client.subscribe("a").into_future()).await.unwrap() }
    );
    assert!(subscription.unsubscribe().now_or_never().is_none());
    assert_eq!(peer.expect("unsubscribe").await["unsubscribe"], "a");
    // The connection goes before the answer: it is over all the same.
    let mut state = client.state();
    assert!(client.ready().now_or_never().is_some());
    assert!(client.close().now_or_never().is_none());
    assert_eq!(within(peer.socket.recv()).await.unwrap(), None);
    within(state.wait_for(sockeye_client::State::is_closed)).await.unwrap();
}
