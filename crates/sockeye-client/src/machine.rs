//! The client as a value: what the program wants and what the server says go in, with the time; commands for the server
//! and news for the program come out. It does no I/O, reads no clock and rolls no dice.
//!
//! ```text
//!           connected           `connect` said            answered
//!  Down ──────────────▶ Fresh ────────────────▶ Greeting ──────────▶ Open
//!   ▲                                               │ refused, late    │ bye, a violation
//!   └────────────── disconnected ◀──────────────────┴─── Leaving ◀─────┘
//! ```
//!
//! What the program wants of channels is compared with what the server was told (`held`), and the difference is sent;
//! so however often the program changes its mind, or the connection is lost, what waits to be said is one word a
//! channel.
mod channel;
mod hear;
mod requests;
mod say;
#[cfg(test)]
mod tests;
mod timers;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use sockeye::{
    Backoff, CloseCode, Party,
    reconnect::{Disconnect, Retry},
};
use tokio::sync::oneshot;

use self::{
    channel::{Channel, Opened, Phase},
    requests::Requests,
    timers::Timers,
};
pub(crate) use self::{
    channel::{Item, Wish},
    requests::{Answer, Kind},
};
use crate::{Error, Limits, Position, State, wire};

/// What the driver is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send this.
    Send(String),
    /// Close this connection; another may follow.
    Close(CloseCode, String),
    /// Close for good.
    Finish,
}

/// From 0 to 1.
pub(crate) type Dice = Box<dyn FnMut() -> f64 + Send>;

pub(crate) struct Machine {
    limits: Limits,
    backoff: Backoff,
    dice: Dice,
    link: Link,
    token: Token,
    /// What the driver is to do first.
    urgent: Option<Output>,
    fate: Fate,
    bye: Option<Bye>,
    /// Of requests, asks and channels. Never used twice.
    next_id: u64,
    requests: Requests,
    channels: HashMap<u64, Channel>,
    names: HashMap<Arc<str>, u64>,
    /// The channels which the server was asked for, and not yet asked to leave.
    held: HashSet<Arc<str>>,
    /// The channels about which something may have to be said.
    dirty: BTreeSet<Arc<str>>,
    asks: HashMap<u64, Ask>,
    leaving: HashMap<Arc<str>, Vec<oneshot::Sender<()>>>,
    timers: Timers<Timer>,
    state: State,
    /// The state is news.
    is_state_new: bool,
}

/// Whether another connection may follow.
#[derive(Clone, Debug)]
enum Fate {
    Open,
    /// None will, as the program wishes.
    Wished,
    /// None will, and this is why.
    Failed(Error),
}

#[derive(Debug, PartialEq, Eq)]
enum Link {
    Down,
    Fresh,
    Greeting,
    Open,
    /// Nothing more is sent; what comes still counts after `bye`, but not after a violation.
    Leaving {
        is_trusted: bool,
    },
}

/// What was asked on the client's own account.
enum Ask {
    Connect,
    Refresh,
    Subscribe(u64),
    Unsubscribe(Vec<oneshot::Sender<()>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    /// The server has said bye.
    Bye,
    /// An ask is not answered.
    Ask(u64),
    /// Somebody waits for a subscription to begin.
    Begin(u64),
    /// The channel may be asked for again.
    Rest(u64),
}

#[derive(Debug)]
struct Bye {
    code: u16,
    reason: String,
    retry_after: Option<Duration>,
}

#[derive(Debug, Default)]
struct Token {
    value: Option<String>,
    has_source: bool,
    is_wanted: bool,
    /// A new one is to be told.
    is_due: bool,
    asked_at: Option<Instant>,
}

impl Machine {
    pub(crate) fn new(limits: Limits, backoff: Backoff, has_source: bool, dice: Dice) -> Self {
        Self {
            limits,
            backoff,
            dice,
            link: Link::Down,
            token: Token { has_source, ..Token::default() },
            urgent: None,
            fate: Fate::Open,
            bye: None,
            next_id: 1,
            requests: Requests::default(),
            channels: HashMap::new(),
            names: HashMap::new(),
            held: HashSet::new(),
            dirty: BTreeSet::new(),
            asks: HashMap::new(),
            leaving: HashMap::new(),
            timers: Timers::new(),
            state: State::Connecting,
            is_state_new: false,
        }
    }

    // --- what the program wants ----------------------------------------------------------------

    /// `body` is the command without its id.
    pub(crate) fn request(
        &mut self,
        body: &str,
        kind: Kind,
        timeout: Duration,
        now: Instant,
    ) -> Result<(u64, oneshot::Receiver<Answer>), Error> {
        self.check_open()?;
        if kind == Kind::Volatile && self.link != Link::Open {
            return Err(Error::disconnected(false));
        }
        let id = self.id();
        let deadline = after(now, timeout);
        let answer = self.requests.insert(id, wire::with_id(id, body), kind, deadline, &self.limits)?;
        Ok((id, answer))
    }

