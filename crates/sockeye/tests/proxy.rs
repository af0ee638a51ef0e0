//! Proxies: HTTP `CONNECT` and SOCKS5, by URL and by environment, and hostile ones.
#![cfg(feature = "proxy")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[cfg(feature = "ring")]
#[path = "common/identity.rs"]
mod identity;

use std::{io, process::Command, time::Duration};

use common::{read_head, within};
use sockeye::{Client, CloseCode, Error, Party, Proxy, proto::handshake::HandshakeLimits};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const OPEN: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Serves one connection in the clear.
async fn echo_once(listener: &TcpListener) {
    let mut socket = sockeye::accept(listener.accept().await.unwrap().0).await.unwrap();
    while let Some(message) = socket.recv().await.unwrap() {
        socket.send(message).await.unwrap();
    }
}

/// Says hello and closes.
async fn talk(client: Client) -> Result<(), Error> {
    let mut socket = client.connect().await?;
    socket.send("hello").await?;
    assert_eq!(socket.recv().await?.unwrap().as_text(), Some("hello"));
    assert!(socket.close(CloseCode::NORMAL, "").await?.is_clean());
    Ok(())
}

/// A proxy's part: reads the request, opens the tunnel to `port`, and gives the request back at the end.
async fn tunnel_once(mut io: impl AsyncRead + AsyncWrite + Unpin, port: u16) -> String {
    let head = read_head(&mut io).await;
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    io.write_all(OPEN).await.unwrap();
    io.flush().await.unwrap();
    // Either end may go first.
    let _ = copy_bidirectional(&mut io, &mut server).await;
    head
}

/// The name goes to the proxy as it is, and credentials to nobody else.
#[tokio::test]
async fn http_connect() {
    let ((listener, port), (proxy, proxy_port)) = (listen().await, listen().await);
    for (credentials, expected) in [("", None), ("us%65r:p%20w@", Some("Proxy-Authorization: Basic dXNlcjpwIHc=\r\n"))]
    {
        let way = Proxy::new(&format!("http://{credentials}127.0.0.1:{proxy_port}")).unwrap();
        let client = Client::new("ws://server.invalid/live").unwrap().proxy(way);
        assert!(!format!("{client:?}").contains("p w") && !format!("{client:?}").contains("p%20w"));
        let proxying = async { tunnel_once(proxy.accept().await.unwrap().0, port).await };
        let serving = async {
            let stream = listener.accept().await.unwrap().0;
            let request = sockeye::Handshake::read(stream, &sockeye::ServerConfig::default()).await.unwrap();
            assert!(!request.request().headers().contains_key("proxy-authorization"));
            assert_eq!(request.request().headers()["host"], "server.invalid");
            let mut socket = request.accept().await.unwrap();
            while let Some(message) = socket.recv().await.unwrap() {
                socket.send(message).await.unwrap();
            }
        };
        let (head, (), result) = within(20, Box::pin(async { tokio::join!(proxying, serving, talk(client)) })).await;
        result.unwrap();
        assert!(head.starts_with("CONNECT server.invalid:80 HTTP/1.1\r\nHost: server.invalid:80\r\n"), "{head}");
        assert_eq!(head.lines().count(), 3 + usize::from(expected.is_some()));
        assert!(expected.is_none_or(|line| head.contains(line)), "{head}");
    }
}

/// TLS goes through the tunnel to the server, and the proxy may want TLS of its own.
#[cfg(feature = "ring")]
#[tokio::test]
async fn tls_through_a_proxy_and_to_it() {
    let identity = identity::Identity::local();
    for (proxy_scheme, scheme) in [("http", "wss"), ("https", "wss"), ("https", "ws")] {
        let ((listener, port), (proxy, proxy_port)) = (listen().await, listen().await);
        let way = Proxy::new(&format!("{proxy_scheme}://user:secret@localhost:{proxy_port}")).unwrap();
        let client = identity.client(&format!("{scheme}://localhost:{port}/")).proxy(way);
        let proxying = async {
            if proxy_scheme == "https" {
                tunnel_once(identity.next(&proxy).await, port).await
            } else {
                tunnel_once(proxy.accept().await.unwrap().0, port).await
            }
        };
        let serving = async {
            let stream = listener.accept().await.unwrap().0;
            if scheme == "wss" {
                let mut socket = sockeye::accept(identity.accept(stream).await.unwrap()).await.unwrap();
                assert!(socket.recv().await.unwrap().is_none());
            } else {
                let mut socket = sockeye::accept(stream).await.unwrap();
                assert!(socket.recv().await.unwrap().is_none());
            }
        };
        let talking = async {
            let mut socket = client.connect().await.unwrap();
            let transport = socket.get_ref();
            assert_eq!(transport.tls().is_some(), scheme == "wss", "the server's TLS, not the proxy's");
            assert_eq!(transport.peer_addr().unwrap().port(), proxy_port);
            assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
        };
        let (head, (), ()) = within(20, Box::pin(async { tokio::join!(proxying, serving, talking) })).await;
        assert!(head.starts_with(&format!("CONNECT localhost:{port} HTTP/1.1\r\n")));
    }
}

