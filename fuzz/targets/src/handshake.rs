//! The opening handshake from both ends. What one end writes, the other has to read in the same sense.
use bytes::BytesMut;
use data_encoding::BASE64;
use http::Request;
use sockeye_proto::handshake::{
    BodyLength, ClientRequest, ExtensionOffer, HandshakeError, HandshakeLimits, Offer, OriginPolicy, ReadRequest,
    ReadResponse, Refusal, RequestProgress, ResponseProgress, Subprotocol, SubprotocolPolicy, is_upgrade,
    write_response,
};

use crate::input::{Choices, Cuts};

/// The nonce of RFC 6455 section 1.3, so that an input can hold the right answer.
const NONCE: [u8; 16] = *b"the sample nonce";

/// Bytes from a client into a server's handshake, in any split.
///
/// # Panics
/// If the split makes a difference, if a request is taken that must not be, or if our client does not understand the answer.
pub fn handshake_request(data: &[u8]) {
    let mut choices = Choices::new(data);
    let setting = choices.byte();
    let cuts = Cuts::read(&mut choices);
    let input = choices.rest();
    let limits = limits(setting);

    let outcome = read_request(&[input], limits);
    let whole = format!("{outcome:?}");
    assert_eq!(whole, format!("{:?}", read_request(&cuts.pieces(input), limits)));
    match outcome {
        Ok((request, rest)) => {
            let head = input.len() - rest.len();
            assert!(input.ends_with(&rest) && head <= limits.max_head && input[..head].ends_with(b"\r\n\r\n"));
            assert_request(&request, &limits);
            match Offer::check(&request) {
                Ok(offer) => answer(&offer, setting),
                Err(refusal) => assert_refusal(&refusal),
            }
        }
        Err(Some(refusal)) => assert_refusal(&refusal),
        Err(None) => assert!(input.is_empty(), "no answer"),
    }
}

/// Bytes from a server into a client's handshake, in any split, and our own request into our own server.
///
/// # Panics
/// If the split makes a difference, if an answer is taken that must not be, or if our server does not understand the request.
pub fn handshake_response(data: &[u8]) {
    let mut choices = Choices::new(data);
    let setting = choices.byte();
    let cuts = Cuts::read(&mut choices);
    let url_len = choices.byte();
    let url = String::from_utf8_lossy(choices.take(url_len.into()));
    let input = choices.rest();

    let request = ClientRequest::new(&url).and_then(|request| offering(request, setting));
    let Ok(request) = request.or_else(|error| {
        assert!(error.is_user() && !error.is_protocol(), "{error}");
        offering(ClientRequest::new("ws://example.org/")?, setting)
    }) else {
        return;
    };
    assert_own_request(&request, setting);
    let (_, reading) = request.clone().start(NONCE);
    let whole = read_response(reading, &[input], setting);
    let (_, reading) = request.start(NONCE);
    assert_eq!(whole, read_response(reading, &cuts.pieces(input), setting));
}

/// Small ones, so that short inputs cross them, or the defaults.
fn limits(setting: u8) -> HandshakeLimits {
    let mut limits = HandshakeLimits::default();
    if setting & 1 != 0 {
        limits.max_request_line = 64;
        limits.max_header_line = 64;
        limits.max_head = 512;
        limits.max_headers = 8;
        limits.max_error_body = 16;
    }
    limits
}

type Reading = Result<(Request<()>, Vec<u8>), Option<Refusal>>;

/// The request and what follows it; or the refusal, if there is anything to refuse.
fn read_request(pieces: &[&[u8]], limits: HandshakeLimits) -> Reading {
    let mut reading = ReadRequest::new(limits);
    for (index, piece) in pieces.iter().enumerate() {
        match reading.handle_input(piece).map_err(Some)? {
            RequestProgress::More(next) => reading = next,
            RequestProgress::Done { request, rest } => {
                return Ok((request, [rest.as_ref(), &pieces[index + 1..].concat()].concat()));
            }
        }
    }
    Err(reading.handle_eof())
}

/// What every request that gets through is.
fn assert_request(request: &Request<()>, limits: &HandshakeLimits) {
    let path = request.uri().path().to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/");
    assert!(path.starts_with('/') && !path.contains("//") && !path.contains("%5c"), "{path}");
    assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{path}");
    assert_eq!(request.headers().get_all("host").iter().count(), 1);
    assert!(request.headers().len() <= limits.max_headers);
    let is_visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    assert!(request.headers().values().all(|value| value.as_bytes().iter().all(is_visible)));
    BodyLength::of(request.headers()).expect("the body's length is sound");
}

