//! What must not be possible at the hub: groups E and G of the attack list, over real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    BINARY, CLOSE, Running, TEXT, close_code,
    hub::{Talk, data, hub_options},
    masked, options, read_frame, read_head, upgrade, within,
};
use serde_json::{Value, json};
use sockeye_server::{ChannelOptions, Namespaces, ServerOptions, Site, SlowPolicy};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};

/// "What a client may send in a second is limited": told first, sent away at last.
#[tokio::test]
async fn commands_have_a_rate() {
    let mut options = options(Site::Server);
    options.session.commands_refused = 300;
    let server = Running::start(&options);
    let mut talk = Talk::to(&server).await;
    let pings = vec![json!({"id": 1, "ping": {}}); 100];
    for _ in 0..4 {
        talk.say(&json!(pings)).await;
    }
    let mut replies = Vec::new();
    for _ in 0..400 {
        replies.push(talk.hear().await);
    }
    let refused: Vec<_> = replies.iter().filter(|reply| reply["error"]["code"] == "rate_limited").collect();
    assert!((100..=200).contains(&refused.len()), "{} were refused", refused.len());
    assert_eq!(refused[0]["error"]["retry_after_ms"], 10);
    // Nothing, and what is no command, count as well.
    for nothing in ["[]", "x"] {
        for _ in 0..400 {
            if talk.socket.send(nothing).await.is_err() {
                break;
            }
        }
    }
    let (code, said) = talk.ends().await;
    assert_eq!((code, &said.last().unwrap()["bye"]["code"]), (4108, &json!(4108)));
}

/// E9: churn on one channel is limited, and leaves nothing.
#[tokio::test]
async fn e9_churn() {
    let server = Running::start(&hub_options());
    let mut talk = Talk::to(&server).await;
    let churn: Vec<_> =
        (0..50).flat_map(|_| [json!({"subscribe": "a", "as": {}}), json!({"unsubscribe": "a"})]).collect();
    for _ in 0..100 {
        talk.say(&json!(churn)).await;
    }
    talk.hears_nothing().await;
    within(nobody_is_in(&mut talk)).await;
    // G16: a subscription and its end, and the connection's, in any order.
    for _ in 0..20 {
        let mut gone = Talk::to(&server).await;
        gone.say(&json!([{"subscribe": "a", "as": {}}, {"publish": "a", "data": 1}])).await;
        drop(gone);
    }
    within(nobody_is_in(&mut talk)).await;
}

/// A subscription that is ended before it has begun is counted for a moment.
async fn nobody_is_in(talk: &mut Talk) {
    while talk.done(json!({"presence": "a", "limit": 0})).await["count"] != 0 {}
}

/// E10.
#[tokio::test]
async fn e10_too_many_channels() {
    let server = Running::start(&hub_options());
    let mut talk = Talk::to(&server).await;
    for number in 0..128 {
        talk.done(json!({"subscribe": format!("a{number}")})).await;
    }
    assert_eq!(talk.refused(json!({"subscribe": "one-more"})).await, "limit");
    talk.done(json!({"unsubscribe": "a0"})).await;
    talk.done(json!({"subscribe": "one-more"})).await;
}

/// E12: names that are none, and namespaces that are not there.
#[tokio::test]
async fn e12_names() {
    let server = Running::start(&hub_options());
    let mut talk = Talk::to(&server).await;
    for name in ["", "a b", "a\r\nb", "a\0b", "a*", ">", "#", "$demo:chat", "\u{202e}a", &"a".repeat(256), "nowhere:a"]
    {
        for command in [
            json!({"subscribe": name}),
            json!({"publish": name, "data": 1}),
            json!({"presence": name}),
            json!({"history": name}),
        ] {
            let code = talk.refused(command).await;
            assert_eq!(code, "bad_channel", "{name:?}");
        }
    }
    talk.hears_nothing().await;
}

