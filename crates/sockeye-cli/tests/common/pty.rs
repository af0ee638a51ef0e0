//! The program at a terminal: a pseudo-terminal, and an emulator that knows what would be seen.
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Instant,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use super::PATIENCE;

const ROWS: u16 = 24;
const COLUMNS: u16 = 60;

pub(crate) struct Terminal {
    keyboard: File,
    /// The program's end, kept open so that it can be looked at when the program has ended.
    line: File,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    child: Option<Child>,
}

struct Seen {
    screen: vt100::Parser,
    raw: Vec<u8>,
}

impl Terminal {
    /// Runs the program with its output, and, if `typed`, its input at a new terminal.
    pub(crate) fn run(command: Command, typed: bool) -> Self {
        Self::sized(command, typed, COLUMNS)
    }

    pub(crate) fn sized(mut command: Command, typed: bool, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let line = OpenOptions::new().read(true).write(true).open(path).unwrap();
        tcsetwinsize(&line, Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let at_terminal = || Stdio::from(line.try_clone().unwrap());
        command.env("TERM", "xterm-256color").stdout(at_terminal()).stderr(at_terminal());
        command.stdin(if typed { at_terminal() } else { Stdio::null() });
        let child = command.spawn().unwrap();
        let seen =
            Arc::new((Mutex::new(Seen { screen: vt100::Parser::new(ROWS, COLUMNS, 0), raw: vec![] }), Condvar::new()));
        watch(master.as_fd().try_clone_to_owned().unwrap(), Arc::clone(&seen));
        Self { keyboard: File::from(master), line, seen, child: Some(child) }
    }

    pub(crate) fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is as it should be, and gives its lines.
    pub(crate) fn wait(&self, what: &str, is_there: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let (seen, changed) = &*self.seen;
        let mut guard = seen.lock().unwrap();
        loop {
            let lines = lines(&guard.screen);
            if is_there(&lines) {
                return lines;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} on the screen:\n{}", lines.join("\n"));
            guard = changed.wait_timeout(guard, left).unwrap().0;
        }
    }

    /// Waits for a line of the screen.
    pub(crate) fn wait_line(&self, line: &str) -> Vec<String> {
        self.wait(line, |lines| lines.iter().any(|seen| seen == line))
    }

    /// All that was written to the terminal so far.
    pub(crate) fn raw(&self) -> Vec<u8> {
        self.seen.0.lock().unwrap().raw.clone()
    }

    /// Waits for the end of the program.
    pub(crate) fn status(&mut self) -> i32 {
        super::status(&super::end(self.child.take().unwrap()))
    }

    /// Whether the terminal takes whole lines and shows what is typed, as it did before.
    pub(crate) fn is_cooked(&self) -> bool {
        let cooked = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcgetattr(&self.line).unwrap().local_modes.contains(cooked)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn watch(master: OwnedFd, seen: Arc<(Mutex<Seen>, Condvar)>) {
    thread::spawn(move || {
        let mut master = File::from(master);
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            let mut guard = seen.0.lock().unwrap();
            guard.screen.process(&buffer[..count]);
            guard.raw.extend_from_slice(&buffer[..count]);
            seen.1.notify_all();
        }
    });
}

fn lines(screen: &vt100::Parser) -> Vec<String> {
    screen.screen().rows(0, COLUMNS).map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}
