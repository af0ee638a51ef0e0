//! What the session is asked for: lines of the input, signals, time.
use std::{
    future::pending,
    io::{self, BufRead, IsTerminal},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::FileType,
    io::Errno,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until},
};

use super::{
    editor::{Editor, Typed},
    writer::Written,
};

/// Lines read ahead of the connection.
const LINES: usize = 16;

#[derive(Debug)]
pub(super) enum Asked {
    Line(Vec<u8>),
    /// A line from the terminal's editor, which does not leave it on the screen by itself.
    Typed(String),
    /// A typed line that is not taken, because too many wait.
    Refused,
    /// The terminal's editor, or the writer, has shown what costs so much.
    Shown(usize),
    /// The writer cannot go on.
    Unwritable(io::Error),
    /// The terminal has gone.
    Hangup,
    /// The input has ended; told once.
    InputEnd,
    /// Ctrl-C, or a signal that means the same.
    Interrupt,
    PingDue,
    TimeUp,
    /// Whoever read our output has gone.
    OutputGone,
}

enum Lines {
    Piped(mpsc::Receiver<io::Result<Vec<u8>>>),
    Typed(Editor),
    Ended,
}

pub(super) struct Input {
    lines: Lines,
    interrupt: Signal,
    terminate: Signal,
    ping: Option<Interval>,
    deadline: Option<Instant>,
    output: Option<oneshot::Receiver<()>>,
    written: Option<Written>,
}

impl Input {
    /// Reads from a terminal's editor, or, if there is none, plainly.
    pub(super) fn new(
        editor: Option<Editor>,
        written: Option<Written>,
        ping_interval: Option<Duration>,
        deadline: Option<Instant>,
    ) -> io::Result<Self> {
        Ok(Self {
            lines: editor.map_or_else(|| Lines::Piped(read_lines()), Lines::Typed),
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            ping: ping_interval.map(|every| {
                let mut interval = interval_at(Instant::now(), every);
                interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
                interval
            }),
            deadline,
            output: watch_output(),
            written,
        })
    }

    /// Gives a terminal back as it was.
    pub(super) async fn stop(self) {
        if let Lines::Typed(editor) = self.lines {
            editor.stop().await;
        }
    }

    /// Asks for the end within this time.
    pub(super) fn end_within(&mut self, time: Duration) {
        let latest = Instant::now() + time;
        self.deadline = Some(self.deadline.map_or(latest, |deadline| deadline.min(latest)));
    }

    /// Waits for what is asked next. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, takes_lines: bool) -> io::Result<Asked> {
        let Self { lines, interrupt, terminate, ping, deadline, output, written } = self;
        tokio::select! {
            asked = next_line(lines, takes_lines) => asked,
            _ = interrupt.recv() => Ok(Asked::Interrupt),
            _ = terminate.recv() => Ok(Asked::Interrupt),
            () = tick(ping) => Ok(Asked::PingDue),
            () = passed(*deadline) => {
                *deadline = None;
                Ok(Asked::TimeUp)
            }
            () = gone(output) => Ok(Asked::OutputGone),
            result = shown(written) => Ok(result.map_or_else(Asked::Unwritable, Asked::Shown)),
        }
    }
}

async fn next_line(lines: &mut Lines, takes_lines: bool) -> io::Result<Asked> {
    let asked = match lines {
        Lines::Piped(receiver) if takes_lines => match receiver.recv().await {
            Some(line) => return Ok(Asked::Line(line?)),
            None => Asked::InputEnd,
        },
        Lines::Typed(editor) => {
            return Ok(match editor.next(takes_lines).await {
                Typed::Line(line) => Asked::Typed(line),
                Typed::End => Asked::InputEnd,
                Typed::Interrupt => Asked::Interrupt,
                Typed::Shown(bytes) => Asked::Shown(bytes),
                Typed::Refused => Asked::Refused,
                Typed::Gone => {
                    *lines = Lines::Ended;
                    Asked::Hangup
                }
            });
        }
        Lines::Piped(_) | Lines::Ended => pending().await,
    };
    *lines = Lines::Ended;
    Ok(asked)
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => pending().await,
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

async fn shown(written: &mut Option<Written>) -> io::Result<usize> {
    if let Some(receiver) = written {
        if let Some(result) = receiver.recv().await {
            return result;
        }
        *written = None;
    }
    pending().await
}

/// Returns once the reader of the pipe that is our output has closed it.
async fn gone(output: &mut Option<oneshot::Receiver<()>>) {
    if let Some(watch) = output {
        let closed = watch.await.is_ok();
        *output = None;
        if closed {
            return;
        }
    }
    pending::<()>().await;
}

/// A pipe tells when its reader goes, so that `| head -1` need not wait for one message more.
fn watch_output() -> Option<oneshot::Receiver<()>> {
    let output = io::stdout().as_fd().try_clone_to_owned().ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&output).ok()?.st_mode);
    if kind != FileType::Fifo {
        return None;
    }
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        // Asked for nothing, it tells of errors, and that is one.
        while let Err(Errno::INTR) = poll(&mut [PollFd::new(&output, PollFlags::empty())], None) {}
        let _ = sender.send(());
    });
    Some(receiver)
}

/// Lines of the input, read by a thread of their own: a blocked read of a terminal cannot be cancelled, and must not keep
/// the program from ending.
fn read_lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(LINES);
    thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Whether a person types the lines.
pub(super) fn is_typed() -> bool {
    io::stdin().is_terminal()
}
