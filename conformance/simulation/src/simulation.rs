//! What happens, drawn from a seed.
use std::{
    io::Write,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use sockeye_hub::{ChannelName, Now, SessionKey};
use sockeye_judge::{Action, ChannelRules, Epochs, Judge, Record, Rules, Seen, Verdict, write_line};

use crate::{
    bugs::{Bug, Seeded},
    client::{Attempt, Client},
    server::{Actor, KEEPS, Server, WORKERS, pick},
    store::Store,
};

/// Clients of one simulation.
const CLIENTS: u32 = 6;
/// Where they meet.
const CHANNELS: [&str; 8] = ["mem:a", "mem:b", "dur:a", "dur:b", "dur:c", "tmp:a", "lat:a", "live:a"];
/// Who acts on its own; not a client.
const NOBODY: Actor = 0;
/// For how long a message may be under way, or lie unread.
const SLOWEST_MS: u64 = 5_000;
/// Rounds of doing everything there is to do, after which nothing may be left.
const ROUNDS: usize = 1_000;

/// A simulation under way.
pub struct Simulation {
    rng: StdRng,
    seed: u64,
    begun: Instant,
    /// Since then, on the monotonic clock.
    at: u64,
    /// What the wall clock is off by.
    drift_ms: i64,
    server: Server,
    /// How often the server has been started.
    lives: u64,
    store: Store,
    clients: Vec<Client>,
    /// Connections that are broken and of which the server has not heard.
    broken: Vec<(usize, SessionKey)>,
    tag: u64,
    ids: u64,
    bug: Seeded,
    judge: Judge,
    trace: u64,
    /// Where the history is written, if it is.
    history: Option<Box<dyn Write>>,
}

impl Outcome {
    /// Whether nothing is to be said against it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.rested && self.verdict.is_clean()
    }
}

/// How a simulation went.
#[derive(Debug)]
pub struct Outcome {
    /// What the judge says.
    pub verdict: Verdict,
    /// Whether everything that was under way arrived in the end, and everything that was asked was answered.
    pub rested: bool,
    /// A fingerprint of everything that was seen: the same seed has the same.
    pub trace: u64,
}

/// Runs so many steps of a seed, lets everything settle, and asks the judge.
#[must_use]
pub fn run(seed: u64, steps: usize, bug: Option<Bug>) -> Outcome {
    run_to_the_end(Simulation::new(seed, bug), steps)
}

/// The same, and writes down what was seen, as `sockeye-judge` reads it.
#[must_use]
pub fn run_writing(seed: u64, steps: usize, bug: Option<Bug>, history: impl Write + 'static) -> Outcome {
    let mut simulation = Simulation::new(seed, bug);
    simulation.history = Some(Box::new(history));
    run_to_the_end(simulation, steps)
}

fn run_to_the_end(mut simulation: Simulation, steps: usize) -> Outcome {
    for _ in 0..steps {
        simulation.step();
    }
    simulation.finish()
}

fn rules() -> Rules {
    let keeps = Some(KEEPS as u64);
    let free = ChannelRules { epochs: Epochs::Free, keeps: None };
    Rules { grace_ms: SLOWEST_MS * 2, ..Rules::default() }
        .namespace("mem", ChannelRules { epochs: Epochs::AtRestart, keeps })
        .namespace("dur", ChannelRules { epochs: Epochs::Fixed, keeps })
        .namespace("tmp", free)
        .namespace("lat", free)
        .namespace("live", free)
}

impl Simulation {
    /// At the beginning: nobody is there.
    #[must_use]
    pub fn new(seed: u64, bug: Option<Bug>) -> Self {
        let bug = Seeded::new(bug);
        Self {
            rng: StdRng::seed_from_u64(seed),
            seed,
            begun: Instant::now(),
            at: 0,
            drift_ms: 0,
            server: Server::new(seed, 0, bug),
            lives: 0,
            store: Store::new(bug),
            clients: (1..=CLIENTS).map(Client::new).collect(),
            broken: Vec::new(),
            tag: 0,
            ids: 0,
            bug,
            judge: Judge::new(rules()),
            trace: 0,
            history: None,
        }
    }

    /// One thing happens.
    pub fn step(&mut self) {
        let passed = match self.rng.random_range(0..2_000) {
            0 => self.rng.random_range(0..30_000),
            1..=100 => self.rng.random_range(0..500),
            _ => self.rng.random_range(0..5),
        };
        self.pass(passed);
        let which = self.rng.random_range(0..self.clients.len());
        match self.rng.random_range(0..1_000) {
            0..=249 => self.act(which),
            250..=449 => drop(self.serve(which)),
            450..=699 => {
                let now = self.now();
                self.server.carry(now, &mut self.rng);
            }
            700..=849 => self.read(which),
            850..=939 => self.store_works(true),
            940..=955 => self.break_connection(which),
            956..=975 => self.notice_broken(),
            976..=985 => self.change_rights(which),
            986 => self.kill_server(),
            987..=989 => self.drift_ms = self.rng.random_range(-10_000..10_000),
            _ => self.connect(which),
        }
    }

