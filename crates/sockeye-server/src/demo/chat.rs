//! Chat: one room whose last hundred messages everybody gets, whole, after each change.
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use sockeye::{CloseCode, Limits, Message, Prepared, Rate, WebSocket};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::complaint;
use crate::{
    exchange::Io,
    room::{Answer, ENOUGH, Member, Room, stay},
};

/// Messages remembered.
const HISTORY: usize = 100;
/// Characters of a name.
const MAX_USER: usize = 40;
/// Characters of a text.
const MAX_TEXT: usize = 2_000;
/// Messages a member may send a second, in the long run and at once.
const RATE: (u32, u32) = (20, 100);

/// States kept for slow members; the newest holds all that the others do.
const BACKLOG: usize = 16;

/// Bytes of the state. A hundred texts of control characters, which take six bytes each in JSON, would be more, and more
/// than clients with usual limits take; then fewer are remembered.
const MAX_STATE: usize = 1024 * 1024;

/// A text of [`MAX_TEXT`] characters, every one of them escaped as a pair of surrogates, fits in a message; the largest
/// state fits in the queue behind [`ENOUGH`].
pub(super) fn limits() -> Limits {
    const MAX_MESSAGE: usize = 64 * 1024;
    Limits::with(|limits| {
        limits.max_message = MAX_MESSAGE;
        limits.max_frame = MAX_MESSAGE;
        limits.max_fragments = 256;
        limits.max_write_queue = MAX_STATE + 2 * ENOUGH;
    })
}

/// What clients send. Other members are ignored.
#[derive(Deserialize)]
struct Post {
    user: String,
    text: String,
}

/// What they get: `time` is in Unix milliseconds.
#[derive(Debug, Serialize)]
struct Line {
    user: String,
    text: String,
    time: u64,
}

#[derive(Debug)]
pub(super) struct Chat {
    room: Room,
    state: Mutex<State>,
}

/// The lines as they are on the wire, so that a new state is one copy of them.
#[derive(Debug)]
struct State {
    lines: VecDeque<String>,
    /// The bytes of all lines together.
    bytes: usize,
    /// All of them, as everybody gets them.
    whole: Prepared,
}

impl Chat {
    pub(super) fn new() -> Self {
        let state = State { lines: VecDeque::new(), bytes: 0, whole: whole(&VecDeque::new(), 0) };
        Self { room: Room::new(BACKLOG), state: Mutex::new(state) }
    }

    /// The whole state, and everything told from then on.
    fn join(&self) -> (Prepared, broadcast::Receiver<Prepared>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.whole.clone(), self.room.listen())
    }

    fn post(&self, line: &Line) {
        // Strings and numbers in a struct always serialise.
        let line = serde_json::to_string(line).unwrap_or_default();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.push(line);
        // Under the lock, so that everybody gets the states in the order in which they were.
        self.room.tell(state.whole.clone());
    }
}

impl State {
    fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > HISTORY || whole_len(self.lines.len(), self.bytes) > MAX_STATE {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len();
        }
        self.whole = whole(&self.lines, self.bytes);
    }
}

pub(super) async fn run<S: Io>(chat: &Chat, socket: &mut WebSocket<S>, stop: &CancellationToken) {
    let (state, mut told) = chat.join();
    if socket.try_send_prepared(&state).is_ok() {
        stay(socket, &mut told, &mut Guest { chat, rate: Rate::default() }, stop).await;
    }
}

struct Guest<'a> {
    chat: &'a Chat,
    rate: Rate,
}

impl Member for Guest<'_> {
    fn message(&mut self, message: Message, now: Instant) -> Answer {
        if !self.rate.take(now, RATE.0, RATE.1) {
            return Answer::Close(CloseCode::POLICY_VIOLATION, "too many messages");
        }
        match parse(&message) {
            Ok(Post { user, text }) => {
                self.chat.post(&Line { user, text, time: unix_millis() });
                Answer::Done
            }
            Err(why) => Answer::Only(complaint(why)),
        }
    }

    /// The newest state holds all that the missed ones held.
    fn catch_up(&mut self) -> Option<(Prepared, broadcast::Receiver<Prepared>)> {
        Some(self.chat.join())
    }
}

