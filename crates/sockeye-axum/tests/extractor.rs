//! The extractor in `axum::serve`, with our client over HTTP/1.1 and HTTP/2.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{future::Future, net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use sockeye::{Client, CloseCode, Error, Limits, Message, OriginPolicy, Transport};
use sockeye_axum::{TaskTracker, WebSocket, WebSocketUpgrade};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::timeout,
};

#[derive(Clone, Copy, Debug)]
enum Http {
    One,
    Two,
}

const BOTH: [Http; 2] = [Http::One, Http::Two];

async fn echo(mut socket: WebSocket) {
    while let Ok(Some(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn limited(upgrade: WebSocketUpgrade) -> Response {
    let mut config = sockeye::Config::default();
    config.limits.max_message = 10;
    upgrade.config(config).on_upgrade(echo)
}

async fn with_session(headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    tokio::task::yield_now().await;
    if !headers.contains_key("cookie") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut response = upgrade.on_upgrade(echo);
    response.headers_mut().insert("x-session", 1.into());
    response
}

async fn page_or_socket(upgrade: Option<WebSocketUpgrade>) -> Response {
    upgrade.map_or_else(|| "a page".into_response(), |upgrade| upgrade.on_upgrade(echo))
}

async fn offered(upgrade: WebSocketUpgrade) -> Response {
    let seen = format!("{:?} {:?}", upgrade.origin(), upgrade.offered_protocols().collect::<Vec<_>>());
    upgrade.on_upgrade(async move |mut socket| {
        let _ = socket.send(seen).await;
        let _ = socket.close(CloseCode::NORMAL, "").await;
    })
}

fn app() -> Router {
    Router::new()
        .route("/echo", any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
        .route("/get", get(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
        .route("/same", any(async |upgrade: WebSocketUpgrade| upgrade.origins(OriginPolicy::same()).on_upgrade(echo)))
        .route("/chat", any(async |upgrade: WebSocketUpgrade| upgrade.protocols(["v2", "v1"]).on_upgrade(echo)))
        .route("/mistake", any(async |upgrade: WebSocketUpgrade| upgrade.protocols(["not a token"]).on_upgrade(echo)))
        .route("/limited", any(limited))
        .route("/session", any(with_session))
        .route("/both", any(page_or_socket))
        .route("/offered", any(offered))
}

async fn start(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn within<F: Future>(work: F) -> F::Output {
    timeout(Duration::from_secs(10), work).await.expect("the test takes too long")
}

fn client(address: SocketAddr, path: &str) -> Client {
    Client::new(&format!("ws://{address}{path}")).unwrap()
}

async fn open(http: Http, address: SocketAddr, client: Client) -> Result<sockeye::WebSocket<Transport>, Error> {
    match http {
        Http::One => within(client.connect()).await,
        Http::Two => within(client.connect_http2_over(TcpStream::connect(address).await.unwrap())).await,
    }
}

#[tokio::test]
async fn echoes_over_both() {
    let address = start(app()).await;
    for http in BOTH {
        for path in ["/echo", "/both"] {
            let mut socket = open(http, address, client(address, path)).await.unwrap();
            let large = vec![7; Limits::default().max_message];
            for message in [Message::from("hello"), Message::from(large), Message::from("")] {
                within(socket.send(message.clone())).await.unwrap();
                assert!(within(socket.recv()).await.unwrap().unwrap() == message, "{http:?} {path}");
            }
            let outcome = within(socket.close(CloseCode::NORMAL, "")).await.unwrap();
            assert!(outcome.is_clean(), "{http:?} {path}");
        }
    }
}

#[tokio::test]
async fn terms_are_held() {
    let address = start(app()).await;
    for http in BOTH {
        let evil = client(address, "/same").origin("https://evil.example");
        let error = open(http, address, evil).await.unwrap_err();
        assert_eq!(error.response().unwrap().status(), 403, "{http:?}");
        let own = client(address, "/same").origin(&format!("http://{address}"));
        assert!(open(http, address, own).await.is_ok(), "{http:?}");

        let chat = client(address, "/chat").subprotocol("v1").subprotocol("v2");
        assert_eq!(open(http, address, chat).await.unwrap().protocol(), Some("v2"), "the server prefers, {http:?}");
        assert_eq!(open(http, address, client(address, "/chat")).await.unwrap().protocol(), None, "{http:?}");
        let error = open(http, address, client(address, "/mistake")).await.unwrap_err();
        assert_eq!(error.response().unwrap().status(), 500, "{http:?}");

        let mut socket = open(http, address, client(address, "/limited")).await.unwrap();
        socket.send("more than ten bytes").await.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        assert_eq!(socket.close_outcome().unwrap().code(), 1009, "{http:?}");
    }
}

#[tokio::test]
async fn the_handler_decides() {
    let address = start(app()).await;
    for http in BOTH {
        let error = open(http, address, client(address, "/session")).await.unwrap_err();
        assert_eq!(error.response().unwrap().status(), 401, "{http:?}");
        assert!(open(http, address, client(address, "/session").header("cookie", "a=b")).await.is_ok(), "{http:?}");
        let asked = client(address, "/offered").origin("https://a.example").subprotocol("x").subprotocol("y");
        let mut socket = open(http, address, asked).await.unwrap();
        let seen = within(socket.recv()).await.unwrap().unwrap();
        assert_eq!(seen.as_text(), Some(r#"Some("https://a.example") ["x", "y"]"#), "{http:?}");
    }
}

#[tokio::test]
async fn over_http_1_1_the_socket_itself_is_taken_out() {
    let (saw, mut addresses) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/",
        any(async move |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |socket| saw.send(socket.peer_addr().is_ok()).unwrap())
        }),
    );
    let address = start(app).await;
    for (http, is_tcp) in [(Http::One, true), (Http::Two, false)] {
        let _socket = open(http, address, client(address, "/")).await.unwrap();
        assert_eq!(within(addresses.recv()).await, Some(is_tcp), "{http:?}");
    }
}

async fn answer(address: SocketAddr, request: &str) -> String {
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    within(peer.read_to_string(&mut response)).await.unwrap();
    response
}

#[tokio::test]
async fn rejections_have_the_right_status() {
    let address = start(app()).await;
    let handshake = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let plain = "Host: a\r\nConnection: close\r\n\r\n";
    for (line, head, status) in [
        ("GET /echo", plain.to_owned(), "426 "),
        ("GET /echo", handshake.replace("13", "8"), "426 "),
        ("GET /echo", handshake.replace("dGhl", ""), "400 "),
        ("POST /echo", handshake.to_owned(), "405 "),
        ("GET /both", plain.to_owned(), "200 "),
        ("GET /both", handshake.replace("13", "8"), "426 "),
        ("GET /nowhere", plain.to_owned(), "404 "),
    ] {
        let response = answer(address, &format!("{line} HTTP/1.1\r\n{head}")).await;
        assert!(response["HTTP/1.1 ".len()..].starts_with(status), "{line}: {response}");
    }
    // The route has to let CONNECT through.
    let error = open(Http::Two, address, client(address, "/get")).await.unwrap_err();
    assert_eq!(error.response().unwrap().status(), 405);
    assert!(open(Http::One, address, client(address, "/get")).await.is_ok());
}

/// axum's own shutdown does not wait for upgraded sockets; the tracker does.
#[tokio::test]
async fn a_shutdown_waits_for_tracked_sockets() {
    async fn tracked(State(sockets): State<TaskTracker>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.tracked_by(&sockets).on_upgrade(echo)
    }
    let sockets = TaskTracker::new();
    let app = Router::new().route("/", any(tracked)).with_state(sockets.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server =
        tokio::spawn(
            async move { axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) }).await },
        );
    let mut socket = open(Http::One, address, client(address, "/")).await.unwrap();
    stop.send(()).unwrap();
    within(server).await.unwrap().unwrap();
    sockets.close();
    assert!(!sockets.is_empty());
    socket.send("still here").await.unwrap();
    assert_eq!(within(socket.recv()).await.unwrap(), Some(Message::from("still here")));
    within(socket.close(CloseCode::NORMAL, "")).await.unwrap();
    within(sockets.wait()).await;
}

#[tokio::test]
async fn a_client_that_left_is_told_of() {
    let (failed, mut failures) = mpsc::unbounded_channel();
    let (arrived, mut arrivals) = mpsc::unbounded_channel::<()>();
    let app = Router::new().route(
        "/",
        any(async move |upgrade: WebSocketUpgrade| {
            let response = upgrade
                .on_failed_upgrade(move |error| failed.send(error.is_abnormal()).unwrap())
                .on_upgrade(async |_| panic!("nobody is there"));
            // The response never leaves: the client goes first.
            arrived.send(()).unwrap();
            std::future::pending::<()>().await;
            response
        }),
    );
    let address = start(app).await;
    let attempt = tokio::spawn(open(Http::Two, address, client(address, "/")));
    within(arrivals.recv()).await.unwrap();
    attempt.abort();
    assert_eq!(within(failures.recv()).await, Some(true));
}
