//! Publications take effect once and in order; other requests are answered or fail in time.
use serde_json::json;

use super::{SECOND, World, names};
use crate::{
    Error, Limits,
    machine::{Answer, Kind},
};

fn code(answer: Answer) -> String {
    answer.unwrap_err().code().to_owned()
}

#[test]
fn a_publication_is_tried_again_with_its_key_in_its_order() {
    let mut world = World::open();
    let (_, mut first) = world.publish("1");
    let (_, mut second) = world.publish("2");
    let sent = world.sent();
    assert_eq!(names(&sent), ["1", "2"]);
    // The answer to the second overtakes that to the first, which is lost.
    world.ok(&sent[1], &json!({"epoch": "e", "offset": 2}));
    assert!(second.try_recv().unwrap().is_ok());
    let (_, mut third) = world.publish("3");
    assert_eq!(names(&world.sent()), ["3"]);
    world.lose();
    let (_, mut fourth) = world.publish("4");
    world.connect();
    let sent = world.sent();
    assert_eq!(names(&sent), ["1", "3", "4"]);
    for (command, answer) in sent.iter().zip([&mut first, &mut third, &mut fourth]) {
        world.ok(command, &json!({"epoch": "e", "offset": 1}));
        assert!(answer.try_recv().unwrap().is_ok());
    }
    world.reconnect();
    assert_eq!(world.sent().len(), 0);
}

#[test]
fn a_refusal_is_the_answer() {
    let mut world = World::open();
    let (_, mut answer) = world.publish("1");
    let command = world.one();
    world.refuses(&command, "rate_limited");
    assert_eq!(code(answer.try_recv().unwrap()), "rate_limited");
    world.reconnect();
    assert_eq!(world.sent().len(), 0);
}

#[test]
fn one_at_a_time_is_a_strict_order() {
    let mut world = World::open_with(|limits| limits.max_in_flight = 1);
    let (_, _first) = world.publish("1");
    let (_, _second) = world.publish("2");
    let sent = world.sent();
    assert_eq!(names(&sent), ["1"]);
    world.reconnect();
    let sent = world.sent();
    assert_eq!(names(&sent), ["1"]);
    world.ok(&sent[0], &json!({}));
    assert_eq!(names(&world.sent()), ["2"]);
}

#[test]
fn it_is_not_tried_longer_than_the_server_remembers() {
    let mut world = World::open();
    let (_, mut sent) = world.publish("1");
    assert_eq!(world.sent().len(), 1);
    world.lose();
    let (_, mut unsent) = world.publish("2");
    world.pass(269 * SECOND);
    assert!(sent.try_recv().is_err());
    world.pass(SECOND);
    let error = sent.try_recv().unwrap().unwrap_err();
    assert!(error.is_timeout() && error.is_outcome_unknown());
    let error = unsent.try_recv().unwrap().unwrap_err();
    assert!(error.is_timeout() && !error.is_outcome_unknown());
    world.connect();
    assert_eq!(world.sent().len(), 0);
}

#[test]
fn one_that_ends_every_connection_is_given_up() {
    let mut world = World::open_with(|limits| limits.max_tries = 3);
    let (_, mut answer) = world.publish("1");
    for _ in 0..3 {
        assert!(answer.try_recv().is_err());
        assert_eq!(world.sent().len(), 1);
        world.reconnect();
    }
    let error = answer.try_recv().unwrap().unwrap_err();
    assert!(error.is_disconnected() && error.is_outcome_unknown());
    assert_eq!(world.sent().len(), 0);
}

#[test]
fn what_is_not_to_be_repeated_is_not() {
    let mut world = World::open();
    let ask = |world: &mut World, kind| {
        world.machine.request(r#"{"call":"m","data":1}"#, kind, SECOND, world.now).map(|(_, answer)| answer)
    };
    let mut once = ask(&mut world, Kind::Once).unwrap();
    let mut volatile = ask(&mut world, Kind::Volatile).unwrap();
    assert_eq!(world.sent().len(), 2);
    world.lose();
    assert!(once.try_recv().unwrap().unwrap_err().is_outcome_unknown());
    assert!(volatile.try_recv().unwrap().unwrap_err().is_outcome_unknown());
    // One waits for a connection, the other is for those who are there now.
    let mut once = ask(&mut world, Kind::Once).unwrap();
    let error = ask(&mut world, Kind::Volatile).unwrap_err();
    assert!(error.is_disconnected() && !error.is_outcome_unknown());
    world.connect();
    let command = world.one();
    world.ok(&command, &json!({"data": 3}));
    assert_eq!(once.try_recv().unwrap().unwrap().get(), r#"{"data":3}"#);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut world = World::down(Limits::with(|limits| {
        limits.max_requests = 2;
        limits.max_request_bytes = 150;
        limits.max_command = 100;
    }));
    let ask = |world: &mut World, len: usize| {
        let body = json!({"publish": "a", "data": "x".repeat(len)}).to_string();
        world.machine.request(&body, Kind::Repeatable, SECOND, world.now)
    };
    assert_eq!(ask(&mut world, 100).unwrap_err().code(), "too_big");
    let (first, _answer) = ask(&mut world, 40).unwrap();
    assert!(ask(&mut world, 60).unwrap_err().is_full(), "bytes");
    let (_, _answer) = ask(&mut world, 1).unwrap();
    assert!(ask(&mut world, 1).unwrap_err().is_full(), "count");
    world.machine.cancel(first);
    assert!(ask(&mut world, 40).is_ok());
}

#[test]
fn what_is_withdrawn_before_it_was_sent_is_never_sent() {
    let mut world = World::open();
    let (first, _answer) = world.publish("1");
    let (second, _answer) = world.publish("2");
    world.machine.cancel(first);
    let sent = world.sent();
    assert_eq!(names(&sent), ["2"]);
    // After that it is not sent again, and its answer is nobody's.
    world.machine.cancel(second);
    world.ok(&sent[0], &json!({}));
    world.reconnect();
    assert_eq!(world.sent().len(), 0);
}

#[test]
fn answers_to_what_was_never_sent_are_nothing() {
    let mut world = World::open();
    world.lose();
    let (id, mut answer) = world.publish("1");
    world.machine.handle_connected();
    let connect = world.one();
    world.says(&json!({"id": id, "ok": {}}));
    world.says(&json!({"id": 9999, "ok": {}}));
    assert!(answer.try_recv().is_err());
    world.ok(&connect, &json!({"session": "s"}));
    assert_eq!(names(&world.sent()), ["1"]);
}

#[test]
fn nothing_is_left_unanswered_at_the_end() {
    let mut world = World::open();
    let (_, mut sent) = world.publish("1");
    assert_eq!(world.sent().len(), 1);
    let (_, mut unsent) = world.publish("2");
    world.machine.close();
    world.machine.handle_over(None);
    assert!(sent.try_recv().unwrap().unwrap_err().is_outcome_unknown());
    assert!(unsent.try_recv().unwrap().unwrap_err().is_closed());
    let late = world.machine.request("{}", Kind::Once, SECOND, world.now).map(|_| ());
    assert!(late.is_err_and(|error: Error| error.is_closed()));
}
