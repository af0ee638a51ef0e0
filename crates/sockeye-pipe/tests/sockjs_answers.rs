//! Whole answers and heads of SockJS, sections 1, 2, 4 and 7 of its notes.
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use sockeye_pipe::sockjs::{
    Answers, BadCallback, BadPayload, Cors, Endpoint, Method, Options, Refused, SessionEndpoint, Transport, resolve,
};

const NO_CACHE: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";
const A_YEAR: &str = "public, max-age=31536000";
const EXPIRES: &str = "Sun, 21 Nov 2027 00:00:00 GMT";

fn options() -> Options {
    Options {
        websocket: true,
        cookie_needed: false,
        client_url: "/sockjs-1.6.1.min.js".into(),
        base_url: None,
        frame_ancestors: None,
    }
}

fn answers() -> Answers {
    Answers::new(options()).unwrap()
}

fn sticky() -> Answers {
    Answers::new(Options { cookie_needed: true, ..options() }).unwrap()
}

fn expires() -> HeaderValue {
    HeaderValue::from_static(EXPIRES)
}

fn request(headers: &[(&'static str, &'static str)]) -> HeaderMap {
    headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// One header, or the empty text.
fn header<'a, T>(answer: &'a Response<T>, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Exactly these headers.
fn has<T>(answer: &Response<T>, expected: &[(&str, &str)]) {
    let mut found: Vec<_> =
        answer.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

fn session(endpoint: SessionEndpoint) -> Endpoint<'static> {
    Endpoint::Session { id: "s", endpoint }
}

fn entropy(answer: &Response<Bytes>) -> u64 {
    let info: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    info["entropy"].as_u64().unwrap()
}

const PLAIN: (&str, &str) = ("content-type", "text/plain; charset=UTF-8");

#[test]
fn the_greeting() {
    let answer = answers().greeting();
    assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::OK, &b"Welcome to SockJS!\n"[..]));
    has(&answer, &[PLAIN]);
}

#[test]
fn not_found() {
    let answer = answers().refused(Refused::NotFound);
    assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::NOT_FOUND, &b"404 Error: Page not found\n"[..]));
    has(&answer, &[PLAIN]);
}

#[test]
fn a_wrong_method_has_neither_body_nor_type() {
    for (path, allowed) in [
        ("/e", "GET"),
        ("/e/info", "OPTIONS, GET"),
        ("/e/0/s/xhr", "POST, OPTIONS"),
        ("/e/0/s/jsonp_send", "POST"),
        ("/e/0/s/websocket", "GET"),
    ] {
        let answer = answers().refused(resolve("/e", &Method::Other, path).unwrap_err());
        assert_eq!((answer.status(), answer.body().len()), (StatusCode::METHOD_NOT_ALLOWED, 0));
        has(&answer, &[("allow", allowed)]);
    }
}

#[test]
fn methods_are_told_apart_with_their_case() {
    for (name, method) in
        [("GET", Method::Get), ("POST", Method::Post), ("OPTIONS", Method::Options), ("get", Method::Other)]
    {
        assert_eq!(Method::from(&http::Method::from_bytes(name.as_bytes()).unwrap()), method);
    }
}

#[test]
fn not_a_websocket() {
    let answer = answers().not_a_websocket();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer.body(), "Not a valid websocket request");
}

#[test]
fn websockets_that_are_switched_off_are_not_found_for_a_year() {
    let answer = answers().no_websockets(expires());
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    has(&answer, &[PLAIN, ("cache-control", A_YEAR), ("expires", EXPIRES)]);
}

#[test]
fn info_as_captured() {
    let answer = answers().info(&request(&[]), Cors::Allowed, 2_028_208_911);
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.body(), r#"{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":2028208911}"#);
    has(
        &answer,
        &[
            ("content-type", "application/json; charset=UTF-8"),
            ("cache-control", NO_CACHE),
            ("access-control-allow-origin", "*"),
        ],
    );
}

#[test]
fn info_says_what_is_configured_and_sets_no_cookie() {
    let base_url = Some("https://h.example/\"x\"".into());
    let answers = Answers::new(Options { websocket: false, cookie_needed: true, base_url, ..options() }).unwrap();
    let answer = answers.info(&request(&[]), Cors::Allowed, u32::MAX);
    let info: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(info["websocket"], false);
    assert_eq!(info["cookie_needed"], true);
    assert_eq!(info["base_url"], "https://h.example/\"x\"");
    assert_eq!(entropy(&answer), u64::from(u32::MAX));
    assert_eq!(header(&answer, "set-cookie"), "");
}

