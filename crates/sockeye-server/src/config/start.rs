//! From a configuration to what a server is started with.
use std::sync::Arc;

use sockeye::{Deflate, OriginPolicy};
use sockeye_hub::{ChannelOptions, HubOptions, Namespaces, SlowPolicy};

use super::{
    Compression, Config, Durability, IoUring, LimitsSection, NamespaceOptions, NamespaceTable, OriginsSection,
    PipeOptions, PipesSection, SessionLimits, SessionSection, Slow, SockJsOptions, SockJsSection, StorePlace,
};
use crate::{
    Admission, ApiKey, ServerOptions, Site, Tls, TlsError,
    auth::Rules,
    store::{self, StoreOptions},
};

impl Config {
    /// What [`Server::start`](crate::Server::start) takes.
    #[must_use]
    pub fn server_options(&self) -> ServerOptions {
        let mut options = ServerOptions::new(Site::Server);
        options.listen = self.server.listen;
        options.workers = self.server.workers.unwrap_or(options.workers);
        options.drain = self.server.drain;
        options.deflate = match self.server.deflate {
            Compression::Never => None,
            Compression::Always => Some(Deflate::default()),
            Compression::Takeover => Some(Deflate::default().server_takeover(true).client_takeover(true)),
        };
        if self.server.io_uring == IoUring::Never {
            options.io_uring = None;
        }
        options.page = self.page.enabled.holds(self.is_local());
        options.demos = self.demos.enabled.holds(self.is_local());
        options.tls = self.tls();
        options.origins = self.origins.policy(self.is_local());
        options.admission = self.limits.admission();
        options.max_message = self.demos.max_message;
        options.max_fragments = self.demos.max_fragments;
        options.sockjs = self.sockjs.options(self.origins.frame_ancestors());
        options.namespaces = Arc::new(self.namespaces.for_hub());
        options.rules = Some(Rules::new(self));
        options.hub = self.hub();
        options.session = self.session.limits();
        options.pipes = self.pipes.options();
        options.store = self.store();
        if self.api.enabled {
            options.api_keys = self.api_keys().enumerate().map(|(index, key)| ApiKey::configured(index, key)).collect();
        }
        options
    }

    fn hub(&self) -> HubOptions {
        let section = &self.hub;
        HubOptions::with(|options| {
            options.subscriptions = self.session.subscriptions;
            options.backlog_bytes = section.backlog_bytes;
            options.catch_up_count = section.catch_up_count;
            options.catch_up_bytes = section.catch_up_bytes;
            options.channels = section.channels;
            options.key_age = section.key_age;
            options.keys = section.keys;
            options.pending = section.pending;
            options.pending_bytes = section.pending_bytes;
            options.members_bytes = section.members_bytes;
            options.members_every = section.members_every;
            options.idle_after = section.idle_after;
        })
    }

    /// The store has to give back all that the history of any durable channel may hold, and to know keys as long as the hub.
    fn store(&self) -> Option<StorePlace> {
        let folder = self.store.path.clone()?;
        let durable = || self.namespaces.all().filter(|namespace| namespace.durable);
        let options = StoreOptions::with(|options| {
            options.durability = match self.store.durability {
                Durability::Fsync => store::Durability::Fsync,
                Durability::Os => store::Durability::Os,
            };
            options.max_channels = self.store.max_channels;
            options.max_bytes = self.store.max_bytes;
            options.key_age = self.hub.key_age;
            options.load_keys = self.hub.keys;
            options.load_count = durable().map(|namespace| namespace.history_size).max().unwrap_or(options.load_count);
            options.load_bytes = durable().map(|namespace| namespace.history_bytes).max().unwrap_or(options.load_bytes);
        });
        Some(StorePlace { folder, options })
    }

