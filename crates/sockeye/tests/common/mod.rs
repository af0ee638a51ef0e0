//! What the tests of the library share: one end with a raw peer, or two ends, on one pipe; and transports that count, stutter
//! or hold back.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "http2")]
pub(crate) mod h2_frames;
#[cfg(feature = "http2")]
pub(crate) mod hyper;
pub(crate) mod transport;

use std::{future::Future, sync::Arc, time::Duration};

use sockeye::{Client, Config, Handshake, Keepalive, ServerConfig, WebSocket};
pub(crate) use sockeye_testing::*;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    time::{Instant, timeout},
};

/// A server's end over this transport, and the raw peer at the other end of the pipe, which has read the 101.
pub(crate) async fn accept_over<S>(io: S, mut peer: DuplexStream, config: Config) -> (WebSocket<S>, DuplexStream)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let config = ServerConfig::with(|server| server.connection = Arc::new(config));
    let accept = async { Handshake::read(io, &config).await.unwrap().accept().await.unwrap() };
    let ask = async {
        peer.write_all(UPGRADE).await.unwrap();
        assert!(read_head(&mut peer).await.starts_with("HTTP/1.1 101 "));
    };
    let (socket, ()) = tokio::join!(accept, ask);
    (socket, peer)
}

/// A server's end and its raw peer, on a pipe that holds so many bytes in either direction.
pub(crate) async fn server(capacity: usize, config: Config) -> (WebSocket<DuplexStream>, DuplexStream) {
    let (io, peer) = duplex(capacity);
    accept_over(io, peer, config).await
}

/// A client's end and its raw peer.
pub(crate) async fn client(capacity: usize, config: Config) -> (WebSocket<DuplexStream>, DuplexStream) {
    let (io, mut peer) = duplex(capacity);
    let connect = async { Client::new("ws://a/").unwrap().config(config).connect_over(io).await.unwrap() };
    let answer = async {
        let head = read_head(&mut peer).await;
        peer.write_all(switching(&head, "").as_bytes()).await.unwrap();
    };
    let (socket, ()) = tokio::join!(connect, answer);
    (socket, peer)
}

/// Both ends: client and server.
pub(crate) async fn pair<S>(io: (S, S), config: Config) -> (WebSocket<S>, WebSocket<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let server = ServerConfig::with(|server| server.connection = Arc::new(config.clone()));
    let connect = async { Client::new("ws://a/").unwrap().config(config).connect_over(io.0).await.unwrap() };
    let accept = async { Handshake::read(io.1, &server).await.unwrap().accept().await.unwrap() };
    tokio::join!(connect, accept)
}

/// The proper answer to this request, with more header lines.
pub(crate) fn switching(request: &str, more: &str) -> String {
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = sockeye::proto::handshake::accept_key(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// Defaults with pings.
pub(crate) fn with_keepalive() -> Config {
    Config::with(|config| config.keepalive = Some(Keepalive::default()))
}

/// Defaults with a larger message and send queue.
pub(crate) fn up_to(bytes: usize) -> Config {
    Config::with(|config| {
        config.limits.max_message = bytes;
        config.limits.max_frame = bytes;
        config.limits.max_write_queue = bytes;
    })
}

/// Bounds a test. Where the clock stands still, a test that waits for nothing gets there at once.
pub(crate) async fn within<F: Future>(seconds: u64, work: F) -> F::Output {
    timeout(Duration::from_secs(seconds), work).await.expect("the test takes too long")
}

/// Asserts how many whole seconds have passed on the (virtual) clock.
#[track_caller]
pub(crate) fn assert_passed(since: Instant, seconds: u64) {
    assert_eq!(since.elapsed().as_millis() / 100, u128::from(seconds) * 10, "in tenths of a second");
}
