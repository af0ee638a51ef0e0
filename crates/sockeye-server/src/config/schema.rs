//! The configuration: every section, every key, its default and what it may be.
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    kind::{Address, AutoCount, Count, Flag, Location, Origins, Secrets, SecretsIn, Size, Time, Word, Words},
    secret::{Secret, SecretsFile},
    section::{Key, Section, section},
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Everything that can be set, with a value.
///
/// ```
/// use sockeye_server::config::Sources;
/// let loaded = Sources::new().text("sockeye.toml", "[namespaces.chat]\nhistory_age = \"10 m\"\n").load()?;
/// assert_eq!(loaded.config.namespaces.named["chat"].history_age.as_secs(), 600);
///
/// let mistakes = Sources::new().text("sockeye.toml", "[server]\nworker = 2\n").load().unwrap_err();
/// assert_eq!(mistakes.to_string(), "sockeye.toml:2:1: server.worker: there is no such key; did you mean workers?");
/// # Ok::<(), sockeye_server::config::Mistakes>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// `[server]`
    pub server: ServerSection,
    /// `[tls]`
    pub tls: TlsSection,
    /// `[origins]`
    pub origins: OriginsSection,
    /// `[limits]`
    pub limits: LimitsSection,
    /// `[session]`
    pub session: SessionSection,
    /// `[pipes]`
    pub pipes: PipesSection,
    /// `[hub]`
    pub hub: HubSection,
    /// `[store]`
    pub store: StoreSection,
    /// `[api]`
    pub api: ApiSection,
    /// `[calls]`
    pub calls: CallsSection,
    /// `[page]`
    pub page: PageSection,
    /// `[demos]`
    pub demos: DemosSection,
    /// `[sockjs]`
    pub sockjs: SockJsSection,
    /// `[namespaces.default]` and every `[namespaces.NAME]`
    pub namespaces: NamespaceTable,
}

section! {
    /// Where the server listens, and with what.
    pub struct ServerSection {
        /// Address and port; port 0 takes any free one. Where other machines can reach the address, `origins.allowed`
        /// is needed.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7071)), Address;
        /// Threads, each with its own connections. `"auto"`: one per core.
        pub workers: Option<usize> = None, AutoCount(1, 1_024);
        /// How long clients have to answer the Close frame when the server stops.
        pub drain: Duration = 5 * SECOND, Time(100 * MILLISECOND, HOUR);
        /// Whether WebSockets of the hub and the echo are compressed for clients that offer it (permessage-deflate), from
        /// messages of 128 bytes on: `"never"`, `"always"` (each message by itself: an idle connection holds nothing for
        /// it, and what many are told is compressed once), or `"takeover"` (messages refer to those before: smaller, for up
        /// to 32 KiB of memory each way).
        pub deflate: Compression = Compression::Never, Word::NEW;
        /// Whether what many are told at once is sent through `io_uring`: `"auto"` (where the system has it and lets it
        /// be used) or `"never"`.
        pub io_uring: IoUring = IoUring::Auto, Word::NEW;
    }
}

section! {
    /// With both keys the server speaks TLS: https and wss. Read again when a file changes, and on SIGHUP.
    pub struct TlsSection {
        /// The certificates (PEM), the server's own first.
        pub cert: Option<PathBuf> = None, Location("cert.pem");
        /// The private key of the certificate (PEM).
        pub key: Option<PathBuf> = None, Location("key.pem");
    }
}

section! {
    /// Which web pages may connect.
    pub struct OriginsSection {
        /// Pages of these origins, such as `"https://example.org"`, and always those from this server. `"self"`: only
        /// those. `"*"`: every page. Empty: every page as long as the server listens on loopback; elsewhere it does
        /// not start.
        pub allowed: Vec<String> = Vec::new(), Origins;
        /// Also refuse clients that send no Origin, as all do that are not browsers.
        pub required: bool = false, Flag;
    }
}

