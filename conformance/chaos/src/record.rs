//! What is seen goes to the judge at once, in the order in which it is seen.
use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use sockeye_judge::{Judge, Record, Rules, Seen, Verdict};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::Instant,
};

/// Where everybody writes down what they see.
#[derive(Clone)]
pub(crate) struct Recorder {
    begun: Instant,
    records: UnboundedSender<Record>,
}

impl Recorder {
    /// Begins to judge; the verdict is there when the last recorder is gone.
    pub(crate) fn begin(rules: Rules) -> (Self, JoinHandle<Verdict>) {
        let (records, mut judged) = unbounded_channel();
        let judging = tokio::task::spawn_blocking(move || {
            let mut judge = Judge::new(rules);
            while let Some(record) = judged.blocking_recv() {
                judge.see(&record);
            }
            judge.finish()
        });
        (Self { begun: Instant::now(), records }, judging)
    }

    pub(crate) fn saw(&self, actor: u32, what: Seen) {
        let at = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        // The judge listens until the last of us is gone.
        drop(self.records.send(Record { at, actor, what }));
    }
}

/// How far everything is.
#[derive(Default)]
pub(crate) struct Progress {
    acknowledged: AtomicU64,
    stopping: AtomicBool,
    /// The greatest offset that anybody was told, by channel.
    ends: Mutex<HashMap<String, u64>>,
}

impl Progress {
    pub(crate) fn acknowledge(&self, channel: &str, offset: u64) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = ends.get_mut(channel) {
            *end = offset.max(*end);
        } else {
            ends.insert(channel.to_owned(), offset);
        }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn ends(&self) -> HashMap<String, u64> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
