//! One subscription: where it stands, and what waits for its reader.
use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::{
    Error, Event, Limits, LostReason, Member, Position,
    wire::{self, Subscribed, Violation},
};

/// What the program asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) since: Option<Position>,
    pub(crate) last: Option<u32>,
    pub(crate) info: Option<Box<RawValue>>,
    pub(crate) members: Option<bool>,
    pub(crate) echo: Option<bool>,
}

/// ```text
///            asked for          the reply
///  Wanted ───────────▶ Asked ─────────────▶ Live ──── ended ───▶ Ended
///    ▲ ▲                 │ refused for now   │ │
///    │ └──── Resting ◀───┴───────────────────┘ │ the reader is behind
///    │       (a pause is over)                 ▼
///    └── a hole, a new connection ◀───────── Paused
///                                  (the reader reads again)
/// ```
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Wanted,
    Asked {
        id: u64,
    },
    Live,
    Paused,
    /// Until its timer says that it may ask again.
    Resting,
    Ended,
}

/// What waits for the reader.
#[derive(Debug)]
pub(crate) enum Item {
    Event(Event),
    /// All members, after they had been lost from sight.
    Members(Vec<Member>),
}

/// What has to follow something that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    /// The channel is to be asked again, from where this stands.
    AskAgain,
    /// The reader is behind; nothing more is wanted until it reads.
    Pause,
}

pub(super) type Opened = oneshot::Sender<Result<Vec<Member>, Error>>;

pub(super) struct Channel {
    pub(super) name: Arc<str>,
    pub(super) phase: Phase,
    /// For who waits for the first reply.
    pub(super) opened: Option<Opened>,
    /// Refusals in a row.
    pub(super) refusals: u32,
    wish: Wish,
    /// Behind the last event that was queued.
    stands: Option<Position>,
    /// Behind the last event that was read.
    read: Option<Position>,
    /// Why something may be missing in a channel without history, from which nothing can be caught up.
    gap: LostReason,
    holes: u32,
    queue: VecDeque<Item>,
    queued_bytes: usize,
    waker: Option<Waker>,
}

impl Channel {
    pub(super) fn new(name: Arc<str>, wish: Wish, opened: Opened) -> Self {
        let stands = wish.since.clone();
        Self {
            name,
            phase: Phase::Wanted,
            opened: Some(opened),
            refusals: 0,
            wish,
            read: stands.clone(),
            stands,
            gap: LostReason::Disconnected,
            holes: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            waker: None,
        }
    }

    /// The command that asks for it, from where it stands.
    pub(super) fn command(&self) -> Result<String, Error> {
        let Wish { last, info, members, echo, .. } = &self.wish;
        // What came before is no news to a subscription that had begun.
        let last = last.filter(|_| self.stands.is_none() && self.opened.is_some());
        let since = self.stands.as_ref();
        let info = info.as_deref();
        wire::body(&wire::Subscribe { subscribe: &self.name, since, last, info, members: *members, echo: *echo })
    }

    /// The server answered; from here on what it says of this channel counts.
    pub(super) fn open(&mut self, reply: Subscribed, limits: &Limits) -> Result<(), Violation> {
        let Subscribed { epoch, offset, catch_up, recovered, members } = reply;
        let is_first = self.opened.is_some();
        let since = self.stands.take();
        self.stands = match (epoch, offset) {
            (Some(epoch), Some(newest)) => {
                let start = newest.checked_sub(catch_up).ok_or("more to catch up than there is")?;
                Some(self.resume(since, Position { epoch, offset: start }, newest, recovered, is_first))
            }
            (None, None) => {
                if since.is_some() || !is_first {
                    let reason = if since.is_some() { LostReason::History } else { self.gap };
                    self.lose(since, None, reason);
                }
                None
            }
            _ => return Err("an epoch without an offset, or an offset without an epoch".into()),
        };
        self.phase = Phase::Live;
        self.refusals = 0;
        self.gap = LostReason::Disconnected;
        self.see(members, limits);
        self.wake();
        Ok(())
    }

    /// Where the subscription goes on, after `start` at the server.
    fn resume(
        &mut self,
        since: Option<Position>,
        start: Position,
        newest: u64,
        recovered: Option<bool>,
        is_first: bool,
    ) -> Position {
        let Some(since) = since else {
            if is_first {
                self.read = Some(start.clone());
            } else {
                self.lose(None, Some(start.clone()), self.gap);
            }
            return start;
        };
        let is_same = since.epoch == start.epoch;
        // A server whose newest is older than what it once gave has gone back: what comes now is not what came then.
        let has_gone_back = is_same && since.offset > newest;
        if is_same && !has_gone_back && start.offset <= since.offset && recovered != Some(false) {
            return since;
        }
        let reason = match (is_same, has_gone_back) {
            (false, _) => LostReason::Epoch,
            (true, true) => LostReason::Store,
            (true, false) => LostReason::History,
        };
        self.lose(Some(since), Some(start.clone()), reason);
        start
    }

    fn see(&mut self, members: Option<Vec<Member>>, limits: &Limits) {
        let mut members = members.unwrap_or_default();
        members.truncate(limits.max_members);
        if let Some(opened) = self.opened.take() {
            // Who waited may be gone; then the subscription is ended by its handle.
            let _ = opened.send(Ok(members));
        } else if self.sees_members() {
            // One list replaces another: at most one waits, however often the channel is asked for.
            self.queue.retain(|item| !matches!(item, Item::Members(_)));
            self.queue.push_back(Item::Members(members));
        }
    }

