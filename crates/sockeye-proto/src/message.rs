//! What applications exchange: messages, and the payloads of pings and pongs.
use std::{
    borrow::Cow,
    fmt,
    ops::Deref,
    str::{FromStr, Utf8Error},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::{
    deflate::Forms,
    frame::{EncodedHeader, Header, OpCode, Rsv},
    outbox::SHARE_MIN,
};

/// A message, whole and unmasked.
///
/// ```
/// use sockeye_proto::Message;
/// let greeting = Message::from("hello");
/// assert_eq!(greeting.as_text(), Some("hello"));
/// assert_eq!(greeting.len(), 5);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// UTF-8 text.
    Text(Utf8Bytes),
    /// Any bytes.
    Binary(Bytes),
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// The text, if it is a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload, whichever kind it is.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload, whichever kind it is.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Bytes of payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is a text message.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether it is a binary message.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    pub(crate) fn opcode(&self) -> OpCode {
        match self {
            Self::Text(_) => OpCode::Text,
            Self::Binary(_) => OpCode::Binary,
        }
    }
}

/// Shows kind and length, not the payload: messages end up in logs, and what users say does not belong there.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_text() { "Text" } else { "Binary" };
        write!(f, "{kind}({} bytes)", self.len())
    }
}

macro_rules! message_from {
    ($variant:ident: $($source:ty),+) => {$(
        impl From<$source> for Message {
            fn from(payload: $source) -> Self {
                Self::$variant(payload.into())
            }
        }
    )+};
}
message_from!(Text: Utf8Bytes, String, &String, &str, Box<str>, Cow<'_, str>);
message_from!(Binary: Bytes, BytesMut, Vec<u8>, Box<[u8]>);

/// Copies.
impl From<&[u8]> for Message {
    fn from(payload: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(payload))
    }
}

/// Copies.
impl From<&Vec<u8>> for Message {
    fn from(payload: &Vec<u8>) -> Self {
        Self::from(payload.as_slice())
    }
}

/// Copies. `b"…"` is one.
impl<const N: usize> From<&[u8; N]> for Message {
    fn from(payload: &[u8; N]) -> Self {
        Self::from(payload.as_slice())
    }
}

impl From<Message> for Bytes {
    fn from(message: Message) -> Self {
        message.into_bytes()
    }
}

/// Text that shares its memory when cloned: [`Bytes`] known to be UTF-8. It is a `str` wherever one is wanted.
///
/// ```
/// use sockeye_proto::Utf8Bytes;
/// let text = Utf8Bytes::from_static("hello");
/// assert!(text.starts_with("he"));
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utf8Bytes(ByteString);

impl Utf8Bytes {
    /// A text that lives for ever, without a copy.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(ByteString::from_static(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Utf8Bytes {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl PartialEq<str> for Utf8Bytes {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Utf8Bytes {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// Copies.
impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Self {
        Self(ByteString::from(text))
    }
}

/// Copies.
impl From<&String> for Utf8Bytes {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Utf8Bytes {
    fn from(text: String) -> Self {
        Self(ByteString::from(text))
    }
}

impl From<Box<str>> for Utf8Bytes {
    fn from(text: Box<str>) -> Self {
        Self::from(String::from(text))
    }
}

/// Copies what is borrowed.
impl From<Cow<'_, str>> for Utf8Bytes {
    fn from(text: Cow<'_, str>) -> Self {
        Self::from(text.into_owned())
    }
}

impl FromStr for Utf8Bytes {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::from(text))
    }
}

/// Without a copy, if the bytes are UTF-8.
impl TryFrom<Bytes> for Utf8Bytes {
    type Error = Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Utf8Error> {
        ByteString::try_from(bytes).map(Self)
    }
}

/// Without a copy, if the bytes are UTF-8.
impl TryFrom<Vec<u8>> for Utf8Bytes {
    type Error = Utf8Error;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Utf8Error> {
        Self::try_from(Bytes::from(bytes))
    }
}

/// Copies.
impl TryFrom<&[u8]> for Utf8Bytes {
    type Error = Utf8Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Utf8Error> {
        std::str::from_utf8(bytes).map(Self::from)
    }
}

impl From<Utf8Bytes> for Bytes {
    fn from(text: Utf8Bytes) -> Self {
        text.0.into_bytes()
    }
}

