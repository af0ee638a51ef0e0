//! The place where the halves of a socket meet, under loom: every order in which two tasks and a transport can go through it.
//!
//! It runs with the other tests; alone, and faster: `cargo test -p sockeye --test loom_slot --release`. The code under test is
//! the library's own file, compiled here with loom's mutex; the frames are those of `sockeye-proto`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod sync {
    pub(super) use loom::sync::Mutex;
}
#[path = "../src/split/slot.rs"]
#[allow(dead_code, reason = "the library uses all of it")]
mod slot;

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Buf;
use loom::{future::block_on, sync::Mutex, thread};
use slot::{Settle, Slot, Wakers};
use sockeye_proto::{Config, Connection, Message, ReceiveHalf, ReceiveOutput, Reply, SendHalf};

const PONG: u8 = 0x8a;
const CLOSE: u8 = 0x88;
const TEXT: u8 = 0x81;

/// Takes nothing before it is opened, and keeps one waker, as sockets do.
struct Transport(Mutex<Wire>);

struct Wire {
    room: usize,
    bytes: Vec<u8>,
    waker: Option<Waker>,
}

impl Transport {
    fn new(room: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Wire { room, bytes: Vec::new(), waker: None })))
    }

    fn open(&self) {
        let waker = {
            let mut wire = self.0.lock().unwrap();
            wire.room = usize::MAX;
            wire.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The frames that have left, each by its first byte and payload: what a server sends.
    fn frames(&self) -> Vec<(u8, Vec<u8>)> {
        let bytes = self.0.lock().unwrap().bytes.clone();
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while let [first, len, more @ ..] = rest {
            let (payload, after) = more.split_at(usize::from(*len));
            frames.push((*first, payload.to_vec()));
            rest = after;
        }
        assert!(rest.is_empty(), "a torn frame");
        frames
    }
}

/// The write side, as far as it concerns the meeting.
struct Side {
    half: SendHalf,
    transport: Arc<Transport>,
    wakers: Arc<Wakers>,
}

impl Side {
    fn drive(&mut self) {
        let waker = Waker::from(Arc::clone(&self.wakers));
        let cx = Context::from_waker(&waker);
        while self.half.buffered_amount() > 0 {
            let mut wire = self.transport.0.lock().unwrap();
            if wire.room == 0 {
                wire.waker = Some(cx.waker().clone());
                return;
            }
            let mut outgoing = self.half.outgoing();
            let taken = outgoing.chunk().len().min(wire.room);
            wire.bytes.extend_from_slice(&outgoing.chunk()[..taken]);
            wire.room -= if wire.room == usize::MAX { 0 } else { taken };
            outgoing.advance(taken);
        }
        // In this model the receiver waits until its pong has left, to have something to wait for.
        self.wakers.receiver.wake();
    }
}

impl Settle for Side {
    type Debt = Option<Reply>;

    fn merge(debt: &mut Option<Reply>, newer: Option<Reply>) {
        match (debt, newer) {
            (Some(debt), Some(newer)) => debt.merge(newer),
            (debt @ None, newer) => *debt = newer,
            (Some(_), None) => {}
        }
    }

    fn settle(&mut self, reply: Option<Reply>) {
        if let Some(reply) = reply {
            self.half.handle_reply(reply);
        }
        self.drive();
        self.wakers.sender.wake();
    }
}

struct Meeting {
    slot: Slot<Side>,
    wakers: Arc<Wakers>,
    transport: Arc<Transport>,
}

fn meeting(room: usize) -> (ReceiveHalf, Arc<Meeting>) {
    let (receive, half) = Connection::server(Arc::new(Config::default()), Instant::now()).split();
    let (transport, wakers) = (Transport::new(room), Arc::new(Wakers::new()));
    let side = Side { half, transport: Arc::clone(&transport), wakers: Arc::clone(&wakers) };
    (receive, Arc::new(Meeting { slot: Slot::new(side), wakers, transport }))
}

/// What the receiver owes after this frame of a client's, with a masking key of zeros.
fn owed(receive: &mut ReceiveHalf, first: u8, payload: &[u8]) -> Reply {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    receive.handle_input(&mut frame, Instant::now());
    let ReceiveOutput::Reply(reply) = receive.poll_output() else { panic!("it is answered") };
    while let ReceiveOutput::Event(_) = receive.poll_output() {}
    reply
}

/// Every order with at most so many preemptions.
fn model(preemptions: usize, work: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(work);
}

/// Whatever the sender is doing when a reply is left, the reply leaves; and if one waits, the newest does.
#[test]
fn no_reply_is_stranded_and_the_newest_pong_leaves_last() {
    model(3, || {
        let (mut receive, meeting) = meeting(usize::MAX);
        let sending = {
            let meeting = Arc::clone(&meeting);
            thread::spawn(move || {
                for message in ["one", "two"] {
                    meeting.slot.with(|side| {
                        side.half.send(Message::from(message)).unwrap();
                        side.drive();
                    });
                }
            })
        };
        for payload in [b"1", b"2"] {
            meeting.slot.leave(Some(owed(&mut receive, 0x89, payload)));
        }
        sending.join().unwrap();
        let frames = meeting.transport.frames();
        let pongs: Vec<_> = frames.iter().filter(|frame| frame.0 == PONG).map(|frame| frame.1[0]).collect();
        assert!(pongs == *b"12" || pongs == *b"2", "{frames:?}");
        let messages: Vec<_> = frames.into_iter().filter(|frame| frame.0 == TEXT).map(|frame| frame.1).collect();
        assert_eq!(messages, [b"one", b"two"]);
    });
}

/// The same where the sender queues and does not write: whoever leaves a reply, or finds it, writes.
#[test]
fn a_sender_that_only_queues_strands_nothing() {
    model(3, || {
        let (mut receive, meeting) = meeting(usize::MAX);
        let sending = {
            let meeting = Arc::clone(&meeting);
            thread::spawn(move || {
                for message in ["one", "two"] {
                    meeting.slot.with(|side| side.half.send(Message::from(message)).unwrap());
                }
            })
        };
        meeting.slot.leave(Some(owed(&mut receive, 0x89, b"1")));
        sending.join().unwrap();
        assert_eq!(meeting.transport.frames().iter().filter(|frame| frame.0 == PONG).count(), 1);
    });
}

/// A Close frame takes the place of the pong that waits, and is the last to leave, with all that was sent before it.
#[test]
fn nothing_follows_a_close() {
    model(3, || {
        let (mut receive, meeting) = meeting(usize::MAX);
        let sending = {
            let meeting = Arc::clone(&meeting);
            thread::spawn(move || {
                ["one", "two"].map(|message| {
                    meeting.slot.with(|side| {
                        let sent = side.half.send(Message::from(message)).is_ok();
                        side.drive();
                        sent
                    })
                })
            })
        };
        meeting.slot.leave(Some(owed(&mut receive, 0x89, b"1")));
        meeting.slot.leave(Some(owed(&mut receive, CLOSE, &1000_u16.to_be_bytes())));
        let sent = sending.join().unwrap();
        let frames = meeting.transport.frames();
        assert_eq!(frames.last().unwrap(), &(CLOSE, 1000_u16.to_be_bytes().to_vec()));
        assert_eq!(frames.iter().filter(|frame| frame.0 == CLOSE).count(), 1);
        assert_eq!(frames.iter().filter(|frame| frame.0 == TEXT).count(), sent.iter().filter(|sent| **sent).count());
    });
}

/// Both wait for the transport, which keeps one waker: when it opens, each gets what it waited for. A lost wake is a deadlock,
/// which loom finds.
#[test]
fn no_wake_is_lost() {
    model(2, || wait_for_the_transport(true));
}

/// The sender's future is dropped while the transport takes nothing: the receiver alone sees to the rest.
#[test]
fn a_sender_that_stops_waiting_does_not_take_the_wake_along() {
    model(2, || wait_for_the_transport(false));
}

fn wait_for_the_transport(sender_stays: bool) {
    let (mut receive, meeting) = meeting(0);
    let sending = {
        let meeting = Arc::clone(&meeting);
        thread::spawn(move || {
            meeting.slot.with(|side| side.half.send(Message::from("one")).unwrap());
            block_on(poll_fn(|cx| {
                let is_drained = meeting.slot.with(|side| {
                    meeting.wakers.sender.register(cx.waker());
                    side.drive();
                    side.half.buffered_amount() == 0
                });
                if is_drained || !sender_stays { Poll::Ready(()) } else { Poll::Pending }
            }));
        })
    };
    let opening = {
        let transport = Arc::clone(&meeting.transport);
        thread::spawn(move || transport.open())
    };
    let mut reply = Some(owed(&mut receive, 0x89, b"1"));
    block_on(poll_fn(|cx| {
        meeting.wakers.receiver.register(cx.waker());
        meeting.slot.leave(reply.take());
        let has_left = meeting.transport.frames().iter().any(|frame| frame.0 == PONG);
        if has_left { Poll::Ready(()) } else { Poll::Pending }
    }));
    opening.join().unwrap();
    sending.join().unwrap();
    let expected = if sender_stays { 2..=2 } else { 1..=2 };
    assert!(expected.contains(&meeting.transport.frames().len()));
}