/// A program's own configuration may offer `h2`, for the server; to its proxy HTTP/1.1 is spoken, and nothing else offered.
#[cfg(feature = "ring")]
#[tokio::test]
async fn no_http2_is_offered_to_a_proxy() {
    let identity = identity::Identity::local().alpn(&["h2", "http/1.1"]);
    let ((listener, port), (proxy, proxy_port)) = (listen().await, listen().await);
    let way = Proxy::new(&format!("https://localhost:{proxy_port}")).unwrap();
    let mut config = identity.client_config();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = Client::new(&format!("ws://localhost:{port}/")).unwrap().tls(config).proxy(way);
    let proxying = async {
        let stream = identity.next(&proxy).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        tunnel_once(stream, port).await
    };
    let serving = async {
        let mut socket = sockeye::accept(listener.accept().await.unwrap().0).await.unwrap();
        assert!(socket.recv().await.unwrap().is_none());
    };
    let talking = async {
        let mut socket = client.connect().await.unwrap();
        assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
    };
    within(20, Box::pin(async { tokio::join!(proxying, serving, talking) })).await;
}

/// What connecting comes to when this is the proxy's answer.
async fn answered(answer: &[u8]) -> Error {
    let (proxy, port) = listen().await;
    let way = Proxy::new(&format!("http://user:secret@127.0.0.1:{port}")).unwrap();
    let client = Client::new("ws://server.invalid/").unwrap().header("authorization", "Bearer mine").proxy(way);
    let proxying = async {
        let mut io = proxy.accept().await.unwrap().0;
        let head = read_head(&mut io).await;
        assert!(!head.contains("mine"), "the proxy is told nothing that is for the server");
        io.write_all(answer).await.unwrap();
        io.shutdown().await.unwrap();
        let mut more = Vec::new();
        // It may be reset.
        let _ = io.read_to_end(&mut more).await;
        assert_eq!(more, b"", "nothing is sent without a tunnel");
    };
    let error = within(20, async { tokio::join!(client.connect(), proxying).0 }).await.unwrap_err();
    assert!(error.is_proxy() && error.to_string().starts_with("proxy: "), "{error}");
    assert!(!format!("{error}{error:?}").contains("secret"));
    error
}

/// A refusal says who refused, with which status, and what was said about it.
#[tokio::test]
async fn a_proxy_that_refuses() {
    for (answer, status, body) in [
        ("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nlogin", 407, "login"),
        ("HTTP/1.0 403 Forbidden\r\n\r\nno", 403, "no"),
        ("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 503, "no"),
        // A proxy cannot send a client elsewhere.
        ("HTTP/1.1 302 Found\r\nLocation: ws://evil.invalid/\r\nContent-Length: 0\r\n\r\n", 302, ""),
    ] {
        let error = answered(answer.as_bytes()).await;
        assert_eq!((error.code(), error.is_refused(), error.guilty()), ("refused", true, Some(Party::Remote)));
        let response = error.response().unwrap();
        assert_eq!((response.status().as_u16(), &response.body()[..]), (status, body.as_bytes()));
    }
}

/// K: answers that are none; an unsolicited 101; a head without end; bytes that a server cannot have sent.
#[tokio::test]
async fn k_a_hostile_proxy() {
    for (answer, code) in [
        (b"".to_vec(), "unexpected_eof"),
        (b"HTTP/1.1 20".to_vec(), "unexpected_eof"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec(), "bad_upgrade"),
        (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), "bad_start_line"),
        (b"HTTP/1.1 200 OK\n\n".to_vec(), "bare_lf"),
        ([OPEN, b"\x81\x05hello"].concat(), "data_before_tunnel"),
        ([&b"HTTP/1.1 200 OK\r\n"[..], &b"X-Header: x\r\n".repeat(5_000)].concat(), "too_many_headers"),
    ] {
        let error = answered(&answer).await;
        assert_eq!(error.code(), code);
        assert!(!error.is_refused() && error.response().is_none());
    }
}

