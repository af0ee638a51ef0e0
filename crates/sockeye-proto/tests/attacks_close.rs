//! Group C of the attack list: UTF-8 and the closing handshake.
//!
//! What a reset or a vanished socket does (`C10`, `C13`) is here in the terms of this crate: an end of input, silence.
//! `C15` is about futures; here stands that the connection is whole between any two calls.

mod common;

use std::time::Duration;

use common::{
    BINARY, CLOSE, CONTINUATION, End, FIN, KIB, MIB, PING, Pair, TEXT, close_payload, header, millis, secs,
    with_keepalive, with_limits,
};
use sockeye_proto::{CloseCode, CloseFrame, Config, Message, Party, ReadyState, Role};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// Nobody's UTF-8, and how many of its bytes it takes to know.
const BAD: [(&[u8], usize); 14] = [
    (b"\x80", 1),
    (b"\xbf", 1),
    (b"\xc0\xaf", 1),
    (b"\xc1\xbf", 1),
    (b"\xe0\x80\xaf", 2),
    (b"\xe0\x9f\xbf", 2),
    (b"\xf0\x80\x80\xaf", 2),
    (b"\xf0\x8f\xbf\xbf", 2),
    (b"\xed\xa0\x80", 2),
    (b"\xed\xbf\xbf", 2),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xf5\x80\x80\x80", 1),
    (b"\xff", 1),
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 13),
];

#[test]
fn c01_text_that_is_not_utf8() {
    for role in ROLES {
        for (bad, _) in BAD {
            let text = [b"good ", bad, b" good"].concat();
            let mut whole = End::new(role, Config::default());
            whole.feed_frame(FIN | TEXT, &text).assert_refused(1007, "invalid_utf8");
            let mut cut = End::new(role, Config::default());
            let wire = cut.peer_frame(FIN | TEXT, &text);
            cut.feed_bytes(&wire).assert_refused(1007, "invalid_utf8");
            let mut binary = End::new(role, Config::default());
            binary.feed_frame(FIN | BINARY, &text);
            assert_eq!(binary.messages(), [&Message::from(text)]);
        }
    }
}

#[test]
fn c02_code_points_split_over_fragments_and_input() {
    let text = "κόσμε, ß, 水, 🐟\u{10ffff}\u{0}\u{fffe}";
    for role in ROLES {
        for at in 0..=text.len() {
            let mut end = End::new(role, Config::default());
            let wire = [
                end.peer_frame(TEXT, &text.as_bytes()[..at]),
                end.peer_frame(CONTINUATION, b""),
                end.peer_frame(FIN | CONTINUATION, &text.as_bytes()[at..]),
            ]
            .concat();
            end.feed(&wire).feed_bytes(&wire);
            assert_eq!(end.messages(), [&Message::from(text), &Message::from(text)]);
        }
    }
}

#[test]
fn c03_a_bad_byte_is_refused_when_it_comes() {
    for (bad, known) in BAD {
        // In the first of many fragments.
        let mut server = End::server();
        server.feed_frame(TEXT, bad).assert_refused(1007, "invalid_utf8");
        // In the middle of a frame.
        let mut server = End::server();
        let wire = server.peer_frame(FIN | TEXT, &[bad, &[b'x'; 100]].concat());
        let header_len = 6;
        server.feed(&wire[..header_len + known - 1]);
        assert_eq!(server.connection.ready_state(), ReadyState::Open);
        server.feed(&wire[header_len + known - 1..header_len + known]).assert_refused(1007, "invalid_utf8");
        // On the road of large payloads.
        let mut server = End::server();
        let text = [&vec![b'x'; 100 * KIB], bad, &vec![b'x'; 100 * KIB]].concat();
        let wire = server.peer_frame(FIN | TEXT, &text);
        let until = wire.len() - 100 * KIB - bad.len() + known;
        server.feed_payload(&wire[..until - 1], 10_000);
        assert_eq!(server.connection.ready_state(), ReadyState::Open);
        server.feed_payload(&wire[until - 1..until], 10_000).assert_refused(1007, "invalid_utf8");
    }
}

