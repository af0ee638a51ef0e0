//! The durable store: a queue and the one thread that empties it.
use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use sockeye_hub::{StoreReply, StoreRequest};
use tracing::error;

use super::{
    OpenError, Replies, Sink, Store, StoreOptions,
    database::Database,
    open,
    queue::{Closed, Job, Queue, What},
    writer::Writer,
};

/// A store in a folder. One server has it at a time.
///
/// Everything that waits becomes durable together, so what costs time is the disk's flush and not the number of
/// publications: the more there are, the more share one. Dropping it writes what was submitted, and waits for that.
///
/// ```
/// use std::sync::mpsc;
/// use sockeye_hub::{StoreReply, StoreRequest};
/// use sockeye_server::store::{DurableStore, Sink, Store, StoreOptions};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let (replies, heard) = mpsc::channel();
/// let sink: Sink = Box::new(move |reply| drop(replies.send(reply)));
/// let store = DurableStore::open(folder, StoreOptions::default(), vec![sink])?;
/// store.submit(0, StoreRequest::Load("chat:lobby".parse()?));
/// let StoreReply::Loaded(channel, loaded) = heard.recv()? else { panic!("it has a new folder") };
/// assert_eq!((channel.as_str(), loaded.top), ("chat:lobby", 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DurableStore {
    queue: Arc<Queue>,
    replies: Replies,
    thread: Option<JoinHandle<()>>,
}

impl DurableStore {
    /// Opens the store in this folder, or makes one, with the workers' sinks, the first worker's first. Reads all of
    /// it once to see that it is whole, so this takes a time that grows with it.
    ///
    /// # Errors
    /// When another server has it open, when what is there is damaged, not a store or another version's, or when the
    /// operating system refuses. Nothing is written then.
    pub fn open(folder: impl AsRef<Path>, options: StoreOptions, sinks: Vec<Sink>) -> Result<Self, OpenError> {
        let folder = folder.as_ref();
        let queue = Arc::new(Queue::new(options.queue_count, options.queue_bytes));
        let replies = Replies::new(sinks);
        let database = open::open(folder, options).map_err(|why| OpenError::new(folder, why))?;
        let last_words = LastWords { queue: Arc::clone(&queue), replies: replies.clone(), in_hand: Vec::new() };
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || run(database, last_words))
            .map_err(|error| OpenError::new(folder, error))?;
        Ok(Self { queue, replies, thread: Some(thread) })
    }

    /// Writes what was submitted and closes the folder. What is submitted later fails. Dropping it does the same.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.queue.close();
        // A sink may own the store, and be the last one that does.
        if let Some(handle) = self.thread.take().filter(|handle| handle.thread().id() != thread::current().id())
            && handle.join().is_err()
        {
            error!("the store's thread has panicked");
        }
    }
}

impl Store for DurableStore {
    fn submit(&self, worker: usize, request: StoreRequest) {
        if let Err(Closed(request)) = self.queue.push(worker, request) {
            self.replies.fail(worker, &request);
        }
    }
}

impl Drop for DurableStore {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableStore").field("replies", &self.replies).finish_non_exhaustive()
    }
}

/// The store's thread, until the queue is closed and empty.
fn run(database: Database, mut last_words: LastWords) {
    let (max_count, max_bytes) = (database.options().batch_count, database.options().batch_bytes);
    let mut writer = Writer::new(database, last_words.replies.clone());
    let mut jobs = Vec::new();
    loop {
        last_words.queue.take(&mut jobs, max_count, max_bytes);
        if jobs.is_empty() {
            break;
        }
        last_words.in_hand = jobs.iter().filter_map(refusal).collect();
        writer.carry_out(jobs.drain(..).collect());
        last_words.in_hand.clear();
    }
    writer.close();
}

/// If the thread ends before its time, all who wait for it hear that, and so do all who come later.
struct LastWords {
    queue: Arc<Queue>,
    replies: Replies,
    in_hand: Vec<(usize, StoreReply)>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.queue.close();
        let mut jobs = Vec::new();
        self.queue.take(&mut jobs, usize::MAX, usize::MAX);
        let waiting = jobs.iter().filter_map(refusal);
        for (worker, reply) in self.in_hand.drain(..).chain(waiting) {
            // A sink may be what has ended the thread, and the others are to hear of it all the same.
            let say = AssertUnwindSafe(|| self.replies.send(worker, reply));
            drop(panic::catch_unwind(say));
        }
    }
}

/// Who waits for it, and what to say if it is not done.
fn refusal(job: &Job) -> Option<(usize, StoreReply)> {
    let reply = match &job.what {
        What::Do(request) => super::failure_of(request)?,
        What::Refused(channel) => StoreReply::NotAppended(channel.clone()),
        What::LoadRefused(channel) => StoreReply::NotLoaded(channel.clone()),
    };
    Some((job.worker, reply))
}