/// K: "slow drip for ever": the proxy, TLS and the server share the time of one handshake.
#[tokio::test]
async fn k_a_silent_proxy_ends_at_the_deadline() {
    let mut limits = HandshakeLimits::default();
    limits.timeout = Duration::from_millis(100);
    for scheme in ["http", "socks5h"] {
        let (proxy, port) = listen().await;
        let way = Proxy::new(&format!("{scheme}://127.0.0.1:{port}")).unwrap();
        let client = Client::new("ws://server.invalid/").unwrap().handshake_limits(limits).proxy(way);
        let error = within(10, client.connect()).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        // Dropped, and so ended.
        let mut io = proxy.accept().await.unwrap().0;
        within(10, io.read_to_end(&mut Vec::new())).await.unwrap();
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there() {
    let (listener, port) = listen().await;
    drop(listener);
    for scheme in ["http", "socks5", "socks5h"] {
        let way = Proxy::new(&format!("{scheme}://127.0.0.1:{port}")).unwrap();
        let error = Client::new("ws://127.0.0.1:1/").unwrap().proxy(way).connect().await.unwrap_err();
        assert!(error.is_proxy() && error.is_io() && error.guilty().is_none(), "{error}");
        let source = std::error::Error::source(&error).unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
    }
}

/// RFC 1928 and 1929 from the proxy's side, up to the request: the user, and the address as it was sent.
async fn read_socks(io: &mut TcpStream, login: bool) -> (String, Vec<u8>) {
    assert_eq!(io.read_u8().await.unwrap(), 5);
    let mut methods = vec![0; usize::from(io.read_u8().await.unwrap())];
    io.read_exact(&mut methods).await.unwrap();
    let mut user = String::new();
    if login {
        assert!(methods.contains(&2));
        io.write_all(&[5, 2]).await.unwrap();
        assert_eq!(io.read_u8().await.unwrap(), 1);
        for _ in 0..2 {
            let mut text = vec![0; usize::from(io.read_u8().await.unwrap())];
            io.read_exact(&mut text).await.unwrap();
            user = format!("{user}/{}", String::from_utf8(text).unwrap());
        }
        io.write_all(&[1, 0]).await.unwrap();
    } else {
        assert!(methods.contains(&0));
        io.write_all(&[5, 0]).await.unwrap();
    }
    let mut head = [0; 5];
    io.read_exact(&mut head).await.unwrap();
    assert_eq!(head[..3], [5, 1, 0], "CONNECT");
    let rest = match head[3] {
        1 => 3,
        3 => usize::from(head[4]),
        4 => 15,
        kind => panic!("{kind}"),
    };
    let mut address = head[3..].to_vec();
    address.resize(2 + rest + 2, 0);
    io.read_exact(&mut address[2..]).await.unwrap();
    (user, address)
}

/// Names are looked up where the scheme says.
#[tokio::test]
async fn socks5() {
    let ((listener, port), (proxy, proxy_port)) = (listen().await, listen().await);
    let by_name = [&[3, 9][..], b"localhost", &port.to_be_bytes()].concat();
    let by_address = [&[1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat();
    for (scheme, host, user, expected) in [
        ("socks5h://", "localhost", "", &by_name),
        ("socks5h://us%65r:p%20w@", "localhost", "/user/p w", &by_name),
        ("socks5://", "127.0.0.1", "", &by_address),
        ("socks5://user:pw@", "localhost", "/user/pw", &by_address),
    ] {
        let way = Proxy::new(&format!("{scheme}127.0.0.1:{proxy_port}")).unwrap();
        let client = Client::new(&format!("ws://{host}:{port}/")).unwrap().proxy(way);
        let proxying = async {
            loop {
                let mut io = proxy.accept().await.unwrap().0;
                let (name, address) = read_socks(&mut io, !user.is_empty()).await;
                assert_eq!(name, user);
                if address[0] == 4 {
                    // A resolver may know localhost as ::1 too, where nobody listens: connection refused.
                    io.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                    continue;
                }
                assert_eq!(address, *expected);
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                io.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                let _ = copy_bidirectional(&mut io, &mut server).await;
                return;
            }
        };
        let all = Box::pin(async { tokio::join!(proxying, echo_once(&listener), talk(client)).2 });
        within(20, all).await.unwrap();
    }
}

/// What a direct connection would have failed with is the same error through SOCKS; the rest is the proxy's own.
#[tokio::test]
async fn a_socks_proxy_that_refuses() {
    for (reply, kind) in [
        (3, Some(io::ErrorKind::NetworkUnreachable)),
        (4, Some(io::ErrorKind::HostUnreachable)),
        (5, Some(io::ErrorKind::ConnectionRefused)),
        (6, Some(io::ErrorKind::TimedOut)),
        (1, None),
        (2, None),
        (7, None),
        (200, None),
    ] {
        let (proxy, port) = listen().await;
        let way = Proxy::new(&format!("socks5h://127.0.0.1:{port}")).unwrap();
        let proxying = async {
            let mut io = proxy.accept().await.unwrap().0;
            read_socks(&mut io, false).await;
            io.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        };
        let connecting = Client::new("ws://server.invalid/").unwrap().proxy(way).connect();
        let error = within(20, async { tokio::join!(connecting, proxying).0 }).await.unwrap_err();
        assert!(error.is_proxy(), "{error}");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.downcast_ref::<io::Error>().map(io::Error::kind), kind, "{reply}");
        assert_eq!(error.code(), if kind.is_some() { "io" } else { "socks" });
        assert_eq!(error.guilty(), if kind.is_some() { None } else { Some(Party::Remote) });
    }
    // Credentials that are asked for and missing, and something else altogether.
    for answer in [&b"\x05\xff"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x04\x00"] {
        let (proxy, port) = listen().await;
        let way = Proxy::new(&format!("socks5h://127.0.0.1:{port}")).unwrap();
        let proxying = async {
            let mut io = proxy.accept().await.unwrap().0;
            io.read_exact(&mut [0; 3]).await.unwrap();
            io.write_all(answer).await.unwrap();
        };
        let connecting = Client::new("ws://server.invalid/").unwrap().proxy(way).connect();
        let error = within(20, async { tokio::join!(connecting, proxying).0 }).await.unwrap_err();
        assert!(error.is_proxy() && !error.is_misuse(), "{error}");
    }
}

/// Exempt hosts, and no proxy at all, are direct.
#[tokio::test]
async fn direct_in_spite_of_a_proxy() {
    let (listener, port) = listen().await;
    let (unused, unused_port) = listen().await;
    let way = || Proxy::new(&format!("http://127.0.0.1:{unused_port}")).unwrap();
    for proxy in [way().no_proxy("10.0.0.0/8, 127.0.0.1"), way().no_proxy("*"), Proxy::none()] {
        let client = Client::new(&format!("ws://127.0.0.1:{port}/")).unwrap().proxy(proxy);
        within(20, Box::pin(async { tokio::join!(echo_once(&listener), talk(client)).1 })).await.unwrap();
    }
    assert!(timeout(Duration::ZERO, unused.accept()).await.is_err(), "the proxy is not asked");
}

/// The environment is asked by default, each time; a process of its own has it.
#[tokio::test]
async fn the_environment() {
    const CHILD: &str = "SOCKEYE_TEST_PROXY_CHILD";
    if let Ok(port) = std::env::var(CHILD) {
        return in_an_environment(port.parse().unwrap()).await;
    }
    let (proxy, port) = listen().await;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "the_environment", "--nocapture"]).env(CHILD, port.to_string());
    for name in ["ws_proxy", "WS_PROXY", "wss_proxy", "WSS_PROXY", "http_proxy", "https_proxy", "no_proxy"] {
        child.env_remove(name);
    }
    child.env("ALL_PROXY", format!("http://user:secret@127.0.0.1:{port}")).env("NO_PROXY", "direct.invalid");
    // What is wrong with a variable matters only where it counts.
    child.env("HTTPS_PROXY", "ftp://nonsense");
    let running = tokio::task::spawn_blocking(move || {
        let child = child.output().unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    });
    let proxying = async {
        let mut io = proxy.accept().await.unwrap().0;
        let head = read_head(&mut io).await;
        io.write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        head
    };
    // Whichever fails first tells.
    let ((), head) = within(60, async { tokio::try_join!(running, async { Ok(proxying.await) }) }).await.unwrap();
    assert!(head.starts_with("CONNECT proxied.invalid:80 ") && head.contains("Basic dXNlcjpzZWNyZXQ="), "{head}");
}

async fn in_an_environment(proxy_port: u16) {
    let error = within(20, sockeye::connect("ws://proxied.invalid/")).await.unwrap_err();
    assert_eq!((error.is_proxy(), error.response().unwrap().status().as_u16()), (true, 407));
    // Exempt; this machine; and what the program says comes first.
    let error = within(20, sockeye::connect("ws://direct.invalid/")).await.unwrap_err();
    assert!(!error.is_proxy(), "{error}");
    let error = within(20, Client::new("ws://proxied.invalid/").unwrap().proxy(Proxy::none()).connect()).await;
    assert!(!error.unwrap_err().is_proxy());
    let (listener, port) = listen().await;
    let client = Client::new(&format!("ws://127.0.0.1:{port}/")).unwrap();
    within(20, Box::pin(async { tokio::join!(echo_once(&listener), talk(client)).1 })).await.unwrap();
    assert_ne!(port, proxy_port);
}

/// What is no proxy is told at once, without what it may hold.
#[test]
fn urls_that_are_no_proxies() {
    for url in ["", "ftp://user:secret@a", "http://user:secret@", "socks4://user:secret@a", "http://user:secret@a:b"] {
        let error = Proxy::new(url).unwrap_err();
        assert_eq!((error.code(), error.guilty()), ("bad_proxy", Some(Party::Local)), "{url}");
        assert!(error.is_misuse() && !format!("{error}{error:?}").contains("secret"));
    }
}
