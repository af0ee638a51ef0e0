//! What the tests of the program share: servers of a few lines, and the program itself, bounded in time.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub(crate) mod pty;

use std::{
    future::Future,
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Serves every connection on a thread of its own, as long as the test runs.
pub(crate) fn serve<F, T>(talk: F) -> SocketAddr
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = Result<(), sockeye::Error>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let mut talks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                talks.spawn(talk(stream));
            }
        });
    });
    receiver.recv_timeout(PATIENCE).unwrap()
}

pub(crate) async fn echo(stream: TcpStream) -> Result<(), sockeye::Error> {
    let mut socket = sockeye::accept(stream).await?;
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// `sockeye connect` to this address.
pub(crate) fn connect(server: SocketAddr, options: &[&str]) -> Command {
    connect_to(&format!("ws://{server}/"), options)
}

/// `sockeye connect` to this URL, in an environment that says nothing of proxies.
pub(crate) fn connect_to(url: &str, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    command.arg("connect").args(options).arg(url);
    for variable in ["NO_COLOR", "SOCKEYE_LOG", "ws_proxy", "WS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    command.env("XDG_STATE_HOME", scratch("unused-state"));
    command
}

/// A path of this test run's own.
pub(crate) fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

/// Starts it with pipes.
pub(crate) fn start(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs it to its end, with this input.
pub(crate) fn run(command: Command, input: &[u8]) -> Output {
    let mut child = start(command);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    end(child)
}

/// Waits for its end.
pub(crate) fn end(child: Child) -> Output {
    let pid = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(child.wait_with_output());
    });
    receiver
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| {
            let _ = kill_process(pid, Signal::KILL);
            panic!("the program did not end");
        })
        .unwrap()
}

pub(crate) fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}
