//! What is wrong with a configuration, and where.
use std::{fmt, ops::Range, sync::Arc};

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is so by default.
    Default,
    /// In a file.
    File {
        /// Its name.
        file: Arc<str>,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// In a variable of the environment, of this name.
    Environment(String),
    /// On the command line, with this option.
    Flag(&'static str),
}

/// One thing that is wrong. What was given as a value is never repeated: it could be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// The key, with its section: `server.listen`. Empty where it is about none.
    pub key: String,
    /// What, and what would be right.
    pub message: String,
}

/// All that is wrong with a configuration: at least one mistake, each a line of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub(super) Vec<Mistake>);

impl Mistakes {
    /// Each of them, those of the file first and in the order of its lines.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl Place {
    /// Whether it is in one of these lines of a file.
    pub(super) fn is_in(&self, lines: &Range<usize>) -> bool {
        matches!(self, Self::File { line, .. } if lines.contains(line))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Environment(name) => write!(f, "environment: {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistake {}

impl std::error::Error for Mistakes {}

/// The text of a file, in which places are found.
pub(super) struct Text<'a> {
    file: Arc<str>,
    whole: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(super) fn new(file: &Arc<str>, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = [0].into_iter().chain(ends.map(|(index, _)| index + 1)).collect();
        Self { file: Arc::clone(file), whole: text, lines }
    }

    /// Line and column of where this begins.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let line = self.lines.partition_point(|start| *start <= span.start);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = self.whole.get(start..span.start).map_or(0, |before| before.chars().count()) + 1;
        Place::File { file: Arc::clone(&self.file), line, column }
    }

    /// The lines of which nothing can be said if this place is not TOML: its own, and below a header those up to the
    /// next.
    pub(super) fn spoilt_by(&self, place: &Place) -> Option<Range<usize>> {
        let Place::File { line, .. } = *place else { return None };
        let is_header = |line: &str| line.trim_start().starts_with('[');
        let mut from_here = self.whole.lines().skip(line - 1);
        let lines = match from_here.next() {
            Some(header) if is_header(header) => 1 + from_here.take_while(|line| !is_header(line)).count(),
            _ => 1,
        };
        Some(line..line + lines)
    }
}

/// A name that somebody wrote, fit for a terminal: control characters are shown, and it ends somewhere.
pub(super) fn shown(name: &str) -> String {
    const ENOUGH: usize = 64;
    let mut text: String = name.chars().take(ENOUGH).flat_map(char::escape_debug).collect();
    if name.chars().nth(ENOUGH).is_some() {
        text.push('…');
    }
    text
}
