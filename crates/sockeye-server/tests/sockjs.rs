//! SockJS as the server has it: where it is, what rides on it, who may, and what hostile clients get. What it says on the wire is
//! looked at line by line in `conformance/sockjs`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{
    CLOSE, Running, TEXT, assert_status, header,
    hub::{Talk, hub_options},
    masked, options,
    pipe::{Http, get, post},
    read_frame, read_head, read_to_end, upgrade, within,
};
use serde_json::{Value, json};
use sockeye::OriginPolicy;
use sockeye_server::{Demo, Site};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};

/// A session that is heard through a stream.
struct Session<'a> {
    server: &'a Running,
    url: String,
    stream: Http,
}

impl<'a> Session<'a> {
    async fn open(server: &'a Running, prefix: &str, id: &str) -> Self {
        let url = format!("{prefix}/000/{id}");
        let mut stream = Http::to(server).await;
        assert_eq!(stream.ask(post(&format!("{url}/xhr_streaming"), "", "")).await, 200, "{}", stream.head);
        assert_eq!(stream.until("\n").await.unwrap(), "h".repeat(2048));
        assert_eq!(stream.until("\n").await.unwrap(), "o");
        Self { server, url, stream }
    }

    async fn say(&self, message: &Value) -> String {
        let body = json!([message.to_string()]).to_string();
        self.server.ask(post(&format!("{}/xhr_send", self.url), "Connection: close\r\n", &body)).await
    }

    /// The messages of the next frame that has any.
    async fn hear(&mut self) -> Vec<Value> {
        loop {
            let frame = self.stream.until("\n").await.expect("it goes on");
            if let Some(messages) = frame.strip_prefix('a') {
                let messages: Vec<String> = serde_json::from_str(messages).unwrap();
                return messages.iter().map(|message| serde_json::from_str(message).unwrap()).collect();
            }
        }
    }
}

/// A framed WebSocket after its greeting.
async fn framed(server: &Running, prefix: &str) -> TcpStream {
    let mut socket = server.upgraded(&format!("{prefix}/000/any/websocket")).await;
    assert_eq!(read_frame(&mut socket).await.unwrap(), (TEXT, b"o".to_vec()));
    socket
}

async fn frame(socket: &mut TcpStream) -> String {
    let (first, payload) = read_frame(socket).await.unwrap();
    assert_eq!(first, TEXT, "{payload:?}");
    String::from_utf8(payload).unwrap()
}

#[tokio::test]
async fn the_hub_is_the_same_over_xhr_and_over_a_framed_websocket() {
    let server = Running::start(&hub_options());
    let mut plain = Talk::to(&server).await;
    plain.done(json!({"id": 1, "subscribe": "a"})).await;

    let mut session = Session::open(&server, "/sockjs", "one").await;
    assert_status(&session.say(&json!({"id": 1, "subscribe": "a"})).await, 204);
    assert!(session.hear().await[0]["ok"].is_object());

    let mut socket = framed(&server, "/sockjs").await;
    let said = json!([json!({"id": 1, "subscribe": "a"}).to_string()]).to_string();
    socket.write_all(&masked(TEXT, said.as_bytes())).await.unwrap();
    assert!(frame(&mut socket).await.starts_with("a[\"{\\\"id\\\":1,\\\"ok\\\""));

    assert_status(&session.say(&json!({"publish": "a", "data": "\u{2028} </script> 😀"})).await, 204);
    assert_eq!(plain.hear().await["data"], "\u{2028} </script> 😀");
    let told = frame(&mut socket).await;
    assert!(told.is_ascii() && told.contains("\\u2028 </script> \\ud83d\\ude00"), "{told}");
}

/// `new SockJS('http://…/ws')` and `new WebSocket('ws://…/ws')` of the tutorial's two versions.
#[tokio::test]
async fn cursors_meet_whichever_way_they_came() {
    let server = Running::demo(Demo::Cursors);
    let mut plain = server.connect("/ws").await;
    let mut session = Session::open(&server, "/ws", "one").await;
    let mut socket = framed(&server, "/ws").await;
    let page = server.ask(get("/ws", "Connection: close\r\n")).await;
    assert!(page.contains("<html"), "the page of the demo is still there");

    assert_status(&session.say(&json!({"x": 1, "y": 2})).await, 204);
    let heard = common::recv_json(&mut plain).await;
    assert_eq!((&heard["x"], &heard["y"]), (&json!(1), &json!(2)));
    assert_eq!(session.hear().await, std::slice::from_ref(&heard));
    let messages: Vec<String> = serde_json::from_str(&frame(&mut socket).await[1..]).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&messages[0]).unwrap(), heard);

    drop(session);
    assert_eq!(common::recv_json(&mut plain).await, json!({"sender": heard["sender"], "gone": true}));
}

