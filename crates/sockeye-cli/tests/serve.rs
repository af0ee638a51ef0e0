//! `sockeye serve` as whoever operates it sees it: its first line, its signals, its exit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// A running `sockeye`, killed when dropped.
struct Sockeye {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Sockeye {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sockeye"))
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--workers", "1"])
            .env_remove("SOCKEYE_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, stdout, stderr }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Sockeye {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing in these tests takes 20 s but by a fault.
fn within(work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let test = thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    let waited = is_done.recv_timeout(Duration::from_secs(20));
    assert!(waited != Err(mpsc::RecvTimeoutError::Timeout), "the test takes too long");
    test.join().unwrap();
}

#[test]
fn it_says_where_it_listens_and_ends_when_told() {
    within(|| {
        // Without a command it serves too.
        for (arguments, ends_with) in
            [(&[][..], Signal::TERM), (&["serve"], Signal::INT), (&["demo", "chat"], Signal::TERM)]
        {
            let mut sockeye = Sockeye::start(arguments);
            let first = sockeye.stdout.next().unwrap().unwrap();
            assert!(first.starts_with("listening on http://127.0.0.1:") && first.ends_with('/'), "{first}");
            sockeye.stdout.find(|line| line.as_ref().unwrap() == "Ctrl-C stops it.").unwrap().unwrap();
            sockeye.signal(ends_with);
            assert!(sockeye.child.wait().unwrap().success());
        }
    });
}

/// SIGHUP reads the certificate again, and does not end a server that has one.
#[test]
fn with_tls_a_hangup_reads_the_certificate_again() {
    within(|| {
        let (cert, key) = (temporary("cert.pem"), temporary("key.pem"));
        issue(&cert, &key);
        let mut sockeye = Sockeye::start(&["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
        assert!(sockeye.stdout.next().unwrap().unwrap().starts_with("listening on https://127.0.0.1:"));
        sockeye.stdout.find(|line| line.as_ref().unwrap() == "Ctrl-C stops it.").unwrap().unwrap();
        issue(&cert, &key);
        sockeye.signal(Signal::HUP);
        let noticed = sockeye.stderr.next().unwrap().unwrap();
        assert!(noticed.contains("new connections get the certificate"), "{noticed}");
        fs::write(&key, "nonsense").unwrap();
        sockeye.signal(Signal::HUP);
        let complaint = sockeye.stderr.next().unwrap().unwrap();
        assert!(
            complaint.contains("the certificate stays the old one") && complaint.contains("key.pem"),
            "{complaint}"
        );
        sockeye.signal(Signal::TERM);
        assert!(sockeye.child.wait().unwrap().success());
        for file in [cert, key] {
            fs::remove_file(file).unwrap();
        }
    });
}

#[test]
fn what_cannot_be_used_is_an_error_with_its_file() {
    within(|| {
        let mut sockeye = Sockeye::start(&["--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"]);
        assert!(!sockeye.child.wait().unwrap().success());
        let error = sockeye.stderr.next().unwrap().unwrap();
        assert!(error.starts_with("sockeye: cannot serve TLS: /nowhere/cert.pem: "), "{error}");
    });
}

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("serve-{}-{name}", std::process::id()))
}

fn issue(cert: &Path, key: &Path) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(cert, made.cert.pem()).unwrap();
    fs::write(key, made.signing_key.serialize_pem()).unwrap();
}
