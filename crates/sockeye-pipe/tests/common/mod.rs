//! A client, a server and the wire between them, in virtual time; what happens next is chosen by bytes. Panics where a
//! promise of [`Conversation`] does not hold. The fuzz target `conversation` is this file as well.
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use sockeye_pipe::{
    AttachError, Config, Conversation, ConversationId, Ending, Event, Farewell, Framing, Numbering, Output,
    ReceiveError, ReceiverId, ReceiverKind, Resume, SendError, native, sockjs,
};

/// Whose rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    SockJs,
    Native,
}

/// What a run has shown, so that a test can see that it was worth it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) heard: u64,
    pub(crate) taken: u64,
    pub(crate) full: u64,
    pub(crate) broken: u64,
    pub(crate) replaced: u64,
    pub(crate) refused: u64,
    pub(crate) torn: u64,
    pub(crate) heartbeats: u64,
    pub(crate) closed: u64,
    pub(crate) gone: u64,
}

const LIMIT: usize = 200;
const CLOSED: u16 = 3000;
const POSITION_LOST: u16 = 4103;
const REPLACED: u16 = 4009;

struct World {
    rules: Rules,
    config: Arc<Config>,
    now: Instant,
    conversation: Conversation<Wire>,
    /// Responses that the server still writes, the client's own last.
    links: Vec<Link>,
    /// The response that the client listens to.
    newest: Option<ReceiverId>,
    client: Client,
    /// Messages that the conversation took from the application, and their lengths.
    sent: Vec<usize>,
    /// How many of them have been handed out, and how many had been when the last heartbeat was.
    handed: u64,
    forgotten: u64,
    /// Those of the client that the application took.
    taken: u64,
    /// How many times the conversation said that it is gone.
    endings: u64,
    seen: Seen,
}

enum Wire {
    SockJs(sockjs::Transport),
    Native(native::Wire),
}

/// One response: what is on its way to the client.
struct Link {
    id: ReceiverId,
    in_flight: VecDeque<String>,
    /// All has been written; whether it ended well.
    over: Option<bool>,
    closes: u32,
}

#[derive(Default)]
struct Client {
    is_greeted: bool,
    heard: u64,
    posted: u64,
    /// Why it does not come back.
    farewell: Option<u16>,
    is_lost: bool,
}

impl Framing for Wire {
    fn encode(&self, frame: &sockeye_pipe::Frame) -> bytes::Bytes {
        match self {
            Self::SockJs(transport) => transport.encode(frame),
            Self::Native(wire) => wire.encode(frame),
        }
    }
}

/// One life, as the bytes choose.
pub(crate) fn run(rules: Rules, choices: impl IntoIterator<Item = u8>) -> Seen {
    let mut world = World::new(rules);
    let mut choices = choices.into_iter();
    while let Some(choice) = choices.next() {
        world.step(choice, choices.next().unwrap_or_default());
        world.check();
        if world.conversation.is_gone() && world.links.is_empty() {
            break;
        }
    }
    world.finish();
    world.seen
}

impl World {
    fn new(rules: Rules) -> Self {
        let mut config = match rules {
            Rules::SockJs => Config::sockjs(),
            Rules::Native => Config { max_kept_messages: 4, max_kept_bytes: 100, ..Config::native() },
        };
        config.max_queued_messages = 8;
        config.max_queued_bytes = 256;
        config.max_received_messages = 6;
        config.max_received_bytes = 100;
        config.max_frame = 100;
        config.min_progress = 64;
        let config = Arc::new(config);
        let now = Instant::now();
        Self {
            rules,
            now,
            conversation: Conversation::new(now, Arc::clone(&config)),
            config,
            links: Vec::new(),
            newest: None,
            client: Client::default(),
            sent: Vec::new(),
            handed: 0,
            forgotten: 0,
            taken: 0,
            endings: 0,
            seen: Seen::default(),
        }
    }

    fn step(&mut self, choice: u8, size: u8) {
        match choice % 32 {
            // By our rules a newer one takes over, which is to be rare.
            0..=3 if self.rules == Rules::SockJs || self.links.is_empty() || size < 12 => {
                self.come(size.is_multiple_of(2));
            }
            4..=9 => self.pump(usize::from(size), 1 + usize::from(choice / 64)),
            10..=13 => self.arrive(usize::from(size % 8)),
            14..=19 => self.say(size),
            20..=23 => self.post(size),
            24 | 25 => self.take(usize::from(size % 8)),
            26 if size < 24 => self.lose(),
            27 | 28 => self.wait(Duration::from_millis(u64::from(size) * 5)),
            // Mostly while somebody listens, or no life would be long.
            29 if size < 4 || !self.links.is_empty() => self.wait(Duration::from_millis(u64::from(size) * 200)),
            30 if size > 240 => self.close(),
            31 if size > 250 => self.conversation.leave(),
            _ => self.conversation.confirm(self.client.heard),
        }
    }

