//! A socket in two halves, for two tasks: [`Sender`] and [`Receiver`].
//!
//! Each half owns its direction of the transport and its half of the protocol. They meet in one place, `slot`: the receiver
//! leaves there what it owes the wire, and whoever has the write side just then settles it.
mod receiver;
mod sender;
mod shared;
mod slot;
mod sync;
mod transport;

use std::{fmt, sync::Arc};

use sockeye_proto::Connection;
use tokio::net::TcpStream;

use self::{shared::Shared, slot::Settle};
pub use receiver::Receiver;
pub use sender::Sender;
pub use transport::{SplitTransport, TransportReader, TransportWriter};

use crate::{
    WebSocket,
    drive::{Driver, End},
};

impl<S: SplitTransport> WebSocket<S> {
    /// The two halves, to receive in one task and send in another.
    ///
    /// What was received and what was queued stays where it was; whatever is on its way when the socket is split goes on, but
    /// what a [`reader`](Self::reader) has left of a message is passed over. Pings are answered while the receiver is polled, also when the sender is idle or stuck.
    ///
    /// ```
    /// # async fn run(socket: sockeye::WebSocket) -> Result<(), sockeye::Error> {
    /// let (mut sender, mut receiver) = socket.split();
    /// tokio::spawn(async move {
    ///     for number in 0..1_000 {
    ///         sender.send(format!("news {number}")).await?;
    ///     }
    ///     sender.close(sockeye::CloseCode::NORMAL, "that was all").await
    /// });
    /// while let Some(message) = receiver.recv().await? {
    ///     println!("{message:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn split(self) -> (Sender<S>, Receiver<S>) {
        let mut socket = self;
        socket.stop_streaming();
        let Self { driver, agreed, reading } = socket;
        let Driver { io, connection, rest, flush_due, end, .. } = driver;
        let (shutting_down, failure, end) = end.into_parts();
        let (read, write) = io.into_halves();
        let (receive, send) = connection.split();
        let shared = Arc::new(Shared::new(write, send, flush_due, shutting_down, agreed));
        shared.board.lock().ended = end.is_some();
        let receiver = Receiver::new(read, receive, rest, failure, end.map(Box::new), reading, Arc::clone(&shared));
        (Sender::new(shared), receiver)
    }
}

impl<S: SplitTransport> Sender<S> {
    /// Joins what [`WebSocket::split`] parted, in the middle of whatever is going on.
    ///
    /// # Errors
    /// Gives both back if they are not of one socket.
    #[expect(clippy::result_large_err, reason = "the halves themselves come back, as everywhere in tokio")]
    pub fn reunite(self, receiver: Receiver<S>) -> Result<WebSocket<S>, ReuniteError<S>> {
        if !Arc::ptr_eq(&self.shared, &receiver.shared) {
            return Err(ReuniteError(self, receiver));
        }
        drop(self);
        let Receiver { io: read, half: mut receive, rest, mut failure, end, reading, shared, .. } = receiver;
        let Some(Shared { slot, board, agreed, .. }) = Arc::into_inner(shared) else {
            unreachable!("there is one sender and one receiver")
        };
        let (mut side, debt) = slot.into_inner();
        if let Some(debt) = debt {
            side.settle(debt);
        }
        if let Some(new) = board.hear(&mut receive) {
            failure.get_or_insert(new);
        }
        let (write, send, flush_due, shutting_down) = side.into_parts();
        let Ok(connection) = Connection::reunite(receive, send) else { unreachable!("they came from one connection") };
        let io = S::from_halves(read, write);
        let end = End::new(shutting_down, failure, end.map(|end| *end));
        let driver = Driver::from_parts(io, connection, rest, flush_due, end);
        Ok(WebSocket { driver, agreed, reading })
    }
}

/// A sender and a receiver that are not of one socket; given back.
pub struct ReuniteError<S: SplitTransport = TcpStream>(pub Sender<S>, pub Receiver<S>);

impl<S: SplitTransport> fmt::Debug for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReuniteError")
    }
}

impl<S: SplitTransport> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender and the receiver are not of one socket")
    }
}

impl<S: SplitTransport> std::error::Error for ReuniteError<S> {}
