//! A client as ours are: it knows where it stands, goes on from there, and tries again what nobody answered.
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use sockeye_hub::{
    CatchUp, ChannelName, Done, Draft, Event, Failure, FailureCode, HistoryPage, Kind, Payload, Position, Publication,
    Request, SessionKey, Subscribe,
};
use sockeye_judge::{Item, Name, Path, Seen, fingerprint};

use crate::server::{Actor, Message};

/// For how long an attempt is repeated: less than a key is remembered.
const TRIES_FOR_MS: u64 = 200_000;

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) actor: Actor,
    pub(crate) connection: Option<Connection>,
    /// When it connects again.
    pub(crate) back_at: u64,
    subscriptions: BTreeMap<ChannelName, Subscription>,
    asked: BTreeMap<u64, Asked>,
    /// To be tried again, in order.
    retries: VecDeque<Attempt>,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) worker: usize,
    pub(crate) key: SessionKey,
    /// What is on its way to the server.
    pub(crate) commands: VecDeque<(u64, Request)>,
}

#[derive(Debug, Default)]
struct Subscription {
    /// Where it stands.
    position: Option<Position>,
    /// Up to where what comes was caught up.
    caught_until: u64,
    /// Whether it has been answered on this connection.
    live: bool,
}

#[derive(Debug)]
enum Asked {
    Subscribe(ChannelName),
    Unsubscribe(ChannelName),
    Publish(Attempt),
    History(ChannelName),
    Presence(ChannelName),
}

/// Something to be published, perhaps several times.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: u64,
    pub(crate) channel: ChannelName,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) conflate: Option<Arc<str>>,
    pub(crate) volatile: bool,
    pub(crate) no_echo: bool,
    pub(crate) first_at: u64,
}

impl Attempt {
    fn body(&self) -> Bytes {
        Bytes::from(format!(
            r#"{{"id":{},"text":"{}"}}"#,
            self.id,
            "x".repeat(usize::try_from(self.id % 40).unwrap_or(0))
        ))
    }

    fn seen(&self) -> Seen {
        Seen::Publishing {
            channel: name(&self.channel),
            id: self.id,
            body: fingerprint(&self.body()),
            key: self.key.clone(),
            volatile: self.volatile || !has_history(&self.channel),
            no_echo: self.no_echo,
        }
    }

    fn request(&self) -> Request {
        let draft = Draft {
            payload: Payload { kind: Kind::Json, bytes: self.body() },
            event: None,
            key: self.key.clone(),
            conflate: self.conflate.clone(),
            echo: !self.no_echo,
            volatile: self.volatile,
        };
        Request::Publish(self.channel.clone(), draft)
    }
}

fn has_history(channel: &ChannelName) -> bool {
    channel.namespace() != Some("live")
}

fn name(channel: &ChannelName) -> Name {
    channel.as_str().into()
}

fn judged(position: Position) -> sockeye_judge::Position {
    sockeye_judge::Position::new(position.epoch.to_string(), position.offset)
}

impl Client {
    pub(crate) fn new(actor: Actor) -> Self {
        let (subscriptions, asked, retries) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Self { actor, connection: None, back_at: 0, subscriptions, asked, retries }
    }

    pub(crate) fn waits_for_answers(&self) -> bool {
        !self.asked.is_empty() || !self.retries.is_empty()
    }

    pub(crate) fn is_subscribed(&self, channel: &ChannelName) -> bool {
        self.subscriptions.contains_key(channel)
    }

    /// Where it has subscribed, and nothing else is on its way about that.
    pub(crate) fn settled_channels(&self) -> Vec<ChannelName> {
        self.subscriptions.iter().filter(|(_, one)| one.live).map(|(channel, _)| channel.clone()).collect()
    }

    // --- what it does --------------------------------------------------------------------------------------------------

    /// It has a connection again: it goes on where it was, and tries again what was not answered.
    pub(crate) fn connected(&mut self, worker: usize, key: SessionKey, at: u64, tag: &mut u64) -> Vec<Seen> {
        self.connection = Some(Connection { worker, key, commands: VecDeque::new() });
        let mut seen = Vec::new();
        for channel in self.subscriptions.keys().cloned().collect::<Vec<_>>() {
            let since = self.subscriptions.get(&channel).and_then(|one| one.position);
            seen.extend(self.subscribe(channel, since, None, false, tag));
        }
        for attempt in std::mem::take(&mut self.retries) {
            if at < attempt.first_at + TRIES_FOR_MS {
                seen.extend(self.publish(attempt, tag));
            }
        }
        seen
    }

