//! The conversation of SockJS, section 5 of its notes, by the clock.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use bytestring::ByteString;
use sockeye_pipe::{
    AttachError, Cause, Config, Conversation, Ending, Event, Farewell, Numbering, Output, ReceiveError, ReceiverId,
    ReceiverKind, Resume, SendError,
    sockjs::{RESPONSE_LIMIT, Transport},
};

const ROOM: usize = 64 * 1024;
const STREAM: ReceiverKind = ReceiverKind::Streaming { limit: RESPONSE_LIMIT };
const POLL: ReceiverKind = ReceiverKind::Poll;

/// A conversation and a clock.
struct Scene {
    now: Instant,
    conversation: Conversation<Transport>,
}

impl Scene {
    fn new() -> Self {
        Self::with(Config::sockjs())
    }

    fn with(config: Config) -> Self {
        let now = Instant::now();
        Self { now, conversation: Conversation::new(now, Arc::new(config)) }
    }

    /// One whose greeting has been heard, with the stream that heard it.
    fn streaming() -> (Self, ReceiverId) {
        let mut scene = Self::new();
        let stream = scene.attach(STREAM);
        assert_eq!(scene.output(stream), write("o\n"));
        (scene, stream)
    }

    /// One whose greeting has been heard, without a receiver.
    fn polling() -> Self {
        let mut scene = Self::new();
        assert_eq!(scene.poll(), "o\n");
        scene
    }

    fn try_attach(&mut self, kind: ReceiverKind) -> Result<ReceiverId, AttachError> {
        self.conversation.attach(self.now, Transport::Xhr, kind, Resume::Unchecked)
    }

    fn attach(&mut self, kind: ReceiverKind) -> ReceiverId {
        self.try_attach(kind).expect("a receiver")
    }

    fn output(&mut self, id: ReceiverId) -> Output {
        self.conversation.poll_output(id, self.now, ROOM)
    }

