//! Each offset once and in order, or within a loss that is told.
use serde_json::json;

use super::{SECOND, World, since};
use crate::{Position, machine::Wish};

#[test]
fn the_subscriber_stands_before_what_is_to_be_caught_up() {
    let mut world = World::open();
    let (serial, mut opened) = world.wish(Wish { last: Some(2), ..Wish::default() });
    let command = world.one();
    assert_eq!(command["last"], 2);
    world.ok(&command, &json!({"epoch": "e", "offset": 9, "catch_up": 2}));
    assert!(opened.try_recv().unwrap().unwrap().is_empty());
    assert_eq!(world.at(serial), 7);
    world.publications([8, 9, 10]);
    assert_eq!(world.read(serial), "8 9 10");
    assert_eq!(world.at(serial), 10);
    assert_eq!(world.sent().len(), 0);
}

#[test]
fn a_reconnect_catches_up_from_the_last_offset_and_drops_what_comes_twice() {
    let mut world = World::open();
    let (serial, _opened) = world.wish(Wish { last: Some(1), echo: Some(false), ..Wish::default() });
    let command = world.one();
    world.ok(&command, &json!({"epoch": "e", "offset": 5, "catch_up": 1}));
    world.publications([5, 6]);
    world.reconnect();
    let command = world.one();
    assert_eq!(command, json!({"id": command["id"], "subscribe": "a", "since": since(6), "echo": false}));
    // The server goes back one too far.
    world.ok(&command, &json!({"epoch": "e", "offset": 8, "catch_up": 3, "recovered": true}));
    world.publications([6, 7, 7, 8, 6, 9]);
    assert_eq!(world.read(serial), "5 6 7 8 9");
}

#[test]
fn what_comes_before_the_reply_is_not_for_this_subscription() {
    let mut world = World::open();
    let serial = world.subscribe(5);
    world.publications([6]);
    world.machine.unsubscribe(serial).unwrap();
    let (next, _opened) = world.wish(Wish::default());
    let sent = world.sent();
    assert!(sent[0]["unsubscribe"] == "a" && sent[1]["subscribe"] == "a", "{sent:?}");
    world.publications([7]);
    world.ok(&sent[0], &json!({}));
    world.ok(&sent[1], &json!({"epoch": "e", "offset": 7}));
    world.publications([8]);
    assert_eq!(world.read(next), "8");
    assert!(world.is_over(serial));
}

#[test]
fn a_hole_is_asked_for_again_and_never_silent() {
    let mut world = World::open();
    let serial = world.subscribe(5);
    world.publications([6, 8, 9]);
    assert_eq!(world.read(serial), "6");
    let sent = world.sent();
    assert_eq!((&sent[0]["unsubscribe"], &sent[1]["since"]), (&json!("a"), &since(6)));
    // What the first subscription still had to say.
    world.publications([10]);
    world.ok(&sent[1], &json!({"epoch": "e", "offset": 9, "catch_up": 3, "recovered": true}));
    world.publications([7, 8, 9]);
    assert_eq!(world.read(serial), "7 8 9");
}

#[test]
fn a_hole_that_stays_is_a_loss() {
    let mut world = World::open_with(|limits| limits.max_holes = 2);
    let serial = world.subscribe(5);
    for _ in 0..2 {
        world.publications([8]);
        let sent = world.sent();
        world.ok(&sent[1], &json!({"epoch": "e", "offset": 8, "catch_up": 3, "recovered": true}));
    }
    world.publications([8, 9]);
    assert_eq!(world.read(serial), "lost:e5:e7:Hole 8 9");
    assert_eq!(world.sent().len(), 0);
}

#[test]
fn bare_positions_advance() {
    let mut world = World::open();
    let serial = world.subscribe(5);
    world.says(&json!({"on": "a", "offset": 6}));
    assert_eq!((world.at(serial), world.read(serial)), (6, String::new()));
    world.publications([7]);
    world.says(&json!({"on": "a", "offset": 8}));
    // What has not been read does not count.
    assert_eq!(world.at(serial), 6);
    assert_eq!(world.read_one(serial).unwrap(), "7");
    assert_eq!(world.at(serial), 8);
    // A hole before one is a hole.
    world.says(&json!({"on": "a", "offset": 10}));
    assert_eq!(world.sent()[1]["since"], since(8));
}

