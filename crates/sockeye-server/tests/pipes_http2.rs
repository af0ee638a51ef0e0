//! Conversations over HTTP/2: each response a stream, as many as a connection has.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::{
    Running,
    hub::{Talk, hub_options},
    pipe::{self, Pipe},
    within,
};
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use sockeye_server::ApiKey;
use tokio::task::{JoinHandle, JoinSet};

struct Http2 {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// A response that is read line by line.
struct Lines {
    status: StatusCode,
    headers: HeaderMap,
    body: RecvStream,
    read: BytesMut,
}

impl Http2 {
    async fn to(server: &Running) -> Self {
        let (send, connection) = within(h2::client::handshake(server.raw().await)).await.unwrap();
        Self { send, connection: tokio::spawn(connection) }
    }

    async fn ask(&self, method: Method, path: &str, body: &str) -> Lines {
        let request = Request::builder().method(method).uri(format!("http://a{path}")).body(()).unwrap();
        let asking = async {
            let mut send = self.send.clone().ready().await.unwrap();
            let (response, mut sending) = send.send_request(request, body.is_empty()).unwrap();
            if !body.is_empty() {
                // The server may have answered before it has come.
                let _ = sending.send_data(body.to_owned().into(), true);
            }
            response.await.unwrap().into_parts()
        };
        let (head, body) = within(asking).await;
        Lines { status: head.status, headers: head.headers, body, read: BytesMut::new() }
    }

    async fn get(&self, path: &str) -> Lines {
        self.ask(Method::GET, path, "").await
    }

    async fn post(&self, path: &str, body: &str) -> StatusCode {
        self.ask(Method::POST, path, body).await.status
    }
}

impl Lines {
    /// The next piece; `None` at the end, `Err` if it is cut.
    async fn piece(&mut self) -> Result<Option<Bytes>, h2::Error> {
        let Some(data) = within(self.body.data()).await.transpose()? else { return Ok(None) };
        self.body.flow_control().release_capacity(data.len()).unwrap();
        Ok(Some(data))
    }

    async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1);
                if !line.trim_ascii().is_empty() {
                    return Some(serde_json::from_slice(&line).unwrap());
                }
                continue;
            }
            let piece = self.piece().await.unwrap()?;
            self.read.extend_from_slice(&piece);
        }
    }

    async fn rest(mut self) -> Bytes {
        while let Some(piece) = self.piece().await.unwrap() {
            self.read.extend_from_slice(&piece);
        }
        self.read.freeze()
    }
}

