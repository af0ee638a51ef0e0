//! The queues between workers.
//!
//! # Why there is no deadlock, and no queue without a bound
//!
//! What a front [asks](sockeye_hub::Ask) a home makes the home tell others, and one question can make as many tellings as there
//! are workers; a telling makes no question, but for the end of a subscription that has begun too late, which is answered by
//! nothing. So telling is what drains, and asking is what waits:
//!
//! - A worker always takes what it is told, however much it has to tell itself. Telling ends in the outputs of sessions, which
//!   have bounds and policies of their own and never wait.
//! - While more than [`MAX_COUNT`] or [`MAX_BYTES`] of what a worker has told another have not been taken there, it takes no
//!   more questions: those of other workers stay in their queue, and its own sessions are not read, whose publishers feel it
//!   in their sockets.
//! - While that much of what it has *asked* another has not been taken there, its own sessions are not read either.
//!
//! Whoever waits, waits for another worker to take something: tellings, which it always takes; or questions, which it takes
//! once its own tellings have been taken, which they always are. So every wait ends, and no circle of waits can close. What one
//! turn produces is added whole, so a queue may pass its bound by that much.
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use sockeye_hub::{Wire, WorkerId};
use tokio::sync::{
    Notify,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// Wires of one kind from one worker to another that have not been taken, before it takes no more work.
const MAX_COUNT: usize = 10_000;
/// Bytes of them.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// All the queues of a server, for each worker its ends.
pub(crate) fn lanes(workers: usize) -> Vec<(Outward, Inward)> {
    let ends: Vec<_> =
        (0..workers).map(|_| (unbounded_channel(), unbounded_channel(), Arc::new(Notify::new()))).collect();
    let senders: Vec<_> = ends.iter().map(|((tells, _), (asks, _), _)| (tells.clone(), asks.clone())).collect();
    let make = |(me, ((_, tells), (_, asks), drained)): (usize, (_, _, Arc<Notify>))| {
        let lane = |(tells, asks): &(UnboundedSender<Batch>, UnboundedSender<Batch>)| {
            let level = || Arc::new(Level { drained: Arc::clone(&drained), ..Level::default() });
            Lane { tells: Queue::new(tells.clone(), level()), asks: Queue::new(asks.clone(), level()) }
        };
        let outward = Outward { me: worker_id(me), lanes: senders.iter().map(lane).collect() };
        (outward, Inward { tells, asks, drained: Arc::clone(&drained) })
    };
    ends.into_iter().enumerate().map(make).collect()
}

pub(crate) fn worker_id(index: usize) -> WorkerId {
    WorkerId(u16::try_from(index).unwrap_or(u16::MAX))
}

/// Where a worker puts what is for others.
#[derive(Debug)]
pub(crate) struct Outward {
    me: WorkerId,
    lanes: Vec<Lane>,
}

/// Where a worker finds what others have for it.
#[derive(Debug)]
pub(crate) struct Inward {
    pub(crate) tells: UnboundedReceiver<Batch>,
    pub(crate) asks: UnboundedReceiver<Batch>,
    /// Others have taken enough of what was too much.
    pub(crate) drained: Arc<Notify>,
}

#[derive(Debug)]
struct Lane {
    tells: Queue,
    asks: Queue,
}

#[derive(Debug)]
struct Queue {
    sender: UnboundedSender<Batch>,
    level: Arc<Level>,
    /// What this turn has for the other worker.
    gathered: Vec<Wire>,
    weight: usize,
}

/// What of one queue has not been taken.
#[derive(Debug, Default)]
struct Level {
    count: AtomicUsize,
    bytes: AtomicUsize,
    /// Whether the worker that fills it waits until it is lower.
    awaited: AtomicBool,
    drained: Arc<Notify>,
}

/// What one turn of a worker had for another.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) from: WorkerId,
    pub(crate) wires: VecDeque<Wire>,
    count: usize,
    weight: usize,
    level: Arc<Level>,
}

/// Which work a worker does not take for the time being.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    /// What others ask.
    pub(crate) on_asks: bool,
    /// What its own sessions say.
    pub(crate) on_sessions: bool,
}

impl Outward {
    pub(crate) fn push(&mut self, to: WorkerId, wire: Wire) {
        let Some(lane) = self.lanes.get_mut(usize::from(to.0)) else { return };
        let queue = if matches!(wire, Wire::Tell(_)) { &mut lane.tells } else { &mut lane.asks };
        queue.weight += wire.weight();
        queue.gathered.push(wire);
    }

    /// Sends what the turn has gathered, and says what follows from how much is on its way.
    pub(crate) fn post(&mut self) -> Pressure {
        let mut pressure = Pressure::default();
        for lane in &mut self.lanes {
            pressure.on_asks |= lane.tells.post(self.me);
            pressure.on_sessions |= lane.asks.post(self.me);
        }
        pressure.on_sessions |= pressure.on_asks;
        pressure
    }
}

