//! One reader in one channel: where it is, and what it tells the judge.
use std::sync::Arc;

use serde_json::value::RawValue;
use sockeye_judge::{Name, Path, Position, Seen};
use tokio::sync::watch;

use crate::{
    record::Recorder,
    talk::{Done, Gap, recognise},
    transport::{Tally, Transport},
};

pub(crate) struct Followed {
    actor: u32,
    channel: Name,
    recorder: Recorder,
    tally: Arc<Tally>,
    position: Option<Position>,
    /// The newest when the subscription began: what comes up to there is caught up.
    head: u64,
    /// How far it is, for those who wait for the end.
    offset: watch::Sender<u64>,
}

impl Followed {
    pub(crate) fn new(actor: u32, channel: &str, recorder: &Recorder, tally: &Arc<Tally>) -> Self {
        let (recorder, tally) = (recorder.clone(), Arc::clone(tally));
        Self { actor, channel: channel.into(), recorder, tally, position: None, head: 0, offset: watch::Sender::new(0) }
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    pub(crate) fn offset(&self) -> watch::Receiver<u64> {
        self.offset.subscribe()
    }

    /// It is about to subscribe, from where it is.
    pub(crate) fn subscribing(&self) -> Option<Position> {
        let since = self.position.clone();
        self.saw(Seen::Subscribing { channel: self.channel.clone(), since: since.clone(), last: None });
        since
    }

    pub(crate) fn subscribed(&mut self, by: Transport, done: &Done) {
        let went_on = self.position.is_some();
        let position = done.position();
        let catch_up = done.catch_up.unwrap_or(0);
        self.saw(Seen::Subscribed {
            channel: self.channel.clone(),
            position: position.clone(),
            recovered: done.recovered,
            catch_up: Some(catch_up),
        });
        self.tally.count(by, |counts| {
            counts.recovered += u64::from(went_on && done.recovered == Some(true));
            counts.told += u64::from(went_on && done.recovered != Some(true));
        });
        if let Some(Position { epoch, offset }) = position {
            self.head = offset;
            self.is_at(Position { epoch, offset: offset.saturating_sub(catch_up) });
        }
    }

    pub(crate) fn publication(&mut self, by: Transport, offset: Option<u64>, data: &RawValue) {
        let (id, body) = recognise(data);
        let is_caught_up = offset.is_some_and(|offset| offset <= self.head);
        let path = if is_caught_up { Path::CatchUp } else { Path::Live };
        let epoch = self.position.as_ref().map_or_else(|| "".into(), |position| position.epoch.clone());
        let position = offset.map(|offset| Position { epoch, offset });
        self.saw(Seen::Delivered { channel: self.channel.clone(), position: position.clone(), id, body, path });
        self.tally.count(by, |counts| {
            counts.heard += 1;
            counts.caught_up += u64::from(is_caught_up);
        });
        if let Some(position) = position {
            self.is_at(position);
        }
    }

    pub(crate) fn lost(&mut self, by: Transport, gap: &Gap) {
        let position = Position::new(gap.epoch.as_str(), gap.offset);
        let reason = Some(gap.reason.as_str().into());
        self.saw(Seen::Lost { channel: self.channel.clone(), position: position.clone(), reason });
        self.tally.count(by, |counts| counts.told += 1);
        self.is_at(position);
    }

    pub(crate) fn ended(&self) {
        self.saw(Seen::Ended { channel: self.channel.clone() });
    }

    fn is_at(&mut self, position: Position) {
        self.offset.send_replace(position.offset);
        self.position = Some(position);
    }

    fn saw(&self, what: Seen) {
        self.recorder.saw(self.actor, what);
    }
}
