//! Group A of the list of hostile inputs, the lines that concern a server speaking HTTP/1, over a raw socket: the status
//! line, the headers that must be there, and that the connection ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fmt::Write;

use common::{
    Running, TEXT, assert_status, close_code, get, header, masked, read_frame, read_head, read_to_end, upgrade, within,
};
use sockeye::OriginPolicy;
use sockeye_server::{Demo, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The upgrade request for the echo with one of its lines replaced.
fn replaced(line: &str, replacement: &str) -> String {
    let request = upgrade("/echo", "");
    let own = request.lines().find(|own| own.starts_with(line)).unwrap();
    let replacement = if replacement.is_empty() { String::new() } else { format!("{replacement}\r\n") };
    request.replacen(&format!("{own}\r\n"), &replacement, 1)
}

#[tokio::test]
async fn a1_other_methods() {
    let server = Running::site();
    for method in ["POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let response = server.ask(upgrade("/echo", "").replacen("GET", method, 1)).await;
        assert_status(&response, 405);
        assert_eq!((header(&response, "allow"), header(&response, "connection")), (Some("GET"), Some("close")));
        assert_eq!(response.ends_with("\r\n\r\n"), method == "HEAD", "the answer to HEAD has no body");
        if method != "HEAD" {
            // Without an upgrade it is a page's path.
            let response = server.ask(get("/echo", "").replacen("GET", method, 1)).await;
            assert_status(&response, 405);
            assert_eq!(header(&response, "allow"), Some("GET, HEAD"));
        }
    }
}

#[tokio::test]
async fn a2_other_versions_of_http() {
    let server = Running::site();
    for (line, status) in [
        ("GET /echo HTTP/1.0", 505),
        ("GET /echo HTTP/1.9", 505),
        ("GET /echo HTTP/2.0", 505),
        ("PRI * HTTP/2.0", 505),
        ("GET /echo", 400),
        ("GET /echo http/1.1", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03", 400),
    ] {
        assert_status(&server.ask(replaced("GET", line)).await, status);
    }
}

#[tokio::test]
async fn a3_hosts() {
    let server = Running::site();
    for host in
        ["", "Host:", "Host: a\r\nHost: a", "Host: a@b", "Host: a:99999", "Host: a:b", "Host: a b", "Host: a\rb"]
    {
        assert_status(&server.ask(replaced("Host", host)).await, 400);
    }
}

/// A plain GET of a demo's path is a page (docs/demos.md), so only a request that asks to upgrade, and does it wrongly, is
/// told how.
#[tokio::test]
async fn a4_upgrade_and_connection() {
    let server = Running::site();
    for connection in ["", "Connection: keep-alive", "Connection: upgraded"] {
        let response = server.ask(replaced("Connection", connection)).await;
        assert_status(&response, 426);
        assert_eq!(header(&response, "upgrade"), Some("websocket"));
    }
    for other in ["", "Upgrade: h2c", "Upgrade: websockets"] {
        let request = replaced("Upgrade", other).replace("Connection: Upgrade", "Connection: Upgrade, close");
        assert_status(&server.ask(request).await, 200);
    }
}

#[tokio::test]
async fn a5_versions_of_websocket() {
    let server = Running::site();
    for version in ["", "8", "0", "013", "13, 8", "13\r\nSec-WebSocket-Version: 13"] {
        let response =
            server.ask(replaced("Sec-WebSocket-Version", &format!("Sec-WebSocket-Version: {version}"))).await;
        assert_status(&response, 426);
        assert_eq!(header(&response, "sec-websocket-version"), Some("13"));
        assert_eq!(header(&response, "connection"), Some("close"));
    }
}

#[tokio::test]
async fn a6_keys() {
    let server = Running::site();
    for key in [
        "",
        "Sec-WebSocket-Key:",
        "Sec-WebSocket-Key: not base64 at all!!!!==",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ] {
        assert_status(&server.ask(replaced("Sec-WebSocket-Key", key)).await, 400);
    }
}

/// "404 (never 101, never a crash)": a proper upgrade on every page's and asset's path, and on paths that are nothing.
#[tokio::test]
async fn a7_upgrades_where_no_websocket_is() {
    let server = Running::site();
    let mut paths: Vec<String> = [
        "/",
        "/favicon.ico",
        "/health",
        "/admin",
        "/metrics",
        "/echo/",
        "/echo/x",
        "/ECHO",
        "/ech%6f",
        "/nope",
        "/assets/",
    ]
    .map(String::from)
    .into();
    for file in ["index.html", "echo.html", "chat.html", "cursors.html", "style.css", "echo.js", "logo.svg", "none.js"]
    {
        paths.push(format!("/assets/{file}"));
    }
    for path in paths {
        assert_status(&server.ask(upgrade(&path, "")).await, 404);
    }
    for path in ["/echo", "/chat", "/cursors", "/echo?x=1"] {
        server.upgraded(path).await;
    }
}

/// "in `sockeye demo`: answers WebSocket at every path".
#[tokio::test]
async fn a_demo_alone_answers_at_every_path() {
    for demo in Demo::ALL {
        let server = Running::demo(demo);
        for path in ["/", "/ws", "/a/b/c", "/assets/style.css", "/health"] {
            server.upgraded(path).await;
        }
    }
}

#[tokio::test]
async fn a8_long_and_many_headers() {
    let server = Running::site();
    let line = |len: usize| format!("X: {}\r\n", "x".repeat(len - 3));
    let many = |count: usize| {
        (0..count).fold(String::new(), |mut all, i| {
            write!(all, "X-{i}: y\r\n").unwrap();
            all
        })
    };
    for more in [line(8 * 1024 + 1), line(8_000).repeat(3), many(96), many(10_000)] {
        assert_status(&server.ask(upgrade("/echo", &more)).await, 431);
    }
    // Five of its own and 95 more are a hundred; one line may have 8 KiB.
    for more in [line(8 * 1024), line(8_000).repeat(2)[..].to_owned(), many(95)] {
        let mut stream = server.raw().await;
        stream.write_all(upgrade("/echo", &more).as_bytes()).await.unwrap();
        assert_status(&read_head(&mut stream).await, 101);
    }
}

#[tokio::test]
async fn a9_long_request_lines() {
    let server = Running::site();
    let path = |len: usize| format!("/echo?{}", "x".repeat(len - "GET /echo? HTTP/1.1".len()));
    assert_status(&server.ask(upgrade(&path(8 * 1024 + 1), "")).await, 414);
    assert_status(&server.ask(upgrade(&path(1_000_000), "")).await, 414);
    let mut stream = server.raw().await;
    stream.write_all(upgrade(&path(8 * 1024), "").as_bytes()).await.unwrap();
    assert_status(&read_head(&mut stream).await, 101);
}

/// A head of 16 KiB, one byte per segment: works.
#[tokio::test]
async fn a11_one_byte_per_segment() {
    let server = Running::site();
    let request = upgrade("/echo", &format!("X: {}\r\n", "x".repeat(7_900)).repeat(2));
    assert!(request.len() > 15_900 && request.len() < 16 * 1024);
    let mut stream = server.raw().await;
    within(async {
        for byte in request.bytes() {
            stream.write_all(&[byte]).await.unwrap();
        }
    })
    .await;
    assert_status(&read_head(&mut stream).await, 101);
}

#[tokio::test]
async fn a12_bytes_that_do_not_belong() {
    let server = Running::site();
    for more in [
        &b"X: \xc3\xa4\r\n"[..],
        b"X: a\0b\r\n",
        b"X: a\r\n folded\r\n",
        b"X: a\nY: b\r\n",
        b"X : a\r\n",
        b": a\r\n",
        b"no colon\r\n",
        b"X: a\rY: b\r\n",
        b"X: \x7f\r\n",
    ] {
        let request = upgrade("/echo", "MARK").into_bytes();
        let at = request.windows(4).position(|window| window == b"MARK").unwrap();
        let request = [&request[..at], more, &request[at + 4..]].concat();
        assert_status(&server.ask(request).await, 400);
    }
}

#[tokio::test]
async fn a13_a14_bodies() {
    let server = Running::site();
    for (more, status) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Content-Length: +1\r\n", 400),
        ("Content-Length: 0x1\r\n", 400),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: identity\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Content-Length: 4\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", 400),
    ] {
        for request in [upgrade("/echo", more), get("/", more)] {
            assert_status(&server.ask(request + "body").await, status);
        }
    }
    let old = get("/", "Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0");
    assert_status(&server.ask(old).await, 400);
}

/// A14: frames right behind a valid upgrade are kept, and are frames only.
#[tokio::test]
async fn a14_early_frames() {
    let server = Running::site();
    let mut stream = server.raw().await;
    let early = [upgrade("/echo", "").as_bytes(), &masked(TEXT, b"early"), &masked(TEXT, b"bird")].concat();
    stream.write_all(&early).await.unwrap();
    assert_status(&read_head(&mut stream).await, 101);
    assert_eq!(read_frame(&mut stream).await.unwrap(), (TEXT, b"early".to_vec()));
    assert_eq!(read_frame(&mut stream).await.unwrap(), (TEXT, b"bird".to_vec()));
}

/// A15: what follows a refused upgrade on the same connection is not answered.
#[tokio::test]
async fn a15_a_request_behind_a_refused_upgrade() {
    let mut options = common::options(Site::Server);
    options.origins = Some(OriginPolicy::list(["https://good.example"]).unwrap());
    let server = Running::start(&options);
    for refused in [
        upgrade("/echo", "Origin: https://evil.example\r\n"),
        replaced("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"),
        replaced("Sec-WebSocket-Key", ""),
        upgrade("/nope", ""),
        get("/nope", ""),
        get("/", "Expect: 100-continue\r\n"),
    ] {
        let response = server.ask(refused + &get("/", "")).await;
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
        assert!(!response.contains("<html"));
    }
}

/// A16: what follows the first upgrade are frames.
#[tokio::test]
async fn a16_two_upgrades() {
    let server = Running::site();
    let mut stream = server.raw().await;
    stream.write_all(upgrade("/echo", "").repeat(2).as_bytes()).await.unwrap();
    assert_status(&read_head(&mut stream).await, 101);
    assert_eq!(close_code(&mut stream).await, Some(1002));
    drop(stream.shutdown().await);
    assert_eq!(read_to_end(&mut stream).await, "");
}

/// A17 and J5: "normalised or 400; never another route's handler"; nothing outside the pages is ever read.
#[tokio::test]
async fn a17_j5_targets() {
    let server = Running::site();
    for path in [
        "//echo",
        "/./echo",
        "/../echo",
        "/x/../echo",
        "/%2e%2e/echo",
        "/x%2f..%2fecho",
        "/echo%00",
        "\\echo",
        "/\\echo",
        "/..%5cecho",
        "c:/echo",
        "echo",
        "*",
        "a:80",
        "http://evil.example/echo",
        "/assets/../index.html",
        "/assets/%2e%2e/%2e%2e/Cargo.toml",
        "/assets//style.css",
        "/assets/..%2f..%2fCargo.toml",
    ] {
        assert_status(&server.ask(upgrade(path, "")).await, 400);
        assert_status(&server.ask(get(path, "")).await, 400);
    }
    for path in [
        "/assets/",
        "/assets/x/style.css",
        "/assets/%2fetc%2fpasswd",
        "/assets/style.css/",
        "/assets/c:/x",
        "/Assets/style.css",
    ] {
        let response = server.ask(get(path, "")).await;
        assert!(response.starts_with("HTTP/1.1 404 ") || response.starts_with("HTTP/1.1 400 "), "{path}: {response}");
    }
    let mut stream = server.raw().await;
    stream.write_all(upgrade("http://a/echo", "").as_bytes()).await.unwrap();
    assert_status(&read_head(&mut stream).await, 101);
}

/// A18, A19 and "subprotocol: `json` selected if offered, none otherwise; a client that offers only others is refused (400)".
#[tokio::test]
async fn a18_a19_subprotocols() {
    let server = Running::site();
    let offer = |names: &str| format!("Sec-WebSocket-Protocol: {names}\r\n");
    for demo in Demo::ALL {
        let path = format!("/{demo}");
        for (more, chosen) in [
            (String::new(), None),
            (offer("json"), Some("json")),
            (offer("mqtt, json"), Some("json")),
            (offer("mqtt") + &offer("json"), Some("json")),
        ] {
            let mut stream = server.raw().await;
            stream.write_all(upgrade(&path, &more).as_bytes()).await.unwrap();
            let head = read_head(&mut stream).await;
            assert_status(&head, 101);
            assert_eq!(header(&head, "sec-websocket-protocol"), chosen);
        }
        let tokens = (0..2_000).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
        for names in
            ["mqtt", "JSON", "json, json", "", ",", "j son", "json,", " ".repeat(7_000).as_str(), &tokens[..8_000]]
        {
            assert_status(&server.ask(upgrade(&path, &offer(names))).await, 400);
        }
    }
}

/// A20: extensions are declined, and only malformed ones refused.
#[tokio::test]
async fn a20_extensions() {
    let server = Running::site();
    for (value, status) in [
        ("permessage-deflate; client_max_window_bits".to_owned(), 101),
        ("x-unknown; a=1; a=2, y".to_owned(), 101),
        (format!("x; a=\"{}", "\\c".repeat(4_000)), 400),
        ("x;;".to_owned(), 400),
    ] {
        let mut stream = server.raw().await;
        let request = upgrade("/echo", &format!("Sec-WebSocket-Extensions: {value}\r\n"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert_status(&head, status);
        assert_eq!(header(&head, "sec-websocket-extensions"), None);
    }
}

#[tokio::test]
async fn a21_expect_trace_connect() {
    let server = Running::site();
    assert_status(&server.ask(upgrade("/echo", "Expect: 100-continue\r\n")).await, 417);
    assert_status(&server.ask(get("/", "Expect: 100-continue\r\n")).await, 417);
    assert_status(&server.ask(get("/", "").replace("GET", "TRACE")).await, 405);
    assert_status(&server.ask("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n").await, 405);
}

/// A22: nobody here is a configured proxy.
#[tokio::test]
async fn a22_forwarding_headers_mean_nothing() {
    let server = Running::site();
    let mut stream = server.raw().await;
    let more = format!("X-Forwarded-For: {}::bad\r\nForwarded: for=\"[::1\r\n", "127.0.0.1, ".repeat(600));
    stream.write_all(upgrade("/echo", &more).as_bytes()).await.unwrap();
    assert_status(&read_head(&mut stream).await, 101);
}

/// F1, F2: "403 unless exactly listed"; no Origin is no browser.
#[tokio::test]
async fn f1_f2_origins() {
    let mut options = common::options(Site::Server);
    options.origins = Some(OriginPolicy::list(["https://good.example", "https://bücher.example:8443"]).unwrap());
    let server = Running::start(&options);
    for (origin, status) in [
        ("", 101),
        ("Origin: https://good.example", 101),
        ("Origin: HTTPS://GOOD.example", 101),
        ("Origin: https://good.example:443", 101),
        ("Origin: https://xn--bcher-kva.example:8443", 101),
        ("Origin: null", 403),
        ("Origin:", 403),
        ("Origin: https://evil.example", 403),
        ("Origin: http://good.example", 403),
        ("Origin: https://good.example:444", 403),
        ("Origin: https://good.example.evil.com", 403),
        ("Origin: https://evilgood.example", 403),
        ("Origin: https://good.example@evil.com", 403),
        ("Origin: https://good.example/", 403),
        ("Origin: https://good.example, https://evil.com", 403),
        ("Origin: https://good.example\r\nOrigin: https://good.example", 400),
    ] {
        for demo in Demo::ALL {
            let more = if origin.is_empty() { String::new() } else { format!("{origin}\r\nCookie: session=valid\r\n") };
            let mut stream = server.raw().await;
            stream.write_all(upgrade(&format!("/{demo}"), &more).as_bytes()).await.unwrap();
            let mut start = [0; 12];
            within(stream.read_exact(&mut start)).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&start), format!("HTTP/1.1 {status}"), "{origin}");
        }
    }
}
