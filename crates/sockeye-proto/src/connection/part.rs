//! Messages in parts: what is handed out before it is whole, and what is sent before it is.
use bytes::Bytes;

use crate::{Message, deflate::Parts, frame::OpCode, utf8::Utf8Stream};

/// What a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

impl MessageKind {
    pub(crate) fn opcode(self) -> OpCode {
        match self {
            Self::Text => OpCode::Text,
            Self::Binary => OpCode::Binary,
        }
    }
}

impl Message {
    /// What it carries.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        if self.is_text() { MessageKind::Text } else { MessageKind::Binary }
    }
}

/// A part of a message that is handed out as it comes. Of a text it may end inside a code point; all parts together are
/// UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// What the message carries.
    pub kind: MessageKind,
    /// The bytes that follow those of the part before.
    pub bytes: Bytes,
    /// Whether the message ends with them.
    pub fin: bool,
}

/// A message that was whole when it came is one part.
impl From<Message> for Part {
    fn from(message: Message) -> Self {
        Self { kind: message.kind(), bytes: message.into_bytes(), fin: true }
    }
}

/// A message that this end has begun to send and not finished.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) kind: MessageKind,
    /// If the message is compressed.
    pub(super) parts: Option<Parts>,
    text: Utf8Stream,
}

impl Unfinished {
    pub(super) fn new(kind: MessageKind, parts: Option<Parts>) -> Self {
        Self { kind, parts, text: Utf8Stream::default() }
    }

    /// Whether these bytes may follow.
    pub(super) fn admits(&mut self, bytes: &[u8], fin: bool) -> bool {
        if self.kind == MessageKind::Binary {
            return true;
        }
        let mut text = self.text.clone();
        let fits = text.feed(bytes).is_ok() && (!fin || text.is_complete());
        if fits {
            self.text = text;
        }
        fits
    }
}
