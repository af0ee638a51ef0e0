//! A transport in memory that gives and takes as little as it is told to.
use std::{
    cell::{RefCell, RefMut},
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use sockeye::SplitTransport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a transport of the buffering kind holds at most.
const BUFFER_MAX: usize = 4096;

/// One end of a transport; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Pipe(Rc<RefCell<Wire>>);

/// What is on the way in both directions, and how much of it may move.
#[derive(Default)]
pub(crate) struct Wire {
    /// Bytes that have not been read.
    pub(crate) inbound: VecDeque<u8>,
    /// So many of them have arrived.
    pub(crate) arrived: usize,
    /// Nothing comes after them.
    pub(crate) ended: bool,
    /// Bytes that the peer has.
    pub(crate) outbound: Vec<u8>,
    /// So many more the network takes.
    pub(crate) window: usize,
    pub(crate) kind: Kind,
    pub(crate) reading_fails: bool,
    pub(crate) writing: Writing,
    /// Bytes taken that have not left; only if `kind` says so.
    held: Vec<u8>,
    is_shut: bool,
    /// Calls that moved something from or to the network.
    progress: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What one call does.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) read_max: usize,
    pub(crate) write_max: usize,
    pub(crate) is_vectored: bool,
    /// It has a buffer of its own, as TLS has: what is written leaves at a flush.
    pub(crate) is_buffered: bool,
}

impl Default for Kind {
    fn default() -> Self {
        Self { read_max: usize::MAX, write_max: usize::MAX, is_vectored: true, is_buffered: false }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Writing {
    #[default]
    Works,
    Fails,
    TakesZero,
}

impl Pipe {
    /// Looks at it, or changes it without waking anybody.
    pub(crate) fn wire(&self) -> RefMut<'_, Wire> {
        self.0.borrow_mut()
    }

    /// Changes it, and wakes whoever waits.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Wire)) {
        let wakers = {
            let mut wire = self.wire();
            let before = (wire.arrived, wire.ended, wire.reading_fails, wire.window, wire.writing);
            change(&mut wire);
            let reader = if (wire.arrived, wire.ended, wire.reading_fails) == (before.0, before.1, before.2) {
                None
            } else {
                wire.reader.take()
            };
            let writer = if (wire.window, wire.writing) == (before.3, before.4) { None } else { wire.writer.take() };
            [reader, writer]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub(crate) fn progress(&self) -> usize {
        self.wire().progress
    }
}

impl Wire {
    /// Lets everything move that there is.
    pub(crate) fn open(&mut self) {
        self.arrived = self.inbound.len();
        self.window = usize::MAX / 2;
        self.kind = Kind { is_buffered: self.kind.is_buffered, ..Kind::default() };
    }

    /// Whether all that was written has left.
    pub(crate) fn is_flushed(&self) -> bool {
        self.held.is_empty()
    }

    /// Moves what the network takes.
    fn send(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.window);
        self.window -= count;
        self.outbound.extend_from_slice(&bytes[..count]);
        count
    }

    fn send_held(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        let count = self.send(&held);
        self.progress += usize::from(count > 0);
        held.drain(..count);
        self.held = held;
    }

    /// So many bytes one write may be able to take.
    fn room(&self) -> usize {
        if self.kind.is_buffered { BUFFER_MAX } else { self.window }
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!self.is_shut, "a write after the shutdown");
        assert!(!bytes.is_empty(), "a write of nothing");
        let bytes = &bytes[..bytes.len().min(self.kind.write_max)];
        match self.writing {
            Writing::Works => {}
            Writing::Fails => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Writing::TakesZero => return Poll::Ready(Ok(0)),
        }
        let count = if self.kind.is_buffered {
            if self.held.len() == BUFFER_MAX {
                self.send_held();
            }
            let count = bytes.len().min(BUFFER_MAX - self.held.len());
            self.held.extend_from_slice(&bytes[..count]);
            count
        } else {
            self.send(bytes)
        };
        if count == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // What waits in its own buffer has got nowhere yet.
        self.progress += usize::from(!self.kind.is_buffered);
        Poll::Ready(Ok(count))
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.writing {
            Writing::Fails => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Writing::TakesZero if !self.held.is_empty() => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Writing::Works | Writing::TakesZero => {}
        }
        self.send_held();
        if self.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.wire();
        if wire.reading_fails {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let count = wire.arrived.min(wire.kind.read_max).min(buf.remaining());
        assert!(buf.remaining() > 0, "a read into nothing");
        if count == 0 && !(wire.ended && wire.inbound.is_empty()) {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (front, back) = wire.inbound.as_slices();
        let (front, back) = (&front[..count.min(front.len())], &back[..count.saturating_sub(front.len())]);
        buf.put_slice(front);
        buf.put_slice(back);
        wire.inbound.drain(..count);
        wire.arrived -= count;
        wire.progress += usize::from(count > 0);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wire().write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.wire();
        // No more than can be taken is copied; something, even if that is nothing.
        let mut left = wire.room().clamp(1, wire.kind.write_max);
        let mut bytes = Vec::new();
        for slice in slices {
            let count = slice.len().min(left);
            bytes.extend_from_slice(&slice[..count]);
            left -= count;
        }
        wire.write(cx, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire().kind.is_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.wire();
        match wire.flush(cx) {
            Poll::Ready(Ok(())) => {
                wire.is_shut = true;
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}

/// Each direction has a waker of its own.
impl SplitTransport for Pipe {
    type Read = Self;
    type Write = Self;

    fn into_halves(self) -> (Self, Self) {
        (self.clone(), self)
    }

    fn from_halves(read: Self, write: Self) -> Self {
        assert!(Rc::ptr_eq(&read.0, &write.0), "the halves of two pipes");
        read
    }
}
