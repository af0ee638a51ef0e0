//! Thousands of steps in which connections break, the server forgets, repeats and drops, the program publishes and
//! reads when it likes: each offset is told once and in order or lies within a loss, and each publication takes effect
//! once, in order.
use std::{
    collections::{HashMap, VecDeque},
    mem,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{SECOND, World};
use crate::{
    Event, Limits,
    machine::{Answer, Item, Wish},
};

/// A server with one channel, which does what the protocol says.
#[derive(Default)]
struct Server {
    epoch: u64,
    log: Vec<Value>,
    /// How much of the log can be caught up.
    window: usize,
    keys: HashMap<String, usize>,
    is_subscribed: bool,
    /// On the way to the server, and from it.
    commands: VecDeque<Value>,
    messages: VecDeque<Value>,
}

impl Server {
    fn handle_command(&mut self) {
        let Some(command) = self.commands.pop_front() else { return };
        let ok = if command["publish"].is_string() {
            let key = command["key"].as_str().unwrap().to_owned();
            let offset = match self.keys.get(&key) {
                Some(&offset) => offset,
                None => self.publish(command["data"].clone()),
            };
            self.keys.insert(key, offset);
            json!({"epoch": self.name(), "offset": offset})
        } else if command["subscribe"].is_string() {
            assert!(!mem::replace(&mut self.is_subscribed, true), "it is subscribed already");
            return self.subscribe(&command);
        } else {
            assert!(command["unsubscribe"].is_string(), "{command}");
            self.is_subscribed = false;
            json!({})
        };
        self.messages.push_back(json!({"id": command["id"], "ok": ok}));
    }

    fn subscribe(&mut self, command: &Value) {
        let newest = self.log.len();
        let since = usize::try_from(command["since"]["offset"].as_u64().unwrap_or(newest as u64)).unwrap();
        let is_known = command["since"].is_null() || command["since"]["epoch"] == self.name();
        let is_recovered = is_known && since <= newest && newest - since <= self.window;
        let catch_up = if is_recovered { newest - since } else { 0 };
        let ok = json!({"epoch": self.name(), "offset": newest, "catch_up": catch_up, "recovered": is_recovered});
        self.messages.push_back(json!({"id": command["id"], "ok": ok}));
        for offset in newest - catch_up + 1..=newest {
            self.tell(offset);
        }
    }

    fn publish(&mut self, data: Value) -> usize {
        self.log.push(data);
        if self.is_subscribed {
            self.tell(self.log.len());
        }
        self.log.len()
    }

    fn tell(&mut self, offset: usize) {
        let data = self.data(offset);
        self.messages.push_back(json!({"on": "a", "offset": offset, "data": data}));
    }

    /// What is said at this offset in this epoch, and nowhere else.
    fn data(&self, offset: usize) -> Value {
        json!([self.epoch, offset, self.log[offset - 1]])
    }

    fn name(&self) -> String {
        self.epoch.to_string()
    }

    fn lose_connection(&mut self) {
        self.is_subscribed = false;
        self.commands.clear();
        self.messages.clear();
    }
}

/// What goes wrong besides lost connections.
#[derive(Clone, Copy)]
struct Faults {
    window: usize,
    /// New epochs, and losses that the server owns up to.
    forgets: bool,
}

struct Run {
    world: World,
    server: Server,
    dice: StdRng,
    faults: Faults,
    reader: u64,
    at: (u64, u64),
    losses: usize,
    published: Vec<oneshot::Receiver<Answer>>,
}

impl Run {
    fn new(seed: u64, faults: Faults) -> Self {
        let mut world = World::down(Limits::with(|limits| {
            limits.max_events = 8;
            limits.max_holes = 1000;
            limits.max_tries = 1000;
        }));
        world.connect();
        let (reader, _opened) = world.wish(Wish::default());
        let server = Server { window: faults.window, ..Server::default() };
        let dice = StdRng::seed_from_u64(seed);
        let mut run = Self { world, server, dice, faults, reader, at: (0, 0), losses: 0, published: Vec::new() };
        run.settle();
        run
    }

    fn step(&mut self) {
        match self.dice.random_range(0..1000) {
            0..200 => self.pump(),
            200..400 => self.server.handle_command(),
            400..700 => self.deliver(),
            700..780 => drop(self.server.publish(json!("other"))),
            780..850 => {
                let number = self.published.len();
                self.published.push(self.world.publish(&number.to_string()).1);
            }
            850..960 => self.read(),
            960..970 => {
                self.server.lose_connection();
                self.world.reconnect();
            }
            970..976 => self.tamper(|messages, place| drop(messages.remove(place))),
            976..984 => self.tamper(|messages, place| messages.insert(place, messages[place].clone())),
            984..988 => self.end(),
            988..990 if self.faults.forgets => {
                self.server.lose_connection();
                self.server.epoch += 1;
                self.server.log.clear();
                self.world.reconnect();
            }
            990..992 if self.faults.forgets && self.server.is_subscribed => {
                self.server.messages.retain(|message| message["on"].is_null());
                let to = json!({"epoch": self.server.name(), "offset": self.server.log.len(), "reason": "slow"});
                self.server.messages.push_back(json!({"on": "a", "lost": to}));
            }
            _ => self.world.pass(SECOND / 100),
        }
    }

    fn pump(&mut self) {
        let sent = self.world.sent();
        self.server.commands.extend(sent);
    }

    fn deliver(&mut self) {
        if let Some(message) = self.server.messages.pop_front() {
            self.world.says(&message);
        }
    }

    /// Does something to a publication on its way.
    fn tamper(&mut self, how: impl FnOnce(&mut VecDeque<Value>, usize)) {
        let messages = &mut self.server.messages;
        if !messages.is_empty() {
            let place = self.dice.random_range(0..messages.len());
            if !messages[place]["offset"].is_null() {
                how(messages, place);
            }
        }
    }

    fn end(&mut self) {
        if mem::take(&mut self.server.is_subscribed) {
            self.server.messages.push_back(json!({"on": "a", "end": {"code": "unavailable", "retry": true}}));
        }
    }

    /// The next event follows the one before.
    fn read(&mut self) {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(item) = self.world.machine.poll_next(self.reader, &mut cx).0 else { return };
        match item {
            Some(Item::Event(Event::Publication(publication))) => {
                self.at.1 += 1;
                let [epoch, offset, _]: [Value; 3] = publication.json().unwrap();
                assert_eq!(
                    (publication.offset, (epoch, offset)),
                    (Some(self.at.1), (json!(self.at.0), json!(self.at.1)))
                );
            }
            Some(Item::Event(Event::Lost { from: Some(from), to: Some(to), .. })) => {
                assert_eq!((from.epoch, from.offset), (self.at.0.to_string(), self.at.1));
                self.at = (to.epoch.parse().unwrap(), to.offset);
                self.losses += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    /// Until nothing more happens by itself.
    fn settle(&mut self) {
        // Longer than a subscription rests.
        let mut idle = 0;
        while idle < 200 {
            self.pump();
            let is_busy = !self.server.commands.is_empty() || !self.server.messages.is_empty();
            idle = if is_busy { 0 } else { idle + 1 };
            self.server.handle_command();
            self.deliver();
            self.read();
            self.world.pass(SECOND / 100);
        }
    }
}

#[test]
fn nothing_is_lost_while_the_history_holds_it() {
    for seed in 0..30 {
        let mut run = Run::new(seed, Faults { window: usize::MAX, forgets: false });
        for _ in 0..3000 {
            run.step();
        }
        // The last hole shows when something comes behind it.
        run.server.publish(json!("last"));
        run.settle();
        run.server.publish(json!("last"));
        run.settle();
        assert_eq!((run.at, run.losses), ((0, run.server.log.len() as u64), 0), "seed {seed}");

        let own: Vec<usize> = run.server.log.iter().filter_map(|data| data.as_str()?.parse().ok()).collect();
        assert_eq!(own, (0..run.published.len()).collect::<Vec<_>>(), "seed {seed}: each once and in order");
        assert!(!own.is_empty());
        for answer in &mut run.published {
            assert!(answer.try_recv().unwrap().is_ok(), "seed {seed}");
        }
    }
}

#[test]
fn what_is_lost_is_told() {
    let mut losses = 0;
    for seed in 0..30 {
        let mut run = Run::new(seed, Faults { window: 5, forgets: true });
        for _ in 0..3000 {
            run.step();
        }
        run.settle();
        run.server.publish(json!("last"));
        run.settle();
        assert_eq!(run.at, (run.server.epoch, run.server.log.len() as u64), "seed {seed}");
        losses += run.losses;
    }
    assert!(losses > 100, "{losses}");
}
