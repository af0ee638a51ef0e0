//! Over HTTP: one response at a time to hear, requests of their own to speak.
use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::StatusCode;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Lost, SILENCE, Way,
    ear::{Ear, Heard},
};
use crate::{
    http::{Http, post},
    transport::Transport,
};

/// How often it tries to say something before it gives up.
const TRIES: u32 = 40;
/// Messages of one request.
const MAX_BATCH: usize = 64;

/// A conversation over many requests.
pub(crate) struct Pipe {
    way: Way,
    rng: StdRng,
    ear: Ear,
    outbox: UnboundedSender<String>,
    /// What is to be said, until it is known where.
    unsaid: Option<UnboundedReceiver<String>>,
    /// Ends when the conversation is lost, and says why.
    speaking: JoinSet<String>,
}

impl Pipe {
    pub(super) fn new(transport: Transport, way: &Way, seed: u64) -> Self {
        let (outbox, unsaid) = unbounded_channel();
        let mut rng = StdRng::seed_from_u64(seed);
        let ear = Ear::new(transport, way, rng.random());
        Self { way: way.clone(), rng, ear, outbox, unsaid: Some(unsaid), speaking: JoinSet::new() }
    }

    pub(super) fn transport(&self) -> Transport {
        self.ear.transport
    }

    /// Cancel safe, as the ear is.
    pub(super) async fn hear(&mut self) -> Result<String, Lost> {
        loop {
            let heard = tokio::select! {
                Some(why) = self.speaking.join_next() => {
                    return Err(Lost(why.unwrap_or_else(|error| error.to_string())));
                }
                heard = self.ear.hear() => heard?,
            };
            match heard {
                Heard::Message(message) => return Ok(message),
                Heard::Opened(id) => self.begin_to_speak(id),
            }
        }
    }

    pub(super) fn say(&self, message: String) {
        // Who says it lives as long as we do, or has told why not.
        drop(self.outbox.send(message));
    }

    /// The response is given up in its midst; the next one goes on where this one was.
    pub(super) fn switch(&mut self, to: Transport) {
        self.ear.switch(to);
    }

    pub(super) async fn leave(mut self) {
        if let Some(id) = self.ear.id.take().filter(|_| self.rng.random()) {
            let mut http = Http::to(self.way.proxy);
            drop(timeout(SILENCE, http.ask(post(&format!("/ws/leave?id={id}")), String::new())).await);
        }
    }

    fn begin_to_speak(&mut self, id: String) {
        if let Some(unsaid) = self.unsaid.take() {
            let rng = StdRng::seed_from_u64(self.rng.random());
            let received = Arc::clone(&self.ear.received);
            let speaker = Speaker { way: self.way.clone(), rng, http: Http::to(self.way.proxy), id, received, sent: 0 };
            self.speaking.spawn(speaker.run(unsaid));
        }
    }
}

/// Says one thing after the other, each until it is known to be taken.
struct Speaker {
    way: Way,
    rng: StdRng,
    http: Http,
    id: String,
    received: Arc<AtomicU64>,
    /// Messages that were taken.
    sent: usize,
}

impl Speaker {
    /// Until the conversation is lost: why.
    async fn run(mut self, mut unsaid: UnboundedReceiver<String>) -> String {
        let mut batch = Vec::new();
        while unsaid.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let count = batch.len();
            let body = self.body(&mem::take(&mut batch));
            if let Err(why) = self.say(body).await {
                return why;
            }
            self.sent += count;
        }
        // Nobody listens any more either.
        std::future::pending().await
    }

    /// A message is an element as it stands there, or a string of it.
    fn body(&mut self, messages: &[String]) -> String {
        let elements = messages.iter().map(|message| {
            if self.rng.random() { message.clone() } else { serde_json::Value::from(message.as_str()).to_string() }
        });
        format!("[{}]", elements.collect::<Vec<_>>().join(","))
    }

    async fn say(&mut self, body: String) -> Result<(), String> {
        for _ in 0..TRIES {
            let received = self.received.load(Relaxed);
            let path = format!("/ws/send?id={}&sent={}&received={received}", self.id, self.sent);
            match timeout(SILENCE, self.request(&path, &body)).await {
                Ok(Some(StatusCode::NO_CONTENT)) => return Ok(()),
                Ok(Some(StatusCode::NOT_FOUND)) => return Err("it is not there to speak to".to_owned()),
                Ok(Some(StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) | None) => {}
                Ok(Some(status)) => {
                    self.way.tally.violation(format!("{status} to {path}"));
                    return Err(format!("{status} to what was said"));
                }
                Err(_) => self.http.hang_up(),
            }
            sleep(Duration::from_millis(self.rng.random_range(5..200))).await;
        }
        Err("it cannot speak".to_owned())
    }

    async fn request(&mut self, path: &str, body: &str) -> Option<StatusCode> {
        let answer = self.http.ask(post(path), body.to_owned()).await.ok()?;
        let status = answer.status();
        // Read to its end, so that the connection can be used again. What was taken is taken.
        drop(answer.into_body().collect().await);
        Some(status)
    }
}
