//! The sessions of one worker, and who of them has subscribed to what.
mod backlog;
mod session;
mod subscribers;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

pub use session::SessionKey;

use self::{
    session::Sessions,
    subscribers::{Edge, Subscriber},
};
use crate::{
    Action, Ask, CatchUp, Cause, Change, ChannelName, ChannelOptions, Done, Draft, Event, Failure, FailureCode, Host,
    HubOptions, LostReason, Namespaces, Now, Position, Publication, Request, SessionId, Subscribe, Tell, Ticket,
    home::no_namespace,
    wire::{AskWhat, Begun, TellWhat},
};

/// The front of a worker: between its sessions and the homes of channels.
pub(crate) struct Front<P> {
    options: Arc<HubOptions>,
    namespaces: Arc<Namespaces>,
    sessions: Sessions<P>,
    edges: HashMap<ChannelName, Edge>,
    serial: u64,
    /// What is to be asked, in order; handed on by the hub.
    pub(crate) asks: VecDeque<Ask>,
    /// Sessions that have to go, found while others were being told; ended by the hub's next step.
    doomed: Vec<(SessionKey, Cause)>,
    /// Subscriptions that have to go, likewise.
    forbidden: Vec<(SessionKey, ChannelName)>,
}

impl<P> Front<P> {
    pub(crate) fn new(options: Arc<HubOptions>, namespaces: Arc<Namespaces>) -> Self {
        Self {
            options,
            namespaces,
            sessions: Sessions::default(),
            edges: HashMap::new(),
            serial: 0,
            asks: VecDeque::new(),
            doomed: Vec::new(),
            forbidden: Vec::new(),
        }
    }

    pub(crate) fn open(&mut self, id: SessionId, principal: P, user: Option<Arc<str>>, hidden: bool) -> SessionKey {
        self.sessions.insert(id, principal, user, hidden)
    }

    pub(crate) fn session_id(&self, key: SessionKey) -> Option<SessionId> {
        self.sessions.get(key).map(|session| session.id)
    }

    pub(crate) fn principal_mut(&mut self, key: SessionKey) -> Option<&mut P> {
        self.sessions.get_mut(key).map(|session| &mut session.principal)
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// A session is over.
    pub(crate) fn close(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.remove(key) else { return };
        for channel in &session.channels {
            self.leave(key, session.id, channel);
        }
    }

    /// Carries out what a session asks for, or says why not.
    pub(crate) fn request<H: Host<Principal = P>>(
        &mut self,
        key: SessionKey,
        tag: Option<u64>,
        request: Request,
        now: Now,
        host: &mut H,
    ) {
        let result = match request {
            Request::Subscribe(channel, subscribe) => self.subscribe(key, tag, channel, subscribe, host),
            Request::Unsubscribe(channel) => self.unsubscribe(key, tag, &channel, host),
            Request::Publish(channel, draft) => self.publish(key, tag, channel, draft, now, host),
            Request::Presence(channel, limit) => {
                let what = AskWhat::Presence { limit };
                self.read(key, tag, channel, Action::Presence, what, |options| options.presence, host)
            }
            Request::History(channel, page) => {
                let what = AskWhat::History(page);
                self.read(key, tag, channel, Action::History, what, ChannelOptions::has_history, host)
            }
        };
        if let Err(failure) = result
            && self.sessions.get(key).is_some()
        {
            host.event(key, Event::Failed(tag, failure));
        }
    }

    /// What home tells.
    pub(crate) fn told<H: Host<Principal = P>>(&mut self, tell: Tell, host: &mut H) {
        let Tell { channel, what } = tell;
        match what {
            TellWhat::Publication(publication) => self.publication(&channel, &publication, host),
            TellWhat::Changed(change) => self.changed(&channel, &change, host),
            TellWhat::Lost(position, reason) => self.lost(&channel, position, reason, host),
            TellWhat::Subscribed(ticket, begun) => self.subscribed(channel, ticket, *begun, host),
            TellWhat::NotSubscribed(ticket, failure) => self.not_subscribed(&channel, ticket, failure, host),
            TellWhat::Answer(ticket, result) => self.answer(&channel, ticket, result, host),
        }
    }

    /// The session's output has room again.
    pub(crate) fn writable<H: Host<Principal = P>>(&mut self, key: SessionKey, host: &mut H) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let rules = host.rules();
        let edges = &mut self.edges;
        let denied = session.drain(host, |channel, principal, host| {
            let subscriber = edges.get_mut(channel).and_then(|edge| edge.find(key));
            subscriber.is_some_and(|subscriber| subscriber.may_still(rules, principal, channel, host))
        });
        self.forbidden.extend(denied.into_iter().map(|channel| (key, channel)));
    }

