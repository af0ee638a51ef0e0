//! A hostile server against our client: A27, A28 and group K of the list of hostile inputs; and what the client sends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{
    BINARY, CLOSE, FIN, KIB, MIB, PING, TEXT, assert_passed, client, close_payload, masked, plain, read_frame,
    read_head, switching, up_to, within,
};
use sockeye::{Client, CloseCode, Config, Error, Party, WebSocket, proto::handshake::accept_key};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpListener,
    time::{Instant, sleep, timeout},
};

/// What connecting comes to when this is the answer; the server then ends the connection.
async fn answered(client: Client, answer: impl FnOnce(&str) -> Vec<u8>) -> Result<WebSocket<DuplexStream>, Error> {
    let (io, mut peer) = duplex(64 * KIB);
    let answering = async {
        let head = read_head(&mut peer).await;
        // It may have seen enough before the end.
        let _ = peer.write_all(&answer(&head)).await;
        drop(peer);
    };
    within(60, async { tokio::join!(client.connect_over(io), answering).0 }).await
}

fn plainly() -> Client {
    Client::new("ws://example.org/chat").unwrap()
}

/// A27, K: answers that are none.
#[tokio::test(start_paused = true)]
async fn a27_answers_that_are_no_handshake() {
    let lines = |upgrade: &str, connection: &str, accept: &str, more: &str| {
        format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}{connection}{accept}{more}\r\n").into_bytes()
    };
    let upgrade = "Upgrade: websocket\r\n";
    let connection = "Connection: Upgrade\r\n";
    let wrong = format!("Sec-WebSocket-Accept: {}\r\n", accept_key("not this one"));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("bad_accept", lines(upgrade, connection, &wrong, "")),
        ("bad_accept", lines(upgrade, connection, "", "")),
        ("bad_upgrade", lines("", connection, &wrong, "")),
        ("bad_upgrade", lines("Upgrade: h2c\r\n", connection, &wrong, "")),
        ("bad_connection", lines(upgrade, "", &wrong, "")),
        ("bad_http_version", b"HTTP/1.0 101 Switching Protocols\r\n\r\n".to_vec()),
        ("bad_start_line", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        ("bad_start_line", b"HTTP/2 200\r\n\r\n".to_vec()),
        ("bare_lf", b"HTTP/1.1 101 Switching Protocols\n\n".to_vec()),
        ("unexpected_eof", Vec::new()),
        ("unexpected_eof", b"HTTP/1.1 101 Swi".to_vec()),
    ];
    for (code, answer) in cases {
        let error = answered(plainly(), |_| answer).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(!error.is_refused() && error.response().is_none());
        // An end that goes may have been cut off.
        assert_eq!(error.guilty(), (code != "unexpected_eof").then_some(Party::Remote));
        let cut_off = code == "unexpected_eof";
        assert_eq!(
            (error.is_protocol(), error.is_abnormal(), error.is_timeout()),
            (!cut_off, cut_off, false),
            "{code}"
        );
    }
}

/// A19, K: what was not offered must not be chosen.
#[tokio::test(start_paused = true)]
async fn a19_choices_that_were_not_offered() {
    for (more, code) in [
        ("Sec-WebSocket-Protocol: other\r\n", "subprotocol_not_offered"),
        ("Sec-WebSocket-Protocol: CHAT\r\n", "subprotocol_not_offered"),
        ("Sec-WebSocket-Protocol: chat, superchat\r\n", "subprotocol_not_offered"),
        ("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n", "subprotocol_not_offered"),
        ("Sec-WebSocket-Extensions: permessage-deflate\r\n", "extension_not_offered"),
    ] {
        let offering = plainly().subprotocol("chat").subprotocol("superchat");
        let error = answered(offering, |head| switching(head, more).into_bytes()).await.unwrap_err();
        assert_eq!(error.code(), code, "{more}");
    }
    let offering = plainly().subprotocol("chat").subprotocol("superchat");
    let more = "Sec-WebSocket-Protocol: superchat\r\n";
    let socket = answered(offering, |head| switching(head, more).into_bytes()).await.unwrap();
    assert_eq!(socket.protocol(), Some("superchat"));
    let unsolicited =
        answered(plainly(), |head| switching(head, "Sec-WebSocket-Protocol: chat\r\n").into_bytes()).await;
    assert_eq!(unsolicited.unwrap_err().code(), "subprotocol_not_offered");
}

