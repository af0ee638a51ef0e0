//! `upgrade` in a server built on hyper, and our client over HTTP/1.1 and HTTP/2, over real sockets.
#![cfg(feature = "http2")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{
    CLOSE, FIN, KIB, MIB, TEXT, close_payload,
    hyper::{BOTH, Http, Server},
    masked, read_frame, read_head, within,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use sockeye::{
    Client, CloseCode, Message, OriginPolicy, ServerConfig, Transport, UpgradeService, WebSocket, http2::ServerSettings,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[tokio::test]
async fn messages_of_all_sizes_come_back() {
    let server = Server::start().await;
    for http in BOTH {
        let mut socket = server.connect(http, "/echo").await.unwrap();
        for len in [0, 1, 125, 126, 64 * KIB - 1, 64 * KIB, MIB, 8 * MIB] {
            let payload: Vec<u8> = (0..=250).cycle().take(len).collect();
            within(30, socket.send(payload.clone())).await.unwrap();
            let echoed = within(30, socket.recv()).await.unwrap().unwrap();
            assert!(echoed.as_bytes() == payload, "{http:?}: {len} bytes");
        }
        within(5, socket.send("größer")).await.unwrap();
        assert_eq!(within(5, socket.recv()).await.unwrap(), Some(Message::from("größer")));
        within(5, socket.close(CloseCode::NORMAL, "done")).await.unwrap();
    }
}

#[tokio::test]
async fn many_small_messages_are_coalesced_and_all_come_back() {
    let server = Server::start().await;
    for http in BOTH {
        let mut socket = server.connect(http, "/echo").await.unwrap();
        for round in 0..10 {
            for number in 0..1_000 {
                socket.feed(format!("{round}/{number}")).await.unwrap();
            }
            socket.flush().await.unwrap();
            for number in 0..1_000 {
                let message = within(5, socket.recv()).await.unwrap().unwrap();
                assert_eq!(message.as_text(), Some(&*format!("{round}/{number}")), "{http:?}");
            }
        }
    }
}

#[tokio::test]
async fn close_codes_both_ways() {
    let server = Server::start().await;
    for http in BOTH {
        let mut socket = server.connect(http, "/close").await.unwrap();
        assert_eq!(within(5, socket.recv()).await.unwrap(), None);
        let outcome = socket.close_outcome().unwrap();
        assert_eq!((outcome.code(), outcome.reason(), outcome.is_clean()), (1013, "later", true), "{http:?}");

        let mut socket = server.connect(http, "/echo").await.unwrap();
        let outcome = within(5, socket.close(CloseCode::new(4321).unwrap(), "bye")).await.unwrap();
        assert_eq!((outcome.code(), outcome.is_clean()), (4321, true), "{http:?}");
    }
}

#[tokio::test]
async fn a_dropped_socket_is_an_abnormal_end() {
    let server = Server::start().await;
    for http in BOTH {
        let mut socket = server.connect(http, "/drop").await.unwrap();
        let error = within(5, socket.recv()).await.unwrap_err();
        assert!(error.is_abnormal(), "{http:?}: {error:?}");
    }
}

#[tokio::test]
async fn origins_and_subprotocols_are_judged_alike() {
    let server = Server::start().await;
    for http in BOTH {
        let own = format!("http://{}", server.address);
        assert!(server.open(http, server.client("/same").origin(&own)).await.is_ok(), "{http:?}");
        let error = server.open(http, server.client("/same").origin("http://evil.example")).await.unwrap_err();
        let response = error.response().unwrap();
        assert_eq!((response.status().as_u16(), response.body().is_empty()), (403, false), "{http:?}");

        let client = server.client("/chat").subprotocol("superchat").subprotocol("chat");
        assert_eq!(server.open(http, client).await.unwrap().protocol(), Some("chat"), "{http:?}");
        let error = server.connect(http, "/chat").await.unwrap_err();
        assert_eq!(error.response().unwrap().status(), 400, "{http:?}");
    }
}

#[tokio::test]
async fn refusals_arrive_whole() {
    let server = Server::start().await;
    for http in BOTH {
        let error = server.connect(http, "/nowhere").await.unwrap_err();
        assert!(error.is_refused());
        let response = error.response().unwrap();
        assert_eq!(response.status(), 404, "{http:?}");
        assert_eq!(response.body(), "nothing is served under this path", "{http:?}");
        let error = server.connect(http, "/busy").await.unwrap_err();
        let response = error.response().unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &7.into()), "{http:?}");
    }
}

