//! How often a connection allocates in steady state, counted by an allocator that counts the whole process. One test, so that
//! nothing else runs in it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    alloc::System,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use common::{BINARY, FIN, PING, TEXT, masked};
use sockeye::{Config, Handshake, ServerConfig, WebSocket};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::unconstrained,
};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Rounds that are counted at once.
const ROUNDS: usize = 1_000;

/// Gives the handshake, then by turns the same input and nothing, and takes everything. It owns no memory itself.
struct Rounds {
    handshake: &'static [u8],
    input: &'static [u8],
    is_due: bool,
    written: usize,
}

impl AsyncRead for Rounds {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.handshake.is_empty() {
            buf.put_slice(std::mem::take(&mut self.handshake));
            return Poll::Ready(Ok(()));
        }
        self.is_due = !self.is_due;
        if !self.is_due {
            return Poll::Pending;
        }
        buf.put_slice(self.input);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rounds {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written += buf.len();
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn an_echo_allocates_the_message_and_nothing_else() {
    // Without tokio's budget, which would end a round before its input does.
    unconstrained(measure()).await;
}

async fn measure() {
    let small = masked(FIN | TEXT, &[b'x'; 128]);
    let larger = masked(FIN | BINARY, &[1; 4_000]);
    for (messages, frame) in [(1, &small), (16, &small), (64, &small), (1, &larger), (4, &larger)] {
        let count = echo(&frame.repeat(messages), messages).await;
        println!("allocations for {messages} messages in flight of {} bytes: {count}", frame.len());
        assert_eq!(count, messages, "the messages, which are the program's to keep");
    }
    let count = echo(&larger.repeat(16), 16).await;
    println!("allocations for more than one piece of output: {count}");
    assert!(count <= 16 + 8);
    let count = echo(&masked(FIN | PING, b"are you there?"), 0).await;
    println!("allocations for a ping: {count}");
    assert!(count <= 6);
}

/// Allocations of a round: this input, of so many messages, comes at once, is answered, and the connection waits.
async fn echo(input: &[u8], messages: usize) -> usize {
    let mut socket = accept(input.to_vec().leak()).await;
    // The allocator counts for the whole process, and the test harness has a thread of its own: what comes every time is ours.
    let mut least = usize::MAX;
    for _ in 0..4 {
        let region = Region::new(HEAP);
        for _ in 0..ROUNDS {
            assert_eq!(round(&mut socket), messages);
        }
        let change = region.change();
        least = least.min(change.allocations + change.reallocations);
    }
    assert!(socket.get_ref().written > 4 * ROUNDS * messages * 128);
    // Whatever comes not every round, but every few, counts as well.
    least.div_ceil(ROUNDS)
}

/// Until the connection waits for more; returns how many messages it has answered.
fn round(socket: &mut WebSocket<Rounds>) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    let mut answered = 0;
    while let Poll::Ready(received) = socket.poll_recv(&mut cx) {
        socket.try_send(received.unwrap().unwrap()).unwrap();
        answered += 1;
    }
    assert_eq!(socket.buffered_amount(), 0);
    answered
}

async fn accept(input: &'static [u8]) -> WebSocket<Rounds> {
    let io = Rounds { handshake: common::UPGRADE, input, is_due: false, written: 0 };
    let mut config = Config::default();
    (config.limits.control_rate, config.limits.control_burst) = (1_000_000, 1_000_000);
    let config = ServerConfig::with(|server| server.connection = Arc::new(config));
    Handshake::read(io, &config).await.unwrap().accept().await.unwrap()
}
