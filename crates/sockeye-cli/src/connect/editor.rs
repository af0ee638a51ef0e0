//! A line being typed at a terminal: edited, remembered, and left whole by what comes meanwhile.
use std::{
    borrow::Cow,
    env, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use reedline::{
    ExternalPrinter, FileBackedHistory, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus,
    Reedline, Signal,
};
use tokio::sync::mpsc;

/// How often the editor looks for messages to show.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lines on their way to the screen.
const PRINTING: usize = 256;
/// Lines typed that the connection has not taken yet.
const TYPED: usize = 256;
/// Lines remembered.
const HISTORY: usize = 1_000;

#[derive(Debug)]
pub(super) enum Typed {
    Line(String),
    /// Ctrl-D.
    End,
    Failed(io::Error),
}

/// The editor, on a thread of its own. It never waits for the connection, so whoever prints never waits for long.
pub(super) struct Editor {
    printer: ExternalPrinter<String>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

pub(super) struct Keyboard {
    pub(super) typed: mpsc::Receiver<Typed>,
    /// Ctrl-C; apart, because it must not wait behind lines.
    pub(super) interrupts: mpsc::Receiver<()>,
}

impl Editor {
    /// Whether this terminal can do it.
    pub(super) fn is_possible() -> bool {
        env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
    }

    pub(super) fn start(with_history: bool, colour: bool) -> (Self, Keyboard) {
        let (send_typed, typed) = mpsc::channel(TYPED);
        let (send_interrupt, interrupts) = mpsc::channel(2);
        let printer = ExternalPrinter::new(PRINTING);
        let stop = Arc::new(AtomicBool::new(false));
        let line = line_editor(with_history, colour, &printer, &stop);
        let thread = thread::spawn(move || read(line, &send_typed, &send_interrupt));
        (Self { printer, stop, thread: Some(thread) }, Keyboard { typed, interrupts })
    }

    pub(super) fn printer(&self) -> ExternalPrinter<String> {
        self.printer.clone()
    }

    /// Gives the terminal back as it was, with all that was to be shown on it.
    pub(super) fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::Relaxed);
        let _ = thread.join();
        let mut out = io::stdout().lock();
        // The prompt of a line that will not be typed any more.
        let _ = out.write_all(b"\r\x1b[J");
        while let Some(line) = self.printer.get_line() {
            let _ = writeln!(out, "{line}");
        }
        let _ = out.flush();
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        self.stop();
    }
}

fn line_editor(
    with_history: bool,
    colour: bool,
    printer: &ExternalPrinter<String>,
    stop: &Arc<AtomicBool>,
) -> Reedline {
    let mut line = Reedline::create()
        .with_external_printer(printer.clone())
        .with_break_signal(stop.clone())
        .with_poll_interval(LOOK_EVERY)
        .with_ansi_colors(colour)
        // As shells have it: what is typed behind a space is not remembered.
        .with_history_exclusion_prefix(Some(" ".to_owned()));
    if with_history
        && let Some(path) = history_path()
        && make_private(&path).is_ok()
        && let Ok(history) = FileBackedHistory::with_file(HISTORY, path)
    {
        line = line.with_history(Box::new(history));
    }
    line
}

/// Until the editor is told to stop: also after Ctrl-D and Ctrl-C it shows what comes.
fn read(mut line: Reedline, typed: &mpsc::Sender<Typed>, interrupts: &mpsc::Sender<()>) {
    loop {
        let event = match line.read_line(&Mark) {
            Ok(Signal::Success(text)) if text.is_empty() => continue,
            Ok(Signal::Success(text)) => Typed::Line(text),
            Ok(Signal::CtrlC) => {
                // Two are enough to end at once.
                let _ = interrupts.try_send(());
                continue;
            }
            Ok(Signal::CtrlD) => Typed::End,
            Ok(_) => return,
            Err(error) => Typed::Failed(error),
        };
        let failed = matches!(event, Typed::Failed(_));
        match typed.try_send(event) {
            Err(mpsc::error::TrySendError::Full(_)) => {
                eprintln!("* not sent: the server takes nothing at the moment; try again later");
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return,
            Ok(()) if failed => return,
            Ok(()) => {}
        }
    }
}

/// Where the XDG base directory specification wants state that should survive restarts.
fn history_path() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("sockeye/connect-history"))
}

/// Lines may hold secrets: the file is its owner's alone.
fn make_private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

/// The prompt.
struct Mark;

impl Prompt for Mark {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("  ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let found = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "nothing ",
        };
        Cow::Owned(format!("({found}in history: {}) ", search.term))
    }
}
