//! Frames of SockJS on the wire, section 3 of its notes: wrappers, preludes, callbacks.
use bytestring::ByteString;
use sockeye_pipe::{
    Batch, Farewell, Frame, Framing, ReceiverKind,
    sockjs::{BadCallback, RESPONSE_LIMIT, Transport},
};

fn all() -> [Transport; 6] {
    let html_file = Transport::html_file("c=cb").unwrap();
    let jsonp = Transport::jsonp("c=cb").unwrap();
    [Transport::XhrStreaming, Transport::Xhr, Transport::EventSource, html_file, jsonp, Transport::WebSocket]
}

fn messages(messages: &[&'static str]) -> Frame {
    let messages = messages.iter().map(|message| ByteString::from_static(message)).collect();
    Frame::Messages(Batch { before: 0, messages })
}

fn written(transport: &Transport, frame: &Frame) -> String {
    String::from_utf8(transport.encode(frame).to_vec()).unwrap()
}

#[test]
fn frames_on_a_websocket_are_bare() {
    let bare = |frame: &Frame| written(&Transport::WebSocket, frame);
    assert_eq!(bare(&Frame::Open), "o");
    assert_eq!(bare(&Frame::Heartbeat), "h");
    assert_eq!(bare(&messages(&["m1"])), r#"a["m1"]"#);
    assert_eq!(bare(&messages(&["m1", "m2"])), r#"a["m1","m2"]"#);
    assert_eq!(bare(&Frame::Close(Farewell::new(3000, "Go away!"))), r#"c[3000,"Go away!"]"#);
    assert_eq!(bare(&Frame::Close(Farewell::new(4001, "a \"b\"\u{2028}"))), r#"c[4001,"a \"b\"\u2028"]"#);
}

#[test]
fn each_transport_wraps_in_its_own_way() {
    let frame = messages(&["x"]);
    let expected = [
        "a[\"x\"]\n",
        "a[\"x\"]\n",
        "data: a[\"x\"]\r\n\r\n",
        "<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n",
        "/**/cb(\"a[\\\"x\\\"]\");\r\n",
        "a[\"x\"]",
    ];
    for (transport, expected) in all().iter().zip(expected) {
        assert_eq!(written(transport, &frame), expected);
    }
}

#[test]
fn the_message_of_the_notes_test_recipe_is_one_line_everywhere() {
    let frame = messages(&["é \u{2028} 😀 % \"q\" \n\0"]);
    let inner = "a[\"é \\u2028 \\ud83d\\ude00 % \\\"q\\\" \\n\\u0000\"]";
    assert_eq!(written(&Transport::Xhr, &frame), format!("{inner}\n"));
    let escaped = inner.replace('%', "%25");
    assert_eq!(written(&Transport::EventSource, &frame), format!("data: {escaped}\r\n\r\n"));
}

/// The client gives the data to `decodeURI`.
#[test]
fn an_event_source_escapes_what_decode_uri_would_take_for_something_else() {
    let escaped = written(&Transport::EventSource, &messages(&["100% %41 \r\n\0"]));
    assert_eq!(escaped, "data: a[\"100%25 %2541 \\r\\n\\u0000\"]\r\n\r\n");
}

#[test]
fn no_message_ends_a_script() {
    let frame = messages(&["</script><script>alert(1)</script><!--"]);
    for transport in &all()[3..5] {
        let inner = written(transport, &frame);
        let inner = inner.trim_start_matches("<script>").trim_end_matches("</script>\r\n");
        assert!(!inner.contains('<'), "{inner}");
    }
}

#[test]
fn the_prelude_of_xhr_streaming_is_2048_times_h_and_a_line_break() {
    let prelude = Transport::XhrStreaming.prelude();
    assert_eq!(prelude.len(), 2049);
    assert_eq!(prelude, format!("{}\n", "h".repeat(2048)));
}

#[test]
fn the_prelude_of_an_event_source_is_an_empty_line() {
    assert_eq!(Transport::EventSource.prelude(), "\r\n");
}

#[test]
fn polls_and_websockets_have_no_prelude() {
    for transport in [Transport::Xhr, Transport::WebSocket, Transport::jsonp("c=x").unwrap()] {
        assert!(transport.prelude().is_empty());
    }
}

#[test]
fn the_prelude_of_htmlfile_is_a_page_of_more_than_1024_bytes() {
    for name in ["c", "_very.long-callback_name_in_the_page_around_it_0123456789"] {
        let prelude = Transport::html_file(&format!("c={name}")).unwrap().prelude();
        let page = String::from_utf8(prelude.to_vec()).unwrap();
        assert!(page.len() >= 1029, "{} bytes", page.len());
        assert!(page.ends_with(" \r\n\r\n"));
        let mut at = 0;
        for part in [
            "<!doctype html>",
            "X-UA-Compatible",
            "IE=edge",
            "text/html; charset=UTF-8",
            "<body><h2>Don't panic!</h2>",
            "<script>",
            "document.domain = document.domain;",
            &format!("parent.{name};"),
            "c.start();",
            "function p(d) {c.message(d);}",
            "window.onload",
            "c.stop();",
            "</script>",
        ] {
            at += page[at..].find(part).unwrap_or_else(|| panic!("{part} comes next")) + part.len();
        }
        assert!(!page.contains("</body>") && !page.contains("</html>"));
    }
}

#[test]
fn polls_end_after_a_frame_and_streams_at_their_limit() {
    assert_eq!(RESPONSE_LIMIT, 131_072);
    let stream = ReceiverKind::Streaming { limit: 4096 };
    let endless = ReceiverKind::Streaming { limit: usize::MAX };
    let expected = [stream, ReceiverKind::Poll, stream, stream, ReceiverKind::Poll, endless];
    for (transport, expected) in all().iter().zip(expected) {
        assert_eq!(transport.receiver_kind(4096), expected);
    }
}

#[test]
fn a_callback_is_named_by_c_or_callback_among_other_parameters() {
    for query in ["c=cb", "callback=cb", "t=1&c=cb", "c=cb&t=1&x", "c=&callback=cb", "c=c%62", "cc=x&c=cb"] {
        assert_eq!(Transport::jsonp(query), Transport::jsonp("c=cb"), "{query}");
        assert_eq!(Transport::html_file(query), Transport::html_file("c=cb"), "{query}");
        assert!(Transport::jsonp(query).is_ok());
    }
}

#[test]
fn a_request_without_a_callback_is_told_that_it_needs_one() {
    for query in ["", "c", "c=", "callback=", "t=1", "C=cb", "xc=cb"] {
        assert_eq!(Transport::jsonp(query), Err(BadCallback::Missing), "{query}");
        assert_eq!(Transport::html_file(query), Err(BadCallback::Missing), "{query}");
    }
    assert_eq!(BadCallback::Missing.body(), "\"callback\" parameter required");
}

#[test]
fn a_callback_that_is_no_name_is_refused() {
    for name in [
        "%20",
        "*",
        "abc(",
        "abc%28",
        "<script>",
        "%3Cscript%3E",
        "a%0Ab",
        "a)",
        "a;b",
        "ü",
        "%C3%BC",
        "%FF",
        "a+b",
        "'",
    ] {
        let query = format!("c={name}");
        assert_eq!(Transport::jsonp(&query), Err(BadCallback::Invalid), "{name}");
        assert_eq!(Transport::html_file(&query), Err(BadCallback::Invalid), "{name}");
    }
    assert_eq!(BadCallback::Invalid.body(), "invalid \"callback\" parameter");
}

#[test]
fn names_of_all_allowed_characters_are_callbacks_and_jsonp_takes_32_of_them() {
    let name = "azAZ09-_.";
    assert!(Transport::jsonp(&format!("c={name}")).is_ok());
    assert!(Transport::jsonp(&format!("c={}", "x".repeat(32))).is_ok());
    assert_eq!(Transport::jsonp(&format!("c={}", "x".repeat(33))), Err(BadCallback::Invalid));
    assert!(Transport::html_file(&format!("c={}", "x".repeat(33))).is_ok());
}
