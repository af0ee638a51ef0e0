//! The client over real sockets, with a server that says what the test says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::future::IntoFuture;

use common::{Server, publication, within};
use serde_json::json;
use sockeye_client::{Data, Event, Position, State};

#[tokio::test]
async fn a_conversation() {
    let server = Server::start().await;
    let client = server.client().token("secret").connect().unwrap();
    let conversation = async {
        let mut peer = server.accept_raw().await;
        let connect = peer.expect("connect").await;
        assert_eq!(connect["connect"]["token"], "secret");
        peer.ok(&connect, json!({"session": "s1", "user": "ann", "ping_every_ms": 25_000})).await;

        let subscribe = peer.expect("subscribe").await;
        let expected =
            json!({"id": subscribe["id"], "subscribe": "chat:lobby", "last": 2, "as": {"name": "Ann"}, "echo": false});
        assert_eq!(subscribe, expected);
        let members = json!([{"session": "s1", "user": "ann", "as": {"name": "Ann"}}]);
        peer.ok(&subscribe, json!({"epoch": "e", "offset": 7, "catch_up": 1, "members": members})).await;
        peer.say(json!([
            {"on": "chat:lobby", "offset": 7, "data": null, "event": "tick", "from": {"session": "s2"}, "at": 17},
            {"on": "chat:lobby", "join": {"session": "s3"}},
            {"on": "chat:lobby", "base64": "/wA="},
        ]))
        .await;

        let publish = peer.expect("publish").await;
        assert_eq!((&publish["data"], &publish["event"]), (&json!({"text": "hi"}), &json!("greeting")));
        assert!(publish["key"].as_str().is_some_and(|key| key.len() <= 128));
        peer.ok(&publish, json!({"epoch": "e", "offset": 8})).await;

        let presence = peer.expect("presence").await;
        peer.ok(&presence, json!({"count": 2, "members": [{"session": "s1"}]})).await;
        let call = peer.expect("call").await;
        assert_eq!((&call["call"], &call["data"]), (&json!("add"), &json!([1, 2])));
        peer.ok(&call, json!({"data": 3})).await;
        let history = peer.expect("history").await;
        assert_eq!((&history["limit"], &history["reverse"]), (&json!(1), &json!(true)));
        let items = json!([{"offset": 7, "data": null}]);
        peer.ok(&history, json!({"epoch": "e", "offset": 7, "items": items, "more": true})).await;
        let history = peer.expect("history").await;
        assert_eq!(history["since"], json!({"epoch": "e", "offset": 7}));
        peer.ok(&history, json!({"epoch": "e", "offset": 7, "items": [], "more": false})).await;
        let unsubscribe = peer.expect("unsubscribe").await;
        peer.ok(&unsubscribe, json!({})).await;
        assert_eq!(within(peer.socket.recv()).await.unwrap(), None);
    };
    let program = async {
        let subscribe = client.subscribe("chat:lobby").last(2).members_as(&json!({"name": "Ann"})).echo(false);
        let mut lobby = within(subscribe.into_future()).await.unwrap();
        assert_eq!(lobby.members().len(), 1);
        let state = client.state().borrow().clone();
        assert!(
            matches!(state, State::Open { session, user, .. } if session == "s1" && user.as_deref() == Some("ann"))
        );
        assert_eq!(lobby.position().unwrap().offset, 6);

        let first = publication(&mut lobby).await;
        assert_eq!((first.offset, first.event.as_deref(), first.at), (Some(7), Some("tick"), Some(17)));
        assert!(matches!(&first.data, Data::Json(json) if json.get() == "null"));
        assert_eq!(lobby.position(), Some(Position { epoch: "e".into(), offset: 7 }));
        assert!(matches!(within(lobby.next()).await, Some(Event::Joined(member)) if member.session == "s3"));
        assert_eq!(lobby.members().len(), 2);
        assert!(matches!(publication(&mut lobby).await.data, Data::Bytes(bytes) if *bytes == [0xff, 0]));

        let publish = client.publish("chat:lobby", &json!({"text": "hi"})).event("greeting");
        assert_eq!(within(publish.into_future()).await.unwrap().unwrap().offset, 8);
        assert_eq!(within(client.presence("chat:lobby")).await.unwrap().count, 2);
        assert_eq!(within(client.call::<u32>("add", &[1, 2])).await.unwrap(), 3);
        let mut pages = client.history("chat:lobby").limit(1).reverse().pages();
        assert_eq!(within(pages.next()).await.unwrap().unwrap().items.len(), 1);
        assert_eq!(within(pages.next()).await.unwrap().unwrap().items.len(), 0);
        assert!(within(pages.next()).await.unwrap().is_none());
        within(lobby.unsubscribe()).await;
        within(client.close()).await;
        assert!(matches!(*client.state().borrow(), State::Closed { error: None, .. }));
        assert!(within(client.ping()).await.unwrap_err().is_closed());
    };
    tokio::join!(conversation, program);
}
