//! Who may do what.

use std::collections::HashMap;

use crate::history::{Action, ActorId};
use crate::ledger::ChannelId;
use crate::rules::Rules;

#[derive(Debug)]
pub(crate) struct Permissions {
    table: HashMap<(ActorId, ChannelId, Action), Permission>,
    closed: bool,
    grace_ms: u64,
}

#[derive(Clone, Copy, Debug)]
enum Permission {
    Granted,
    RevokedAt(u64),
}

impl Permissions {
    pub(crate) fn new(rules: &Rules) -> Self {
        Self { table: HashMap::new(), closed: rules.closed, grace_ms: rules.grace_ms }
    }

    pub(crate) fn grant(&mut self, actor: ActorId, channel: ChannelId, action: Action) {
        self.table.insert((actor, channel, action), Permission::Granted);
    }

    /// Revoking again does not begin a new time of grace.
    pub(crate) fn revoke(&mut self, actor: ActorId, channel: ChannelId, action: Action, at: u64) {
        let permission = self.table.entry((actor, channel, action)).or_insert(Permission::RevokedAt(at));
        if let Permission::Granted = permission {
            *permission = Permission::RevokedAt(at);
        }
    }

    pub(crate) fn allow(&self, actor: ActorId, channel: ChannelId, action: Action, at: u64) -> bool {
        match self.table.get(&(actor, channel, action)) {
            Some(Permission::Granted) => true,
            Some(&Permission::RevokedAt(revoked)) => at <= revoked.saturating_add(self.grace_ms),
            None => !self.closed,
        }
    }
}
