//! The server's half of the opening handshake: what it refuses, with which status, and what it takes.
//!
//! The names begin with the line of the list of hostile inputs, or with the section of the RFC, that a test is for.

use bytes::BytesMut;
use http::{Request, Version};
use sockeye_proto::handshake::{
    BodyLength, HandshakeLimits, Offer, ReadRequest, Refusal, RequestProgress, Subprotocol, SubprotocolPolicy,
    is_upgrade, write_response,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Feeds everything at once.
fn read(head: impl AsRef<[u8]>) -> Result<(Request<()>, Vec<u8>), Refusal> {
    read_with(HandshakeLimits::default(), head)
}

fn read_with(limits: HandshakeLimits, head: impl AsRef<[u8]>) -> Result<(Request<()>, Vec<u8>), Refusal> {
    match ReadRequest::new(limits).handle_input(head.as_ref())? {
        RequestProgress::Done { request, rest } => Ok((request, rest.to_vec())),
        RequestProgress::More(_) => panic!("the head is not whole"),
    }
}

/// The upgrade request of the RFC with one of its lines replaced (by several, or by none).
fn upgrade(line: &str, replacement: &str) -> String {
    let mut text = String::from("GET /chat HTTP/1.1\r\n");
    let lines = [
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ];
    for own in lines {
        let chosen = if !line.is_empty() && own.starts_with(line) { replacement } else { own };
        if !chosen.is_empty() {
            text.push_str(chosen);
            text.push_str("\r\n");
        }
    }
    if line.is_empty() && !replacement.is_empty() {
        text.push_str(replacement);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

fn read_lenient(head: &str) -> Result<Request<()>, Refusal> {
    match ReadRequest::lenient(HandshakeLimits::default()).handle_input(head.as_bytes())? {
        RequestProgress::Done { request, .. } => Ok(request),
        RequestProgress::More(_) => panic!("the head is whole"),
    }
}

fn offer(line: &str, replacement: &str) -> Result<Offer, Refusal> {
    Offer::check(&read(upgrade(line, replacement))?.0)
}

#[track_caller]
fn assert_refused<T>(result: Result<T, Refusal>, status: u16, code: &str) -> Refusal {
    let Err(refusal) = result else { panic!("taken, not refused with {status} {code}") };
    assert_eq!((refusal.status().as_u16(), refusal.code()), (status, code));
    let response = refusal.response();
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(response.headers()["content-length"], refusal.body().len().to_string().as_str());
    refusal
}

#[track_caller]
fn assert_head_refused(head: impl AsRef<[u8]>, status: u16, code: &str) {
    assert_refused(read(head), status, code);
}

/// A page's request with these header lines.
fn page(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn rfc_6455_section_1_2_example() {
    let head = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let (request, rest) = read(head).unwrap();
    assert!(rest.is_empty() && is_upgrade(&request));
    let offer = Offer::check(&request).unwrap();
    assert_eq!(
        (offer.host(), offer.origin(), offer.key()),
        ("server.example.com", Some("http://example.com"), Some(KEY))
    );
    assert_eq!(offer.subprotocols(), ["chat", "superchat"]);
    let policy = SubprotocolPolicy::optional([Subprotocol::new("chat").unwrap()]);
    let accepted = offer.accept(offer.select(&policy).unwrap()).unwrap();
    let mut out = BytesMut::new();
    write_response(&accepted.response, b"", &mut out);
    assert_eq!(
        out,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
}

#[test]
fn rfc_6455_section_4_2_1_names_and_tokens_have_no_case_and_lists_are_searched() {
    for (line, replacement) in [
        ("Upgrade", "UPGRADE: WebSocket"),
        ("Upgrade", "Upgrade: h2c, websocket"),
        ("Upgrade", "Upgrade: h2c\r\nUpgrade: websocket"),
        ("Connection", "connection: keep-alive, UPGRADE"),
        ("Connection", "Connection: keep-alive\r\nConnection:\tupgrade\t"),
        ("Sec-WebSocket-Key", "sec-websocket-key:dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Version:   13  "),
        ("", "Content-Length: 0"),
        ("", "Cookie: a=\"b\"; c=d\tx"),
    ] {
        assert!(offer(line, replacement).is_ok(), "{replacement}");
    }
}

#[test]
fn more_headers_may_be_added_to_the_101() {
    let mut accepted = offer("", "").unwrap().accept(None).unwrap();
    accepted.response.headers_mut().insert("set-cookie", "a=b".parse().unwrap());
    let mut out = BytesMut::new();
    write_response(&accepted.response, b"", &mut out);
    assert!(out.ends_with(b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: a=b\r\n\r\n"));
}

#[test]
fn a01_other_methods() {
    for method in ["POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "get", "FOO"] {
        let head = upgrade("", "").replace("GET", method);
        let refusal = assert_refused(Offer::check(&read(head).unwrap().0), 405, "method_not_allowed");
        assert_eq!(refusal.response().headers()["allow"], "GET");
        // What follows the head of an answer to HEAD would be taken for the next answer.
        assert_eq!(refusal.body().is_empty(), method == "HEAD");
    }
}

#[test]
fn a02_other_versions_of_http() {
    for (line, status, code) in [
        ("GET / HTTP/1.0\r\n", 505, "bad_http_version"),
        ("GET / HTTP/1.9\r\n", 505, "bad_http_version"),
        ("GET / HTTP/2.0\r\n", 505, "bad_http_version"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "bad_http_version"),
        ("GET /\r\n", 400, "bad_start_line"),
        ("GET / http/1.1\r\n", 400, "bad_start_line"),
        ("GET / HTTP/1.1 \r\n", 400, "bad_start_line"),
        ("GET / HTTP/11\r\n", 400, "bad_start_line"),
        ("GET  / HTTP/1.1\r\n", 400, "bad_start_line"),
        ("GET / /x HTTP/1.1\r\n", 400, "bad_start_line"),
        (" GET / HTTP/1.1\r\n", 400, "bad_start_line"),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_start_line"),
        ("GET\t/ HTTP/1.1\r\n", 400, "bad_byte"),
        // A TLS greeting on a port without TLS.
        ("\x16\x03\x01\x02", 400, "bad_byte"),
    ] {
        assert_head_refused(line, status, code);
    }
    let mut request = read(upgrade("", "")).unwrap().0;
    *request.version_mut() = Version::HTTP_10;
    assert_refused(Offer::check(&request), 505, "bad_http_version");
}

#[test]
fn a03_exactly_one_valid_host() {
    for host in [
        "",
        "Host:",
        "Host: ",
        "Host: a\r\nHost: a",
        "Host: a\r\nHost: b",
        "Host: u@a",
        "Host: a:b",
        "Host: a:65536",
        "Host: a:",
        "Host: a b",
        "Host: a/b",
        "Host: a, b",
        "Host: [::1",
        "Host: http://a",
        "Host: \"a\"",
        "Host: <a>",
    ] {
        let head = upgrade("Host", host);
        assert_head_refused(head.replace("\r\n\r\n\r\n", "\r\n\r\n"), 400, "bad_host");
    }
    assert_head_refused(upgrade("Host", "Host: a\rb"), 400, "bare_cr");
    for host in ["a", "A.example:1", "[::1]:7071", "127.0.0.1:7071", "localhost", "my_service"] {
        assert_eq!(offer("Host", &format!("Host: {host}")).unwrap().host(), host);
    }
    // What another HTTP server let through is checked again.
    let request = Request::get("/").header("upgrade", "websocket").body(()).unwrap();
    assert_refused(Offer::check(&request), 400, "bad_host");
}

#[test]
fn a04_upgrade_or_connection_missing() {
    for (line, replacement) in [
        ("Upgrade", ""),
        ("Upgrade", "Upgrade: h2c"),
        ("Upgrade", "Upgrade: websocket/13"),
        ("Upgrade", "Upgrade:"),
        ("Connection", ""),
        ("Connection", "Connection: close"),
        ("Connection", "Connection: upgraded"),
        ("Connection", "Connection: keep-alive"),
    ] {
        let refusal = assert_refused(offer(line, replacement), 426, "upgrade_required");
        assert_eq!(refusal.response().headers()["upgrade"], "websocket");
    }
}

#[test]
fn a05_websocket_version_other_than_13() {
    for version in ["", "8", "0", " ", "13, 8", "8, 13", "013", "+13", "13.0", "255", "13\r\nSec-WebSocket-Version: 13"]
    {
        let line = if version.is_empty() { String::new() } else { format!("Sec-WebSocket-Version: {version}") };
        let refusal = assert_refused(offer("Sec-WebSocket-Version", &line), 426, "bad_websocket_version");
        assert_eq!(refusal.response().headers()["sec-websocket-version"], "13");
        assert_eq!(refusal.response().headers()["upgrade"], "websocket");
    }
}

#[test]
fn a06_key() {
    let repeated = format!("{KEY}\r\nSec-WebSocket-Key: {KEY}");
    for key in [
        "",
        " ",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZTE=",
        "dGhlIHNhbXBsZSBub25jZR==",
        "dGhl IHNhbXBsZSBub25jZQ==",
        "////////////////////////",
        &repeated,
    ] {
        let line = if key.is_empty() { String::new() } else { format!("Sec-WebSocket-Key: {key}") };
        assert_refused(offer("Sec-WebSocket-Key", &line), 400, "bad_key");
    }
}

#[test]
fn a07_a_request_without_upgrade_is_a_page_and_never_an_offer() {
    let (request, _) = read("GET /assets/app.css HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(!is_upgrade(&request));
    assert_refused(Offer::check(&request), 426, "upgrade_required");
    let (request, _) = read("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n").unwrap();
    assert!(!is_upgrade(&request));
    // The answer for an upgrade where nothing is served.
    assert_refused::<()>(Err(Refusal::not_found()), 404, "not_found");
}

#[test]
fn a08_header_limits_hold_as_soon_as_they_are_crossed() {
    let line_of = |length: usize| format!("X: {}\r\n", "x".repeat(length - 3));
    assert!(read(page(&line_of(8192))).is_ok());
    assert_head_refused(page(&line_of(8193)), 431, "header_too_long");
    // No need to end the line.
    assert_head_refused(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(8190)), 431, "header_too_long");

    // "GET / HTTP/1.1", "Host: a" and the empty line take 16 + 9 + 2 bytes.
    let fill = |total: usize| page(&(line_of(8192) + &line_of(total - 27 - 8194 - 2)));
    assert_eq!(fill(16_384).len(), 16_384);
    assert!(read(fill(16_384)).is_ok());
    assert_head_refused(fill(16_385), 431, "head_too_long");

    assert!(read(page(&"X: y\r\n".repeat(99))).is_ok());
    assert_head_refused(page(&"X: y\r\n".repeat(100)), 431, "too_many_headers");
    assert_head_refused(format!("GET / HTTP/1.1\r\n{}X", "X: y\r\n".repeat(100)), 431, "too_many_headers");
    assert_head_refused(page(&"X:\r\n".repeat(10_000)), 431, "too_many_headers");
}

#[test]
fn a08_a_limit_of_zero_is_no_limit_lifted() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (index, status) in [(0, 414), (1, 431), (2, 414), (3, 431)] {
        let mut limits = HandshakeLimits::default();
        match index {
            0 => limits.max_request_line = 0,
            1 => limits.max_header_line = 0,
            2 => limits.max_head = 0,
            _ => limits.max_headers = 0,
        }
        assert_eq!(read_with(limits, head).unwrap_err().status(), status, "{index}");
    }
}

#[test]
fn a09_request_line_limit() {
    let line_of = |length: usize| format!("GET /{} HTTP/1.1", "x".repeat(length - 14));
    assert!(read(line_of(8192) + "\r\nHost: a\r\n\r\n").is_ok());
    assert_head_refused(line_of(8193) + "\r\nHost: a\r\n\r\n", 414, "start_line_too_long");
    assert_head_refused(format!("GET /{}", "x".repeat(1 << 20)), 414, "start_line_too_long");
}

#[test]
fn a10_when_the_time_is_over_a_started_request_gets_408() {
    let silent = ReadRequest::new(HandshakeLimits::default());
    assert!(silent.handle_timeout().is_none());
    let RequestProgress::More(slow) = ReadRequest::new(HandshakeLimits::default()).handle_input(b"G").unwrap() else {
        panic!()
    };
    assert_refused::<()>(Err(slow.handle_timeout().unwrap()), 408, "timeout");
}

#[test]
fn a11_one_byte_at_a_time_and_16_kib() {
    let lines = format!("X: {}\r\n", "x".repeat(1017)).repeat(15);
    let head = upgrade("", &format!("{lines}Y: z"));
    assert!(head.len() > 15 * 1024);
    let mut reading = ReadRequest::new(HandshakeLimits::default());
    let (last, init) = head.as_bytes().split_last().unwrap();
    for byte in init {
        let RequestProgress::More(next) = reading.handle_input(&[*byte]).unwrap() else { panic!("too early") };
        reading = next;
    }
    let RequestProgress::Done { request, .. } = reading.handle_input(&[*last]).unwrap() else {
        panic!("not at the end")
    };
    assert!(Offer::check(&request).is_ok());
}

#[test]
fn a12_bytes_and_lines_that_are_not_http() {
    for (head, code) in [
        (page("X: \u{e9}\r\n"), "bad_byte"),
        (page("X: a\0b\r\n"), "bad_byte"),
        (page("X: a\x7fb\r\n"), "bad_byte"),
        (page("X: a\x1b[2Jb\r\n"), "bad_byte"),
        (page("X: a\r\n b\r\n"), "folded_header"),
        (page("X: a\r\n\tb\r\n"), "folded_header"),
        (page("X: a\nY: b\r\n"), "bare_lf"),
        (page("X: a\rY: b\r\n"), "bare_cr"),
        (page("X: a\r\r\n"), "bare_cr"),
        (page("X : a\r\n"), "bad_header"),
        (page("X\t: a\r\n"), "bad_header"),
        (page("X\r\n"), "bad_header"),
        (page(": a\r\n"), "bad_header"),
        (page("X@: a\r\n"), "bad_header"),
        ("GET / HTTP/1.1\nHost: a\n\n".into(), "bare_lf"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n".into(), "folded_header"),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".into(), "bad_byte"),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n".into(), "bad_byte"),
    ] {
        assert_head_refused(head, 400, code);
    }
}

#[test]
fn rfc_9112_section_2_2_one_empty_line_before_the_request_is_ignored() {
    assert!(read("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    assert_head_refused("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_start_line");
    assert_head_refused("\nGET / HTTP/1.1\r\n", 400, "bare_lf");
}

#[test]
fn a13_two_meanings_of_one_length() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (lines, status, code) in [
        (format!("Content-Length: 1\r\n{chunked}"), 400, "length_and_encoding"),
        (format!("{chunked}Content-Length: 0\r\n"), 400, "length_and_encoding"),
        ("Content-Length: +1\r\n".into(), 400, "bad_content_length"),
        ("Content-Length: -1\r\n".into(), 400, "bad_content_length"),
        ("Content-Length: 0x1\r\n".into(), 400, "bad_content_length"),
        ("Content-Length: 1 1\r\n".into(), 400, "bad_content_length"),
        ("Content-Length: 1, 1\r\n".into(), 400, "bad_content_length"),
        ("Content-Length:\r\n".into(), 400, "bad_content_length"),
        ("Content-Length: 18446744073709551616\r\n".into(), 400, "bad_content_length"),
        ("Content-Length: 1\r\nContent-Length: 2\r\n".into(), 400, "bad_content_length"),
        ("Content-Length: 1\r\nContent-Length: 1\r\n".into(), 400, "bad_content_length"),
        ("Transfer-Encoding: chunked, chunked\r\n".into(), 400, "bad_transfer_encoding"),
        (chunked.repeat(2), 400, "bad_transfer_encoding"),
        ("Transfer-Encoding: chunked, gzip\r\n".into(), 400, "bad_transfer_encoding"),
        ("Transfer-Encoding: gzip\r\n".into(), 400, "bad_transfer_encoding"),
        ("Transfer-Encoding: identity\r\n".into(), 400, "bad_transfer_encoding"),
        ("Transfer-Encoding:\r\n".into(), 400, "bad_transfer_encoding"),
        ("Transfer-Encoding: xchunked\r\n".into(), 400, "bad_transfer_encoding"),
        ("Transfer-Encoding: ,chunked\r\n".into(), 400, "bad_transfer_encoding"),
        // RFC 9112 section 6.1: a coding that is not known gets 501.
        ("Transfer-Encoding: gzip, chunked\r\n".into(), 501, "unknown_transfer_coding"),
    ] {
        assert_head_refused(page(&lines), status, code);
    }
    assert_head_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 505, "bad_http_version");

    let length = |lines: &str| BodyLength::of(read(page(lines)).unwrap().0.headers()).unwrap();
    assert_eq!(length(""), BodyLength::Absent);
    assert_eq!(length("Content-Length: 007\r\n"), BodyLength::Known(7));
    assert_eq!(length("Transfer-Encoding: Chunked\r\n"), BodyLength::Chunked);
}

#[test]
fn a14_a_body_before_the_upgrade() {
    assert_refused(offer("", "Content-Length: 1"), 400, "body_announced");
    assert_refused(offer("", "Transfer-Encoding: chunked"), 400, "body_announced");
}

#[test]
fn a14_a16_bytes_after_the_head_are_kept_apart() {
    let second = upgrade("", "");
    let (_, rest) = read(upgrade("", "") + &second).unwrap();
    // They are frames now, and these make bad ones.
    assert_eq!(rest, second.as_bytes());
}

#[test]
fn a15_every_refusal_closes_the_connection_and_says_its_length() {
    let mut out = BytesMut::new();
    offer("Upgrade", "").unwrap_err().write_to(&mut out);
    let text = String::from_utf8(out.to_vec()).unwrap();
    assert_eq!(
        text,
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: close\r\nContent-Length: 31\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nthis path speaks WebSocket only"
    );
    let own = Refusal::with_status(http::StatusCode::FORBIDDEN)
        .header(http::header::CONNECTION, "keep-alive".parse().unwrap())
        .header(http::header::CONTENT_LENGTH, "9".parse().unwrap())
        .header(http::header::TRANSFER_ENCODING, "chunked".parse().unwrap())
        .reason_text("not today");
    assert_refused::<()>(Err(own.clone()), 403, "refused");
    assert!(!own.response().headers().contains_key("transfer-encoding"));
    assert_eq!(own.body(), "not today");
    assert_eq!(own.to_string(), "handshake refused with 403: not today");
    // A refusal that says "switching protocols" is none.
    assert_eq!(Refusal::with_status(http::StatusCode::SWITCHING_PROTOCOLS).status(), 500);
}

#[test]
fn a17_targets() {
    let with_target = |target: &str| read(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
    for target in [
        "*",
        "a.example:80",
        "//",
        "/a//b",
        "/..",
        "/%2e%2e/x",
        "/a/%2E%2e",
        "/..%2fx",
        "/..%5cx",
        "/%00",
        "/a\\b",
        "a",
        "http://b.example/",
        "ftp://a.example/",
        "http://u@a.example/",
        "/x#y",
        "/%",
        "/%0a",
    ] {
        assert_refused(with_target(target), 400, "bad_target");
    }
    for (target, expected) in [
        ("/ws", "/ws"),
        ("/ws?a=//../%00\\", "/ws?a=//../%00\\"),
        ("http://a.example", "/"),
        ("HTTP://A.example/ws?x=1", "/ws?x=1"),
    ] {
        assert_eq!(with_target(target).unwrap().0.uri().to_string(), expected, "{target}");
    }
}

#[test]
fn a18_subprotocol_lists() {
    let line = |value: &str| offer("", &format!("Sec-WebSocket-Protocol: {value}"));
    let spaces = " ".repeat(8000);
    let many = vec!["a"; 4000].join(",");
    let different = (0..=Subprotocol::MAX_OFFERED).map(|n| format!("p{n}")).collect::<Vec<_>>().join(",");
    let long = "x".repeat(Subprotocol::MAX_LENGTH + 1);
    for value in [
        "", &spaces, &many, &different, &long, "a,a", "a, b, a", "a,,b", ",a", "a,", "a b", "a/b", "a;b", "\"a\"",
        "a=b",
    ] {
        assert_refused(line(value), 400, "bad_subprotocols");
    }
    assert_refused(offer("", "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a"), 400, "bad_subprotocols");
    assert_refused(line("é"), 400, "bad_byte");
    // Case makes a difference, and several lines are one list.
    assert_eq!(line("a, A").unwrap().subprotocols(), ["a", "A"]);
    let two = offer("", "Sec-WebSocket-Protocol: b ,\tc\r\nSec-WebSocket-Protocol: a").unwrap();
    assert_eq!(two.subprotocols(), ["b", "c", "a"]);
}

#[test]
fn a19_a_subprotocol_that_was_not_offered_is_never_selected() {
    let offer = offer("", "Sec-WebSocket-Protocol: a, b").unwrap();
    let c = Subprotocol::new("c").unwrap();
    assert_eq!(offer.select(&SubprotocolPolicy::optional([c.clone()])).unwrap(), None);
    let error = offer.accept(Some(c.clone())).unwrap_err();
    assert_eq!(error.subprotocol(), &c);
    let accepted = offer.accept(None).unwrap();
    assert!(!accepted.response.headers().contains_key("sec-websocket-protocol"));
}

#[test]
fn a20_extensions_are_parsed_and_declined() {
    let line = |value: &str| offer("", &format!("Sec-WebSocket-Extensions: {value}"));
    let many = vec!["x"; 4000].join(",");
    let params = format!("x{}", ";y".repeat(4000));
    for value in [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=\"10\", permessage-deflate",
        "unknown; a; a; a=1",
        &many,
        &params,
    ] {
        let accepted = line(value).unwrap().accept(None).unwrap();
        assert!(!accepted.response.headers().contains_key("sec-websocket-extensions"), "{value}");
    }
    assert_eq!(line("a; b=c, d").unwrap().extensions().len(), 2);
    // RFC 6455 section 9.1: what does not follow the grammar MUST fail the connection, so this is not declined but
    // refused, other than the list of hostile inputs has it.
    let unclosed = format!("a; b=\"{}", "\\c".repeat(4000));
    for value in ["", "a; b=\"c", &unclosed, "a,,b", "a; b=\"c d\"", "a b", ";"] {
        assert_refused(line(value), 400, "bad_extensions");
    }
}

#[test]
fn a21_expectations_trace_and_connect() {
    assert_refused(offer("", "Expect: 100-continue"), 417, "expectation_failed");
    for line in ["TRACE / HTTP/1.1", "CONNECT a:80 HTTP/1.1", "CONNECT / HTTP/1.1"] {
        assert_head_refused(format!("{line}\r\nHost: a\r\n\r\n"), 405, "method_not_allowed");
    }
}

#[test]
fn two_origins_are_none() {
    assert_refused(offer("", "Origin: http://a\r\nOrigin: http://b"), 400, "bad_origin");
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let (request, _) = read(page("Cookie: canary\r\nAuthorization: canary\r\n")).unwrap();
    assert!(!format!("{request:?}").contains("canary"));
    assert_eq!(request.headers()["cookie"], "canary");
}

#[test]
fn the_end_of_the_stream_within_a_head() {
    assert!(ReadRequest::new(HandshakeLimits::default()).handle_eof().is_none());
    let progress = ReadRequest::new(HandshakeLimits::default()).handle_input(b"GET / HT").unwrap();
    let RequestProgress::More(reading) = progress else { panic!() };
    assert_refused::<()>(Err(reading.handle_eof().unwrap()), 400, "incomplete");
}

#[test]
fn responses_of_pages() {
    let write = |status: u16, headers: &[(&str, &str)], body: &str| {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let mut out = BytesMut::new();
        write_response(&response.body(()).unwrap(), body.as_bytes(), &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    };
    assert_eq!(write(200, &[("etag", "x")], "hi"), "HTTP/1.1 200 OK\r\nEtag: x\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(write(200, &[("content-length", "7")], ""), "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    assert_eq!(write(304, &[], "hi"), "HTTP/1.1 304 Not Modified\r\n\r\n");
    assert_eq!(write(404, &[], ""), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        write(401, &[("www-authenticate", "Basic"), ("host", "a")], ""),
        "HTTP/1.1 401 Unauthorized\r\nHost: a\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(write(599, &[], ""), "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n");
}

/// For programs that serve more than WebSockets, and look themselves.
#[test]
fn a_lenient_reader_takes_old_versions_and_odd_paths_and_nothing_else() {
    for (line, path, version) in [
        ("GET /a//b HTTP/1.1", "/a//b", Version::HTTP_11),
        ("GET /a/./. HTTP/1.1", "/a/./.", Version::HTTP_11),
        ("GET /a/%2e%2e/b HTTP/1.1", "/a/%2e%2e/b", Version::HTTP_11),
        ("POST /a HTTP/1.0", "/a", Version::HTTP_10),
    ] {
        let request = read_lenient(&format!("{line}\r\nHost: a\r\n\r\n")).unwrap();
        assert_eq!((request.uri().path(), request.version()), (path, version), "{line}");
        let (status, code) = if version == Version::HTTP_10 { (505, "bad_http_version") } else { (400, "bad_target") };
        assert_head_refused(format!("{line}\r\nHost: a\r\n\r\n"), status, code);
    }
    for (head, status, code) in [
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "bad_http_version"),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "bad_http_version"),
        ("GET / HTTP/1.0\r\n\r\n", 400, "bad_host"),
        ("GET a HTTP/1.0\r\nHost: a\r\n\r\n", 400, "bad_target"),
        ("GET /#a HTTP/1.0\r\nHost: a\r\n\r\n", 400, "bad_target"),
        ("GET http://b/ HTTP/1.0\r\nHost: a\r\n\r\n", 400, "bad_target"),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_transfer_encoding"),
    ] {
        assert_refused(read_lenient(head), status, code);
    }
}
