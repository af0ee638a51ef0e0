//! The API without sockets: a server that says what the test has it say.
use super::{perform::DESCRIPTION, route::Endpoint, *};

use std::{cell::RefCell, future::pending, io, sync::Mutex};

use serde_json::{Value, json};
use sockeye::CloseCode;
use sockeye_hub::{ChannelInfo, ChannelName, Done, Epoch, Failure, FailureCode, Position, Request as Ask};

const KEY: &str = "0123456789abcdef";

/// A server of one's own.
#[derive(Default)]
struct Fake {
    asked: RefCell<Vec<String>>,
    /// What it says of a channel of this name.
    failures: Vec<(&'static str, Failure)>,
    channels: Vec<ChannelInfo>,
    sent_away: RefCell<Vec<(Target, u16)>>,
    is_busy: bool,
}

impl Backend for Fake {
    async fn room(&self) {
        if self.is_busy {
            pending::<()>().await;
        }
    }

    fn ask(&self, _: KeyId, request: Ask) -> impl Future<Output = Result<Done, Failure>> {
        let channel = request.channel().as_str();
        self.asked.borrow_mut().push(channel.to_owned());
        let is_silent = channel == "silent";
        let failure = self.failures.iter().find(|(name, _)| *name == channel);
        let offset = self.asked.borrow().len() as u64;
        let answer = match failure {
            Some((_, failure)) => Err(failure.clone()),
            None => Ok(Done::Published(Some(Position { epoch: Epoch(7), offset }))),
        };
        async move { if is_silent { pending().await } else { answer } }
    }

    async fn channels(&self, prefix: String, limit: usize) -> Vec<ChannelInfo> {
        let begins = |info: &&ChannelInfo| info.name.as_str().starts_with(&prefix);
        self.channels.iter().filter(begins).take(limit).cloned().collect()
    }

