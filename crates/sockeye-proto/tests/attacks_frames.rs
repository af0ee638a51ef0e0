//! Group B of the attack list: hostile frames, against both roles where the line has a meaning for both.
//!
//! A line's `B13` (a budget per turn), `B23` and `B24` (rules of a subprotocol) are for those who read sockets and
//! messages; here stands what the protocol itself owes them.

mod common;

use std::time::Duration;

use common::{
    BINARY, CLOSE, CONTINUATION, End, FIN, KIB, MIB, PING, PONG, TEXT, close_payload, frame, frame_with_key, header,
    raw_header, secs, with_keepalive, with_limits,
};
use sockeye_proto::{Config, ControlPayload, Event, Limits, Message, ReadyState, Role};

const ROLES: [Role; 2] = [Role::Server, Role::Client];
const KEY: [u8; 4] = [1, 2, 3, 4];

/// Feeds what `input` builds for the peer's role to both roles, whole and byte by byte; each time it must be refused.
#[track_caller]
fn refused_with(config: &Config, input: impl Fn(Role) -> Vec<u8>, code: u16, name: &str) {
    for role in ROLES {
        let mut whole = End::new(role, config.clone());
        whole.feed(&input(whole.peer())).assert_refused(code, name);
        let mut cut = End::new(role, config.clone());
        cut.feed_bytes(&input(cut.peer())).assert_refused(code, name);
        assert_eq!(whole.events, cut.events);
    }
}

#[track_caller]
fn refused(input: impl Fn(Role) -> Vec<u8>, code: u16, name: &str) {
    refused_with(&Config::default(), input, code, name);
}

#[test]
fn b01_b02_b03_reserved_bits_on_every_kind_of_frame() {
    for rsv in (1..8).map(|bits| bits << 4) {
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            refused(|from| frame(from, FIN | rsv | opcode, b"\x03\xe8"), 1002, "reserved_bits");
        }
        let continued = |from| [frame(from, TEXT, b"a"), frame(from, FIN | rsv | CONTINUATION, b"b")].concat();
        refused(continued, 1002, "reserved_bits");
    }
}

#[test]
fn b04_reserved_opcodes() {
    for opcode in (3..=7).chain(11..=15) {
        refused(|from| frame(from, FIN | opcode, b""), 1002, "reserved_opcode");
        refused(|from| frame(from, FIN | opcode, b"payload"), 1002, "reserved_opcode");
    }
    let mut server = End::server();
    server.feed(&[FIN | 0x0b]).assert_refused(1002, "reserved_opcode");
    assert_eq!(server.error().to_string(), "reserved opcode (11)");
}

/// RFC 6455 section 5.1.
#[test]
fn b05_wrong_masking() {
    for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
        let unmasked = frame_with_key(None, FIN | opcode, b"");
        let mut server = End::server();
        server.feed(&unmasked).assert_refused(1002, "mask_missing");
        let masked = frame_with_key(Some(KEY), FIN | opcode, b"");
        let mut client = End::client();
        client.feed(&masked).assert_refused(1002, "mask_unexpected");
    }
}

#[test]
fn b06_a_masking_key_of_zero_is_a_masking_key() {
    let mut server = End::server();
    server.feed(&frame_with_key(Some([0; 4]), FIN | TEXT, b"Hello"));
    assert_eq!(server.messages(), [&Message::from("Hello")]);
}

/// RFC 6455 section 5.2: "the minimal number of bytes MUST be used to encode the length".
#[test]
fn b07_lengths_that_are_not_minimal() {
    for (short, len) in [(126, 0), (126, 125), (127, 0), (127, 125), (127, 126), (127, 0xffff)] {
        let input = |from| raw_header((from == Role::Client).then_some(KEY), FIN | BINARY, short, len);
        refused(input, 1002, "length_not_minimal");
    }
    for (short, len) in [(126, 126), (126, 0xffff), (127, 0x1_0000)] {
        let mut server = End::server();
        server.feed(&raw_header(Some(KEY), FIN | BINARY, short, len));
        assert_eq!(server.connection.ready_state(), ReadyState::Open);
    }
}