impl Queue {
    fn new(sender: UnboundedSender<Batch>, level: Arc<Level>) -> Self {
        Self { sender, level, gathered: Vec::new(), weight: 0 }
    }

    /// Whether too much of it has not been taken.
    fn post(&mut self, from: WorkerId) -> bool {
        if !self.gathered.is_empty() {
            let (count, weight) = (self.gathered.len(), std::mem::take(&mut self.weight));
            self.level.count.fetch_add(count, Ordering::SeqCst);
            self.level.bytes.fetch_add(weight, Ordering::SeqCst);
            let wires = std::mem::take(&mut self.gathered).into();
            // A worker that is gone has no sessions that would miss it.
            let _ = self.sender.send(Batch { from, wires, count, weight, level: Arc::clone(&self.level) });
        }
        if self.level.is_below(MAX_COUNT, MAX_BYTES) {
            return false;
        }
        self.level.awaited.store(true, Ordering::SeqCst);
        // It may have been taken before the other worker could see that somebody waits for it.
        !self.level.is_below(MAX_COUNT, MAX_BYTES)
    }
}

impl Level {
    fn is_below(&self, count: usize, bytes: usize) -> bool {
        self.count.load(Ordering::SeqCst) <= count && self.bytes.load(Ordering::SeqCst) <= bytes
    }
}

/// It has been taken.
impl Drop for Batch {
    fn drop(&mut self) {
        let level = &self.level;
        level.count.fetch_sub(self.count, Ordering::SeqCst);
        level.bytes.fetch_sub(self.weight, Ordering::SeqCst);
        if level.is_below(MAX_COUNT / 2, MAX_BYTES / 2) && level.awaited.swap(false, Ordering::SeqCst) {
            level.drained.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Instant;

    use bytes::Bytes;
    use sockeye_hub::{
        Action, ChannelName, ChannelOptions, Draft, Event, Failure, Host, Hub, HubOptions, Kind, Namespaces, Now,
        Payload, Publication, Queued, Request, SessionKey, StoreRequest,
    };

    /// Gathers what a hub has for the other worker.
    struct Gather(Vec<Wire>);

    impl Host for Gather {
        type Principal = ();

        fn deliver(&mut self, _: SessionKey, _: &Arc<Publication>, _: bool) -> Queued {
            Queued::Taken
        }

        fn event(&mut self, _: SessionKey, _: Event) {}

        fn send(&mut self, _: WorkerId, wire: Wire) {
            self.0.push(wire);
        }

        fn store(&mut self, _: StoreRequest) {}

        fn authorize(&self, (): &(), _: Action, _: &ChannelName) -> Result<(), Failure> {
            Ok(())
        }

        fn rules(&self) -> u64 {
            0
        }
    }

    /// So many questions about channels that are at home at worker 1.
    fn asks(count: usize, bytes: usize) -> Vec<Wire> {
        let namespaces = Arc::new(Namespaces::new(Some(ChannelOptions::default())));
        let mut hub = Hub::new(WorkerId(0), 2, namespaces, HubOptions::default(), Box::new(|| 1));
        let session = hub.open_hidden(());
        let names = (0..).map(|number| ChannelName::parse(&format!("a{number}")).unwrap());
        let there: Vec<_> = names.filter(|name| hub.home_of(name) == WorkerId(1)).take(1).collect();
        let (mut host, now) = (Gather(Vec::new()), Now { instant: Instant::now(), unix_ms: 0 });
        for _ in 0..count {
            let payload = Payload { kind: Kind::Binary, bytes: Bytes::from(vec![0; bytes]) };
            hub.request(session, None, Request::Publish(there[0].clone(), Draft::new(payload)), now, &mut host);
        }
        host.0
    }

    fn pressure_of(wires: Vec<Wire>) {
        let mut ends = lanes(2);
        let (_, mut there) = ends.pop().unwrap();
        let (mut here, own) = ends.pop().unwrap();
        assert_eq!(here.post(), Pressure::default());
        for wire in wires {
            here.push(WorkerId(1), wire);
        }
        assert_eq!(here.post(), Pressure { on_asks: false, on_sessions: true });
        let batch = there.asks.try_recv().unwrap();
        assert_eq!(here.post(), Pressure { on_asks: false, on_sessions: true }, "until it has been dealt with");
        drop(batch);
        assert_eq!(here.post(), Pressure::default());
        assert!(poll_once(own.drained.notified()).is_some(), "whoever waits is told");
    }

    /// What a future that is ready gives.
    fn poll_once<F: Future>(future: F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn too_many_are_a_reason_to_wait() {
        pressure_of(asks(MAX_COUNT + 1, 0));
    }

    #[test]
    fn too_much_is_a_reason_to_wait() {
        pressure_of(asks(MAX_BYTES / 60_000 + 1, 60_000));
    }
}
