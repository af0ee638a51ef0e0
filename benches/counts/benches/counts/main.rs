//! Instructions of each step of a message's way. Counted, not timed: the same code on the same compiler gives the same
//! numbers on a busy machine. `benches/counts/run` runs this and compares; README.md of the workspace says how.
//!
//! What is counted is one call of the function, without what its `setup` did. Whatever is made once a thread or grows to its
//! size, as a pool or a queue, has been used in `setup` before.
#![allow(missing_docs, reason = "of what the macros make")]

mod hub;
mod proto;

use gungraun::{Callgrind, prelude::*};
use hub::publishing;
use proto::{messages, steps};

main!(
    // Only instructions are compared, and the simulation of caches would double the time.
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [steps, messages, publishing]
);
