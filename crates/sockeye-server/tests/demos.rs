//! The wires of the three demos, sentence by sentence (docs/demos.md), and what must not be possible on them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{collections::HashSet, time::SystemTime};

use common::{BINARY, CLOSE, Running, TEXT, close_code, masked, options, read_frame, recv_json, within};
use serde_json::{Value, json};
use sockeye::{CloseCode, Message, Transport, WebSocket};
use sockeye_server::{Demo, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Socket = WebSocket<Transport>;

async fn send(socket: &mut Socket, value: &Value) {
    within(socket.send(value.to_string())).await.unwrap();
}

/// "Every message comes back as it was, same kind (text or binary), any length, any fragmentation."
#[tokio::test]
async fn echo_sends_back_what_came() {
    let server = Running::demo(Demo::Echo);
    let mut socket = server.connect("/any/path").await;
    for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        for message in [Message::from("x".repeat(len)), Message::from(vec![0xfe; len])] {
            within(socket.send(message.clone())).await.unwrap();
            assert!(within(socket.recv()).await.unwrap().unwrap() == message, "{len}");
        }
    }
    let mut stream = server.upgraded("/").await;
    for (byte, payload) in [(0x01, &b"frag"[..]), (0x00, b"men"), (0x89, b"ping"), (0x00, b""), (0x80, b"ted")] {
        stream.write_all(&masked(byte, payload)).await.unwrap();
    }
    assert_eq!(read_frame(&mut stream).await.unwrap(), (0x8a, b"ping".to_vec()));
    assert_eq!(read_frame(&mut stream).await.unwrap(), (TEXT, b"fragmented".to_vec()));
}

/// Pipelined messages come back in order, and none is lost, however many there are.
#[tokio::test]
async fn echo_keeps_the_order() {
    let server = Running::demo(Demo::Echo);
    let mut stream = server.upgraded("/").await;
    let wire: Vec<u8> = (0..10_000_u32).flat_map(|i| masked(BINARY, &i.to_be_bytes())).collect();
    let (mut reading, mut writing) = stream.split();
    let read = async {
        for i in 0..10_000_u32 {
            let mut frame = [0; 6];
            reading.read_exact(&mut frame).await.unwrap();
            assert_eq!(frame[2..], i.to_be_bytes());
        }
    };
    within(async { tokio::join!(read, async { writing.write_all(&wire).await.unwrap() }) }).await;
}

/// B10, B16: `max_message` and `max_fragments` of the options are the echo's.
#[tokio::test]
async fn echo_has_its_limits() {
    let mut options = options(Site::Demo(Demo::Echo));
    (options.max_message, options.max_fragments) = (1_000, 3);
    let server = Running::start(&options);
    let mut stream = server.upgraded("/").await;
    stream.write_all(&masked(BINARY, &[0; 1_000])).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.unwrap().1.len(), 1_000);
    // Only the header: the answer does not wait for the payload.
    stream.write_all(&masked(BINARY, &[0; 1_001])[..8]).await.unwrap();
    assert_eq!(close_code(&mut stream).await, Some(1009));
    let mut stream = server.upgraded("/").await;
    for byte in [0x02, 0x00, 0x00, 0x00] {
        stream.write_all(&masked(byte, b"")).await.unwrap();
    }
    assert_eq!(close_code(&mut stream).await, Some(1008));
}

