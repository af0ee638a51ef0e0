//! What the connections of one worker share.
use std::sync::Arc;

use sockeye::WebSocket;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    demo::{Demos, Seat},
    exchange::Io,
    tls::Acceptor,
};

/// One thread's world. Only the demos are shared with other threads.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) demos: Arc<Demos>,
    /// What every connection begins with, if it is not plain.
    pub(crate) tls: Option<Acceptor>,
    /// Cancelled when the server stops.
    pub(crate) stop: CancellationToken,
    /// Everything that runs for a connection, so that stopping can wait for it.
    pub(crate) tasks: TaskTracker,
}

impl Worker {
    /// Gives a WebSocket its place in a demo, in a task of its own. `ticket` is dropped when it has left.
    pub(crate) fn host<S: Io>(&self, seat: Seat, mut socket: WebSocket<S>, ticket: impl Send + 'static) {
        let stop = self.stop.clone();
        let demos = Arc::clone(&self.demos);
        // Tasks that own the socket and lend it: an argument of an `async fn` is kept twice in its future.
        match seat {
            Seat::Echo => self.tasks.spawn(async move {
                Demos::echo(&mut socket, &stop).await;
                drop(ticket);
            }),
            Seat::Chat => self.tasks.spawn(async move {
                demos.chat(&mut socket, &stop).await;
                drop(ticket);
            }),
            Seat::Cursors(mut told) => self.tasks.spawn(async move {
                demos.cursors(&mut socket, &mut told, &stop).await;
                drop(ticket);
            }),
        };
    }
}