#[test]
fn the_page_for_frames() {
    let answer = answers().iframe(&request(&[]), expires());
    assert_eq!(answer.status(), StatusCode::OK);
    let tag = header(&answer, "etag");
    assert!(
        tag.starts_with('"')
            && tag.ends_with('"')
            && tag[1..tag.len() - 1].bytes().all(|byte| byte.is_ascii_hexdigit())
    );
    has(
        &answer,
        &[("content-type", "text/html; charset=UTF-8"), ("cache-control", A_YEAR), ("expires", EXPIRES), ("etag", tag)],
    );
    let page = std::str::from_utf8(answer.body()).unwrap();
    let mut at = 0;
    for part in [
        "<!DOCTYPE html>\n<html>\n<head>\n  <meta",
        "X-UA-Compatible",
        "IE=edge",
        "text/html; charset=UTF-8",
        "<script src=\"/sockjs-1.6.1.min.js\"></script>",
        "document.domain = document.domain;",
        "SockJS.bootstrap_iframe();",
        "<h2>Don't panic!</h2>",
        "<p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>",
    ] {
        at += page[at..].find(part).unwrap_or_else(|| panic!("{part} comes next")) + part.len();
    }
}

#[test]
fn a_page_that_is_known_is_not_sent_again() {
    let tag = answers().iframe(&request(&[]), expires()).headers()["etag"].clone();
    let listed = format!("\"x\", W/{}", tag.to_str().unwrap());
    for known in [tag.clone(), HeaderValue::from_str(&listed).unwrap(), HeaderValue::from_static("*")] {
        let mut headers = HeaderMap::new();
        headers.insert("if-none-match", known);
        let answer = answers().iframe(&headers, expires());
        assert_eq!((answer.status(), answer.body().len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(header(&answer, "content-type"), "");
    }
    let answer = answers().iframe(&request(&[("if-none-match", "\"x\"")]), expires());
    assert_eq!(answer.status(), StatusCode::OK);
}

#[test]
fn the_tag_of_the_page_changes_with_it() {
    let other = Answers::new(Options { client_url: "https://cdn.example/sockjs.js".into(), ..options() }).unwrap();
    let tag = |answers: &Answers| answers.iframe(&request(&[]), expires()).headers()["etag"].clone();
    assert_ne!(tag(&answers()), tag(&other));
}

#[test]
fn the_address_of_the_client_is_checked_and_escaped() {
    for client_url in ["", "sockjs.js", "javascript:alert(1)", "//"] {
        let made = Answers::new(Options { client_url: client_url.into(), ..options() });
        assert_eq!(made.is_some(), client_url == "//", "{client_url}");
    }
    let answers = Answers::new(Options { client_url: "/x\"></script><b>&".into(), ..options() }).unwrap();
    let answer = answers.iframe(&request(&[]), expires());
    let page = std::str::from_utf8(answer.body()).unwrap();
    assert!(page.contains("<script src=\"/x&quot;&gt;&lt;/script&gt;&lt;b&gt;&amp;\"></script>"), "{page}");
}

#[test]
fn who_may_show_the_page_in_a_frame_is_said() {
    let frame_ancestors = Some(HeaderValue::from_static("https://a.example"));
    let answers = Answers::new(Options { frame_ancestors, ..options() }).unwrap();
    let answer = answers.iframe(&request(&[]), expires());
    assert_eq!(header(&answer, "content-security-policy"), "frame-ancestors https://a.example");
}

#[test]
fn preflights() {
    let asked = request(&[("origin", "https://a.example"), ("access-control-request-headers", "x-a, x-b")]);
    for (endpoint, methods) in [
        (Endpoint::Info, "OPTIONS, GET"),
        (session(SessionEndpoint::Xhr), "OPTIONS, POST"),
        (session(SessionEndpoint::XhrSend), "OPTIONS, POST"),
        (session(SessionEndpoint::XhrStreaming), "OPTIONS, POST"),
    ] {
        let answer = sticky().preflight(&endpoint, &asked, Cors::Allowed, expires());
        assert_eq!((answer.status(), answer.body().len()), (StatusCode::NO_CONTENT, 0));
        has(
            &answer,
            &[
                ("access-control-allow-origin", "https://a.example"),
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-headers", "x-a, x-b"),
                ("access-control-allow-methods", methods),
                ("access-control-max-age", "31536000"),
                ("cache-control", A_YEAR),
                ("expires", EXPIRES),
                ("vary", "Origin"),
                ("set-cookie", "JSESSIONID=dummy; path=/"),
            ],
        );
    }
}

#[test]
fn heads_of_receiving_endpoints() {
    let javascript = ("content-type", "application/javascript; charset=UTF-8");
    let no_cache = ("cache-control", NO_CACHE);
    let any = ("access-control-allow-origin", "*");
    let nosniff = ("x-content-type-options", "nosniff");
    for (transport, expected) in [
        (Transport::XhrStreaming, vec![javascript, no_cache, any]),
        (Transport::Xhr, vec![javascript, no_cache, any]),
        (Transport::EventSource, vec![("content-type", "text/event-stream"), no_cache, any]),
        (Transport::html_file("c=x").unwrap(), vec![("content-type", "text/html; charset=UTF-8"), no_cache, nosniff]),
        (Transport::jsonp("c=x").unwrap(), vec![javascript, no_cache, nosniff]),
    ] {
        let mut expected = expected;
        let head = answers().receiving(&transport, &request(&[]), Cors::Allowed);
        assert_eq!(head.status(), StatusCode::OK);
        has(&head, &expected);
        expected.push(("set-cookie", "JSESSIONID=dummy; path=/"));
        has(&sticky().receiving(&transport, &request(&[]), Cors::Allowed), &expected);
    }
}

#[test]
fn what_is_sent_is_answered_with_204_or_ok() {
    let answer = answers().sent(SessionEndpoint::XhrSend, &request(&[]), Cors::Allowed);
    assert_eq!((answer.status(), answer.body().len()), (StatusCode::NO_CONTENT, 0));
    has(&answer, &[PLAIN, ("cache-control", NO_CACHE), ("access-control-allow-origin", "*")]);

    let answer = answers().sent(SessionEndpoint::JsonpSend, &request(&[("origin", "https://a")]), Cors::Allowed);
    assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::OK, &b"ok"[..]));
    has(&answer, &[PLAIN, ("cache-control", NO_CACHE)]);
}

