//! Of the hub, what reads what was: subscribing with all that is caught up, and history.

use sockeye_judge::{Action, ActorId, Item, Name, Path, Position, Seen};

use super::bug::Bug;
use super::hub::{CHANNELS, Entry, Hub, KEEPS, PLAIN, Publish, Subscriber, delivered};

const PAGE: usize = 4;

impl Hub {
    pub fn subscribe(&mut self, actor: ActorId, channel: usize, since: Option<&Position>, last: Option<u64>) {
        let name: Name = CHANNELS[channel].into();
        let long_denied = self.long_denied(channel, actor, Action::Subscribe, self.now);
        let permitted =
            self.may(channel, actor, Action::Subscribe) || long_denied && self.fires(Bug::CatchUpWithoutPermission);
        if !permitted {
            return self.push(actor, Seen::Ended { channel: name });
        }
        self.subscribers.insert((channel, actor), Subscriber::default());
        if channel == PLAIN {
            return self
                .push(actor, Seen::Subscribed { channel: name, position: None, recovered: None, catch_up: Some(0) });
        }
        let head = self.channels[channel].head;
        let (mut entries, recovered) = self.caught_up(actor, channel, since, last);
        let mut count = entries.len() as u64;
        let mut offset = head;
        let own_head = self.is_own(channel, head, actor);
        let known = entries.first().is_some_and(|entry| !entry.is_own(actor) && self.is_heard(channel, entry.offset));
        if recovered == Some(true) && entries.len() > 1 && known && self.fires(Bug::CatchUpHasAHole) {
            entries.remove(0);
            count -= 1;
        }
        if last.is_some() && entries.len() > 1 && self.fires(Bug::LastGivesTooFew) {
            entries.remove(0);
            count -= 1;
        }
        if self.fires(Bug::AnnouncesTooMany) {
            count += 1;
        } else if count > 0 && self.fires(Bug::AnnouncesTooFew) {
            count -= 1;
        } else if since.is_none() && last.is_none() && head > 1 && !own_head && self.fires(Bug::SubscribedIsStale) {
            offset -= 1;
        } else if since.is_none() && last.is_none() && self.fires(Bug::SubscribedIsAhead) {
            offset += 1;
        } else if self.last_call && self.listeners(channel).len() > 1 && self.fires(Bug::SubscribedIsAheadInQuiet) {
            // An anomaly even if nothing follows that would show it.
            (offset, count) = (head + 1, 0);
            entries.clear();
        }
        let position = Some(self.position(channel, offset));
        let subscribed = Seen::Subscribed { channel: name, position, recovered, catch_up: Some(count) };
        self.catch_up(actor, channel, subscribed, &entries);
    }

    fn catch_up(&mut self, actor: ActorId, channel: usize, subscribed: Seen, entries: &[Entry]) {
        let path = |path| {
            move |entry: &Entry| {
                let position = Position { epoch: "".into(), offset: entry.offset };
                delivered(&entry.publish, Some(position), path)
            }
        };
        let epoch = self.channels[channel].epoch.clone();
        let mut frames: Vec<Seen> = entries.iter().map(path(Path::CatchUp)).collect();
        let mut again: Vec<Seen> = entries.last().map(path(Path::Live)).into_iter().collect();
        for frame in frames.iter_mut().chain(&mut again) {
            if let (Seen::Delivered { position: Some(position), .. }, Some(epoch)) = (frame, &epoch) {
                position.epoch = Name::clone(epoch);
            }
        }
        if !again.is_empty() && self.fires(Bug::DeliversBeforeSubscribed) {
            self.push(actor, frames.remove(0));
        }
        self.push(actor, subscribed);
        if !again.is_empty() && self.fires(Bug::CatchUpAfterLive) {
            self.subscribers.get_mut(&(channel, actor)).unwrap().held = frames;
            return;
        }
        for frame in frames {
            self.push(actor, frame);
        }
        if !again.is_empty() && self.fires(Bug::CatchUpOverlapsLive) {
            for frame in again {
                self.push(actor, frame);
            }
        }
    }

    fn caught_up(
        &mut self,
        actor: ActorId,
        channel: usize,
        since: Option<&Position>,
        last: Option<u64>,
    ) -> (Vec<Entry>, Option<bool>) {
        let (window, head) = (self.window(channel), self.channels[channel].head);
        let newest = |count: u64| {
            let skip = window.len().saturating_sub(usize::try_from(count).unwrap());
            window[skip..].to_vec()
        };
        let Some(since) = since else { return (newest(last.unwrap_or(0)), None) };
        let same_epoch = self.channels[channel].epoch.as_ref() == Some(&since.epoch);
        let after: Vec<Entry> = window.iter().filter(|entry| entry.offset > since.offset).cloned().collect();
        if same_epoch && since.offset + KEEPS >= head && since.offset <= head {
            if self.fires(Bug::NotRecoveredThoughHeld) {
                return (newest(2), Some(false));
            }
            return (after, Some(true));
        }
        let own = self.is_own(channel, since.offset + 1, actor);
        if same_epoch && since.offset <= head && !own && self.fires(Bug::RecoveredThoughTheWindowIsGone) {
            return (after, Some(true));
        }
        if !same_epoch && self.fires(Bug::RecoveredThoughTheEpochIsGone) {
            return (after, Some(true));
        }
        let count = self.dice.below(4);
        (newest(count), Some(false))
    }

    pub fn history(&mut self, actor: ActorId, channel: usize, since: Option<&Position>, reverse: bool) {
        let long_denied = self.long_denied(channel, actor, Action::History, self.now);
        let permitted =
            self.may(channel, actor, Action::History) || long_denied && self.fires(Bug::HistoryWithoutPermission);
        if !permitted {
            return;
        }
        let position = self.position(channel, self.channels[channel].head);
        let since = since.filter(|since| since.epoch == position.epoch).map_or(0, |since| since.offset);
        let mut window = self.window(channel);
        if reverse {
            window.reverse();
        } else {
            window.retain(|entry| entry.offset > since);
        }
        let more = window.len() > PAGE;
        window.truncate(PAGE);
        let mut items: Vec<Item> = window
            .iter()
            .map(|Entry { offset, publish: Publish { id, body, .. }, .. }| Item {
                offset: *offset,
                id: *id,
                body: *body,
            })
            .collect();
        if items.len() > 2 && self.fires(Bug::HistoryHasAHole) {
            items.remove(1);
        }
        let misses_the_first = if reverse { Bug::HistoryMissesTheNewest } else { Bug::HistoryMissesTheOldest };
        if items.len() > 1 && self.fires(misses_the_first) {
            items.remove(0);
        }
        self.push(actor, Seen::HistoryPage { channel: CHANNELS[channel].into(), position, items, more });
    }
}
