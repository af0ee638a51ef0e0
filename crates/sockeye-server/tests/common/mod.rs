//! What the tests of the server share: a server on a free port that is stopped at the end, and clients that speak in bytes.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub(crate) mod hub;
pub(crate) mod pipe;
pub(crate) mod tls;

use std::{future::Future, net::SocketAddr, time::Duration};

use serde_json::Value;
use sockeye::{Client, Transport, WebSocket};
use sockeye_server::{Demo, Server, ServerOptions, Site};
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use sockeye_testing::masked;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;

/// A server that is stopped when it is dropped.
pub(crate) struct Running {
    server: Option<Server>,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn start(options: &ServerOptions) -> Self {
        let server = Server::start(options).unwrap();
        Self { address: server.address(), server: Some(server) }
    }

    /// The pages and all demos, with defaults.
    pub(crate) fn site() -> Self {
        Self::start(&options(Site::Server))
    }

    pub(crate) fn demo(demo: Demo) -> Self {
        Self::start(&options(Site::Demo(demo)))
    }

    /// Stops it on a thread of its own, so that the test's runtime goes on; returns how long that took.
    pub(crate) async fn stop(mut self) -> Duration {
        let server = self.server.take().unwrap();
        tokio::task::spawn_blocking(move || {
            let start = std::time::Instant::now();
            server.stop();
            start.elapsed()
        })
        .await
        .unwrap()
    }

    pub(crate) fn reload_certificates(&self) {
        self.server.as_ref().unwrap().reload_certificates();
    }

    pub(crate) async fn connect(&self, path: &str) -> WebSocket<Transport> {
        within(sockeye::connect(&self.url(path))).await.unwrap()
    }

    pub(crate) fn client(&self, path: &str) -> Client {
        Client::new(&self.url(path)).unwrap()
    }

    pub(crate) async fn raw(&self) -> TcpStream {
        let stream = within(TcpStream::connect(self.address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A connection that has shaken hands and speaks in bytes from here on.
    pub(crate) async fn upgraded(&self, path: &str) -> TcpStream {
        let mut stream = self.raw().await;
        stream.write_all(upgrade(path, "").as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
        stream
    }

    /// Sends this and reads until the server closes.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.raw().await;
        // A server that has seen enough may close before it has read everything.
        let _ = within(stream.write_all(request.as_ref())).await;
        read_to_end(&mut stream).await
    }

    fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// Options for a test: a free port, two threads, and no long goodbyes.
pub(crate) fn options(site: Site) -> ServerOptions {
    let mut options = ServerOptions::new(site);
    options.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    options.workers = 2;
    options.drain = Duration::from_millis(500);
    options
}

/// The upgrade request for this path, with more header lines.
pub(crate) fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

pub(crate) fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n")
}

#[track_caller]
pub(crate) fn assert_status(response: &str, status: u16) {
    assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "expected {status}, got {response:?}");
}

/// The value of a header of the (first) response.
pub(crate) fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let head = response.split("\r\n\r\n").next().unwrap();
    head.lines().skip(1).find_map(|line| {
        let (own, value) = line.split_once(": ")?;
        own.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Everything up to the empty line.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    within(sockeye_testing::read_head(stream)).await
}

/// One response with its body, from a connection that stays open.
pub(crate) async fn read_response(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let head = read_head(stream).await;
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    within(stream.read_exact(&mut body)).await.unwrap();
    (head, body)
}

/// What comes until the other end closes, or resets.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = within(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// First byte and payload of the next frame; `None` at the end.
pub(crate) async fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    within(sockeye_testing::read_frame(stream)).await
}

/// The code of the Close frame that comes after anything else.
pub(crate) async fn close_code(stream: &mut TcpStream) -> Option<u16> {
    while let Some((first, payload)) = read_frame(stream).await {
        if first == CLOSE {
            return Some(u16::from_be_bytes([payload[0], payload[1]]));
        }
    }
    None
}

pub(crate) async fn recv_json(socket: &mut WebSocket<Transport>) -> Value {
    let message = within(socket.recv()).await.unwrap().unwrap();
    serde_json::from_str(message.as_text().unwrap()).unwrap()
}

/// Nothing in these tests takes 20 s but by a fault.
pub(crate) async fn within<F: Future>(work: F) -> F::Output {
    timeout(Duration::from_secs(20), work).await.expect("the test takes too long")
}
