//! The ways on which requests come.
use tracing::debug;

use super::{Denied, Principal, Request, Rules};

/// A way on which requests come. Which one it is decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// A client's WebSocket, in whichever dialect.
    WebSocket,
    /// The HTTP API for servers.
    HttpApi,
    /// The live page.
    Page,
    /// A demo on the hub.
    Demo,
}

impl Path {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::WebSocket, Self::HttpApi, Self::Page, Self::Demo];
}

/// The rules, as somebody meets them who comes a certain way: every transport has one and asks it before it does
/// anything.
#[derive(Clone, Debug)]
pub struct Door {
    rules: Rules,
    path: Path,
}

impl Door {
    pub(super) fn new(rules: Rules, path: Path) -> Self {
        Self { rules, path }
    }

    /// [`Rules::authorize`]; a refusal is put down with the way it came.
    ///
    /// # Errors
    /// If it is not allowed, with what to answer.
    pub fn authorize(&self, who: &Principal, request: Request<'_>) -> Result<(), Denied> {
        self.rules.authorize(who, request).inspect_err(|denied| {
            debug!(path = ?self.path, code = denied.code.as_str(), "refused: {}", denied.message);
        })
    }
}
