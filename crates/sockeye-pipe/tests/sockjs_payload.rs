//! What clients of SockJS send, sections 3, 4 and 6 of its notes.
use http::StatusCode;
use sockeye_pipe::sockjs::{BadPayload, BrokenFraming, MAX_MESSAGES, jsonp_send, websocket_messages, xhr_send};

type Taken = Result<Vec<String>, BadPayload>;

fn xhr(media_type: Option<&str>, body: &[u8]) -> Taken {
    xhr_send(media_type, body).map(|messages| messages.iter().map(ToString::to_string).collect())
}

fn jsonp(media_type: Option<&str>, body: &str) -> Taken {
    jsonp_send(media_type, body.as_bytes()).map(|messages| messages.iter().map(ToString::to_string).collect())
}

fn websocket(text: &str) -> Result<Vec<String>, BrokenFraming> {
    websocket_messages(text).map(|messages| messages.iter().map(ToString::to_string).collect())
}

fn strings(messages: &[&str]) -> Vec<String> {
    messages.iter().map(ToString::to_string).collect()
}

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

#[test]
fn an_array_of_strings_is_taken() {
    for (body, expected) in [
        (r#"["a","b"]"#, &["a", "b"][..]),
        (" [ \"a\"\n,\t\"b\" ] ", &["a", "b"]),
        ("[]", &[]),
        (r#"[""]"#, &[""]),
        (r#"["\ud83d\ude00\u00e9é\n\u0000"]"#, &["😀éé\n\0"]),
    ] {
        assert_eq!(xhr(None, body.as_bytes()), Ok(strings(expected)), "{body}");
        assert_eq!(jsonp(None, body), Ok(strings(expected)), "{body}");
        assert_eq!(websocket(body), Ok(strings(expected)), "{body}");
    }
}

#[test]
fn what_is_no_array_is_answered_with_payload_expected() {
    for body in ["", "{}", "\"s\"", "1", "null", " null ", "true", r#"{"a":["b"]}"#] {
        assert_eq!(xhr(None, body.as_bytes()), Err(BadPayload::Expected), "{body}");
        assert_eq!(jsonp(None, body), Err(BadPayload::Expected), "{body}");
    }
    assert_eq!(BadPayload::Expected.body(), "Payload expected.");
    assert_eq!(BadPayload::Expected.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn what_is_no_json_is_answered_with_broken_json_encoding() {
    for body in
        ["[\"x", "x", "[", "]", "[\"a\"", "[\"a\",]", "[\"a\"]x", "{\"a\"", "['a']", "[\"\n\"]", " ", "[\"\\x\"]"]
    {
        assert_eq!(xhr(None, body.as_bytes()), Err(BadPayload::Broken), "{body}");
        assert_eq!(jsonp(None, body), Err(BadPayload::Broken), "{body}");
    }
    assert_eq!(BadPayload::Broken.body(), "Broken JSON encoding.");
    assert_eq!(BadPayload::Broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn elements_that_are_no_strings_are_broken() {
    for body in ["[1]", "[null]", "[{}]", "[[\"a\"]]", "[\"a\",true]", "[[1,2]]"] {
        assert_eq!(xhr(None, body.as_bytes()), Err(BadPayload::Broken), "{body}");
        assert_eq!(websocket(body), Err(BrokenFraming), "{body}");
    }
}

#[test]
fn halves_of_surrogate_pairs_become_replacement_characters() {
    for (body, expected) in [
        (r#"["\ud800"]"#, "\u{fffd}"),
        (r#"["a\udc00b"]"#, "a\u{fffd}b"),
        (r#"["\ud800\ud83d\ude00"]"#, "\u{fffd}😀"),
        (r#"["\ude00\ud83d"]"#, "\u{fffd}\u{fffd}"),
        (r#"["\ud800x\udfffé"]"#, "\u{fffd}x\u{fffd}é"),
        (r#"["\ud800\n"]"#, "\u{fffd}\n"),
    ] {
        assert_eq!(xhr(None, body.as_bytes()), Ok(strings(&[expected])), "{body}");
        assert_eq!(websocket(body), Ok(strings(&[expected])), "{body}");
    }
}

#[test]
fn what_is_no_utf8_is_broken() {
    for body in [&b"[\"\xff\"]"[..], b"[\"\xed\xa0\x80\"]", b"\xff", b"[\"a\xc3\"]"] {
        assert_eq!(xhr(None, body), Err(BadPayload::Broken), "{body:?}");
    }
}

#[test]
fn xhr_send_takes_these_media_types_and_no_others() {
    for media_type in [
        "",
        "text/plain",
        "T",
        "application/json",
        "application/xml",
        "text/xml",
        "text/plain; charset=UTF-8",
        "text/plain;",
        "Text/Plain",
        "application/json ; x=y",
    ] {
        assert_eq!(xhr(Some(media_type), b"[\"a\"]"), Ok(strings(&["a"])), "{media_type}");
    }
    for media_type in
        ["application/x-www-form-urlencoded", "text/html", "application/octet-stream", "text", "text/plain2"]
    {
        assert_eq!(xhr(Some(media_type), b"[\"a\"]"), Err(BadPayload::Expected), "{media_type}");
    }
}

#[test]
fn jsonp_send_decodes_forms() {
    for body in ["d=%5B%22x%20y%22%5D", "d=[\"x+y\"]", "a=b&d=%5B%22x+y%22%5D&c", "d=%5B%22x y%22%5D&d=%5B%5D"] {
        assert_eq!(jsonp(FORM, body), Ok(strings(&["x y"])), "{body}");
    }
    let with_parameters = Some("application/x-www-form-urlencoded; charset=UTF-8");
    assert_eq!(jsonp(with_parameters, "d=%5B%22%2B%26%3D%25%22%5D"), Ok(strings(&["+&=%"])));
}

#[test]
fn jsonp_send_without_d_is_answered_with_payload_expected() {
    for body in ["", "d=", "d", "p=p", "D=%5B%22x%22%5D", "[\"x\"]"] {
        assert_eq!(jsonp(FORM, body), Err(BadPayload::Expected), "{body}");
    }
    assert_eq!(jsonp(FORM, "d=%5B%22x"), Err(BadPayload::Broken));
    assert_eq!(jsonp(FORM, "d=%5B%22%FF%22%5D"), Err(BadPayload::Broken));
    assert_eq!(jsonp(Some("text/html"), "[\"x\"]"), Err(BadPayload::Expected));
}

#[test]
fn jsonp_send_does_not_decode_plain_text() {
    for media_type in [None, Some("text/plain"), Some("text/plain; charset=UTF-8")] {
        assert_eq!(jsonp(media_type, "[\"%61bc\"]"), Ok(strings(&["%61bc"])));
    }
}

#[test]
fn a_request_brings_so_many_messages_and_no_more() {
    let body = |count: usize| format!("[{}]", vec!["\"\""; count].join(","));
    assert_eq!(xhr(None, body(MAX_MESSAGES).as_bytes()).map(|messages| messages.len()), Ok(MAX_MESSAGES));
    assert_eq!(xhr(None, body(MAX_MESSAGES + 1).as_bytes()), Err(BadPayload::TooMany));
    assert_eq!(BadPayload::TooMany.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(websocket(&body(MAX_MESSAGES + 1)), Err(BrokenFraming));
}

#[test]
fn nesting_ends_nothing_but_the_request() {
    let body = "[".repeat(1 << 20);
    assert_eq!(xhr(None, body.as_bytes()), Err(BadPayload::Broken));
    let body = format!("{{\"a\":{}", "[".repeat(1 << 20));
    assert_eq!(xhr(None, body.as_bytes()), Err(BadPayload::Broken));
}

#[test]
fn a_websocket_takes_a_bare_string_and_passes_over_nothing() {
    for (text, expected) in [("\"a\"", &["a"][..]), (" \"a\\n\" ", &["a\n"]), ("", &[]), ("[]", &[]), ("\"\"", &[""])] {
        assert_eq!(websocket(text), Ok(strings(expected)), "{text}");
    }
}

#[test]
fn anything_else_on_a_websocket_closes_it_with_3000() {
    for text in ["[\"x", "x", "\"x", "{}", "1", "null", " ", "[\"a\"]x", "\"a\"\"b\""] {
        assert_eq!(websocket(text), Err(BrokenFraming), "{text}");
    }
    assert_eq!((BrokenFraming::CODE, BrokenFraming::REASON), (3000, "Broken framing."));
}
