//! A server that says what it may not.
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use sockeye::{CloseCode, reconnect::Retry};

use super::{SECOND, World, since};
use crate::{
    Limits,
    machine::{Output, Wish},
    wire,
};

#[track_caller]
fn is_violation(text: &str) {
    let mut world = World::open();
    let serial = world.subscribe(5);
    world.says_text(text);
    let outputs = world.outputs();
    assert!(matches!(&outputs[..], [Output::Close(CloseCode::PROTOCOL_ERROR, _)]), "{text}: {outputs:?}");
    // Nothing more is believed; then it is tried again.
    world.publications([6]);
    assert_eq!(world.read(serial), "");
    assert_eq!(world.lose(), Retry::Backoff);
    world.connect();
    assert_eq!(world.one()["since"], since(5));
}

#[test]
fn what_is_no_json_or_of_another_form_ends_the_connection() {
    for text in [
        "",
        "{",
        "null",
        "1",
        "[1]",
        "[[]]",
        "{}{}",
        r#"{"on":5,"offset":6,"data":1}"#,
        r#"{"on":"a","offset":-1,"data":1}"#,
        r#"{"on":"a","offset":1.5,"data":1}"#,
        r#"{"on":"a","offset":99999999999999999999,"data":1}"#,
        r#"{"on":"a","offset":6,"base64":"?"}"#,
        r#"{"on":"a","offset":6,"data":1,"from":"ann"}"#,
        r#"{"on":"a","offset":6,"offset":7,"data":1}"#,
        r#"{"on":"a","join":5}"#,
        r#"{"on":"a","lost":{"offset":6}}"#,
        r#"{"id":"1","ok":{}}"#,
        r#"{"bye":{"code":70000}}"#,
    ] {
        is_violation(text);
    }
}

#[test]
fn what_is_not_known_is_nothing() {
    let mut world = World::open();
    let serial = world.subscribe(5);
    for text in [
        "{}",
        "[]",
        r#"{"news":1}"#,
        r#"{"on":"a","glow":true}"#,
        r#"{"on":"b","offset":6,"data":1}"#,
        r#"{"id":77,"ok":{}}"#,
        r#"{"id":77}"#,
        r#"{"error":{"code":"bad_request"}}"#,
        r#"{"on":"a","offset":6,"data":1,"more":[[[]]]}"#,
    ] {
        world.says_text(text);
    }
    assert_eq!(world.outputs(), []);
    assert_eq!(world.read(serial), "6");
}

#[test]
fn replies_that_make_no_sense_end_the_connection() {
    for reply in [
        json!({"epoch": "e", "offset": 5, "catch_up": 6}),
        json!({"epoch": "e"}),
        json!({"offset": 5}),
        json!({"epoch": 1, "offset": 5}),
        json!({"epoch": "e", "offset": 5, "members": {}}),
        json!("yes"),
        json!(null),
    ] {
        let mut world = World::open();
        let (_, _opened) = world.wish(Wish::default());
        let command = world.one();
        world.ok(&command, &reply);
        assert!(matches!(&world.outputs()[..], [Output::Close(..)]), "{reply}");
    }
}

