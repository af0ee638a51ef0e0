//! A line being typed at a terminal: edited, remembered, and left whole by what comes meanwhile.
use std::{
    collections::VecDeque,
    env,
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    num::NonZeroUsize,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use liso::{Color, History, InputOutput, Line, OutputOnly, Response};

/// Lines typed ahead of the connection; more are refused.
const TYPED: usize = 256;
/// Columns below which there is nothing to edit.
const NARROWEST: u16 = 8;
/// Lines remembered.
const HISTORY: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

#[derive(Debug)]
pub(super) enum Typed {
    Line(String),
    /// Ctrl-D.
    End,
    /// Ctrl-C.
    Interrupt,
    /// So many bytes have been shown.
    Shown(usize),
    /// A line that is not sent, because too many wait.
    Refused,
    /// The terminal has gone.
    Gone,
}

/// The editor. It gives the terminal back as it was when it is dropped, with all that was to be shown on it.
pub(super) struct Editor {
    terminal: InputOutput,
    lines: VecDeque<Typed>,
}

impl Editor {
    /// Whether this terminal can do it. One without a size, as scripts make them, cannot.
    pub(super) fn is_possible() -> bool {
        let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
        columns >= NARROWEST
            && env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb" && term != "pipe")
    }

    pub(super) fn start(with_history: bool, colour: bool) -> Self {
        let terminal = InputOutput::new();
        let history = history_path().filter(|_| with_history).and_then(|path| remembered(path).ok());
        // Without a file it remembers as long as it runs.
        terminal.swap_history(history.unwrap_or_default());
        let mut prompt = Line::new();
        if colour {
            prompt.set_fg_color(Some(Color::Green));
        }
        prompt.add_text(">").set_fg_color(None).add_text(" ");
        terminal.prompt(prompt, true, false);
        Self { terminal, lines: VecDeque::new() }
    }

    pub(super) fn printer(&self) -> OutputOnly {
        self.terminal.clone_output()
    }

    /// What happens next at the keyboard. Keys are listened to all the time, or Ctrl-C would wait behind lines that the
    /// connection does not take. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, takes_lines: bool) -> Typed {
        loop {
            if takes_lines && let Some(line) = self.lines.pop_front() {
                return line;
            }
            let typed = match self.terminal.read_async().await {
                Response::Input(line) if line.is_empty() => continue,
                Response::Input(line) => Typed::Line(line),
                Response::Finish => Typed::End,
                Response::Quit => return Typed::Interrupt,
                Response::Custom(shown) => return Typed::Shown(shown.downcast().map_or(0, |bytes| *bytes)),
                Response::Dead => return Typed::Gone,
                _ => continue,
            };
            if self.lines.len() >= TYPED {
                return Typed::Refused;
            }
            self.lines.push_back(typed);
        }
    }

    /// Gives the terminal back.
    pub(super) async fn stop(self) {
        self.terminal.die().await;
    }
}

/// The lines of former sessions, kept in this file.
fn remembered(path: PathBuf) -> io::Result<History> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut history = History::new();
    match history.read_history_from(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    history.set_limit(Some(HISTORY)).set_autosave_interval(NonZeroUsize::new(1));
    history.set_autosave_handler(Some(Box::new(move |history| save(&path, history.get_lines()))));
    Ok(history)
}

/// Lines may hold secrets: the file is its owner's alone, and, as shells have it, what is typed behind a space is not kept.
fn save(path: &Path, lines: &[String]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
    let kept = lines.iter().filter(|line| !line.starts_with(' '));
    let text = kept.flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
    file.write_all(text.as_bytes())?;
    std::fs::rename(beside, path)
}

/// Where the XDG base directory specification wants state that should survive restarts.
fn history_path() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("sockeye/connect-history"))
}