    /// The client sends a request to receive, on a connection that is not in use, whatever became of others.
    fn come(&mut self, is_poll: bool) {
        if self.client.is_lost || self.client.farewell.is_some() {
            return;
        }
        match (self.rules, self.links.last()) {
            // A client has one request open, unless it makes a mistake; then it is told so.
            (Rules::SockJs, Some(link)) if link.over.is_some() => return,
            // Who has never been told the name of a conversation cannot come back to it.
            (Rules::Native, Some(_)) if !self.client.is_greeted => return,
            _ => {}
        }
        let kind = if is_poll { ReceiverKind::Poll } else { ReceiverKind::Streaming { limit: LIMIT } };
        let (wire, resume) = match self.rules {
            Rules::SockJs => (Wire::SockJs(sockjs::Transport::Xhr), Resume::Unchecked),
            Rules::Native => {
                let id = ConversationId::from_random([7; 16]);
                let transport = if is_poll { native::Transport::Poll } else { native::Transport::Stream };
                let wire = native::Wire { transport, id, heartbeat: self.config.heartbeat };
                (Wire::Native(wire), Resume::After(self.client.heard))
            }
        };
        match self.conversation.attach(self.now, wire, kind, resume) {
            Ok(id) => {
                if self.rules == Rules::Native && !self.links.is_empty() {
                    // It listens to the newest alone.
                    for link in &mut self.links {
                        link.in_flight.clear();
                    }
                    self.seen.replaced += 1;
                }
                self.newest = Some(id);
                self.links.push(Link { id, in_flight: VecDeque::new(), over: None, closes: 0 });
            }
            Err(AttachError::Busy(bytes)) => {
                assert_eq!(self.rules, Rules::SockJs);
                let is_open = self.conversation.is_open();
                let told =
                    if is_open { "c[2010,\"Another connection still open\"]\n" } else { "c[3000,\"Go away!\"]\n" };
                assert_eq!(bytes, told);
                assert!(self.links.iter().any(|link| link.over.is_none()), "nobody was there");
                self.seen.refused += 1;
            }
            Err(AttachError::Gone) => {
                assert!(self.conversation.is_gone());
                self.client.is_lost = true;
            }
        }
    }

    /// The server writes on all responses.
    fn pump(&mut self, room: usize, times: usize) {
        for link in &mut self.links {
            for _ in 0..times {
                if link.over.is_some() {
                    break;
                }
                match self.conversation.poll_output(link.id, self.now, room) {
                    Output::Write(bytes) => {
                        assert!(!bytes.is_empty());
                        let text = String::from_utf8(bytes.to_vec()).expect("text");
                        // One message may be as long as 51 bytes, and all that is said of it less than 100.
                        assert!(text.len() <= room.min(LIMIT) + 200, "{} bytes for a room of {room}", text.len());
                        hand_out(&text, self.rules, &mut self.handed, &mut self.forgotten);
                        link.in_flight.push_back(text);
                    }
                    Output::Last(bytes) => {
                        let text = String::from_utf8(bytes.to_vec()).expect("text");
                        hand_out(&text, self.rules, &mut self.handed, &mut self.forgotten);
                        link.over = Some(true);
                        link.in_flight.push_back(text);
                    }
                    Output::Cut => link.over = Some(false),
                    Output::Wait => break,
                }
            }
        }
    }

    /// So many pieces of the newest response reach the client; those of others it passes over. What has come whole is
    /// over.
    fn arrive(&mut self, pieces: usize) {
        for link in &mut self.links {
            let is_own = self.newest == Some(link.id);
            for _ in 0..if is_own { pieces } else { usize::MAX } {
                let Some(text) = link.in_flight.pop_front() else { break };
                if is_own {
                    self.client.hear(&text, link, &mut self.seen, self.rules);
                } else {
                    pass_over(&text, link, self.rules);
                }
            }
        }
        let mut over = Vec::new();
        self.links.retain(|link| {
            let is_over = link.in_flight.is_empty() && link.over.is_some();
            if is_over {
                over.push((link.id, link.over == Some(true)));
            }
            !is_over
        });
        for (id, is_whole) in over {
            self.conversation.detach(id, self.now, if is_whole { Ending::Finished } else { Ending::Dropped });
        }
    }

