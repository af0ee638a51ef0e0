//! What is shown, where, and how: raw to a pipe, escaped to a terminal, or as JSON.
use std::{
    io::{self, ErrorKind, IsTerminal, Write},
    iter,
};

use data_encoding::HEXLOWER;
use liso::{Color, Line, OutputOnly, Style};
use sockeye::Message;
use unicode_width::UnicodeWidthChar;

use super::{escape, event::Event};

/// Bytes of a binary message that a terminal is shown.
const PREVIEW: usize = 24;
/// Columns of the marks before what is shown.
const MARK: usize = 2;
const TAB: usize = 8;
/// No more is received while this much waits for the screen.
const UNSHOWN: usize = 256 * 1024;

/// What stands before a line at a terminal, and tells who says it.
#[derive(Clone, Copy)]
enum Mark {
    Text,
    Binary,
    Note,
}

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
    editor: Option<OutputOnly>,
    /// Bytes the editor was given and has not shown yet.
    unshown: usize,
    /// Whoever read the output has gone; nobody misses what comes.
    gone: bool,
}

impl Output {
    pub(super) fn new(json: bool, binary: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let chatty = terminal && io::stdin().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, binary, terminal, chatty, colour, editor: None, unshown: 0, gone: false }
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

    pub(super) fn set_editor(&mut self, editor: Option<OutputOnly>) {
        self.editor = editor;
        self.unshown = 0;
    }

    /// The editor has shown what these bytes were.
    pub(super) fn shown(&mut self, bytes: usize) {
        self.unshown = self.unshown.saturating_sub(bytes);
    }

    /// Whether the terminal keeps up.
    pub(super) fn has_room(&self) -> bool {
        self.unshown < UNSHOWN
    }

    /// A message, and nothing else unless it is asked for, goes to the output.
    pub(super) fn message(&mut self, message: &Message) -> io::Result<()> {
        if self.json {
            return self.event(&Event::message(message));
        }
        if self.terminal {
            let shown = self.safe(message);
            let mark = if message.is_text() { Mark::Text } else { Mark::Binary };
            return if self.chatty { self.marked(mark, &shown) } else { self.write(&[shown.as_bytes(), b"\n"]) };
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
        if self.edited(None, &json) { Ok(()) } else { self.write(&[json.as_bytes(), b"\n"]) }
    }

    /// For people at a terminal.
    pub(super) fn note(&mut self, text: &str) {
        if self.chatty && !self.json {
            self.say(text);
        }
    }

    /// For people, wherever they read: they asked.
    pub(super) fn say(&mut self, text: &str) {
        let text = escape::line(text);
        if !self.edited(Some(Mark::Note), &text) {
            // Nobody reads it: no reason to end.
            let _ = writeln!(io::stderr(), "* {text}");
        }
    }

    /// A message as a terminal may have it.
    fn safe(&self, message: &Message) -> String {
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

    /// What was typed, as it stays on the screen.
    pub(super) fn echo(&self, line: &str) {
        if let Some(editor) = &self.editor {
            editor.echoln(format!("> {}", escape::line(line)));
        }
    }

    /// Shows text behind a mark, further lines of it indented: nothing a peer sends looks like a line of ours.
    fn marked(&mut self, mark: Mark, text: &str) -> io::Result<()> {
        if self.edited(Some(mark), text) {
            return Ok(());
        }
        let sign = match (mark, self.colour) {
            (Mark::Note, _) => "* ",
            (_, false) => "< ",
            (Mark::Text, true) => "\x1b[36m<\x1b[0m ",
            (Mark::Binary, true) => "\x1b[35m<\x1b[0m ",
        };
        self.write(&[sign.as_bytes(), text.replace('\n', "\n  ").as_bytes(), b"\n"])
    }

    /// Hands text to the editor, if there is one, in pieces no wider than the screen, so that those after the first can be
    /// indented.
    fn edited(&mut self, mark: Option<Mark>, text: &str) -> bool {
        let Some(editor) = &self.editor else { return false };
        let width = screen_width().saturating_sub(MARK).max(MARK);
        for (n, piece) in text.split('\n').flat_map(|line| pieces(line, width)).enumerate() {
            let mut line = Line::new();
            match mark {
                Some(mark) if n == 0 => self.sign(&mut line, mark),
                Some(_) => drop(line.add_text("  ")),
                None => {}
            }
            line.add_text(piece);
            editor.println(line);
        }
        // It comes back when what was said before it has been shown.
        self.unshown += text.len();
        editor.send_custom(text.len());
        true
    }

    fn sign(&self, line: &mut Line, mark: Mark) {
        let (sign, colour) = match mark {
            Mark::Text => ("<", Some(Color::Cyan)),
            Mark::Binary => ("<", Some(Color::Magenta)),
            Mark::Note => ("*", Some(Color::Yellow)),
        };
        if self.colour {
            line.set_fg_color(colour);
        }
        line.add_text(sign).set_style(Style::PLAIN).set_fg_color(None).add_text(" ");
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
