//! `sockeye connect` by TLS, HTTP/2, a Unix socket, a proxy, redirects.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
};

use common::{PATIENCE, connect, connect_to, echo, run, scratch, serve, status, stderr, stdout};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::Value;
use tokio::net::UnixListener;

/// `sockeye demo echo`, killed when dropped.
struct Demo {
    child: Child,
    address: SocketAddr,
}

impl Demo {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sockeye"))
            .args(["demo", "echo", "--listen", "127.0.0.1:0", "--workers", "1"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let (_, address) = first.trim_end_matches("/\n").rsplit_once('/').unwrap();
        Self { address: address.parse().unwrap(), child }
    }

    fn with_tls(identity: &Identity) -> Self {
        Self::start(&["--tls-cert", path(&identity.cert), "--tls-key", path(&identity.key)])
    }

    fn wss(&self) -> String {
        format!("wss://{}/", self.address)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate for 127.0.0.1 that its own key has signed, in files that go with it.
struct Identity {
    cert: PathBuf,
    key: PathBuf,
}

impl Identity {
    fn new(name: &str) -> Self {
        Self::signed(name, IsCa::NoCa)
    }

    fn signed(name: &str, is_ca: IsCa) -> Self {
        let mut made = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        made.is_ca = is_ca;
        let own_key = KeyPair::generate().unwrap();
        let (cert, key) = (scratch(&format!("{name}-cert.pem")), scratch(&format!("{name}-key.pem")));
        fs::write(&cert, made.self_signed(&own_key).unwrap().pem()).unwrap();
        fs::write(&key, own_key.serialize_pem()).unwrap();
        Self { cert, key }
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.cert);
        let _ = fs::remove_file(&self.key);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The message came back, and all ended well.
fn assert_echoes(output: &Output) {
    assert_eq!((status(output), stdout(output), stderr(output)), (0, "a\n", ""));
}

/// What `--json` tells first.
fn opened(output: &Output) -> Value {
    assert_eq!(status(output), 0, "{}", stderr(output));
    let open: Value = serde_json::from_str(stdout(output).lines().next().unwrap()).unwrap();
    assert_eq!(open["event"], "open");
    open
}

fn assert_fails(output: &Output, expected: i32, says: &[&str]) {
    assert_eq!((status(output), stdout(output)), (expected, ""), "{}", stderr(output));
    assert_eq!(stderr(output).lines().count(), 1, "{}", stderr(output));
    for says in says {
        assert!(stderr(output).contains(says), "{says}: {}", stderr(output));
    }
}

#[test]
fn cacert_trusts_who_is_in_the_file_and_insecure_everybody() {
    let (own, other) = (Identity::new("trusted"), Identity::new("other"));
    let demo = Demo::with_tls(&own);
    assert_echoes(&run(connect_to(&demo.wss(), &["--cacert", path(&own.cert)]), b"a\n"));

    let output = run(connect_to(&demo.wss(), &["--insecure"]), b"a\n");
    assert_eq!((status(&output), stdout(&output)), (0, "a\n"));
    assert!(stderr(&output).starts_with("sockeye: WARNING: --insecure "), "{}", stderr(&output));

    // The platform's roots are in a file too, if the environment says so.
    let mut strict = connect_to(&demo.wss(), &[]);
    strict.env("SSL_CERT_FILE", &other.cert).env_remove("SSL_CERT_DIR");
    for strict in [strict, connect_to(&demo.wss(), &["--cacert", path(&other.cert)])] {
        assert_fails(&run(strict, b"a\n"), 1, &["certificate", "--cacert", "--insecure"]);
    }
}

/// As `openssl req -x509` makes them.
#[test]
fn a_certificate_that_is_an_authority_at_once_is_explained() {
    let identity = Identity::signed("authority", IsCa::Ca(BasicConstraints::Unconstrained));
    let demo = Demo::with_tls(&identity);
    let output = run(connect_to(&demo.wss(), &["--cacert", path(&identity.cert)]), b"");
    assert_fails(&output, 1, &["CA:FALSE", "--insecure"]);
    assert_eq!(status(&run(connect_to(&demo.wss(), &["--insecure"]), b"")), 0);
}

#[test]
fn what_is_wrong_with_a_cacert_names_the_file() {
    let (empty, broken) = (scratch("empty.pem"), scratch("broken.pem"));
    fs::write(&empty, "nothing\n").unwrap();
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    for file in [Path::new("/no/such/file.pem"), &empty, &broken] {
        let named = format!("sockeye: cannot use --cacert {}: ", path(file));
        assert_fails(&run(connect_to("wss://127.0.0.1:1/", &["--cacert", path(file)]), b""), 1, &[&named]);
    }
    for file in [empty, broken] {
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_server_without_tls_is_told_from_one_with_a_bad_certificate() {
    let server = serve(echo);
    let output = run(connect_to(&format!("wss://{server}/"), &["--insecure"]), b"");
    assert_eq!(status(&output), 1);
    assert!(stderr(&output).contains("try ws://"), "{}", stderr(&output));
}

#[test]
fn http2_in_the_clear_and_over_tls() {
    let plain = Demo::start(&[]);
    assert_echoes(&run(connect(plain.address, &["--http2"]), b"a\n"));
    assert_eq!(opened(&run(connect(plain.address, &["--http2", "--json"]), b""))["http"], "2");
    assert_eq!(opened(&run(connect(plain.address, &["--json"]), b""))["http"], "1.1");

    let identity = Identity::new("http2");
    let secure = Demo::with_tls(&identity);
    let cacert = ["--cacert", path(&identity.cert), "--json"];
    assert_eq!(opened(&run(connect_to(&secure.wss(), &[&cacert[..], &["--http2"]].concat()), b""))["http"], "2");
    assert_eq!(opened(&run(connect_to(&secure.wss(), &cacert), b""))["http"], "1.1");
}

#[test]
fn a_server_that_speaks_no_http2_is_no_riddle() {
    let output = run(connect(serve(echo), &["--http2"]), b"");
    assert_fails(&output, 1, &["leave out --http2"]);
}

#[test]
fn deflate_is_offered_if_asked_for() {
    let demo = Demo::start(&["--deflate"]);
    let output = run(connect(demo.address, &["--deflate", "--json"]), b"hello hello hello\n");
    assert!(opened(&output)["extensions"].as_str().unwrap().starts_with("permessage-deflate"));
    assert!(stdout(&output).contains("hello hello hello"));
    assert_eq!(opened(&run(connect(demo.address, &["--json"]), b""))["extensions"], "");
}

#[test]
fn unix_connects_to_a_socket_of_the_file_system() {
    // The path of a socket may have about 100 bytes.
    let socket = std::env::temp_dir().join(format!("sockeye-way-{}", std::process::id()));
    let (ready, is_ready) = mpsc::channel();
    let at = socket.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = UnixListener::bind(at).unwrap();
            ready.send(()).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = sockeye::accept(stream).await.unwrap();
            while let Some(message) = socket.recv().await.unwrap() {
                socket.send(message).await.unwrap();
            }
        });
    });
    is_ready.recv_timeout(PATIENCE).unwrap();
    assert_echoes(&run(connect_to("ws://localhost/", &["--unix", path(&socket)]), b"a\n"));
    fs::remove_file(&socket).unwrap();
    let output = run(connect_to("ws://localhost/", &["--unix", path(&socket)]), b"");
    assert_fails(&output, 1, &[&format!("cannot reach {}: ", path(&socket)), "is the server running there?"]);
}

/// What every machine takes for itself, and the library not for loopback, which an environment's proxy would spare.
fn any_address(server: SocketAddr) -> String {
    format!("ws://0.0.0.0:{}/", server.port())
}

#[test]
fn a_proxy_is_used_if_given_or_found_in_the_environment() {
    let server = serve(echo);
    let (proxy, asked) = tunnel();
    let url = format!("http://{proxy}");
    assert_echoes(&run(connect(server, &["--proxy", &url]), b"a\n"));
    assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), format!("CONNECT {server} HTTP/1.1"));