#[tokio::test]
async fn every_demo_is_a_prefix_of_its_own_beside_its_page_and_its_websocket() {
    let server = Running::site();
    for (prefix, has_page) in [("/echo", true), ("/chat", true), ("/cursors", true), ("/sockjs", false)] {
        assert_status(&server.ask(get(&format!("{prefix}/info"), "Connection: close\r\n")).await, 200);
        let greeting = server.ask(get(&format!("{prefix}/"), "Connection: close\r\n")).await;
        assert!(greeting.ends_with("Welcome to SockJS!\n"), "{greeting}");
        let at = server.ask(get(prefix, "Connection: close\r\n")).await;
        assert_eq!(at.contains("<html"), has_page, "{at}");
        let iframe = server.ask(get(&format!("{prefix}/iframe.html"), "Connection: close\r\n")).await;
        assert!(iframe.contains("src=\"/assets/sockjs-1.6.1.min.js\""), "{iframe}");
    }
    let client = server.ask(get("/assets/sockjs-1.6.1.min.js", "Connection: close\r\n")).await;
    assert!(client.contains("sockjs-client v1.6.1") && client.contains("MIT license"));
    let _plain = server.upgraded("/echo").await;
}

#[tokio::test]
async fn what_is_switched_off_is_absent() {
    let mut own = options(Site::Server);
    let scripts = ["/echo/000/a/jsonp?c=x", "/echo/000/a/htmlfile?c=x"];
    let server = Running::start(&own);
    for path in scripts {
        assert_status(&server.ask(get(path, "Connection: close\r\n")).await, 404);
    }
    assert_status(&server.ask(post("/echo/000/a/jsonp_send", "Connection: close\r\n", "[\"a\"]")).await, 404);
    own.sockjs.scripts = true;
    let server = Running::start(&own);
    assert_status(&server.ask(get(scripts[0], "Connection: close\r\n")).await, 200);
    own.sockjs.enabled = false;
    let server = Running::start(&own);
    for path in ["/echo/info", "/sockjs/info", "/echo/000/a/websocket", "/echo/iframe.html"] {
        assert_status(&server.ask(get(path, "Connection: close\r\n")).await, 404);
        assert_status(&server.ask(upgrade(path, "")).await, 404);
    }
}

/// Attack line H7, and requests that other pages make with somebody's browser.
#[tokio::test]
async fn pages_that_may_not_connect_open_nothing_and_say_nothing_by_any_transport() {
    let mut own = options(Site::Server);
    own.origins = Some(OriginPolicy::list(["https://good.example"]).unwrap().and_same());
    own.sockjs.scripts = true;
    own.sockjs.frame_ancestors = Some("'self' https://good.example".into());
    let server = Running::start(&own);
    let close = "Connection: close\r\n";
    for who in [
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: https://good.example\r\nOrigin: https://evil.example\r\n",
    ] {
        let more = format!("{who}{close}");
        for request in [
            post("/echo/000/a/xhr", &more, ""),
            post("/echo/000/a/xhr_streaming", &more, ""),
            post("/echo/000/a/xhr_send", &more, "[\"a\"]"),
            post("/echo/000/a/jsonp_send", &more, "[\"a\"]"),
            get("/echo/000/a/eventsource", &more),
            get("/echo/000/a/jsonp?c=x", &more),
            get("/echo/000/a/htmlfile?c=x", &more),
        ] {
            let answer = server.ask(&request).await;
            assert_status(&answer, 403);
            assert_eq!(header(&answer, "access-control-allow-origin"), None, "{answer}");
        }
        let info = server.ask(get("/echo/info", &more)).await;
        assert_eq!(header(&info, "access-control-allow-origin"), None, "{info}");
    }
    for path in ["/echo/000/a/websocket", "/echo/websocket"] {
        assert_status(&server.ask(upgrade(path, "Origin: https://evil.example\r\n")).await, 403);
    }
    // Nobody has opened it.
    assert_status(&server.ask(post("/echo/000/a/xhr_send", close, "[\"a\"]")).await, 404);
    let good = format!("Origin: https://good.example\r\n{close}");
    let opened = server.ask(post("/echo/000/a/xhr", &good, "")).await;
    assert_status(&opened, 200);
    assert_eq!(header(&opened, "access-control-allow-origin"), Some("https://good.example"));
    let page = server.ask(get("/echo/iframe.html", close)).await;
    let policy = header(&page, "content-security-policy");
    assert_eq!(policy, Some("frame-ancestors 'self' https://good.example"));
}

/// Browsers leave the `Origin` out where a page reads from its own server, and say that it does.
#[tokio::test]
async fn a_page_of_the_server_may_listen_where_every_request_has_to_say_its_origin() {
    let mut own = options(Site::Server);
    own.origins = Some(OriginPolicy::same().require());
    let server = Running::start(&own);
    for (who, status) in [("Sec-Fetch-Site: same-origin\r\n", 200), ("Sec-Fetch-Site: none\r\n", 403), ("", 403)] {
        let mut http = Http::to(&server).await;
        assert_eq!(http.ask(get("/echo/000/a/eventsource", who)).await, status, "{who}");
    }
}

