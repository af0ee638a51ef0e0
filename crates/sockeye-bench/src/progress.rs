//! Signs of life on standard error: a line that renews itself on a terminal, elsewhere one every few seconds.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

pub(crate) struct Progress {
    terminal: bool,
    started: Instant,
    next: Instant,
    shown: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let started = Instant::now();
        let mut progress = Self { terminal: stderr().is_terminal(), started, next: started, shown: false };
        progress.next += progress.every();
        progress
    }

    fn every(&self) -> Duration {
        if self.terminal { Duration::from_millis(250) } else { Duration::from_secs(5) }
    }

    /// Shows `what`, if it is time.
    pub(crate) fn tick(&mut self, now: Instant, what: impl FnOnce() -> String) {
        if now < self.next {
            return;
        }
        self.next = now + self.every();
        let line = format!("{:4.0} s  {}", (now - self.started).as_secs_f64(), what());
        // Nobody has to look.
        let _ = if self.terminal { write!(stderr(), "\r\x1b[2K{line}") } else { writeln!(stderr(), "{line}") };
        self.shown = true;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.shown {
            let _ = write!(stderr(), "\r\x1b[2K");
        }
    }
}
