//! All conversations of a place, by name.
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    time::{Duration, Instant},
};

use crate::Binding;

/// Bounds of what clients can open and try.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Conversations in all; 100,000.
    pub max_open: usize,
    /// Conversations of one binding, or of all that are [counted as](Binding::counted_as) one; 100.
    pub max_open_of_binding: u32,
    /// Names that one binding may get wrong within [`guess_window`](Self::guess_window); 60.
    pub max_guesses: u32,
    /// One minute.
    pub guess_window: Duration,
    /// Whether who has been wrong too often is not heard with a right name either, as a bound of guesses is for names that
    /// can be guessed; yes. With secret ones it only keeps away others of the same binding.
    pub stops_guessers: bool,
}

/// Conversations by name, whose they are, and when the next of them has something to do.
///
/// A name is a [`ConversationId`](crate::ConversationId), or what a SockJS client has chosen. Names that clients choose
/// are not secret enough to be all that is asked, so a conversation is found only by those who have its [`Binding`].
#[derive(Debug)]
pub struct Conversations<K, T> {
    limits: Limits,
    entries: HashMap<K, Entry<T>>,
    of_binding: BTreeMap<u64, u32>,
    due: BTreeSet<(Instant, K)>,
    guesses: Guesses,
}

#[derive(Debug)]
struct Entry<T> {
    binding: Binding,
    value: T,
    due: Option<Instant>,
}

/// Wrong names, counted in a table of fixed size: who shares a place in it shares a count, and nobody can make it
/// larger.
#[derive(Debug)]
struct Guesses {
    counts: Box<[u32]>,
    since: Option<Instant>,
}

const GUESS_COUNTS: usize = 4096;

/// What there is under a name.
#[derive(Debug)]
pub enum Found<'a, T> {
    /// A conversation of whoever asks.
    Yours(&'a mut T),
    /// One of somebody else.
    Theirs,
    /// Nothing.
    Nothing,
}

/// Why a conversation was not found. To the client the first two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is none of that name.
    Unknown,
    /// It is somebody else's.
    Theirs,
    /// Whoever asks has been wrong too often; what else there is to say is not said.
    TooManyGuesses,
}

/// Why a conversation was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The name is taken.
    Taken,
    /// There are too many in all.
    TooMany,
    /// There are too many of this binding.
    TooManyOfBinding,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_open: 100_000,
            max_open_of_binding: 100,
            max_guesses: 60,
            guess_window: Duration::from_secs(60),
            stops_guessers: true,
        }
    }
}

impl<K: Clone + Eq + Hash + Ord, T> Conversations<K, T> {
    /// None yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let guesses = Guesses { counts: vec![0; GUESS_COUNTS].into(), since: None };
        Self { limits, entries: HashMap::new(), of_binding: BTreeMap::new(), due: BTreeSet::new(), guesses }
    }

    /// Opens a conversation under a name.
    ///
    /// # Errors
    /// The name is taken, or there are too many.
    pub fn open(&mut self, name: K, binding: Binding, value: T) -> Result<&mut T, OpenError> {
        if self.entries.contains_key(&name) {
            return Err(OpenError::Taken);
        }
        if self.entries.len() >= self.limits.max_open {
            return Err(OpenError::TooMany);
        }
        let of_binding = self.of_binding.get(&binding.count_digest()).copied().unwrap_or_default();
        if of_binding >= self.limits.max_open_of_binding && !binding.is_many() {
            return Err(OpenError::TooManyOfBinding);
        }
        self.of_binding.insert(binding.count_digest(), of_binding.saturating_add(1));
        Ok(&mut self.entries.entry(name).or_insert(Entry { binding, value, due: None }).value)
    }

    /// What there is under a name, for endpoints that open what is not there.
    pub fn look(&mut self, name: &K, binding: &Binding) -> Found<'_, T> {
        match self.entries.get_mut(name) {
            Some(entry) if entry.binding == *binding => Found::Yours(&mut entry.value),
            Some(_) => Found::Theirs,
            None => Found::Nothing,
        }
    }

    /// The conversation of that name, for endpoints that need one. Wrong names are counted.
    ///
    /// # Errors
    /// There is none, or none for this binding.
    pub fn find(&mut self, now: Instant, name: &K, binding: &Binding) -> Result<&mut T, Missing> {
        let is_guesser = !binding.is_many() && self.guesses.are_too_many(now, binding, &self.limits);
        if is_guesser && self.limits.stops_guessers {
            return Err(Missing::TooManyGuesses);
        }
        // Looked up twice, since a reference that is returned on one path is borrowed on all.
        let missing = match self.entries.get(name) {
            Some(entry) if entry.binding == *binding => None,
            Some(_) => Some(Missing::Theirs),
            None => Some(Missing::Unknown),
        };
        if let Some(missing) = missing {
            self.guesses.count(binding);
            return Err(if is_guesser { Missing::TooManyGuesses } else { missing });
        }
        self.entries.get_mut(name).map(|entry| &mut entry.value).ok_or(Missing::Unknown)
    }

    /// The conversation of that name, whosever it is: for those who have it from us, not from a client.
    pub fn get(&mut self, name: &K) -> Option<&mut T> {
        self.entries.get_mut(name).map(|entry| &mut entry.value)
    }

    /// When the conversation of that name has something to do; `None` is never.
    pub fn schedule(&mut self, name: &K, due: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        if entry.due == due {
            return;
        }
        if let Some(before) = std::mem::replace(&mut entry.due, due) {
            self.due.remove(&(before, name.clone()));
        }
        if let Some(due) = due {
            self.due.insert((due, name.clone()));
        }
    }

    /// When the next of them has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// One that has something to do by now. It is not named again before it is scheduled again.
    pub fn next_due(&mut self, now: Instant) -> Option<K> {
        self.due.first().filter(|(due, _)| *due <= now)?;
        let (_, name) = self.due.pop_first()?;
        if let Some(entry) = self.entries.get_mut(&name) {
            entry.due = None;
        }
        Some(name)
    }

    /// Forgets a conversation.
    pub fn remove(&mut self, name: &K) -> Option<T> {
        self.schedule(name, None);
        let entry = self.entries.remove(name)?;
        let digest = entry.binding.count_digest();
        match self.of_binding.get_mut(&digest) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => drop(self.of_binding.remove(&digest)),
        }
        Some(entry.value)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Guesses {
    fn are_too_many(&mut self, now: Instant, binding: &Binding, limits: &Limits) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= limits.guess_window) {
            self.since = Some(now);
            self.counts.fill(0);
        }
        self.counts.get(place(binding)).is_some_and(|count| *count >= limits.max_guesses)
    }

    fn count(&mut self, binding: &Binding) {
        if let Some(count) = self.counts.get_mut(place(binding)) {
            *count = count.saturating_add(1);
        }
    }
}

fn place(binding: &Binding) -> usize {
    let [first, second, ..] = binding.count_digest().to_be_bytes();
    usize::from(u16::from_be_bytes([first, second])).checked_rem(GUESS_COUNTS).unwrap_or_default()
}