    let by_environment = |options| {
        let mut command = connect_to(&any_address(server), options);
        command.env("http_proxy", &url).env_remove("NO_PROXY").env_remove("no_proxy");
        run(command, b"a\n")
    };
    assert_echoes(&by_environment(&[]));
    assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), format!("CONNECT 0.0.0.0:{} HTTP/1.1", server.port()));
    assert_echoes(&by_environment(&["--no-proxy"]));
    assert!(asked.try_recv().is_err(), "it went through the proxy");
}

#[test]
fn a_proxy_that_does_not_help_is_told_from_the_server() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(connect(free, &["--proxy", &format!("http://{free}")]), b"");
    assert_fails(&output, 1, &["through the proxy", "--no-proxy"]);

    let (refusing, _) =
        answering(|_| "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n".to_owned());
    let output = run(connect(free, &["--proxy", &format!("http://{refusing}")]), b"");
    assert_fails(&output, 1, &["the proxy refused: 407", "NAME:PASSWORD"]);

    let output = run(connect(free, &["--proxy", "ftp://name:secret@proxy"]), b"");
    assert_fails(&output, 1, &["not the URL of a proxy", "--proxy"]);
    assert!(!stderr(&output).contains("secret"));
}

#[test]
fn redirects_are_followed_as_often_as_allowed() {
    let server = serve(echo);
    let redirect = move |to: String| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    let (first, _) = answering(move |line| {
        redirect(if line.starts_with("GET /again ") { format!("ws://{server}/") } else { "/again".to_owned() })
    });
    assert_echoes(&run(connect(first, &["--max-redirects", "2"]), b"a\n"));
    let open = opened(&run(connect(first, &["--max-redirects", "2", "--json"]), b""));
    assert_eq!(open["url"], format!("ws://{server}/"));

    let output = run(connect(first, &["--max-redirects", "1"]), b"");
    assert_fails(&output, 3, &["one redirect too many", &server.to_string(), "--max-redirects allows more"]);
    assert_fails(&run(connect(first, &[]), b""), 3, &["302 Found: it points to /again", "--max-redirects"]);
}

/// A server that closes each connection after one answer, which depends on the request's first line.
fn answering(answer: impl Fn(&str) -> String + Send + 'static) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let running = thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = read_head(&mut stream);
            stream.write_all(answer(head.lines().next().unwrap()).as_bytes()).unwrap();
        }
    });
    (address, running)
}

/// A proxy that connects to whatever it is asked for, and tells what that was.
fn tunnel() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut client = stream.unwrap();
            let head = read_head(&mut client);
            let line = head.lines().next().unwrap();
            let server = TcpStream::connect(line.split(' ').nth(1).unwrap()).unwrap();
            asked.send(line.to_owned()).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pass_on(from, to));
            thread::spawn(move || pass_on(server, client));
        }
    });
    (address, receiver)
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