#[tokio::test]
async fn old_versions_and_odd_paths_are_for_sockjs_alone() {
    let server = Running::site();
    let old = |path: &str| get(path, "").replace("HTTP/1.1", "HTTP/1.0");
    assert_status(&server.ask(old("/echo/info")).await, 200);
    for path in ["/echo", "/", "/ws", "/health", "/api/x", "/echo/stream"] {
        assert_status(&server.ask(old(path)).await, 505);
    }
    for path in ["/echo//", "/echo/./.", "//echo/info", "/echo/../ws", "/x//y"] {
        assert_status(&server.ask(get(path, "")).await, 400);
    }
    assert_status(&server.ask(upgrade("/echo/000/a/websocket", "").replace("HTTP/1.1", "HTTP/1.0")).await, 505);
}

#[tokio::test]
async fn a_message_that_is_too_big_for_what_is_behind_is_too_big_in_a_frame() {
    let server = Running::demo(Demo::Cursors);
    let mut socket = framed(&server, "/ws").await;
    // Within what a frame may have.
    let message = json!(["x".repeat(5_000)]).to_string();
    socket.write_all(&masked(TEXT, message.as_bytes())).await.unwrap();
    assert_eq!(frame(&mut socket).await, "c[1009,\"the message is too big\"]");
    let (first, payload) = read_frame(&mut socket).await.unwrap();
    assert_eq!((first, &payload[..2]), (CLOSE, &1000_u16.to_be_bytes()[..]));

    let session = Session::open(&server, "/ws", "one").await;
    assert_status(&session.say(&json!("x".repeat(5_000))).await, 413);
    assert_status(&session.say(&json!({"x": 1, "y": 1})).await, 204);
}

/// Attack line H2: clients choose the names.
#[tokio::test]
async fn a_session_is_not_there_for_another_address() {
    let mut own = options(Site::Demo(Demo::Echo));
    own.admission.limit_loopback = true;
    let server = Running::start(&own);
    let mut session = Session::open(&server, "/ws", "one").await;
    for (request, expected) in [
        (post("/ws/000/one/xhr", "Connection: close\r\n", ""), "c[2010,\"Another connection still open\"]\n"),
        (post("/ws/000/one/xhr_send", "Connection: close\r\n", "[\"1\"]"), "404 Error: Page not found\n"),
    ] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = within(socket.connect(server.address)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.ends_with(expected), "{answer}");
    }
    assert_status(&session.say(&json!(2)).await, 204);
    assert_eq!(session.hear().await, [json!(2)], "nothing came of the other's message");
}

/// Attack line E1: what is said for it is bounded, and so is the time.
#[tokio::test]
async fn who_takes_nothing_is_not_kept() {
    let server = Running::demo(Demo::Echo);
    let session = Session::open(&server, "/ws", "one").await;
    let message = json!("x".repeat(500_000));
    let refused = within(async {
        loop {
            let answer = session.say(&message).await;
            if !answer.starts_with("HTTP/1.1 204 ") {
                return answer;
            }
        }
    });
    let refused = refused.await;
    assert!(refused.starts_with("HTTP/1.1 503 ") || refused.starts_with("HTTP/1.1 404 "), "{refused}");
}

/// Attack line E4.
#[tokio::test]
async fn who_sends_slowly_is_told_so_and_may_try_again() {
    let server = Running::demo(Demo::Echo);
    let mut session = Session::open(&server, "/ws", "one").await;
    // The session lives as long as it is heard.
    let mut slow = server.raw().await;
    let head = "POST /ws/000/one/xhr_send HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\nContent-Length: 9\r\n\r\n[";
    slow.write_all(head.as_bytes()).await.unwrap();
    let answer = read_head(&mut slow).await;
    assert_status(&answer, 408);
    assert_eq!(header(&answer, "access-control-allow-origin"), Some("http://b"), "it can be read");
    assert_status(&session.say(&json!(1)).await, 204);
    assert_eq!(session.hear().await, [json!(1)]);
}

#[tokio::test]
async fn a_server_that_stops_says_so_in_a_frame() {
    let mut own = hub_options();
    own.drain = Duration::from_secs(3);
    let server = Running::start(&own);
    let Session { mut stream, .. } = Session::open(&server, "/sockjs", "one").await;
    let mut socket = framed(&server, "/sockjs").await;
    let hear = async {
        let mut last = String::new();
        while let Some(frame) = stream.until("\n").await {
            last = frame;
        }
        (last, frame_of_close(&mut socket).await)
    };
    let ((streamed, framed), _) = within(async { tokio::join!(hear, server.stop()) }).await;
    assert!(streamed.starts_with("c[1012,"), "{streamed}");
    assert!(framed.starts_with("c[1012,"), "{framed}");
}

async fn frame_of_close(socket: &mut TcpStream) -> String {
    loop {
        let text = frame(socket).await;
        if text.starts_with('c') {
            return text;
        }
    }
}
