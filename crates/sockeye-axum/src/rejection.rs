use std::fmt;

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use sockeye::Refusal;

/// Why a request is no opening handshake. As a response it has the status that the RFCs name.
#[derive(Debug)]
pub struct Rejection(Refusal);

impl Rejection {
    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// A short name for logs and metrics, such as `bad_key`. It does not change between versions.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code()
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.0.into()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
