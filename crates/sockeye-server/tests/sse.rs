//! `GET /sse`: what those hear who only listen, and what they are told when they come back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{
    Running, assert_status, header,
    hub::{Talk, hub_options},
    pipe::{Event, Http, get, post},
    within,
};
use serde_json::{Value, json};
use sockeye::OriginPolicy;
use sockeye_server::{Demo, config::Sources};

/// Who listens to this, and may come back there.
async fn listen(server: &Running, query: &str, last: Option<&str>) -> Http {
    let mut http = Http::to(server).await;
    let last = last.map_or_else(String::new, |last| format!("Last-Event-ID: {last}\r\n"));
    assert_eq!(http.ask(get(&format!("/sse?{query}"), &last)).await, 200, "{}", http.head);
    assert_eq!(header(&http.head, "content-type"), Some("text/event-stream"));
    assert_eq!(http.until("\n\n").await.unwrap(), "retry: 2000");
    assert_eq!(http.until("\n\n").await.unwrap(), ": open");
    http
}

async fn next(http: &mut Http) -> Event {
    http.event().await.expect("it goes on")
}

/// The next, which has to be of this kind.
async fn next_of(http: &mut Http, name: &str) -> Event {
    let event = next(http).await;
    assert_eq!(event.name.as_deref(), Some(name), "{event:?}");
    event
}

/// Bodies have nothing to do with it.
#[tokio::test]
async fn many_channels_need_no_room_for_a_body() {
    let mut options = hub_options();
    options.pipes.max_body = 1024;
    let server = Running::start(&options);
    let channels: Vec<_> = (0..64).map(|number| format!("channel=a-channel-of-some-length-{number}")).collect();
    let mut http = listen(&server, &channels.join("&"), None).await;
    for _ in &channels {
        next_of(&mut http, "subscribed").await;
    }
}

#[tokio::test]
async fn a_listener_hears_its_channels_and_says_nothing() {
    let server = Running::start(&hub_options());
    let mut talk = Talk::to(&server).await;
    let mut http = listen(&server, "channel=a&channel=b%2Fc", None).await;
    let mut subscribed = Vec::new();
    for _ in 0..2 {
        subscribed.push(next_of(&mut http, "subscribed").await.data["on"].clone());
    }
    // Each when its channel's home has answered.
    subscribed.sort_by_key(Value::to_string);
    assert_eq!(subscribed, ["a", "b/c"]);
    for (channel, data) in [("a", json!({"text": "line\nbreak \u{2028}"})), ("b/c", json!(2)), ("a", json!([3]))] {
        talk.done(json!({"publish": channel, "data": data})).await;
        let event = next(&mut http).await;
        assert_eq!((event.name, &event.data["on"], &event.data["data"]), (None, &channel.into(), &data));
    }
    // Nobody else hears of it.
    assert_eq!(talk.done(json!({"presence": "a"})).await["count"], 0);
}

/// So many that what they are told leaves in batches, through `io_uring` where the system has it.
#[tokio::test]
async fn many_listeners_each_hear_everything_in_order() {
    let mut options = hub_options();
    options.workers = 1;
    let server = Running::start(&options);
    let mut talk = Talk::to(&server).await;
    let mut listeners = Vec::new();
    for _ in 0..300 {
        let mut http = listen(&server, "channel=a", None).await;
        next_of(&mut http, "subscribed").await;
        listeners.push(http);
    }
    for number in 0..20 {
        talk.done(json!({"publish": "a", "data": number})).await;
    }
    for http in &mut listeners {
        for number in 0..20 {
            assert_eq!(next(http).await.data["data"], number);
        }
    }
}

