//! The HTTP API over real sockets: what a program in any language sees, and what an attacker does.
mod common;

use std::time::Duration;

use common::{
    Running, assert_status, get, header,
    hub::{Talk, hub_options},
    read_head, read_response, read_to_end, upgrade, within,
};
use serde_json::{Value, json};
use sockeye_server::{ApiKey, Server, ServerOptions, Site};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::Instant};

const KEY: &str = "a-key-for-tests-only";

fn server_with(change: impl FnOnce(&mut ServerOptions)) -> Running {
    let mut options = hub_options();
    options.api_keys = vec![ApiKey::new("test", KEY).unwrap()];
    change(&mut options);
    Running::start(&options)
}

fn server() -> Running {
    server_with(|_| {})
}

fn head(method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n{more}\r\n")
}

fn post(target: &str, body: &str) -> String {
    let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    head("POST", target, &more) + body
}

/// One request and its answer, on a connection that stays open.
async fn exchange(stream: &mut TcpStream, request: &str) -> (u16, Value) {
    within(stream.write_all(request.as_bytes())).await.unwrap();
    let (head, body) = read_response(stream).await;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// The status, the headers and the code of an answer after which the server closes.
fn refusal(response: &str) -> (u16, String) {
    let status = response.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {response:?}"));
    (status, body["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_backend_takes_part() {
    let server = server();
    let (mut ann, mut http) = (Talk::to(&server).await, server.raw().await);
    let session = ann.done(json!({"connect": {}})).await["session"].as_str().unwrap().to_owned();
    ann.done(json!({"subscribe": "chat", "as": {"name": "Ann"}})).await;

    let (status, first) =
        exchange(&mut http, &post("/api/publish", r#"{"channel":"chat","data":{"n":1.50},"event":"e"}"#)).await;
    assert_eq!((status, &first["offset"]), (200, &1.into()));
    let heard = loop {
        let heard = ann.hear().await;
        if heard.get("data").is_some() {
            break heard;
        }
    };
    assert_eq!((&heard["data"], &heard["event"], heard.get("from")), (&json!({"n": 1.50}), &json!("e"), None));

    let batch = r#"[{"channel":"chat","data":2,"key":"k"},{"channel":"chat","data":3,"key":"k"},
                    {"channel":"chat","base64":"aGk="},{"channel":"other:x","data":1},{"channel":"chat","data":0,"volatile":true}]"#;
    let (status, answers) = exchange(&mut http, &post("/api/publish", batch)).await;
    assert_eq!((status, &answers[0]["offset"], &answers[1]["offset"]), (200, &2.into(), &2.into()), "{answers}");
    assert_eq!(answers[2]["offset"], 3);
    assert_eq!(answers[3]["error"]["code"], "bad_channel");
    assert_eq!(answers[4], json!({}));

    let epoch = first["epoch"].as_str().unwrap();
    let history = format!("/api/history?channel=chat&since={epoch}:1&limit=2");
    let (status, page) = exchange(&mut http, &head("GET", &history, "")).await;
    assert_eq!((status, &page["offset"], &page["more"]), (200, &3.into(), &false.into()), "{page}");
    assert_eq!((&page["items"][0]["data"], &page["items"][1]["base64"]), (&json!(2), &json!("aGk=")));
    let lost = format!("/api/history?channel=chat&since={}:1", "1".repeat(32));
    let (status, answer) = exchange(&mut http, &head("GET", &lost, "")).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("position_lost")));

    let (status, presence) = exchange(&mut http, &head("GET", "/api/presence?channel=chat", "")).await;
    let member = json!({"session": session, "as": {"name": "Ann"}});
    assert_eq!((status, presence), (200, json!({"count": 1, "members": [member]})));
    let (_, presence) = exchange(&mut http, &head("GET", "/api/presence?channel=chat&limit=0", "")).await;
    assert_eq!(presence, json!({"count": 1, "members": []}));

    let (status, gone) =
        exchange(&mut http, &post("/api/disconnect", &json!({"session": session, "code": 4100}).to_string())).await;
    assert_eq!((status, gone), (200, json!({"sessions": 1})));
    assert_eq!(ann.ends().await.0, 4100);
    let again = post("/api/disconnect", &json!({"session": session}).to_string());
    assert_eq!(exchange(&mut http, &again).await, (200, json!({"sessions": 0})));
}

/// Wherever they are at home: with two workers, some are at each.
#[tokio::test]
async fn channels_of_all_workers_are_listed() {
    let server = server();
    let mut http = server.raw().await;
    for number in 10..30 {
        let body = json!({"channel": format!("room-{number}"), "data": 1}).to_string();
        assert_eq!(exchange(&mut http, &post("/api/publish", &body)).await.0, 200);
    }
    let (_, all) = exchange(&mut http, &head("GET", "/api/channels?prefix=room-", "")).await;
    let names: Vec<_> = all["channels"].as_array().unwrap().iter().map(|info| info["channel"].clone()).collect();
    assert_eq!(names, (10..30).map(|number| json!(format!("room-{number}"))).collect::<Vec<_>>());
    assert_eq!((&all["more"], &all["channels"][0]["offset"]), (&json!(false), &json!(1)));
    let (_, some) = exchange(&mut http, &head("GET", "/api/channels?prefix=room-1&limit=3", "")).await;
    assert_eq!((some["channels"].as_array().unwrap().len(), &some["more"]), (3, &json!(true)));
}

#[tokio::test]
async fn without_a_key_in_the_configuration_there_is_no_api() {
    let server = server_with(|options| options.api_keys.clear());
    assert_status(&server.ask(head("GET", "/api/channels", "Connection: close\r\n")).await, 404);
    assert_status(&server.ask(get("/api/openapi.json", "Connection: close\r\n")).await, 404);
}

/// Attack line F23: nothing, something else, several, and in the address.
#[tokio::test]
async fn f23_only_the_key_opens() {
    let server = server();
    let publish = r#"{"channel":"a","data":1}"#;
    for (target, authorization) in [
        ("/api/publish", String::new()),
        ("/api/publish", "Authorization: Bearer\r\n".into()),
        ("/api/publish", "Authorization: Bearer a-key-for-tests-onlx\r\n".into()),
        ("/api/publish", "Authorization: Bearer a-key-for-tests-only-and-more\r\n".into()),
        ("/api/publish", format!("Authorization: Basic {KEY}\r\n")),
        ("/api/publish", format!("Authorization: Bearer {KEY}\r\nAuthorization: Bearer {KEY}\r\n")),
        ("/api/publish?key=a-key-for-tests-only", String::new()),
        ("/api/nothing", String::new()),
    ] {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\n{authorization}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{publish}",
            publish.len()
        );
        let mut stream = server.raw().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let response = read_to_end(&mut stream).await;
        assert_eq!(refusal(&response), (401, "unauthorized".into()), "{authorization}");
        assert_eq!(header(&response, "www-authenticate"), Some("Bearer"));
        assert!(!response.contains(KEY));
    }
    let (_, channels) = exchange(&mut server.raw().await, &head("GET", "/api/channels", "")).await;
    assert_eq!(channels["channels"], json!([]), "nothing was published");
}

/// Guessing: after a few wrong keys no key of that address is looked at for a while, not even the right one.
#[tokio::test]
async fn guessing_is_slow() {
    let server = server_with(|options| options.admission.limit_loopback = true);
    let mut stream = server.raw().await;
    let guess = "GET /api/channels HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer wrong-wrong-wrong-wrong\r\n\r\n";
    let mut refused = 0;
    while exchange(&mut stream, guess).await.0 == 401 {
        refused += 1;
        assert!(refused < 100, "nobody stops it");
    }
    within(stream.write_all(head("GET", "/api/channels", "").as_bytes())).await.unwrap();
    let (answer, _) = read_response(&mut stream).await;
    assert_status(&answer, 429);
    assert_eq!(header(&answer, "retry-after"), Some("1"));
}

/// Attack line J19: what is not JSON, too much of it, and methods that are not.
#[tokio::test]
async fn j19_wrong_types_large_bodies_unknown_methods() {
    let server = server();
    let body = r#"{"channel":"a","data":1}"#;
    for kind in
        ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/json; charset=latin1"]
    {
        let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        let request = head("POST", "/api/publish", &format!("{kind}Content-Length: {}\r\n", body.len())) + body;
        assert_eq!(refusal(&server.ask(request).await), (415, "bad_request".into()), "{kind}");
    }
    let compressed = "Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n";
    assert_eq!(refusal(&server.ask(head("POST", "/api/publish", compressed) + "x").await).0, 415);

    // 10 MB, announced or not: the answer arrives, though the client is still writing.
    let announced = head("POST", "/api/publish", "Content-Type: application/json\r\nContent-Length: 10000000\r\n");
    let large = announced + &"x".repeat(10_000_000);
    assert_eq!(refusal(&server.ask(large).await), (413, "too_big".into()));
    let chunked = head("POST", "/api/publish", "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n");
    let large = chunked + &format!("10000\r\n{}\r\n", "x".repeat(65_536)).repeat(100);
    assert_eq!(refusal(&server.ask(large).await), (413, "too_big".into()));
    let data = format!(r#"{{"channel":"a","data":"{}"}}"#, "x".repeat(66_000));
    assert_eq!(exchange(&mut server.raw().await, &post("/api/publish", &data)).await.0, 413, "more than a payload");

    let mut stream = server.raw().await;
    within(stream.write_all(head("DELETE", "/api/publish", "").as_bytes())).await.unwrap();
    let (answer, _) = read_response(&mut stream).await;
    assert_status(&answer, 405);
    assert_eq!(header(&answer, "allow"), Some("POST"));
    assert_eq!(exchange(&mut stream, &head("GET", "/api/nothing", "")).await.0, 404);
    assert_eq!(exchange(&mut stream, &head("GET", "/api/history?channel=a+b", "")).await.0, 404);
    let expect = head("POST", "/api/publish", "Content-Type: application/json\r\nContent-Length: 1\r\nExpect: tea\r\n");
    assert_eq!(refusal(&server.ask(expect + "1").await).0, 417);
    let with_body = head("GET", "/api/channels", "Content-Length: 1\r\n") + "x";
    assert_eq!(refusal(&server.ask(with_body).await).0, 400);
}

/// Not for web pages, whatever they know.
#[tokio::test]
async fn a_page_is_refused_and_cors_is_not_spoken() {
    let server = server();
    for origin in ["https://example.org", "null", "http://127.0.0.1"] {
        let origin = format!("Origin: {origin}\r\nConnection: close\r\n");
        let response = server.ask(head("GET", "/api/channels", &origin)).await;
        assert_eq!(refusal(&response), (403, "forbidden".into()));
        let preflight = server.ask(head("OPTIONS", "/api/publish", &origin)).await;
        assert_eq!(refusal(&preflight).0, 403);
        assert!(!(response + &preflight).to_ascii_lowercase().contains("access-control"));
    }
}

/// Attack lines E4 and R5: a byte now and then is not progress; the deadline is absolute.
#[tokio::test]
async fn e4_a_slow_body_is_answered_with_408() {
    let server = server();
    let mut stream = server.raw().await;
    let head = head("POST", "/api/publish", "Content-Type: application/json\r\nContent-Length: 1000\r\n");
    within(stream.write_all(head.as_bytes())).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let start = Instant::now();
    let drip = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        while writing.write_all(b"{").await.is_ok() {
            tick.tick().await;
        }
    });
    let mut response = Vec::new();
    let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut response)).await;
    drip.abort();
    assert_eq!(refusal(&String::from_utf8(response).unwrap()), (408, "timeout".into()));
    assert!((Duration::from_secs(9)..Duration::from_secs(15)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

/// One reader has all heads of a connection, so that what is in a body is never a request, and what follows is one.
#[tokio::test]
async fn nothing_is_smuggled() {
    let server = server();
    let hidden = get("/health", "");
    let both = "Content-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n";
    for request in [
        head("POST", "/api/publish", both) + "0\r\n\r\n" + &hidden,
        head("POST", "/api/publish", "Content-Type: application/json\r\nContent-Length: 4\r\nContent-Length: 5\r\n")
            + "1234"
            + &hidden,
        head("POST", "/api/publish", "Content-Type: application/json\r\nTransfer-Encoding: chunked, chunked\r\n")
            + "0\r\n\r\n"
            + &hidden,
        head("POST", "/api/publish", "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n")
            + "0\r\nx: y\r\n\r\n"
            + &hidden,
        head("POST", "/api/publish", "Content-Length: 3\r\n") + &hidden,
    ] {
        let response = server.ask(&request).await;
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
        assert!(response.starts_with("HTTP/1.1 4"), "{response}");
        assert_eq!(header(&response, "connection"), Some("close"));
    }
    // A request as the data of a publication is data.
    let mut stream = server.raw().await;
    let body = json!({"channel": "a", "data": upgrade("/ws", "")}).to_string();
    let two = post("/api/publish", &body) + &head("GET", "/api/history?channel=a", "");
    let (status, _) = exchange(&mut stream, &two).await;
    let (_, page) = read_response(&mut stream).await;
    let page: Value = serde_json::from_slice(&page).unwrap();
    assert_eq!((status, &page["items"][0]["data"]), (200, &json!(upgrade("/ws", ""))));
}

/// Requests in a row in one packet, in chunks and not, and at the end an upgrade, as a proxy that keeps connections may send it.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = server();
    let mut stream = server.raw().await;
    let chunked = head("POST", "/api/publish", "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n");
    let body = r#"{"channel":"a","data":1}"#;
    let all = post("/api/publish", body)
        + &chunked
        + &format!("5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &body[..5], body.len() - 5, &body[5..])
        + &head("HEAD", "/api/channels", "")
        + &get("/health", "")
        + &upgrade("/ws", "");
    within(stream.write_all(all.as_bytes())).await.unwrap();
    for offset in [1, 2] {
        let (_, answer) = read_response(&mut stream).await;
        assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()["offset"], offset);
    }
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && header(&head, "content-length").is_some_and(|length| length != "0"));
    let (health, _) = read_response(&mut stream).await;
    assert_status(&health, 200);
    assert_status(&read_head(&mut stream).await, 101);
}

