//! What compression adds to an idle socket, counted by an allocator that counts the whole process. One test, so that nothing
//! else runs in it.
#![cfg(feature = "deflate")]

mod common;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use common::{FIN, KIB, TEXT, masked};
use peak_alloc::PeakAlloc;
use sockeye::{Deflate, Handshake, ServerConfig, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const RSV1: u8 = 0x40;
/// Connections measured at once.
const MANY: usize = 200;

#[tokio::test]
async fn compression_adds_nothing_to_an_idle_socket() {
    let takeover = Deflate::default().server_takeover(true).client_takeover(true);
    let small = takeover.clone().server_window_bits(12).and_then(|policy| policy.client_window_bits(12)).unwrap();
    // What is made once a thread.
    for policy in [None, Some(Deflate::default()), Some(small.clone()), Some(takeover.clone())] {
        idle(1, policy).await;
    }
    let without = idle(MANY, None).await;
    let default = idle(MANY, Some(Deflate::default())).await;
    let takeover = idle(MANY, Some(takeover)).await;
    let small = idle(MANY, Some(small)).await;
    println!("heap of an idle socket: {without} bytes; with deflate {default}");
    println!("context takeover: {takeover} bytes, of 12 bits {small}");
    assert_eq!((default, without), (0, 0));
    assert!((64 * KIB..66 * KIB).contains(&takeover));
    assert!((8 * KIB..9 * KIB).contains(&small));
}

/// Bytes of heap per connection, each of which has echoed a message larger than any window and waits.
async fn idle(count: usize, deflate: Option<Deflate>) -> usize {
    let is_compressed = deflate.is_some();
    let offer = if is_compressed { "permessage-deflate; client_max_window_bits" } else { "x-none" };
    let config = ServerConfig::with(|config| config.deflate = deflate);
    let message = vec![b'x'; 50 * KIB];
    let frame =
        if is_compressed { masked(FIN | RSV1 | TEXT, &compressed(&message)) } else { masked(FIN | TEXT, &message) };
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"
    );
    let script = Script { input: [request.as_bytes(), &frame].concat().leak() };
    let mut sockets: Vec<WebSocket<Script>> = Vec::with_capacity(count);
    let before = HEAP.current_usage();
    for _ in 0..count {
        let mut socket = Handshake::read(script, &config).await.unwrap().accept().await.unwrap();
        let received = socket.recv().await.unwrap().unwrap();
        socket.feed(received).await.unwrap();
        assert_eq!(socket.extensions().is_empty(), !is_compressed);
        assert!(poll(&mut socket).is_pending());
        sockets.push(socket);
    }
    HEAP.current_usage().saturating_sub(before) / count
}

fn poll(socket: &mut WebSocket<Script>) -> Poll<()> {
    socket.poll_recv(&mut Context::from_waker(std::task::Waker::noop())).map(|_| ())
}

/// Gives what it has, then nothing for ever, and takes everything. It owns no memory.
#[derive(Clone, Copy)]
struct Script {
    input: &'static [u8],
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, later) = self.input.split_at(self.input.len().min(buf.remaining()));
        if now.is_empty() {
            return Poll::Pending;
        }
        buf.put_slice(now);
        self.input = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn compressed(message: &[u8]) -> Vec<u8> {
    let mut deflate = zlib_rs::Deflate::new(6, false, 15);
    let mut payload = vec![0; message.len()];
    deflate.compress(message, &mut payload, zlib_rs::DeflateFlush::SyncFlush).unwrap();
    payload.truncate(usize::try_from(deflate.total_out()).unwrap() - 4);
    payload
}