/// RFC 6455 section 5.2: "the most significant bit MUST be 0".
#[test]
fn b08_lengths_near_2_to_the_63_and_2_to_the_64() {
    for len in [1 << 63, u64::MAX] {
        refused(
            |from| raw_header((from == Role::Client).then_some(KEY), FIN | BINARY, 127, len),
            1002,
            "length_too_large",
        );
    }
    let most = (1 << 63) - 1;
    refused(|from| header(from, FIN | BINARY, most), 1009, "frame_too_big");
    // Nor is anything reserved when the limits would allow it, and sums of such lengths do not wrap.
    let unlimited = with_limits(|limits| (limits.max_frame, limits.max_message) = (usize::MAX, usize::MAX));
    let mut server = End::new(Role::Server, unlimited.clone());
    server.feed(&header(Role::Client, FIN | BINARY, most));
    assert_eq!((server.connection.ready_state(), server.connection.buffered_input()), (ReadyState::Open, 0));
    let sum = |from| [frame(from, BINARY, b"1"), header(from, FIN, most)].concat();
    refused_with(&with_limits(|limits| limits.max_frame = usize::MAX), sum, 1009, "message_too_big");
}

#[test]
fn b09_a_length_announced_and_then_silence() {
    let mut server = End::server();
    server.feed(&header(Role::Client, FIN | BINARY, MIB as u64));
    assert_eq!(server.connection.buffered_input(), 0);
    server.feed(&[7; 1000]);
    assert!(server.connection.buffered_input() <= 2000);
    server.pass(Duration::from_millis(29_999));
    assert_eq!(server.connection.ready_state(), ReadyState::Open);
    server.pass(Duration::from_millis(1)).assert_refused(1008, "message_timeout");

    // With more patience for messages it is the missing pong that ends it.
    let mut config = with_keepalive(25, 10);
    config.limits.message_timeout = Duration::MAX;
    let mut server = End::new(Role::Server, config);
    server.feed(&header(Role::Client, FIN | BINARY, MIB as u64)).pass(secs(100));
    assert_eq!((server.closed_at, server.error().code()), (Some(secs(35)), "pong_timeout"));
}

#[test]
fn b10_one_byte_above_the_limit_is_refused_at_the_header() {
    let limit = Limits::default().max_frame as u64;
    refused(|from| header(from, FIN | BINARY, limit + 1), 1009, "frame_too_big");
    let config = with_limits(|limits| (limits.max_frame, limits.max_message) = (2 * MIB, MIB));
    refused_with(&config, |from| header(from, FIN | TEXT, limit + 1), 1009, "message_too_big");

    let mut server = End::server();
    server.feed_frame(FIN | BINARY, &vec![0; MIB]);
    assert_eq!(server.messages().iter().map(|message| message.len()).collect::<Vec<_>>(), [MIB]);
}

#[test]
fn b10_limits_of_zero_allow_nothing_but_empty_messages() {
    let config = with_limits(|limits| (limits.max_frame, limits.max_message) = (0, 0));
    refused_with(&config, |from| header(from, FIN | TEXT, 1), 1009, "frame_too_big");
    let mut server = End::new(Role::Server, config);
    server.feed_frame(FIN | TEXT, b"");
    assert_eq!(server.messages(), [&Message::from("")]);
    let none = with_limits(|limits| limits.max_fragments = 0);
    refused_with(&none, |from| frame(from, FIN | TEXT, b""), 1008, "too_many_fragments");
}

/// RFC 6455 section 5.5.
#[test]
fn b11_control_frames_too_long_or_fragmented() {
    for opcode in [CLOSE, PING, PONG] {
        for (short, len) in [(126, 126), (126, 0), (127, 0x1_0000), (127, 1)] {
            let input = |from| raw_header((from == Role::Client).then_some(KEY), FIN | opcode, short, len);
            refused(input, 1002, "control_too_long");
        }
        refused(|from| frame(from, opcode, b""), 1002, "control_fragmented");
    }
    let mut server = End::server();
    server.feed_frame(FIN | PING, &[b'p'; 125]);
    assert_eq!(server.frames()[0].payload, [b'p'; 125]);
}

#[test]
fn b12_headers_split_at_every_byte() {
    for role in ROLES {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; len];
            let mut whole = End::new(role, Config::default());
            let wire = whole.peer_frame(FIN | TEXT, &payload);
            whole.feed(&wire);
            assert_eq!(whole.messages().len(), 1);
            for cut in 1..wire.len().min(20) {
                let mut split = End::new(role, Config::default());
                split.feed(&wire[..cut]).feed(&wire[cut..]);
                assert_eq!(whole.events, split.events);
            }
        }
    }
}

/// The budget of a turn is for whoever reads the socket; that each event comes by itself is what it builds on.
#[test]
fn b13_ten_thousand_frames_in_one_piece_of_input() {
    let mut server = End::server();
    let one = frame(Role::Client, FIN | BINARY, b"x");
    let mut input = one.repeat(10_000);
    assert_eq!(server.connection.handle_input(&mut input, server.now), one.len());
    server.drain();
    assert_eq!(server.messages().len(), 1);
    server.feed(&input[one.len()..]);
    assert_eq!(server.messages().len(), 10_000);
}