    /// The connection of the newest response breaks, and what was on its way is lost.
    fn lose(&mut self) {
        let Some(link) = self.links.pop() else { return };
        self.conversation.detach(link.id, self.now, Ending::Dropped);
        self.seen.broken += 1;
        self.client.is_lost |= !self.client.is_greeted;
    }

    fn say(&mut self, size: u8) {
        for _ in 0..=size % 4 {
            let message = format!("{{\"n\":{},\"p\":\"{}\"}}", self.sent.len() + 1, "x".repeat(usize::from(size % 33)));
            let len = message.len();
            match self.conversation.send(message.clone().into()) {
                Ok(()) => self.sent.push(len),
                Err(SendError::Full(back)) => {
                    assert_eq!(back, message);
                    let (messages, bytes) = self.conversation.held_out();
                    let kept = (self.config.max_kept_messages, self.config.max_kept_bytes);
                    assert!(
                        messages + kept.0 >= self.config.max_queued_messages
                            || bytes + kept.1 + len > self.config.max_queued_bytes
                    );
                    self.seen.full += 1;
                }
                Err(SendError::Closed(back)) => {
                    assert_eq!(back, message);
                    assert!(!self.conversation.is_open());
                }
            }
        }
    }

    /// The client says something; of our own transports it may say it twice, since it did not hear that it was taken.
    fn post(&mut self, size: u8) {
        let (count, again) = (u64::from(size % 4), u64::from(size / 64));
        let (before, numbering) = match self.rules {
            Rules::SockJs => (self.client.posted, Numbering::Unnumbered),
            Rules::Native => {
                let before = self.client.posted.saturating_sub(again);
                let gap = self.conversation.receive(Numbering::After(self.client.posted + 1), vec!["x".into()]);
                if self.conversation.is_open() {
                    assert_eq!(gap, Err(ReceiveError::Gap));
                }
                (before, Numbering::After(before))
            }
        };
        let after = self.client.posted + count;
        let messages: Vec<ByteString> = (before + 1..=after).map(|n| n.to_string().into()).collect();
        match self.conversation.receive(numbering, messages.clone()) {
            Ok(()) => self.client.posted = after,
            Err(ReceiveError::Full(back)) => assert!(messages.ends_with(&back)),
            Err(ReceiveError::Gone) => assert!(self.conversation.is_gone()),
            Err(ReceiveError::Gap) => panic!("nothing is missing"),
        }
    }

    fn take(&mut self, count: usize) {
        for _ in 0..count {
            match self.conversation.poll_event() {
                Some(Event::Message(message)) => {
                    assert_eq!(self.endings, 0, "the end is the last");
                    self.taken += 1;
                    self.seen.taken += 1;
                    assert_eq!(message, self.taken.to_string());
                }
                Some(Event::Gone(_)) => {
                    assert!(self.conversation.is_gone());
                    self.endings += 1;
                    self.seen.gone += 1;
                }
                None => break,
            }
        }
    }

    /// Time passes, with a look at the clock at each deadline.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.conversation.deadline().filter(|at| *at <= until) {
            assert!(at >= self.now, "a deadline is not in the past");
            self.now = at;
            self.conversation.handle_timeout(at);
            assert!(self.conversation.deadline().is_none_or(|next| next > at), "time gets on");
        }
        self.now = until;
        self.conversation.handle_timeout(until);
    }

    fn close(&mut self) {
        self.conversation.close(self.now, Farewell::new(CLOSED, "Go away!"));
        self.seen.closed += 1;
    }

    /// What holds always.
    fn check(&mut self) {
        let (messages, bytes) = self.conversation.held_out();
        assert!(messages <= self.config.max_queued_messages + self.config.max_kept_messages);
        assert!(bytes <= self.config.max_queued_bytes + self.config.max_kept_bytes);
        let (messages, bytes) = self.conversation.held_in();
        assert!(messages <= self.config.max_received_messages && bytes <= self.config.max_received_bytes);
        assert!(self.client.heard <= self.sent.len() as u64);
        assert!(self.endings <= 1);
        assert!(
            self.conversation.is_gone() || self.conversation.deadline().is_some() || !self.links.is_empty(),
            "what nobody listens to does not last"
        );
        if self.client.farewell == Some(POSITION_LOST) && self.seen.torn == 0 {
            self.seen.torn += 1;
            let missing = &self.sent[usize::try_from(self.client.heard).expect("few")..];
            assert!(
                self.client.heard < self.forgotten
                    || missing.len() > self.config.max_kept_messages
                    || missing.iter().sum::<usize>() > self.config.max_kept_bytes,
                "{missing:?} could have been kept"
            );
        }
    }

    /// Nothing breaks any more: what was sent arrives, or the client is told why not.
    fn finish(&mut self) {
        for round in 0..200 {
            if self.links.is_empty() {
                self.come(round % 2 == 0);
            }
            self.pump(1000, 2);
            self.arrive(8);
            self.take(8);
            self.check();
            if self.links.is_empty() && (self.client.is_lost || self.client.farewell.is_some()) {
                break;
            }
        }
        let is_told = self.client.is_lost || self.client.farewell.is_some() || self.conversation.is_gone();
        assert!(is_told || self.client.heard == self.sent.len() as u64, "{} of {:?}", self.client.heard, self.sent);
        if self.client.farewell == Some(CLOSED) && self.seen.broken + self.seen.replaced == 0 {
            assert_eq!(self.client.heard, self.sent.len() as u64, "what was queued comes before the farewell");
        }
        for link in std::mem::take(&mut self.links) {
            self.conversation.detach(link.id, self.now, Ending::Finished);
        }
        self.wait(Duration::from_secs(11));
        self.take(usize::MAX);
        assert!(self.conversation.is_gone() && self.endings == 1);
        assert_eq!(self.conversation.held_out(), (0, 0));
        self.seen.heard = self.client.heard;
    }
}