fn answer(offer: &Offer, setting: u8) {
    let nonce = BASE64.decode(offer.key().expect("HTTP/1.1 has a key").as_bytes()).expect("base64");
    let nonce = <[u8; 16]>::try_from(nonce).expect("16 bytes");
    let spoken = ["chat", "p"].map(|name| Subprotocol::new(name).expect("a token"));
    let policy = match setting >> 1 & 3 {
        0 => SubprotocolPolicy::none(),
        1 => SubprotocolPolicy::optional(spoken.clone()),
        2 => SubprotocolPolicy::required_if_offered(spoken.clone()),
        _ => SubprotocolPolicy::required(spoken.clone()),
    };
    for origins in [OriginPolicy::any(), OriginPolicy::same(), OriginPolicy::same().require()] {
        if let Err(refusal) = offer.check_origin(&origins) {
            assert_eq!(refusal.status(), 403);
            assert!(offer.origin().is_none_or(|origin| origin != format!("https://{}", offer.host())));
            assert_refusal(&refusal);
        }
    }
    for extension in offer.extensions() {
        assert!(extension.params().len() <= ExtensionOffer::MAX_PARAMS);
        assert_eq!(ExtensionOffer::parse(extension.name()).expect("a token").len(), 1);
    }
    let chosen = match offer.select(&policy) {
        Ok(chosen) => chosen,
        Err(refusal) => return assert_refusal(&refusal),
    };
    let accepted = offer.accept(chosen.clone()).expect("what was offered");
    let mut wire = BytesMut::new();
    write_response(&accepted.response, b"", &mut wire);
    wire.extend_from_slice(b"frames");
    let mut request = ClientRequest::new("ws://example.org/").expect("a URL");
    for name in offer.subprotocols() {
        request = request.subprotocol(name.clone()).expect("different, and not too many");
    }
    let (_, reading) = request.start(nonce);
    match reading.handle_input(&wire) {
        Ok(ResponseProgress::Done(done)) => {
            assert_eq!((done.subprotocol, done.rest.as_ref()), (chosen, b"frames".as_slice()));
        }
        other => panic!("our client does not take our answer: {other:?}"),
    }
}

/// A refusal is a whole response that a client reads as one.
fn assert_refusal(refusal: &Refusal) {
    let mut wire = BytesMut::new();
    refusal.write_to(&mut wire);
    let (_, reading) = ClientRequest::new("ws://example.org/").expect("a URL").start(NONCE);
    let error = match reading.handle_input(&wire) {
        Err(error) => error,
        Ok(ResponseProgress::More(reading)) => {
            assert!(refusal.body().is_empty(), "a body that does not end");
            reading.handle_eof()
        }
        Ok(ResponseProgress::Done(_)) => panic!("a refusal that opens"),
    };
    let response = error.response().expect("a response");
    assert_eq!((response.status(), response.body().as_ref()), (refusal.status(), refusal.body().as_bytes()));
    assert_eq!(response.headers()["connection"], "close");
}

fn offering(mut request: ClientRequest, setting: u8) -> Result<ClientRequest, HandshakeError> {
    for (bit, name) in [(2, "chat"), (4, "p")] {
        if setting & bit != 0 {
            request = request.subprotocol(Subprotocol::new(name).expect("a token"))?;
        }
    }
    Ok(request.limits(limits(setting)))
}

/// Everything that can be seen of reading a response, as text. What is open must be right in every point.
fn read_response(mut reading: ReadResponse, pieces: &[&[u8]], setting: u8) -> String {
    let limits = limits(setting);
    for (index, piece) in pieces.iter().enumerate() {
        match reading.handle_input(piece) {
            Ok(ResponseProgress::More(next)) => reading = next,
            Ok(ResponseProgress::Done(done)) => {
                let headers = done.response.headers();
                assert_eq!(done.response.status(), 101);
                assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
                assert!(!headers.contains_key("sec-websocket-extensions"));
                assert!(done.subprotocol.is_some() == headers.contains_key("sec-websocket-protocol"));
                assert!(done.subprotocol.is_none() || setting & 6 != 0, "nothing was offered");
                let rest = [done.rest.as_ref(), &pieces[index + 1..].concat()].concat();
                return format!("{:?} {:?} {rest:?}", done.response, done.subprotocol);
            }
            Err(error) => return failed(&error, &limits),
        }
    }
    failed(&reading.handle_eof(), &limits)
}

fn failed(error: &HandshakeError, limits: &HandshakeLimits) -> String {
    assert!(!error.is_user() && !error.is_timeout());
    if let Some(response) = error.response() {
        assert!(response.body().len() <= limits.max_error_body);
        assert!(error.is_refused() && response.status() != 101);
    }
    format!("{error:?} {error}")
}

/// Our request is one that our server reads. It may refuse the path or the name, on which it is stricter than URLs are.
fn assert_own_request(request: &ClientRequest, setting: u8) {
    let (head, _) = request.clone().start(NONCE);
    match read_request(&[&head], HandshakeLimits::default()) {
        Ok((read, rest)) => {
            assert!(rest.is_empty() && is_upgrade(&read));
            assert_eq!(read.uri().path(), request.path());
            let offer = Offer::check(&read).expect("an offer");
            assert_eq!(offer.subprotocols().len(), usize::from(setting >> 1 & 1) + usize::from(setting >> 2 & 1));
            assert_eq!(offer.key(), Some(&*BASE64.encode(&NONCE)));
        }
        Err(refusal) => {
            let code = refusal.expect("a refusal").code();
            assert!(matches!(code, "bad_target" | "bad_host" | "start_line_too_long"), "{code}: {head:?}");
        }
    }
}
