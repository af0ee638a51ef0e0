//! What the store's thread does with the requests it has taken.
use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use sockeye_hub::{Append, ChannelName, Loaded, StoreReply, StoreRequest};
use tracing::error;

use super::{
    Replies, channel_of,
    database::{Batch, Database, Problem},
    queue::{Job, What},
};

/// Channels whose failure is remembered; more than there can be at a server's hubs. Beyond it they are forgotten, and it
/// is only that an append does not follow on what there is which makes the next ones fail.
const REMEMBERED: usize = 4_000_000;

/// One line in the log for all that goes wrong within this time.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Carries out requests in order.
pub(super) struct Writer {
    database: Database,
    voice: Voice,
}

/// Who has been told what.
struct Voice {
    replies: Replies,
    /// Channels that failed and have not been asked to be loaded since.
    failed: HashSet<ChannelName>,
    logged_at: Option<Instant>,
}

/// What is said once the batch is durable.
struct Outcome {
    worker: usize,
    channel: ChannelName,
    became: Became,
}

/// What became of a request.
enum Became {
    /// The publication with this offset is kept.
    Appended(u64),
    NotAppended,
    NotLoaded,
}

impl Writer {
    pub(super) fn new(database: Database, replies: Replies) -> Self {
        Self { database, voice: Voice { replies, failed: HashSet::new(), logged_at: None } }
    }

    /// Carries out these, in as few transactions as their order allows: most often one.
    pub(super) fn carry_out(&mut self, mut jobs: VecDeque<Job>) {
        while let Some(job) = jobs.pop_front() {
            match job.what {
                What::Do(StoreRequest::Load(channel)) => {
                    let result = self.database.load(&channel);
                    self.voice.loaded(job.worker, channel, result);
                }
                what => {
                    jobs.push_front(Job { worker: job.worker, what });
                    self.write(&mut jobs);
                }
            }
        }
    }

    /// Ends it.
    pub(super) fn close(self) {
        if let Err(error) = self.database.close() {
            error!(%error, "the store could not be closed as it should; nothing is lost");
        }
    }

    /// One transaction, up to a request that has to see what it did.
    fn write(&mut self, jobs: &mut VecDeque<Job>) {
        let Self { database, voice } = self;
        let mut batch = match database.begin() {
            Ok(batch) => batch,
            Err(problem) => {
                voice.log(None, &problem);
                return jobs.drain(..).for_each(|job| voice.fail_job(job));
            }
        };
        let mut outcomes = Vec::with_capacity(jobs.len());
        while let Some(Job { worker, what }) = jobs.pop_front() {
            match what {
                What::Do(StoreRequest::Append(append)) => {
                    if let Err(problem) = voice.append(&mut batch, worker, &append, &mut outcomes) {
                        drop(batch);
                        let channel = append.publication.channel.clone();
                        outcomes.push(Outcome { worker, channel, became: Became::NotAppended });
                        return voice.fail_all(outcomes, &problem);
                    }
                }
                What::Do(StoreRequest::Load(channel)) => {
                    if batch.changes(&channel) || voice.failed.contains(&channel) {
                        jobs.push_front(Job { worker, what: What::Do(StoreRequest::Load(channel)) });
                        break;
                    }
                    let result = batch.load(&channel);
                    voice.loaded(worker, channel, result);
                }
                What::Do(other) => voice.replies.fail(worker, &other),
                What::Refused(channel) => {
                    voice.log(Some(&channel), &Problem::Refused("too many wait for the store"));
                    if voice.remember(&channel) {
                        outcomes.push(Outcome { worker, channel, became: Became::NotAppended });
                    }
                }
                What::LoadRefused(channel) => {
                    voice.remember(&channel);
                    outcomes.push(Outcome { worker, channel, became: Became::NotLoaded });
                }
            }
        }
        // What has not changed anything needs no flush.
        let written = if batch.is_empty() { Ok(()) } else { batch.commit() };
        match written {
            Ok(()) => voice.say(outcomes),
            Err(problem) => voice.fail_all(outcomes, &problem),
        }
    }
}

