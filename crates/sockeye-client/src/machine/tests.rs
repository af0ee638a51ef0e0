//! Conversations in virtual time: the test is the server, the program and the clock.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod connection;
mod hostile;
mod requests;
mod simulation;
mod slow;
mod subscriptions;

use std::{
    fmt::Write,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sockeye::{Backoff, reconnect::Retry};
use tokio::sync::oneshot;

use super::{Answer, Item, Kind, Machine, Output, Wish};
use crate::{Error, Event, Limits, Member, Position, State, wire};

const SECOND: Duration = Duration::from_secs(1);

type Opened = oneshot::Receiver<Result<Vec<Member>, Error>>;

struct World {
    machine: Machine,
    now: Instant,
}

impl World {
    /// With dice that always fall in the middle, and not yet connected.
    fn down(limits: Limits) -> Self {
        let backoff = Backoff::with(|backoff| {
            backoff.base = SECOND;
            backoff.max = 20 * SECOND;
        });
        Self { machine: Machine::new(limits, backoff, true, Box::new(|| 0.5)), now: Instant::now() }
    }

    fn open() -> Self {
        Self::open_with(|_| {})
    }

    fn open_with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut world = Self::down(Limits::with(change));
        world.connect();
        world
    }

    fn connect(&mut self) {
        self.machine.handle_connected();
        let connect = self.one();
        assert!(connect["connect"].is_object(), "{connect}");
        self.ok(&connect, &json!({"session": "s0"}));
    }

    /// The connection is lost, and nothing says why.
    fn lose(&mut self) -> Retry {
        let retry = self.machine.judge(None);
        self.machine.handle_disconnected("lost".into(), SECOND);
        retry
    }

    fn reconnect(&mut self) {
        self.lose();
        self.connect();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.machine.handle_timeout(self.now);
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.machine.poll_output(true, self.now)).collect()
    }

    /// What is sent now.
    fn sent(&mut self) -> Vec<Value> {
        let text = |output| match output {
            Output::Send(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("not only sent: {other:?}"),
        };
        self.outputs().into_iter().map(text).collect()
    }

    /// The one command that is sent now.
    #[track_caller]
    fn one(&mut self) -> Value {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    fn says(&mut self, object: &Value) {
        self.says_text(&object.to_string());
    }

    fn says_text(&mut self, text: &str) {
        self.machine.handle_message(wire::parse(text), self.now);
    }

    fn ok(&mut self, command: &Value, ok: &Value) {
        self.says(&json!({"id": command["id"], "ok": ok}));
    }

    fn refuses(&mut self, command: &Value, code: &str) {
        self.says(&json!({"id": command["id"], "error": {"code": code, "retry_after_ms": 3000}}));
    }

    fn publications(&mut self, offsets: impl IntoIterator<Item = u64>) {
        for offset in offsets {
            self.says(&json!({"on": "a", "offset": offset, "data": offset}));
        }
    }

    /// Asks for the channel `a`.
    fn wish(&mut self, wish: Wish) -> (u64, Opened) {
        let (opened, receiver) = oneshot::channel();
        (self.machine.subscribe("a", wish, opened, self.now).unwrap(), receiver)
    }

    /// A subscription to the channel `a` whose newest is at this offset.
    fn subscribe(&mut self, newest: u64) -> u64 {
        let (serial, mut opened) = self.wish(Wish::default());
        let command = self.one();
        assert_eq!(command, json!({"id": command["id"], "subscribe": "a"}));
        self.ok(&command, &json!({"epoch": "e", "offset": newest}));
        assert!(opened.try_recv().unwrap().is_ok());
        serial
    }

    /// All that waits for the reader: `5` is the publication with this offset, `-` one without.
    fn read(&mut self, serial: u64) -> String {
        let mut told = String::new();
        while let Some(event) = self.read_one(serial) {
            write!(told, "{}{event}", if told.is_empty() { "" } else { " " }).unwrap();
        }
        told
    }

    fn read_one(&mut self, serial: u64) -> Option<String> {
        let (item, _) = self.machine.poll_next(serial, &mut Context::from_waker(Waker::noop()));
        let position = |position: Option<Position>| {
            position.map_or("?".into(), |position| format!("{}{}", position.epoch, position.offset))
        };
        Some(match item {
            Poll::Pending | Poll::Ready(None) => return None,
            Poll::Ready(Some(Item::Members(members))) => format!("members:{}", members.len()),
            Poll::Ready(Some(Item::Event(event))) => match event {
                Event::Publication(publication) => publication.offset.map_or("-".into(), |offset| offset.to_string()),
                Event::Joined(member) => format!("+{}", member.session),
                Event::Left(member) => format!("-{}", member.session),
                Event::Lost { from, to, reason } => format!("lost:{}:{}:{reason:?}", position(from), position(to)),
                Event::Ended { why } => format!("ended:{}", why.code()),
            },
        })
    }

    fn is_over(&mut self, serial: u64) -> bool {
        matches!(self.machine.poll_next(serial, &mut Context::from_waker(Waker::noop())).0, Poll::Ready(None))
    }

    fn at(&self, serial: u64) -> u64 {
        self.machine.position(serial).unwrap().offset
    }

    fn publish(&mut self, name: &str) -> (u64, oneshot::Receiver<Answer>) {
        let body = json!({"publish": "a", "data": name, "key": name}).to_string();
        self.machine.request(&body, Kind::Repeatable, 270 * SECOND, self.now).unwrap()
    }

    fn state(&self) -> State {
        self.machine.state.clone()
    }
}

/// What was published, of commands that all publish.
fn names(commands: &[Value]) -> Vec<&str> {
    commands.iter().map(|command| command["key"].as_str().unwrap()).collect()
}

fn since(offset: u64) -> Value {
    json!({"epoch": "e", "offset": offset})
}
