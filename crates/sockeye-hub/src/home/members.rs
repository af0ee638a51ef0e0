//! Who is in a channel, and what the others are told of it.
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Member, SessionId};

/// The members of one channel.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// In the order in which they came, by the serial number of their subscription.
    present: BTreeMap<u64, Arc<Member>>,
    serials: HashMap<SessionId, (u64, u64)>,
    next: u64,
    /// What is still to be told: of each session only what is left of it in the end.
    untold: BTreeMap<SessionId, Untold>,
    /// Who came before this place may be on a list that somebody else was given.
    listed: u64,
    told_at: Option<Instant>,
}

#[derive(Debug)]
struct Untold {
    joined: bool,
    member: Arc<Member>,
    /// Whether the others believe that it is there.
    believed: bool,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.present.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// So many at most and so many bytes, those first who came first, for somebody else or for one of them, who has come last.
    pub(super) fn list(&mut self, count: usize, bytes: usize, reader: Option<SessionId>) -> Vec<Arc<Member>> {
        let own = reader.and_then(|session| self.serials.get(&session)).map(|(_, place)| *place);
        self.listed = self.listed.max(own.unwrap_or(self.next));
        let mut left = bytes;
        let fitting = self.present.values().take(count).map_while(|member| {
            left = left.checked_sub(member.weight())?;
            Some(Arc::clone(member))
        });
        fitting.collect()
    }

    /// Somebody came, with this subscription, or came again.
    pub(super) fn join(&mut self, subscription: u64, member: Member) {
        let member = Arc::new(member);
        let place = self.next;
        self.next = place.saturating_add(1);
        let before = self.serials.insert(member.session, (subscription, place));
        if let Some((_, place)) = before {
            self.present.remove(&place);
        }
        self.present.insert(place, Arc::clone(&member));
        let was_listed = before.is_some_and(|(_, place)| place < self.listed);
        let untold = self.untold.get(&member.session);
        let believed = untold.map_or(before.is_some(), |untold| untold.believed || was_listed);
        self.untold.insert(member.session, Untold { joined: true, member, believed });
    }

    /// Somebody's subscription ended. Does nothing if it has come with another one meanwhile, or was no member.
    pub(super) fn leave(&mut self, session: SessionId, subscription: u64) {
        let Some(&(current, place)) = self.serials.get(&session) else { return };
        if current != subscription {
            return;
        }
        self.serials.remove(&session);
        let Some(member) = self.present.remove(&place) else { return };
        match self.untold.get(&session) {
            Some(Untold { believed: false, .. }) if place >= self.listed => {
                self.untold.remove(&session);
            }
            _ => {
                self.untold.insert(session, Untold { joined: false, member, believed: true });
            }
        }
    }

    /// When the others are to be told, if there is anything: the first change at once, the next ones together.
    pub(super) fn due_at(&self, now: Instant, every: Duration) -> Option<Instant> {
        if self.untold.is_empty() {
            return None;
        }
        Some(self.told_at.and_then(|at| at.checked_add(every)).map_or(now, |at| at.max(now)))
    }

    /// What is to be told now: who came (`true`) and who went.
    pub(super) fn tell(&mut self, now: Instant) -> impl Iterator<Item = (bool, Arc<Member>)> + use<> {
        self.told_at = Some(now);
        std::mem::take(&mut self.untold).into_values().map(|untold| (untold.joined, untold.member))
    }

    /// Nobody is to be told.
    pub(super) fn keep_quiet(&mut self) {
        self.untold.clear();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn member(id: u128) -> Member {
        Member { session: SessionId(id), user: None, shown_as: Bytes::from_static(b"{}") }
    }

    fn told(members: &mut Members, now: Instant) -> Vec<(bool, u128)> {
        members.tell(now).map(|(joined, member)| (joined, member.session.0)).collect()
    }

    #[test]
    fn who_comes_and_goes_between_two_tellings_is_not_told_of() {
        let now = Instant::now();
        let mut members = Members::default();
        members.join(1, member(1));
        assert_eq!(told(&mut members, now), [(true, 1)]);
        members.join(2, member(2));
        members.leave(SessionId(2), 2);
        assert_eq!(told(&mut members, now), []);
        members.leave(SessionId(1), 1);
        members.join(3, member(1));
        members.leave(SessionId(1), 3);
        assert_eq!(told(&mut members, now), [(false, 1)], "the others believed it there");
        assert!(members.is_empty());
    }

    #[test]
    fn who_was_listed_before_it_was_told_of_is_told_of_when_it_goes() {
        let now = Instant::now();
        let mut members = Members::default();
        members.join(1, member(1));
        told(&mut members, now);
        members.join(2, member(2));
        // Somebody subscribes now, and its list names 2.
        assert_eq!(members.list(10, usize::MAX, None).len(), 2);
        members.leave(SessionId(2), 2);
        assert_eq!(told(&mut members, now), [(false, 2)]);
        // The same for one who comes again before it goes.
        members.join(3, member(3));
        assert_eq!(members.list(10, usize::MAX, None).len(), 2);
        members.join(4, member(3));
        members.leave(SessionId(3), 4);
        assert_eq!(told(&mut members, now), [(false, 3)]);
    }

    #[test]
    fn the_first_change_is_told_at_once_and_the_next_ones_together() {
        let start = Instant::now();
        let every = Duration::from_millis(100);
        let mut members = Members::default();
        assert_eq!(members.due_at(start, every), None);
        members.join(1, member(1));
        assert_eq!(members.due_at(start, every), Some(start));
        told(&mut members, start);
        members.join(2, member(2));
        assert_eq!(members.due_at(start, every), Some(start + every));
    }

    #[test]
    fn a_list_is_bounded_in_bytes_too() {
        let mut members = Members::default();
        for id in 1..=10 {
            members.join(1, Member { shown_as: Bytes::from(vec![b' '; 1_000]), ..member(id) });
        }
        assert_eq!(members.list(10, usize::MAX, None).len(), 10);
        assert_eq!(members.list(10, 3_500, None).len(), 3);
        assert_eq!(members.list(2, 3_500, None).len(), 2);
    }

    #[test]
    fn an_older_subscription_s_end_does_not_take_the_newer_one_away() {
        let mut members = Members::default();
        members.join(1, member(7));
        members.join(2, member(7));
        members.leave(SessionId(7), 1);
        assert_eq!((members.len(), members.list(10, usize::MAX, None).len()), (1, 1));
        members.leave(SessionId(7), 2);
        members.leave(SessionId(7), 2);
        assert!(members.is_empty());
    }
}
