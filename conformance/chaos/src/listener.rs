//! Listens by `GET /sse`, and comes back as an `EventSource` does: with the id of the last event.
use std::{mem, time::Duration};

use http_body_util::BodyExt;
use hyper::StatusCode;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sockeye_judge::Seen;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    followed::Followed,
    http::{Http, get},
    link::{CODES, SILENCE, Way},
    record::Recorder,
    sse::{Event, Parser},
    talk::Said,
    transport::Transport,
};

pub(crate) struct Listener {
    actor: u32,
    way: Way,
    recorder: Recorder,
    rng: StdRng,
    channels: Vec<Followed>,
    last_id: String,
    /// What each channel was told on this stream.
    told: Vec<Told>,
}

/// What a channel was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// That it does not go on where it was, which is said before all else.
    Loss,
    Subscription,
}

impl Listener {
    pub(crate) fn new(actor: u32, channels: &[String], way: &Way, recorder: &Recorder, seed: u64) -> Self {
        let told = vec![Told::Nothing; channels.len()];
        let channels = channels.iter().map(|name| Followed::new(actor, name, recorder, &way.tally)).collect();
        let rng = StdRng::seed_from_u64(seed ^ u64::from(actor));
        Self { actor, way: way.clone(), recorder: recorder.clone(), rng, channels, last_id: String::new(), told }
    }

    pub(crate) fn channels(&self) -> &[Followed] {
        &self.channels
    }

    /// Until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let why = self.listen().await;
            self.way.tally.lost(Transport::Sse, why);
            self.recorder.saw(self.actor, Seen::Disconnected);
            sleep(Duration::from_millis(self.rng.random_range(5..200))).await;
        }
    }

    /// One stream, until it is over: why.
    async fn listen(&mut self) -> &'static str {
        let channels: Vec<_> = self.channels.iter().map(|channel| format!("channel={}", channel.channel())).collect();
        let mut request = get(&format!("/sse?{}", channels.join("&")));
        if !self.last_id.is_empty() {
            request = request.header("last-event-id", &self.last_id);
        }
        self.told.fill(Told::Nothing);
        for channel in &self.channels {
            let _ = channel.subscribing();
        }
        let mut http = Http::to(self.way.proxy);
        let head = timeout_at(Instant::now() + SILENCE, http.ask(request, String::new()));
        let mut body = match head.await {
            Ok(Ok(response)) if response.status() == StatusCode::OK => response.into_body(),
            Ok(Ok(response)) => {
                if response.status() != StatusCode::SERVICE_UNAVAILABLE {
                    self.way.tally.violation(format!("{} to /sse", response.status()));
                }
                return "the stream was refused";
            }
            _ => return "the stream does not get through",
        };
        let is_back = !self.last_id.is_empty();
        self.way.tally.count(Transport::Sse, |counts| {
            *(if is_back { &mut counts.resumed } else { &mut counts.opened }) += 1;
        });
        let mut events = Parser::default();
        // Now and then one goes by itself.
        let patience = Duration::from_millis(self.rng.random_range(200..20_000));
        let leaves = Instant::now() + patience;
        loop {
            let silent = Instant::now() + SILENCE;
            let frame = match timeout_at(leaves.min(silent), body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return "the stream was cut",
                Ok(None) => return "the stream ended",
                Err(_) if silent < leaves => return "the stream is silent",
                Err(_) => return "the listener had enough",
            };
            for event in frame.into_data().map(|bytes| events.feed(&bytes)).unwrap_or_default() {
                if let Err(why) = self.heard(event) {
                    return why;
                }
            }
        }
    }

    fn heard(&mut self, event: Event) -> Result<(), &'static str> {
        let Event { name, data, last_id } = event;
        let said: Said<'_> = serde_json::from_str(&data).map_err(|error| {
            self.way.tally.violation(format!("{error} in the event {name}: {data}"));
            "what it says is not the protocol"
        })?;
        if !last_id.is_empty() {
            self.last_id = last_id;
        }
        let by = Transport::Sse;
        let index = said.on.as_deref().and_then(|on| self.channels.iter().position(|channel| channel.channel() == on));
        let Some(index) = index else {
            // Followed by the end of the stream.
            if name == "close" && !said.code.is_some_and(|code| CODES.contains(&code)) {
                self.way.tally.violation(format!("a stream was closed: {data}"));
            } else if !matches!(name.as_str(), "bye" | "close" | "failed") {
                self.way.tally.violation(format!("the event {name:?} comes: {data}"));
            }
            return Ok(());
        };
        let (channel, told) = (&mut self.channels[index], &mut self.told[index]);
        match (name.as_str(), said.data) {
            ("", Some(data)) => channel.publication(by, said.offset, data),
            ("subscribed", _) => {
                let mut done = said.subscribed.unwrap_or_default();
                if mem::replace(told, Told::Subscription) == Told::Loss {
                    done.recovered = Some(false);
                }
                channel.subscribed(by, &done);
            }
            ("lost", _) if *told == Told::Nothing => *told = Told::Loss,
            ("lost", _) => {
                if let Some(gap) = &said.lost {
                    channel.lost(by, gap);
                }
            }
            ("failed" | "end", _) => {
                if *told == Told::Subscription {
                    channel.ended();
                }
                return Err("a subscription ended");
            }
            _ => self.way.tally.violation(format!("the event {name:?} comes: {data}")),
        }
        Ok(())
    }
}
