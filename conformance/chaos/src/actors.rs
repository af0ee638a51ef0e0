//! Those who publish, and those who listen.
use std::{future::IntoFuture, sync::Arc};

use futures_util::{StreamExt, stream::FuturesUnordered};
use sockeye_client::{Client, Data, Error, Event, Publication, Subscription};
use sockeye_judge::{Path, Position, Seen, fingerprint};
use tokio::sync::watch;

use crate::record::{Progress, Recorder};

/// Publishes until it is told to stop, to all channels in turn.
pub(crate) struct Publisher {
    actor: u32,
    client: Client,
    channels: Arc<[String]>,
    recorder: Recorder,
    progress: Arc<Progress>,
    in_flight: usize,
    sent: u64,
}

impl Publisher {
    pub(crate) fn new(
        actor: u32,
        client: Client,
        channels: &Arc<[String]>,
        recorder: &Recorder,
        progress: &Arc<Progress>,
        in_flight: usize,
    ) -> Self {
        let (channels, recorder, progress) = (Arc::clone(channels), recorder.clone(), Arc::clone(progress));
        Self { actor, client, channels, recorder, progress, in_flight, sent: 0 }
    }

    pub(crate) async fn run(mut self) {
        // They are polled first in the order in which they are pushed, which is the order of sending.
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < self.in_flight && !self.progress.is_stopping() {
                let one = self.publish();
                under_way.push(one);
            }
            let Some((id, channel, result)) = under_way.next().await else { return };
            self.answered(id, &channel, result);
        }
    }

    fn publish(
        &mut self,
    ) -> impl Future<Output = (u64, String, Result<Option<sockeye_client::Position>, Error>)> + use<> {
        self.sent += 1;
        let id = (u64::from(self.actor) << 32) | self.sent;
        let place = usize::try_from(self.sent % self.channels.len() as u64).unwrap_or(0);
        let channel = self.channels[place].clone();
        let key = format!("{id:x}");
        let data = serde_json::json!({ "id": id, "text": "chaos" });
        self.recorder.saw(
            self.actor,
            Seen::Publishing {
                channel: channel.as_str().into(),
                id,
                body: fingerprint(data.to_string().as_bytes()),
                key: Some(key.as_str().into()),
                volatile: false,
                no_echo: false,
            },
        );
        let publish = self.client.publish(&*channel, &data).key(key).into_future();
        async move { (id, channel, publish.await) }
    }

    fn answered(&self, id: u64, channel: &str, result: Result<Option<sockeye_client::Position>, Error>) {
        let seen = match result {
            Ok(position) => {
                self.progress.acknowledge(channel, position.as_ref().map_or(0, |position| position.offset));
                Seen::Published { id, position: position.map(|at| Position::new(at.epoch, at.offset)) }
            }
            Err(error) if error.is_outcome_unknown() => Seen::Unknown { id },
            Err(error) => {
                eprintln!("publication {id:x} to {channel} was refused: {error}");
                Seen::Refused { id }
            }
        };
        self.recorder.saw(self.actor, seen);
    }
}

/// Listens to one channel, across all restarts.
pub(crate) struct Subscriber {
    actor: u32,
    subscription: Subscription,
    recorder: Recorder,
    epoch: String,
    /// How far it is, for those who wait for the end.
    offset: watch::Sender<u64>,
}

impl Subscriber {
    /// # Errors
    /// If it is refused.
    pub(crate) async fn begin(actor: u32, channel: &str, client: &Client, recorder: Recorder) -> Result<Self, Error> {
        recorder.saw(actor, Seen::Subscribing { channel: channel.into(), since: None, last: None });
        let subscription = client.subscribe(channel).await?;
        let position = subscription.position();
        let (epoch, offset) = position.map(|at| (at.epoch, at.offset)).unwrap_or_default();
        let position = Some(Position::new(epoch.clone(), offset));
        recorder.saw(actor, Seen::Subscribed { channel: channel.into(), position, recovered: None, catch_up: Some(0) });
        Ok(Self { actor, subscription, recorder, epoch, offset: watch::Sender::new(offset) })
    }

    pub(crate) fn channel(&self) -> String {
        self.subscription.channel().to_owned()
    }

    /// How far it is.
    pub(crate) fn offset(&self) -> watch::Receiver<u64> {
        self.offset.subscribe()
    }

    /// Until the program ends.
    pub(crate) async fn run(mut self) {
        let channel = self.channel();
        while let Some(event) = self.subscription.next().await {
            match event {
                Event::Publication(publication) => self.publication(&channel, &publication),
                Event::Lost { to: Some(to), reason, .. } => {
                    self.epoch.clone_from(&to.epoch);
                    self.offset.send_replace(to.offset);
                    let reason = Some(format!("{reason:?}").into());
                    let position = Position::new(to.epoch, to.offset);
                    self.recorder.saw(self.actor, Seen::Lost { channel: channel.as_str().into(), position, reason });
                }
                Event::Ended { why, .. } => {
                    eprintln!("subscription to {channel} ended: {why}");
                    self.recorder.saw(self.actor, Seen::Ended { channel: channel.as_str().into() });
                }
                _ => {}
            }
        }
    }

    fn publication(&self, channel: &str, publication: &Publication) {
        let bytes = match &publication.data {
            Data::Json(json) => json.get().as_bytes(),
            Data::Bytes(bytes) => bytes,
            _ => &[],
        };
        let id =
            serde_json::from_slice(bytes).ok().and_then(|data: serde_json::Value| data["id"].as_u64()).unwrap_or(0);
        let position = publication.offset.map(|offset| Position::new(self.epoch.as_str(), offset));
        let body = fingerprint(bytes);
        let channel = channel.into();
        self.recorder.saw(self.actor, Seen::Delivered { channel, position, id, body, path: Path::Live });
        self.offset.send_replace(publication.offset.unwrap_or(0));
    }
}
