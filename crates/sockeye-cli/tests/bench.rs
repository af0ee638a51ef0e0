//! `sockeye bench` against `sockeye`: every mode, briefly. What is counted is checked, never how long it took.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use common::{PATIENCE, end, run, scratch, start, status, stderr, stdout};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running server, killed when dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts it at any free port; what it says of its address is its first line.
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
        command.args(arguments).args(["--listen", "127.0.0.1:0", "--workers", "1"]).env_remove("SOCKEYE_LOG");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }

    fn echo() -> Self {
        Self::start(&["demo", "echo", "--deflate", "--takeover"])
    }

    /// The server with its channels, whose limits are out of the way.
    fn channels(name: &str) -> Self {
        let config = scratch(name);
        let limits = "[session]\ncommands_per_second = 1_000_000\ncommands_burst = 1_000_000\n[namespaces.default]\n\
            anonymous = \"publish\"\nsession_rate = 1_000_000\nchannel_rate = 1_000_000\n";
        fs::write(&config, limits).unwrap();
        let mut server = Self::start(&["serve", "--config", config.to_str().unwrap()]);
        server.url.push_str("ws");
        server
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One at a time: they would only be slow together.
static ALONE: Mutex<()> = Mutex::new(());

fn bench(url: &str, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    command.arg("bench").args(arguments.split(' ')).arg(url).env_remove("SOCKEYE_LOG");
    command
}

/// Runs it to a good end and reads its report.
fn measure(url: &str, arguments: &str) -> Value {
    let output = run(bench(url, &format!("{arguments} --json")), b"");
    assert_eq!(status(&output), 0, "{arguments}: {}", stderr(&output));
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(report["mode"], arguments.split(' ').next().unwrap());
    assert_eq!((&report["version"], &report["interrupted"]), (&env!("CARGO_PKG_VERSION").into(), &false.into()));
    report
}

#[track_caller]
fn has_times(report: &Value) {
    let times = ["p50_us", "p90_us", "p99_us", "p99_9_us", "max_us"].map(|name| report[name].as_f64().unwrap());
    assert!(times.is_sorted() && times[0] > 0.0, "{times:?}");
}

#[test]
fn echo_counts_every_reply() {
    let _alone = ALONE.lock();
    let server = Server::echo();
    let pid = server.pid();
    for (arguments, payload, messages) in [
        ("echo --connections 7 --in-flight 3 --messages 1000 --seconds 20 --warm-up 0.05", 128, 1_000),
        ("echo --connections 3 --payload 70000 --messages 30 --seconds 20 --warm-up 0 --text", 70_000, 30),
        ("echo --connections 2 --payload 0 --messages 10 --seconds 20 --warm-up 0", 0, 10),
        // Open loop: as many as are due, no matter when they are answered.
        ("echo --connections 5 --rate 400 --seconds 0.5 --warm-up 0", 128, 200),
        ("echo --connections 4 --deflate --payload 2000 --messages 100 --seconds 20 --warm-up 0 --text", 2_000, 100),
        ("echo --connections 4 --deflate=takeover --payload 2000 --messages 100 --seconds 20 --warm-up 0", 2_000, 100),
    ] {
        let report = measure(&server.url, &format!("{arguments} --pid {pid}"));
        assert_eq!((&report["messages"], &report["payload"]), (&messages.into(), &payload.into()), "{arguments}");
        assert!(report["cpu_ns_per_message"].as_f64().is_some(), "{arguments}");
        assert_eq!(
            report["deflate_takeover"].as_bool(),
            arguments.contains("deflate").then(|| arguments.contains("=takeover"))
        );
        if payload == 2_000 {
            assert!(
                report["bytes_out"].as_u64() < Some(1_000) && report["bytes_in"].as_u64() < Some(1_000),
                "{report}"
            );
        } else {
            let header = if payload < 126 {
                6
            } else if payload < 65_536 {
                8
            } else {
                14
            };
            assert_eq!(
                (&report["bytes_out"], &report["bytes_in"]),
                (&(payload + header).into(), &(payload + header - 4).into())
            );
        }
        has_times(&report);
    }
}

#[test]
fn channels_deliver_and_acknowledge() {
    let _alone = ALONE.lock();
    let server = Server::channels("bench-channels.toml");
    for (arguments, publications) in [
        ("fanout --subscribers 20 --messages 50 --in-flight 4 --seconds 20 --warm-up 0", 50),
        ("fanout --subscribers 10 --rate 100 --seconds 0.3 --warm-up 0 --payload 1000", 30),
        ("fanout --subscribers 3 --messages 5 --payload 4 --seconds 20 --warm-up 0", 5),
    ] {
        let report = measure(&server.url, arguments);
        let subscribers = report["subscribers"].as_u64().unwrap();
        assert_eq!(report["publications"], publications, "{arguments}");
        assert_eq!(report["deliveries"], publications * subscribers, "{arguments}");
        has_times(&report);
        has_times(&report["each"]);
    }
    let report = measure(&server.url, "publish --connections 5 --in-flight 4 --messages 200 --seconds 20 --warm-up 0");
    assert_eq!(report["acknowledged"], 200);
    has_times(&report);
    let report = measure(&server.url, "publish --connections 5 --rate 200 --seconds 0.5 --warm-up 0 --channel one");
    assert_eq!(report["acknowledged"], 100);
    let pid = server.pid();
    let report = measure(&server.url, &format!("idle --connections 30 --channel quiet --pid {pid}"));
    assert_eq!((&report["connections"], &report["channel"]), (&30.into(), &"quiet".into()));
    assert!(report["after_handshake_each"]["private"].is_i64());
}

/// Its limits are for what people do, not for this.
#[test]
fn who_is_too_fast_for_the_server_is_told_which_limits_to_raise() {
    let _alone = ALONE.lock();
    let server = Server::start(&["serve"]);
    let output = run(bench(&format!("{}ws", server.url), "publish --connections 1 --in-flight 200 --seconds 5"), b"");
    assert_eq!(status(&output), 1);
    for word in ["rate_limited", "session_rate", "channel_rate", "commands_per_second", "commands_burst"] {
        assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output));
    }
}