    /// Ends what was found to be over while others were being told. To be called after everything else.
    pub(crate) fn settle<H: Host<Principal = P>>(&mut self, host: &mut H) {
        while let Some((key, channel)) = self.forbidden.pop() {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            if session.forget(&channel) {
                let id = session.id;
                self.leave(key, id, &channel);
                host.event(key, Event::Ended(channel, Cause::Forbidden));
            }
        }
        while let Some((key, cause)) = self.doomed.pop() {
            if self.sessions.get(key).is_some() {
                host.event(key, Event::Closing(cause));
                self.close(key);
            }
        }
    }

    // --- requests ------------------------------------------------------------------------------------------------------

    fn subscribe<H: Host<Principal = P>>(
        &mut self,
        key: SessionKey,
        tag: Option<u64>,
        channel: ChannelName,
        subscribe: Subscribe,
        host: &mut H,
    ) -> Result<(), Failure> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let options = self.namespaces.of(&channel).ok_or_else(no_namespace)?;
        host.authorize(&session.principal, Action::Subscribe, &channel)?;
        let Subscribe { catch_up, shown_as, members, echo } = subscribe;
        if catch_up != CatchUp::None {
            host.authorize(&session.principal, Action::CatchUp, &channel)?;
            ensure(options.has_history(), FailureCode::BadRequest, "the channel keeps no history")?;
        }
        if members || shown_as.is_some() {
            ensure(options.presence, FailureCode::BadRequest, "the channel has no presence")?;
        }
        if members {
            host.authorize(&session.principal, Action::Presence, &channel)?;
        }
        if let Some(shown_as) = &shown_as {
            host.authorize(&session.principal, Action::Join, &channel)?;
            ensure(shown_as.len() <= self.options.shown_as_bytes, FailureCode::TooBig, "`as` is too big")?;
        }
        ensure(!session.is_in(&channel), FailureCode::AlreadySubscribed, "subscribed already")?;
        let count = session.channels.len();
        ensure(count < self.options.subscriptions, FailureCode::Limit, "subscribed to as many channels as one may")?;
        let who = session.sender();
        self.serial = self.serial.wrapping_add(1);
        let subscriber = Subscriber::new(key, self.serial, members, echo);
        let entry = self.edges.entry(channel);
        // From here on all who have subscribed share one copy of its name.
        let channel = entry.key().clone();
        session.remember(channel.clone());
        entry.or_insert_with(|| Edge::new(Arc::clone(options))).add(subscriber);
        let ticket = Ticket { session: key, tag, serial: self.serial };
        self.asks.push_back(Ask { channel, ticket, what: AskWhat::Subscribe { who, catch_up, shown_as, members } });
        Ok(())
    }

    fn unsubscribe<H: Host<Principal = P>>(
        &mut self,
        key: SessionKey,
        tag: Option<u64>,
        channel: &ChannelName,
        host: &mut H,
    ) -> Result<(), Failure> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        ensure(session.forget(channel), FailureCode::NotSubscribed, "not subscribed")?;
        let id = session.id;
        self.leave(key, id, channel);
        if let Some(tag) = tag {
            host.event(key, Event::Done(tag, Done::Unsubscribed));
        }
        Ok(())
    }

    fn publish<H: Host<Principal = P>>(
        &mut self,
        key: SessionKey,
        tag: Option<u64>,
        channel: ChannelName,
        draft: Draft,
        now: Now,
        host: &mut H,
    ) -> Result<(), Failure> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let options = self.namespaces.of(&channel).ok_or_else(no_namespace)?;
        host.authorize(&session.principal, Action::Publish, &channel)?;
        let limits = &self.options;
        ensure(draft.payload.bytes.len() <= limits.payload_bytes, FailureCode::TooBig, "the payload is too big")?;
        let short = |text: &Option<Arc<str>>, limit| text.as_ref().is_none_or(|text| text.len() <= limit);
        ensure(short(&draft.key, limits.key_bytes), FailureCode::TooBig, "the key is too long")?;
        ensure(short(&draft.conflate, limits.key_bytes), FailureCode::TooBig, "`conflate` is too long")?;
        ensure(short(&draft.event, limits.event_bytes), FailureCode::TooBig, "the name of the event is too long")?;
        if !session.hidden
            && let Err(wait) = session.rate.take(now.instant, options.session_rate)
        {
            return Err(Failure::passing(FailureCode::RateLimited, "publishing too often", wait));
        }
        let from = (!session.hidden).then(|| session.sender());
        let ticket = Ticket { session: key, tag, serial: 0 };
        self.asks.push_back(Ask { channel, ticket, what: AskWhat::Publish { from, draft } });
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one request")]
    fn read<H: Host<Principal = P>>(
        &mut self,
        key: SessionKey,
        tag: Option<u64>,
        channel: ChannelName,
        action: Action,
        what: AskWhat,
        is_there: impl FnOnce(&ChannelOptions) -> bool,
        host: &mut H,
    ) -> Result<(), Failure> {
        let Some(session) = self.sessions.get(key) else { return Ok(()) };
        let options = self.namespaces.of(&channel).ok_or_else(no_namespace)?;
        host.authorize(&session.principal, action, &channel)?;
        ensure(is_there(options), FailureCode::BadRequest, "the channel has no such thing")?;
        let ticket = Ticket { session: key, tag, serial: 0 };
        self.asks.push_back(Ask { channel, ticket, what });
        Ok(())
    }

    // --- what homes tell -----------------------------------------------------------------------------------------------

    fn publication<H: Host<Principal = P>>(
        &mut self,
        channel: &ChannelName,
        publication: &Arc<Publication>,
        host: &mut H,
    ) {
        let Some(edge) = self.edges.get_mut(channel) else { return };
        let rules = host.rules();
        let publisher = publication.from.as_ref().map(|from| from.session);
        let slow = edge.options.slow;
        for subscriber in edge.iter_mut().filter(|subscriber| subscriber.live) {
            let key = subscriber.session;
            let Some(session) = self.sessions.get_mut(key) else { continue };
            if !subscriber.may_still(rules, &session.principal, channel, host) {
                self.forbidden.push((key, channel.clone()));
                continue;
            }
            let own = publisher == Some(session.id) && !(publication.echo && subscriber.echo);
            if session.offer(publication, own, slow, self.options.backlog_bytes, host).is_err() {
                self.doomed.push((key, Cause::Slow));
            }
        }
    }

    fn changed<H: Host<Principal = P>>(&mut self, channel: &ChannelName, change: &Arc<Change>, host: &mut H) {
        let Some(edge) = self.edges.get_mut(channel) else { return };
        let rules = host.rules();
        for key in edge.watching() {
            let Some(subscriber) = edge.find(key).filter(|subscriber| subscriber.live) else { continue };
            let Some(session) = self.sessions.get_mut(key).filter(|session| session.id != change.member.session) else {
                continue;
            };
            if !subscriber.may_still(rules, &session.principal, channel, host) {
                self.forbidden.push((key, channel.clone()));
            } else if session.offer_change(change, self.options.backlog_bytes, host).is_err() {
                self.doomed.push((key, Cause::Slow));
            }
        }
    }

    fn lost<H: Host<Principal = P>>(&mut self, channel: &ChannelName, at: Position, reason: LostReason, host: &mut H) {
        let Some(edge) = self.edges.get(channel) else { return };
        for subscriber in edge.iter().filter(|subscriber| subscriber.live) {
            if let Some(session) = self.sessions.get_mut(subscriber.session) {
                session.tell_lost(channel, at, reason, host);
            }
        }
    }

    fn subscribed<H: Host<Principal = P>>(&mut self, channel: ChannelName, ticket: Ticket, begun: Begun, host: &mut H) {
        let key = ticket.session;
        let subscriber = self.edges.get_mut(&channel).and_then(|edge| edge.find(key));
        let subscriber = subscriber.filter(|subscriber| subscriber.serial == ticket.serial);
        let (Some(subscriber), Some(session)) = (subscriber, self.sessions.get_mut(key)) else {
            // It has left meanwhile. Home has counted it, and counts it off again.
            self.asks.push_back(Ask { channel, ticket, what: AskWhat::Unsubscribe { who: begun.who } });
            return self.left_before(ticket, host);
        };
        subscriber.live = true;
        subscriber.rules = host.rules();
        let refused = still_allowed(&session.principal, &channel, &begun, host).err().or_else(|| {
            let full = session.waiting_bytes() > self.options.backlog_bytes;
            full.then(|| Failure::passing(FailureCode::Limit, "too much is waiting for you", Duration::from_secs(1)))
        });
        if let Some(failure) = refused {
            session.forget(&channel);
            self.leave(key, begun.who, &channel);
            host.event(key, Event::Failed(ticket.tag, failure));
            return;
        }
        let Begun { position, recovered, items, members, .. } = begun;
        if let Some(tag) = ticket.tag {
            let done = Done::Subscribed { position, catch_up: items.len(), recovered, members };
            host.event(key, Event::Done(tag, done));
        }
        let echo = subscriber.echo;
        for publication in &items {
            let by = publication.from.as_ref().map(|from| from.session);
            let own = by == Some(session.id) && !(publication.echo && echo);
            session.offer_caught_up(publication, own, host);
        }
    }

    fn not_subscribed<H: Host<Principal = P>>(
        &mut self,
        channel: &ChannelName,
        ticket: Ticket,
        failure: Failure,
        host: &mut H,
    ) {
        let key = ticket.session;
        let mut edge = self.edges.get_mut(channel);
        let subscriber = edge.as_mut().and_then(|edge| edge.find(key));
        let is_there = subscriber.is_some_and(|subscriber| subscriber.serial == ticket.serial);
        let Some(edge) = edge.filter(|_| is_there) else { return self.left_before(ticket, host) };
        edge.remove(key);
        if edge.is_empty() {
            self.edges.remove(channel);
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.forget(channel);
            host.event(key, Event::Failed(ticket.tag, failure));
        }
    }

    /// A subscription was left before it had begun: who asked for it with a tag is answered all the same.
    fn left_before<H: Host<Principal = P>>(&self, ticket: Ticket, host: &mut H) {
        if ticket.tag.is_some() && self.sessions.get(ticket.session).is_some() {
            let failure = Failure::new(FailureCode::NotSubscribed, "left before it was subscribed");
            host.event(ticket.session, Event::Failed(ticket.tag, failure));
        }
    }

    fn answer<H: Host<Principal = P>>(
        &mut self,
        channel: &ChannelName,
        ticket: Ticket,
        result: Result<Done, Failure>,
        host: &mut H,
    ) {
        let Some(session) = self.sessions.get(ticket.session) else { return };
        // Permission may have gone while the answer was on its way.
        let allowed = match &result {
            Ok(Done::History { .. }) => host.authorize(&session.principal, Action::History, channel),
            Ok(Done::Presence(..)) => host.authorize(&session.principal, Action::Presence, channel),
            _ => Ok(()),
        };
        match (allowed.and(result), ticket.tag) {
            (Ok(done), Some(tag)) => host.event(ticket.session, Event::Done(tag, done)),
            (Ok(_), None) => {}
            (Err(failure), tag) => host.event(ticket.session, Event::Failed(tag, failure)),
        }
    }

    /// Takes a session out of a channel's subscribers. Home hears of it if it has counted it; of one that is still being begun
    /// it hears when that is answered.
    fn leave(&mut self, key: SessionKey, id: SessionId, channel: &ChannelName) {
        let Some(edge) = self.edges.get_mut(channel) else { return };
        let Some(subscriber) = edge.remove(key) else { return };
        if subscriber.live {
            let ticket = Ticket { session: key, tag: None, serial: subscriber.serial };
            self.asks.push_back(Ask { channel: channel.clone(), ticket, what: AskWhat::Unsubscribe { who: id } });
        }
        if edge.is_empty() {
            self.edges.remove(channel);
        }
    }
}

/// Permission as it is now, for what a subscription begins with.
fn still_allowed<H: Host>(who: &H::Principal, channel: &ChannelName, begun: &Begun, host: &H) -> Result<(), Failure> {
    host.authorize(who, Action::Subscribe, channel)?;
    if !begun.items.is_empty() {
        host.authorize(who, Action::CatchUp, channel)?;
    }
    if begun.members.is_some() {
        host.authorize(who, Action::Presence, channel)?;
    }
    Ok(())
}

fn ensure(condition: bool, code: FailureCode, message: &'static str) -> Result<(), Failure> {
    if condition { Ok(()) } else { Err(Failure::new(code, message)) }
}
