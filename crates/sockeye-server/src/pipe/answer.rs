//! How requests of conversations are answered, whichever HTTP they came by.
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::shared::Outflow;

/// The answer to one request.
pub(crate) enum Answer {
    /// All of it.
    Full(Response<Bytes>),
    /// One that is written for a while.
    Stream(Streaming),
}

/// A response that ends when its conversation says so.
pub(crate) struct Streaming {
    pub(crate) head: Response<()>,
    /// What comes first, at once.
    pub(crate) prelude: Bytes,
    pub(crate) body: Box<dyn Outflow>,
    /// Whether it is a single frame, so that nothing needs to be written before that.
    pub(crate) is_poll: bool,
}

/// Buffering proxies of the nginx family are asked not to, for this response.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The head of a response that nothing on the way may keep, change or hold back.
pub(crate) fn head(content_type: &'static str) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// It was done, and there is nothing to say.
pub(crate) fn no_content() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