#[test]
fn what_cannot_be_recovered_is_told() {
    for (reply, told) in [
        (json!({"epoch": "e", "offset": 60, "catch_up": 0, "recovered": false}), "lost:e5:e60:History 61"),
        (json!({"epoch": "f", "offset": 60, "catch_up": 0, "recovered": false}), "lost:e5:f60:Epoch 61"),
        // A server that says so, and yet begins after where we stood.
        (json!({"epoch": "e", "offset": 60, "catch_up": 3, "recovered": true}), "lost:e5:e57:History 58 59 60 61"),
        (json!({"epoch": "f", "offset": 60, "catch_up": 0, "recovered": true}), "lost:e5:f60:Epoch 61"),
        // A store that has gone back in the same epoch: its next would else pass for what came twice.
        (json!({"epoch": "e", "offset": 3, "catch_up": 0, "recovered": true}), "lost:e5:e3:Store 4 5 6 7"),
        // The channel has no history any more.
        (json!({}), "lost:e5:?:History 58 61"),
    ] {
        let mut world = World::open();
        let serial = world.subscribe(5);
        world.reconnect();
        let command = world.one();
        world.ok(&command, &reply);
        match reply["offset"].as_u64() {
            Some(3) => world.publications([4, 5, 6, 7]),
            Some(_) if reply["catch_up"] == 0 => world.publications([61]),
            Some(_) => world.publications([58, 59, 60, 61]),
            None => world.publications([58, 61]),
        }
        assert_eq!(world.read(serial), told, "{reply}");
    }
}

#[test]
fn a_program_goes_on_from_where_it_stood() {
    let mut world = World::open();
    let since = Position { epoch: "e".into(), offset: 41 };
    let (serial, _opened) = world.wish(Wish { since: Some(since), last: Some(9), ..Wish::default() });
    let command = world.one();
    assert_eq!((&command["since"], &command["last"]), (&super::since(41), &json!(null)));
    world.ok(&command, &json!({"epoch": "e", "offset": 42, "catch_up": 1, "recovered": true}));
    world.publications([42]);
    assert_eq!(world.read(serial), "42");
    assert_eq!(world.at(serial), 42);
}

#[test]
fn the_server_says_what_is_lost() {
    let mut world = World::open();
    let serial = world.subscribe(5);
    world.publications([6]);
    world.says(&json!({"on": "a", "lost": {"epoch": "f", "offset": 60, "reason": "store"}}));
    // Two losses with nothing between are one.
    world.says(&json!({"on": "a", "lost": {"epoch": "f", "offset": 70, "reason": "slow"}}));
    world.publications([71]);
    assert_eq!(world.read(serial), "6 lost:e6:f70:Slow 71");
    world.reconnect();
    assert_eq!(world.one()["since"], json!({"epoch": "f", "offset": 71}));
}

#[test]
fn without_history_a_lost_connection_is_a_loss() {
    let mut world = World::open();
    let (serial, _opened) = world.wish(Wish::default());
    let command = world.one();
    world.ok(&command, &json!({}));
    world.says(&json!({"on": "a", "data": 1}));
    assert_eq!(world.read(serial), "-");
    assert_eq!(world.machine.position(serial), None);
    world.reconnect();
    let command = world.one();
    assert_eq!(command, json!({"id": command["id"], "subscribe": "a"}));
    world.ok(&command, &json!({}));
    assert_eq!(world.read(serial), "lost:?:?:Disconnected");
}

#[test]
fn volatile_publications_have_no_place() {
    let mut world = World::open();
    let serial = world.subscribe(5);
    world.says(&json!([{"on": "a", "data": 1}, {"on": "a", "offset": 6, "data": 2}]));
    assert_eq!(world.read(serial), "- 6");
}

#[test]
fn a_batch_is_handled_in_order() {
    let mut world = World::open();
    let (serial, mut opened) = world.wish(Wish::default());
    let command = world.one();
    world.says(&json!([
        {"id": command["id"], "ok": {"epoch": "e", "offset": 5}},
        {"on": "a", "offset": 6, "data": 6},
        {"on": "a", "join": {"session": "s1"}},
        {"on": "a", "offset": 7, "data": 7},
        {"on": "a", "leave": {"session": "s1"}},
    ]));
    assert!(opened.try_recv().unwrap().is_ok());
    assert_eq!(world.read(serial), "6 +s1 7 -s1");
}