/// The payload of a ping or pong: at most 125 bytes (RFC 6455 section 5.5).
///
/// ```
/// use sockeye_proto::ControlPayload;
/// assert_eq!(ControlPayload::try_from("are you there?").unwrap().as_bytes(), b"are you there?");
/// assert!(ControlPayload::try_from(&[0; 125]).is_ok());
/// assert!(ControlPayload::try_from(&[0; 126]).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ControlPayload(Bytes);

impl ControlPayload {
    /// The most bytes a control frame carries.
    pub const MAX_LEN: usize = 125;

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For payloads whose frame header was checked already.
    pub(crate) fn checked_by_header(payload: Bytes) -> Self {
        Self(payload)
    }
}

impl From<ControlPayload> for Bytes {
    fn from(payload: ControlPayload) -> Self {
        payload.0
    }
}

impl TryFrom<Bytes> for ControlPayload {
    type Error = PayloadTooLong;

    fn try_from(payload: Bytes) -> Result<Self, PayloadTooLong> {
        if payload.len() > Self::MAX_LEN { Err(PayloadTooLong(payload.len())) } else { Ok(Self(payload)) }
    }
}

/// Copies.
impl TryFrom<&[u8]> for ControlPayload {
    type Error = PayloadTooLong;

    fn try_from(payload: &[u8]) -> Result<Self, PayloadTooLong> {
        if payload.len() > Self::MAX_LEN {
            return Err(PayloadTooLong(payload.len()));
        }
        Ok(Self(Bytes::copy_from_slice(payload)))
    }
}

/// Copies. `b"…"` is one.
impl<const N: usize> TryFrom<&[u8; N]> for ControlPayload {
    type Error = PayloadTooLong;

    fn try_from(payload: &[u8; N]) -> Result<Self, PayloadTooLong> {
        Self::try_from(payload.as_slice())
    }
}

/// Copies.
impl TryFrom<&str> for ControlPayload {
    type Error = PayloadTooLong;

    fn try_from(payload: &str) -> Result<Self, PayloadTooLong> {
        Self::try_from(payload.as_bytes())
    }
}

impl TryFrom<Vec<u8>> for ControlPayload {
    type Error = PayloadTooLong;

    fn try_from(payload: Vec<u8>) -> Result<Self, PayloadTooLong> {
        Self::try_from(Bytes::from(payload))
    }
}

impl TryFrom<String> for ControlPayload {
    type Error = PayloadTooLong;

    fn try_from(payload: String) -> Result<Self, PayloadTooLong> {
        Self::try_from(Bytes::from(payload))
    }
}

/// The payload has more bytes than the 125 a control frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadTooLong(pub usize);

impl fmt::Display for PayloadTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a control frame carries at most {} bytes, not {}", ControlPayload::MAX_LEN, self.0)
    }
}

impl std::error::Error for PayloadTooLong {}

/// A message encoded once, to be sent to any number of connections. Clones share what was made of it.
///
/// All clients of a server get the same bytes. Only what a server sends can be shared so, since a client masks every frame
/// with a key of its own. Connections that compress share its compressed form, which is made when the first of them sends
/// it; so a broadcast is compressed once, or once for each set of parameters agreed upon. With context takeover that form
/// still refers to nothing before it, so that it fits every connection.
///
/// ```
/// use sockeye_proto::{Message, Prepared};
/// let prepared = Prepared::new(Message::from("to everybody"));
/// assert_eq!(prepared.message().as_text(), Some("to everybody"));
/// ```
#[derive(Clone, Debug)]
pub struct Prepared(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    header: EncodedHeader,
    /// Header and payload in one piece, of which `message` is a part. `None` if it is not copied anyway.
    frame: Option<Bytes>,
    message: Message,
    /// `None` for one that is never compressed.
    forms: Option<Forms>,
}

impl Prepared {
    /// Encodes the message.
    #[must_use]
    pub fn new(message: Message) -> Self {
        Self::encode(message, Some(Forms::default()))
    }

