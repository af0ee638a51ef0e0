//! The dialect by its bytes.
use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use sockeye::CloseCode;
use sockeye_hub::{
    CatchUp, Cause, Change, ChannelName, Done, Encoded, Epoch, Event, Failure, FailureCode, Kind, LostReason, Member,
    Payload, Position, Publication, Request, Sender, SessionId,
};

use super::{read::read, write::*, *};
use crate::dialect::{Credentials, ErrorCode, Farewell, Problem, Verb};

fn read_all(message: &str) -> Vec<(Option<u64>, Result<Verb, Problem>)> {
    let mut all = Vec::new();
    let flow = read(&Bytes::copy_from_slice(message.as_bytes()), 0, |id, verb| {
        all.push((id, verb));
        ControlFlow::Continue(())
    });
    assert!(flow.is_continue());
    all
}

fn read_one(message: &str) -> (Option<u64>, Result<Verb, Problem>) {
    let mut all = read_all(message);
    assert_eq!(all.len(), 1, "{message}");
    all.remove(0)
}

fn request(message: &str) -> Request {
    match read_one(message).1 {
        Ok(Verb::Hub(request)) => request,
        other => panic!("{message}: {other:?}"),
    }
}

fn code(message: &str) -> ErrorCode {
    read_one(message).1.expect_err(message).code
}