    async fn disconnect(&self, who: Target, code: CloseCode) -> usize {
        self.sent_away.borrow_mut().push((who, code.get()));
        3
    }
}

fn api() -> Api {
    Api::new(&[ApiKey::new("test", KEY).unwrap()]).unwrap()
}

/// Asks as a well-behaved client does.
async fn ask(backend: &Fake, method: &str, target: &str, body: &str) -> (u16, Value) {
    let builder = Request::builder().method(method).uri(target).header("authorization", format!("Bearer {KEY}"));
    let request = builder.header("content-type", "application/json").body(()).unwrap();
    let response = match api().begin(&request, None) {
        Ok(call) => call.perform(Bytes::copy_from_slice(body.as_bytes()), backend).await,
        Err(refused) => refused.into_response(),
    };
    assert_eq!(response.headers()["content-type"], "application/json");
    (response.status().as_u16(), serde_json::from_slice(response.body()).expect("JSON"))
}

/// The status and the code of something that is refused.
async fn refused(backend: &Fake, method: &str, target: &str, body: &str) -> (u16, String) {
    let (status, answer) = ask(backend, method, target, body).await;
    (status, answer["error"]["code"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned())
}

#[tokio::test]
async fn a_batch_is_asked_in_order_and_each_has_its_answer() {
    let backend = Fake {
        failures: vec![("full", Failure::passing(FailureCode::RateLimited, "too many", Duration::from_millis(1500)))],
        ..Fake::default()
    };
    let batch = r#"[{"channel":"a","data":1},{"channel":"full","data":null},{"channel":"b","base64":"aGk="}]"#;
    let (status, answers) = ask(&backend, "POST", "/api/publish", batch).await;
    assert_eq!(status, 200);
    assert_eq!(*backend.asked.borrow(), ["a", "full", "b"]);
    assert_eq!(answers[0], json!({"epoch": "00000000000000000000000000000007", "offset": 1}));
    assert_eq!(answers[1]["error"], json!({"code": "rate_limited", "message": "too many", "retry_after_ms": 1500}));
    assert_eq!(answers[2]["offset"], 3);
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_publishes_nothing() {
    let backend = Fake::default();
    let too_many = format!("[{}]", vec![r#"{"channel":"a","data":1}"#; MAX_BATCH + 1].join(","));
    for (body, status) in [
        (r#"[{"channel":"a","data":1},{"channel":"a"}]"#, 400),
        (r#"[{"channel":"a","data":1},{"channel":"a b","data":1}]"#, 404),
        ("[]", 400),
        (&too_many, 400),
    ] {
        assert_eq!(refused(&backend, "POST", "/api/publish", body).await.0, status, "{body}");
    }
    assert!(backend.asked.borrow().is_empty());
}

#[tokio::test]
async fn what_is_no_publication_is_refused_and_says_why() {
    let backend = Fake::default();
    for body in [
        "",
        "x",
        "{",
        "1",
        "null",
        "\"a\"",
        "{}",
        r#"{"channel":"a"}"#,
        r#"{"data":1}"#,
        r#"{"channel":1,"data":1}"#,
        r#"{"channel":"a","data":1,"base64":"aGk="}"#,
        r#"{"channel":"a","base64":"aGk"}"#,
        r#"{"channel":"a","base64":null}"#,
        r#"{"channel":"a","data":1,"event":null}"#,
        r#"{"channel":"a","data":1,"volatile":"yes"}"#,
        r#"{"channel":"a","data":1,"data":2}"#,
        r#"{"channel":"a","data":1e400}"#,
        r#"{"channel":"a","data":"\ud800"}"#,
        r#"["a",{"b":1},true]"#,
        r#"[["a",1]]"#,
    ] {
        assert_eq!(refused(&backend, "POST", "/api/publish", body).await, (400, "bad_request".into()), "{body}");
    }
    let (_, answer) = ask(&backend, "POST", "/api/publish", r#"{"channel":"a","data":1,"volatile":"yes"}"#).await;
    assert!(answer["error"]["message"].as_str().unwrap().contains("boolean"), "{answer}");
    let deep = format!(r#"{{"channel":"a","data":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(refused(&backend, "POST", "/api/publish", &deep).await.0, 400);
    for channel in ["", "a b", "a*", "$a", "a\\n"] {
        let body = format!(r#"{{"channel":"{channel}","data":1}}"#);
        assert_eq!(refused(&backend, "POST", "/api/publish", &body).await, (404, "bad_channel".into()), "{channel:?}");
    }
    assert!(backend.asked.borrow().is_empty());
}

#[tokio::test]
async fn each_failure_has_its_status() {
    for (code, status) in [
        (FailureCode::BadRequest, 400),
        (FailureCode::Forbidden, 403),
        (FailureCode::BadChannel, 404),
        (FailureCode::PositionLost, 409),
        (FailureCode::TooBig, 413),
        (FailureCode::RateLimited, 429),
        (FailureCode::Limit, 503),
        (FailureCode::Unavailable, 503),
    ] {
        let backend = Fake { failures: vec![("a", Failure::new(code, "no"))], ..Fake::default() };
        for (method, target, body) in [
            ("POST", "/api/publish", r#"{"channel":"a","data":1}"#),
            ("GET", "/api/history?channel=a", ""),
            ("GET", "/api/presence?channel=a", ""),
        ] {
            let (own, answer) = ask(&backend, method, target, body).await;
            assert_eq!(own, status, "{code:?}");
            let may_come_back = matches!(status, 429 | 503);
            assert_eq!(answer["error"]["retry_after_ms"].is_u64(), may_come_back, "{answer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_not_waited_for_for_ever() {
    let silent = r#"{"channel":"silent","data":1}"#;
    assert_eq!(refused(&Fake::default(), "POST", "/api/publish", silent).await, (504, "timeout".into()));
    let busy = Fake { is_busy: true, ..Fake::default() };
    assert_eq!(refused(&busy, "POST", "/api/publish", silent).await, (503, "unavailable".into()));
    assert!(busy.asked.borrow().is_empty(), "nothing was begun");
}

#[tokio::test]
async fn queries_are_read_strictly() {
    let backend = Fake::default();
    let epoch = "0".repeat(32);
    for query in [
        "",
        "limit=1",
        "channel=a&limit=0",
        "channel=a&limit=301",
        "channel=a&limit=-1",
        "channel=a&limit=x",
        "channel=a&reverse=1",
        "channel=a&since=1",
        "channel=a&since=k:1",
        &format!("channel=a&since={epoch}:"),
        &format!("channel=a&since={epoch}:18446744073709551616"),
        &format!("channel=a&since={epoch}:-1"),
        "channel=a&channel=b",
        "channel=%ff",
    ] {
        let target = format!("/api/history?{query}");
        assert_eq!(refused(&backend, "GET", &target, "").await, (400, "bad_request".into()), "{query}");
    }
    assert!(backend.asked.borrow().is_empty());
    let since = format!("/api/history?channel=a%2f..%2fb&since={epoch}:18446744073709551615&reverse=true&limit=300");
    assert_eq!(ask(&backend, "GET", &since, "").await.0, 200);
    assert_eq!(*backend.asked.borrow(), ["a/../b"]);
}

#[tokio::test]
async fn channels_come_in_order_and_without_the_servers_own() {
    let info = |name: &str| ChannelInfo {
        name: ChannelName::parse(name).unwrap(),
        subscribers: 2,
        members: 1,
        position: (name != "c").then_some(Position { epoch: Epoch(7), offset: 4 }),
        kept: 4,
    };
    let backend = Fake { channels: ["c", "a", "$own", "b"].map(info).into(), ..Fake::default() };
    let (status, answer) = ask(&backend, "GET", "/api/channels", "").await;
    assert_eq!((status, &answer["more"]), (200, &false.into()));
    assert_eq!(answer["channels"][2], json!({"channel": "c", "subscribers": 2, "members": 1}));
    let first = json!({
        "channel": "a", "subscribers": 2, "members": 1,
        "epoch": "00000000000000000000000000000007", "offset": 4
    });
    assert_eq!(answer["channels"][0], first);
    let (_, answer) = ask(&backend, "GET", "/api/channels?limit=1", "").await;
    assert_eq!((answer["channels"].as_array().unwrap().len(), &answer["more"]), (1, &true.into()));
}

#[tokio::test]
async fn who_is_sent_away_is_named_once() {
    let backend = Fake::default();
    let session = "0".repeat(32);
    for body in [
        "{}".to_owned(),
        r#"{"session":"x"}"#.into(),
        r#"{"user":""}"#.into(),
        r#"{"user":"a\nb"}"#.into(),
        r#"{"user":"ann","code":4000.5}"#.into(),
        format!(r#"{{"session":"{session}","user":"ann"}}"#),
        r#"{"user":"ann","code":1006}"#.into(),
        r#"{"user":"ann","code":70000}"#.into(),
        r#"{"user":"ann","code":-1}"#.into(),
    ] {
        assert_eq!(refused(&backend, "POST", "/api/disconnect", &body).await, (400, "bad_request".into()), "{body}");
    }
    let long = format!(r#"{{"user":"{}"}}"#, "x".repeat(256));
    assert_eq!(refused(&backend, "POST", "/api/disconnect", &long).await, (413, "too_big".into()));
    assert!(backend.sent_away.borrow().is_empty());
    for body in [format!(r#"{{"session":"{session}"}}"#), r#"{"user":"ann","code":4100.0}"#.into()] {
        assert_eq!(ask(&backend, "POST", "/api/disconnect", &body).await, (200, json!({"sessions": 3})));
    }
    let sent_away = [(Target::Session(sockeye_hub::SessionId(0)), 4003), (Target::User("ann".into()), 4100)];
    assert_eq!(*backend.sent_away.borrow(), sent_away);
}

/// Attack lines J10, J11 and J18: who did it is put down, on one line however it is called, and the key itself is not.
#[test]
fn what_is_done_is_put_down() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let failures = vec![("a", Failure::new(FailureCode::Forbidden, "no"))];
            let backend = Fake { failures, ..Fake::default() };
            let api = Api::new(&[ApiKey::new("evil\r\n\u{1b}[31mname\" code=\"", KEY).unwrap()]).unwrap();
            for (path, body) in
                [("publish", r#"{"channel":"a","data":1}"#), ("disconnect", r#"{"user":"\"ann\u202e"}"#)]
            {
                let request = Request::post(format!("{PREFIX}{path}")).header("content-type", "application/json");
                let request = request.header("authorization", format!("Bearer {KEY}")).body(()).unwrap();
                api.begin(&request, None).unwrap().perform(Bytes::from_static(body.as_bytes()), &backend).await;
            }
        });
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(!log.contains(['\r', '\u{1b}', '\u{202e}']) && !log.contains(KEY), "{log}");
    assert!(log.contains("evil") && log.contains("channel=\"a\"") && log.contains("sessions=3"), "{log}");
}

/// A `HEAD` is answered as a `GET` would be, and everything else says what is allowed.
#[tokio::test]
async fn methods() {
    let backend = Fake::default();
    for endpoint in Endpoint::ALL {
        let target = format!("{PREFIX}{}?channel=a", endpoint.path());
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"] {
            let is_allowed = if endpoint.takes_body() { method == "POST" } else { matches!(method, "GET" | "HEAD") };
            let (status, _) = ask(&backend, method, &target, r#"{"channel":"a","data":1,"user":"ann"}"#).await;
            assert_eq!(status, if is_allowed { 200 } else { 405 }, "{method} {target}");
        }
    }
    for path in ["", "publish/", "Publish", "publishx", "keys", "v1/publish"] {
        assert_eq!(refused(&backend, "GET", &format!("{PREFIX}{path}"), "").await, (404, "not_found".into()), "{path}");
    }
}

/// The description names each path with its method, and each way in which it can end.
#[test]
fn the_description_matches_the_routes() {
    let document: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), Endpoint::ALL.len());
    for endpoint in Endpoint::ALL {
        let path = paths[&format!("{PREFIX}{}", endpoint.path())].as_object().unwrap();
        let method = if endpoint.takes_body() { "post" } else { "get" };
        assert_eq!(path.keys().collect::<Vec<_>>(), [method], "{endpoint:?}");
        let responses = &path[method]["responses"];
        let mut ends = vec!["200", "400", "403", "405", "417"];
        if endpoint != Endpoint::Description {
            ends.extend(["401", "429", "500", "503", "504"]);
        }
        if matches!(endpoint, Endpoint::Publish | Endpoint::History | Endpoint::Presence) {
            ends.push("404");
        }
        if endpoint == Endpoint::History {
            ends.push("409");
        }
        if endpoint.takes_body() {
            ends.extend(["408", "413", "415"]);
        }
        ends.sort_unstable();
        assert_eq!(responses.as_object().unwrap().keys().collect::<Vec<_>>(), ends, "{endpoint:?}");
    }
    check_references(&document, &document);
}

fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            members.values().for_each(|value| check_references(value, document));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(value, document)),
        _ => {}
    }
}
