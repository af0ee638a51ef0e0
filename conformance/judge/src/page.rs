//! A page of history, by itself.

use crate::history::{Item, Position};

/// A `HistoryPage`, in parts.
pub(crate) struct Page<'a> {
    pub(crate) position: &'a Position,
    pub(crate) items: &'a [Item],
    pub(crate) more: bool,
}

impl Page<'_> {
    /// What is missing in it, if anything is.
    pub(crate) fn hole(&self, since: Option<u64>, reverse: bool, keeps: Option<u64>) -> Option<String> {
        let head = self.position.offset;
        for pair in self.items.windows(2) {
            let (one, other) = if reverse { (pair[1], pair[0]) } else { (pair[0], pair[1]) };
            if other.offset != one.offset.saturating_add(1) {
                return Some(format!("{} and {} side by side", pair[0].offset, pair[1].offset));
            }
        }
        let held_from = keeps.map(|keeps| head.saturating_sub(keeps).saturating_add(1));
        let oldest_due = held_from.map(|held| held.max(if reverse { 1 } else { since.unwrap_or(0).saturating_add(1) }));
        let (first, last) = (self.items.first().map(|item| item.offset), self.items.last().map(|item| item.offset));
        let (oldest, newest) = if reverse { (last, first) } else { (first, last) };
        if let Some(newest) = newest.filter(|&newest| newest > head) {
            return Some(format!("offset {newest} where the channel is at {head}"));
        }
        let ends_early = !reverse && !self.more && newest.is_some_and(|newest| newest < head);
        let starts_early = reverse && since.is_none() && newest.is_some_and(|newest| newest < head);
        if ends_early || starts_early {
            return Some(format!("its newest is {newest:?} and the channel is at {head}"));
        }
        let oldest_due = oldest_due.filter(|&due| due <= head && !(reverse && (self.more || since.is_some())))?;
        let misses = oldest.is_none_or(|oldest| oldest > oldest_due);
        misses.then(|| format!("its oldest is {oldest:?} and {oldest_due} is held"))
    }
}
