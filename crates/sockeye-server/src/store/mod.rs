//! Where durable channels keep their history, epochs and idempotency keys.
//!
//! Every worker's hub asks ([`StoreRequest`]) and hears ([`StoreReply`]) through its [`Sink`]; asking never waits.
//! [`DurableStore`] keeps everything in a folder; [`NoStore`] is for servers without durable channels.
//!
//! # What is promised
//!
//! - A publication is [`Appended`](StoreReply::Appended) when it would survive a `kill -9`, and with
//!   [`Durability::Fsync`], the default, a power cut.
//! - What is loaded is what was written, or loading fails. Offsets in one epoch are given once.
//! - One break, one [`NotAppended`](StoreReply::NotAppended): after it, appends of that channel that were still on their way are
//!   dropped without a word, until the channel is asked to be loaded.
//!
//! # Why `SQLite`
//!
//! The file of a crash, a full disk or a bad sector is what a store is judged by. `SQLite` answers each of those with
//! an error, and goes on after a full disk; its log has checksums, a batch costs one fsync, a bound of the file's size
//! is built in, and nothing that is read is trusted to be well formed. It is C, in one file, which a C compiler that
//! TLS needs anyway builds in seconds. Looked at besides:
//!
//! - redb: one file, no C. The newest for this project's oldest Rust is 2.6, whose successors ask for a newer one. It
//!   checks pages only on demand, and meets a damaged header or page with assertions. After a write error it has to be
//!   opened anew.
//! - fjall: the same about its versions; many files and threads of its own, for much larger data than this.
//! - heed: LMDB maps the file into memory, so a truncated file ends the process.
//!
//! # The folder
//!
//! `history.db` (beside it `history.db-wal` while a server runs) and `acknowledged`, which says how far the store has
//! promised. A copy for safekeeping is a copy of the whole folder while no server runs. Whoever can write to it can
//! change the history; the form and the size of what is read are checked all the same.
mod database;
mod durable;
mod mark;
mod open;
mod queue;
mod record;
mod writer;

use std::{fmt, sync::Arc, time::Duration};

use sockeye_hub::{ChannelName, StoreReply, StoreRequest};
use tracing::error;

pub use durable::DurableStore;
pub use open::OpenError;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: u64 = 1024 * 1024 * 1024;

/// Hands a reply to one worker. It is called on the store's thread, or within [`Store::submit`]; it has to return at
/// once.
pub type Sink = Box<dyn Fn(StoreReply) + Send + Sync>;

/// What keeps durable channels.
pub trait Store: Send + Sync {
    /// Takes a request of this worker; the reply goes to its sink. Never waits: what finds no room fails.
    fn submit(&self, worker: usize, request: StoreRequest);
}

/// When a publication counts as kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it has been flushed to the disk: it survives a power cut.
    #[default]
    Fsync,
    /// When the operating system has it: it survives a `kill -9`. After a power cut that lost some of it all channels
    /// begin anew, and clients are told.
    Os,
}

/// What holds for a [`DurableStore`]: every bound by name, with its default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreOptions {
    /// When a publication counts as kept. Default: when it is on the disk.
    pub durability: Durability,
    /// Requests that may wait for the store; what comes while they are that many fails. Default: 65,536.
    pub queue_count: usize,
    /// Bytes of them. Default: 64 MiB.
    pub queue_bytes: usize,
    /// Requests that become durable together, at most. Default: 1,000.
    pub batch_count: usize,
    /// Bytes of them. Default: 4 MiB.
    pub batch_bytes: usize,
    /// Publications that are loaded of a channel; not fewer than its history may have. Default: 1,000.
    pub load_count: usize,
    /// Bytes of them; not fewer than its history may have. Default: 1 MiB.
    pub load_bytes: usize,
    /// Idempotency keys that are loaded of a channel. Default: 100,000.
    pub load_keys: usize,
    /// For how long idempotency keys are kept. Default: 5 minutes.
    pub key_age: Duration,
    /// Bytes of one publication with all that belongs to it; a larger one fails. Default: 1 MiB.
    pub record_bytes: usize,
    /// Channels; while there are that many, the first append of another one fails. Default: 1,000,000.
    pub max_channels: u64,
    /// Bytes of the database; while it is that large, only what finds room in it is kept. Besides it there is its log,
    /// of up to 64 MiB. Default: 16 GiB.
    pub max_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            queue_count: 65_536,
            queue_bytes: 64 * MIB,
            batch_count: 1_000,
            batch_bytes: 4 * MIB,
            load_count: 1_000,
            load_bytes: MIB,
            load_keys: 100_000,
            key_age: Duration::from_secs(300),
            record_bytes: MIB,
            max_channels: 1_000_000,
            max_bytes: 16 * GIB,
        }
    }
}

impl StoreOptions {
    /// The defaults, changed.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut options = Self::default();
        change(&mut options);
        options
    }
}

/// No store: whatever is asked of it fails. Durable namespaces need another one.
#[derive(Clone, Debug)]
pub struct NoStore(Replies);

impl NoStore {
    /// With the workers' sinks, the first worker's first.
    #[must_use]
    pub fn new(sinks: Vec<Sink>) -> Self {
        Self(Replies::new(sinks))
    }
}

impl Store for NoStore {
    fn submit(&self, worker: usize, request: StoreRequest) {
        self.0.fail(worker, &request);
    }
}

/// Where replies go.
#[derive(Clone)]
struct Replies(Arc<[Sink]>);

impl Replies {
    fn new(sinks: Vec<Sink>) -> Self {
        Self(sinks.into())
    }

    fn send(&self, worker: usize, reply: StoreReply) {
        let Some(sink) = self.0.get(worker) else {
            return error!(worker, "the store was asked by a worker that there is not");
        };
        sink(reply);
    }

    fn fail(&self, worker: usize, request: &StoreRequest) {
        if let Some(reply) = failure_of(request) {
            self.send(worker, reply);
        }
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} workers", self.0.len())
    }
}

/// The reply to a request that cannot be carried out.
fn failure_of(request: &StoreRequest) -> Option<StoreReply> {
    match request {
        StoreRequest::Load(channel) => Some(StoreReply::NotLoaded(channel.clone())),
        StoreRequest::Append(append) => Some(StoreReply::NotAppended(append.publication.channel.clone())),
        _ => None,
    }
}

/// Which channel a request is about.
fn channel_of(request: &StoreRequest) -> Option<&ChannelName> {
    match request {
        StoreRequest::Load(channel) => Some(channel),
        StoreRequest::Append(append) => Some(&append.publication.channel),
        _ => None,
    }
}
