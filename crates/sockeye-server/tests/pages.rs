//! The pages: what a plain GET gets, and what it cannot get.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Running, assert_status, get, header, read_response, read_to_end};
use sockeye_server::Demo;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn every_page_has_its_headers() {
    let server = Running::site();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/echo", "text/html; charset=utf-8"),
        ("/chat", "text/html; charset=utf-8"),
        ("/cursors", "text/html; charset=utf-8"),
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/assets/echo.js", "text/javascript; charset=utf-8"),
        ("/favicon.ico", "image/svg+xml"),
    ] {
        let response = server.ask(get(path, "Connection: close\r\n")).await;
        assert_status(&response, 200);
        assert_eq!(header(&response, "content-type"), Some(kind), "{path}");
        assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
        assert_eq!(header(&response, "cache-control"), Some("no-cache"));
        assert_eq!(header(&response, "connection"), Some("close"));
        // J4: only what this server sends may run.
        let policy = header(&response, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe"));
        let body = response.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(header(&response, "content-length").unwrap(), body.len().to_string());
    }
}

/// "a plain GET: the page of this demo", at every path.
#[tokio::test]
async fn a_demo_alone_has_its_page_everywhere() {
    for demo in Demo::ALL {
        let server = Running::demo(demo);
        let page = server.ask(get("/", "Connection: close\r\n")).await;
        assert_status(&page, 200);
        for path in ["/ws", "/a/b", "/health"] {
            assert_eq!(server.ask(get(path, "Connection: close\r\n")).await, page, "{demo} {path}");
        }
        assert_status(&server.ask(get("/assets/style.css", "Connection: close\r\n")).await, 200);
        assert_status(&server.ask(get("/assets/none", "")).await, 404);
    }
}

/// Several requests on one connection, one after the other and all at once; HEAD has the head of the GET and no body.
#[tokio::test]
async fn a_connection_is_kept() {
    let server = Running::site();
    let mut stream = server.raw().await;
    let mut heads = Vec::new();
    for method in ["GET", "HEAD", "GET"] {
        stream.write_all(get("/chat", "").replacen("GET", method, 1).as_bytes()).await.unwrap();
        if method == "HEAD" {
            heads.push(common::read_head(&mut stream).await);
        } else {
            let (head, body) = read_response(&mut stream).await;
            assert!(body.starts_with(b"<!doctype html>"));
            heads.push(head);
        }
    }
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");

    let pipelined = [get("/", ""), get("/echo", ""), get("/health", "Connection: close\r\n")].concat();
    stream.write_all(pipelined.as_bytes()).await.unwrap();
    for _ in 0..3 {
        let (head, body) = read_response(&mut stream).await;
        assert_status(&head, 200);
        assert!(!body.is_empty());
    }
    assert_eq!(read_to_end(&mut stream).await, "", "close means close");
}

#[tokio::test]
async fn etags() {
    let server = Running::site();
    let close = "Connection: close\r\n";
    let page = server.ask(get("/", close)).await;
    let etag = header(&page, "etag").unwrap();
    let known = format!("{close}If-None-Match: {etag}\r\n");
    for method in ["GET", "HEAD"] {
        let response = server.ask(get("/", &known).replacen("GET", method, 1)).await;
        assert_status(&response, 304);
        assert!(response.ends_with("\r\n\r\n"));
        assert_eq!(header(&response, "etag"), Some(etag));
        // RFC 9110 section 15.4.5: the length would have to be that of the page.
        assert_eq!(header(&response, "content-length"), None);
    }
    assert_status(&server.ask(get("/", &format!("{close}If-None-Match: \"other\"\r\n"))).await, 200);
    assert_ne!(header(&server.ask(get("/chat", close)).await, "etag"), Some(etag));
}

#[tokio::test]
async fn health() {
    let server = Running::site();
    let response = server.ask(get("/health", "Connection: close\r\n")).await;
    assert_status(&response, 200);
    assert!(response.ends_with("\r\n\r\n{\"status\":\"ok\"}"));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
}

/// An answer to HEAD has no body, whatever it is.
#[tokio::test]
async fn refusals_of_head_have_no_body() {
    let server = Running::site();
    for more in ["", "Expect: 100-continue\r\n", "Content-Length: 3\r\n"] {
        let path = if more.is_empty() { "/nope" } else { "/" };
        let response = server.ask(get(path, more).replacen("GET", "HEAD", 1)).await;
        assert!(response.starts_with("HTTP/1.1 4"), "{response}");
        assert!(response.ends_with("\r\n\r\n"), "{response}");
    }
}

/// J6: no listing; J8: no `/debug`, `/metrics`.
#[tokio::test]
async fn j6_j8_what_is_not_there() {
    let server = Running::site();
    for path in ["/assets", "/assets/", "/metrics", "/debug", "/debug/pprof", "/admin", "/.git/config", "/index.html"] {
        let response = server.ask(get(path, "")).await;
        assert_status(&response, 404);
        assert!(!response.contains("style.css"));
    }
}