    /// A poll that is answered at once, and written.
    fn poll(&mut self) -> String {
        let poll = self.attach(POLL);
        let Output::Last(bytes) = self.output(poll) else { panic!("no answer") };
        self.detach(poll, Ending::Finished);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn detach(&mut self, id: ReceiverId, ending: Ending) {
        self.conversation.detach(id, self.now, ending);
    }

    fn send(&mut self, message: &'static str) {
        self.conversation.send(ByteString::from_static(message)).unwrap();
    }

    fn close(&mut self) {
        self.conversation.close(self.now, Farewell::new(3000, "Go away!"));
    }

    /// So much later, as a timer would have it that fires at deadlines.
    fn wait(&mut self, milliseconds: u64) {
        let until = self.now + Duration::from_millis(milliseconds);
        while let Some(at) = self.conversation.deadline().filter(|at| *at <= until) {
            self.now = at;
            self.conversation.handle_timeout(at);
        }
        self.now = until;
    }

    fn event(&mut self) -> Option<Event> {
        self.conversation.poll_event()
    }
}

fn write(text: &'static str) -> Output {
    Output::Write(Bytes::from_static(text.as_bytes()))
}

fn last(text: &'static str) -> Output {
    Output::Last(Bytes::from_static(text.as_bytes()))
}

fn message(text: &'static str) -> Event {
    Event::Message(ByteString::from_static(text))
}

fn receive(conversation: &mut Conversation<Transport>, messages: &[&'static str]) -> Result<(), ReceiveError> {
    let messages = messages.iter().map(|message| ByteString::from_static(message)).collect();
    conversation.receive(Numbering::Unnumbered, messages)
}

#[test]
fn the_first_receiver_hears_o_and_goes_on() {
    let (mut scene, stream) = Scene::streaming();
    assert_eq!(scene.output(stream), Output::Wait);
    scene.send("a");
    assert_eq!(scene.output(stream), write("a[\"a\"]\n"));
    assert_eq!(scene.output(stream), Output::Wait);
}

#[test]
fn the_first_poll_is_answered_with_o_alone() {
    let mut scene = Scene::new();
    scene.send("already here");
    assert_eq!(scene.poll(), "o\n");
    assert_eq!(scene.poll(), "a[\"already here\"]\n");
}

#[test]
fn what_waits_leaves_as_one_frame() {
    let mut scene = Scene::polling();
    scene.send("a");
    scene.send("b");
    scene.send("c");
    assert_eq!(scene.poll(), "a[\"a\",\"b\",\"c\"]\n");
}

#[test]
fn a_poll_waits_for_one_frame_and_ends() {
    let mut scene = Scene::polling();
    let poll = scene.attach(POLL);
    assert_eq!(scene.output(poll), Output::Wait);
    scene.send("a");
    assert_eq!(scene.output(poll), last("a[\"a\"]\n"));
    scene.send("b");
    scene.detach(poll, Ending::Finished);
    assert_eq!(scene.poll(), "a[\"b\"]\n");
}

#[test]
fn a_second_receiver_is_told_2010_and_the_first_is_not_disturbed() {
    let (mut scene, stream) = Scene::streaming();
    let busy = AttachError::Busy(Bytes::from_static(b"c[2010,\"Another connection still open\"]\n"));
    assert_eq!(scene.try_attach(STREAM), Err(busy.clone()));
    assert_eq!(scene.try_attach(POLL), Err(busy));
    scene.send("a");
    assert_eq!(scene.output(stream), write("a[\"a\"]\n"));
}

#[test]
fn the_next_poll_may_come_before_the_last_one_is_known_to_be_over() {
    let mut scene = Scene::polling();
    let first = scene.attach(POLL);
    scene.send("a");
    assert_eq!(scene.output(first), last("a[\"a\"]\n"));
    let second = scene.attach(POLL);
    scene.detach(first, Ending::Finished);
    scene.wait(6000);
    scene.send("b");
    assert_eq!(scene.output(second), last("a[\"b\"]\n"));
}

#[test]
fn without_a_receiver_messages_wait_for_five_seconds() {
    let mut scene = Scene::polling();
    scene.wait(4500);
    scene.send("a");
    assert_eq!(scene.poll(), "a[\"a\"]\n");
    scene.wait(4999);
    assert!(scene.conversation.is_open());
    scene.wait(1);
    assert_eq!(scene.event(), Some(Event::Gone(Cause::Deserted)));
    assert_eq!(scene.event(), None);
    assert_eq!(scene.try_attach(POLL), Err(AttachError::Gone));
    assert_eq!(receive(&mut scene.conversation, &["x"]), Err(ReceiveError::Gone));
    assert_eq!(scene.conversation.send("x".into()), Err(SendError::Closed("x".into())));
}

#[test]
fn what_the_client_sends_does_not_extend_the_five_seconds() {
    let mut scene = Scene::polling();
    scene.wait(4000);
    receive(&mut scene.conversation, &["x"]).unwrap();
    scene.wait(1000);
    assert_eq!(scene.event(), Some(message("x")), "what was said before the end is heard");
    assert_eq!(scene.event(), Some(Event::Gone(Cause::Deserted)));
}

#[test]
fn a_conversation_that_nobody_comes_to_ends_too() {
    let mut scene = Scene::new();
    scene.wait(5000);
    assert_eq!(scene.event(), Some(Event::Gone(Cause::Deserted)));
}

#[test]
fn a_receiver_that_breaks_ends_the_conversation_at_once() {
    let (mut scene, stream) = Scene::streaming();
    scene.detach(stream, Ending::Dropped);
    assert_eq!(scene.event(), Some(Event::Gone(Cause::Dropped)));
    assert_eq!(
        scene.try_attach(STREAM),
        Err(AttachError::Gone),
        "the next one is a new conversation, which begins with o"
    );
}

#[test]
fn a_poll_that_breaks_while_its_answer_is_written_ends_the_conversation() {
    let mut scene = Scene::polling();
    let poll = scene.attach(POLL);
    scene.send("a");
    assert_eq!(scene.output(poll), last("a[\"a\"]\n"));
    scene.detach(poll, Ending::Dropped);
    assert_eq!(scene.event(), Some(Event::Gone(Cause::Dropped)));
}

#[test]
fn the_five_seconds_begin_when_an_answer_is_written() {
    let mut scene = Scene::polling();
    let poll = scene.attach(POLL);
    scene.send("a");
    assert_eq!(scene.output(poll), last("a[\"a\"]\n"));
    scene.wait(29_999);
    scene.detach(poll, Ending::Finished);
    scene.wait(4999);
    assert!(scene.conversation.is_open());
    scene.wait(1);
    assert!(scene.conversation.is_gone());
}

/// As by hyper, which keeps it while the client's window is shut, as long as the connection lives.
#[test]
fn an_answer_that_is_not_written_for_30_seconds_is_given_up() {
    let mut scene = Scene::polling();
    let poll = scene.attach(POLL);
    scene.send("a");
    assert_eq!(scene.output(poll), last("a[\"a\"]\n"));
    scene.wait(29_999);
    assert!(scene.conversation.is_open());
    scene.wait(1);
    assert_eq!(scene.event(), Some(Event::Gone(Cause::Stalled)));
    scene.detach(poll, Ending::Finished);
    assert_eq!((scene.event(), scene.conversation.receiver()), (None, None));
}

#[test]
fn a_heartbeat_comes_after_25_seconds_without_traffic() {
    let (mut scene, stream) = Scene::streaming();
    scene.wait(24_000);
    scene.send("a");
    assert_eq!(scene.output(stream), write("a[\"a\"]\n"));
    scene.wait(24_999);
    assert_eq!(scene.output(stream), Output::Wait);
    scene.wait(1);
    assert_eq!(scene.output(stream), write("h\n"));
    assert_eq!(scene.output(stream), Output::Wait);
    scene.wait(25_000);
    assert_eq!(scene.output(stream), write("h\n"));
}

#[test]
fn a_heartbeat_ends_a_poll() {
    let mut scene = Scene::polling();
    let poll = scene.attach(POLL);
    scene.wait(25_000);
    assert_eq!(scene.output(poll), last("h\n"));
}

#[test]
fn a_message_stands_for_a_heartbeat_that_had_no_room() {
    let (mut scene, stream) = Scene::streaming();
    scene.wait(25_000);
    scene.send("a");
    assert_eq!(scene.output(stream), write("a[\"a\"]\n"));
    assert_eq!(scene.output(stream), Output::Wait);
}

#[test]
fn a_close_comes_after_what_is_queued_and_ends_the_receiver() {
    let (mut scene, stream) = Scene::streaming();
    scene.send("a");
    scene.close();
    assert_eq!(scene.conversation.send("b".into()), Err(SendError::Closed("b".into())));
    assert_eq!(scene.output(stream), write("a[\"a\"]\n"));
    assert_eq!(scene.output(stream), last("c[3000,\"Go away!\"]\n"));
}

#[test]
fn whoever_comes_within_five_seconds_of_a_close_hears_it_and_no_2010() {
    let (mut scene, stream) = Scene::streaming();
    scene.close();
    assert_eq!(
        scene.try_attach(STREAM),
        Err(AttachError::Busy(Bytes::from_static(b"c[3000,\"Go away!\"]\n"))),
        "while the first still hears it"
    );
    assert_eq!(scene.output(stream), last("c[3000,\"Go away!\"]\n"));
    assert_eq!(scene.poll(), "c[3000,\"Go away!\"]\n");
    scene.wait(4999);
    assert_eq!(scene.poll(), "c[3000,\"Go away!\"]\n");
    scene.wait(1);
    assert_eq!(scene.event(), Some(Event::Gone(Cause::Closed)));
    assert_eq!(scene.try_attach(POLL), Err(AttachError::Gone));
}

#[test]
fn polls_after_a_close_are_answered_with_what_is_queued_first() {
    let mut scene = Scene::polling();
    scene.send("a");
    scene.close();
    assert_eq!(scene.poll(), "a[\"a\"]\n");
    assert_eq!(scene.poll(), "c[3000,\"Go away!\"]\n");
}

#[test]
fn a_refusal_is_o_and_then_a_close() {
    let mut scene = Scene::new();
    scene.conversation.close(scene.now, Farewell::new(4001, "unauthorized"));
    let stream = scene.attach(STREAM);
    assert_eq!(scene.output(stream), write("o\n"));
    assert_eq!(scene.output(stream), last("c[4001,\"unauthorized\"]\n"));
    scene.detach(stream, Ending::Finished);
    assert_eq!(scene.poll(), "c[4001,\"unauthorized\"]\n", "the greeting comes once");
}

#[test]
fn what_a_client_sends_while_the_conversation_closes_is_taken_and_dropped() {
    let mut scene = Scene::polling();
    receive(&mut scene.conversation, &["before"]).unwrap();
    scene.close();
    assert_eq!(receive(&mut scene.conversation, &["after"]), Ok(()));
    assert_eq!(scene.event(), None);
}

#[test]
fn the_first_close_holds() {
    let mut scene = Scene::polling();
    scene.close();
    scene.wait(3000);
    scene.conversation.close(scene.now, Farewell::new(4000, "other"));
    assert_eq!(scene.poll(), "c[3000,\"Go away!\"]\n");
    scene.wait(2000);
    assert!(scene.conversation.is_gone());
}

#[test]
fn after_a_receiver_broke_while_closing_nothing_comes_but_the_close() {
    let (mut scene, stream) = Scene::streaming();
    scene.send("a");
    scene.close();
    scene.detach(stream, Ending::Dropped);
    assert_eq!(scene.poll(), "c[3000,\"Go away!\"]\n", "what is after a gap is not heard");
}

#[test]
fn messages_of_the_client_come_in_order() {
    let mut scene = Scene::polling();
    receive(&mut scene.conversation, &["a", "b"]).unwrap();
    receive(&mut scene.conversation, &[]).unwrap();
    receive(&mut scene.conversation, &["c"]).unwrap();
    let heard: Vec<_> = std::iter::from_fn(|| scene.event()).collect();
    assert_eq!(heard, [message("a"), message("b"), message("c")]);
}

/// Section 12: 50 messages of 200 bytes over a limit of 4,096 arrive over three requests with a single `o`.
#[test]
fn a_stream_ends_at_its_limit_and_nothing_is_lost() {
    let mut scene = Scene::new();
    let mut sent = 0_u32;
    let mut heard = String::new();
    let mut requests = 0;
    while heard.matches("xxx\"").count() < 50 {
        let stream = scene.attach(ReceiverKind::Streaming { limit: 4096 });
        requests += 1;
        let mut written = 0;
        loop {
            if sent < 50 {
                sent += 1;
                let text = format!("{sent:03}{}", "x".repeat(197));
                scene.conversation.send(text.into()).unwrap();
            }
            match scene.output(stream) {
                Output::Write(bytes) => {
                    written += bytes.len();
                    assert!(written < 4096);
                    heard.push_str(std::str::from_utf8(&bytes).unwrap());
                }
                Output::Last(bytes) => {
                    assert!(written + bytes.len() >= 4096);
                    heard.push_str(std::str::from_utf8(&bytes).unwrap());
                    break;
                }
                Output::Wait => break,
                Output::Cut => panic!("cut"),
            }
        }
        scene.detach(stream, Ending::Finished);
    }
    assert_eq!(requests, 3);
    assert_eq!(heard.matches("o\n").count(), 1);
    let mut at = 0;
    for number in 1..=50 {
        let part = format!("\"{number:03}x");
        at += heard[at..].find(&part).expect("in order") + part.len();
    }
}

#[test]
fn a_frame_holds_no_more_than_there_is_room_and_at_least_one_message() {
    let mut scene = Scene::polling();
    for _ in 0..4 {
        scene.send("0123456789");
    }
    let stream = scene.attach(STREAM);
    assert_eq!(scene.conversation.poll_output(stream, scene.now, 0), Output::Wait);
    assert_eq!(scene.conversation.poll_output(stream, scene.now, 1), write("a[\"0123456789\"]\n"));
    assert_eq!(scene.conversation.poll_output(stream, scene.now, 20), write("a[\"0123456789\",\"0123456789\"]\n"));
}

#[test]
fn what_waited_for_a_stream_goes_over_its_limit_by_one_message_at_most() {
    let mut scene = Scene::polling();
    for _ in 0..50 {
        scene.conversation.send("x".repeat(200).into()).unwrap();
    }
    let mut heard = 0;
    for _ in 0..3 {
        let stream = scene.attach(ReceiverKind::Streaming { limit: 4096 });
        let mut written = 0;
        while let Output::Write(bytes) | Output::Last(bytes) = scene.output(stream) {
            if bytes.is_empty() {
                break;
            }
            written += bytes.len();
            heard += std::str::from_utf8(&bytes).unwrap().matches('x').count();
        }
        assert!(written < 4096 + 2 * 204, "{written} bytes");
        scene.detach(stream, Ending::Finished);
    }
    assert_eq!(heard, 50 * 200);
}

#[test]
fn what_waits_is_bounded_by_bytes_and_by_count() {
    let mut scene = Scene::with(Config { max_queued_messages: 3, max_queued_bytes: 10, ..Config::sockjs() });
    scene.send("12345");
    scene.send("12345");
    assert_eq!(scene.conversation.send("1".into()), Err(SendError::Full("1".into())));
    scene.send("");
    assert_eq!(scene.conversation.send("".into()), Err(SendError::Full("".into())));
    assert_eq!(scene.conversation.buffered_amount(), 10);
    assert_eq!(scene.poll(), "o\n");
    assert_eq!(scene.poll(), "a[\"12345\",\"12345\",\"\"]\n");
    scene.send("1");
}

#[test]
fn what_waits_for_the_application_is_bounded_and_taken_whole_or_not() {
    let mut scene = Scene::with(Config { max_received_messages: 3, max_received_bytes: 10, ..Config::sockjs() });
    receive(&mut scene.conversation, &["12345", "1234"]).unwrap();
    let too_many = receive(&mut scene.conversation, &["", ""]);
    assert_eq!(too_many, Err(ReceiveError::Full(vec!["".into(), "".into()])));
    assert!(!scene.conversation.has_room(1, 2) && scene.conversation.has_room(1, 1));
    let too_long = receive(&mut scene.conversation, &["12"]);
    assert_eq!(too_long, Err(ReceiveError::Full(vec!["12".into()])));
    assert_eq!(scene.event(), Some(message("12345")));
    receive(&mut scene.conversation, &["12"]).unwrap();
}

/// Attacks E1 and H10: who never reads is cut off ten seconds after something waits for it.
#[test]
fn a_receiver_that_takes_nothing_is_cut_off() {
    let (mut scene, stream) = Scene::streaming();
    scene.wait(8000);
    scene.send("a");
    assert_eq!(scene.conversation.poll_output(stream, scene.now, 0), Output::Wait);
    scene.wait(9999);
    assert!(scene.conversation.is_open());
    scene.wait(1);
    assert_eq!(scene.output(stream), Output::Cut);
    assert_eq!(scene.event(), Some(Event::Gone(Cause::Stalled)));
    assert_eq!(scene.conversation.held_out(), (0, 0));
}

/// Attack E3: progress is bytes in a time, not any byte.
#[test]
fn a_receiver_that_takes_a_byte_now_and_then_is_cut_off() {
    let (mut scene, stream) = Scene::streaming();
    for _ in 0..200 {
        scene.send("0123456789");
    }
    for _ in 0..10 {
        assert_eq!(scene.conversation.poll_output(stream, scene.now, 0), Output::Wait);
        assert_eq!(scene.conversation.poll_output(stream, scene.now, 1), write("a[\"0123456789\"]\n"));
        scene.wait(1000);
    }
    assert_eq!(scene.output(stream), Output::Cut);
}

#[test]
fn a_receiver_that_takes_enough_goes_on_and_one_that_has_it_all_is_left_alone() {
    let (mut scene, stream) = Scene::streaming();
    for round in 0..10 {
        for _ in 0..500 {
            scene.send("0123456789");
        }
        assert_eq!(scene.conversation.poll_output(stream, scene.now, 0), Output::Wait);
        scene.wait(5000);
        assert!(matches!(scene.conversation.poll_output(stream, scene.now, 3000), Output::Write(_)), "{round}");
        scene.wait(1000);
        while scene.output(stream) != Output::Wait {}
    }
    scene.wait(20_000);
    assert_eq!(scene.output(stream), Output::Wait);
    assert!(scene.conversation.is_open());
}

#[test]
fn who_is_cut_off_while_closing_does_not_hold_up_the_end() {
    let (mut scene, stream) = Scene::streaming();
    scene.send("a");
    scene.close();
    assert_eq!(scene.conversation.poll_output(stream, scene.now, 0), Output::Wait);
    scene.wait(5000);
    assert_eq!(scene.output(stream), Output::Cut);
    assert_eq!(scene.event(), Some(Event::Gone(Cause::Closed)));
}

#[test]
fn a_receiver_that_is_gone_changes_nothing_when_it_is_detached_again() {
    let mut scene = Scene::polling();
    let poll = scene.attach(POLL);
    scene.detach(poll, Ending::Finished);
    let stream = scene.attach(STREAM);
    scene.detach(poll, Ending::Dropped);
    assert_eq!(scene.output(poll), Output::Cut);
    assert_eq!(scene.conversation.receiver(), Some(stream));
    assert!(scene.conversation.is_open());
}

#[test]
fn a_client_may_say_goodbye() {
    let (mut scene, stream) = Scene::streaming();
    receive(&mut scene.conversation, &["x"]).unwrap();
    scene.conversation.leave();
    assert_eq!(scene.output(stream), last(""));
    assert_eq!(scene.event(), Some(message("x")));
    assert_eq!(scene.event(), Some(Event::Gone(Cause::Left)));
    assert_eq!(scene.conversation.deadline(), None);
}
