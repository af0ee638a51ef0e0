//! Transports that come apart by direction.
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::net::{UnixStream, unix};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, ReadHalf, WriteHalf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{Transport, transport::Inner};

/// A transport whose directions can be owned apart, for [`WebSocket::split`](crate::WebSocket::split).
///
/// Implement it for a transport of your own. Where that has no halves itself, [`tokio::io::split`] makes some; it puts a lock
/// around the transport, which is held for one poll at a time.
///
/// **The contract:** each half keeps a waker of its own, so that polling the one never makes the other's task miss its turn.
///
/// ```
/// use tokio::io::{DuplexStream, ReadHalf, WriteHalf};
/// # use std::{io, pin::Pin, task::{Context, Poll}};
/// # use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
/// struct Pipe(DuplexStream);
/// # impl AsyncRead for Pipe {
/// #     fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
/// #         Pin::new(&mut self.0).poll_read(cx, buf)
/// #     }
/// # }
/// # impl AsyncWrite for Pipe {
/// #     fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
/// #         Pin::new(&mut self.0).poll_write(cx, buf)
/// #     }
/// #     fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
/// #         Pin::new(&mut self.0).poll_flush(cx)
/// #     }
/// #     fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
/// #         Pin::new(&mut self.0).poll_shutdown(cx)
/// #     }
/// # }
///
/// impl sockeye::SplitTransport for Pipe {
///     type Read = ReadHalf<Self>;
///     type Write = WriteHalf<Self>;
///
///     fn into_halves(self) -> (Self::Read, Self::Write) {
///         tokio::io::split(self)
///     }
///
///     fn from_halves(read: Self::Read, write: Self::Write) -> Self {
///         read.unsplit(write)
///     }
/// }
/// ```
pub trait SplitTransport: AsyncRead + AsyncWrite + Unpin + Sized {
    /// What is read from.
    type Read: AsyncRead + Unpin;
    /// What is written to.
    type Write: AsyncWrite + Unpin;

    /// Takes the transport apart.
    fn into_halves(self) -> (Self::Read, Self::Write);

    /// Puts it together again. Only called with the two halves of one transport; it may panic with others.
    fn from_halves(read: Self::Read, write: Self::Write) -> Self;
}

/// Without any lock: the operating system's socket has two directions.
impl SplitTransport for TcpStream {
    type Read = OwnedReadHalf;
    type Write = OwnedWriteHalf;

    fn into_halves(self) -> (Self::Read, Self::Write) {
        self.into_split()
    }

    fn from_halves(read: Self::Read, write: Self::Write) -> Self {
        read.reunite(write).expect("the halves of one stream")
    }
}

/// Without any lock.
#[cfg(unix)]
impl SplitTransport for UnixStream {
    type Read = unix::OwnedReadHalf;
    type Write = unix::OwnedWriteHalf;

    fn into_halves(self) -> (Self::Read, Self::Write) {
        self.into_split()
    }

    fn from_halves(read: Self::Read, write: Self::Write) -> Self {
        read.reunite(write).expect("the halves of one stream")
    }
}

/// With a lock for the time of one copy: the pipe is memory.
impl SplitTransport for DuplexStream {
    type Read = ReadHalf<Self>;
    type Write = WriteHalf<Self>;

    fn into_halves(self) -> (Self::Read, Self::Write) {
        tokio::io::split(self)
    }

    fn from_halves(read: Self::Read, write: Self::Write) -> Self {
        read.unsplit(write)
    }
}

/// TCP and Unix sockets without any lock. What runs over TLS, a proxy or HTTP/2 has state that both directions share, and a
/// lock for the time of one poll.
impl SplitTransport for Transport {
    type Read = TransportReader;
    type Write = TransportWriter;

    fn into_halves(self) -> (Self::Read, Self::Write) {
        match self.0 {
            Inner::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (TransportReader(Read::Tcp(read)), TransportWriter(Write::Tcp(write)))
            }
            #[cfg(unix)]
            Inner::Unix(stream) => {
                let (read, write) = stream.into_split();
                (TransportReader(Read::Unix(read)), TransportWriter(Write::Unix(write)))
            }
            #[cfg(any(feature = "tls", feature = "proxy", feature = "http2"))]
            inner => {
                let (read, write) = tokio::io::split(Self(inner));
                (TransportReader(Read::Locked(read)), TransportWriter(Write::Locked(write)))
            }
        }
    }

    fn from_halves(read: Self::Read, write: Self::Write) -> Self {
        match (read.0, write.0) {
            (Read::Tcp(read), Write::Tcp(write)) => Self(Inner::Tcp(TcpStream::from_halves(read, write))),
            #[cfg(unix)]
            (Read::Unix(read), Write::Unix(write)) => Self(Inner::Unix(UnixStream::from_halves(read, write))),
            #[cfg(any(feature = "tls", feature = "proxy", feature = "http2"))]
            (Read::Locked(read), Write::Locked(write)) => read.unsplit(write),
            _ => panic!("the halves of one transport"),
        }
    }
}

/// The half of a [`Transport`] that is read from.
#[derive(Debug)]
pub struct TransportReader(Read);

/// The half of a [`Transport`] that is written to.
#[derive(Debug)]
pub struct TransportWriter(Write);

#[derive(Debug)]
enum Read {
    Tcp(OwnedReadHalf),
    #[cfg(unix)]
    Unix(unix::OwnedReadHalf),
    #[cfg(any(feature = "tls", feature = "proxy", feature = "http2"))]
    Locked(ReadHalf<Transport>),
}

#[derive(Debug)]
enum Write {
    Tcp(OwnedWriteHalf),
    #[cfg(unix)]
    Unix(unix::OwnedWriteHalf),
    #[cfg(any(feature = "tls", feature = "proxy", feature = "http2"))]
    Locked(WriteHalf<Transport>),
}

/// Calls a method of whichever half it is.
macro_rules! delegate {
    ($half:ident, $inner:expr, $io:ident => $call:expr) => {
        match $inner {
            $half::Tcp($io) => $call,
            #[cfg(unix)]
            $half::Unix($io) => $call,
            #[cfg(any(feature = "tls", feature = "proxy", feature = "http2"))]
            $half::Locked($io) => $call,
        }
    };
}

impl AsyncRead for TransportReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(Read, &mut self.0, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for TransportWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(Write, &mut self.0, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(Write, &mut self.0, io => Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        delegate!(Write, &self.0, io => io.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(Write, &mut self.0, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(Write, &mut self.0, io => Pin::new(io).poll_shutdown(cx))
    }
}
