//! What is left of channels that are gone: nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{World, name, subscribe};
use peak_alloc::PeakAlloc;
use sockeye_hub::{ChannelOptions, HubOptions, Namespaces, Request};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const NAMES: usize = 40_000;

/// Attack line E11. No map makes its table smaller by itself, so what is in it has to be small.
#[test]
fn a_flood_of_names_leaves_no_memory_behind() {
    let options = ChannelOptions::default();
    let mut world = World::new(1, Namespaces::new(Some(options.clone())), &HubOptions::default());
    let eve = world.open(0, "eve");
    let before = HEAP.current_usage();
    for number in 0..NAMES {
        let name = name(&format!("x{number}"));
        world.ask(eve, subscribe(name.as_str())).ask(eve, Request::Unsubscribe(name));
        assert!(world.heard(eve).iter().all(|words| !words.starts_with("failed")));
    }
    assert_eq!(world.hubs[0].stats().channels, NAMES);
    let flooded = HEAP.current_usage() - before;
    world.pass(options.history_age + Duration::from_secs(1));
    assert_eq!(world.hubs[0].stats().channels, 0);
    let left = HEAP.current_usage().saturating_sub(before);
    assert!(left < flooded / 10, "{left} B of {flooded} B are left");
}
