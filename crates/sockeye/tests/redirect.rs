//! Redirects: A27, A28 and group K of the list of hostile inputs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[cfg(feature = "ring")]
#[path = "common/identity.rs"]
mod identity;

use std::time::Duration;

use common::{read_head, switching, within};
use http::HeaderValue;
use sockeye::{Client, Party, RedirectPolicy, http, proto::handshake::HandshakeLimits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

struct Server {
    listener: TcpListener,
    port: u16,
}

impl Server {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    fn url(&self, path: &str) -> String {
        format!("ws://127.0.0.1:{}{path}", self.port)
    }

    fn client(&self, policy: RedirectPolicy) -> Client {
        Client::new(&self.url("/start")).unwrap().redirects(policy)
    }

    /// The next request, and where to answer it.
    async fn request(&self) -> (TcpStream, String) {
        let mut io = self.listener.accept().await.unwrap().0;
        let head = read_head(&mut io).await;
        (io, head)
    }

    /// Answers the next request with a redirect.
    async fn redirect(&self, status: u16, location: &str) -> String {
        let (mut io, head) = self.request().await;
        let answer = format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        io.write_all(answer.as_bytes()).await.unwrap();
        head
    }

    /// Opens the connection that is asked for next, and waits for its end.
    async fn open(&self) -> String {
        let (mut io, head) = self.request().await;
        io.write_all(switching(&head, "").as_bytes()).await.unwrap();
        // The client goes without a word.
        io.read_to_end(&mut Vec::new()).await.unwrap();
        head
    }
}

#[tokio::test]
async fn every_kind_of_redirect_is_followed_if_the_program_says_so() {
    let server = Server::new().await;
    for (status, location, path) in [
        (301, "/next".to_owned(), "/next"),
        (302, "next?x=1".to_owned(), "/next?x=1"),
        (303, server.url("/a"), "/a"),
        (307, server.url("/b#fragment"), "/b"),
        (308, server.url("/c").replace("ws:", "http:"), "/c"),
    ] {
        let client = server.client(RedirectPolicy::limited(1)).subprotocol("v1").header("x-own", "kept");
        let serving = async {
            let first = server.redirect(status, &location).await;
            let second = server.open().await;
            assert!(second.starts_with(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", server.port)));
            assert!(second.contains("Sec-WebSocket-Protocol: v1\r\n") && second.contains("X-Own: kept\r\n"));
            let key = |head: &str| head.lines().find(|line| line.starts_with("Sec-WebSocket-Key")).unwrap().to_owned();
            assert_ne!(key(&first), key(&second), "the key is chosen anew");
        };
        let connecting = async {
            let socket = client.connect().await.unwrap();
            assert_eq!(socket.url(), Some(&*server.url(path)));
            socket.abort();
        };
        within(20, Box::pin(async { tokio::join!(serving, connecting) })).await;
    }
}

/// A28: none is followed by default, and none from a status or an answer that is no redirect.
#[tokio::test]
async fn a28_what_is_not_followed() {
    let server = Server::new().await;
    for (policy, status, more) in [
        (RedirectPolicy::default(), 302, ""),
        (RedirectPolicy::none(), 302, ""),
        (RedirectPolicy::limited(0), 302, ""),
        (RedirectPolicy::limited(5), 300, ""),
        (RedirectPolicy::limited(5), 304, ""),
        (RedirectPolicy::limited(5), 401, ""),
        (RedirectPolicy::limited(5), 302, "Location: /two\r\n"),
    ] {
        let serving = async {
            let (mut io, _) = server.request().await;
            let answer = format!("HTTP/1.1 {status} No\r\nLocation: /one\r\n{more}Content-Length: 0\r\n\r\n");
            io.write_all(answer.as_bytes()).await.unwrap();
        };
        let connecting = server.client(policy).connect();
        let error = within(20, async { tokio::join!(serving, connecting).1 }).await.unwrap_err();
        assert_eq!((error.code(), error.is_refused(), error.guilty()), ("refused", true, Some(Party::Remote)));
        assert_eq!(error.response().unwrap().headers()["location"], "/one");
    }
}

/// A28: what the client is known by goes to the same origin only; all else goes along.
#[tokio::test]
async fn a28_credentials_stay_with_their_origin() {
    let (here, there) = (Server::new().await, Server::new().await);
    let mut key = HeaderValue::from_static("my key");
    key.set_sensitive(true);
    let client = here
        .client(RedirectPolicy::limited(3))
        .header("authorization", "Bearer secret")
        .header("cookie", "session=secret")
        .header("proxy-authorization", "Basic secret")
        .header("x-api-key", key)
        .header("x-public", "kept");
    let secrets = ["Authorization: ", "Cookie: ", "Proxy-Authorization: ", "X-Api-Key: "];
    let serving = async {
        let same_origin = [here.redirect(302, "/again").await, here.redirect(302, &there.url("/elsewhere")).await];
        // Back where it came from, the other origin has had its say.
        let other_origin = [there.redirect(302, &here.url("/back")).await, here.open().await];
        for head in &same_origin {
            assert!(secrets.iter().all(|name| head.contains(name)), "{head}");
        }
        for head in &other_origin {
            assert!(!secrets.iter().any(|name| head.contains(name)) && !head.contains("secret"), "{head}");
            assert!(head.contains("X-Public: kept\r\n"));
        }
        assert!(other_origin[0].contains(&format!("Host: 127.0.0.1:{}\r\n", there.port)));
    };
    let connecting = async { client.connect().await.unwrap().abort() };
    within(20, Box::pin(async { tokio::join!(serving, connecting) })).await;
}

/// A27, K: "endless redirect".
#[tokio::test]
async fn a27_a_redirect_loop_ends() {
    let server = Server::new().await;
    for max in [1, 5] {
        let serving = async {
            for _ in 0..=max {
                server.redirect(302, "/start").await;
            }
        };
        let connecting = server.client(RedirectPolicy::limited(max)).connect();
        let error = within(20, async { tokio::join!(serving, connecting).1 }).await.unwrap_err();
        assert_eq!((error.code(), error.is_refused(), error.is_misuse()), ("too_many_redirects", true, false));
        assert_eq!(error.response().unwrap().status(), 302);
        assert_eq!(error.guilty(), Some(Party::Remote));
    }
}

/// K: where no WebSocket can be is not gone to; the mistake is the server's.
#[tokio::test]
async fn a28_redirects_to_nowhere() {
    let server = Server::new().await;
    for location in
        ["ftp://127.0.0.1/", "http://", "ws://user:secret@127.0.0.1/", "file:///etc/passwd", "caf\u{e9}://\u{1f980}"]
    {
        let connecting = server.client(RedirectPolicy::limited(1)).connect();
        let serving = server.redirect(302, location);
        let error = within(20, async { tokio::join!(serving, connecting).1 }).await.unwrap_err();
        assert_eq!((error.code(), error.guilty()), ("bad_redirect", Some(Party::Remote)), "{location}");
        assert!(error.is_refused() && !error.is_misuse() && !error.to_string().contains("secret"));
    }
}

/// K: "slow drip for ever": the hops share the time of one handshake.
#[tokio::test]
async fn k_a_slow_redirect_ends_at_the_deadline() {
    let server = Server::new().await;
    let mut limits = HandshakeLimits::default();
    limits.timeout = Duration::from_millis(300);
    let connecting = server.client(RedirectPolicy::limited(1_000)).handshake_limits(limits).connect();
    let serving = async {
        for _ in 0..5 {
            server.redirect(302, "/on").await;
        }
        // The sixth answer never ends.
        let (mut io, _) = server.request().await;
        while io.write_all(b"HTTP/1.1 103 Early Hints\r\n").await.is_ok() {
            if tokio::time::timeout(Duration::from_millis(100), io.read_u8()).await.is_ok() {
                break;
            }
            io.write_all(b"\r\n").await.unwrap();
        }
    };
    let error = within(20, async { tokio::join!(serving, connecting).1 }).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

/// A28: from `wss` to `wss` only.
#[cfg(feature = "ring")]
#[tokio::test]
async fn a28_never_from_wss_to_ws() {
    let identity = identity::Identity::local();
    let (plain, secure) = (Server::new().await, Server::new().await);
    for location in [plain.url("/"), plain.url("/").replace("ws:", "http:")] {
        let url = secure.url("/").replace("ws:", "wss:");
        let connecting = identity.client(&url).redirects(RedirectPolicy::limited(5)).connect();
        let serving = async {
            let mut io = identity.next(&secure.listener).await;
            read_head(&mut io).await;
            let answer = format!("HTTP/1.1 302 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            io.write_all(answer.as_bytes()).await.unwrap();
            io.flush().await.unwrap();
        };
        let error = within(20, Box::pin(async { tokio::join!(serving, connecting).1 })).await.unwrap_err();
        assert_eq!((error.code(), error.is_refused()), ("redirect_to_plaintext", true));
    }
    // The other way it may go, and there TLS is as strict as ever.
    let secure_url = secure.url("/").replace("ws:", "https:");
    let client = identity.client(&plain.url("/")).redirects(RedirectPolicy::limited(1));
    let serving = async {
        plain.redirect(308, &secure_url).await;
        let mut socket = sockeye::accept(identity.next(&secure.listener).await).await.unwrap();
        assert!(socket.recv().await.unwrap().is_none());
    };
    let connecting = async {
        let mut socket = client.connect().await.unwrap();
        assert!(socket.url().unwrap().starts_with("wss://") && socket.get_ref().tls().is_some());
        socket.close(sockeye::CloseCode::NORMAL, "").await.unwrap();
    };
    within(20, Box::pin(async { tokio::join!(serving, connecting) })).await;
}

/// What a client is made of is no secret, but what it was given may be.
#[test]
fn a_clients_debug_shows_no_secrets() {
    let client = Client::new("wss://example.org:444/live?token=secret").unwrap().header("x-token", "secret");
    let shown = format!("{client:?}");
    assert!(shown.contains("example.org") && shown.contains("444") && shown.contains("/live"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}
