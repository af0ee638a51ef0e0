//! An open stream of messages both ways: a WebSocket, or whatever stands in for one.
use std::{
    any::Any,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use sockeye::{CloseCode, CloseReason, Error, Message, Prepared, SendError, WebSocket};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// What a connection can run over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for S {}

/// What sessions and demos speak over. The words are those of [`WebSocket`], and so is what they promise: nothing is lost
/// when a call is not repeated, and what is queued leaves when any of the polls is called.
pub(crate) trait Talk: Unpin + 'static {
    /// The next message; writes what is queued before it waits. `None` at the end, after a clean close or an error that one
    /// of these methods has told.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>>;
    /// The next message, if it is here already.
    fn try_recv(&mut self) -> Option<Message>;
    /// Ready once little enough is queued; reads nothing.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
    /// Hands over what is queued, as far as it is taken.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
    /// Bytes that are queued.
    fn buffered_amount(&self) -> usize;
    /// Queues a message.
    fn try_send(&mut self, message: Message) -> Result<(), SendError<Message>>;
    /// Queues a message that many get.
    fn try_send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError<()>>;
    /// Ends the stream behind what is queued; then [`poll_recv`](Self::poll_recv) until it is over.
    fn start_close(&mut self, code: CloseCode, reason: impl Into<CloseReason>);

    /// What is queued, in part, and the socket that it goes to, to be sent together with what is for others; then
    /// [`staged`](Self::staged) is told how much has left. `None` where that is not possible, or nothing is queued.
    fn stage(&self) -> Option<(Arc<TcpStream>, Bytes)> {
        None
    }

    /// Whether there is certainly nothing to flush.
    fn is_flushed(&self) -> bool {
        false
    }

    /// So much of what was staged has left.
    fn staged(&mut self, _count: usize) {}

    /// The WebSocket, if it is one with nothing between it and the kernel.
    fn bare(&self) -> Option<&WebSocket<TcpStream>> {
        None
    }

    /// The same, to take note of what has left.
    fn bare_mut(&mut self) -> Option<&mut WebSocket<TcpStream>> {
        None
    }
}

impl<S: Io> Talk for WebSocket<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        self.poll_recv(cx)
    }

    fn try_recv(&mut self) -> Option<Message> {
        self.try_recv()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_ready(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flush(cx)
    }

    fn buffered_amount(&self) -> usize {
        self.buffered_amount()
    }

    fn try_send(&mut self, message: Message) -> Result<(), SendError<Message>> {
        self.try_send(message)
    }

    fn try_send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError<()>> {
        self.try_send_prepared(prepared)
    }

    fn start_close(&mut self, code: CloseCode, reason: impl Into<CloseReason>) {
        self.start_close(code, reason);
    }

    fn bare(&self) -> Option<&WebSocket<TcpStream>> {
        (self as &dyn Any).downcast_ref()
    }

    fn bare_mut(&mut self) -> Option<&mut WebSocket<TcpStream>> {
        (self as &mut dyn Any).downcast_mut()
    }
}
