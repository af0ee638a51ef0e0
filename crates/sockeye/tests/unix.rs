//! Unix sockets, at both ends.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[cfg(feature = "ring")]
#[path = "common/identity.rs"]
mod identity;

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use common::{KIB, within};
use sockeye::{Client, CloseCode};
use tokio::net::UnixListener;

/// A socket's path that nobody else has, and that is gone afterwards.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("sockeye-{}-{}.sock", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }
}

impl AsRef<Path> for SocketPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // Where nobody listened there is none.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_conversation() {
    let path = SocketPath::new();
    let listener = UnixListener::bind(&path).unwrap();
    let serving = async {
        let stream = listener.accept().await.unwrap().0;
        let request = sockeye::Handshake::read(stream, &sockeye::ServerConfig::default()).await.unwrap();
        assert_eq!(request.request().headers()["host"], "example.org:8080");
        assert_eq!(request.request().uri(), "/live?x=1");
        let mut socket = request.accept().await.unwrap();
        while let Some(message) = socket.recv().await.unwrap() {
            socket.send(message).await.unwrap();
        }
    };
    let talking = async {
        let client = Client::new("ws://example.org:8080/live?x=1").unwrap();
        let mut socket = client.connect_unix(&path).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap_err().kind(), io::ErrorKind::Unsupported);
        socket.send(vec![1; 300 * KIB]).await.unwrap();
        assert_eq!(socket.recv().await.unwrap().unwrap().len(), 300 * KIB);
        assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
    };
    within(20, Box::pin(async { tokio::join!(serving, talking) })).await;
}

/// `wss` is TLS here too: what a URL promises does not depend on the way.
#[cfg(feature = "ring")]
#[tokio::test]
async fn tls_through_a_unix_socket() {
    let identity = identity::Identity::local();
    let path = SocketPath::new();
    let listener = UnixListener::bind(&path).unwrap();
    let serving = async {
        let stream = identity.accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut socket = sockeye::accept(stream).await.unwrap();
        assert!(socket.recv().await.unwrap().is_none());
    };
    let talking = async {
        let mut socket = identity.client("wss://localhost/").connect_unix(&path).await.unwrap();
        assert!(socket.get_ref().tls().is_some());
        assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
    };
    within(20, Box::pin(async { tokio::join!(serving, talking) })).await;
}

/// Nobody there; and somebody who never answers.
#[tokio::test(start_paused = true)]
async fn nobody_answers() {
    let path = SocketPath::new();
    let client = || Client::new("ws://localhost/").unwrap();
    let error = client().connect_unix(&path).await.unwrap_err();
    assert!(error.is_io() && error.guilty().is_none());
    let _listener = UnixListener::bind(&path).unwrap();
    assert!(within(60, client().connect_unix(&path)).await.unwrap_err().is_timeout());
}
