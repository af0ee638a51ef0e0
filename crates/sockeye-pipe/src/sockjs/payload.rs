//! What clients send.
use std::{borrow::Cow, fmt};

use bytestring::ByteString;
use percent_encoding::percent_decode_str;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
};

/// Messages that one request, or one WebSocket message, may bring. Many, since clients send in one request whatever was said
/// during the one before.
pub const MAX_MESSAGES: usize = 16 * 1024;

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPayload {
    /// There is no array, or it comes as something that holds none. 500.
    Expected,
    /// It is no JSON, or has elements that are no strings. 500.
    Broken,
    /// It brings more than [`MAX_MESSAGES`]. 413.
    TooMany,
}

/// A text on a WebSocket that is no JSON, or none that holds strings: it is closed with 3000 `Broken framing.`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenFraming;

impl BadPayload {
    /// With which status it is answered.
    #[must_use]
    pub fn status(self) -> http::StatusCode {
        match self {
            Self::Expected | Self::Broken => http::StatusCode::INTERNAL_SERVER_ERROR,
            Self::TooMany => http::StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    /// What the client is told.
    #[must_use]
    pub fn body(self) -> &'static str {
        match self {
            Self::Expected => "Payload expected.",
            Self::Broken => "Broken JSON encoding.",
            Self::TooMany => "Too many messages.",
        }
    }
}

impl BrokenFraming {
    /// The code of the Close frame.
    pub const CODE: u16 = 3000;
    /// Its reason.
    pub const REASON: &str = "Broken framing.";
}

/// The messages in the body of `xhr_send`, whose `Content-Type` is `media_type`.
///
/// # Errors
/// The body is not what it has to be.
pub fn xhr_send(media_type: Option<&str>, body: &[u8]) -> Result<Vec<ByteString>, BadPayload> {
    match essence(media_type).as_ref() {
        "" | "text/plain" | "t" | "application/json" | "application/xml" | "text/xml" => array(body),
        _ => Err(BadPayload::Expected),
    }
}

/// The messages in the body of `jsonp_send`, whose `Content-Type` is `media_type`.
///
/// # Errors
/// The body is not what it has to be.
pub fn jsonp_send(media_type: Option<&str>, body: &[u8]) -> Result<Vec<ByteString>, BadPayload> {
    match essence(media_type).as_ref() {
        "" | "text/plain" => array(body),
        "application/x-www-form-urlencoded" => {
            let form = std::str::from_utf8(body).map_err(|_| BadPayload::Broken)?;
            let mut fields = form.split('&').filter_map(|field| field.split_once('='));
            let (_, value) = fields.find(|(name, _)| *name == "d").ok_or(BadPayload::Expected)?;
            let spaced = value.replace('+', " ");
            array(&Cow::from(percent_decode_str(&spaced)))
        }
        _ => Err(BadPayload::Expected),
    }
}

/// The messages in one text on a WebSocket: an array of strings, or one string. An empty text is no message.
///
/// # Errors
/// It is anything else.
pub fn websocket_messages(text: &str) -> Result<Vec<ByteString>, BrokenFraming> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if is_array(text.as_bytes()) {
        return array(text.as_bytes()).map_err(|_| BrokenFraming);
    }
    if !is_json(text) {
        return Err(BrokenFraming);
    }
    let Element(message) = serde_json::from_str(text).map_err(|_| BrokenFraming)?;
    Ok(vec![message])
}

/// A media type without its parameters, in lower case.
fn essence(media_type: Option<&str>) -> Cow<'_, str> {
    let essence = media_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    essence.to_ascii_lowercase().into()
}

/// Looked at first, since strings that are decoded as bytes may hold control characters, and bytes that are no UTF-8.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn is_array(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

fn array(body: &[u8]) -> Result<Vec<ByteString>, BadPayload> {
    if body.is_empty() {
        return Err(BadPayload::Expected);
    }
    let text = std::str::from_utf8(body).map_err(|_| BadPayload::Broken)?;
    if !is_json(text) {
        return Err(BadPayload::Broken);
    }
    if !is_array(body) {
        return Err(BadPayload::Expected);
    }
    match serde_json::from_str(text) {
        Ok(Elements(Some(messages))) => Ok(messages),
        Ok(Elements(None)) => Err(BadPayload::TooMany),
        Err(_) => Err(BadPayload::Broken),
    }
}

/// An array of strings; `None` if there are too many.
struct Elements(Option<Vec<ByteString>>);

/// One string.
pub(crate) struct Element(pub(crate) ByteString);

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

impl<'de> Deserialize<'de> for Element {
    /// As bytes, which lets halves of surrogate pairs through.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(ElementVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Elements, A::Error> {
        let mut messages = Vec::new();
        while messages.len() < MAX_MESSAGES {
            let Some(Element(message)) = elements.next_element()? else { return Ok(Elements(Some(messages))) };
            messages.push(message);
        }
        let mut is_more = false;
        while elements.next_element::<IgnoredAny>()?.is_some() {
            is_more = true;
        }
        Ok(Elements((!is_more).then_some(messages)))
    }
}

struct ElementVisitor;

impl Visitor<'_> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Element, E> {
        Ok(Element(whole(bytes)))
    }
}

/// Half of a surrogate pair comes as three bytes that are no UTF-8; it becomes U+FFFD.
fn whole(bytes: &[u8]) -> ByteString {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                return text.into();
            }
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                text.push(char::REPLACEMENT_CHARACTER);
                rest = after.get(3..).unwrap_or_default();
            }
        }
    }
}
