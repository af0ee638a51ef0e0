//! Reads what publishers and subscribers saw, and finds what the delivery promise of a hub forbids: what was lost, doubled,
//! reordered, altered, let through without permission or left out in silence.
//!
//! It is built on none of our crates and was written before the code it judges. A simulation feeds it in process
//! ([`Judge::see`]); programs in any language feed it through files of JSON lines ([`history`] has the words) and the binary
//! `sockeye-judge FILE…`.
//!
//! # What is promised
//!
//! For each channel with history: one total order; the same (epoch, offset) is the same publication for everybody; after
//! offset n comes n + 1 or a `lost` that names the position which the next one follows; each offset once, also across
//! reconnects; `ok` to a publish means that it is stored; a refused publish never appears; one attempt makes at most one entry;
//! one key within five minutes is one entry at one position; a publisher's own order is kept; what is caught up comes before
//! what is new; nothing comes without permission, on any path. [`Kind`] lists what can be broken.
//!
//! # What is not an anomaly, and why
//!
//! - **An acknowledged publication that nobody gets because the history let it go.** The window is the operator's choice. A
//!   subscriber must be told (`recovered:false`, `lost`), and with [`ChannelRules::keeps`] the window itself is judged.
//! - **An acknowledged publication whose epoch has ended.** A channel in memory loses it with the process; which channels may is
//!   in [`ChannelRules::epochs`], and subscribers must be told.
//! - **A publish of unknown outcome that appears, once, late or never.** Its connection died; nobody promised.
//!   Sent again without a key it may appear once for each attempt that was not refused.
//! - **A key that is forgotten after its five minutes, or with its epoch.** An attempt that may have been handled after the
//!   window, reckoned from the first attempt, may be a second entry.
//! - **A publisher's order across connections, if the earlier publish was not acknowledged, or was sent by several.** What was
//!   on its way in the old connection may be overtaken by the new one. Within a connection, and after an `ok`, order is judged.
//! - **A volatile publication that does not come,** or that comes before a stored one that was published first: it does not
//!   wait for the store. Among themselves those of one publisher keep their order.
//! - **Offsets that do not come because they are the subscriber's own, published with `no_echo`.** That includes as many offsets
//!   of which nobody ever says what is there as it has such publishes of unknown outcome. Histories that are to find every
//!   gap do without `no_echo`, or have a second subscriber.
//! - **A delivery before the `ok`, or before the record of the publish.** Two recorders' clocks may tie; whether it was
//!   published at all is asked at the end.
//! - **What comes within [`Rules::grace_ms`] after a right was taken away.** It was on its way. A reader that is kept slow on
//!   purpose needs a longer grace, since what was sent before lies in its socket.
//! - **An answer that does not know of what happened after its question.** It may have been written before. Hence the records
//!   `subscribing` and `reading_history`: what was witnessed before them must be covered.
//! - **A page of history that begins later than asked,** where age or bytes limit the history: there is no telling.
//! - **A `lost` that loses nothing, and `recovered:false` where [`ChannelRules::keeps`] is not set.** They are honest, if shy.
//! - **A catch-up cut short by a disconnect, an unsubscribe or a `lost`.**
//! - **Being behind.** Only when all is `settled` must everybody still subscribed, and permitted, have everything.
//!
//! # Memory
//!
//! About 450 bytes for each publish (measured: 450 MB and five seconds of processor time for a million publishes and four million
//! deliveries in a file), and nothing for a delivery: a subscriber is a position.

pub mod history;

mod anomaly;
mod judge;
mod ledger;
mod merge;
mod page;
mod permissions;
mod publishes;
mod rules;
mod subscription;

pub use anomaly::{Anomaly, Counts, Kind, Verdict};
pub use history::{Action, ActorId, Item, Name, Path, Position, Record, Seen, fingerprint, write_line};
pub use judge::Judge;
pub use merge::{Merge, ReadError};
pub use rules::{ChannelRules, Epochs, Rules};