impl Voice {
    /// Adds it to the batch. An error is one of the whole batch.
    fn append(
        &mut self,
        batch: &mut Batch<'_>,
        worker: usize,
        append: &Append,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Problem> {
        let channel = &append.publication.channel;
        if self.failed.contains(channel) {
            // Whoever sent it had not heard yet that the ones before it failed.
            return Ok(());
        }
        let became = match batch.append(append) {
            Ok(()) => Became::Appended(append.publication.offset()),
            Err(problem @ (Problem::Refused(_) | Problem::Damaged(_))) => {
                self.log(Some(channel), &problem);
                self.remember(channel);
                Became::NotAppended
            }
            Err(problem) => return Err(problem),
        };
        outcomes.push(Outcome { worker, channel: channel.clone(), became });
        Ok(())
    }

    fn loaded(&mut self, worker: usize, channel: ChannelName, result: Result<Loaded, Problem>) {
        let reply = match result {
            Ok(loaded) => {
                self.failed.remove(&channel);
                StoreReply::Loaded(channel, loaded)
            }
            Err(problem) => {
                self.log(Some(&channel), &problem);
                self.remember(&channel);
                StoreReply::NotLoaded(channel)
            }
        };
        self.replies.send(worker, reply);
    }

    fn say(&self, outcomes: Vec<Outcome>) {
        for Outcome { worker, channel, became } in outcomes {
            let reply = match became {
                Became::Appended(offset) => StoreReply::Appended(channel, offset),
                Became::NotAppended => StoreReply::NotAppended(channel),
                Became::NotLoaded => StoreReply::NotLoaded(channel),
            };
            self.replies.send(worker, reply);
        }
    }

    /// Nothing of a batch has happened as far as anybody may know. Each of its channels hears that once.
    fn fail_all(&mut self, outcomes: Vec<Outcome>, problem: &Problem) {
        self.log(None, problem);
        let mut told = HashSet::new();
        for Outcome { worker, channel, became } in outcomes {
            self.remember(&channel);
            if let Became::NotLoaded = became {
                self.replies.send(worker, StoreReply::NotLoaded(channel));
            } else if told.insert(channel.clone()) {
                self.replies.send(worker, StoreReply::NotAppended(channel));
            }
        }
    }

    /// It has not been begun.
    fn fail_job(&mut self, job: Job) {
        let (channel, is_load) = match job.what {
            What::Do(request) => match channel_of(&request) {
                Some(channel) => (channel.clone(), matches!(request, StoreRequest::Load(_))),
                None => return,
            },
            What::Refused(channel) => (channel, false),
            What::LoadRefused(channel) => (channel, true),
        };
        let is_new = self.remember(&channel);
        if is_load {
            self.replies.send(job.worker, StoreReply::NotLoaded(channel));
        } else if is_new {
            self.replies.send(job.worker, StoreReply::NotAppended(channel));
        }
    }

    /// This channel has failed. Whether that is new.
    fn remember(&mut self, channel: &ChannelName) -> bool {
        if self.failed.len() >= REMEMBERED {
            self.failed.clear();
        }
        self.failed.insert(channel.clone())
    }

    fn log(&mut self, channel: Option<&ChannelName>, problem: &Problem) {
        let now = Instant::now();
        if self.logged_at.is_some_and(|at| now.duration_since(at) < LOG_EVERY) {
            return;
        }
        self.logged_at = Some(now);
        let channel = channel.map(tracing::field::display);
        match problem {
            Problem::Refused(why) => error!(channel, why, "the store has refused a publication"),
            Problem::Damaged(what) => {
                error!(channel, what, "the store is damaged, and a channel cannot be had from it");
            }
            Problem::Engine(error) => error!(channel, %error, "the store cannot write or read"),
            Problem::Mark(error) => error!(channel, %error, "the store cannot say how far it has written"),
        }
    }
}
