//! Conversations over many requests, and what clients of SockJS say.
use bytestring::ByteString;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sockeye_pipe::{
    Batch, Frame, Framing,
    sockjs::{
        BadPayload, Endpoint, MAX_MESSAGES, Method, Refused, Transport, jsonp_send, resolve, websocket_messages,
        xhr_send,
    },
};

use crate::input::Choices;

#[path = "../../../crates/sockeye-pipe/tests/common/mod.rs"]
mod lives;

/// A client, a server and the wire between them, and what happens next.
///
/// # Panics
/// If a message comes out of order or twice, is lost though nothing broke, or a queue is longer than it may be.
pub fn conversation(data: &[u8]) {
    let mut choices = Choices::new(data);
    let rules = if choices.below(2) == 0 { lives::Rules::SockJs } else { lives::Rules::Native };
    lives::run(rules, choices.rest().iter().copied());
}

/// A path, and a query.
///
/// # Panics
/// If a slash or a method makes a difference where it must not, or a name or callback is none.
pub fn sockjs_paths(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let methods = [Method::Get, Method::Post, Method::Options, Method::Other];
    let outcomes = methods.map(|method| resolve("/echo", &method, path));
    let with_slash = format!("{path}/");
    if !path.ends_with('/') {
        assert_eq!(outcomes, methods.map(|method| resolve("/echo", &method, &with_slash)));
    }
    let with_two = format!("{path}//");
    assert_eq!(resolve("/echo", &Method::Get, &with_two), Err(Refused::NotFound));

    let found: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.ok()).collect();
    let is_known = outcomes[0] != Err(Refused::NotFound);
    assert_eq!(found.is_empty(), !is_known, "what is there is there for some method");
    for outcome in outcomes {
        match outcome {
            Ok(endpoint) => assert_eq!(endpoint, found[0]),
            Err(Refused::MethodNotAllowed(allowed)) => assert_eq!(allowed, found[0].allowed()),
            Err(Refused::NotFound) => assert!(!is_known),
        }
    }
    if let Some(Endpoint::Session { id, .. }) = found.first() {
        assert!((1..=128).contains(&id.len()) && !id.contains(['/', '.']) && path.contains(id));
    }
    for made in [Transport::jsonp, Transport::html_file] {
        let (Ok(transport), Ok(plain)) = (made(query), made("c=cb")) else { continue };
        assert!(transport.encode(&Frame::Open).is_ascii());
        let tags = |transport: &Transport| transport.prelude().split(|byte| *byte == b'<').count();
        assert_eq!(tags(&transport), tags(&plain), "a callback makes no tags");
    }
}

/// A body of a sending endpoint, as it is and in a form, and as a text on a WebSocket.
///
/// # Panics
/// If a strict parser reads something else, or what is written for clients is not what they read.
pub fn sockjs_payload(data: &[u8]) {
    let taken = xhr_send(None, data);
    match (&taken, serde_json::from_slice::<Vec<String>>(data)) {
        (Ok(messages), Ok(strict)) => assert_eq!(*messages, strict),
        // Halves of surrogate pairs, and nothing else, are taken where others refuse them.
        (Ok(messages), Err(_)) => assert!(messages.iter().any(|message| message.contains('\u{fffd}'))),
        (Err(bad), Ok(strict)) => assert!(*bad == BadPayload::TooMany && strict.len() > MAX_MESSAGES),
        (Err(bad), Err(_)) => {
            let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok();
            assert!(is_json || *bad != BadPayload::Expected || data.is_empty());
        }
    }
    let form = format!("d={}", percent_encode(data, NON_ALPHANUMERIC));
    assert_eq!(jsonp_send(Some("application/x-www-form-urlencoded"), form.as_bytes()), taken);
    if let Ok(text) = std::str::from_utf8(data) {
        match websocket_messages(text) {
            Ok(messages) => assert!(text.is_empty() || taken == Ok(messages) || taken == Err(BadPayload::Expected)),
            Err(_) => assert!(taken.is_err()),
        }
    }
    let messages = taken.unwrap_or_else(|_| vec![String::from_utf8_lossy(data).into_owned().into()]);
    if !messages.is_empty() {
        is_heard(messages);
    }
}

/// Each transport's client reads what was written.
fn is_heard(messages: Vec<ByteString>) {
    let frame = Frame::Messages(Batch { before: 0, messages });
    let Frame::Messages(Batch { messages, .. }) = &frame else { return };
    let encode = |transport: &Transport| String::from_utf8(transport.encode(&frame).to_vec()).expect("text");
    let is_frame = |text: &str| {
        let array = text.strip_prefix('a').expect("a frame of messages");
        assert_eq!(*messages, serde_json::from_str::<Vec<String>>(array).expect("an array"));
        assert!(!text.contains(|character: char| character < ' '), "one line");
    };
    is_frame(&encode(&Transport::WebSocket));
    is_frame(encode(&Transport::Xhr).strip_suffix('\n').expect("a line"));

    let event = encode(&Transport::EventSource);
    let data = event.strip_prefix("data: ").and_then(|event| event.strip_suffix("\r\n\r\n")).expect("an event");
    is_frame(&percent_decode_str(data).decode_utf8().expect("text"));

    let jsonp = Transport::jsonp("c=cb").expect("a callback");
    let html_file = Transport::html_file("c=cb").expect("a callback");
    for (transport, before, after) in [(jsonp, "/**/cb(", ");\r\n"), (html_file, "<script>\np(", ");\n</script>\r\n")] {
        let script = encode(&transport);
        let literal = script.strip_prefix(before).and_then(|script| script.strip_suffix(after)).expect("a call");
        assert!(!literal.contains('<'));
        is_frame(&serde_json::from_str::<String>(literal).expect("a string"));
    }
}
