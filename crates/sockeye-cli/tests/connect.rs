//! `sockeye connect` in scripts: pipes, JSON, exit statuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
    time::Duration,
};

use common::{PATIENCE, connect, echo, end, run, scratch, serve, start, status, stderr, stdout};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
};
use serde_json::{Value, json};
use sockeye::{CloseCode, ControlPayload, Handshake, Message, ServerConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

const HOSTILE: &str = "\x1b[2J\u{9b}31m\u{202e}abc\x07";

#[test]
fn lines_become_messages_and_messages_lines() {
    let output = run(connect(serve(echo), &[]), b"a\r\n/ping\n\nlast");
    assert_eq!((status(&output), stdout(&output), stderr(&output)), (0, "a\n/ping\n\nlast\n", ""));
}

/// Lines are taken again when there is room, not only when a message comes: the server reads once the program takes no more,
/// and has nothing to say meanwhile.
#[test]
fn a_silent_server_gets_all_lines() {
    const LINE: usize = 200;
    const LINES: usize = 100_000;
    let (blocked, reading) = watch::channel(false);
    let server = serve(move |stream| {
        let mut reading = reading.clone();
        async move {
            let mut socket = sockeye::accept(stream).await?;
            reading.wait_for(|&reading| reading).await.unwrap();
            for _ in 0..LINES {
                socket.recv().await?.unwrap();
            }
            socket.send("all").await?;
            socket.recv().await.map(drop)
        }
    });
    let mut child = start(connect(server, &["--count", "1"]));
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        let input = format!("{}\n", "x".repeat(LINE - 1)).repeat(LINES);
        for piece in input.as_bytes().chunks(4096) {
            let full = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
            if poll(&mut [PollFd::new(&stdin, PollFlags::OUT)], Some(&full)).unwrap() == 0 {
                blocked.send_replace(true);
            }
            stdin.write_all(piece).unwrap();
        }
        assert!(*blocked.borrow(), "all of it fitted into buffers: nothing was tried");
    });
    let output = end(child);
    assert_eq!((status(&output), stdout(&output), stderr(&output)), (0, "all\n", ""));
    writer.join().unwrap();
}

#[test]
fn binary_reads_and_writes_bytes() {
    let output = run(connect(serve(echo), &["--binary"]), b"\xff\x00\r\nx\n");
    assert_eq!((status(&output), stderr(&output)), (0, ""));
    assert_eq!(output.stdout, b"\xff\x00\rx");
}

#[test]
fn text_that_is_not_utf8_fails_and_says_what_to_do() {
    let output = run(connect(serve(echo), &[]), b"\xff\n");
    assert_eq!(status(&output), 1);
    assert_eq!(stderr(&output), "sockeye: a line of the input is not UTF-8: send bytes with --binary\n");
}

#[test]
fn a_pipe_gets_messages_as_they_are() {
    let server = serve(|stream| async move {
        let mut socket = sockeye::accept(stream).await?;
        socket.send(HOSTILE).await?;
        socket.close(CloseCode::NORMAL, "").await.map(drop)
    });
    let output = run(connect(server, &["--no-close"]), b"");
    assert_eq!((status(&output), stdout(&output)), (0, format!("{HOSTILE}\n").as_str()));
}

/// `| head -1`, with a server that goes on, and with one that says nothing more.
#[test]
fn an_output_whose_reader_goes_is_a_quiet_end() {
    for endless in [true, false] {
        let server = serve(move |stream| async move {
            let mut socket = sockeye::accept(stream).await?;
            socket.send("first").await?;
            while endless && socket.send("more").await.is_ok() {}
            socket.recv().await.map(drop)
        });
        let mut child = start(connect(server, &["--no-close"]));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "first\n");
        let output = end(child);
        assert_eq!((status(&output), stderr(&output)), (0, ""), "endless: {endless}");
    }
}

