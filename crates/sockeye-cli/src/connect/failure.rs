//! How `connect` ends if not well: an exit status, and one sentence that says what to do.
use std::{error::Error as _, fmt::Write as _, io, process::ExitCode};

use http::StatusCode;
use sockeye::{
    CloseOutcome,
    bytes::Bytes,
    rustls::{self, CertificateError},
};

use super::{escape, event::Event};
use crate::args;

/// Bytes of a refusal's body that are shown.
const BODY_SHOWN: usize = 300;

/// Why it ended; the numbers are the exit statuses, as the help has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No connection, or one that was lost or broken.
    Failed = 1,
    /// The server answered something other than 101.
    Refused = 3,
    /// The server closed with a code that complains.
    Complaint = 4,
    /// As timeout(1) has it.
    TimeUp = 124,
    /// As shells have it for SIGINT.
    Interrupted = 130,
}

#[derive(Debug)]
pub(super) struct Failure {
    kind: Kind,
    code: &'static str,
    /// Safe to show. Empty if there is nothing to say.
    message: String,
    status: Option<u16>,
    body: Option<String>,
}

impl Failure {
    pub(super) fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), status: None, body: None }
    }

    pub(super) fn lost(message: &str) -> Self {
        Self::new(Kind::Failed, "abnormal", message)
    }

    /// The connection to `place` was not opened.
    pub(super) fn opening(place: &str, way: &args::Way, error: &sockeye::Error) -> Self {
        if let Some(response) = error.response() {
            return Self::refused(error, response);
        }
        let why = if error.is_io() {
            let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            let through = if error.is_proxy() { " through the proxy" } else { "" };
            format!("cannot reach {place}{through}: {why}")
        } else {
            error.to_string()
        };
        let message = format!("{}{}", escape::line(&why), hint(error, way));
        Self::new(Kind::Failed, error.code(), message)
    }

    /// The server, or the proxy, answered something else.
    fn refused(error: &sockeye::Error, response: &http::Response<Bytes>) -> Self {
        let status = response.status();
        let mut message = match error.code() {
            "refused" if error.is_proxy() => format!("the proxy refused: {status}"),
            "refused" => format!("the server refused: {status}"),
            _ => escape::line(&error.to_string()).into_owned(),
        };
        if let Some(location) = response.headers().get(http::header::LOCATION) {
            let _ = write!(message, ": it points to {}", escape::bytes(location.as_bytes()));
        }
        let body = start_of(response.body());
        if !body.is_empty() {
            let _ = write!(message, ": {}", escape::line(&body));
        }
        message.push_str(hint_at_refusal(error, status));
        let kind = if error.is_proxy() { Kind::Failed } else { Kind::Refused };
        Self { status: Some(status.as_u16()), body: Some(body), ..Self::new(kind, error.code(), message) }
    }

    pub(super) fn time_up() -> Self {
        Self::new(Kind::TimeUp, "time_up", "the time given with --timeout is over")
    }

    pub(super) fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted", "")
    }

    pub(super) fn complaint(outcome: &CloseOutcome) -> Self {
        Self::new(Kind::Complaint, "closed", goodbye(outcome))
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn event(&self) -> Event<'_> {
        Event::Error { code: self.code, message: &self.message, status: self.status, body: self.body.as_deref() }
    }
}

/// How it was closed, in a line that is safe to show.
pub(super) fn goodbye(outcome: &CloseOutcome) -> String {
    let mut text = match outcome.code() {
        CloseOutcome::NO_STATUS => "closed: no code".to_owned(),
        code => format!("closed: {code}"),
    };
    if !outcome.reason().is_empty() {
        let _ = write!(text, " {}", escape::line(outcome.reason()));
    }
    text
}

/// What to try when there was no answer.
fn hint(error: &sockeye::Error, way: &args::Way) -> &'static str {
    if let Some(error) = error.source().and_then(|source| source.downcast_ref()) {
        return hint_at_tls(error);
    }
    match error.code() {
        "io" if error.is_proxy() => " (see --proxy and --no-proxy)",
        "io" if way.http2 && !is_unreachable(error) => " (if it does not speak HTTP/2, leave out --http2)",
        "io" => ": is the server running there?",
        "no_extended_connect" => " (leave out --http2)",
        "no_tls_roots" => " (name some with --cacert)",
        "bad_proxy" => " (see --proxy, --no-proxy and the environment)",
        _ => "",
    }
}

fn hint_at_tls(error: &rustls::Error) -> &'static str {
    match error {
        // The latter if a trusted one has its issuer's name, and another key: mostly the same, made anew.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            ": nobody trusted has issued the certificate (trust its issuer with --cacert, or anybody with --insecure)"
        }
        // What `openssl req -x509` makes, unless it is told otherwise. The error has no type here, only its name.
        rustls::Error::InvalidCertificate(CertificateError::Other(why)) if why.to_string().contains("CaUsedAsEnd") => {
            ": a server's own certificate must not be an authority's (make one with basicConstraints=CA:FALSE, or see \
             --insecure)"
        }
        rustls::Error::InvalidCertificate(_) => " (--insecure accepts any certificate)",
        rustls::Error::InvalidMessage(_) => " (if the server speaks no TLS there, try ws://)",
        _ => "",
    }
}

fn hint_at_refusal(error: &sockeye::Error, status: StatusCode) -> &'static str {
    match (error.code(), status.as_u16()) {
        ("refused", 407) if error.is_proxy() => " (name and password go into its URL: http://NAME:PASSWORD@HOST:PORT)",
        ("refused", _) if error.is_proxy() => " (see --proxy and --no-proxy)",
        ("refused", 301 | 302 | 303 | 307 | 308) => " (--max-redirects 5 goes there)",
        ("refused", 401) => " (say who asks with --header 'Authorization: ...')",
        ("refused", 403) => " (if it wants a web page to ask, name one with --origin)",
        ("refused", 426) => " (the address may want another protocol)",
        ("too_many_redirects", _) => " (--max-redirects allows more)",
        _ => "",
    }
}

/// The server has not even taken the connection.
fn is_unreachable(error: &sockeye::Error) -> bool {
    let kind = error.source().and_then(|source| source.downcast_ref()).map(io::Error::kind);
    !matches!(
        kind,
        Some(
            io::ErrorKind::Other
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
        )
    )
}

impl From<sockeye::Error> for Failure {
    fn from(error: sockeye::Error) -> Self {
        Self::new(Kind::Failed, error.code(), escape::line(&error.to_string()))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Kind::Failed, "io", error.to_string())
    }
}

/// The start of a body as text, its white space as single spaces.
fn start_of(body: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(BODY_SHOWN)]);
    let mut text = shown.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    if body.len() > BODY_SHOWN {
        text.push_str("...");
    }
    text
}