section! {
    /// Who gets in at all, before any work is done.
    pub struct LimitsSection {
        /// Connections in all; beyond it accepting pauses. `"auto"`: the limit of descriptors of the process, less 64.
        pub connections: Option<usize> = None, AutoCount(1, 100_000_000);
        /// Connections of one address (IPv4) or /64 network (IPv6).
        pub connections_per_address: usize = 1_000, Count(1, 100_000_000);
        /// New connections a second of one address.
        pub new_per_second: u32 = 50, Count(1, 1_000_000);
        /// Whether the two limits of an address hold for loopback addresses too.
        pub limit_loopback: bool = false, Flag;
    }
}

section! {
    /// What one client of the hub may do, and what is kept for it.
    pub struct SessionSection {
        /// Commands a second in the long run; more are answered with `rate_limited`.
        pub commands_per_second: u32 = 100, Count(1, 1_000_000);
        /// Commands at once after a quiet time.
        pub commands_burst: u32 = 200, Count(1, 1_000_000);
        /// Commands answered with `rate_limited`, less those done meanwhile, after which the connection is closed with
        /// 4108.
        pub commands_refused: u16 = 1_000, Count(1, 65_535);
        /// What may wait in a connection's output before publications wait in the hub.
        pub soft_output: usize = 256 * KIB, Size(4 * KIB, GIB);
        /// What may wait there in all; beyond it the connection is closed with 4101.
        pub hard_output: usize = MIB, Size(64 * KIB, GIB);
        /// Channels in which it may be at a time.
        pub subscriptions: usize = 128, Count(1, 100_000);
    }
}

section! {
    /// Conversations over HTTP, for clients that WebSockets do not reach.
    pub struct PipesSection {
        /// Whether there are any.
        pub enabled: bool = true, Flag;
        /// How many there can be at a time.
        pub max_open: usize = 100_000, Count(1, 100_000_000);
        /// How many of one address (IPv4) or /64 network (IPv6), and as many more by SockJS and by `/sse`; of loopback
        /// addresses as `limits.limit_loopback` says.
        pub per_address: u32 = 1_000, Count(1, 100_000_000);
        /// The largest request that brings messages, and what may wait for the server to take it.
        pub max_body: usize = 256 * KIB, Size(KIB, GIB);
        /// How long one waits for its client to come back, and how long one that is over can be heard.
        pub linger: Duration = 5 * SECOND, Time(SECOND, HOUR);
        /// A client that was told nothing for so long is told that the server is still there. Proxies give up after 30
        /// seconds or later.
        pub heartbeat: Duration = 25 * SECOND, Time(SECOND, HOUR);
        /// What one response brings before the client has to make another request.
        pub response_limit: usize = MIB, Size(KIB, GIB);
    }
}

section! {
    /// Bounds of the hub.
    pub struct HubSection {
        /// What may wait in the hub for one session; beyond it the channel's `slow` decides.
        pub backlog_bytes: usize = MIB, Size(64 * KIB, GIB);
        /// Publications that one subscriber catches up with.
        pub catch_up_count: usize = 1_000, Count(1, 1_000_000);
        /// Bytes of them.
        pub catch_up_bytes: usize = MIB, Size(64 * KIB, GIB);
        /// Channels of each worker.
        pub channels: usize = 200_000, Count(1, 100_000_000);
        /// How long an idempotency key is remembered.
        pub key_age: Duration = 5 * MINUTE, Time(SECOND, DAY);
        /// Idempotency keys remembered in one channel; while there are so many, one with a new key is refused.
        pub keys: usize = 100_000, Count(1, 100_000_000);
        /// What may wait at one channel for the store.
        pub pending: usize = 10_000, Count(1, 1_000_000);
        /// Bytes of it, after which nothing more is taken until some of it is stored.
        pub pending_bytes: usize = 8 * MIB, Size(64 * KIB, GIB);
        /// Bytes of the members named in one answer.
        pub members_bytes: usize = 512 * KIB, Size(KIB, GIB);
        /// How soon after each other the members of a channel are told who came and went.
        pub members_every: Duration = 100 * MILLISECOND, Time(10 * MILLISECOND, MINUTE);
        /// How long a durable channel that nobody uses stays in memory.
        pub idle_after: Duration = MINUTE, Time(SECOND, DAY);
    }
}

