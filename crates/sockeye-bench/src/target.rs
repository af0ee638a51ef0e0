//! Where the server is, and from where one connects.

use crate::Failure;
use sockeye_proto::handshake::ClientRequest;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

/// Loopback addresses to come from where the server is at one, so that many connections do not run out of local ports.
const LOOPBACKS: u8 = 8;

/// A URL, read.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    request: ClientRequest,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = if text.contains("://") { text.to_owned() } else { format!("ws://{text}") };
        let request = ClientRequest::new(&url).map_err(|error| error.to_string())?;
        Ok(Self { request })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.request.url())
    }
}

impl Target {
    /// The opening handshake for this URL.
    pub(crate) fn request(&self) -> ClientRequest {
        self.request.clone()
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.request.is_secure()
    }

    /// A name or an address, for TLS.
    pub(crate) fn host(&self) -> &str {
        self.request.host()
    }

    /// The address of the host, or the first of them where somebody listens.
    ///
    /// # Errors
    ///
    /// When the name has none.
    pub(crate) fn resolve(&self, patience: Duration) -> Result<SocketAddr, Failure> {
        let (host, port) = (self.request.host(), self.request.port());
        let all = (host, port).to_socket_addrs().map_err(|error| format!("cannot find {host}: {error}"))?;
        let all: Vec<_> = all.collect();
        let answers = |address: &&SocketAddr| TcpStream::connect_timeout(address, patience).is_ok();
        let first = match all.as_slice() {
            // One that is tried is one that the server has seen; where there is no choice none is.
            [only] => Some(*only),
            all => all.iter().find(answers).or(all.first()).copied(),
        };
        Ok(first.ok_or_else(|| format!("{host} has no address"))?)
    }
}

/// The addresses to connect from, in turn; none leaves it to the kernel.
///
/// # Errors
///
/// When one of `given` is of the other family than the server's.
pub(crate) fn sources(given: &[IpAddr], server: SocketAddr) -> Result<Vec<IpAddr>, Failure> {
    if let Some(other) = given.iter().find(|address| address.is_ipv4() != server.is_ipv4()) {
        return Err(format!("--from {other}: the server is at {}, which is of the other family", server.ip()).into());
    }
    let is_loopback = server.is_ipv4() && server.ip().is_loopback();
    let loopbacks = (1..=LOOPBACKS).map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
    Ok(if given.is_empty() && is_loopback { loopbacks.collect() } else { given.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_bare_addresses() {
        for (text, url, secure) in [
            ("ws://127.0.0.1:9/echo", "ws://127.0.0.1:9/echo", false),
            ("http://127.0.0.1:9/", "ws://127.0.0.1:9/", false),
            ("wss://[::1]:9/a?b=c", "wss://[::1]:9/a?b=c", true),
            ("localhost:9", "ws://localhost:9/", false),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.to_string().as_str(), target.is_secure()), (url, secure));
        }
        for wrong in ["ftp://a/", "ws://", "a b"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn loopback_is_left_from_eight_addresses() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(sources(&[], at("127.0.0.1:9")).unwrap().len(), 8);
        assert!(sources(&[], at("[::1]:9")).unwrap().is_empty() && sources(&[], at("10.0.0.1:9")).unwrap().is_empty());
        let given = ["127.0.0.9".parse().unwrap()];
        assert_eq!(sources(&given, at("127.0.0.1:9")).unwrap(), given);
        assert!(sources(&given, at("[::1]:9")).is_err());
    }
}
