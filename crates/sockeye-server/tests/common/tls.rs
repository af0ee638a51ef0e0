//! Certificates that nobody else trusts, and clients that trust exactly one.
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use sockeye::{Client, WebSocket};
use sockeye_server::{
    ServerOptions, Site, Tls,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
        version::{TLS12, TLS13},
    },
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use uuid::Uuid;

use super::{Running, options, within};

pub(crate) const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// A folder with `cert.pem` and `key.pem`, gone when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(Uuid::new_v4().to_string());
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn cert(&self) -> PathBuf {
        self.0.join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    /// Makes a certificate for 127.0.0.1 and puts it there with its key.
    pub(crate) fn issue(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(self.cert(), made.cert.pem()).unwrap();
        fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls::files(self.cert(), self.key())
    }

    /// Options for the whole site over TLS.
    pub(crate) fn options(&self) -> ServerOptions {
        let mut options = options(Site::Server);
        options.tls = Some(self.tls());
        options
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A client's configuration that trusts this certificate and offers these protocols by ALPN.
pub(crate) fn trusting(
    certificate: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// Shakes hands over TLS.
pub(crate) async fn encrypt(server: &Running, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::from(server.address.ip());
    within(TlsConnector::from(Arc::new(config)).connect(name, server.raw().await)).await
}

/// Opens a WebSocket over TLS.
pub(crate) async fn connect(
    server: &Running,
    certificate: &CertificateDer<'static>,
    path: &str,
) -> WebSocket<TlsStream<TcpStream>> {
    let stream = encrypt(server, trusting(certificate, BOTH, &["http/1.1"])).await.unwrap();
    let client = Client::new(&format!("wss://{}{path}", server.address)).unwrap();
    within(client.connect_over(stream)).await.unwrap()
}
