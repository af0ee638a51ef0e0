//! What the judge says.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::history::{ActorId, Name};

/// The kinds of broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A position was left out, and nobody said so.
    Gap,
    /// A subscriber got a position, or a volatile publication, twice.
    Doubled,
    /// A subscriber got a position after a later one.
    Reordered,
    /// A subscriber got a position from before the one its subscription began with.
    BeforeStart,
    /// What came is not what was published under that id.
    Altered,
    /// What came nobody published.
    Invented,
    /// What came was published to another channel.
    WrongChannel,
    /// One position, two publications: a reused offset, or two who saw another order.
    PositionReused,
    /// One publish, several entries.
    StoredTwice,
    /// One idempotency key, several entries.
    KeyTwice,
    /// One idempotency key, acknowledged at two positions.
    KeyMoved,
    /// A refused publish appeared.
    RefusedAppears,
    /// A volatile publish has a position, or came by catching up or in history.
    VolatileStored,
    /// A stored publication came without its position.
    NoPosition,
    /// A publisher's own order was not kept.
    PublisherOrder,
    /// A publisher got back what it had asked not to.
    Echoed,
    /// A position was skipped as the subscriber's own and is another's.
    SkippedForeign,
    /// What was acknowledged before is not there any more, in the same epoch.
    AcknowledgedLost,
    /// What was delivered before is not there any more, in the same epoch.
    WentBack,
    /// All is quiet, and a subscriber has not got everything.
    Undelivered,
    /// All is quiet, and a subscriber was told of a position that is not there.
    Ahead,
    /// A new epoch where none may begin.
    EpochChanged,
    /// A former epoch came back.
    EpochReturned,
    /// A new epoch without a word to the subscriber.
    EpochUnannounced,
    /// A `lost` names a position already passed, or not the one that the next publication followed.
    WrongLost,
    /// `recovered` was said, and not everything since came; or the epoch is another.
    FalseRecovery,
    /// `recovered:false` was said although the history still held everything.
    NeedlessLoss,
    /// Not as many were caught up as were announced or asked for.
    WrongCatchUp,
    /// Something caught up came after something newer.
    CatchUpAfterLive,
    /// A subscriber went on from a position that is not where it was. The client's fault.
    WrongSince,
    /// A page of history leaves something out.
    HistoryHole,
    /// A publication came where there was no subscription: before it, after its end, after an unsubscribe.
    NotSubscribed,
    /// It came, or was done, without permission.
    Unauthorised,
    /// An answer to nothing that was asked.
    StrayReply,
}

impl Kind {
    /// The name, as in JSON.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Anomaly {
    /// Which.
    pub kind: Kind,
    /// The number of the record in which it shows; the first is 1.
    pub record: u64,
    /// When that was.
    pub at: u64,
    /// Who saw it.
    pub actor: ActorId,
    /// Where.
    pub channel: Name,
    /// What exactly, with the numbers of the other records it takes.
    pub text: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, record, at, actor, channel, text } = self;
        write!(f, "{kind}: record {record} at {at} ms, actor {actor}, channel {channel:?}: {text}")
    }
}

/// How much there was to judge: no anomaly in a history in which nothing happened says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records seen.
    pub records: u64,
    /// Attempts to publish.
    pub attempts: u64,
    /// Attempts answered with `ok`.
    pub acknowledged: u64,
    /// Attempts refused.
    pub refused: u64,
    /// Attempts of which nobody knows, or whose outcome is not in the history.
    pub unknown: u64,
    /// Positions of which there is a witness.
    pub entries: u64,
    /// Those of them that somebody got, rather than only the acknowledged publisher knowing.
    pub entries_read: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Those that went on from a position, and were told that nothing is missing.
    pub recovered: u64,
    /// Publications that came live.
    pub live: u64,
    /// Publications caught up.
    pub caught_up: u64,
    /// Publications in pages of history.
    pub history_items: u64,
    /// Notices that continuity was lost.
    pub lost_notices: u64,
    /// Restarts.
    pub restarts: u64,
    /// Epochs.
    pub epochs: u64,
    /// How often all was quiet.
    pub settled: u64,
}

/// What the judge found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Verdict {
    /// What is described, at most [`Rules::max_anomalies`](crate::Rules::max_anomalies).
    pub anomalies: Vec<Anomaly>,
    /// How many there are of each kind, described or not.
    pub kinds: BTreeMap<Kind, u64>,
    /// How much there was to judge.
    pub counts: Counts,
}

impl Verdict {
    /// Whether no promise was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Whether this kind was found.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.kinds.contains_key(&kind)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for anomaly in &self.anomalies {
            writeln!(f, "{anomaly}")?;
        }
        let Counts { records, attempts, acknowledged, refused, unknown, .. } = self.counts;
        writeln!(
            f,
            "{records} records; {attempts} publishes: {acknowledged} ok, {refused} refused, {unknown} unknown"
        )?;
        let Counts { entries, entries_read, epochs, restarts, settled, .. } = self.counts;
        writeln!(
            f,
            "{entries} entries, {entries_read} read; {epochs} epochs, {restarts} restarts, quiet {settled} times"
        )?;
        let Counts { subscriptions, recovered, live, caught_up, history_items, lost_notices, .. } = self.counts;
        write!(f, "{subscriptions} subscriptions, {recovered} recovered; {live} live, {caught_up} caught up, ")?;
        writeln!(f, "{history_items} in history, {lost_notices} lost notices")?;
        let found: u64 = self.kinds.values().sum();
        write!(f, "{found} anomalies")?;
        for (kind, count) in &self.kinds {
            write!(f, ", {count} {kind}")?;
        }
        Ok(())
    }
}

/// Where in the history the judge is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here {
    pub(crate) record: u64,
    pub(crate) at: u64,
    pub(crate) actor: ActorId,
}

/// Collects anomalies.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    max: usize,
    pub(crate) anomalies: Vec<Anomaly>,
    pub(crate) kinds: BTreeMap<Kind, u64>,
}

impl Findings {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    pub(crate) fn add(&mut self, kind: Kind, here: Here, channel: &Name, text: impl FnOnce() -> String) {
        *self.kinds.entry(kind).or_default() += 1;
        if self.anomalies.len() < self.max {
            let Here { record, at, actor } = here;
            self.anomalies.push(Anomaly { kind, record, at, actor, channel: Name::clone(channel), text: text() });
        }
    }
}
