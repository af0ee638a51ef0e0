//! The view as a `Stream` of messages and a `Sink` for them, for code built on `futures`.
use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use sockeye_proto::{Message, ReadyState};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Error, WebSocket};

/// [`WebSocket::recv`] as a stream: it ends after a clean close, or after the error.
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for WebSocket<S> {
    fn is_terminated(&self) -> bool {
        self.ready_state() == ReadyState::Closed
    }
}

/// [`WebSocket::feed`] and [`WebSocket::flush`] as a sink. Closing it sends a Close frame with 1000 and flushes; it does
/// not wait for the answer, which comes through the stream.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        WebSocket::poll_ready(self.get_mut(), cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.get_mut().try_send(message).map_err(Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        WebSocket::poll_flush(self.get_mut(), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let socket = self.get_mut();
        socket.start_close(sockeye_proto::CloseCode::NORMAL, "");
        WebSocket::poll_flush(socket, cx)
    }
}
