//! What a server answers to an opening handshake beyond the plain 101: headers of its own, and refusals.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{KIB, UPGRADE, read_head, within};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sockeye::{CloseCode, ControlPayload, Error, Handshake, Party, Refusal, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// A proper handshake that waits for its answer, and the client's side of it.
async fn asked() -> (Handshake<DuplexStream>, DuplexStream) {
    let (io, mut peer) = duplex(4 * KIB);
    peer.write_all(UPGRADE).await.unwrap();
    (within(60, Handshake::read(io, &ServerConfig::default())).await.unwrap(), peer)
}

/// Head and body of the refusal.
async fn rejected(refusal: impl Into<Refusal>) -> (Error, String) {
    let (handshake, mut peer) = asked().await;
    let mut seen = String::new();
    let reading = async {
        peer.shutdown().await.unwrap();
        peer.read_to_string(&mut seen).await.unwrap();
    };
    let (error, ()) = within(60, async { tokio::join!(handshake.reject(refusal), reading) }).await;
    (error, seen)
}

#[tokio::test(start_paused = true)]
async fn more_headers_go_out_with_the_101() {
    let (handshake, mut peer) = asked().await;
    let mut headers = HeaderMap::new();
    headers.append(header::SET_COOKIE, HeaderValue::from_static("a=1"));
    headers.append(header::SET_COOKIE, HeaderValue::from_static("b=2"));
    let _socket = within(60, handshake.accept_with(headers)).await.unwrap();
    let head = read_head(&mut peer).await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\nUpgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"), "{head}");
}

/// What the handshake says is not the program's to change: the client is told that the server is at fault, and so is the
/// program.
#[tokio::test(start_paused = true)]
async fn the_handshakes_own_headers_are_not_overwritten() {
    for name in [
        "upgrade",
        "connection",
        "sec-websocket-accept",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
        "sec-websocket-anything",
        "content-length",
        "transfer-encoding",
    ] {
        let (handshake, mut peer) = asked().await;
        let name = HeaderName::from_static(name);
        let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
        let reading = async {
            let head = read_head(&mut peer).await;
            drop(peer);
            head
        };
        let (result, head) = within(60, async { tokio::join!(handshake.accept_with(headers), reading) }).await;
        let error = result.unwrap_err();
        assert_eq!((error.code(), error.guilty()), ("reserved_header", Some(Party::Local)), "{name}");
        assert!(error.to_string().contains(name.as_str()), "{error}");
        assert!(head.starts_with("HTTP/1.1 500 "), "{name}: {head}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_number_a_status_or_a_whole_refusal() {
    for (refusal, status) in [
        (Refusal::from(403), 403),
        (Refusal::from(StatusCode::TOO_MANY_REQUESTS), 429),
        (Refusal::from(302).header(header::LOCATION, HeaderValue::from_static("wss://b/")), 302),
        (Refusal::from(0), 500),
        (Refusal::from(101), 500),
        (Refusal::from(204), 500),
        (Refusal::from(600), 500),
        (Refusal::from(u16::MAX), 500),
    ] {
        let (error, answer) = rejected(refusal).await;
        assert!(error.is_refused(), "{error}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let seats = 40;
    let busy =
        Refusal::from(503).header(header::RETRY_AFTER, 30.into()).reason_text(format!("all {seats} seats taken"));
    let (_, answer) = rejected(busy).await;
    assert!(answer.contains("\r\nRetry-After: 30\r\n") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nall 40 seats taken"), "{answer}");
    let (_, answer) = rejected(403).await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"));
}

/// With `?`, numbers and payloads from outside become the library's error.
#[test]
fn what_cannot_be_a_code_or_a_payload_is_misuse() {
    fn checked(code: u16, payload: &str) -> Result<(CloseCode, ControlPayload), Error> {
        Ok((CloseCode::try_from(code)?, ControlPayload::try_from(payload)?))
    }
    assert!(checked(4000, "hi").is_ok());
    for error in [checked(1006, "hi").unwrap_err(), checked(4000, &"x".repeat(126)).unwrap_err()] {
        assert_eq!((error.code(), error.guilty()), ("misuse", Some(Party::Local)));
    }
}
