//! `sockeye connect`: a WebSocket as lines.
mod command;
mod editor;
mod escape;
mod event;
mod failure;
mod input;
mod open;
mod output;
mod pings;
mod tls;

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    process::ExitCode,
    task::Poll,
    time::Duration,
};

use sockeye::{CloseCode, CloseOutcome, ControlPayload, Event, Message, ReadyState, Transport, WebSocket};
use tokio::time::Instant;

use self::{
    command::{Command, parse},
    editor::Editor,
    failure::{Failure, Kind, goodbye},
    input::{Asked, Input},
    output::Output,
    pings::Pings,
};
use crate::args;

/// Lines are taken while fewer bytes than this wait to be sent.
const HIGH_WATER: usize = 64 * 1024;
/// For the closing handshake once nobody waits for more.
const GOODBYE: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &args::Connect) -> ExitCode {
    let mut output = Output::new(args.json, args.binary);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(converse(args, &mut output)));
    let Err(failure) = result else { return ExitCode::SUCCESS };
    if !failure.message().is_empty() {
        // Where not even this can be said, the status says it.
        let _ = output.event(&failure.event());
        eprintln!("sockeye: {}", failure.message());
    }
    failure.exit_code()
}

async fn converse(args: &args::Connect, output: &mut Output) -> Result<(), Failure> {
    let deadline = args.timeout.and_then(|time| Instant::now().checked_add(time));
    let socket = open::open(args, deadline).await?;
    let editor = (output.is_chatty() && Editor::is_possible()).then(|| {
        let editor = Editor::start(!args.no_history, output.has_colour());
        output.set_editor(Some(editor.printer()));
        editor
    });
    let mut input = Input::new(editor, args.ping_interval, deadline)?;
    let result = Session::new(socket, args, output).run(&mut input).await;
    output.set_editor(None);
    input.stop().await;
    result
}

/// Why this end closes, if it is not the usual end of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// Enough messages have come.
    Enough,
    Interrupted,
    TimeUp,
    /// Whoever read the output has gone.
    Unseen,
}

impl Leaving {
    /// Nobody waits for the server's answer for long.
    fn is_hasty(self) -> bool {
        matches!(self, Self::TimeUp | Self::Unseen)
    }
}

struct Session<'a> {
    socket: WebSocket<Transport>,
    args: &'a args::Connect,
    output: &'a mut Output,
    pings: Pings,
    /// Messages shown.
    received: u64,
    leaving: Leaving,
    /// The code of our Close frame.
    sent_code: Option<CloseCode>,
}

impl<'a> Session<'a> {
    fn new(socket: WebSocket<Transport>, args: &'a args::Connect, output: &'a mut Output) -> Self {
        Self { socket, args, output, pings: Pings::default(), received: 0, leaving: Leaving::No, sent_code: None }
    }

    async fn run(&mut self, input: &mut Input) -> Result<(), Failure> {
        let result = self.talk(input).await;
        match self.leaving {
            Leaving::TimeUp => Err(Failure::time_up()),
            // How a connection ends that nobody looks at any more is no failure.
            Leaving::Unseen => Ok(()),
            _ => result,
        }
    }

    async fn talk(&mut self, input: &mut Input) -> Result<(), Failure> {
        self.opened()?;
        loop {
            let takes_lines = takes_lines(&self.socket);
            tokio::select! {
                step = step(&mut self.socket, takes_lines), if self.output.has_room() => match step? {
                    Step::Event(event) => self.happened(&event)?,
                    Step::End => return self.verdict(),
                    Step::Drained => {}
                },
                // Queued, not sent: receiving writes, and must go on meanwhile, or two ends that only write wait for ever.
                asked = input.next(takes_lines) => match asked? {
                    Asked::TimeUp if self.leaving.is_hasty() => return Ok(()),
                    asked => self.obey(asked)?,
                },
            }
            if self.output.is_gone() {
                self.leave(Leaving::Unseen, CloseCode::GOING_AWAY);
            }
            if self.leaving.is_hasty() {
                input.end_within(GOODBYE);
            }
        }
    }

    fn opened(&mut self) -> io::Result<()> {
        let url = self.socket.url().unwrap_or(&self.args.url);
        let (protocol, extensions) = (self.socket.protocol(), self.socket.extensions());
        let http = if self.is_http2() { "2" } else { "1.1" };
        self.output.event(&event::Event::Open { url, protocol, extensions, http })?;
        let mut note = "connected".to_owned();
        if self.is_http2() {
            note.push_str(" over HTTP/2");
        }
        let tls = self.socket.get_ref().tls().and_then(|session| session.protocol_version()).map(tls::name);
        let protocol = protocol.unwrap_or_default();
        for (what, value) in [("TLS", tls.unwrap_or_default()), ("subprotocol", protocol), ("extensions", extensions)] {
            if !value.is_empty() {
                note = format!("{note}, {what} {value}");
            }
        }
        self.output.note(&format!("{note}; /help for commands"));
        Ok(())
    }

    /// Where HTTP/2 is preferred, the alternative is HTTP/1.1 after TLS, whose session is then the transport's own.
    fn is_http2(&self) -> bool {
        self.args.way.http2 && self.socket.get_ref().tls().is_none()
    }

