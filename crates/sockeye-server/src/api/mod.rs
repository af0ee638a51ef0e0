//! The HTTP API: for programs in any language that take part without a WebSocket.
//!
//! # Its style
//!
//! A path is a verb of docs/protocol.md, with the same members, the same answers and the same codes of errors; so whoever
//! knows one knows the other. What reads is a GET with a query; what changes something is a POST with a JSON object.
//!
//! ```text
//! POST /api/publish       one publication, or an array of them
//! GET  /api/history       ?channel=  limit, since, reverse
//! GET  /api/presence      ?channel=  limit
//! GET  /api/channels      prefix, limit
//! POST /api/disconnect    a session, or all of a user
//! GET  /api/openapi.json  all of this, for programs; without a key
//! ```
//!
//! The channel is never a part of the path. Its name may hold `/`, `..` and `%`, and every proxy on the way has an opinion of
//! its own about those in a path; a query is passed on by all of them as it is.
//!
//! # Who may
//!
//! Whoever shows a key: `Authorization: Bearer KEY`. It is looked at before anything of the body is read, and with it the rest of
//! the head. Pages may not: a request with an `Origin` is refused, and nothing here speaks CORS, since a key that a page knows is
//! no secret.
mod answer;
mod backend;
pub(crate) mod http1;
mod key;
mod perform;
mod query;
mod read;
mod route;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

pub use self::key::{ApiKey, BadKey};
pub(crate) use self::{
    answer::Refused,
    backend::{Backend, Target},
    query::Query,
};
use self::{key::Guesses, route::Endpoint};
use crate::{
    auth::KeyId,
    dialect::{ErrorCode, Problem},
};

/// What every path of the API begins with.
pub(crate) const PREFIX: &str = "/api/";
/// Bytes of a request's body: a message of the hub, and as much again for what surrounds it in JSON, or in base64.
pub(crate) const MAX_BODY: usize = 128 * 1024;
/// Time for a body to arrive, all of it.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Publications in one request.
pub(crate) const MAX_BATCH: usize = 100;

/// The API of one server, shared by its workers.
#[derive(Debug)]
pub(crate) struct Api {
    keys: Vec<ApiKey>,
    guesses: Guesses,
}

/// A request whose head has been looked at, and that may be carried out once its body is here.
#[derive(Debug)]
pub(crate) struct Call {
    endpoint: Endpoint,
    /// The name of the key that was shown.
    key: Arc<str>,
    id: KeyId,
    query: String,
}

impl Api {
    /// `None` without a key: then there is no API.
    pub(crate) fn new(keys: &[ApiKey]) -> Option<Self> {
        if keys.is_empty() { None } else { Some(Self { keys: keys.to_vec(), guesses: Guesses::default() }) }
    }

    /// Looks at the head of a request from this address; `None` is one that may try as many keys as it likes.
    pub(crate) fn begin<B>(&self, request: &Request<B>, from: Option<IpAddr>) -> Result<Call, Refused> {
        let headers = request.headers();
        if headers.contains_key(header::ORIGIN) {
            return Err(Refused::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, "the API is not for web pages"));
        }
        let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
        let id = if Endpoint::is_public(path) {
            // It is used for nothing.
            KeyId(0)
        } else {
            self.guesses.identify(&self.keys, headers, from, std::time::Instant::now())?
        };
        let key = self.keys.get(id.0).map(|key| Arc::clone(key.name())).unwrap_or_default();
        let endpoint = Endpoint::of(path, request.method())?;
        if endpoint.takes_body() {
            check_content(headers)?;
        }
        Ok(Call { endpoint, key, id, query: request.uri().query().unwrap_or_default().to_owned() })
    }
}

impl Call {
    /// Whether its meaning is in its body.
    pub(crate) fn takes_body(&self) -> bool {
        self.endpoint.takes_body()
    }

    /// Carries it out.
    ///
    /// # Cancel safety
    /// Dropped, nobody hears the answer; what was begun is done.
    pub(crate) async fn perform(self, body: Bytes, backend: &impl Backend) -> Response<Bytes> {
        perform::perform(self, body, backend).await.unwrap_or_else(Refused::into_response)
    }
}

/// JSON, as it is.
fn check_content(headers: &HeaderMap) -> Result<(), Refused> {
    let refused = |message| Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::BadRequest, message));
    let mut types = headers.get_all(header::CONTENT_TYPE).into_iter();
    match (types.next(), types.next()) {
        (Some(only), None) if is_json(only) => {}
        _ => return refused("Content-Type has to be application/json"),
    }
    if headers.get_all(header::CONTENT_ENCODING).into_iter().any(|value| value != "identity") {
        return refused("a body is not compressed here");
    }
    Ok(())
}

fn is_json(value: &HeaderValue) -> bool {
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
        && parts.all(|parameter| {
            let parameter = parameter.to_ascii_lowercase();
            matches!(parameter.as_str(), "charset=utf-8" | "charset=\"utf-8\"")
        })
}

/// The answer to `HEAD`: that to `GET`, without its body.
pub(crate) fn without_body(method: &Method, mut response: Response<Bytes>) -> Response<Bytes> {
    if *method == Method::HEAD {
        let length = response.body().len();
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        *response.body_mut() = Bytes::new();
    }
    response
}

/// Something that is wrong with a request, for the one who made it.
fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem { message: message.into(), ..Problem::bad_request("") }
}
