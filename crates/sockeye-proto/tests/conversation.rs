//! Conversations between two ends, by the sections of RFC 6455.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{
    BINARY, CLOSE, CONTINUATION, End, FIN, KIB, MIB, PING, PONG, Pair, TEXT, close_payload, frame, millis, secs,
    with_keepalive, with_limits,
};
use sockeye_proto::{
    CloseCode, CloseFrame, Config, ControlPayload, Event, Message, Output, Party, Prepared, ReadyState, Role,
};

fn payload(text: &str) -> ControlPayload {
    ControlPayload::try_from(text.as_bytes()).unwrap()
}

/// The examples, as they stand there.
#[test]
fn section_5_7_examples() {
    let mut client = End::client();
    client.feed(b"\x81\x05\x48\x65\x6c\x6c\x6f");
    client.feed(b"\x01\x03\x48\x65\x6c").feed(b"\x80\x02\x6c\x6f");
    client.feed(b"\x89\x05\x48\x65\x6c\x6c\x6f");
    client.feed(&[&b"\x82\x7E\x01\x00"[..], &[7; 256]].concat());
    client.feed(&[&b"\x82\x7F\0\0\0\0\0\x01\0\0"[..], &vec![7; 65_536]].concat());
    let hello = || Event::Message(Message::from("Hello"));
    let binary = |len| Event::Message(Message::from(vec![7; len]));
    assert_eq!(client.events, [hello(), hello(), Event::Ping(payload("Hello")), binary(256), binary(65_536)]);
    assert_eq!(client.frames(), [common::Frame { first: FIN | PONG, payload: b"Hello".to_vec() }]);

    let mut server = End::server();
    server.feed(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    server.feed(b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(server.events, [hello(), Event::Pong(payload("Hello"))]);
}

/// Section 5.2: each form of the length, both ways, at its ends.
#[test]
fn section_5_2_messages_of_every_form_of_length() {
    let mut pair = Pair::new(&Config::default());
    let lens = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000, MIB];
    for len in lens {
        pair.client.send(vec![1; len]);
        pair.run();
        pair.server.send("t".repeat(len));
        pair.run();
    }
    let texts: Vec<_> = lens.iter().map(|len| Message::from("t".repeat(*len))).collect();
    let binaries: Vec<_> = lens.iter().map(|len| Message::from(vec![1; *len])).collect();
    assert_eq!(pair.client.messages(), texts.iter().collect::<Vec<_>>());
    assert_eq!(pair.server.messages(), binaries.iter().collect::<Vec<_>>());
    let forms: Vec<_> = pair.server.frames().iter().map(|frame| frame.payload.len()).collect();
    assert_eq!(forms, lens);
}

/// Section 5.4: fragments, empty ones too, become one message.
#[test]
fn section_5_4_fragments() {
    let mut server = End::server();
    server.feed_frame(TEXT, b"").feed_frame(CONTINUATION, b"one ").feed_frame(CONTINUATION, b"");
    server.feed_frame(CONTINUATION, b"message").feed_frame(FIN | CONTINUATION, b"");
    server.feed_frame(BINARY, b"").feed_frame(FIN | CONTINUATION, b"");
    assert_eq!(server.messages(), [&Message::from("one message"), &Message::from(&b""[..])]);
}

/// Section 5.5.1: the answer echoes the code; 7.1.1: the server ends TCP first.
#[test]
fn section_5_5_1_the_client_closes() {
    let mut pair = Pair::new(&Config::default());
    pair.client.close(3001, "enough");
    assert_eq!(pair.client.connection.ready_state(), ReadyState::Closing);
    pair.run();
    assert_eq!(pair.server.close_frame(), (3001, "enough".to_owned()));
    assert!(pair.server.write_shut && !pair.client.write_shut);
    for (end, initiator) in [(&pair.client, Party::Local), (&pair.server, Party::Remote)] {
        let outcome = end.outcome();
        assert_eq!((outcome.code(), outcome.reason(), outcome.initiator()), (3001, "enough", initiator));
        assert_eq!((outcome.is_clean(), end.connection.ready_state()), (true, ReadyState::Closed));
        assert_eq!(end.connection.deadline(), None);
        assert!(end.connection.is_over());
    }
}

#[test]
fn section_5_5_1_the_server_closes() {
    let mut pair = Pair::new(&Config::default());
    pair.server.close(1012, "new version");
    pair.run();
    let (client, server) = (pair.client.outcome(), pair.server.outcome());
    assert_eq!((client.code(), client.initiator()), (1012, Party::Remote));
    assert_eq!((server.code(), server.initiator()), (1012, Party::Local));
    assert_eq!(client.frame(), Some(&CloseFrame::new(CloseCode::SERVICE_RESTART, "new version")));
    assert!(pair.server.write_shut);
}

/// Section 7.1.5: a Close frame without a code is 1005, and is answered by one without.
#[test]
fn section_7_1_5_a_close_frame_without_a_code() {
    let mut pair = Pair::new(&Config::default());
    let now = pair.client.now;
    pair.client.connection.start_close(None, now);
    pair.client.drain();
    pair.run();
    for end in [&pair.client, &pair.server] {
        assert_eq!((end.outcome().code(), end.outcome().frame(), end.outcome().is_clean()), (1005, None, true));
        assert_eq!(end.close_frame(), (1005, String::new()));
    }
}

/// Section 5.5.1 allows the peer to finish its message first; what comes before its Close frame still counts.
#[test]
fn section_5_5_1_messages_on_their_way_when_we_close() {
    let mut pair = Pair::new(&Config::default());
    pair.server.send("on its way");
    pair.client.close(1000, "");
    pair.server.feed_frame(TEXT, b"never ");
    pair.run();
    assert_eq!(pair.client.messages(), [&Message::from("on its way")]);
}

/// Section 5.5.2: "upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response"; 5.5.3: with the same
/// payload. It overtakes messages, never a frame that has begun to leave.
#[test]
fn section_5_5_3_a_pong_overtakes_messages_but_tears_none() {
    // Small messages are one piece of memory, and a piece that has begun is finished.
    for (taken, place) in [(0, 0), (1, 2), (3, 2), (7, 1)] {
        let mut server = End::server();
        server.window = taken;
        server.send("first").send("second").feed_frame(FIN | PING, b"?").open_window(usize::MAX);
        let order: Vec<_> = server.frames().into_iter().map(|frame| frame.payload).collect();
        assert_eq!(order.iter().position(|payload| payload == b"?"), Some(place));
        assert_eq!(order.len(), 3);
    }
}

/// Section 5.5.2: our pings, and their pongs as events of the program's.
#[test]
fn section_5_5_2_a_ping_of_the_programs() {
    let mut pair = Pair::new(&Config::default());
    pair.client.connection.ping(payload("are you there")).unwrap();
    pair.client.drain();
    pair.run();
    assert_eq!(pair.server.events, [Event::Ping(payload("are you there"))]);
    assert_eq!(pair.client.events, [Event::Pong(payload("are you there"))]);
}

/// Keepalive on both ends through a quiet hour: nobody ends, and only the pings of one are needed.
#[test]
fn section_5_5_2_keepalive_through_a_quiet_hour() {
    let mut pair = Pair::new(&with_keepalive(25, 10));
    pair.pass(secs(3600));
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.connection.ready_state(), ReadyState::Open);
        let pings = end.frames().iter().filter(|frame| frame.opcode() == PING).count();
        assert!((70..=144).contains(&pings), "{pings}");
    }
    pair.client.close(1000, "");
    pair.run();
    assert!(pair.server.outcome().is_clean());
}

