//! What holds for a channel, and for the hub: every bound by name, with its default.
use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::ChannelName;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What holds for the channels of a namespace. Who may do what is not the hub's business: see [`Host::authorize`](crate::Host::authorize).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelOptions {
    /// Publications kept; 0 is a channel without history, without positions. Default: 100.
    pub history_size: usize,
    /// For how long. Default: 5 minutes.
    pub history_age: Duration,
    /// Bytes of them all. Default: 1 MiB.
    pub history_bytes: usize,
    /// Whether subscribers can be members and see who is there. Default: yes.
    pub presence: bool,
    /// Whether those who see the members are told who comes and goes. Default: yes.
    pub join_leave: bool,
    /// Members of one channel. Default: 100,000.
    pub max_members: usize,
    /// Publications a second that the channel takes from all publishers, in the long run. Default: 10,000.
    pub channel_rate: u32,
    /// Publications a second that it takes from one session, in the long run. Default: 100.
    pub session_rate: u32,
    /// What becomes of a subscriber that does not keep up. Default: disconnect.
    pub slow: SlowPolicy,
    /// Whether the history, its epoch and the idempotency keys are in the store before a publication is `ok`. Default: no.
    pub durable: bool,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            history_size: 100,
            history_age: Duration::from_secs(300),
            history_bytes: MIB,
            presence: true,
            join_leave: true,
            max_members: 100_000,
            channel_rate: 10_000,
            session_rate: 100,
            slow: SlowPolicy::default(),
            durable: false,
        }
    }
}

impl ChannelOptions {
    /// The defaults, changed.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut options = Self::default();
        change(&mut options);
        options
    }

    /// Whether publications have positions.
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.history_size > 0
    }
}

/// What becomes of a subscriber for whom more waits than [`HubOptions::backlog_bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowPolicy {
    /// Its session is ended with a cause; it comes back and catches up from where it was.
    #[default]
    Disconnect,
    /// What waits for it in this channel is dropped, and it is told that continuity was lost.
    Skip,
    /// Of publications with the same conflation key only the newest waits, and the subscriber is told of what it did not get;
    /// where that does not help, as `Skip`.
    Latest,
}

/// Which options a channel has.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    by_name: HashMap<Box<str>, Arc<ChannelOptions>>,
    default: Option<Arc<ChannelOptions>>,
}

impl Namespaces {
    /// Only the default namespace, that of names without a `:`.
    #[must_use]
    pub fn new(default: Option<ChannelOptions>) -> Self {
        Self { by_name: HashMap::new(), default: default.map(Arc::new) }
    }

    /// And another one.
    #[must_use]
    pub fn and(mut self, name: &str, options: ChannelOptions) -> Self {
        self.by_name.insert(name.into(), Arc::new(options));
        self
    }

    /// The options of this channel; `None` if its namespace does not exist.
    #[must_use]
    pub fn of(&self, channel: &ChannelName) -> Option<&Arc<ChannelOptions>> {
        match channel.namespace() {
            Some(namespace) => self.by_name.get(namespace),
            None => self.default.as_ref(),
        }
    }
}

/// What holds for the whole hub.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubOptions {
    /// Channels in which one session may be at a time. Default: 128.
    pub subscriptions: usize,
    /// Bytes that may wait here for one session, besides what its [`Host`](crate::Host) has taken. Default: 1 MiB.
    pub backlog_bytes: usize,
    /// Publications given to one subscriber that catches up, and to one reader of the history. Default: 1,000.
    pub catch_up_count: usize,
    /// Bytes of them. Default: 1 MiB.
    pub catch_up_bytes: usize,
    /// Publications of one page of history. Default: 300.
    pub page: usize,
    /// Members named in one answer. Default: 1,000.
    pub members_page: usize,
    /// Bytes of them. Default: 512 KiB.
    pub members_bytes: usize,
    /// Bytes of how a member wants to be seen. Default: 4 KiB.
    pub shown_as_bytes: usize,
    /// Bytes of an idempotency key or a conflation key. Default: 128.
    pub key_bytes: usize,
    /// Bytes of the name of an event. Default: 64.
    pub event_bytes: usize,
    /// Bytes of a payload. Default: 64 KiB.
    pub payload_bytes: usize,
    /// For how long an idempotency key is remembered. Default: 5 minutes.
    pub key_age: Duration,
    /// Keys remembered in one channel; while they are that many, a publication with another one is refused. Default: 100,000.
    pub keys: usize,
    /// Channels at home at one worker. Default: 200,000.
    pub channels: usize,
    /// What may wait at a channel for the store. Default: 10,000.
    pub pending: usize,
    /// Bytes of it, after which nothing more is taken until some of it is stored. Default: 8 MiB.
    pub pending_bytes: usize,
    /// How soon after each other the members of a channel are told who came and went; what happens meanwhile is told together,
    /// and who came and went meanwhile is not told of. Default: 100 ms.
    pub members_every: Duration,
    /// For how long a durable channel that nobody uses stays in memory; it can be had from the store again. Others stay as long as
    /// their history. Default: 1 minute.
    pub idle_after: Duration,
    /// Which worker is a channel's home follows from its name and this number, the same for all workers of a server and best
    /// a random one, so that nobody outside can choose names that all have one home. Default: 0.
    pub placement: u64,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            subscriptions: 128,
            backlog_bytes: MIB,
            catch_up_count: 1_000,
            catch_up_bytes: MIB,
            page: 300,
            members_page: 1_000,
            members_bytes: 512 * KIB,
            shown_as_bytes: 4 * KIB,
            key_bytes: 128,
            event_bytes: 64,
            payload_bytes: 64 * KIB,
            key_age: Duration::from_secs(300),
            keys: 100_000,
            channels: 200_000,
            pending: 10_000,
            pending_bytes: 8 * MIB,
            members_every: Duration::from_millis(100),
            idle_after: Duration::from_secs(60),
            placement: 0,
        }
    }
}

impl HubOptions {
    /// The defaults, changed.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut options = Self::default();
        change(&mut options);
        options
    }
}