#[test]
fn members_are_told_anew_after_a_reconnect() {
    let mut world = World::open();
    let (serial, mut opened) = world.wish(Wish { members: Some(true), ..Wish::default() });
    let command = world.one();
    world.ok(&command, &json!({"epoch": "e", "offset": 5, "members": [{"session": "s1"}, {"session": "s2"}]}));
    assert_eq!(opened.try_recv().unwrap().unwrap().len(), 2);
    for _ in 0..2 {
        world.reconnect();
        let command = world.one();
        world.ok(&command, &json!({"epoch": "e", "offset": 5, "recovered": true, "members": [{"session": "s2"}]}));
    }
    assert_eq!(world.read(serial), "members:1");
}

#[test]
fn what_the_server_ends_is_over_or_asked_for_again() {
    let mut world = World::open();
    let serial = world.subscribe(5);
    world.publications([6]);
    world.says(&json!({"on": "a", "end": {"code": "unavailable", "retry": true}}));
    assert_eq!(world.sent().len(), 0);
    world.pass(SECOND / 2);
    let command = world.one();
    assert_eq!(command["since"], since(6));
    // A passing refusal: not before it says, and the window has doubled.
    world.refuses(&command, "rate_limited");
    world.pass(3 * SECOND);
    assert_eq!(world.sent().len(), 0);
    world.pass(SECOND);
    let command = world.one();
    world.ok(&command, &json!({"epoch": "e", "offset": 6, "recovered": true}));
    world.says(&json!({"on": "a", "end": {"code": "forbidden", "retry": false}}));
    assert_eq!(world.read(serial), "6 ended:forbidden");
    assert!(world.is_over(serial));
    // The channel is free for another, which the end of the first's handle does not disturb.
    let next = world.subscribe(6);
    assert!(world.machine.unsubscribe(serial).is_none());
    assert_eq!(world.sent().len(), 0);
    world.publications([7]);
    assert_eq!(world.read(next), "7");
}

#[test]
fn a_subscription_that_cannot_begin_says_so() {
    let mut world = World::open();
    let (_, mut opened) = world.wish(Wish::default());
    let command = world.one();
    world.refuses(&command, "rate_limited");
    let error = opened.try_recv().unwrap().unwrap_err();
    assert_eq!((error.code(), error.retry_after()), ("rate_limited", Some(3 * SECOND)));

    let (_, mut opened) = world.wish(Wish::default());
    assert_eq!(world.sent().len(), 1);
    world.pass(30 * SECOND);
    assert!(opened.try_recv().unwrap().unwrap_err().is_timeout());
    // The server may yet have heard it.
    assert_eq!(world.one()["unsubscribe"], "a");
}

#[test]
fn a_subscription_that_is_not_answered_again_is_asked_for_once_more() {
    let mut world = World::open();
    let serial = world.subscribe(5);
    world.reconnect();
    assert_eq!(world.sent().len(), 1);
    world.pass(30 * SECOND);
    assert_eq!(world.one()["unsubscribe"], "a");
    world.pass(SECOND / 2);
    let command = world.one();
    assert_eq!(command["since"], since(5));
    world.ok(&command, &json!({"epoch": "e", "offset": 5, "recovered": true}));
    world.publications([6]);
    assert_eq!(world.read(serial), "6");
}

#[test]
fn what_the_program_drops_is_left_and_asked_for_no_more() {
    let mut world = World::open();
    let serial = world.subscribe(5);
    let mut left = world.machine.unsubscribe(serial).unwrap();
    let command = world.one();
    assert_eq!(command["unsubscribe"], "a");
    assert!(left.try_recv().is_err());
    world.ok(&command, &json!({}));
    assert!(left.try_recv().is_ok());

    // Before it was sent there is nothing to leave.
    let (serial, _opened) = world.wish(Wish::default());
    assert!(world.machine.unsubscribe(serial).is_none());
    assert_eq!(world.sent().len(), 0);
    let (serial, _opened) = world.wish(Wish::default());
    world.lose();
    world.machine.unsubscribe(serial);
    world.connect();
    assert_eq!(world.sent().len(), 0);
}

#[test]
fn a_channel_has_one_subscription() {
    let mut world = World::open();
    world.subscribe(5);
    let (opened, _receiver) = tokio::sync::oneshot::channel();
    let error = world.machine.subscribe("a", Wish::default(), opened, world.now).unwrap_err();
    assert_eq!(error.code(), "already_subscribed");
}
