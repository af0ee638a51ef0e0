//! The closing handshake's values (RFC 6455 sections 5.5.1, 7.1 and 7.4).
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Utf8Bytes, error::Fault};

/// A status code that may stand in a Close frame.
///
/// Codes that must never be sent (1005, 1006, 1015), those nobody has registered, and those outside 1000–4999 have no
/// value here (RFC 6455 section 7.4 and the IANA registry).
///
/// ```
/// use sockeye_proto::CloseCode;
/// assert_eq!(CloseCode::new(1000), Ok(CloseCode::NORMAL));
/// assert_eq!(CloseCode::new(4100).unwrap().get(), 4100);
/// assert!(CloseCode::new(1006).is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server going down, or a browser leaving the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that this endpoint does not take, such as binary where text is spoken.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: data that does not fit its type, such as a text message that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy was violated and no other code fits.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to take.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the client misses an extension it needs.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the endpoint met something unexpected.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts; come back.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the service is overloaded; come back later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got a bad answer from upstream.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// The code with this number.
    ///
    /// # Errors
    /// If the number must not stand in a Close frame.
    pub fn new(code: u16) -> Result<Self, InvalidCloseCode> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Self(code)),
            _ => Err(InvalidCloseCode(code)),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u16> for CloseCode {
    type Error = InvalidCloseCode;

    fn try_from(code: u16) -> Result<Self, InvalidCloseCode> {
        Self::new(code)
    }
}

/// The number is no status code that may stand in a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidCloseCode(pub u16);

impl fmt::Display for InvalidCloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must not stand in a Close frame", self.0)
    }
}

impl std::error::Error for InvalidCloseCode {}

/// The reason in a Close frame: UTF-8 of at most 123 bytes, which is what a control frame holds beside the code.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct CloseReason(Utf8Bytes);

impl CloseReason {
    /// The most bytes a reason can have.
    pub const MAX_LEN: usize = 123;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A text longer than 123 bytes is cut at the last code point that fits.
impl From<&str> for CloseReason {
    fn from(text: &str) -> Self {
        Self(Utf8Bytes::from(text.get(..cut(text)).unwrap_or_default()))
    }
}

/// A text longer than 123 bytes is cut at the last code point that fits.
impl From<String> for CloseReason {
    fn from(mut text: String) -> Self {
        text.truncate(cut(&text));
        Self(Utf8Bytes::from(text))
    }
}

/// A text longer than 123 bytes is cut at the last code point that fits.
impl From<&String> for CloseReason {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

/// Where the last code point ends that fits.
fn cut(text: &str) -> usize {
    let mut end = text.len().min(CloseReason::MAX_LEN);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    end
}

impl fmt::Debug for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

/// What a Close frame says when it is not empty.
///
/// ```
/// use sockeye_proto::{CloseCode, CloseFrame};
/// let frame = CloseFrame::new(CloseCode::SERVICE_RESTART, "back in a minute");
/// assert_eq!((frame.code.get(), frame.reason.as_str()), (1012, "back in a minute"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why, for programs.
    pub code: CloseCode,
    /// Why, for people reading logs.
    pub reason: CloseReason,
}

impl CloseFrame {
    /// A Close frame with this code and reason.
    pub fn new(code: CloseCode, reason: impl Into<CloseReason>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Reads the payload of a Close frame; an empty one has neither code nor reason.
    pub(crate) fn decode(payload: &[u8]) -> Result<Option<Self>, Fault> {
        let Some((&code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() { Ok(None) } else { Err(Fault::CloseTooShort) };
        };
        let code = CloseCode::new(u16::from_be_bytes(code)).map_err(|error| Fault::CloseCode(error.0))?;
        let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Fault::CloseReason)?;
        Ok(Some(Self { code, reason: CloseReason::from(reason) }))
    }

    /// The payload of the Close frame that says this.
    pub(crate) fn encode(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(self.reason.as_str().len().saturating_add(2));
        payload.put_u16(self.code.get());
        payload.put_slice(self.reason.as_str().as_bytes());
        payload.freeze()
    }
}

/// One of the two ends, or the program on top of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// This end.
    Local,
    /// The peer.
    Remote,
}

/// How a connection ended by the closing handshake.
///
/// ```
/// # use sockeye_proto::CloseOutcome;
/// fn log(outcome: &CloseOutcome) {
///     println!("closed {} {:?}, clean: {}", outcome.code(), outcome.reason(), outcome.is_clean());
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseOutcome {
    initiator: Party,
    /// Boxed, since every connection has room for an event, and this is the largest and the last.
    received: Box<Received>,
}

/// What came from the peer by way of a Close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Nothing,
    Empty,
    Frame(CloseFrame),
}

