//! Certificates for tests, and the servers that have them.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use sockeye::{
    Client,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What a server shows and what vouches for it: a certificate signed by itself.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) root: CertificateDer<'static>,
    pub(crate) server: ServerConfig,
}

impl Identity {
    /// For `localhost` and this machine's addresses.
    pub(crate) fn local() -> Self {
        Self::of(&CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(String::from)).unwrap())
    }

    pub(crate) fn of(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![root.clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        Self { root, server }
    }

    /// Announces these protocols at the server.
    pub(crate) fn alpn(mut self, protocols: &[&str]) -> Self {
        self.server.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// A client's configuration that trusts this one and says nothing of ALPN.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// A client that trusts it.
    pub(crate) fn client(&self, url: &str) -> Client {
        Client::new(url).unwrap().root_certificates([self.root.clone()])
    }

    pub(crate) async fn accept<S>(&self, io: S) -> std::io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(Arc::new(self.server.clone())).accept(io).await
    }

    /// The next connection, as far as TLS.
    pub(crate) async fn next(&self, listener: &TcpListener) -> TlsStream<TcpStream> {
        self.accept(listener.accept().await.unwrap().0).await.unwrap()
    }
}

/// A listener on this machine, and its port.
pub(crate) async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}
