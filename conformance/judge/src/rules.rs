//! What was promised, where the promise has a choice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a history is judged by. As JSON every field may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// How long after a `revoked` something may still come that was on its way. 1 s.
    pub grace_ms: u64,
    /// How long a key stands for one entry. Five minutes.
    pub key_window_ms: u64,
    /// Whether only what was granted is allowed. If not, all is that was not revoked.
    pub closed: bool,
    /// Whether records of the same millisecond are in the order in which it happened. Not so if several programs recorded.
    pub one_recorder: bool,
    /// For channels of no namespace below.
    pub channels: ChannelRules,
    /// By the part of the channel's name before the first `:`.
    pub namespaces: BTreeMap<String, ChannelRules>,
    /// So many anomalies are described, the others counted. 1,000.
    pub max_anomalies: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            grace_ms: 1_000,
            key_window_ms: 300_000,
            closed: false,
            one_recorder: true,
            channels: ChannelRules::default(),
            namespaces: BTreeMap::new(),
            max_anomalies: 1_000,
        }
    }
}

impl Rules {
    /// With these rules for the channels of a namespace.
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>, rules: ChannelRules) -> Self {
        self.namespaces.insert(name.into(), rules);
        self
    }

    pub(crate) fn of(&self, channel: &str) -> ChannelRules {
        let namespace = channel.split_once(':').map_or("", |(namespace, _)| namespace);
        self.namespaces.get(namespace).copied().unwrap_or(self.channels)
    }
}

/// What is promised of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelRules {
    /// When a channel may begin a new epoch.
    pub epochs: Epochs,
    /// So many of the last publications are certainly held: set it only where neither age nor bytes limit the history.
    pub keeps: Option<u64>,
}

/// When a channel may begin a new epoch, and so lose what it held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Epochs {
    /// Never: what was acknowledged is on disk.
    Fixed,
    /// Once for each `restart` in the history: it is in memory.
    #[default]
    AtRestart,
    /// Whenever it likes: idle channels are forgotten, say.
    Free,
}
