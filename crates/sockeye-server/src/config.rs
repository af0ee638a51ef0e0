//! What a server is started with, and the configuration that says so: one typed TOML file, every key of which can also be set by
//! environment.
//!
//! ```text
//! file, environment, flags ──Sources::load──▶ Loaded (or every Mistake) ──Config::server_options──▶ ServerOptions
//! ```
//!
//! `schema` declares each key once, with its type, default, limits and meaning. The reader, the environment, the printed
//! default, `show` and docs/configuration.md all go through that declaration, so none of them can forget a key.
mod environment;
mod kind;
mod load;
mod mistake;
mod print;
mod safety;
mod schema;
mod secret;
mod section;
mod start;
mod suggest;
mod units;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

pub use load::{Loaded, Sources};
pub use mistake::{Mistake, Mistakes, Place};
pub use print::{default_file, reference, variables};
pub use schema::{
    Anonymous, ApiSection, CallsSection, Compression, Config, DemosSection, Durability, HubSection, IoUring,
    LimitsSection, NamespaceOptions, NamespaceTable, OriginsSection, PageSection, PipesSection, ServerSection,
    SessionSection, Slow, SockJsSection, StoreSection, TlsSection, When, Who,
};
pub use secret::{Secret, SecretsFile};

use sockeye::{Deflate, OriginPolicy};
use sockeye_hub::{ChannelOptions, HubOptions, Namespaces};

use crate::{ApiKey, Calls, Site, Tls, auth::Rules, store::StoreOptions};

/// How a [`Server`](crate::Server) runs.
///
/// ```
/// use sockeye_server::{Demo, ServerOptions, Site};
/// let mut options = ServerOptions::new(Site::Demo(Demo::Echo));
/// options.max_message = 64 * 1024 * 1024;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// What is served.
    pub site: Site,
    /// Where. Port 0 takes any free one. Default: 127.0.0.1:7071.
    pub listen: SocketAddr,
    /// Whether the front page, on which anybody can try channels, is there. Default: yes.
    pub page: bool,
    /// Whether the demos are there, beside the hub. Default: yes.
    pub demos: bool,
    /// TLS, so that the addresses are `https` and `wss`. `None`, the default, speaks in the clear.
    ///
    /// An idle WebSocket over TLS costs the server 9.5 KB instead of 1.9 (measured): 4 KiB of that is rustls' read buffer,
    /// which it keeps, the rest its keys and state.
    pub tls: Option<Tls>,
    /// Which pages may connect. `None`, the default, lets every page connect on a loopback address and refuses to start on
    /// any other.
    pub origins: Option<OriginPolicy>,
    /// Threads, each with its own listener and connections. Default: one per core.
    pub workers: usize,
    /// Bytes of the largest message the echo takes. Default: 1 MiB.
    pub max_message: usize,
    /// Frames a message to the echo may have. Default: 1,024.
    pub max_fragments: usize,
    /// Compression for clients of the hub and the echo that offer it. Default: none.
    pub deflate: Option<Deflate>,
    /// Who gets in at all.
    pub admission: Admission,
    /// Which channels there are, and what holds for them. Default: those of the default namespace, with default options.
    pub namespaces: Arc<Namespaces>,
    /// Who may do what in them. `None`, the default, lets everybody do everything who gets in, but for the server's own channels.
    pub rules: Option<Rules>,
    /// What holds for the hub of each worker. Its `placement` is chosen anew at each start.
    pub hub: HubOptions,
    /// What holds for each session of the hub.
    pub session: SessionLimits,
    /// Where durable channels are kept. `None`, the default, is nowhere: what is done with one is `unavailable`.
    pub store: Option<StorePlace>,
    /// Conversations over HTTP, for clients that WebSockets do not reach.
    pub pipes: PipeOptions,
    /// What clients can `call`. Default: nothing.
    pub calls: Calls,
    /// The keys of the HTTP API under `/api/`. Without one, the default, there is none.
    pub api_keys: Vec<ApiKey>,
    /// How long clients have to answer the Close frame when the server stops. Default: 5 s.
    pub drain: Duration,
    /// SockJS.
    pub sockjs: SockJsOptions,
    /// From how many sockets on what they are told at once is sent through `io_uring`, where the system has it; `None` for
    /// never. Default: 256, since it is measured to pay off from there on.
    pub io_uring: Option<usize>,
}

/// Sockets. Measured through the hub, 1,000 subscribers take 0.85 of the CPU that they take without `io_uring`, 300 take 0.93
/// to 1.01, and with 100 there is no difference.
const IO_URING: usize = 256;

impl ServerOptions {
    /// The defaults, for this site.
    #[must_use]
    pub fn new(site: Site) -> Self {
        let limits = sockeye::Limits::default();
        Self {
            site,
            listen: SocketAddr::from(([127, 0, 0, 1], 7071)),
            page: true,
            demos: true,
            tls: None,
            origins: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            max_message: limits.max_message,
            max_fragments: limits.max_fragments,
            deflate: None,
            admission: Admission::default(),
            namespaces: Arc::new(Namespaces::new(Some(ChannelOptions::default()))),
            rules: None,
            hub: HubOptions::default(),
            session: SessionLimits::default(),
            pipes: PipeOptions::default(),
            store: None,
            calls: Calls::default(),
            api_keys: Vec::new(),
            drain: Duration::from_secs(5),
            sockjs: SockJsOptions::default(),
            io_uring: Some(IO_URING),
        }
    }
}

