//! HTTP/2 on the server's port: in the clear by prior knowledge, over TLS by ALPN; pages, WebSocket streams (RFC 8441), and
//! HTTP/1.1 beside them as if nothing had happened.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{
    Running, TEXT, assert_status, close_code, get, masked, options, read_frame, read_head, recv_json,
    tls::{BOTH, Folder, encrypt, trusting},
    upgrade, within,
};
use h2::{RecvStream, client::SendRequest, ext::Protocol};
use http::{Method, Request, Response, StatusCode};
use serde_json::json;
use sockeye::{Client, CloseCode, OriginPolicy, Transport, WebSocket};
use sockeye_server::{Demo, Site};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::JoinHandle,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client of HTTP/2 that knows nothing of WebSocket.
struct Http2 {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (send, connection) = within(h2::client::handshake(stream)).await.unwrap();
        Self { send, connection: tokio::spawn(connection) }
    }

    async fn connect(server: &Running) -> Self {
        Self::over(server.raw().await).await
    }

    /// Sends a request with this body, if any, and gives the response and its body.
    async fn ask(&mut self, request: Request<()>, body: Option<&'static [u8]>) -> Response<Bytes> {
        let asking = async {
            let mut send = self.send.clone().ready().await.unwrap();
            let (response, mut sending) = send.send_request(request, body.is_none()).unwrap();
            if let Some(body) = body {
                sending.send_data(Bytes::from_static(body), true).unwrap();
            }
            let (head, body) = response.await.unwrap().into_parts();
            Response::from_parts(head, read(body).await)
        };
        within(asking).await
    }

    async fn get(&mut self, path: &str) -> Response<Bytes> {
        self.ask(Request::get(format!("http://a{path}")).body(()).unwrap(), None).await
    }
}

async fn read(mut body: RecvStream) -> Bytes {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    bytes.into()
}

/// The request that opens a WebSocket, or should.
fn connect(path: &str, protocol: Option<&'static str>) -> Request<()> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://a{path}"))
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(Protocol::from_static(protocol));
    }
    request
}

async fn websocket(server: &Running, path: &str) -> WebSocket<Transport> {
    within(server.client(path).connect_http2_over(server.raw().await)).await.unwrap()
}

async fn echo(socket: &mut WebSocket<Transport>, message: Vec<u8>) {
    within(socket.send(message.clone())).await.unwrap();
    assert!(within(socket.recv()).await.unwrap().unwrap().as_bytes() == message);
}

