//! Who somebody is, as far as permission goes.
use std::sync::Arc;

use crate::config::Secret;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A client that has not said who it is.
    Anonymous,
    /// A client that is somebody. What its token grants or takes away beyond the namespace's options will be here,
    /// with its expiry.
    User(UserId),
    /// Somebody's server, by a key of the API. What a key is confined to will be here.
    ApiKey(KeyId),
    /// This server itself, such as its demos.
    Server,
}

impl Principal {
    /// Whom others see; nobody, for all who are not users.
    #[must_use]
    pub fn user(&self) -> Option<Arc<str>> {
        match self {
            Self::User(UserId(name)) => Some(Arc::clone(name)),
            Self::Anonymous | Self::ApiKey(_) | Self::Server => None,
        }
    }
}

/// A user's name, as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserId(Arc<str>);

/// Which of the keys of the API, counted from 0 as [`Config::api_keys`](crate::config::Config::api_keys) does. Never
/// the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub usize);

impl KeyId {
    /// Which of these keys somebody has shown. All of them are compared, so the time does not tell which it was, nor
    /// how near a wrong one came (attack F23).
    ///
    /// ```
    /// use sockeye_server::{auth::KeyId, config::Sources};
    /// let text = "[api]\nenabled = true\nkeys = [\"0123456789abcdef\", \"correct-horse-battery\"]\n";
    /// let loaded = Sources::new().text("sockeye.toml", text).load()?;
    /// assert_eq!(KeyId::find(loaded.config.api_keys(), "correct-horse-battery"), Some(KeyId(1)));
    /// assert_eq!(KeyId::find(loaded.config.api_keys(), "correct-horse-batterz"), None);
    /// # Ok::<(), sockeye_server::config::Mistakes>(())
    /// ```
    pub fn find<'a>(keys: impl Iterator<Item = &'a Secret>, shown: &str) -> Option<Self> {
        keys.enumerate().fold(None, |found, (index, key)| if key.is(shown) { Some(Self(index)) } else { found })
    }
}

impl UserId {
    /// Bytes of the longest.
    pub const MAX_LEN: usize = 255;

    /// Takes a name of 1 to 255 bytes without control characters (attack F19); `None` for any other.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_one = !text.is_empty() && text.len() <= Self::MAX_LEN && !text.contains(char::is_control);
        is_one.then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
