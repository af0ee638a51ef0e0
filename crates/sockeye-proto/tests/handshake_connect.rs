//! The opening handshake over HTTP/2 and HTTP/3, RFC 8441 and RFC 9220 sentence by sentence.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use sockeye_proto::handshake::{
    ClientRequest, HandshakeError, Offer, OriginPolicy, Refusal, Subprotocol, SubprotocolPolicy,
};

/// A request that is in order.
fn request() -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = "https://example.org/live?x=1".parse().unwrap();
    request.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
    request
}

fn with(name: &'static str, value: &'static str) -> Request<()> {
    let mut request = request();
    request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    request
}

fn refusal(request: &Request<()>, protocol: Option<&str>) -> (u16, &'static str) {
    let refusal = Offer::check_connect(request, protocol).unwrap_err();
    let response = refusal.response();
    for name in ["connection", "upgrade", "keep-alive", "transfer-encoding"] {
        assert!(!response.headers().contains_key(name), "HTTP/2 has no {name}");
    }
    (refusal.status().as_u16(), refusal.code())
}

#[test]
fn accepted_with_200_and_without_proof() {
    for version in [Version::HTTP_2, Version::HTTP_3] {
        let mut request = request();
        *request.version_mut() = version;
        let offer = Offer::check_connect(&request, Some("websocket")).unwrap();
        assert_eq!((offer.host(), offer.origin(), offer.key()), ("example.org", None, None));
        let response = offer.accept(None).unwrap().response;
        assert_eq!((response.status(), response.headers().len()), (StatusCode::OK, 0));
    }
}

#[test]
fn what_only_http_1_1_needs_is_not_processed() {
    // RFC 8441 section 5: the key is superseded by `:protocol`.
    assert!(Offer::check_connect(&with("sec-websocket-key", "no key at all"), Some("websocket")).is_ok());
}

#[test]
fn origin_and_subprotocols_as_ever() {
    let mut request = with("sec-websocket-protocol", "chat, superchat");
    request.headers_mut().insert("origin", HeaderValue::from_static("https://example.org"));
    let offer = Offer::check_connect(&request, Some("WebSocket")).unwrap();
    offer.check_origin(&OriginPolicy::same()).unwrap();
    let policy = SubprotocolPolicy::optional([Subprotocol::new("superchat").unwrap()]);
    let chosen = offer.select(&policy).unwrap();
    assert_eq!(offer.accept(chosen).unwrap().response.headers()["sec-websocket-protocol"], "superchat");
    assert!(offer.accept(Some(Subprotocol::new("other").unwrap())).is_err());
    assert!(offer.check_origin(&OriginPolicy::list(["https://other.example"]).unwrap()).is_err());
    assert_eq!(refusal(&with("sec-websocket-protocol", "a, a"), Some("websocket")), (400, "bad_subprotocols"));
    assert_eq!(refusal(&with("sec-websocket-extensions", ";"), Some("websocket")), (400, "bad_extensions"));
}

#[test]
fn other_methods_and_protocols_are_refused() {
    let mut get = request();
    *get.method_mut() = Method::GET;
    assert_eq!(refusal(&get, None), (405, "method_not_allowed"));
    assert_eq!(Offer::check_connect(&get, None).unwrap_err().response().headers()["allow"], "CONNECT");
    // RFC 9220 section 3.
    assert_eq!(refusal(&request(), Some("connect-udp")), (501, "unknown_protocol"));
    assert_eq!(refusal(&request(), Some("")), (501, "unknown_protocol"));
    assert_eq!(refusal(&request(), None), (400, "protocol_missing"));
    let mut old = request();
    *old.version_mut() = Version::HTTP_11;
    assert_eq!(refusal(&old, Some("websocket")), (505, "bad_http_version"));
}

#[test]
fn headers_of_a_single_hop_are_refused() {
    for name in ["connection", "upgrade", "transfer-encoding", "keep-alive", "proxy-connection"] {
        assert_eq!(refusal(&with(name, "websocket"), Some("websocket")), (400, "connection_header"), "{name}");
    }
}

