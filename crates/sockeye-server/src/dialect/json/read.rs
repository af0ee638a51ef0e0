//! From a message to verbs.
use std::{borrow::Cow, fmt, ops::ControlFlow, str::FromStr, sync::Arc};

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use sockeye_hub::{CatchUp, ChannelName, Draft, Epoch, HistoryPage, Kind, Payload, Position, Request, Subscribe};

use super::{HISTORY_LIMIT, MAX_BATCH, MAX_ID, MAX_LAST, MAX_NAME, MAX_TOKEN, MEMBERS_LIMIT, value};
use crate::dialect::{Credentials, ErrorCode, Problem, Verb};

/// Gives the commands of a text message to `each`; see [`Dialect::read`](crate::dialect::Dialect::read).
pub(crate) fn read(
    message: &Bytes,
    skip: usize,
    mut each: impl FnMut(Option<u64>, Result<Verb, Problem>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let is_batch = |text: &str| text.trim_start_matches(is_space).starts_with('[');
    let problem = match std::str::from_utf8(message) {
        Ok(text) if is_batch(text) => match serde_json::from_str(text) {
            Ok(Batch::Commands(commands)) => {
                let mut commands = commands.into_iter().skip(skip);
                while let Some(command) = commands.next() {
                    let flow = one(message, command.get(), &mut each);
                    if flow.is_break() && commands.len() > 0 {
                        return flow;
                    }
                }
                return ControlFlow::Continue(());
            }
            Ok(Batch::TooMany) => Problem::new(ErrorCode::Limit, "more than 100 commands in one message"),
            Err(_) => not_json(),
        },
        Ok(text) => {
            if skip == 0 {
                let _ = one(message, text, &mut each);
            }
            return ControlFlow::Continue(());
        }
        Err(_) => not_json(),
    };
    let _ = each(None, Err(problem));
    ControlFlow::Continue(())
}

fn one(
    message: &Bytes,
    text: &str,
    each: &mut impl FnMut(Option<u64>, Result<Verb, Problem>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match serde_json::from_str::<Members<'_>>(text) {
        Ok(members) => match members.id() {
            Ok(id) => each(id, members.verb(message)),
            Err(problem) => each(None, Err(problem)),
        },
        Err(error) if error.is_data() => each(None, Err(Problem::bad_request("expected an object with a verb"))),
        Err(_) => each(None, Err(not_json())),
    }
}

fn not_json() -> Problem {
    Problem::bad_request("this is not JSON")
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

/// An array of commands, none of them read yet.
enum Batch<'a> {
    Commands(Vec<&'a RawValue>),
    TooMany,
}

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Commands;

        impl<'de> Visitor<'de> for Commands {
            type Value = Batch<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of commands")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut commands = Vec::new();
                while commands.len() < MAX_BATCH {
                    let Some(command) = array.next_element()? else { return Ok(Batch::Commands(commands)) };
                    commands.push(command);
                }
                if array.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(Batch::Commands(commands));
                }
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Batch::TooMany)
            }
        }

        deserializer.deserialize_seq(Commands)
    }
}

/// The members of a command that mean something. The first nine are the verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Name {
    Connect,
    Subscribe,
    Unsubscribe,
    Publish,
    Presence,
    History,
    Call,
    Refresh,
    Ping,
    Id,
    Since,
    Last,
    As,
    Members,
    Echo,
    Data,
    Base64,
    Event,
    Key,
    Volatile,
    Conflate,
    Limit,
    Reverse,
    #[serde(other)]
    Unknown,
}

const NAMES: usize = Name::Unknown as usize;

const VERBS: [Name; 9] = [
    Name::Connect,
    Name::Subscribe,
    Name::Unsubscribe,
    Name::Publish,
    Name::Presence,
    Name::History,
    Name::Call,
    Name::Refresh,
    Name::Ping,
];

