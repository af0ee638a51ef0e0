//! What an idle connection costs, by share: its heap, in this process. docs/performance.md has the table, and what
//! allocator and kernel add.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    future::poll_fn,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use common::{TEXT, masked, options, upgrade};
use peak_alloc::PeakAlloc;
use socket2::{Domain, Socket, Type};
use sockeye::{Config, Handshake, Keepalive, ServerConfig, WebSocket};
use sockeye_server::{Server, Site};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const CLIENTS: usize = 200;
const SUBSCRIBE: &[u8] = br#"{"id":1,"subscribe":"lobby"}"#;

/// A client that owns no heap, from an address of its own if it has a number.
fn connect(server: SocketAddr, number: usize, path: &str) -> TcpStream {
    let mut stream = socket(server, number);
    stream.write_all(upgrade(path, "").as_bytes()).unwrap();
    stream
}

fn socket(server: SocketAddr, number: usize) -> TcpStream {
    let [.., high, low] = number.to_be_bytes();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 1, high, low), 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn read_response(stream: &mut TcpStream) {
    let mut head = Vec::with_capacity(1_024);
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

/// What each of many takes, when as many are there already: what is there once is not counted.
fn heap_each<T>(mut make: impl FnMut(usize) -> T) -> usize {
    let warm: Vec<_> = (0..CLIENTS).map(&mut make).collect();
    let mut those = Vec::with_capacity(CLIENTS);
    let before = HEAP.current_usage();
    those.extend((CLIENTS..2 * CLIENTS).map(&mut make));
    let after = HEAP.current_usage();
    drop((warm, those));
    (after - before) / CLIENTS
}

/// Of a server's connection to which this is said first. Whatever the answer is, it fits in one read.
fn served(path: &str, first: &[u8], is_counted: bool) -> usize {
    let mut options = options(Site::Server);
    options.workers = 1;
    options.admission.limit_loopback = is_counted;
    let server = Server::start(&options).unwrap();
    let address = server.address();
    let heap = heap_each(|number| {
        let mut stream = connect(address, number, path);
        read_response(&mut stream);
        stream.write_all(&masked(TEXT, first)).unwrap();
        assert!(stream.read(&mut [0; 1_024]).unwrap() > 0);
        stream
    });
    server.stop();
    heap
}

/// Of a conversation over HTTP that hears by this request, until it has heard so many events.
fn heard(path: &str, events: usize) -> usize {
    let mut options = options(Site::Server);
    options.workers = 1;
    let server = Server::start(&options).unwrap();
    let address = server.address();
    let heap = heap_each(|number| {
        let mut stream = socket(address, number);
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        let mut ends = 0;
        let mut last = 0;
        while ends < events {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            ends += usize::from([last, byte[0]] == *b"\n\n");
            last = byte[0];
        }
        // The rest of the chunk.
        stream.read_exact(&mut [0; 2]).unwrap();
        stream
    });
    server.stop();
    heap
}

/// Of a socket at tokio's driver, and of a WebSocket on it that waits, without its own size.
fn library() -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let accept = |number| {
        let client = connect(address, number, "/");
        (client, runtime.block_on(listener.accept()).unwrap().0)
    };
    let registration = heap_each(accept);
    let connection = Config::with(|config| config.keepalive = Some(Keepalive::default()));
    let config = ServerConfig::with(|config| config.connection = Arc::new(connection));
    let socket = heap_each(|number| {
        let (client, stream) = accept(number);
        let socket = runtime.block_on(async {
            let mut socket = Handshake::read(stream, &config).await.unwrap().accept().await.unwrap();
            let is_idle = poll_fn(|cx| Poll::Ready(socket.poll_recv(cx).is_pending())).await;
            assert!(is_idle);
            socket
        });
        (client, socket)
    });
    (registration, socket - registration)
}

/// The most heap that so many publications take while subscribers are told of them in one turn, and what of it stays, for
/// each of them.
fn heap_of_deliveries(count: usize) -> (usize, usize) {
    let mut options = options(Site::Server);
    options.workers = 1;
    options.admission.limit_loopback = false;
    let server = Server::start(&options).unwrap();
    let open = |number, first: &[u8]| {
        let mut stream = connect(server.address(), number, "/ws");
        read_response(&mut stream);
        stream.write_all(&masked(TEXT, first)).unwrap();
        hear(&mut stream);
        stream
    };
    let mut subscribers: Vec<_> = (0..CLIENTS).map(|number| open(number, SUBSCRIBE)).collect();
    let mut publisher = open(CLIENTS, br#"{"id":1,"publish":"lobby","data":1}"#);
    subscribers.iter_mut().for_each(hear);
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    publisher.write_all(&masked(TEXT, br#"{"id":2,"publish":"lobby","data":2}"#).repeat(count)).unwrap();
    for _ in 0..count {
        subscribers.iter_mut().for_each(hear);
        hear(&mut publisher);
    }
    let usage = [HEAP.peak_usage(), HEAP.current_usage()];
    let [peak, kept] = usage.map(|usage| usage.saturating_sub(before) / CLIENTS);
    drop((subscribers, publisher));
    server.stop();
    (peak, kept)
}

/// One short message.
fn hear(stream: &mut TcpStream) {
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    assert!(header[1] < 126, "a short message");
    stream.read_exact(&mut [0; 125][..header[1].into()]).unwrap();
}

#[test]
fn an_idle_connection_is_small_and_a_delivery_takes_nothing() {
    let (registration, watch) = library();
    let [echo, counted] = [false, true].map(|is_counted| served("/echo", b"x", is_counted));
    let subscriber = served("/ws", SUBSCRIBE, false);
    // The hint when to come back, that it is open, and that it has subscribed; and the name of the conversation.
    let (listener, events) = (heard("/sse?channel=lobby", 3), heard("/ws/events", 1));
    let socket = size_of::<WebSocket>();
    println!("bytes of heap for each idle connection:");
    for (share, bytes) in [
        ("registration with tokio's driver", registration),
        ("WebSocket", socket),
        ("its timer, and its watch over the peer", watch),
        ("task, and place at its worker", echo - registration - socket - watch),
        ("an echo, in all", echo),
        ("session and hub, beyond that", subscriber - echo),
        ("a subscriber, in all", subscriber),
        ("one that listens to a channel by /sse, in all", listener),
        ("a conversation by /ws/events, in all", events),
        ("an address in the books of admission", counted.saturating_sub(echo)),
    ] {
        println!("  {bytes:6}  {share}");
    }
    assert!(socket <= 400, "a task would be 128 bytes more: {socket}");
    // Where the whole workspace is tested, what tokio has for tests makes a timer 16 bytes larger and a task 128.
    assert!(echo <= 1_152, "{echo}");
    assert!(subscriber <= 1_600, "{subscriber}");
    assert!(listener <= 7 * 512, "{listener}");
    assert!(events <= 7 * 512, "{events}");
    let (peak, kept) = heap_of_deliveries(1);
    println!("a delivery takes {peak} B, of which {kept} B stay");
    // The publication itself, for all of them.
    assert!(peak <= 32 && kept <= 16, "{peak} {kept}");
    let (peak, kept) = heap_of_deliveries(2);
    println!("two in one write take {peak} B, of which {kept} B stay");
    // A queue, until they have left.
    assert!(peak <= 1_200 && kept <= 32, "{peak} {kept}");
}
