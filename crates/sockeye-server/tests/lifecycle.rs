//! A server's life: who gets in, how it stops, that it can come back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{
    Running, TEXT, assert_status, get, header, masked, options, read_frame, read_head, read_to_end, upgrade, within,
};
use sockeye_server::{Demo, Server, Site, StartError};
use tokio::{io::AsyncWriteExt, time::timeout};

/// "Ctrl-C and SIGTERM drain: listeners close, every client gets 1001, at most 5 s": all answer.
#[tokio::test]
async fn stopping_tells_every_client() {
    let server = Running::site();
    let mut sockets = Vec::new();
    for demo in Demo::ALL {
        for _ in 0..20 {
            sockets.push(server.connect(&format!("/{demo}")).await);
        }
    }
    // Idle HTTP connections are no reason to wait.
    let mut idle = server.raw().await;
    idle.write_all(get("/", "").as_bytes()).await.unwrap();
    common::read_response(&mut idle).await;
    let address = server.address;
    let clients = tokio::spawn(async move {
        for socket in &mut sockets {
            while within(socket.recv()).await.unwrap().is_some() {}
            let outcome = socket.close_outcome().unwrap();
            assert_eq!((outcome.code(), outcome.reason()), (1001, "the server is stopping"));
        }
    });
    let took = server.stop().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    clients.await.unwrap();
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

/// The same within the time that is set, though some never answer and one does not even read. Real time: a second.
#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let mut options = options(Site::Server);
    options.drain = Duration::from_secs(1);
    let server = Running::start(&options);
    let mut silent = Vec::new();
    for path in ["/echo", "/chat", "/cursors"] {
        silent.push(server.upgraded(path).await);
    }
    let mut deaf = server.upgraded("/echo").await;
    let flood = masked(0x82, &vec![0; 60_000]);
    // Until the echo has stopped reading because nobody reads what it says.
    while timeout(Duration::from_millis(500), deaf.write_all(&flood)).await.is_ok() {}
    let took = server.stop().await;
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&took), "{took:?}");
    for mut stream in silent {
        assert_eq!(common::close_code(&mut stream).await, Some(1001));
        assert_eq!(read_to_end(&mut stream).await, "");
    }
}

/// The port is free again at once, although connections of the old server linger in the kernel.
#[tokio::test]
async fn it_starts_again_on_the_same_port() {
    let mut options = options(Site::Server);
    for _ in 0..3 {
        let server = Running::start(&options);
        options.listen = server.address;
        let mut socket = server.connect("/echo").await;
        within(socket.send("x")).await.unwrap();
        within(socket.recv()).await.unwrap();
        server.stop().await;
    }
}

/// Two servers never share a port in silence.
#[tokio::test]
async fn a_second_server_on_the_same_port_does_not_start() {
    let first = Running::site();
    let mut options = options(Site::Server);
    options.listen = first.address;
    let Err(StartError::Listen { address, source }) = Server::start(&options) else { panic!("the port is taken") };
    assert_eq!((address, source.kind()), (first.address, std::io::ErrorKind::AddrInUse));
    // And the first is none the worse.
    first.upgraded("/echo").await;
}

/// J7: who can be reached from elsewhere says which pages may connect.
#[tokio::test]
async fn j7_an_open_address_needs_origins() {
    let mut options = options(Site::Server);
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        options.listen = open.parse().unwrap();
        let Err(error @ StartError::OriginsNeeded) = Server::start(&options) else { panic!("{open} is open") };
        assert!(!error.to_string().contains("--"), "a library has no command line");
    }
}

/// A26: more connections of one address than allowed are told so, with `Retry-After`, whatever they want.
#[tokio::test]
async fn a26_connections_per_address() {
    let mut options = options(Site::Server);
    options.admission.limit_loopback = true;
    options.admission.per_address = 3;
    options.admission.new_per_second = 1_000_000;
    let server = Running::start(&options);
    let mut inside = Vec::new();
    for _ in 0..3 {
        inside.push(server.upgraded("/echo").await);
    }
    for request in [upgrade("/echo", ""), get("/", ""), String::new()] {
        let response = server.ask(request).await;
        assert_status(&response, 429);
        assert_eq!((header(&response, "retry-after"), header(&response, "connection")), (Some("5"), Some("close")));
    }
    // Those inside notice nothing, and whoever leaves makes room.
    let mut last = inside.pop().unwrap();
    last.write_all(&masked(TEXT, b"x")).await.unwrap();
    assert_eq!(read_frame(&mut last).await.unwrap().1, b"x");
    drop(inside);
    within(async {
        loop {
            let mut stream = server.raw().await;
            let _ = stream.write_all(upgrade("/echo", "").as_bytes()).await;
            if read_head(&mut stream).await.starts_with("HTTP/1.1 101 ") {
                break;
            }
        }
    })
    .await;
}

/// A26: and so are those who come too fast.
#[tokio::test]
async fn a26_new_connections_per_second() {
    let mut options = options(Site::Server);
    options.admission.limit_loopback = true;
    options.admission.per_address = 10;
    options.admission.new_per_second = 1;
    let server = Running::start(&options);
    let mut admitted = 0;
    for _ in 0..40 {
        let response = server.ask(get("/health", "Connection: close\r\n")).await;
        if response.starts_with("HTTP/1.1 200 ") {
            admitted += 1;
        } else {
            assert_status(&response, 429);
        }
    }
    assert!((10..15).contains(&admitted), "{admitted}");
}

/// Workers without a connection keep no place from those with one: with one place and four listeners, whichever the kernel
/// picks serves.
#[tokio::test]
async fn e5_fewer_places_than_workers() {
    let mut options = options(Site::Server);
    options.workers = 4;
    options.admission.max_connections = 1;
    let server = Running::start(&options);
    for _ in 0..40 {
        assert_status(&server.ask(get("/health", "Connection: close\r\n")).await, 200);
    }
}

/// E5 in small: when all places are taken, accepting pauses, and goes on within a second of the first that leaves.
#[tokio::test]
async fn e5_the_last_place() {
    let mut options = options(Site::Server);
    options.workers = 1;
    options.admission.max_connections = 2;
    let server = Running::start(&options);
    let first = server.upgraded("/echo").await;
    let _second = server.upgraded("/echo").await;
    let mut third = server.raw().await;
    third.write_all(upgrade("/echo", "").as_bytes()).await.unwrap();
    assert!(timeout(Duration::from_millis(300), third.readable()).await.is_err(), "there is no place");
    drop(first);
    let head = timeout(Duration::from_secs(1), read_head(&mut third)).await.unwrap();
    assert_status(&head, 101);
}
