//! The one task of a worker that is no connection's: it brings its hub what comes from elsewhere, and the time.
use std::rc::Rc;

use sockeye_hub::StoreReply;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};

use super::{lanes::Inward, local::Local};

/// Something to be done on a worker's thread.
pub(crate) type Errand = Box<dyn FnOnce(&Local) + Send>;

/// Errands that wait for one worker.
pub(super) const MAX_ERRANDS: usize = 1_024;

/// Brings in what comes, for as long as the worker lives. What is told comes first: everything else waits for it.
pub(super) async fn pump(
    local: Rc<Local>,
    mut inward: Inward,
    mut replies: UnboundedReceiver<StoreReply>,
    mut errands: Receiver<Errand>,
) {
    loop {
        let takes_asks = !local.pressure().on_asks;
        tokio::select! {
            biased;
            Some(batch) = inward.tells.recv() => local.arrived(batch),
            Some(reply) = replies.recv() => local.turn(|hub, crew, now| hub.stored(reply, now, crew)),
            () = local.due() => local.handle_timeout(),
            // Any turn looks again at how much others have not taken.
            () = inward.drained.notified() => local.turn(|_, _, _| {}),
            Some(errand) = errands.recv() => errand(&local),
            Some(batch) = inward.asks.recv(), if takes_asks => local.arrived(batch),
            else => return,
        }
    }
}
