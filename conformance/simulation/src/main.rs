//! `sockeye-simulation FIRST COUNT [STEPS]`: so many seeds from the first one on; ends with the first that is not clean.
//! `sockeye-simulation --history SEED [STEPS]`: writes down what was seen with this seed.
use std::{env, io, process::ExitCode, time::Instant};

use sockeye_simulation::{run, run_writing};

fn main() -> ExitCode {
    let numbers: Vec<u64> = env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let (first, count) = (numbers.first().copied().unwrap_or(0), numbers.get(1).copied().unwrap_or(200));
    let steps = numbers.get(2).copied().and_then(|steps| usize::try_from(steps).ok()).unwrap_or(3_000);
    if env::args().any(|word| word == "--history") {
        let steps = usize::try_from(count).unwrap_or(3_000);
        eprintln!("{}", run_writing(first, steps, None, io::stdout()).verdict);
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    let mut sums = [0_u64; 6];
    for seed in first..first.saturating_add(count) {
        let outcome = run(seed, steps, None);
        if !outcome.is_clean() {
            println!("seed {seed}, {steps} steps, rested {}:\n{}", outcome.rested, outcome.verdict);
            return ExitCode::FAILURE;
        }
        let counts = outcome.verdict.counts;
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
    let [acknowledged, live, caught_up, recovered, lost, restarts] = sums;
    println!(
        "{count} seeds of {steps} steps without an anomaly in {:.1} s: {acknowledged} publications acknowledged, {live} delivered \
         live and {caught_up} caught up, {recovered} recoveries, {lost} losses told, {restarts} restarts",
        begun.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
