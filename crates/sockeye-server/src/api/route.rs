//! Which path is what.
use http::{HeaderValue, Method, StatusCode, header};

use super::Refused;
use crate::dialect::ErrorCode;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Publish,
    History,
    Presence,
    Channels,
    Disconnect,
    Description,
}

impl Endpoint {
    /// All of them.
    pub(super) const ALL: [Self; 6] =
        [Self::Publish, Self::History, Self::Presence, Self::Channels, Self::Disconnect, Self::Description];

    /// What this path, without its beginning, and this method ask for.
    pub(super) fn of(path: &str, method: &Method) -> Result<Self, Refused> {
        let Some(endpoint) = Self::ALL.into_iter().find(|endpoint| endpoint.path() == path) else {
            return Err(Refused::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, "there is nothing at this path"));
        };
        let fits =
            if endpoint.takes_body() { *method == Method::POST } else { matches!(*method, Method::GET | Method::HEAD) };
        if fits { Ok(endpoint) } else { Err(endpoint.not_so()) }
    }

    /// Whether no key is needed for it.
    pub(super) fn is_public(path: &str) -> bool {
        path == Self::Description.path()
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::History => "history",
            Self::Presence => "presence",
            Self::Channels => "channels",
            Self::Disconnect => "disconnect",
            Self::Description => "openapi.json",
        }
    }

    /// Whether it is a POST; the others are GETs.
    pub(super) fn takes_body(self) -> bool {
        matches!(self, Self::Publish | Self::Disconnect)
    }

    fn not_so(self) -> Refused {
        let allow = HeaderValue::from_static(if self.takes_body() { "POST" } else { "GET, HEAD" });
        Refused::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadRequest, "not with this method")
            .header(header::ALLOW, allow)
    }
}
