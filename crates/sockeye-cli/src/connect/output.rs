//! What is shown, where, and how: raw to a pipe, escaped to a terminal, or as JSON.
use std::{
    io::{self, ErrorKind, IsTerminal},
    iter,
};

use data_encoding::HEXLOWER;
use liso::{Color, Line, OutputOnly, Style};
use sockeye::Message;
use unicode_width::UnicodeWidthChar;

use super::{
    escape,
    event::Event,
    writer::{self, Stream, Writer, Written},
};

/// Bytes of a binary message that a terminal is shown.
const PREVIEW: usize = 24;
/// Columns of the marks before what is shown.
const MARK: usize = 2;
const TAB: usize = 8;
/// No more is received while this much waits for the screen, or for who reads a pipe.
const UNSHOWN: usize = 256 * 1024;
/// What a line costs while it waits, however short it is.
const LINE: usize = 256;
/// Bytes of a message that a person is shown; whoever wants more has no eyes.
const SHOWN: usize = 64 * 1024;

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
    /// Otherwise, while there is somebody to wait for it, through a thread.
    writer: Option<Writer>,
    /// What either was given and has not shown yet, each line with its cost.
    unshown: usize,
    /// Whoever read the output has gone; nobody misses what comes.
    gone: bool,
}

impl Output {
    pub(super) fn new(json: bool, binary: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let chatty = terminal && io::stdin().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, binary, terminal, chatty, colour, editor: None, writer: None, unshown: 0, gone: false }
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
        self.unshown = 0;
    }

    pub(super) fn set_editor(&mut self, editor: Option<OutputOnly>) {
        self.editor = editor;
        self.unshown = 0;
    }

    /// From now on a thread writes, and tells when it has.
    pub(super) fn write_behind(&mut self) -> Written {
        let (writer, written) = Writer::start();
        self.writer = Some(writer);
        written
    }

    /// From now on what is said is written when this returns. What the thread still has is its own affair.
    pub(super) fn write_through(&mut self) {
        self.writer = None;
        self.unshown = 0;
    }

    /// Whether the thread has something to write yet.
    pub(super) fn is_behind(&self) -> bool {
        self.writer.is_some() && self.unshown > 0
    }

    /// What costs so much has been shown.
    pub(super) fn shown(&mut self, cost: usize) {
        self.unshown = self.unshown.saturating_sub(cost);
    }

    /// Whether the terminal, or the pipe's reader, keeps up.
    pub(super) fn has_room(&self) -> bool {
        self.unshown < UNSHOWN
    }

    /// A message, and nothing else unless it is asked for, goes to the output.
    pub(super) fn message(&mut self, message: &Message) -> io::Result<()> {
        if self.json {
            return self.event(&Event::message(message));
        }
        if self.terminal && self.chatty {
            return self.show(message);
        }
        if self.terminal {
            return self.write(&[self.safe(message, usize::MAX).as_bytes(), b"\n"]);
        }
        let end: &[u8] = if message.is_binary() && self.binary { b"" } else { b"\n" };
        self.write(&[message.as_bytes(), end])
    }

    /// A message, or the start of it, for a person.
    fn show(&mut self, message: &Message) -> io::Result<()> {
        let mark = if message.is_text() { Mark::Text } else { Mark::Binary };
        self.marked(mark, &self.safe(message, SHOWN))?;
        if message.len() > SHOWN && (message.is_text() || self.binary) {
            self.say(&format!("the start of {} bytes: a pipe gets all of them", message.len()));
        }
        Ok(())
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
            let _ = self.put(Stream::Error, &[b"* ", text.as_bytes(), b"\n"]);
        }
    }

    /// A message, or so many bytes of it, as a terminal may have it.
    fn safe(&self, message: &Message, most: usize) -> String {
        match message {
            Message::Text(text) => escape::text(start_of(text, most)).into_owned(),
            Message::Binary(bytes) if self.binary => escape::bytes(&bytes[..bytes.len().min(most)]),
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
        let mut cost = 0;
        for (n, piece) in text.split('\n').flat_map(|line| pieces(line, width)).enumerate() {
            let mut line = Line::new();
            match mark {
                Some(mark) if n == 0 => self.sign(&mut line, mark),
                Some(_) => drop(line.add_text("  ")),
                None => {}
            }
            line.add_text(piece);
            editor.println(line);
            cost += piece.len() + LINE;
        }
        // It comes back when what was said before it has been shown.
        self.unshown += cost;
        editor.send_custom(cost);
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
        self.put(Stream::Output, parts).or_else(|error| self.failed(error))
    }

    /// Writing has failed.
    pub(super) fn failed(&mut self, error: io::Error) -> io::Result<()> {
        if error.kind() != ErrorKind::BrokenPipe {
            return Err(error);
        }
        // `sockeye connect URL | head -1` is no failure.
        self.set_gone();
        Ok(())
    }

    fn put(&mut self, stream: Stream, parts: &[&[u8]]) -> io::Result<()> {
        let bytes = parts.concat();
        let Some(writer) = &self.writer else { return writer::write(stream, &bytes) };
        let cost = bytes.len() + LINE;
        self.unshown += cost;
        writer.write(stream, bytes, cost);
        Ok(())
    }
}

fn screen_width() -> usize {
    let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
    if columns == 0 { 80 } else { usize::from(columns) }
}

/// The start of a text, of so many bytes or a few less.
fn start_of(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
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
    fn a_start_ends_between_characters() {
        assert_eq!(start_of("日本", 5), "日");
        assert_eq!(start_of("日本", 6), "日本");
        assert_eq!(start_of("日本", usize::MAX), "日本");
        assert_eq!(start_of("日本", 2), "");
    }

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
