//! The variables that name proxies.
use std::sync::Arc;

use super::{Exempt, Proxy, Server};

/// `http_proxy` is for `ws` what it is for `http`, as in curl; without its capitals, as everywhere.
const FOR_PLAIN: [&str; 5] = ["ws_proxy", "WS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"];
const FOR_SECURE: [&str; 6] = ["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const EXEMPT: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Reads the variables by `lookup`.
pub(super) fn read(lookup: impl Fn(&str) -> Option<String>) -> Proxy {
    let first = |names: &[&str]| names.iter().find_map(|name| lookup(name).filter(|value| !value.trim().is_empty()));
    let way = |names| first(names).map(|url| Server::parse(&url).map(Arc::new));
    Proxy {
        plain: way(&FOR_PLAIN),
        secure: way(&FOR_SECURE),
        exempt: Arc::new(Exempt::parse(&first(&EXEMPT).unwrap_or_default())),
        spares_loopback: true,
    }
}

#[cfg(test)]
mod tests {
    use sockeye_proto::handshake::ClientRequest;

    use super::*;

    fn proxy(variables: &[(&str, &str)]) -> Proxy {
        read(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
    }

    /// `host:port` of the proxy that a connection goes through, `direct`, or a code.
    fn way(variables: &[(&str, &str)], url: &str) -> String {
        match proxy(variables).server_for(&ClientRequest::new(url).unwrap()) {
            Ok(server) => server.map_or("direct".into(), Server::authority),
            Err(error) => error.code().into(),
        }
    }

    #[test]
    fn variables_count_in_the_order_of_curl() {
        for (variables, plain, secure) in [
            (&[][..], "direct", "direct"),
            (&[("http_proxy", "http://h")], "h:80", "direct"),
            (&[("HTTP_PROXY", "http://evil")], "direct", "direct"),
            (&[("HTTPS_PROXY", "http://s:1")], "direct", "s:1"),
            (&[("https_proxy", "s:1"), ("HTTPS_PROXY", "http://other")], "direct", "s:1"),
            (&[("ALL_PROXY", "socks5://a")], "a:1080", "a:1080"),
            (&[("all_proxy", "socks5h://a:2"), ("https_proxy", "http://s:1")], "a:2", "s:1"),
            (&[("ws_proxy", "http://w:1"), ("http_proxy", "http://h")], "w:1", "direct"),
            (&[("wss_proxy", "http://w:1"), ("https_proxy", "http://h")], "direct", "w:1"),
            (&[("https_proxy", " "), ("ALL_PROXY", "http://a:1")], "a:1", "a:1"),
            (&[("ALL_PROXY", "http://a:1"), ("NO_PROXY", "example.org")], "direct", "direct"),
            (&[("ALL_PROXY", "http://a:1"), ("NO_PROXY", "*"), ("no_proxy", "other")], "a:1", "a:1"),
        ] {
            assert_eq!(way(variables, "ws://example.org/"), plain, "{variables:?}");
            assert_eq!(way(variables, "wss://example.org/"), secure, "{variables:?}");
        }
    }

    #[test]
    fn this_machine_is_reached_directly() {
        let variables = [("ALL_PROXY", "http://a:1")];
        for url in ["ws://localhost/", "wss://app.localhost:1/", "ws://127.0.0.1/", "ws://127.1.2.3/", "ws://[::1]:7/"]
        {
            assert_eq!(way(&variables, url), "direct", "{url}");
        }
        for url in ["ws://localhost.example.org/", "ws://10.0.0.1/", "ws://[2001:db8::1]/"] {
            assert_eq!(way(&variables, url), "a:1", "{url}");
        }
    }

    #[test]
    fn a_variable_that_is_no_proxy_concerns_those_who_would_go_through_it() {
        let variables = [("HTTPS_PROXY", "ftp://user:secret@a"), ("ALL_PROXY", "http://a:1"), ("NO_PROXY", "b")];
        assert_eq!(way(&variables, "wss://example.org/"), "bad_proxy");
        assert_eq!(way(&variables, "ws://example.org/"), "a:1");
        assert_eq!(way(&variables, "wss://b/"), "direct");
        assert_eq!(way(&variables, "wss://localhost/"), "direct");
        assert!(!format!("{:?}", proxy(&variables)).contains("secret"));
    }
}
