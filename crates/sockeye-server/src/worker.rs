//! What the connections of one worker share.
use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::demo::Demos;

/// One thread's world. Only the demos are shared with other threads.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) demos: Arc<Demos>,
    /// Cancelled when the server stops.
    pub(crate) stop: CancellationToken,
    /// Everything that runs for a connection, so that stopping can wait for it.
    pub(crate) tasks: TaskTracker,
}
