//! Strings as SockJS writes them.
use std::fmt::Write as _;

/// Appends a string of JSON in which all that some browser has ever mangled on its way is escaped.
pub(super) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            // As `JSON.stringify` has them, which the conformance test looks for.
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            _ if is_mangled(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // A `String` takes all.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Appends a string of JSON that is safe within a script in a page. What is mangled is escaped in it already.
pub(super) fn write_script_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '<' => out.push_str("\\u003c"),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Characters above U+FFFF leave as surrogates, which are in the table as well.
fn is_mangled(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}'
            | '\u{200c}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff0}'..
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        write_string(&mut out, text);
        out
    }

    /// The conformance test goes through U+00FF to U+FFFF; this one through all below, and some above.
    #[test]
    fn exactly_the_characters_of_the_table_are_escaped() {
        for character in ('\0'..='\u{ffff}').chain(('\u{10000}'..=char::MAX).step_by(991)) {
            let units =
                character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>();
            let escaped = units.concat();
            let code = u32::from(character);
            let is_in_table = code <= 0x1f
                || (0x200c..=0x200f).contains(&code)
                || (0x2028..=0x202f).contains(&code)
                || (0x2060..=0x206f).contains(&code)
                || (0xfff0..=0xffff).contains(&code)
                || code > 0xffff;
            let expected = match character {
                '"' => "\\\"".to_owned(),
                '\\' => "\\\\".to_owned(),
                '\u{8}' => "\\b".to_owned(),
                '\t' => "\\t".to_owned(),
                '\n' => "\\n".to_owned(),
                '\u{c}' => "\\f".to_owned(),
                '\r' => "\\r".to_owned(),
                _ if is_in_table => escaped,
                _ => character.to_string(),
            };
            let out = written(&character.to_string());
            assert_eq!(out, format!("\"{expected}\""), "U+{code:04X}");
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), character.to_string());
        }
    }

    #[test]
    fn astral_characters_leave_as_pairs() {
        assert_eq!(written("😀"), "\"\\ud83d\\ude00\"");
    }

    #[test]
    fn within_a_script_no_tag_can_begin() {
        let mut out = String::new();
        write_script_string(&mut out, r#"a["</script>"]"#);
        assert_eq!(out, r#""a[\"\u003c/script>\"]""#);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), r#"a["</script>"]"#);
    }
}