#[test]
fn another_version_is_told_which_one_is_spoken() {
    let mut request = request();
    request.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("14"));
    assert_eq!(refusal(&request, Some("websocket")), (400, "bad_websocket_version"));
    let response = Offer::check_connect(&request, Some("websocket")).unwrap_err().response();
    assert_eq!(response.headers()["sec-websocket-version"], "13");
    assert_eq!(refusal(&with("sec-websocket-version", "13"), Some("websocket")), (400, "bad_websocket_version"));
}

#[test]
fn bodies_and_expectations_are_refused() {
    assert_eq!(refusal(&with("content-length", "1"), Some("websocket")), (400, "body_announced"));
    assert_eq!(refusal(&with("content-length", "-1"), Some("websocket")), (400, "bad_content_length"));
    assert!(Offer::check_connect(&with("content-length", "0"), Some("websocket")).is_ok());
    assert_eq!(refusal(&with("expect", "100-continue"), Some("websocket")), (417, "expectation_failed"));
}

#[test]
fn authority_and_host_say_the_same() {
    assert!(Offer::check_connect(&with("host", "EXAMPLE.org"), Some("websocket")).is_ok());
    assert_eq!(refusal(&with("host", "evil.example"), Some("websocket")), (400, "bad_host"));
    let mut request = request();
    *request.uri_mut() = "https://user@example.org/".parse().unwrap();
    assert_eq!(refusal(&request, Some("websocket")), (400, "bad_host"));
}

#[test]
fn scheme_and_path_are_needed() {
    for target in ["ftp://example.org/", "example.org:443", "/path"] {
        let mut request = request();
        *request.uri_mut() = target.parse().unwrap();
        assert_eq!(refusal(&request, Some("websocket")), (400, "bad_target"), "{target}");
    }
}

#[test]
fn a_refusal_becomes_a_response_with_any_body() {
    let response: Response<String> = Refusal::upgrade_required().into();
    assert_eq!((response.status().as_u16(), response.headers()["upgrade"].as_bytes()), (426, b"websocket".as_slice()));
    assert_eq!(response.headers()["content-length"], response.body().len().to_string());
    let response: Response<Bytes> = Refusal::upgrade_required().without_connection_headers().into();
    assert!(!response.headers().contains_key("upgrade") && !response.headers().contains_key("connection"));
}

#[test]
fn the_client_asks_with_connect() {
    let request = ClientRequest::new("ws://[::1]:7071/live?x=1").unwrap();
    let request = request.subprotocol(Subprotocol::new("chat").unwrap()).unwrap().origin("https://a.example").unwrap();
    let (request, _) = request.start_connect().unwrap();
    assert_eq!((request.method(), request.version()), (&Method::CONNECT, Version::HTTP_2));
    assert_eq!(request.uri(), "http://[::1]:7071/live?x=1");
    let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["origin", "sec-websocket-protocol", "sec-websocket-version"]);
    // What our client asks, our server takes.
    assert_eq!(Offer::check_connect(&request, Some("websocket")).unwrap().host(), "[::1]:7071");
}

fn answer(response: Response<Bytes>) -> Result<Option<Subprotocol>, HandshakeError> {
    let request = ClientRequest::new("wss://example.org/").unwrap();
    let (_, answer) = request.subprotocol(Subprotocol::new("chat").unwrap()).unwrap().start_connect().unwrap();
    answer.handle_response(response).map(|established| established.subprotocol)
}

#[test]
fn the_client_takes_what_it_offered_and_nothing_else() {
    assert_eq!(answer(Response::default()).unwrap(), None);
    let chosen = |name: &'static str, value: &'static str| {
        let mut response = Response::new(Bytes::new());
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        response
    };
    assert_eq!(answer(chosen("sec-websocket-protocol", "chat")).unwrap().unwrap().as_str(), "chat");
    let error = answer(chosen("sec-websocket-protocol", "superchat")).unwrap_err();
    assert_eq!((error.code(), error.is_protocol()), ("subprotocol_not_offered", true));
    assert_eq!(answer(chosen("sec-websocket-extensions", "x-unknown")).unwrap_err().code(), "extension_not_offered");
}

#[test]
fn the_client_keeps_a_refusal() {
    for status in [101, 302, 404, 501] {
        let mut response = Response::new(Bytes::from_static(b"why"));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let error = answer(response).unwrap_err();
        assert!(error.is_refused());
        let response = error.response().unwrap();
        assert_eq!((response.status().as_u16(), &response.body()[..]), (status, b"why".as_slice()));
    }
}
