//! Whom to trust, where it is not whom the platform does.
use std::{path::Path, sync::Arc};

use sockeye::rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore, SignatureScheme,
    WantsVerifier,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use super::{
    escape,
    failure::{Failure, Kind},
};

/// Trusts the root certificates in this file, and no others.
pub(super) fn trusting(file: &Path) -> Result<ClientConfig, Failure> {
    let roots = read(file).map_err(|why| {
        let file = escape::line(&file.to_string_lossy()).into_owned();
        Failure::new(Kind::Failed, "bad_cacert", format!("cannot use --cacert {file}: {}", escape::line(&why)))
    })?;
    configure(|builder| builder.with_root_certificates(roots))
}

/// Trusts everybody.
pub(super) fn trusting_anybody() -> Result<ClientConfig, Failure> {
    let verifier = AnyCertificate(ring::default_provider().signature_verification_algorithms);
    configure(|builder| builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

/// How people call a version of TLS.
pub(super) fn name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "1.2",
        ProtocolVersion::TLSv1_3 => "1.3",
        _ => "of a version unknown here",
    }
}

fn read(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("it has no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    Ok(roots)
}

type Builder<State> = ConfigBuilder<ClientConfig, State>;

/// With cryptography of its own: none is installed for the process.
fn configure(trust: impl FnOnce(Builder<WantsVerifier>) -> Builder<WantsClientCert>) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Failure::new(Kind::Failed, "tls", error.to_string()))?;
    let mut config = trust(builder).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts any certificate. That the server has its key is still verified.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