#[tokio::test]
async fn a_decision_may_take_its_time() {
    let server = Server::start().await;
    for http in BOTH {
        let mut socket = server.connect(http, "/late").await.unwrap();
        socket.send("hello").await.unwrap();
        assert_eq!(within(5, socket.recv()).await.unwrap(), Some(Message::from("hello")), "{http:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::start().await;
    for http in BOTH {
        let error = server.connect(http, "/never").await.unwrap_err();
        assert!(error.is_timeout(), "{http:?}: {error:?}");
    }
}

#[tokio::test]
async fn frames_sent_with_the_request_are_not_lost() {
    let server = Server::start().await;
    let mut peer = TcpStream::connect(server.address).await.unwrap();
    let request = String::from_utf8(common::UPGRADE.to_vec()).unwrap().replacen("GET /", "GET /echo", 1);
    let early = [masked(TEXT | FIN, b"early"), masked(CLOSE | FIN, &close_payload(1000, ""))].concat();
    peer.write_all(&[request.as_bytes(), &early].concat()).await.unwrap();
    assert!(within(5, read_head(&mut peer)).await.starts_with("HTTP/1.1 101"));
    assert_eq!(within(5, read_frame(&mut peer)).await.unwrap(), (TEXT | FIN, b"early".to_vec()));
    assert_eq!(within(5, read_frame(&mut peer)).await.unwrap().0, CLOSE | FIN);
}

#[tokio::test]
async fn over_http_1_1_the_socket_itself_is_taken_out() {
    let server = Server::start().await;
    let socket = server.connect(Http::One, "/echo").await.unwrap();
    assert_eq!(socket.peer_addr().unwrap(), server.address);
    let socket = server.connect(Http::Two, "/echo").await.unwrap();
    assert_eq!(socket.peer_addr().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
}

#[tokio::test]
async fn pages_are_served_beside() {
    let server = Server::start().await;
    let mut peer = TcpStream::connect(server.address).await.unwrap();
    peer.write_all(b"GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut response = String::new();
    within(5, peer.read_to_string(&mut response)).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("a page"), "{response}");
}

#[tokio::test]
async fn bad_handshakes_over_http_1_1_are_refused() {
    let server = Server::start().await;
    for (replace, with, status) in [
        ("Version: 13", "Version: 12", "426"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short", "400"),
        ("Upgrade: websocket", "Upgrade: h2c", "426"),
        ("HTTP/1.1", "HTTP/1.0", "505"),
        ("GET /", "POST /", "405"),
    ] {
        let mut peer = TcpStream::connect(server.address).await.unwrap();
        let request = String::from_utf8(common::UPGRADE.to_vec()).unwrap();
        let request = request.replacen(replace, with, 1).replacen(" / ", " /echo ", 1);
        peer.write_all(request.as_bytes()).await.unwrap();
        let head = within(5, read_head(&mut peer)).await;
        assert_eq!(head.split(' ').nth(1), Some(status), "{with}: {head}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_over_http_1_1_that_never_ends_is_given_up() {
    let server = Server::start().await;
    let mut peer = TcpStream::connect(server.address).await.unwrap();
    peer.write_all(b"GET /echo HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    let mut response = Vec::new();
    within(60, peer.read_to_end(&mut response)).await.unwrap();
    assert!(response.is_empty(), "hyper closes without a word");
}

#[tokio::test]
async fn a_server_without_extended_connect_is_told_apart() {
    let server = Server::start_with(auto::Builder::new(TokioExecutor::new())).await;
    let error = within(5, server.connect(Http::Two, "/echo")).await.unwrap_err();
    assert_eq!((error.code(), error.is_refused()), ("no_extended_connect", false));
    // Over HTTP/1.1 it takes WebSocket all the same.
    assert!(server.connect(Http::One, "/echo").await.is_ok());
}

#[tokio::test]
async fn a_server_of_another_protocol_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let client = Client::new(&format!("ws://{address}/")).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let error = within(5, client.connect_http2_over(stream)).await.unwrap_err();
    assert!(error.is_abnormal(), "{error:?}");
}

/// The task of a client's connection ends with its socket: the transport is dropped.
#[tokio::test]
async fn the_connection_ends_with_its_socket() {
    let server = Server::start().await;
    let (io, mut server_end) = tokio::io::duplex(64 * KIB);
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    let relay = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut server_end, &mut tcp).await });
    let mut socket = server.client("/echo").connect_http2_over(io).await.unwrap();
    within(5, socket.close(CloseCode::NORMAL, "")).await.unwrap();
    drop(socket);
    // Whether the server's last words still find the pipe open is all one.
    let _ = within(5, relay).await.unwrap();
}

/// The pages beside the sockets, as a service of tower.
#[derive(Clone)]
struct Pages;

impl tower_service::Service<http::Request<hyper::body::Incoming>> for Pages {
    type Response = http::Response<String>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<hyper::body::Incoming>) -> Self::Future {
        std::future::ready(Ok(http::Response::new(format!("the page {}", request.uri().path()))))
    }
}

#[tokio::test]
async fn a_tower_service_answers_handshakes_and_passes_the_rest_on() {
    let handler = async |head: http::Request<()>, mut socket: WebSocket<Transport>| {
        let _ = socket.send(head.uri().path()).await;
        let _ = socket.close(CloseCode::NORMAL, "").await;
    };
    let mut config = ServerConfig::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    config.origins = OriginPolicy::same();
    let service = TowerToHyperService::new(UpgradeService::new(Pages, config, handler));
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        ServerSettings::default().apply_auto(&mut builder);
        let builder = std::sync::Arc::new(builder);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (builder, service) = (std::sync::Arc::clone(&builder), service.clone());
            tokio::spawn(async move {
                let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            });
        }
    });
    let client = || Client::new(&format!("ws://{address}/room")).unwrap();
    let stream = || async { TcpStream::connect(address).await.unwrap() };
    let (one, two) = (client().connect().await.unwrap(), client().connect_http2_over(stream().await).await.unwrap());
    for mut socket in [one, two] {
        assert_eq!(within(5, socket.recv()).await.unwrap(), Some(Message::from("/room")));
    }
    let error = client().origin("http://evil.example").connect_http2_over(stream().await).await.unwrap_err();
    assert_eq!(error.response().unwrap().status(), 403);
    let mut peer = stream().await;
    peer.write_all(b"GET /about HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut response = String::new();
    within(5, peer.read_to_string(&mut response)).await.unwrap();
    assert!(response.ends_with("the page /about"), "{response}");
}
