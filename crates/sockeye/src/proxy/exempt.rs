//! The list of hosts that no proxy is asked for.
use std::net::IpAddr;

use ipnet::IpNet;

/// What `NO_PROXY` says. There is no standard for it: this is what curl and Go agree on.
#[derive(Debug, Default)]
pub(super) struct Exempt {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    host: HostPattern,
    /// `None` is every port.
    port: Option<u16>,
}

#[derive(Debug)]
enum HostPattern {
    Any,
    /// This name, in lower case and without a dot at either end, and all below it.
    Name(String),
    Net(IpNet),
}

impl Exempt {
    pub(super) fn parse(list: &str) -> Self {
        let parts = list.split(|c: char| c == ',' || c.is_whitespace());
        Self { entries: parts.filter_map(Entry::parse).collect() }
    }

    /// `host` is a name in lower case or an address, IPv6 without brackets.
    pub(super) fn contains(&self, host: &str, port: u16) -> bool {
        let address = host.parse::<IpAddr>().ok();
        self.entries.iter().any(|entry| {
            entry.port.is_none_or(|only| only == port)
                && match (&entry.host, address) {
                    (HostPattern::Any, _) => true,
                    (HostPattern::Name(name), None) => is_at_or_below(host.trim_end_matches('.'), name),
                    (HostPattern::Net(net), Some(address)) => net.contains(&address.to_canonical()),
                    (HostPattern::Name(_), Some(_)) | (HostPattern::Net(_), None) => false,
                }
        })
    }
}

impl Entry {
    /// Something that names nothing is passed over.
    fn parse(text: &str) -> Option<Self> {
        if let Some(host) = HostPattern::address(text) {
            return Some(Self { host, port: None });
        }
        let (host, port) = match text.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
            Some((host, Ok(port))) => (host, Some(port)),
            _ => (text, None),
        };
        let host = HostPattern::address(host).or_else(|| HostPattern::name(host))?;
        Some(Self { host, port })
    }
}

impl HostPattern {
    fn address(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let net = bare.parse::<IpNet>().ok().or_else(|| bare.parse::<IpAddr>().ok().map(IpNet::from));
        net.map(Self::Net)
    }

    fn name(text: &str) -> Option<Self> {
        match text.trim_start_matches("*.").trim_matches('.') {
            "" => None,
            "*" => Some(Self::Any),
            name => Some(Self::Name(name.to_ascii_lowercase())),
        }
    }
}

fn is_at_or_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_and_networks() {
        for (list, host, port, expected) in [
            ("", "example.org", 80, false),
            (", . *. :80", "example.org", 80, false),
            ("*", "example.org", 80, true),
            ("*", "10.0.0.1", 80, true),
            ("example.org", "example.org", 80, true),
            ("example.org", "example.org.", 80, true),
            ("EXAMPLE.org", "a.b.example.org", 80, true),
            (".example.org", "example.org", 80, true),
            ("*.example.org", "a.example.org", 80, true),
            ("example.org", "notexample.org", 80, false),
            ("example.org", "example.org.evil.net", 80, false),
            ("example.org:443", "example.org", 443, true),
            ("example.org:443", "example.org", 80, false),
            ("a, b  c\td", "c", 1, true),
            ("a,b", "c", 1, false),
            ("10.0.0.1", "10.0.0.1", 1, true),
            ("10.0.0.1", "10.0.0.10", 1, false),
            ("0.0.1", "10.0.0.1", 1, false),
            ("10.0.0.0/8", "10.200.3.4", 1, true),
            ("10.0.0.0/8", "11.0.0.0", 1, false),
            ("10.0.0.1:80", "10.0.0.1", 80, true),
            ("10.0.0.1:80", "10.0.0.1", 81, false),
            ("::1", "::1", 1, true),
            ("[::1]", "::1", 1, true),
            ("[::1]:80", "::1", 80, true),
            ("[::1]:80", "::1", 81, false),
            ("2001:db8::/32", "2001:db8::5", 1, true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", 1, true),
        ] {
            assert_eq!(Exempt::parse(list).contains(host, port), expected, "{list:?} {host} {port}");
        }
    }
}
