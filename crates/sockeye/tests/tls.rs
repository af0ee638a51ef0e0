//! TLS: whom a client trusts, what it announces, what hostile ends of either side come to (A24, A25, K), and what is missing
//! when there is no TLS.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[cfg(feature = "ring")]
#[path = "common/identity.rs"]
mod identity;

#[cfg(feature = "ring")]
mod with_ring {
    use std::{error::Error as _, io, process::Command, sync::Arc, time::Duration};

    use rcgen::{CertificateParams, DnType, date_time_ymd};
    use sockeye::{
        CloseCode, Error,
        proto::handshake::HandshakeLimits,
        rustls::{
            self, CertificateError, HandshakeKind, RootCertStore, ServerConfig,
            crypto::ring,
            pki_types::{CertificateDer, PrivateKeyDer},
            server::WebPkiClientVerifier,
        },
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::timeout,
    };
    use tokio_rustls::server::TlsStream;

    use super::{
        common::{CLOSE, FIN, MIB, TEXT, UPGRADE, close_payload, plain, read_frame, read_head, switching, within},
        identity::{Identity, listen},
    };

    /// Serves one connection: everything goes back.
    async fn echo_once(listener: &TcpListener, identity: &Identity) {
        let mut socket = sockeye::accept(identity.next(listener).await).await.unwrap();
        assert!(socket.get_ref().get_ref().0.nodelay().unwrap(), "small messages do not wait under TLS either");
        while let Some(message) = socket.recv().await.unwrap() {
            socket.send(message).await.unwrap();
        }
        assert!(socket.close_outcome().unwrap().is_clean());
    }

    /// The server's end after its opening handshake, for tests that go on in bytes.
    async fn raw_server(listener: &TcpListener, identity: &Identity) -> TlsStream<TcpStream> {
        let mut io = identity.next(listener).await;
        let head = read_head(&mut io).await;
        io.write_all(switching(&head, "").as_bytes()).await.unwrap();
        io.flush().await.unwrap();
        io
    }

    fn rustls_error(error: &Error) -> &rustls::Error {
        error.source().unwrap().downcast_ref().unwrap()
    }

