//! What a whole socket and its halves have in common.
use futures_core::Stream;
use futures_sink::Sink;
use sockeye::{
    CloseCode, CloseOutcome, ControlPayload, Error, Message, Prepared, ReadyState, Receiver, SendError, Sender,
    WebSocket,
};

use crate::transport::Pipe;

/// A socket, or its halves.
pub(super) enum Socket {
    Whole(WebSocket<Pipe>),
    Halves(Sender<Pipe>, Receiver<Pipe>),
}

impl Socket {
    /// The halves, or the whole of them.
    pub(super) fn turn(self) -> Self {
        match self {
            Self::Whole(socket) => {
                let (sender, receiver) = socket.split();
                Self::Halves(sender, receiver)
            }
            Self::Halves(sender, receiver) => Self::Whole(sender.reunite(receiver).expect("of one socket")),
        }
    }

    pub(super) fn buffered_amount(&self) -> usize {
        match self {
            Self::Whole(socket) => socket.buffered_amount(),
            Self::Halves(sender, _) => sender.buffered_amount(),
        }
    }
}

/// Where something has its state.
pub(super) trait End {
    fn ready_state(&self) -> ReadyState;
}

/// What sends.
pub(super) trait Sends: End + Sink<Message, Error = Error> + Unpin {
    async fn send(&mut self, message: Message) -> Result<(), Error>;
    async fn feed(&mut self, message: Message) -> Result<(), Error>;
    async fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Error>;
    async fn ping(&mut self, payload: ControlPayload) -> Result<(), Error>;
    async fn ready(&mut self) -> Result<(), Error>;
    async fn flush(&mut self) -> Result<(), Error>;
    fn try_send(&mut self, message: Message) -> Result<(), SendError<Message>>;
    fn try_send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError<()>>;
    fn buffered_amount(&self) -> usize;
}

/// What receives.
pub(super) trait Receives: End + Stream<Item = Result<Message, Error>> + Unpin {
    async fn recv(&mut self) -> Result<Option<Message>, Error>;
    async fn close(&mut self, reason: &str) -> Result<CloseOutcome, Error>;
    fn try_recv(&mut self) -> Option<Message>;
    fn is_clean(&self) -> bool;
}

macro_rules! end {
    ($($end:ident),+) => {$(
        impl End for $end<Pipe> {
            fn ready_state(&self) -> ReadyState {
                $end::ready_state(self)
            }
        }
    )+};
}
end!(WebSocket, Sender, Receiver);

macro_rules! sends {
    ($($end:ident),+) => {$(
        impl Sends for $end<Pipe> {
            async fn send(&mut self, message: Message) -> Result<(), Error> {
                $end::send(self, message).await
            }

            async fn feed(&mut self, message: Message) -> Result<(), Error> {
                $end::feed(self, message).await
            }

            async fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
                $end::send_prepared(self, prepared).await
            }

            async fn ping(&mut self, payload: ControlPayload) -> Result<(), Error> {
                $end::ping(self, payload).await
            }

            async fn ready(&mut self) -> Result<(), Error> {
                $end::ready(self).await
            }

            async fn flush(&mut self) -> Result<(), Error> {
                $end::flush(self).await
            }

            fn try_send(&mut self, message: Message) -> Result<(), SendError<Message>> {
                $end::try_send(self, message)
            }

            fn try_send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError<()>> {
                $end::try_send_prepared(self, prepared)
            }

            fn buffered_amount(&self) -> usize {
                $end::buffered_amount(self)
            }
        }
    )+};
}
sends!(WebSocket, Sender);

macro_rules! receives {
    ($($end:ident),+) => {$(
        impl Receives for $end<Pipe> {
            async fn recv(&mut self) -> Result<Option<Message>, Error> {
                $end::recv(self).await
            }

            async fn close(&mut self, reason: &str) -> Result<CloseOutcome, Error> {
                $end::close(self, CloseCode::GOING_AWAY, reason).await
            }

            fn try_recv(&mut self) -> Option<Message> {
                $end::try_recv(self)
            }

            fn is_clean(&self) -> bool {
                $end::close_outcome(self).is_some_and(CloseOutcome::is_clean)
            }
        }
    )+};
}
receives!(WebSocket, Receiver);