#[test]
fn handshakes_and_idle_connections() {
    let _alone = ALONE.lock();
    let server = Server::echo();
    for (arguments, handshakes) in [
        ("storm --connections 150 --concurrent 20", 150),
        ("storm --connections 150 --concurrent 20 --close", 150),
        ("storm --connections 1000 --rate 100 --seconds 0.5 --close", 50),
    ] {
        let report = measure(&server.url, &format!("{arguments} --pid {}", server.pid()));
        assert_eq!(report["handshakes"], handshakes, "{arguments}");
        assert!(report["cpu_ns_per_handshake"].as_f64().is_some(), "{arguments}");
        has_times(&report);
    }
    let report = measure(&server.url, "idle --connections 30 --hold 0.1");
    assert_eq!((&report["connections"], &report["empty"]), (&30.into(), &Value::Null));
}

/// Over TLS, from two addresses, and with both ways to trust.
#[test]
fn tls_too() {
    let _alone = ALONE.lock();
    let (cert, key) = (scratch("bench-cert.pem"), scratch("bench-key.pem"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let server = Server::start(&["demo", "echo", "--tls-cert", cert, "--tls-key", key]);
    for trust in ["--insecure".to_owned(), format!("--ca {cert}")] {
        let arguments = format!(
            "echo --connections 4 --in-flight 8 --payload 20000 --messages 200 --seconds 20 --warm-up 0 {trust}"
        );
        assert_eq!(measure(&server.url, &format!("{arguments} --from 127.0.0.2,127.0.0.3"))["messages"], 200);
        let report = measure(&server.url, &format!("storm --connections 10 --close {trust}"));
        assert_eq!(report["handshakes"], 10);
    }
    let output = run(bench(&server.url, "echo"), b"");
    assert_eq!(status(&output), 1);
    assert!(stderr(&output).contains("--ca FILE or --insecure"), "{}", stderr(&output));
}

/// What a plain server passes on, and what it does when it does so wrongly.
#[test]
fn a_broadcast_is_verified() {
    let _alone = ALONE.lock();
    let (good, bad) = (broadcast(false), broadcast(true));
    let report =
        measure(&format!("ws://{good}/"), "fanout --broadcast --subscribers 5 --messages 40 --seconds 20 --warm-up 0");
    assert_eq!((&report["publications"], &report["deliveries"]), (&40.into(), &200.into()));
    let output = run(bench(&format!("ws://{bad}/"), "fanout --broadcast --subscribers 5 --seconds 20"), b"");
    assert_eq!(status(&output), 1, "{}", stdout(&output));
    assert!(stderr(&output).contains("not publication 8"), "{}", stderr(&output));
}

/// A server that passes on what comes to all, its sender too; or, if it is bad, to all others, and the seventh message twice.
fn broadcast(bad: bool) -> std::net::SocketAddr {
    let (sender, _) = tokio::sync::broadcast::channel::<(usize, sockeye::Message)>(1_000);
    let members = std::sync::atomic::AtomicUsize::new(0);
    common::serve(move |stream| {
        let me = members.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (sender, mut receiver) = (sender.clone(), sender.subscribe());
        async move {
            let (mut socket, mut said) = (sockeye::accept(stream).await?, 0);
            loop {
                tokio::select! {
                    message = socket.recv() => {
                        let Some(message) = message? else { return Ok(()) };
                        said += 1;
                        for _ in 0..if bad && said == 7 { 2 } else { 1 } {
                            let _ = sender.send((me, message.clone()));
                        }
                    }
                    Ok((from, message)) = receiver.recv() => if !bad || from != me { socket.send(message).await? },
                }
            }
        }
    })
}

#[test]
fn what_goes_wrong_is_said_and_is_a_status() {
    let _alone = ALONE.lock();
    let server = Server::channels("bench-wrong.toml");
    for (url, arguments, what) in [
        ("ws://127.0.0.1:1/", "echo", "nobody listens at 127.0.0.1:1"),
        (&server.url.replace("/ws", "/nowhere"), "storm --connections 3", "handshake refused: the server answered 404"),
        // The hub's answer to no JSON.
        (&server.url, "echo --text --connections 1", "wrong reply at byte 0"),
        (&server.url, "publish --channel *", "not published: {\"id\":1,\"error\":{\"code\":\"bad_channel\""),
        (&server.url, "fanout --channel * --subscribers 2", "not subscribed: "),
        (&server.url, "echo --deflate --connections 2", "does not agree to permessage-deflate"),
    ] {
        let output = run(bench(url, arguments), b"");
        assert_eq!(status(&output), 1, "{arguments}: {}", stdout(&output));
        assert!(stderr(&output).contains(what), "{arguments}: {}", stderr(&output));
    }
    // A server that takes everything and says nothing.
    let silent = common::serve(|stream| async {
        let mut socket = sockeye::accept(stream).await?;
        while socket.recv().await?.is_some() {}
        Ok(())
    });
    let output = run(bench(&format!("ws://{silent}/"), "echo --connections 3 --patience 0.3"), b"");
    assert_eq!(status(&output), 1);
    assert!(
        stderr(&output).contains("3 replies on 3 connections are missing for 0.3 s; 0 came"),
        "{}",
        stderr(&output)
    );
}

/// The second answer comes with the first, or stands for the next until two come together.
#[test]
fn an_answer_too_many_is_an_error() {
    let _alone = ALONE.lock();
    let twice = common::serve(|stream| async {
        let mut socket = sockeye::accept(stream).await?;
        while let Some(message) = socket.recv().await? {
            socket.feed(message.clone()).await?;
            socket.send(message).await?;
        }
        Ok(())
    });
    let output = run(bench(&format!("ws://{twice}/"), "echo --connections 3 --seconds 20"), b"");
    assert_eq!(status(&output), 1, "{}", stdout(&output));
    assert!(stderr(&output).contains("more replies than requests"), "{}", stderr(&output));
}

#[test]
fn an_interrupt_prints_what_was_measured() {
    let _alone = ALONE.lock();
    let server = Server::echo();
    let mut child = start(bench(&server.url, "echo --connections 2 --seconds 600 --warm-up 0.01 --json"));
    // Its line of progress says that it is under way.
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("replies, p99"), "{line}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = end(child);
    assert_eq!(status(&output), 130);
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(report["interrupted"], true);
    assert!(report["messages"].as_u64() > Some(0) && report["seconds"].as_f64() < Some(PATIENCE.as_secs_f64()));
}
