//! Our own transports: what is kept, who takes over, and how it looks on the wire.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use bytestring::ByteString;
use sockeye_pipe::{
    Batch, Cause, Config, Conversation, ConversationId, Ending, Event, Farewell, Frame, Framing, Numbering, Output,
    ReceiveError, ReceiverId, Resume,
    native::{Transport, Wire, parse_last_event_id},
};

const ROOM: usize = 64 * 1024;
const ID: &str = "000102030405060708090a0b0c0d0e0f";

fn wire(transport: Transport) -> Wire {
    let id = ConversationId::from_random([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    Wire { transport, id, heartbeat: Duration::from_secs(25) }
}

/// A conversation whose client listens to a stream.
struct Scene {
    now: Instant,
    conversation: Conversation<Wire>,
}

impl Scene {
    fn new(config: Config) -> (Self, ReceiverId) {
        let now = Instant::now();
        let mut scene = Self { now, conversation: Conversation::new(now, Arc::new(config)) };
        let stream = scene.attach(0);
        assert!(matches!(scene.output(stream), Some(open) if open.starts_with("{\"open\":")));
        (scene, stream)
    }

    fn attach(&mut self, received: u64) -> ReceiverId {
        let wire = wire(Transport::Stream);
        let kind = wire.transport.receiver_kind();
        self.conversation.attach(self.now, wire, kind, Resume::After(received)).unwrap()
    }

    /// What is written next; `None` for nothing.
    fn output(&mut self, id: ReceiverId) -> Option<String> {
        match self.conversation.poll_output(id, self.now, ROOM) {
            Output::Write(bytes) | Output::Last(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            Output::Wait | Output::Cut => None,
        }
    }

    fn send(&mut self, messages: &[&'static str]) {
        for message in messages {
            self.conversation.send(ByteString::from_static(message)).unwrap();
        }
    }
}

fn written(transport: Transport, frame: &Frame) -> String {
    String::from_utf8(wire(transport).encode(frame).to_vec()).unwrap()
}

fn batch(before: u64, messages: &[&'static str]) -> Frame {
    Frame::Messages(Batch {
        before,
        messages: messages.iter().map(|message| ByteString::from_static(message)).collect(),
    })
}

#[test]
fn frames_of_each_transport() {
    let frames = [
        Frame::Open,
        Frame::Heartbeat,
        batch(7, &["{\"a\":1}", "{\"b\":2}"]),
        Frame::Close(Farewell::new(4001, "no \"x\"")),
    ];
    for (transport, expected) in [
        (
            Transport::Events,
            [
                format!("id: {ID}:0\ndata: {{\"open\":{{\"id\":\"{ID}\",\"heartbeat_ms\":25000}}}}\n\n"),
                ": \n\n".to_owned(),
                format!("id: {ID}:8\ndata: {{\"a\":1}}\n\nid: {ID}:9\ndata: {{\"b\":2}}\n\n"),
                "data: {\"close\":{\"code\":4001,\"reason\":\"no \\\"x\\\"\"}}\n\n".to_owned(),
            ],
        ),
        (
            Transport::Stream,
            [
                format!("{{\"open\":{{\"id\":\"{ID}\",\"heartbeat_ms\":25000}}}}\n"),
                "\n".to_owned(),
                "{\"a\":1}\n{\"b\":2}\n".to_owned(),
                "{\"close\":{\"code\":4001,\"reason\":\"no \\\"x\\\"\"}}\n".to_owned(),
            ],
        ),
        (
            Transport::Poll,
            [
                format!("[{{\"open\":{{\"id\":\"{ID}\",\"heartbeat_ms\":25000}}}}]"),
                "[]".to_owned(),
                "[{\"a\":1},{\"b\":2}]".to_owned(),
                "[{\"close\":{\"code\":4001,\"reason\":\"no \\\"x\\\"\"}}]".to_owned(),
            ],
        ),
    ] {
        for (frame, expected) in frames.iter().zip(expected) {
            assert_eq!(written(transport, frame), expected);
        }
    }
}

/// The protocol passes a publisher's JSON on as it was sent, line breaks and all.
#[test]
fn a_message_with_line_breaks_is_one_line_of_a_stream_and_one_event() {
    let frame = batch(0, &["{\"a\":\r\n1,\r\"b\":\n\n2}"]);
    assert_eq!(written(Transport::Stream, &frame), "{\"a\":  1, \"b\":  2}\n");
    let event = format!("id: {ID}:1\ndata: {{\"a\":\ndata: 1,\ndata: \"b\":\ndata: \ndata: 2}}\n\n");
    assert_eq!(written(Transport::Events, &frame), event);
}

#[test]
fn an_event_source_says_which_conversation_and_how_much_of_it() {
    let id = ID.parse().unwrap();
    assert_eq!(parse_last_event_id(&format!("{ID}:0")), Some((id, 0)));
    assert_eq!(parse_last_event_id(&format!("{ID}:18446744073709551615")), Some((id, u64::MAX)));
    for text in
        ["", ID, ":1", "x:1", "00:1", &format!("{ID}:"), &format!("{ID}:+1"), &format!("{ID}:-1"), &format!("{ID}:1:1")]
    {
        assert_eq!(parse_last_event_id(text), None, "{text}");
    }
    assert_eq!(parse_last_event_id(&format!("{ID}:18446744073709551616")), None);
    assert_eq!(parse_last_event_id(&format!("{}:1", "A".repeat(32))), None, "one way to write a name");
}

#[test]
fn a_receiver_that_breaks_leaves_five_seconds_to_come_back() {
    let (mut scene, stream) = Scene::new(Config::native());
    scene.send(&["1", "2"]);
    assert_eq!(scene.output(stream).as_deref(), Some("1\n2\n"));
    scene.conversation.detach(stream, scene.now, Ending::Dropped);
    scene.now += Duration::from_millis(4999);
    scene.conversation.handle_timeout(scene.now);
    scene.send(&["3"]);
    let again = scene.attach(1);
    assert_eq!(scene.output(again).as_deref(), Some("2\n3\n"), "what did not arrive is sent again");
    scene.conversation.detach(again, scene.now, Ending::Dropped);
    scene.now += Duration::from_secs(5);
    scene.conversation.handle_timeout(scene.now);
    assert_eq!(scene.conversation.poll_event(), Some(Event::Gone(Cause::Deserted)));
}

#[test]
fn a_newer_receiver_takes_over_and_the_older_is_told() {
    let (mut scene, older) = Scene::new(Config::native());
    scene.send(&["1"]);
    assert_eq!(scene.output(older).as_deref(), Some("1\n"));
    let newer = scene.attach(0);
    let notice = "{\"close\":{\"code\":4009,\"reason\":\"replaced by another receiver\"}}\n";
    assert_eq!(
        scene.conversation.poll_output(older, scene.now, ROOM),
        Output::Last(Bytes::from_static(notice.as_bytes()))
    );
    scene.conversation.detach(older, scene.now, Ending::Dropped);
    assert_eq!(scene.output(newer).as_deref(), Some("1\n"));
    assert_eq!(scene.conversation.receiver(), Some(newer));
    assert!(scene.conversation.is_open());
}

#[test]
fn who_has_missed_more_than_is_kept_is_told_and_hears_nothing_after_the_gap() {
    let (mut scene, stream) = Scene::new(Config { max_kept_messages: 2, ..Config::native() });
    scene.send(&["1", "2", "3"]);
    assert_eq!(scene.output(stream).as_deref(), Some("1\n2\n3\n"));
    scene.conversation.detach(stream, scene.now, Ending::Dropped);
    scene.send(&["4"]);
    let again = scene.attach(0);
    assert_eq!(scene.output(again).as_deref(), Some("{\"close\":{\"code\":4103,\"reason\":\"position lost\"}}\n"));
    assert!(!scene.conversation.is_open());
}

#[test]
fn what_is_kept_is_bounded_by_bytes_as_well() {
    let (mut scene, stream) = Scene::new(Config { max_kept_bytes: 4, ..Config::native() });
    scene.send(&["123", "45", "67"]);
    assert!(scene.output(stream).is_some());
    assert_eq!(scene.conversation.held_out(), (2, 4));
    scene.send(&["89012"]);
    assert!(scene.output(stream).is_some());
    assert_eq!(scene.conversation.held_out(), (0, 0), "what is too long by itself is not kept, nor what was before it");
}

#[test]
fn who_claims_to_have_got_what_was_never_sent_is_told_that_its_position_is_lost() {
    let (mut scene, _) = Scene::new(Config::native());
    scene.send(&["1"]);
    let again = scene.attach(1);
    assert_eq!(scene.output(again).as_deref(), Some("{\"close\":{\"code\":4103,\"reason\":\"position lost\"}}\n"));
}

#[test]
fn what_is_confirmed_is_kept_no_longer() {
    let (mut scene, stream) = Scene::new(Config::native());
    scene.send(&["1", "2", "3"]);
    assert!(scene.output(stream).is_some());
    assert_eq!(scene.conversation.held_out(), (3, 3));
    scene.conversation.confirm(2);
    assert_eq!(scene.conversation.held_out(), (1, 1));
    for wrong in [0, 1, 4, u64::MAX] {
        scene.conversation.confirm(wrong);
        assert_eq!(scene.conversation.held_out(), (1, 1));
    }
    let again = scene.attach(2);
    assert_eq!(scene.output(again).as_deref(), Some("3\n"));
}

#[test]
fn what_a_heartbeat_follows_is_kept_no_longer() {
    let (mut scene, stream) = Scene::new(Config::native());
    scene.send(&["1"]);
    assert!(scene.output(stream).is_some());
    scene.now += Duration::from_secs(25);
    scene.conversation.handle_timeout(scene.now);
    assert_eq!(scene.conversation.held_out(), (1, 1));
    assert_eq!(scene.output(stream).as_deref(), Some("\n"));
    assert_eq!(scene.conversation.held_out(), (0, 0));
    let again = scene.attach(0);
    assert_eq!(scene.output(again).as_deref(), Some("{\"close\":{\"code\":4103,\"reason\":\"position lost\"}}\n"));
}

#[test]
fn what_was_not_heard_before_a_close_is_heard_after_it() {
    let (mut scene, stream) = Scene::new(Config::native());
    scene.send(&["1"]);
    assert!(scene.output(stream).is_some());
    scene.conversation.close(scene.now, Farewell::new(1012, "restart"));
    scene.conversation.detach(stream, scene.now, Ending::Dropped);
    let again = scene.attach(0);
    assert_eq!(scene.output(again).as_deref(), Some("1\n"));
    assert_eq!(scene.output(again).as_deref(), Some("{\"close\":{\"code\":1012,\"reason\":\"restart\"}}\n"));
}

#[test]
fn a_request_that_is_made_again_counts_once() {
    let (mut scene, _) = Scene::new(Config::native());
    let mut post = |before, messages: &[&'static str]| {
        let messages = messages.iter().map(|message| ByteString::from_static(message)).collect();
        scene.conversation.receive(Numbering::After(before), messages)
    };
    assert_eq!(post(0, &["a", "b"]), Ok(()));
    assert_eq!(post(0, &["a", "b"]), Ok(()));
    assert_eq!(post(1, &["b", "c"]), Ok(()));
    assert_eq!(post(4, &["e"]), Err(ReceiveError::Gap));
    assert_eq!(post(3, &["d"]), Ok(()));
    let heard: Vec<_> = std::iter::from_fn(|| scene.conversation.poll_event()).collect();
    let expected = ["a", "b", "c", "d"].map(|text| Event::Message(ByteString::from_static(text)));
    assert_eq!(heard, expected);
}
