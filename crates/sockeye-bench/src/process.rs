//! What /proc says about the server.

use crate::Failure;
use serde::Serialize;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Sub;
use std::time::Duration;

/// How often memory is read while waiting for it to come to rest, and how often at most.
const SETTLE_STEP: Duration = Duration::from_millis(250);
const SETTLE_STEPS: usize = 40;
/// So many readings in a row must agree.
const SETTLE_AGREE: usize = 4;

/// The process under test.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pid: u32,
}

/// Memory that the process alone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// `Private_Clean + Private_Dirty` of `/proc/PID/smaps_rollup`, in bytes.
    pub(crate) private: i64,
    /// `RssAnon` of `/proc/PID/status`, in bytes: without what files back.
    pub(crate) anonymous: i64,
}

impl Server {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// CPU time of all its threads in nanoseconds, as the scheduler counted it. Exact while the server
    /// sleeps, up to a tick behind while it runs; a thread that has ended is not in it.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub(crate) fn cpu_ns(self) -> Result<u64, Failure> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid)).map_err(|error| self.gone(&error))? {
            // A thread that has ended since.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let field = text.split_whitespace().next().ok_or("empty schedstat")?;
            sum += field.parse::<u64>()?;
        }
        Ok(sum)
    }

    /// # Errors
    ///
    /// When the process is gone.
    pub(crate) fn memory(self) -> Result<Memory, Failure> {
        let rollup =
            fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).map_err(|error| self.gone(&error))?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let private = kilobytes(&rollup, "Private_Clean:")? + kilobytes(&rollup, "Private_Dirty:")?;
        Ok(Memory { private: private * 1024, anonymous: kilobytes(&status, "RssAnon:")? * 1024 })
    }

    fn gone(self, error: &io::Error) -> Failure {
        format!("cannot read what process {} takes: {error}", self.pid).into()
    }

    /// Waits until memory stays the same, then returns it. Meanwhile `pause` does what there is to do.
    ///
    /// # Errors
    ///
    /// When the process is gone, or `pause` fails.
    pub(crate) fn settled_memory(
        self,
        mut pause: impl FnMut(Duration) -> Result<(), Failure>,
    ) -> Result<Memory, Failure> {
        let mut last = self.memory()?;
        let mut agree = 1;
        for _ in 0..SETTLE_STEPS {
            pause(SETTLE_STEP)?;
            let now = self.memory()?;
            agree = if now == last { agree + 1 } else { 1 };
            last = now;
            if agree == SETTLE_AGREE {
                break;
            }
        }
        Ok(last)
    }
}

impl Sub for Memory {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { private: self.private - before.private, anonymous: self.anonymous - before.anonymous }
    }
}

impl Memory {
    /// The share of one among `count`.
    pub(crate) fn per(self, count: usize) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX).max(1);
        Self { private: self.private / count, anonymous: self.anonymous / count }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes private, {} anonymous", self.private, self.anonymous)
    }
}

fn kilobytes(text: &str, name: &str) -> Result<i64, Failure> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
