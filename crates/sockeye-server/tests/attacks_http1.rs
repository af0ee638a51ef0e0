//! Hostile requests against a running server, over raw sockets: group A of the attack list, status line by status line.
//! What can be said without a server is in `sockeye-proto/tests/handshake_server.rs`.
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use sockeye_server::{Demo, Server, ServerOptions, Site};

/// For anything a server answers at once.
const SOON: Duration = Duration::from_secs(8);
const UPGRADE: &str = "Host: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn start(site: Site) -> Server {
    let mut options = ServerOptions::new(site);
    options.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    options.workers = 1;
    Server::start(&options).expect("a free port")
}

/// Sends `request` and reads until the server ends the connection.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    // The server may answer and close before it has read all of it.
    let _ = stream.write_all(request);
    let mut response = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        response.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&response).into_owned()
}

fn status(response: &str) -> u16 {
    response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok()).unwrap_or(0)
}

#[test]
fn each_hostile_request_has_its_status_and_ends_the_connection() {
    let server = start(Site::Server);
    let upgrade = format!("{UPGRADE}{KEY}");
    let get = |headers: &str| format!("GET /echo HTTP/1.1\r\n{headers}\r\n");
    let cases: Vec<(&str, u16, String)> = vec![
        ("A1 another method", 405, format!("POST /echo HTTP/1.1\r\n{upgrade}\r\n")),
        ("A1 another method, no upgrade", 405, "DELETE /chat HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("A2 HTTP/1.0", 505, format!("GET /echo HTTP/1.0\r\n{upgrade}\r\n")),
        ("A2 HTTP/0.9", 400, "GET /echo\r\n\r\n".into()),
        ("A3 no Host", 400, "GET / HTTP/1.1\r\n\r\n".into()),
        ("A3 two Hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into()),
        ("A3 user in Host", 400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".into()),
        ("A4 Connection without upgrade", 426, get(&upgrade.replace("Connection: Upgrade", "Connection: close"))),
        ("A5 version 8", 426, get(&upgrade.replace("Version: 13", "Version: 8"))),
        ("A5 version twice", 426, get(&format!("{upgrade}Sec-WebSocket-Version: 13\r\n"))),
        ("A6 no key", 400, get(UPGRADE)),
        ("A6 key of 15 bytes", 400, get(&format!("{UPGRADE}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n"))),
        ("A6 key twice", 400, get(&format!("{upgrade}{KEY}"))),
        ("A7 unknown path", 404, format!("GET /nowhere HTTP/1.1\r\n{upgrade}\r\n")),
        ("A7 a page", 404, format!("GET / HTTP/1.1\r\n{upgrade}\r\n")),
        ("A7 an asset", 404, format!("GET /assets/style.css HTTP/1.1\r\n{upgrade}\r\n")),
        ("A8 a header line of 8 KiB + 1", 431, get(&format!("Host: a\r\nX: {}\r\n", "x".repeat(8 * 1024)))),
        ("A8 101 headers", 431, get(&format!("Host: a\r\n{}", "X: y\r\n".repeat(100)))),
        ("A8 10,000 headers", 431, get(&format!("Host: a\r\n{}", "X: y\r\n".repeat(10_000)))),
        ("A9 a request line of 8 KiB + 1", 414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8 * 1024))),
        ("A9 a URL of 1 MB", 414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1 << 20))),
        ("A12 a bare line feed", 400, "GET / HTTP/1.1\nHost: a\n\n".into()),
        ("A12 a folded header", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n".into()),
        ("A12 white space before the colon", 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n".into()),
        ("A12 NUL", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n".into()),
        ("A13 length and encoding", 400, get("Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n")),
        ("A13 a signed length", 400, get("Host: a\r\nContent-Length: +1\r\n")),
        ("A13 chunked twice", 400, get("Host: a\r\nTransfer-Encoding: chunked, chunked\r\n")),
        ("A14 a body before the upgrade", 400, get(&format!("{upgrade}Content-Length: 2\r\n")) + "hi"),
        ("A17 dot segments", 400, "GET /assets/../secret HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("A17 encoded dot segments", 400, "GET /%2e%2e/secret HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("A17 two slashes", 400, "GET //echo HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("A17 a backslash", 400, "GET /..\\secret HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("A18 a subprotocol twice", 400, get(&format!("{upgrade}Sec-WebSocket-Protocol: json, json\r\n"))),
        ("A21 Expect", 417, get(&format!("{upgrade}Expect: 100-continue\r\n"))),
        ("A21 TRACE", 405, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("J5 an unknown asset", 404, "GET /assets/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into()),
        ("J6 no listing", 404, "GET /assets/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into()),
    ];
    for (name, expected, request) in cases {
        // A15: what follows a refusal on the same connection is not answered.
        let request = request + "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let response = exchange(server.address(), request.as_bytes());
        assert_eq!(status(&response), expected, "{name}: {response}");
        assert!(!response.contains("HTTP/1.1 200"), "{name}: {response}");
    }
    server.stop();
}

#[test]
fn refusals_carry_the_headers_that_say_what_would_be_right() {
    let server = start(Site::Demo(Demo::Echo));
    let refused = |request: String| exchange(server.address(), request.as_bytes()).to_ascii_lowercase();
    let method = refused(format!("POST / HTTP/1.1\r\n{UPGRADE}{KEY}\r\n"));
    assert!(method.contains("\r\nallow: get"), "{method}");
    let version = refused(format!("GET / HTTP/1.1\r\n{UPGRADE}{KEY}\r\n").replace("Version: 13", "Version: 0"));
    assert!(version.contains("\r\nsec-websocket-version: 13\r\n") && version.contains("\r\nconnection: close\r\n"));
    server.stop();
}

/// A11: a head of one byte per write, and A14: frames that follow a valid upgrade at once are frames.
#[test]
fn a_slow_head_and_early_frames_are_taken() {
    let server = start(Site::Server);
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    for byte in format!("GET /echo HTTP/1.1\r\n{UPGRADE}{KEY}\r\n").as_bytes() {
        stream.write_all(&[*byte]).expect("written");
    }
    // Masked with a key of zeroes, which is allowed (B6): "hi", then a Close with 1000.
    stream.write_all(b"\x81\x82\0\0\0\0hi\x88\x82\0\0\0\0\x03\xe8").expect("written");
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    let text = String::from_utf8_lossy(&response);
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    assert!(response.ends_with(b"\x81\x02hi\x88\x02\x03\xe8"), "{response:?}");
    server.stop();
}

/// A16: what is pipelined behind an upgrade is frames, and a second request is none: 1002.
#[test]
fn a_second_request_behind_an_upgrade_is_a_protocol_error() {
    let server = start(Site::Server);
    let request = format!("GET /echo HTTP/1.1\r\n{UPGRADE}{KEY}\r\n").repeat(2);
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("written");
    let mut response = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        response.extend_from_slice(&buffer[..count]);
    }
    let close = response.windows(4).position(|at| at[0] == 0x88 && at[2..] == [0x03, 0xea]);
    assert!(close.is_some(), "{:?}", String::from_utf8_lossy(&response));
    server.stop();
}

/// Several pages on one connection, without a body for HEAD, and unchanged ones not again.
#[test]
fn pages_keep_their_connection() {
    let server = start(Site::Server);
    let page = exchange(server.address(), b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let tag = page.lines().find_map(|line| line.strip_prefix("Etag: ")).expect("an entity tag");
    assert!(page.contains("Content-Security-Policy: default-src 'self'"), "{page}");
    let requests = format!(
        "HEAD /chat HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /chat HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n\
         GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    );
    let responses = exchange(server.address(), requests.as_bytes());
    let codes: Vec<u16> = responses.split("HTTP/1.1 ").skip(1).filter_map(|r| r.get(..3)?.parse().ok()).collect();
    assert_eq!(codes, [200, 304, 200], "{responses}");
    assert!(!responses.contains("<html"), "{responses}");
    server.stop();
}
