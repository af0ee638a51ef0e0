//! A connection in two halves: what they owe each other, in any order in which two tasks could hand it over.
mod common;

use std::{sync::Arc, time::Instant};

use bytes::Buf;
use common::{
    BINARY, CLOSE, End, FIN, PING, PONG, TEXT, close_payload, frame, parse, secs, with_keepalive, with_limits,
};
use sockeye_proto::{
    CloseCode, CloseFrame, Config, Connection, ControlPayload, Error, Event, Message, Notice, Output, Party,
    ReadyState, ReceiveHalf, ReceiveOutput, Reply, Role, SendError, SendHalf, SendOutput,
};

/// Both halves of one end, and what the one has for the other and has not handed over.
struct Halves {
    receive: ReceiveHalf,
    send: SendHalf,
    reply: Option<Reply>,
    notice: Option<Notice>,
    events: Vec<Event>,
    sent: Vec<u8>,
    window: usize,
    write_shut: bool,
    now: Instant,
}

impl Halves {
    fn new(role: Role, config: Config) -> Self {
        let now = Instant::now();
        let (receive, send) = connection(role, config, now).split();
        Self {
            receive,
            send,
            reply: None,
            notice: None,
            events: Vec::new(),
            sent: Vec::new(),
            window: usize::MAX,
            write_shut: false,
            now,
        }
    }

    /// The receiving task gets a frame. What it owes is put down, not handed over.
    fn feed(&mut self, first: u8, payload: &[u8]) {
        let from = if self.receive.role() == Role::Server { Role::Client } else { Role::Server };
        let mut wire = frame(from, first, payload);
        let mut at = 0;
        while at < wire.len() {
            at += self.receive.handle_input(&mut wire[at..], self.now);
            self.drain_receive();
        }
    }

