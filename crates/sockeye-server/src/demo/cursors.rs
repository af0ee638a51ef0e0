//! Cursors: everybody's pointer goes to everybody, with a name and a colour of the server's choosing.
use std::{sync::Arc, time::Instant};

use rand::Rng;
use serde_json::{Map, Value};
use sockeye::{CloseCode, Limits, Message, Prepared, Rate, Utf8Bytes};
use sockeye_hub::{CatchUp, Publication};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    complaint,
    feed::{Feed, Show},
    room::{Answer, Member, Room, stay},
};
use crate::talk::Talk;

/// Messages a member may send a second, in the long run and at once: one for each frame of a fast screen.
const RATE: (u32, u32) = (250, 500);

/// Positions kept for slow members: those of 32 members who send all that they may at once before others have a turn. At
/// most 16 MiB.
const BACKLOG: usize = 4_096;

/// Where in a publication its form for the wire is, which all workers share.
const SLOT: usize = 0;

pub(super) fn limits() -> Limits {
    const MAX_MESSAGE: usize = 4 * 1024;
    Limits::with(|limits| {
        limits.max_message = MAX_MESSAGE;
        limits.max_frame = MAX_MESSAGE;
        limits.max_fragments = 256;
    })
}

/// Nothing of them is kept: what is said goes on as it is.
#[derive(Default)]
pub(crate) struct Pointers;

impl Show for Pointers {
    const CHANNEL: &str = "$demo:cursors";
    const CATCH_UP: CatchUp = CatchUp::None;
    const BACKLOG: usize = BACKLOG;

    fn hear(&self, publication: &Arc<Publication>, room: &Room) {
        room.tell(|| {
            let make = || {
                let json = Utf8Bytes::try_from(publication.payload.bytes.clone());
                Prepared::new(Message::text(json.unwrap_or_default()))
            };
            publication.encoded.get_or_make(SLOT, make).cloned().unwrap_or_else(make)
        });
    }
}

pub(crate) async fn run<S: Talk>(
    feed: &Feed<Pointers>,
    socket: &mut S,
    told: &mut broadcast::Receiver<Prepared>,
    stop: &CancellationToken,
) {
    let mut pointer =
        Pointer { feed, sender: Uuid::new_v4(), color: rand::rng().random_range(0..360), rate: Rate::default() };
    stay(socket, told, &mut pointer, feed.local(), stop).await;
}

/// One member's pointer.
struct Pointer<'a> {
    feed: &'a Feed<Pointers>,
    sender: Uuid,
    /// A hue in degrees.
    color: u16,
    rate: Rate,
}

impl Pointer<'_> {
    /// To those who are there now.
    fn say(&self, object: Map<String, Value>) {
        self.feed.publish(Value::Object(object).to_string(), true);
    }
}

impl Member for Pointer<'_> {
    fn message(&mut self, message: Message, now: Instant) -> Answer {
        if !self.rate.take(now, RATE.0, RATE.1) {
            return Answer::Close(CloseCode::POLICY_VIOLATION, "too many messages");
        }
        match parse(&message) {
            Ok(mut position) => {
                position.insert("sender".into(), self.sender.to_string().into());
                position.insert("color".into(), self.color.into());
                self.say(position);
                Answer::Done
            }
            Err(why) => Answer::Only(complaint(why)),
        }
    }

    /// A missed "gone" would leave a ghost: such a member has to come back.
    fn catch_up(&mut self) -> Option<(Prepared, broadcast::Receiver<Prepared>)> {
        None
    }
}

/// Also when its task is dropped: whoever came is said to be gone.
impl Drop for Pointer<'_> {
    fn drop(&mut self) {
        let mut gone = Map::new();
        gone.insert("sender".into(), self.sender.to_string().into());
        gone.insert("gone".into(), true.into());
        self.say(gone);
    }
}

fn parse(message: &Message) -> Result<Map<String, Value>, &'static str> {
    let text = message.as_text().ok_or("expected a text message")?;
    let position: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| "expected an object with numbers x and y")?;
    let finite = |name| position.get(name).and_then(Value::as_f64).is_some_and(f64::is_finite);
    if finite("x") && finite("y") { Ok(position) } else { Err("expected finite numbers x and y") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_objects_with_two_finite_numbers() {
        let ok = |text: &str| parse(&Message::from(text)).is_ok();
        assert!(ok(r#"{"x":120,"y":80}"#) && ok(r#"{"x":-1.5,"y":1e3,"more":{"a":1}}"#));
        for bad in
            ["", "[1,2]", "{}", r#"{"x":1}"#, r#"{"x":"1","y":2}"#, r#"{"x":1e400,"y":2}"#, r#"{"x":null,"y":2}"#]
        {
            assert!(!ok(bad), "{bad}");
        }
    }
}
