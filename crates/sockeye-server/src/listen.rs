//! Listeners and workers: one thread a core, each with its own listener, its own connections and no lock in common on the
//! way of a message.
use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use sockeye::{
    OriginPolicy, Refusal, ServerConfig, Subprotocol, SubprotocolPolicy, proto::handshake::InvalidSubprotocol,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    ServerOptions, Tls, TlsError,
    admission::Gate,
    demo::Demos,
    dialect::json,
    exchange, permit, session,
    sockjs::Mounts,
    store::OpenError,
    tls::Acceptor,
    worker::{self, Common, Plan, Worker},
};

/// Connections the kernel holds until they are accepted, per worker.
const BACKLOG: i32 = 4_096;
/// How long accepting pauses when the system has no descriptor or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running server. Dropping it does not stop it; [`stop`](Self::stop) does.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tls: Option<Acceptor>,
    stop: CancellationToken,
    workers: Vec<JoinHandle<()>>,
}

/// Who gets in, and how long the last ones have to leave.
#[derive(Clone, Debug)]
struct Door {
    gate: Arc<Gate>,
    drain: Duration,
}

impl Server {
    /// Binds, starts the workers and returns.
    ///
    /// # Errors
    /// If the address cannot be bound, the certificate cannot be used, or the options are not safe.
    ///
    /// ```
    /// use sockeye_server::{Demo, Server, ServerOptions, Site};
    /// let mut options = ServerOptions::new(Site::Demo(Demo::Echo));
    /// options.listen = "127.0.0.1:0".parse()?;
    /// let server = Server::start(&options)?;
    /// println!("ws://{}", server.address());
    /// server.stop();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start(options: &ServerOptions) -> Result<Self, StartError> {
        let origins = match &options.origins {
            Some(origins) => origins.clone(),
            None if options.listen.ip().is_loopback() => OriginPolicy::any(),
            None => return Err(StartError::OriginsNeeded),
        };
        let tls = options.tls.as_ref().map(Tls::start).transpose().map_err(StartError::Tls)?;
        let (address, listeners) =
            bind(options).map_err(|source| StartError::Listen { address: options.listen, source })?;
        let demos = Demos::new(options, &origins).map_err(|error| StartError::Thread(io::Error::other(error)))?;
        let hub = hub(options, &origins).map_err(|error| StartError::Thread(io::Error::other(error)))?;
        let stop = CancellationToken::new();
        let sockjs = Arc::new(Mounts::new(options, &hub, &demos));
        let common =
            Common { demos: Arc::new(demos), hub: Arc::new(hub), sockjs, tls: tls.clone(), stop: stop.clone() };
        let door = Door { gate: Gate::new(options.admission.clone()), drain: options.drain };
        let start = |(index, (listener, plan))| start_worker(index, listener, plan, door.clone());
        let workers = listeners
            .into_iter()
            .zip(worker::plan(options, &common, permit::of(options.rules.clone())).map_err(StartError::Store)?)
            .enumerate();
        match workers.map(start).collect::<io::Result<_>>() {
            Ok(workers) => Ok(Self { address, tls, stop, workers }),
            Err(source) => {
                // Those that did start.
                stop.cancel();
                Err(StartError::Thread(source))
            }
        }
    }

    /// The address it listens on, with the port that was free.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads the files of [`Tls::files`] again, on a thread of its own, instead of waiting until the change is noticed. Does
    /// nothing without such files.
    pub fn reload_certificates(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// Stops listening, tells every client of a demo 1001 and every client of the hub 1012 with a time to come back, waits for
    /// them at most [`ServerOptions::drain`], and returns.
    pub fn stop(self) {
        self.stop.cancel();
        for worker in self.workers {
            if worker.join().is_err() {
                warn!("a worker had panicked");
            }
        }
    }
}

/// Why a server did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The address could not be bound.
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A thread or its runtime could not be started.
    Thread(io::Error),
    /// The certificate, its key or the configuration of TLS cannot be used.
    Tls(TlsError),
    /// The store of durable channels cannot be opened.
    Store(OpenError),
    /// The address can be reached from elsewhere, and nothing says which pages may connect.
    OriginsNeeded,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Tls(source) => write!(f, "cannot serve TLS: {source}"),
            Self::Store(source) => write!(f, "cannot open the store: {source}"),
            Self::Thread(source) => write!(f, "cannot start a worker: {source}"),
            Self::OriginsNeeded => f.write_str(
                "this address can be reached from other machines, so it has to be said which web pages may connect",
            ),
        }
    }
}