    pub(crate) fn subscribe(
        &mut self,
        channel: ChannelName,
        since: Option<Position>,
        last: Option<usize>,
        seen_as: bool,
        tag: &mut u64,
    ) -> Option<Seen> {
        let seen = Seen::Subscribing {
            channel: name(&channel),
            since: since.map(judged),
            last: last.map(|count| count as u64),
        };
        let catch_up = match (since, last) {
            (Some(position), _) => CatchUp::Since(position),
            (None, Some(count)) => CatchUp::Last(count),
            (None, None) => CatchUp::None,
        };
        let shown_as = seen_as.then(|| Bytes::from_static(b"{}"));
        let subscribe = Subscribe { catch_up, shown_as, members: seen_as, echo: true };
        self.subscriptions.entry(channel.clone()).or_default().live = false;
        self.ask(Asked::Subscribe(channel.clone()), Request::Subscribe(channel, subscribe), tag)?;
        Some(seen)
    }

    pub(crate) fn unsubscribe(&mut self, channel: ChannelName, tag: &mut u64) -> Option<Seen> {
        self.subscriptions.get_mut(&channel)?.live = false;
        self.ask(Asked::Unsubscribe(channel.clone()), Request::Unsubscribe(channel), tag)?;
        None
    }

    pub(crate) fn publish(&mut self, attempt: Attempt, tag: &mut u64) -> Option<Seen> {
        let (seen, request) = (attempt.seen(), attempt.request());
        self.ask(Asked::Publish(attempt), request, tag)?;
        Some(seen)
    }

    pub(crate) fn read_history(&mut self, channel: ChannelName, reverse: bool, tag: &mut u64) -> Option<Seen> {
        let one_already = self.asked.values().any(|asked| matches!(asked, Asked::History(other) if *other == channel));
        if one_already {
            return None;
        }
        let seen = Seen::ReadingHistory { channel: name(&channel), since: None, reverse };
        let page = HistoryPage { since: None, limit: 100, reverse };
        self.ask(Asked::History(channel.clone()), Request::History(channel, page), tag)?;
        Some(seen)
    }

    pub(crate) fn ask_presence(&mut self, channel: ChannelName, tag: &mut u64) -> Option<Seen> {
        self.ask(Asked::Presence(channel.clone()), Request::Presence(channel, 100), tag)?;
        None
    }

    fn ask(&mut self, asked: Asked, request: Request, tag: &mut u64) -> Option<()> {
        let connection = self.connection.as_mut()?;
        *tag += 1;
        connection.commands.push_back((*tag, request));
        self.asked.insert(*tag, asked);
        Some(())
    }

    /// Its connection is gone. What was not answered, nobody knows.
    pub(crate) fn disconnected(&mut self, back_at: u64) -> Vec<Seen> {
        self.connection = None;
        self.back_at = back_at;
        let mut seen = Vec::new();
        for asked in std::mem::take(&mut self.asked).into_values() {
            match asked {
                Asked::Publish(attempt) => {
                    seen.push(Seen::Unknown { id: attempt.id });
                    self.try_again(attempt);
                }
                // What it wanted to leave it has left.
                Asked::Unsubscribe(channel) => drop(self.subscriptions.remove(&channel)),
                Asked::Subscribe(_) | Asked::History(_) | Asked::Presence(_) => {}
            }
        }
        for subscription in self.subscriptions.values_mut() {
            subscription.live = false;
        }
        seen.push(Seen::Disconnected);
        seen
    }

    fn try_again(&mut self, attempt: Attempt) {
        if attempt.key.is_some() && !attempt.volatile {
            self.retries.push_back(attempt);
        }
    }

    /// While connected: what was answered with "nobody knows" is tried again.
    pub(crate) fn retry(&mut self, at: u64, tag: &mut u64) -> Option<Seen> {
        self.connection.as_ref()?;
        let attempt = self.retries.pop_front()?;
        if at < attempt.first_at + TRIES_FOR_MS { self.publish(attempt, tag) } else { None }
    }

    // --- what it is told -----------------------------------------------------------------------------------------------

    /// Takes a message. `None` if it says that the connection is about to end.
    pub(crate) fn take(&mut self, message: Message) -> Option<Vec<Seen>> {
        match message {
            Message::Publication(publication, own) => Some(self.publication(&publication, own)),
            Message::Event(Event::Closing(_)) => None,
            Message::Event(event) => Some(self.event(event).into_iter().collect()),
        }
    }

