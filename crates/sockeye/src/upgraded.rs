//! A byte stream that an HTTP connection has been turned into.
use std::{
    fmt, io,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop,
};

/// Most bytes handed over in one write, and kept here while the last ones are still on their way. hyper copies and queues
/// up to four such pieces, so this bounds what a peer that does not read can hold beside the connection's own queue.
const WRITE_MAX: usize = 32 * 1024;

/// A stream of HTTP/2, or whatever was below HTTP/1.1.
pub(crate) struct Upgraded {
    /// Never locked: the mutex makes it `Sync`, so that a feature does not take that from [`Transport`](crate::Transport).
    io: Mutex<Box<dyn Io>>,
    /// What was written while the stream took nothing. hyper takes two writes a turn, however small; the pongs for many
    /// pings that came together are more. Owns no memory once it is empty.
    unsent: BytesMut,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Upgraded {
    pub(crate) fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { io: Mutex::new(Box::new(io)), unsent: BytesMut::new() }
    }

    fn io(&mut self) -> Pin<&mut dyn Io> {
        Pin::new(&mut **self.io.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ready once nothing is kept here.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, unsent } = self;
        let io = io.get_mut().unwrap_or_else(PoisonError::into_inner);
        while !unsent.is_empty() {
            match ready!(Pin::new(&mut **io).poll_write(cx, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => unsent.advance(count),
            }
        }
        *unsent = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Another task fills the stream while this one reads it: without a budget the two could go on for ever.
        let turn = ready!(coop::poll_proceed(cx));
        let result = self.io().poll_read(cx, buf);
        if result.is_ready() {
            turn.made_progress();
        }
        result
    }
}

/// Not vectored, as no stream of HTTP/2 is: the pieces would become a frame each.
impl AsyncWrite for Upgraded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = self.poll_unsent(cx) {
            result?;
            if let Poll::Ready(result) = self.io().poll_write(cx, &buf[..buf.len().min(WRITE_MAX)]) {
                return Poll::Ready(result);
            }
        }
        let count = buf.len().min(WRITE_MAX - self.unsent.len());
        if count == 0 && !buf.is_empty() {
            return Poll::Pending;
        }
        self.unsent.extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        self.io().poll_shutdown(cx)
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").finish_non_exhaustive()
    }
}
