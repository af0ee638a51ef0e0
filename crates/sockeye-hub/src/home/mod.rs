//! The channels that are at home at one worker.
mod channel;
mod keys;
mod log;
mod members;
mod pending;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::{
    Ask, ChannelInfo, ChannelName, Done, Epoch, Failure, FailureCode, HubOptions, Namespaces, Now, StoreReply,
    StoreRequest, Tell, Ticket, WorkerId,
    home::channel::Channel,
    wire::{AskWhat, Dice, TellWhat},
};

/// Where a home's words go.
pub(crate) trait Out {
    fn tell(&mut self, to: WorkerId, tell: Tell);
    fn store(&mut self, request: StoreRequest);
}

/// All channels that are at home here.
pub(crate) struct Homes {
    options: Arc<HubOptions>,
    namespaces: Arc<Namespaces>,
    /// Each in a piece of its own: what a table takes for those that there once were, it keeps.
    channels: HashMap<ChannelName, Box<Channel>>,
    /// When which channel wants to be looked at again; one entry each at most, [`Channel::due`] says which.
    due: BTreeSet<(Instant, ChannelName)>,
    /// Those that can make room for others, the one first that nobody has used for longest; [`Channel::spare_since`] says which.
    spare: BTreeSet<(Instant, ChannelName)>,
}

impl Homes {
    pub(crate) fn new(options: Arc<HubOptions>, namespaces: Arc<Namespaces>) -> Self {
        Self { options, namespaces, channels: HashMap::new(), due: BTreeSet::new(), spare: BTreeSet::new() }
    }

    /// Handles what a front asks.
    pub(crate) fn ask(&mut self, from: WorkerId, ask: Ask, now: Now, dice: &mut Dice, out: &mut impl Out) {
        let name = ask.channel.clone();
        if !self.channels.contains_key(&name) {
            match self.begin(&name, now, dice, out) {
                Ok(channel) => {
                    self.channels.insert(name.clone(), Box::new(channel));
                }
                Err(failure) => return refuse(from, ask, failure, out),
            }
        }
        if let Some(channel) = self.channels.get_mut(&name) {
            channel.ask(from, ask, now, out);
        }
        self.settle(&name, now);
    }

    /// Handles what the store says. A reply for a channel that is not here any more means nothing.
    pub(crate) fn stored(&mut self, reply: StoreReply, now: Now, out: &mut impl Out) {
        let (StoreReply::Loaded(name, _)
        | StoreReply::NotLoaded(name)
        | StoreReply::Appended(name, _)
        | StoreReply::NotAppended(name)) = &reply;
        let name = name.clone();
        if let Some(channel) = self.channels.get_mut(&name) {
            match reply {
                StoreReply::Loaded(_, loaded) => channel.loaded(loaded, now, out),
                StoreReply::NotLoaded(_) => channel.not_loaded(now, out),
                StoreReply::Appended(_, offset) => channel.appended(offset, now, out),
                StoreReply::NotAppended(_) => channel.not_appended(out),
            }
        }
        self.settle(&name, now);
    }

    /// Looks at every channel whose time has come.
    pub(crate) fn handle_timeout(&mut self, now: Now, out: &mut impl Out) {
        while let Some((at, name)) = self.due.first().cloned() {
            if at > now.instant {
                break;
            }
            self.due.pop_first();
            if let Some(channel) = self.channels.get_mut(&name) {
                channel.due = None;
                channel.handle_timeout(now, out);
            }
            self.settle(&name, now);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Those whose names begin so, in no order.
    pub(crate) fn infos<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = ChannelInfo> + 'a {
        self.channels
            .iter()
            .filter(move |(name, _)| name.as_str().starts_with(prefix))
            .map(|(_, channel)| channel.info())
    }

    fn begin(&mut self, name: &ChannelName, now: Now, dice: &mut Dice, out: &mut impl Out) -> Result<Channel, Failure> {
        let options = Arc::clone(self.namespaces.of(name).ok_or_else(no_namespace)?);
        if self.channels.len() >= self.options.channels && !self.make_room() {
            return Err(Failure::new(FailureCode::Limit, "the server holds as many channels as it may"));
        }
        Ok(Channel::new(name.clone(), options, Arc::clone(&self.options), Epoch(dice()), now, out))
    }

    /// Frees the channel that has been kept for its epoch alone for longest: so nobody can fill the server with names of
    /// channels that nobody is in.
    fn make_room(&mut self) -> bool {
        let Some((_, name)) = self.spare.first().cloned() else { return false };
        self.free(&name);
        true
    }

    /// Forgets a channel.
    fn free(&mut self, name: &ChannelName) {
        let Some(channel) = self.channels.remove(name) else { return };
        for (list, at) in [(&mut self.due, channel.due), (&mut self.spare, channel.spare_since)] {
            if let Some(at) = at {
                list.remove(&(at, name.clone()));
            }
        }
    }

    /// Frees a channel that nobody needs, and sees to it that the others are looked at in time.
    fn settle(&mut self, name: &ChannelName, now: Now) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let wanted = channel.wants(now);
        if channel.is_useless(now) {
            return self.free(name);
        }
        let spare_since = channel.is_spare().then_some(channel.idle_since);
        if spare_since != channel.spare_since {
            if let Some(since) = std::mem::replace(&mut channel.spare_since, spare_since) {
                self.spare.remove(&(since, name.clone()));
            }
            self.spare.extend(spare_since.map(|since| (since, name.clone())));
        }
        // Sooner is enough: when it is looked at it says anew what it wants.
        if let Some(at) = wanted.filter(|at| channel.due.is_none_or(|due| *at < due)) {
            if let Some(due) = channel.due.replace(at) {
                self.due.remove(&(due, name.clone()));
            }
            self.due.insert((at, name.clone()));
        }
    }
}

/// What a channel in a namespace that does not exist is answered with.
pub(crate) fn no_namespace() -> Failure {
    Failure::new(FailureCode::BadChannel, "there is no such namespace")
}

/// Answers what cannot be done.
fn refuse(to: WorkerId, ask: Ask, failure: Failure, out: &mut impl Out) {
    let Ask { channel, ticket, what } = ask;
    let what = match what {
        AskWhat::Subscribe { .. } => TellWhat::NotSubscribed(ticket, failure),
        AskWhat::Unsubscribe { .. } => return,
        AskWhat::Publish { .. } | AskWhat::Presence { .. } | AskWhat::History(_) => {
            TellWhat::Answer(ticket, Err(failure))
        }
    };
    out.tell(to, Tell { channel, what });
}

/// Answers what was asked with this ticket.
fn answer(to: WorkerId, channel: &ChannelName, ticket: Ticket, result: Result<Done, Failure>, out: &mut impl Out) {
    out.tell(to, Tell { channel: channel.clone(), what: TellWhat::Answer(ticket, result) });
}