#[test]
fn c04_a_code_point_cut_by_the_end_of_the_message() {
    for cut in [&b"\xc3"[..], b"\xe6\xb0", b"\xf0\x9f", b"\xf0\x9f\x90"] {
        let mut server = End::server();
        server.feed_frame(FIN | TEXT, cut).assert_refused(1007, "invalid_utf8");
        let mut server = End::server();
        server.feed_frame(TEXT, cut).feed_frame(CONTINUATION, b"");
        assert_eq!(server.connection.ready_state(), ReadyState::Open);
        server.feed_frame(FIN | CONTINUATION, b"").assert_refused(1007, "invalid_utf8");
    }
}

/// RFC 6455 section 5.5.1.
#[test]
fn c05_a_close_payload_of_one_byte() {
    for role in ROLES {
        let mut end = End::new(role, Config::default());
        end.feed_frame(FIN | CLOSE, b"\x03").assert_refused(1002, "close_too_short");
    }
}

/// RFC 6455 section 7.4 and the registry: all 65,536 codes.
#[test]
fn c06_close_codes() {
    for role in ROLES {
        for code in 0..=u16::MAX {
            let mut end = End::new(role, Config::default());
            end.feed_frame(FIN | CLOSE, &close_payload(code, b"why"));
            if matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                assert_eq!(end.close_frame(), (code, "why".to_owned()), "not echoed");
                assert_eq!((end.eof().outcome().code(), end.outcome().is_clean()), (code, true));
            } else {
                end.assert_refused(1002, "close_code");
            }
        }
    }
}

#[test]
fn c07_a_close_reason_that_is_not_utf8() {
    for role in ROLES {
        for (bad, _) in BAD {
            let mut end = End::new(role, Config::default());
            end.feed_frame(FIN | CLOSE, &close_payload(1000, bad)).assert_refused(1007, "close_reason");
        }
    }
}

#[test]
fn c08_close_reasons_of_123_bytes_and_more() {
    let mut server = End::server();
    server.feed_frame(FIN | CLOSE, &close_payload(1000, [b'r'; 123]));
    assert_eq!(server.outcome().reason(), "r".repeat(123));
    assert_eq!(server.close_frame(), (1000, "r".repeat(123)));
    for (reason, kept) in [("é".repeat(200), "é".repeat(61)), ("a".repeat(124), "a".repeat(123))] {
        let mut client = End::client();
        client.close(4000, &reason);
        assert_eq!(client.close_frame(), (4000, kept));
    }
}

#[test]
fn c09_both_sides_close_at_once() {
    let mut pair = Pair::new(&Config::default());
    pair.client.close(1000, "client");
    pair.server.close(1001, "server");
    pair.run();
    for (end, code, reason) in [(&pair.client, 1001, "server"), (&pair.server, 1000, "client")] {
        let outcome = end.outcome();
        assert_eq!((outcome.code(), outcome.reason(), outcome.is_clean()), (code, reason, true));
        assert_eq!(outcome.initiator(), Party::Local);
        assert_eq!((end.frames().len(), end.closed_at), (1, Some(Duration::ZERO)));
    }
}

#[test]
fn c10_a_close_frame_and_the_end_of_tcp_behind_it() {
    for role in ROLES {
        let mut end = End::new(role, Config::default());
        end.feed_frame(FIN | CLOSE, &close_payload(1000, b"")).eof();
        assert_eq!(end.close_frame(), (1000, String::new()));
        assert_eq!((end.outcome().code(), end.outcome().is_clean()), (1000, true));
        assert_eq!(end.outcome().initiator(), Party::Remote);
    }
    // A reset before the answer could leave is still a clean close.
    let mut server = End::server();
    server.window = 0;
    server.feed_frame(FIN | CLOSE, b"").eof();
    assert!(server.outcome().is_clean());
    assert_eq!((server.outcome().code(), server.connection.discarded_amount()), (1005, 2));
}

