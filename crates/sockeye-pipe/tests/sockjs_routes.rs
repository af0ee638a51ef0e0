//! Paths of SockJS, section 1 of its notes: what is there, for which methods.
use sockeye_pipe::sockjs::{Endpoint, Method, Refused, SessionEndpoint, resolve};

const SESSIONS: [(&str, SessionEndpoint, &str); 8] = [
    ("websocket", SessionEndpoint::WebSocket, "GET"),
    ("xhr_streaming", SessionEndpoint::XhrStreaming, "POST, OPTIONS"),
    ("xhr", SessionEndpoint::Xhr, "POST, OPTIONS"),
    ("xhr_send", SessionEndpoint::XhrSend, "POST, OPTIONS"),
    ("eventsource", SessionEndpoint::EventSource, "GET"),
    ("htmlfile", SessionEndpoint::HtmlFile, "GET"),
    ("jsonp", SessionEndpoint::Jsonp, "GET"),
    ("jsonp_send", SessionEndpoint::JsonpSend, "POST"),
];

const METHODS: [(&str, Method); 4] =
    [("GET", Method::Get), ("POST", Method::Post), ("OPTIONS", Method::Options), ("HEAD", Method::Other)];

/// Every method on a path that is there: as `allowed` says.
fn is_there(path: &str, endpoint: Endpoint<'_>, allowed: &'static str) {
    for (name, method) in METHODS {
        let is_allowed = allowed.split(", ").any(|allowed| allowed == name);
        let expected = if is_allowed { Ok(endpoint) } else { Err(Refused::MethodNotAllowed(allowed)) };
        assert_eq!(resolve("/echo", &method, path), expected, "{name} {path}");
    }
}

#[test]
fn endpoints_without_a_session_are_there_with_a_slash_at_the_end_and_without() {
    for (path, endpoint, allowed) in [
        ("/echo", Endpoint::Greeting, "GET"),
        ("/echo/info", Endpoint::Info, "OPTIONS, GET"),
        ("/echo/websocket", Endpoint::RawWebSocket, "GET"),
        ("/echo/iframe.html", Endpoint::Iframe, "GET"),
        ("/echo/iframe-a.html", Endpoint::Iframe, "GET"),
        ("/echo/iframe-0.1.2.html", Endpoint::Iframe, "GET"),
        ("/echo/iframe-0.1.2-dirty_x.html", Endpoint::Iframe, "GET"),
    ] {
        is_there(path, endpoint, allowed);
        is_there(&format!("{path}/"), endpoint, allowed);
    }
}

#[test]
fn the_greeting_is_all_that_ends_with_a_slash_of_its_own() {
    is_there("/echo/", Endpoint::Greeting, "GET");
}

#[test]
fn endpoints_of_sessions_are_there_for_their_methods_alone() {
    for (name, endpoint, allowed) in SESSIONS {
        for (server, id) in [("000", "abc"), ("a", "a"), ("abc%20", "x_y%20"), ("_", "-"), ("_-", "%2E")] {
            let path = format!("/echo/{server}/{id}/{name}");
            is_there(&path, Endpoint::Session { id, endpoint }, allowed);
            is_there(&format!("{path}/"), Endpoint::Session { id, endpoint }, allowed);
        }
    }
}

#[test]
fn the_server_in_the_path_is_ignored() {
    let one = resolve("/echo", &Method::Post, "/echo/000/S/xhr");
    assert_eq!(one, resolve("/echo", &Method::Post, "/echo/999/S/xhr"));
}

#[test]
fn a_prefix_may_have_any_depth_or_none() {
    let id = "s";
    let endpoint = SessionEndpoint::Xhr;
    for (prefix, path) in [("/a/b/c", "/a/b/c/0/s/xhr"), ("", "/0/s/xhr")] {
        assert_eq!(resolve(prefix, &Method::Post, path), Ok(Endpoint::Session { id, endpoint }));
    }
}

#[test]
fn all_else_is_not_there_whatever_the_method() {
    let long = format!("/echo/0/{}/xhr", "s".repeat(129));
    for path in [
        "",
        "/",
        "/ech",
        "/echoinfo",
        "/echo2/info",
        "/echo/a",
        "/echo/a.html",
        "/echo//",
        "/echo///",
        "/echo/a/a",
        "/echo/a/a/",
        "/echo/a",
        "/echo/a/",
        "/echo/a./a/xhr",
        "/echo/a/a./xhr",
        "/echo/./a/xhr",
        "/echo/a/./xhr",
        "/echo/./.",
        "/echo//./",
        "/echo///xhr",
        "/echo//a/xhr",
        "/echo/a//xhr",
        "/echo/a/a/xhr//",
        "/echo/a/a/b/xhr",
        "/echo/iframe",
        "/echo/iframe.htm",
        "/echo/iframe.HTML",
        "/echo/IFRAME.HTML",
        "/echo/iframe-A.html",
        "/echo/iframe-/.html",
        "/echo/iframe-%41.html",
        "/echo/xiframe.html",
        "/echo/iframe.html.x",
        "/echo/info//",
        "/echo/INFO",
        "/echo/info/info",
        "/echo/websocket//",
        "/echo/0/s/XHR",
        "/echo/0/s/xhr_polling",
        "/echo/chunking_test",
        "/echo/0/s/",
        "/echo/0/s",
        &long,
    ] {
        for (name, method) in METHODS {
            assert_eq!(resolve("/echo", &method, path), Err(Refused::NotFound), "{name} {path}");
        }
    }
}

#[test]
fn the_longest_name_is_128_bytes() {
    let id = "s".repeat(128);
    let path = format!("/echo/0/{id}/xhr");
    let endpoint = SessionEndpoint::Xhr;
    assert_eq!(resolve("/echo", &Method::Post, &path), Ok(Endpoint::Session { id: &id, endpoint }));
}
