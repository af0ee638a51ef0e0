//! What comes before, between and after connections.
use std::time::Duration;

use serde_json::json;
use sockeye::{CloseCode, reconnect::Retry};

use super::{SECOND, World};
use crate::{
    Limits, State,
    machine::{Output, Wish},
};

#[test]
fn nothing_is_said_before_the_server_knows_us() {
    let mut world = World::down(Limits::default());
    world.machine.set_token("secret".into());
    let (_, _answer) = world.publish("1");
    let (_serial, _opened) = world.wish(Wish::default());
    assert_eq!(world.outputs(), []);
    world.machine.handle_connected();
    let connect = world.one();
    assert_eq!(connect["connect"]["token"], "secret");
    assert!(matches!(world.state(), State::Connecting));
    world.ok(&connect, &json!({"session": "s1", "user": "ann"}));
    assert!(
        matches!(world.state(), State::Open { session, user, .. } if session == "s1" && user.as_deref() == Some("ann"))
    );
    // The channels first, so that nothing of what follows is missed.
    let sent = world.sent();
    assert_eq!((&sent[0]["subscribe"], &sent[1]["publish"]), (&json!("a"), &json!("a")));
}

#[test]
fn what_the_connection_cannot_take_stays_here() {
    let mut world = World::open();
    let (_, _answer) = world.publish("1");
    assert_eq!(world.machine.poll_output(false, world.now), None);
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn close_codes_say_whether_to_come_back() {
    for code in [1000, 1001, 1002, 1006, 1009, 1011, 1012, 1013, 3000, 4100, 4101, 4103, 4199, 4200] {
        assert_eq!(World::open().machine.judge(Some((code, ""))), Retry::Backoff, "{code}");
    }
    for code in [4000, 4001, 4003, 4009, 4099] {
        let mut world = World::open();
        let serial = world.subscribe(5);
        let (_, mut answer) = world.publish("1");
        assert_eq!(world.machine.judge(Some((code, "no"))), Retry::Never, "{code}");
        world.machine.handle_over(None);
        assert_eq!(answer.try_recv().unwrap().unwrap_err().close_code(), Some(code));
        assert_eq!(world.read(serial), "ended:closed");
        assert!(world.is_over(serial));
        assert!(matches!(world.state(), State::Closed { error: Some(error), .. } if error.close_code() == Some(code)));
    }
}

#[test]
fn bye_says_when_to_come_back() {
    let mut world = World::open();
    let serial = world.subscribe(5);
    world.says(&json!({"bye": {"code": 1012, "reason": "restart", "retry_after_ms": 2300}}));
    // What is asked for now waits for the next connection; what still comes counts.
    let (_, _answer) = world.publish("1");
    world.publications([6]);
    assert_eq!(world.outputs(), []);
    assert_eq!(world.read(serial), "6");
    assert_eq!(world.machine.judge(Some((1012, ""))), Retry::AtLeast(Duration::from_millis(2300)));
    world.machine.handle_disconnected("bye".into(), SECOND);
    world.connect();
    assert_eq!(world.sent().len(), 2);
    // It counts once.
    assert_eq!(world.lose(), Retry::Backoff);
}

#[test]
fn a_bye_that_is_final_is_so_without_a_close_frame() {
    let mut world = World::open();
    world.says(&json!({"bye": {"code": 4003, "reason": "revoked"}}));
    assert_eq!(world.lose(), Retry::Never);
}

#[test]
fn a_server_that_says_bye_and_stays_is_left() {
    let mut world = World::open();
    world.says(&json!({"bye": {}}));
    world.pass(4 * SECOND);
    // Again does not put it off.
    world.says(&json!({"bye": {}}));
    world.pass(SECOND);
    assert_eq!(world.outputs(), [Output::Close(CloseCode::NORMAL, "bye".into())]);
}

#[test]
fn a_server_that_does_not_answer_connect_is_left() {
    let mut world = World::down(Limits::default());
    world.machine.handle_connected();
    world.one();
    world.pass(30 * SECOND);
    assert!(matches!(&world.outputs()[..], [Output::Close(..)]));
    assert_eq!(world.lose(), Retry::Backoff);
}

#[test]
fn who_is_not_welcome_does_not_come_back() {
    let mut world = World::down(Limits::default());
    let (_serial, mut opened) = world.wish(Wish::default());
    world.machine.handle_connected();
    let connect = world.one();
    world.refuses(&connect, "unauthorized");
    assert_eq!(world.outputs(), [Output::Finish]);
    assert_eq!(world.machine.judge(None), Retry::Never);
    world.machine.handle_over(None);
    assert_eq!(opened.try_recv().unwrap().unwrap_err().code(), "unauthorized");
}

#[test]
fn who_is_not_welcome_now_comes_back_later() {
    for code in ["unavailable", "rate_limited", "token_expired"] {
        let mut world = World::down(Limits::default());
        world.machine.handle_connected();
        let connect = world.one();
        world.refuses(&connect, code);
        assert!(matches!(&world.outputs()[..], [Output::Close(..)]), "{code}");
        assert_eq!(world.machine.judge(None), Retry::AtLeast(3 * SECOND), "{code}");
    }
}

#[test]
fn a_token_that_runs_out_is_refreshed() {
    let mut world = World::open();
    world.says(&json!({"expiring": {"in_ms": 60_000}}));
    world.says(&json!({"expiring": {"in_ms": 60_000}}));
    assert!(world.machine.take_token_wish());
    assert!(!world.machine.take_token_wish());
    world.machine.refresh("new".into());
    let command = world.one();
    assert_eq!(command["refresh"], json!({"token": "new"}));
    world.ok(&command, &json!({"expires_in_ms": 3_600_000}));
    // Not again for a while, whatever the server says.
    world.pass(4 * SECOND);
    world.says(&json!({"expiring": {"in_ms": 1}}));
    assert!(!world.machine.take_token_wish());
    world.pass(SECOND);
    world.says(&json!({"expiring": {"in_ms": 1}}));
    assert!(world.machine.take_token_wish());
    // The next connection begins with it.
    world.lose();
    world.machine.handle_connected();
    assert_eq!(world.one()["connect"]["token"], "new");
}

#[test]
fn the_program_closes_it_in_any_state() {
    let mut down = World::down(Limits::default());
    let mut greeting = World::down(Limits::default());
    greeting.machine.handle_connected();
    let mut lost = World::open();
    lost.lose();
    for world in [&mut down, &mut greeting, &mut World::open(), &mut lost] {
        world.machine.close();
        assert_eq!(world.outputs(), [Output::Finish]);
        assert_eq!(world.machine.judge(None), Retry::Never);
        world.machine.handle_over(None);
        assert!(matches!(world.state(), State::Closed { error: None, .. }));
        // Once more changes nothing.
        world.machine.close();
        assert_eq!(world.outputs(), []);
    }
}

#[test]
fn what_waits_can_be_read_after_the_end() {
    let mut world = World::open();
    let serial = world.subscribe(5);
    world.publications([6, 7]);
    world.machine.close();
    world.machine.handle_over(None);
    assert_eq!(world.read(serial), "6 7");
    assert!(world.is_over(serial));
}

#[test]
fn a_deadline_is_told_and_met() {
    let mut world = World::open();
    assert_eq!(world.machine.deadline(), None);
    let (id, _answer) = world.publish("1");
    assert_eq!(world.machine.deadline(), Some(world.now + 270 * SECOND));
    let (serial, _opened) = world.wish(Wish::default());
    assert_eq!(world.machine.deadline(), Some(world.now + 30 * SECOND));
    world.machine.unsubscribe(serial);
    world.machine.cancel(id);
    assert_eq!(world.machine.deadline(), None);
}
