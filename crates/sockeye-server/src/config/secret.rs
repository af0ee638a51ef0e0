//! What is known to few, and shown to nobody.
use std::{fmt, path::PathBuf, sync::Arc};

use subtle::ConstantTimeEq;

/// Something that must not be seen: its `Debug` is `***`, and it has no `Display`.
///
/// ```
/// use sockeye_server::config::Secret;
/// let key = Secret::new("correct horse battery staple");
/// assert!(key.is("correct horse battery staple"));
/// assert_eq!(format!("{key:?}"), "***");
/// ```
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// What stands where a secret would.
    pub const HIDDEN: &'static str = "***";

    /// Keeps this text to itself.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether somebody has shown the secret. How long that takes depends on lengths only, not on how much of it was
    /// right.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::HIDDEN)
    }
}

/// Secrets that came from a file of their own: one a line, without those that are empty or begin with `#`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretsFile {
    /// Where they were read.
    pub path: PathBuf,
    /// What was there.
    pub secrets: Vec<Secret>,
}
