//! The opening handshake over HTTP/2 against peers of all kinds: what our server refuses, and what our client does not put
//! up with. The peers speak through the crate `h2`.
#![cfg(feature = "http2")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use bytes::Bytes;
use common::{KIB, TEXT, hyper::Server, within};
use h2::{Reason, ext::Protocol, server::SendResponse};
use http::{Method, Request, Response, StatusCode, Version};
use sockeye::{Client, Error, Transport, WebSocket};
use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    net::TcpStream,
    time::Instant,
};

fn connect(target: &str, protocol: Option<&'static str>) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = target.parse().unwrap();
    request.headers_mut().insert("sec-websocket-version", 13.into());
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(Protocol::from_static(protocol));
    }
    request
}

/// The answer to one request, or how its stream ended.
async fn ask(server: &Server, request: Request<()>) -> Result<Response<()>, h2::Error> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let (response, _send) = client.send_request(request, false).unwrap();
    Ok(within(5, response).await?.map(|_| ()))
}

#[tokio::test]
async fn improper_requests_are_refused() {
    let server = Server::start().await;
    let path = |path: &str| format!("http://{}{path}", server.address);
    let mut get = connect(&path("/echo"), None);
    *get.method_mut() = Method::GET;
    let mut version = connect(&path("/echo"), Some("websocket"));
    version.headers_mut().insert("sec-websocket-version", 12.into());
    let mut evil = connect(&path("/same"), Some("websocket"));
    evil.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    let plain_connect = connect(&server.address.to_string(), None);
    for (request, status) in [
        (connect(&path("/nowhere"), Some("websocket")), 404),
        (connect(&path("/echo"), Some("connect-udp")), 501),
        (connect(&path("/chat"), Some("websocket")), 400),
        (plain_connect, 400),
        (version, 400),
        (evil, 403),
        (get, 405),
    ] {
        let what = format!("{request:?}");
        let response = ask(&server, request).await.unwrap();
        assert_eq!(response.status(), status, "{what}");
        assert!(!response.headers().contains_key("connection") && !response.headers().contains_key("upgrade"));
    }
}

/// hyper ends the connection over it, before the service sees the request.
#[tokio::test]
async fn an_announced_body_is_refused() {
    let server = Server::start().await;
    let mut request = connect(&format!("http://{}/echo", server.address), Some("websocket"));
    request.headers_mut().insert("content-length", 5.into());
    assert!(ask(&server, request).await.is_err());
}

