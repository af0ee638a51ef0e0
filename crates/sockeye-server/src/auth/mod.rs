//! Who may do what: one function decides, on every path.
//!
//! [`Rules::authorize`] is a pure function of who asks, what for, and the options of the channel's namespace. It does not know
//! which way somebody came: WebSocket, the HTTP API, a page or a demo has a [`Door`] to it, which is all that differs. What each
//! cell of that table is stands in `tests/authorize.txt`, written by hand.
//!
//! In the order in which it is asked:
//!
//! 1. A name that begins with `$` is the server's own: to others everything there is `forbidden`.
//! 2. A channel whose namespace is not configured does not exist, for nobody: `bad_channel`. That tells which namespaces there
//!    are, which is no secret; it does not tell what is in them.
//! 3. Whoever may not: `unauthorized` if it would help to say who one is, else `forbidden`. Who may not subscribe may not read
//!    either, whatever the other keys say; for the API and the server only the key of the action itself counts.
//! 4. What the channel does not have, history or presence: `bad_request`, and only to those who may know.
mod door;
mod principal;

pub use door::{Door, Path};
pub use principal::{KeyId, Principal, UserId};

use std::sync::Arc;

pub use sockeye_hub::{Action, BadName, ChannelName};
use sockeye_hub::{Failure, FailureCode};

use crate::config::{Anonymous, Config, NamespaceOptions, NamespaceTable, Who};

/// What somebody wants of the server, in no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerAction {
    /// Call a method.
    Call,
    /// End somebody's sessions.
    Disconnect,
    /// See which channels there are.
    ListChannels,
}

/// What is asked for: something in a channel, or of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// In this channel.
    Channel(Action, &'a ChannelName),
    /// In none.
    Server(ServerAction),
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// For programs.
    pub code: DeniedCode,
    /// For people. It repeats nothing of what was asked.
    pub message: &'static str,
}

/// The codes of docs/protocol.md that a refusal can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeniedCode {
    /// It would help to say who one is.
    Unauthorized,
    /// It is not allowed.
    Forbidden,
    /// There is no such channel.
    BadChannel,
    /// The channel has nothing like it.
    BadRequest,
}

impl DeniedCode {
    /// As it stands in the protocol.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::BadChannel => "bad_channel",
            Self::BadRequest => "bad_request",
        }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let code = match denied.code {
            DeniedCode::Unauthorized => FailureCode::Unauthorized,
            DeniedCode::Forbidden => FailureCode::Forbidden,
            DeniedCode::BadChannel => FailureCode::BadChannel,
            DeniedCode::BadRequest => FailureCode::BadRequest,
        };
        Self::new(code, denied.message)
    }
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Denied {}

/// The rules of one server.
///
/// ```
/// use sockeye_server::{auth::{Action, Principal, Request, Rules}, config::Sources};
/// let loaded = Sources::new().text("sockeye.toml", "[namespaces.news]\npublish = \"server\"\nanonymous = \"subscribe\"\n").load()?;
/// let rules = Rules::new(&loaded.config);
/// let channel = Rules::channel("news:today")?;
/// assert!(rules.authorize(&Principal::Anonymous, Request::Channel(Action::Subscribe, &channel)).is_ok());
/// let denied = rules.authorize(&Principal::Anonymous, Request::Channel(Action::Publish, &channel)).unwrap_err();
/// assert_eq!(denied.code.as_str(), "forbidden");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rules(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    namespaces: NamespaceTable,
    is_local: bool,
    anonymous_calls: bool,
}