    pub(crate) fn cancel(&mut self, request: u64) {
        self.requests.cancel(request);
    }

    pub(crate) fn subscribe(&mut self, name: &str, wish: Wish, opened: Opened, now: Instant) -> Result<u64, Error> {
        self.check_open()?;
        if self.names.contains_key(name) {
            return Err(Error::already_subscribed());
        }
        let name: Arc<str> = name.into();
        let channel = Channel::new(Arc::clone(&name), wish, opened);
        if channel.command()?.len() > self.limits.max_command {
            return Err(Error::too_big());
        }
        let serial = self.id();
        self.channels.insert(serial, channel);
        self.names.insert(Arc::clone(&name), serial);
        self.dirty.insert(name);
        self.timers.set(Timer::Begin(serial), after(now, self.limits.request_timeout));
        Ok(serial)
    }

    /// The receiver hears of it when the server has left the channel, or is gone.
    pub(crate) fn unsubscribe(&mut self, serial: u64) -> Option<oneshot::Receiver<()>> {
        let channel = self.channels.remove(&serial)?;
        self.timers.clear(Timer::Begin(serial));
        self.timers.clear(Timer::Rest(serial));
        // One that was over has nothing to leave; the channel may be another's by now.
        if self.names.get(&channel.name) != Some(&serial) {
            return None;
        }
        self.names.remove(&channel.name);
        if !self.held.contains(&channel.name) {
            return None;
        }
        let (left, receiver) = oneshot::channel();
        self.leaving.entry(Arc::clone(&channel.name)).or_default().push(left);
        self.dirty.insert(channel.name);
        Some(receiver)
    }

    /// The next of a subscription; the flag says that the server is to hear that its reader reads again.
    pub(crate) fn poll_next(&mut self, serial: u64, cx: &mut Context<'_>) -> (Poll<Option<Item>>, bool) {
        let Some(channel) = self.channels.get_mut(&serial) else { return (Poll::Ready(None), false) };
        let item = channel.poll_next(cx);
        let resumes = channel.can_resume(&self.limits);
        if resumes {
            channel.phase = Phase::Wanted;
            self.dirty.insert(Arc::clone(&channel.name));
        }
        (item, resumes)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.is_closed()
    }

    pub(crate) fn position(&self, serial: u64) -> Option<Position> {
        self.channels.get(&serial)?.position()
    }

    /// The end, because the program wishes it.
    pub(crate) fn close(&mut self) {
        if matches!(self.fate, Fate::Open) {
            self.finish(Fate::Wished);
        }
    }

    // --- what the driver tells -----------------------------------------------------------------

    pub(crate) fn handle_connected(&mut self) {
        self.link = Link::Fresh;
        self.bye = None;
        self.tell(State::Connecting);
    }

    /// What is to follow a disconnect.
    pub(crate) fn verdict(&mut self, why: &Disconnect) -> Retry {
        match why {
            Disconnect::Failed(error) => {
                let retry = why.retry();
                if retry == Retry::Never && matches!(self.fate, Fate::Open) {
                    self.fate = Fate::Failed(Error::transport(error.clone()));
                }
                if matches!(self.fate, Fate::Open) { retry } else { Retry::Never }
            }
            Disconnect::Closed(outcome) if outcome.initiator() == Party::Remote => {
                self.judge(Some((outcome.code(), outcome.reason())))
            }
            _ => self.judge(None),
        }
    }

    /// What is to follow a connection that the server has closed so, or that broke.
    fn judge(&mut self, closed: Option<(u16, &str)>) -> Retry {
        let bye = self.bye.take();
        if !matches!(self.fate, Fate::Open) {
            return Retry::Never;
        }
        match closed.or_else(|| bye.as_ref().map(|bye| (bye.code, bye.reason.as_str()))) {
            Some((code @ FINAL_FIRST..=FINAL_LAST, reason)) => {
                self.fate = Fate::Failed(Error::closed_by_server(code, reason));
                Retry::Never
            }
            _ => bye.and_then(|bye| bye.retry_after).map_or(Retry::Backoff, Retry::AtLeast),
        }
    }

    /// The connection is gone, or could not be made.
    pub(crate) fn handle_disconnected(&mut self, why: String, retry_in: Duration) {
        self.go_down();
        self.tell(State::Waiting { why, retry_in });
    }

