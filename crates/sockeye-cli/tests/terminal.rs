//! `sockeye connect` at a terminal.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod common;

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, process::Command};

use common::{connect, echo, pty::Terminal, scratch, serve};
use tokio::sync::watch;

const HOSTILE: &str = "\x1b]0;owned\x07\x1b[2J\u{9b}31m\u{202e}abc\n* closed: 1000";
const ESCAPED: [&str; 2] = ["< \\x1b]0;owned\\x07\\x1b[2J\\u{9b}31m\\u{202e}abc", "  * closed: 1000"];

/// Keys pressed before the terminal is the editor's are lost, as with every program that takes it over.
fn at_terminal(server: SocketAddr, options: &[&str]) -> Terminal {
    ready(Terminal::run(connect(server, options), true))
}

fn ready(terminal: Terminal) -> Terminal {
    terminal.wait_line("* connected; /help for commands");
    terminal
}

fn contains(raw: &[u8], text: &str) -> bool {
    raw.windows(text.len()).any(|window| window == text.as_bytes())
}

fn says(text: &'static str) -> SocketAddr {
    serve(move |stream| async move {
        let mut socket = sockeye::accept(stream).await?;
        socket.send(text).await?;
        while let Some(message) = socket.recv().await? {
            socket.send(message).await?;
        }
        Ok(())
    })
}

/// With the line editor; without, since the terminal cannot or has no size; and with input from elsewhere.
#[test]
fn what_a_peer_sends_is_shown_not_obeyed() {
    let dumb = || {
        let mut command = Command::new("env");
        let connect = connect(says(HOSTILE), &[]);
        command.arg("TERM=dumb").arg(connect.get_program()).args(connect.get_args());
        command
    };
    let sizeless = Terminal::sized(connect(says(HOSTILE), &[]), true, 0);
    for mut terminal in [at_terminal(says(HOSTILE), &[]), Terminal::run(dumb(), true), sizeless] {
        let lines = terminal.wait_line(ESCAPED[1]);
        assert!(lines.contains(&ESCAPED[0].to_owned()), "{lines:?}");
        for evil in ["\x1b]0;", "\x1b[2J", "\u{9b}", "\u{202e}", "\x07"] {
            assert!(!contains(&terminal.raw(), evil), "{evil:?}");
        }
        terminal.keys("\x04");
        assert_eq!(terminal.status(), 0);
    }
    let mut terminal = Terminal::run(connect(says(HOSTILE), &[]), false);
    assert_eq!(terminal.status(), 0);
    terminal.wait_line(ESCAPED[0].strip_prefix("< ").unwrap());
}

/// A person gets the start of what nobody reads; before, a message of line ends took its 200-fold in memory.
#[test]
fn a_message_nobody_can_read_is_shown_in_part() {
    let server = serve(|stream| async move {
        let mut socket = sockeye::accept(stream).await?;
        socket.send("\n".repeat(1 << 20)).await?;
        socket.send("end").await?;
        socket.recv().await.map(drop)
    });
    let mut terminal = at_terminal(server, &[]);
    let lines = terminal.wait_line("< end");
    assert!(lines.contains(&"* the start of 1048576 bytes: a pipe gets all of them".to_owned()), "{lines:?}");
    terminal.keys("\x04");
    assert_eq!(terminal.status(), 0);
}

#[test]
fn a_line_being_typed_survives_what_comes() {
    let (trigger, triggered) = watch::channel(0);
    let server = serve(move |stream| {
        let mut triggered = triggered.clone();
        async move {
            let mut socket = sockeye::accept(stream).await?;
            triggered.wait_for(|&n| n == 1).await.unwrap();
            socket.send(format!("first\nsecond {}", "x".repeat(100))).await?;
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
            }
            Ok(())
        }
    });
    let mut terminal = at_terminal(server, &[]);
    terminal.keys("half a li");
    terminal.wait_line("> half a li");
    trigger.send(1).unwrap();
    terminal.wait("message above the line", |lines| {
        lines.iter().any(|line| line == "< first") && lines.last().is_some_and(|line| line == "> half a li")
    });
    terminal.keys("ne");
    terminal.wait_line("> half a line");
    // To the start of the line, one more word, and off it goes.
    terminal.keys("\x01not \r");
    let lines = terminal.wait_line("< not half a line");
    let text: String = lines.iter().map(|line| line.trim_start()).collect();
    assert!(
        text.contains(&format!("< firstsecond {}> not half a line< not half a line", "x".repeat(100))),
        "{lines:?}"
    );
    terminal.keys("\x04");
    assert_eq!(terminal.status(), 0);
    terminal.wait_line("* closed: 1000");
    assert!(terminal.is_cooked());
}

#[test]
fn commands_ping_and_close() {
    let mut terminal = at_terminal(serve(echo), &[]);
    terminal.keys("/ping\r");
    terminal
        .wait("round trip", |lines| lines.iter().any(|line| line.starts_with("* pong 1: ") && line.ends_with(" ms")));
    terminal.keys("/nonsense\r");
    terminal.wait("reason", |lines| lines.iter().any(|line| line.starts_with("* unknown command /nonsense: /help")));
    terminal.keys("//slash\r");
    terminal.wait_line("< /slash");
    terminal.keys("/close 4100 back soon\r");
    terminal.wait_line("* closed: 4100 back soon");
    assert_eq!(terminal.status(), 0);
}

#[test]
fn colour_is_for_those_who_want_it() {
    let coloured = at_terminal(says("hi"), &[]);
    coloured.wait_line("< hi");
    assert!(contains(&coloured.raw(), "\x1b[36m<"));
    let mut command = connect(says("hi"), &[]);
    command.env("NO_COLOR", "1");
    let plain = Terminal::run(command, true);
    plain.wait_line("< hi");
    for colour in 30..38 {
        assert!(!contains(&plain.raw(), &format!("\x1b[{colour}m")), "{colour}");
    }
}

#[test]
fn lines_are_remembered_for_their_owner_alone() {
    let state = scratch("state");
    let start = |options: &[&str]| {
        let mut command = connect(serve(echo), options);
        command.env("XDG_STATE_HOME", &state);
        ready(Terminal::run(command, true))
    };
    let mut terminal = start(&["--no-history"]);
    terminal.keys("forget\r");
    terminal.wait_line("< forget");
    terminal.keys("\x04");
    assert_eq!(terminal.status(), 0);
    assert!(!state.exists());

    let mut terminal = start(&[]);
    terminal.keys("remember\r secret\r");
    terminal.wait_line("<  secret");
    terminal.keys("\x04");
    assert_eq!(terminal.status(), 0);
    let file = state.join("sockeye/connect-history");
    assert_eq!(fs::read_to_string(&file).unwrap(), "remember\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let mut terminal = start(&[]);
    terminal.keys("\x1b[A");
    terminal.wait_line("> remember");
    drop(terminal);
    fs::remove_dir_all(&state).unwrap();
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_gives_the_terminal_back() {
    // It shakes hands, and then never reads.
    let server = serve(|stream| async move {
        let _unread = sockeye::accept(stream).await?;
        std::future::pending().await
    });
    let mut terminal = at_terminal(server, &[]);
    terminal.keys("unfinished");
    terminal.wait_line("> unfinished");
    terminal.keys("\x03");
    terminal.wait_line("* closing; Ctrl-C again ends at once");
    terminal.keys("\x03");
    assert_eq!(terminal.status(), 130);
    assert!(terminal.is_cooked());
}
