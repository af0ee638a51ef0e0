//! What a client's connection runs over.
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

#[cfg(feature = "http2")]
use crate::upgraded::Upgraded;

/// The transport of a connection made by [`connect`](crate::connect) or taken over from an HTTP server: TCP, or a stream
/// of HTTP/2.
///
/// Opaque, so that TLS and others can join without changing anybody's types.
#[derive(Debug)]
pub struct Transport(Inner);

#[derive(Debug)]
enum Inner {
    Tcp(TcpStream),
    #[cfg(feature = "http2")]
    Upgraded(Upgraded),
}

/// Calls the same method of whichever transport it is.
macro_rules! delegate {
    ($self:ident, $io:ident => $call:expr) => {
        match &mut $self.0 {
            Inner::Tcp($io) => $call,
            #[cfg(feature = "http2")]
            Inner::Upgraded($io) => $call,
        }
    };
}

impl Transport {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        Self(Inner::Tcp(stream))
    }

    #[cfg(feature = "http2")]
    pub(crate) fn upgraded(stream: Upgraded) -> Self {
        Self(Inner::Upgraded(stream))
    }

    /// The address of the other end: the server, or what stands in front of it.
    ///
    /// # Errors
    /// If the operating system does not tell. What came through an HTTP server other than on plain TCP does not know it.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Inner::Tcp(stream) => stream.peer_addr(),
            #[cfg(feature = "http2")]
            Inner::Upgraded(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, io => Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::Tcp(io) => io.is_write_vectored(),
            #[cfg(feature = "http2")]
            Inner::Upgraded(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
