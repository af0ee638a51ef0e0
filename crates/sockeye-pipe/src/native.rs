//! Our own transports: `sockeye.v1.json` over an event stream, a stream of lines, or polls, with POST for the other
//! direction.
//!
//! The objects are those of the protocol, byte for byte, but for line breaks between their tokens. Around them stand
//! two that only these transports have: `{"open":{"id":"…","heartbeat_ms":25000}}` comes first and names the
//! conversation, `{"close":{"code":1000,"reason":"…"}}` comes last, as a WebSocket's Close frame would. Clients count
//! the protocol's objects, not these two, and say with the next receiver how many they have got
//! ([`Resume::After`](crate::Resume::After)).
//!
//! What the client says is an array of JSON: a string is a message with its text, anything else is a message as it stands
//! there ([`messages`]).
//!
//! | transport | one frame | heartbeat |
//! | --- | --- | --- |
//! | [`Transport::Events`] | for each message an event, whose id [`parse_last_event_id`] reads | a comment |
//! | [`Transport::Stream`] | each message on a line | an empty line |
//! | [`Transport::Poll`] | a JSON array | `[]` |
use std::{fmt, time::Duration};

use bytes::Bytes;
use bytestring::ByteString;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    ConversationId, Farewell, Frame, Framing, ReceiverKind,
    sockjs::Element,
    sse::{self, json_string},
};

/// Bytes after which a stream ends and its client comes back: 1 MiB. Some clients keep the whole of a response in
/// memory.
pub const STREAM_LIMIT: usize = 1024 * 1024;

/// Messages that one request may bring.
pub const MAX_MESSAGES: usize = 1024;

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadMessages {
    /// It is no array of JSON.
    Broken,
    /// It brings more than [`MAX_MESSAGES`].
    TooMany,
}

/// How frames leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `text/event-stream`.
    Events,
    /// JSON, line by line.
    Stream,
    /// One JSON array a response.
    Poll,
}

/// What a receiver of a conversation writes.
#[derive(Clone, Debug)]
pub struct Wire {
    /// How.
    pub transport: Transport,
    /// The conversation's name.
    pub id: ConversationId,
    /// What the client is told it can rely on; that of [`Config`](crate::Config).
    pub heartbeat: Duration,
}

impl Transport {
    /// `Content-Type` of its responses.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Events => sse::CONTENT_TYPE,
            Self::Stream => "application/x-ndjson",
            Self::Poll => "application/json",
        }
    }

    /// When its responses end.
    #[must_use]
    pub fn receiver_kind(self) -> ReceiverKind {
        match self {
            Self::Events | Self::Stream => ReceiverKind::Streaming { limit: STREAM_LIMIT },
            Self::Poll => ReceiverKind::Poll,
        }
    }
}

/// Which conversation an `EventSource` comes back to, and how many messages of it it has got.
#[must_use]
pub fn parse_last_event_id(text: &str) -> Option<(ConversationId, u64)> {
    let (id, count) = text.split_once(':')?;
    let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
    Some((id.parse().ok()?, count.parse().ok().filter(|_| is_number)?))
}

/// The messages in the body of a request.
///
/// ```
/// use sockeye_pipe::native::messages;
/// let said = messages(br#"[{"id":1,"ping":{}}, "any \"text\""]"#)?;
/// assert_eq!(said, [r#"{"id":1,"ping":{}}"#, r#"any "text""#]);
/// # Ok::<(), sockeye_pipe::native::BadMessages>(())
/// ```
///
/// # Errors
/// It is no array, or a long one.
pub fn messages(body: &[u8]) -> Result<Vec<ByteString>, BadMessages> {
    let text = std::str::from_utf8(body).map_err(|_| BadMessages::Broken)?;
    let Messages(messages) = serde_json::from_str(text).map_err(|_| BadMessages::Broken)?;
    messages.ok_or(BadMessages::TooMany)
}

impl fmt::Display for BadMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "expected a JSON array of messages",
            Self::TooMany => "at most 1,024 messages come in one request",
        })
    }
}

impl std::error::Error for BadMessages {}

/// `None` if there are too many.
struct Messages(Option<Vec<ByteString>>);

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MessagesVisitor)
    }
}

struct MessagesVisitor;

impl<'de> Visitor<'de> for MessagesVisitor {
    type Value = Messages;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Messages, A::Error> {
        let mut messages = Vec::new();
        while messages.len() < MAX_MESSAGES {
            let Some(raw) = elements.next_element::<&RawValue>()? else { return Ok(Messages(Some(messages))) };
            messages.push(if raw.get().starts_with('"') {
                let Element(text) = serde_json::from_str(raw.get()).map_err(de::Error::custom)?;
                text
            } else {
                ByteString::from(raw.get())
            });
        }
        let mut is_more = false;
        while elements.next_element::<IgnoredAny>()?.is_some() {
            is_more = true;
        }
        Ok(Messages((!is_more).then_some(messages)))
    }
}

impl Framing for Wire {
    fn encode(&self, frame: &Frame) -> Bytes {
        let Self { transport, id, heartbeat } = self;
        let mut out = String::new();
        match frame {
            Frame::Heartbeat => match transport {
                Transport::Events => sse::write_comment(&mut out, ""),
                Transport::Stream => out.push('\n'),
                Transport::Poll => out.push_str("[]"),
            },
            Frame::Open => {
                let opened = format!("{{\"open\":{{\"id\":\"{id}\",\"heartbeat_ms\":{}}}}}", heartbeat.as_millis());
                self.write(&mut out, [(Some(0), opened.as_str())]);
            }
            Frame::Messages(batch) => {
                self.write(&mut out, batch.numbered().map(|(count, message)| (Some(count), &**message)));
            }
            Frame::Close(Farewell { code, reason }) => {
                let closed = format!("{{\"close\":{{\"code\":{code},\"reason\":{}}}}}", json_string(reason));
                self.write(&mut out, [(None, closed.as_str())]);
            }
        }
        out.into()
    }
}

impl Wire {
    /// Objects, and how many messages there have been with each.
    fn write<'a>(&self, out: &mut String, objects: impl IntoIterator<Item = (Option<u64>, &'a str)>) {
        if self.transport == Transport::Poll {
            out.push('[');
        }
        for (index, (count, object)) in objects.into_iter().enumerate() {
            match self.transport {
                Transport::Events => {
                    let id = count.map(|count| format!("{}:{count}", self.id));
                    sse::Event { id: id.as_deref(), event: None, data: object }.write(out);
                }
                Transport::Stream => {
                    // Strings of JSON have no line breaks, so these are white space.
                    out.extend(
                        object.chars().map(|character| if matches!(character, '\r' | '\n') { ' ' } else { character }),
                    );
                    out.push('\n');
                }
                Transport::Poll => {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(object);
                }
            }
        }
        if self.transport == Transport::Poll {
            out.push(']');
        }
    }
}
