//! Which proxy a connection goes through, if any.
mod environment;
mod exempt;
mod server;

use std::{fmt, net::IpAddr, sync::Arc};

use sockeye_proto::handshake::ClientRequest;

use self::{
    exempt::Exempt,
    server::{BadProxy, Server},
};
use crate::Error;

/// The proxy that connections go through, and those that do not.
///
/// An HTTP proxy is asked for a tunnel (`CONNECT`, RFC 9110 section 9.3.6) for `ws` and `wss` alike, as RFC 6455 section 4.1
/// wants it. A refusal of the proxy, such as 407, is an error with [`is_proxy`](Error::is_proxy) and a
/// [`response`](Error::response).
///
/// ```no_run
/// # async fn run() -> Result<(), sockeye::Error> {
/// use sockeye::{Client, Proxy};
///
/// let proxy = Proxy::new("http://user:password@proxy.example.org:3128")?.no_proxy("localhost, .internal, 10.0.0.0/8");
/// let socket = Client::new("wss://example.org/live")?.proxy(proxy).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Proxy {
    /// For `ws`.
    plain: Way,
    /// For `wss`.
    secure: Way,
    exempt: Arc<Exempt>,
    /// Whether this machine is reached directly in any case.
    spares_loopback: bool,
}

/// Through which proxy, if any. A URL that is none matters only to those who would go through it.
type Way = Option<Result<Arc<Server>, BadProxy>>;

impl Proxy {
    /// This proxy, for every connection. User name and password, if there are any, are percent-encoded.
    ///
    /// | scheme | |
    /// | --- | --- |
    /// | `http://` | `CONNECT`; also meant if there is no scheme |
    /// | `https://` | `CONNECT`, after TLS with the proxy, configured as TLS with the server is |
    /// | `socks5://` | SOCKS version 5 (RFC 1928); names are looked up here |
    /// | `socks5h://` | the same; names are looked up by the proxy |
    ///
    /// # Errors
    /// If it is no such URL.
    pub fn new(url: &str) -> Result<Self, Error> {
        let way = Some(Ok(Arc::new(Server::parse(url)?)));
        Ok(Self { plain: way.clone(), secure: way, ..Self::none() })
    }

    /// No proxy, whatever the environment says.
    #[must_use]
    pub fn none() -> Self {
        Self { plain: None, secure: None, exempt: Arc::default(), spares_loopback: false }
    }

    /// What the environment says now. A [`Client`](crate::Client) that is told nothing asks for this when it connects.
    ///
    /// As curl does it, the first of these that is set and not empty counts:
    ///
    /// - for `ws`: `ws_proxy`, `WS_PROXY`, `http_proxy`, `all_proxy`, `ALL_PROXY`. `HTTP_PROXY` in capitals is passed over,
    ///   because under CGI it is a header of the request (CVE-2016-5385).
    /// - for `wss`: `wss_proxy`, `WSS_PROXY`, `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY`.
    ///
    /// `no_proxy` or `NO_PROXY` is a list as for [`no_proxy`](Self::no_proxy). `localhost` and loopback addresses are always
    /// reached directly. If what counts is no URL of a proxy, connecting fails.
    #[must_use]
    pub fn from_env() -> Self {
        environment::read(|name| std::env::var(name).ok())
    }

    /// Reaches these hosts directly. In place of an earlier list; separated by commas or spaces:
    ///
    /// - a name, such as `example.org` or `.example.org`: that host and all below it
    /// - an IP address or a network, such as `10.0.0.0/8`; names are not looked up for it
    /// - either of the first two with a port, such as `example.org:8443` or `[::1]:80`: at this port only
    /// - `*`: everything
    #[must_use]
    pub fn no_proxy(mut self, list: &str) -> Self {
        self.exempt = Arc::new(Exempt::parse(list));
        self
    }

    /// The proxy to ask for this connection; none if it is to be direct.
    pub(crate) fn server_for(&self, request: &ClientRequest) -> Result<Option<&Server>, Error> {
        let Some(way) = (if request.is_secure() { &self.secure } else { &self.plain }) else { return Ok(None) };
        let direct = (self.spares_loopback && is_loopback(request.host()))
            || self.exempt.contains(request.host(), request.port());
        match way {
            _ if direct => Ok(None),
            Ok(server) => Ok(Some(server)),
            Err(bad) => Err(bad.clone().into()),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("ws", &self.plain).field("wss", &self.secure).finish_non_exhaustive()
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
