//! Properties of the opening handshake: how the input is split makes no difference, and no input makes it panic.

use bytes::Bytes;
use proptest::prelude::*;
use sockeye_proto::handshake::{
    ClientRequest, ExtensionOffer, HandshakeLimits, Offer, OriginPolicy, ReadRequest, RequestProgress,
    ResponseProgress, Subprotocol, is_upgrade,
};

/// Small limits, so that random input crosses them.
fn limits() -> HandshakeLimits {
    let mut limits = HandshakeLimits::default();
    limits.max_request_line = 64;
    limits.max_header_line = 64;
    limits.max_head = 512;
    limits.max_headers = 8;
    limits.max_error_body = 16;
    limits
}

/// Cuts input at places that need not be in order or within it.
fn pieces<'a>(input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    cuts.extend([0, input.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &input[ends[0]..ends[1]]).collect()
}

/// Everything that can be seen of reading a request, as text. `rest` is what was not read as the head.
fn request_outcome(pieces: &[&[u8]]) -> String {
    let mut reading = ReadRequest::new(limits());
    for (index, piece) in pieces.iter().enumerate() {
        match reading.handle_input(piece) {
            Ok(RequestProgress::More(next)) => reading = next,
            Ok(RequestProgress::Done { request, rest }) => {
                let rest = [rest.as_ref(), &pieces[index + 1..].concat()].concat();
                let offer = Offer::check(&request);
                return format!("{request:?} {} {:?} {offer:?}", is_upgrade(&request), Bytes::from(rest));
            }
            Err(refusal) => return format!("{refusal:?}"),
        }
    }
    format!("{:?}", reading.handle_eof())
}

fn response_outcome(pieces: &[&[u8]]) -> String {
    let request = ClientRequest::new("ws://a/").unwrap().limits(limits());
    let (_, mut reading) = request.subprotocol(Subprotocol::new("p").unwrap()).unwrap().start(*b"the sample nonce");
    for (index, piece) in pieces.iter().enumerate() {
        match reading.handle_input(piece) {
            Ok(ResponseProgress::More(next)) => reading = next,
            Ok(ResponseProgress::Done(done)) => {
                let rest = [done.rest.as_ref(), &pieces[index + 1..].concat()].concat();
                return format!("{:?} {:?} {:?}", done.response, done.subprotocol, Bytes::from(rest));
            }
            Err(error) => return format!("{error:?}"),
        }
    }
    format!("{:?}", reading.handle_eof())
}

/// Heads made of likely lines, so that many are whole and some are right.
fn head(start: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => proptest::sample::select(&[
            "Host: a", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Content-Length: 3",
            "Transfer-Encoding: chunked", "Sec-WebSocket-Protocol: p", "Sec-WebSocket-Extensions: x; y=\"z\"",
        ][..]).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..80),
        1 => "[ -~]{0,80}".prop_map(String::into_bytes),
    ];
    let end = proptest::sample::select(&["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"][..]);
    let lines = proptest::collection::vec((line, end), 0..10);
    (proptest::sample::select(start), lines, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(
        |(start, lines, rest)| {
            let mut head = format!("{start}\r\n").into_bytes();
            for (line, end) in lines {
                head.extend(line);
                head.extend(end.as_bytes());
            }
            head.extend(b"\r\n");
            head.extend(rest);
            head
        },
    )
}

const REQUEST_LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "GET /a?b HTTP/1.1",
    "POST /x HTTP/1.1",
    "\r\nGET / HTTP/1.1",
    "GET http://a/ HTTP/1.1",
    "GET /",
];
const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 403 Forbidden",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols",
];

/// Right heads, to be cut at every place.
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\nframes";
const ANSWER: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: p\r\n\r\nframes";

#[test]
fn a_right_request_cut_anywhere() {
    let whole = request_outcome(&[UPGRADE]);
    assert!(whole.contains("Ok(Offer") && whole.contains("frames"), "{whole}");
    for cut in 0..=UPGRADE.len() {
        let (left, right) = UPGRADE.split_at(cut);
        assert_eq!(request_outcome(&[left, right]), whole, "{cut}");
    }
}

#[test]
fn a_right_answer_cut_anywhere() {
    let whole = response_outcome(&[ANSWER]);
    assert!(whole.contains("Some(\"p\")") && whole.contains("frames"), "{whole}");
    for cut in 0..=ANSWER.len() {
        let (left, right) = ANSWER.split_at(cut);
        assert_eq!(response_outcome(&[left, right]), whole, "{cut}");
    }
}

proptest! {
    #[test]
    fn any_split_of_a_request_gives_the_same(head in head(REQUEST_LINES), cuts in proptest::collection::vec(any::<usize>(), 0..8)) {
        let whole = request_outcome(&[&head]);
        prop_assert_eq!(&request_outcome(&pieces(&head, &cuts)), &whole);
        prop_assert_eq!(&request_outcome(&head.chunks(1).collect::<Vec<_>>()), &whole);
    }

    #[test]
    fn any_split_of_a_response_gives_the_same(head in head(STATUS_LINES), cuts in proptest::collection::vec(any::<usize>(), 0..8)) {
        let whole = response_outcome(&[&head]);
        prop_assert_eq!(&response_outcome(&pieces(&head, &cuts)), &whole);
        prop_assert_eq!(&response_outcome(&head.chunks(1).collect::<Vec<_>>()), &whole);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), text in "\\PC{0,60}") {
        request_outcome(&[&bytes]);
        response_outcome(&[&bytes]);
        request_outcome(&[text.as_bytes()]);
        let _ = ExtensionOffer::parse(&text);
        let _ = ClientRequest::new(&text);
        let _ = Subprotocol::new(&text);
        let _ = OriginPolicy::list([&text]);
        for policy in [OriginPolicy::same(), OriginPolicy::list(["https://a"]).unwrap()] {
            let _ = policy.allows(Some(&text), &text);
        }
    }

    #[test]
    fn no_target_makes_it_panic_or_leaves_its_root(target in "[ -~]{1,40}|(/|\\.|%2e|%2F|%5c|a|\\?|http://a){1,12}") {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        if let Ok(RequestProgress::Done { request, .. }) = ReadRequest::new(limits()).handle_input(head.as_bytes()) {
            let path = request.uri().path().to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/");
            prop_assert!(path.starts_with('/') && !path.contains("//") && !path.contains("%5c"), "{}", path);
            prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{}", path);
        }
    }

    #[test]
    fn what_is_an_origin_equals_itself_and_no_other(host in "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}", port in proptest::option::of(any::<u16>()), suffix in "[-.a-z0-9:@/]{1,6}") {
        let origin = port.map_or(format!("https://{host}"), |port| format!("https://{host}:{port}"));
        let policy = OriginPolicy::list([&origin]).unwrap();
        prop_assert!(policy.allows(Some(&origin), "x"));
        // A longer text can only be the same origin where it spells out the default port.
        let longer = format!("{origin}{suffix}");
        prop_assert!(!policy.allows(Some(&longer), "x") || longer == format!("https://{host}:443"), "{}", longer);
    }
}