#[test]
fn a_refusal_shows_status_and_the_start_of_the_body_escaped() {
    let server = answer("403 Forbidden", "members\x1b[31m\n  only");
    let output = run(connect(server, &[]), b"");
    assert_eq!((status(&output), stdout(&output)), (3, ""));
    assert_eq!(
        stderr(&output),
        "sockeye: the server refused: 403 Forbidden: members\\x1b[31m only \
         (if it wants a web page to ask, name one with --origin)\n"
    );
    let output = run(connect(answer("401 Unauthorized", &"x".repeat(5_000)), &["--json"]), b"");
    assert_eq!(status(&output), 3);
    assert!(output.stderr.len() < 600, "{}", stderr(&output));
    let error: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!((&error["event"], &error["code"], &error["status"]), (&json!("error"), &json!("refused"), &json!(401)));
    assert!(error["body"].as_str().unwrap().starts_with("xxx"));
}

#[test]
fn a_complaint_is_told_escaped_and_has_its_own_status() {
    let server = serve(|stream| async move {
        let mut socket = sockeye::accept(stream).await?;
        socket.close(CloseCode::new(4001).unwrap(), format!("no\n{HOSTILE}").as_str()).await.map(drop)
    });
    let output = run(connect(server, &["--no-close"]), b"");
    assert_eq!(status(&output), 4);
    assert_eq!(stderr(&output), "sockeye: closed: 4001 no\\n\\x1b[2J\\u{9b}31m\\u{202e}abc\\x07\n");
}

/// The server's complaint and our Close cross each other.
#[test]
fn a_complaint_that_meets_our_close_is_one_too() {
    let server = serve(|stream| async move {
        let stream = stream.into_std()?;
        let mut raw = TcpStream::from_std(stream.try_clone()?)?;
        let _unused = sockeye::accept(TcpStream::from_std(stream)?).await?;
        assert_eq!(raw.read_u8().await?, 0x88);
        raw.write_all(b"\x88\x04\x0f\xa1no").await?;
        raw.shutdown().await?;
        raw.read_to_end(&mut Vec::new()).await?;
        Ok(())
    });
    let output = run(connect(server, &["--timeout", "20"]), b"");
    assert_eq!((status(&output), stderr(&output)), (4, "sockeye: closed: 4001 no\n"));
}

#[test]
fn nobody_there_is_one_sentence() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(connect(free, &[]), b"");
    assert_eq!((status(&output), stdout(&output)), (1, ""));
    assert!(stderr(&output).starts_with(&format!("sockeye: cannot reach ws://{free}/: ")), "{}", stderr(&output));
    assert_eq!(status(&run(connect(free, &["--count", "0"]), b"")), 2);
}

#[test]
fn json_has_a_line_for_each_event() {
    let server = serve(|stream| async move {
        let mut socket = sockeye::accept(stream).await?;
        socket.send(HOSTILE).await?;
        socket.send(Message::binary(vec![0, 255])).await?;
        socket.ping(ControlPayload::try_from(&b"are you there"[..]).unwrap()).await?;
        socket.recv().await?;
        socket.close(CloseCode::NORMAL, "bye").await.map(drop)
    });
    let output = run(connect(server, &["--json", "--no-close"]), b"go\n");
    assert_eq!((status(&output), stderr(&output)), (0, ""));
    assert!(output.stdout.is_ascii());
    let events: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        events,
        [
            json!({"event": "open", "url": format!("ws://{server}/"), "protocol": null, "extensions": "", "http": "1.1"}),
            json!({"event": "message", "type": "text", "data": HOSTILE}),
            json!({"event": "message", "type": "binary", "data": "AP8="}),
            json!({"event": "ping", "data": "YXJlIHlvdSB0aGVyZQ=="}),
            json!({"event": "close", "code": 1000, "reason": "bye", "clean": true, "initiator": "remote"}),
        ]
    );
}

#[test]
fn pings_show_their_round_trips() {
    let mut child = start(connect(serve(echo), &["--ping-interval", "0.01", "--json"]));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let open: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(open["event"], "open");
    for number in ["MQ==", "Mg=="] {
        let pong: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((&pong["event"], &pong["data"]), (&json!("pong"), &json!(number)));
        assert!(pong["ms"].as_f64().unwrap() > 0.0, "{pong}");
    }
    drop(child.stdin.take());
    // The rest is read by nobody: a quiet end, whichever comes first.
    drop(lines);
    assert_eq!(status(&end(child)), 0);

    let mut child = start(connect(serve(echo), &["--ping-interval", "0.01"]));
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("* pong 1: ") && line.ends_with(" ms\n"), "{line}");
    drop(child.stdin.take());
    assert_eq!(status(&end(child)), 0);
}

