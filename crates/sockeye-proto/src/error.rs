//! Errors: opaque outside, precise inside, with the close code for the wire.
use std::fmt;

use crate::{CloseCode, frame::HeaderError};

/// Why a connection ended without a clean closing handshake: always something the peer did or failed to do.
///
/// The text is for people; programs ask the `is_*` questions or compare [`code`](Self::code), which stays the same from
/// release to release.
///
/// ```
/// # fn look(error: &sockeye_proto::Error) {
/// if error.is_too_big() {
///     eprintln!("the peer sends too much at once: {error}");
/// }
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(Fault);

impl Error {
    pub(crate) fn new(fault: Fault) -> Self {
        Self(fault)
    }

    /// A stable name for what went wrong, such as `"invalid_utf8"`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.describe().0
    }

    /// The code of the Close frame that answers this, if one does: not an end that went silent. An end that had sent its
    /// Close frame before sends no other.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        self.0.close_code()
    }

    /// The peer broke RFC 6455 (close codes 1002 and 1007).
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        matches!(self.close_code(), Some(CloseCode::PROTOCOL_ERROR | CloseCode::INVALID_PAYLOAD))
    }

    /// The peer sent a frame or message above a size limit (close code 1009).
    #[must_use]
    pub fn is_too_big(&self) -> bool {
        self.close_code() == Some(CloseCode::TOO_BIG)
    }

    /// The peer crossed a limit other than size: fragments, pings (close code 1008).
    #[must_use]
    pub fn is_policy(&self) -> bool {
        self.close_code() == Some(CloseCode::POLICY_VIOLATION)
    }

    /// The peer was too slow or silent: no pong, no progress, an unfinished message.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, Fault::MessageTimeout | Fault::PongTimeout | Fault::WriteTimeout)
    }

    /// The transport ended without a Close frame (what browsers show as 1006).
    #[must_use]
    pub fn is_eof(&self) -> bool {
        self.0 == Fault::Eof
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?})", self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.describe().1)?;
        match self.0 {
            Fault::Header(HeaderError::ReservedOpCode(number)) => write!(f, " ({number})"),
            Fault::CloseCode(number) => write!(f, " ({number})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The precise kinds. Private, so that they may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Header(HeaderError),
    ReservedBits,
    MaskMissing,
    MaskUnexpected,
    UnexpectedContinuation,
    UnfinishedMessage,
    InvalidUtf8,
    CloseTooShort,
    CloseCode(u16),
    CloseReason,
    FrameTooBig,
    MessageTooBig,
    TooManyFragments,
    InvalidDeflate,
    #[cfg_attr(not(feature = "deflate"), expect(dead_code, reason = "nothing is inflated"))]
    DeflateWaste,
    ControlFlood,
    MessageTimeout,
    PongTimeout,
    WriteTimeout,
    Eof,
}

impl Fault {
    /// The close code that answers it (RFC 6455 section 7.4.1); none where nobody would read it.
    pub(crate) fn close_code(self) -> Option<CloseCode> {
        Some(match self {
            Self::InvalidUtf8 | Self::CloseReason | Self::InvalidDeflate => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooBig | Self::MessageTooBig => CloseCode::TOO_BIG,
            Self::TooManyFragments | Self::DeflateWaste | Self::ControlFlood | Self::MessageTimeout => {
                CloseCode::POLICY_VIOLATION
            }
            Self::PongTimeout | Self::WriteTimeout | Self::Eof => return None,
            _ => CloseCode::PROTOCOL_ERROR,
        })
    }

    /// The stable name and the sentence, which is also the reason in the Close frame.
    pub(crate) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Header(HeaderError::ReservedOpCode(_)) => ("reserved_opcode", "reserved opcode"),
            Self::Header(HeaderError::LengthNotMinimal) => {
                ("length_not_minimal", "payload length not in its minimal form")
            }
            Self::Header(HeaderError::LengthTooLarge) => ("length_too_large", "payload length of 2^63 or more"),
            Self::Header(HeaderError::ControlTooLong) => ("control_too_long", "control frame longer than 125 bytes"),
            Self::Header(HeaderError::ControlFragmented) => ("control_fragmented", "fragmented control frame"),
            Self::ReservedBits => ("reserved_bits", "reserved bits set without an extension"),
            Self::MaskMissing => ("mask_missing", "unmasked frame from a client"),
            Self::MaskUnexpected => ("mask_unexpected", "masked frame from a server"),
            Self::UnexpectedContinuation => ("unexpected_continuation", "continuation frame without a message"),
            Self::UnfinishedMessage => ("unfinished_message", "new message before the end of the last"),
            Self::InvalidUtf8 => ("invalid_utf8", "text that is not UTF-8"),
            Self::CloseTooShort => ("close_too_short", "close frame of one byte"),
            Self::CloseCode(_) => ("close_code", "invalid close code"),
            Self::CloseReason => ("close_reason", "close reason that is not UTF-8"),
            Self::FrameTooBig => ("frame_too_big", "frame above the size limit"),
            Self::MessageTooBig => ("message_too_big", "message above the size limit"),
            Self::TooManyFragments => ("too_many_fragments", "message of too many fragments"),
            Self::InvalidDeflate => ("invalid_deflate", "compressed message that cannot be inflated"),
            Self::DeflateWaste => ("deflate_waste", "compressed message much longer than what it inflates to"),
            Self::ControlFlood => ("control_flood", "too many pings and pongs"),
            Self::MessageTimeout => ("message_timeout", "message not finished in time"),
            Self::PongTimeout => ("pong_timeout", "no pong in time"),
            Self::WriteTimeout => ("write_timeout", "peer does not read"),
            Self::Eof => ("eof", "connection ended without a close frame"),
        }
    }
}

impl From<HeaderError> for Fault {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}

/// A message that was not taken, given back.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<T> {
    /// The queue is full; try again when some of it has left.
    Full(T),
    /// The connection is closing or closed; nothing more can be sent.
    Closed(T),
    /// A message that is sent in parts is not finished; finish it first.
    Unfinished(T),
    /// A part of a text with which the text is not UTF-8.
    InvalidText(T),
}

impl<T> SendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(message) | Self::Closed(message) | Self::Unfinished(message) | Self::InvalidText(message) => {
                message
            }
        }
    }

    /// Whether it may be taken later.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// The same error about something else.
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> SendError<U> {
        match self {
            Self::Full(message) => SendError::Full(f(message)),
            Self::Closed(message) => SendError::Closed(f(message)),
            Self::Unfinished(message) => SendError::Unfinished(f(message)),
            Self::InvalidText(message) => SendError::InvalidText(f(message)),
        }
    }

    fn describe(&self) -> (&'static str, &'static str) {
        match self {
            Self::Full(_) => ("SendError::Full", "the send queue is full"),
            Self::Closed(_) => ("SendError::Closed", "the connection is closing"),
            Self::Unfinished(_) => ("SendError::Unfinished", "a message that is sent in parts is not finished"),
            Self::InvalidText(_) => ("SendError::InvalidText", "the text is not UTF-8"),
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe().0)
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe().1)
    }
}

impl<T> std::error::Error for SendError<T> {}
