//! Answers: whole ones, and the heads of those that go on.
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, CACHE_CONTROL,
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, ETAG, EXPIRES, IF_NONE_MATCH, ORIGIN, SET_COOKIE, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use super::{BadCallback, BadPayload, Endpoint, Refused, SessionEndpoint, Transport, page};
use crate::sse::json_string;

const NO_CACHE: HeaderValue = HeaderValue::from_static("no-store, no-cache, no-transform, must-revalidate, max-age=0");
const A_YEAR: HeaderValue = HeaderValue::from_static("public, max-age=31536000");
const A_YEAR_IN_SECONDS: HeaderValue = HeaderValue::from_static("31536000");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=UTF-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// What holds for all sessions below one prefix.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether there are WebSockets.
    pub websocket: bool,
    /// Whether a load balancer needs the cookie `JSESSIONID`.
    pub cookie_needed: bool,
    /// Where the page for frames finds the client, in the version that the pages around it have; begins with `/` or
    /// `http`.
    pub client_url: String,
    /// Where clients go for everything but `/info`, if not here.
    pub base_url: Option<String>,
    /// Which pages may show ours in a frame, as in `Content-Security-Policy: frame-ancestors`; all, without it.
    pub frame_ancestors: Option<HeaderValue>,
}

/// Whether the origin of a request may read the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cors {
    /// It may.
    Allowed,
    /// It may not: nothing about origins is said.
    Denied,
}

/// Answers below one prefix.
#[derive(Clone, Debug)]
pub struct Answers {
    options: Options,
    iframe: Bytes,
    iframe_tag: HeaderValue,
}

impl Answers {
    /// Answers with these options; `None` if they name no client, or their pages cannot be said in a header.
    #[must_use]
    pub fn new(options: Options) -> Option<Self> {
        if !options.client_url.starts_with('/') && !options.client_url.starts_with("http") {
            return None;
        }
        let iframe = page::iframe(&options.client_url);
        let digest = sha1_smol::Sha1::from(iframe.as_bytes()).digest();
        let iframe_tag = HeaderValue::try_from(format!("\"{digest}\"")).ok()?;
        Some(Self { options, iframe: iframe.into(), iframe_tag })
    }

    /// For the prefix itself.
    #[must_use]
    pub fn greeting(&self) -> Response<Bytes> {
        plain(StatusCode::OK, "Welcome to SockJS!\n")
    }

    /// For what is no endpoint.
    #[must_use]
    pub fn refused(&self, refused: Refused) -> Response<Bytes> {
        match refused {
            Refused::NotFound => plain(StatusCode::NOT_FOUND, "404 Error: Page not found\n"),
            Refused::MethodNotAllowed(methods) => {
                with(empty(StatusCode::METHOD_NOT_ALLOWED), ALLOW, HeaderValue::from_static(methods))
            }
        }
    }

    /// For a WebSocket's endpoint without an opening handshake.
    #[must_use]
    pub fn not_a_websocket(&self) -> Response<Bytes> {
        plain(StatusCode::BAD_REQUEST, "Not a valid websocket request")
    }

    /// For a WebSocket's endpoint where there are none; `expires` is a date in a year.
    #[must_use]
    pub fn no_websockets(&self, expires: HeaderValue) -> Response<Bytes> {
        cached(self.refused(Refused::NotFound), expires)
    }

    /// Capabilities. `entropy` is random, another one each time.
    #[must_use]
    pub fn info(&self, request: &HeaderMap, cors: Cors, entropy: u32) -> Response<Bytes> {
        let Options { websocket, cookie_needed, base_url, .. } = &self.options;
        let mut body = format!(
            "{{\"websocket\":{websocket},\"origins\":[\"*:*\"],\"cookie_needed\":{cookie_needed},\"entropy\":{entropy}"
        );
        if let Some(base_url) = base_url {
            body.push_str(",\"base_url\":");
            body.push_str(&json_string(base_url));
        }
        body.push('}');
        let answer = whole(StatusCode::OK, JSON, body.into());
        let answer = with(answer, CACHE_CONTROL, NO_CACHE);
        readable(answer, request, cors, NullOrigin::Echoed)
    }

