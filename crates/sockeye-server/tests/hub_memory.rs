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

/// The most heap that a publication takes while subscribers are told of it, and what of it stays, for each of them.
fn heap_per_delivery(server: &Server) -> (usize, usize) {
    let subscribe = br#"{"id":1,"subscribe":"news"}"#;
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(server.address(), "/ws", subscribe)).collect();
    let mut publisher = connect(server.address(), "/ws", br#"{"id":1,"publish":"news","data":1}"#);
    let hear = |client: &mut TcpStream| {
        let mut header = [0; 2];
        client.read_exact(&mut header).unwrap();
        client.read_exact(&mut [0; 128][..header[1].into()]).unwrap();
    };
    clients.iter_mut().for_each(hear);
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    publisher.write_all(&masked(TEXT, br#"{"id":2,"publish":"news","data":2}"#)).unwrap();
    clients.iter_mut().for_each(hear);
    hear(&mut publisher);
    let usage = [HEAP.peak_usage(), HEAP.current_usage()];
    let [peak, after] = usage.map(|usage| usage.saturating_sub(before) / CLIENTS);
    (peak, after)
}

#[test]
fn an_idle_subscriber_is_small_and_a_delivery_takes_nothing() {
    let mut options = options(Site::Server);
    options.workers = 1;
    let server = Server::start(&options).unwrap();
    let echo = heap_per_client(&server, "/echo", b"x");
    let hub = heap_per_client(&server, "/ws", br#"{"id":1,"subscribe":"lobby"}"#);
    println!("heap of an idle connection: echo {echo} B, subscriber {hub} B");
    let (peak, kept) = heap_per_delivery(&server);
    println!("heap of a delivery: {peak} B, of which {kept} B stay");
    server.stop();
    assert!(hub <= 2_048, "{hub}");
    // The publication itself, for all of them.
    assert!(peak <= 32 && kept <= 16, "{peak} {kept}");
}
