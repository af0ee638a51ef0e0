//! Names of conversations, and who may use them.
use std::{fmt, str::FromStr};

use subtle::ConstantTimeEq;

/// The name of one of our own conversations: 128 bits that nobody can guess. Written as 32 hexadecimal digits.
///
/// It is a secret between client and server, so `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationId(u128);

/// A text that is no [`ConversationId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadConversationId;

/// Whom a conversation belongs to: a digest of what its requests have in common, such as the principal, the origin, the
/// address.
///
/// What goes into it is the caller's decision; an address changes when a phone does. Two are compared in constant time.
#[derive(Clone, Copy)]
pub struct Binding {
    digest: [u8; 32],
    counted_as: u64,
    is_many: bool,
}

impl ConversationId {
    /// From 16 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConversationId(…)")
    }
}

impl FromStr for ConversationId {
    type Err = BadConversationId;

    fn from_str(text: &str) -> Result<Self, BadConversationId> {
        let is_canonical = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_canonical {
            return Err(BadConversationId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| BadConversationId)
    }
}

impl fmt::Display for BadConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the id of a conversation")
    }
}

impl std::error::Error for BadConversationId {}

impl Binding {
    /// From a digest.
    #[must_use]
    pub fn new(digest: [u8; 32]) -> Self {
        Self { digest, counted_as: start(digest), is_many: false }
    }

    /// From a digest that many have, as behind a proxy all have its address: the bounds of one binding do not hold for it.
    #[must_use]
    pub fn of_many(digest: [u8; 32]) -> Self {
        Self { digest, counted_as: start(digest), is_many: true }
    }

    /// Counted together with all others that have this digest, of whatever they cannot choose: the address, say, and not
    /// the origin.
    #[must_use]
    pub fn counted_as(mut self, digest: u64) -> Self {
        self.counted_as = digest;
        self
    }

    pub(crate) fn count_digest(&self) -> u64 {
        self.counted_as
    }

    pub(crate) fn is_many(&self) -> bool {
        self.is_many
    }
}

fn start(digest: [u8; 32]) -> u64 {
    digest.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

impl PartialEq for Binding {
    fn eq(&self, other: &Self) -> bool {
        self.digest.ct_eq(&other.digest).into()
    }
}

impl Eq for Binding {}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binding(…)")
    }
}
