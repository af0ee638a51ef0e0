//! What is shown, where, and how: raw to a pipe, escaped to a terminal, or as JSON.
use std::{
    io::{self, ErrorKind, IsTerminal, Write},
    iter,
};

use data_encoding::HEXLOWER;
use reedline::ExternalPrinter;
use sockeye::Message;
use unicode_width::UnicodeWidthChar;

use super::{escape, event::Event};

/// Bytes of a binary message that a terminal is shown.
const PREVIEW: usize = 24;
/// Columns of the marks before what is shown.
const MARK: usize = 2;
const TAB: usize = 8;
const CYAN: &str = "\x1b[36m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

#[expect(clippy::struct_excessive_bools, reason = "independent facts, each asked by its name")]
pub(super) struct Output {
    json: bool,
    /// Binary messages are shown as they are.
    binary: bool,
    /// Standard output is a terminal: nothing raw.
    terminal: bool,
    /// A person types and reads here: marks and notes are welcome.
    chatty: bool,
    colour: bool,
    /// While a line is edited, all goes through the editor, which knows where the line is.
    editor: Option<ExternalPrinter<String>>,
    /// Whoever read the output has gone; nobody misses what comes.
    gone: bool,
}

impl Output {
    pub(super) fn new(json: bool, binary: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let chatty = terminal && io::stdin().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, binary, terminal, chatty, colour, editor: None, gone: false }
    }

    pub(super) fn is_chatty(&self) -> bool {
        self.chatty
    }

    pub(super) fn has_colour(&self) -> bool {
        self.colour
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn set_gone(&mut self) {
        self.gone = true;
    }

    pub(super) fn set_editor(&mut self, editor: Option<ExternalPrinter<String>>) {
        self.editor = editor;
    }

    /// A message, and nothing else unless it is asked for, goes to the output.
    pub(super) fn message(&mut self, message: &Message) -> io::Result<()> {
        if self.json {
            return self.event(&Event::message(message));
        }
        if self.terminal {
            let shown = self.shown(message);
            let colour = if message.is_text() { CYAN } else { DIM };
            return if self.chatty { self.marked('<', colour, &shown) } else { self.write(&[shown.as_bytes(), b"\n"]) };
        }
        let end: &[u8] = if message.is_binary() && self.binary { b"" } else { b"\n" };
        self.write(&[message.as_bytes(), end])
    }

    /// For `--json`; does nothing without.
    pub(super) fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        let json = serde_json::to_string(event)?;
        let json = escape::json(&json);
        if self.editor.is_some() { self.edited("", &json) } else { self.write(&[json.as_bytes(), b"\n"]) }
    }

    /// For people at a terminal.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        if self.chatty && !self.json { self.say(text) } else { Ok(()) }
    }

    /// For people, wherever they read: they asked.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        let text = escape::line(text);
        if self.editor.is_some() {
            return self.marked('*', DIM, &text);
        }
        // Nobody reads it: no reason to end.
        let _ = writeln!(io::stderr(), "* {text}");
        Ok(())
    }

    /// A message as a terminal may have it.
    fn shown(&self, message: &Message) -> String {
        match message {
            Message::Text(text) => escape::text(text).into_owned(),
            Message::Binary(bytes) if self.binary => escape::bytes(bytes),
            Message::Binary(bytes) => {
                let start = HEXLOWER.encode(&bytes[..bytes.len().min(PREVIEW)]);
                let more = if bytes.len() > PREVIEW { "..." } else { "" };
                format!("(binary, {} bytes) {start}{more}", bytes.len())
            }
        }
    }

    /// Shows text behind a mark, further lines of it indented: nothing a peer sends looks like a line of ours.
    fn marked(&mut self, mark: char, colour: &str, text: &str) -> io::Result<()> {
        let mark = if self.colour { format!("{colour}{mark}{RESET} ") } else { format!("{mark} ") };
        if self.editor.is_some() {
            return self.edited(&mark, text);
        }
        self.write(&[mark.as_bytes(), text.replace('\n', "\n  ").as_bytes(), b"\n"])
    }

    /// Hands lines to the editor, in pieces no wider than the screen: it counts rows.
    fn edited(&mut self, mark: &str, text: &str) -> io::Result<()> {
        let Some(editor) = &self.editor else { return Ok(()) };
        let indent = if mark.is_empty() { "" } else { "  " };
        let width = screen_width().saturating_sub(MARK + 1).max(MARK);
        let pieces = text.split('\n').flat_map(|line| pieces(line, width));
        for (mark, piece) in iter::once(mark).chain(iter::repeat(indent)).zip(pieces) {
            editor.print(format!("{mark}{piece}")).map_err(|_ended| io::Error::from(ErrorKind::BrokenPipe))?;
        }
        Ok(())
    }

    fn write(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        match parts.iter().try_for_each(|part| out.write_all(part)).and_then(|()| out.flush()) {
            // `sockeye connect URL | head -1` is no failure.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.gone = true,
            result => return result,
        }
        Ok(())
    }
}

fn screen_width() -> usize {
    let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
    if columns == 0 { 80 } else { usize::from(columns) }
}

/// Cuts a line into pieces of at most so many columns; one piece at least.
fn pieces(line: &str, width: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    iter::from_fn(move || {
        let line = rest?;
        let mut columns = 0;
        let end = line.char_indices().find_map(|(at, c)| {
            columns += if c == '\t' { TAB } else { c.width().unwrap_or(0) };
            (columns > width && at > 0).then_some(at)
        });
        let (piece, left) = end.map_or((line, None), |end| (&line[..end], Some(&line[end..])));
        rest = left;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_by_columns() {
        let cut = |line| pieces(line, 4).collect::<Vec<_>>();
        assert_eq!(cut(""), [""]);
        assert_eq!(cut("abcd"), ["abcd"]);
        assert_eq!(cut("abcdefghi"), ["abcd", "efgh", "i"]);
        assert_eq!(cut("日本語"), ["日本", "語"]);
        assert_eq!(cut("\t\t"), ["\t", "\t"]);
    }
}
