//! What waits for the receiver, what it may not have got, and what waits for the application.
use std::collections::VecDeque;

use bytestring::ByteString;

use super::Config;
use crate::Batch;

/// Messages and their bytes.
#[derive(Debug, Default)]
struct Pile {
    messages: VecDeque<ByteString>,
    bytes: usize,
}

/// To the client: what has been handed out and is kept, then what waits.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    kept: Pile,
    waiting: Pile,
    /// How many messages have been handed out, whether they are kept or not.
    handed: u64,
}

/// From the client: what waits for the application.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    waiting: Pile,
    /// How many have been taken, of those that were numbered.
    taken: u64,
}

/// What the client says it has got cannot be joined to what is left.
pub(super) struct Torn;

impl Pile {
    fn fits(&self, messages: usize, bytes: usize, max_messages: usize, max_bytes: usize) -> bool {
        self.messages.len().saturating_add(messages) <= max_messages && self.bytes.saturating_add(bytes) <= max_bytes
    }

    fn push(&mut self, message: ByteString) {
        self.bytes = self.bytes.saturating_add(message.len());
        self.messages.push_back(message);
    }

    fn push_front(&mut self, message: ByteString) {
        self.bytes = self.bytes.saturating_add(message.len());
        self.messages.push_front(message);
    }

    fn pop(&mut self) -> Option<ByteString> {
        let message = self.messages.pop_front();
        self.less(message)
    }

    fn pop_back(&mut self) -> Option<ByteString> {
        let message = self.messages.pop_back();
        self.less(message)
    }

    fn less(&mut self, message: Option<ByteString>) -> Option<ByteString> {
        self.bytes = self.bytes.saturating_sub(message.as_ref().map_or(0, |message| message.len()));
        if self.messages.is_empty() {
            // Who is idle owns no memory.
            self.messages = VecDeque::new();
        }
        message
    }
}

impl Outgoing {
    pub(super) fn push(&mut self, message: ByteString, config: &Config) -> Result<(), ByteString> {
        if !self.waiting.fits(1, message.len(), config.max_queued_messages, config.max_queued_bytes) {
            return Err(message);
        }
        self.waiting.push(message);
        Ok(())
    }

    /// The next messages: one, and then as many as it takes to reach so many bytes.
    pub(super) fn take(&mut self, bytes: usize, config: &Config) -> Option<Batch> {
        let before = self.handed;
        let mut messages = Vec::new();
        let mut taken = 0_usize;
        while messages.is_empty() || taken < bytes {
            let Some(message) = self.waiting.pop() else { break };
            taken = taken.saturating_add(message.len());
            self.handed = self.handed.saturating_add(1);
            self.keep(message.clone(), config);
            messages.push(message);
        }
        if messages.is_empty() { None } else { Some(Batch { before, messages }) }
    }

    fn keep(&mut self, message: ByteString, config: &Config) {
        if config.max_kept_messages == 0 {
            return;
        }
        self.kept.push(message);
        while !self.kept.fits(0, 0, config.max_kept_messages, config.max_kept_bytes) {
            self.kept.pop();
        }
    }

    /// The client has got so many: they are forgotten, and the others wait again.
    pub(super) fn resume_after(&mut self, received: u64) -> Result<(), Torn> {
        self.confirm(received)?;
        while let Some(message) = self.kept.pop_back() {
            self.waiting.push_front(message);
        }
        self.handed = received;
        Ok(())
    }

    /// The client has got so many: they are forgotten.
    pub(super) fn confirm(&mut self, received: u64) -> Result<(), Torn> {
        let missing =
            self.handed.checked_sub(received).and_then(|missing| usize::try_from(missing).ok()).ok_or(Torn)?;
        let surplus = self.kept.messages.len().checked_sub(missing).ok_or(Torn)?;
        for _ in 0..surplus {
            self.kept.pop();
        }
        Ok(())
    }

    /// What has been handed out so long ago that it has arrived, or is worth no memory.
    pub(super) fn forget(&mut self) {
        self.kept = Pile::default();
    }

    pub(super) fn clear(&mut self) {
        self.forget();
        self.waiting = Pile::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.messages.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.bytes
    }

    /// Messages and bytes that are held, the kept ones too.
    pub(super) fn held(&self) -> (usize, usize) {
        let messages = self.waiting.messages.len().saturating_add(self.kept.messages.len());
        (messages, self.waiting.bytes.saturating_add(self.kept.bytes))
    }
}

impl Incoming {
    /// Whether so much finds room.
    pub(super) fn fits(&self, messages: usize, bytes: usize, config: &Config) -> bool {
        self.waiting.fits(messages, bytes, config.max_received_messages, config.max_received_bytes)
    }

    /// All of them or none.
    pub(super) fn push(&mut self, messages: Vec<ByteString>, config: &Config) -> Result<(), Vec<ByteString>> {
        let bytes = messages.iter().fold(0_usize, |sum, message| sum.saturating_add(message.len()));
        if !self.fits(messages.len(), bytes, config) {
            return Err(messages);
        }
        for message in messages {
            self.waiting.push(message);
        }
        Ok(())
    }

    /// How many of these are known already; `None` if some between are missing.
    pub(super) fn known(&self, before: u64) -> Option<usize> {
        self.taken.checked_sub(before).map(|known| usize::try_from(known).unwrap_or(usize::MAX))
    }

    pub(super) fn count(&mut self, messages: usize) {
        self.taken = self.taken.saturating_add(u64::try_from(messages).unwrap_or(u64::MAX));
    }

    pub(super) fn pop(&mut self) -> Option<ByteString> {
        self.waiting.pop()
    }

    pub(super) fn clear(&mut self) {
        self.waiting = Pile::default();
    }

    /// Messages and bytes that wait.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.waiting.messages.len(), self.waiting.bytes)
    }
}
