//! From what stands in a request to what it asks for.
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sockeye::CloseCode;
use sockeye_hub::{ChannelName, Draft, Epoch, HistoryPage, Kind, Payload, Position};

use super::{MAX_BATCH, Target, query::Query, wrong};
use crate::dialect::{
    ErrorCode, Problem,
    json::{self, HISTORY_LIMIT, MAX_LAST, MEMBERS_LIMIT},
};

/// Bytes of a user's name.
const MAX_USER: usize = 255;
/// Channels in one answer, if no number is asked for, and at most.
const CHANNELS_LIMIT: (usize, usize) = (100, 1_000);
/// The close code of who is sent away, if none is named: do not come back.
const FORBIDDEN: u16 = 4003;

/// What a request publishes.
pub(super) enum Publish {
    One((ChannelName, Draft)),
    Many(Vec<(ChannelName, Draft)>),
}

/// All of it is read before anything is published: a request that cannot be understood does nothing.
pub(super) fn publish(body: &Bytes) -> Result<Publish, Problem> {
    let text = text(body)?;
    if text.trim_start().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| not_json())?;
        if !(1..=MAX_BATCH).contains(&items.len()) {
            return Err(wrong(format!("an array of publications has 1 to {MAX_BATCH}")));
        }
        let items = items.into_iter().enumerate().map(|(index, item)| {
            let named =
                |problem: Problem| Problem { message: format!("item {index}: {}", problem.message).into(), ..problem };
            publication(body, item.get()).map_err(named)
        });
        return items.collect::<Result<_, _>>().map(Publish::Many);
    }
    publication(body, text).map(Publish::One)
}

fn publication(body: &Bytes, text: &str) -> Result<(ChannelName, Draft), Problem> {
    #[derive(Deserialize)]
    #[serde(expecting = "an object")]
    struct Members<'a> {
        channel: String,
        #[serde(borrow, default, deserialize_with = "given")]
        data: Option<&'a RawValue>,
        #[serde(default, deserialize_with = "given")]
        base64: Option<String>,
        #[serde(default, deserialize_with = "given")]
        event: Option<String>,
        #[serde(default, deserialize_with = "given")]
        key: Option<String>,
        #[serde(default, deserialize_with = "given")]
        conflate: Option<String>,
        #[serde(default)]
        volatile: bool,
    }
    let members: Members<'_> = object(text)?;
    let payload = match (members.data, members.base64) {
        (Some(data), None) => Payload { kind: Kind::Json, bytes: json::passed_on(body, data)? },
        (None, Some(base64)) => {
            let bytes = BASE64.decode(base64.as_bytes()).map_err(|_| wrong("base64 is not base64 with padding"))?;
            Payload { kind: Kind::Binary, bytes: bytes.into() }
        }
        _ => return Err(wrong("a publication has data or base64")),
    };
    let shared = |text: Option<String>| text.map(Arc::from);
    let draft = Draft {
        event: shared(members.event),
        key: shared(members.key),
        conflate: shared(members.conflate),
        volatile: members.volatile,
        ..Draft::new(payload)
    };
    Ok((json::channel_name(&members.channel)?, draft))
}

pub(super) fn disconnect(body: &Bytes) -> Result<(Target, CloseCode), Problem> {
    #[derive(Deserialize)]
    #[serde(expecting = "an object")]
    struct Members {
        #[serde(default, deserialize_with = "given")]
        session: Option<String>,
        #[serde(default, deserialize_with = "given")]
        user: Option<String>,
        #[serde(default, deserialize_with = "given")]
        code: Option<f64>,
    }
    let members: Members = object(text(body)?)?;
    let target = match (members.session, members.user) {
        (Some(session), None) => {
            Target::Session(session.parse().map_err(|_| wrong("a session has 32 hexadecimal digits, in lower case"))?)
        }
        (None, Some(user)) if user.len() > MAX_USER => {
            return Err(Problem::new(ErrorCode::TooBig, "the name of a user has at most 255 bytes"));
        }
        (None, Some(user)) if user.is_empty() || user.contains(char::is_control) => {
            return Err(wrong("the name of a user is not empty and has no control characters"));
        }
        (None, Some(user)) => Target::User(user),
        _ => return Err(wrong("whom: session or user")),
    };
    let code = members.code.map_or(Some(FORBIDDEN), close_code).and_then(|code| CloseCode::new(code).ok());
    Ok((target, code.ok_or_else(|| wrong("code is 1000, or from 4000 to 4199"))?))
}

/// A code that may be chosen. JSON has one kind of numbers: 4000.0 is 4000.
fn close_code(number: f64) -> Option<u16> {
    [1000].into_iter().chain(4000..=4199).find(|&code| f64::from(code).total_cmp(&number).is_eq())
}

pub(super) fn channel(query: &Query<'_>) -> Result<ChannelName, Problem> {
    json::channel_name(query.get("channel")?.ok_or_else(|| wrong("channel is missing"))?)
}

pub(super) fn page(query: &Query<'_>) -> Result<HistoryPage, Problem> {
    let most = usize::try_from(MAX_LAST).unwrap_or(usize::MAX);
    let limit = query.number("limit", 1, most)?.unwrap_or(usize::try_from(HISTORY_LIMIT).unwrap_or(most));
    let since = query.get("since")?.map(position).transpose()?;
    Ok(HistoryPage { since, limit, reverse: query.flag("reverse")?.unwrap_or(false) })
}

pub(super) fn members(query: &Query<'_>) -> Result<usize, Problem> {
    let most = usize::try_from(MEMBERS_LIMIT).unwrap_or(usize::MAX);
    Ok(query.number("limit", 0, most)?.unwrap_or(most))
}

pub(super) fn channels(query: &Query<'_>) -> Result<(String, usize), Problem> {
    let (usual, most) = CHANNELS_LIMIT;
    let limit = query.number("limit", 1, most)?.unwrap_or(usual);
    Ok((query.get("prefix")?.unwrap_or_default().to_owned(), limit))
}

/// `EPOCH:OFFSET`.
fn position(text: &str) -> Result<Position, Problem> {
    let read = || {
        let (epoch, offset) = text.split_once(':')?;
        let offset = if offset.is_empty() { None } else { super::query::digits(offset) }?;
        Some(Position { epoch: epoch.parse::<Epoch>().ok()?, offset })
    };
    read().ok_or_else(|| wrong("since is the epoch, a colon and the offset, as in an answer"))
}

fn text(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|_| not_json())
}

/// serde would take an array for an object.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    if !text.trim_start().starts_with('{') {
        return Err(if serde_json::from_str::<&RawValue>(text).is_ok() {
            wrong("expected an object")
        } else {
            not_json()
        });
    }
    serde_json::from_str(text).map_err(|error| {
        // What serde says of data names members and types, and repeats no more than a name.
        if error.is_data() { wrong(first_line(&error.to_string())) } else { not_json() }
    })
}

/// Of a message that may repeat what was sent, as much as a person reads.
fn first_line(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}

/// A member that is there is a value, also where it is `null`.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn not_json() -> Problem {
    wrong("this is not JSON")
}
