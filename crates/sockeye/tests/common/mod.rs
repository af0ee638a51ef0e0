//! What the tests of the library share: a raw peer that speaks in bytes, two ends on one pipe, and transports that count,
//! stutter or hold back.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "http2")]
pub(crate) mod h2_frames;
#[cfg(feature = "http2")]
pub(crate) mod hyper;
pub(crate) mod transport;

use std::{future::Future, sync::Arc, time::Duration};

use sockeye::{Client, Config, Handshake, Keepalive, Limits, ServerConfig, WebSocket};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    time::{Instant, timeout},
};

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// To be added to an opcode.
pub(crate) const FIN: u8 = 0x80;

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

pub(crate) const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as a client sends it.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, 0x80, payload.len() as u64);
    frame.extend_from_slice(&KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A frame as a server sends it.
pub(crate) fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    [&head(first, 0, payload.len() as u64), payload].concat()
}

/// The start of a frame, up to the masking key.
pub(crate) fn head(first: u8, mask_bit: u8, len: u64) -> Vec<u8> {
    let mut head = vec![first];
    match len {
        0..=125 => head.push(mask_bit | u8::try_from(len).unwrap()),
        126..=0xffff => {
            head.push(mask_bit | 0x7e);
            head.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        _ => {
            head.push(mask_bit | 0x7f);
            head.extend_from_slice(&len.to_be_bytes());
        }
    }
    head
}

pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// The first byte and the unmasked payload of the next frame; `None` at the end.
pub(crate) async fn read_frame(io: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let first = io.read_u8().await.ok()?;
    let second = io.read_u8().await.unwrap();
    let len = match second & 0x7f {
        126 => usize::from(io.read_u16().await.unwrap()),
        127 => usize::try_from(io.read_u64().await.unwrap()).unwrap(),
        len => usize::from(len),
    };
    let mut key = [0; 4];
    if second & 0x80 != 0 {
        io.read_exact(&mut key).await.unwrap();
    }
    let mut payload = vec![0; len];
    io.read_exact(&mut payload).await.unwrap();
    payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Some((first, payload))
}

/// Everything up to the empty line.
pub(crate) async fn read_head(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A server's end over this transport, and the raw peer at the other end of the pipe, which has read the 101.
pub(crate) async fn accept_over<S>(io: S, mut peer: DuplexStream, config: Config) -> (WebSocket<S>, DuplexStream)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let config = ServerConfig { connection: Arc::new(config), ..ServerConfig::default() };
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
    let server = ServerConfig { connection: Arc::new(config.clone()), ..ServerConfig::default() };
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
    Config { keepalive: Some(Keepalive::default()), ..Config::default() }
}

/// Defaults with a larger message and send queue.
pub(crate) fn up_to(bytes: usize) -> Config {
    let limits = Limits { max_message: bytes, max_frame: bytes, max_write_queue: bytes, ..Limits::default() };
    Config { limits, ..Config::default() }
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

/// Dice that fall the same way each time (xorshift).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
