//! Seeded lives of conversations, thousands of steps each, and whatever proptest comes up with.
mod common;

use common::{Rules, Seen, run};
use proptest::prelude::*;

/// `SplitMix64`: small, and the same everywhere.
fn random_bytes(mut seed: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some((mixed ^ (mixed >> 31)).to_le_bytes())
    })
    .flatten()
}

/// Lives under these rules, and what was seen in all of them.
fn live(rules: Rules, lives: u64) -> Seen {
    let mut all = Seen::default();
    for seed in 0..lives {
        let seen = run(rules, random_bytes(seed).take(8000));
        all.heard += seen.heard;
        all.taken += seen.taken;
        all.full += seen.full;
        all.broken += seen.broken;
        all.replaced += seen.replaced;
        all.refused += seen.refused;
        all.torn += seen.torn;
        all.heartbeats += seen.heartbeats;
        all.closed += seen.closed;
        all.gone += seen.gone;
    }
    println!("{all:?}");
    assert_eq!(all.gone, lives, "each has one end");
    all
}

#[test]
fn lives_under_the_rules_of_sockjs() {
    let seen = live(Rules::SockJs, 500);
    assert!(seen.heard > 0 && seen.taken > 0 && seen.full > 0 && seen.broken > 0 && seen.refused > 0, "{seen:?}");
    assert!(seen.closed > 0 && seen.heartbeats > 0 && seen.replaced == 0 && seen.torn == 0, "{seen:?}");
}

#[test]
fn lives_under_our_own_rules() {
    let seen = live(Rules::Native, 500);
    assert!(seen.heard > 0 && seen.taken > 0 && seen.full > 0 && seen.broken > 0 && seen.replaced > 0, "{seen:?}");
    assert!(seen.closed > 0 && seen.heartbeats > 0 && seen.torn > 0 && seen.refused == 0, "{seen:?}");
}

proptest! {
    #[test]
    fn any_order_of_events_keeps_the_promises_of_sockjs(choices in prop::collection::vec(any::<u8>(), 0..600)) {
        run(Rules::SockJs, choices);
    }

    #[test]
    fn any_order_of_events_keeps_our_own_promises(choices in prop::collection::vec(any::<u8>(), 0..600)) {
        run(Rules::Native, choices);
    }
}