#[test]
fn each_verb() {
    assert!(matches!(read_one(r#"{"id":9,"ping":{}}"#), (Some(9), Ok(Verb::Ping))));
    assert!(matches!(read_one(r#" {"ping":null} "#), (None, Ok(Verb::Ping))));
    let Ok(Verb::Connect(shown)) = read_one(r#"{"id":1,"connect":{"token":"t\u0031","client":"web/1.4"}}"#).1 else {
        panic!("connect")
    };
    assert_eq!(shown, Credentials { token: Some("t1".into()), client: Some("web/1.4".into()) });
    assert!(matches!(read_one(r#"{"refresh":{"token":"x"}}"#).1, Ok(Verb::Refresh(_))));
    let Ok(Verb::Call { method, data }) = read_one(r#"{"id":7,"call":"sum","data":[1, 2]}"#).1 else { panic!("call") };
    assert_eq!((&*method, &data[..]), ("sum", &b"[1, 2]"[..]));
    let Request::Unsubscribe(channel) = request(r#"{"unsubscribe":"chat:lobby"}"#) else { panic!("unsubscribe") };
    assert_eq!(channel.as_str(), "chat:lobby");
    assert!(matches!(request(r#"{"presence":"a"}"#), Request::Presence(_, 1_000)));
    assert!(matches!(request(r#"{"presence":"a","limit":0}"#), Request::Presence(_, 0)));
    let Request::History(_, page) = request(r#"{"history":"a","reverse":true}"#) else { panic!("history") };
    assert!(page.reverse && page.limit == 50 && page.since.is_none());
}

#[test]
fn how_to_subscribe() {
    let subscribe = |members: &str| match request(&format!(r#"{{"id":2,"subscribe":"a"{members}}}"#)) {
        Request::Subscribe(_, subscribe) => subscribe,
        other => panic!("{other:?}"),
    };
    let plain = subscribe("");
    assert!(plain.echo && !plain.members && plain.shown_as.is_none() && plain.catch_up == CatchUp::None);
    let epoch = Epoch(0xabc);
    let since = subscribe(&format!(r#","since":{{"epoch":"{epoch}","offset":41}}"#));
    assert_eq!(since.catch_up, CatchUp::Since(Position { epoch, offset: 41 }));
    let foreign = subscribe(r#","since":{"epoch":"k3","offset":18446744073709551615}"#);
    assert_eq!(foreign.catch_up, CatchUp::Since(Position { epoch: Epoch(0), offset: u64::MAX }));
    assert_eq!(subscribe(r#","last":20"#).catch_up, CatchUp::Last(20));
    assert_eq!(subscribe(r#","last":9223372036854775808"#).catch_up, CatchUp::Last(300));
    assert_eq!(subscribe(r#","last":99999999999999999999999"#).catch_up, CatchUp::Last(300));
    let seen = subscribe(r#","as":{"name":"Ann"}"#);
    assert!(seen.members && seen.shown_as.unwrap()[..] == br#"{"name":"Ann"}"#[..]);
    assert!(!subscribe(r#","as":{},"members":false"#).members);
    assert!(!subscribe(r#","echo":false"#).echo);
    for bad in [
        r#""since":{"epoch":"k3"}"#,
        r#""since":{"epoch":"k3","offset":-1}"#,
        r#""since":{"epoch":"k3","offset":18446744073709551616}"#,
        r#""since":["k3",1]"#,
        r#""last":-1"#,
        r#""last":1.5"#,
        r#""last":"1""#,
        r#""last":1,"since":{"epoch":"k3","offset":1}"#,
        r#""as":[]"#,
        r#""as":null"#,
        r#""echo":1"#,
        r#""members":null"#,
    ] {
        assert_eq!(code(&format!(r#"{{"subscribe":"a",{bad}}}"#)), ErrorCode::BadRequest, "{bad}");
    }
}

#[test]
fn data_is_passed_on_byte_for_byte() {
    for data in ["{\"b\": 1,\t\"a\":  [1.0, 1e2]}", "null", "\"\\u00e4\"", "-0.10", "12345678901234567890123", "[]"] {
        let Request::Publish(_, draft) = request(&format!(r#"{{"publish":"a","data": {data} }}"#)) else {
            panic!("publish")
        };
        assert_eq!(draft.payload, Payload { kind: Kind::Json, bytes: Bytes::copy_from_slice(data.as_bytes()) });
        assert!(draft.echo && !draft.volatile && draft.key.is_none());
    }
    let all =
        r#"{"publish":"a","base64":"AP8=","event":"typing","key":"k","echo":false,"volatile":true,"conflate":"c"}"#;
    let Request::Publish(_, draft) = request(all) else { panic!("publish") };
    assert_eq!(draft.payload, Payload { kind: Kind::Binary, bytes: Bytes::from_static(&[0, 255]) });
    assert_eq!(
        (draft.event.as_deref(), draft.key.as_deref(), draft.conflate.as_deref()),
        (Some("typing"), Some("k"), Some("c"))
    );
    assert!(!draft.echo && draft.volatile);
    for bad in
        [r#""data":1,"base64":"""#, r#""base64":"AP8""#, r#""base64":"*""#, r#""base64":1"#, r#""event":1,"data":1"#]
    {
        assert_eq!(code(&format!(r#"{{"publish":"a",{bad}}}"#)), ErrorCode::BadRequest, "{bad}");
    }
    assert_eq!(code(r#"{"publish":"a"}"#), ErrorCode::BadRequest);
}

/// A small publication does not keep a large message in memory.
#[test]
fn what_is_kept_is_what_it_weighs() {
    let payload = |message: &Bytes| {
        let mut payload = Bytes::new();
        let _ = read(message, 0, |_, verb| {
            if let Ok(Verb::Hub(Request::Publish(_, draft))) = verb {
                payload = draft.payload.bytes;
            }
            ControlFlow::Continue(())
        });
        payload
    };
    let large = Bytes::from(format!(r#"{{"publish":"a","data":"{}"}}"#, "x".repeat(1_000)));
    assert!(large.as_ptr_range().contains(&payload(&large).as_ptr()), "a part of the message");
    let padded = Bytes::from(format!(r#"{{"publish":"a","data":1,"padding":"{}"}}"#, "x".repeat(1_000)));
    assert!(!padded.as_ptr_range().contains(&payload(&padded).as_ptr()), "a copy");
}

#[test]
fn ids_are_integers_that_javascript_counts() {
    assert_eq!(read_one(r#"{"id":9007199254740991,"ping":{}}"#).0, Some(MAX_ID));
    for bad in ["0", "-1", "1.0", "1e3", "9007199254740992", "\"1\"", "null", "[1]", "99999999999999999999"] {
        let (id, verb) = read_one(&format!(r#"{{"id":{bad},"ping":{{}}}}"#));
        assert!(id.is_none() && verb.unwrap_err().code == ErrorCode::BadRequest, "{bad}");
    }
}

#[test]
fn what_is_no_command() {
    for bad in [
        "",
        "null",
        "1",
        "\"x\"",
        "{",
        "{}x",
        "{\"id\":1}",
        "{\"id\":1,\"data\":2}",
        "{\"ping\":{},\"call\":\"x\"}",
        "\u{feff}{}",
    ] {
        assert_eq!(code(bad), ErrorCode::BadRequest, "{bad}");
    }
    assert!(matches!(
        read_one(r#"{"id":3,"frobnicate":{}}"#),
        (Some(3), Err(Problem { code: ErrorCode::UnknownVerb, .. }))
    ));
    assert!(
        matches!(read_one(r#"{"id":3,"ping":{},"more":1,"more":2}"#), (Some(3), Ok(Verb::Ping))),
        "unknown members"
    );
    for twice in
        [r#"{"id":1,"id":2,"ping":{}}"#, r#"{"id":1,"publish":"a","data":1,"data":2}"#, r#"{"ping":{},"\u0070ing":{}}"#]
    {
        assert_eq!(code(twice), ErrorCode::BadRequest, "{twice}");
    }
    for bad in
        [r#"{"connect":[]}"#, r#"{"connect":{"token":1}}"#, r#"{"connect":{"token":"a","token":"b"}}"#, r#"{"call":1}"#]
    {
        assert_eq!(code(bad), ErrorCode::BadRequest, "{bad}");
    }
    assert_eq!(code(&format!(r#"{{"connect":{{"token":"{}"}}}}"#, "x".repeat(MAX_TOKEN + 1))), ErrorCode::TooBig);
}

/// E18.
#[test]
fn batches_are_bounded() {
    let batch = |count: usize| format!(" [{}]", vec![r#"{"ping":{}}"#; count].join(","));
    assert_eq!(read_all(&batch(100)).len(), 100);
    assert_eq!(code(&batch(101)), ErrorCode::Limit);
    assert_eq!(code(&batch(5_000)), ErrorCode::Limit);
    assert!(read_all("[]").is_empty());
    assert_eq!(code("[{\"ping\":{}},"), ErrorCode::BadRequest, "nothing of what is not JSON is done");
    let mixed = read_all(r#"[{"id":1,"ping":{}},5,[{"ping":{}}],{"id":2,"ping":{}}]"#);
    assert_eq!(
        mixed.iter().map(|(id, verb)| (*id, verb.is_ok())).collect::<Vec<_>>(),
        [(Some(1), true), (None, false), (None, false), (Some(2), true)]
    );
}

/// Whoever breaks off goes on later with the command after the last one.
#[test]
fn a_message_may_be_taken_in_parts() {
    for (message, count) in [(r#"[{"id":1,"ping":{}},7,{"id":3,"ping":{}}]"#, 3), (r#"{"id":1,"ping":{}}"#, 1)] {
        let message = Bytes::from(message);
        let mut ids = Vec::new();
        for skip in 0..=count {
            let before = ids.len();
            let flow = read(&message, skip, |id, _| {
                ids.push(id);
                ControlFlow::Break(())
            });
            assert_eq!((flow.is_break(), ids.len() - before), (skip + 1 < count, usize::from(skip < count)));
        }
        assert_eq!(ids, [Some(1), None, Some(3)][..count]);
    }
}

/// E12: nothing that is no name of a channel gets any further.
#[test]
fn names_of_channels() {
    let long = "a".repeat(256);
    for bad in ["", "a b", "a\\r\\nb", "a\\u0000", "a*", "a>", "#a", "$sys", "a\u{200b}", &long] {
        for verb in ["subscribe", "unsubscribe", "presence", "history"] {
            assert_eq!(code(&format!(r#"{{"{verb}":"{bad}"}}"#)), ErrorCode::BadChannel, "{verb} {bad}");
        }
        assert_eq!(code(&format!(r#"{{"publish":"{bad}","data":1}}"#)), ErrorCode::BadChannel, "{bad}");
    }
    assert_eq!(code(r#"{"subscribe":1}"#), ErrorCode::BadChannel);
    assert!(matches!(request(r#"{"subscribe":"\u0061"}"#), Request::Subscribe(channel, _) if channel.as_str() == "a"));
}

/// E16: none of it is passed on, and none of it ends the stack.
#[test]
fn json_that_hurts() {
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(code(&format!(r#"{{"publish":"a","data":{deep}}}"#)), ErrorCode::BadRequest);
    assert_eq!(code(&format!(r#"{{"subscribe":"a","as":{{"a":{deep}}}}}"#)), ErrorCode::BadRequest);
    assert!(matches!(read_one(&format!(r#"{{"ping":{deep}}}"#)).1, Ok(Verb::Ping)), "passed on to nobody");
    assert!(matches!(read_one(&format!(r#"{{"ping":1,"x":{deep}}}"#)).1, Ok(Verb::Ping)));
    for deep in [deep.as_str(), &"[".repeat(60_000), &"{\"a\":".repeat(10_000)] {
        assert!(read_all(deep).iter().all(|(_, verb)| verb.is_err()));
    }
    let number = "1".repeat(60_000);
    for data in ["1e400", &number, r#""\ud800""#, "nul", "01", "+1", "NaN", "\"a\tb\""] {
        assert_eq!(code(&format!(r#"{{"publish":"a","data":{data}}}"#)), ErrorCode::BadRequest, "{data}");
    }
    assert_eq!(code(r#"{"subscribe":"\ud800"}"#), ErrorCode::BadChannel);
}

fn some_publication(kind: Kind, bytes: &'static [u8]) -> Publication {
    Publication {
        channel: "chat:lobby".parse().unwrap(),
        position: Some(Position { epoch: Epoch(1), offset: 46 }),
        payload: Payload { kind, bytes: Bytes::from_static(bytes) },
        event: Some("typing".into()),
        conflate: None,
        from: Some(Sender { session: SessionId(2), user: Some("an\"n".into()) }),
        echo: true,
        at_ms: 1_732_147_200_000,
        encoded: Encoded::default(),
    }
}

fn value(message: &Message) -> Value {
    serde_json::from_str(message.as_text().unwrap()).unwrap()
}

#[test]
fn publications() {
    let session = "00000000000000000000000000000002";
    let published = some_publication(Kind::Json, b"{ \"text\": \"hi\"}");
    assert_eq!(
        publication(&published).message().as_text().unwrap(),
        format!(
            r#"{{"on":"chat:lobby","offset":46,"data":{{ "text": "hi"}},"event":"typing","from":{{"session":"{session}","user":"an\"n"}},"at":1732147200000}}"#
        ),
    );
    assert_eq!(own(&published).unwrap().as_text(), Some(r#"{"on":"chat:lobby","offset":46}"#));
    let again = publication(&published);
    assert_eq!(
        again.message().as_bytes().as_ptr(),
        publication(&published).message().as_bytes().as_ptr(),
        "once for all"
    );

    let mut bytes = some_publication(Kind::Binary, &[0, 255]);
    (bytes.position, bytes.event, bytes.from) = (None, None, None);
    assert_eq!(
        publication(&bytes).message().as_text(),
        Some(r#"{"on":"chat:lobby","base64":"AP8=","at":1732147200000}"#),
    );
    assert!(own(&bytes).is_none());
    let text = some_publication(Kind::Text, "a\n\"\\\u{1}🐟".as_bytes());
    assert_eq!(value(publication(&text).message())["data"], "a\n\"\\\u{1}🐟");
}

#[test]
fn members() {
    let member = Member { session: SessionId(2), user: None, shown_as: Bytes::from_static(b"{\"name\": \"Ann\"}") };
    let mut changed =
        Change { channel: "a".parse().unwrap(), joined: true, member: Arc::new(member), encoded: Encoded::default() };
    let seen = json!({"session": "00000000000000000000000000000002", "as": {"name": "Ann"}});
    assert_eq!(value(change(&changed).message()), json!({"on": "a", "join": seen}));
    (changed.joined, changed.encoded) = (false, Encoded::default());
    assert_eq!(value(change(&changed).message()), json!({"on": "a", "leave": seen}));
    let members = vec![Arc::clone(&changed.member)];
    let presence = event(&Event::Done(5, Done::Presence(2, members))).unwrap();
    assert_eq!(value(&presence), json!({"id": 5, "ok": {"count": 2, "members": [seen]}}));
}

#[test]
fn replies() {
    let position = Position { epoch: Epoch(0x1f), offset: 45 };
    let epoch = "0000000000000000000000000000001f";
    let done = |done| value(&event(&Event::Done(2, done)).unwrap())["ok"].clone();
    let subscribed = |position, recovered| Done::Subscribed { position, catch_up: 3, recovered, members: None };
    assert_eq!(done(subscribed(Some(position), None)), json!({"epoch": epoch, "offset": 45, "catch_up": 3}));
    assert_eq!(done(subscribed(Some(position), Some(false)))["recovered"], false);
    assert_eq!(done(subscribed(None, None)), json!({}));
    assert_eq!(done(Done::Unsubscribed), json!({}));
    assert_eq!(done(Done::Published(Some(position))), json!({"epoch": epoch, "offset": 45}));
    assert_eq!(done(Done::Published(None)), json!({}));
    let items = vec![Arc::new(some_publication(Kind::Json, b"1")), Arc::new(some_publication(Kind::Json, b"2"))];
    let history = done(Done::History { position, items, more: true });
    assert_eq!((&history["epoch"], &history["offset"], &history["more"]), (&json!(epoch), &json!(45), &json!(true)));
    assert_eq!((&history["items"][1]["data"], &history["items"][1]["on"]), (&json!(2), &Value::Null));

    let hello = connected(1, SessionId(3), Some("ann"), Duration::from_secs(25));
    assert_eq!(
        value(&hello),
        json!({"id": 1, "ok": {"session": "00000000000000000000000000000003", "user": "ann", "ping_every_ms": 25_000}})
    );
    assert_eq!(value(&called(7, &Bytes::from_static(b"[1]"))), json!({"id": 7, "ok": {"data": [1]}}));
    assert_eq!(value(&pong(9)), json!({"id": 9, "ok": {}}));
    assert_eq!(
        value(&refreshed(8, Some(Duration::from_secs(3600)))),
        json!({"id": 8, "ok": {"expires_in_ms": 3_600_000}})
    );
}

#[test]
fn what_goes_wrong() {
    let failure = Failure::passing(FailureCode::RateLimited, "too often", Duration::from_millis(500));
    assert_eq!(
        value(&event(&Event::Failed(Some(4), failure)).unwrap()),
        json!({"id": 4, "error": {"code": "rate_limited", "message": "too often", "retry_after_ms": 500}}),
    );
    let failure = Failure::new(FailureCode::Forbidden, "no");
    let untagged = value(&event(&Event::Failed(None, failure)).unwrap());
    assert_eq!(untagged, json!({"error": {"code": "forbidden", "message": "no"}}));
    let channel: ChannelName = "a".parse().unwrap();
    let position = Some(Position { epoch: Epoch(4), offset: 60 });
    let lost = event(&Event::Lost(channel.clone(), position, LostReason::Slow)).unwrap();
    assert_eq!(
        value(&lost),
        json!({"on": "a", "lost": {"epoch": Epoch(4).to_string(), "offset": 60, "reason": "slow"}}),
    );
    let ended = event(&Event::Ended(channel, Cause::Forbidden)).unwrap();
    assert_eq!(value(&ended), json!({"on": "a", "end": {"code": "forbidden", "retry": false}}));
    assert_eq!(value(&expiring(Duration::from_secs(60))), json!({"expiring": {"in_ms": 60_000}}));
}

#[test]
fn farewells() {
    let (message, code, _) = bye(Farewell::Restart(Duration::from_millis(2_300)));
    assert_eq!(value(&message), json!({"bye": {"code": 1012, "reason": "restart", "retry_after_ms": 2_300}}));
    assert_eq!(code.get(), 1012);
    for (cause, number) in [(Cause::Slow, 4101), (Cause::Forbidden, 4003), (Cause::Unavailable, 1013)] {
        assert_eq!(bye(cause.into()).1.get(), number);
    }
    assert_eq!(value(&bye(Farewell::Forbidden).0)["bye"]["retry_after_ms"], Value::Null, "do not come back");
    assert_eq!(bye(Farewell::NotOurs).1, CloseCode::new(1003).unwrap());
}
