//! Every bound a peer can push against, by name, with its default.
use std::time::{Duration, Instant};

use crate::Keepalive;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// How one connection behaves: its limits and its keepalive.
///
/// Shared by all connections of a listener through an [`Arc`](std::sync::Arc), so it costs a connection 8 bytes.
///
/// ```
/// use sockeye_proto::{Config, Keepalive};
/// let config = Config::with(|config| {
///     config.limits.max_message = 64 * 1024;
///     config.keepalive = Some(Keepalive::default());
/// });
/// assert_eq!(config.limits.max_fragments, 1024);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// What the peer may make this end do.
    pub limits: Limits,
    /// Pings sent by this end to find a peer that is gone. `None`, the default, sends none.
    pub keepalive: Option<Keepalive>,
}

impl Config {
    /// The defaults, changed.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut config = Self::default();
        change(&mut config);
        config
    }
}

/// What a peer may make this end hold, do or wait for.
///
/// There is no "unlimited": zero means zero. Limits hold for the final form, so [`max_message`](Self::max_message) is
/// compared with the reassembled and inflated message.
///
/// ```
/// use sockeye_proto::Limits;
/// let limits = Limits::with(|limits| limits.max_message = 64 * 1024);
/// assert_eq!(limits.max_frame, 1024 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message, all its fragments together, inflated if it was compressed. Crossing it closes with 1009.
    /// Default: 1 MiB.
    pub max_message: usize,
    /// Bytes of one message that is [streamed](crate::Connection::set_streaming) and not held, in whatever frames. Such a message
    /// may have a fragment more for each KiB, inflated if it is compressed. Crossing it closes with 1009. Default: 1 MiB, as
    /// [`max_message`](Self::max_message).
    pub max_streamed: u64,
    /// Bytes of payload of one data frame, compared when its header is read, before the payload arrives. Crossing it
    /// closes with 1009. Default: 1 MiB.
    pub max_frame: usize,
    /// Frames that may make up one message, empty ones too: each costs bookkeeping. Crossing it closes with 1008.
    /// Default: 1,024.
    pub max_fragments: usize,
    /// Bytes by which a compressed message may be longer than nine eighths of what it inflates to: no compressor needs more,
    /// but empty blocks cost time and give nothing. Crossing it closes with 1008. Default: 64 KiB.
    pub max_deflate_waste: usize,
    /// Time from the first header of a message that did not arrive whole to its last byte. Crossing it closes with 1008.
    /// Default: 30 s.
    pub message_timeout: Duration,
    /// Pings and pongs a peer may send per second in the long run. Crossing it closes with 1008. Default: 50.
    pub control_rate: u32,
    /// Pings and pongs a peer may send at once after a quiet time. Default: 100.
    pub control_burst: u32,
    /// Bytes queued for sending beyond which [`send`](crate::Connection::send) gives the message back. While at most
    /// [`high_water`](Self::high_water) bytes are queued any message is taken, however large. Default: 1 MiB.
    pub max_write_queue: usize,
    /// Bytes queued for sending above which a well-behaved sender should wait; no more than
    /// [`max_write_queue`](Self::max_write_queue) counts. Default: 64 KiB.
    pub high_water: usize,
    /// Time in which [`write_progress`](Self::write_progress) bytes must leave while the transport takes less than is
    /// queued. Crossing it ends the connection. Default: 10 s.
    pub write_timeout: Duration,
    /// Bytes that must leave within each [`write_timeout`](Self::write_timeout) while something is queued (all that is
    /// queued, if that is less). A peer that reads a byte a second is as stuck as one that reads none. Default: 1 KiB.
    pub write_progress: usize,
    /// Time for the closing handshake: until the peer's Close frame, and then until the end of TCP. Default: 5 s.
    pub close_timeout: Duration,
}

impl Limits {
    /// The defaults, changed.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut limits = Self::default();
        change(&mut limits);
        limits
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: MIB,
            max_streamed: 1024 * 1024,
            max_frame: MIB,
            max_fragments: 1024,
            max_deflate_waste: 64 * KIB,
            message_timeout: Duration::from_secs(30),
            control_rate: 50,
            control_burst: 100,
            max_write_queue: MIB,
            high_water: 64 * KIB,
            write_timeout: Duration::from_secs(10),
            write_progress: KIB,
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// `now` and a time limit as a deadline. A limit beyond the end of the clock, such as [`Duration::MAX`], gives one that
/// nobody lives to see: never none, which would read as "at once" or "always".
pub(crate) fn deadline(now: Instant, limit: Duration) -> Instant {
    now.checked_add(limit).or_else(|| now.checked_add(FOREVER)).unwrap_or(now)
}

/// The deadline that comes first.
#[inline]
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