/// A refusal is told whole: status, `Retry-After`, the start of the body.
#[tokio::test(start_paused = true)]
async fn a_refusal_has_a_response() {
    for (answer, status, body) in [
        ("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nlater", 503, "later"),
        ("HTTP/1.1 200 OK\r\nRetry-After: 7\r\n\r\n<html>", 200, "<html>"),
        ("HTTP/1.1 401 No\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 401, "no"),
    ] {
        let error = answered(plainly(), |_| answer.into()).await.unwrap_err();
        assert!(error.is_refused() && !error.is_protocol() && !error.is_io());
        let response = error.response().unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (status, &"7".parse().unwrap()));
        assert_eq!(response.body(), body);
    }
}

/// A28, K: no redirect is followed unless the program says so, whatever it carries; the program is told where it points.
#[tokio::test(start_paused = true)]
async fn a28_redirects_are_not_followed() {
    let with_token = plainly().header("authorization", "Bearer secret");
    let answer = b"HTTP/1.1 302 Found\r\nLocation: ws://evil.example/\r\nContent-Length: 0\r\n\r\n";
    let error = answered(with_token, |_| answer.to_vec()).await.unwrap_err();
    assert_eq!(error.response().unwrap().headers()["location"], "ws://evil.example/");
    assert!(!format!("{error:?}{error}").contains("secret"));
}

/// `wss` over a transport that brings its own TLS is as good as any other.
#[tokio::test(start_paused = true)]
async fn wss_over_a_transport_of_the_programs_own() {
    let (io, mut peer) = duplex(KIB);
    let answering = async {
        let head = read_head(&mut peer).await;
        assert!(head.contains("\r\nHost: example.org\r\n"));
        peer.write_all(switching(&head, "").as_bytes()).await.unwrap();
    };
    let over = Client::new("wss://example.org/").unwrap().connect_over(io);
    let socket = within(60, Box::pin(async { tokio::join!(over, answering).0 })).await.unwrap();
    assert_eq!(socket.url(), Some("wss://example.org/"));
}