    /// Whether certificate and key can be used, if there are any.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn check_tls(&self) -> Result<(), TlsError> {
        self.tls().map_or(Ok(()), |tls| tls.check())
    }

    fn tls(&self) -> Option<Tls> {
        let (cert, key) = (self.tls.cert.as_ref()?, self.tls.key.as_ref()?);
        Some(Tls::files(cert, key))
    }
}

impl OriginsSection {
    /// `None` if nothing is said, with which a server starts on loopback only.
    fn policy(&self, is_local: bool) -> Option<OriginPolicy> {
        let named = self.allowed.iter().filter(|origin| !matches!(origin.as_str(), "self" | "*"));
        let policy = if self.allowed.iter().any(|origin| origin == "*") {
            OriginPolicy::any()
        } else if self.allowed.is_empty() {
            return (self.required && is_local).then(|| OriginPolicy::any().require());
        } else {
            // They were checked when they were read; what should not be an origin after all lets nobody in.
            OriginPolicy::list(named).map_or_else(|_| OriginPolicy::same(), OriginPolicy::and_same)
        };
        Some(if self.required { policy.require() } else { policy })
    }
}

impl OriginsSection {
    /// The same pages, as a browser is told which may show ours in a frame.
    fn frame_ancestors(&self) -> Option<String> {
        if self.allowed.is_empty() || self.allowed.iter().any(|origin| origin == "*") {
            return None;
        }
        let named = self.allowed.iter().filter(|origin| *origin != "self").map(String::as_str);
        Some(std::iter::once("'self'").chain(named).collect::<Vec<_>>().join(" "))
    }
}

impl SockJsSection {
    fn options(&self, frame_ancestors: Option<String>) -> SockJsOptions {
        SockJsOptions {
            enabled: self.enabled,
            websocket: self.websocket,
            scripts: self.scripts,
            cookie: self.cookie,
            response_limit: self.response_limit,
            frame_ancestors,
            ..SockJsOptions::default()
        }
    }
}

impl LimitsSection {
    fn admission(&self) -> Admission {
        let default = Admission::default();
        Admission {
            max_connections: self.connections.unwrap_or(default.max_connections),
            per_address: self.connections_per_address,
            new_per_second: self.new_per_second,
            limit_loopback: self.limit_loopback,
        }
    }
}

impl PipesSection {
    fn options(&self) -> PipeOptions {
        PipeOptions {
            enabled: self.enabled,
            max_open: self.max_open,
            per_address: self.per_address,
            max_body: self.max_body,
            linger: self.linger,
            heartbeat: self.heartbeat,
            response_limit: self.response_limit,
        }
    }
}

impl NamespaceTable {
    fn all(&self) -> impl Iterator<Item = &NamespaceOptions> {
        std::iter::once(&self.default).chain(self.named.values())
    }

    /// What of it is the hub's business.
    fn for_hub(&self) -> Namespaces {
        let default = Namespaces::new(Some(self.default.for_hub()));
        self.named.iter().fold(default, |all, (name, options)| all.and(name, options.for_hub()))
    }
}

impl NamespaceOptions {
    fn for_hub(&self) -> ChannelOptions {
        ChannelOptions::with(|options| {
            options.history_size = self.history_size;
            options.history_age = self.history_age;
            options.history_bytes = self.history_bytes;
            options.presence = self.presence;
            options.join_leave = self.join_leave;
            options.max_members = self.max_members;
            options.session_rate = self.session_rate;
            options.channel_rate = self.channel_rate;
            options.durable = self.durable;
            options.slow = match self.slow {
                Slow::Disconnect => SlowPolicy::Disconnect,
                Slow::Skip => SlowPolicy::Skip,
                Slow::Latest => SlowPolicy::Latest,
            };
        })
    }
}

impl SessionSection {
    fn limits(&self) -> SessionLimits {
        SessionLimits {
            commands_per_second: self.commands_per_second,
            commands_burst: self.commands_burst,
            commands_refused: self.commands_refused,
            soft_output: self.soft_output,
            hard_output: self.hard_output,
        }
    }
}