section! {
    /// What survives a restart.
    pub struct StoreSection {
        /// The folder in which durable namespaces are kept.
        pub path: Option<PathBuf> = None, Location("/var/lib/sockeye");
        /// When a publication counts as kept: `"fsync"` (it survives a power cut), `"os"` (it survives the death of
        /// the process).
        pub durability: Durability = Durability::Fsync, Word::NEW;
        /// Channels; while there are so many, the first publication into another one is refused.
        pub max_channels: u64 = 1_000_000, Count(1, 1_000_000_000);
        /// Bytes of all; beyond it publications into durable channels are refused.
        pub max_bytes: u64 = 16 << 30, Size(16 << 20, 1 << 50);
    }
}

section! {
    /// The HTTP API for servers.
    pub struct ApiSection {
        /// Whether there is one. It needs a key.
        pub enabled: bool = false, Flag;
        /// Secrets, each of which lets who shows it do everything the API can. They are never printed.
        pub keys: Vec<Secret> = Vec::new(), Secrets;
        /// A file with more of them, one a line; lines that are empty or begin with `#` are left out.
        pub keys_file: Option<SecretsFile> = None, SecretsIn("/etc/sockeye/api-keys");
    }
}

section! {
    /// What clients can call.
    pub struct CallsSection {
        /// Whether those may who have not said who they are.
        pub anonymous: When = When::Loopback, Word::NEW;
    }
}

section! {
    /// The front page, on which a channel can be tried. The JavaScript client at `/sockeye.js` is there without it.
    pub struct PageSection {
        /// Whether it is served. `"loopback"`: as long as the server listens on loopback.
        pub enabled: When = When::Loopback, Word::NEW;
    }
}

section! {
    /// The three demos, with their pages.
    pub struct DemosSection {
        /// Whether they are served.
        pub enabled: When = When::Always, Word::NEW;
        /// The largest message that the echo takes.
        pub max_message: usize = MIB, Size(KIB, GIB);
        /// Frames that a message to the echo may have.
        pub max_fragments: usize = 1_024, Count(1, 1_000_000);
    }
}

section! {
    /// SockJS, for clients that no WebSocket reaches: the hub at `/sockjs`, each demo at its own path.
    pub struct SockJsSection {
        /// Whether it is there.
        pub enabled: bool = true, Flag;
        /// Whether its clients may use WebSockets.
        pub websocket: bool = true, Flag;
        /// Whether there are JSONP and htmlfile, which browsers need that have no `XMLHttpRequest` across origins. They
        /// are loaded as scripts and frames, and some browsers do not say by which page: `origins.allowed` does not
        /// hold there.
        pub scripts: bool = false, Flag;
        /// Whether clients are given the cookie `JSESSIONID`, which some load balancers want to see.
        pub cookie: bool = false, Flag;
        /// Bytes after which a streaming response ends, so that browsers can free it; the client opens the next.
        pub response_limit: usize = 128 * KIB, Size(4 * KIB, GIB);
    }
}

