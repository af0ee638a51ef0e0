//! What is printed at the end: one object of JSON, or a few aligned lines.

use crate::Failure;
use crate::options::Common;
use crate::pace::float;
use crate::process::Server;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt::Display;
use std::time::Instant;

/// Times are recorded from 1 us to ten minutes, to three digits.
const SHORTEST_NS: u64 = 1_000;
const LONGEST_NS: u64 = 600_000_000_000;

/// Times as they were taken, as an HDR histogram.
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, 3);
        Self(histogram.expect("the bounds are constant and sound"))
    }

    /// So many events that each took from `since` to `now`.
    pub(crate) fn record(&mut self, since: Instant, now: Instant, count: u64) {
        let ns = u64::try_from(now.saturating_duration_since(since).as_nanos()).unwrap_or(LONGEST_NS);
        self.0.saturating_record_n(ns.clamp(SHORTEST_NS, LONGEST_NS), count);
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let us = |quantile| float(self.0.value_at_quantile(quantile)) / 1e3;
        Percentiles { p50_us: us(0.5), p90_us: us(0.9), p99_us: us(0.99), p999_us: us(0.999), max_us: us(1.0) }
    }
}

/// Of times, in microseconds.
#[expect(clippy::struct_field_names, reason = "the unit belongs to the name")]
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    #[serde(rename = "p99_9_us")]
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

/// What every report begins with.
#[derive(Serialize)]
pub(crate) struct Head {
    /// Of this program.
    pub(crate) version: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) url: String,
    /// Whether Ctrl-C ended it: then the figures are of what had been measured.
    pub(crate) interrupted: bool,
}

impl Head {
    pub(crate) fn new(mode: &'static str, common: &Common, interrupted: bool) -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), mode, url: common.target.to_string(), interrupted }
    }
}

/// A measurement under way: the clock, and the server's CPU time when it began.
pub(crate) struct Stopwatch {
    server: Option<Server>,
    cpu_ns: u64,
    started: Instant,
}

/// What a [`Stopwatch`] saw.
#[derive(Clone, Copy)]
pub(crate) struct Lap {
    pub(crate) seconds: f64,
    pub(crate) cpu_ns: Option<f64>,
}

impl Stopwatch {
    /// # Errors
    ///
    /// When the server's process is gone.
    pub(crate) fn start(common: &Common) -> Result<Self, Failure> {
        let server = common.pid.map(Server::new);
        let cpu_ns = server.map_or(Ok(0), Server::cpu_ns)?;
        Ok(Self { server, cpu_ns, started: Instant::now() })
    }

    /// # Errors
    ///
    /// When the server's process is gone.
    pub(crate) fn stop(&self) -> Result<Lap, Failure> {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu_ns = self.server.map(Server::cpu_ns).transpose()?;
        Ok(Lap { seconds, cpu_ns: cpu_ns.map(|ns| float(ns.saturating_sub(self.cpu_ns))) })
    }
}

impl Lap {
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        float(count) / self.seconds.max(1e-9)
    }

    /// The server's CPU time for each of so many.
    pub(crate) fn cpu_ns_each(&self, count: u64) -> Option<f64> {
        self.cpu_ns.filter(|_| count > 0).map(|ns| ns / float(count))
    }

    /// The share of one core that the server used.
    pub(crate) fn busy(&self) -> Option<f64> {
        self.cpu_ns.map(|ns| ns / (self.seconds * 1e9))
    }
}

/// Aligned lines of a name and what is said of it.
#[derive(Default)]
pub(crate) struct Lines(Vec<(String, String)>);

impl Lines {
    pub(crate) fn add(&mut self, name: impl Display, text: impl Display) -> &mut Self {
        self.0.push((name.to_string(), text.to_string()));
        self
    }

    pub(crate) fn times(&mut self, name: impl Display, times: &Percentiles) -> &mut Self {
        let Percentiles { p50_us, p90_us, p99_us, p999_us, max_us } = *times;
        let [p50, p90, p99, p999, max] = [p50_us, p90_us, p99_us, p999_us, max_us].map(time);
        self.add(name, format!("p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max}"))
    }

    pub(crate) fn cpu(&mut self, each: Option<f64>, busy: Option<f64>, what: &str) -> &mut Self {
        match each.zip(busy) {
            Some((ns, busy)) => self.add("server CPU", format!("{ns:.0} ns {what}, {:.0} % of a core", busy * 100.0)),
            None => self,
        }
    }

    pub(crate) fn finish(&self) -> String {
        let width = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let lines: Vec<_> = self.0.iter().map(|(name, text)| format!("{name:width$}  {text}")).collect();
        lines.join("\n")
    }
}

/// Microseconds in the unit that suits them.
fn time(us: f64) -> String {
    match us {
        ..1e3 => format!("{us:.0} us"),
        ..1e6 => format!("{:.2} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lines_stand_below_each_other() {
        let mut lines = Lines::default();
        lines.add("a", 1).add("longer", 2);
        assert_eq!(lines.finish(), "a       1\nlonger  2");
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([12.4, 1_234.0, 2_500_000.0].map(time), ["12 us", "1.23 ms", "2.50 s"]);
    }

    #[test]
    fn times_keep_to_their_bounds() {
        let (mut times, now) = (Times::new(), Instant::now());
        times.record(now, now, 1);
        times.record(now, now + Duration::from_secs(3_600), 1);
        let seen = times.percentiles();
        assert!(seen.p50_us < 1.1 && (6e8..6.01e8).contains(&seen.max_us), "{seen:?}");
    }
}