/// K: a head that never ends, and one of 1 GB: 16 KiB are read of it.
#[tokio::test(start_paused = true)]
async fn a27_a_head_without_end_is_bounded() {
    for (start, line) in [
        (
            "HTTP/1.1 101 Switching Protocols\r\n",
            "X-Header: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\n", "X"),
        ("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("HTTP/1.1 101 ", "x"),
    ] {
        let (io, mut peer) = duplex(4 * KIB);
        let mut sent = 0;
        let flooding = async {
            read_head(&mut peer).await;
            peer.write_all(start.as_bytes()).await.unwrap();
            while sent < 1 << 30 && peer.write_all(line.as_bytes()).await.is_ok() {
                sent += line.len();
            }
        };
        let (result, ()) = within(60, async { tokio::join!(plainly().connect_over(io), flooding) }).await;
        let error = result.unwrap_err();
        assert!(error.is_protocol(), "{error:?}");
        assert!(sent < 32 * KIB, "{sent} bytes were taken");
    }
}

/// K: "slow drip for ever (absolute deadline)"; and a server that says nothing at all.
#[tokio::test(start_paused = true)]
async fn k_a_slow_answer_ends_at_an_absolute_deadline() {
    for drip in ["", "HTTP/1.1 101 Switching Protocols\r\nX-Slow: "] {
        let (io, mut peer) = duplex(4 * KIB);
        let start = Instant::now();
        let dripping = async {
            read_head(&mut peer).await;
            peer.write_all(drip.as_bytes()).await.unwrap();
            loop {
                sleep(Duration::from_millis(500)).await;
                if !drip.is_empty() && peer.write_all(b"x").await.is_err() {
                    return;
                }
            }
        };
        let error = within(60, async {
            tokio::select! {
                result = plainly().connect_over(io) => result.unwrap_err(),
                () = dripping => unreachable!("the client lives longer"),
            }
        })
        .await;
        assert_passed(start, 10);
        assert!(error.is_timeout() && !error.is_protocol() && !error.is_refused());
        assert_eq!(error.code(), "timeout");
    }
}

/// A refusal whose body never ends is told all the same, with what came of it: its `Retry-After` is what counts.
#[tokio::test(start_paused = true)]
async fn k_a_refusal_whose_body_never_ends() {
    let (io, mut peer) = duplex(4 * KIB);
    let start = Instant::now();
    let dripping = async {
        read_head(&mut peer).await;
        let answer = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\nContent-Length: 1000\r\n\r\nslow";
        peer.write_all(answer).await.unwrap();
        sleep(Duration::from_secs(60)).await;
    };
    let error = within(60, async {
        tokio::select! {
            result = plainly().connect_over(io) => result.unwrap_err(),
            () = dripping => unreachable!("the client waits no longer"),
        }
    })
    .await;
    assert_passed(start, 10);
    assert!(error.is_refused());
    let response = error.response().unwrap();
    assert_eq!((&response.headers()["retry-after"], &response.body()[..]), (&"30".parse().unwrap(), &b"slow"[..]));
}

/// K: frames of a hostile server.
#[tokio::test(start_paused = true)]
async fn k_frames_of_a_hostile_server() {
    let cases: Vec<(Vec<u8>, &str, u16)> = vec![
        (masked(FIN | TEXT, b"masked"), "mask_unexpected", 1002),
        (plain(FIN | CLOSE, b"\x03\xe8\xff\xfe"), "close_reason", 1007),
        (plain(FIN | CLOSE, &1006_u16.to_be_bytes()), "close_code", 1002),
        (plain(FIN | CLOSE, b"\x03"), "close_too_short", 1002),
        (plain(FIN | 3, b""), "reserved_opcode", 1002),
        (plain(0x40 | FIN | TEXT, b"x"), "reserved_bits", 1002),
        (plain(FIN | TEXT, b"\xed\xa0\x80"), "invalid_utf8", 1007),
        (common::head(FIN | BINARY, 0, u64::MAX >> 1), "frame_too_big", 1009),
        ((0..1_000).flat_map(|_| plain(FIN | PING, b"p")).collect(), "control_flood", 1008),
    ];
    for (wire, code, close_code) in cases {
        let (mut socket, mut peer) = client(64 * KIB, Config::default()).await;
        peer.write_all(&wire).await.unwrap();
        let error = within(60, socket.recv()).await.unwrap_err();
        assert_eq!((error.code(), error.close_code().map(CloseCode::get)), (code, Some(close_code)));
        assert_eq!(error.guilty(), Some(Party::Remote));
        drop(socket);
        let mut last = Vec::new();
        while let Some((first, payload)) = read_frame(&mut peer).await {
            last = if first == FIN | CLOSE { payload[..2].to_vec() } else { Vec::new() };
        }
        assert_eq!(last, close_code.to_be_bytes());
    }
}

/// A 101 that nobody asked for is a message like any other bytes: the connection has its frames, or fails.
#[tokio::test(start_paused = true)]
async fn k_a_second_101() {
    let twice = |head: &str| [switching(head, ""), switching(head, "")].concat().into_bytes();
    let mut socket = answered(plainly(), twice).await.unwrap();
    // 'H' is a reserved opcode with a reserved bit set.
    assert_eq!(within(60, socket.recv()).await.unwrap_err().close_code(), Some(CloseCode::PROTOCOL_ERROR));
}

/// Informational answers may come before the final one (RFC 9110 section 15.2), and frames right behind it.
#[tokio::test(start_paused = true)]
async fn early_hints_before_and_frames_behind() {
    let answer = |head: &str| {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
        [hints.as_bytes(), switching(head, "").as_bytes(), &plain(FIN | TEXT, b"welcome")].concat()
    };
    let mut socket = answered(plainly(), answer).await.unwrap();
    assert_eq!(within(60, socket.recv()).await.unwrap().unwrap().as_text(), Some("welcome"));
}

/// What is sent: host and port, path, origin, subprotocols in order, own headers; and a key that is never the same.
#[tokio::test(start_paused = true)]
async fn the_request() {
    let mut heads = Vec::new();
    for _ in 0..2 {
        let client = Client::new("ws://EXAMPLE.org:8080/a b?q=1")
            .unwrap()
            .subprotocol("v2")
            .subprotocol("v1")
            .origin("https://example.org")
            .header("Authorization", "Bearer t")
            .header("x-two", "1")
            .header("x-two", "2");
        let socket = answered(client, |head| {
            heads.push(head.to_owned());
            switching(head, "Sec-WebSocket-Protocol: v1\r\n").into_bytes()
        })
        .await
        .unwrap();
        assert_eq!((socket.url(), socket.protocol()), (Some("ws://example.org:8080/a%20b?q=1"), Some("v1")));
    }
    assert!(heads[0].starts_with("GET /a%20b?q=1 HTTP/1.1\r\nHost: example.org:8080\r\n"), "{}", heads[0]);
    for line in [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: v2, v1",
        "Origin: https://example.org",
        "Authorization: Bearer t",
        "X-Two: 1",
        "X-Two: 2",
    ] {
        assert!(heads[0].contains(&format!("\r\n{line}\r\n")), "{line}");
    }
    assert!(!heads[0].contains("Extensions"));
    assert_ne!(heads[0], heads[1], "the key is chosen anew");
}

/// The program's own mistakes come from `connect`, and are the program's.
#[tokio::test]
async fn mistakes_of_the_program() {
    for url in ["", "nonsense", "ftp://a/", "ws://a/#f", "ws://user@a/", "ws://u:p@a/", "ws://"] {
        let error = Client::new(url).unwrap_err();
        assert_eq!(error.guilty(), Some(Party::Local), "{url}");
        assert!(error.is_misuse() && !error.is_protocol() && !error.is_refused() && !error.is_io());
    }
    for client in [
        plainly().header("sec-websocket-key", "x"),
        plainly().header("host", "x"),
        plainly().header("bad name", "x"),
        plainly().header("x", "bad\r\nvalue: y"),
        plainly().subprotocol(""),
        plainly().subprotocol("a b"),
        plainly().subprotocol("a").subprotocol("a"),
        plainly().origin("https://a\r\nx: y"),
    ] {
        let error = client.connect().await.unwrap_err();
        assert_eq!(error.guilty(), Some(Party::Local), "{error}");
    }
}

/// Nobody listens; there is no such name.
#[tokio::test]
async fn nobody_there() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = within(20, sockeye::connect(&format!("ws://127.0.0.1:{port}/"))).await.unwrap_err();
    assert!(error.is_io() && error.is_abnormal() && !error.is_timeout() && !error.is_misuse());
    assert_eq!(error.guilty(), None, "who knows");
    let source = std::error::Error::source(&error).unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
    let error = within(20, sockeye::connect("ws://no-such-host.invalid/")).await.unwrap_err();
    // A resolver that does not answer is the other way not to find it.
    assert!(error.is_io() || error.is_timeout(), "{error}");
}