/// RFC 6455 section 5.4.
#[test]
fn b14_fragments_out_of_order() {
    for first in [CONTINUATION, FIN | CONTINUATION] {
        refused(|from| frame(from, first, b"x"), 1002, "unexpected_continuation");
        let after_the_end = |from| [frame(from, FIN | TEXT, b"whole"), frame(from, first, b"")].concat();
        refused(after_the_end, 1002, "unexpected_continuation");
    }
    for first in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
        let inside = |from| [frame(from, TEXT, b"begun"), frame(from, first, b"another")].concat();
        refused(inside, 1002, "unfinished_message");
    }
}

/// RFC 6455 section 5.4: "control frames MAY be injected in the middle of a fragmented message".
#[test]
fn b15_control_frames_between_fragments_are_handled_in_order_and_close_ends() {
    let mut server = End::server();
    server.feed_frame(TEXT, b"frag").feed_frame(FIN | PING, b"1").feed_frame(CONTINUATION, b"men");
    server.feed_frame(FIN | PONG, b"2").feed_frame(FIN | CONTINUATION, b"ted");
    let payload = |text: &str| ControlPayload::try_from(text.as_bytes()).unwrap();
    let expected = [Event::Ping(payload("1")), Event::Pong(payload("2")), Event::Message(Message::from("fragmented"))];
    assert_eq!(server.events, expected);
    assert_eq!((server.frames()[0].first, &server.frames()[0].payload[..]), (FIN | PONG, &b"1"[..]));

    server.feed_frame(BINARY, b"never finished").feed_frame(FIN | CLOSE, &close_payload(1000, b""));
    server.feed_frame(FIN | CONTINUATION, b"too late");
    assert_eq!((server.events.len(), server.outcome().code()), (3, 1000));
    assert_eq!(server.connection.buffered_input(), 0);
}

#[test]
fn b16_the_1025th_fragment() {
    for payload in [&b""[..], b"x"] {
        let mut server = End::server();
        server.feed_frame(BINARY, payload);
        for _ in 1..1024 {
            server.feed_frame(CONTINUATION, payload);
        }
        assert_eq!(server.connection.ready_state(), ReadyState::Open);
        server.feed_frame(FIN | CONTINUATION, payload).assert_refused(1008, "too_many_fragments");
        assert!(server.events.is_empty());
    }
    let mut server = End::server();
    server.feed_frame(BINARY, b"x");
    for _ in 1..1023 {
        server.feed_frame(CONTINUATION, b"x");
    }
    server.feed_frame(FIN | CONTINUATION, b"x");
    assert_eq!(server.messages()[0].len(), 1024);
}

#[test]
fn b17_a_fragment_a_second_for_ever() {
    let mut server = End::server();
    server.feed_frame(TEXT, b"x");
    for _ in 0..29 {
        server.pass(secs(1)).feed_frame(CONTINUATION, b"x");
    }
    assert_eq!(server.connection.ready_state(), ReadyState::Open);
    server.pass(secs(1));
    assert_eq!(server.elapsed(), secs(30));
    server.assert_refused(1008, "message_timeout");
    assert!(server.error().is_timeout());
}

#[test]
fn b17_a_byte_a_second_of_one_frame() {
    let mut server = End::server();
    server.feed(&header(Role::Client, FIN | BINARY, 100));
    for _ in 0..29 {
        server.pass(secs(1)).feed(b"x");
    }
    server.pass(secs(1)).assert_refused(1008, "message_timeout");
}

#[test]
fn b18_fragments_of_limit_plus_one_are_refused_at_the_last_header() {
    let half = MIB as u64 / 2;
    let mut server = End::server();
    server.feed_frame(BINARY, &vec![0; MIB / 2]).feed(&header(Role::Client, CONTINUATION, half - 1));
    server.feed(&vec![0; MIB / 2 - 1]);
    assert_eq!(server.connection.ready_state(), ReadyState::Open);
    server.feed(&header(Role::Client, FIN | CONTINUATION, 2)).assert_refused(1009, "message_too_big");

    let mut server = End::server();
    server.feed_frame(BINARY, &vec![0; MIB - 1]).feed_frame(FIN | CONTINUATION, b"x");
    assert_eq!(server.messages()[0].len(), MIB);
}