    /// There will be no other connection.
    pub(crate) fn handle_over(&mut self, error: Option<sockeye::Error>) {
        self.go_down();
        if matches!(self.fate, Fate::Open) {
            // Without a word of why it is the driver's task that ended.
            self.fate = Fate::Failed(error.map_or_else(Error::closed, Error::transport));
        }
        let why = if let Fate::Failed(why) = &self.fate { Some(why.clone()) } else { None };
        self.requests.end(why.as_ref().unwrap_or(&Error::closed()));
        for channel in self.channels.values_mut() {
            channel.end(why.clone());
        }
        self.names.clear();
        self.dirty.clear();
        self.timers.retain(|_| false);
        self.urgent = None;
        self.tell(State::Closed { error: why });
    }

    /// The state, if it is another than when this was asked last.
    pub(crate) fn take_state(&mut self) -> Option<State> {
        mem::take(&mut self.is_state_new).then(|| self.state.clone())
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.requests.deadline()].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.requests.expire(now);
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Bye => self.leave(CloseCode::NORMAL, "bye".into()),
                Timer::Ask(id) => self.ask_is_late(id, now),
                Timer::Begin(serial) => self.end_channel(serial, Error::timeout(false)),
                Timer::Rest(serial) => self.want(serial),
            }
        }
    }

    pub(crate) fn set_token(&mut self, token: String) {
        self.token.value = Some(token);
    }

    /// Whether the server wants a fresh token. It is asked once.
    pub(crate) fn take_token_wish(&mut self) -> bool {
        mem::take(&mut self.token.is_wanted)
    }

    /// A fresh token for the connection there is.
    pub(crate) fn refresh(&mut self, token: String) {
        self.token.value = Some(token);
        self.token.is_due = self.link == Link::Open;
    }

    // --- what follows --------------------------------------------------------------------------

    /// The channel is asked for again after a while.
    fn rest(&mut self, serial: u64, at_least: Option<Duration>, now: Instant) {
        let Some(channel) = self.channels.get_mut(&serial) else { return };
        channel.phase = Phase::Resting;
        let window = self.backoff.base.saturating_mul(2_u32.saturating_pow(channel.refusals)).min(self.backoff.max);
        channel.refusals = channel.refusals.saturating_add(1);
        let at_least = at_least.unwrap_or_default().min(self.limits.max_retry_after);
        let wait = at_least.saturating_add(window.mul_f64((self.dice)()));
        self.timers.set(Timer::Rest(serial), after(now, wait));
    }

    fn want(&mut self, serial: u64) {
        let Some(channel) = self.channels.get_mut(&serial) else { return };
        if channel.phase == Phase::Resting {
            channel.phase = Phase::Wanted;
            self.dirty.insert(Arc::clone(&channel.name));
        }
    }

    /// The subscription is over; its handle may still read what waits.
    fn end_channel(&mut self, serial: u64, why: Error) {
        let Some(channel) = self.channels.get_mut(&serial) else { return };
        channel.end(Some(why));
        self.names.remove(&channel.name);
        self.dirty.insert(Arc::clone(&channel.name));
        self.timers.clear(Timer::Begin(serial));
        self.timers.clear(Timer::Rest(serial));
    }

    /// Closes this connection, and believes nothing more that comes from it.
    fn leave(&mut self, code: CloseCode, why: String) {
        self.link = Link::Leaving { is_trusted: false };
        if matches!(self.fate, Fate::Open) {
            self.urgent = Some(Output::Close(code, why));
        }
    }

    fn finish(&mut self, fate: Fate) {
        self.fate = fate;
        self.urgent = Some(Output::Finish);
        if self.link != Link::Down {
            self.link = Link::Leaving { is_trusted: false };
        }
    }

    fn go_down(&mut self) {
        self.link = Link::Down;
        self.urgent.take_if(|urgent| *urgent != Output::Finish);
        self.token.is_due = false;
        self.asks.clear();
        self.held.clear();
        self.leaving.clear();
        self.timers.retain(|timer| matches!(timer, Timer::Begin(_)));
        self.requests.disconnect(&self.limits);
        self.dirty.clear();
        for channel in self.channels.values_mut() {
            channel.disconnect();
            if channel.phase == Phase::Wanted {
                self.dirty.insert(Arc::clone(&channel.name));
            }
        }
    }

    fn tell(&mut self, state: State) {
        self.state = state;
        self.is_state_new = true;
    }

    fn check_open(&self) -> Result<(), Error> {
        match &self.fate {
            Fate::Open => Ok(()),
            Fate::Wished => Err(Error::closed()),
            Fate::Failed(why) => Err(why.clone()),
        }
    }

    fn id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

/// Close codes from here...
const FINAL_FIRST: u16 = 4000;
/// ...to here say that coming back is of no use.
const FINAL_LAST: u16 = 4099;

/// A time so far away that the clock cannot name it is as good as a century.
fn after(now: Instant, wait: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now.checked_add(wait).unwrap_or(now + CENTURY)
}