/// Attack lines H9 and H13: the same as one who was never away.
#[tokio::test]
async fn who_comes_back_hears_exactly_what_it_has_missed() {
    let server = Running::start(&hub_options());
    let mut talk = Talk::to(&server).await;
    let query = "channel=a&channel=b";
    let mut http = listen(&server, query, None).await;
    next_of(&mut http, "subscribed").await;
    let mut last = next_of(&mut http, "subscribed").await.id.unwrap();
    let mut heard = Vec::new();
    for round in 0..10 {
        for number in 0..6 {
            let channel = if number % 2 == 0 { "a" } else { "b" };
            talk.done(json!({"publish": channel, "data": round * 6 + number})).await;
        }
        // It hears some of it, and what else has been sent to it is lost.
        for _ in 0..2 {
            let event = next(&mut http).await;
            heard.push(event.data["data"].as_u64().unwrap());
            last = event.id.unwrap();
        }
        http = listen(&server, query, Some(&last)).await;
        let mut subscribed = 0;
        while subscribed < 2 || heard.len() < usize::try_from(round + 1).unwrap() * 6 {
            let event = next(&mut http).await;
            last = event.id.unwrap();
            match event.name.as_deref() {
                Some("subscribed") => {
                    assert_eq!(event.data["subscribed"]["recovered"], true);
                    subscribed += 1;
                }
                None => heard.push(event.data["data"].as_u64().unwrap()),
                Some(other) => panic!("{other}"),
            }
        }
    }
    let of = |channel| heard.iter().copied().filter(|number| number % 2 == channel).collect::<Vec<_>>();
    for channel in [0, 1] {
        assert_eq!(of(channel), (0..60).filter(|number| number % 2 == channel).collect::<Vec<_>>());
    }
}

/// Attack lines H9 and H13: the first event names only one of the channels, and its id is where the client is in all of them.
#[tokio::test]
async fn who_is_cut_off_after_the_first_event_forgets_no_channel() {
    let server = Running::start(&hub_options());
    let mut talk = Talk::to(&server).await;
    for channel in ["a", "b"] {
        talk.done(json!({"publish": channel, "data": 1})).await;
    }
    let mut http = listen(&server, "channel=a&channel=b", None).await;
    next_of(&mut http, "subscribed").await;
    let mut last = next_of(&mut http, "subscribed").await.id.unwrap();
    talk.done(json!({"publish": "b", "data": 2})).await;
    for _ in 0..3 {
        http = listen(&server, "channel=a&channel=b", Some(&last)).await;
        last = next_of(&mut http, "subscribed").await.id.unwrap();
    }
    http = listen(&server, "channel=a&channel=b", Some(&last)).await;
    for channel in ["a", "b"] {
        let event = next_of(&mut http, "subscribed").await;
        assert_eq!((&event.data["on"], &event.data["subscribed"]["recovered"]), (&json!(channel), &json!(true)));
    }
    assert_eq!(next(&mut http).await.data["data"], 2);
}

/// Attack line H9: whatever an id says, a hole is told.
#[tokio::test]
async fn who_cannot_be_told_all_is_told_so() {
    let server = Running::start(&hub_options());
    let mut talk = Talk::to(&server).await;
    talk.done(json!({"publish": "a", "data": 1})).await;
    let long = "1".repeat(5_000);
    for last in ["garbage", "1f:45", "1f:45,2a:7", "-1:0", ",", &long, "0:18446744073709551615"] {
        let mut http = listen(&server, "channel=a", Some(last)).await;
        let event = next_of(&mut http, "lost").await;
        assert_eq!((&event.data["on"], &event.data["lost"]["offset"]), (&json!("a"), &json!(1)), "{last}");
        next_of(&mut http, "subscribed").await;
        talk.done(json!({"publish": "b", "data": 1})).await;
    }
}

#[tokio::test]
async fn it_may_begin_with_the_last_few() {
    let server = Running::start(&hub_options());
    let mut talk = Talk::to(&server).await;
    for number in 1..=5 {
        talk.done(json!({"publish": "a", "data": number})).await;
    }
    let mut http = listen(&server, "channel=a&last=2", None).await;
    let subscribed = next_of(&mut http, "subscribed").await;
    assert!(subscribed.id.unwrap().ends_with(":3"), "it has not heard the last two yet");
    for number in 4..=5 {
        assert_eq!(next(&mut http).await.data["data"], number);
    }
}