impl std::error::Error for StartError {}

/// One listener a worker on the same port. The kernel spreads connections over them (`SO_REUSEPORT`).
fn bind(options: &ServerOptions) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    if options.listen.port() != 0 {
        // With `SO_REUSEPORT` a second server would share the port in silence; without it, binding tells.
        drop(listener(options.listen, false)?);
    }
    let first = listener(options.listen, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..options.workers {
        listeners.push(listener(address, true)?);
    }
    Ok((address, listeners))
}

fn listener(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

fn start_worker(index: usize, listener: std::net::TcpListener, plan: Plan, door: Door) -> io::Result<JoinHandle<()>> {
    let (tell, told) = mpsc::sync_channel(1);
    let worker = thread::Builder::new().name(format!("sockeye-{index}")).spawn(move || {
        // One that runs local tasks itself: a `LocalSet` would schedule each of them a second time.
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let _ = tell.send(Ok(()));
        runtime.block_on(async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => work(listener, plan.begin(), door).await,
                Err(error) => warn!("a listener cannot be used: {error}"),
            }
        });
    })?;
    told.recv().map_err(io::Error::other)??;
    Ok(worker)
}

/// How a WebSocket of the hub is opened: in our own subprotocol, or without one.
fn hub(options: &ServerOptions, origins: &OriginPolicy) -> Result<ServerConfig, InvalidSubprotocol> {
    let subprotocols = SubprotocolPolicy::required_if_offered([Subprotocol::new(json::NAME)?]);
    Ok(ServerConfig::with(|config| {
        config.connection = Arc::new(session::config(&options.session));
        config.origins = origins.clone();
        config.subprotocols = subprotocols;
        config.deflate.clone_from(&options.deflate);
    }))
}

/// Accepts until told to stop, then waits for the connections to end.
async fn work(listener: TcpListener, worker: Worker, door: Door) {
    worker.stop().run_until_cancelled(accept(&listener, &worker, &door.gate)).await;
    drop(listener);
    worker.say_goodbye();
    worker.tasks.close();
    if timeout(door.drain, worker.tasks.wait()).await.is_err() {
        debug!(left = worker.tasks.len(), "clients that did not answer are dropped");
    }
    worker.stopped();
}

async fn accept(listener: &TcpListener, worker: &Worker, gate: &Arc<Gate>) {
    let mut quiet_until = Instant::now();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match gate.admit(peer.ip(), Instant::now().into_std()) {
                Some(visit) => {
                    // Room is asked for by who has a visitor: a worker that took it before would keep it from the others.
                    let ticket = visit.wait_for_room().await;
                    let stop = worker.stop().clone();
                    // In a box, since a task is moved several times on its way, and this one has the size of an HTTP exchange.
                    let serving = Box::pin(exchange::serve(stream, worker.clone(), ticket));
                    worker.tasks.spawn_local(async move { stop.run_until_cancelled(serving).await });
                }
                // To say so in TLS would be the work that is not to be done.
                None if worker.tls().is_some() => drop(stream),
                None => {
                    worker.tasks.spawn(turn_away(stream));
                }
            },
            // The client left while it waited.
            Err(error) if is_clients_own(&error) => {}
            Err(error) => {
                if Instant::now() >= quiet_until {
                    warn!("accepting pauses: {error}");
                    quiet_until = Instant::now() + Duration::from_secs(10);
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Tells a visitor who has had its share so, without reading what it wants.
async fn turn_away(mut stream: TcpStream) {
    let mut response = bytes::BytesMut::new();
    Refusal::with_status(http::StatusCode::TOO_MANY_REQUESTS)
        .header(http::header::RETRY_AFTER, http::HeaderValue::from_static("5"))
        .write_to(&mut response);
    let answer = async {
        stream.write_all(&response).await?;
        stream.shutdown().await
    };
    let _ = timeout(Duration::from_secs(1), answer).await;
}

fn is_clients_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
