//! Answers: JSON, and for what was not done the status that says why.
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use crate::dialect::{ErrorCode, Problem, json};

/// A request that was not carried out.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    problem: Problem,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

/// Something that was done.
pub(super) fn ok(json: impl Into<Bytes>) -> Response<Bytes> {
    respond(StatusCode::OK, json.into())
}

impl Refused {
    pub(crate) fn new(status: StatusCode, code: ErrorCode, message: &'static str) -> Self {
        Self { status, problem: Problem::new(code, message), header: None }
    }

    /// With this header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn into_response(self) -> Response<Bytes> {
        let mut response = respond(self.status, json::error_alone(&self.problem));
        if let Some((name, value)) = self.header.map(|header| *header) {
            response.headers_mut().insert(name, value);
        }
        if let Some(after) = self.problem.retry_after {
            // Whole seconds, and not before the time.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        response
    }
}

/// The status that its code stands for.
impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { status: status(problem.code), problem, header: None }
    }
}

fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest | ErrorCode::UnknownVerb => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized | ErrorCode::TokenExpired => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        // There is no channel of that name, and there can be none.
        ErrorCode::BadChannel | ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::PositionLost | ErrorCode::NotSubscribed | ErrorCode::AlreadySubscribed => StatusCode::CONFLICT,
        ErrorCode::TooBig => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Limit | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn respond(status: StatusCode, json: Bytes) -> Response<Bytes> {
    let mut response = Response::new(json);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
