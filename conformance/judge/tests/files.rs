//! Histories in files: what is written is read, several files are one history, and the program says so by its status.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use sockeye_judge::{Action, Item, Merge, Path, Position, Record, Seen, write_line};

fn records() -> Vec<Record> {
    let channel = || "a:b".into();
    let position = || Position::new("k3", 1);
    let what = [
        Seen::Publishing { channel: channel(), id: 1, body: 9, key: Some("k".into()), volatile: false, no_echo: true },
        Seen::Published { id: 1, position: Some(position()) },
        Seen::Refused { id: 2 },
        Seen::Unknown { id: 3 },
        Seen::Subscribing { channel: channel(), since: Some(position()), last: None },
        Seen::Subscribed { channel: channel(), position: Some(position()), recovered: Some(true), catch_up: Some(0) },
        Seen::Delivered { channel: channel(), position: None, id: 4, body: 5, path: Path::CatchUp },
        Seen::Skipped { channel: channel(), position: position() },
        Seen::Lost { channel: channel(), position: position(), reason: Some("slow".into()) },
        Seen::Unsubscribed { channel: channel() },
        Seen::Ended { channel: channel() },
        Seen::ReadingHistory { channel: channel(), since: None, reverse: true },
        Seen::HistoryPage {
            channel: channel(),
            position: position(),
            items: vec![Item { offset: 1, id: 1, body: 9 }],
            more: true,
        },
        Seen::Presence { channel: channel() },
        Seen::Granted { channel: channel(), action: Action::Publish },
        Seen::Revoked { channel: channel(), action: Action::Subscribe },
        Seen::Disconnected,
        Seen::Restart,
        Seen::Settled,
    ];
    what.into_iter().map(|what| Record { at: 5, actor: 7, what }).collect()
}

#[test]
fn what_is_written_is_read() {
    let mut file = Vec::new();
    for record in records() {
        write_line(&mut file, &record).unwrap();
    }
    let read: Result<Vec<Record>, _> = Merge::new(vec![("memory".to_owned(), &file[..])]).collect();
    assert_eq!(read.unwrap(), records());
}

#[test]
fn a_line_as_another_language_writes_it() {
    let line = br#"{"at":12,"actor":1,"what":{"publishing":{"channel":"a","id":7,"body":4711}}}"#;
    let read: Vec<Record> = Merge::new(vec![("memory".to_owned(), &line[..])]).map(Result::unwrap).collect();
    let what = Seen::Publishing { channel: "a".into(), id: 7, body: 4711, key: None, volatile: false, no_echo: false };
    assert_eq!(read, [Record { at: 12, actor: 1, what }]);
}

#[test]
fn several_sources_are_merged_by_time_and_causes_come_first() {
    let one = "{\"at\":2,\"actor\":1,\"what\":\"settled\"}\n{\"at\":4,\"actor\":1,\"what\":\"settled\"}\n";
    let other = "{\"at\":2,\"actor\":2,\"what\":\"restart\"}\n\n{\"at\":3,\"actor\":2,\"what\":\"disconnected\"}\n";
    let sources = vec![("one".to_owned(), one.as_bytes()), ("other".to_owned(), other.as_bytes())];
    let order: Vec<(u64, u32)> =
        Merge::new(sources).map(Result::unwrap).map(|record| (record.at, record.actor)).collect();
    assert_eq!(order, [(2, 2), (2, 1), (3, 2), (4, 1)]);
}

#[test]
fn a_line_that_is_no_record_is_named() {
    let lines = "{\"at\":2,\"actor\":1,\"what\":\"settled\"}\n{\"at\":3}\n";
    let error = Merge::new(vec![("file".to_owned(), lines.as_bytes())]).find_map(Result::err).unwrap();
    assert!(error.to_string().starts_with("file:2: "), "{error}");
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sockeye-judge"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    program.wait_with_output().unwrap()
}

#[test]
fn the_program_says_by_its_status_what_it_found() {
    let clean = run(&[], "{\"at\":2,\"actor\":1,\"what\":\"settled\"}\n");
    assert_eq!(clean.status.code(), Some(0));

    let stray = "{\"at\":2,\"actor\":1,\"what\":{\"published\":{\"id\":3}}}\n";
    let broken = run(&["--json"], stray);
    assert_eq!(broken.status.code(), Some(1));
    let verdict: serde_json::Value = serde_json::from_slice(&broken.stdout).unwrap();
    assert_eq!(verdict["kinds"]["stray_reply"], 1);
    assert_eq!(verdict["anomalies"][0]["record"], 1);

    assert_eq!(run(&[], "nothing of the kind\n").status.code(), Some(2));
    assert_eq!(run(&["--what"], "").status.code(), Some(2));
}