#[test]
fn c11_a_peer_that_never_answers_our_close() {
    for role in ROLES {
        let mut end = End::new(role, Config::default());
        end.pass(secs(100)).close(1000, "bye").pass(millis(4_999));
        assert!(end.closed.is_none());
        end.pass(millis(1));
        assert_eq!(end.closed_at, Some(secs(105)));
        let outcome = end.outcome();
        assert_eq!((outcome.code(), outcome.reason(), outcome.is_clean()), (1006, "", false));
        assert_eq!((outcome.initiator(), outcome.frame()), (Party::Local, None));
    }
}

#[test]
fn c11_the_wait_is_as_long_with_a_large_message_arriving() {
    let mut server = End::server();
    server.close(1000, "bye").feed(&header(Role::Client, FIN | BINARY, MIB as u64));
    for _ in 0..60 {
        server.pass(millis(100)).feed(&[0; KIB]);
    }
    assert_eq!((server.closed_at, server.outcome().is_clean()), (Some(secs(5)), false));
    assert_eq!(server.connection.buffered_input(), 0);
}

/// Found by reading: the ping that was due in the closing handshake was never sent, but its pong was waited for.
#[test]
fn regression_keepalive_ends_with_the_closing_handshake() {
    let mut server = End::new(Role::Server, with_keepalive(1, 1));
    server.close(1000, "bye").pass(millis(4_999));
    assert!(server.closed.is_none());
    assert_eq!(server.feed_frame(FIN | CLOSE, &close_payload(1000, b"")).outcome().code(), 1000);
}

#[test]
fn c12_a_peer_that_answers_our_close_and_keeps_tcp_open() {
    // The server ends TCP itself, at once (RFC 6455 section 7.1.1).
    let mut server = End::server();
    server.close(1000, "").feed_frame(FIN | CLOSE, &close_payload(1000, b""));
    assert!(server.write_shut);
    assert_eq!(server.closed_at, Some(Duration::ZERO));
    // The client waits for the server to do so, 5 s.
    let mut client = End::client();
    client.close(1000, "").pass(secs(3)).feed_frame(FIN | CLOSE, &close_payload(1000, b"")).pass(secs(100));
    assert_eq!((client.closed_at, client.outcome().is_clean()), (Some(secs(8)), true));
}

#[test]
fn c13_a_peer_that_is_gone_is_found_within_35_seconds() {
    for role in ROLES {
        let mut end = End::new(role, with_keepalive(25, 10));
        end.pass(secs(1)).feed_frame(FIN | TEXT, b"the last sign of life").pass(secs(100));
        assert_eq!((end.closed_at, end.error().code()), (Some(secs(36)), "pong_timeout"));
        assert_eq!((end.error().is_timeout(), end.error().close_code()), (true, None));
    }
}

#[test]
fn c14_a_peer_with_a_zero_window() {
    for role in ROLES {
        let mut end = End::new(role, Config::default());
        end.window = 10;
        end.send(vec![0; 64 * KIB]).pass(millis(9_999));
        assert!(end.closed.is_none());
        end.pass(millis(1));
        assert_eq!((end.closed_at, end.error().code()), (Some(secs(10)), "write_timeout"));
        assert!(end.error().is_timeout());
        assert_eq!(end.connection.buffered_amount(), 0);
    }
}

#[test]
fn c14_a_peer_that_reads_a_byte_a_second() {
    let mut server = End::server();
    server.window = 10;
    server.send(vec![0; 64 * KIB]);
    for _ in 0..9 {
        server.pass(secs(1)).open_window(1);
    }
    server.pass(secs(1));
    assert_eq!((server.closed_at, server.error().code()), (Some(secs(10)), "write_timeout"));

    // Progress is 1 KiB in each 10 s, or all there is.
    let mut server = End::server();
    server.window = 0;
    server.send(vec![0; 2 * KIB]);
    server.pass(secs(9)).open_window(KIB).pass(secs(10)).open_window(KIB);
    assert_eq!(server.connection.buffered_amount(), 4);
    server.pass(secs(9)).open_window(3).pass(millis(999));
    assert!(server.closed.is_none());
    server.open_window(1).pass(secs(100));
    assert!(server.closed.is_none());
}

