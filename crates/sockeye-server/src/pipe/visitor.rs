//! Who makes a request: which page, from where; and what of that an answer says.
use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use siphasher::sip128::{Hash128, SipHasher13};
use sockeye::OriginPolicy;
use sockeye_pipe::Binding;

use super::answer::no_content;
use crate::{api::Refused, dialect::ErrorCode};

/// How long a browser remembers what it may ask for: a day, of which most take two hours.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("86400");
/// Headers that pages of other origins may send.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, last-event-id");
/// The origin of pages that are others, but not said which.
const UNSAID: HeaderValue = HeaderValue::from_static("null");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whoever makes a request, as far as conversations go.
pub(crate) struct Visitor {
    pub(crate) binding: Binding,
    /// The page's origin, if the request has it.
    origin: Option<HeaderValue>,
}

/// By which bindings are made, new with each start: nobody can find two visitors with one binding.
pub(super) struct Keys([(u64, u64); 2]);

impl Keys {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    /// Of a visitor without an address there are many, behind a proxy on this machine.
    pub(super) fn bind(&self, from: Option<IpAddr>, origin: Option<&HeaderValue>, service: &str) -> Binding {
        let address = from.map_or_else(String::new, |address| address.to_string());
        let origin = origin.map_or(&b""[..], HeaderValue::as_bytes);
        // None of the parts has this byte.
        let text = [service.as_bytes(), address.as_bytes(), origin].join(&0);
        let mut digest = [0; 32];
        for (keys, half) in self.0.into_iter().zip(digest.chunks_mut(16)) {
            half.copy_from_slice(&hash(keys, &text).as_bytes());
        }
        let binding = if from.is_some() { Binding::new(digest) } else { Binding::of_many(digest) };
        // What stands in an `Origin` is anybody's choice but a browser's, and a place can be chosen by all.
        binding.counted_as(hash(self.0[0], address.as_bytes()).h1)
    }
}

fn hash((first, second): (u64, u64), text: &[u8]) -> Hash128 {
    SipHasher13::new_with_keys(first, second).hash(text)
}

impl Visitor {
    /// Of a request to this service; `from` is what limits of an address go by.
    ///
    /// # Errors
    /// It comes from a page that may not.
    pub(super) fn of<B>(
        request: &Request<B>,
        from: Option<IpAddr>,
        service: &str,
        (keys, policy): (&Keys, &OriginPolicy),
    ) -> Result<Self, Refused> {
        let headers = request.headers();
        let host = host(request);
        let mut origins = headers.get_all(header::ORIGIN).into_iter();
        let (origin, None) = (origins.next(), origins.next()) else {
            return Err(forbidden("there is more than one Origin"));
        };
        let text = origin.map(HeaderValue::to_str).transpose().map_err(|_| forbidden("the Origin is malformed"))?;
        let unsaid = is_from_elsewhere(headers).then_some(UNSAID);
        if !is_allowed(headers, text, host, policy) {
            return Err(forbidden("pages of this origin may not connect"));
        }
        // They name it when they write, though; it is the same page.
        let foreign = origin.filter(|_| !OriginPolicy::same().allows(text, host)).or(unsaid.as_ref());
        Ok(Self { binding: keys.bind(from, foreign, service), origin: origin.cloned() })
    }

    /// The answer to a browser that asks what it may ask for; `None` if this is another request.
    pub(super) fn preflight<B>(&self, request: &Request<B>, methods: HeaderValue) -> Option<Response<Bytes>> {
        if request.method() != Method::OPTIONS {
            return None;
        }
        let mut response = no_content();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
        Some(self.finish(response))
    }

    /// The answer as this visitor's page may read it. It shows nothing that cookies are for, so pages may not ask for them
    /// to be sent.
    pub(crate) fn finish<B>(&self, mut response: Response<B>) -> Response<B> {
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = &self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
        }
        response
    }
}

/// Where a request says that it goes.
fn host<B>(request: &Request<B>) -> &str {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    request.uri().authority().map(http::uri::Authority::as_str).or(named).unwrap_or_default()
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin")
}

/// Whether a page of another origin makes a request that does not name it: of images, scripts and frames browsers do not say
/// the origin, but that it is another. That is as good as one that nobody has listed.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE);
    !headers.contains_key(header::ORIGIN) && site.is_some_and(|site| site != "same-origin" && site != "none")
}

/// Whether pages of this origin, or of the one that browsers leave out, may connect.
pub(crate) fn is_allowed(headers: &HeaderMap, origin: Option<&str>, host: &str, policy: &OriginPolicy) -> bool {
    if origin.is_some() || !is_same_origin(headers) {
        return policy.allows(origin.or(is_from_elsewhere(headers).then_some("null")), host);
    }
    // They do where a page reads from its own server. Which scheme that has, who is before us knows.
    ["https", "http"].iter().any(|scheme| policy.allows(Some(&format!("{scheme}://{host}")), host))
}

fn forbidden(message: &'static str) -> Refused {
    Refused::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message)
}
