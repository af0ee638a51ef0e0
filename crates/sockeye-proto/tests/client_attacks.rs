//! Group K of the attack list, the lines after the opening handshake: a hostile server against our client.
//!
//! Frames that are wrong from either side are in `attacks_frames.rs` and `attacks_close.rs`, which hold for both roles.

mod common;

use common::{
    BINARY, CLOSE, CONTINUATION, End, FIN, KIB, MIB, PING, TEXT, close_payload, frame_with_key, header, millis, secs,
    with_keepalive, with_limits,
};
use sockeye_proto::{Config, ReadyState, Role};

#[test]
fn k_masked_frames() {
    for first in [FIN | TEXT, BINARY, FIN | PING, FIN | CLOSE] {
        let mut client = End::client();
        client.feed(&frame_with_key(Some([0; 4]), first, b"")).assert_refused(1002, "mask_unexpected");
    }
    let mut client = End::client();
    client.feed_frame(TEXT, b"begun").feed(&frame_with_key(Some([9; 4]), FIN | CONTINUATION, b""));
    client.assert_refused(1002, "mask_unexpected");
}

#[test]
fn k_a_second_101_instead_of_frames() {
    let mut client = End::client();
    client
        .feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        .assert_refused(1002, "control_fragmented");
}

#[test]
fn k_a_message_above_the_limit_in_one_frame_and_in_many() {
    let mut client = End::client();
    client.feed(&header(Role::Server, FIN | BINARY, MIB as u64 + 1)).assert_refused(1009, "frame_too_big");
    let mut client = End::client();
    client.feed_frame(BINARY, &vec![0; MIB]).feed(&header(Role::Server, CONTINUATION, 1));
    client.assert_refused(1009, "message_too_big");
}

#[test]
fn k_a_ping_flood_to_a_client_whose_pongs_nobody_reads() {
    let mut client = End::new(Role::Client, with_limits(|limits| limits.control_burst = u32::MAX));
    client.window = 0;
    for _ in 0..10_000 {
        client.feed_frame(FIN | PING, &[b'p'; 125]);
    }
    assert_eq!(client.connection.buffered_amount(), 131);
    client.pass(secs(10));
    assert_eq!((client.closed_at, client.error().code()), (Some(secs(10)), "write_timeout"));

    let mut client = End::client();
    for _ in 0..101 {
        client.feed_frame(FIN | PING, b"");
    }
    client.assert_refused(1008, "control_flood");
}

#[test]
fn k_close_codes_and_reasons_that_are_bad() {
    for (payload, code, name) in [
        (close_payload(1000, b"\xff"), 1007, "close_reason"),
        (close_payload(1006, b""), 1002, "close_code"),
        (close_payload(1015, b"tls"), 1002, "close_code"),
        (close_payload(65_535, b""), 1002, "close_code"),
        (vec![0x03], 1002, "close_too_short"),
    ] {
        let mut client = End::client();
        client.feed_frame(FIN | CLOSE, &payload).assert_refused(code, name);
        // In answer to our own close the code is as bad, but there is nothing more to say.
        let mut client = End::client();
        client.close(1000, "bye").feed_frame(FIN | CLOSE, &payload).pass(secs(5));
        assert_eq!((client.frames().len(), client.error().code()), (1, name));
    }
}

/// The deadline of a message is absolute: that something comes does not move it.
#[test]
fn k_a_slow_drip_for_ever() {
    for (first, len) in [(FIN | BINARY, MIB as u64), (TEXT, 1000)] {
        let mut client = End::new(Role::Client, with_keepalive(25, 10));
        client.feed(&header(Role::Server, first, len));
        for _ in 0..300 {
            assert_eq!(client.connection.ready_state(), ReadyState::Open);
            client.feed(b"x").pass(millis(100));
        }
        assert_eq!(client.elapsed(), secs(30));
        client.assert_refused(1008, "message_timeout");
    }
}

/// A header or a control frame that never becomes whole holds at most 125 bytes and keeps nobody from asking whether
/// the server is there; what drips in does not count as the pong.
#[test]
fn k_a_slow_drip_of_one_control_frame() {
    let mut client = End::new(Role::Client, with_keepalive(25, 10));
    client.feed(&[FIN | PING, 125]).pass(secs(24)).feed(b"x").pass(secs(25));
    assert_eq!(client.frames().len(), 1);
    client.feed(b"x").pass(secs(9)).feed(b"x");
    assert!(client.connection.buffered_input() <= 125);
    client.pass(secs(1));
    assert_eq!((client.closed_at, client.error().code()), (Some(secs(59)), "pong_timeout"));
}

#[test]
fn k_a_server_that_answers_no_close_or_never_ends_tcp() {
    let mut client = End::client();
    client.close(1000, "").feed_frame(FIN | TEXT, &[b'x'; KIB]).pass(secs(5));
    assert_eq!((client.closed_at, client.outcome().code()), (Some(secs(5)), 1006));

    let mut client = End::client();
    client.feed_frame(FIN | CLOSE, &close_payload(1001, b"drain")).pass(secs(5));
    assert_eq!((client.closed_at, client.outcome().code()), (Some(secs(5)), 1001));
    assert_eq!((client.outcome().reason(), client.outcome().is_clean()), ("drain", true));
}

#[test]
fn k_a_server_that_goes_away_in_any_state() {
    let mut client = End::client();
    client.feed(&header(Role::Server, FIN | TEXT, 100)).feed(b"cut").eof();
    assert_eq!((client.error().code(), client.error().is_eof()), ("eof", true));
    assert_eq!((client.error().close_code(), client.frames().len()), (None, 0));

    let mut client = End::new(Role::Client, Config::default());
    client.close(3000, "bye").eof();
    assert_eq!((client.outcome().code(), client.outcome().is_clean()), (1006, false));
}

/// RFC 6455 section 5.3: "a fresh masking key" for each frame, control frames too.
#[test]
fn k_each_frame_has_a_masking_key_of_its_own() {
    let mut client = End::client();
    client.send("1").send("1").feed_frame(FIN | PING, b"1").close(1000, "");
    let keys: Vec<_> = [2, 9, 16, 23].map(|at| client.sent[at..at + 4].to_vec()).into();
    assert!(keys.iter().all(|key| keys.iter().filter(|other| *other == key).count() == 1), "{keys:?}");
}
