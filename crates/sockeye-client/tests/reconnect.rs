//! Connections that are lost, over real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{Server, publication, within};
use futures_util::FutureExt;
use serde_json::json;
use sockeye_client::{Event, Limits, State};
use tokio::join;

#[tokio::test]
async fn each_publication_once_across_three_connections() {
    let server = Server::start().await;
    let client = server.client().connect().unwrap();
    let serving = async {
        let mut peer = server.accept().await;
        peer.subscribed(5, 0).await;
        peer.publication("a", 6).await;
        // Gone without a word.
        drop(peer);
        let mut peer = server.accept().await;
        let again = peer.subscribed(8, 2).await;
        assert_eq!(again["since"], json!({"epoch": "e", "offset": 6}));
        peer.publication("a", 7).await;
        peer.close(1012).await;
        let mut peer = server.accept().await;
        let again = peer.subscribed(8, 1).await;
        assert_eq!(again["since"], json!({"epoch": "e", "offset": 7}));
        for offset in [7, 8, 9] {
            peer.publication("a", offset).await;
        }
        peer
    };
    let reading = async {
        let mut subscription = within(client.subscribe("a").into_future()).await.unwrap();
        for offset in 6..=9 {
            assert_eq!(publication(&mut subscription).await.offset, Some(offset));
        }
        subscription
    };
    let (mut peer, subscription) = join!(serving, reading);
    // The last handle closes the connection.
    drop(client);
    drop(subscription);
    while within(peer.socket.recv()).await.unwrap().is_some() {}
    assert_eq!(peer.socket.close_outcome().unwrap().code(), 1000);
}

#[tokio::test]
async fn publications_keep_their_keys_and_their_order() {
    let server = Server::start().await;
    let client = server.client().connect().unwrap();
    let serving = async {
        let mut peer = server.accept().await;
        let first = [peer.expect("publish").await, peer.expect("publish").await, peer.expect("publish").await];
        // The answer to the last arrives, those to the others do not.
        peer.ok(&first[2], json!({"epoch": "e", "offset": 3})).await;
        // A command that is answered shows that what was said before has been heard.
        let ping = peer.expect("ping").await;
        peer.ok(&ping, json!({})).await;
        drop(peer);
        let mut peer = server.accept().await;
        for (offset, before) in [(1, &first[0]), (2, &first[1])] {
            let again = peer.expect("publish").await;
            assert_eq!((&again["key"], &again["data"]), (&before["key"], &before["data"]));
            peer.ok(&again, json!({"epoch": "e", "offset": offset})).await;
        }
        assert_ne!(first[0]["key"], first[1]["key"]);
        peer
    };
    let publishing = async {
        let publish = |number: u64| {
            let publish = client.publish("a", &number);
            async move { within(publish.into_future()).await.unwrap().unwrap().offset }
        };
        let third = async {
            let offset = publish(3).await;
            within(client.ping()).await.unwrap();
            offset
        };
        assert_eq!(join!(publish(1), publish(2), third), (1, 2, 3));
    };
    join!(serving, publishing);
}

#[tokio::test]
async fn it_is_usable_before_there_is_a_server() {
    let server = Server::start().await;
    let client = server.client().connect().unwrap();
    let early = client.publish("a", &1).into_future();
    let serving = async {
        // The first one turns it away, the second does not speak our protocol.
        server.refuse().await;
        server.accept_without_protocol().await;
        let mut peer = server.accept().await;
        let publish = peer.expect("publish").await;
        peer.ok(&publish, json!({})).await;
        peer
    };
    let (published, _peer) = join!(within(early), serving);
    assert_eq!(published.unwrap(), None);
}

#[tokio::test]
async fn final_close_codes_are_the_end() {
    let server = Server::start().await;
    let client = server.client().connect().unwrap();
    let serving = async {
        let mut peer = server.accept().await;
        peer.subscribed(5, 0).await;
        peer.publication("a", 6).await;
        peer.close(4003).await;
    };
    let reading = async {
        let mut subscription = within(client.subscribe("a").into_future()).await.unwrap();
        assert_eq!(publication(&mut subscription).await.offset, Some(6));
        let Some(Event::Ended { why, .. }) = within(subscription.next()).await else { panic!("it goes on") };
        assert_eq!(why.close_code(), Some(4003));
        assert!(within(subscription.next()).await.is_none());
    };
    join!(serving, reading);
    let state = client.state().borrow().clone();
    assert!(matches!(state, State::Closed { error: Some(error), .. } if error.close_code() == Some(4003)));
    assert_eq!(within(client.ready()).await.unwrap_err().close_code(), Some(4003));
    assert!(within(client.publish("a", &1).into_future()).await.unwrap_err().is_closed());
}

#[tokio::test]
async fn each_connection_has_a_fresh_token() {
    let server = Server::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let source = {
        let asked = Arc::clone(&asked);
        move || {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                // One that cannot be had is a failed attempt.
                if number == 1 { Err(std::io::Error::other("later")) } else { Ok(format!("t{number}")) }
            }
        }
    };
    let client = server.client().token_source(source).connect().unwrap();
    let mut peer = server.accept_raw().await;
    let connect = peer.expect("connect").await;
    assert_eq!(connect["connect"]["token"], "t0");
    peer.ok(&connect, json!({"session": "s"})).await;
    peer.close(4100).await;
    let mut peer = server.accept_raw().await;
    let connect = peer.expect("connect").await;
    assert_eq!(connect["connect"]["token"], "t2");
    peer.ok(&connect, json!({"session": "s"})).await;
    peer.say(json!({"expiring": {"in_ms": 60_000}})).await;
    let refresh = peer.expect("refresh").await;
    assert_eq!(refresh["refresh"]["token"], "t3");
    peer.ok(&refresh, json!({"expires_in_ms": 1})).await;
    let (end, ()) = join!(within(peer.socket.recv()), within(client.close()));
    assert_eq!(end.unwrap(), None);
}

