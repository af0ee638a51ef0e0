//! The variables that name proxies.
use std::sync::Arc;

use super::{Exempt, Proxy, Server};
use crate::Error;

/// `http_proxy` is for `ws` what it is for `http`, as in curl; without its capitals, as everywhere.
const FOR_PLAIN: [&str; 5] = ["ws_proxy", "WS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"];
const FOR_SECURE: [&str; 6] = ["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const EXEMPT: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Reads the variables by `lookup`.
pub(super) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Proxy, Error> {
    let first = |names: &[&str]| names.iter().find_map(|name| lookup(name).filter(|value| !value.trim().is_empty()));
    let server = |names| first(names).map(|url| Server::parse(&url).map(Arc::new)).transpose();
    Ok(Proxy {
        plain: server(&FOR_PLAIN)?,
        secure: server(&FOR_SECURE)?,
        exempt: Arc::new(Exempt::parse(&first(&EXEMPT).unwrap_or_default())),
        spares_loopback: true,
    })
}

#[cfg(test)]
mod tests {
    use sockeye_proto::handshake::ClientRequest;

    use super::*;

    /// `host:port` of the proxy that a connection goes through, or `direct`.
    fn way(variables: &[(&str, &str)], url: &str) -> String {
        let lookup =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        let proxy = read(lookup).unwrap();
        proxy.server_for(&ClientRequest::new(url).unwrap()).map_or("direct".into(), Server::authority)
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
    fn a_variable_that_is_no_proxy_is_an_error() {
        let error = read(|name| (name == "ALL_PROXY").then(|| "ftp://user:secret@a".to_owned())).unwrap_err();
        assert_eq!((error.code(), error.is_misuse()), ("bad_proxy", true));
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
