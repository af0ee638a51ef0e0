//! The sessions of one worker.
use std::sync::Arc;

use slab::Slab;

use super::backlog::{Backlog, Overflow, Waiting};
use crate::{
    Change, ChannelName, Event, Host, LostReason, Position, Publication, Queued, Sender, SessionId, SlowPolicy,
    rate::Rate,
};

/// A session of a hub. The key of one that is over is never another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    index: u32,
    generation: u32,
}

impl SessionKey {
    /// A small number that no other open session of this hub has: hosts can keep theirs in a `Vec`. Once the hub has ended a
    /// session ([`Event::Closing`]) the next one may have it.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// The open ones.
#[derive(Debug)]
pub(super) struct Sessions<P> {
    open: Slab<Session<P>>,
    opened: u32,
}

impl<P> Default for Sessions<P> {
    fn default() -> Self {
        Self { open: Slab::new(), opened: 0 }
    }
}

impl<P> Sessions<P> {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn insert(&mut self, id: SessionId, principal: P, user: Option<Arc<str>>, hidden: bool) -> SessionKey {
        self.opened = self.opened.wrapping_add(1);
        let entry = self.open.vacant_entry();
        // 2^32 sessions at a time are more than there is memory for.
        let key = SessionKey { index: u32::try_from(entry.key()).unwrap_or(u32::MAX), generation: self.opened };
        let (channels, rate) = (Vec::new(), Rate::default());
        entry.insert(Session { key, hidden, id, principal, user, channels, rate, backlog: None });
        key
    }

    pub(super) fn get(&self, key: SessionKey) -> Option<&Session<P>> {
        self.open.get(key.index()).filter(|session| session.key == key)
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session<P>> {
        self.open.get_mut(key.index()).filter(|session| session.key == key)
    }

    pub(super) fn remove(&mut self, key: SessionKey) -> Option<Session<P>> {
        self.get(key)?;
        self.open.try_remove(key.index())
    }
}

/// One session.
#[derive(Debug)]
pub(super) struct Session<P> {
    key: SessionKey,
    /// Whether others do not see who it is.
    pub(super) hidden: bool,
    pub(super) id: SessionId,
    pub(super) principal: P,
    pub(super) user: Option<Arc<str>>,
    /// Where it has subscribed, or is about to.
    pub(super) channels: Vec<ChannelName>,
    pub(super) rate: Rate,
    /// What waits for room in its output; nothing, for nearly all sessions at nearly all times.
    backlog: Option<Box<Backlog>>,
}

impl<P> Session<P> {
    /// Who it is, as others see it.
    pub(super) fn sender(&self) -> Sender {
        Sender { session: self.id, user: self.user.clone() }
    }

    pub(super) fn is_in(&self, channel: &ChannelName) -> bool {
        self.channels.contains(channel)
    }

    /// Puts a channel on its list.
    pub(super) fn remember(&mut self, channel: ChannelName) {
        if self.channels.is_empty() {
            // Most sessions have one; left alone, the list would begin with room for four.
            self.channels.reserve_exact(1);
        }
        self.channels.push(channel);
    }

    /// Takes a channel off its list, with all that waits of it. `false` if it was not on it.
    pub(super) fn forget(&mut self, channel: &ChannelName) -> bool {
        let Some(index) = self.channels.iter().position(|other| other == channel) else { return false };
        self.channels.swap_remove(index);
        if let Some(backlog) = &mut self.backlog {
            backlog.forget(channel);
            if backlog.is_empty() {
                self.backlog = None;
            }
        }
        true
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.bytes())
    }

    /// Gives it a publication: at once if its output has room, else later.
    pub(super) fn offer<H: Host<Principal = P>>(
        &mut self,
        publication: &Arc<Publication>,
        own: bool,
        policy: SlowPolicy,
        limit: usize,
        host: &mut H,
    ) -> Result<(), Overflow> {
        if self.takes(publication, own, host) {
            return Ok(());
        }
        self.backlog.get_or_insert_default().push(publication, own, policy, limit)
    }

    /// The same for what it catches up with, whose amount has been bounded as a whole.
    pub(super) fn offer_caught_up<H: Host<Principal = P>>(
        &mut self,
        publication: &Arc<Publication>,
        own: bool,
        host: &mut H,
    ) {
        if !self.takes(publication, own, host) {
            self.backlog.get_or_insert_default().push_unbounded(publication, own);
        }
    }

    fn takes<H: Host<Principal = P>>(&self, publication: &Arc<Publication>, own: bool, host: &mut H) -> bool {
        // Its own, and no position to tell: there is nothing to send.
        (own && publication.position.is_none())
            || (self.backlog.is_none() && host.deliver(self.key, publication, own) == Queued::Taken)
    }

    pub(super) fn offer_change<H: Host<Principal = P>>(
        &mut self,
        change: &Arc<Change>,
        limit: usize,
        host: &mut H,
    ) -> Result<(), Overflow> {
        if let Some(backlog) = &mut self.backlog {
            return backlog.push_change(change, limit);
        }
        host.event(self.key, Event::Changed(Arc::clone(change)));
        Ok(())
    }

    pub(super) fn tell_lost<H: Host<Principal = P>>(
        &mut self,
        channel: &ChannelName,
        position: Position,
        reason: LostReason,
        host: &mut H,
    ) {
        match &mut self.backlog {
            Some(backlog) => backlog.push_lost(channel.clone(), Some(position), reason),
            None => host.event(self.key, Event::Lost(channel.clone(), Some(position), reason)),
        }
    }

    /// Gives it what waits, as far as its output has room. Asks before each whether it `may` still have it; returns the
    /// channels of which it may not.
    pub(super) fn drain<H: Host<Principal = P>>(
        &mut self,
        host: &mut H,
        mut may: impl FnMut(&ChannelName, &P, &H) -> bool,
    ) -> Vec<ChannelName> {
        let mut denied = Vec::new();
        let Some(mut backlog) = self.backlog.take() else { return denied };
        while let Some(waiting) = backlog.front() {
            if !may(waiting.channel(), &self.principal, host) {
                let channel = waiting.channel().clone();
                backlog.forget(&channel);
                denied.push(channel);
                continue;
            }
            if let Waiting::Publication(publication, own) = waiting
                && host.deliver(self.key, publication, *own) == Queued::Full
            {
                self.backlog = Some(backlog);
                return denied;
            }
            match backlog.pop_front() {
                Some(Waiting::Change(change)) => host.event(self.key, Event::Changed(change)),
                Some(Waiting::Lost(channel, position, reason)) => {
                    host.event(self.key, Event::Lost(channel, position, reason));
                }
                Some(Waiting::Publication(..)) | None => {}
            }
        }
        denied
    }
}