    /// A publication, or with no event one of this client's own that it did not want back.
    pub(super) fn publication(&mut self, offset: Option<u64>, event: Option<Event>, limits: &Limits) -> Next {
        let (Some(offset), Some(stands)) = (offset, &self.stands) else {
            return event.map_or(Next::GoOn, |event| self.push(event, limits));
        };
        if offset <= stands.offset {
            return Next::GoOn;
        }
        if stands.offset.checked_add(1) != Some(offset) {
            if self.holes < limits.max_holes {
                self.holes += 1;
                return Next::AskAgain;
            }
            let from = stands.clone();
            let to = Position { epoch: from.epoch.clone(), offset: offset - 1 };
            self.lost(to, LostReason::Hole);
        }
        let next = event.map_or(Next::GoOn, |event| self.push(event, limits));
        if next == Next::GoOn {
            self.holes = 0;
            if let Some(stands) = &mut self.stands {
                stands.offset = offset;
            }
        }
        next
    }

    /// Queues an event, if there is room; else the subscription has to pause.
    pub(super) fn push(&mut self, event: Event, limits: &Limits) -> Next {
        let is_full = self.queue.len() >= limits.max_events || self.queued_bytes >= limits.max_event_bytes;
        if is_full && !self.queue.is_empty() {
            return Next::Pause;
        }
        self.queue(event);
        self.wake();
        Next::GoOn
    }

    fn queue(&mut self, event: Event) {
        if self.queue.is_empty() {
            self.catch_up_read();
        }
        self.queued_bytes += size(&event);
        self.queue.push_back(Item::Event(event));
    }

    /// With nothing to read the reader stands where the subscription does, which bare positions move on.
    fn catch_up_read(&mut self) {
        match (&mut self.read, &self.stands) {
            (Some(read), Some(stands)) if read.epoch == stands.epoch => read.offset = stands.offset,
            (read, stands) => read.clone_from(stands),
        }
    }

    /// What follows comes after `to`.
    pub(super) fn lost(&mut self, to: Position, reason: LostReason) {
        let from = self.stands.replace(to.clone());
        self.lose(from, Some(to), reason);
        self.wake();
    }

    /// Always finds room: losses with nothing between them are one, so there are no more of them than of other events.
    fn lose(&mut self, since: Option<Position>, until: Option<Position>, why: LostReason) {
        if let Some(Item::Event(Event::Lost { to, reason, .. })) = self.queue.back_mut() {
            (*to, *reason) = (until, why);
            return;
        }
        // The reader had read all there was before `since`, if nothing waits.
        if self.queue.is_empty() {
            self.read.clone_from(&since);
        }
        let event = Event::Lost { from: since, to: until, reason: why };
        self.queued_bytes += size(&event);
        self.queue.push_back(Item::Event(event));
    }

    /// The connection is gone, and the subscription with it.
    pub(super) fn disconnect(&mut self) {
        if matches!(self.phase, Phase::Asked { .. } | Phase::Live | Phase::Resting) {
            self.phase = Phase::Wanted;
        }
    }

    pub(super) fn pause(&mut self) {
        self.phase = Phase::Paused;
        self.gap = LostReason::Slow;
    }

    /// Nothing follows what is queued, but word of why if it was not the program's wish.
    pub(super) fn end(&mut self, why: Option<Error>) {
        if mem::replace(&mut self.phase, Phase::Ended) == Phase::Ended {
            return;
        }
        if let Some(opened) = self.opened.take() {
            let _ = opened.send(Err(why.unwrap_or_else(Error::closed)));
        } else if let Some(why) = why {
            self.queue.push_back(Item::Event(Event::Ended { why }));
        }
        self.wake();
    }

    /// The next for the reader; `None` at the end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let Some(item) = self.queue.pop_front() else {
            if self.phase == Phase::Ended {
                return Poll::Ready(None);
            }
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if let Item::Event(event) = &item {
            self.queued_bytes = self.queued_bytes.saturating_sub(size(event));
            match (event, &mut self.read) {
                (Event::Publication(publication), Some(read)) => {
                    read.offset = publication.offset.unwrap_or(read.offset);
                }
                (Event::Lost { to, .. }, read) => read.clone_from(to),
                _ => {}
            }
        }
        Poll::Ready(Some(item))
    }

    /// A pause is over when half of what may wait has been read.
    pub(super) fn can_resume(&self, limits: &Limits) -> bool {
        self.phase == Phase::Paused
            && self.queue.len() <= limits.max_events / 2
            && self.queued_bytes <= limits.max_event_bytes / 2
    }

    /// Behind what was read, or what need not be read.
    pub(super) fn position(&self) -> Option<Position> {
        if self.queue.is_empty() { self.stands.clone() } else { self.read.clone() }
    }

    fn sees_members(&self) -> bool {
        self.wish.members.unwrap_or(self.wish.info.is_some())
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// What an event counts for in [`Limits::max_event_bytes`].
fn size(event: &Event) -> usize {
    const OVERHEAD: usize = 64;
    let len = match event {
        Event::Publication(publication) => {
            let from = publication.from.as_ref();
            let from = from.map_or(0, |from| from.session.len() + from.user.as_ref().map_or(0, String::len));
            publication.data.len() + publication.event.as_ref().map_or(0, String::len) + from
        }
        Event::Joined(member) | Event::Left(member) => member.len(),
        Event::Lost { from, to, .. } => [from, to].into_iter().flatten().map(|position| position.epoch.len()).sum(),
        Event::Ended { .. } => 0,
    };
    len + OVERHEAD
}
