//! Who somebody is and what they may do: the one place where a request meets the rules, on every path.
use std::sync::Arc;

use sockeye_hub::{Action, ChannelName, Failure, FailureCode};

pub(crate) use crate::auth::Principal;
use crate::{
    auth::{Request, Rules, ServerAction},
    dialect::{Credentials, ErrorCode, Problem},
};

/// What a client's credentials make of it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) principal: Principal,
    /// Whom others see.
    pub(crate) user: Option<Arc<str>>,
}

/// The rules of one server: those of its configuration, or without any that everybody who gets in may do everything but touch
/// the server's own channels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permit(Option<Rules>);

impl Permit {
    pub(crate) fn new(rules: Option<Rules>) -> Self {
        Self(rules)
    }

    /// Who shows this. Tokens will be read here.
    #[allow(clippy::unused_self, reason = "tokens will be read with keys that are kept here")]
    pub(crate) fn identify(&self, shown: &Credentials) -> Result<Identity, Problem> {
        match shown.token {
            None => Ok(Identity { principal: Principal::Anonymous, user: None }),
            Some(_) => Err(Problem::new(ErrorCode::Unauthorized, "this server takes no tokens")),
        }
    }

    /// Whether somebody may do something in a channel.
    pub(crate) fn authorize(&self, who: &Principal, action: Action, channel: &ChannelName) -> Result<(), Failure> {
        match &self.0 {
            Some(rules) => rules.authorize(who, Request::Channel(action, channel)).map_err(Failure::from),
            None if channel.is_reserved() && *who != Principal::Server => {
                Err(Failure::new(FailureCode::Forbidden, "channels that begin with $ are the server's own"))
            }
            None => Ok(()),
        }
    }

    /// Whether somebody may call the server's methods.
    pub(crate) fn may_call(&self, who: &Principal) -> Result<(), Failure> {
        let Some(rules) = &self.0 else { return Ok(()) };
        rules.authorize(who, Request::Server(ServerAction::Call)).map_err(Failure::from)
    }

    /// Changes whenever [`authorize`](Self::authorize) might decide otherwise than before: never, until rules can be changed
    /// while the server runs.
    #[allow(clippy::unused_self, reason = "the hub asks")]
    pub(crate) fn rules(&self) -> u64 {
        0
    }
}