    fn drain_receive(&mut self) {
        loop {
            match self.receive.poll_output() {
                ReceiveOutput::Reply(reply) => match &mut self.reply {
                    Some(waiting) => waiting.merge(reply),
                    None => self.reply = Some(reply),
                },
                ReceiveOutput::Event(event) => self.events.push(event),
                ReceiveOutput::Wait(deadline) => {
                    assert_eq!(deadline, self.receive.deadline());
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn drain_send(&mut self) {
        loop {
            match self.send.poll_output() {
                SendOutput::Notice(notice) => self.notice = Some(notice),
                SendOutput::Transmit => {
                    assert!(!self.write_shut);
                    let mut outgoing = self.send.outgoing();
                    while outgoing.has_remaining() && self.window > 0 {
                        let taken = outgoing.chunk().len().min(self.window);
                        self.sent.extend_from_slice(&outgoing.chunk()[..taken]);
                        self.window -= if self.window == usize::MAX { 0 } else { taken };
                        outgoing.advance(taken);
                    }
                    if outgoing.has_remaining() {
                        self.send.handle_write_blocked(self.now);
                    }
                }
                SendOutput::ShutdownWrite => assert!(!std::mem::replace(&mut self.write_shut, true)),
                SendOutput::Wait(deadline) => {
                    assert_eq!(deadline, self.send.deadline());
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The sending task takes what is owed.
    fn settle(&mut self) {
        if let Some(reply) = self.reply.take() {
            self.send.handle_reply(reply);
        }
        self.drain_send();
    }

    /// The receiving task hears of sending.
    fn tell(&mut self) {
        if let Some(notice) = self.notice.take() {
            self.receive.handle_notice(notice);
        }
        self.drain_receive();
    }

    fn exchange(&mut self) {
        for _ in 0..4 {
            self.settle();
            self.tell();
        }
    }

    fn frames(&self) -> Vec<(u8, Vec<u8>)> {
        let (frames, torn) = parse(self.receive.role(), &self.sent);
        assert_eq!(torn, 0);
        frames.into_iter().map(|frame| (frame.first, frame.payload)).collect()
    }

    fn closed(&self) -> &Result<sockeye_proto::CloseOutcome, Error> {
        match self.events.last() {
            Some(Event::Closed(result)) => result,
            other => panic!("not closed: {other:?}"),
        }
    }
}

fn connection(role: Role, config: Config, now: Instant) -> Connection {
    match role {
        Role::Server => Connection::server(Arc::new(config), now),
        Role::Client => Connection::client(Arc::new(config), || [1, 2, 3, 4], now),
    }
}

fn ping(payload: &'static [u8]) -> ControlPayload {
    ControlPayload::try_from(payload).unwrap()
}

/// "MAY elect to send a Pong frame for only the most recently processed Ping frame" (RFC 6455 section 5.5.3): while the sender
/// is busy, replies merge.
#[test]
fn the_newest_pong_is_the_one_that_leaves() {
    let mut end = Halves::new(Role::Server, Config::default());
    for payload in [b"1", b"2", b"3"] {
        end.feed(FIN | PING, payload);
    }
    assert_eq!(end.events.len(), 3);
    end.settle();
    end.feed(FIN | PING, b"4");
    end.settle();
    assert_eq!(end.frames(), [(FIN | PONG, b"3".to_vec()), (FIN | PONG, b"4".to_vec())]);
}

/// A Close frame replaces the pong that waits, and what comes after it owes nothing.
#[test]
fn a_close_replaces_what_waits_and_nothing_follows_it() {
    let mut end = Halves::new(Role::Server, Config::default());
    end.send.send(Message::from("queued")).unwrap();
    end.feed(FIN | PING, b"1");
    end.feed(FIN | CLOSE, &close_payload(1000, b"bye"));
    end.feed(FIN | PING, b"2");
    end.settle();
    let expected = [(FIN | TEXT, b"queued".to_vec()), (FIN | CLOSE, close_payload(1000, b"bye"))];
    assert_eq!(end.frames(), expected);
    assert!(end.write_shut && !end.events.iter().any(|event| matches!(event, Event::Closed(_))));
    assert!(matches!(end.send.send(Message::from("late")), Err(SendError::Closed(_))));
    end.tell();
    assert!(end.closed().as_ref().unwrap().is_clean());
    assert_eq!(end.receive.ready_state(), ReadyState::Closed);
}

/// The two ends close at the same time, and neither half knows of the other's part: one Close frame leaves.
#[test]
fn both_halves_close_at_once() {
    for role in [Role::Server, Role::Client] {
        let mut end = Halves::new(role, Config::default());
        end.send.start_close(Some(CloseFrame::new(CloseCode::GOING_AWAY, "ours")), end.now);
        end.feed(FIN | CLOSE, &close_payload(1000, b"theirs"));
        end.exchange();
        assert_eq!(end.frames(), [(FIN | CLOSE, close_payload(1001, b"ours"))]);
        assert_eq!(end.write_shut, role == Role::Server);
        end.receive.handle_eof(end.now);
        end.exchange();
        assert_eq!(end.closed().as_ref().unwrap().reason(), "theirs");
    }
}

/// The receiver learns that this end began to close, also if a pong for the peer waited meanwhile.
#[test]
fn a_close_that_the_sender_starts_has_its_deadline_and_its_answer() {
    let mut end = Halves::new(Role::Server, Config::default());
    end.feed(FIN | PING, b"too late");
    end.send.start_close(Some(CloseFrame::new(CloseCode::NORMAL, "done")), end.now);
    end.exchange();
    assert_eq!(end.frames(), [(FIN | CLOSE, close_payload(1000, b"done"))]);
    assert_eq!(end.receive.ready_state(), ReadyState::Closing);
    assert_eq!(end.receive.deadline(), Some(end.now + secs(5)));
    end.feed(FIN | BINARY, b"still on its way");
    end.feed(FIN | CLOSE, &close_payload(1000, b"done"));
    end.exchange();
    assert!(end.events.contains(&Event::Message(Message::from(b"still on its way".to_vec()))));
    assert_eq!(end.closed().as_ref().unwrap().initiator(), Party::Local);

    let mut end = Halves::new(Role::Server, Config::default());
    end.window = 0;
    end.send.start_close(None, end.now);
    end.exchange();
    end.now += secs(5);
    end.receive.handle_timeout(end.now);
    end.drain_receive();
    end.settle();
    assert!(!end.closed().as_ref().unwrap().is_clean());
    assert_eq!((end.send.buffered_amount(), end.send.discarded_amount()), (0, 2), "the time for it is over");
}

/// The receiver may begin to close as well. Its Close frame and what the answer makes of TCP may wait together.
#[test]
fn a_close_that_the_receiver_starts() {
    for early in [true, false] {
        let mut end = Halves::new(Role::Server, Config::default());
        end.send.send(Message::from("queued")).unwrap();
        end.feed(FIN | PING, b"replaced");
        end.receive.start_close(Some(CloseFrame::new(CloseCode::NORMAL, "done")), end.now);
        end.drain_receive();
        if early {
            end.exchange();
        }
        assert_eq!(end.receive.ready_state(), ReadyState::Closing);
        end.feed(FIN | CLOSE, &close_payload(1000, b"done"));
        end.exchange();
        assert_eq!(end.frames(), [(FIN | TEXT, b"queued".to_vec()), (FIN | CLOSE, close_payload(1000, b"done"))]);
        assert!(end.write_shut);
        assert_eq!(end.closed().as_ref().unwrap().initiator(), Party::Local);
    }
}

/// A violation, a peer that does not read, a transport that fails: each half learns of it from the other.
#[test]
fn failures_cross_over() {
    let mut end = Halves::new(Role::Server, Config::default());
    end.feed(FIN | 3, b"");
    end.settle();
    assert_eq!(end.frames()[0].1[..2], 1002_u16.to_be_bytes());
    assert!(end.write_shut);
    assert!(matches!(end.send.send(Message::from("late")), Err(SendError::Closed(_))));
    end.receive.handle_eof(end.now);
    end.exchange();
    assert!(end.closed().as_ref().unwrap_err().is_protocol());

    let mut end = Halves::new(Role::Server, Config::default());
    end.window = 10;
    end.send.send(Message::from("more than ten bytes")).unwrap();
    end.exchange();
    end.now = end.send.deadline().unwrap();
    end.send.handle_timeout(end.now);
    end.exchange();
    assert_eq!(end.closed().as_ref().unwrap_err().code(), "write_timeout");
    assert_eq!(end.send.discarded_amount(), 11);

    let mut end = Halves::new(Role::Client, Config::default());
    end.send.send(Message::from("never leaves")).unwrap();
    end.send.handle_eof(end.now);
    end.exchange();
    assert!(end.closed().as_ref().unwrap_err().is_eof());
    assert_eq!(end.send.discarded_amount(), 18);
}

/// The watch is the receiver's, its ping the sender's.
#[test]
fn keepalive_crosses_over() {
    let mut end = Halves::new(Role::Server, with_keepalive(25, 10));
    for _ in 0..3 {
        end.now = end.receive.deadline().unwrap();
        end.receive.handle_timeout(end.now);
        end.exchange();
        let (first, payload) = end.frames().pop().unwrap();
        assert_eq!(first, FIN | PING);
        end.now += secs(9);
        end.feed(FIN | PONG, &payload);
    }
    end.now = end.receive.deadline().unwrap();
    end.receive.handle_timeout(end.now);
    end.drain_receive();
    // The program's ping replaces the watch's in the queue.
    end.window = 0;
    end.settle();
    end.send.ping(ping(b"mine")).unwrap();
    end.exchange();
    end.window = usize::MAX;
    let wire = end.send.outgoing().copy_to_bytes(6);
    assert_eq!(&wire[..], b"\x89\x04mine");
    end.feed(FIN | PONG, b"mine");
    end.now += secs(20);
    end.receive.handle_timeout(end.now);
    end.exchange();
    assert!(!end.receive.is_over(), "the peer has answered");
}

/// Any message is taken while at most `high_water` bytes wait.
#[test]
fn nothing_is_full_below_high_water() {
    let config = with_limits(|limits| (limits.high_water, limits.max_write_queue) = (100, 1_000));
    let mut end = Halves::new(Role::Server, config);
    end.send.send(Message::from(vec![0; 98])).unwrap();
    assert_eq!(end.send.buffered_amount(), 100);
    end.send.send(Message::from(vec![0; 5_000])).unwrap();
    assert!(matches!(end.send.send(Message::from("x")), Err(SendError::Full(_))));
}

/// Halves of two connections do not become one.
#[test]
fn reuniting_is_checked() {
    let config = Arc::new(Config::default());
    let now = Instant::now();
    let (receive, send) = Connection::server(Arc::clone(&config), now).split();
    let (other_receive, other_send) = Connection::server(config, now).split();
    let Err((receive, other_send)) = Connection::reunite(receive, other_send) else { panic!("strangers") };
    Connection::reunite(receive, send).unwrap();
    Connection::reunite(other_receive, other_send).unwrap();
}

/// What waits between the halves is not lost when they are joined.
#[test]
fn reuniting_hands_over_what_waits() {
    let now = Instant::now();
    let (mut receive, mut send) = connection(Role::Server, Config::default(), now).split();
    let wire = [frame(Role::Client, FIN | PING, b"owed"), frame(Role::Client, TEXT, b"half a ")].concat();
    let mut wire = wire;
    assert_eq!(receive.handle_input(&mut wire, now), 10, "up to the event");
    send.send(Message::from("queued")).unwrap();
    let mut connection = Connection::reunite(receive, send).unwrap();
    assert!(matches!(connection.poll_output(), Output::Event(Event::Ping(_))));
    connection.handle_input(&mut wire[10..], now);
    let (mut receive, mut send) = connection.split();
    receive.handle_input(&mut frame(Role::Client, FIN, b"message"), now);
    send.start_close(None, now);
    let mut connection = Connection::reunite(receive, send).unwrap();
    assert_eq!(connection.ready_state(), ReadyState::Closing);
    assert_eq!(connection.take_message().unwrap().as_text(), Some("half a message"));
    let queued = connection.buffered_amount();
    let wire = connection.outgoing().copy_to_bytes(queued);
    assert_eq!(&wire[..], b"\x8a\x04owed\x81\x06queued\x88\x00");
}

/// A keepalive ping that still waits is replaced by one of the program's; its pong is as good.
#[test]
fn a_ping_of_the_programs_does_not_cost_a_healthy_peer_its_connection() {
    let mut end = End::new(Role::Server, with_keepalive(25, 10));
    end.window = 0;
    end.pass(secs(25));
    end.connection.ping(ping(b"mine")).unwrap();
    end.open_window(usize::MAX);
    assert_eq!(end.frames().len(), 1, "one ping, the newest");
    end.feed_frame(FIN | PONG, b"mine").pass(secs(24));
    assert!(end.closed.is_none());
    // And where both leave, the peer may answer only the newer.
    end.pass(secs(1));
    end.connection.ping(ping(b"again")).unwrap();
    end.drain();
    assert_eq!(end.frames().len(), 3);
    end.feed_frame(FIN | PONG, b"again").pass(secs(24));
    assert!(end.closed.is_none());
}

/// B21: what is no answer to a ping of this end proves nothing, whatever the program has pinged before.
#[test]
fn b21_a_pong_that_answers_no_ping_proves_nothing() {
    let mut end = End::new(Role::Server, with_keepalive(25, 10));
    end.connection.ping(ping(b"before")).unwrap();
    end.pass(secs(25));
    end.connection.ping(ping(b"older")).unwrap();
    end.connection.ping(ping(b"newer")).unwrap();
    end.drain();
    for payload in [&b"before"[..], b"", b"unasked"] {
        end.feed_frame(FIN | PONG, payload);
    }
    end.pass(secs(10));
    assert_eq!(end.error().code(), "pong_timeout");
}
