//! Echo: every message comes back as it was.
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use sockeye::{CloseCode, Message};
use tracing::debug;

use super::room::ENOUGH;
use crate::{talk::Talk, worker::Goodbye};

/// The task of one connection. Written by hand, since it is most of what an idle connection costs: as an `async fn` it has
/// room for every future it may ever await, which is as much again.
pub(crate) struct Echo<S, T> {
    socket: S,
    /// Boxed: tokio rounds a task up to a multiple of 128 bytes, and without this it is one less.
    stay: Box<Stay<T>>,
}

/// A connection's place at its worker.
struct Stay<T> {
    goodbye: Goodbye,
    /// The closing handshake goes on that the goodbye has begun.
    is_leaving: bool,
    _ticket: T,
}

impl<S: Talk, T> Echo<S, T> {
    /// `ticket` is dropped at the end.
    pub(crate) fn new(socket: S, goodbye: Goodbye, ticket: T) -> Self {
        Self { socket, stay: Box::new(Stay { goodbye, is_leaving: false, _ticket: ticket }) }
    }

    /// Ready at the end: `Ok` after a clean close.
    fn poll_echo(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), sockeye::Error>> {
        loop {
            // Who does not take the echoes is not asked for more of them.
            let received = if !self.stay.is_leaving && self.socket.buffered_amount() > ENOUGH {
                self.socket.poll_ready(cx)?.map(|()| None)
            } else {
                match self.socket.poll_recv(cx)? {
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    received => received,
                }
            };
            match received {
                Poll::Ready(Some(_)) if self.stay.is_leaving => {}
                Poll::Ready(Some(message)) => self.answer(message)?,
                Poll::Ready(None) => {}
                Poll::Pending if self.stay.is_leaving => return Poll::Pending,
                Poll::Pending => {
                    ready!(self.stay.goodbye.poll_said(cx));
                    self.stay.is_leaving = true;
                    self.socket.start_close(CloseCode::GOING_AWAY, "the server is stopping");
                }
            }
        }
    }

    /// The echoes of messages that came together are queued, and leave together when the socket waits.
    fn answer(&mut self, first: Message) -> Result<(), sockeye::Error> {
        let mut next = Some(first);
        while let Some(message) = next {
            self.socket.try_send(message)?;
            next = if self.socket.buffered_amount() > ENOUGH { None } else { self.socket.try_recv() };
        }
        Ok(())
    }
}

impl<S: Talk, T: Unpin> Future for Echo<S, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = ready!(self.poll_echo(cx)) {
            debug!(code = error.code(), "echo ended: {error}");
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use sockeye::WebSocket;
    use tokio::net::TcpStream;

    use super::*;
    use crate::admission::Ticket;

    /// What tokio adds to a task's future, and the tracker of our tasks.
    const TASK: usize = 104;

    #[test]
    fn a_task_is_four_times_128_bytes() {
        let size = size_of::<Echo<WebSocket<TcpStream>, Ticket>>();
        assert!(size + TASK <= 512, "{size}");
    }
}
