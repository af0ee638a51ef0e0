//! What a session and a delivery cost as their number grows: one worker, whole sessions with their sockets, over pipes
//! that have no kernel behind them. A test with few; with many what `benches/scale` measures.
use super::*;

use std::{
    env, fs, io,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use serde_json::json;
use sockeye::{Config, Handshake, Keepalive, OriginPolicy};
use sockeye_hub::{Done, Draft, Kind, Payload, Request};
use sockeye_testing::{FIN, TEXT, masked};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::{LocalSet, yield_now},
};

use crate::{
    Site,
    permit::{Anybody, Principal},
};

/// Publications to each channel, at least.
const ROUNDS: u64 = 5;
/// In all, at least: the kernel counts CPU in milliseconds.
const DELIVERIES: u64 = 200_000;
const PAYLOAD: usize = 128;

/// A client that has said all it will say, and takes whatever comes.
struct Pipe {
    says: Bytes,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    writes: AtomicU64,
    bytes: AtomicU64,
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.says.is_empty() {
            // So it owns nothing.
            self.says = Bytes::new();
            return Poll::Pending;
        }
        let count = self.says.len().min(buffer.remaining());
        buffer.put_slice(&self.says[..count]);
        self.says.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.writes.fetch_add(1, Relaxed);
        self.heard.bytes.fetch_add(bytes.len() as u64, Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Everybody hears everything once; what it cost is printed.
#[test]
fn everybody_is_told_and_what_it_costs() {
    let number = |name, otherwise| env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let sessions: u64 = number("SOCKEYE_SCALE_SESSIONS", 2_000);
    let channels: u64 = number("SOCKEYE_SCALE_CHANNELS", 20);
    assert_eq!(sessions % channels, 0, "as many in each channel");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    LocalSet::new().block_on(&runtime, async { measure(&begin(), sessions, channels).await });
}

async fn measure(worker: &Worker, sessions: u64, channels: u64) {
    let heard = Arc::new(Heard::default());
    // What is there once is not counted.
    open(worker, 0, &heard).await;
    settle(&heard.writes, 2).await;
    let (memory, cpu) = (private(), cpu());
    for index in 1..=sessions {
        open(worker, index % channels, &heard).await;
        if index % 64 == 0 {
            yield_now().await;
        }
    }
    // Of each the answer to its handshake and to its command.
    settle(&heard.writes, 2 * (sessions + 1)).await;
    let opening = self::cpu() - cpu;
    let memory = private().saturating_sub(memory);
    assert_eq!(worker.local.look(|hub| hub.stats().sessions) as u64, sessions + 1);

    let rounds = ROUNDS.max(DELIVERIES / sessions);
    let (before, cpu, start) = (heard.bytes.load(Relaxed), self::cpu(), Instant::now());
    for _ in 0..rounds {
        let writes = heard.writes.load(Relaxed);
        for channel in 0..channels {
            let done = worker.local.ask(Principal::Server, publish(channel)).await;
            assert!(matches!(done, Ok(Done::Published(Some(_)))), "{done:?}");
        }
        settle(&heard.writes, writes + sessions + 1).await;
    }
    let (cpu, wall) = (self::cpu() - cpu, start.elapsed());
    println!(
        "{}",
        json!({
            "sessions": sessions,
            "channels": channels,
            "private_bytes_each": memory / sessions,
            "opening_cpu_ns_each": opening / sessions,
            "delivery_cpu_ns": cpu / sessions / rounds,
            "delivery_bytes": (heard.bytes.load(Relaxed) - before) / (sessions + 1) / rounds,
            "publication_us": wall.as_micros() / u128::from(channels * rounds),
        })
    );
}

/// One worker, and nothing of what others would share.
fn begin() -> Worker {
    let mut options = ServerOptions::new(Site::Server);
    options.workers = 1;
    let connection = Config::with(|config| {
        *config = session::config(&options.session);
        // Nobody answers pings here; what it takes to send them is there all the same.
        config.keepalive = Some(Keepalive::with(|keepalive| keepalive.interval = Duration::from_secs(3_600)));
    });
    let common = Common {
        demos: Arc::new(Demos::new(&options, &OriginPolicy::any()).unwrap()),
        hub: Arc::new(ServerConfig::with(|config| config.connection = Arc::new(connection))),
        sockjs: Arc::default(),
        tls: None,
        stop: CancellationToken::new(),
    };
    plan(&options, &common, Arc::new(Anybody)).unwrap().remove(0).begin()
}

/// Opens a session that subscribes at once.
async fn open(worker: &Worker, channel: u64, heard: &Arc<Heard>) {
    let mut says = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        .to_vec();
    says.extend(masked(FIN | TEXT, format!(r#"{{"id":1,"subscribe":"channel-{channel}"}}"#).as_bytes()));
    let pipe = Pipe { says: says.into(), heard: Arc::clone(heard) };
    let handshake = Handshake::read(pipe, worker.config(Service::Hub)).await.unwrap();
    worker.host(Seat::Hub, handshake.accept().await.unwrap(), ());
}

fn publish(channel: u64) -> Request {
    let json = format!("\"{}\"", "x".repeat(PAYLOAD - 2));
    let payload = Payload { kind: Kind::Json, bytes: json.into() };
    Request::Publish(format!("channel-{channel}").parse().unwrap(), Draft::new(payload))
}

/// Waits until so many have been counted, and sees that they are not more.
async fn settle(count: &AtomicU64, expected: u64) {
    while count.load(Relaxed) < expected {
        yield_now().await;
    }
    assert_eq!(count.load(Relaxed), expected);
}

/// Memory that this process has to itself, in bytes; 0 where that cannot be read.
fn private() -> u64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>() * 1_024
}

/// What this thread has had of a core, in nanoseconds; 0 where that cannot be read.
fn cpu() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0)
}
