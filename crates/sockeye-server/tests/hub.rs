//! The hub at `/ws`, over real sockets: each verb of docs/protocol.md, each error, and what comes from the server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    Running, assert_status,
    hub::{Talk, data, hub_options},
    upgrade, within,
};
use serde_json::{Value, json};
use sockeye::Deflate;
use sockeye_server::{
    Call, CallError, Calls, ChannelOptions, Namespaces, StorePlace, config::Sources, store::StoreOptions,
};

fn hub() -> Running {
    Running::start(&hub_options())
}

#[tokio::test]
async fn the_subprotocol_is_ours_or_none() {
    let server = hub();
    let talk = Talk::to(&server).await;
    assert_eq!(talk.socket.protocol(), Some("sockeye.v1.json"));
    let mut plain = server.connect("/ws").await;
    assert_eq!(plain.protocol(), None);
    within(plain.send(r#"{"id":1,"ping":{}}"#)).await.unwrap();
    assert_eq!(within(plain.recv()).await.unwrap().unwrap().as_text(), Some(r#"{"id":1,"ok":{}}"#));
    let refused = server.ask(upgrade("/ws", "Sec-WebSocket-Protocol: json\r\n")).await;
    assert_status(&refused, 400);
}

#[tokio::test]
async fn connecting() {
    let server = hub();
    let mut ann = Talk::to(&server).await;
    let hello = ann.done(json!({"connect": {"client": "test/1"}})).await;
    assert_eq!(hello["session"].as_str().unwrap().len(), 32);
    assert_eq!((&hello["ping_every_ms"], &hello["user"]), (&json!(25_000), &Value::Null));
    assert_eq!(ann.refused(json!({"connect": {}})).await, "bad_request", "once");
    let mut bob = Talk::to(&server).await;
    bob.done(json!({"ping": {}})).await;
    assert_eq!(bob.refused(json!({"connect": {}})).await, "bad_request", "first");
    let mut eve = Talk::to(&server).await;
    assert_eq!(eve.refused(json!({"connect": {"token": "x"}})).await, "unauthorized");
    eve.done(json!({"connect": {}})).await;
    // Without an id only failures are reported.
    let mut kim = Talk::to(&server).await;
    kim.say(&json!({"connect": {}})).await;
    kim.say(&json!({"ping": {}})).await;
    kim.say(&json!({"subscribe": "a b"})).await;
    let error = kim.hear().await;
    assert_eq!((&error["error"]["code"], &error["id"]), (&json!("bad_channel"), &Value::Null));
}

#[tokio::test]
async fn who_offers_compression_gets_it_and_hears_what_the_others_hear() {
    for (word, takeover) in [("always", false), ("takeover", true)] {
        let text = format!("server.deflate = '{word}'");
        let config = Sources::new().text("sockeye.toml", &text).load().unwrap().config;
        let mut options = hub_options();
        options.deflate = config.server_options().deflate;
        let server = Running::start(&options);
        let policy = Deflate::default().server_takeover(takeover).client_takeover(takeover);
        let mut small = Talk::over(server.client("/ws").deflate(policy)).await;
        let mut plain = Talk::over(server.client("/ws")).await;
        let agreed = small.socket.extensions();
        assert!(agreed.starts_with("permessage-deflate"), "{agreed}");
        assert_eq!(agreed.contains("no_context_takeover"), !takeover, "{agreed}");
        assert_eq!(plain.socket.extensions(), "");
        for talk in [&mut small, &mut plain] {
            talk.done(json!({"subscribe": "room"})).await;
        }
        for number in 0..3 {
            let said = json!({"number": number, "text": "again and ".repeat(100)});
            small.done(json!({"publish": "room", "data": said})).await;
            for talk in [&mut small, &mut plain] {
                assert_eq!(data(&talk.hear().await), &said);
            }
        }
    }
}

/// The rules of a configuration, as a client meets them.
#[tokio::test]
async fn what_a_configuration_denies_is_said_with_the_right_word() {
    let text = r#"
[namespaces.chat]
[namespaces.news]
publish = "server"
anonymous = "subscribe"
"#;
    let config = Sources::new().text("sockeye.toml", text).load().unwrap().config;
    let mut options = hub_options();
    let configured = config.server_options();
    (options.namespaces, options.rules) = (configured.namespaces, configured.rules);
    let server = Running::start(&options);
    let mut ann = Talk::to(&server).await;
    assert_eq!(ann.refused(json!({"subscribe": "chat:a"})).await, "unauthorized", "to say who one is would help");
    assert_eq!(ann.refused(json!({"publish": "news:a", "data": 1})).await, "forbidden");
    assert_eq!(ann.refused(json!({"subscribe": "nowhere:a"})).await, "bad_channel");
    assert_eq!(ann.refused(json!({"history": "$demo:chat"})).await, "bad_channel", "the server's own");
    ann.done(json!({"subscribe": "news:a"})).await;
    ann.done(json!({"publish": "lobby", "data": 1})).await;
}

#[tokio::test]
async fn publishing_and_subscribing() {
    let server = hub();
    let (mut ann, mut bob) = (Talk::to(&server).await, Talk::to(&server).await);
    let me = ann.done(json!({"connect": {}})).await["session"].clone();
    let begun = bob.done(json!({"subscribe": "lobby"})).await;
    assert_eq!((&begun["offset"], &begun["catch_up"], &begun["recovered"]), (&json!(0), &json!(0), &Value::Null));
    let place = ann.done(json!({"publish": "lobby", "data": {"text": "hi"}, "event": "said"})).await;
    assert_eq!(place, json!({"epoch": begun["epoch"], "offset": 1}));
    let heard = bob.hear().await;
    assert_eq!(
        heard,
        json!({"on": "lobby", "offset": 1, "data": {"text": "hi"}, "event": "said", "from": {"session": me}, "at": heard["at"]}),
    );
    ann.done(json!({"publish": "lobby", "base64": "AP8="})).await;
    assert_eq!(bob.hear().await["base64"], "AP8=");
    // "It is passed on byte for byte as it was sent."
    ann.say_text("{\"publish\":\"lobby\",\"data\":{\"b\" : 1.0,  \"a\":\"\\u00e4\" }}").await;
    let raw = within(bob.socket.recv()).await.unwrap().unwrap();
    assert!(raw.as_text().unwrap().contains(r#""data":{"b" : 1.0,  "a":"\u00e4" },"#), "{raw:?}");
    bob.done(json!({"unsubscribe": "lobby"})).await;
    ann.done(json!({"publish": "lobby", "data": 4})).await;
    bob.hears_nothing().await;
    assert_eq!(bob.refused(json!({"unsubscribe": "lobby"})).await, "not_subscribed");
}

#[tokio::test]
async fn catching_up() {
    let server = hub();
    let (mut ann, mut bob) = (Talk::to(&server).await, Talk::to(&server).await);
    for number in 1..=5 {
        ann.done(json!({"publish": "a", "data": number})).await;
    }
    let begun = bob.done(json!({"subscribe": "a", "last": 2})).await;
    assert_eq!((&begun["offset"], &begun["catch_up"]), (&json!(5), &json!(2)));
    assert_eq!([data(&bob.hear().await), data(&bob.hear().await)], [&json!(4), &json!(5)]);
    let epoch = &begun["epoch"];
    bob.done(json!({"unsubscribe": "a"})).await;
    let again = bob.done(json!({"subscribe": "a", "since": {"epoch": epoch, "offset": 3}})).await;
    assert_eq!((&again["recovered"], &again["catch_up"]), (&json!(true), &json!(2)));
    assert_eq!([data(&bob.hear().await), data(&bob.hear().await)], [&json!(4), &json!(5)]);
    assert_eq!(bob.refused(json!({"subscribe": "a"})).await, "already_subscribed");
    bob.hears_nothing().await;
    // G4: ahead of the top, another epoch, the largest number there is.
    for (epoch, offset) in [(epoch, 6), (epoch, u64::MAX), (&json!("k3"), 3), (&json!("0".repeat(32)), 3)] {
        let mut eve = Talk::to(&server).await;
        let begun = eve.done(json!({"subscribe": "a", "since": {"epoch": epoch, "offset": offset}})).await;
        assert_eq!((&begun["recovered"], &begun["catch_up"], &begun["offset"]), (&json!(false), &json!(0), &json!(5)));
        eve.hears_nothing().await;
    }
}

#[tokio::test]
async fn echo_and_volatile() {
    let server = hub();
    let (mut ann, mut bob) = (Talk::to(&server).await, Talk::to(&server).await);
    for talk in [&mut ann, &mut bob] {
        talk.done(json!({"subscribe": "a"})).await;
    }
    ann.done(json!({"publish": "a", "data": 1})).await;
    assert_eq!(data(&ann.hear().await), 1);
    ann.done(json!({"publish": "a", "data": 2, "echo": false})).await;
    assert_eq!(ann.hear().await, json!({"on": "a", "offset": 2}), "the position alone");
    let place = ann.done(json!({"publish": "a", "data": 3, "volatile": true, "echo": false})).await;
    assert_eq!(place, json!({}));
    ann.hears_nothing().await;
    assert_eq!([data(&bob.hear().await), data(&bob.hear().await)], [&json!(1), &json!(2)]);
    let volatile = bob.hear().await;
    assert_eq!((data(&volatile), &volatile["offset"]), (&json!(3), &Value::Null));
    let mut eve = Talk::to(&server).await;
    eve.done(json!({"subscribe": "a", "echo": false})).await;
    eve.done(json!({"publish": "a", "data": 4})).await;
    assert_eq!(eve.hear().await, json!({"on": "a", "offset": 3}));
    // G8: the first wins, and the same position comes back.
    let first = ann.done(json!({"publish": "b", "data": 1, "key": "k"})).await;
    assert_eq!(ann.done(json!({"publish": "b", "data": 2, "key": "k"})).await, first);
    assert_eq!(ann.refused(json!({"publish": "b", "data": 1, "key": "k".repeat(129)})).await, "too_big");
}

#[tokio::test]
async fn who_is_there() {
    let server = hub();
    let (mut ann, mut bob) = (Talk::to(&server).await, Talk::to(&server).await);
    let me = ann.done(json!({"connect": {}})).await["session"].clone();
    let alone = ann.done(json!({"subscribe": "a", "as": {"name": "Ann"}})).await;
    assert_eq!(alone["members"], json!([{"session": me, "as": {"name": "Ann"}}]));
    let other = bob.done(json!({"connect": {}})).await["session"].clone();
    let both = bob.done(json!({"subscribe": "a", "as": {"name": "Bob"}, "members": false})).await;
    assert_eq!(both["members"], Value::Null);
    let seen = json!({"session": other, "as": {"name": "Bob"}});
    assert_eq!(ann.hear().await, json!({"on": "a", "join": seen}));
    let presence = bob.done(json!({"presence": "a"})).await;
    assert_eq!((&presence["count"], &presence["members"][1]), (&json!(2), &seen));
    assert_eq!(bob.done(json!({"presence": "a", "limit": 0})).await, json!({"count": 2, "members": []}));
    drop(bob);
    assert_eq!(ann.hear().await, json!({"on": "a", "leave": seen}));
    // G9: who somebody is, the server says.
    let mut eve = Talk::to(&server).await;
    eve.say(&json!({"publish": "a", "data": 1, "from": {"session": me, "user": "root"}, "offset": 99, "at": 0})).await;
    let heard = ann.hear().await;
    assert!(heard["from"]["session"] != me && heard["from"]["user"].is_null() && heard["offset"] == 1, "{heard}");
}

#[tokio::test]
async fn history() {
    let mut options = hub_options();
    let few = ChannelOptions::with(|options| options.history_size = 10);
    let none = ChannelOptions::with(|options| options.history_size = 0);
    options.namespaces = Arc::new(Namespaces::new(Some(few)).and("none", none));
    let server = Running::start(&options);
    let mut ann = Talk::to(&server).await;
    for number in 1..=15 {
        ann.done(json!({"publish": "a", "data": number})).await;
    }
    let page = ann.done(json!({"history": "a", "limit": 3})).await;
    let numbers =
        |page: &Value| page["items"].as_array().unwrap().iter().map(|item| data(item).clone()).collect::<Vec<_>>();
    assert_eq!(
        (numbers(&page), &page["more"], &page["offset"]),
        (vec![json!(6), json!(7), json!(8)], &json!(true), &json!(15))
    );
    let since = json!({"epoch": page["epoch"], "offset": 13});
    let rest = ann.done(json!({"history": "a", "since": since})).await;
    assert_eq!((numbers(&rest), &rest["more"]), (vec![json!(14), json!(15)], &json!(false)));
    let reverse = ann.done(json!({"history": "a", "reverse": true, "limit": 2})).await;
    assert_eq!(numbers(&reverse), [json!(15), json!(14)]);
    // G13, G14: never a hole, never silently empty.
    let lost = json!({"epoch": page["epoch"], "offset": 2});
    assert_eq!(ann.refused(json!({"history": "a", "since": lost})).await, "position_lost");
    for command in [json!({"history": "none:a"}), json!({"subscribe": "none:a", "last": 1})] {
        assert_eq!(ann.refused(command).await, "bad_request");
    }
    assert_eq!(ann.done(json!({"subscribe": "none:a"})).await, json!({}));
    // E13: the largest numbers are clamped, what is no number is refused.
    let all = json!({"history": "a", "limit": 9_223_372_036_854_775_808_u64, "reverse": true});
    assert_eq!(numbers(&ann.done(all).await).len(), 10);
    for bad in [json!({"limit": -1}), json!({"limit": 1.5}), json!({"since": {"epoch": "", "offset": -1}})] {
        let mut command = json!({"history": "a"});
        command.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        assert_eq!(ann.refused(command).await, "bad_request");
    }
    let ahead = json!({"epoch": page["epoch"], "offset": u64::MAX});
    let ahead = ann.ask(json!({"history": "a", "since": ahead})).await;
    assert!(ahead["error"]["code"] == "position_lost" || numbers(&ahead["ok"]).is_empty(), "{ahead}");
}

#[tokio::test]
async fn calls() {
    let mut options = hub_options();
    options.calls = Calls::new()
        .on("sum", |call: Call| async move { Ok(call.data::<Vec<i64>>()?.iter().sum::<i64>()) })
        .on("whoami", |call: Call| async move { Ok(call.session().to_owned()) })
        .on("no", |_: Call| async move { Err::<(), _>(CallError::forbidden("you may not")) })
        .on("panic", |call: Call| async move { if call.json() == b"null" { panic!("as asked") } else { Ok(()) } })
        .on("never", |_: Call| std::future::pending::<Result<(), CallError>>());
    options.calls.timeout = Duration::from_millis(100);
    options.calls.per_connection = 2;
    let server = Running::start(&options);
    let mut ann = Talk::to(&server).await;
    let me = ann.done(json!({"connect": {}})).await["session"].clone();
    assert_eq!(ann.done(json!({"call": "sum", "data": [1, 2, 3]})).await, json!({"data": 6}));
    assert_eq!(ann.done(json!({"call": "whoami"})).await, json!({"data": me}));
    assert_eq!(ann.refused(json!({"call": "sum", "data": "x"})).await, "bad_request");
    assert_eq!(ann.refused(json!({"call": "no"})).await, "forbidden");
    assert_eq!(ann.refused(json!({"call": "nothing"})).await, "not_found");
    assert_eq!(ann.refused(json!({"call": "panic"})).await, "internal");
    assert_eq!(ann.refused(json!({"call": "never"})).await, "timeout");
    for _ in 0..2 {
        ann.say(&json!({"call": "never"})).await;
    }
    assert_eq!(ann.refused(json!({"call": "sum", "data": []})).await, "limit");
    for _ in 0..2 {
        assert_eq!(ann.hear().await["error"]["code"], "timeout");
    }
    assert_eq!(ann.done(json!({"call": "sum", "data": [4]})).await, json!({"data": 4}));
}

#[tokio::test]
async fn batches() {
    let server = hub();
    let mut ann = Talk::to(&server).await;
    ann.say(&json!([{"id": 1, "connect": {}}, {"id": 2, "subscribe": "a"}, {"id": 3, "nonsense": 1}, {"id": 4, "ping": {}}])).await;
    let heard = [ann.hear().await, ann.hear().await, ann.hear().await, ann.hear().await];
    let by_id = |id: u64| heard.iter().find(|reply| reply["id"] == id).unwrap();
    assert!(by_id(1)["ok"]["session"].is_string() && by_id(2)["ok"].is_object() && by_id(4)["ok"].is_object());
    assert_eq!(by_id(3)["error"]["code"], "unknown_verb");
    let publish: Vec<_> = (1..=100).map(|number| json!({"publish": "a", "data": number})).collect();
    ann.say(&json!(publish)).await;
    for number in 1..=100 {
        assert_eq!(data(&ann.hear().await), number);
    }
    // E18.
    ann.say(&json!(vec![json!({"publish": "a", "data": 0}); 101])).await;
    assert_eq!(ann.hear().await["error"]["code"], "limit");
    ann.hears_nothing().await;
}

/// Wherever a channel is at home and whoever asks: with two workers, four homes and eight clients, all ways are taken.
#[tokio::test]
async fn across_workers() {
    let server = hub();
    let mut talks = Vec::new();
    for _ in 0..8 {
        talks.push(Talk::to(&server).await);
    }
    let channels = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for talk in &mut talks {
        for channel in channels {
            talk.done(json!({"subscribe": channel})).await;
        }
    }
    for (number, channel) in channels.into_iter().enumerate() {
        let offset = talks[number].done(json!({"publish": channel, "data": number})).await["offset"].clone();
        assert_eq!(offset, 1);
        for talk in &mut talks {
            let heard = talk.hear().await;
            assert_eq!((&heard["on"], data(&heard)), (&json!(channel), &json!(number)));
        }
    }
    // One order for all, whoever publishes meanwhile.
    for talk in &mut talks {
        let burst: Vec<_> = (0..50).map(|number| json!({"publish": "a", "data": number})).collect();
        talk.say(&json!(burst)).await;
    }
    let mut orders = Vec::new();
    for talk in &mut talks {
        let mut order = Vec::new();
        for offset in 2..402 {
            let heard = talk.hear().await;
            assert_eq!(heard["offset"], offset);
            order.push((heard["from"].to_string(), data(&heard).clone()));
        }
        orders.push(order);
    }
    assert!(orders.iter().all(|order| *order == orders[0]));
}

#[tokio::test]
async fn over_http2() {
    let server = hub();
    let client = server.client("/ws").subprotocol("sockeye.v1.json");
    let stream = server.raw().await;
    let mut socket = within(client.connect_http2_over(stream)).await.unwrap();
    within(socket.send(r#"[{"id":1,"subscribe":"a"}]"#)).await.unwrap();
    within(socket.recv()).await.unwrap().unwrap();
    let mut ann = Talk::to(&server).await;
    for number in 1..=20 {
        ann.done(json!({"publish": "a", "data": number})).await;
        let heard = within(socket.recv()).await.unwrap().unwrap();
        let heard: Value = serde_json::from_str(heard.as_text().unwrap()).unwrap();
        assert_eq!(data(&heard), number);
    }
}

/// "`ok` means stored", and it is there after a restart, with its positions and its keys.
#[tokio::test]
async fn durable_channels_outlive_the_server() {
    let folder = common::tls::Folder::new();
    let mut options = hub_options();
    options.store = Some(StorePlace { folder: folder.path().join("store"), options: StoreOptions::default() });
    let durable = ChannelOptions::with(|options| options.durable = true);
    options.namespaces = Arc::new(Namespaces::new(None).and("kept", durable));
    let mut position = Value::Null;
    for number in 1..=3 {
        let server = Running::start(&options);
        let mut ann = Talk::to(&server).await;
        let mut since = json!({"subscribe": "kept:a"});
        if !position.is_null() {
            since["since"] = json!({"epoch": position["epoch"], "offset": 0});
        }
        let begun = ann.done(since).await;
        assert_eq!(begun["offset"], number - 1);
        for offset in 1..number {
            assert_eq!(data(&ann.hear().await), offset);
        }
        for _ in 0..2 {
            position = ann.done(json!({"publish": "kept:a", "data": number, "key": number.to_string()})).await;
            assert_eq!(position["offset"], number, "the key is one entry");
        }
        server.stop().await;
    }
    let mut without = options;
    without.store = None;
    let server = Running::start(&without);
    let code = Talk::to(&server).await.refused(json!({"publish": "kept:a", "data": 1})).await;
    assert_eq!(code, "unavailable");
}

/// `bye` with 1012 and a time to come back, then Close.
#[tokio::test]
async fn stopping_says_when_to_come_back() {
    let server = hub();
    let mut talks = Vec::new();
    for _ in 0..20 {
        let mut talk = Talk::to(&server).await;
        talk.done(json!({"subscribe": "a"})).await;
        talks.push(talk);
    }
    talks.push(Talk::to(&server).await);
    let mut waits = std::collections::HashSet::new();
    let stopped = tokio::spawn(server.stop());
    for talk in &mut talks {
        let (code, said) = talk.ends().await;
        assert_eq!(code, 1012);
        let [bye] = &said[..] else { panic!("{said:?}") };
        assert_eq!((&bye["bye"]["code"], &bye["bye"]["reason"]), (&json!(1012), &json!("restart")));
        waits.insert(bye["bye"]["retry_after_ms"].as_u64().unwrap());
    }
    assert!(waits.len() > 5 && waits.iter().all(|wait| *wait <= 5_000), "{waits:?}");
    assert!(stopped.await.unwrap() < Duration::from_secs(2));
}
