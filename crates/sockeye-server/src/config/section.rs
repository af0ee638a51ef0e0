//! Sections and their keys: declared once, from which the types, the reader, the environment, the printed file and the
//! documentation follow.
use std::fmt;

use super::kind::{Given, Kind, Wrong};

/// A part of the configuration whose keys can be gone through.
pub(super) trait Section {
    /// What it is about, a line each.
    const ABOUT: &'static [&'static str];

    fn keys(&mut self) -> Vec<Key<'_>>;
}

/// One key, and the value it has in some configuration.
pub(super) struct Key<'a> {
    pub(super) name: &'static str,
    /// What it means, a line each.
    pub(super) doc: &'static [&'static str],
    slot: Box<dyn Slot + 'a>,
}

impl<'a> Key<'a> {
    pub(super) fn new<K>(name: &'static str, doc: &'static [&'static str], value: &'a mut K::Value, kind: K) -> Self
    where
        K: Kind + fmt::Display + 'a,
    {
        Self { name, doc, slot: Box::new(Typed { value, kind }) }
    }

    /// Takes a value; one that cannot be taken changes nothing.
    pub(super) fn take(&mut self, given: Given<'_>) -> Result<(), Wrong> {
        self.slot.take(given)
    }

    /// The value as it stands in a file, secrets hidden; `None` if there is none.
    pub(super) fn value(&self) -> Option<String> {
        self.slot.value()
    }

    /// What stands in a file where there is no value, behind `#`.
    pub(super) fn example(&self) -> &'static str {
        self.slot.example()
    }

    /// Which values can be taken.
    pub(super) fn allowed(&self) -> String {
        self.slot.allowed()
    }
}

trait Slot {
    fn take(&mut self, given: Given<'_>) -> Result<(), Wrong>;
    fn value(&self) -> Option<String>;
    fn example(&self) -> &'static str;
    fn allowed(&self) -> String;
}

struct Typed<'a, K: Kind> {
    value: &'a mut K::Value,
    kind: K,
}

impl<K: Kind + fmt::Display> Slot for Typed<'_, K> {
    fn take(&mut self, given: Given<'_>) -> Result<(), Wrong> {
        *self.value = self.kind.read(given)?;
        Ok(())
    }

    fn value(&self) -> Option<String> {
        self.kind.write(self.value)
    }

    fn example(&self) -> &'static str {
        self.kind.example()
    }

    fn allowed(&self) -> String {
        self.kind.to_string()
    }
}

/// Declares a section: `name: type = default, kind;` for each key, with its documentation above it.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $Section:ident {
            $( $(#[doc = $doc:literal])+ pub $key:ident: $type:ty = $default:expr, $kind:expr; )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $Section {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nDefault: `", stringify!($default), "`.")]
                pub $key: $type,
            )+
        }

        impl Default for $Section {
            fn default() -> Self {
                Self { $( $key: $default, )+ }
            }
        }

        impl Section for $Section {
            const ABOUT: &'static [&'static str] = &[$($about),+];

            fn keys(&mut self) -> Vec<Key<'_>> {
                vec![$( Key::new(stringify!($key), &[$($doc),+], &mut self.$key, $kind), )+]
            }
        }
    };
}

pub(super) use section;