    /// No more misfortunes; everything that is to come comes. Then the judge is asked.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        for (actor, channel) in self.server.denied() {
            self.allow(actor, &channel, true);
        }
        let mut rested = self.come_to_rest();
        for channel in CHANNELS.into_iter().filter(|name| !name.starts_with("live")) {
            self.with_client(0, |client, tag| client.read_history(name(channel), false, tag));
        }
        rested &= self.come_to_rest();
        self.saw(NOBODY, Seen::Settled);
        Outcome { verdict: self.judge.finish(), rested, trace: self.trace }
    }

    fn come_to_rest(&mut self) -> bool {
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            let before = self.trace;
            self.pass(150);
            while !self.broken.is_empty() {
                self.notice_broken();
            }
            for which in 0..self.clients.len() {
                if self.clients[which].connection.is_none() {
                    self.clients[which].back_at = self.at;
                    self.connect(which);
                }
                let (at, tag) = (self.at, &mut self.tag);
                let seen = self.clients[which].retry(at, tag);
                self.saw_of(which, seen);
                self.serve_all(which);
            }
            let now = self.now();
            while self.server.carry(now, &mut self.rng) {}
            self.store_works(false);
            while !self.store.is_idle() {
                self.store_works(false);
            }
            while self.server.carry(now, &mut self.rng) {}
            for which in 0..self.clients.len() {
                self.read_all(which);
            }
            let waits = self.clients.iter().any(Client::waits_for_answers) || !self.server.is_idle();
            quiet = if waits || before != self.trace { 0 } else { quiet + 1 };
            // Members are told of after a while, and a store that failed is asked again.
            if quiet > 20 {
                return true;
            }
        }
        false
    }

    // --- time ----------------------------------------------------------------------------------------------------------

    fn now(&self) -> Now {
        let unix_ms = 1_700_000_000_000_u64.saturating_add(self.at).saturating_add_signed(self.drift_ms);
        Now { instant: self.begun + Duration::from_millis(self.at), unix_ms }
    }

    fn pass(&mut self, ms: u64) {
        if ms >= SLOWEST_MS {
            // Nothing is on its way, or lies unread, for so long.
            let now = self.now();
            while self.server.carry(now, &mut self.rng) {}
            for which in 0..self.clients.len() {
                self.read_all(which);
            }
        }
        let until = self.at + ms;
        while let Some(deadline) = self.server.deadline() {
            let due = u64::try_from(deadline.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX) + 1;
            if due > until {
                break;
            }
            self.at = self.at.max(due);
            let now = self.now();
            self.server.timeouts(now);
            self.ask_store();
        }
        self.at = until;
    }

    // --- clients -------------------------------------------------------------------------------------------------------

    fn connect(&mut self, which: usize) {
        let client = &mut self.clients[which];
        if client.connection.is_some() || client.back_at > self.at {
            return;
        }
        let worker = self.rng.random_range(0..WORKERS);
        let key = self.server.open(worker, client.actor);
        let seen = client.connected(worker, key, self.at, &mut self.tag);
        self.saw_of(which, seen);
    }

    fn act(&mut self, which: usize) {
        let Some(channel) = pick(&CHANNELS, &mut self.rng).map(|channel| name(channel)) else { return };
        if self.clients[which].connection.is_none() {
            return self.connect(which);
        }
        match self.rng.random_range(0..20) {
            0..=3 if !self.clients[which].is_subscribed(&channel) => {
                let last = (channel.namespace() != Some("live") && self.rng.random_bool(0.3)).then_some(5);
                let seen_as = self.rng.random_bool(0.3);
                self.with_client(which, |client, tag| client.subscribe(channel, None, last, seen_as, tag));
            }
            4 => {
                let settled = self.clients[which].settled_channels();
                if let Some(channel) = pick(&settled, &mut self.rng).cloned() {
                    self.with_client(which, |client, tag| client.unsubscribe(channel, tag));
                }
            }
            5 if channel.namespace() != Some("live") => {
                let reverse = self.rng.random();
                self.with_client(which, |client, tag| client.read_history(channel, reverse, tag));
            }
            6 => self.with_client(which, |client, tag| client.ask_presence(channel, tag)),
            7 => {
                let at = self.at;
                self.with_client(which, |client, tag| client.retry(at, tag));
            }
            _ => {
                let attempt = self.attempt(channel);
                self.with_client(which, |client, tag| client.publish(attempt, tag));
            }
        }
    }

    fn attempt(&mut self, channel: ChannelName) -> Attempt {
        self.ids += 1;
        let id = self.ids;
        let conflates = channel.namespace() == Some("lat");
        Attempt {
            id,
            channel,
            key: self.rng.random_bool(0.6).then(|| format!("key-{id}").into()),
            conflate: conflates.then(|| format!("{}", id % 3).into()),
            volatile: self.rng.random_bool(0.1),
            no_echo: self.rng.random_bool(0.1),
            first_at: self.at,
        }
    }

    fn with_client<S: IntoIterator<Item = Seen>>(
        &mut self,
        which: usize,
        act: impl FnOnce(&mut Client, &mut u64) -> S,
    ) {
        let seen = act(&mut self.clients[which], &mut self.tag);
        self.saw_of(which, seen);
    }

    /// The server takes the next command of a client.
    fn serve(&mut self, which: usize) -> bool {
        let now = self.now();
        let Some(connection) = &mut self.clients[which].connection else { return false };
        let Some((tag, request)) = connection.commands.pop_front() else { return false };
        self.server.request(connection.worker, connection.key, tag, request, now);
        self.ask_store();
        true
    }

    fn serve_all(&mut self, which: usize) {
        while self.serve(which) {}
    }

    /// A client reads some of what was written for it.
    fn read(&mut self, which: usize) {
        for _ in 0..self.rng.random_range(1..8) {
            if !self.read_one(which) {
                return;
            }
        }
    }

    fn read_all(&mut self, which: usize) {
        while self.read_one(which) {}
    }

    fn read_one(&mut self, which: usize) -> bool {
        let now = self.now();
        let Some(connection) = &self.clients[which].connection else { return false };
        let (worker, key) = (connection.worker, connection.key);
        let Some(message) = self.server.read(worker, key, now) else { return false };
        self.ask_store();
        match self.clients[which].take(message) {
            Some(seen) => self.saw_of(which, seen),
            None => self.disconnect(which),
        }
        true
    }

    fn break_connection(&mut self, which: usize) {
        if let Some(connection) = &self.clients[which].connection {
            self.broken.push((connection.worker, connection.key));
            self.disconnect(which);
        }
    }

    fn disconnect(&mut self, which: usize) {
        let back_at = self.at + self.rng.random_range(0..3_000);
        let seen = self.clients[which].disconnected(back_at);
        self.saw_of(which, seen);
    }

    /// The server hears of a connection that is broken.
    fn notice_broken(&mut self) {
        let now = self.now();
        if let Some((worker, key)) = self.broken.pop() {
            self.server.close(worker, key, now);
        }
    }

    // --- misfortunes ---------------------------------------------------------------------------------------------------

    fn store_works(&mut self, may_fail: bool) {
        let fails = may_fail && self.rng.random_bool(0.01);
        self.ask_store();
        if self.rng.random_bool(0.6) {
            self.store.work(fails, &mut self.rng);
        } else if let Some((worker, reply)) = self.store.reply() {
            let now = self.now();
            self.server.stored(worker, reply, now);
            self.ask_store();
        }
    }

    fn ask_store(&mut self) {
        for (worker, request) in self.server.take_store_requests() {
            self.store.ask(worker, request);
        }
    }

    fn change_rights(&mut self, which: usize) {
        let Some(channel) = pick(&CHANNELS, &mut self.rng).map(|channel| name(channel)) else { return };
        let actor = self.clients[which].actor;
        let denied = self.server.denied();
        match pick(&denied, &mut self.rng).cloned() {
            Some((actor, channel)) if self.rng.random_bool(0.6) => self.allow(actor, &channel, true),
            _ => self.allow(actor, &channel, false),
        }
    }

    fn allow(&mut self, actor: Actor, channel: &ChannelName, allowed: bool) {
        const ACTIONS: [Action; 4] = [Action::Subscribe, Action::Publish, Action::History, Action::Presence];
        // A right is recorded before it is given, and after it was taken.
        if !allowed {
            self.server.deny(actor, channel, true);
        }
        for action in ACTIONS {
            let channel = channel.as_str().into();
            let seen = if allowed { Seen::Granted { channel, action } } else { Seen::Revoked { channel, action } };
            self.saw(actor, seen);
        }
        if allowed {
            self.server.deny(actor, channel, false);
        }
    }

    /// The server is killed and started again: of what was in memory nothing is left.
    fn kill_server(&mut self) {
        self.lives += 1;
        self.store.server_is_gone();
        self.broken.clear();
        self.saw(NOBODY, Seen::Restart);
        let denied = self.server.denied();
        self.server = Server::new(self.seed, self.lives, self.bug);
        for (actor, channel) in denied {
            self.server.deny(actor, &channel, true);
        }
        for which in 0..self.clients.len() {
            if self.clients[which].connection.is_some() {
                self.disconnect(which);
            }
        }
    }

    // --- what is seen --------------------------------------------------------------------------------------------------

    fn saw_of(&mut self, which: usize, seen: impl IntoIterator<Item = Seen>) {
        let actor = self.clients[which].actor;
        for one in seen {
            self.saw(actor, one);
        }
    }

    fn saw(&mut self, actor: Actor, what: Seen) {
        let record = Record { at: self.at, actor, what };
        let text = format!("{record:?}");
        self.trace = self.trace.rotate_left(5) ^ sockeye_judge::fingerprint(text.as_bytes());
        if let Some(history) = &mut self.history {
            // Whoever wants to read it sees that it ends.
            drop(write_line(history, &record));
        }
        self.judge.see(&record);
    }
}

fn name(channel: &str) -> ChannelName {
    channel.parse().unwrap_or_else(|error| panic!("{channel}: {error}"))
}
