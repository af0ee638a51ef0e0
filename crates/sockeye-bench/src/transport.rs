//! One connection's bytes, without blocking: TCP, or TLS on it.

use rustix::fd::{AsFd, BorrowedFd};
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

/// Speaks as a nonblocking [`TcpStream`] does: `WouldBlock` until epoll says more.
pub(crate) enum Transport {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS; its handshake happens with the first bytes.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    /// Whether a read that does not fill the buffer has emptied the socket, so that new bytes are a new event.
    pub(crate) fn short_read_is_all(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => match stream.read(buffer) {
                // Many servers end TCP without saying so in TLS first.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            },
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            // What TLS takes it may keep, and takes nothing more when it keeps too much.
            Self::Tls(stream) => match stream.write(bytes) {
                Ok(0) if !bytes.is_empty() => Err(ErrorKind::WouldBlock.into()),
                wrote => wrote,
            },
        }
    }

    /// Writes what TLS has kept. To be called when the socket takes bytes again.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(stream) if stream.conn.wants_write() => match stream.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
                flushed => flushed,
            },
            _ => Ok(()),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.sock.as_fd(),
        }
    }
}
