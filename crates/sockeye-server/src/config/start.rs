//! From a configuration to what a server is started with.
use sockeye::OriginPolicy;

use super::{Config, LimitsSection, OriginsSection};
use crate::{Admission, ServerOptions, Site, Tls, TlsError};

impl Config {
    /// What [`Server::start`](crate::Server::start) takes.
    #[must_use]
    pub fn server_options(&self) -> ServerOptions {
        let mut options = ServerOptions::new(Site::Server);
        options.listen = self.server.listen;
        options.workers = self.server.workers.unwrap_or(options.workers);
        options.drain = self.server.drain;
        options.tls = self.tls();
        options.origins = self.origins.policy(self.is_local());
        options.admission = self.limits.admission();
        options.max_message = self.demos.max_message;
        options.max_fragments = self.demos.max_fragments;
        options
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