/// What may be heard is what may be subscribed to, and the status says so.
#[tokio::test]
async fn who_may_not_subscribe_may_not_listen() {
    let text = "[server]\nlisten = '127.0.0.1:0'\n[namespaces.open]\nanonymous = 'subscribe'\n\
                [namespaces.closed]\n[namespaces.fresh]\nanonymous = 'subscribe'\nhistory_read = 'server'\n";
    let mut options = Sources::new().text("s.toml", text).load().unwrap().config.server_options();
    options.drain = Duration::from_millis(500);
    let server = Running::start(&options);
    for (query, status) in [
        ("channel=closed:a", 401),
        ("channel=open:a&channel=closed:a", 401),
        ("channel=fresh:a&last=1", 403),
        ("channel=open:a&token=x", 401),
        ("channel=$demo:chat", 404),
        ("channel=", 404),
        ("channel=a%00", 404),
        ("channel=open:a&channel=open:a", 400),
        ("channel=open:a&last=0", 400),
        ("channel=open:a&last=301", 400),
        ("", 400),
        (&(0..65).map(|number| format!("channel=open:{number}")).collect::<Vec<_>>().join("&"), 400),
    ] {
        assert_status(&server.ask(get(&format!("/sse?{query}"), "Connection: close\r\n")).await, status);
    }
    let mut http = listen(&server, "channel=open:a&channel=fresh:a", Some("1:1,1:1")).await;
    for channel in ["open:a", "fresh:a"] {
        assert_eq!(next_of(&mut http, "lost").await.data["on"], channel);
        assert_eq!(next_of(&mut http, "subscribed").await.data["on"], channel);
    }
    assert_status(&server.ask(post("/sse?channel=open:a", "Connection: close\r\n", "")).await, 405);
    assert_status(&Running::demo(Demo::Chat).ask(post("/sse?channel=a", "Connection: close\r\n", "")).await, 405);
}

#[tokio::test]
async fn pages_of_other_origins_may_listen_only_if_they_may_connect() {
    let mut options = hub_options();
    options.origins = Some(OriginPolicy::list(["https://good.example"]).unwrap().and_same());
    let server = Running::start(&options);
    let of = |origin: &str| get("/sse?channel=a", &format!("Origin: {origin}\r\n"));
    let mut http = Http::to(&server).await;
    assert_eq!(http.ask(of("https://good.example")).await, 200);
    assert_eq!(header(&http.head, "access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(Http::to(&server).await.ask(of("https://evil.example")).await, 403);
}

#[tokio::test]
async fn pages_of_other_origins_may_say_who_they_are() {
    let server = Running::start(&hub_options());
    let asks = "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n\
                Access-Control-Request-Headers: authorization\r\nConnection: close\r\n";
    let response = server.ask(format!("OPTIONS /sse?channel=a HTTP/1.1\r\nHost: a\r\n{asks}\r\n")).await;
    assert_status(&response, 204);
    let allowed = header(&response, "access-control-allow-headers").unwrap();
    assert!(allowed.split(", ").any(|name| name == "authorization"), "{allowed}");
}

#[tokio::test]
async fn listeners_that_vanish_leave_nothing_behind() {
    let mut options = hub_options();
    options.pipes.max_open = 1;
    let server = Running::start(&options);
    let mut http = listen(&server, "channel=a", None).await;
    for _ in 0..10 {
        assert_eq!(Http::to(&server).await.ask(get("/sse?channel=a", "")).await, 503);
        drop(http);
        // There is room again as soon as that is noticed.
        http = within(async {
            loop {
                let mut next = Http::to(&server).await;
                if next.ask(get("/sse?channel=a", "")).await == 200 {
                    return next;
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_stops_says_when_to_come_back() {
    let server = Running::start(&hub_options());
    let mut http = listen(&server, "channel=a", None).await;
    next_of(&mut http, "subscribed").await;
    let stopping = tokio::spawn(server.stop());
    let retry = http.until("\n\n").await.unwrap();
    assert!(retry.starts_with("retry: "), "{retry}");
    assert_eq!(next_of(&mut http, "bye").await.data["bye"]["code"], 1012);
    assert_eq!(next_of(&mut http, "close").await.data["code"], 1012);
    assert_eq!(http.rest().await, (String::new(), true));
    within(stopping).await.unwrap();
}
