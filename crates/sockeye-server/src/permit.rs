//! Who somebody is and what they may do: the one place where a request meets the rules, on every path.
use std::{sync::Arc, time::Duration};

use sockeye_hub::{Action, ChannelName, Failure, FailureCode};

use crate::dialect::{Credentials, ErrorCode, Problem};

/// Who a session is, as far as permission goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Somebody who has shown nothing.
    Anonymous,
    /// Somebody who has shown who they are.
    #[allow(dead_code, reason = "the defaults take no tokens")]
    User(Arc<str>),
    /// The server itself: its demos, and who has its key.
    #[allow(dead_code, reason = "what publishes over HTTP is it")]
    Server,
}

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

impl Principal {
    /// Whom others see; `None` is anonymous.
    pub(crate) fn user(&self) -> Option<Arc<str>> {
        match self {
            Self::User(user) => Some(Arc::clone(user)),
            Self::Anonymous | Self::Server => None,
        }
    }
}
