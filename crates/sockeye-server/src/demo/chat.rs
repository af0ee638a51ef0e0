//! Chat: one room whose last hundred messages everybody gets, whole, after each change.
use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use sockeye::{CloseCode, Limits, Message, Prepared, Rate, Utf8Bytes};
use sockeye_hub::{CatchUp, Publication};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::{
    complaint,
    feed::{Feed, Show},
    room::{Answer, ENOUGH, Member, Room, stay},
};
use crate::talk::Talk;

/// Messages remembered.
pub(super) const HISTORY: usize = 100;
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
pub(super) const MAX_STATE: usize = 1024 * 1024;

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

/// What is said in the channel, whose history these lines are.
#[derive(Default)]
pub(crate) struct Lines(RefCell<State>);

#[derive(Default)]
struct State {
    /// As they are on the wire, oldest first.
    lines: VecDeque<Arc<Publication>>,
    /// What all of them count for.
    weight: usize,
    /// All of them, as everybody gets them, once somebody has asked.
    whole: Option<Prepared>,
}

impl Show for Lines {
    const CHANNEL: &str = "$demo:chat";
    const CATCH_UP: CatchUp = CatchUp::Last(HISTORY);
    const BACKLOG: usize = BACKLOG;

    fn hear(&self, publication: &Arc<Publication>, room: &Room) {
        let mut state = self.0.borrow_mut();
        state.push(Arc::clone(publication));
        room.tell(|| state.whole());
    }
}

impl State {
    /// Adds a line, and forgets those that the channel's history forgets.
    fn push(&mut self, line: Arc<Publication>) {
        self.weight += line.weight();
        self.lines.push_back(line);
        while self.lines.len() > HISTORY || self.weight > MAX_STATE {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.weight -= oldest.weight();
        }
        self.whole = None;
    }

    fn whole(&mut self) -> Prepared {
        self.whole.get_or_insert_with(|| whole(&self.lines)).clone()
    }
}

/// The whole state, and everything told from then on.
fn join(feed: &Feed<Lines>) -> (Prepared, broadcast::Receiver<Prepared>) {
    (feed.show().0.borrow_mut().whole(), feed.room().listen())
}

pub(crate) async fn run<S: Talk>(feed: &Feed<Lines>, socket: &mut S, stop: &CancellationToken) {
    let (state, mut told) = join(feed);
    if socket.try_send_prepared(&state).is_ok() {
        stay(socket, &mut told, &mut Guest { feed, rate: Rate::default() }, feed.local(), stop).await;
    }
}

struct Guest<'a> {
    feed: &'a Feed<Lines>,
    rate: Rate,
}

impl Member for Guest<'_> {
    fn message(&mut self, message: Message, now: Instant) -> Answer {
        if !self.rate.take(now, RATE.0, RATE.1) {
            return Answer::Close(CloseCode::POLICY_VIOLATION, "too many messages");
        }
        match parse(&message) {
            Ok(Post { user, text }) => {
                let line = Line { user, text, time: unix_millis() };
                // Strings and numbers in a struct always serialise.
                self.feed.publish(serde_json::to_string(&line).unwrap_or_default(), false);
                Answer::Done
            }
            Err(why) => Answer::Only(complaint(why)),
        }
    }

    /// The newest state holds all that the missed ones held.
    fn catch_up(&mut self) -> Option<(Prepared, broadcast::Receiver<Prepared>)> {
        Some(join(self.feed))
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
fn whole(lines: &VecDeque<Arc<Publication>>) -> Prepared {
    let lines: Vec<_> = lines.iter().map(|line| &line.payload.bytes[..]).collect();
    let json = [&br#"{"msg":["#[..], &lines.join(&b','), b"]}"].concat();
    // It is made of texts.
    Prepared::new(Message::text(Utf8Bytes::try_from(json).unwrap_or_default()))
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    use sockeye_hub::{Encoded, Kind, Payload};

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

    fn said(state: &mut State, text: &str, time: u64) {
        let line = Line { user: "ann".into(), text: text.into(), time };
        state.push(Arc::new(Publication {
            channel: Lines::CHANNEL.parse().unwrap(),
            position: None,
            payload: Payload { kind: Kind::Json, bytes: serde_json::to_string(&line).unwrap().into() },
            event: None,
            conflate: None,
            from: None,
            echo: true,
            at_ms: time,
            encoded: Encoded::default(),
        }));
    }

    fn times(state: &mut State) -> Vec<u64> {
        let whole: serde_json::Value = serde_json::from_str(state.whole().message().as_text().unwrap()).unwrap();
        whole["msg"].as_array().unwrap().iter().map(|line| line["time"].as_u64().unwrap()).collect()
    }

    #[test]
    fn the_last_hundred_are_kept_oldest_first() {
        let mut state = State::default();
        assert_eq!(state.whole().message().as_text(), Some(r#"{"msg":[]}"#));
        for time in 0..103 {
            said(&mut state, "hi", time);
        }
        assert_eq!(times(&mut state), (3..103).collect::<Vec<_>>());
    }

    #[test]
    fn the_state_stays_below_what_clients_take() {
        let mut state = State::default();
        for time in 0..95 {
            said(&mut state, &"\u{1}".repeat(MAX_TEXT), time);
        }
        let len = state.whole().message().len();
        assert!((MAX_STATE - 26_000..=MAX_STATE).contains(&len), "{len}");
        assert_eq!(times(&mut state).last(), Some(&94));
    }
}