async fn open(client: &Http2) -> (Lines, String) {
    let mut lines = client.get("/ws/stream").await;
    assert_eq!(lines.status, 200);
    let open = lines.line().await.unwrap();
    (lines, open["open"]["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn all_of_a_conversation_goes_over_one_connection() {
    let server = Running::start(&hub_options());
    let client = Http2::to(&server).await;
    let (mut lines, id) = open(&client).await;
    assert_eq!(lines.headers["content-type"], "application/x-ndjson");
    assert_eq!(lines.headers["cache-control"], "no-store, no-transform");
    assert!(!lines.headers.contains_key("transfer-encoding") && !lines.headers.contains_key("connection"));
    for number in 1..=50 {
        let said = json!([{"id": number, "ping": {}}]).to_string();
        assert_eq!(client.post(&format!("/ws/send?id={id}&sent={}", number - 1), &said).await, 204);
        assert_eq!(lines.line().await.unwrap()["id"], number);
    }
    // More than six at a time, which is what browsers allow one server over HTTP/1.1.
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(open(&client).await);
    }
    for (lines, id) in &mut others {
        assert_eq!(client.post(&format!("/ws/send?id={id}"), r#"[{"id":1,"ping":{}}]"#).await, 204);
        assert_eq!(lines.line().await.unwrap(), json!({"id": 1, "ok": {}}));
    }
    assert_eq!(client.post(&format!("/ws/leave?id={id}"), "").await, 204);
    assert_eq!(lines.rest().await, "");
}

#[tokio::test]
async fn polls_and_events_and_listeners() {
    let server = Running::start(&hub_options());
    let client = Http2::to(&server).await;
    let open: Value = serde_json::from_slice(&client.get("/ws/poll").await.rest().await).unwrap();
    let id = open[0]["open"]["id"].as_str().unwrap();
    assert_eq!(client.post(&format!("/ws/send?id={id}"), r#"[{"id":1,"ping":{}}]"#).await, 204);
    let said = client.get(&format!("/ws/poll?id={id}&received=0")).await.rest().await;
    assert_eq!(said, r#"[{"id":1,"ok":{}}]"#);
    let mut events = client.get(&format!("/ws/events?id={id}&received=0")).await;
    let event = events.piece().await.unwrap().unwrap();
    assert_eq!(event, format!("id: {id}:1\ndata: {{\"id\":1,\"ok\":{{}}}}\n\n"));
    let mut listener = client.get("/sse?channel=a").await;
    assert_eq!(listener.headers["content-type"], "text/event-stream");
    assert_eq!(listener.piece().await.unwrap().unwrap(), "retry: 2000\n\n");
}

#[tokio::test]
async fn what_is_refused_over_http_1_is_refused() {
    let server = Running::start(&hub_options());
    let client = Http2::to(&server).await;
    let (_lines, id) = open(&client).await;
    let send = format!("/ws/send?id={id}");
    for (method, path, body, status) in [
        (Method::POST, "/ws/send?id=x", "[]", 404),
        (Method::POST, &format!("/ws/send?id={}", "0".repeat(32)), "[]", 404),
        (Method::POST, &format!("/echo/send?id={id}"), "[]", 404),
        (Method::POST, &send, "{}", 400),
        (Method::POST, &send, "", 400),
        (Method::POST, &format!("{send}&sent=1"), "[{}]", 409),
        (Method::POST, &send, &format!("[\"{}\"]", "x".repeat(65 * 1024)), 413),
        (Method::POST, "/ws/stream", "[]", 400),
        (Method::GET, &send, "", 405),
        (Method::HEAD, "/ws/poll", "", 405),
        (Method::POST, "/sse?channel=a", "", 405),
        (Method::GET, "/sse", "", 400),
    ] {
        let answer = client.ask(method.clone(), path, body).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.rest().await.is_empty(), method == Method::HEAD, "{method} {path}");
    }
    assert_eq!(client.post(&send, "[]").await, 204, "and nothing has come of it");
}

/// A conversation knows nothing of connections: one may be heard by one version and spoken to by the other.
#[tokio::test]
async fn both_versions_share_conversations() {
    let server = Running::start(&hub_options());
    let mut pipe = Pipe::open(&server, "/ws").await;
    let client = Http2::to(&server).await;
    let said = r#"[{"id":1,"ping":{}}]"#;
    assert_eq!(client.post(&format!("/ws/send?id={}&sent=0", pipe.id), said).await, 204);
    assert_eq!(pipe.hear().await["id"], 1);
    let mut lines = client.get(&format!("/ws/stream?id={}&received=0", pipe.id)).await;
    assert_eq!(lines.line().await.unwrap()["id"], 1);
    assert_eq!(pipe.hear().await["close"]["code"], 4009);
}

/// Attack line H12: streams that are reset, and connections that break, give back what they had.
#[tokio::test]
async fn streams_that_are_reset_leave_nothing_behind() {
    let mut options = hub_options();
    (options.pipes.max_open, options.pipes.linger) = (1, Duration::from_millis(100));
    let server = Running::start(&options);
    let mut client = Http2::to(&server).await;
    for round in 0..6 {
        let (lines, _) = within(async {
            loop {
                let mut lines = client.get("/ws/stream").await;
                if lines.status == 200 {
                    let open = lines.line().await.unwrap();
                    return (lines, open);
                }
                assert_eq!(lines.status, 503);
            }
        })
        .await;
        assert_eq!(client.get("/ws/stream").await.status, 503);
        drop(lines);
        if round % 2 == 0 {
            client.connection.abort();
            client = Http2::to(&server).await;
        }
    }
}

/// Each stream may bring a body, and there are a hundred of them.
#[tokio::test]
async fn bodies_of_a_connection_have_a_bound_together_and_give_back_what_they_had() {
    const KEY: &str = "a-key-for-tests-only";
    let mut options = hub_options();
    options.api_keys = vec![ApiKey::new("test", KEY).unwrap()];
    let server = Running::start(&options);
    for (path, size, status) in [("/sockjs/000/a/xhr_send", 200 * 1024, 404), ("/api/publish", 100 * 1024, 400)] {
        let client = Http2::to(&server).await;
        let begin = async || {
            let request = Request::post(format!("http://a{path}")).header("content-type", "application/json");
            let request = request.header("authorization", format!("Bearer {KEY}"));
            let mut send = client.send.clone().ready().await.unwrap();
            let (response, mut sending) = send.send_request(request.body(()).unwrap(), false).unwrap();
            let body = format!("[{}]", " ".repeat(size - 2));
            sending.send_data(body.into(), false).unwrap();
            (response, sending)
        };
        let mut unfinished = JoinSet::new();
        for _ in 0..=1024 * 1024 / size {
            let (response, sending) = within(begin()).await;
            unfinished.spawn(async move { (response.await.unwrap().status(), sending).0 });
        }
        assert_eq!(within(unfinished.join_next()).await.unwrap().unwrap(), 503, "{path}");
        unfinished.shutdown().await;
        let whole = within(async {
            loop {
                let (response, mut sending) = begin().await;
                // It may have been refused already.
                let _ = sending.send_data(Bytes::new(), true);
                let whole = response.await.unwrap().status();
                if whole != 503 {
                    return whole;
                }
            }
        });
        assert_eq!(whole.await, status, "{path}");
    }
}

/// Attack lines E1 and H10: a stream whose window stays shut.
#[tokio::test]
async fn who_opens_no_window_is_given_up() {
    let mut options = hub_options();
    (options.session.soft_output, options.hub.backlog_bytes) = (64 * 1024, 256 * 1024);
    options.pipes.linger = Duration::from_secs(1);
    let server = Running::start(&options);
    let client = Http2::to(&server).await;
    let (_unread, id) = open(&client).await;
    let send = format!("/ws/send?id={id}");
    assert_eq!(client.post(&send, r#"[{"id":1,"subscribe":"a"}]"#).await, 204);
    let mut speaker = Talk::to(&server).await;
    let mut healthy = Pipe::open(&server, "/ws").await;
    healthy.ask(json!({"id": 1, "subscribe": "b"})).await;
    let data = "x".repeat(32 * 1024);
    within(async {
        while client.post(&send, "[]").await != 404 {
            let reply = speaker.ask(json!({"publish": "a", "data": data})).await;
            assert!(reply["ok"].is_object() || reply["error"]["code"] == "rate_limited", "{reply}");
        }
    })
    .await;
    let mut speaker = Talk::to(&server).await;
    speaker.done(json!({"publish": "b", "data": 1})).await;
    assert_eq!(healthy.hear().await["data"], 1);
    let status = server.ask(pipe::get("/health", "Connection: close\r\n")).await;
    common::assert_status(&status, 200);
}