/// Where durable channels are kept, and how.
#[derive(Clone, Debug)]
pub struct StorePlace {
    /// The folder, which one server has at a time.
    pub folder: PathBuf,
    /// What holds there.
    pub options: StoreOptions,
}

/// SockJS, for clients that no WebSocket reaches: the hub at `/sockjs`, each demo at its own path.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct SockJsOptions {
    /// Whether it is there. Default: yes.
    pub enabled: bool,
    /// Whether there are JSONP and htmlfile, which pages load as scripts and frames: a browser does not say which page that
    /// is, so [`ServerOptions::origins`] does not hold for them. Only browsers need them that have no `XMLHttpRequest` across
    /// origins. Default: no.
    pub scripts: bool,
    /// Whether clients are told that there are WebSockets, and find them. Default: yes.
    pub websocket: bool,
    /// Whether clients are given the cookie `JSESSIONID`, which some load balancers want to see. Default: no.
    pub cookie: bool,
    /// Bytes from which on a streaming response ends, so that browsers can free it; the client opens the next. Default:
    /// 128 KiB.
    pub response_limit: usize,
    /// Where the page for frames finds the client, in the version that the pages around it have; begins with `/` or `http`, or
    /// there is no SockJS. Default: the 1.6.1 that the server has in it.
    pub client_url: String,
    /// Which pages may show the page for frames, as in `Content-Security-Policy: frame-ancestors`. `None`, the default, lets
    /// every page.
    pub frame_ancestors: Option<String>,
}

impl Default for SockJsOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            scripts: false,
            websocket: true,
            cookie: false,
            response_limit: sockeye_pipe::sockjs::RESPONSE_LIMIT,
            client_url: "/assets/sockjs-1.6.1.min.js".into(),
            frame_ancestors: None,
        }
    }
}

/// What one client of the hub may do, and what is kept for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionLimits {
    /// Commands a second in the long run; more are answered with `rate_limited`. Default: 100.
    pub commands_per_second: u32,
    /// Commands at once after a quiet time. Default: 200.
    pub commands_burst: u32,
    /// Commands answered so, less those that were done meanwhile, after which the connection is closed with 4108.
    /// Default: 1,000.
    pub commands_refused: u16,
    /// Bytes waiting in a connection's output above which it is not read, and publications wait in the hub: there the
    /// channel's policy for slow subscribers holds. Default: 256 KiB.
    pub soft_output: usize,
    /// Bytes of everything else that may wait there; beyond it the connection is closed with 4101. Default: 1 MiB.
    pub hard_output: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            commands_per_second: 100,
            commands_burst: 200,
            commands_refused: 1_000,
            soft_output: 256 * 1024,
            hard_output: 1024 * 1024,
        }
    }
}

/// Conversations over HTTP, and their bounds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PipeOptions {
    /// Whether there are any. Default: yes.
    pub enabled: bool,
    /// How many there can be at a time. Default: 100,000.
    pub max_open: usize,
    /// How many of one address (IPv4) or /64 network (IPv6), where [`Admission`] counts those, whatever pages they come from;
    /// and as many more by SockJS and by `/sse`. Default: 1,000.
    pub per_address: u32,
    /// Bytes of a request that brings messages, and of those that wait for the session. Default: 256 KiB.
    pub max_body: usize,
    /// How long a conversation waits for its client to come back, and how long one that is over can be heard. Default: 5 s.
    pub linger: Duration,
    /// A client that was told nothing for so long is told that the conversation is still there. Default: 25 s.
    pub heartbeat: Duration,
    /// Bytes after which a response ends and its client comes back: some clients keep the whole of a response in memory.
    /// Default: 1 MiB.
    pub response_limit: usize,
}

impl Default for PipeOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            max_open: 100_000,
            per_address: 1_000,
            max_body: 256 * 1024,
            linger: Duration::from_secs(5),
            heartbeat: Duration::from_secs(25),
            response_limit: 1024 * 1024,
        }
    }
}

/// Limits that hold before any work is done for a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Admission {
    /// Connections in all; when they are reached, accepting pauses. Default: the descriptor limit of the process less 64.
    pub max_connections: usize,
    /// Connections of one address (IPv4) or /64 network (IPv6); more are answered with 429, or closed at
    /// once where the answer would take a TLS handshake. Default: 1,000.
    pub per_address: usize,
    /// New connections a second of one address, with a burst of as many as [`per_address`](Self::per_address). Default: 50.
    pub new_per_second: u32,
    /// Whether the limits per address hold for loopback addresses too: what comes from there is this machine, or a proxy on
    /// it behind which everybody has the same address. Default: no.
    pub limit_loopback: bool,
}

impl Default for Admission {
    fn default() -> Self {
        const RESERVED: u64 = 64;
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
        Self {
            max_connections: usize::try_from(descriptors.saturating_sub(RESERVED)).unwrap_or(usize::MAX).max(1),
            per_address: 1_000,
            new_per_second: 50,
            limit_loopback: false,
        }
    }
}