    #[tokio::test]
    async fn a_conversation_with_names_and_addresses() {
        let identity = Identity::local().alpn(&["http/1.1"]);
        for (bind, host) in [("127.0.0.1:0", "localhost"), ("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]")] {
            let Ok(listener) = TcpListener::bind(bind).await else { continue };
            let address = listener.local_addr().unwrap();
            let talking = async {
                let client = identity.client(&format!("wss://{host}:{}/", address.port()));
                let mut socket = client.connect().await.unwrap();
                assert_eq!(socket.peer_addr().unwrap(), address);
                let tls = socket.get_ref().tls().unwrap();
                assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
                assert_eq!(tls.peer_certificates().unwrap(), std::slice::from_ref(&identity.root));
                assert_eq!(tls.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
                for size in [0, 5, MIB] {
                    socket.send(vec![7; size]).await.unwrap();
                    assert_eq!(socket.recv().await.unwrap().unwrap().as_bytes(), vec![7; size]);
                }
                assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
            };
            within(20, Box::pin(async { tokio::join!(echo_once(&listener, &identity), talking) })).await;
        }
    }

    /// The platform's roots, as far as this can be tried without changing them: `SSL_CERT_FILE` stands for them, and a
    /// process of its own reads it. There the process has cryptography of its own too, which counts. The second
    /// connection resumes the first one's session, so the configuration is shared.
    #[tokio::test]
    async fn the_platforms_roots() {
        const CHILD: &str = "SOCKEYE_TEST_PLATFORM_ROOTS";
        let identity = Identity::local();
        if let Ok(file) = std::env::var(CHILD) {
            return platform_child(&file).await;
        }
        let name = format!("sockeye-{}-{:p}.pem", std::process::id(), &raw const identity);
        let file = std::env::temp_dir().join(name);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "with_ring::the_platforms_roots", "--nocapture"])
            .env(CHILD, &file)
            .env("SSL_CERT_FILE", &file)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    }

    async fn platform_child(file: &str) {
        let identity = Identity::local();
        let (listener, port) = listen().await;
        let url = format!("wss://localhost:{port}/");
        let error = sockeye::connect(&url).await.unwrap_err();
        assert_eq!((error.code(), error.is_misuse()), ("no_tls_roots", true), "{error}");
        std::fs::write(file, pem(&identity.root)).unwrap();
        let mut provider = ring::default_provider();
        provider.cipher_suites = vec![ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
        provider.install_default().unwrap();
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let talking = async {
                let mut socket = sockeye::connect(&url).await.unwrap();
                let tls = socket.get_ref().tls().unwrap();
                assert_eq!(tls.handshake_kind(), Some(kind));
                let suite = tls.negotiated_cipher_suite().unwrap().suite();
                assert_eq!(suite, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
                socket.send("hello").await.unwrap();
                assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("hello"));
                socket.close(CloseCode::NORMAL, "").await.unwrap();
            };
            within(20, Box::pin(async { tokio::join!(echo_once(&listener, &identity), talking) })).await;
        }
    }

    fn pem(certificate: &[u8]) -> String {
        let body = data_encoding::BASE64.encode(certificate);
        let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    #[tokio::test]
    async fn certificates_that_are_not_trusted() {
        let local = Identity::local();
        let mut expired = CertificateParams::new(["localhost".into()]).unwrap();
        expired.not_before = date_time_ymd(2001, 1, 1);
        expired.not_after = date_time_ymd(2002, 1, 1);
        let expired = Identity::of(&expired);
        let mut other = CertificateParams::new(["example.org".into()]).unwrap();
        other.distinguished_name.push(DnType::CommonName, "another");
        let other = Identity::of(&other);
        for (shown, trusted, expected) in
            [(&local, &other, "UnknownIssuer"), (&other, &other, "NotValidForName"), (&expired, &expired, "Expired")]
        {
            let (listener, port) = listen().await;
            let connecting = trusted.client(&format!("wss://localhost:{port}/")).connect();
            let serving = async { shown.accept(listener.accept().await.unwrap().0).await.unwrap_err() };
            let (result, alert) = within(20, async { tokio::join!(connecting, serving) }).await;
            let error = result.unwrap_err();
            assert!(error.is_tls() && error.is_abnormal() && !error.is_io() && !error.is_misuse() && !error.is_proxy());
            assert_eq!((error.code(), error.guilty(), error.close_code()), ("tls", None, None));
            let rustls::Error::InvalidCertificate(why) = rustls_error(&error) else { panic!("{error}") };
            assert!(format!("{why:?}").starts_with(expected), "{why:?}");
            assert!(*why != CertificateError::BadEncoding);
            let alert = alert.into_inner().unwrap();
            assert!(matches!(alert.downcast_ref(), Some(rustls::Error::AlertReceived(_))), "the server is told");
        }
    }

    /// A ready configuration is taken as it is: here without ALPN, with TLS 1.2, without one of the process.
    #[tokio::test]
    async fn a_configuration_of_the_programs_own() {
        let identity = Identity::local().alpn(&["http/1.1"]);
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(identity.root.clone()).unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let (listener, port) = listen().await;
        let talking = async {
            let client = sockeye::Client::new(&format!("wss://localhost:{port}/")).unwrap().tls(config);
            let mut socket = client.connect().await.unwrap();
            let tls = socket.get_ref().tls().unwrap();
            assert_eq!(tls.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
            assert_eq!(tls.alpn_protocol(), None);
            assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
        };
        within(20, Box::pin(async { tokio::join!(echo_once(&listener, &identity), talking) })).await;
        assert!(rustls::crypto::CryptoProvider::get_default().is_none(), "none is installed for the process");
    }

    /// TLS has state that both directions share; the halves work all the same, at the same time, and come together again.
    #[tokio::test]
    async fn halves_over_tls() {
        const COUNT: usize = 200;
        let identity = Identity::local();
        let (listener, port) = listen().await;
        let talking = async {
            let client = identity.client(&format!("wss://localhost:{port}/"));
            let (mut sender, mut receiver) = client.connect().await.unwrap().split();
            let sending = async {
                for number in 0..COUNT {
                    sender.send(vec![u8::try_from(number).unwrap(); 10 * number]).await.unwrap();
                }
            };
            let receiving = async {
                for number in 0..COUNT {
                    let message = receiver.recv().await.unwrap().unwrap();
                    assert_eq!(message.as_bytes(), vec![u8::try_from(number).unwrap(); 10 * number]);
                }
            };
            tokio::join!(sending, receiving);
            let mut socket = sender.reunite(receiver).unwrap();
            assert!(socket.get_ref().tls().is_some());
            assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
        };
        within(20, Box::pin(async { tokio::join!(echo_once(&listener, &identity), talking) })).await;
    }

    /// A server that takes no WebSocket over HTTP/2 is asked again over HTTP/1.1, also if the program's own configuration offers
    /// `h2`: the second time it does not.
    #[cfg(feature = "http2")]
    #[tokio::test]
    async fn http2_is_offered_once() {
        let identity = Identity::local().alpn(&["h2", "http/1.1"]);
        for own in [&[][..], &[&b"h2"[..], b"http/1.1"]] {
            let mut config = identity.client_config();
            config.alpn_protocols = own.iter().map(|name| name.to_vec()).collect();
            let (listener, port) = listen().await;
            let client = sockeye::Client::new(&format!("wss://localhost:{port}/")).unwrap().tls(config).http2();
            let talking = async {
                let mut socket = client.connect().await.unwrap();
                assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
            };
            let serving = async {
                let io = identity.next(&listener).await;
                assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                let mut connection = h2::server::handshake(io).await.unwrap();
                assert!(!matches!(connection.accept().await, Some(Ok(_))), "nothing is asked of it");
                echo_once(&listener, &identity).await;
            };
            within(20, Box::pin(async { tokio::join!(serving, talking) })).await;
        }
    }

    /// If ALPN chose a protocol that is not spoken, not one byte of another is sent.
    #[tokio::test]
    async fn another_protocol_by_alpn() {
        let identity = Identity::local().alpn(&["spdy/3"]);
        let mut config = identity.client_config();
        config.alpn_protocols = vec![b"spdy/3".to_vec()];
        let (listener, port) = listen().await;
        let connecting = identity.client(&format!("wss://localhost:{port}/")).tls(config).connect();
        let serving = async { identity.next(&listener).await.read_to_end(&mut Vec::new()).await };
        let (result, read) = within(20, async { tokio::join!(connecting, serving) }).await;
        assert_eq!(result.unwrap_err().code(), "alpn");
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        // A server that insists on it ends what announces http/1.1 by itself.
        let (listener, port) = listen().await;
        let connecting = identity.client(&format!("wss://localhost:{port}/")).connect();
        let serving = async { identity.accept(listener.accept().await.unwrap().0).await };
        let (result, _) = within(20, async { tokio::join!(connecting, serving) }).await;
        let error = result.unwrap_err();
        assert!(matches!(rustls_error(&error), rustls::Error::AlertReceived(_)), "{error}");
    }

    /// A server that wants a certificate says so, in TLS 1.3 after the client's handshake is done.
    #[tokio::test]
    async fn an_alert_that_comes_late_is_of_tls_too() {
        let mut identity = Identity::local();
        let key = rcgen::KeyPair::generate().unwrap();
        let own = CertificateParams::new(["localhost".into()]).unwrap().self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build().unwrap();
        identity.server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![own.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        identity.root = own.der().clone();
        let (listener, port) = listen().await;
        let connecting = identity.client(&format!("wss://localhost:{port}/")).connect();
        let serving = async { identity.accept(listener.accept().await.unwrap().0).await.map(drop) };
        let (result, _) = within(20, async { tokio::join!(connecting, serving) }).await;
        let error = result.unwrap_err();
        assert!(error.is_tls(), "{error:?}");
        assert!(matches!(rustls_error(&error), rustls::Error::AlertReceived(_)));
    }

    /// tokio-tungstenite #373: a server that ends TCP without `close_notify` after both Close frames closed cleanly.
    /// Before, the same is no clean close, and neither is a reset.
    #[tokio::test]
    async fn an_end_without_close_notify() {
        let identity = Identity::local();
        for (answers, resets) in [(true, false), (false, false), (false, true)] {
            let (listener, port) = listen().await;
            let serving = async {
                let mut io = raw_server(&listener, &identity).await;
                if answers {
                    assert_eq!(read_frame(&mut io).await.unwrap().0, FIN | CLOSE);
                    io.write_all(&plain(FIN | CLOSE, &close_payload(1000, "bye"))).await.unwrap();
                    io.flush().await.unwrap();
                }
                if resets {
                    // It has read the 101 then, which a reset could overtake.
                    assert_eq!(read_frame(&mut io).await.unwrap().0, FIN | TEXT);
                    io.get_ref().0.set_zero_linger().unwrap();
                }
            };
            let connecting = async {
                let mut socket = identity.client(&format!("wss://localhost:{port}/")).connect().await.unwrap();
                if answers {
                    let outcome = socket.close(CloseCode::NORMAL, "").await.unwrap();
                    assert_eq!((outcome.is_clean(), outcome.code(), outcome.reason()), (true, 1000, "bye"));
                } else {
                    if resets {
                        socket.send("connected").await.unwrap();
                    }
                    let error = socket.recv().await.unwrap_err();
                    assert!(error.is_abnormal() && error.is_io() && !error.is_protocol(), "{error}");
                    assert_eq!(error.guilty(), None);
                    assert!(error.source().unwrap().is::<io::Error>());
                }
            };
            within(20, Box::pin(async { tokio::join!(serving, connecting) })).await;
        }
    }

    /// A24 from the server's side: what is no TLS, or never becomes one, ends as an error of the acceptor before sockeye sees
    /// it. The deadline is the program's, since `accept` is given a stream on which TLS is done.
    #[tokio::test]
    async fn a24_hostile_clients_of_a_server() {
        let identity = Identity::local();
        let hello_of_16_mib = [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 0x3ffc]].concat();
        for input in [
            UPGRADE.to_vec(),
            hello_of_16_mib,
            b"\x15\x03\x03\x00\x02\x01\x00".to_vec(),
            vec![0x16, 3, 1, 0xff, 0xff],
            b"\x16\x03\x01\x00\x05\x01".to_vec(),
        ] {
            let (listener, port) = listen().await;
            let attacking = async {
                let mut io = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                io.write_all(&input).await.unwrap();
                io.shutdown().await.unwrap();
                let mut answer = Vec::new();
                // It may be reset.
                let _ = io.read_to_end(&mut answer).await;
                answer
            };
            let serving = async { identity.accept(listener.accept().await.unwrap().0).await.map(drop) };
            let (answer, accepted) = within(10, async { tokio::join!(attacking, serving) }).await;
            assert!(accepted.is_err(), "{input:?}");
            assert!(answer.len() < 16, "an alert at most: {answer:?}");
        }
    }

    /// A24: a hello in pieces of one byte is one all the same.
    #[tokio::test]
    async fn a24_a_client_hello_in_pieces() {
        let identity = Identity::local();
        let (listener, port) = listen().await;
        let (relay, relay_port) = listen().await;
        let relaying = async {
            let mut from = relay.accept().await.unwrap().0;
            let mut to = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            to.set_nodelay(true).unwrap();
            for _ in 0..200 {
                let byte = from.read_u8().await.unwrap();
                to.write_u8(byte).await.unwrap();
                tokio::task::yield_now().await;
            }
            let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        };
        let talking = async {
            let mut socket = identity.client(&format!("wss://localhost:{relay_port}/")).connect().await.unwrap();
            assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
        };
        within(20, Box::pin(async { tokio::join!(relaying, echo_once(&listener, &identity), talking) })).await;
    }

    /// A24, K from the client's side: a server that answers TLS with something else, or with nothing.
    #[tokio::test]
    async fn a24_hostile_servers_of_a_client() {
        let identity = Identity::local();
        for (answer, is_tls) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], true),
            (b"\x15\x03\x03\x00\x02\x02\x28", true),
            (b"\x16\x03\x03\xff\xff\x02", true),
            (b"\x15\x03\x03\x00\x02\x01\x00", false),
            (b"", false),
        ] {
            let (listener, port) = listen().await;
            let serving = async {
                let mut io = listener.accept().await.unwrap().0;
                io.read_u8().await.unwrap();
                io.write_all(answer).await.unwrap();
                io.shutdown().await.unwrap();
                let _ = tokio::io::copy(&mut io, &mut tokio::io::sink()).await;
            };
            let connecting = identity.client(&format!("wss://localhost:{port}/")).connect();
            let (result, ()) = within(10, async { tokio::join!(connecting, serving) }).await;
            let error = result.unwrap_err();
            assert_eq!((error.is_tls(), error.is_io(), error.is_abnormal()), (is_tls, !is_tls, true), "{error:?}");
        }
    }

    /// A24, K: a server that says nothing in TLS's handshake has the time of the opening handshake; and an attempt that is
    /// dropped ends its connection.
    #[tokio::test]
    async fn a24_a_stalled_handshake() {
        let identity = Identity::local();
        let (listener, port) = listen().await;
        let client = identity.client(&format!("wss://localhost:{port}/"));
        let mut limits = HandshakeLimits::default();
        limits.timeout = Duration::from_millis(50);
        let error = within(10, client.clone().handshake_limits(limits).connect()).await.unwrap_err();
        assert!(error.is_timeout() && !error.is_tls());
        assert_eq!(error.guilty(), None);
        assert!(timeout(Duration::from_millis(50), client.connect()).await.is_err());
        for _ in 0..2 {
            let (mut io, _) = within(10, listener.accept()).await.unwrap();
            let mut hello = Vec::new();
            within(10, io.read_to_end(&mut hello)).await.unwrap();
            assert_eq!(hello[0], 22, "a ClientHello, and then the end");
        }
    }

    /// A25: no opening handshake goes as early data, even if the configurations of both ends allow it.
    #[tokio::test]
    async fn a25_no_early_data() {
        let mut identity = Identity::local();
        assert_eq!(identity.server.max_early_data_size, 0, "rustls' default takes none");
        identity.server.max_early_data_size = 16 * 1024;
        let mut config = identity.client_config();
        config.enable_early_data = true;
        let config = Arc::new(config);
        let (listener, port) = listen().await;
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let serving = async {
                let mut io = identity.next(&listener).await;
                let mut early = Vec::new();
                if let Some(mut data) = io.get_mut().1.early_data() {
                    io::Read::read_to_end(&mut data, &mut early).unwrap();
                }
                assert_eq!(early, b"");
                let mut socket = sockeye::accept(io).await.unwrap();
                assert!(socket.recv().await.unwrap().is_none());
            };
            let talking = async {
                let client = identity.client(&format!("wss://localhost:{port}/")).tls(Arc::clone(&config));
                let mut socket = client.connect().await.unwrap();
                assert_eq!(socket.get_ref().tls().unwrap().handshake_kind(), Some(kind));
                socket.close(CloseCode::NORMAL, "").await.unwrap();
            };
            within(20, Box::pin(async { tokio::join!(serving, talking) })).await;
        }
    }

    /// A server's refusal arrives whole over TLS too, and the client is told what it says.
    #[tokio::test]
    async fn a_refusal() {
        let identity = Identity::local();
        let (listener, port) = listen().await;
        let serving = async {
            let io = identity.next(&listener).await;
            let request = sockeye::Handshake::read(io, &sockeye::ServerConfig::default()).await.unwrap();
            assert!(request.reject(403).await.is_refused());
        };
        let connecting = identity.client(&format!("wss://localhost:{port}/")).connect();
        let (error, ()) = within(20, Box::pin(async { tokio::join!(connecting, serving) })).await;
        let error = error.unwrap_err();
        assert!(error.is_refused() && !error.is_tls() && !error.is_proxy());
        assert_eq!(error.response().unwrap().status(), 403);
    }

    /// A record that was changed on the way is an error of TLS in the middle of a connection.
    #[tokio::test]
    async fn a_broken_record() {
        let identity = Identity::local();
        let (listener, port) = listen().await;
        let serving = async {
            let mut io = raw_server(&listener, &identity).await;
            io.write_all(&plain(FIN | TEXT, b"fine")).await.unwrap();
            io.flush().await.unwrap();
            assert_eq!(read_frame(&mut io).await.unwrap().1, b"go on");
            let tcp = io.get_mut().0;
            tcp.write_all(b"\x17\x03\x03\x00\x20This was not encrypted for you!!").await.unwrap();
            let _ = tokio::io::copy(tcp, &mut tokio::io::sink()).await;
        };
        let connecting = async {
            let mut socket = identity.client(&format!("wss://localhost:{port}/")).connect().await.unwrap();
            assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("fine"));
            socket.send("go on").await.unwrap();
            let error = socket.recv().await.unwrap_err();
            assert_eq!(*rustls_error(&error), rustls::Error::DecryptError);
            assert!(error.is_tls() && error.is_abnormal());
        };
        within(20, Box::pin(async { tokio::join!(serving, connecting) })).await;
    }

    /// What a program gives that cannot be is told when it connects, and by its clones too.
    #[tokio::test]
    async fn roots_that_are_none() {
        let client = sockeye::Client::new("wss://localhost/").unwrap();
        let client = client.root_certificates([CertificateDer::from(b"no certificate".to_vec())]);
        for client in [client.clone(), client] {
            let error = client.connect().await.unwrap_err();
            assert!(error.is_misuse(), "{error}");
        }
    }

    /// A connecting client is no burden to the future that waits for it.
    #[test]
    fn the_size_of_connecting() {
        let client = sockeye::Client::new("wss://localhost/").unwrap();
        assert!(size_of_val(&client.connect()) <= 1536);
    }
}

/// Without TLS, or without cryptography for it, `wss` fails before anything is sent, least of all in the clear.
#[cfg(not(feature = "ring"))]
#[tokio::test]
async fn a28_wss_without_tls_or_provider() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let code = if cfg!(feature = "tls") { "no_tls_provider" } else { "no_tls" };
    for scheme in ["wss", "https"] {
        let error = sockeye::connect(&format!("{scheme}://127.0.0.1:{port}/")).await.unwrap_err();
        assert_eq!((error.code(), error.guilty()), (code, Some(sockeye::Party::Local)));
        assert!(error.is_misuse() && error.to_string().contains("TLS"));
    }
    let nobody = tokio::time::timeout(std::time::Duration::from_millis(100), listener.accept()).await;
    assert!(nobody.is_err(), "nobody connects");
}
