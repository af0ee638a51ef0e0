//! Hears a conversation over HTTP: `stream`, `events` or `poll`. It counts, and says how far it is when it comes back.
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{StatusCode, body::Incoming, http::request::Builder};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{sleep, timeout};

use super::{CODES, Lost, SILENCE, Way};
use crate::{
    http::{Http, get, post},
    sse,
    transport::Transport,
};

/// How often in a row it tries to come back.
const TRIES: u32 = 40;
/// Another response has taken the place of this one. It may be an older request of ours, which was late.
const REPLACED: u16 = 4009;

pub(super) struct Ear {
    pub(super) transport: Transport,
    pub(super) id: Option<String>,
    /// Messages since the conversation began.
    pub(super) received: Arc<AtomicU64>,
    way: Way,
    rng: StdRng,
    http: Http,
    response: Option<Response>,
    /// What was heard and not taken.
    heard: VecDeque<Heard>,
    /// The conversation is over.
    over: Option<Lost>,
    tries: u32,
}

pub(super) enum Heard {
    Opened(String),
    Message(String),
}

/// A response that is read.
struct Response {
    body: Incoming,
    pending: Vec<u8>,
    events: sse::Parser,
}

/// What stands around the protocol.
#[derive(Deserialize)]
struct Frame {
    open: Option<Open>,
    close: Option<Close>,
}

#[derive(Deserialize)]
struct Open {
    id: String,
}

#[derive(Deserialize)]
struct Close {
    code: u16,
}

impl Ear {
    pub(super) fn new(transport: Transport, way: &Way, seed: u64) -> Self {
        Self {
            transport,
            id: None,
            received: Arc::default(),
            way: way.clone(),
            rng: StdRng::seed_from_u64(seed),
            http: Http::to(way.proxy),
            response: None,
            heard: VecDeque::new(),
            over: None,
            tries: 0,
        }
    }

    /// What was heard and counted stays; the rest of the response is lost.
    pub(super) fn switch(&mut self, to: Transport) {
        self.transport = to;
        self.give_up();
    }

    /// Cancel safe: a request that was under way is made again, and pieces of responses are kept here.
    pub(super) async fn hear(&mut self) -> Result<Heard, Lost> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            if let Some(lost) = self.over.take() {
                return Err(lost);
            }
            let Some(response) = &mut self.response else {
                self.attach().await?;
                continue;
            };
            match timeout(SILENCE, response.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.read(&bytes);
                    }
                }
                Ok(Some(Err(_))) | Err(_) => self.give_up(),
                Ok(None) => self.finish(),
            }
        }
    }

    async fn attach(&mut self) -> Result<(), Lost> {
        if self.tries > 0 {
            sleep(Duration::from_millis(self.rng.random_range(5..200))).await;
        }
        self.tries += 1;
        // A conversation of which not even the name has come is not worth it.
        let tries = if self.id.is_some() { TRIES } else { 1 };
        if self.tries > tries {
            return Err(Lost("it does not get through".to_owned()));
        }
        let request = self.request();
        let Ok(Ok(response)) = timeout(SILENCE, self.http.ask(request, String::new())).await else {
            self.http.hang_up();
            return Ok(());
        };
        match response.status() {
            StatusCode::OK => {
                if self.id.is_some() {
                    self.way.tally.count(self.transport, |counts| counts.resumed += 1);
                }
                let (body, events) = (response.into_body(), sse::Parser::default());
                self.response = Some(Response { body, pending: Vec::new(), events });
                Ok(())
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Ok(()),
            StatusCode::NOT_FOUND if self.id.is_some() => Err(Lost("it is not there any more".to_owned())),
            status => {
                self.way.tally.violation(format!("{status} to {:?}", self.transport));
                Err(Lost(format!("{status}")))
            }
        }
    }

    /// As each kind of client would ask.
    fn request(&mut self) -> Builder {
        let name = match self.transport {
            Transport::Events => "events",
            Transport::Poll => "poll",
            _ => "stream",
        };
        let received = self.received.load(Relaxed);
        let pad = if self.rng.random_bool(0.2) { "pad=2048" } else { "" };
        match &self.id {
            None => get(&format!("/ws/{name}?{pad}")),
            Some(id) if self.transport == Transport::Events && self.rng.random() => {
                get(&format!("/ws/events?{pad}")).header("last-event-id", format!("{id}:{received}"))
            }
            Some(id) => {
                let path = format!("/ws/{name}?id={id}&received={received}&{pad}");
                if self.transport != Transport::Events && self.rng.random() { post(&path) } else { get(&path) }
            }
        }
    }

    fn give_up(&mut self) {
        self.response = None;
        self.http.hang_up();
    }

    fn read(&mut self, bytes: &[u8]) {
        let Some(response) = &mut self.response else { return };
        match self.transport {
            Transport::Events => {
                for event in response.events.feed(bytes) {
                    self.hear_event(&event);
                }
            }
            Transport::Poll => response.pending.extend_from_slice(bytes),
            _ => {
                response.pending.extend_from_slice(bytes);
                let Some(last) = response.pending.iter().rposition(|byte| *byte == b'\n') else { return };
                let lines: Vec<u8> = response.pending.drain(..=last).collect();
                let lines = String::from_utf8_lossy(&lines).into_owned();
                lines.lines().filter(|line| !line.trim().is_empty()).for_each(|line| self.hear_object(line));
            }
        }
    }

    fn hear_event(&mut self, event: &sse::Event) {
        self.hear_object(&event.data);
        let expected = self.id.as_ref().map(|id| format!("{id}:{}", self.received.load(Relaxed)));
        if self.over.is_none() && expected.as_ref() != Some(&event.last_id) {
            self.way.tally.violation(format!("an event has the id {}, where {expected:?} is due", event.last_id));
        }
    }

    /// The response has come to its end, and is whole.
    fn finish(&mut self) {
        let Some(Response { pending, .. }) = self.response.take() else { return };
        if self.transport != Transport::Poll {
            if !pending.is_empty() {
                self.way.tally.violation("a whole response ends within a line".to_owned());
            }
            return;
        }
        match serde_json::from_slice::<Vec<&RawValue>>(&pending) {
            Ok(objects) => objects.into_iter().for_each(|object| self.hear_object(object.get())),
            Err(error) => self.way.tally.violation(format!("what is polled is no array: {error}")),
        }
        self.tries = 0;
    }

    fn hear_object(&mut self, object: &str) {
        self.tries = 0;
        // An array of messages is none of these.
        let frame = serde_json::from_str(object).unwrap_or(Frame { open: None, close: None });
        match frame {
            Frame { open: Some(Open { id }), .. } => {
                if self.id.replace(id.clone()).is_some() {
                    self.way.tally.violation("a conversation is opened twice".to_owned());
                }
                self.heard.push_back(Heard::Opened(id));
            }
            // Whoever is told that comes back.
            Frame { close: Some(Close { code: REPLACED }), .. } => {}
            Frame { close: Some(Close { code }), .. } => {
                if !CODES.contains(&code) {
                    self.way.tally.violation(format!("a conversation was closed with {code}"));
                }
                self.over = Some(Lost(format!("it was closed with {code}")));
            }
            _ => {
                self.received.fetch_add(1, Relaxed);
                self.heard.push_back(Heard::Message(object.to_owned()));
            }
        }
    }
}
