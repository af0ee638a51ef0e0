//! What a connection holds on the heap, counted by an allocator that counts the whole process. One test, so that nothing
//! else runs in it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use common::{BINARY, FIN, KIB, MIB, PING, TEXT, head, masked, up_to, with_keepalive};
use peak_alloc::PeakAlloc;
use sockeye::{Config, Handshake, ServerConfig, WebSocket};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::unconstrained,
};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Connections measured at once.
const MANY: usize = 1_000;
static TAKES: AtomicBool = AtomicBool::new(true);

/// Gives what it was told to give, at most so much at once, then waits for ever. It owns no memory itself.
struct Script {
    input: &'static [u8],
    step: usize,
    /// Whether it takes what is written.
    takes: &'static AtomicBool,
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = self.input.len().min(self.step).min(buf.remaining());
        if count == 0 {
            return Poll::Pending;
        }
        let (now, later) = self.input.split_at(count);
        buf.put_slice(now);
        self.input = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.takes.load(Relaxed) { Poll::Ready(Ok(buf.len())) } else { Poll::Pending }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn memory_stays_within_its_bounds() {
    // Without tokio's budget, which would end the loops before their input does.
    unconstrained(measure()).await;
}

async fn measure() {
    println!("size_of::<WebSocket<TcpStream>>() = {}", size_of::<WebSocket>());
    let plain = Config::default();
    // What is made once a thread and once a process.
    idle(1, plain.clone()).await;
    let per_connection = idle(MANY, plain).await;
    println!("heap of an idle connection after an echo: {per_connection} bytes");
    assert_eq!(per_connection, 0, "an idle connection owns no buffer");
    let per_connection = idle(MANY, with_keepalive()).await;
    println!("the same with keepalive: {per_connection} bytes (its timer)");
    assert!(per_connection <= 256);
    an_announced_length_reserves_nothing().await;
    pings_from_a_peer_that_never_reads().await;
    a_large_message().await;
}

async fn accept(input: &'static [u8], step: usize, config: &ServerConfig) -> WebSocket<Script> {
    let io = Script { input, step, takes: &TAKES };
    Handshake::read(io, config).await.unwrap().accept().await.unwrap()
}

fn leak(parts: &[&[u8]]) -> &'static [u8] {
    parts.concat().leak()
}

fn server(config: Config) -> ServerConfig {
    ServerConfig::with(|server| server.connection = Arc::new(config))
}

/// Bytes of heap per connection, each of which has echoed a small and a large message and waits.
async fn idle(count: usize, config: Config) -> usize {
    let config = server(config);
    let input = leak(&[common::UPGRADE, &masked(FIN | TEXT, &[b'x'; 128]), &masked(FIN | BINARY, &vec![1; 100 * KIB])]);
    let mut sockets = Vec::with_capacity(count);
    let before = HEAP.current_usage();
    for _ in 0..count {
        let mut socket = accept(input, 8 * KIB, &config).await;
        for _ in 0..2 {
            let message = socket.recv().await.unwrap().unwrap();
            socket.feed(message).await.unwrap();
        }
        wait(&mut socket);
        assert_eq!(socket.buffered_amount(), 0);
        sockets.push(socket);
    }
    HEAP.current_usage().saturating_sub(before) / count
}

/// Polls `recv` until it waits.
fn wait(socket: &mut WebSocket<Script>) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(received) = socket.poll_recv(&mut cx) {
        assert!(matches!(received, Some(Ok(_))));
    }
}

/// B9, and the issue: "a 14-byte header that announces 16 MiB reserves nothing".
async fn an_announced_length_reserves_nothing() {
    let mut header = head(FIN | BINARY, 0x80, 16 * MIB as u64);
    header.extend_from_slice(&[0; 4]);
    assert_eq!(header.len(), 14);
    let input = leak(&[common::UPGRADE, &header]);
    let config = server(up_to(16 * MIB));
    let mut sockets = Vec::with_capacity(MANY);
    let before = HEAP.current_usage();
    for _ in 0..MANY {
        let mut socket = accept(input, KIB, &config).await;
        wait(&mut socket);
        sockets.push(socket);
    }
    let each = (HEAP.current_usage() - before) / MANY;
    println!("heap after a header that announces 16 MiB: {each} bytes");
    assert!(each <= 512, "{each}");
}

/// B20: "100,000 pings from a peer that never reads leave memory flat".
async fn pings_from_a_peer_that_never_reads() {
    let pings: Vec<u8> = (0..100_000).flat_map(|_| masked(FIN | PING, &[b'p'; 125])).collect();
    let input = leak(&[common::UPGRADE, &pings]);
    let mut config = Config::default();
    (config.limits.control_rate, config.limits.control_burst) = (1_000_000, 1_000_000);
    let config = server(config);
    // The handshake's answer is taken, nothing after it.
    let mut io = accept(input, KIB, &config).await;
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    io.try_send("held up").unwrap();
    TAKES.store(false, Relaxed);
    wait(&mut io);
    let peak = HEAP.peak_usage() - before;
    println!("peak heap of 100,000 pings nobody reads: {peak} bytes; queued: {}", io.buffered_amount());
    assert!(peak <= 8 * KIB, "{peak}");
    assert_eq!(io.buffered_amount(), 9 + 127, "one pong, the newest");
    TAKES.store(true, Relaxed);
}

/// DESIGN: a large payload is read straight into its message, growing in bounded steps (B19: "memory ≤ 2× message").
async fn a_large_message() {
    for (len, step) in [(8 * MIB, 64 * KIB), (64 * KIB, 1)] {
        let input = leak(&[common::UPGRADE, &masked(FIN | BINARY, &vec![7; len])]);
        let mut socket = accept(input, step, &server(up_to(8 * MIB))).await;
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let message = socket.recv().await.unwrap().unwrap();
        let peak = HEAP.peak_usage() - before;
        println!("peak heap while {len} bytes come {step} at a time: {peak} bytes");
        assert_eq!(message.len(), len);
        assert!(peak <= 2 * len + 2 * MIB, "{peak}");
    }
}