#[tokio::test]
async fn pages() {
    let server = Running::site();
    let mut client = Http2::connect(&server).await;
    let health = client.get("/health").await;
    assert_eq!((health.status(), &health.body()[..]), (StatusCode::OK, &br#"{"status":"ok"}"#[..]));
    let page = client.get("/").await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.headers().contains_key("content-security-policy") && page.body().starts_with(b"<!"));
    let known = Request::get("http://a/").header("if-none-match", &page.headers()["etag"]).body(()).unwrap();
    let unchanged = client.ask(known, None).await;
    assert_eq!((unchanged.status(), unchanged.body().len()), (StatusCode::NOT_MODIFIED, 0));
    let head = client.ask(Request::head("http://a/").body(()).unwrap(), None).await;
    assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
    assert_eq!(head.headers()["content-length"], page.body().len().to_string().as_str());
    // The same that goes over HTTP/1.1, byte by byte.
    let mut stream = server.raw().await;
    stream.write_all(get("/", "").as_bytes()).await.unwrap();
    assert!(common::read_response(&mut stream).await.1 == *page.body());
}

#[tokio::test]
async fn what_is_refused_over_http_1_is_refused() {
    let server = Running::site();
    let mut client = Http2::connect(&server).await;
    let request = |method: Method, path: &str| Request::builder().method(method).uri(format!("http://a{path}"));
    for (request, body, status) in [
        (request(Method::GET, "/nope"), None::<&[u8]>, 404),
        (request(Method::HEAD, "/nope"), None, 404),
        (request(Method::GET, "/metrics"), None, 404),
        (request(Method::GET, "//"), None, 400),
        (request(Method::GET, "/assets/%2e%2e/index.html"), None, 400),
        (request(Method::POST, "/"), None, 405),
        (request(Method::POST, "/"), Some(b"body"), 405),
        (request(Method::DELETE, "/echo"), None, 405),
        (request(Method::GET, "/"), Some(b"body"), 400),
        (request(Method::GET, "/").header("expect", "100-continue"), None, 417),
        // The form of HTTP/1.1 has no meaning here: it is a page's path.
        (request(Method::GET, "/echo").header("sec-websocket-version", "13"), None, 200),
    ] {
        let is_head = request.method_ref() == Some(&Method::HEAD);
        let answer = client.ask(request.body(()).unwrap(), body).await;
        assert_eq!(answer.status(), status);
        assert!(!answer.headers().contains_key("connection"));
        assert_eq!(answer.body().is_empty(), is_head, "{answer:?}");
    }
    assert_eq!(client.get("/health").await.status(), 200, "a refusal ends its stream alone");
}

/// A3: what `Host` says is what `:authority` says, on every path.
#[tokio::test]
async fn a3_more_than_one_host_is_refused() {
    let server = Running::site();
    let mut client = Http2::connect(&server).await;
    for path in ["/", "/health", "/ws/poll", "/sse?channel=a", "/sockjs/info", "/sockjs/0/a/xhr", "/echo/send?id=x"] {
        for hosts in [&["b"][..], &["a", "a"], &["a:80"], &[""]] {
            let request = Request::get(format!("http://a{path}"));
            let request = hosts.iter().fold(request, |request, host| request.header("host", *host));
            let answer = client.ask(request.body(()).unwrap(), None).await;
            assert_eq!(answer.status(), 400, "{path} of {hosts:?}");
        }
    }
    for host in ["a", "A"] {
        let request = Request::get("http://a/health").header("host", host).body(()).unwrap();
        assert_eq!(client.ask(request, None).await.status(), 200, "{host}");
    }
}

/// M: extended CONNECT that is none, and to where nothing is.
#[tokio::test]
async fn m_extended_connect_that_is_refused() {
    let mut options = options(Site::Server);
    options.origins = Some(OriginPolicy::list(["https://good.example"]).unwrap().and_same());
    let server = Running::start(&options);
    let mut client = Http2::connect(&server).await;
    // Once SETTINGS have come, requests with `:protocol` may be sent.
    client.get("/health").await;
    let origin = |origin: &str| {
        let mut request = connect("/echo", Some("websocket"));
        request.headers_mut().insert("origin", origin.parse().unwrap());
        request
    };
    let mut versionless = connect("/echo", Some("websocket"));
    versionless.headers_mut().remove("sec-websocket-version");
    for (request, status) in [
        (connect("/nope", Some("websocket")), 404),
        (connect("/", Some("websocket")), 404),
        (connect("//echo", Some("websocket")), 400),
        (connect("/echo", Some("connect-udp")), 501),
        (origin("https://evil.example"), 403),
        (origin("null"), 403),
        (versionless, 400),
    ] {
        let answer = client.ask(request, None).await;
        assert_eq!(answer.status(), status, "{answer:?}");
        assert!(!answer.headers().contains_key("connection") && !answer.headers().contains_key("upgrade"));
    }
    // Without `:protocol` it asks for a tunnel to somewhere, and names no path.
    let mut tunnel = connect("", None);
    *tunnel.uri_mut() = "a:80".parse().unwrap();
    assert_eq!(client.ask(tunnel, None).await.status(), 400);
    for good in ["https://good.example", "http://a"] {
        let mut send = client.send.clone().ready().await.unwrap();
        let (response, _sending) = send.send_request(origin(good), false).unwrap();
        assert_eq!(within(response).await.unwrap().status(), 200, "{good}");
    }
}

#[tokio::test]
async fn websockets() {
    let server = Running::site();
    let mut socket = websocket(&server, "/echo").await;
    for len in [0, 1, 125, 65_536, 1 << 20] {
        echo(&mut socket, vec![0xfe; len]).await;
    }
    assert!(within(socket.close(CloseCode::NORMAL, "")).await.unwrap().is_clean());
    let alone = Running::demo(Demo::Echo);
    echo(&mut websocket(&alone, "/any/path").await, vec![1]).await;
}

/// Members meet in one room, whichever HTTP they came by.
#[tokio::test]
async fn both_versions_meet() {
    let server = Running::site();
    let mut ann = server.connect("/chat").await;
    let mut bob = websocket(&server, "/chat").await;
    recv_json(&mut ann).await;
    recv_json(&mut bob).await;
    within(bob.send(json!({ "user": "bob", "text": "hi" }).to_string())).await.unwrap();
    assert_eq!(recv_json(&mut ann).await["msg"][0]["text"], "hi");
    assert_eq!(recv_json(&mut bob).await["msg"][0]["text"], "hi");
    let (mut ann, mut bob) = (websocket(&server, "/cursors").await, server.connect("/cursors").await);
    within(ann.send(r#"{"x":1,"y":2}"#)).await.unwrap();
    let heard = recv_json(&mut bob).await;
    assert_eq!(recv_json(&mut ann).await, heard);
    // One that only resets its stream is gone like any other.
    ann.abort();
    assert_eq!(recv_json(&mut bob).await, json!({ "sender": heard["sender"], "gone": true }));
}

/// A hundred on one connection, which is one at the door; the next waits for a place.
#[tokio::test]
async fn streams_have_a_limit() {
    let mut options = options(Site::Server);
    options.admission.limit_loopback = true;
    options.admission.per_address = 1;
    let server = Running::start(&options);
    let mut client = Http2::connect(&server).await;
    client.get("/health").await;
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut send = client.send.clone().ready().await.unwrap();
        let (response, mut sending) = send.send_request(connect("/echo", Some("websocket")), false).unwrap();
        let response = within(response).await.unwrap();
        assert_eq!(response.status(), 200);
        sending.send_data(masked(TEXT, b"x").into(), false).unwrap();
        let mut receiving = response.into_body();
        assert_eq!(&within(receiving.data()).await.unwrap().unwrap()[..], [TEXT, 1, b'x']);
        open.push((sending, receiving));
    }
    let (next, _sending) = client.send.send_request(connect("/echo", Some("websocket")), false).unwrap();
    let mut next = tokio::spawn(next);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut next).await.is_err(), "there is no place");
    assert_status(&server.ask(get("/", "")).await, 429);
    drop(open.pop());
    assert_eq!(within(next).await.unwrap().unwrap().status(), 200);
}