#[test]
fn deep_nesting_is_harmless() {
    let deep = "[".repeat(200_000);
    let closed = format!("{deep}{}", "]".repeat(200_000));
    is_violation(&deep);
    is_violation(&closed);
    is_violation(&format!(r#"{{"unknown":{deep}"#));
    // As a value of somebody's it is passed on, or passed over, as it is.
    let mut world = World::open();
    let serial = world.subscribe(5);
    world.says_text(&format!(r#"{{"on":"a","offset":6,"data":{closed}}}"#));
    world.says_text(&format!(r#"{{"on":"a","offset":7,"data":1,"unknown":{closed}}}"#));
    assert_eq!(world.read(serial), "6 7");
}

#[test]
fn a_batch_has_an_end() {
    let batch = |count| format!("[{}]", vec!["{}"; count].join(","));
    assert_eq!(wire::parse(&batch(Limits::MAX_BATCH)).unwrap().len(), 100);
    assert!(wire::parse(&batch(Limits::MAX_BATCH + 1)).is_err());
}

#[test]
fn offsets_at_the_end_of_the_numbers_do_not_overflow() {
    let mut world = World::open_with(|limits| limits.max_holes = 0);
    let serial = world.subscribe(u64::MAX - 1);
    world.publications([u64::MAX, u64::MAX, 0]);
    assert_eq!(world.read(serial), u64::MAX.to_string());
    world.says(&json!({"on": "a", "lost": {"epoch": "e", "offset": 0, "reason": "?"}}));
    world.publications([u64::MAX]);
    let told = world.read(serial);
    assert_eq!(told, format!("lost:e{}:e{}:Hole {}", u64::MAX, u64::MAX - 1, u64::MAX));
}

#[test]
fn members_without_end_are_cut_off() {
    let mut world = World::open_with(|limits| limits.max_members = 2);
    let (_, mut opened) = world.wish(Wish { members: Some(true), ..Default::default() });
    let command = world.one();
    let members: Vec<_> = (0..10).map(|number| json!({"session": number.to_string()})).collect();
    world.ok(&command, &json!({"members": members}));
    assert_eq!(opened.try_recv().unwrap().unwrap().len(), 2);
}

#[test]
fn nothing_is_believed_before_connect_is_answered_in_its_name() {
    let mut world = World::down(Limits::default());
    world.machine.handle_connected();
    world.says(&json!({"bye": {"code": 4001}}));
    assert_eq!(world.one()["connect"]["client"], concat!("rust/", env!("CARGO_PKG_VERSION")));
    assert_eq!(world.lose(), Retry::Backoff);
}

/// Objects of the right members with any values, in any order: nothing panics, and what waits stays within its limits.
#[test]
fn whatever_it_says_is_survived_within_limits() {
    let members =
        ["id", "ok", "error", "on", "offset", "data", "base64", "join", "leave", "lost", "end", "expiring", "bye"];
    let values = [
        json!(0),
        json!(1),
        json!(2),
        json!(7),
        json!(u64::MAX),
        json!(-1),
        json!("a"),
        json!("AA=="),
        json!(null),
        json!([]),
        json!({}),
        json!({"epoch": "e", "offset": 7, "catch_up": 3, "members": [{"session": "s"}]}),
        json!({"epoch": "f", "offset": u64::MAX, "catch_up": u64::MAX, "recovered": true}),
        json!({"epoch": "e", "offset": 0}),
        json!({"session": "s"}),
        json!({"code": "unavailable", "retry": true, "retry_after_ms": u64::MAX}),
        json!({"code": "forbidden", "retry": false}),
        json!({"code": 1012, "retry_after_ms": u64::MAX}),
    ];
    let mut heard = 0;
    for seed in 0..200 {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut world = World::open_with(|limits| limits.max_events = 4);
        let (serial, _opened) = world.wish(Wish { members: Some(true), ..Wish::default() });
        for _ in 0..200 {
            let mut object = serde_json::Map::new();
            for _ in 0..dice.random_range(1..4) {
                let member = members[dice.random_range(0..members.len())];
                object.insert(member.into(), values[dice.random_range(0..values.len())].clone());
            }
            if dice.random_bool(0.7) {
                object.insert("on".into(), json!("a"));
            }
            // To whatever was asked last, as often as not.
            if let Some(Output::Send(text)) = world.machine.poll_output(true, world.now) {
                let command: serde_json::Value = serde_json::from_str(&text).unwrap();
                object.insert("id".into(), command["id"].clone());
                object.insert("ok".into(), values[dice.random_range(0..values.len())].clone());
            }
            world.says(&object.into());
            world.pass(SECOND);
            if dice.random_bool(0.1) {
                world.lose();
                world.machine.handle_connected();
                let connect = world.machine.poll_output(true, world.now);
                if let Some(Output::Send(text)) = connect {
                    let connect: serde_json::Value = serde_json::from_str(&text).unwrap();
                    world.ok(&connect, &json!({}));
                }
            }
            if dice.random_bool(0.05) {
                let told = world.read(serial);
                let count = told.split_whitespace().count();
                // Beyond the events: a loss, a list of members, the end.
                assert!(count <= 4 + 3, "{told}");
                heard += count;
            }
        }
    }
    assert!(heard > 100, "{heard}");
}
