//! Histories from files: lines to records, several files to one order.

use std::collections::VecDeque;
use std::fmt;
use std::io::BufRead;

use crate::history::{Record, Seen};

/// Records of several sources, each in its own order, by time. Within a millisecond causes come first.
///
/// ```
/// use sockeye_judge::{Judge, Merge, Rules};
///
/// let file = br#"{"at":1,"actor":0,"what":"restart"}"#;
/// let mut judge = Judge::new(Rules::default());
/// for record in Merge::new(vec![("one".to_owned(), &file[..])]) {
///     judge.see(&record?);
/// }
/// assert!(judge.finish().is_clean());
/// # Ok::<(), sockeye_judge::ReadError>(())
/// ```
#[derive(Debug)]
pub struct Merge<R> {
    sources: Vec<Source<R>>,
    failed: VecDeque<ReadError>,
}

#[derive(Debug)]
struct Source<R> {
    name: String,
    from: R,
    line: u64,
    buffer: String,
    head: Option<Record>,
}

/// A line that is no record, or could not be read.
#[derive(Debug)]
pub struct ReadError {
    source: String,
    line: u64,
    text: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, line, text } = self;
        write!(f, "{source}:{line}: {text}")
    }
}

impl std::error::Error for ReadError {}

impl<R: BufRead> Merge<R> {
    /// Of sources with their names.
    #[must_use]
    pub fn new(sources: Vec<(String, R)>) -> Self {
        let source = |(name, from)| Source { name, from, line: 0, buffer: String::new(), head: None };
        let mut merge = Self { sources: sources.into_iter().map(source).collect(), failed: VecDeque::new() };
        for index in 0..merge.sources.len() {
            merge.advance(index);
        }
        merge
    }

    fn advance(&mut self, index: usize) -> Option<Record> {
        let source = self.sources.get_mut(index)?;
        let taken = source.head.take();
        match source.read() {
            Ok(head) => source.head = head,
            Err(error) => self.failed.push_back(error),
        }
        taken
    }
}

impl<R: BufRead> Iterator for Merge<R> {
    type Item = Result<Record, ReadError>;

    /// The next record. After an error its source is not read any further.
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.pop_front() {
            return Some(Err(error));
        }
        let heads = self.sources.iter().enumerate();
        let heads = heads.filter_map(|(index, source)| Some((index, source.head.as_ref()?)));
        let (index, _) = heads.min_by_key(|(_, head)| (head.at, rank(&head.what)))?;
        self.advance(index).map(Ok)
    }
}

impl<R: BufRead> Source<R> {
    fn read(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let read = self.from.read_line(&mut self.buffer);
            if read.map_err(|error| self.error(&error))? == 0 {
                return Ok(None);
            }
            if !self.buffer.trim().is_empty() {
                return serde_json::from_str(&self.buffer).map(Some).map_err(|error| self.error(&error));
            }
        }
    }

    fn error(&self, error: &impl ToString) -> ReadError {
        ReadError { source: self.name.clone(), line: self.line, text: error.to_string() }
    }
}

/// Of what happens within one millisecond, what goes first: a restart, then what is asked for, then what is seen; that all is
/// quiet comes last.
fn rank(what: &Seen) -> u8 {
    match what {
        Seen::Restart => 0,
        Seen::Publishing { .. } | Seen::Subscribing { .. } | Seen::ReadingHistory { .. } | Seen::Granted { .. } => 1,
        Seen::Settled => 3,
        _ => 2,
    }
}