/// M: streams that are opened and reset, again and again, cost the others nothing, and nothing stays of them.
#[tokio::test]
async fn m_rapid_reset() {
    let mut options = options(Site::Server);
    options.admission.limit_loopback = true;
    options.admission.per_address = 2;
    options.admission.new_per_second = 1_000_000;
    let server = Running::start(&options);
    let mut healthy = websocket(&server, "/echo").await;
    let client = Http2::connect(&server).await;
    let flood = async {
        for _ in 0..20_000 {
            let Ok(mut send) = client.send.clone().ready().await else { break };
            let Ok((_, mut sending)) = send.send_request(connect("/echo", Some("websocket")), false) else { break };
            sending.send_reset(h2::Reason::CANCEL);
        }
    };
    within(flood).await;
    echo(&mut healthy, vec![1; 1_000]).await;
    client.connection.abort();
    // The connection has its place until the last of its streams is gone from its demo.
    within(async { while !server.ask(get("/health", "Connection: close\r\n")).await.starts_with("HTTP/1.1 200 ") {} })
        .await;
}

/// Stopping: GOAWAY, and each WebSocket is told 1001.
#[tokio::test]
async fn stopping_tells_every_stream() {
    let server = Running::site();
    let mut sockets = Vec::new();
    for demo in Demo::ALL {
        sockets.push(websocket(&server, &format!("/{demo}")).await);
    }
    let mut client = Http2::connect(&server).await;
    client.get("/health").await;
    let clients = tokio::spawn(async move {
        for socket in &mut sockets {
            while within(socket.recv()).await.unwrap().is_some() {}
            let outcome = socket.close_outcome().unwrap();
            assert_eq!((outcome.code(), outcome.reason()), (1001, "the server is stopping"));
        }
        // GOAWAY without an error, and the end.
        within(client.connection).await.unwrap().unwrap();
        assert!(client.send.ready().await.is_err());
    });
    let took = server.stop().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    clients.await.unwrap();
}

#[tokio::test]
async fn over_tls_it_is_agreed_upon() {
    let folder = Folder::new();
    let certificate = folder.issue();
    let server = Running::start(&folder.options());
    for (alpn, agreed) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1", "h2"], Some("h2")), (&["http/1.1"], Some("http/1.1"))]
    {
        let mut stream = encrypt(&server, trusting(&certificate, BOTH, alpn)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes));
        if agreed == Some("h2") {
            assert_eq!(Http2::over(stream).await.get("/health").await.status(), 200);
        } else {
            stream.write_all(upgrade("/echo", "").as_bytes()).await.unwrap();
            assert_eq!(within(stream.read_u8()).await.unwrap(), b'H');
        }
    }
    let stream = encrypt(&server, trusting(&certificate, BOTH, &["h2"])).await.unwrap();
    let client = Client::new(&format!("wss://{}/echo", server.address)).unwrap();
    let mut socket = Box::pin(within(client.connect_http2_over(stream))).await.unwrap();
    echo(&mut socket, vec![7; 100_000]).await;
    // Over TLS nobody knows beforehand (RFC 9113 section 3.3).
    let mut stream = encrypt(&server, trusting(&certificate, BOTH, &[])).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert_status(&answer, 505);
}

/// However the preface, or something that looks like it, is cut.
#[tokio::test]
async fn the_first_bytes_tell_which_it_is() {
    let server = Running::site();
    let settings = [&[0, 0, 0, 4, 0][..], &[0; 4]].concat();
    for cut in [1, 4, 14, 18, 23] {
        let mut stream = server.raw().await;
        for part in [&PREFACE[..cut], &[&PREFACE[cut..], &settings].concat()] {
            stream.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        // A frame's header with the type SETTINGS comes first (RFC 9113 section 3.4).
        let mut head = [0; 9];
        within(stream.read_exact(&mut head)).await.unwrap();
        assert_eq!(head[3], 4, "{head:?}");
    }
    for (start, status) in
        [("PRI", 400), ("PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", 505), ("PRI * HTTP/1.1\r\nHost: a\r\n\r\n", 400)]
    {
        let mut stream = server.raw().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_status(&common::read_to_end(&mut stream).await, status);
    }
    // A method that begins with the same letter, and an upgrade a byte at a time.
    assert_status(&server.ask(get("/", "").replacen("GET", "PUT", 1)).await, 405);
    let mut stream = server.raw().await;
    for byte in upgrade("/echo", "").bytes() {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert_status(&read_head(&mut stream).await, 101);
    stream.write_all(&masked(TEXT, b"x")).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.unwrap().1, b"x");
    stream.write_all(&masked(common::CLOSE, &[3, 232])).await.unwrap();
    assert_eq!(close_code(&mut stream).await, Some(1000));
}
