//! A store that survives what the hubs do not. It carries requests out late, and fails now and then.
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use rand::{Rng, rngs::StdRng};
use sockeye_hub::{Append, ChannelName, Encoded, Epoch, Loaded, Payload, Publication, StoreReply, StoreRequest};

use crate::bugs::{Bug, Seeded};

/// For how long keys are remembered.
const KEY_AGE_MS: u64 = 300_000;

#[derive(Debug, Default)]
pub(crate) struct Store {
    channels: BTreeMap<ChannelName, Kept>,
    /// What was asked, by which worker, and is not done yet.
    asked: VecDeque<(usize, StoreRequest)>,
    /// What was done and is not answered yet.
    replies: VecDeque<(usize, StoreReply)>,
    /// Channels whose appends fail until they are loaded again.
    broken: BTreeSet<ChannelName>,
    bug: Seeded,
}

#[derive(Debug)]
struct Kept {
    epoch: Epoch,
    top: u64,
    items: VecDeque<Arc<Publication>>,
    keys: Vec<(Arc<str>, u64, u64)>,
}

impl Store {
    pub(crate) fn new(bug: Seeded) -> Self {
        Self { bug, ..Self::default() }
    }

    pub(crate) fn ask(&mut self, worker: usize, request: StoreRequest) {
        self.asked.push_back((worker, request));
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.replies.is_empty()
    }

    /// Carries out the oldest request; `fails` if it is to go wrong.
    pub(crate) fn work(&mut self, fails: bool, rng: &mut StdRng) {
        if self.bug.is(Bug::AcknowledgesEarly) {
            self.acknowledge_all();
        }
        let Some((worker, request)) = self.asked.pop_front() else { return };
        let reply = match request {
            StoreRequest::Load(channel) if fails => StoreReply::NotLoaded(channel),
            StoreRequest::Load(channel) => {
                self.broken.remove(&channel);
                let loaded = self.load(&channel, rng);
                StoreReply::Loaded(channel, loaded)
            }
            StoreRequest::Append(append) => {
                let channel = append.publication.channel.clone();
                if fails || self.broken.contains(&channel) {
                    // Whether it was written is anybody's guess; what comes after a failure is not.
                    if self.broken.insert(channel.clone()) && rng.random_bool(0.5) {
                        self.append(&append);
                    }
                    StoreReply::NotAppended(channel)
                } else {
                    self.append(&append);
                    if self.bug.is(Bug::AcknowledgesEarly) {
                        return;
                    }
                    StoreReply::Appended(channel, append.publication.offset())
                }
            }
            _ => return,
        };
        self.replies.push_back((worker, reply));
    }

    pub(crate) fn reply(&mut self) -> Option<(usize, StoreReply)> {
        self.replies.pop_front()
    }

    /// The server is killed: what was asked is not done, what was done is not answered.
    pub(crate) fn server_is_gone(&mut self) {
        self.asked.clear();
        self.replies.clear();
        self.broken.clear();
    }

    fn acknowledge_all(&mut self) {
        for (worker, request) in &self.asked {
            if let StoreRequest::Append(Append { publication, .. }) = request {
                let reply = StoreReply::Appended(publication.channel.clone(), publication.offset());
                self.replies.push_back((*worker, reply));
            }
        }
    }

    fn append(&mut self, append: &Append) {
        let publication = &append.publication;
        let Some(position) = publication.position else { return };
        let fresh = || Kept { epoch: position.epoch, top: 0, items: VecDeque::new(), keys: Vec::new() };
        let kept = self.channels.entry(publication.channel.clone()).or_insert_with(fresh);
        kept.top = position.offset;
        kept.items.push_back(Arc::clone(publication));
        while kept.items.front().is_some_and(|item| item.offset() < append.keep_from) {
            kept.items.pop_front();
        }
        kept.keys.retain(|(_, _, at_ms)| at_ms.saturating_add(KEY_AGE_MS) > publication.at_ms);
        if let Some(key) = &append.key {
            kept.keys.push((Arc::clone(key), position.offset, publication.at_ms));
        }
    }

    fn load(&self, channel: &ChannelName, rng: &mut StdRng) -> Loaded {
        let Some(kept) = self.channels.get(channel) else {
            // The same each time it is asked.
            let name =
                channel.as_str().bytes().fold(7_u128, |sum, byte| sum.wrapping_mul(257).wrapping_add(byte.into()));
            return Loaded { epoch: Epoch(name), top: 0, items: Vec::new(), keys: Vec::new() };
        };
        let mut loaded = Loaded {
            epoch: kept.epoch,
            top: kept.top,
            items: kept.items.iter().cloned().collect(),
            keys: kept.keys.clone(),
        };
        if self.bug.is(Bug::ForgetsNewest) && loaded.items.pop().is_some() {
            loaded.top -= 1;
        }
        if self.bug.is(Bug::ForgetsKeys) {
            loaded.keys.clear();
        }
        if self.bug.is(Bug::ForgetsEpoch) {
            loaded.epoch = Epoch(rng.random());
        }
        if self.bug.is(Bug::StoreAltersPayload)
            && let Some(item) = loaded.items.last_mut()
        {
            *item = Arc::new(altered(item));
        }
        if self.bug.is(Bug::StoreHasHole) && loaded.items.len() > 2 {
            loaded.items.remove(loaded.items.len() - 2);
        }
        loaded
    }
}

/// The same with another last byte.
pub(crate) fn altered(publication: &Publication) -> Publication {
    let mut bytes = publication.payload.bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    with_payload(publication, Bytes::from(bytes))
}

fn with_payload(publication: &Publication, bytes: Bytes) -> Publication {
    Publication {
        channel: publication.channel.clone(),
        position: publication.position,
        payload: Payload { kind: publication.payload.kind, bytes },
        event: publication.event.clone(),
        conflate: publication.conflate.clone(),
        from: publication.from.clone(),
        echo: publication.echo,
        at_ms: publication.at_ms,
        encoded: Encoded::default(),
    }
}