section! {
    /// What holds for the channels of a namespace. `[namespaces.default]` is that of names without a `:`; every other
    /// is the part of the name before the first `:`. Channels of a namespace that is not here do not exist. None
    /// inherits from another.
    pub struct NamespaceOptions {
        /// Who may subscribe: `"clients"` (and the server), `"server"` (the API and the server itself), `"nobody"`.
        pub subscribe: Who = Who::Clients, Word::NEW;
        /// Who may publish.
        pub publish: Who = Who::Clients, Word::NEW;
        /// Who may read the history, and catch up from it. A client must be allowed to subscribe as well.
        pub history_read: Who = Who::Clients, Word::NEW;
        /// Who may see the members, and who comes and goes. A client must be allowed to subscribe as well.
        pub presence_read: Who = Who::Clients, Word::NEW;
        /// What those may of all this who have not said who they are: `"none"`; `"subscribe"` (and read); `"publish"`
        /// (and be members): what others may; `"loopback"`: as `"publish"` if the server listens on loopback, else
        /// `"none"`. The default is that of `[namespaces.default]`; in every other namespace it is `"none"`.
        pub anonymous: Anonymous = Anonymous::None, Word::NEW;
        /// Publications kept. 0 is a channel without history, without positions and without catching up.
        pub history_size: usize = 100, Count(0, 1_000_000);
        /// How long they are kept.
        pub history_age: Duration = 5 * MINUTE, Time(SECOND, 365 * DAY);
        /// Bytes of them all.
        pub history_bytes: usize = MIB, Size(KIB, GIB);
        /// Whether the history survives a restart. It needs `store.path`.
        pub durable: bool = false, Flag;
        /// Whether subscribers can be members and see who is there.
        pub presence: bool = true, Flag;
        /// Whether those who see the members are told who comes and goes.
        pub join_leave: bool = true, Flag;
        /// Members of one channel.
        pub max_members: usize = 100_000, Count(1, 10_000_000);
        /// Publications a second that a channel takes from one session, in the long run.
        pub session_rate: u32 = 100, Count(1, 1_000_000);
        /// Publications a second that a channel takes from all, in the long run.
        pub channel_rate: u32 = 10_000, Count(1, 10_000_000);
        /// What becomes of a subscriber that does not keep up: `"disconnect"` (it comes back and catches up), `"skip"`
        /// (what waits is dropped, and it is told), `"latest"` (of what has the same `conflate` the newest is kept).
        pub slow: Slow = Slow::Disconnect, Word::NEW;
    }
}

/// What is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Nothing.
    Never,
    /// Each message by itself.
    Always,
    /// Messages refer to those before.
    Takeover,
}

/// Whether `io_uring` is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoUring {
    /// Where the system has it and lets it be used.
    Auto,
    /// No.
    Never,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Yes.
    Always,
    /// If the server listens on a loopback address.
    Loopback,
    /// No.
    Never,
}

/// Who may do something with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Clients, the API and the server itself.
    Clients,
    /// The API and the server itself.
    Server,
    /// Nobody.
    Nobody,
}

/// What those may do in a channel who have not said who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Nothing.
    None,
    /// Subscribe, and read what subscribers may read.
    Subscribe,
    /// Whatever other clients may.
    Publish,
    /// As `Publish` if the server listens on a loopback address, else as `None`.
    Loopback,
}

/// What becomes of a subscriber that does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Its session is ended; it comes back and catches up.
    Disconnect,
    /// What waits is dropped, and it is told so.
    Skip,
    /// Of what has the same conflation key the newest is kept; where that does not help, as `Skip`.
    Latest,
}

/// When a publication into a durable channel counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it has been flushed to the disk.
    Fsync,
    /// When the operating system has it.
    Os,
}

impl Words for Compression {
    const ALL: &'static [(&'static str, Self)] =
        &[("never", Self::Never), ("always", Self::Always), ("takeover", Self::Takeover)];
}

impl Words for IoUring {
    const ALL: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("never", Self::Never)];
}

impl Words for When {
    const ALL: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("loopback", Self::Loopback), ("never", Self::Never)];
}

impl Words for Who {
    const ALL: &'static [(&'static str, Self)] =
        &[("clients", Self::Clients), ("server", Self::Server), ("nobody", Self::Nobody)];
}

impl Words for Anonymous {
    const ALL: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("subscribe", Self::Subscribe),
        ("publish", Self::Publish),
        ("loopback", Self::Loopback),
    ];
}