/// The members of one command, each as it was written.
struct Members<'a> {
    values: [Option<&'a RawValue>; NAMES],
    /// A member that means something came twice: parsers differ in which of them counts.
    twice: bool,
    unknown: bool,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut members = Members { values: [None; NAMES], twice: false, unknown: false };
                while let Some(name) = object.next_key::<Name>()? {
                    if let Some(value) = members.values.get_mut(name as usize) {
                        members.twice |= value.replace(object.next_value()?).is_some();
                    } else {
                        object.next_value::<IgnoredAny>()?;
                        members.unknown = true;
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl<'a> Members<'a> {
    fn get(&self, name: Name) -> Option<&'a RawValue> {
        self.values.get(name as usize).copied().flatten()
    }

    fn id(&self) -> Result<Option<u64>, Problem> {
        let Some(id) = self.get(Name::Id) else { return Ok(None) };
        let id = id.get().parse().ok().filter(|id| (1..=MAX_ID).contains(id));
        id.map(Some).ok_or_else(|| Problem::bad_request("id is an integer from 1 to 2^53-1"))
    }

    fn verb(&self, message: &Bytes) -> Result<Verb, Problem> {
        if self.twice {
            return Err(Problem::bad_request("a member came twice"));
        }
        let mut verbs = VERBS.into_iter().filter_map(|name| Some((name, self.get(name)?)));
        let (verb, value) = match (verbs.next(), verbs.next()) {
            (Some(verb), None) => verb,
            (None, _) if self.unknown => return Err(Problem::new(ErrorCode::UnknownVerb, "there is no such verb")),
            (None, _) => return Err(Problem::bad_request("a command has a verb")),
            (Some(_), Some(_)) => return Err(Problem::bad_request("a command has one verb")),
        };
        Ok(match verb {
            Name::Connect => Verb::Connect(credentials(value)?),
            Name::Refresh => Verb::Refresh(credentials(value)?),
            Name::Subscribe => Verb::Hub(Request::Subscribe(channel(value)?, self.subscribe(message)?)),
            Name::Unsubscribe => Verb::Hub(Request::Unsubscribe(channel(value)?)),
            Name::Publish => Verb::Hub(Request::Publish(channel(value)?, self.draft(message)?)),
            Name::Presence => {
                let limit = self.number(Name::Limit, "limit")?.unwrap_or(MEMBERS_LIMIT);
                Verb::Hub(Request::Presence(channel(value)?, size(limit.min(MEMBERS_LIMIT))))
            }
            Name::History => Verb::Hub(Request::History(channel(value)?, self.page()?)),
            Name::Call => {
                let method = text(value).filter(|method| method.len() <= MAX_NAME);
                let method = method.ok_or_else(|| Problem::bad_request("call is the name of a method"))?;
                let data = self
                    .get(Name::Data)
                    .map_or_else(|| Ok(Bytes::from_static(b"null")), |data| passed_on(message, data))?;
                Verb::Call { method: method.into(), data }
            }
            _ => Verb::Ping,
        })
    }

    fn subscribe(&self, message: &Bytes) -> Result<Subscribe, Problem> {
        let shown_as = match self.get(Name::As) {
            Some(value) if value.get().starts_with('{') => Some(passed_on(message, value)?),
            Some(_) => return Err(Problem::bad_request("as is an object")),
            None => None,
        };
        let catch_up = match (self.position()?, self.number(Name::Last, "last")?) {
            (None, None) => CatchUp::None,
            (Some(position), None) => CatchUp::Since(position),
            (None, Some(count)) => CatchUp::Last(size(count.min(MAX_LAST))),
            (Some(_), Some(_)) => return Err(Problem::bad_request("since or last, not both")),
        };
        let members = self.flag(Name::Members, "members")?.unwrap_or(shown_as.is_some());
        Ok(Subscribe { catch_up, shown_as, members, echo: self.flag(Name::Echo, "echo")?.unwrap_or(true) })
    }

    fn draft(&self, message: &Bytes) -> Result<Draft, Problem> {
        let payload = match (self.get(Name::Data), self.get(Name::Base64)) {
            (Some(data), None) => Payload { kind: Kind::Json, bytes: passed_on(message, data)? },
            (None, Some(base64)) => {
                let bytes = text(base64).and_then(|text| BASE64.decode(text.as_bytes()).ok());
                let bytes = bytes.ok_or_else(|| Problem::bad_request("base64 is not base64 with padding"))?;
                Payload { kind: Kind::Binary, bytes: bytes.into() }
            }
            _ => return Err(Problem::bad_request("publish has data or base64")),
        };
        Ok(Draft {
            payload,
            event: self.shared_text(Name::Event, "event is a string")?,
            key: self.shared_text(Name::Key, "key is a string")?,
            conflate: self.shared_text(Name::Conflate, "conflate is a string")?,
            echo: self.flag(Name::Echo, "echo")?.unwrap_or(true),
            volatile: self.flag(Name::Volatile, "volatile")?.unwrap_or(false),
        })
    }

    fn page(&self) -> Result<HistoryPage, Problem> {
        Ok(HistoryPage {
            since: self.position()?,
            limit: size(self.number(Name::Limit, "limit")?.unwrap_or(HISTORY_LIMIT)),
            reverse: self.flag(Name::Reverse, "reverse")?.unwrap_or(false),
        })
    }

    fn position(&self) -> Result<Option<Position>, Problem> {
        #[derive(Deserialize)]
        struct Since<'a> {
            #[serde(borrow)]
            epoch: Cow<'a, str>,
            offset: u64,
        }
        // No channel has this epoch. What is none of ours is that of a channel that began anew, as with another server.
        const NONE: Epoch = Epoch(0);
        let Some(since) = self.get(Name::Since) else { return Ok(None) };
        let since: Since<'_> =
            object(since).ok_or_else(|| Problem::bad_request("since is {\"epoch\":\"…\",\"offset\":…}"))?;
        let epoch = Epoch::from_str(&since.epoch).unwrap_or(NONE);
        Ok(Some(Position { epoch, offset: since.offset }))
    }

    /// A number that is not negative; one that is too large for us is as large as can be.
    fn number(&self, name: Name, text: &'static str) -> Result<Option<u64>, Problem> {
        let Some(number) = self.get(name) else { return Ok(None) };
        let digits = number.get();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Problem {
                message: format!("{text} is an integer and not negative").into(),
                ..Problem::bad_request("")
            });
        }
        Ok(Some(digits.parse().unwrap_or(u64::MAX)))
    }

    fn flag(&self, name: Name, text: &'static str) -> Result<Option<bool>, Problem> {
        match self.get(name).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Problem { message: format!("{text} is true or false").into(), ..Problem::bad_request("") }),
        }
    }

    fn shared_text(&self, name: Name, otherwise: &'static str) -> Result<Option<Arc<str>>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        text(value).map(|text| Some(text.into())).ok_or_else(|| Problem::bad_request(otherwise))
    }
}

