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

use std::{net::SocketAddr, time::Duration};

pub use load::{Loaded, Sources};
pub use mistake::{Mistake, Mistakes, Place};
pub use print::{default_file, reference, variables};
pub use schema::{
    Anonymous, ApiSection, CallsSection, Config, DemosSection, Durability, HubSection, LimitsSection, NamespaceOptions,
    NamespaceTable, OriginsSection, PageSection, ServerSection, SessionSection, Slow, StoreSection, TlsSection, When,
    Who,
};
pub use secret::{Secret, SecretsFile};

use sockeye::{Deflate, OriginPolicy};

use crate::{Site, Tls};

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
    /// Compression for clients of the echo that offer it. Default: none.
    pub deflate: Option<Deflate>,
    /// Who gets in at all.
    pub admission: Admission,
    /// How long clients have to answer the Close frame when the server stops. Default: 5 s.
    pub drain: Duration,
}

impl ServerOptions {
    /// The defaults, for this site.
    #[must_use]
    pub fn new(site: Site) -> Self {
        let limits = sockeye::Limits::default();
        Self {
            site,
            listen: SocketAddr::from(([127, 0, 0, 1], 7071)),
            tls: None,
            origins: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            max_message: limits.max_message,
            max_fragments: limits.max_fragments,
            deflate: None,
            admission: Admission::default(),
            drain: Duration::from_secs(5),
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
