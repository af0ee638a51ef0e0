//! Peers that take their time, on the real clock: these tests wait for the server's own limits of 10 s.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use common::{
    Running, TEXT, assert_status, get, masked, read_to_end, recv_json,
    tls::{BOTH, Folder, connect, encrypt, trusting},
    upgrade,
};
use serde_json::Value;
use sockeye::{Transport, WebSocket};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{interval, timeout},
};

/// A10: a byte a second, from 500 at once: each is told 408 and closed at 10 s, and others are served meanwhile.
#[tokio::test]
async fn a10_slowloris() {
    let server = Running::site();
    let mut slow = JoinSet::new();
    for i in 0..500 {
        let stream = server.raw().await;
        slow.spawn(crawl(stream, i % 2 == 0));
    }
    let healthy = async {
        let mut socket = server.connect("/echo").await;
        let mut most = Duration::ZERO;
        for _ in 0..80 {
            let start = Instant::now();
            socket.send("x").await.unwrap();
            socket.recv().await.unwrap();
            most = most.max(start.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("A10: an echo took at most {most:?} beside 500 slow connections");
        assert!(most < Duration::from_secs(1));
    };
    timeout(Duration::from_secs(30), healthy).await.unwrap();
    timeout(Duration::from_secs(30), slow.join_all()).await.unwrap();
}

async fn crawl(mut stream: TcpStream, says_something: bool) {
    let start = Instant::now();
    let (mut reading, mut writing) = stream.split();
    let crawling = async {
        let mut ticks = interval(Duration::from_secs(1));
        let request = upgrade("/echo", "");
        for byte in request.bytes() {
            ticks.tick().await;
            if says_something && writing.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut answer) => {}
        () = crawling => {}
    }
    let took = start.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(13)).contains(&took), "{took:?}");
    let answer = String::from_utf8(answer).unwrap();
    // Whoever said nothing is no client yet, and gets no answer.
    if says_something { assert_status(&answer, 408) } else { assert_eq!(answer, "") }
}

/// A24: TLS and the first request share one deadline: whoever has no request by 10 s is closed, wherever it got stuck.
#[tokio::test]
async fn a24_stalled_handshakes() {
    const CLOSE_NOTIFY: &[u8] = &[21, 3, 3, 0, 2, 1, 0];
    let folder = Folder::new();
    let certificate = folder.issue();
    let server = Running::start(&folder.options());
    let mut stalled = JoinSet::new();
    for start in [&b""[..], CLOSE_NOTIFY, &[22, 3, 1, 0x02], &[22, 3, 1, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 3, 3]] {
        let mut stream = server.raw().await;
        stalled.spawn(async move {
            let began = Instant::now();
            stream.write_all(start).await.unwrap();
            read_to_end(&mut stream).await;
            began.elapsed()
        });
    }
    let mut silent = encrypt(&server, trusting(&certificate, BOTH, &[])).await.unwrap();
    stalled.spawn(async move {
        let began = Instant::now();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut Vec::new()).await;
        began.elapsed()
    });
    for took in timeout(Duration::from_secs(30), stalled.join_all()).await.unwrap() {
        assert!((Duration::from_secs(9)..Duration::from_secs(12)).contains(&took), "{took:?}");
    }
}

/// Nobody has to tell the server that there is a new certificate: it looks every 5 s.
#[tokio::test]
async fn new_certificates_are_noticed() {
    let folder = Folder::new();
    let old = folder.issue();
    let server = Running::start(&folder.options());
    connect(&server, &old, "/echo").await;
    let new = folder.issue();
    let noticed = async {
        let mut ticks = interval(Duration::from_millis(100));
        while encrypt(&server, trusting(&new, BOTH, &[])).await.is_err() {
            ticks.tick().await;
        }
    };
    timeout(Duration::from_secs(15), noticed).await.unwrap();
}

/// A10: half a preface of HTTP/2 is as late as half a request.
#[tokio::test]
async fn a10_half_a_preface() {
    let server = Running::site();
    let mut stream = server.raw().await;
    let start = Instant::now();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.unwrap();
    read_to_end(&mut stream).await;
    let took = start.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(13)).contains(&took), "{took:?}");
}

/// R5: an answer that nobody takes is given up like a request that nobody finishes.
#[tokio::test]
async fn r5_pages_that_nobody_reads() {
    let server = Running::site();
    let mut stream = narrow(server.address).await;
    stream.write_all(get("/assets/style.css", "").repeat(900).as_bytes()).await.unwrap();
    let start = Instant::now();
    let given_up = async {
        let mut ticks = interval(Duration::from_millis(200));
        // Nothing is read here, so a write is what notices.
        while stream.write_all(b"x").await.is_ok() {
            ticks.tick().await;
        }
    };
    timeout(Duration::from_secs(25), given_up).await.unwrap();
    let took = start.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(14)).contains(&took), "{took:?}");
}

/// E1: a member of the cursors that never reads. The others lose nothing; it is gone about 10 s after the last byte left.
#[tokio::test]
async fn e1_a_member_that_never_reads() {
    const MEMBERS: usize = 3;
    const EACH: usize = 450;
    let server = Running::site();
    let mut deaf = narrow(server.address).await;
    deaf.write_all(upgrade("/cursors", "").as_bytes()).await.unwrap();
    deaf.write_all(&masked(TEXT, br#"{"x":0,"y":0,"deaf":true}"#)).await.unwrap();
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(server.connect("/cursors").await);
    }
    // Larger than any kernel's send buffer, in messages of almost 4 KiB.
    let position = serde_json::json!({ "x": 1, "y": 2, "pad": "x".repeat(3_900) }).to_string();
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for socket in members {
        let position = position.clone();
        tasks.spawn(async move {
            let mut socket: WebSocket<Transport> = socket;
            for _ in 0..EACH {
                socket.feed(position.clone()).await.unwrap();
            }
            let (mut heard, mut gone) = (0, None);
            while heard < MEMBERS * EACH || gone.is_none() {
                let value: Value = recv_json_slowly(&mut socket).await;
                heard += usize::from(value["pad"].is_string());
                if value["gone"] == true {
                    gone = Some(start.elapsed());
                }
            }
            (heard, gone.unwrap())
        });
    }
    let results = timeout(Duration::from_secs(40), tasks.join_all()).await.unwrap();
    for (heard, gone) in results {
        assert_eq!(heard, MEMBERS * EACH);
        assert!((Duration::from_secs(9)..Duration::from_secs(25)).contains(&gone), "{gone:?}");
    }
    assert!(!read_to_end(&mut deaf).await.is_empty());
    let mut fresh = server.connect("/cursors").await;
    fresh.send(r#"{"x":1,"y":1}"#).await.unwrap();
    assert_eq!(recv_json(&mut fresh).await["x"], 1);
}

async fn recv_json_slowly(socket: &mut WebSocket<Transport>) -> Value {
    let message = timeout(Duration::from_secs(30), socket.recv()).await.unwrap();
    serde_json::from_str(message.unwrap().expect("who reads stays").as_text().unwrap()).unwrap()
}

/// A connection whose kernel holds little of what is not read.
async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(address).await.unwrap()
}
