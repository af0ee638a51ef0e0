//! How often the server allocates for a publication and for each delivery, counted in this process. One test, so that nothing
//! else runs in it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    alloc::System,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use common::{TEXT, hub::hub_options, masked, upgrade};
use sockeye_hub::{ChannelOptions, Namespaces};
use sockeye_server::Server;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PUBLICATIONS: usize = 500;

/// A client that owns no heap.
struct Peer(TcpStream);

impl Peer {
    fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(upgrade("/ws", "").as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        Self(stream)
    }

    /// Says this and hears something that begins so.
    fn ask(&mut self, frame: &[u8], answer: &[u8]) {
        self.0.write_all(frame).unwrap();
        self.hear(answer);
    }

    /// The next message.
    fn hear(&mut self, beginning: &[u8]) {
        let (mut head, mut payload) = ([0; 2], [0; 1_024]);
        self.0.read_exact(&mut head).unwrap();
        let mut len = usize::from(head[1]);
        if len == 126 {
            self.0.read_exact(&mut head).unwrap();
            len = usize::from(u16::from_be_bytes(head));
        }
        let payload = &mut payload[..len];
        self.0.read_exact(payload).unwrap();
        assert!(payload.starts_with(beginning), "{}", String::from_utf8_lossy(payload));
    }
}

/// Allocations of so many publications, each of which is heard by so many subscribers before the next.
fn allocations(address: SocketAddr, channel: &str, subscribers: usize) -> usize {
    let subscribe = masked(TEXT, format!(r#"{{"id":1,"subscribe":"{channel}"}}"#).as_bytes());
    let mut subscribers: Vec<_> = (0..subscribers).map(|_| Peer::connect(address)).collect();
    for subscriber in &mut subscribers {
        subscriber.ask(&subscribe, br#"{"id":1,"ok":"#);
    }
    let mut publisher = Peer::connect(address);
    let publish = masked(TEXT, format!(r#"{{"id":2,"publish":"{channel}","data":"{}"}}"#, "x".repeat(128)).as_bytes());
    let mut round = || {
        publisher.ask(&publish, br#"{"id":2,"ok":"#);
        for subscriber in &mut subscribers {
            subscriber.hear(br#"{"on":"#);
        }
    };
    // The channel's history is full then, and every queue has been used.
    (0..200).for_each(|_| round());
    // The allocator counts for the whole process, and the test harness has a thread of its own: what comes every time is ours.
    let counts = (0..3).map(|_| {
        let region = Region::new(HEAP);
        (0..PUBLICATIONS).for_each(|_| round());
        let change = region.change();
        change.allocations + change.reallocations
    });
    counts.min().unwrap()
}

#[test]
fn a_delivery_allocates_nothing() {
    let mut options = hub_options();
    options.workers = 1;
    let channel = ChannelOptions::with(|options| (options.session_rate, options.channel_rate) = (1_000_000, 1_000_000));
    options.namespaces = Arc::new(Namespaces::new(Some(channel)));
    let server = Server::start(&options).unwrap();
    let [to_one, to_many] =
        [("one", 1), ("many", 101)].map(|(channel, count)| allocations(server.address(), channel, count));
    server.stop();
    let deliveries = 100 * PUBLICATIONS;
    println!("allocations of {PUBLICATIONS} publications to 1: {to_one}, to 101: {to_many}");
    assert!(to_one <= 16 * PUBLICATIONS, "a publication is parsed, kept, encoded and answered");
    assert!(to_many.saturating_sub(to_one) * 1_000 <= deliveries, "not even one in a thousand deliveries");
}