#[test]
fn keepalive_sends_no_ping_while_something_comes() {
    let mut server = End::new(Role::Server, with_keepalive(25, 10));
    for _ in 0..100 {
        server.pass(secs(24)).feed_frame(FIN | TEXT, b"busy");
    }
    assert!(server.frames().is_empty());
    server.pass(secs(25));
    assert_eq!(server.frames().len(), 1);
    assert_eq!(server.connection.deadline(), Some(server.now + secs(10)));

    // Also on the road of large payloads.
    let mut server = End::new(Role::Server, with_keepalive(5, 1));
    let wire = server.peer_frame(FIN | BINARY, &vec![0; 100 * KIB]);
    server.feed(&wire[..40 * KIB]);
    for piece in wire[40 * KIB..].chunks(20 * KIB) {
        server.pass(secs(4)).feed_payload(piece, 20 * KIB);
    }
    assert_eq!((server.frames().len(), server.messages().len()), (0, 1));
}

/// A pong cannot interrupt a frame: a peer in the middle of a long one is there, although its pong is late.
#[test]
fn keepalive_waits_for_the_end_of_a_frame_that_is_coming() {
    let mut server = End::new(Role::Server, with_keepalive(25, 10));
    let wire = server.peer_frame(FIN | BINARY, &[0; 64]);
    server.feed(&wire[..20]);
    server.pass(secs(25));
    assert_eq!(server.frames().len(), 1, "our ping");
    server.pass(secs(3)).feed(&wire[20..40]);
    assert_eq!(server.connection.deadline(), Some(server.now + secs(2)), "what is left of the message's own 30 s");

    let mut server = End::new(Role::Server, with_keepalive(25, 10));
    server.pass(secs(25)).feed(&wire[..20]);
    server.pass(secs(9)).feed(&wire[20..]);
    server.pass(secs(9));
    assert_eq!(server.connection.ready_state(), ReadyState::Open);
    server.pass(secs(1));
    assert_eq!(server.error().code(), "pong_timeout");
}