impl From<Option<CloseFrame>> for Received {
    fn from(frame: Option<CloseFrame>) -> Self {
        frame.map_or(Self::Empty, Self::Frame)
    }
}

impl CloseOutcome {
    /// RFC 6455's 1005: the peer's Close frame had no code.
    pub const NO_STATUS: u16 = 1005;
    /// RFC 6455's 1006: no Close frame came.
    pub const ABNORMAL: u16 = 1006;

    pub(crate) fn new(initiator: Party, received: Received) -> Self {
        Self { initiator, received: Box::new(received) }
    }

    /// The code that browsers show as `CloseEvent.code`: the one in the peer's Close frame, 1005 if that had none, 1006
    /// if no Close frame came (RFC 6455 section 7.1.5).
    #[must_use]
    pub fn code(&self) -> u16 {
        match &*self.received {
            Received::Frame(frame) => frame.code.get(),
            Received::Empty => Self::NO_STATUS,
            Received::Nothing => Self::ABNORMAL,
        }
    }

    /// The reason in the peer's Close frame, or the empty text.
    #[must_use]
    pub fn reason(&self) -> &str {
        match &*self.received {
            Received::Frame(frame) => frame.reason.as_str(),
            Received::Empty | Received::Nothing => "",
        }
    }

    /// What the peer's Close frame said, if it came and said anything.
    #[must_use]
    pub fn frame(&self) -> Option<&CloseFrame> {
        match &*self.received {
            Received::Frame(frame) => Some(frame),
            Received::Empty | Received::Nothing => None,
        }
    }

    /// Whether the peer's Close frame came, first or as the answer to ours (RFC 6455 section 7.1.4). Whether our own
    /// reached the peer no end can know.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self.received != Received::Nothing
    }

    /// Who sent the first Close frame.
    #[must_use]
    pub fn initiator(&self) -> Party {
        self.initiator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C6: what may and may not stand in a Close frame, all 65,536 numbers of it.
    #[test]
    fn codes_are_those_of_the_registry_and_the_private_ranges() {
        for code in 0..=u16::MAX {
            let forbidden = matches!(code, 0..=999 | 1004 | 1005 | 1006 | 1015 | 1016..=2999 | 5000..=u16::MAX);
            assert_eq!(CloseCode::new(code).is_err(), forbidden, "{code}");
            let decoded = CloseFrame::decode(&code.to_be_bytes());
            assert_eq!(decoded.is_err(), forbidden, "{code}");
        }
    }

    /// C8: our own reasons are cut at a code point.
    #[test]
    fn long_reasons_are_cut_at_a_code_point() {
        assert_eq!(CloseReason::from("a".repeat(123).as_str()).as_str().len(), 123);
        assert_eq!(CloseReason::from("ä".repeat(100).as_str()).as_str(), "ä".repeat(61));
        assert_eq!(CloseReason::from("🐟".repeat(100).as_str()).as_str(), "🐟".repeat(30));
        assert_eq!(CloseReason::from("🐟".repeat(100)).as_str(), "🐟".repeat(30));
        assert_eq!(CloseReason::from(&format!("{} left", 3)).as_str(), "3 left");
    }

    /// "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer" (C5), then UTF-8 (C7).
    #[test]
    fn payloads_are_empty_or_a_code_and_utf8() {
        assert_eq!(CloseFrame::decode(b""), Ok(None));
        assert_eq!(CloseFrame::decode(b"\x03"), Err(Fault::CloseTooShort));
        assert_eq!(CloseFrame::decode(b"\x03\xe8\xff"), Err(Fault::CloseReason));
        let frame = CloseFrame::new(CloseCode::NORMAL, "done");
        assert_eq!(CloseFrame::decode(&frame.encode()), Ok(Some(frame)));
    }
}
