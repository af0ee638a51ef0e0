//! What waits for the store's thread: bounded in requests and in bytes.
use std::{
    collections::{HashSet, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use sockeye_hub::{ChannelName, StoreRequest};

/// What waits, in order.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    max_count: usize,
    max_bytes: usize,
}

/// Something for the store's thread to do, for this worker.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) worker: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Do(StoreRequest),
    /// An append found the queue full. That is said in its turn, behind what was taken before it, and once.
    Refused(ChannelName),
    /// And so did the question what there is.
    LoadRefused(ChannelName),
}

/// The store takes nothing more.
#[derive(Debug)]
pub(super) struct Closed(pub(super) StoreRequest);

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Requests among them; a refusal is none. There is one refusal a channel at most, so channels bound those.
    count: usize,
    bytes: usize,
    /// Channels whose appends are refused until they have been asked to be loaded.
    refused: HashSet<ChannelName>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(max_count: usize, max_bytes: usize) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), max_count, max_bytes }
    }

    /// Puts a request behind the others, or a refusal in its place if it does not fit.
    pub(super) fn push(&self, worker: usize, request: StoreRequest) -> Result<(), Closed> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Closed(request));
        }
        let bytes = weight(&request);
        let fits = waiting.count < self.max_count && waiting.bytes.saturating_add(bytes) <= self.max_bytes;
        let what = match request {
            // It has been said already that those on their way fail.
            StoreRequest::Append(append) if waiting.refused.contains(&append.publication.channel) => return Ok(()),
            StoreRequest::Append(append) if !fits => {
                let channel = append.publication.channel.clone();
                waiting.refused.insert(channel.clone());
                What::Refused(channel)
            }
            StoreRequest::Load(channel) => {
                waiting.refused.remove(&channel);
                if fits { What::Do(StoreRequest::Load(channel)) } else { What::LoadRefused(channel) }
            }
            other => What::Do(other),
        };
        if let What::Do(_) = what {
            waiting.count += 1;
            waiting.bytes += bytes;
        }
        waiting.jobs.push_back(Job { worker, what });
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits until there is something, and takes so much of it into `jobs`. Nothing is left and nothing will come if
    /// it takes nothing.
    pub(super) fn take(&self, jobs: &mut Vec<Job>, max_count: usize, max_bytes: usize) {
        let waiting = self.lock();
        let mut waiting = self
            .changed
            .wait_while(waiting, |waiting| waiting.jobs.is_empty() && !waiting.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let mut taken_bytes = 0;
        while jobs.len() < max_count.max(1) && taken_bytes < max_bytes.max(1) {
            let Some(job) = waiting.jobs.pop_front() else { break };
            if let What::Do(request) = &job.what {
                let bytes = weight(request);
                waiting.count -= 1;
                waiting.bytes -= bytes;
                taken_bytes += bytes;
            }
            jobs.push(job);
        }
    }

    /// Takes nothing more; what waits is still there to be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes that a request counts for.
fn weight(request: &StoreRequest) -> usize {
    match request {
        StoreRequest::Append(append) => append.publication.weight() + append.key.as_ref().map_or(0, |key| key.len()),
        _ => 128,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use std::sync::Arc;

    use bytes::Bytes;
    use sockeye_hub::{Append, Encoded, Epoch, Kind, Payload, Position, Publication};

    use super::*;

    fn append(channel: &str, offset: u64, len: usize) -> StoreRequest {
        let publication = Publication {
            channel: channel.parse().unwrap(),
            position: Some(Position { epoch: Epoch(1), offset }),
            payload: Payload { kind: Kind::Binary, bytes: Bytes::from(vec![0; len]) },
            event: None,
            conflate: None,
            from: None,
            echo: true,
            at_ms: 0,
            encoded: Encoded::default(),
        };
        StoreRequest::Append(Append { publication: Arc::new(publication), key: None, keep_from: 0 })
    }

    fn taken(queue: &Queue) -> Vec<String> {
        let mut jobs = Vec::new();
        queue.take(&mut jobs, 100, usize::MAX);
        let text = |job: &Job| match &job.what {
            What::Do(StoreRequest::Append(append)) => {
                format!("{} {}", append.publication.channel, append.publication.offset())
            }
            What::Do(StoreRequest::Load(channel)) => format!("{channel} load"),
            What::Refused(channel) => format!("{channel} refused"),
            What::LoadRefused(channel) => format!("{channel} load refused"),
            What::Do(_) => unreachable!("there are two requests"),
        };
        jobs.iter().map(text).collect()
    }

    #[test]
    fn a_full_queue_refuses_in_order_and_once_until_the_channel_is_loaded() {
        let queue = Queue::new(2, usize::MAX);
        for offset in 1..=5 {
            queue.push(0, append("a", offset, 0)).unwrap();
        }
        queue.push(0, StoreRequest::Load("b".parse().unwrap())).unwrap();
        assert_eq!(taken(&queue), ["a 1", "a 2", "a refused", "b load refused"]);
        // There is room again; but in `a` there would be a hole.
        queue.push(0, append("a", 6, 0)).unwrap();
        queue.push(0, StoreRequest::Load("a".parse().unwrap())).unwrap();
        queue.push(0, append("a", 3, 0)).unwrap();
        assert_eq!(taken(&queue), ["a load", "a 3"]);
    }

    #[test]
    fn it_is_bounded_in_bytes_and_a_batch_is_too() {
        let queue = Queue::new(100, 1_000);
        for channel in ["a", "b", "c"] {
            queue.push(0, append(channel, 1, 300)).unwrap();
        }
        let mut jobs = Vec::new();
        queue.take(&mut jobs, 100, 400);
        assert_eq!(jobs.len(), 1, "one that is enough by itself");
        assert_eq!(taken(&queue), ["b 1", "c refused"]);
    }

    #[test]
    fn what_was_taken_before_the_end_is_there_after_it() {
        let queue = Queue::new(10, 1_000);
        queue.push(0, append("a", 1, 0)).unwrap();
        queue.close();
        assert!(queue.push(0, append("a", 2, 0)).is_err());
        assert_eq!(taken(&queue), ["a 1"]);
        assert_eq!(taken(&queue), [""; 0]);
    }
}
