//! Seeds without a bug are clean; with one they are not.
use sockeye_simulation::run;

const STEPS: usize = 3_000;

#[test]
fn two_hundred_seeds_keep_the_promise() {
    for seed in 0..200 {
        let outcome = run(seed, STEPS, None);
        assert!(outcome.is_clean(), "seed {seed}, {STEPS} steps, rested {}:\n{}", outcome.rested, outcome.verdict);
    }
}

#[test]
fn a_seed_is_a_history() {
    for seed in 0..5 {
        assert_eq!(run(seed, STEPS, None).trace, run(seed, STEPS, None).trace, "seed {seed}");
    }
}

#[test]
fn what_is_simulated_is_worth_judging() {
    let mut sums = [0; 6];
    for seed in 0..20 {
        let counts = run(seed, STEPS, None).verdict.counts;
        let of_this = [
            counts.acknowledged,
            counts.live,
            counts.caught_up,
            counts.recovered,
            counts.lost_notices,
            counts.restarts,
        ];
        for (sum, one) in sums.iter_mut().zip(of_this) {
            *sum += one;
        }
    }
    assert!(sums.iter().all(|sum| *sum >= 20), "{sums:?}");
}

/// Every bug is found by the judge, within a few seeds that are clean without it.
#[cfg(feature = "seeded-bugs")]
#[test]
fn every_seeded_bug_is_found() {
    use sockeye_simulation::Bug;

    let missed: Vec<_> = Bug::ALL
        .into_iter()
        .filter(|&bug| {
            let found = (0..40).find(|&seed| !run(seed, STEPS, Some(bug)).is_clean());
            println!("{bug:?}: {}", found.map_or("missed".into(), |seed| format!("found with seed {seed}")));
            found.is_none()
        })
        .collect();
    assert!(missed.is_empty(), "missed: {missed:?}");
}
