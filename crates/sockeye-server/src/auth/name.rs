//! Names of channels: stands in for `sockeye_hub::ChannelName`, whose interface it has, until the crates are joined.
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// The name of a channel: 1 to 255 bytes of UTF-8 without control characters, white space or any of `*`, `#`, `>`, `+`, `?`.
///
/// What stands before the first `:` is its namespace. A name that begins with `$` is the server's own. This is the one parser
/// of names, for every path.
///
/// ```
/// use sockeye_server::auth::ChannelName;
/// let name: ChannelName = "chat:lobby:1".parse()?;
/// assert_eq!(name.namespace(), Some("chat"));
/// assert!("chat:*".parse::<ChannelName>().is_err());
/// # Ok::<(), sockeye_server::auth::BadName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// A text that names no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadName {
    /// It is empty.
    Empty,
    /// It is longer than 255 bytes.
    TooLong,
    /// It has a character that is not allowed.
    Character(char),
}

impl ChannelName {
    /// Bytes of the longest name.
    pub const MAX_LEN: usize = 255;

    /// Checks a name.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(BadName::TooLong);
        }
        match text.chars().find(|&character| !is_allowed(character)) {
            Some(character) => Err(BadName::Character(character)),
            None => Ok(Self(text.into())),
        }
    }

    /// What stands before the first `:`; `None` if there is none.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.0.split_once(':').map(|(namespace, _)| namespace)
    }

    /// Whether it is one of the server's own, which begin with `$`.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_allowed(character: char) -> bool {
    !character.is_control() && !character.is_whitespace() && !is_invisible(character) && !"*#>+?".contains(character)
}

/// Characters that look like none, with which one name could pass for another.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

impl FromStr for ChannelName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::parse(text)
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name of a channel is empty"),
            Self::TooLong => write!(f, "the name of a channel is longer than {} bytes", ChannelName::MAX_LEN),
            Self::Character(character) => write!(f, "the name of a channel may not have {character:?}"),
        }
    }
}

impl std::error::Error for BadName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not() {
        for bad in
            ["", " ", "a b", "a\n", "a\r\nb", "a\0", "a*", "a>", "#a", "a+", "a?", "a\u{a0}b", "a\u{200b}", "a\u{85}"]
        {
            assert!(ChannelName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ChannelName::parse(&"a".repeat(256)), Err(BadName::TooLong));
        assert_eq!(ChannelName::parse(&"ä".repeat(128)), Err(BadName::TooLong), "bytes, not characters");
    }

    #[test]
    fn the_namespace_ends_at_the_first_colon() {
        let namespace = |name: &str| ChannelName::parse(name).unwrap().namespace().map(str::to_owned);
        assert_eq!(namespace("lobby"), None);
        assert_eq!(namespace("chat:a:b"), Some("chat".into()));
        assert_eq!(namespace(":a"), Some(String::new()));
        assert!(ChannelName::parse(&"a".repeat(255)).is_ok());
        assert!(ChannelName::parse("$news").unwrap().is_reserved());
    }
}
