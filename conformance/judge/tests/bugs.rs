//! The judge finds each seeded bug of a toy hub by its kind, and nothing in the histories of the hub without it.

#[expect(unreachable_pub, reason = "a module of a test is not for anybody else")]
mod toy;

use std::fmt::Write;

use sockeye_judge::{ChannelRules, Epochs, Judge, Kind, Rules, Verdict};
use toy::bug::{BUGS, Bug};
use toy::hub::KEEPS;
use toy::world::{History, play};

const SEEDS: u64 = 60;
/// A bug whose moment comes in fewer histories than this has not been tried.
const LEAST: u64 = 5;

fn rules() -> Rules {
    Rules::default()
        .namespace("memory", ChannelRules { epochs: Epochs::AtRestart, keeps: Some(KEEPS) })
        .namespace("disk", ChannelRules { epochs: Epochs::Fixed, keeps: Some(KEEPS) })
}

fn judge(history: &History) -> Verdict {
    let mut judge = Judge::new(rules());
    history.records.iter().for_each(|record| judge.see(record));
    judge.finish()
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let mut total = sockeye_judge::Counts::default();
    for seed in 0..400 {
        let verdict = judge(&play(seed, None, false));
        assert!(verdict.is_clean(), "seed {seed}: {verdict}");
        total.recovered += verdict.counts.recovered;
        total.lost_notices += verdict.counts.lost_notices;
        total.history_items += verdict.counts.history_items;
        total.unknown += verdict.counts.unknown;
        total.restarts += verdict.counts.restarts;
        total.caught_up += verdict.counts.caught_up;
    }
    // The histories are worth judging.
    for count in
        [total.recovered, total.lost_notices, total.history_items, total.unknown, total.restarts, total.caught_up]
    {
        assert!(count > 400, "{total:?}");
    }
}

#[test]
fn each_seeded_bug_is_found_by_its_kind_and_without_it_the_same_history_is_clean() {
    let mut report = String::new();
    let mut failed = false;
    for &(bug, kinds) in BUGS {
        let tried = try_bug(bug, kinds);
        if tried.found < tried.fired || tried.fired < LEAST || tried.unclean.is_some() {
            failed = true;
            writeln!(report, "{bug:?}: {tried:#?}").unwrap();
        }
    }
    assert!(!failed, "{report}");
}

#[derive(Debug)]
struct Tried {
    fired: u64,
    found: u64,
    /// A seed whose history has anomalies without the bug.
    unclean: Option<(u64, String)>,
    /// A seed in which it was not found, and what was.
    missed: Option<(u64, String)>,
}

fn try_bug(bug: Bug, kinds: &[Kind]) -> Tried {
    let mut tried = Tried { fired: 0, found: 0, unclean: None, missed: None };
    for seed in 0..SEEDS {
        let history = play(seed, Some(bug), false);
        if !history.fired {
            continue;
        }
        tried.fired += 1;
        let verdict = judge(&history);
        if kinds.iter().any(|kind| verdict.has(*kind)) {
            tried.found += 1;
        } else {
            tried.missed = Some((seed, verdict.to_string()));
        }
        let without = judge(&play(seed, Some(bug), true));
        if !without.is_clean() {
            tried.unclean = Some((seed, without.to_string()));
        }
    }
    tried
}
