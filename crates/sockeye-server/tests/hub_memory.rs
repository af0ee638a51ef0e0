//! What a session costs that has subscribed to a channel and is idle: its heap, in this process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use common::{TEXT, masked, options, upgrade};
use peak_alloc::PeakAlloc;
use sockeye_server::{Server, Site};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const CLIENTS: usize = 200;

/// Clients that own no heap.
fn connect(address: SocketAddr, path: &str, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(upgrade(path, "").as_bytes()).unwrap();
    let mut head = Vec::with_capacity(1_024);
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    stream.write_all(&masked(TEXT, first)).unwrap();
    // Whatever the answer is, it fits in one read.
    assert!(stream.read(&mut [0; 1_024]).unwrap() > 0);
    stream
}

fn heap_per_client(server: &Server, path: &str, first: &[u8]) -> usize {
    // What is there once is not counted.
    let warm: Vec<_> = (0..CLIENTS).map(|_| connect(server.address(), path, first)).collect();
    let before = HEAP.current_usage();
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect(server.address(), path, first)).collect();
    let after = HEAP.current_usage();
    drop((warm, clients));
    (after - before) / CLIENTS
}

#[test]
fn an_idle_subscriber_is_small() {
    let mut options = options(Site::Server);
    options.workers = 1;
    let server = Server::start(&options).unwrap();
    let echo = heap_per_client(&server, "/echo", b"x");
    let hub = heap_per_client(&server, "/ws", br#"{"id":1,"subscribe":"lobby"}"#);
    println!("heap of an idle connection: echo {echo} B, subscriber {hub} B");
    server.stop();
    assert!(hub <= 2_048, "{hub}");
}
