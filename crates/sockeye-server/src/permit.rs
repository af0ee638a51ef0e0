//! Who somebody is and what they may do: the one place where a request meets the rules, on every path.
use std::{sync::Arc, time::Duration};

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
    /// For how long; `None` is until it leaves.
    pub(crate) expires_in: Option<Duration>,
}

/// The rules of one server.
pub(crate) trait Permit: Send + Sync {
    /// Who shows this.
    fn identify(&self, shown: &Credentials) -> Result<Identity, Problem>;

    /// Whether somebody may do something in a channel. The hub asks on every path.
    fn authorize(&self, who: &Principal, action: Action, channel: &ChannelName) -> Result<(), Failure>;

    /// Whether somebody may call the program's handlers.
    fn may_call(&self, who: &Principal) -> Result<(), Problem>;

    /// Changes whenever [`authorize`](Self::authorize) might decide otherwise than before.
    fn rules(&self) -> u64;
}

/// The rules without a configuration: anybody may do everything in the channels that there are, and nobody has a token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Anybody;

impl Permit for Anybody {
    fn identify(&self, shown: &Credentials) -> Result<Identity, Problem> {
        match shown.token {
            None => Ok(Identity { principal: Principal::Anonymous, expires_in: None }),
            Some(_) => Err(Problem::new(ErrorCode::Unauthorized, "this server takes no tokens")),
        }
    }

    fn authorize(&self, who: &Principal, _: Action, channel: &ChannelName) -> Result<(), Failure> {
        if channel.is_reserved() && *who != Principal::Server {
            return Err(Failure::new(FailureCode::Forbidden, "channels that begin with $ are the server's own"));
        }
        Ok(())
    }

    fn may_call(&self, _: &Principal) -> Result<(), Problem> {
        Ok(())
    }

    fn rules(&self) -> u64 {
        0
    }
}

/// The rules of a configuration. Tokens will be read here.
#[derive(Clone, Debug)]
pub(crate) struct Configured(Rules);

impl Permit for Configured {
    fn identify(&self, shown: &Credentials) -> Result<Identity, Problem> {
        Anybody.identify(shown)
    }

    fn authorize(&self, who: &Principal, action: Action, channel: &ChannelName) -> Result<(), Failure> {
        self.0.authorize(who, Request::Channel(action, channel)).map_err(Failure::from)
    }

    fn may_call(&self, who: &Principal) -> Result<(), Problem> {
        self.0.authorize(who, Request::Server(ServerAction::Call)).map_err(|denied| Failure::from(denied).into())
    }

    fn rules(&self) -> u64 {
        // They do not change while the server runs.
        0
    }
}

/// Those of a configuration, or those without one.
pub(crate) fn of(rules: Option<Rules>) -> Arc<dyn Permit> {
    match rules {
        Some(rules) => Arc::new(Configured(rules)),
        None => Arc::new(Anybody),
    }
}