#[test]
fn what_cannot_be_sent_can_be_read_by_the_page() {
    let asked = request(&[("origin", "https://a")]);
    for (bad, status, body) in [
        (BadPayload::Expected, 500, "Payload expected."),
        (BadPayload::Broken, 500, "Broken JSON encoding."),
        (BadPayload::TooMany, 413, "Too many messages."),
    ] {
        let answer = answers().bad_payload(SessionEndpoint::XhrSend, bad, &asked, Cors::Allowed);
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (status, body.as_bytes()));
        assert_eq!(header(&answer, "access-control-allow-origin"), "https://a");
    }
    let answer = answers().no_session(SessionEndpoint::XhrSend, &asked, Cors::Allowed);
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(&answer, "cache-control"), NO_CACHE);
    for bad in [BadCallback::Missing, BadCallback::Invalid] {
        let answer = answers().bad_callback(bad);
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (500, bad.body().as_bytes()));
    }
}

#[test]
fn origins() {
    let xhr = |headers: &[_], cors| answers().receiving(&Transport::Xhr, &request(headers), cors);
    let events = |headers: &[_]| answers().receiving(&Transport::EventSource, &request(headers), Cors::Allowed);
    for (answer, origin, credentials, vary) in [
        (xhr(&[], Cors::Allowed), "*", "", ""),
        (xhr(&[("origin", "https://a")], Cors::Allowed), "https://a", "true", "Origin"),
        (xhr(&[("origin", "null")], Cors::Allowed), "null", "true", "Origin"),
        (xhr(&[("origin", "https://a")], Cors::Denied), "", "", ""),
        (xhr(&[], Cors::Denied), "", "", ""),
        (events(&[("origin", "https://a")]), "https://a", "true", "Origin"),
        (events(&[("origin", "null")]), "*", "", ""),
    ] {
        assert_eq!(header(&answer, "access-control-allow-origin"), origin);
        assert_eq!(header(&answer, "access-control-allow-credentials"), credentials);
        assert_eq!(header(&answer, "vary"), vary);
    }
    let info = answers().info(&request(&[("origin", "null")]), Cors::Allowed, 1);
    assert_eq!(header(&info, "access-control-allow-origin"), "null");
    let empty = xhr(&[("access-control-request-headers", "")], Cors::Allowed);
    assert_eq!(header(&empty, "access-control-allow-headers"), "");
}

#[test]
fn the_cookie_of_the_client_comes_back() {
    for (cookie, expected) in [
        ("JSESSIONID=abc", "JSESSIONID=abc; path=/"),
        ("a=b; JSESSIONID=a=b ; c=d", "JSESSIONID=a=b; path=/"),
        ("XJSESSIONID=no", "JSESSIONID=dummy; path=/"),
        ("jsessionid=no", "JSESSIONID=dummy; path=/"),
    ] {
        let head = sticky().receiving(&Transport::Xhr, &request(&[("cookie", cookie)]), Cors::Allowed);
        assert_eq!(header(&head, "set-cookie"), expected);
    }
}