/// Our client, and a server that answers the one request as `answer` does.
fn client_of<F>(answer: impl FnOnce(Request<h2::RecvStream>, SendResponse<Bytes>) -> F + Send + 'static) -> DuplexStream
where
    F: Future<Output = ()> + Send + 'static,
{
    let (near, far) = duplex(64 * KIB);
    tokio::spawn(async move {
        let mut server = h2::server::Builder::new().enable_connect_protocol().handshake::<_, Bytes>(far).await.unwrap();
        let (request, respond) = server.accept().await.unwrap().unwrap();
        tokio::spawn(answer(request, respond));
        while server.accept().await.is_some() {}
    });
    near
}

async fn dial(io: DuplexStream) -> Result<WebSocket<Transport>, Error> {
    Client::new("ws://a.example/").unwrap().subprotocol("chat").connect_http2_over(io).await
}

fn response(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

#[tokio::test]
async fn what_was_not_offered_is_not_taken() {
    for (name, value, code) in [
        ("sec-websocket-protocol", "superchat", "subprotocol_not_offered"),
        ("sec-websocket-extensions", "x-unknown", "extension_not_offered"),
    ] {
        let io = client_of(move |_, mut respond| async move {
            let mut response = response(200);
            response.headers_mut().insert(name, value.parse().unwrap());
            respond.send_response(response, false).unwrap();
        });
        let error = within(5, dial(io)).await.unwrap_err();
        assert_eq!((error.code(), error.is_protocol()), (code, true));
    }
}

#[tokio::test]
async fn a_redirect_is_a_refusal() {
    let io = client_of(|_, mut respond| async move {
        respond.send_response(response(302), true).unwrap();
    });
    let error = within(5, dial(io)).await.unwrap_err();
    assert_eq!(error.response().unwrap().status(), 302);
}

#[tokio::test]
async fn of_an_endless_refusal_the_start_is_kept() {
    let io = client_of(|_, mut respond| async move {
        let mut body = respond.send_response(response(503), false).unwrap();
        while body.send_data(Bytes::from_static(&[b'x'; 1_000]), false).is_ok() {
            tokio::task::yield_now().await;
        }
    });
    let error = within(5, dial(io)).await.unwrap_err();
    let response = error.response().unwrap();
    assert_eq!((response.status(), response.body().len()), (StatusCode::SERVICE_UNAVAILABLE, 4 * KIB));
}

/// The refusal is told even if its body never ends.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_stalls_is_still_told() {
    let io = client_of(|_, mut respond| async move {
        let mut body = respond.send_response(response(429), false).unwrap();
        body.send_data(Bytes::from_static(b"slowly"), false).unwrap();
        std::future::pending::<()>().await;
    });
    let began = Instant::now();
    let error = dial(io).await.unwrap_err();
    assert_eq!(
        (error.response().unwrap().status().as_u16(), &error.response().unwrap().body()[..]),
        (429, &b"slowly"[..])
    );
    assert!(began.elapsed().as_secs() < 10);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let (near, _far) = duplex(64 * KIB);
    let began = Instant::now();
    assert!(dial(near).await.unwrap_err().is_timeout());
    common::assert_passed(began, 10);
}

#[tokio::test]
async fn a_server_that_wants_http_1_1_is_told_apart() {
    let io = client_of(|_, mut respond| async move { respond.send_reset(Reason::HTTP_1_1_REQUIRED) });
    assert_eq!(within(5, dial(io)).await.unwrap_err().code(), "no_extended_connect");
}

#[tokio::test]
async fn a_reset_ends_the_connection_after_what_came_before() {
    let io = client_of(|_, mut respond| async move {
        let mut send = respond.send_response(response(200), false).unwrap();
        send.send_data(Bytes::from_static(&[0x80 | TEXT, 2, b'h', b'i']), false).unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        send.send_reset(Reason::CANCEL);
    });
    let mut socket = within(5, dial(io)).await.unwrap();
    assert_eq!(within(5, socket.recv()).await.unwrap().unwrap().as_text(), Some("hi"));
    let error = within(5, socket.recv()).await.unwrap_err();
    assert_eq!((error.code(), error.is_abnormal()), ("io", true));
    assert_eq!(within(5, socket.recv()).await.unwrap(), None);
}

/// A program that is busy for a moment finds all of the small messages, each of which came in a frame of its own.
#[tokio::test]
async fn thousands_of_small_messages_wait_for_a_busy_program() {
    const MANY: usize = 3_000;
    let (done, all_sent) = tokio::sync::oneshot::channel();
    let io = client_of(|_, mut respond| async move {
        let mut send = respond.send_response(response(200), false).unwrap();
        for _ in 0..MANY {
            send.send_data(Bytes::from_static(&[0x80 | TEXT, 2, b'h', b'i']), false).unwrap();
        }
        done.send(()).unwrap();
        // It stays open.
        let _ = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
    });
    let mut socket = within(5, dial(io)).await.unwrap();
    all_sent.await.unwrap();
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    for _ in 0..MANY {
        assert_eq!(within(5, socket.recv()).await.unwrap().unwrap().as_text(), Some("hi"));
    }
}

/// A socket that is dropped without a word ends the connection, which says GOAWAY and closes.
#[tokio::test]
async fn a_dropped_socket_ends_its_connection() {
    let mut io = client_of(|_, mut respond| async move {
        let mut send = respond.send_response(response(200), false).unwrap();
        let _ = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
    });
    let (near, mut tap) = duplex(64 * KIB);
    let relay = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut tap, &mut io).await });
    let socket = within(5, dial(near)).await.unwrap();
    drop(socket);
    let _ = within(5, relay).await.unwrap();
}

/// A server that stops taking bytes cannot keep a dropped connection's task.
#[tokio::test(start_paused = true)]
async fn a_stuck_goodbye_is_cut_short() {
    let mut far = client_of(|_, mut respond| async move {
        let mut send = respond.send_response(response(200), false).unwrap();
        let _ = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
    });
    // Room for the handshake's frames, then nothing is carried on.
    let (near, mut tap) = duplex(1_000);
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let relay = tokio::spawn(async move {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut tap, &mut far) => {}
            _ = &mut stopped => {}
        }
        tap
    });
    let mut socket = dial(near).await.unwrap();
    stop.send(()).unwrap();
    let mut tap = relay.await.unwrap();
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), socket.send(vec![0; 100 * KIB])).await;
    drop(socket);
    let began = Instant::now();
    // The pipe ends when the task lets go of it. Nothing was read from it meanwhile.
    tokio::time::sleep_until(began + std::time::Duration::from_secs(6)).await;
    let mut left = Vec::new();
    within(1, tap.read_to_end(&mut left)).await.unwrap();
    assert!(left.len() <= 1_000, "{} bytes", left.len());
}
