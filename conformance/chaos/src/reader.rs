//! A reader that hears by one transport, then by another, and goes on from its positions when its conversation is lost.
use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use sockeye_judge::Seen;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    followed::Followed,
    link::{Link, Lost, Way},
    record::Recorder,
    talk::{self, Said},
    transport::Transport,
};

/// When somebody changes transport, in milliseconds after the last time.
const UNTIL_SWITCH: std::ops::Range<u64> = 200..6_000;

pub(crate) struct Reader {
    actor: u32,
    way: Way,
    recorder: Recorder,
    rng: StdRng,
    channels: Vec<Followed>,
}

impl Reader {
    pub(crate) fn new(actor: u32, channels: &[String], way: &Way, recorder: &Recorder, seed: u64) -> Self {
        let channels = channels.iter().map(|name| Followed::new(actor, name, recorder, &way.tally)).collect();
        let rng = StdRng::seed_from_u64(seed ^ u64::from(actor));
        Self { actor, way: way.clone(), recorder: recorder.clone(), rng, channels }
    }

    pub(crate) fn channels(&self) -> &[Followed] {
        &self.channels
    }

    /// Until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let transport = self.way.choose(&mut self.rng);
            if let Err(Lost(why)) = self.converse(transport).await {
                self.way.tally.lost(transport, &why);
                sleep(Duration::from_millis(self.rng.random_range(5..200))).await;
            }
            self.recorder.saw(self.actor, Seen::Disconnected);
        }
    }

    /// One conversation, until it is lost, or left for another.
    async fn converse(&mut self, transport: Transport) -> Result<(), Lost> {
        let mut link = Link::open(transport, &self.way, &mut self.rng).await?;
        self.way.tally.count(transport, |counts| counts.opened += 1);
        for (id, channel) in (1..).zip(&self.channels) {
            let since = channel.subscribing();
            link.say(talk::subscribe(id, channel.channel(), since.as_ref())).await?;
        }
        let mut switch = self.next_switch();
        loop {
            tokio::select! {
                message = link.hear() => self.heard(link.transport(), &message?)?,
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
    }

    fn next_switch(&mut self) -> Instant {
        Instant::now() + Duration::from_millis(self.rng.random_range(UNTIL_SWITCH))
    }

    fn heard(&mut self, by: Transport, message: &str) -> Result<(), Lost> {
        let objects = talk::objects(message).map_err(|error| {
            self.way.tally.violation(format!("{error} in {message}"));
            Lost("what it says is not the protocol".to_owned())
        })?;
        objects.into_iter().try_for_each(|said| self.said(by, &said))
    }

    fn said(&mut self, by: Transport, said: &Said<'_>) -> Result<(), Lost> {
        if let Some(id) = said.id {
            let index = usize::try_from(id).unwrap_or(0).wrapping_sub(1);
            let Some(channel) = self.channels.get_mut(index) else { return Ok(()) };
            return match (&said.ok, &said.error) {
                (Some(done), _) => {
                    channel.subscribed(by, done);
                    Ok(())
                }
                (None, failure) => {
                    let code = failure.as_ref().map_or("nothing", |failure| failure.code.as_str());
                    Err(Lost(format!("a subscription was refused: {code}")))
                }
            };
        }
        let Some(name) = said.on.as_deref() else { return Ok(()) };
        let Some(channel) = self.channels.iter_mut().find(|channel| channel.channel() == name) else {
            self.way.tally.violation(format!("something comes on {name}, where nobody is"));
            return Ok(());
        };
        if let Some(data) = said.data {
            channel.publication(by, said.offset, data);
        } else if let Some(gap) = &said.lost {
            channel.lost(by, gap);
        } else if said.end.is_some() {
            channel.ended();
            return Err(Lost("a subscription ended".to_owned()));
        }
        Ok(())
    }
}