    fn publication(&mut self, publication: &Publication, own: bool) -> Vec<Seen> {
        let channel = name(&publication.channel);
        let mut path = Path::Live;
        if let Some(subscription) = self.subscriptions.get_mut(&publication.channel) {
            if publication.position.is_some() {
                subscription.position = publication.position;
            }
            if publication.position.is_some_and(|position| position.offset <= subscription.caught_until) {
                path = Path::CatchUp;
            }
        }
        let position = publication.position.map(judged);
        if own {
            return position.map(|position| Seen::Skipped { channel, position }).into_iter().collect();
        }
        let (id, body) = read(&publication.payload.bytes);
        vec![Seen::Delivered { channel, position, id, body, path }]
    }

    fn event(&mut self, event: Event) -> Option<Seen> {
        match event {
            Event::Done(tag, done) => {
                let asked = self.asked.remove(&tag)?;
                self.done(asked, done)
            }
            Event::Failed(tag, failure) => {
                let asked = self.asked.remove(&tag?)?;
                self.failed(asked, &failure)
            }
            Event::Changed(change) => Some(Seen::Presence { channel: name(&change.channel) }),
            Event::Lost(channel, Some(position), reason) => {
                if let Some(subscription) = self.subscriptions.get_mut(&channel) {
                    subscription.position = Some(position);
                }
                let reason = Some(format!("{reason:?}").into());
                Some(Seen::Lost { channel: name(&channel), position: judged(position), reason })
            }
            Event::Ended(channel, _) => {
                self.subscriptions.remove(&channel);
                Some(Seen::Ended { channel: name(&channel) })
            }
            _ => None,
        }
    }

    fn done(&mut self, asked: Asked, done: Done) -> Option<Seen> {
        match (asked, done) {
            (Asked::Subscribe(channel), Done::Subscribed { position, catch_up, recovered, .. }) => {
                let subscription = self.subscriptions.get_mut(&channel)?;
                subscription.live = true;
                subscription.caught_until = position.map_or(0, |position| position.offset);
                subscription.position = position.map(|Position { epoch, offset }| Position {
                    epoch,
                    offset: offset.saturating_sub(catch_up as u64),
                });
                Some(Seen::Subscribed {
                    channel: name(&channel),
                    position: position.map(judged),
                    recovered,
                    catch_up: position.map(|_| catch_up as u64),
                })
            }
            (Asked::Unsubscribe(channel), Done::Unsubscribed) => {
                self.subscriptions.remove(&channel);
                Some(Seen::Unsubscribed { channel: name(&channel) })
            }
            (Asked::Publish(attempt), Done::Published(position)) => {
                Some(Seen::Published { id: attempt.id, position: position.map(judged) })
            }
            (Asked::History(channel), Done::History { position, items, more }) => {
                let items = items.iter().map(|item| {
                    let (id, body) = read(&item.payload.bytes);
                    Item { offset: item.offset(), id, body }
                });
                let (channel, position) = (name(&channel), judged(position));
                Some(Seen::HistoryPage { channel, position, items: items.collect(), more })
            }
            (Asked::Presence(channel), Done::Presence(..)) => Some(Seen::Presence { channel: name(&channel) }),
            (asked, done) => panic!("{asked:?} was answered with {done:?}"),
        }
    }

    fn failed(&mut self, asked: Asked, failure: &Failure) -> Option<Seen> {
        match asked {
            Asked::Subscribe(channel) => {
                self.subscriptions.remove(&channel);
                Some(Seen::Ended { channel: name(&channel) })
            }
            Asked::Publish(attempt) if failure.code == FailureCode::Unavailable => {
                let id = attempt.id;
                self.try_again(attempt);
                Some(Seen::Unknown { id })
            }
            Asked::Publish(attempt) => Some(Seen::Refused { id: attempt.id }),
            // What could not be ended the server had ended before; it may have been asked for anew since.
            Asked::Unsubscribe(_) | Asked::History(_) | Asked::Presence(_) => None,
        }
    }
}

/// The id that stands in a body, and its fingerprint.
fn read(body: &[u8]) -> (u64, u64) {
    let text = String::from_utf8_lossy(body);
    let digits = text.split_once(r#""id":"#).map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    (digits.flatten().and_then(|digits| digits.parse().ok()).unwrap_or(0), fingerprint(body))
}
