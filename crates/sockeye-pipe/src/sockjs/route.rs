//! Which endpoint a request is for.

/// Bytes of the longest session id, and of the longest server id before it.
const MAX_ID: usize = 128;

/// What is behind a path below the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// The prefix itself: a greeting.
    Greeting,
    /// The page that other pages load into a frame.
    Iframe,
    /// What the server can do.
    Info,
    /// A WebSocket without any framing.
    RawWebSocket,
    /// What belongs to a session, which its client has named.
    Session {
        /// Its name, as it stands in the path. A secret: do not log it.
        id: &'a str,
        /// What is asked of it.
        endpoint: SessionEndpoint,
    },
}

/// What is asked of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEndpoint {
    /// A WebSocket with frames. Each is a conversation of its own, whatever its name.
    WebSocket,
    /// Receive, streaming.
    XhrStreaming,
    /// Receive, polling.
    Xhr,
    /// Send.
    XhrSend,
    /// Receive, as server-sent events.
    EventSource,
    /// Receive, as scripts in a page that never ends.
    HtmlFile,
    /// Receive, polling by scripts.
    Jsonp,
    /// Send, from a form.
    JsonpSend,
}

/// Those methods that make a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// `OPTIONS`.
    Options,
    /// Any other, `HEAD` too.
    Other,
}

/// Why there is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 404.
    NotFound,
    /// 405, with the methods that are allowed.
    MethodNotAllowed(&'static str),
}

/// Which endpoint is asked for. `path` is what the request says without its query, not decoded and not normalised in
/// any way; `prefix` does not end with a slash.
///
/// # Errors
/// There is nothing of that path, or not for that method; the path is looked at first.
pub fn resolve<'a>(prefix: &str, method: &Method, path: &'a str) -> Result<Endpoint<'a>, Refused> {
    let below = path.strip_prefix(prefix).ok_or(Refused::NotFound)?;
    let endpoint = find(below).ok_or(Refused::NotFound)?;
    let allowed = endpoint.allowed();
    match method {
        Method::Get if allowed.contains("GET") => Ok(endpoint),
        Method::Post if allowed.contains("POST") => Ok(endpoint),
        Method::Options if allowed.contains("OPTIONS") => Ok(endpoint),
        _ => Err(Refused::MethodNotAllowed(allowed)),
    }
}

impl Endpoint<'_> {
    /// Methods, as in `Allow`.
    #[must_use]
    pub fn allowed(&self) -> &'static str {
        match self {
            Self::Info => "OPTIONS, GET",
            Self::Greeting | Self::Iframe | Self::RawWebSocket => "GET",
            Self::Session { endpoint, .. } => match endpoint {
                SessionEndpoint::XhrStreaming | SessionEndpoint::Xhr | SessionEndpoint::XhrSend => "POST, OPTIONS",
                SessionEndpoint::JsonpSend => "POST",
                SessionEndpoint::WebSocket
                | SessionEndpoint::EventSource
                | SessionEndpoint::HtmlFile
                | SessionEndpoint::Jsonp => "GET",
            },
        }
    }
}

impl From<&http::Method> for Method {
    fn from(method: &http::Method) -> Self {
        match *method {
            http::Method::GET => Self::Get,
            http::Method::POST => Self::Post,
            http::Method::OPTIONS => Self::Options,
            _ => Self::Other,
        }
    }
}

fn find(below: &str) -> Option<Endpoint<'_>> {
    if below.is_empty() || below == "/" {
        return Some(Endpoint::Greeting);
    }
    // One slash at the end is nothing; two are something.
    let below = below.strip_suffix('/').unwrap_or(below).strip_prefix('/')?;
    let mut segments = below.split('/');
    let first = segments.next()?;
    let Some(id) = segments.next() else {
        return match first {
            "info" => Some(Endpoint::Info),
            "websocket" => Some(Endpoint::RawWebSocket),
            _ if is_iframe(first) => Some(Endpoint::Iframe),
            _ => None,
        };
    };
    let endpoint = match segments.next()? {
        "websocket" => SessionEndpoint::WebSocket,
        "xhr_streaming" => SessionEndpoint::XhrStreaming,
        "xhr" => SessionEndpoint::Xhr,
        "xhr_send" => SessionEndpoint::XhrSend,
        "eventsource" => SessionEndpoint::EventSource,
        "htmlfile" => SessionEndpoint::HtmlFile,
        "jsonp" => SessionEndpoint::Jsonp,
        "jsonp_send" => SessionEndpoint::JsonpSend,
        _ => return None,
    };
    let is_session = segments.next().is_none() && is_id(first) && is_id(id);
    is_session.then_some(Endpoint::Session { id, endpoint })
}

fn is_id(segment: &str) -> bool {
    (1..=MAX_ID).contains(&segment.len()) && !segment.contains('.')
}

fn is_iframe(segment: &str) -> bool {
    let version = segment.strip_prefix("iframe").and_then(|rest| rest.strip_suffix(".html"));
    version.is_some_and(|version| {
        version.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'.' | b'a'..=b'z' | b'_'))
    })
}
