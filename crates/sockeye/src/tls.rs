//! TLS for clients: rustls, with the platform's roots unless the program brings a configuration.
use std::sync::Arc;

use tokio::{sync::OnceCell, task::spawn_blocking};
use tokio_rustls::TlsConnector;

use crate::{
    Error, Transport,
    route::Http,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::CryptoProvider,
        pki_types::{CertificateDer, ServerName},
    },
};

/// Made once per process: to read the roots takes milliseconds, and sessions are resumed by it.
static PLATFORM: OnceCell<Config> = OnceCell::const_new();

/// What a program sets.
pub(crate) type Config = Arc<ClientConfig>;

/// All that TLS with one server takes. It is put together before anything is dialled, so that what is missing here does
/// not cost the server a connection.
pub(crate) struct Tls {
    config: Config,
    name: ServerName<'static>,
}

impl Tls {
    /// For `host`, a name or an address; with the platform's roots if there is no configuration.
    pub(crate) async fn with(host: &str, config: Option<&Config>, http: Http) -> Result<Self, Error> {
        let config = match config {
            Some(config) => config,
            None => PLATFORM.get_or_try_init(platform).await?,
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Error::misuse("bad_server_name", "TLS: the URL's host is no name that a certificate can have")
        })?;
        let config = match http {
            Http::One => Arc::clone(config),
            #[cfg(feature = "http2")]
            Http::Two => offering_http2(config),
        };
        Ok(Self { config, name })
    }

    /// Shakes hands.
    ///
    /// Early data (0-RTT) is never sent, whatever the configuration allows: an opening handshake could be replayed with it
    /// (RFC 8470 section 3).
    pub(crate) async fn secure(self, transport: Transport) -> Result<Transport, Error> {
        let connector = TlsConnector::from(self.config);
        let stream = connector.connect(self.name, transport).await.map_err(Error::io)?;
        Ok(Transport::secured(stream))
    }
}

/// A configuration that trusts these roots and no others.
pub(crate) fn trusting(
    provider: Arc<CryptoProvider>,
    roots: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<ClientConfig, Error> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(Error::tls)?;
    }
    finish(provider, store)
}

/// The process's, if it has one; else the one compiled in.
#[cfg_attr(feature = "ring", expect(clippy::unnecessary_wraps, reason = "without `ring` there may be none"))]
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, Error> {
    if let Some(provider) = CryptoProvider::get_default() {
        return Ok(Arc::clone(provider));
    }
    #[cfg(feature = "ring")]
    return Ok(Arc::new(crate::rustls::crypto::ring::default_provider()));
    #[cfg(not(feature = "ring"))]
    return Err(Error::misuse(
        "no_tls_provider",
        "TLS needs cryptography: switch on sockeye's feature `ring`, install a rustls CryptoProvider for the process, or \
         give Client::tls a configuration that has one",
    ));
}

/// The same configuration with `h2` offered first.
#[cfg(feature = "http2")]
fn offering_http2(config: &Config) -> Config {
    if config.alpn_protocols.iter().any(|protocol| protocol == b"h2") {
        return Arc::clone(config);
    }
    let mut config = ClientConfig::clone(config);
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols.push(b"http/1.1".to_vec());
    }
    config.alpn_protocols.insert(0, b"h2".to_vec());
    Arc::new(config)
}

/// The same configuration without `h2`, which a program's own may have offered.
pub(crate) fn stop_offering_http2(config: &mut Config) {
    if config.alpn_protocols.iter().any(|protocol| protocol == b"h2") {
        Arc::make_mut(config).alpn_protocols.retain(|protocol| protocol != b"h2");
    }
}

async fn platform() -> Result<Config, Error> {
    let provider = provider()?;
    let reading = spawn_blocking(|| with_platform_roots(provider));
    // It fails only if it panicked, or if the runtime ends.
    let config = reading.await.map_err(|error| Error::io(error.into()))??;
    Ok(Arc::new(config))
}

fn with_platform_roots(provider: Arc<CryptoProvider>) -> Result<ClientConfig, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // A platform's store may hold one that is not up to today's rules; the others serve.
    let (added, _ignored) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(Error::misuse("no_tls_roots", format!("TLS: this machine has no root certificates{why}")));
    }
    finish(provider, store)
}

fn finish(provider: Arc<CryptoProvider>, roots: RootCertStore) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.map_err(Error::tls)?.with_root_certificates(roots).with_no_client_auth();
    // RFC 7301: a server that speaks others too then knows which one comes.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
