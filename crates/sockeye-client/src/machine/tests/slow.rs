//! A reader that does not read.
use serde_json::json;

use super::{World, since};
use crate::machine::Wish;

fn narrow() -> World {
    World::open_with(|limits| limits.max_events = 4)
}

#[test]
fn it_pauses_and_then_catches_up() {
    let mut world = narrow();
    let serial = world.subscribe(0);
    world.publications(1..=6);
    // It leaves, and others go on.
    assert_eq!(world.one()["unsubscribe"], "a");
    world.publications([7]);
    assert_eq!(world.read_one(serial).unwrap(), "1");
    assert_eq!(world.sent().len(), 0);
    assert_eq!(world.read_one(serial).unwrap(), "2");
    let command = world.one();
    assert_eq!(command["since"], since(4));
    world.ok(&command, &json!({"epoch": "e", "offset": 7, "catch_up": 3, "recovered": true}));
    world.publications(5..=7);
    assert_eq!(world.read(serial), "3 4 5 6");
    // 7 found no room again, and is caught up.
    let sent = world.sent();
    assert_eq!((&sent[0]["unsubscribe"], &sent[1]["since"]), (&json!("a"), &since(6)));
}

#[test]
fn what_the_history_does_not_hold_any_more_is_told() {
    let mut world = narrow();
    let serial = world.subscribe(0);
    world.publications(1..=6);
    assert_eq!(world.read(serial), "1 2 3 4");
    let sent = world.sent();
    world.ok(&sent[1], &json!({"epoch": "e", "offset": 90, "catch_up": 0, "recovered": false}));
    world.publications([91]);
    assert_eq!(world.read(serial), "lost:e4:e90:History 91");
}

#[test]
fn without_history_the_rest_is_lost_and_told() {
    let mut world = narrow();
    let (serial, _opened) = world.wish(Wish::default());
    let command = world.one();
    world.ok(&command, &json!({}));
    for number in 0..6 {
        world.says(&json!({"on": "a", "data": number}));
    }
    assert_eq!(world.read(serial), "- - - -");
    let sent = world.sent();
    world.ok(&sent[1], &json!({}));
    assert_eq!(world.read(serial), "lost:?:?:Slow");
}

#[test]
fn bytes_count_too_and_one_is_always_taken() {
    let mut world = World::open_with(|limits| limits.max_event_bytes = 0);
    let serial = world.subscribe(0);
    world.publications([1, 2]);
    assert_eq!(world.read(serial), "1");
    assert_eq!(world.sent()[1]["since"], since(1));
}

#[test]
fn a_pause_outlives_the_connection() {
    let mut world = narrow();
    let serial = world.subscribe(0);
    world.publications(1..=6);
    world.reconnect();
    assert_eq!(world.sent().len(), 0);
    assert_eq!(world.read(serial), "1 2 3 4");
    assert_eq!(world.one()["since"], since(4));
}

#[test]
fn one_that_never_reads_costs_what_the_limits_say() {
    let mut world = narrow();
    let serial = world.subscribe(0);
    let other = {
        let (opened, _receiver) = tokio::sync::oneshot::channel();
        world.machine.subscribe("b", Wish::default(), opened, world.now).unwrap()
    };
    let command = world.one();
    world.ok(&command, &json!({}));
    for offset in 1..=1000 {
        world.publications([offset]);
        world.says(&json!({"on": "a", "lost": {"epoch": "e", "offset": offset}}));
        world.says(&json!({"on": "b", "data": offset}));
        assert_eq!(world.read(other), "-");
    }
    assert!(world.read(serial).split(' ').count() <= 5);
}
