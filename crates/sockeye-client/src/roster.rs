//! Who is in a channel, as far as its reader has read.
use std::{collections::HashSet, mem};

use crate::{Event, Member};

/// The members that a reader knows, kept up as it reads.
#[derive(Debug, Default)]
pub(crate) struct Roster(Vec<Member>);

impl Roster {
    pub(crate) fn new(members: Vec<Member>) -> Self {
        Self(members)
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.0
    }

    pub(crate) fn joined(&mut self, member: &Member, max: usize) {
        self.left(member);
        if self.0.len() < max {
            self.0.push(member.clone());
        }
    }

    pub(crate) fn left(&mut self, member: &Member) {
        self.0.retain(|known| known.session != member.session);
    }

    /// Takes over a list, and says who went and who came.
    pub(crate) fn replace(&mut self, members: Vec<Member>) -> Vec<Event> {
        let before = mem::replace(&mut self.0, members);
        let sessions = |members: &[Member]| members.iter().map(|member| member.session.clone()).collect::<HashSet<_>>();
        let (was, is) = (sessions(&before), sessions(&self.0));
        let left = before.into_iter().filter(|member| !is.contains(&member.session)).map(Event::Left);
        let joined = self.0.iter().filter(|member| !was.contains(&member.session)).cloned().map(Event::Joined);
        left.chain(joined).collect()
    }
}
