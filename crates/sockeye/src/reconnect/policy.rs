//! Why there is no connection, what is to follow, and how long to wait.
use std::{
    fmt,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, StatusCode, header};
use sockeye_proto::{CloseCode, CloseOutcome, Party};

use crate::Error;

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Disconnect {
    /// An attempt to connect failed.
    Failed(Error),
    /// The connection was closed by a closing handshake.
    Closed(CloseOutcome),
    /// The connection broke.
    Broken(Error),
}

/// What is to follow a [`Disconnect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// The next attempt, after the back-off.
    Backoff,
    /// The next attempt, not before this time, which [`max_retry_after`](Backoff::max_retry_after) bounds; the back-off comes
    /// on top, so that not everybody who was told the same time comes at the same time.
    AtLeast(Duration),
    /// Nothing: this is the end.
    Never,
}

/// How long to wait before the next attempt.
///
/// ```
/// use std::time::Duration;
/// use sockeye::Backoff;
/// let patient = Backoff::with(|backoff| backoff.max = Duration::from_secs(600));
/// assert_eq!(patient.base, Duration::from_secs(1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The window of the wait after the first failure, doubled by each that follows. Default: 1 s.
    pub base: Duration,
    /// The largest window, reached after six failures with the defaults: then an attempt every 30 s on average. Default: 60 s.
    pub max: Duration,
    /// The smallest window where the server is leaving everybody, or is overloaded (close codes 1001, 1012 and 1013, statuses
    /// 429 and 503): all come back at once. Default: 5 s, as RFC 6455 section 7.2.3 proposes.
    pub spread: Duration,
    /// How long a connection must have been open for the next failure to be the first again. Default: 30 s.
    pub stable: Duration,
    /// The longest that `Retry-After`, or [`Retry::AtLeast`], can put the next attempt off. Default: 10 min.
    pub max_retry_after: Duration,
    /// Time for one attempt, with whatever [`connect_with`](super::ReconnectingWebSocket::connect_with) does beside connecting.
    /// Default: 30 s.
    pub attempt_timeout: Duration,
}

impl Disconnect {
    /// The default policy: what the table in the [module's documentation](super) says.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Closed(outcome) => {
                let is_done = outcome.initiator() == Party::Remote && outcome.code() == CloseCode::NORMAL.get();
                if is_done { Retry::Never } else { Retry::Backoff }
            }
            Self::Broken(_) => Retry::Backoff,
            Self::Failed(error) => match (self.retry_after(), self.status()) {
                (Some(time), _) => Retry::AtLeast(time),
                (None, Some(status)) if status.is_client_error() && !is_passing(status) => Retry::Never,
                (None, None) if error.guilty() == Some(Party::Local) && !error.is_io() => Retry::Never,
                (None, _) => Retry::Backoff,
            },
        }
    }

    /// The code that browsers show as `CloseEvent.code`, if the connection was closed: see [`CloseOutcome::code`].
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        if let Self::Closed(outcome) = self { Some(outcome.code()) } else { None }
    }

    /// The status with which the server refused, if it did.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        Some(self.error()?.response()?.status())
    }

    /// How long the server asks to wait, if it refused and said so: `Retry-After` in seconds or as a date (RFC 9110 section
    /// 10.2.3), the latter compared with the response's own `Date` if it has one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(self.error()?.response()?.headers(), SystemTime::now())
    }

    /// Why the attempt failed or the connection broke.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) | Self::Broken(error) => Some(error),
            Self::Closed(_) => None,
        }
    }

    /// Whether others are likely to come back at the same time.
    pub(super) fn is_everybodys(&self) -> bool {
        matches!(self.close_code(), Some(1001 | 1012 | 1013))
            || matches!(self.status(), Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE))
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "could not connect: {error}"),
            Self::Closed(outcome) => write!(f, "closed with {} {:?}", outcome.code(), outcome.reason()),
            Self::Broken(error) => write!(f, "connection lost: {error}"),
        }
    }
}

impl Backoff {
    /// The defaults, changed.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut backoff = Self::default();
        change(&mut backoff);
        backoff
    }

    /// From nothing to here is drawn after so many failures before this one.
    pub(super) fn window(&self, failures: u32) -> Duration {
        self.base.saturating_mul(2_u32.saturating_pow(failures)).min(self.max)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            max: Duration::from_secs(60),
            spread: Duration::from_secs(5),
            stable: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(10 * 60),
            attempt_timeout: Duration::from_secs(30),
        }
    }
}

/// Client errors that say "not now" rather than "not so".
fn is_passing(status: StatusCode) -> bool {
    const PASSING: [StatusCode; 4] = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::MISDIRECTED_REQUEST,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    PASSING.contains(&status)
}

fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(header::RETRY_AFTER)?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than fit are as good as for ever.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let now = text(header::DATE).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    // A date that has passed means now.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_doubles_up_to_its_cap() {
        let backoff = Backoff::default();
        let windows: Vec<_> = (0..8).map(|failures| backoff.window(failures).as_secs()).collect();
        assert_eq!(windows, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.window(u32::MAX), backoff.max);
        let endless = Backoff::with(|backoff| {
            backoff.base = Duration::MAX;
            backoff.max = Duration::MAX;
        });
        assert_eq!(endless.window(3), Duration::MAX);
    }

    /// RFC 9110 section 10.2.3: seconds or a date; what is neither says nothing.
    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 08:00:00 GMT").unwrap();
        let read = |value: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            if let Some(date) = date {
                headers.insert(header::DATE, date.parse().unwrap());
            }
            retry_after(&headers, now).map(|time| time.as_secs())
        };
        assert_eq!(read("30", None), Some(30));
        assert_eq!(read("0", None), Some(0));
        assert_eq!(read("99999999999999999999999", None), Some(u64::MAX));
        assert_eq!(read("Sat, 21 Nov 2026 08:02:00 GMT", None), Some(120));
        assert_eq!(read("Saturday, 21-Nov-26 08:02:00 GMT", None), Some(120));
        assert_eq!(read("Sat, 21 Nov 2026 07:00:00 GMT", None), Some(0));
        // The server's clock is an hour behind ours.
        assert_eq!(read("Sat, 21 Nov 2026 07:01:00 GMT", Some("Sat, 21 Nov 2026 07:00:00 GMT")), Some(60));
        for bad in ["", "-1", "+1", "1.5", "soon", "30 s", "Sat, 41 Nov 2026 08:02:00 GMT"] {
            assert_eq!(read(bad, None), None, "{bad}");
        }
    }
}
