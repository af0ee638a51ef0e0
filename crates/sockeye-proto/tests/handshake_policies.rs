//! Which origin and which subprotocol a server takes.

use http::Request;
use sockeye_proto::handshake::{Offer, OriginPolicy, Subprotocol, SubprotocolPolicy};

fn offer(headers: &[(&str, &str)]) -> Offer {
    let mut request = Request::get("/")
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Offer::check(&request.body(()).unwrap()).unwrap()
}

fn policy() -> OriginPolicy {
    OriginPolicy::list(["https://good.example", "http://good.example:8080", "https://b\u{fc}cher.example"]).unwrap()
}

#[test]
fn f1_only_listed_origins() {
    for origin in [
        "https://good.example",
        "HTTPS://GOOD.EXAMPLE",
        "https://good.example:443",
        "http://good.example:8080",
        "https://xn--bcher-kva.example",
    ] {
        assert!(policy().allows(Some(origin), "x"), "{origin}");
    }
    for origin in [
        "https://evil.example",
        "null",
        "",
        "https://good.example.evil.com",
        "https://evilgood.example",
        "https://sub.good.example",
        "http://good.example",
        "https://good.example:8080",
        "https://good.example:444",
        "https://good.example.",
        "https://good.example/",
        "https://good.example/x",
        "https://good.example?x",
        "https://good.example#x",
        "https://good.example\\.evil.com",
        "https://u@good.example",
        "https://good.example@evil.com",
        "https://good%2eexample",
        "https://good.example:",
        "https:good.example",
        "https:/good.example",
        "good.example",
        "https://good.example https://evil.example",
        "https://good.example,https://evil.example",
        " https://good.example",
        "https://good.example ",
        "https://go\tod.example",
        "//good.example",
        "wss://good.example",
        "https://bucher.example",
        "https://xn--bcher-kvb.example",
        "https://",
        "://",
        "file://",
        "about:blank",
        "data:text/html,x",
    ] {
        assert!(!policy().allows(Some(origin), "good.example"), "{origin}");
    }
}

#[test]
fn f1_a_foreign_origin_gets_403() {
    let offer = offer(&[("host", "good.example"), ("origin", "https://evil.example")]);
    let refusal = offer.check_origin(&policy()).unwrap_err();
    assert_eq!((refusal.status().as_u16(), refusal.code()), (403, "origin_not_allowed"));
    assert!(offer.check_origin(&OriginPolicy::same()).is_err());
    assert!(offer.check_origin(&OriginPolicy::any()).is_ok());
}

#[test]
fn f2_without_origin_allowed_unless_required() {
    let offer = offer(&[("host", "good.example")]);
    for policy in [policy(), OriginPolicy::same(), OriginPolicy::any()] {
        assert!(offer.check_origin(&policy).is_ok());
        assert_eq!(offer.check_origin(&policy.require()).unwrap_err().status(), 403);
    }
}

#[test]
fn f1_null_matches_any_only() {
    assert!(OriginPolicy::any().allows(Some("null"), "a"));
    assert!(!OriginPolicy::same().allows(Some("null"), "null"));
    assert_eq!(OriginPolicy::list(["null"]).unwrap_err().text(), "null");
}

#[test]
fn f1_a_list_and_the_same_host() {
    let policy = policy().and_same();
    for origin in ["https://good.example", "http://192.0.2.7:7071", "https://192.0.2.7:7071"] {
        assert!(policy.allows(Some(origin), "192.0.2.7:7071"), "{origin}");
    }
    for origin in
        ["https://evil.example", "http://192.0.2.7", "http://192.0.2.7:7072", "null", "", "ws://192.0.2.7:7071"]
    {
        assert!(!policy.allows(Some(origin), "192.0.2.7:7071"), "{origin}");
    }
    assert!(policy.allows(None, "x") && !policy.clone().require().allows(None, "x"));
    assert!(OriginPolicy::any().and_same().allows(Some("https://evil.example"), "x"));
    assert!(!OriginPolicy::same().and_same().allows(Some("https://evil.example"), "x"));
}

