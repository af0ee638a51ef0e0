//! Conversations over HTTP/1.1, by our own transports: what they carry, what becomes of it when connections break, and what
//! hostile clients get.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use common::{
    Running, assert_status, header,
    hub::{Talk, hub_options},
    options,
    pipe::{Http, Pipe, get, post},
    read_to_end,
    tls::{BOTH, Folder, encrypt, trusting},
    upgrade, within,
};
use serde_json::{Value, json};
use sockeye::OriginPolicy;
use sockeye_server::{ChannelOptions, Namespaces, Site};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

fn hub() -> Running {
    Running::start(&hub_options())
}

fn subscribe(channel: &str) -> Value {
    json!({"id": 1, "subscribe": channel})
}

#[tokio::test]
async fn the_hub_is_the_same_over_a_stream_of_lines() {
    let server = hub();
    let mut socket = Talk::to(&server).await;
    let mut pipe = Pipe::open(&server, "/ws").await;
    for (name, value) in [
        ("content-type", "application/x-ndjson"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(header(&pipe.lines.head, name), Some(value), "{name}");
    }
    assert!(pipe.ask(subscribe("a")).await["ok"].is_object());
    socket.done(subscribe("a")).await;
    let sent = pipe.ask(json!({"id": 2, "publish": "a", "data": {"text": "from \u{2028} far"}})).await;
    assert_eq!(sent["ok"]["offset"], 1);
    assert_eq!(socket.hear().await["data"], json!({"text": "from \u{2028} far"}));
    socket.done(json!({"publish": "a", "data": [1, "x"]})).await;
    loop {
        let heard = pipe.hear().await;
        if heard["offset"] == 2 {
            assert_eq!(heard["data"], json!([1, "x"]));
            break;
        }
    }
}

#[tokio::test]
async fn a_poll_brings_what_there_is_and_its_connection_goes_on() {
    let server = hub();
    let mut http = Http::to(&server).await;
    assert_eq!(http.ask(get("/ws/poll", "")).await, 200);
    let (body, _) = http.rest().await;
    let open: Value = serde_json::from_str(&body).unwrap();
    let id = open[0]["open"]["id"].as_str().unwrap().to_owned();
    assert_eq!(header(&http.head, "content-length"), Some(body.len().to_string().as_str()));
    let said = post(&format!("/ws/send?id={id}&sent=0"), "", r#"[{"id":1,"ping":{}},{"id":2,"ping":{}}]"#);
    assert_eq!(http.ask(said).await, 204);
    let mut heard = Vec::new();
    while heard.len() < 2 {
        assert_eq!(http.ask(get(&format!("/ws/poll?id={id}&received={}", heard.len()), "")).await, 200);
        heard.extend(serde_json::from_str::<Vec<Value>>(&http.rest().await.0).unwrap());
    }
    assert_eq!(heard, [json!({"id": 1, "ok": {}}), json!({"id": 2, "ok": {}})]);
}

#[tokio::test]
async fn events_say_where_they_stand_and_an_event_source_comes_back_there() {
    let server = hub();
    let mut http = Http::to(&server).await;
    assert_eq!(http.ask(get("/ws/events", "")).await, 200);
    assert_eq!(header(&http.head, "content-type"), Some("text/event-stream"));
    let open = http.event().await.unwrap();
    let id = open.data["open"]["id"].as_str().unwrap().to_owned();
    assert_eq!(open.id.unwrap(), format!("{id}:0"));
    let say = |number: u64| {
        post(&format!("/ws/send?id={id}"), "Connection: close\r\n", &json!([{"id": number, "ping": {}}]).to_string())
    };
    for number in 1..=3 {
        assert_status(&server.ask(say(number)).await, 204);
        assert_eq!(http.event().await.unwrap().data["id"], number);
    }
    drop(http);
    assert_status(&server.ask(say(4)).await, 204);
    // As if the third had not arrived.
    let mut http = Http::to(&server).await;
    assert_eq!(http.ask(get("/ws/events", &format!("Last-Event-ID: {id}:2\r\n"))).await, 200);
    for number in 3..=4 {
        let event = http.event().await.unwrap();
        assert_eq!((event.data["id"].as_u64(), event.id), (Some(number), Some(format!("{id}:{number}"))));
    }
}

/// In strings, which hold whatever a text can.
#[tokio::test]
async fn the_echo_carries_any_text() {
    let server = Running::site();
    let mut pipe = Pipe::open(&server, "/echo").await;
    for text in ["", "hello", "two\nlines\r", "{\"a\":1}", "\u{2028}🐟\0", "[]"] {
        pipe.say(&text.into()).await;
        assert_eq!(pipe.hear().await, text);
    }
}

#[tokio::test]
async fn the_demos_have_members_by_both_ways() {
    let server = Running::site();
    let mut socket = server.connect("/chat").await;
    let mut pipe = Pipe::open(&server, "/chat").await;
    assert_eq!(pipe.hear().await, r#"{"msg":[]}"#);
    pipe.say(&json!(r#"{"user":"ann","text":"hi"}"#)).await;
    common::recv_json(&mut socket).await;
    assert_eq!(common::recv_json(&mut socket).await["msg"][0]["text"], "hi");
    let heard: Value = serde_json::from_str(pipe.hear().await.as_str().unwrap()).unwrap();
    assert_eq!(heard["msg"][0]["user"], "ann");
}

/// However often it is cut, and whichever worker it comes back to.
#[tokio::test]
async fn what_a_cut_has_swallowed_is_said_again_and_nothing_twice() {
    let mut options = hub_options();
    options.workers = 4;
    let server = Running::start(&options);
    let mut pipe = Pipe::open(&server, "/ws").await;
    let mut received = 0;
    for round in 0..20 {
        let commands: Vec<_> = (0..5).map(|index| json!({"id": round * 5 + index + 1, "ping": {}})).collect();
        let sent = format!("&sent={}", round * 5);
        let body = Value::from(commands).to_string();
        assert_status(&pipe.send(&sent, &body).await, 204);
        // Its answer was lost, say, so it is made again.
        assert_status(&pipe.send(&sent, &body).await, 204);
        // Some of the answers are read, and the rest is lost with the connection.
        for _ in 0..3 {
            received += 1;
            assert_eq!(pipe.hear().await["id"], received);
        }
        assert_eq!(pipe.come_back(usize::try_from(received).unwrap()).await, 200);
        for _ in 0..2 {
            received += 1;
            assert_eq!(pipe.hear().await["id"], received);
        }
    }
}

#[tokio::test]
async fn a_gap_is_never_passed_over() {
    let server = hub();
    let mut pipe = Pipe::open(&server, "/ws").await;
    assert_status(&pipe.send("&sent=1", "[{}]").await, 409);
    assert_eq!(pipe.ask(json!({"id": 1, "ping": {}})).await["ok"], json!({}));
    // More than was ever said.
    assert_eq!(pipe.come_back(7).await, 200);
    assert_eq!(pipe.hear().await, json!({"close": {"code": 4103, "reason": "position lost"}}));
    assert_eq!(pipe.lines.rest().await, (String::new(), true));
}

#[tokio::test]
async fn a_second_receiver_takes_over_and_the_first_hears_so() {
    let server = hub();
    let mut pipe = Pipe::open(&server, "/ws").await;
    let mut first = std::mem::replace(&mut pipe.lines, Http::to(&server).await);
    assert_eq!(pipe.come_back(0).await, 200);
    assert_eq!(first.line().await.unwrap()["close"]["code"], 4009);
    assert_eq!(first.rest().await, (String::new(), true));
    assert_eq!(pipe.ask(json!({"id": 1, "ping": {}})).await["ok"], json!({}));
}

#[tokio::test]
async fn a_response_of_a_length_ends_and_the_next_goes_on() {
    let mut options = hub_options();
    options.pipes.response_limit = 1024;
    let server = Running::start(&options);
    let mut pipe = Pipe::open(&server, "/ws").await;
    let mut responses = 1;
    for received in 0..200 {
        pipe.say(&json!({"id": received + 1, "ping": {}})).await;
        let heard = if let Some(heard) = pipe.lines.line().await {
            heard
        } else {
            responses += 1;
            assert_eq!(pipe.come_back(received).await, 200);
            pipe.hear().await
        };
        assert_eq!(heard["id"], received + 1);
    }
    assert!(responses >= 4, "{responses}");
}

#[tokio::test]
async fn who_says_goodbye_is_gone() {
    let server = hub();
    let mut pipe = Pipe::open(&server, "/ws").await;
    let leave = post(&format!("/ws/leave?id={}", pipe.id), "Connection: close\r\n", "");
    assert_status(&server.ask(leave).await, 204);
    assert_eq!(pipe.lines.rest().await, (String::new(), true));
    assert!(!pipe.is_there().await);
}

#[tokio::test]
async fn padding_comes_first_and_only_if_it_is_asked_for() {
    let server = hub();
    for (path, start) in [("/ws/stream", "  "), ("/ws/events", ":  ")] {
        let mut http = Http::to(&server).await;
        assert_eq!(http.ask(get(&format!("{path}?pad=2048"), "")).await, 200);
        let first = http.until("\n").await.unwrap();
        assert!(first.len() >= 2048 && first.starts_with(start), "{path}");
    }
    assert_status(&server.ask(get("/ws/stream?pad=4097", "")).await, 400);
}

/// Attack lines H1 and H3: names that are wrong, and names that are somebody else's.
#[tokio::test]
async fn nobody_finds_the_conversation_of_another() {
    let server = hub();
    let pipe = Pipe::open(&server, "/ws").await;
    let id = &pipe.id;
    let alien = "Origin: http://b\r\nConnection: close\r\n";
    for request in [
        post(&format!("/ws/send?id={id}"), alien, "[]"),
        get(&format!("/ws/stream?id={id}&received=0"), alien),
        get(&format!("/ws/poll?id={id}"), alien),
        post(&format!("/ws/leave?id={id}"), alien, ""),
        // Another service has others.
        post(&format!("/echo/send?id={id}"), "Connection: close\r\n", "[]"),
        post(&format!("/ws/send?id={}", "0".repeat(32)), "Connection: close\r\n", "[]"),
        post("/ws/send?id=x", "Connection: close\r\n", "[]"),
    ] {
        let response = server.ask(&request).await;
        assert_status(&response, 404);
        assert!(response.ends_with(r#"{"error":{"code":"not_found","message":"there is no such conversation"}}"#));
    }
    assert!(pipe.is_there().await, "and it is not disturbed");
    // A page of the server's own names its origin when it writes, and not when it reads.
    assert_status(&pipe.send("", "[]").await, 204);
    let own = post(&format!("/ws/send?id={id}"), "Origin: http://a\r\nConnection: close\r\n", "[]");
    assert_status(&server.ask(own).await, 204);
}

/// Nobody guesses 128 bits, so who is right has not guessed; another page, or another behind the same address, may have.
#[tokio::test]
async fn who_guesses_is_stopped_and_those_who_know_are_not() {
    let mut options = hub_options();
    options.admission.limit_loopback = true;
    (options.admission.per_address, options.admission.new_per_second) = (10_000, 10_000);
    let server = Running::start(&options);
    let pipe = Pipe::open(&server, "/ws").await;
    for number in 0..60 {
        let guess = post(&format!("/ws/send?id={number:032x}"), &format!("Origin: http://{number}.example\r\n"), "[]");
        assert_eq!(Http::to(&server).await.ask(guess).await, 404);
    }
    let guess = post(&format!("/ws/send?id={:032x}", 60), "Connection: close\r\n", "[]");
    let response = server.ask(guess).await;
    assert_status(&response, 429);
    assert!(header(&response, "retry-after").is_some());
    assert_status(&pipe.send("", "[]").await, 204);
}

/// Images of a page load without an `Origin`, and so do frames; browsers say that they are another's, though.
#[tokio::test]
async fn pages_that_do_not_say_their_origin_are_nobody_elses_pages() {
    let mut options = hub_options();
    options.origins = Some(OriginPolicy::same());
    let server = Running::start(&options);
    for path in ["/ws/stream", "/ws/events", "/ws/poll", "/ws/poll?id=0", "/sse?channel=a"] {
        for site in ["cross-site", "same-site", "?"] {
            let response = server.ask(get(path, &format!("Sec-Fetch-Site: {site}\r\nConnection: close\r\n"))).await;
            assert_status(&response, 403);
        }
    }
    for site in ["same-origin", "none"] {
        let own = get("/ws/stream", &format!("Sec-Fetch-Site: {site}\r\n"));
        assert_eq!(Http::to(&server).await.ask(own).await, 200, "{site}");
    }
    // Where all pages may, those are still somebody else.
    let server = hub();
    let pipe = Pipe::open(&server, "/ws").await;
    let other = post(&format!("/ws/send?id={}", pipe.id), "Sec-Fetch-Site: cross-site\r\nConnection: close\r\n", "[]");
    assert_status(&server.ask(other).await, 404);
    assert!(pipe.is_there().await);
}

/// Browsers leave the `Origin` out of such a GET, and the list has the page with its scheme.
#[tokio::test]
async fn a_page_that_is_listed_may_read_from_its_own_server() {
    for (listed, status) in [("http://a", 200), ("https://a", 200), ("http://b", 403)] {
        let mut options = hub_options();
        options.origins = Some(OriginPolicy::list([listed]).unwrap());
        let server = Running::start(&options);
        for path in ["/ws/events", "/sse?channel=a"] {
            let own = get(path, "Sec-Fetch-Site: same-origin\r\n");
            assert_eq!(Http::to(&server).await.ask(own).await, status, "{listed} {path}");
        }
    }
}

#[tokio::test]
async fn an_address_has_so_many_conversations() {
    let mut options = hub_options();
    options.admission.limit_loopback = true;
    options.pipes.per_address = 2;
    let server = Running::start(&options);
    let _both = (Pipe::open(&server, "/ws").await, Pipe::open(&server, "/ws").await);
    for (path, origin) in [("/ws/stream", "http://a"), ("/ws/stream", "http://b"), ("/echo/poll", "http://c")] {
        let response = server.ask(get(path, &format!("Origin: {origin}\r\nConnection: close\r\n"))).await;
        assert_status(&response, 429);
    }
}

/// Attack line H7.
#[tokio::test]
async fn pages_may_what_the_origin_policy_lets_them() {
    let mut options = hub_options();
    options.origins = Some(OriginPolicy::list(["https://good.example"]).unwrap().and_same());
    let server = Running::start(&options);
    let close = |origin: &str| format!("Origin: {origin}\r\nConnection: close\r\n");
    for (path, body) in [("/ws/stream", ""), ("/ws/poll", ""), ("/ws/send?id=x", "[]"), ("/ws/leave?id=x", "")] {
        for origin in [
            "https://evil.example",
            "null",
            "https://good.example.evil.example",
            "https://good.example\r\nOrigin: https://good.example",
        ] {
            let response = server.ask(post(path, &close(origin), body)).await;
            assert_status(&response, 403);
            assert_eq!(header(&response, "access-control-allow-origin"), None, "{path} {origin}");
        }
    }
    let asks = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
    let preflight = |origin| format!("OPTIONS /ws/send?id=x HTTP/1.1\r\nHost: a\r\n{}{asks}\r\n", close(origin));
    let response = server.ask(preflight("https://good.example")).await;
    assert_status(&response, 204);
    assert_eq!(header(&response, "access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(header(&response, "access-control-allow-methods"), Some("POST"));
    assert_eq!(header(&response, "access-control-allow-credentials"), None);
    assert_status(&server.ask(preflight("https://evil.example")).await, 403);
    // What went wrong can be read, too.
    let response = server.ask(post("/ws/send?id=x", &close("https://good.example"), "[]")).await;
    assert_status(&response, 404);
    assert_eq!(header(&response, "access-control-allow-origin"), Some("https://good.example"));
    let mut http = Http::to(&server).await;
    assert_eq!(http.ask(get("/ws/events", "Origin: https://good.example\r\n")).await, 200);
    assert_eq!(header(&http.head, "access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(header(&http.head, "vary"), Some("origin"));
}

/// Attack lines H4 and H18.
#[tokio::test]
async fn requests_that_are_none_are_refused() {
    let server = hub();
    let pipe = Pipe::open(&server, "/ws").await;
    let id = &pipe.id;
    let send = format!("/ws/send?id={id}");
    let many = format!("[{}1]", "1,".repeat(1024));
    let large = format!("[\"{}\"]", "x".repeat(64 * 1024 + 1));
    let huge = format!("[\"{}\"]", "x".repeat(256 * 1024));
    let close = "Connection: close\r\n";
    for (status, request) in [
        (400, post(&send, close, "")),
        (400, post(&send, close, "{}")),
        (400, post(&send, close, "[1,]")),
        (400, post(&send, close, "[\"\u{1}\"]")),
        (400, post(&send, close, &"[".repeat(100_000))),
        (413, post(&send, close, &many)),
        (413, post(&send, close, &large)),
        (413, post(&send, close, &huge)),
        (415, post(&send, "Content-Encoding: gzip\r\nConnection: close\r\n", "[]")),
        (400, post("/ws/send", close, "[]")),
        (400, post(&format!("{send}&sent=-1"), close, "[]")),
        (400, post(&format!("{send}&sent=18446744073709551616"), close, "[]")),
        (400, post(&format!("{send}&id={id}"), close, "[]")),
        (400, post("/ws/stream", close, "[]")),
        (405, get(&send, close)),
        (405, post("/ws/events", close, "")),
        (405, format!("HEAD /ws/poll HTTP/1.1\r\nHost: a\r\n{close}\r\n")),
        (405, format!("DELETE /ws/leave?id={id} HTTP/1.1\r\nHost: a\r\n{close}\r\n")),
        (400, upgrade("/ws/stream", "")),
        (400, upgrade("/ws/poll", "")),
    ] {
        let mut stream = server.raw().await;
        // A server that has seen enough may close before it has read everything.
        let _ = within(stream.write_all(request.as_bytes())).await;
        assert_status(&common::read_head(&mut stream).await, status);
    }
    assert!(pipe.is_there().await, "and nothing has come of it");
    // It is not even waited for that the body of a stranger comes.
    let head = format!("POST /ws/send?id={} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", "0".repeat(32));
    let mut stream = server.raw().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_status(&common::read_head(&mut stream).await, 404);
}

/// Attack line E4.
#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = hub();
    let pipe = Pipe::open(&server, "/ws").await;
    let mut stream = server.raw().await;
    let start = Instant::now();
    let head = format!("POST /ws/send?id={} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n[", pipe.id);
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_status(&read_to_end(&mut stream).await, 408);
    assert!((9..15).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

/// Attack line H12, many times over: there is room for one conversation, and all that were cut give theirs back.
#[tokio::test]
async fn clients_that_vanish_leave_nothing_behind() {
    let mut options = hub_options();
    (options.pipes.max_open, options.pipes.linger) = (1, Duration::from_millis(100));
    let server = Running::start(&options);
    for round in 0..10 {
        // As soon as the one before is given up.
        let lines = within(async {
            loop {
                let mut lines = Http::to(&server).await;
                if lines.ask(get("/ws/stream", "")).await == 200 {
                    return lines;
                }
            }
        })
        .await;
        assert_eq!(Http::to(&server).await.ask(get("/ws/poll", "")).await, 503);
        if round % 2 == 0 {
            // A reset in place of an end.
            socket2::SockRef::from(&lines.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}

/// Attack lines E1, E3 and H10.
#[tokio::test]
async fn who_takes_nothing_is_given_up_and_others_hear_all() {
    let mut options = hub_options();
    options.session.soft_output = 64 * 1024;
    let channel = ChannelOptions::with(|options| (options.session_rate, options.channel_rate) = (1_000_000, 1_000_000));
    options.namespaces = Arc::new(Namespaces::new(Some(channel)));
    options.hub.backlog_bytes = 256 * 1024;
    options.pipes.response_limit = usize::MAX;
    let server = Running::start(&options);
    let mut slow = Pipe::open(&server, "/ws").await;
    let mut quick = Pipe::open(&server, "/ws").await;
    slow.ask(subscribe("a")).await;
    quick.ask(subscribe("a")).await;
    let mut speaker = Talk::to(&server).await;
    let start = Instant::now();
    let data = "x".repeat(32 * 1024);
    let mut published = 0;
    // Until the sockets' buffers are full, and then what is kept.
    while slow.is_there().await && published < 2_000 {
        speaker.done(json!({"publish": "a", "data": data})).await;
        published += 1;
        loop {
            if quick.hear().await["offset"] == published {
                break;
            }
        }
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(!slow.is_there().await);
}

/// What is written from a turn, and what is left to the response's own task when the socket is full, is one stream.
#[tokio::test]
async fn who_pauses_misses_nothing_and_hears_nothing_twice() {
    const COUNT: u64 = 600;
    let mut options = hub_options();
    (options.session.soft_output, options.session.hard_output) = (64 << 20, 64 << 20);
    options.pipes.response_limit = usize::MAX;
    let channel = ChannelOptions::with(|options| (options.session_rate, options.channel_rate) = (1_000_000, 1_000_000));
    options.namespaces = Arc::new(Namespaces::new(Some(channel)));
    let server = Running::start(&options);
    let mut pipe = Pipe::open(&server, "/ws").await;
    pipe.ask(subscribe("a")).await;
    let mut speaker = Talk::to(&server).await;
    let data = "x".repeat(16 * 1024);
    // More than the sockets hold.
    for _ in 0..COUNT {
        speaker.done(json!({"publish": "a", "data": data})).await;
    }
    for offset in 1..=COUNT {
        let heard = pipe.hear().await;
        assert_eq!((heard["offset"].as_u64(), heard["data"].as_str().map(str::len)), (Some(offset), Some(data.len())));
    }
    speaker.done(json!({"publish": "a", "data": 1})).await;
    assert_eq!(pipe.hear().await["offset"], COUNT + 1);
}

#[tokio::test]
async fn over_tls_it_is_the_same() {
    let folder = Folder::new();
    let certificate = folder.issue();
    let server = Running::start(&folder.options());
    let encrypted = || async { encrypt(&server, trusting(&certificate, BOTH, &["http/1.1"])).await.unwrap() };
    let (mut lines, mut posts) = (encrypted().await, encrypted().await);
    lines.write_all(get("/echo/stream", "").as_bytes()).await.unwrap();
    let opened = read_until(&mut lines, "}}\n\r\n").await;
    let (_, id) = opened.split_once(r#"{"open":{"id":""#).unwrap();
    for text in ["one", "two"] {
        let said = post(&format!("/echo/send?id={}", &id[..32]), "", &json!([text]).to_string());
        posts.write_all(said.as_bytes()).await.unwrap();
        assert_status(&read_until(&mut posts, "\r\n\r\n").await, 204);
        assert_eq!(read_until(&mut lines, "\n\r\n").await.lines().nth(1), Some(format!("\"{text}\"").as_str()));
    }
    posts.write_all(post(&format!("/echo/leave?id={}", &id[..32]), "", "").as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut lines, "0\r\n\r\n").await, "0\r\n\r\n");
}

/// What comes up to this mark, with it.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), mark: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(mark.as_bytes()) {
        bytes.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_waits_for_nobody() {
    let mut options = hub_options();
    options.drain = Duration::from_secs(10);
    let server = Running::start(&options);
    let mut pipe = Pipe::open(&server, "/ws").await;
    let mut lines = std::mem::replace(&mut pipe.lines, Http::to(&server).await);
    let id = std::mem::take(&mut pipe.id);
    drop(pipe);
    let mut http = Http::to(&server).await;
    assert_eq!(http.ask(get("/echo/events", "")).await, 200);
    let stopping = tokio::spawn(server.stop());
    let bye = lines.line().await.unwrap();
    assert_eq!((bye["bye"]["code"].as_u64(), id.len()), (Some(1012), 32));
    assert_eq!(lines.line().await.unwrap()["close"]["code"], 1012);
    assert_eq!(lines.rest().await, (String::new(), true));
    http.event().await.unwrap();
    assert_eq!(http.event().await.unwrap().data["close"]["code"], 1001);
    http.rest().await;
    let took = within(stopping).await.unwrap();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_server_without_them_has_no_such_paths() {
    let mut options = options(Site::Server);
    options.pipes.enabled = false;
    let server = Running::start(&options);
    for path in ["/ws/stream", "/ws/poll", "/echo/events", "/sse?channel=a"] {
        assert_status(&server.ask(get(path, "Connection: close\r\n")).await, 404);
    }
}
