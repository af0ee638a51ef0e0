//! TLS: the same server behind it, certificates that change, and what attackers send in its place (A24 to A26).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{fs, io::Write, net::TcpStream as StdStream, sync::Arc, time::Duration};

use common::{
    Running, assert_status, get, header, read_to_end,
    tls::{BOTH, Folder, connect, encrypt, trusting},
    within,
};
use sockeye::Message;
use sockeye_server::{
    Server, StartError, Tls,
    rustls::{
        self, AlertDescription, ClientConnection, ServerConfig,
        crypto::ring,
        pki_types::ServerName,
        version::{TLS12, TLS13},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

/// Type of a record that carries an alert.
const ALERT: u8 = 21;

async fn echo(socket: &mut sockeye::WebSocket<TlsStream<TcpStream>>, message: impl Into<Message>) {
    let message = message.into();
    within(socket.send(message.clone())).await.unwrap();
    assert!(within(socket.recv()).await.unwrap().unwrap() == message);
}

fn presented(stream: &TlsStream<TcpStream>) -> rustls::pki_types::CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn websockets_over_tls() {
    let folder = Folder::new();
    let certificate = folder.issue();
    let server = Running::start(&folder.options());
    let mut socket = connect(&server, &certificate, "/echo").await;
    for len in [0, 1, 65_536, 1 << 20] {
        echo(&mut socket, vec![0xfe; len]).await;
    }
    let outcome = within(socket.close(sockeye::CloseCode::NORMAL, "")).await.unwrap();
    assert!(outcome.is_clean());
    let mut ann = connect(&server, &certificate, "/chat").await;
    assert_eq!(within(ann.recv()).await.unwrap().unwrap().as_text(), Some(r#"{"msg":[]}"#));
    let mut bob = connect(&server, &certificate, "/cursors").await;
    within(bob.send(r#"{"x":1,"y":2}"#)).await.unwrap();
    assert!(within(bob.recv()).await.unwrap().unwrap().as_text().unwrap().contains(r#""x":1"#));
}

/// Both versions, with and without ALPN; the answer ends with TLS' own goodbye, so that nobody can have cut it short.
#[tokio::test]
async fn pages_over_tls() {
    let folder = Folder::new();
    let certificate = folder.issue();
    let server = Running::start(&folder.options());
    for version in [&TLS12, &TLS13] {
        for alpn in [&[][..], &["http/1.1"], &["spdy/3", "http/1.1"]] {
            let mut stream = encrypt(&server, trusting(&certificate, &[version], alpn)).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            stream.write_all(get("/health", "Connection: close\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            within(stream.read_to_string(&mut answer)).await.expect("close_notify at the end");
            assert_status(&answer, 200);
            assert!(answer.ends_with(r#"{"status":"ok"}"#));
        }
    }
    let refused = encrypt(&server, trusting(&certificate, BOTH, &["spdy/3"])).await.unwrap_err();
    assert!(is_alert(&refused, AlertDescription::NoApplicationProtocol), "{refused}");
}

fn is_alert(error: &std::io::Error, alert: AlertDescription) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(received)) if *received == alert)
}

/// A new certificate is for new connections; nobody is dropped. One that is broken changes nothing.
#[tokio::test]
async fn certificates_are_replaced_while_connections_live() {
    let folder = Folder::new();
    let old = folder.issue();
    let server = Running::start(&folder.options());
    let mut living = connect(&server, &old, "/echo").await;
    let (good_cert, good_key) = (fs::read(folder.cert()).unwrap(), fs::read(folder.key()).unwrap());
    for (cert, key) in [(&b"nonsense"[..], &good_key[..]), (&good_cert, b""), (b"", b"")] {
        fs::write(folder.cert(), cert).unwrap();
        fs::write(folder.key(), key).unwrap();
        server.reload_certificates();
        assert_eq!(presented(connect(&server, &old, "/echo").await.get_ref()), old);
    }
    let new = folder.issue();
    server.reload_certificates();
    within(async {
        // Until the reload, on its own thread, is done.
        while encrypt(&server, trusting(&new, BOTH, &[])).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(presented(connect(&server, &new, "/echo").await.get_ref()), new);
    echo(&mut living, "still here").await;
    assert_eq!(presented(living.get_ref()), old);
}

#[tokio::test]
async fn what_cannot_be_used_is_named_at_the_start() {
    let (folder, other) = (Folder::new(), Folder::new());
    let error = |tls: Tls| {
        let mut options = folder.options();
        options.tls = Some(tls);
        let Err(error @ StartError::Tls(_)) = Server::start(&options) else { panic!("it started") };
        error.to_string()
    };
    let (cert, key) = (folder.cert().display().to_string(), folder.key().display().to_string());
    let missing = error(folder.tls());
    assert!(missing.starts_with(&format!("cannot serve TLS: {cert}: No such file")), "{missing}");
    folder.issue();
    other.issue();
    let mismatch = error(Tls::files(folder.cert(), other.key()));
    assert!(mismatch.contains(&format!("it is not the key of the certificate in {cert}")), "{mismatch}");
    let swapped = error(Tls::files(folder.key(), folder.cert()));
    assert!(swapped.contains(&format!("{key}: there is no certificate in it")), "{swapped}");
    let two_certificates = error(Tls::files(folder.cert(), folder.cert()));
    assert!(two_certificates.contains(&format!("{cert}: there is no private key in it")), "{two_certificates}");
    fs::write(folder.key(), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let broken = error(folder.tls());
    assert!(broken.starts_with(&format!("cannot serve TLS: {key}: ")), "{broken}");
}

/// A24: plain HTTP is told what the port speaks, whatever it asks for.
#[tokio::test]
async fn a24_plain_http() {
    let folder = Folder::new();
    folder.issue();
    let server = Running::start(&folder.options());
    for request in [get("/", ""), common::upgrade("/echo", ""), get("/", "").replacen("GET", "HEAD", 1)] {
        let answer = server.ask(request).await;
        assert_status(&answer, 400);
        assert_eq!(header(&answer, "connection"), Some("close"));
        assert!(answer.contains("this port speaks TLS") || answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

/// A24: what is no TLS is answered with an alert and closed.
#[tokio::test]
async fn a24_broken_handshakes() {
    let folder = Folder::new();
    let certificate = folder.issue();
    let server = Running::start(&folder.options());
    for broken in [
        &[0x00; 64][..],
        &[0xff; 64],
        &[22, 3, 1, 0xff, 0xff, 1, 0, 0, 0],
        &[23, 3, 3, 0, 1, 0],
        &[22, 3, 1, 0, 5, 99, 0, 0, 1, 0],
        // A server's hello, to a server.
        &[22, 3, 3, 0, 4, 2, 0, 0, 0],
    ] {
        let mut stream = server.raw().await;
        stream.write_all(broken).await.unwrap();
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer.first(), Some(&ALERT), "{broken:?}");
    }
    // And a good one is served as before.
    echo(&mut connect(&server, &certificate, "/echo").await, "x").await;
}

/// A24: a hello that says it has 16 MiB is not waited for, it is closed long before the deadline.
#[tokio::test]
async fn a24_a_hello_of_16_mib() {
    let folder = Folder::new();
    folder.issue();
    let server = Running::start(&folder.options());
    let mut stream = server.raw().await;
    stream.write_all(&[&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 0x4000 - 4]].concat()).await.unwrap();
    timeout(Duration::from_secs(5), read_to_end(&mut stream)).await.unwrap();
}

/// A24: a hello in records of one byte each is slow, not wrong (RFC 8446 section 5.1).
#[tokio::test]
async fn a24_a_hello_in_fragments() {
    let folder = Folder::new();
    let certificate = folder.issue();
    let server = Running::start(&folder.options());
    let (address, config) = (server.address, Arc::new(trusting(&certificate, BOTH, &[])));
    let shake = tokio::task::spawn_blocking(move || {
        let mut client = ClientConnection::new(config, ServerName::from(address.ip())).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let mut stream = StdStream::connect(address).unwrap();
        for byte in &hello[5..] {
            stream.write_all(&[22, 3, 1, 0, 1, *byte]).unwrap();
        }
        client.complete_io(&mut stream).unwrap();
        client.is_handshaking()
    });
    assert!(!within(shake).await.unwrap());
}

/// A25: a client that would send early data is given no ticket for it; a configuration that would is refused.
#[tokio::test]
async fn a25_no_early_data() {
    let folder = Folder::new();
    let certificate = folder.issue();
    let server = Running::start(&folder.options());
    let mut config = trusting(&certificate, BOTH, &[]);
    config.enable_early_data = true;
    for resumed in [false, true] {
        let mut stream = encrypt(&server, config.clone()).await.unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), resumed, "{kind:?}");
        assert!(!stream.get_ref().1.is_early_data_accepted());
        assert!(stream.get_mut().1.early_data().is_none());
        stream.write_all(get("/health", "Connection: close\r\n").as_bytes()).await.unwrap();
        // The ticket comes before the answer.
        within(stream.read_to_end(&mut Vec::new())).await.unwrap();
    }
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut early = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut options = folder.options();
    options.tls = Some(Tls::config(Arc::new(early.clone())));
    Running::start(&options).stop().await;
    early.max_early_data_size = 1;
    options.tls = Some(Tls::config(Arc::new(early)));
    assert!(matches!(Server::start(&options), Err(StartError::Tls(_))));
}

/// A26: whoever has had its share is closed before any TLS is done for it.
#[tokio::test]
async fn a26_over_the_share() {
    let folder = Folder::new();
    let certificate = folder.issue();
    let mut options = folder.options();
    options.admission.limit_loopback = true;
    options.admission.per_address = 1;
    let server = Running::start(&options);
    let mut inside = connect(&server, &certificate, "/echo").await;
    assert_eq!(read_to_end(&mut server.raw().await).await, "");
    echo(&mut inside, "x").await;
}

/// Stopping is a goodbye over TLS too.
#[tokio::test]
async fn stopping_tells_every_client() {
    let folder = Folder::new();
    let certificate = folder.issue();
    let server = Running::start(&folder.options());
    let mut socket = connect(&server, &certificate, "/echo").await;
    let client = tokio::spawn(async move {
        while within(socket.recv()).await.unwrap().is_some() {}
        socket.close_outcome().unwrap().code()
    });
    server.stop().await;
    assert_eq!(client.await.unwrap(), 1001);
}