fn channel(value: &RawValue) -> Result<ChannelName, Problem> {
    let bad = |message| Problem::new(ErrorCode::BadChannel, message);
    channel_name(&text(value).ok_or_else(|| bad("the name of a channel is a string"))?)
}

/// A channel that others than the server itself may name.
pub(crate) fn channel_name(name: &str) -> Result<ChannelName, Problem> {
    let bad = |message| Problem::new(ErrorCode::BadChannel, message);
    let name = ChannelName::parse(name)
        .map_err(|_| bad("the name of a channel has 1 to 255 bytes and no white space or any of *#>+?"))?;
    if name.is_reserved() { Err(bad("channels that begin with $ are the server's own")) } else { Ok(name) }
}

fn credentials(value: &RawValue) -> Result<Credentials, Problem> {
    #[derive(Deserialize)]
    struct Shown<'a> {
        #[serde(borrow)]
        token: Option<Cow<'a, str>>,
        #[serde(borrow)]
        client: Option<Cow<'a, str>>,
    }
    let shown: Shown<'_> = object(value).ok_or_else(|| Problem::bad_request("expected {\"token\":\"…\"}"))?;
    let too_long = |text: &Option<Cow<'_, str>>, max| text.as_ref().is_some_and(|text| text.len() > max);
    if too_long(&shown.token, MAX_TOKEN) || too_long(&shown.client, MAX_NAME) {
        return Err(Problem::new(ErrorCode::TooBig, "the token or the name of the client is too long"));
    }
    let boxed = |text: Cow<'_, str>| text.into_owned().into_boxed_str();
    Ok(Credentials { token: shown.token.map(boxed), client: shown.client.map(boxed) })
}

/// An object; serde would take an array for it too.
fn object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    if value.get().starts_with('{') { serde_json::from_str(value.get()).ok() } else { None }
}

fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let inside = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inside))
    }
}

/// A value as it was written.
pub(crate) fn passed_on(message: &Bytes, value: &RawValue) -> Result<Bytes, Problem> {
    let bytes = value.get().as_bytes();
    value::check(value.get()).map_err(Problem::bad_request)?;
    // What is kept is what it weighs: a small part must not hold a large message.
    let mostly = bytes.len() >= message.len() / 2;
    Ok(if mostly { message.slice_ref(bytes) } else { Bytes::copy_from_slice(bytes) })
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