    /// The page for frames; `expires` is a date in a year.
    #[must_use]
    pub fn iframe(&self, request: &HeaderMap, expires: HeaderValue) -> Response<Bytes> {
        let tags = request.get_all(IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        let is_known = tags.flat_map(|tags| tags.split(',')).any(|tag| {
            let tag = tag.trim();
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == self.iframe_tag.as_bytes()
        });
        let mut answer =
            if is_known { empty(StatusCode::NOT_MODIFIED) } else { whole(StatusCode::OK, HTML, self.iframe.clone()) };
        if let Some(ancestors) = &self.options.frame_ancestors {
            let policy = [b"frame-ancestors ", ancestors.as_bytes()].concat();
            if let Ok(policy) = HeaderValue::from_bytes(&policy) {
                answer = with(answer, CONTENT_SECURITY_POLICY, policy);
            }
        }
        cached(with(answer, ETAG, self.iframe_tag.clone()), expires)
    }

    /// For `OPTIONS`; `expires` is a date in a year.
    #[must_use]
    pub fn preflight(
        &self,
        endpoint: &Endpoint<'_>,
        request: &HeaderMap,
        cors: Cors,
        expires: HeaderValue,
    ) -> Response<Bytes> {
        let methods = if *endpoint == Endpoint::Info { "OPTIONS, GET" } else { "OPTIONS, POST" };
        let mut answer = cached(empty(StatusCode::NO_CONTENT), expires);
        if cors == Cors::Allowed {
            answer = with(answer, ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
            answer = with(answer, ACCESS_CONTROL_MAX_AGE, A_YEAR_IN_SECONDS);
        }
        self.sticky(readable(answer, request, cors, NullOrigin::Echoed), request)
    }

    /// The head of a receiving endpoint's answer, which is not cached, has no length and is not compressed.
    #[must_use]
    pub fn receiving(&self, transport: &Transport, request: &HeaderMap, cors: Cors) -> Response<()> {
        let mut answer = Response::new(());
        if let Ok(content_type) = HeaderValue::from_str(transport.content_type()) {
            answer = with(answer, CONTENT_TYPE, content_type);
        }
        answer = with(answer, CACHE_CONTROL, NO_CACHE);
        answer = match transport {
            Transport::XhrStreaming | Transport::Xhr => readable(answer, request, cors, NullOrigin::Echoed),
            Transport::EventSource => readable(answer, request, cors, NullOrigin::Any),
            Transport::HtmlFile(_) | Transport::Jsonp(_) => {
                with(answer, X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
            }
            Transport::WebSocket => answer,
        };
        self.sticky(answer, request)
    }

    /// For a sending endpoint whose messages were taken, or whose session is closing.
    #[must_use]
    pub fn sent(&self, endpoint: SessionEndpoint, request: &HeaderMap, cors: Cors) -> Response<Bytes> {
        let answer = match endpoint {
            SessionEndpoint::JsonpSend => plain(StatusCode::OK, "ok"),
            _ => plain(StatusCode::NO_CONTENT, ""),
        };
        self.of_session(answer, endpoint, request, cors)
    }

    /// For a sending endpoint whose body is not what it has to be.
    #[must_use]
    pub fn bad_payload(
        &self,
        endpoint: SessionEndpoint,
        bad: BadPayload,
        request: &HeaderMap,
        cors: Cors,
    ) -> Response<Bytes> {
        self.of_session(plain(bad.status(), bad.body()), endpoint, request, cors)
    }

    /// For a sending endpoint whose session there is not, or not for this client.
    #[must_use]
    pub fn no_session(&self, endpoint: SessionEndpoint, request: &HeaderMap, cors: Cors) -> Response<Bytes> {
        self.of_session(self.refused(Refused::NotFound), endpoint, request, cors)
    }

    /// For a receiving endpoint that needs a callback.
    #[must_use]
    pub fn bad_callback(&self, bad: BadCallback) -> Response<Bytes> {
        with(plain(StatusCode::INTERNAL_SERVER_ERROR, bad.body()), CACHE_CONTROL, NO_CACHE)
    }

    /// For an endpoint of a session, if it cannot do what is asked of it.
    #[must_use]
    pub fn failed(
        &self,
        endpoint: SessionEndpoint,
        (status, why): (StatusCode, &'static str),
        request: &HeaderMap,
        cors: Cors,
    ) -> Response<Bytes> {
        self.of_session(plain(status, why), endpoint, request, cors)
    }

    /// What the answers of all endpoints of sessions have.
    fn of_session(
        &self,
        answer: Response<Bytes>,
        endpoint: SessionEndpoint,
        request: &HeaderMap,
        cors: Cors,
    ) -> Response<Bytes> {
        let mut answer = with(answer, CACHE_CONTROL, NO_CACHE);
        let is_script =
            matches!(endpoint, SessionEndpoint::JsonpSend | SessionEndpoint::Jsonp | SessionEndpoint::HtmlFile);
        if !is_script {
            answer = readable(answer, request, cors, NullOrigin::Echoed);
        }
        self.sticky(answer, request)
    }

    /// With the cookie for load balancers, if they need one: the client's own, if it has one.
    fn sticky<T>(&self, answer: Response<T>, request: &HeaderMap) -> Response<T> {
        if !self.options.cookie_needed {
            return answer;
        }
        let cookies = request.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let own =
            cookies.flat_map(|cookies| cookies.split(';')).find_map(|cookie| cookie.trim().strip_prefix("JSESSIONID="));
        let cookie = format!("JSESSIONID={}; path=/", own.unwrap_or("dummy"));
        match HeaderValue::try_from(cookie) {
            Ok(cookie) => with(answer, SET_COOKIE, cookie),
            Err(_) => answer,
        }
    }
}

/// What `Origin: null` is told, which pages in sandboxes and from files have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NullOrigin {
    /// That it may read.
    Echoed,
    /// That all may read, without credentials.
    Any,
}

/// Readable by pages of the request's origin, if that may read it.
fn readable<T>(answer: Response<T>, request: &HeaderMap, cors: Cors, null: NullOrigin) -> Response<T> {
    if cors == Cors::Denied {
        return answer;
    }
    let mut answer = match request.get(ORIGIN) {
        None => with(answer, ACCESS_CONTROL_ALLOW_ORIGIN, ANY),
        Some(origin) if origin == "null" && null == NullOrigin::Any => with(answer, ACCESS_CONTROL_ALLOW_ORIGIN, ANY),
        Some(origin) => {
            let answer = with(answer, ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let answer = with(answer, ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            with(answer, VARY, HeaderValue::from_static("Origin"))
        }
    };
    if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|asked| !asked.is_empty()) {
        answer = with(answer, ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    answer
}

fn cached(answer: Response<Bytes>, expires: HeaderValue) -> Response<Bytes> {
    with(with(answer, CACHE_CONTROL, A_YEAR), EXPIRES, expires)
}

fn plain(status: StatusCode, body: &'static str) -> Response<Bytes> {
    whole(status, PLAIN, Bytes::from_static(body.as_bytes()))
}

fn whole(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Bytes> {
    let mut answer = with(Response::new(body), CONTENT_TYPE, content_type);
    *answer.status_mut() = status;
    answer
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}

fn with<T>(mut answer: Response<T>, name: HeaderName, value: HeaderValue) -> Response<T> {
    answer.headers_mut().insert(name, value);
    answer
}