impl Client {
    fn hear(&mut self, text: &str, link: &mut Link, seen: &mut Seen, rules: Rules) {
        if text.is_empty() {
            return;
        }
        assert!(link.closes == 0, "nothing comes after a farewell: {text}");
        for said in read(text, rules) {
            match said {
                Said::Open => {
                    assert!(!self.is_greeted && self.heard == 0, "one greeting, and it comes first");
                    self.is_greeted = true;
                }
                Said::Heartbeat => seen.heartbeats += 1,
                Said::Message(number) => {
                    assert!(self.is_greeted);
                    assert_eq!(number, self.heard + 1, "in order, each once");
                    self.heard = number;
                }
                Said::Close(code) => {
                    link.closes += 1;
                    assert!(self.farewell.is_none_or(|farewell| farewell == code), "one farewell");
                    assert_ne!(code, REPLACED, "to the newest response");
                    self.farewell = Some(code);
                }
            }
        }
    }
}

/// What the conversation cannot send again after this.
fn hand_out(text: &str, rules: Rules, handed: &mut u64, forgotten: &mut u64) {
    if text.is_empty() {
        return;
    }
    for said in read(text, rules) {
        match said {
            Said::Message(number) => *handed = number.max(*handed),
            Said::Heartbeat => *forgotten = *handed,
            Said::Open | Said::Close(_) => {}
        }
    }
}

/// On a response that the client does not listen to any more.
fn pass_over(text: &str, link: &mut Link, rules: Rules) {
    if text.is_empty() {
        return;
    }
    for said in read(text, rules) {
        if matches!(said, Said::Close(_)) {
            link.closes += 1;
            assert_eq!(link.closes, 1);
        }
    }
}

enum Said {
    Open,
    Heartbeat,
    Message(u64),
    Close(u16),
}

fn read(text: &str, rules: Rules) -> Vec<Said> {
    match rules {
        Rules::SockJs => vec![text.strip_suffix('\n').expect("a line")].into_iter().flat_map(read_sockjs).collect(),
        Rules::Native if text.starts_with('[') => {
            let objects: Vec<serde_json::Value> = serde_json::from_str(text).expect("an array");
            if objects.is_empty() { vec![Said::Heartbeat] } else { objects.iter().map(read_native).collect() }
        }
        Rules::Native => {
            let lines = text.strip_suffix('\n').expect("lines").split('\n');
            let read = |line: &str| match line {
                "" => Said::Heartbeat,
                _ => read_native(&serde_json::from_str(line).expect("an object")),
            };
            lines.map(read).collect()
        }
    }
}

fn read_sockjs(frame: &str) -> Vec<Said> {
    match frame.split_at(1) {
        ("o", "") => vec![Said::Open],
        ("h", "") => vec![Said::Heartbeat],
        ("a", array) => {
            let messages: Vec<String> = serde_json::from_str(array).expect("an array");
            assert!(!messages.is_empty());
            messages.iter().map(|message| read_native(&serde_json::from_str(message).expect("an object"))).collect()
        }
        ("c", array) => {
            let (code, _): (u16, String) = serde_json::from_str(array).expect("a farewell");
            vec![Said::Close(code)]
        }
        _ => panic!("{frame} is no frame"),
    }
}

fn read_native(object: &serde_json::Value) -> Said {
    if let Some(number) = object["n"].as_u64() {
        Said::Message(number)
    } else if object["open"].is_object() {
        Said::Open
    } else {
        Said::Close(object["close"]["code"].as_u64().and_then(|code| code.try_into().ok()).expect("a farewell"))
    }
}
