//! Who somebody is and what they may do: the one place where a request meets the rules, on every path.
use std::sync::Arc;

use sockeye_hub::{Action, ChannelName, Failure, FailureCode};

use crate::dialect::{Credentials, ErrorCode, Problem};

/// Who a session is, as far as permission goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Somebody who has shown nothing.
    Anonymous,
    /// The server itself: its demos, and who has its key.
    #[allow(dead_code, reason = "what publishes over HTTP is it")]
    Server,
}

impl Principal {
    /// Whom others see; `None` is anonymous.
    pub(crate) fn user(&self) -> Option<Arc<str>> {
        match self {
            Self::Anonymous | Self::Server => None,
        }
    }
}

/// What a client's credentials make of it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) principal: Principal,
    /// Whom others see.
    pub(crate) user: Option<Arc<str>>,
}

/// The rules of one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permit;

#[allow(clippy::unused_self, reason = "the defaults look at no configuration")]
impl Permit {
    /// Who shows this.
    pub(crate) fn identify(&self, shown: &Credentials) -> Result<Identity, Problem> {
        match shown.token {
            None => Ok(Identity { principal: Principal::Anonymous, user: None }),
            Some(_) => Err(Problem::new(ErrorCode::Unauthorized, "this server takes no tokens")),
        }
    }

    /// Whether somebody may do something.
    pub(crate) fn authorize(&self, who: &Principal, _action: Action, channel: &ChannelName) -> Result<(), Failure> {
        if channel.is_reserved() && *who != Principal::Server {
            return Err(Failure::new(FailureCode::Forbidden, "channels that begin with $ are the server's own"));
        }
        Ok(())
    }

    /// Changes whenever [`authorize`](Self::authorize) might decide otherwise than before.
    pub(crate) fn rules(&self) -> u64 {
        0
    }
}