/// curl waits for it before it sends a large body.
#[tokio::test]
async fn who_expects_100_is_told_to_go_on() {
    let server = server();
    let mut stream = server.raw().await;
    let body = r#"{"channel":"a","data":1}"#;
    let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n", body.len());
    within(stream.write_all(head("POST", "/api/publish", &more).as_bytes())).await.unwrap();
    assert_status(&read_head(&mut stream).await, 100);
    assert_eq!(exchange(&mut stream, body).await.0, 200);
}

/// The same over HTTP/2, by a client that is not ours.
#[tokio::test]
async fn http2_has_the_same_answers() {
    let server = server();
    let stream = server.raw().await;
    let (mut send, connection) = within(h2::client::handshake(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let requests = [
        ("POST", "/api/publish", KEY, r#"{"channel":"a","data":1}"#.to_owned(), 200),
        ("GET", "/api/history?channel=a", KEY, String::new(), 200),
        ("HEAD", "/api/history?channel=a", KEY, String::new(), 200),
        ("GET", "/api/history?channel=a", "wrong-wrong-wrong-wrong", String::new(), 401),
        ("GET", "/api/channels", KEY, "x".to_owned(), 400),
        ("POST", "/api/publish", KEY, "x".repeat(200_000), 413),
        ("DELETE", "/api/publish", KEY, String::new(), 405),
        ("GET", "/api/openapi.json", "", String::new(), 200),
    ];
    for (method, path, key, body, status) in requests {
        let builder = http::Request::builder().method(method).uri(format!("http://a{path}"));
        let builder =
            builder.header("authorization", format!("Bearer {key}")).header("content-type", "application/json");
        within(std::future::poll_fn(|cx| send.poll_ready(cx))).await.unwrap();
        let (response, mut sending) = send.send_request(builder.body(()).unwrap(), body.is_empty()).unwrap();
        if !body.is_empty() {
            sending.reserve_capacity(body.len());
            let _ = sending.send_data(body.into(), true);
        }
        let response = within(response).await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(response.headers()["content-type"], "application/json");
    }
    drop(send);
    let _ = within(connection).await;
}

/// Nothing of it is done.
#[tokio::test]
async fn who_leaves_in_the_middle_of_a_body_leaves_nothing_behind() {
    let server = server();
    for _ in 0..100 {
        let mut stream = server.raw().await;
        let head = head("POST", "/api/publish", "Content-Type: application/json\r\nContent-Length: 100\r\n");
        within(stream.write_all((head + r#"{"channel":"a","data":"#).as_bytes())).await.unwrap();
    }
    let (status, channels) = exchange(&mut server.raw().await, &head("GET", "/api/channels", "")).await;
    assert_eq!((status, &channels["channels"]), (200, &json!([])));
}

#[tokio::test]
async fn health() {
    let server = server();
    for path in ["/health", "/live", "/ready"] {
        let response = server.ask(get(path, "Connection: close\r\n")).await;
        assert_status(&response, 200);
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
    }
}

/// A demo alone has every path for itself.
#[tokio::test]
async fn a_demo_has_no_api() {
    let mut options = common::options(Site::Demo(sockeye_server::Demo::Echo));
    options.api_keys = vec![ApiKey::new("test", KEY).unwrap()];
    let server = Server::start(&options).unwrap();
    let mut stream = within(TcpStream::connect(server.address())).await.unwrap();
    within(stream.write_all(head("GET", "/api/channels", "").as_bytes())).await.unwrap();
    let (head, body) = read_response(&mut stream).await;
    assert_status(&head, 200);
    assert!(body.starts_with(b"<!"), "the page of the echo");
    drop(stream);
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
}
