//! The hub of one worker: its front and its homes, and the way between them.
use std::{
    collections::hash_map::DefaultHasher,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use crate::{
    Ask, ChannelName, Host, HubOptions, Namespaces, Now, Position, Request, SessionId, SessionKey, StoreReply,
    StoreRequest, Tell, Wire, WorkerId,
    front::Front,
    home::{Homes, Out},
    wire::{Dice, TellWhat},
};

/// One worker's share of all channels; see the [crate's documentation](crate).
///
/// `P` is who a session is, as far as permission goes: what [`Host::authorize`] is asked about.
///
/// Each method is told what happened and does all that follows from it before it returns; what it wants done, it tells the
/// host. Whoever has several workers carries what [`Host::send`] was given to [`arrived`](Self::arrived) of the others; and
/// calls [`handle_timeout`](Self::handle_timeout) at [`deadline`](Self::deadline).
pub struct Hub<P> {
    me: WorkerId,
    workers: u16,
    placement: u64,
    dice: Dice,
    front: Front<P>,
    homes: Homes,
}

/// A channel at its home.
#[derive(Clone, Debug)]
pub struct ChannelInfo {
    /// Its name.
    pub name: ChannelName,
    /// Subscriptions, of all workers.
    pub subscribers: u64,
    /// Members among them.
    pub members: usize,
    /// The newest position, if it has history.
    pub position: Option<Position>,
    /// Publications kept.
    pub kept: usize,
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open sessions.
    pub sessions: usize,
    /// Channels at home here.
    pub channels: usize,
}

impl<P> Hub<P> {
    /// The hub of worker `me`, one of so many (at least 1), which all have the same namespaces and options. `dice` gives a random
    /// number of 128 bits, of cryptographic quality, each time it is asked; session ids and epochs are made of them.
    #[must_use]
    pub fn new(
        me: WorkerId,
        workers: u16,
        namespaces: Arc<Namespaces>,
        options: HubOptions,
        dice: Box<dyn FnMut() -> u128 + Send>,
    ) -> Self {
        let options = Arc::new(options);
        Self {
            me,
            workers: workers.max(1),
            placement: options.placement,
            dice,
            front: Front::new(Arc::clone(&options), Arc::clone(&namespaces)),
            homes: Homes::new(options, namespaces),
        }
    }

    /// A new session. `user` is whom others see as the publisher and member, besides the session's id; `None` is anonymous.
    pub fn open(&mut self, principal: P, user: Option<Arc<str>>) -> SessionKey {
        let id = SessionId((self.dice)());
        self.front.open(id, principal, user, false)
    }

    /// A new session of the server's own, which is not limited in how often it publishes; and what it publishes says nothing of
    /// who did.
    pub fn open_hidden(&mut self, principal: P) -> SessionKey {
        let id = SessionId((self.dice)());
        self.front.open(id, principal, None, true)
    }

    /// The public name of a session, if it is open.
    #[must_use]
    pub fn session_id(&self, session: SessionKey) -> Option<SessionId> {
        self.front.session_id(session)
    }

    /// Who a session is. After a change that may allow less, [`Host::rules`] has to change.
    pub fn principal_mut(&mut self, session: SessionKey) -> Option<&mut P> {
        self.front.principal_mut(session)
    }

    /// A session is over; nothing is told it any more.
    pub fn close<H: Host<Principal = P>>(&mut self, session: SessionKey, now: Now, host: &mut H) {
        self.front.close(session);
        self.settle(now, host);
    }

    /// A session asks for something. With a tag it gets exactly one [`Event::Done`](crate::Event::Done) or
    /// [`Event::Failed`](crate::Event::Failed) that carries it; without, only failures. A session that is over gets nothing.
    pub fn request<H: Host<Principal = P>>(
        &mut self,
        session: SessionKey,
        tag: Option<u64>,
        request: Request,
        now: Now,
        host: &mut H,
    ) {
        self.front.request(session, tag, request, now, host);
        self.settle(now, host);
    }

    /// The output of a session for which [`Host::deliver`] was [`Full`](crate::Queued::Full) has room again.
    pub fn writable<H: Host<Principal = P>>(&mut self, session: SessionKey, now: Now, host: &mut H) {
        self.front.writable(session, host);
        self.settle(now, host);
    }

    /// Something came from another worker.
    pub fn arrived<H: Host<Principal = P>>(&mut self, from: WorkerId, wire: Wire, now: Now, host: &mut H) {
        match wire {
            Wire::Ask(ask) => self.ask(from, ask, now, host),
            Wire::Tell(tell) => self.front.told(tell, host),
        }
        self.settle(now, host);
    }

    /// The store replied.
    pub fn stored<H: Host<Principal = P>>(&mut self, reply: StoreReply, now: Now, host: &mut H) {
        let mut out = Outward { me: self.me, front: &mut self.front, host };
        self.homes.stored(reply, now, &mut out);
        self.settle(now, host);
    }

    /// It is time to look.
    pub fn handle_timeout<H: Host<Principal = P>>(&mut self, now: Now, host: &mut H) {
        let mut out = Outward { me: self.me, front: &mut self.front, host };
        self.homes.handle_timeout(now, &mut out);
        self.settle(now, host);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.homes.deadline()
    }

    /// Channels at home here whose names begin so, in no order, so many at most.
    #[must_use]
    pub fn channels(&self, prefix: &str, limit: usize) -> Vec<ChannelInfo> {
        self.homes.infos(prefix).take(limit).collect()
    }

    /// How much there is of everything.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { sessions: self.front.sessions(), channels: self.homes.len() }
    }

    /// Which worker is the home of a channel.
    #[must_use]
    pub fn home_of(&self, channel: &ChannelName) -> WorkerId {
        // This hasher has the same keys everywhere; what an attacker cannot know is `placement`.
        let mut hasher = DefaultHasher::new();
        (self.placement, channel).hash(&mut hasher);
        let place = hasher.finish().checked_rem(u64::from(self.workers)).unwrap_or(0);
        WorkerId(u16::try_from(place).unwrap_or(0))
    }

    /// Hands on what the front asks and ends what has to end, until nothing is left. It ends: an answer never asks for more than
    /// the end of a subscription, and that is answered with nothing.
    fn settle<H: Host<Principal = P>>(&mut self, now: Now, host: &mut H) {
        loop {
            self.front.settle(host);
            let Some(ask) = self.front.asks.pop_front() else { return };
            let home = self.home_of(&ask.channel);
            if home == self.me {
                self.ask(home, ask, now, host);
            } else {
                host.send(home, Wire::Ask(ask));
            }
        }
    }

    fn ask<H: Host<Principal = P>>(&mut self, from: WorkerId, ask: Ask, now: Now, host: &mut H) {
        let mut out = Outward { me: self.me, front: &mut self.front, host };
        self.homes.ask(from, ask, now, &mut self.dice, &mut out);
    }
}

/// The way out of the homes: to this worker's front, to other workers, to the store.
struct Outward<'a, P, H> {
    me: WorkerId,
    front: &'a mut Front<P>,
    host: &'a mut H,
}

impl<P, H: Host<Principal = P>> Out for Outward<'_, P, H> {
    fn tell(&mut self, to: WorkerId, tell: Tell) {
        if to == self.me {
            self.front.told(tell, self.host);
        } else {
            self.host.send(to, Wire::Tell(tell));
        }
    }

    fn store(&mut self, request: StoreRequest) {
        self.host.store(request);
    }
}

impl<P> fmt::Debug for Hub<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("me", &self.me).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Wire {
    /// The bytes that it counts for in the bound of a queue between workers.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIXED: usize = 256;
        let shared = match self {
            Self::Tell(Tell { what: TellWhat::Publication(publication), .. }) => publication.weight(),
            Self::Tell(Tell { what: TellWhat::Subscribed(_, begun), .. }) => begun.items.len().saturating_mul(FIXED),
            Self::Ask(ask) => ask.weight(),
            Self::Tell(_) => 0,
        };
        shared.saturating_add(FIXED)
    }
}
