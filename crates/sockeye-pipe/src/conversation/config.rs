//! How conversations behave, and every bound a peer can push against.
use std::time::Duration;

/// How conversations behave.
///
/// ```
/// use sockeye_pipe::{Config, DroppedReceiver};
/// let config = Config { max_queued_messages: 100, ..Config::sockjs() };
/// assert_eq!(config.dropped, DroppedReceiver::Ends);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// What a second receiver is to the first one.
    pub second: SecondReceiver,
    /// What the loss of a receiver is to the conversation.
    pub dropped: DroppedReceiver,
    /// A receiver that was told nothing for so long is told that the conversation is still there; 25 s.
    pub heartbeat: Duration,
    /// How long a conversation lives without a receiver; 5 s.
    pub disconnect_delay: Duration,
    /// How long a conversation that was closed can still be heard; 5 s.
    pub closing_linger: Duration,
    /// A receiver for which something waits has to take [`min_progress`](Self::min_progress) within so long; 10 s.
    pub stall: Duration,
    /// Bytes that a receiver takes within [`stall`](Self::stall) while something waits for it; 4 KiB. A count, since a
    /// receiver that takes one byte a second is as slow as one that takes none.
    pub min_progress: usize,
    /// Time for the last frame of a response to be written, after which its receiver is given up; 30 s. A transport
    /// that sees how its connection does may have less patience.
    pub last_frame: Duration,
    /// Messages that wait for a receiver; 1,024.
    pub max_queued_messages: usize,
    /// Their bytes; 1 MiB. A larger message cannot be sent.
    pub max_queued_bytes: usize,
    /// Bytes from which on a frame takes no further message; 64 KiB.
    pub max_frame: usize,
    /// Messages that are kept after they were handed out, in case they did not arrive, until a heartbeat follows them;
    /// 64 for our own transports.
    pub max_kept_messages: usize,
    /// Their bytes; 16 KiB for our own transports.
    pub max_kept_bytes: usize,
    /// Messages of the client that wait for the application; 1,024. No request may bring more.
    pub max_received_messages: usize,
    /// Their bytes; 1 MiB. No request may bring more.
    pub max_received_bytes: usize,
}

/// What a second receiver is to the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondReceiver {
    /// It is told so and ends; the first is not disturbed. SockJS wants that.
    Refused,
    /// It takes over, since whoever stands behind a proxy that broke has to get through; the first is told 4009 and
    /// ends.
    TakesOver,
}

/// What the loss of a receiver is to the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DroppedReceiver {
    /// Its end: nobody knows what has arrived. SockJS wants that.
    Ends,
    /// Nothing: the client has as long as after a receiver that ended well to come back and say what it has got.
    Lingers,
}

impl Config {
    /// As SockJS wants it.
    #[must_use]
    pub fn sockjs() -> Self {
        Self {
            second: SecondReceiver::Refused,
            dropped: DroppedReceiver::Ends,
            max_kept_messages: 0,
            max_kept_bytes: 0,
            max_received_messages: crate::sockjs::MAX_MESSAGES,
            ..Self::native()
        }
    }

    /// For our own transports, whose clients say what they have got.
    #[must_use]
    pub fn native() -> Self {
        Self {
            second: SecondReceiver::TakesOver,
            dropped: DroppedReceiver::Lingers,
            heartbeat: Duration::from_secs(25),
            disconnect_delay: Duration::from_secs(5),
            closing_linger: Duration::from_secs(5),
            stall: Duration::from_secs(10),
            min_progress: 4 * 1024,
            last_frame: Duration::from_secs(30),
            max_queued_messages: 1024,
            max_queued_bytes: 1024 * 1024,
            max_frame: 64 * 1024,
            max_kept_messages: 64,
            max_kept_bytes: 16 * 1024,
            max_received_messages: 1024,
            max_received_bytes: 1024 * 1024,
        }
    }
}