/// "On connect the server sends the whole state"; "the server stores it and sends every connected client, the sender too,
/// the whole state"; "`time` in Unix milliseconds set by the server".
#[tokio::test]
async fn chat_tells_everybody_everything() {
    let server = Running::site();
    let mut ann = server.connect("/chat").await;
    assert_eq!(recv_json(&mut ann).await, json!({ "msg": [] }));
    let mut bob = server.connect("/chat").await;
    recv_json(&mut bob).await;
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    send(&mut ann, &json!({ "user": "ann", "text": "hi", "time": 1, "more": true })).await;
    let state = recv_json(&mut ann).await;
    assert_eq!(recv_json(&mut bob).await, state);
    let line = &state["msg"][0];
    assert_eq!((&line["user"], &line["text"], line.as_object().unwrap().len()), (&json!("ann"), &json!("hi"), 3));
    assert!((before..before + 60_000).contains(&line["time"].as_u64().unwrap().into()));
    send(&mut bob, &json!({ "user": "bob", "text": "<b>ho</b>\u{0}🐟" })).await;
    let state = recv_json(&mut ann).await;
    assert_eq!(state["msg"].as_array().unwrap().len(), 2);
    assert_eq!(state["msg"][1]["text"], "<b>ho</b>\u{0}🐟");
    // "A client that leaves is forgotten at once": nothing is said of it, and what it said stays.
    bob.abort();
    let mut eve = server.connect("/chat").await;
    assert_eq!(recv_json(&mut eve).await, state);
}