/// E16: each is answered or ends this connection alone.
#[tokio::test]
async fn e16_what_is_no_command() {
    let server = Running::start(&hub_options());
    let mut talk = Talk::to(&server).await;
    let deep = "[".repeat(30_000);
    let nested = format!(r#"{{"publish":"a","data":{deep}{}}}"#, "]".repeat(30_000));
    let number = format!(r#"{{"publish":"a","data":{}}}"#, "9".repeat(60_000));
    for text in
        ["x", "{}", "1", &deep, &nested, &number, r#"{"publish":"a","data":"\ud800"}"#, r#"{"id":1,"id":2,"ping":{}}"#]
    {
        talk.say_text(text).await;
        assert_eq!(talk.hear().await["error"]["code"], "bad_request", "{text:.40}");
    }
    talk.hears_nothing().await;
    let invalid = masked(TEXT, b"\xff");
    let too_big = masked(TEXT, &vec![b' '; 64 * 1024 + 1]);
    for (frame, code) in [(masked(BINARY, b"{}"), 1003), (invalid, 1007), (too_big, 1009)] {
        let mut stream = server.upgraded("/ws").await;
        // It may say so before it has all of it.
        let _ = stream.write_all(&frame).await;
        assert_eq!(close_code(&mut stream).await, Some(code));
    }
}

/// A client that asks and asks and does not read is not read either; once it reads, it has all the answers.
#[tokio::test]
async fn who_does_not_read_is_not_read() {
    let server = Running::start(&hub_options());
    let mut stream = deaf(&server).await;
    let mut publisher = Talk::to(&server).await;
    for _ in 0..10 {
        publisher.done(json!({"publish": "a", "data": "x".repeat(60_000)})).await;
    }
    // Some 600 MB of answers.
    let ask: Vec<_> = (1..=1_000).map(|id| json!({"id": id, "history": "a"}).to_string()).collect();
    let frames: Vec<u8> = ask.iter().flat_map(|text| masked(TEXT, text.as_bytes())).collect();
    stream.write_all(&frames).await.unwrap();
    publisher.done(json!({"ping": {}})).await;
    for id in 1..=20 {
        let (_, reply) = read_frame(&mut stream).await.unwrap();
        let reply: Value = serde_json::from_slice(&reply).unwrap();
        assert_eq!((&reply["id"], reply["ok"]["items"].as_array().unwrap().len()), (&json!(id), 10));
    }
}

/// However a client mixes what is answered at length with everything else, in however many messages: the answers to the
/// commands for one channel come in the order in which they were asked.
#[tokio::test]
async fn long_answers_keep_the_order() {
    let server = Running::start(&hub_options());
    for channel in ["a", "b", "c", "d"] {
        let mut talk = Talk::to(&server).await;
        let (mut id, mut sent) = (0, Vec::new());
        for size in [1, 2, 7, 1, 30] {
            let mut batch = Vec::new();
            for _ in 0..size {
                id += 2;
                batch.push(json!({"id": id - 1, "publish": channel, "data": id}));
                batch.push(json!({"id": id, "history": channel, "limit": 300}));
            }
            sent.push(json!(batch));
        }
        for batch in sent {
            talk.say(&batch).await;
        }
        for expected in 1..=id {
            let reply = talk.hear().await;
            assert_eq!(reply["id"], expected);
            if expected % 2 == 0 {
                assert_eq!(
                    reply["ok"]["items"].as_array().unwrap().len() as u64,
                    expected / 2,
                    "what was published before"
                );
            }
        }
    }
}

/// One message may ask for more than the output holds: that is not slow.
#[tokio::test]
async fn a_batch_may_be_answered_at_length() {
    let server = Running::start(&hub_options());
    let mut talk = Talk::to(&server).await;
    for _ in 0..5 {
        talk.done(json!({"publish": "a", "data": "x".repeat(60_000)})).await;
    }
    talk.say(&json!(vec![json!({"id": 1, "history": "a"}); 8])).await;
    for _ in 0..8 {
        assert_eq!(talk.hear().await["ok"]["items"].as_array().unwrap().len(), 5);
    }
}

/// What was not asked for and cannot be dropped has a bound as well: who comes and goes.
#[tokio::test]
async fn e1_the_hard_bound() {
    let mut options = with_policy(SlowPolicy::Skip);
    options.hub.members_every = Duration::from_millis(1);
    let server = Running::start(&options);
    let names: Vec<_> = (0..100).map(|number| format!("a{number}")).collect();
    let mut watcher = Talk::to(&server).await;
    watcher.done(json!({"subscribe": "watch", "members": true})).await;
    let mut stream = deaf(&server).await;
    let subscribe: Vec<_> = names.iter().map(|name| json!({"subscribe": name, "members": true})).collect();
    for text in [json!(subscribe), json!({"id": 1, "subscribe": "watch", "as": {}})] {
        stream.write_all(&masked(TEXT, text.to_string().as_bytes())).await.unwrap();
    }
    assert!(watcher.hear().await["join"].is_object());
    let mut crowd = Talk::to(&server).await;
    let name = "x".repeat(4_000);
    let coming_and_going = async {
        loop {
            for channel in &names {
                crowd.done(json!({"subscribe": channel, "as": {"name": name}, "members": false})).await;
            }
            for channel in &names {
                crowd.done(json!({"unsubscribe": channel})).await;
            }
        }
    };
    tokio::select! {
        () = coming_and_going => {}
        left = watcher.hear() => assert!(left["leave"].is_object(), "{left}"),
    }
    let mut bye = Value::Null;
    while let Some((first, payload)) = read_frame(&mut stream).await {
        if first == CLOSE {
            assert_eq!(payload[..2], 4101_u16.to_be_bytes());
            break;
        }
        bye = serde_json::from_slice(&payload).unwrap();
    }
    assert_eq!(bye["bye"]["code"], 4101);
}

/// A client whose receive buffer does not grow, which has subscribed nothing yet.
async fn deaf(server: &Running) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // Smaller than a segment of loopback, it would be sent to at intervals of a probe.
    socket.set_recv_buffer_size(128 * 1024).unwrap();
    let mut stream = within(socket.connect(server.address)).await.unwrap();
    stream.write_all(upgrade("/ws", "").as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    stream
}

/// A hub whose outputs are small, with a policy for who is slow.
fn with_policy(slow: SlowPolicy) -> ServerOptions {
    let mut options = hub_options();
    (options.session.soft_output, options.session.hard_output) = (32 * 1024, 256 * 1024);
    options.hub.backlog_bytes = 256 * 1024;
    let channel = ChannelOptions::with(|options| {
        (options.slow, options.session_rate, options.channel_rate) = (slow, 1_000_000, 1_000_000);
    });
    options.namespaces = Arc::new(Namespaces::new(Some(channel)));
    options
}

/// How much is published for one that does not read: more than the kernel and the hub hold.
const FLOOD: u64 = 300;

/// What a subscriber gets that does not read while much is published, or until it is gone; `done` says that it has heard
/// enough. Meanwhile a healthy one gets all of it.
async fn slow_subscriber(server: &Running, done: impl Fn(&Value) -> bool) -> (Vec<Value>, Option<u16>) {
    let mut slow = deaf(server).await;
    slow.write_all(&masked(TEXT, br#"{"id":1,"subscribe":"a","as":{},"members":false}"#)).await.unwrap();
    let (_, reply) = read_frame(&mut slow).await.unwrap();
    assert!(reply.starts_with(br#"{"id":1,"ok":"#));
    let (mut publisher, mut healthy) = (Talk::to(server).await, Talk::to(server).await);
    healthy.done(json!({"subscribe": "a", "members": true})).await;
    for number in 1..=FLOOD {
        let (text, key) = ("x".repeat(50_000), (number % 3).to_string());
        let place = publisher.done(json!({"publish": "a", "data": text, "conflate": key})).await;
        assert_eq!(place["offset"], number, "the publisher is not held up");
        let heard = healthy.hear().await;
        if heard["leave"].is_object() {
            break;
        }
        assert_eq!(heard["offset"], number, "nor are others");
    }
    let mut heard = Vec::new();
    while let Some((first, payload)) = read_frame(&mut slow).await {
        if first == CLOSE {
            return (heard, Some(u16::from_be_bytes([payload[0], payload[1]])));
        }
        heard.push(serde_json::from_slice(&payload).unwrap());
        if done(heard.last().unwrap()) {
            return (heard, None);
        }
    }
    panic!("it ended without a Close frame");
}

/// "A gap is never silent": after n comes n + 1, or a notice. Returns how many notices there were.
fn gaps(heard: &[Value]) -> usize {
    let (mut at, mut gaps) = (0, 0);
    for value in heard {
        if let Some(offset) = value["lost"]["offset"].as_u64() {
            assert_eq!(value["lost"]["reason"], "slow");
            assert!(offset > at);
            (at, gaps) = (offset, gaps + 1);
        } else if let Some(offset) = value["offset"].as_u64() {
            assert_eq!(offset, at + 1);
            at = offset;
        }
    }
    gaps
}

/// E1, with the default policy: it is told why, and may come back and catch up.
#[tokio::test]
async fn e1_slow_is_disconnected() {
    let server = Running::start(&with_policy(SlowPolicy::Disconnect));
    let (heard, code) = slow_subscriber(&server, |_| false).await;
    assert_eq!(code, Some(4101));
    let (bye, before) = heard.split_last().unwrap();
    assert_eq!(bye["bye"]["code"], 4101);
    assert_eq!(gaps(before), 0);
    assert!(!before.is_empty() && (before.len() as u64) < FLOOD);
}

#[tokio::test]
async fn e1_slow_is_told_that_it_lost_something() {
    let server = Running::start(&with_policy(SlowPolicy::Skip));
    let (heard, _) =
        slow_subscriber(&server, |value| value["offset"] == FLOOD || value["lost"]["offset"] == FLOOD).await;
    assert!(gaps(&heard) > 0);
}

#[tokio::test]
async fn e1_slow_gets_the_latest() {
    let server = Running::start(&with_policy(SlowPolicy::Latest));
    let (heard, _) = slow_subscriber(&server, |value| value["offset"] == FLOOD).await;
    assert!(gaps(&heard) > 0);
    let newest =
        |rest: u64| heard.iter().filter_map(|value| value["offset"].as_u64()).filter(|at| at % 3 == rest).max();
    assert_eq!([newest(0), newest(1), newest(2)], [Some(300), Some(298), Some(299)]);
}

/// E3: a byte now and then is not progress. Real time: the 10 s of the write watch.
#[tokio::test]
async fn e3_a_byte_at_a_time() {
    let server = Running::start(&with_policy(SlowPolicy::Skip));
    let mut slow = deaf(&server).await;
    slow.write_all(&masked(TEXT, br#"{"id":1,"subscribe":"a","as":{}}"#)).await.unwrap();
    let (_, reply) = read_frame(&mut slow).await.unwrap();
    assert!(reply.starts_with(br#"{"id":1,"ok":"#));
    let (mut talk, mut watcher) = (Talk::to(&server).await, Talk::to(&server).await);
    watcher.done(json!({"subscribe": "a", "members": true})).await;
    for _ in 0..FLOOD {
        talk.done(json!({"publish": "a", "data": "x".repeat(50_000)})).await;
        watcher.hear().await;
    }
    let crawl = async {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            slow.readable().await.unwrap();
            let _ = slow.try_read(&mut [0]);
        }
    };
    tokio::select! {
        () = crawl => {}
        left = watcher.hear() => assert!(left["leave"].is_object(), "{left}"),
    }
}

/// Publishers on both workers, for channels at home at both, with more on its way than the queues between them hold: all of
/// it arrives, in order, and nobody waits for ever.
#[tokio::test]
async fn floods_in_both_directions_end() {
    const EACH: u64 = 60;
    let server = Running::start(&with_policy(SlowPolicy::Disconnect));
    let channels = ["a", "b", "c", "d"];
    let mut tasks = tokio::task::JoinSet::new();
    let ready = Arc::new(tokio::sync::Barrier::new(8));
    for number in 0..8_usize {
        let mut talk = Talk::to(&server).await;
        let ready = Arc::clone(&ready);
        tasks.spawn(async move {
            let channel = channels[number % 4];
            talk.done(json!({"subscribe": channel})).await;
            ready.wait().await;
            let text = json!({"publish": channel, "data": "x".repeat(60_000)}).to_string();
            let mut at = 0;
            for _ in 0..EACH {
                talk.say_text(&text).await;
                let heard = talk.hear().await;
                assert_eq!((&heard["offset"], data(&heard).as_str().map(str::len)), (&json!(at + 1), Some(60_000)));
                at += 1;
            }
            while at < 2 * EACH {
                at += 1;
                assert_eq!(talk.hear().await["offset"], at);
            }
        });
    }
    within(tasks.join_all()).await;
}
