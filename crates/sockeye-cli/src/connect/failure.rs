//! How `connect` ends if not well: an exit status, and one sentence that says what to do.
use std::{fmt::Write as _, io, process::ExitCode};

use sockeye::{CloseOutcome, Party};

use super::{escape, event::Event};

/// Bytes of a refusal's body that are shown.
const BODY_SHOWN: usize = 300;

/// Why it ended; the numbers are the exit statuses, as the help has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No connection, or one that was lost or broken.
    Failed = 1,
    /// The command line asks for what cannot be.
    Usage = 2,
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

    /// The connection was not opened.
    pub(super) fn opening(url: &str, error: sockeye::Error) -> Self {
        if error.guilty() == Some(Party::Local) && !error.is_io() {
            return Self::new(Kind::Usage, error.code(), escape::line(&error.to_string()));
        }
        if !error.is_io() {
            return error.into();
        }
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        let url = escape::line(url);
        let message = format!("cannot reach {url}: {}: is the server running there?", escape::line(&why));
        Self::new(Kind::Failed, error.code(), message)
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

impl From<sockeye::Error> for Failure {
    fn from(error: sockeye::Error) -> Self {
        let Some(response) = error.response() else {
            return Self::new(Kind::Failed, error.code(), escape::line(&error.to_string()));
        };
        let status = response.status();
        let mut message = format!("the server refused: {status}");
        if let Some(location) = response.headers().get(http::header::LOCATION) {
            let _ = write!(message, ": it points to {}", escape::bytes(location.as_bytes()));
        }
        let body = start_of(response.body());
        if !body.is_empty() {
            let _ = write!(message, ": {}", escape::line(&body));
        }
        let hint = match status.as_u16() {
            401 => " (say who asks with --header 'Authorization: ...')",
            403 => " (if it wants a web page to ask, name one with --origin)",
            426 => " (the address may want another protocol)",
            _ => "",
        };
        message.push_str(hint);
        Self { status: Some(status.as_u16()), body: Some(body), ..Self::new(Kind::Refused, error.code(), message) }
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
