//! What a client's connection runs over.
use std::{
    any::Any,
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

#[cfg(feature = "tls")]
use crate::rustls::ClientConnection;
#[cfg(feature = "http2")]
use crate::upgraded::Upgraded;

/// The transport of a connection made by [`connect`](crate::connect) or taken over from an HTTP server: TCP or a Unix
/// socket, with TLS on top or without, through a proxy or not; or a stream of HTTP/2.
///
/// Opaque, so that others can join without changing anybody's types.
pub struct Transport(pub(crate) Inner);

pub(crate) enum Inner {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    /// Boxed, because it is ten times as large as a socket. What it runs over may be any transport in its turn.
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<Transport>>),
    /// The way through a proxy, whose own TLS is none of the server's.
    #[cfg(feature = "proxy")]
    Tunnel(Box<Transport>),
    /// What an HTTP connection was turned into.
    #[cfg(feature = "http2")]
    Upgraded(Upgraded),
}

/// Calls a method of whichever it is.
macro_rules! delegate {
    ($inner:expr, $io:ident => $call:expr) => {
        match $inner {
            Inner::Tcp($io) => $call,
            #[cfg(unix)]
            Inner::Unix($io) => $call,
            #[cfg(feature = "tls")]
            Inner::Tls($io) => $call,
            #[cfg(feature = "proxy")]
            Inner::Tunnel($io) => $call,
            #[cfg(feature = "http2")]
            Inner::Upgraded($io) => $call,
        }
    };
}

impl Transport {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        Self(Inner::Tcp(stream))
    }

    #[cfg(unix)]
    pub(crate) fn unix(stream: tokio::net::UnixStream) -> Self {
        Self(Inner::Unix(stream))
    }

    #[cfg(feature = "tls")]
    pub(crate) fn secured(stream: tokio_rustls::client::TlsStream<Self>) -> Self {
        Self(Inner::Tls(Box::new(stream)))
    }

    #[cfg(feature = "proxy")]
    pub(crate) fn tunnel(through: Self) -> Self {
        Self(Inner::Tunnel(Box::new(through)))
    }

    #[cfg(feature = "http2")]
    pub(crate) fn upgraded(stream: Upgraded) -> Self {
        Self(Inner::Upgraded(stream))
    }

    /// The address of the other end of the TCP connection: the server, or what stands in front of it, such as a proxy.
    ///
    /// # Errors
    /// If the operating system does not tell, or if it is no TCP connection.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp_stream().ok_or(io::ErrorKind::Unsupported)?.peer_addr()
    }

    /// The TLS session with the server (not one with its proxy): version, cipher suite, ALPN, the server's certificates.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), sockeye::Error> {
    /// let socket = sockeye::connect("wss://example.org/live").await?;
    /// if let Some(tls) = socket.get_ref().tls() {
    ///     println!("{:?}, {} certificates", tls.protocol_version(), tls.peer_certificates().map_or(0, <[_]>::len));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&ClientConnection> {
        if let Inner::Tls(stream) = &self.0 { Some(stream.get_ref().1) } else { None }
    }

    /// What was agreed upon for the time after TLS's handshake, if there was one.
    pub(crate) fn alpn_protocol(&self) -> Option<&[u8]> {
        match &self.0 {
            #[cfg(feature = "tls")]
            Inner::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            _ => None,
        }
    }

    fn tcp_stream(&self) -> Option<&TcpStream> {
        match &self.0 {
            Inner::Tcp(stream) => Some(stream),
            #[cfg(unix)]
            Inner::Unix(_) => None,
            #[cfg(feature = "tls")]
            Inner::Tls(stream) => stream.get_ref().0.tcp_stream(),
            #[cfg(feature = "proxy")]
            Inner::Tunnel(transport) => transport.tcp_stream(),
            // It is the HTTP server's, or the task's that carries the HTTP/2 connection.
            #[cfg(feature = "http2")]
            Inner::Upgraded(_) => None,
        }
    }
}

/// The TCP socket under a transport that a server accepted on, where its type is one that is known.
pub(crate) fn tcp_stream_under(io: &dyn Any) -> Option<&TcpStream> {
    #[cfg(feature = "tls")]
    if let Some(stream) = io.downcast_ref::<tokio_rustls::server::TlsStream<TcpStream>>() {
        return Some(stream.get_ref().0);
    }
    #[cfg(feature = "tls")]
    if let Some(stream) = io.downcast_ref::<tokio_rustls::TlsStream<TcpStream>>() {
        return Some(stream.get_ref().0);
    }
    io.downcast_ref()
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Tcp(stream) => stream.fmt(f),
            #[cfg(unix)]
            Inner::Unix(stream) => stream.fmt(f),
            // The session itself holds secrets.
            #[cfg(feature = "tls")]
            Inner::Tls(stream) => f.debug_tuple("Tls").field(stream.get_ref().0).finish(),
            #[cfg(feature = "proxy")]
            Inner::Tunnel(transport) => f.debug_tuple("Tunnel").field(transport).finish(),
            #[cfg(feature = "http2")]
            Inner::Upgraded(stream) => stream.fmt(f),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.0, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(&mut self.0, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(&mut self.0, io => Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        delegate!(&self.0, io => io.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.0, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.0, io => Pin::new(io).poll_shutdown(cx))
    }
}
