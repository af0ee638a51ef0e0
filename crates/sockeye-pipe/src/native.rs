//! Our own transports: `sockeye.v1.json` over an event stream, a stream of lines, or polls, with POST for the other
//! direction.
//!
//! The objects are those of the protocol, byte for byte, but for line breaks between their tokens. Around them stand
//! two that only these transports have: `{"open":{"id":"…","heartbeat_ms":25000}}` comes first and names the
//! conversation, `{"close":{"code":1000,"reason":"…"}}` comes last, as a WebSocket's Close frame would. Clients count
//! the protocol's objects, not these two, and say with the next receiver how many they have got
//! ([`Resume::After`](crate::Resume::After)).
//!
//! | transport | one frame | heartbeat |
//! | --- | --- | --- |
//! | [`Transport::Events`] | for each message an event, whose id [`parse_last_event_id`] reads | a comment |
//! | [`Transport::Stream`] | each message on a line | an empty line |
//! | [`Transport::Poll`] | a JSON array | `[]` |
use std::time::Duration;

use bytes::Bytes;

use crate::{
    ConversationId, Farewell, Frame, Framing, ReceiverKind,
    sse::{self, json_string},
};

/// Bytes after which a stream ends and its client comes back: 1 MiB. Some clients keep the whole of a response in
/// memory.
pub const STREAM_LIMIT: usize = 1024 * 1024;

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
