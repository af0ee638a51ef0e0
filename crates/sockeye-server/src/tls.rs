//! TLS: what a server is given for it, and certificates that may change while it runs.
//!
//! TLS 1.2 and 1.3 by rustls with its ring provider, named in the configuration, never installed for the process. There is
//! no 0-RTT: an upgrade request could be replayed (attack A25). Sessions are resumed with tickets, so the server remembers
//! none.
use std::{
    error::Error,
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, InconsistentKeys, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
        server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
        sign::CertifiedKey,
    },
    server::TlsStream,
};
use tracing::{info, warn};

/// What ALPN calls HTTP/2.
const HTTP2: &[u8] = b"h2";
/// How often the files are looked at for a change.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Bytes that rustls holds for a peer that does not take them: two records.
const BUFFER: usize = 32 * 1024;
/// After a failed handshake so much of what the peer still sends is read away, for so long.
const LINGER_BYTES: u64 = 64 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// How a server speaks TLS.
///
/// ```no_run
/// use sockeye_server::{Server, ServerOptions, Site, Tls};
///
/// let mut options = ServerOptions::new(Site::Server);
/// options.tls = Some(Tls::files("cert.pem", "key.pem"));
/// let server = Server::start(&options)?;
/// # Ok::<(), sockeye_server::StartError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tls(Source);

/// Why a certificate, a key or a configuration cannot be used. Its text names the file.
#[derive(Debug)]
pub struct TlsError {
    file: Option<PathBuf>,
    source: Box<dyn Error + Send + Sync>,
}

#[derive(Clone, Debug)]
enum Source {
    Files(Files),
    Config(Arc<ServerConfig>),
}

#[derive(Clone, Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Tls {
    /// The chain of certificates in the one PEM file, the server's own first, and its private key in the other.
    ///
    /// When the files change, new connections get the new certificate and the others go on; it is noticed within seconds,
    /// or at once by [`Server::reload_certificates`](crate::Server::reload_certificates). Files that cannot be used then are
    /// complained about in the log and change nothing.
    pub fn files(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self(Source::Files(Files { cert: cert.into(), key: key.into() }))
    }

    /// A configuration made elsewhere, with its own provider, certificates and protocols. What is negotiated by ALPN holds;
    /// without ALPN it is HTTP/1.1. One that allows 0-RTT is refused at the start.
    #[must_use]
    pub fn config(config: Arc<ServerConfig>) -> Self {
        Self(Source::Config(config))
    }

    /// Loads what there is to load, and keeps nothing.
    pub(crate) fn check(&self) -> Result<(), TlsError> {
        match &self.0 {
            Source::Files(files) => files.load(&ring::default_provider()).map(drop),
            Source::Config(_) => Ok(()),
        }
    }

    /// Loads what there is to load, and starts to watch it.
    pub(crate) fn start(&self) -> Result<Acceptor, TlsError> {
        match &self.0 {
            Source::Files(files) => Acceptor::watching(files),
            Source::Config(config) if config.max_early_data_size > 0 => Err(TlsError {
                file: None,
                source: "the configuration allows 0-RTT, and an upgrade can be replayed".into(),
            }),
            Source::Config(config) => Ok(Acceptor { config: Arc::clone(config), reload: None }),
        }
    }
}

/// What makes TLS of accepted TCP. The files are watched as long as there is one of these.
#[derive(Clone, Debug)]
pub(crate) struct Acceptor {
    config: Arc<ServerConfig>,
    reload: Option<SyncSender<()>>,
}

impl Acceptor {
    fn watching(files: &Files) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        // Looked at before it is read: what changes meanwhile is seen the next time.
        let seen = files.stamps();
        let current = Arc::new(Current(RwLock::new(files.load(&provider)?)));
        let config = config(Arc::clone(&provider), Arc::clone(&current) as _).map_err(TlsError::general)?;
        let (reload, asked) = sync_channel(1);
        let watch = Watch { files: files.clone(), provider, seen, current };
        thread::Builder::new()
            .name("sockeye-certs".into())
            .spawn(move || watch.run(&asked))
            .map_err(TlsError::general)?;
        Ok(Self { config: Arc::new(config), reload: Some(reload) })
    }

    /// Asks for another look at the files, whether or not they seem to have changed.
    pub(crate) fn reload(&self) {
        if let Some(reload) = &self.reload {
            // If one is asked for already, that will do.
            let _ = reload.try_send(());
        }
    }

    /// Shakes hands. How long that may take is for the caller to limit.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        // Here, because whatever comes after does not see the socket inside.
        stream.set_nodelay(true)?;
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let accepting = acceptor.accept_with(stream, |connection| connection.set_buffer_limit(Some(BUFFER)));
        match accepting.into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, stream)) => {
                linger(stream).await;
                Err(error)
            }
        }
    }
}