impl Rules {
    /// Those of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let is_local = config.is_local();
        let anonymous_calls = config.calls.anonymous.holds(is_local);
        Self(Arc::new(Inner { namespaces: config.namespaces.clone(), is_local, anonymous_calls }))
    }

    /// These rules, for those who come this way.
    #[must_use]
    pub fn door(&self, path: Path) -> Door {
        Door::new(self.clone(), path)
    }

    /// The one way from a text that somebody sent to a channel.
    ///
    /// # Errors
    /// `bad_channel`, if it is no name.
    pub fn channel(text: &str) -> Result<ChannelName, Denied> {
        ChannelName::parse(text).map_err(|_| {
            let message =
                "a channel's name has 1 to 255 bytes without white space, control characters or any of * # > + ?";
            Denied { code: DeniedCode::BadChannel, message }
        })
    }

    /// Decides.
    ///
    /// # Errors
    /// If it is not allowed, with what to answer.
    pub fn authorize(&self, who: &Principal, request: Request<'_>) -> Result<(), Denied> {
        match request {
            Request::Server(action) => self.serve(who, action),
            Request::Channel(_, name) if name.is_reserved() => match who {
                Principal::Server => Ok(()),
                Principal::Anonymous | Principal::User(_) | Principal::ApiKey(_) => {
                    Err(forbidden("channels that begin with $ are the server's own"))
                }
            },
            Request::Channel(action, name) => match self.0.namespaces.get(name.namespace()) {
                Some(options) => self.permit(who, action, options).and_then(|()| has(action, options)),
                None => Err(Denied { code: DeniedCode::BadChannel, message: "there is no such namespace" }),
            },
        }
    }

    fn serve(&self, who: &Principal, action: ServerAction) -> Result<(), Denied> {
        match (action, who) {
            (_, Principal::ApiKey(_) | Principal::Server) | (ServerAction::Call, Principal::User(_)) => Ok(()),
            (ServerAction::Call, Principal::Anonymous) if self.0.anonymous_calls => Ok(()),
            (ServerAction::Call, Principal::Anonymous) => Err(unauthorized()),
            (ServerAction::Disconnect | ServerAction::ListChannels, Principal::Anonymous | Principal::User(_)) => {
                Err(forbidden("only servers may, by the API"))
            }
        }
    }

    fn permit(&self, who: &Principal, action: Action, options: &NamespaceOptions) -> Result<(), Denied> {
        let named = match action {
            // A member is a subscriber who is seen.
            Action::Subscribe | Action::Join => options.subscribe,
            Action::Publish => options.publish,
            Action::CatchUp | Action::History => options.history_read,
            Action::Presence => options.presence_read,
        };
        let is_read = matches!(action, Action::CatchUp | Action::History | Action::Presence);
        let admits_clients = named == Who::Clients && (!is_read || options.subscribe == Who::Clients);
        match who {
            Principal::ApiKey(_) | Principal::Server if named != Who::Nobody => Ok(()),
            Principal::ApiKey(_) | Principal::Server => Err(forbidden("in this namespace nobody may")),
            Principal::Anonymous | Principal::User(_) if !admits_clients => {
                Err(forbidden("in this namespace clients may not"))
            }
            Principal::User(_) => Ok(()),
            Principal::Anonymous if self.admits_anonymous(action, options.anonymous) => Ok(()),
            Principal::Anonymous => Err(unauthorized()),
        }
    }

    fn admits_anonymous(&self, action: Action, anonymous: Anonymous) -> bool {
        match anonymous {
            Anonymous::None => false,
            Anonymous::Subscribe => !matches!(action, Action::Publish | Action::Join),
            Anonymous::Publish => true,
            Anonymous::Loopback => self.0.is_local,
        }
    }
}

/// Whether the channel has what the action is about.
fn has(action: Action, options: &NamespaceOptions) -> Result<(), Denied> {
    let message = match action {
        Action::CatchUp | Action::History if options.history_size == 0 => "this channel has no history",
        Action::Join | Action::Presence if !options.presence => "this channel has no presence",
        _ => return Ok(()),
    };
    Err(Denied { code: DeniedCode::BadRequest, message })
}

fn forbidden(message: &'static str) -> Denied {
    Denied { code: DeniedCode::Forbidden, message }
}

fn unauthorized() -> Denied {
    Denied { code: DeniedCode::Unauthorized, message: "say who you are first" }
}