/// Section 7.1.7: after a violation the Close frame says why, this end reads on so that TCP does not take it back, and
/// goes when the peer has gone.
#[test]
fn section_7_1_7_fail_the_connection() {
    let mut pair = Pair::new(&Config::default());
    pair.server.send("before");
    pair.server.feed(b"\x81\x05Hello");
    assert_eq!(pair.server.connection.ready_state(), ReadyState::Closing);
    pair.run();
    assert_eq!(pair.client.messages(), [&Message::from("before")]);
    assert_eq!((pair.client.outcome().code(), pair.client.outcome().reason()), (1002, "unmasked frame from a client"));
    assert_eq!((pair.server.error().code(), pair.server.closed_at), ("mask_missing", Some(Duration::ZERO)));
}

/// The queue: full at its limit, except that one message of any size is taken when nothing is queued.
#[test]
fn a_full_queue_gives_the_message_back() {
    let mut server = End::new(Role::Server, with_limits(|limits| limits.max_write_queue = 100));
    server.window = 0;
    server.send(vec![0; 5000]);
    let error = server.connection.send("more".into()).unwrap_err();
    assert!(error.is_full());
    assert_eq!(error.into_inner(), Message::from("more"));
    assert!(server.connection.send_prepared(&Prepared::new("more".into())).unwrap_err().is_full());
    // Control frames have a place of their own.
    server.connection.ping(payload("!")).unwrap();
    server.feed_frame(FIN | PING, b"?").open_window(usize::MAX).send("more");
    assert_eq!(server.frames().len(), 4);
}

/// Messages from 8 KiB on are shared and not copied; order and bytes are the same.
#[test]
fn prepared_and_plain_messages_leave_in_order_with_the_same_bytes() {
    for len in [0, 10, 125, 126, 8 * KIB - 1, 8 * KIB, 65_536] {
        let message = Message::from(Bytes::from(vec![b'p'; len]));
        let prepared = Prepared::from(message.clone());
        for role in [Role::Server, Role::Client] {
            let mut end = End::new(role, Config::default());
            end.window = 0;
            end.send("before").send(message.clone());
            end.connection.send_prepared(&prepared).unwrap();
            end.send("after");
            for _ in 0..10 {
                end.open_window(1009);
            }
            end.open_window(usize::MAX);
            let lens: Vec<_> = end.frames().iter().map(|frame| frame.payload.len()).collect();
            assert_eq!(lens, [6, len, len, 5]);
        }
    }
}

/// The contract of `Output::Transmit`: after the transport was full it is offered again once something has left.
#[test]
fn regression_transmit_is_offered_again_when_something_has_left() {
    use bytes::Buf;
    let mut server = End::server();
    server.connection.send("Hello".into()).unwrap();
    assert!(matches!(server.connection.poll_output(), Output::Transmit));
    server.connection.handle_write_blocked(server.now);
    assert!(matches!(server.connection.poll_output(), Output::Wait(Some(_))));
    server.connection.outgoing().advance(1);
    assert!(matches!(server.connection.poll_output(), Output::Transmit));
    server.connection.handle_write_blocked(server.now);
    assert!(matches!(server.connection.poll_output(), Output::Wait(Some(_))));
    server.connection.outgoing().advance(6);
    assert!(matches!(server.connection.poll_output(), Output::Wait(None)));
}

/// A caller that feeds twice without draining gets its input back, instead of losing the first message.
#[test]
fn regression_nothing_is_consumed_while_an_event_waits() {
    let mut server = End::server();
    let one = frame(Role::Client, FIN | TEXT, b"1");
    let mut input = one.repeat(2);
    let consumed = server.connection.handle_input(&mut input, server.now);
    assert_eq!(consumed, one.len());
    assert_eq!(server.connection.handle_input(&mut input[consumed..], server.now), 0);
    server.drain();
    server.feed(&input[consumed..]);
    assert_eq!(server.messages().len(), 2);
}

/// The same for time: a deadline that passes while a message waits does not take it away.
#[test]
fn regression_a_timeout_keeps_the_event_that_waits() {
    let mut server = End::new(Role::Server, with_keepalive(1, 1));
    server.pass(millis(1_500));
    let mut input = frame(Role::Client, FIN | TEXT, b"just in time");
    server.connection.handle_input(&mut input, server.now);
    server.connection.handle_timeout(server.now + secs(1));
    server.drain();
    assert_eq!((server.messages().len(), server.error().code()), (1, "pong_timeout"));
}

/// Calls that come early, late, twice, or after the end.
#[test]
fn calls_out_of_season_do_nothing() {
    let mut server = End::server();
    server.connection.handle_timeout(server.now);
    server.connection.handle_payload(server.now);
    server.connection.handle_write_blocked(server.now);
    server.drain();
    assert_eq!(server.connection.deadline(), None);
    server.feed_frame(FIN | CLOSE, &close_payload(1000, b""));
    assert_eq!(server.connection.ready_state(), ReadyState::Closed);
    server.close(1001, "again").eof().eof().pass(secs(100)).feed(&[0xff; 100]);
    server.connection.handle_payload(server.now);
    assert!(server.connection.payload_space().is_none());
    assert!(server.connection.send("late".into()).is_err());
    server.drain();
    assert_eq!(server.frames().len(), 1);
}
