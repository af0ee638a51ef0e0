//! Every bound, by name, with its default.
use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What the server, or the program, may make a client hold, do or wait for. Zero means zero, never unlimited.
///
/// ```
/// use sockeye_client::Limits;
/// let strict = Limits::with(|limits| limits.max_in_flight = 1);
/// assert_eq!(strict.max_requests, 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Events that wait for the reader of one subscription. When it is reached the subscription pauses: see
    /// [`Subscription`](crate::Subscription). Default: 1,024.
    pub max_events: usize,
    /// Bytes of such events, with 64 for each beside its data. One event is taken whatever its size. Default: 1 MiB.
    pub max_event_bytes: usize,
    /// Members that are kept in mind for one subscription. Default: 1,000, which is what the server tells.
    pub max_members: usize,
    /// How often in a row a channel is asked again from before a hole, until the hole is told as
    /// [`LostReason::Hole`](crate::LostReason::Hole). Default: 3.
    pub max_holes: u32,
    /// Publications and other requests that wait to be sent or answered. Default: 1,024.
    pub max_requests: usize,
    /// Bytes of these. Default: 4 MiB.
    pub max_request_bytes: usize,
    /// Requests sent and not answered, before the next is sent. 1 makes the order of publications strict: see
    /// [`Publish`](crate::Publish). Default: 128.
    pub max_in_flight: usize,
    /// How often a request is sent, each time over a new connection, until nobody believes in it any more. Default: 8.
    pub max_tries: u32,
    /// Bytes of one command; the server closes the connection at more. Default: 64 KiB.
    pub max_command: usize,
    /// Time for anything but publications to be answered, with the time in which there is no connection. Default: 30 s.
    pub request_timeout: Duration,
    /// Time for a publication to be answered, with the time in which there is no connection. The server remembers an
    /// idempotency key for five minutes, and the last try has to arrive within them. So no more than the default, 4 min
    /// 30 s, counts.
    pub publish_timeout: Duration,
    /// Time from `bye` to the end of the connection. Default: 5 s.
    pub bye_timeout: Duration,
    /// The least time between two fetches of a token that the server asks for. Default: 5 s.
    pub refresh_pause: Duration,
    /// The longest time that `retry_after_ms` can put off that a subscription is asked for again. For the connection
    /// see [`sockeye::Backoff::max_retry_after`]. Default: 10 min.
    pub max_retry_after: Duration,
}

impl Limits {
    /// The objects that stand in one message at most.
    pub const MAX_BATCH: usize = 100;
    /// The most of [`publish_timeout`](Self::publish_timeout) that counts.
    pub const MAX_PUBLISH_TIMEOUT: Duration = Duration::from_secs(270);

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
            max_events: 1024,
            max_event_bytes: MIB,
            max_members: 1000,
            max_holes: 3,
            max_requests: 1024,
            max_request_bytes: 4 * MIB,
            max_in_flight: 128,
            max_tries: 8,
            max_command: 64 * KIB,
            request_timeout: Duration::from_secs(30),
            publish_timeout: Self::MAX_PUBLISH_TIMEOUT,
            bye_timeout: Duration::from_secs(5),
            refresh_pause: Duration::from_secs(5),
            max_retry_after: Duration::from_secs(10 * 60),
        }
    }
}