impl Words for Slow {
    const ALL: &'static [(&'static str, Self)] =
        &[("disconnect", Self::Disconnect), ("skip", Self::Skip), ("latest", Self::Latest)];
}

impl Words for Durability {
    const ALL: &'static [(&'static str, Self)] = &[("fsync", Self::Fsync), ("os", Self::Os)];
}

/// The namespaces there are.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NamespaceTable {
    /// That of names without a `:`. There always is one; its `anonymous` is `"loopback"` by default.
    pub default: NamespaceOptions,
    /// The others.
    pub named: BTreeMap<String, NamespaceOptions>,
}

impl NamespaceTable {
    /// What holds for the channels of this namespace; `None` if it does not exist.
    #[must_use]
    pub fn get(&self, namespace: Option<&str>) -> Option<&NamespaceOptions> {
        match namespace {
            None => Some(&self.default),
            Some(name) => self.named.get(name),
        }
    }
}

impl Default for NamespaceTable {
    fn default() -> Self {
        let default = NamespaceOptions { anonymous: Anonymous::Loopback, ..NamespaceOptions::default() };
        Self { default, named: BTreeMap::new() }
    }
}

/// One section of a configuration, by the name in its brackets.
pub(super) struct Part<'a> {
    pub(super) path: String,
    pub(super) about: &'static [&'static str],
    pub(super) keys: Vec<Key<'a>>,
}

impl<'a> Part<'a> {
    fn new<S: Section>(path: &str, section: &'a mut S) -> Self {
        Self { path: path.to_owned(), about: S::ABOUT, keys: section.keys() }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name == name)
    }
}

impl Config {
    /// All sections, in the order in which they are printed.
    pub(super) fn parts(&mut self) -> Vec<Part<'_>> {
        let (mut parts, named) = self.fixed_and_named();
        parts.extend(named.iter_mut().map(|(name, options)| Part::new(&format!("namespaces.{name}"), options)));
        parts
    }

    /// Those that are always there.
    pub(super) fn fixed_parts(&mut self) -> Vec<Part<'_>> {
        self.fixed_and_named().0
    }

    /// The section of this path. It does not take longer for there being many namespaces.
    pub(super) fn part(&mut self, path: &str) -> Option<Part<'_>> {
        if let Some(name) = path.strip_prefix("namespaces.").filter(|name| *name != "default") {
            return self.namespaces.named.get_mut(name).map(|options| Part::new(path, options));
        }
        self.fixed_parts().into_iter().find(|part| part.path == path)
    }

    fn fixed_and_named(&mut self) -> (Vec<Part<'_>>, &mut BTreeMap<String, NamespaceOptions>) {
        // Taken apart, so that none is forgotten.
        let Self {
            server,
            tls,
            origins,
            limits,
            session,
            pipes,
            sockjs,
            hub,
            store,
            api,
            calls,
            page,
            demos,
            namespaces,
        } = self;
        let parts = vec![
            Part::new("server", server),
            Part::new("tls", tls),
            Part::new("origins", origins),
            Part::new("limits", limits),
            Part::new("session", session),
            Part::new("pipes", pipes),
            Part::new("hub", hub),
            Part::new("store", store),
            Part::new("api", api),
            Part::new("calls", calls),
            Part::new("page", page),
            Part::new("demos", demos),
            Part::new("sockjs", sockjs),
            Part::new("namespaces.default", &mut namespaces.default),
        ];
        (parts, &mut namespaces.named)
    }

    /// Whether only this machine can reach the address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.server.listen.ip().is_loopback()
    }

    /// The secrets that open the API, wherever they were written.
    pub fn api_keys(&self) -> impl Iterator<Item = &Secret> {
        self.api.keys.iter().chain(self.api.keys_file.iter().flat_map(|file| &file.secrets))
    }
}

impl When {
    /// Whether that is now.
    #[must_use]
    pub fn holds(self, is_local: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Loopback => is_local,
            Self::Never => false,
        }
    }
}
