//! What a program wants of compression, and what two ends agreed upon.
use std::{fmt, sync::Arc};

use super::budget::{DeflateBudget, Reservation};

/// A program's policy for permessage-deflate (RFC 7692): how it compresses, and how far it goes in the negotiation.
///
/// The default compresses every message on its own (no context takeover), so that an idle connection holds nothing for it
/// and a broadcast is compressed once for all.
///
/// ```
/// use sockeye_proto::{Deflate, DeflateBudget};
///
/// // A feed of small, similar messages: each is compressed with the 4 KiB before it at hand.
/// let feed = Deflate::default()
///     .server_takeover(true)
///     .server_window_bits(12)?
///     .budget(DeflateBudget::new(256 * 1024 * 1024));
/// # let _ = feed;
/// # Ok::<(), sockeye_proto::InvalidDeflate>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deflate {
    pub(super) effort: Effort,
    pub(super) server: Direction,
    pub(super) client: Direction,
    pub(super) threshold: usize,
    pub(super) budget: DeflateBudget,
}

/// What decides, with the window, how a message looks when it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effort {
    pub(super) level: u8,
    pub(super) mem_level: u8,
}

/// One of the two directions of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    /// Base-2 logarithm of the LZ77 window's size.
    pub(super) bits: u8,
    /// Whether a message may refer to what the messages before it said.
    pub(super) takeover: bool,
}

impl Direction {
    /// Bytes that its window takes between messages.
    pub(super) fn kept(self) -> usize {
        if self.takeover { window_size(self.bits) } else { 0 }
    }
}

/// A number outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidDeflate {
    what: &'static str,
    min: u8,
    max: u8,
}

/// The window bits that both ends of a connection can use. RFC 7692 knows 8 as well, but no zlib compresses with it.
const WINDOW_BITS: (u8, u8) = (9, MAX_WINDOW_BITS);
/// The window that holds where nothing else is agreed upon, and the largest there is.
pub(super) const MAX_WINDOW_BITS: u8 = 15;

impl Deflate {
    /// How hard to try, from 1 (fast) to 9 (small). Default: 2, which on messages of a few kilobytes is within a few
    /// percent of 6 in size, at two thirds of its cost.
    ///
    /// # Errors
    /// If the level is another number.
    pub fn level(mut self, level: u8) -> Result<Self, InvalidDeflate> {
        self.effort.level = in_range("the level", level, (1, 9))?;
        Ok(self)
    }

    /// How much memory a compressor may use beside its window, from 1 to 9. Default: 8. Compressors are the threads', so
    /// this is no matter of the number of connections.
    ///
    /// # Errors
    /// If the memory level is another number.
    pub fn mem_level(mut self, mem_level: u8) -> Result<Self, InvalidDeflate> {
        self.effort.mem_level = in_range("the memory level", mem_level, (1, 9))?;
        Ok(self)
    }

    /// How far back in what it sent the server may refer: at most 2 to the power of `bits` bytes, from 9 to 15. Default: 15.
    ///
    /// A server says so in its answer. A client asks for it; a server that knows no such limit is taken without.
    ///
    /// # Errors
    /// If `bits` is another number. 8 is one of RFC 7692's, but no zlib compresses with it.
    pub fn server_window_bits(mut self, bits: u8) -> Result<Self, InvalidDeflate> {
        self.server.bits = in_range("the window bits", bits, WINDOW_BITS)?;
        Ok(self)
    }

    /// How far back in what it sent the client may refer: at most 2 to the power of `bits` bytes, from 9 to 15. Default: 15.
    ///
    /// A server asks for it where the client offers to be told.
    ///
    /// # Errors
    /// If `bits` is another number.
    pub fn client_window_bits(mut self, bits: u8) -> Result<Self, InvalidDeflate> {
        self.client.bits = in_range("the window bits", bits, WINDOW_BITS)?;
        Ok(self)
    }

    /// Whether what the server sends may refer to earlier messages, which makes small similar ones much smaller and costs
    /// each end up to the window's size. Default: `false`.
    #[must_use]
    pub fn server_takeover(mut self, takeover: bool) -> Self {
        self.server.takeover = takeover;
        self
    }

    /// Whether what the client sends may refer to earlier messages. Default: `false`.
    #[must_use]
    pub fn client_takeover(mut self, takeover: bool) -> Self {
        self.client.takeover = takeover;
        self
    }

    /// Messages of fewer bytes are sent as they are, and those that compression makes no smaller. Default: 128; below,
    /// Deflate's own bytes eat most of the gain. Zero compresses every message, whatever comes of it.
    #[must_use]
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// What the windows of context takeover may cost, all connections together. Default: 64 MiB for this policy and its
    /// clones.
    #[must_use]
    pub fn budget(mut self, budget: DeflateBudget) -> Self {
        self.budget = budget;
        self
    }
}

impl Default for Deflate {
    fn default() -> Self {
        let direction = Direction { bits: MAX_WINDOW_BITS, takeover: false };
        Self {
            effort: Effort { level: 2, mem_level: 8 },
            server: direction,
            client: direction,
            threshold: 128,
            budget: DeflateBudget::default(),
        }
    }
}

fn in_range(what: &'static str, number: u8, (min, max): (u8, u8)) -> Result<u8, InvalidDeflate> {
    if (min..=max).contains(&number) { Ok(number) } else { Err(InvalidDeflate { what, min, max }) }
}

/// Bytes of a window.
pub(super) fn window_size(bits: u8) -> usize {
    1_usize.checked_shl(bits.into()).unwrap_or(usize::MAX)
}

impl fmt::Display for InvalidDeflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be from {} to {}", self.what, self.min, self.max)
    }
}

impl std::error::Error for InvalidDeflate {}

/// What both ends agreed upon: permessage-deflate with these parameters (RFC 7692 section 7.1).
///
/// An opening handshake gives it; [`Connection::with_deflate`](crate::Connection::with_deflate) takes it.
#[derive(Clone, Debug)]
pub struct DeflateParams {
    pub(super) server: Direction,
    pub(super) client: Direction,
    #[cfg_attr(not(feature = "deflate"), expect(dead_code, reason = "only what compresses asks for it"))]
    pub(super) effort: Effort,
    #[cfg_attr(not(feature = "deflate"), expect(dead_code, reason = "only what compresses asks for it"))]
    pub(super) threshold: usize,
    /// What both windows take of the budget, until the last half of the connection is gone.
    pub(super) reservation: Option<Arc<Reservation>>,
}

impl DeflateParams {
    /// The window of what the server sends, as a base-2 logarithm: 15 if nothing was said of it.
    #[must_use]
    pub fn server_window_bits(&self) -> u8 {
        self.server.bits
    }

    /// The window of what the client sends.
    #[must_use]
    pub fn client_window_bits(&self) -> u8 {
        self.client.bits
    }

    /// Whether what the server sends may refer to its earlier messages.
    #[must_use]
    pub fn server_takeover(&self) -> bool {
        self.server.takeover
    }

    /// Whether what the client sends may refer to its earlier messages.
    #[must_use]
    pub fn client_takeover(&self) -> bool {
        self.client.takeover
    }
}
