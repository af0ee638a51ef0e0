//! What the modes are asked, and what all of them are.
#![expect(clippy::doc_markdown, reason = "the doc comments are the help text, for terminals")]

use crate::target::Target;
use clap::Args;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What every mode needs to know.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Where to, such as ws://127.0.0.1:7071/echo or wss://…; HOST:PORT alone will do
    #[arg(value_name = "URL")]
    pub(crate) target: Target,
    /// Read CPU time and memory of this process, the server, from /proc
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Connect from these addresses in turn, separated by commas [default: 127.0.0.1 to 127.0.0.8 to a server on
    /// 127.0.0.0/8, otherwise the kernel's choice]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub(crate) from: Vec<IpAddr>,
    /// wss: trust the root certificates in this file (PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,
    /// wss: accept any certificate
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Give up when nothing that is waited for has come for so long
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) patience: Duration,
}

/// How long to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Window {
    /// How long to measure
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// How long to run before that
    #[arg(long, value_name = "SECONDS", default_value = "0.2", value_parser = seconds_or_none)]
    pub(crate) warm_up: Duration,
}

fn seconds_or_none(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|time| time.as_secs() < 86_400).ok_or_else(|| "expected seconds, such as 10 or 0.5".to_owned())
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = seconds_or_none(text)?;
    if seconds.is_zero() { Err("expected more than no time".to_owned()) } else { Ok(seconds) }
}

/// So many a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.001..=1e8).contains(rate));
    rate.ok_or_else(|| "expected a number a second, such as 1000 or 0.5".to_owned())
}

/// A number of connections: one at least.
pub(crate) fn some(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=10_000_000).contains(number));
    number.ok_or_else(|| "expected a number from 1 to 10000000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds_or_none("0"), Ok(Duration::ZERO));
        assert!(["0", "-1", "NaN", "inf", "1e9", "5s", ""].into_iter().all(|wrong| seconds(wrong).is_err()));
        assert_eq!(rate("0.5"), Ok(0.5));
        assert!(["0", "-1", "NaN", "inf", "1e9"].into_iter().all(|wrong| rate(wrong).is_err()));
        assert!(some("1").is_ok() && some("0").is_err());
    }
}
