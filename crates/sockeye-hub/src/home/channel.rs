//! One channel at its home: its log, its members, its followers, and what waits for the store.
use std::{sync::Arc, time::Duration, time::Instant};

use super::{
    Out, answer,
    keys::{Entry, Keys},
    log::Log,
    members::Members,
    pending::{Pending, Queue},
    refuse,
};
use crate::{
    Append, Ask, CatchUp, Change, ChannelInfo, ChannelName, ChannelOptions, Done, Draft, Encoded, Epoch, Failure,
    FailureCode, HistoryPage, HubOptions, Loaded, LostReason, Member, Now, Position, Publication, Sender, SessionId,
    StoreRequest, Tell, Ticket, WorkerId,
    rate::Rate,
    wire::{AskWhat, Begun, TellWhat, sooner},
};

/// How long after a failure the store is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// A channel at home.
///
/// ```text
///       not durable
///  new ──────────────────────────────────▶ Ready
///   │ durable               loaded         ▲  │ not appended: what is on its way
///   └──────────▶ Loading ──────────────────┘  │ to the store is answered `unavailable`
///                 ▲  ▲ ◀──────────────────────┘
///  followed still │  │ not loaded: all that waits is answered `unavailable`
///   (after 1 s)   │  ▼
///                Broken ──▶ gone, if nobody follows
/// ```
#[derive(Debug)]
pub(super) struct Channel {
    name: ChannelName,
    options: Arc<ChannelOptions>,
    limits: Arc<HubOptions>,
    state: State,
    epoch: Epoch,
    /// What subscribers may see: for a durable channel, what the store has.
    log: Log,
    /// The offset given last; greater than `log.top()` while appends are on their way to the store.
    given: u64,
    keys: Keys,
    members: Members,
    /// Workers with subscribers, and how many subscriptions of each have begun.
    followers: Vec<(WorkerId, u64)>,
    /// Appends on their way to the store, and what has to wait for them; everything while the channel is loaded.
    pending: Queue,
    rate: Rate,
    /// Since when nobody has used it.
    pub(super) idle_since: Instant,
    /// That, if it can make room for another; kept by its owner.
    pub(super) spare_since: Option<Instant>,
    /// When it is looked at next; kept by its owner.
    pub(super) due: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Ready,
    /// The store has been asked what there is.
    Loading,
    /// The store could not say; it is asked again at this time, if anybody is interested still.
    Broken(Instant),
}

impl Channel {
    pub(super) fn new(
        name: ChannelName,
        options: Arc<ChannelOptions>,
        limits: Arc<HubOptions>,
        epoch: Epoch,
        now: Now,
        out: &mut impl Out,
    ) -> Self {
        let state = if options.durable { State::Loading } else { State::Ready };
        if options.durable {
            out.store(StoreRequest::Load(name.clone()));
        }
        Self {
            name,
            options,
            limits,
            state,
            epoch,
            log: Log::new(0),
            given: 0,
            keys: Keys::default(),
            members: Members::default(),
            followers: Vec::new(),
            pending: Queue::default(),
            rate: Rate::default(),
            idle_since: now.instant,
            spare_since: None,
            due: None,
        }
    }

    pub(super) fn ask(&mut self, from: WorkerId, ask: Ask, now: Now, out: &mut impl Out) {
        self.idle_since = now.instant;
        self.log.expire(now.instant, &self.options);
        self.keys.expire(now.instant, self.limits.key_age);
        self.take(from, ask, now, out);
        self.tell_changes(now, out);
    }