#[test]
fn f1_same_origin_compares_host_and_port() {
    let same = |origin: &str, host: &str| OriginPolicy::same().allows(Some(origin), host);
    for (origin, host) in [
        ("http://a.example", "a.example"),
        ("https://a.example", "a.example"),
        ("http://A.Example", "a.EXAMPLE"),
        ("http://a.example", "a.example:80"),
        ("https://a.example", "a.example:443"),
        ("http://127.0.0.1:7071", "127.0.0.1:7071"),
        ("http://[::1]:7071", "[0:0::1]:7071"),
        ("http://localhost:7071", "localhost:7071"),
    ] {
        assert!(same(origin, host), "{origin} {host}");
    }
    for (origin, host) in [
        ("http://a.example", "b.example"),
        ("http://a.example", "a.example:443"),
        ("http://a.example:7071", "a.example"),
        ("http://a.example", "a.example:7071"),
        ("http://localhost:7071", "127.0.0.1:7071"),
        ("http://a.example.evil.com", "a.example"),
        ("http://evil.com", "evil.com/"),
        ("ftp://a.example", "a.example"),
        ("chrome-extension://a", "a"),
        ("", ""),
    ] {
        assert!(!same(origin, host), "{origin} {host}");
    }
}

#[test]
fn extensions_and_apps_can_be_listed() {
    let policy = OriginPolicy::list(["chrome-extension://abcdef", "capacitor://localhost"]).unwrap();
    assert!(policy.allows(Some("chrome-extension://abcdef"), "a"));
    assert!(policy.allows(Some("capacitor://LOCALHOST"), "a"));
    assert!(!policy.allows(Some("chrome-extension://abcdeg"), "a"));
    assert!(!policy.allows(Some("http://localhost"), "a"));
}

#[test]
fn what_is_no_origin_cannot_be_listed() {
    for text in ["", "*", "https://*", "https://*.good.example", "good.example", "https://good.example/", "https://a:b"]
    {
        if text.contains('*') && text.len() > 1 {
            // There are no wildcards: where the URL parser takes a star for a letter, it stands for itself.
            let taken = OriginPolicy::list([text]);
            assert!(taken.is_err() || !taken.unwrap().allows(Some("https://a.good.example"), "a"));
        } else {
            assert_eq!(OriginPolicy::list([text]).unwrap_err().text(), text);
        }
    }
}

#[test]
fn subprotocol_policies() {
    let names = |names: &[&str]| names.iter().map(|name| Subprotocol::new(name).unwrap()).collect::<Vec<_>>();
    let none = offer(&[("host", "a")]);
    let others = offer(&[("host", "a"), ("sec-websocket-protocol", "x, y")]);
    let both = offer(&[("host", "a"), ("sec-websocket-protocol", "one, two")]);
    let supported = || names(&["two", "one"]);

    for policy in [
        SubprotocolPolicy::optional(supported()),
        SubprotocolPolicy::required_if_offered(supported()),
        SubprotocolPolicy::required(supported()),
    ] {
        // The server's order decides.
        assert_eq!(both.select(&policy).unwrap().unwrap(), "two");
    }
    assert_eq!(none.select(&SubprotocolPolicy::optional(supported())).unwrap(), None);
    assert_eq!(others.select(&SubprotocolPolicy::optional(supported())).unwrap(), None);
    assert_eq!(both.select(&SubprotocolPolicy::none()).unwrap(), None);

    assert_eq!(none.select(&SubprotocolPolicy::required_if_offered(supported())).unwrap(), None);
    for refused in [
        others.select(&SubprotocolPolicy::required_if_offered(supported())),
        others.select(&SubprotocolPolicy::required(supported())),
        none.select(&SubprotocolPolicy::required(supported())),
    ] {
        let refusal = refused.unwrap_err();
        assert_eq!((refusal.status().as_u16(), refusal.code()), (400, "no_subprotocol"));
    }
}

#[test]
fn subprotocol_names() {
    let longest = "x".repeat(Subprotocol::MAX_LENGTH);
    for name in ["a", "sockeye.v1.json", "!#$%&'*+-.^_`|~09AZaz", &longest] {
        assert_eq!(Subprotocol::new(name).unwrap().as_str(), name);
        assert_eq!(name.parse::<Subprotocol>().unwrap(), *name);
    }
    let too_long = "x".repeat(Subprotocol::MAX_LENGTH + 1);
    for name in ["", " ", "a b", "a,b", "a\r\nb", "\u{e9}", "a\0", "(a)", "a/b", &too_long] {
        assert!(Subprotocol::try_from(name).is_err(), "{name:?}");
    }
}