fn parse(message: &Message) -> Result<Post, &'static str> {
    const SHAPE: &str = "expected {\"user\":\"…\",\"text\":\"…\"}, both not empty";
    let text = message.as_text().ok_or("expected a text message")?;
    if !text.trim_start().starts_with('{') {
        // Not for the parser to tell: it takes `["ann","hi"]` for the same thing.
        return Err(SHAPE);
    }
    let post: Post = serde_json::from_str(text).map_err(|_| SHAPE)?;
    if post.user.is_empty() || post.text.is_empty() {
        return Err(SHAPE);
    }
    if post.user.chars().count() > MAX_USER {
        return Err("user is longer than 40 characters");
    }
    if post.text.chars().count() > MAX_TEXT {
        return Err("text is longer than 2,000 characters");
    }
    Ok(post)
}

/// `{"msg":[line,line,…]}`
fn whole(lines: &VecDeque<String>, bytes: usize) -> Prepared {
    let mut json = String::with_capacity(whole_len(lines.len(), bytes));
    json.push_str(r#"{"msg":["#);
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str(line);
    }
    json.push_str("]}");
    Prepared::new(Message::text(json))
}

fn whole_len(lines: usize, bytes: usize) -> usize {
    r#"{"msg":[]}"#.len() + lines.saturating_sub(1) + bytes
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posts_are_objects_with_two_texts_of_some_length() {
        let ok = |text: &str| parse(&Message::from(text)).is_ok();
        assert!(ok(r#"{"user":"ann","text":"hi"}"#) && ok(r#"{"user":"ann","text":"hi","more":[1]}"#));
        let name = |n: usize| format!(r#"{{"user":"{}","text":"hi"}}"#, "ä".repeat(n));
        assert!(ok(&name(40)) && !ok(&name(41)));
        let text = |n: usize| format!(r#"{{"user":"ann","text":"{}"}}"#, "🐟".repeat(n));
        assert!(ok(&text(2_000)) && !ok(&text(2_001)));
        for bad in [
            "",
            "[]",
            "null",
            "{}",
            r#"{"user":"","text":"x"}"#,
            r#"{"user":"x","text":""}"#,
            r#"{"user":1,"text":"x"}"#,
            r#"["ann","hi"]"#,
        ] {
            assert!(!ok(bad), "{bad}");
        }
        assert!(!ok(&"[".repeat(60_000)), "deep nesting is an error, not the end of the stack");
        assert!(parse(&Message::binary(&br#"{"user":"ann","text":"hi"}"#[..])).is_err());
    }

    #[test]
    fn the_last_hundred_are_kept_oldest_first() {
        let chat = Chat::new();
        for time in 0..103 {
            chat.post(&Line { user: "ann".into(), text: "hi".into(), time });
        }
        let state: serde_json::Value = serde_json::from_str(chat.join().0.message().as_text().unwrap()).unwrap();
        let times: Vec<_> =
            state["msg"].as_array().unwrap().iter().map(|line| line["time"].as_u64().unwrap()).collect();
        assert_eq!(times, (3..103).collect::<Vec<_>>());
    }

    #[test]
    fn the_state_stays_below_what_clients_take() {
        let chat = Chat::new();
        for time in 0..95 {
            chat.post(&Line { user: "ann".into(), text: "\u{1}".repeat(MAX_TEXT), time });
            let state = chat.state.lock().unwrap();
            assert_eq!(state.whole.message().len(), whole_len(state.lines.len(), state.bytes));
        }
        let state = chat.join().0;
        assert!(serde_json::from_str::<serde_json::Value>(state.message().as_text().unwrap()).is_ok());
        assert!((MAX_STATE - 13_000..=MAX_STATE).contains(&state.message().len()));
        assert!(state.message().as_text().unwrap().contains(r#""time":94"#));
    }
}
