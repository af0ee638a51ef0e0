//! The client's half of the opening handshake: what it sends, and which answers it takes (RFC 6455 section 4.1).

use http::StatusCode;
use sockeye_proto::handshake::{
    ClientRequest, Established, HandshakeError, HandshakeLimits, Offer, ReadRequest, ReadResponse, RequestProgress,
    ResponseProgress, Subprotocol, write_response,
};

const NONCE: [u8; 16] = *b"the sample nonce";

fn subprotocol(name: &str) -> Subprotocol {
    Subprotocol::new(name).unwrap()
}

fn request(url: &str) -> ClientRequest {
    ClientRequest::new(url).unwrap()
}

fn head(request: ClientRequest) -> String {
    String::from_utf8(request.start(NONCE).0.to_vec()).unwrap()
}

fn reading() -> ReadResponse {
    request("ws://a/").start(NONCE).1
}

fn reading_with(change: impl FnOnce(&mut HandshakeLimits)) -> ReadResponse {
    let mut limits = HandshakeLimits::default();
    change(&mut limits);
    request("ws://a/").limits(limits).start(NONCE).1
}

/// The right answer with one of its lines replaced (by several, or by none).
fn answer(line: &str, replacement: &str) -> String {
    let mut text = String::new();
    for own in [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ] {
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

fn read(reading: ReadResponse, answer: impl AsRef<[u8]>) -> Result<Established, HandshakeError> {
    match reading.handle_input(answer.as_ref())? {
        ResponseProgress::Done(established) => Ok(established),
        ResponseProgress::More(_) => panic!("the answer is not whole"),
    }
}

fn more(reading: ReadResponse, input: impl AsRef<[u8]>) -> ReadResponse {
    match reading.handle_input(input.as_ref()).unwrap() {
        ResponseProgress::More(reading) => reading,
        ResponseProgress::Done(_) => panic!("too early"),
    }
}

#[track_caller]
fn assert_fails(result: Result<Established, HandshakeError>, code: &str) -> HandshakeError {
    let Err(error) = result else { panic!("taken, not failed with {code}") };
    assert_eq!(error.code(), code);
    error
}

#[test]
fn rfc_6455_section_4_1_the_request() {
    let request = request("ws://server.example.com/chat?room=1")
        .subprotocol(subprotocol("chat"))
        .and_then(|request| request.subprotocol(subprotocol("superchat")))
        .and_then(|request| request.origin("http://example.com"))
        .and_then(|request| request.header("Cookie", "a=b"))
        .unwrap();
    assert_eq!(
        head(request),
        "GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://example.com\r\nCookie: a=b\r\n\r\n"
    );
}

#[test]
fn urls_are_read_as_browsers_do() {
    for (url, target, host_header, host, port, secure) in [
        ("ws://a", "/", "a", "a", 80, false),
        ("wss://a", "/", "a", "a", 443, true),
        ("http://a/x", "/x", "a", "a", 80, false),
        ("HTTPS://A:443/", "/", "a", "a", 443, true),
        ("ws://a:80/", "/", "a", "a", 80, false),
        ("ws://a:443/", "/", "a:443", "a", 443, false),
        ("wss://a:80/", "/", "a:80", "a", 80, true),
        ("ws://[::1]:7071/x", "/x", "[::1]:7071", "::1", 7071, false),
        ("ws://127.0.0.1:9/?q", "/?q", "127.0.0.1:9", "127.0.0.1", 9, false),
        ("ws://bücher.example/ü?ü", "/%C3%BC?%C3%BC", "xn--bcher-kva.example", "xn--bcher-kva.example", 80, false),
        ("ws://a/b/../c d", "/c%20d", "a", "a", 80, false),
        (" ws://a/ ", "/", "a", "a", 80, false),
        ("ws:a", "/", "a", "a", 80, false),
        ("ws://a?x={\"y\":[1]}|`^", "/?x={%22y%22:[1]}|`^", "a", "a", 80, false),
    ] {
        let request = request(url);
        assert_eq!((request.host(), request.port(), request.is_secure()), (host, port, secure), "{url}");
        let expected = format!("GET {target} HTTP/1.1\r\nHost: {host_header}\r\n");
        let head = head(request);
        assert!(head.starts_with(&expected), "{url}: {head}");
    }
    assert_eq!(request("https://a:444/b?c").url(), "wss://a:444/b?c");
    assert_eq!(request("https://a:444/b?c").path(), "/b");
}

#[test]
fn urls_that_are_refused() {
    for (url, code) in [
        ("", "bad_url"),
        ("/chat", "bad_url"),
        ("a.example", "bad_url"),
        ("ws://", "bad_url"),
        ("ws://a:99999/", "bad_url"),
        ("ws://a b/", "bad_url"),
        ("ftp://a/", "bad_scheme"),
        ("file:///x", "bad_scheme"),
        ("mailto:a@b", "bad_scheme"),
        ("ws://a/#", "url_with_fragment"),
        ("ws://a/#x", "url_with_fragment"),
        ("ws://user@a/", "url_with_credentials"),
        ("ws://user:pass@a/", "url_with_credentials"),
        ("ws://:pass@a/", "url_with_credentials"),
    ] {
        let error = ClientRequest::new(url).unwrap_err();
        assert_eq!(error.code(), code, "{url}");
        assert!(error.is_user() && !error.is_protocol() && !error.is_refused() && error.response().is_none());
        assert!(!error.to_string().contains("pass@"));
    }
}

#[test]
fn headers_of_the_handshake_itself_cannot_be_set() {
    for name in [
        "Host",
        "Connection",
        "upgrade",
        "Sec-WebSocket-Key",
        "sec-websocket-version",
        "SEC-WEBSOCKET-PROTOCOL",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Whatever",
        "Content-Length",
        "Transfer-Encoding",
        "Expect",
    ] {
        assert_eq!(request("ws://a/").header(name, "x").unwrap_err().code(), "reserved_header", "{name}");
    }
    for (name, value) in [("X Y", "z"), ("", "z"), ("X", "a\r\nb: c"), ("X", "a\0")] {
        assert_eq!(request("ws://a/").header(name, value).unwrap_err().code(), "bad_header");
    }
    let twice = request("ws://a/").origin("http://a").and_then(|request| request.header("Origin", "http://b")).unwrap();
    assert_eq!(head(twice).matches("Origin").count(), 1);
    let cookies = request("ws://a/").header("X", "1").and_then(|request| request.header("x", "2")).unwrap();
    assert!(head(cookies).ends_with("X: 1\r\nX: 2\r\n\r\n"));
}

#[test]
fn rfc_6455_section_4_1_item_10_a_subprotocol_is_offered_once() {
    let request = request("ws://a/").subprotocol(subprotocol("x")).unwrap();
    assert_eq!(request.subprotocol(subprotocol("x")).unwrap_err().code(), "repeated_subprotocol");
}

#[test]
fn rfc_6455_section_4_1_the_answer() {
    let established = read(reading(), answer("", "") + "\u{1}frames").unwrap();
    assert_eq!(established.response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(established.subprotocol, None);
    assert_eq!(established.rest, "\u{1}frames");
    for (line, replacement) in [
        ("Upgrade", "UPGRADE: WebSocket"),
        ("Connection", "Connection: keep-alive, upgrade"),
        ("Connection", "Connection: keep-alive\r\nConnection: UPGRADE"),
        ("Sec-WebSocket-Accept", "sec-websocket-accept:   s3pPLMBiTxaQ9kYGzzhZRbK+xOo=  "),
        ("HTTP", "HTTP/1.1 101 "),
        ("HTTP", "HTTP/1.1 101"),
        ("", "Server: caf\u{e9}"),
    ] {
        assert!(read(reading(), answer(line, replacement)).is_ok(), "{replacement}");
    }
}

#[test]
fn a27_answers_that_break_section_4_1() {
    for (line, replacement, code) in [
        ("Upgrade", "", "bad_upgrade"),
        ("Upgrade", "Upgrade: h2c", "bad_upgrade"),
        ("Upgrade", "Upgrade: websocket, h2c", "bad_upgrade"),
        ("Upgrade", "Upgrade: websocket\r\nUpgrade: websocket", "bad_upgrade"),
        ("Connection", "", "bad_connection"),
        ("Connection", "Connection: close", "bad_connection"),
        ("Sec-WebSocket-Accept", "", "bad_accept"),
        ("Sec-WebSocket-Accept", "Sec-WebSocket-Accept:", "bad_accept"),
        ("Sec-WebSocket-Accept", "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "bad_accept"),
        ("Sec-WebSocket-Accept", "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==", "bad_accept"),
        ("", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "bad_accept"),
        ("", "Sec-WebSocket-Extensions: permessage-deflate", "extension_not_offered"),
        ("", "Sec-WebSocket-Extensions:", "extension_not_offered"),
        ("", "Sec-WebSocket-Protocol: chat", "subprotocol_not_offered"),
        ("", "Sec-WebSocket-Protocol:", "subprotocol_not_offered"),
        ("HTTP", "HTTP/1.0 101 Switching Protocols", "bad_http_version"),
        ("HTTP", "HTTP/2.0 101 Switching Protocols", "bad_start_line"),
        ("HTTP", "HTTP/1.1 10", "bad_start_line"),
        ("HTTP", "HTTP/1.1 1010", "bad_start_line"),
        ("HTTP", "HTTP/1.1  101 x", "bad_start_line"),
        ("HTTP", "HTTP/1.1 099 x", "bad_start_line"),
        ("HTTP", "SSH-2.0-OpenSSH_9.9", "bad_start_line"),
        ("HTTP", "", "bad_start_line"),
        ("", "X : y", "bad_header"),
        ("", "X: y\r\n z", "folded_header"),
        ("", "X: y\0", "bad_byte"),
        ("", "X: y\nZ: z", "bare_lf"),
    ] {
        let error = assert_fails(read(reading(), answer(line, replacement)), code);
        assert!(error.is_protocol() && !error.is_user() && !error.is_refused(), "{replacement}");
    }
    assert_fails(read(reading(), "\r\n"), "bad_start_line");
}

#[test]
fn a19_the_server_chooses_one_of_the_offered_subprotocols_or_none() {
    let reading = || {
        let request = request("ws://a/").subprotocol(subprotocol("a")).unwrap().subprotocol(subprotocol("b")).unwrap();
        request.start(NONCE).1
    };
    let chosen = read(reading(), answer("", "Sec-WebSocket-Protocol: b")).unwrap().subprotocol;
    assert_eq!(chosen, Some(subprotocol("b")));
    assert_eq!(read(reading(), answer("", "")).unwrap().subprotocol, None);
    for line in ["c", "A", "a, b", "", "a\r\nSec-WebSocket-Protocol: a"] {
        let answer = answer("", &format!("Sec-WebSocket-Protocol: {line}"));
        assert_fails(read(reading(), answer), "subprotocol_not_offered");
    }
}

#[test]
fn rfc_9110_section_15_2_informational_answers_are_passed_over() {
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let established = read(reading(), early.to_owned() + &answer("", "")).unwrap();
    assert_eq!(established.response.status(), 101);
    assert!(!established.response.headers().contains_key("link"));
    // But not for ever: all of them count as one head.
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    assert_fails(read(reading(), endless), "head_too_long");
}

#[test]
fn a_refusal_brings_status_headers_and_the_beginning_of_its_body() {
    let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\nContent-Length: 9\r\n\r\n";
    let reading = more(reading(), answer);
    let error = assert_fails(read(more(reading, "slow "), "down"), "refused");
    let response = error.response().unwrap();
    assert!(error.is_refused() && !error.is_protocol() && !error.is_user());
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "30");
    assert_eq!(response.body(), "slow down");
    assert_eq!(error.to_string(), "the server answered 429 Too Many Requests");
}

#[test]
fn a27_200_redirects_and_old_http_are_refusals() {
    for status in
        ["HTTP/1.1 200 OK", "HTTP/1.1 302 Found", "HTTP/1.0 403 Forbidden", "HTTP/1.1 400 Fehl\u{f6}r", "HTTP/1.1 999 "]
    {
        let answer = format!("{status}\r\nLocation: ws://b/\r\nContent-Length: 0\r\n\r\n");
        let error = assert_fails(read(reading(), answer), "refused");
        assert_eq!(error.response().unwrap().headers()["location"], "ws://b/");
    }
    let error = assert_fails(read(reading(), "HTTP/1.1 204 No Content\r\n\r\n"), "refused");
    assert!(error.response().unwrap().body().is_empty());
}

#[test]
fn a_refusal_ends_with_the_stream_the_limit_or_the_time() {
    let start = "HTTP/1.1 503 Service Unavailable\r\n\r\nab";
    let body = |error: &HandshakeError| error.response().unwrap().body().clone();
    assert_eq!(body(&more(reading(), start).handle_eof()), "ab");
    assert_eq!(body(&more(reading(), start).handle_timeout()), "ab");
    let error = assert_fails(read(reading(), start.to_owned() + &"x".repeat(1 << 20)), "refused");
    assert_eq!(body(&error).len(), HandshakeLimits::default().max_error_body);
    let nothing = reading_with(|limits| limits.max_error_body = 0);
    assert!(body(&assert_fails(read(nothing, start), "refused")).is_empty());
    let chunked = "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n";
    assert_eq!(body(&assert_fails(read(reading(), chunked), "refused")), "no");
}

#[test]
fn a27_k_a_head_without_end_is_bounded() {
    let line = format!("X: {}\r\n", "x".repeat(1000));
    assert_fails(read(reading(), answer("", &line.repeat(17))), "head_too_long");
    assert_fails(read(reading(), format!("HTTP/1.1 101 {}", "x".repeat(1 << 20))), "start_line_too_long");
    assert_fails(read(reading(), format!("HTTP/1.1 101 x\r\nX: {}", "x".repeat(1 << 20))), "header_too_long");
    assert_fails(read(reading(), answer("", &"X:\r\n".repeat(101))), "too_many_headers");
    let small = reading_with(|limits| limits.max_head = 64);
    assert_fails(read(small, answer("", "")), "head_too_long");
}

#[test]
fn the_end_of_the_stream_or_the_time_before_an_answer() {
    assert_eq!(reading().handle_eof().code(), "unexpected_eof");
    assert_eq!(more(reading(), "HTTP/1.1 101 Sw").handle_eof().code(), "unexpected_eof");
    let slow = more(reading(), "HTTP/1.1 101 Sw").handle_timeout();
    assert!(slow.is_timeout() && slow.code() == "timeout" && !slow.is_protocol());
}

#[test]
fn client_and_server_agree() {
    let request = request("ws://a.example:7071/live?x")
        .subprotocol(subprotocol("one"))
        .and_then(|request| request.subprotocol(subprotocol("two")))
        .unwrap();
    let (head, response) = request.start([0xff; 16]);
    let progress = ReadRequest::new(HandshakeLimits::default()).handle_input(&head).unwrap();
    let RequestProgress::Done { request, .. } = progress else { panic!() };
    assert_eq!(request.uri(), "/live?x");
    let accepted = Offer::check(&request).unwrap().accept(Some(subprotocol("two"))).unwrap();
    let mut out = bytes::BytesMut::new();
    write_response(&accepted.response, b"", &mut out);
    assert_eq!(read(response, out).unwrap().subprotocol, accepted.subprotocol);
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let request = request("ws://a/").header("Authorization", "Bearer canary").unwrap();
    assert!(!format!("{request:?}").contains("canary"));
    assert!(head(request).contains("Authorization: Bearer canary\r\n"));
    let answer = "HTTP/1.1 403 Forbidden\r\nSet-Cookie: canary\r\nContent-Length: 0\r\n\r\n";
    let error = assert_fails(read(reading(), answer), "refused");
    assert!(!format!("{error:?}").contains("canary"));
}

#[test]
fn an_error_is_one_pointer() {
    assert_eq!(size_of::<HandshakeError>(), size_of::<usize>());
}

#[test]
fn a28_where_redirects_lead() {
    let from = || request("wss://a:444/live/room?x=1").subprotocol(subprotocol("chat")).unwrap();
    for (location, url, host) in [
        ("next", "wss://a:444/live/next", "a:444"),
        ("/next?y#z", "wss://a:444/next?y", "a:444"),
        ("?y", "wss://a:444/live/room?y", "a:444"),
        ("", "wss://a:444/live/room?x=1", "a:444"),
        ("//b/", "wss://b/", "b"),
        ("https://b:443/", "wss://b/", "b"),
        ("WSS://[::1]/", "wss://[::1]/", "[::1]"),
    ] {
        let moved = from().redirected(location).unwrap();
        assert_eq!((moved.url(), moved.headers()["host"].to_str().unwrap()), (url, host), "{location}");
        let head = head(moved);
        assert!(head.contains(&format!("\r\nHost: {host}\r\n")) && head.contains("-Protocol: chat\r\n"), "{head}");
    }
    for (location, code) in [
        ("ws://a:444/", "redirect_to_plaintext"),
        ("http://a/", "redirect_to_plaintext"),
        ("ftp://a/", "bad_redirect"),
        ("https://", "bad_redirect"),
        ("wss://user@a/", "bad_redirect"),
        ("wss://a:99999/", "bad_redirect"),
    ] {
        let error = from().redirected(location).unwrap_err();
        assert_eq!((error.code(), error.is_user(), error.is_protocol()), (code, false, true), "{location}");
    }
}

#[test]
fn a28_secrets_stay_with_their_origin() {
    let mut key = http::HeaderValue::from_static("key");
    key.set_sensitive(true);
    let from = request("ws://a:80/")
        .header("Cookie", "a=b")
        .and_then(|request| request.header("X-Key", key))
        .and_then(|request| request.header("X-Open", "1"))
        .and_then(|request| request.header("X-Open", "2"))
        .unwrap();
    for (location, kept) in
        [("/x", true), ("http://A/", true), ("ws://a:81/", false), ("ws://b.a/", false), ("wss://a/", false)]
    {
        let moved = from.clone().redirected(location).unwrap();
        assert_eq!(moved.headers().contains_key("cookie"), kept, "{location}");
        assert_eq!(moved.headers().contains_key("x-key"), kept, "{location}");
        assert_eq!(moved.headers().get_all("x-open").iter().count(), 2);
        assert_eq!(moved.headers().get_all("host").iter().count(), 1);
    }
}
