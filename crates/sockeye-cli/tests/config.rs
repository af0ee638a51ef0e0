//! `sockeye config`, and what `serve` makes of a configuration, as whoever operates it sees it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

const CANARY: &str = "C4naryC4naryC4nary";

/// The program with these arguments and variables, and no others of its own.
fn sockeye(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.as_encoded_bytes().starts_with(b"SOCKEYE_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Lets it end by itself, within 20 s.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let child = sockeye(arguments, variables).spawn().unwrap();
    let Output { status, stdout, stderr } = ended(child);
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn ended(child: Child) -> Output {
    let id = rustix::process::Pid::from_child(&child);
    let (done, is_done) = mpsc::channel();
    let waiting = thread::spawn(move || {
        let output = child.wait_with_output();
        let _ = done.send(());
        output
    });
    if is_done.recv_timeout(Duration::from_secs(20)).is_err() {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        panic!("it does not end");
    }
    waiting.join().unwrap().unwrap()
}

/// A file that is removed at the end of the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn the_default_is_fine_and_shows_as_such() {
    let (status, default, _) = run(&["config", "default"], &[]);
    assert_eq!(status, Some(0));
    let file = File::new("default.toml", &default);
    let (status, out, err) = run(&["config", "check", "--config", file.path()], &[]);
    assert_eq!((status, out.as_str(), err.as_str()), (Some(0), "the configuration is fine\n", ""));
    let (_, shown, _) = run(&["config", "show"], &[]);
    assert!(shown.contains("\nlisten = \"127.0.0.1:7071\"  # default\n"), "{shown}");
    let (_, shown, _) = run(&["config", "show"], &[("SOCKEYE_CONFIG", file.path())]);
    assert!(shown.lines().all(|line| !line.ends_with("# default")), "all of it is in the file: {shown}");
}

#[test]
fn every_mistake_is_named_and_the_status_says_so() {
    let file = File::new("mistakes.toml", "[server]\nworker = 1\nlisten = 7071\n[hub]\nkeys = -1\n");
    let at = |rest: &str| format!("{}:{rest}", file.path());
    for arguments in [&["config", "check"][..], &["config", "show"], &["serve"], &[]] {
        let arguments = [arguments, &["--config", file.path()]].concat();
        let (status, out, err) = run(&arguments, &[("SOCKEYE_SERVER_WORKERS", "many"), ("SOCKEYE_HUB", "1")]);
        assert_eq!((status, out.as_str()), (Some(1), ""), "{arguments:?}");
        let lines = err.lines().collect::<Vec<_>>();
        assert_eq!(lines[0], "sockeye: the configuration cannot be used:");
        let starts = [
            at("2:1: server.worker: there is no such key; did you mean workers?"),
            at("3:10: server.listen: expected an IP address and a port"),
            at("5:8: hub.keys: expected a whole number from 1 to"),
            "environment: SOCKEYE_HUB: there is no such variable".to_owned(),
            "environment: SOCKEYE_SERVER_WORKERS: server.workers: expected \"auto\" or a whole number".to_owned(),
        ];
        assert_eq!(lines.len(), 1 + starts.len(), "{err}");
        assert!(lines[1..].iter().zip(&starts).all(|(line, start)| line.starts_with(start)), "{err}");
    }
    let (status, _, err) = run(&["config", "check", "--config", "/nowhere/sockeye.toml"], &[]);
    assert!(status == Some(1) && err.starts_with("sockeye: /nowhere/sockeye.toml: "), "{err}");
}

#[test]
fn what_is_not_safe_refuses_to_start_and_says_what_to_add() {
    for (arguments, variables, add) in [
        (&["--listen", "0.0.0.0:0"][..], &[][..], "under [origins]"),
        (&["--listen", "0.0.0.0:0"], &[], "--allow-origin https://example.org"),
        (&[], &[("SOCKEYE_SERVER_LISTEN", "[::]:0")], "under [origins]"),
        (&[], &[("SOCKEYE_API_ENABLED", "true")], "under [api]"),
        (&[], &[("SOCKEYE_NAMESPACES_CHAT_DURABLE", "true")], "under [store]"),
    ] {
        let (status, out, err) = run(&[&["serve", "--workers", "1"], arguments].concat(), variables);
        assert!(status == Some(1) && out.is_empty() && err.contains("add ") && err.contains(add), "{err}");
    }
}

#[test]
fn a_certificate_is_looked_at_without_starting() {
    let (cert, key) = (File::new("cert.pem", "nonsense"), File::new("key.pem", "nonsense"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let name = |file: &File| file.0.file_name().unwrap().to_str().unwrap().to_owned();
    // Paths begin where the file is.
    let file = File::new("tls.toml", &format!("[tls]\ncert = '{}'\nkey = '{}'\n", name(&cert), name(&key)));
    let check = || run(&["config", "check", "--config", file.path()], &[]);
    let (status, _, err) = check();
    assert!(status == Some(1) && err.contains("tls.toml:2:8: tls: ") && err.contains(cert.path()), "{err}");
    fs::write(&cert.0, made.cert.pem()).unwrap();
    let (status, _, err) = check();
    assert!(status == Some(1) && err.contains(key.path()), "{err}");
    fs::write(&key.0, made.signing_key.serialize_pem()).unwrap();
    assert_eq!(check().0, Some(0));
}

/// Attack J11, of the program: not in any output, and not in its arguments, as there is no flag for one.
#[test]
fn a_secret_is_in_no_output() {
    let keys = File::new("keys", &format!("{CANARY}{CANARY}\n"));
    let right = format!("[api]\nenabled = true\nkeys = [\"{CANARY}\"]\nkeys_file = \"{}\"\n", keys.path());
    let wrong = [
        right.replace("keys =", "kees ="),
        right.replace("[\"", "\"").replace("\"]", "\""),
        right.replace("\"]", ""),
        right.replace("true", CANARY),
        right.replace(CANARY, &format!("{CANARY} {CANARY}")),
    ];
    for (text, expected) in [(right, 0)].into_iter().chain(wrong.map(|text| (text, 1))) {
        let file = File::new("secret.toml", &text);
        for command in ["check", "show"] {
            let arguments = ["config", command, "--config", file.path()];
            for variables in [&[][..], &[("SOCKEYE_API_KEYS", CANARY)], &[("SOCKEYE_LOG", "trace")]] {
                let (status, out, err) = run(&arguments, variables);
                assert_eq!(status, Some(expected), "{text}{err}");
                assert!(!out.contains(CANARY) && !err.contains(CANARY), "{text}{out}{err}");
            }
        }
    }
    let (_, out, err) = run(&["config", "check"], &[("SOCKEYE_API_KEY", CANARY), ("SOCKEYE_API_ENABLED", CANARY)]);
    assert!(err.contains("did you mean SOCKEYE_API_KEYS?") && !err.contains(CANARY) && !out.contains(CANARY), "{err}");
}

#[test]
fn serve_does_what_the_configuration_says() {
    let file = File::new("serve.toml", "[server]\nlisten = \"127.0.0.2:0\"\nworkers = 1\n");
    let listens = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut child = sockeye(arguments, variables).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (said, first) = mpsc::channel();
        thread::spawn(move || said.send(BufReader::new(stdout).lines().next()));
        let first = first.recv_timeout(Duration::from_secs(20));
        child.kill().unwrap();
        ended(child);
        first.expect("it says where it listens in time").unwrap().unwrap()
    };
    let by_file = ["serve", "--config", file.path()];
    let by_environment = [("SOCKEYE_SERVER_LISTEN", "127.0.0.3:0")];
    let by_flag = [&by_file[..], &["--listen", "127.0.0.4:0"]].concat();
    assert!(listens(&by_file, &[]).starts_with("listening on http://127.0.0.2:"));
    assert!(listens(&["--config", file.path()], &[]).starts_with("listening on http://127.0.0.2:"));
    assert!(listens(&["serve"], &[("SOCKEYE_CONFIG", file.path())]).starts_with("listening on http://127.0.0.2:"));
    assert!(listens(&by_file, &by_environment).starts_with("listening on http://127.0.0.3:"));
    assert!(listens(&by_flag, &by_environment).starts_with("listening on http://127.0.0.4:"));
}
