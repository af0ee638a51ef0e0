//! What waits at a channel for the store.
use std::{collections::VecDeque, sync::Arc};

use crate::{Ask, Publication, Ticket, WorkerId};

/// What one waiting thing counts for besides its content.
const FIXED: usize = 128;

/// One thing that waits.
#[derive(Debug)]
pub(super) enum Pending {
    Append {
        publication: Arc<Publication>,
        key: Option<Arc<str>>,
        to: WorkerId,
        ticket: Ticket,
    },
    /// The key of an append that is on its way came again.
    Repeat {
        offset: Option<u64>,
        to: WorkerId,
        ticket: Ticket,
    },
    Ask(WorkerId, Ask),
}

/// All that waits, in order, and how much it is.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Pending>,
    bytes: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn front(&self) -> Option<&Pending> {
        self.waiting.front()
    }

    pub(super) fn has_appends(&self) -> bool {
        self.waiting.iter().any(|pending| matches!(pending, Pending::Append { .. }))
    }

    pub(super) fn push_back(&mut self, pending: Pending) {
        self.bytes = self.bytes.saturating_add(pending.weight());
        self.waiting.push_back(pending);
    }

    pub(super) fn push_front(&mut self, pending: Pending) {
        self.bytes = self.bytes.saturating_add(pending.weight());
        self.waiting.push_front(pending);
    }

    pub(super) fn pop_front(&mut self) -> Option<Pending> {
        let first = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(first.weight());
        Some(first)
    }
}

impl Pending {
    fn weight(&self) -> usize {
        match self {
            Self::Append { publication, .. } => publication.weight(),
            Self::Ask(_, ask) => ask.weight().saturating_add(FIXED),
            Self::Repeat { .. } => FIXED,
        }
    }
}