/// A connection is a value: between any two calls it is whole, whatever part of a step the caller has got to.
#[test]
fn c15_output_left_where_it_was_is_offered_again() {
    let mut server = End::server();
    server.window = 0;
    server.send("torn anywhere");
    for _ in 0..server.connection.buffered_amount() {
        server.open_window(1);
    }
    assert_eq!(server.sent, b"\x81\x0dtorn anywhere");
}

#[test]
fn c16_a_close_with_1_mib_queued() {
    // The queue leaves before the Close frame.
    let mut server = End::server();
    server.window = 100 * KIB;
    server.send(vec![7; MIB - 100]).close(1000, "done");
    for _ in 0..10 {
        server.pass(millis(400)).open_window(100 * KIB);
    }
    assert_eq!(server.close_frame(), (1000, "done".to_owned()));
    assert_eq!(server.frames()[0].payload.len(), MIB - 100);
    server.feed_frame(FIN | CLOSE, &close_payload(1000, b""));
    assert_eq!((server.outcome().is_clean(), server.connection.discarded_amount()), (true, 0));

    // What does not leave in time is reported, at the close deadline and at the end of TCP.
    for eof in [false, true] {
        for answer_first in [false, true] {
            let mut server = End::server();
            server.window = 100 * KIB;
            server.send(vec![7; MIB - 100]);
            let queued = server.connection.buffered_amount();
            if answer_first {
                server.feed_frame(FIN | CLOSE, b"");
            } else {
                server.close(1000, "done");
            }
            if eof {
                server.eof();
            }
            server.pass(secs(5));
            assert_eq!(server.closed_at, Some(if eof { Duration::ZERO } else { secs(5) }));
            assert_eq!(server.outcome().is_clean(), answer_first);
            let close = if answer_first { 2 } else { 8 };
            assert_eq!(server.connection.discarded_amount(), queued + close);
            assert_eq!(server.connection.buffered_amount(), 0);
        }
    }
}

/// RFC 6455 section 5.5.1: "MUST NOT send any more data frames after sending a Close frame".
#[test]
fn nothing_can_be_sent_after_a_close_frame() {
    for ours in [true, false] {
        let mut client = End::client();
        client.window = 0;
        if ours {
            client.connection.start_close(None, client.now);
        } else {
            client.feed_frame(FIN | CLOSE, b"");
        }
        let message = client.connection.send("late".into()).unwrap_err();
        assert!(!message.is_full());
        assert_eq!(message.into_inner(), Message::from("late"));
        assert!(client.connection.ping(b"late"[..].try_into().unwrap()).is_err());
        let again = CloseFrame::new(CloseCode::GOING_AWAY, "again");
        client.connection.start_close(Some(again), client.now);
        client.feed_frame(FIN | PING, b"").open_window(usize::MAX);
        assert_eq!(client.frames().len(), 1);
        assert_eq!(client.close_frame(), (1005, String::new()));
    }
}

/// A limit that the clock cannot express is no limit. It was "at once" for closing, and an endless loop of writes for
/// `write_timeout`.
#[test]
fn regression_limits_of_time_without_end() {
    let forever = with_limits(|limits| {
        limits.close_timeout = Duration::MAX;
        limits.write_timeout = Duration::MAX;
        limits.message_timeout = Duration::MAX;
    });
    let year = secs(365 * 24 * 60 * 60);
    let mut server = End::new(Role::Server, forever);
    server.window = 0;
    server.send("waits").feed(&header(Role::Client, FIN | TEXT, 5)).pass(year).close(1000, "").pass(year);
    assert!(server.closed.is_none());
    server.feed_frame(FIN | TEXT, b"");
    let keepalive = sockeye_proto::Keepalive::with(|keepalive| {
        keepalive.interval = secs(1);
        keepalive.timeout = Duration::MAX;
    });
    let mut server = End::new(Role::Server, Config::with(|config| config.keepalive = Some(keepalive)));
    server.pass(year);
    assert_eq!(server.frames().len(), 1);
}
