//! Where durable channels keep their history, epochs and idempotency keys.
//!
//! Every worker's hub asks ([`StoreRequest`]) and hears ([`StoreReply`]) through its [`Sink`]; asking never waits.
use std::{fmt, sync::Arc};

use sockeye_hub::{ChannelName, StoreReply, StoreRequest};
use tracing::error;

/// Hands a reply to one worker. It is called on the store's thread, or within [`Store::submit`]; it has to return at once.
pub type Sink = Box<dyn Fn(StoreReply) + Send + Sync>;

/// What keeps durable channels.
pub trait Store: Send + Sync {
    /// Takes a request of this worker; the reply goes to its sink. Never waits: what finds no room fails.
    fn submit(&self, worker: usize, request: StoreRequest);
}

/// No store: whatever is asked of it fails. Durable namespaces need another one.
#[derive(Clone, Debug)]
pub struct NoStore(Replies);

impl NoStore {
    /// With the workers' sinks, the first worker's first.
    #[must_use]
    pub fn new(sinks: Vec<Sink>) -> Self {
        Self(Replies(sinks.into()))
    }
}

impl Store for NoStore {
    fn submit(&self, worker: usize, request: StoreRequest) {
        if let Some(channel) = channel_of(&request) {
            self.0.send(worker, StoreReply::Failed(channel.clone()));
        }
    }
}

/// Where replies go.
#[derive(Clone)]
struct Replies(Arc<[Sink]>);

impl Replies {
    fn send(&self, worker: usize, reply: StoreReply) {
        let Some(sink) = self.0.get(worker) else {
            return error!(worker, "the store was asked by a worker that there is not");
        };
        sink(reply);
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} workers", self.0.len())
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
