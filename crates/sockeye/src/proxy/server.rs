//! One proxy: its URL, and how it is asked for a way to a server.
use std::{fmt, io};

use data_encoding::BASE64;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use sockeye_proto::handshake::{ClientRequest, ReadTunnel};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_socks::tcp::Socks5Stream;
use url::{Host, Url};

use crate::{
    Error, Transport,
    dial::{dial, lookup},
    route::Route,
    tls::Tls,
};

/// A proxy.
pub(crate) struct Server {
    scheme: Scheme,
    /// IPv6 without brackets.
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    /// Names are looked up here.
    Socks5,
    /// Names are looked up by the proxy.
    Socks5h,
}

struct Credentials {
    user: String,
    password: String,
}

/// Why a text is no URL of a proxy.
#[derive(Clone, Debug)]
pub(crate) struct BadProxy(String);

impl Server {
    /// Reads its URL. What is wrong is told without the URL, which may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, BadProxy> {
        let text = text.trim();
        let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
        let url = url.map_err(|error| bad(format!("no URL: {error}")))?;
        let (scheme, default_port) = match url.scheme() {
            "http" => (Scheme::Http, 80),
            "https" => (Scheme::Https, 443),
            "socks5" => (Scheme::Socks5, 1080),
            "socks5h" => (Scheme::Socks5h, 1080),
            _ => return Err(bad("its scheme is none of http, https, socks5, socks5h")),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(bad("it names no host")),
        };
        let port = url.port().unwrap_or(default_port);
        Ok(Self { scheme, host, port, credentials: Credentials::of(&url)? })
    }

    /// A way to the request's host, through this proxy.
    pub(crate) async fn open(&self, request: &ClientRequest, route: &Route) -> Result<Transport, Error> {
        match self.scheme {
            Scheme::Http => {
                let transport = Transport::tcp(self.dial().await?);
                self.connect_through(transport, request).await
            }
            Scheme::Https => {
                // HTTP/1.1 is spoken to it, whatever is offered to the server.
                let mut route = route.clone();
                route.stop_offering_http2();
                let tls = Tls::with(&self.host, route.tls.as_ref(), route.http).await?;
                let transport = tls.secure(Transport::tcp(self.dial().await?)).await?;
                self.connect_through(transport, request).await
            }
            Scheme::Socks5h => Ok(Transport::tcp(self.ask_socks((request.host(), request.port())).await?)),
            Scheme::Socks5 => {
                let mut failure = Error::io(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
                for address in lookup(request.host(), request.port()).await.map_err(Error::io)? {
                    match self.ask_socks(address).await {
                        Ok(stream) => return Ok(Transport::tcp(stream)),
                        // Another address may do; a proxy that does not let us in at all will not be asked again.
                        Err(error) if error.is_io() => failure = error,
                        Err(error) => return Err(error),
                    }
                }
                Err(failure)
            }
        }
    }

    /// `CONNECT`, and the proxy's answer.
    async fn connect_through(&self, mut transport: Transport, request: &ClientRequest) -> Result<Transport, Error> {
        let authorization = self.credentials.as_ref().map(Credentials::basic).transpose()?;
        let (head, reader) = request.tunnel(authorization.as_ref());
        transport.write_all(&head).await.map_err(Error::io)?;
        transport.flush().await.map_err(Error::io)?;
        read_answer(&mut transport, reader).await?;
        Ok(Transport::tunnel(transport))
    }

    async fn ask_socks(&self, target: impl tokio_socks::IntoTargetAddr<'_>) -> Result<TcpStream, Error> {
        let stream = self.dial().await?;
        let asked = match &self.credentials {
            Some(Credentials { user, password }) => {
                Socks5Stream::connect_with_password_and_socket(stream, target, user, password).await
            }
            None => Socks5Stream::connect_with_socket(stream, target).await,
        };
        Ok(asked.map_err(socks_error)?.into_inner())
    }

    async fn dial(&self) -> Result<TcpStream, Error> {
        dial(&self.host, self.port).await.map_err(Error::io)
    }

    #[cfg(test)]
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl Credentials {
    fn of(url: &Url) -> Result<Option<Self>, BadProxy> {
        if url.username().is_empty() && url.password().is_none() {
            return Ok(None);
        }
        let decode = |text| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(_) => Err(bad("its user name or password is not UTF-8")),
        };
        let user = decode(url.username())?;
        let password = decode(url.password().unwrap_or_default())?;
        Ok(Some(Self { user, password }))
    }

    /// RFC 7617.
    fn basic(&self) -> Result<HeaderValue, BadProxy> {
        if self.user.contains(':') {
            return Err(bad("a user name with a colon cannot be sent"));
        }
        let pair = BASE64.encode(format!("{}:{}", self.user, self.password).as_bytes());
        let mut value = HeaderValue::try_from(format!("Basic {pair}")).map_err(|_| bad("its password is too long"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Without the credentials.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({}, {})", self.scheme, self.host, self.port)
    }
}

async fn read_answer(transport: &mut Transport, mut reader: ReadTunnel) -> Result<(), Error> {
    let mut buffer = [0; 2048];
    loop {
        let count = transport.read(&mut buffer).await.map_err(Error::io)?;
        if count == 0 {
            return Err(reader.handle_eof().into());
        }
        match reader.handle_input(&buffer[..count])? {
            Some(more) => reader = more,
            None => return Ok(()),
        }
    }
}

/// What a direct connection would have said too is said in the same way.
fn socks_error(error: tokio_socks::Error) -> Error {
    use tokio_socks::Error as Socks;
    let kind = match error {
        Socks::Io(error) => return Error::io(error),
        Socks::ConnectionRefused => io::ErrorKind::ConnectionRefused,
        Socks::HostUnreachable => io::ErrorKind::HostUnreachable,
        Socks::NetworkUnreachable => io::ErrorKind::NetworkUnreachable,
        Socks::TtlExpired => io::ErrorKind::TimedOut,
        error => return Error::socks(error),
    };
    Error::io(io::Error::new(kind, error))
}

fn bad(why: impl Into<String>) -> BadProxy {
    BadProxy(why.into())
}

impl From<BadProxy> for Error {
    fn from(BadProxy(why): BadProxy) -> Self {
        Self::misuse("bad_proxy", format!("not the URL of a proxy: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, expected) in [
            ("proxy", "Http(proxy, 80)"),
            ("proxy:3128", "Http(proxy, 3128)"),
            ("HTTP://Proxy:3128/", "Http(proxy, 3128)"),
            ("https://proxy", "Https(proxy, 443)"),
            ("socks5://[::1]", "Socks5(::1, 1080)"),
            ("socks5h://10.0.0.1:9", "Socks5h(10.0.0.1, 9)"),
            (" u:p@proxy:1 ", "Http(proxy, 1)"),
        ] {
            assert_eq!(format!("{:?}", Server::parse(url).unwrap()), expected, "{url}");
        }
        for url in ["", "http://", "socks5://", "socks4://a", "ftp://a", "http://a:99999", "http://%ff:x@a"] {
            assert!(Server::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_not_shown() {
        let server = Server::parse("http://al%69ce:p%40ss%3A@proxy").unwrap();
        assert!(!format!("{server:?}").contains("alice"));
        let value = server.credentials.unwrap().basic().unwrap();
        assert_eq!(value, format!("Basic {}", BASE64.encode(b"alice:p@ss:")));
        assert_eq!(format!("{value:?}"), "Sensitive");
        let colon = Server::parse("http://a%3Ab:c@proxy").unwrap();
        assert!(colon.credentials.unwrap().basic().is_err());
    }
}