    /// Encodes a message that is never compressed, whatever was agreed upon.
    ///
    /// For messages that hold a secret beside something that a stranger chose: the length of the compressed form would tell
    /// how much the two have in common, and by trying often the stranger would learn the secret (the attack called BREACH).
    ///
    /// ```
    /// use sockeye_proto::{Message, Prepared};
    /// let token = Prepared::plain(Message::from(r#"{"search":"their words","csrf":"our secret"}"#));
    /// assert_eq!(token.compressions(), 0);
    /// ```
    #[must_use]
    pub fn plain(message: Message) -> Self {
        Self::encode(message, None)
    }

    fn encode(message: Message, forms: Option<Forms>) -> Self {
        let (opcode, len) = (message.opcode(), message.len() as u64);
        let header = Header { fin: true, rsv: Rsv::NONE, opcode, mask: None, len }.encode();
        let small = header.as_slice().len().saturating_add(message.len()) < SHARE_MIN;
        let (frame, message) = if small { join(&header, message) } else { (None, message) };
        Self(Arc::new(Encoded { header, frame, message, forms }))
    }

    /// The message it was made of.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// How often it has been compressed so far: at most once for each set of parameters among the connections that sent it.
    #[must_use]
    pub fn compressions(&self) -> usize {
        self.0.forms.as_ref().map_or(0, Forms::count)
    }

    /// All of a server's frame that is not compressed, unless it is large.
    #[inline]
    pub(crate) fn frame(&self) -> Option<&Bytes> {
        self.0.frame.as_ref()
    }

    /// The header of a server's frame that is not compressed.
    pub(crate) fn header(&self) -> &EncodedHeader {
        &self.0.header
    }

    pub(crate) fn forms(&self) -> Option<&Forms> {
        self.0.forms.as_ref()
    }
}

/// The frame in one piece, and the message as a part of it, so that it is in memory once.
fn join(header: &EncodedHeader, message: Message) -> (Option<Bytes>, Message) {
    let start = header.as_slice().len();
    let frame = Bytes::from([header.as_slice(), message.as_bytes()].concat());
    let payload = frame.slice(start..);
    let message = match message {
        Message::Text(text) => Message::Text(Utf8Bytes::try_from(payload).unwrap_or(text)),
        Message::Binary(_) => Message::Binary(payload),
    };
    (Some(frame), message)
}

impl From<Message> for Prepared {
    fn from(message: Message) -> Self {
        Self::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people hold becomes the message they mean.
    #[test]
    fn strings_are_text_and_bytes_are_binary() {
        let text = String::from("fish");
        for message in [
            Message::from("fish"),
            Message::from(&text),
            Message::from(Cow::Borrowed("fish")),
            Message::from(text.clone().into_boxed_str()),
            Message::from(text),
        ] {
            assert_eq!(message.as_text(), Some("fish"));
        }
        let bytes = vec![1, 2];
        for message in [
            Message::from(b"\x01\x02"),
            Message::from(&bytes),
            Message::from(bytes.as_slice()),
            Message::from(BytesMut::from(bytes.as_slice())),
            Message::from(bytes.into_boxed_slice()),
        ] {
            assert!(message.is_binary());
            assert_eq!(Bytes::from(message), [1, 2][..]);
        }
    }

    #[test]
    fn bytes_become_text_only_if_they_are_utf8() {
        assert_eq!(Utf8Bytes::try_from(b"fish".as_slice()).unwrap(), "fish");
        assert_eq!(Utf8Bytes::try_from(b"fish".to_vec()).unwrap(), "fish");
        assert!(Utf8Bytes::try_from(b"\xff".as_slice()).is_err());
        assert!(Utf8Bytes::try_from(b"\xff".to_vec()).is_err());
    }

    /// RFC 6455 section 5.5: 125 bytes, whatever they come in.
    #[test]
    fn control_payloads_are_bounded_in_every_form() {
        let long = "x".repeat(126);
        let error = PayloadTooLong(126);
        assert_eq!(ControlPayload::try_from(long.as_str()), Err(error));
        assert_eq!(ControlPayload::try_from(long.clone()), Err(error));
        assert_eq!(ControlPayload::try_from(long.into_bytes()), Err(error));
        assert_eq!(ControlPayload::try_from(&[0; 126]), Err(error));
        assert_eq!(ControlPayload::try_from("x".repeat(125)).unwrap().as_bytes().len(), 125);
    }
}