#[test]
fn count_waits_for_the_answers_and_takes_no_more() {
    let server = serve(|stream| async move {
        let mut socket = sockeye::accept(stream).await?;
        socket.recv().await?;
        for n in 0..10 {
            socket.send(n.to_string()).await?;
        }
        socket.recv().await.map(drop)
    });
    let output = run(connect(server, &["--count", "3"]), b"go\n");
    assert_eq!((status(&output), stdout(&output), stderr(&output)), (0, "0\n1\n2\n", ""));
}

/// While connecting, in the middle, and with a server that never answers the Close frame.
#[test]
fn timeout_ends_with_124() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = run(connect(silent.local_addr().unwrap(), &["--timeout", "0.2"]), b"");
    assert_eq!((status(&output), stderr(&output)), (124, "sockeye: the time given with --timeout is over\n"));
    for server in [serve(echo), serve(|stream| deaf(stream, None))] {
        let output = run(connect(server, &["--timeout", "0.2", "--no-close"]), b"");
        assert_eq!((status(&output), stdout(&output)), (124, ""));
    }
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let (sender, closing) = mpsc::channel();
    let mut child = start(connect(serve(move |stream| deaf(stream, Some(sender.clone()))), &["--json"]));
    let pid = Pid::from_child(&child);
    // From the first line on it listens to signals.
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    // The Close frame has come, so the first has been seen to.
    closing.recv_timeout(PATIENCE).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let ended = end(child);
    assert_eq!((status(&ended), stderr(&ended)), (130, ""));
    drop(output);
}

#[test]
fn headers_come_from_the_line_and_from_a_file() {
    let server = serve(|stream| async move {
        let handshake = Handshake::read(stream, &ServerConfig::default()).await?;
        let headers = handshake.request().headers();
        let text = ["authorization", "x-more"].map(|name| headers[name].to_str().unwrap()).join(", ");
        handshake.accept().await?.send(text).await
    });
    let file = scratch("headers");
    fs::write(&file, "Authorization: Bearer secret\n\n").unwrap();
    let from_file = format!("@{}", file.display());
    let output = run(connect(server, &["--count", "1", "--header", &from_file, "-H", "X-More: yes"]), b"");
    fs::remove_file(&file).unwrap();
    assert_eq!(stdout(&output), "Bearer secret, yes\n");
    let output = run(connect(server, &["--header", "@/no/such/file"]), b"");
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("/no/such/file"), "{}", stderr(&output));
}

/// Shakes hands and answers nothing; tells when a Close frame comes.
async fn deaf(stream: TcpStream, tell: Option<mpsc::Sender<()>>) -> Result<(), sockeye::Error> {
    let stream = stream.into_std()?;
    let mut raw = TcpStream::from_std(stream.try_clone()?)?;
    let _unused = sockeye::accept(TcpStream::from_std(stream)?).await?;
    let first = raw.read_u8().await.unwrap();
    assert_eq!(first, 0x88);
    if let Some(tell) = tell {
        tell.send(()).unwrap();
    }
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE + Duration::from_secs(1), raw.read_to_end(&mut rest)).await.unwrap().unwrap();
    Ok(())
}

/// A server that answers every request so.
fn answer(status: &'static str, body: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
        }
    });
    address
}

/// What scripts rely on is in the help.
#[test]
fn the_help_names_every_event_and_exit_status() {
    let help = run(connect(SocketAddr::from(([127, 0, 0, 1], 1)), &["--help"]), b"");
    for event in ["open", "message", "ping", "pong", "close", "error"] {
        assert!(stdout(&help).contains(&format!("{{\"event\":\"{event}\"")), "{event}");
    }
    let (_, statuses) = stdout(&help).split_once("Exit status:\n").unwrap();
    let statuses: Vec<&str> = statuses.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(statuses, ["0", "1", "2", "3", "4", "124", "130"]);
}
