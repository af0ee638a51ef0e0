//! The JSON of `sockeye.v1.json`: what is sent, and what comes, from a server that may be anybody.
//!
//! Nothing here recurses into what the server sent: values that are passed on stay raw, and the parser skips others
//! without recursion.
#![allow(clippy::struct_field_names, reason = "the verb is a member of its command")]

use std::{borrow::Cow, fmt, time::Duration};

use data_encoding::BASE64;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{Data, Error, Limits, LostReason, Member, Peer, Position, Publication, error::Refusal};

/// The subprotocol's name.
pub(crate) const SUBPROTOCOL: &str = "sockeye.v1.json";

/// What the server said that it may not, or that is no JSON.
pub(crate) type Violation = String;

/// One object from the server.
#[derive(Debug)]
pub(crate) enum Incoming {
    Reply {
        id: u64,
        result: Result<Box<RawValue>, Refusal>,
    },
    Channel {
        on: String,
        news: News,
    },
    Expiring,
    Bye {
        code: u16,
        reason: String,
        retry_after: Option<Duration>,
    },
    /// An object of a kind that this version does not know, or the failure of a command without an id, of which there
    /// are none.
    Unknown,
}

/// What is said of a channel.
#[derive(Debug)]
pub(crate) enum News {
    Publication(Publication),
    /// This client's own publication, which it did not want back.
    Bare(u64),
    Joined(Member),
    Left(Member),
    Lost {
        to: Position,
        reason: LostReason,
    },
    End {
        code: String,
        retry: bool,
    },
}

/// Reads a message: an object, or an array of at most [`Limits::MAX_BATCH`].
pub(crate) fn parse(text: &str) -> Result<Vec<Incoming>, Violation> {
    let objects = if text.trim_ascii_start().starts_with('[') {
        serde_json::from_str::<Batch<'_>>(text).map(|batch| batch.0)
    } else {
        serde_json::from_str::<Object<'_>>(text).map(|object| vec![object])
    };
    objects.map_err(|error| error.to_string())?.into_iter().map(Incoming::try_from).collect()
}

#[derive(Deserialize)]
struct Object<'a> {
    id: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    ok: Option<&'a RawValue>,
    error: Option<Refusal>,
    on: Option<String>,
    offset: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    base64: Option<Cow<'a, str>>,
    event: Option<String>,
    from: Option<Peer>,
    at: Option<u64>,
    join: Option<Member>,
    leave: Option<Member>,
    #[serde(borrow)]
    lost: Option<Lost<'a>>,
    end: Option<End>,
    expiring: Option<de::IgnoredAny>,
    bye: Option<Bye>,
}

#[derive(Deserialize)]
struct Lost<'a> {
    epoch: String,
    offset: u64,
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
}

#[derive(Deserialize)]
struct End {
    code: String,
    #[serde(default)]
    retry: bool,
}

#[derive(Deserialize)]
struct Bye {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    reason: String,
    retry_after_ms: Option<u64>,
}

/// A member whose value may be `null`, which is something else than no member.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl TryFrom<Object<'_>> for Incoming {
    type Error = Violation;

    fn try_from(object: Object<'_>) -> Result<Self, Violation> {
        Ok(match object {
            Object { id: Some(id), ok: Some(ok), .. } => Self::Reply { id, result: Ok(ok.to_owned()) },
            Object { id: Some(id), error: Some(refusal), .. } => Self::Reply { id, result: Err(refusal) },
            Object { expiring: Some(_), .. } => Self::Expiring,
            Object { bye: Some(Bye { code, reason, retry_after_ms }), .. } => {
                Self::Bye { code, reason, retry_after: retry_after_ms.map(Duration::from_millis) }
            }
            Object { on: Some(_), .. } => return of_channel(object),
            _ => Self::Unknown,
        })
    }
}

fn of_channel(object: Object<'_>) -> Result<Incoming, Violation> {
    let Object { on, offset, data, base64, event, from, at, join, leave, lost, end, .. } = object;
    let data = match (data, base64) {
        (Some(json), _) => Some(Data::Json(json.to_owned())),
        (None, Some(text)) => Some(Data::Bytes(decode(&text)?)),
        (None, None) => None,
    };
    let news = match (data, offset) {
        (Some(data), offset) => News::Publication(Publication { offset, data, event, from, at }),
        (None, Some(offset)) => News::Bare(offset),
        (None, None) => match (join, leave, lost, end) {
            (Some(member), ..) => News::Joined(member),
            (_, Some(member), ..) => News::Left(member),
            (_, _, Some(Lost { epoch, offset, reason }), _) => {
                News::Lost { to: Position { epoch, offset }, reason: LostReason::from_wire(&reason) }
            }
            (.., Some(End { code, retry })) => News::End { code, retry },
            _ => return Ok(Incoming::Unknown),
        },
    };
    Ok(Incoming::Channel { on: on.unwrap_or_default(), news })
}

