//! Over SockJS: `xhr_streaming` and `xhr` to hear, `xhr_send` to speak. It cannot say what has arrived, so a response
//! that breaks is the end of the session.
use std::collections::VecDeque;

use http_body_util::BodyExt;
use hyper::{StatusCode, body::Incoming};
use rand::{Rng, SeedableRng, distr::Alphanumeric, rngs::StdRng};
use serde_json::Value;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::timeout,
};

use super::{CODES, Lost, SILENCE, Way};
use crate::http::{Http, post};

/// Messages of one request.
const MAX_BATCH: usize = 64;

pub(crate) struct SockJs {
    way: Way,
    rng: StdRng,
    http: Http,
    /// The path of the session.
    session: String,
    response: Option<Response>,
    is_open: bool,
    heard: VecDeque<String>,
    over: Option<Lost>,
    outbox: UnboundedSender<String>,
    unsaid: Option<UnboundedReceiver<String>>,
    speaking: JoinSet<&'static str>,
}

/// A response that is read.
struct Response {
    body: Incoming,
    pending: Vec<u8>,
}

impl SockJs {
    pub(super) fn new(way: &Way, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        // Names are never used twice, also not by the same seed in another run: servers may remember.
        let name: String = rand::rng().sample_iter(Alphanumeric).take(16).map(char::from).collect();
        let (outbox, unsaid) = unbounded_channel();
        Self {
            way: way.clone(),
            http: Http::to(way.proxy),
            session: format!("/sockjs/{:03}/{name}", rng.random_range(0..1000)),
            rng,
            response: None,
            is_open: false,
            heard: VecDeque::new(),
            over: None,
            outbox,
            unsaid: Some(unsaid),
            speaking: JoinSet::new(),
        }
    }

    pub(super) fn say(&self, message: String) {
        // Who says it lives as long as we do, or has told why not.
        drop(self.outbox.send(message));
    }

    /// What was read is kept here; but a second request to hear would be refused while the first is still under way.
    pub(super) async fn hear(&mut self) -> Result<String, Lost> {
        loop {
            if let Some(message) = self.heard.pop_front() {
                return Ok(message);
            }
            if let Some(lost) = self.over.take() {
                return Err(lost);
            }
            tokio::select! {
                Some(why) = self.speaking.join_next() => {
                    return Err(Lost(why.map_or_else(|error| error.to_string(), str::to_owned)));
                }
                progress = progress(&mut self.response, &mut self.http, (&self.session, &mut self.rng)) => {
                    match progress {
                        Ok(Progress::Began(response)) => self.began(response)?,
                        Ok(Progress::Read(bytes)) => self.read(&bytes),
                        Ok(Progress::Ended) => self.response = None,
                        Err(why) => return Err(Lost(why.to_owned())),
                    }
                }
            }
        }
    }

    fn began(&mut self, response: hyper::Response<Incoming>) -> Result<(), Lost> {
        match response.status() {
            StatusCode::OK => {
                if self.is_open {
                    self.way.tally.count(crate::transport::Transport::Sockjs, |counts| counts.resumed += 1);
                }
                self.response = Some(Response { body: response.into_body(), pending: Vec::new() });
                Ok(())
            }
            StatusCode::SERVICE_UNAVAILABLE => Err(Lost("there is no room for SockJS".to_owned())),
            status => {
                self.way.tally.violation(format!("{status} to SockJS"));
                Err(Lost(status.to_string()))
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        let Some(response) = &mut self.response else { return };
        response.pending.extend_from_slice(bytes);
        let Some(last) = response.pending.iter().rposition(|byte| *byte == b'\n') else { return };
        let frames: Vec<u8> = response.pending.drain(..=last).collect();
        String::from_utf8_lossy(&frames).lines().for_each(|frame| self.frame(frame));
    }

    fn frame(&mut self, frame: &str) {
        let (kind, rest) = frame.split_at_checked(1).unwrap_or(("", ""));
        match (kind, serde_json::from_str(rest)) {
            // Also what fills the beginning.
            ("h", _) => {}
            ("o", _) if self.is_open => self.over = Some(Lost("another session began".to_owned())),
            ("o", _) => {
                self.is_open = true;
                self.begin_to_speak();
            }
            ("a", Ok(Value::Array(messages))) if self.is_open => {
                self.heard.extend(messages.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            ("c", Ok(Value::Array(why))) => {
                let code = why.first().and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
                if !CODES.contains(&code) {
                    self.way.tally.violation(format!("SockJS was closed with {code}"));
                }
                self.over = Some(Lost(format!("it was closed with {code}")));
            }
            _ => self.way.tally.violation(format!("no frame of SockJS: {frame}")),
        }
    }

    fn begin_to_speak(&mut self) {
        if let Some(unsaid) = self.unsaid.take() {
            self.speaking.spawn(speak(Http::to(self.way.proxy), format!("{}/xhr_send", self.session), unsaid));
        }
    }
}

/// What has become of the response, or of asking for one.
enum Progress {
    Began(hyper::Response<Incoming>),
    Read(bytes::Bytes),
    Ended,
}

async fn progress(
    response: &mut Option<Response>,
    http: &mut Http,
    (session, rng): (&str, &mut StdRng),
) -> Result<Progress, &'static str> {
    let Some(response) = response else {
        let way = if rng.random_bool(0.8) { "xhr_streaming" } else { "xhr" };
        return match timeout(SILENCE, http.ask(post(&format!("{session}/{way}")), String::new())).await {
            Ok(Ok(response)) => Ok(Progress::Began(response)),
            _ => Err("SockJS does not get through"),
        };
    };
    match timeout(SILENCE, response.body.frame()).await {
        Ok(Some(Ok(frame))) => Ok(Progress::Read(frame.into_data().unwrap_or_default())),
        Ok(None) if response.pending.is_empty() => Ok(Progress::Ended),
        Ok(_) => Err("a response of SockJS broke"),
        Err(_) => Err("SockJS is silent"),
    }
}

/// Until something goes wrong: there is no saying it again.
async fn speak(mut http: Http, path: String, mut unsaid: UnboundedReceiver<String>) -> &'static str {
    let mut batch = Vec::new();
    while unsaid.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let body = Value::from(std::mem::take(&mut batch)).to_string();
        match timeout(SILENCE, http.ask(post(&path), body)).await {
            Ok(Ok(answer)) if answer.status() == StatusCode::NO_CONTENT => {
                drop(answer.into_body().collect().await);
            }
            Ok(Ok(_)) => return "SockJS takes nothing",
            _ => return "SockJS cannot speak",
        }
    }
    // Nobody listens any more either.
    std::future::pending().await
}
