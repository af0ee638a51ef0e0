//! The server under test: a child process with a durable store, on a port that stays the same.
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use sockeye_client::{Backoff, Client, Error};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

/// For how long it may take to start.
const START: Duration = Duration::from_secs(20);

/// Publications of a channel that are certainly kept: neither their age nor their bytes come near what is configured.
pub(crate) const HISTORY: u64 = 100_000;

pub(crate) struct Server {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl Server {
    /// # Errors
    /// If it cannot be started, or does not answer.
    pub(crate) async fn start(program: &Path) -> io::Result<Self> {
        // A port that is free now; the server has to come back where it was.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = std::env::temp_dir().join(format!("sockeye-chaos-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("sockeye.toml"), config(&folder))?;
        let child = spawn(program, &folder, port)?;
        let mut server = Self { program: program.to_owned(), folder, port, child };
        server.wait_until_it_answers().await?;
        Ok(server)
    }

    /// Kills it with SIGKILL, calls `killed`, and starts it again after a while.
    ///
    /// # Errors
    /// If it does not come back.
    pub(crate) async fn kill_and_start_again(&mut self, down: Duration, killed: impl FnOnce()) -> io::Result<()> {
        self.child.kill().await?;
        killed();
        sleep(down).await;
        self.child = spawn(&self.program, &self.folder, self.port)?;
        self.wait_until_it_answers().await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) async fn stop(mut self) {
        drop(self.child.kill().await);
        drop(fs::remove_dir_all(&self.folder));
    }

    async fn wait_until_it_answers(&mut self) -> io::Result<()> {
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("the server ended: {status}")));
            }
            if since.elapsed() > START {
                return Err(io::Error::other("the server does not answer"));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// Our client, which comes back quickly.
///
/// # Errors
/// Never, for an address.
pub(crate) fn client(of: SocketAddr) -> Result<Client, Error> {
    let backoff = Backoff::with(|backoff| backoff.max = Duration::from_millis(500));
    Client::builder(&format!("ws://{of}/ws"))?.backoff(backoff).connect()
}

fn spawn(program: &Path, folder: &Path, port: u16) -> io::Result<Child> {
    Command::new(program)
        .args(["serve", "--config"])
        .arg(folder.join("sockeye.toml"))
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

/// Everything durable, and no limit that gets into the way of a load like this. Conversations over HTTP are impatient,
/// so that much of what can happen to them does.
fn config(folder: &Path) -> String {
    let store = folder.join("store");
    let store = store.to_string_lossy();
    format!(
        r#"
[server]
workers = 2
[session]
commands_per_second = 1_000_000
commands_burst = 1_000_000
[pipes]
heartbeat = "1 s"
linger = "2 s"
response_limit = "64 KiB"
[hub]
keys = 10_000_000
catch_up_count = {HISTORY}
catch_up_bytes = "64 MiB"
[store]
path = {store:?}
[namespaces.default]
durable = true
anonymous = "publish"
history_size = {HISTORY}
history_age = "1 h"
history_bytes = "64 MiB"
session_rate = 1_000_000
channel_rate = 1_000_000
"#
    )
}