/// "The last 100 messages, oldest first."
#[tokio::test]
async fn chat_remembers_a_hundred() {
    let server = Running::demo(Demo::Chat);
    for round in 0..2 {
        let mut ann = server.connect("/").await;
        recv_json(&mut ann).await;
        for i in 0..60 {
            within(ann.feed(json!({ "user": "ann", "text": (round * 60 + i).to_string() }).to_string())).await.unwrap();
        }
        // The last state holds them all, whether or not each came on its own.
        let newest = (round * 60 + 59).to_string();
        while recv_json(&mut ann).await["msg"].as_array().unwrap().last().unwrap()["text"] != newest.as_str() {}
    }
    let state = recv_json(&mut server.connect("/").await).await;
    let texts: Vec<_> = state["msg"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(texts, (20..120).map(|i| i.to_string()).collect::<Vec<_>>());
}

/// "What is not an object with two non-empty strings (user up to 40 characters, text up to 2,000) is answered with
/// `{"error":"…"}` to that client alone and changes nothing."
#[tokio::test]
async fn chat_complains_to_the_sender_alone() {
    let server = Running::site();
    let (mut ann, mut bob) = (server.connect("/chat").await, server.connect("/chat").await);
    recv_json(&mut ann).await;
    recv_json(&mut bob).await;
    let long = |n: usize| "ä".repeat(n);
    let bad = [
        String::new(),
        "nonsense".into(),
        "null".into(),
        "[]".into(),
        json!(["ann", "hi"]).to_string(),
        "{}".into(),
        json!({ "user": "ann" }).to_string(),
        json!({ "user": "", "text": "hi" }).to_string(),
        json!({ "user": "ann", "text": "" }).to_string(),
        json!({ "user": "ann", "text": 1 }).to_string(),
        json!({ "user": "ann", "text": null }).to_string(),
        json!({ "user": long(41), "text": "hi" }).to_string(),
        json!({ "user": "ann", "text": long(2_001) }).to_string(),
        r#"{"user":"ann","text":"hi"} more"#.into(),
        r#"{"user":"ann","text":"\ud800"}"#.into(),
        r#"{"user":"ann","text":"a","text":"b"}"#.into(),
        "[".repeat(60_000),
    ];
    for text in bad {
        within(ann.send(text.clone())).await.unwrap();
        let answer = recv_json(&mut ann).await;
        assert!(answer["error"].is_string() && answer.as_object().unwrap().len() == 1, "{text}: {answer}");
    }
    within(ann.send(&br#"{"user":"ann","text":"hi"}"#[..])).await.unwrap();
    assert!(recv_json(&mut ann).await["error"].is_string(), "binary is not what the chat speaks");
    // The next thing everybody hears is the first good one: 40 and 2,000 characters are allowed.
    send(&mut ann, &json!({ "user": long(40), "text": long(2_000) })).await;
    for socket in [&mut ann, &mut bob] {
        assert_eq!(recv_json(socket).await["msg"].as_array().unwrap().len(), 1);
    }
}

/// A member that reads is never too slow, however large the state and however fast the others post; a state that is old when
/// it could be sent may be left out, the newest never.
#[tokio::test]
async fn chat_at_its_largest_drops_nobody_who_reads() {
    let server = Running::site();
    let mut bob = server.connect("/chat").await;
    recv_json(&mut bob).await;
    // Every character takes six in JSON.
    let text = "\u{1}".repeat(2_000);
    let posting = async {
        let mut ann = server.connect("/chat").await;
        for i in 0..100 {
            within(ann.feed(json!({ "user": i.to_string(), "text": text }).to_string())).await.unwrap();
        }
        read_until(&mut ann, "99").await;
    };
    tokio::join!(posting, read_until(&mut bob, "99"));
    send(&mut bob, &json!({ "user": "bob", "text": "still here" })).await;
    read_until(&mut bob, "bob").await;
}

/// Reads states until one whose newest message is this user's.
async fn read_until(socket: &mut Socket, user: &str) {
    let mut last = 0;
    loop {
        let message = within(socket.recv()).await.unwrap().expect("nobody who reads is too slow");
        let state: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
        let newest = state["msg"].as_array().unwrap().last().cloned().unwrap_or_default();
        let time = newest["time"].as_u64().unwrap_or_default();
        assert!(time >= last, "the states come in their order");
        last = time;
        if newest["user"] == user {
            return;
        }
    }
}

/// B24, E18: beyond 20 a second and 100 at once it is 1008.
#[tokio::test]
async fn chat_and_cursors_close_on_floods() {
    for (path, burst, message) in [
        ("/chat", 100, &br#"{"user":"a","text":"b"}"#[..]),
        ("/cursors", 500, br#"{"x":1,"y":2}"#),
        ("/chat", 100, b""),
    ] {
        let server = Running::site();
        let mut stream = server.upgraded(path).await;
        let wire = masked(TEXT, message).repeat(burst + 100);
        // It may be closed before all of this has been written.
        let (mut reading, mut writing) = stream.split();
        let write = async { drop(writing.write_all(&wire).await) };
        let read = async {
            let close = [&[CLOSE, 19][..], &1008_u16.to_be_bytes(), b"too many messages"].concat();
            let mut seen = Vec::new();
            while !seen.ends_with(&close) {
                assert_ne!(reading.read_buf(&mut seen).await.unwrap(), 0, "{path}: closed without a word");
            }
        };
        within(async { tokio::join!(read, write) }).await;
    }
}

/// "The server adds two members and sends the result to every connected client, the sender too"; "`sender` is a UUID v4
/// chosen at connect, `color` an integer hue 0–359 chosen at connect"; "unknown members are passed on".
#[tokio::test]
async fn cursors_tell_everybody_where() {
    let server = Running::site();
    let (mut ann, mut bob) = (server.connect("/cursors").await, server.connect("/cursors").await);
    let mut senders = HashSet::new();
    for round in 0..3 {
        for from_ann in [true, false] {
            let sender = if from_ann { &mut ann } else { &mut bob };
            // F24: a client that claims to be another is overruled.
            let sent = json!({ "x": -1.5, "y": 80 + round, "more": { "a": [1] }, "sender": "me", "color": 999 });
            send(sender, &sent).await;
            let heard = recv_json(&mut ann).await;
            assert_eq!(recv_json(&mut bob).await, heard);
            let color = heard["color"].as_u64().unwrap();
            let id = heard["sender"].as_str().unwrap().to_owned();
            assert_eq!(
                heard,
                json!({ "x": -1.5, "y": 80 + round, "more": { "a": [1] }, "sender": id, "color": color })
            );
            assert!(color < 360);
            let id = uuid::Uuid::parse_str(&id).unwrap();
            assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122));
            senders.insert((id, color));
        }
    }
    assert_eq!(senders.len(), 2, "chosen at connect, one for each");
}

/// "Anything but an object with finite numbers x and y is answered with `{"error":"…"}` to that client alone."
#[tokio::test]
async fn cursors_complain_to_the_sender_alone() {
    let server = Running::site();
    let (mut ann, mut bob) = (server.connect("/cursors").await, server.connect("/cursors").await);
    for text in
        ["", "x", "[1,2]", "{}", r#"{"x":1}"#, r#"{"x":"1","y":2}"#, r#"{"x":1e999,"y":2}"#, r#"{"x":NaN,"y":2}"#]
    {
        within(ann.send(text)).await.unwrap();
        assert!(recv_json(&mut ann).await["error"].is_string(), "{text}");
    }
    within(ann.send("[".repeat(4_000))).await.unwrap();
    assert!(recv_json(&mut ann).await["error"].is_string(), "E16: deep nesting is an error");
    within(ann.send(vec![1, 2, 3])).await.unwrap();
    assert!(recv_json(&mut ann).await["error"].is_string());
    send(&mut ann, &json!({ "x": 1, "y": 2 })).await;
    assert_eq!(recv_json(&mut bob).await["y"], 2);
}

/// "When a client leaves, everybody gets `{"sender":"…","gone":true}`": however it leaves.
#[tokio::test]
async fn cursors_say_who_is_gone() {
    let server = Running::site();
    let mut bob = server.connect("/cursors").await;
    for how in ["close", "abort", "reset", "violation"] {
        let mut ann = server.connect("/cursors").await;
        send(&mut ann, &json!({ "x": 1, "y": 2 })).await;
        let sender = recv_json(&mut bob).await["sender"].clone();
        match how {
            "close" => assert!(within(ann.close(CloseCode::NORMAL, "")).await.unwrap().is_clean()),
            "abort" => ann.abort(),
            "reset" => {
                // The same with an RST in place of a FIN.
                let stream = server.upgraded("/cursors").await;
                socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
                drop(stream);
                let gone = recv_json(&mut bob).await;
                assert_eq!(gone["gone"], true);
                ann.abort();
            }
            _ => {
                // A message above the cursors' 4 KiB.
                within(ann.send("x".repeat(5_000))).await.unwrap();
                let error = loop {
                    match within(ann.recv()).await {
                        Ok(Some(_)) => {}
                        Ok(None) => break None,
                        Err(error) => break Some(error),
                    }
                };
                assert!(error.is_none());
                assert_eq!(ann.close_outcome().unwrap().code(), 1009);
            }
        }
        assert_eq!(recv_json(&mut bob).await, json!({ "sender": sender, "gone": true }), "{how}");
    }
}

/// Members who all send what they may at once evict nobody who reads, and none of it is lost.
#[tokio::test]
async fn cursors_bursts_of_many_members() {
    const MEMBERS: usize = 8;
    const EACH: usize = 400;
    let server = Running::site();
    let mut bob = server.connect("/cursors").await;
    let mut crowd = Vec::new();
    for _ in 0..MEMBERS {
        crowd.push(server.upgraded("/cursors").await);
    }
    let wire = masked(TEXT, br#"{"x":1,"y":2}"#).repeat(EACH);
    let writing = crowd.into_iter().map(|mut stream| {
        let wire = wire.clone();
        tokio::spawn(async move {
            let (mut reading, mut writing) = stream.split();
            let write = async { writing.write_all(&wire).await.unwrap() };
            let mut sink = tokio::io::sink();
            tokio::select! {
                biased;
                _ = tokio::io::copy(&mut reading, &mut sink) => {}
                () = async { write.await; std::future::pending().await } => {}
            }
        })
    });
    let writing: Vec<_> = writing.collect();
    for i in 0..MEMBERS * EACH {
        let heard = within(bob.recv()).await.unwrap();
        assert!(heard.is_some(), "evicted after {i}");
    }
    for task in writing {
        task.abort();
    }
}
