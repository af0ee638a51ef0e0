//! By which ways one can hear, and what is counted of each.
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use clap::ValueEnum;

/// By what a reader hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Transport {
    Websocket,
    Stream,
    Events,
    Poll,
    Sockjs,
    /// `GET /sse`: channels, and nothing else.
    Sse,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    All,
    Websocket,
    Stream,
    Events,
    Poll,
    Sockjs,
    Sse,
}

impl Choice {
    /// What these are together.
    pub(crate) fn all_of(chosen: &[Self]) -> Vec<Transport> {
        let each = [
            (Self::Websocket, Transport::Websocket),
            (Self::Stream, Transport::Stream),
            (Self::Events, Transport::Events),
            (Self::Poll, Transport::Poll),
            (Self::Sockjs, Transport::Sockjs),
            (Self::Sse, Transport::Sse),
        ];
        let is_chosen = |choice| chosen.contains(&choice) || chosen.contains(&Self::All);
        each.into_iter().filter(|(choice, _)| is_chosen(*choice)).map(|(_, transport)| transport).collect()
    }
}

/// What was seen of one transport.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Conversations that were opened; for `/sse`, streams.
    pub(crate) opened: u64,
    /// Responses in which a conversation went on, and streams that went on from a `Last-Event-ID`.
    pub(crate) resumed: u64,
    /// Times that somebody changed to it of his own will.
    pub(crate) switched: u64,
    /// Conversations lost.
    pub(crate) lost: u64,
    /// Subscriptions that went on from a position without a gap.
    pub(crate) recovered: u64,
    /// Publications caught up.
    pub(crate) caught_up: u64,
    /// Gaps that readers were told of.
    pub(crate) told: u64,
    /// Publications heard.
    pub(crate) heard: u64,
    /// Publications acknowledged.
    pub(crate) published: u64,
}

/// Counts of everybody.
#[derive(Default)]
pub(crate) struct Tally {
    counts: Mutex<BTreeMap<Transport, Counts>>,
    /// Why conversations were lost.
    reasons: Mutex<BTreeMap<String, u64>>,
    violations: Mutex<Vec<String>>,
}

impl Tally {
    pub(crate) fn count(&self, transport: Transport, change: impl FnOnce(&mut Counts)) {
        change(lock(&self.counts).entry(transport).or_default());
    }

    pub(crate) fn lost(&self, transport: Transport, why: &str) {
        self.count(transport, |counts| counts.lost += 1);
        *lock(&self.reasons).entry(why.to_owned()).or_default() += 1;
    }

    /// Something that the protocol forbids, other than what the judge judges.
    pub(crate) fn violation(&self, what: String) {
        eprintln!("VIOLATION: {what}");
        lock(&self.violations).push(what);
    }

    pub(crate) fn violations(&self) -> usize {
        lock(&self.violations).len()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:10} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>6} {:>9} {:>9}",
            "transport",
            "opened",
            "resumed",
            "switched",
            "lost",
            "recovered",
            "caught up",
            "gaps",
            "heard",
            "published"
        )?;
        for (transport, counts) in &*lock(&self.counts) {
            let Counts { opened, resumed, switched, lost, recovered, caught_up, told, heard, published } = counts;
            writeln!(
                f,
                "{:10} {opened:8} {resumed:8} {switched:8} {lost:8} {recovered:9} {caught_up:9} {told:6} {heard:9} {published:9}",
                format!("{transport:?}").to_lowercase()
            )?;
        }
        write!(f, "lost because:")?;
        for (reason, count) in &*lock(&self.reasons) {
            write!(f, " {reason} ({count});")?;
        }
        Ok(())
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