/// Whether ALPN settled on HTTP/2.
pub(crate) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// Ends a connection on which an alert has been sent so that the alert arrives: closing with input unread would reset it.
async fn linger(mut stream: TcpStream) {
    let reading_on = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // That it did not work out is no news.
    let _: Result<io::Result<u64>, _> = timeout(LINGER, reading_on).await;
}

fn config(provider: Arc<CryptoProvider>, current: Arc<Current>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(current);
    config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Looks at the files now and then.
struct Watch {
    files: Files,
    provider: Arc<CryptoProvider>,
    seen: [Option<Stamp>; 2],
    current: Arc<Current>,
}

impl Watch {
    /// Until nobody can ask any more.
    fn run(mut self, asked: &Receiver<()>) {
        loop {
            match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => self.load(self.files.stamps()),
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Whether there was anything new to see.
    fn look(&mut self) -> bool {
        let stamps = self.files.stamps();
        let is_new = stamps != self.seen;
        if is_new {
            self.load(stamps);
        }
        is_new
    }

    /// What cannot be used is complained about once: it is seen now, and not looked at again until it changes.
    fn load(&mut self, stamps: [Option<Stamp>; 2]) {
        self.seen = stamps;
        match self.files.load(&self.provider) {
            Ok(new) => {
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = new;
                info!("new connections get the certificate that is now in {}", self.files.cert.display());
            }
            Err(error) => warn!("the certificate stays the old one: {error}"),
        }
    }
}

/// What tells one version of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    len: u64,
    inode: u64,
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let data = fs::metadata(file).ok()?;
        Some(Self { modified: (data.mtime(), data.mtime_nsec()), len: data.len(), inode: data.ino() })
    }
}

impl Files {
    fn stamps(&self) -> [Option<Stamp>; 2] {
        [Stamp::of(&self.cert), Stamp::of(&self.key)]
    }

    fn load(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
        let in_cert = |source| TlsError::of(&self.cert, source);
        let in_key = |source| TlsError::of(&self.key, source);
        let read = fs::read(&self.cert).map_err(|error| in_cert(error.into()))?;
        let chain = CertificateDer::pem_slice_iter(&read).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| in_cert(error.into()))?;
        if chain.is_empty() {
            return Err(in_cert("there is no certificate in it (PEM is expected)".into()));
        }
        let read = fs::read(&self.key).map_err(|error| in_key(error.into()))?;
        let key = PrivateKeyDer::from_pem_slice(&read).map_err(|error| match error {
            pem::Error::NoItemsFound => in_key("there is no private key in it (PEM is expected)".into()),
            error => in_key(error.into()),
        })?;
        let key = provider.key_provider.load_private_key(key).map_err(|error| in_key(error.into()))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(in_key(format!("it is not the key of the certificate in {}", self.cert.display()).into()))
            }
            Err(error) => Err(in_cert(error.into())),
        }
    }
}

impl TlsError {
    fn of(file: &Path, source: Box<dyn Error + Send + Sync>) -> Self {
        Self { file: Some(file.to_owned()), source }
    }

    fn general(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { file: None, source: source.into() }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        write!(f, "{}", self.source)
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changed files are noticed; broken ones change nothing, and are not read again until they change.
    #[test]
    fn looking_at_the_files() {
        let folder = std::env::temp_dir().join(format!("sockeye-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let files = Files { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        let issue = || {
            let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
            fs::write(&files.cert, made.cert.pem()).unwrap();
            fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
            made.cert.der().clone()
        };
        let first = issue();
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current(RwLock::new(files.load(&provider).unwrap())));
        let mut watch = Watch { files: files.clone(), provider, seen: files.stamps(), current };
        let in_use = |watch: &Watch| watch.current.0.read().unwrap().cert[0].clone();
        assert!(!watch.look(), "nothing has changed");
        let second = issue();
        assert!(watch.look());
        assert!(in_use(&watch) == second && second != first);
        for broken in [&b""[..], b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            fs::write(&files.key, broken).unwrap();
            assert!(watch.look());
            assert!(!watch.look(), "it was complained about");
            assert!(in_use(&watch) == second);
        }
        fs::remove_file(&files.cert).unwrap();
        assert!(watch.look() && !watch.look() && in_use(&watch) == second);
        let third = issue();
        assert!(watch.look() && in_use(&watch) == third);
        fs::remove_dir_all(&folder).unwrap();
    }
}