    fn happened(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Message(_) if self.leaving == Leaving::Enough => {}
            Event::Message(message) => {
                self.output.message(message)?;
                self.received += 1;
                if self.args.count.is_some_and(|count| self.received >= count.get()) {
                    self.leave(Leaving::Enough, CloseCode::NORMAL);
                }
            }
            Event::Ping(payload) => self.output.event(&event::Event::ping(payload))?,
            Event::Pong(payload) => self.show_pong(payload)?,
            // The end is told by the verdict.
            _ => {}
        }
        Ok(())
    }

    fn show_pong(&mut self, payload: &ControlPayload) -> io::Result<()> {
        let took = self.pings.answered(payload, Instant::now());
        self.output.event(&event::Event::pong(payload, took.map(milliseconds)))?;
        let name = escape::bytes(payload.as_bytes());
        let note = match took {
            Some(took) => format!("pong {name}: {:.3} ms", milliseconds(took)),
            None => format!("pong {name}, for no ping of ours"),
        };
        if self.args.ping_interval.is_some() && !self.args.json {
            self.output.say(&note);
        } else {
            self.output.note(&note);
        }
        Ok(())
    }

    fn obey(&mut self, asked: Asked) -> Result<(), Failure> {
        match asked {
            Asked::Line(line) if input::is_typed() => self.command(&String::from_utf8_lossy(&line))?,
            Asked::Line(line) => self.send(line)?,
            Asked::Typed(line) => {
                self.output.echo(&line);
                self.command(&line)?;
            }
            Asked::Refused => {
                self.output.say("not sent: the server takes nothing at the moment; try again later");
            }
            Asked::Shown(bytes) => self.output.shown(bytes),
            Asked::Hangup => {
                self.output.set_editor(None);
                self.output.set_gone();
            }
            // Whoever waits for a number of messages has asked, and waits for the answers.
            Asked::InputEnd if self.args.no_close || self.args.count.is_some() => {}
            Asked::InputEnd => self.close(CloseCode::NORMAL, ""),
            Asked::Interrupt if self.leaving == Leaving::Interrupted => return Err(Failure::interrupted()),
            Asked::Interrupt => {
                self.leave(Leaving::Interrupted, CloseCode::GOING_AWAY);
                self.output.note("closing; Ctrl-C again ends at once");
            }
            Asked::PingDue => self.ping("")?,
            Asked::TimeUp => self.leave(Leaving::TimeUp, CloseCode::NORMAL),
            Asked::OutputGone => self.output.set_gone(),
        }
        Ok(())
    }

    fn leave(&mut self, why: Leaving, code: CloseCode) {
        if self.leaving == Leaving::No || why == Leaving::Interrupted {
            self.leaving = why;
        }
        self.close(code, "");
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        if self.socket.ready_state() == ReadyState::Open {
            self.sent_code = Some(code);
        }
        self.socket.start_close(code, reason);
    }

    /// Does what a typed line asks for.
    fn command(&mut self, line: &str) -> Result<(), Failure> {
        match parse(line) {
            Command::Send(text) => return self.send(text.as_bytes().to_vec()),
            Command::Ping(text) => self.ping(text)?,
            Command::Close(code, reason) => self.close(code, reason),
            Command::Help => self.output.say(command::HELP),
            Command::Wrong(why) => self.output.say(&why),
        }
        Ok(())
    }

    fn send(&mut self, mut line: Vec<u8>) -> Result<(), Failure> {
        let message = if self.args.binary {
            Message::binary(line)
        } else {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            String::from_utf8(line).map(Message::text).map_err(|_| {
                Failure::new(
                    Kind::Failed,
                    "invalid_input",
                    "a line of the input is not UTF-8: send bytes with --binary",
                )
            })?
        };
        Ok(self.socket.try_send(message).map_err(sockeye::Error::from)?)
    }

    fn ping(&mut self, text: &str) -> Result<(), Failure> {
        if self.socket.ready_state() != ReadyState::Open {
            return Ok(());
        }
        let text = if text.is_empty() { self.pings.number() } else { text.to_owned() };
        match ControlPayload::try_from(text.as_bytes()) {
            Ok(payload) => {
                self.pings.sent(payload.clone(), Instant::now());
                self.socket.try_ping(payload).map_err(sockeye::Error::from)?;
            }
            Err(error) => self.output.say(&error.to_string()),
        }
        Ok(())
    }

    /// Success only after a clean close that is no complaint, or if nobody wanted more.
    fn verdict(&mut self) -> Result<(), Failure> {
        let outcome = self.socket.close_outcome().cloned();
        if let Some(outcome) = &outcome {
            self.output.event(&event::Event::close(outcome))?;
            self.output.note(&goodbye(outcome));
        }
        let Some(outcome) = outcome else { return Err(Failure::lost("the connection was lost")) };
        if !outcome.is_clean() {
            return Err(Failure::lost("the server did not answer the Close frame"));
        }
        match outcome.code() {
            1000 | 1001 | CloseOutcome::NO_STATUS => Ok(()),
            // What we sent came back; a complaint may as well have crossed it.
            code if self.sent_code.is_some_and(|sent| sent.get() == code) => Ok(()),
            _ => Err(Failure::complaint(&outcome)),
        }
    }
}

/// What receiving came to.
enum Step {
    Event(Event),
    End,
    /// So much has been written that lines are taken again.
    Drained,
}

/// Receives and writes. Dropping the future loses nothing, so a new one at every poll lets the socket be looked at between.
async fn step(socket: &mut WebSocket<Transport>, took_lines: bool) -> Result<Step, sockeye::Error> {
    poll_fn(|cx| {
        let received = pin!(socket.recv_event()).poll(cx);
        if received.is_pending() && !took_lines && takes_lines(socket) {
            return Poll::Ready(Ok(Step::Drained));
        }
        received.map_ok(|event| event.map_or(Step::End, Step::Event))
    })
    .await
}

fn takes_lines(socket: &WebSocket<Transport>) -> bool {
    socket.ready_state() == ReadyState::Open && socket.buffered_amount() < HIGH_WATER
}

fn milliseconds(time: Duration) -> f64 {
    // To the microsecond: more would be noise.
    (time.as_secs_f64() * 1e6).round() / 1e3
}
