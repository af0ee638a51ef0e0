//! Who, of one worker's sessions, has subscribed to a channel.
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::SessionKey;
use crate::{Action, ChannelName, ChannelOptions, Host};

/// A channel as its subscribers at this worker see it.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) options: Arc<ChannelOptions>,
    subscribers: Vec<Subscriber>,
    /// Where in `subscribers` a session's is, so that coming and going cost the same in a channel of many.
    places: HashMap<SessionKey, usize>,
    /// Those who see the members: mostly few of many, who would have to be looked for whenever somebody comes or goes.
    watching: BTreeSet<SessionKey>,
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) session: SessionKey,
    /// Tells it from an earlier one of the same session.
    pub(super) serial: u64,
    /// Under which rules it was found to be allowed.
    pub(super) rules: u64,
    /// Whether home has begun it. Before, it hears nothing.
    pub(super) live: bool,
    /// Whether it sees the members.
    pub(super) members: bool,
    /// Whether what the session publishes itself is sent to it.
    pub(super) echo: bool,
}

impl Edge {
    pub(super) fn new(options: Arc<ChannelOptions>) -> Self {
        Self { options, subscribers: Vec::new(), places: HashMap::new(), watching: BTreeSet::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscriber> {
        self.subscribers.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subscriber> {
        self.subscribers.iter_mut()
    }

    /// Those who see the members.
    pub(super) fn watching(&self) -> Vec<SessionKey> {
        self.watching.iter().copied().collect()
    }

    pub(super) fn add(&mut self, subscriber: Subscriber) {
        if subscriber.members {
            self.watching.insert(subscriber.session);
        }
        self.places.insert(subscriber.session, self.subscribers.len());
        self.subscribers.push(subscriber);
    }

    pub(super) fn find(&mut self, session: SessionKey) -> Option<&mut Subscriber> {
        self.subscribers.get_mut(*self.places.get(&session)?)
    }

    pub(super) fn remove(&mut self, session: SessionKey) -> Option<Subscriber> {
        let place = self.places.remove(&session)?;
        self.watching.remove(&session);
        // The last one takes its place.
        let removed = self.subscribers.swap_remove(place);
        if let Some(moved) = self.subscribers.get(place) {
            self.places.insert(moved.session, place);
        }
        Some(removed)
    }
}

impl Subscriber {
    pub(super) fn new(session: SessionKey, serial: u64, members: bool, echo: bool) -> Self {
        Self { session, serial, rules: 0, live: false, members, echo }
    }

    /// Whether it is allowed to hear of the channel: asked anew when the rules have changed.
    pub(super) fn may_still<H: Host>(
        &mut self,
        rules: u64,
        who: &H::Principal,
        channel: &ChannelName,
        host: &H,
    ) -> bool {
        if self.rules == rules {
            return true;
        }
        let sees_members = || !self.members || host.authorize(who, Action::Presence, channel).is_ok();
        let allowed = host.authorize(who, Action::Subscribe, channel).is_ok() && sees_members();
        if allowed {
            self.rules = rules;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hub, HubOptions, Namespaces, WorkerId};

    #[test]
    fn who_sees_the_members_is_known_without_a_search() {
        let mut hub = Hub::new(WorkerId(0), 1, Arc::new(Namespaces::default()), HubOptions::default(), Box::new(|| 1));
        let keys: Vec<_> = (0..5).map(|_| hub.open((), None)).collect();
        let mut edge = Edge::new(Arc::default());
        for (serial, key) in (0..).zip(&keys) {
            edge.add(Subscriber::new(*key, serial, serial % 2 == 1, true));
        }
        assert_eq!(edge.watching(), [keys[1], keys[3]]);
        edge.remove(keys[0]);
        edge.remove(keys[1]);
        assert_eq!(edge.watching(), [keys[3]]);
        assert_eq!(edge.find(keys[3]).map(|subscriber| subscriber.serial), Some(3));
        edge.remove(keys[3]);
        edge.add(Subscriber::new(keys[3], 9, false, true));
        assert!(edge.watching().is_empty());
    }
}