fn decode(base64: &str) -> Result<bytes::Bytes, Violation> {
    BASE64.decode(base64.as_bytes()).map(Into::into).map_err(|error| format!("base64: {error}"))
}

/// An array, which is given up at the object that is too many, before what follows is read.
struct Batch<'a>(Vec<Object<'a>>);

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects;
        impl<'de> Visitor<'de> for Objects {
            type Value = Batch<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {} objects", Limits::MAX_BATCH)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut objects = Vec::new();
                while let Some(object) = array.next_element()? {
                    if objects.len() == Limits::MAX_BATCH {
                        return Err(de::Error::custom("an array of too many objects"));
                    }
                    objects.push(object);
                }
                Ok(Batch(objects))
            }
        }
        deserializer.deserialize_seq(Objects)
    }
}

/// The reply to `connect`.
#[derive(Deserialize)]
pub(crate) struct Connected {
    #[serde(default)]
    pub(crate) session: String,
    pub(crate) user: Option<String>,
}

/// The reply to `subscribe`.
#[derive(Deserialize)]
pub(crate) struct Subscribed {
    pub(crate) epoch: Option<String>,
    pub(crate) offset: Option<u64>,
    #[serde(default)]
    pub(crate) catch_up: u64,
    pub(crate) recovered: Option<bool>,
    pub(crate) members: Option<Vec<Member>>,
}

/// The reply to `publish`.
#[derive(Deserialize)]
pub(crate) struct Published {
    epoch: Option<String>,
    offset: Option<u64>,
}

impl Published {
    pub(crate) fn position(self) -> Option<Position> {
        Some(Position { epoch: self.epoch?, offset: self.offset? })
    }
}

/// The reply to `call`.
#[derive(Deserialize)]
pub(crate) struct Called<T> {
    pub(crate) data: T,
}

/// The reply to `history`.
#[derive(Deserialize)]
pub(crate) struct Items {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
    pub(crate) items: Vec<Item>,
    #[serde(default)]
    pub(crate) more: bool,
}

/// A publication that is asked for.
#[derive(Deserialize)]
pub(crate) struct Item {
    offset: Option<u64>,
    #[serde(default, deserialize_with = "present_owned")]
    data: Option<Box<RawValue>>,
    base64: Option<String>,
    event: Option<String>,
    from: Option<Peer>,
    at: Option<u64>,
}

fn present_owned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl TryFrom<Item> for Publication {
    type Error = Violation;

    fn try_from(item: Item) -> Result<Self, Violation> {
        let Item { offset, data, base64, event, from, at } = item;
        let data = match (data, base64) {
            (Some(json), _) => Data::Json(json),
            (None, Some(text)) => Data::Bytes(decode(&text)?),
            (None, None) => return Err("a publication without data".into()),
        };
        Ok(Self { offset, data, event, from, at })
    }
}

/// The text of a command, which gets its id when it is known: see [`with_id`].
pub(crate) fn body(command: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(command).map_err(|error| Error::misuse(error.to_string()))
}

/// `body` is an object with at least one member.
pub(crate) fn with_id(id: u64, body: &str) -> String {
    format!("{{\"id\":{id},{}", body.strip_prefix('{').unwrap_or(body))
}

#[derive(Serialize)]
pub(crate) struct Connect<'a> {
    pub(crate) connect: ConnectOptions<'a>,
}

#[derive(Serialize)]
pub(crate) struct ConnectOptions<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<&'a str>,
    pub(crate) client: &'a str,
}

#[derive(Serialize)]
pub(crate) struct Refresh<'a> {
    pub(crate) refresh: RefreshOptions<'a>,
}

#[derive(Serialize)]
pub(crate) struct RefreshOptions<'a> {
    pub(crate) token: &'a str,
}

#[derive(Serialize)]
pub(crate) struct Subscribe<'a> {
    pub(crate) subscribe: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<&'a Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<u32>,
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub(crate) info: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) echo: Option<bool>,
}

#[derive(Serialize)]
pub(crate) struct Unsubscribe<'a> {
    pub(crate) unsubscribe: &'a str,
}

#[derive(Serialize)]
pub(crate) struct Publish<'a> {
    pub(crate) publish: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) echo: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volatile: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conflate: Option<&'a str>,
}

#[derive(Serialize)]
pub(crate) struct Presence<'a> {
    pub(crate) presence: &'a str,
}

#[derive(Serialize)]
pub(crate) struct History<'a> {
    pub(crate) history: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<&'a Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reverse: Option<bool>,
}

#[derive(Serialize)]
pub(crate) struct Call<'a, T: ?Sized> {
    pub(crate) call: &'a str,
    pub(crate) data: &'a T,
}

#[derive(Serialize)]
pub(crate) struct Ping {
    pub(crate) ping: Nothing,
}

/// `{}`.
#[derive(Serialize)]
pub(crate) struct Nothing {}
