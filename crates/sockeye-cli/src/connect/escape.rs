//! What a peer wrote, made safe to show: nothing in it moves the cursor, changes colours, or turns the reading order round.
use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

/// Text for a terminal. Line ends and tabs stay; other control characters become visible.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_hostile(c) && c != '\n' && c != '\t')
}

/// Text for one line.
pub(super) fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_hostile)
}

/// Bytes for one line: what is UTF-8 as text, the rest as `\xff`.
pub(super) fn bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown.push_str(&line(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// JSON for a terminal and for pipes alike: what `serde_json` leaves as it is and a terminal would obey is written `\u009b`.
/// Such characters only stand inside of strings, where that means the same.
pub(super) fn json(json: &str) -> Cow<'_, str> {
    replace(json, |c| c != '\n' && is_hostile(c), |out, c| write!(out, "\\u{:04x}", u32::from(c)))
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    replace(text, is_escaped, |out, c| match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\0'..='\x7f' => write!(out, "\\x{:02x}", u32::from(c)),
        _ => write!(out, "\\u{{{:x}}}", u32::from(c)),
    })
}

fn replace(
    text: &str,
    is_replaced: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char) -> fmt::Result,
) -> Cow<'_, str> {
    if !text.contains(&is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_replaced(c) {
            let _ = write(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// C0 with ESC, DEL, C1 (some terminals take U+009B for ESC [), separators of lines, and the marks, embeddings, overrides
/// and isolates of the bidirectional algorithm.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_terminal_obeys_is_left() {
        assert_eq!(text("\x1b[2Jhi\x07\r\u{9b}31m\u{202e}abc\x7f"), "\\x1b[2Jhi\\x07\\r\\u{9b}31m\\u{202e}abc\\x7f");
        assert_eq!(text("two\n\tlines ä 🐟"), "two\n\tlines ä 🐟");
        assert_eq!(line("two\nlines"), "two\\nlines");
        assert_eq!(bytes(b"a\xff\x1bb"), "a\\xff\\x1bb");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let hostile = "\u{9b}31m\u{202e}\x7f";
        let json = serde_json::to_string(hostile).unwrap();
        assert!(json.contains('\u{9b}'));
        let escaped = super::json(&json);
        assert!(escaped.is_ascii(), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), hostile);
    }
}
