//! A publisher that speaks by one transport, then by another. What was not answered it publishes again, under the same key.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use sockeye_judge::{Seen, fingerprint};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    link::{Link, Lost, Way},
    record::{Progress, Recorder},
    talk::{self, Said},
    transport::Transport,
};

/// When it changes transport, in milliseconds after the last time.
const UNTIL_SWITCH: std::ops::Range<u64> = 500..8_000;

pub(crate) struct Writer {
    actor: u32,
    way: Way,
    channels: Arc<[String]>,
    recorder: Recorder,
    progress: Arc<Progress>,
    in_flight: usize,
    rng: StdRng,
    sent: u64,
    /// What is not answered yet, by its id, which is in the order of sending.
    open: BTreeMap<u64, Publication>,
}

struct Publication {
    channel: String,
    data: String,
}

impl Writer {
    pub(crate) fn new(
        actor: u32,
        way: &Way,
        channels: &Arc<[String]>,
        recorder: &Recorder,
        progress: &Arc<Progress>,
        (in_flight, seed): (usize, u64),
    ) -> Self {
        Self {
            actor,
            way: way.clone(),
            channels: Arc::clone(channels),
            recorder: recorder.clone(),
            progress: Arc::clone(progress),
            in_flight,
            rng: StdRng::seed_from_u64(seed ^ u64::from(actor)),
            sent: 0,
            open: BTreeMap::new(),
        }
    }

    /// Until it is told to stop, and all is answered.
    pub(crate) async fn run(mut self) {
        while !self.is_done() {
            let transport = self.way.choose(&mut self.rng);
            if let Err(Lost(why)) = self.converse(transport).await {
                self.way.tally.lost(transport, &why);
                sleep(Duration::from_millis(self.rng.random_range(5..200))).await;
            }
            for id in self.open.keys() {
                self.recorder.saw(self.actor, Seen::Unknown { id: *id });
            }
            self.recorder.saw(self.actor, Seen::Disconnected);
        }
    }

    fn is_done(&self) -> bool {
        self.progress.is_stopping() && self.open.is_empty()
    }

    async fn converse(&mut self, transport: Transport) -> Result<(), Lost> {
        self.open.keys().for_each(|id| self.publishing(*id));
        let mut link = Link::open(transport, &self.way, &mut self.rng).await?;
        self.way.tally.count(transport, |counts| counts.opened += 1);
        for id in self.open.keys() {
            link.say(self.command(*id)).await?;
        }
        let mut switch = self.next_switch();
        while !self.is_done() {
            while self.open.len() < self.in_flight && !self.progress.is_stopping() {
                let id = self.publish();
                link.say(self.command(id)).await?;
            }
            tokio::select! {
                message = link.hear() => self.heard(&mut link, &message?).await?,
                () = sleep_until(switch) => {
                    let to = self.way.choose(&mut self.rng);
                    self.way.tally.count(to, |counts| counts.switched += 1);
                    if !link.switch(to) {
                        link.leave().await;
                        return Ok(());
                    }
                    switch = self.next_switch();
                }
            }
        }
        link.leave().await;
        Ok(())
    }

    fn next_switch(&mut self) -> Instant {
        Instant::now() + Duration::from_millis(self.rng.random_range(UNTIL_SWITCH))
    }

    /// A new one.
    fn publish(&mut self) -> u64 {
        self.sent += 1;
        let id = (u64::from(self.actor) << 32) | self.sent;
        let channel = self.channels[self.rng.random_range(0..self.channels.len())].clone();
        let data = json!({ "id": id, "text": "chaos \u{2028} \u{1f41f}" }).to_string();
        self.open.insert(id, Publication { channel, data });
        self.publishing(id);
        id
    }

    fn publishing(&self, id: u64) {
        let Some(Publication { channel, data }) = self.open.get(&id) else { return };
        self.recorder.saw(
            self.actor,
            Seen::Publishing {
                channel: channel.as_str().into(),
                id,
                body: fingerprint(data.as_bytes()),
                key: Some(key(id).into()),
                volatile: false,
                no_echo: false,
            },
        );
    }

    fn command(&self, id: u64) -> String {
        self.open
            .get(&id)
            .map_or_else(String::new, |Publication { channel, data }| talk::publish(id, channel, data, &key(id)))
    }

    async fn heard(&mut self, link: &mut Link, message: &str) -> Result<(), Lost> {
        let objects = talk::objects(message).map_err(|error| {
            self.way.tally.violation(format!("{error} in {message}"));
            Lost("what it says is not the protocol".to_owned())
        })?;
        for said in objects {
            if let Some(again) = self.said(link.transport(), &said) {
                self.publishing(again);
                link.say(self.command(again)).await?;
            }
        }
        Ok(())
    }

    /// What is to be published again.
    fn said(&mut self, by: Transport, said: &Said<'_>) -> Option<u64> {
        let id = said.id.filter(|id| self.open.contains_key(id))?;
        if let Some(failure) = &said.error {
            if failure.leaves_open() {
                self.recorder.saw(self.actor, Seen::Unknown { id });
                return Some(id);
            }
            eprintln!("publication {id:x} was refused: {}", failure.code);
            self.open.remove(&id);
            self.recorder.saw(self.actor, Seen::Refused { id });
        } else if let Some(done) = &said.ok {
            let position = done.position();
            if let Some(Publication { channel, .. }) = self.open.remove(&id) {
                self.progress.acknowledge(&channel, position.as_ref().map_or(0, |position| position.offset));
            }
            self.way.tally.count(by, |counts| counts.published += 1);
            self.recorder.saw(self.actor, Seen::Published { id, position });
        }
        None
    }
}

fn key(id: u64) -> String {
    format!("{id:x}")
}
