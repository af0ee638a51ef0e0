//! `sockeye connect`: a WebSocket as lines.
use std::{
    error::Error,
    io::{self, IsTerminal, Write},
    thread,
};

use sockeye::{
    Client, CloseCode, CloseOutcome, Config, ControlPayload, Message, Party, ReadyState, Transport, WebSocket,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::args;

/// Lines read ahead of the connection.
const LINES: usize = 16;
/// Lines are taken while fewer bytes than this wait to be sent.
const HIGH_WATER: usize = 64 * 1024;

pub(crate) fn run(args: args::Connect) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(converse(args))
}

/// How it looks to whoever uses it.
struct Terminal {
    /// A person types: lines may be commands.
    typed: bool,
    /// A person reads: notes are welcome.
    chatty: bool,
    binary: bool,
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Send(String),
    Ping(String),
    Close(CloseCode, String),
    Help,
    Wrong(String),
}

async fn converse(args: args::Connect) -> Result<(), Box<dyn Error>> {
    let typed = io::stdin().is_terminal();
    let terminal = Terminal { typed, chatty: typed && io::stdout().is_terminal(), binary: args.binary };
    let no_close = args.no_close;
    let mut socket = open(args).await?;
    terminal.note(&match socket.protocol() {
        Some(protocol) => format!("connected, subprotocol {protocol}; /help for commands"),
        None => "connected; /help for commands".to_owned(),
    });
    let mut lines = Some(read_lines());
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            received = socket.recv() => match received? {
                Some(message) => terminal.print(&message)?,
                None => return verdict(&terminal, &socket),
            },
            // Queued, not sent: `recv` writes, and must go on reading meanwhile, or two ends that only write wait for ever.
            line = next_line(&mut lines), if takes_lines(&socket) => match line {
                Some(line) => obey(&terminal, &mut socket, &line?)?,
                None if no_close => {}
                None => socket.start_close(CloseCode::NORMAL, ""),
            },
            _ = interrupt.recv() => socket.start_close(CloseCode::GOING_AWAY, ""),
            _ = terminate.recv() => socket.start_close(CloseCode::GOING_AWAY, ""),
        }
    }
}

fn takes_lines(socket: &WebSocket<Transport>) -> bool {
    socket.ready_state() == ReadyState::Open && socket.buffered_amount() < HIGH_WATER
}

async fn open(args: args::Connect) -> Result<WebSocket<Transport>, sockeye::Error> {
    let config = Config::with(|config| {
        config.limits.max_message = args.max_message;
        config.limits.max_frame = args.max_message;
        // What is queued is one line of the user's own beyond `HIGH_WATER`.
        config.limits.max_write_queue = usize::MAX;
    });
    let mut client = Client::new(&args.url)?.config(config);
    for protocol in &args.protocol {
        client = client.subprotocol(protocol);
    }
    for (name, value) in args.header {
        client = client.header(name, value);
    }
    if let Some(origin) = &args.origin {
        client = client.origin(origin);
    }
    client.connect().await
}

/// Success only after a clean close that is no complaint.
fn verdict(terminal: &Terminal, socket: &WebSocket<Transport>) -> Result<(), Box<dyn Error>> {
    let outcome = socket.close_outcome().ok_or("the connection was lost")?;
    if !outcome.is_clean() {
        return Err("the server did not answer the Close frame".into());
    }
    let goodbye = format!("closed: {} {}", outcome.code(), outcome.reason());
    match outcome.code() {
        1000 | 1001 | CloseOutcome::NO_STATUS => terminal.note(&goodbye),
        // What we sent came back.
        _ if outcome.initiator() == Party::Local => terminal.note(&goodbye),
        _ => return Err(goodbye.into()),
    }
    Ok(())
}

/// Does what a line asks for.
fn obey(terminal: &Terminal, socket: &mut WebSocket<Transport>, line: &str) -> Result<(), sockeye::Error> {
    let asked = if terminal.typed { parse(line) } else { Line::Send(line.to_owned()) };
    match asked {
        Line::Send(text) if terminal.binary => socket.try_send(text.into_bytes())?,
        Line::Send(text) => socket.try_send(text)?,
        Line::Ping(text) => match ControlPayload::try_from(text.as_bytes()) {
            Ok(payload) => socket.try_ping(payload)?,
            Err(error) => eprintln!("sockeye: {error}"),
        },
        Line::Close(code, reason) => socket.start_close(code, reason.as_str()),
        Line::Help => {
            terminal.note("/ping [TEXT]   /close [CODE [REASON]]   //… sends a line that starts with a slash");
        }
        Line::Wrong(why) => eprintln!("sockeye: {why}"),
    }
    Ok(())
}

fn parse(line: &str) -> Line {
    let Some(command) = line.strip_prefix('/') else { return Line::Send(line.to_owned()) };
    if command.starts_with('/') {
        return Line::Send(command.to_owned());
    }
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    match verb {
        "ping" => Line::Ping(rest.to_owned()),
        "close" => {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            let number = if code.is_empty() { Ok(1000) } else { code.parse() };
            match number.map(CloseCode::new) {
                Ok(Ok(code)) => Line::Close(code, reason.to_owned()),
                Ok(Err(error)) => Line::Wrong(error.to_string()),
                Err(_) => Line::Wrong(format!("{code} is no close code")),
            }
        }
        "help" => Line::Help,
        _ => Line::Wrong(format!("unknown command /{verb}; a line that starts with a slash is sent with two")),
    }
}

/// Lines of the input, read by a thread of their own: a blocked read of a terminal cannot be cancelled, and must not keep
/// the program from ending.
fn read_lines() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(LINES);
    thread::spawn(move || {
        for line in io::stdin().lines() {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The next line; `None` once, at the end of the input, and then never again.
async fn next_line(lines: &mut Option<mpsc::Receiver<io::Result<String>>>) -> Option<io::Result<String>> {
    let Some(receiver) = lines else { return std::future::pending().await };
    let line = receiver.recv().await;
    if line.is_none() {
        *lines = None;
    }
    line
}

impl Terminal {
    /// A message, and nothing else, goes to the output.
    fn print(&self, message: &Message) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match message {
            Message::Text(text) => writeln!(out, "{text}")?,
            Message::Binary(bytes) if self.chatty && !self.binary => writeln!(out, "(binary, {} bytes)", bytes.len())?,
            Message::Binary(bytes) => {
                out.write_all(bytes)?;
                if self.chatty || !self.binary {
                    writeln!(out)?;
                }
            }
        }
        out.flush()
    }

    fn note(&self, text: &str) {
        if self.chatty {
            eprintln!("* {text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_lines_may_be_commands() {
        assert_eq!(parse("hello"), Line::Send("hello".into()));
        assert_eq!(parse("//hello"), Line::Send("/hello".into()));
        assert_eq!(parse("/ping are you there"), Line::Ping("are you there".into()));
        assert_eq!(parse("/close"), Line::Close(CloseCode::NORMAL, String::new()));
        let code = CloseCode::new(4100).unwrap();
        assert_eq!(parse("/close 4100 back soon"), Line::Close(code, "back soon".into()));
        assert!(matches!(parse("/close 1006"), Line::Wrong(_)));
        assert!(matches!(parse("/quit"), Line::Wrong(_)));
    }
}