/// IPv6 literals have brackets in the URL and the `Host`, and none in the address; a real socket, both addresses of peers.
#[tokio::test]
async fn ipv6_literals_and_addresses() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(bind).await else { continue };
        let address = listener.local_addr().unwrap();
        let serving = async {
            let (stream, from) = listener.accept().await.unwrap();
            let config = sockeye::ServerConfig::default();
            let request = sockeye::Handshake::read(stream, &config).await.unwrap();
            assert_eq!(request.request().headers()["host"], address.to_string().as_str());
            let mut socket = request.accept().await.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), from);
            assert!(socket.get_ref().nodelay().unwrap());
            assert!(socket.recv().await.unwrap().is_none());
        };
        let url = format!("ws://{address}/");
        let connecting = async {
            let mut socket = sockeye::connect(&url).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), address);
            assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
        };
        within(20, Box::pin(async { tokio::join!(serving, connecting) })).await;
    }
}

/// A server that never reads: masking a large message for it is bounded by the queue, and its send ends in time.
#[tokio::test(start_paused = true)]
async fn k_a_server_that_never_reads() {
    let (mut socket, _peer) = client(4 * KIB, up_to(2 * MIB)).await;
    let start = Instant::now();
    assert_eq!(within(60, socket.send(vec![0; MIB])).await.unwrap_err().code(), "write_timeout");
    assert_passed(start, 10);
}

/// Whatever a server closes with, a client that had asked for nothing knows what was said.
#[tokio::test(start_paused = true)]
async fn a_close_right_after_the_handshake() {
    let answer =
        |head: &str| [switching(head, "").as_bytes(), &plain(FIN | CLOSE, &close_payload(1013, "overloaded"))].concat();
    let mut socket = answered(plainly(), answer).await.unwrap();
    assert!(within(60, socket.recv()).await.unwrap().is_none());
    let outcome = socket.close_outcome().unwrap();
    assert_eq!((outcome.code(), outcome.reason(), outcome.is_clean()), (1013, "overloaded", true));
}

/// Dropping the attempt drops the transport.
#[tokio::test(start_paused = true)]
async fn a_dropped_attempt_ends_the_connection() {
    let (io, mut peer) = duplex(4 * KIB);
    {
        let attempt = plainly().connect_over(io);
        assert!(timeout(Duration::from_secs(1), attempt).await.is_err());
    }
    let mut rest = Vec::new();
    within(60, peer.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.ends_with(b"\r\n\r\n"));
}
