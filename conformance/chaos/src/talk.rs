//! The words of `sockeye.v1.json`, written and read without our client.
use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{json, value::RawValue};
use sockeye_judge::{Position, fingerprint};

/// One object from the server, or of `/sse`.
#[derive(Debug, Deserialize)]
pub(crate) struct Said<'a> {
    pub(crate) id: Option<u64>,
    pub(crate) ok: Option<Done>,
    pub(crate) error: Option<Failure>,
    #[serde(borrow)]
    pub(crate) on: Option<Cow<'a, str>>,
    pub(crate) offset: Option<u64>,
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) lost: Option<Gap>,
    pub(crate) end: Option<serde_json::Value>,
    pub(crate) subscribed: Option<Done>,
    /// Of the event `close`.
    pub(crate) code: Option<u16>,
}

/// What was done, of all that can be.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Done {
    pub(crate) epoch: Option<String>,
    pub(crate) offset: Option<u64>,
    pub(crate) recovered: Option<bool>,
    pub(crate) catch_up: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Failure {
    pub(crate) code: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Gap {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
    pub(crate) reason: String,
}

/// What a publication is recognised by.
#[derive(Deserialize)]
struct Body {
    id: u64,
}

impl Done {
    pub(crate) fn position(&self) -> Option<Position> {
        Some(Position::new(self.epoch.clone()?, self.offset?))
    }
}

impl Failure {
    /// It may have been done all the same.
    pub(crate) fn leaves_open(&self) -> bool {
        matches!(self.code.as_str(), "unavailable" | "timeout")
    }
}

/// The objects of one message: one, or an array of them.
pub(crate) fn objects(message: &str) -> Result<Vec<Said<'_>>, serde_json::Error> {
    if message.trim_start().starts_with('[') {
        serde_json::from_str(message)
    } else {
        serde_json::from_str(message).map(|said| vec![said])
    }
}

/// The id that is in a publication, and the fingerprint of all of it.
pub(crate) fn recognise(data: &RawValue) -> (u64, u64) {
    let id = serde_json::from_str(data.get()).map_or(0, |Body { id }| id);
    (id, fingerprint(data.get().as_bytes()))
}

pub(crate) fn subscribe(id: u64, channel: &str, since: Option<&Position>) -> String {
    let mut command = json!({ "id": id, "subscribe": channel });
    if let Some(Position { epoch, offset }) = since {
        command["since"] = json!({ "epoch": &**epoch, "offset": offset });
    }
    command.to_string()
}

/// `data` is JSON as it stands there.
pub(crate) fn publish(id: u64, channel: &str, data: &str, key: &str) -> String {
    format!(r#"{{"id":{id},"publish":"{channel}","data":{data},"key":"{key}"}}"#)
}