/// The whole process is counted in `memory.rs`.
#[test]
fn b19_single_bytes_of_a_message_of_64_kib() {
    let mut server = End::server();
    let wire = frame(Role::Client, FIN | BINARY, &vec![b'x'; 64 * KIB]);
    let mut steps = 0;
    for (count, byte) in wire.iter().enumerate() {
        let before = server.connection.buffered_input();
        server.feed(&[*byte]);
        let held = server.connection.buffered_input();
        assert!(held <= 2 * count.max(1));
        steps += usize::from(held != before);
    }
    // Nor is it copied for each byte.
    assert!(steps <= 20, "{steps}");
    assert_eq!(server.messages()[0].len(), 64 * KIB);
}

#[test]
fn b20_a_ping_flood_ends_at_the_rate() {
    for opcode in [PING, PONG] {
        for role in ROLES {
            let mut end = End::new(role, Config::default());
            for count in 0..600 {
                if count >= 100 && count % 50 == 0 {
                    end.pass(secs(1));
                }
                end.feed_frame(FIN | opcode, b"flood");
            }
            assert_eq!((end.events.len(), end.connection.ready_state()), (600, ReadyState::Open));
            assert_eq!(end.frames().len(), if opcode == PING { 600 } else { 0 });
            end.feed_frame(FIN | opcode, b"one too many").assert_refused(1008, "control_flood");
            assert_eq!(end.events.len(), 600);
        }
    }
}

/// RFC 6455 section 5.5.3: of pings that could not be answered yet, only the newest needs a pong.
#[test]
fn b20_a_peer_that_pings_and_does_not_read_has_one_pong_waiting() {
    for role in ROLES {
        for taken in [0, 1, 5, 1000] {
            let mut end = End::new(role, with_limits(|limits| limits.control_burst = u32::MAX));
            end.window = taken;
            let mut most = 0;
            for count in 0..1000_u32 {
                end.feed_frame(FIN | PING, &count.to_be_bytes());
                most = most.max(end.connection.buffered_amount());
            }
            // One that has begun to leave, and the newest.
            assert!(most <= 2 * 10, "{most}");
            end.open_window(usize::MAX);
            let pongs = end.frames();
            assert_eq!(pongs.last().unwrap().payload, 999_u32.to_be_bytes());
            assert!(pongs.is_sorted_by(|a, b| a.payload < b.payload), "a pong overtook another");
        }
    }
}

/// Found by the test above: the first pong on an empty queue was queued like a message, and the next one overtook it.
#[test]
fn regression_the_newest_pong_replaces_one_that_has_not_begun_to_leave() {
    let mut server = End::server();
    server.window = 0;
    server.feed_frame(FIN | PING, b"old").feed_frame(FIN | PING, b"new").open_window(usize::MAX);
    assert_eq!(server.sent, b"\x8a\x03new");
}

#[test]
fn b21_unsolicited_pongs_do_not_count_as_the_one_asked_for() {
    let mut server = End::new(Role::Server, with_keepalive(25, 10));
    server.pass(secs(25));
    let ping = server.frames().pop().unwrap();
    assert_eq!(ping.first, FIN | PING);
    for payload in [&b""[..], b"guess", &[0; 4]] {
        server.pass(secs(3)).feed_frame(FIN | PONG, payload);
    }
    server.pass(secs(1));
    assert_eq!((server.closed_at, server.error().code()), (Some(secs(35)), "pong_timeout"));
    assert!(server.error().is_timeout());

    let mut server = End::new(Role::Server, with_keepalive(25, 10));
    server.pass(secs(34)).feed_frame(FIN | PONG, &ping.payload).pass(secs(24));
    assert_eq!(server.frames().len(), 1);
    server.pass(secs(1));
    assert_eq!((server.frames().len(), server.connection.ready_state()), (2, ReadyState::Open));
}

#[test]
fn b22_frames_after_a_close_frame() {
    // After the peer's own: ignored.
    let mut server = End::server();
    server.window = 0;
    server.feed_frame(FIN | CLOSE, &close_payload(1001, b"bye"));
    server.feed_frame(FIN | TEXT, b"more").feed_frame(FIN | PING, b"?").feed(&[0xff; 1000]).open_window(usize::MAX);
    assert!(server.events.is_empty());
    assert_eq!(server.frames().len(), 1);
    assert_eq!((server.outcome().code(), server.outcome().reason()), (1001, "bye"));

    // After ours: messages may have been on their way, so they count; but nothing is sent in reply, and the wait ends
    // after 5 s however much comes.
    let mut client = End::client();
    client.close(1000, "");
    for _ in 0..10 {
        client.pass(Duration::from_millis(500)).feed_frame(FIN | PING, b"").feed_frame(FIN | TEXT, b"late");
    }
    assert_eq!(client.messages().len(), 9);
    assert_eq!(client.frames().len(), 1);
    assert_eq!((client.closed_at, client.outcome().code()), (Some(secs(5)), 1006));
}