#[tokio::test]
async fn a_violation_is_answered_and_followed_by_another_connection() {
    let server = Server::start().await;
    let _client = server.client().connect().unwrap();
    for wrong in ["no JSON", "[[]]"] {
        let mut peer = server.accept().await;
        within(peer.socket.send(wrong)).await.unwrap();
        assert_eq!(within(peer.socket.recv()).await.unwrap(), None);
        assert_eq!(peer.socket.close_outcome().unwrap().code(), 1002);
    }
    let mut peer = server.accept().await;
    within(peer.socket.send(vec![1_u8])).await.unwrap();
    assert_eq!(within(peer.socket.recv()).await.unwrap(), None);
}

/// One reader stands still; the other gets all, over the same connection.
#[tokio::test]
async fn a_slow_reader_holds_up_nobody_and_loses_nothing() {
    const COUNT: u64 = 1000;
    let server = Server::start().await;
    let client = server.client().limits(Limits::with(|limits| limits.max_events = 100)).connect().unwrap();
    let serving = async {
        let mut peer = server.accept().await;
        for _ in 0..2 {
            let command = peer.expect("subscribe").await;
            peer.ok(&command, json!({"epoch": "e", "offset": 0})).await;
        }
        for offset in 1..=COUNT {
            peer.say(json!([
                {"on": "slow", "offset": offset, "data": offset},
                {"on": "quick", "offset": offset, "data": offset},
            ]))
            .await;
        }
        // The slow one left, and comes back for the rest as it reads, again and again.
        let mut rounds = 0;
        loop {
            let command = peer.recv().await;
            if let Some(since) = command["since"]["offset"].as_u64() {
                assert_eq!(command["subscribe"], "slow");
                peer.ok(&command, json!({"epoch": "e", "offset": COUNT, "catch_up": COUNT - since, "recovered": true}))
                    .await;
                for offset in since + 1..=COUNT {
                    peer.publication("slow", offset).await;
                }
                rounds += 1;
            } else if command["unsubscribe"] == "slow" {
                peer.ok(&command, json!({})).await;
            } else {
                assert_eq!(command["unsubscribe"], "quick");
                peer.ok(&command, json!({})).await;
                return rounds;
            }
        }
    };
    let reading = async {
        let mut slow = within(client.subscribe("slow").into_future()).await.unwrap();
        let mut quick = within(client.subscribe("quick").into_future()).await.unwrap();
        for offset in 1..=COUNT {
            assert_eq!(publication(&mut quick).await.offset, Some(offset));
        }
        for offset in 1..=COUNT {
            assert_eq!(publication(&mut slow).await.offset, Some(offset));
        }
        within(quick.unsubscribe()).await;
    };
    let (rounds, ()) = join!(serving, reading);
    assert!(rounds > 0);
}

/// It shares its thread with the driver, which must not fill its queue before it gets its turn.
#[tokio::test]
async fn a_quick_reader_does_not_pass_for_slow_in_a_burst() {
    const BATCHES: u64 = 100;
    let server = Server::start().await;
    let client = server.client().connect().unwrap();
    let serving = async {
        let mut peer = server.accept().await;
        peer.subscribed(0, 0).await;
        for batch in 0..BATCHES {
            let offsets = batch * 100 + 1..=batch * 100 + 100;
            let batch: Vec<_> = offsets.map(|offset| json!({"on": "a", "offset": offset, "data": 1})).collect();
            within(peer.socket.feed(json!(batch).to_string())).await.unwrap();
        }
        // Nothing but this: it never left the channel.
        let ping = peer.expect("ping").await;
        peer.ok(&ping, json!({})).await;
    };
    let reading = async {
        let mut subscription = within(client.subscribe("a").into_future()).await.unwrap();
        for offset in 1..=BATCHES * 100 {
            assert_eq!(publication(&mut subscription).await.offset, Some(offset));
        }
        within(client.ping()).await.unwrap();
    };
    join!(serving, reading);
}

/// The task that drives the connection may go before its handles do.
#[test]
fn handles_outlive_the_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (client, server) = first.block_on(async {
        let server = Server::start().await;
        (server.client().connect().unwrap(), server)
    });
    let publish = client.publish("a", &1).into_future();
    drop((first, server));
    second.block_on(async {
        assert!(within(publish).await.unwrap_err().is_closed());
        assert!(within(client.ready()).await.unwrap_err().is_closed());
        within(client.close()).await;
    });
}

#[test]
fn outside_of_a_runtime_it_is_an_error() {
    let error = sockeye_client::Client::connect("ws://127.0.0.1:1/").unwrap_err();
    assert_eq!(error.code(), "misuse");
}

/// What is borrowed from the state's receiver holds up the driver's telling, but no lock that other calls need.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_borrowed_state_blocks_no_call() {
    let server = Server::start().await;
    let client = server.client().connect().unwrap();
    let peer = server.accept().await;
    let mut state = client.state();
    within(state.wait_for(State::is_open)).await.unwrap();
    // A thread that nobody waits for, should it hang.
    let (done, calls) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let borrowed = state.borrow();
        // The driver is about to tell that the connection is lost.
        drop(peer);
        for _ in 0..10_000 {
            drop(client.publish("a", &1).into_future().now_or_never());
        }
        drop(borrowed);
        done.send(())
    });
    within(calls).await.unwrap();
}