    /// Does what is asked, or puts it behind what it has to wait for.
    fn take(&mut self, from: WorkerId, ask: Ask, now: Now, out: &mut impl Out) {
        let Ask { channel, ticket, what } = ask;
        if let AskWhat::Unsubscribe { who } = what {
            // Never refused: it makes things less. A subscription that waits is not begun, so its end does not come yet.
            return self.unsubscribe(from, ticket, who);
        }
        if let State::Broken(_) = self.state {
            return refuse(from, Ask { channel, ticket, what }, unavailable(), out);
        }
        if self.pending.len() >= self.limits.pending || self.pending.bytes() >= self.limits.pending_bytes {
            return refuse(from, Ask { channel, ticket, what }, unavailable(), out);
        }
        let waits = match (&self.state, &what) {
            (State::Ready, AskWhat::Publish { draft, .. }) => draft.volatile && !self.pending.is_empty(),
            (State::Ready, _) => !self.pending.is_empty(),
            _ => true,
        };
        if waits {
            return self.pending.push_back(Pending::Ask(from, Ask { channel, ticket, what }));
        }
        match what {
            AskWhat::Subscribe { who, catch_up, shown_as, members } => {
                self.subscribe(from, ticket, who, catch_up, shown_as, members, out);
            }
            AskWhat::Publish { from: publisher, draft } => self.publish(from, ticket, publisher, draft, now, out),
            AskWhat::Presence { limit } => {
                let members = self.list_members(limit, None);
                answer(from, &self.name, ticket, Ok(Done::Presence(self.members.len(), members)), out);
            }
            AskWhat::History(page) => {
                let result = self.history(page);
                answer(from, &self.name, ticket, result, out);
            }
            AskWhat::Unsubscribe { .. } => {}
        }
    }

    // The order of what happens here is the proof in the crate's documentation: the follower is counted, the log is read and
    // both are told, before anything else can come in.
    #[allow(clippy::too_many_arguments, reason = "the parts of one request")]
    fn subscribe(
        &mut self,
        from: WorkerId,
        ticket: Ticket,
        who: Sender,
        catch_up: CatchUp,
        shown_as: Option<bytes::Bytes>,
        members: bool,
        out: &mut impl Out,
    ) {
        if shown_as.is_some() && self.members.len() >= self.options.max_members {
            let failure = Failure::new(FailureCode::Limit, "the channel has as many members as it may");
            return out.tell(from, Tell { channel: self.name.clone(), what: TellWhat::NotSubscribed(ticket, failure) });
        }
        self.follow(from);
        let session = who.session;
        if let Some(shown_as) = shown_as {
            self.members.join(ticket.serial, Member { session, user: who.user, shown_as });
            if !self.options.join_leave {
                self.members.keep_quiet();
            }
        }
        let (recovered, items) = match catch_up {
            CatchUp::None => (None, Vec::new()),
            CatchUp::Last(count) => (None, self.log.last(count, &self.limits)),
            CatchUp::Since(position) => {
                let items = self.is_here(position).then(|| self.log.since(position.offset, &self.limits)).flatten();
                (Some(items.is_some()), items.unwrap_or_default())
            }
        };
        let members = members.then(|| self.list_members(usize::MAX, Some(session)));
        let begun = Box::new(Begun { who: session, position: self.position(), recovered, items, members });
        out.tell(from, Tell { channel: self.name.clone(), what: TellWhat::Subscribed(ticket, begun) });
    }

    fn list_members(&mut self, limit: usize, reader: Option<SessionId>) -> Vec<Arc<Member>> {
        self.members.list(limit.min(self.limits.members_page), self.limits.members_bytes, reader)
    }

