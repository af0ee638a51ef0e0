//! Server-sent events: how they are written, and how those who only listen say where they were.
//!
//! Nothing that is written here can forge a field or an event: text is split wherever a parser would split it. A client
//! puts the lines of data together with LF, so CR and CRLF arrive as LF; between the tokens of JSON that is the same.
use std::fmt::Write as _;

use bytes::Bytes;

use crate::{Frame, Framing};

/// `Content-Type` of an event stream, which is UTF-8 always.
pub const CONTENT_TYPE: &str = "text/event-stream";
/// Bytes of the longest `Last-Event-ID` that is read.
pub const MAX_LAST_EVENT_ID: usize = 4096;
/// Channels that one stream can have.
pub const MAX_CHANNELS: usize = 64;

/// One event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event<'a> {
    /// What a client that comes back has in `Last-Event-ID`.
    pub id: Option<&'a str>,
    /// Its type; `message` without one.
    pub event: Option<&'a str>,
    /// Its text, of any number of lines.
    pub data: &'a str,
}

/// For streams whose messages are events already, written by [`Event::write`]: they only go one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Events;

/// A place in a channel's order. (The hub has the same; neither crate may know the other.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which life of the channel.
    pub epoch: u128,
    /// The last publication that was seen.
    pub offset: u64,
}

/// Where a stream is in each of its channels, in the order in which its URL names them; `None` where it is not known.
///
/// As text, `epoch:offset` for each, with commas between them: `1f:45,,2a:7`. `EventSource` comes back to the same URL,
/// so the names are not repeated. Epochs are random, so an id that was made for other channels finds nothing there; it
/// cannot hide a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(Vec<Option<Position>>);

/// A `Last-Event-ID` that was not made for this stream. Its client is to be told that it may have missed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLastEventId;

impl Event<'_> {
    /// Appends the event.
    pub fn write(&self, out: &mut String) {
        for (name, value) in [("event", self.event), ("id", self.id)] {
            if let Some(value) = value {
                write_field(out, name, value);
            }
        }
        for line in lines(self.data) {
            out.push_str("data: ");
            out.push_str(line);
            out.push('\n');
        }
        out.push('\n');
    }
}

/// Appends a comment, which clients pass over: it keeps proxies from taking the connection for dead.
pub fn write_comment(out: &mut String, text: &str) {
    write_field(out, "", text);
    out.push('\n');
}

/// Appends how long a client waits before it comes back.
pub fn write_retry(out: &mut String, ms: u64) {
    // A `String` takes all.
    let _ = write!(out, "retry: {ms}\n\n");
}

impl Framing for Events {
    fn encode(&self, frame: &Frame) -> Bytes {
        if let Frame::Messages(batch) = frame
            && let [message] = &batch.messages[..]
        {
            return message.clone().into_bytes();
        }
        let mut out = String::new();
        match frame {
            Frame::Open => write_comment(&mut out, "open"),
            Frame::Heartbeat => write_comment(&mut out, ""),
            Frame::Messages(batch) => batch.messages.iter().for_each(|message| out.push_str(message)),
            Frame::Close(farewell) => {
                let data = format!("{{\"code\":{},\"reason\":{}}}", farewell.code, json_string(&farewell.reason));
                Event { id: None, event: Some("close"), data: &data }.write(&mut out);
            }
        }
        out.into()
    }
}

impl Positions {
    /// For so many channels, none of them known.
    #[must_use]
    pub fn new(channels: usize) -> Self {
        Self(vec![None; channels.min(MAX_CHANNELS)])
    }

    /// What a client says that has come back to a stream of so many channels.
    ///
    /// # Errors
    /// That was never the id of an event on this stream.
    pub fn parse(text: &str, channels: usize) -> Result<Self, BadLastEventId> {
        if text.len() > MAX_LAST_EVENT_ID || channels == 0 || channels > MAX_CHANNELS {
            return Err(BadLastEventId);
        }
        // One more than fit is one too many.
        let parts = text.split(',').take(MAX_CHANNELS.saturating_add(1));
        let positions = parts.map(parse_position).collect::<Result<Vec<_>, _>>()?;
        if positions.len() == channels { Ok(Self(positions)) } else { Err(BadLastEventId) }
    }

    /// The publication at this position of this channel has been seen.
    pub fn set(&mut self, channel: usize, position: Position) {
        if let Some(known) = self.0.get_mut(channel) {
            *known = Some(position);
        }
    }

    /// Where the stream is in this channel.
    #[must_use]
    pub fn get(&self, channel: usize) -> Option<Position> {
        self.0.get(channel).copied().flatten()
    }
}

impl std::fmt::Display for Positions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, position) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            if let Some(Position { epoch, offset }) = position {
                write!(f, "{epoch:x}:{offset}")?;
            }
        }
        Ok(())
    }
}

fn parse_position(text: &str) -> Result<Option<Position>, BadLastEventId> {
    if text.is_empty() {
        return Ok(None);
    }
    let (epoch, offset) = text.split_once(':').ok_or(BadLastEventId)?;
    // `from_str_radix` and `parse` would take a sign.
    if !epoch.bytes().all(|byte| byte.is_ascii_hexdigit()) || !offset.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadLastEventId);
    }
    let epoch = u128::from_str_radix(epoch, 16).map_err(|_| BadLastEventId)?;
    let offset = offset.parse().map_err(|_| BadLastEventId)?;
    Ok(Some(Position { epoch, offset }))
}

/// A field has one line; and with a NUL an id would not count.
fn write_field(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str(": ");
    if !value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        // Nearly always.
        out.push_str(value);
        out.push('\n');
        return;
    }
    out.extend(value.chars().map(|character| if matches!(character, '\r' | '\n' | '\0') { ' ' } else { character }));
    out.push('\n');
}

/// As a parser of event streams sees lines: they end with CR, LF or both. There is at least one.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.bytes().position(|byte| matches!(byte, b'\r' | b'\n')) else { return rest.take() };
        let (line, after) = (text.get(..end)?, text.get(end.saturating_add(1)..)?);
        let is_crlf = text.as_bytes().get(line.len()) == Some(&b'\r');
        rest = Some(after.strip_prefix('\n').filter(|_| is_crlf).unwrap_or(after));
        Some(line)
    })
}

/// A string of JSON.
pub(crate) fn json_string(text: &str) -> String {
    // A string is always JSON.
    serde_json::to_string(text).unwrap_or_default()
}
