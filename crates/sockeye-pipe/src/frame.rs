//! What a conversation says to its receiver, before it has a wire form.
use bytes::Bytes;
use bytestring::ByteString;

/// What a conversation says to its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The conversation has begun.
    Open,
    /// It is still there.
    Heartbeat,
    /// Messages, at least one.
    Messages(Batch),
    /// It is over.
    Close(Farewell),
}

/// Messages that leave together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// How many messages of the conversation went before the first of these.
    pub before: u64,
    /// In the order in which they were sent.
    pub messages: Vec<ByteString>,
}

/// Why a conversation is over, as its client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// As in a Close frame of RFC 6455.
    pub code: u16,
    /// For people.
    pub reason: ByteString,
}

/// How one transport writes frames.
pub trait Framing {
    /// What stands before the first frame of each response.
    fn prelude(&self) -> Bytes {
        Bytes::new()
    }

    /// One frame on the wire.
    fn encode(&self, frame: &Frame) -> Bytes;
}

impl Batch {
    /// The messages with their numbers: how many there have been with this one.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &ByteString)> {
        (self.before.saturating_add(1)..).zip(&self.messages)
    }
}

impl Farewell {
    /// A code and what people are told.
    #[must_use]
    pub fn new(code: u16, reason: impl Into<ByteString>) -> Self {
        Self { code, reason: reason.into() }
    }
}