    fn unsubscribe(&mut self, from: WorkerId, ticket: Ticket, who: SessionId) {
        self.members.leave(who, ticket.serial);
        if !self.options.join_leave {
            self.members.keep_quiet();
        }
        if let Some(index) = self.followers.iter().position(|(worker, _)| *worker == from)
            && let Some((_, count)) = self.followers.get_mut(index)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.followers.swap_remove(index);
            }
        }
    }

    fn follow(&mut self, worker: WorkerId) {
        match self.followers.iter_mut().find(|(other, _)| *other == worker) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.followers.push((worker, 1)),
        }
    }

    fn publish(
        &mut self,
        to: WorkerId,
        ticket: Ticket,
        from: Option<Sender>,
        draft: Draft,
        now: Now,
        out: &mut impl Out,
    ) {
        let key = draft.key.clone();
        if let Some(Entry { offset, .. }) = key.as_deref().and_then(|key| self.keys.get(key)) {
            if !self.pending.is_empty() {
                return self.pending.push_back(Pending::Repeat { offset, to, ticket });
            }
            // A volatile one has waited, and its key was taken meanwhile by one that is still on its way to the store.
            let is_stored = offset.is_none_or(|offset| offset <= self.log.top());
            let result = if is_stored { Ok(Done::Published(self.at(offset))) } else { Err(unavailable()) };
            return answer(to, &self.name, ticket, result, out);
        }
        if key.is_some() && self.keys.len() >= self.limits.keys {
            let failure = Failure::passing(FailureCode::Limit, "too many idempotency keys in this channel", RETRY);
            return answer(to, &self.name, ticket, Err(failure), out);
        }
        if let Err(wait) = self.rate.take(now.instant, self.options.channel_rate) {
            let failure = Failure::passing(FailureCode::RateLimited, "the channel takes no more for now", wait);
            return answer(to, &self.name, ticket, Err(failure), out);
        }
        let position = (self.options.has_history() && !draft.volatile).then(|| {
            self.given = self.given.saturating_add(1);
            Position { epoch: self.epoch, offset: self.given }
        });
        if let Some(key) = &key {
            self.keys.insert(Arc::clone(key), position.map(|position| position.offset), now.instant);
        }
        let publication = Arc::new(self.entry(draft, position, from, now));
        if self.options.durable && position.is_some() {
            let keep_from = self.kept_from();
            out.store(StoreRequest::Append(Append {
                publication: Arc::clone(&publication),
                key: key.clone(),
                keep_from,
            }));
            self.pending.push_back(Pending::Append { publication, key, to, ticket });
        } else {
            self.commit(&publication, now, out);
            answer(to, &self.name, ticket, Ok(Done::Published(position)), out);
        }
    }

    fn entry(&self, draft: Draft, position: Option<Position>, from: Option<Sender>, now: Now) -> Publication {
        Publication {
            channel: self.name.clone(),
            position,
            payload: draft.payload,
            event: draft.event,
            conflate: draft.conflate,
            from,
            echo: draft.echo,
            at_ms: now.unix_ms,
            encoded: Encoded::default(),
        }
    }

    /// From here on it is published.
    fn commit(&mut self, publication: &Arc<Publication>, now: Now, out: &mut impl Out) {
        if publication.position.is_some() {
            self.log.push(Arc::clone(publication), now.instant, &self.options);
        }
        self.tell_all(out, || TellWhat::Publication(Arc::clone(publication)));
    }

    /// The store has kept the append that has waited longest.
    pub(super) fn appended(&mut self, offset: u64, now: Now, out: &mut impl Out) {
        let is_next =
            matches!(self.pending.front(), Some(Pending::Append { publication, .. }) if publication.offset() == offset);
        if !is_next {
            // A reply to something that was given up meanwhile, or nonsense.
            return;
        }
        if let Some(Pending::Append { publication, to, ticket, .. }) = self.pending.pop_front() {
            let position = publication.position;
            self.commit(&publication, now, out);
            answer(to, &self.name, ticket, Ok(Done::Published(position)), out);
        }
        self.take_waiting(now, out);
        self.tell_changes(now, out);
    }

    /// Does what waited behind what is done, up to the next append.
    fn take_waiting(&mut self, now: Now, out: &mut impl Out) {
        let mut waiting = std::mem::take(&mut self.pending);
        while let Some(next) = waiting.pop_front() {
            match next {
                append @ Pending::Append { .. } => {
                    waiting.push_front(append);
                    break;
                }
                Pending::Repeat { offset, to, ticket } => {
                    answer(to, &self.name, ticket, Ok(Done::Published(self.at(offset))), out);
                }
                Pending::Ask(from, ask) => {
                    self.take(from, ask, now, out);
                    if !self.pending.is_empty() {
                        // It has begun an append, behind which the others wait.
                        self.wait_behind(&mut waiting, now, out);
                        return;
                    }
                }
            }
        }
        self.pending = waiting;
    }

    /// After loading: publications that waited become appends, all others wait behind them in their order.
    fn wait_behind(&mut self, waiting: &mut Queue, now: Now, out: &mut impl Out) {
        while let Some(next) = waiting.pop_front() {
            match next {
                Pending::Ask(from, ask) => self.take(from, ask, now, out),
                other => self.pending.push_back(other),
            }
        }
    }

    /// The store has said what there is: at the beginning, or after something went wrong.
    pub(super) fn loaded(&mut self, loaded: Loaded, now: Now, out: &mut impl Out) {
        if !matches!(self.state, State::Loading) {
            return;
        }
        self.state = State::Ready;
        let before = Position { epoch: self.epoch, offset: self.log.top() };
        self.epoch = loaded.epoch;
        self.given = loaded.top;
        self.keys = self.keys_of(&loaded, now);
        self.keys.expire(now.instant, self.limits.key_age);
        let items = self.well_formed(loaded.items, loaded.top);
        let kept = u64::try_from(items.len()).unwrap_or(0);
        self.log = Log::new(loaded.top.saturating_sub(kept));
        for item in items {
            let age = Duration::from_millis(now.unix_ms.saturating_sub(item.at_ms));
            let since = now.instant.checked_sub(age).unwrap_or(now.instant);
            self.log.push(item, since, &self.options);
        }
        if !self.followers.is_empty() {
            self.make_good(before, out);
        }
        self.log.expire(now.instant, &self.options);
        self.take_waiting(now, out);
        self.tell_changes(now, out);
    }

    /// Those who follow it since before the store failed get what they have not seen, or hear that it is lost.
    fn make_good(&mut self, before: Position, out: &mut impl Out) {
        let now_at = Position { epoch: self.epoch, offset: self.log.top() };
        if now_at == before {
            return;
        }
        let missed = (before.epoch == now_at.epoch).then(|| self.log.since(before.offset, &self.limits)).flatten();
        match missed {
            Some(items) => {
                for item in items {
                    self.tell_all(out, || TellWhat::Publication(Arc::clone(&item)));
                }
            }
            None => self.tell_all(out, || TellWhat::Lost(now_at, LostReason::Store)),
        }
    }

    /// What the store says is as untrusted as what a peer says: what does not fit is left out, from the oldest on.
    fn well_formed(&self, items: Vec<Arc<Publication>>, top: u64) -> Vec<Arc<Publication>> {
        let mut expected = top;
        let mut good: Vec<_> = items
            .into_iter()
            .rev()
            .take_while(|item| {
                let fits = item.position == Some(Position { epoch: self.epoch, offset: expected })
                    && expected > 0
                    && item.channel == self.name;
                expected = expected.saturating_sub(1);
                fits
            })
            .collect();
        good.reverse();
        good
    }

    fn keys_of(&self, loaded: &Loaded, now: Now) -> Keys {
        let mut keys = Keys::default();
        let too_many = loaded.keys.len().saturating_sub(self.limits.keys);
        for (key, offset, at_ms) in loaded.keys.iter().skip(too_many) {
            let age = Duration::from_millis(now.unix_ms.saturating_sub(*at_ms));
            let since = now.instant.checked_sub(age).unwrap_or(now.instant);
            if *offset <= loaded.top {
                keys.insert(Arc::clone(key), Some(*offset), since);
            }
        }
        keys
    }

    /// The store may have kept the next append or not, and those behind it not. What there is of them, the store has to say.
    pub(super) fn not_appended(&mut self, out: &mut impl Out) {
        if !matches!(self.state, State::Ready) || !self.pending.has_appends() {
            return;
        }
        self.state = State::Loading;
        out.store(StoreRequest::Load(self.name.clone()));
        let mut given_up = std::mem::take(&mut self.pending);
        while let Some(pending) = given_up.pop_front() {
            match pending {
                Pending::Append { key, to, ticket, .. } => {
                    if let Some(key) = key {
                        self.keys.take_back(&key);
                    }
                    answer(to, &self.name, ticket, Err(unavailable()), out);
                }
                Pending::Repeat { to, ticket, .. } => answer(to, &self.name, ticket, Err(unavailable()), out),
                ask @ Pending::Ask(..) => self.pending.push_back(ask),
            }
        }
    }

    /// The store cannot say what there is.
    pub(super) fn not_loaded(&mut self, now: Now, out: &mut impl Out) {
        if !matches!(self.state, State::Loading) {
            return;
        }
        self.state = State::Broken(now.instant.checked_add(RETRY).unwrap_or(now.instant));
        let mut given_up = std::mem::take(&mut self.pending);
        while let Some(pending) = given_up.pop_front() {
            if let Pending::Ask(from, ask) = pending {
                refuse(from, ask, unavailable(), out);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now, out: &mut impl Out) {
        self.log.expire(now.instant, &self.options);
        self.keys.expire(now.instant, self.limits.key_age);
        if matches!(self.state, State::Broken(at) if at <= now.instant) && !self.followers.is_empty() {
            self.state = State::Loading;
            out.store(StoreRequest::Load(self.name.clone()));
        }
        self.tell_changes(now, out);
    }

    fn tell_changes(&mut self, now: Now, out: &mut impl Out) {
        if self.members.due_at(now.instant, self.limits.members_every).is_none_or(|at| at > now.instant) {
            return;
        }
        for (joined, member) in self.members.tell(now.instant) {
            let change = Arc::new(Change { channel: self.name.clone(), joined, member, encoded: Encoded::default() });
            self.tell_all(out, || TellWhat::Changed(Arc::clone(&change)));
        }
    }

    fn tell_all(&self, out: &mut impl Out, what: impl Fn() -> TellWhat) {
        for (worker, _) in &self.followers {
            out.tell(*worker, Tell { channel: self.name.clone(), what: what() });
        }
    }

    fn history(&self, page: HistoryPage) -> Result<Done, Failure> {
        let position =
            self.position().ok_or_else(|| Failure::new(FailureCode::BadRequest, "the channel keeps no history"))?;
        let lost = || Failure::new(FailureCode::PositionLost, "the history does not hold that position");
        if page.since.is_some_and(|since| !self.is_here(since)) {
            return Err(lost());
        }
        let (items, more) = self.log.page(page, &self.limits).ok_or_else(lost)?;
        Ok(Done::History { position, items, more })
    }

    /// When it wants to be looked at.
    pub(super) fn wants(&self, now: Now) -> Option<Instant> {
        let mut at = self.members.due_at(now.instant, self.limits.members_every);
        at = sooner(at, self.log.expires_at(&self.options));
        at = sooner(at, self.keys.expires_at(self.limits.key_age));
        if let State::Broken(again) = self.state {
            at = sooner(at, Some(again));
        }
        if self.followers.is_empty() {
            // Once that is over it stays for other reasons, whose end is looked at by itself.
            let idle_at = self.idle_since.checked_add(self.stays_for());
            at = sooner(at, idle_at.filter(|at| *at > now.instant));
        }
        at
    }

    /// Whether nothing would be lost without it.
    pub(super) fn is_useless(&self, now: Now) -> bool {
        let idle = now.instant.saturating_duration_since(self.idle_since) >= self.stays_for();
        self.is_spare() && (idle || matches!(self.state, State::Broken(_)))
    }

    /// Whether nobody uses it and nothing is in it but the name of its epoch: it may have to make room for another.
    pub(super) fn is_spare(&self) -> bool {
        if !self.followers.is_empty() || !self.members.is_empty() || !self.pending.is_empty() {
            return false;
        }
        match self.state {
            State::Ready if self.options.durable => true,
            State::Ready => self.log.is_empty() && self.keys.is_empty(),
            State::Loading => false,
            State::Broken(_) => true,
        }
    }

    /// How long it stays when nobody uses it. Without the store its epoch goes with it, and whoever comes back with a position
    /// has to be told that continuity is lost, even if nothing was published: so it waits for them as long as for its history.
    fn stays_for(&self) -> Duration {
        match (self.options.durable, self.options.has_history()) {
            (true, _) => self.limits.idle_after,
            (false, true) => self.options.history_age,
            (false, false) => Duration::ZERO,
        }
    }

    pub(super) fn info(&self) -> ChannelInfo {
        ChannelInfo {
            name: self.name.clone(),
            subscribers: self.followers.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count)),
            members: self.members.len(),
            position: self.position(),
            kept: self.log.len(),
        }
    }

    fn position(&self) -> Option<Position> {
        self.options.has_history().then(|| Position { epoch: self.epoch, offset: self.log.top() })
    }

    fn at(&self, offset: Option<u64>) -> Option<Position> {
        offset.map(|offset| Position { epoch: self.epoch, offset })
    }

    fn is_here(&self, position: Position) -> bool {
        position.epoch == self.epoch
    }

    /// The oldest offset that the log will want once all that is on its way has arrived.
    fn kept_from(&self) -> u64 {
        let size = u64::try_from(self.options.history_size).unwrap_or(u64::MAX);
        self.given.saturating_add(1).saturating_sub(size).max(self.log.first())
    }
}

fn unavailable() -> Failure {
    Failure::passing(FailureCode::Unavailable, "the store does not answer as it should", RETRY)
}
