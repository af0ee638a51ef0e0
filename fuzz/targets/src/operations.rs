//! Operations on a `WebSocket` and on its halves, whose futures are dropped after any number of polls, over a transport that
//! stalls and fails.
mod account;
mod ends;
mod streamed;
mod world;

use std::{future::poll_fn, pin::Pin, pin::pin, task::Poll, time::Duration};

use futures_sink::Sink;
use sockeye::{
    CloseCode, CloseOutcome, ControlPayload, Error, Message, Prepared, ReadyState, Receiver, SendError, Sender,
    WebSocket,
};
use tokio::time::{Instant, timeout};

use self::{
    account::Taken,
    ends::{End, Receives, Sends, Socket},
    world::{Task, World},
};
use crate::{
    input::Choices,
    peer::understand,
    transport::{Pipe, Wire},
};

/// Operations in one run, so that a long input does not take long.
const OPERATIONS_MAX: usize = 64;
/// From this byte on an operation is not one that a whole socket has in common with its halves.
const SPECIAL: u8 = 204;
/// Longer than all time limits together: whoever has not been woken by then never will.
const FOREVER: Duration = Duration::from_secs(3600);

/// Operations on a socket, cancelled at any poll, over a transport that gives, takes, stalls and fails as the input says.
///
/// # Panics
/// If a message is lost, torn, doubled or out of order, in either direction, without a reason; if a future makes progress
/// without having been woken; if the peer does not understand what was written.
pub fn operations(data: &[u8]) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(run(Choices::new(data)));
}

async fn run(choices: Choices<'_>) {
    let (mut world, socket) = World::open(choices);
    let mut socket = Socket::Whole(socket);
    for _ in 0..OPERATIONS_MAX {
        if world.choices.is_empty() {
            break;
        }
        socket = world.operate(socket).await;
        world.happen().await;
        let queued = socket.buffered_amount();
        assert!(queued <= world.queue_max(), "{queued} bytes are queued");
    }
    world.finish(socket).await;
}

impl World<'_> {
    async fn operate(&mut self, mut socket: Socket) -> Socket {
        let operation = self.choices.byte();
        if operation >= SPECIAL {
            return self.operate_specially(operation - SPECIAL, socket).await;
        }
        match &mut socket {
            Socket::Whole(socket) if operation % 12 < 3 => self.receive(socket).await,
            Socket::Whole(socket) if operation % 12 < 11 => self.send_somehow(operation % 12, socket).await,
            Socket::Halves(_, receiver) if operation % 12 < 3 => self.receive(receiver).await,
            Socket::Halves(sender, _) if operation % 12 < 11 => self.send_somehow(operation % 12, sender).await,
            // A close ends the fun, so it is rare.
            socket => match (self.choices.below(8), socket) {
                (0 | 2, Socket::Whole(socket)) => socket.start_close(CloseCode::NORMAL, "done"),
                (0, Socket::Halves(sender, _)) => sender.start_close(CloseCode::NORMAL, "done"),
                (2, Socket::Halves(_, receiver)) => receiver.start_close(CloseCode::NORMAL, "done"),
                (1, Socket::Whole(socket)) => self.close(socket).await,
                (1, Socket::Halves(_, receiver)) => self.close(receiver).await,
                _ => {}
            },
        }
        socket
    }

    async fn operate_specially(&mut self, operation: u8, mut socket: Socket) -> Socket {
        match (operation % 8, &mut socket) {
            (0, _) => {
                // What a reader has left is passed over.
                self.account.leave();
                return socket.turn();
            }
            (1 | 2, Socket::Whole(socket)) => self.try_receive(socket),
            (1 | 2, Socket::Halves(_, receiver)) => self.try_receive(receiver),
            (3..=5, Socket::Whole(socket)) => self.read(socket).await,
            (_, Socket::Whole(socket)) => self.write(socket).await,
            (_, Socket::Halves(sender, receiver)) => self.both(sender, receiver).await,
        }
        socket
    }

    async fn receive(&mut self, end: &mut impl Receives) {
        let result = if self.choices.below(4) == 0 {
            let next = poll_fn(|cx| Pin::new(&mut *end).poll_next(cx));
            self.drive(next).await.map(Option::transpose)
        } else {
            self.drive(end.recv()).await
        };
        if self.has_polled {
            // Whoever receives does not want what a reader has left.
            self.account.leave();
        }
        self.take(end, result);
    }

    fn try_receive(&mut self, end: &mut impl Receives) {
        let message = end.try_recv();
        assert!(message.is_none() || !self.account.is_reading(), "overtakes what a reader has left");
        self.take(end, message.map(|message| Ok(Some(message))));
    }

    fn take(&mut self, end: &impl Receives, result: Option<Result<Option<Message>, Error>>) {
        match result {
            None => {}
            Some(Ok(Some(message))) => self.account.received(message),
            Some(Ok(None)) => assert_eq!(end.ready_state(), ReadyState::Closed),
            Some(Err(error)) => self.judge(end, Err(error)),
        }
    }

    async fn send_somehow(&mut self, way: u8, end: &mut impl Sends) {
        match way {
            3 => {
                let message = self.message();
                let result = self.drive(end.send(message.clone())).await;
                self.give(end, message, result);
            }
            4 => {
                let message = self.message();
                let result = self.drive(end.feed(message.clone())).await;
                // What `feed` has taken it says at once.
                if result.is_some() {
                    self.give(end, message, result);
                }
            }
            5 => self.try_send(end),
            6 => self.send_prepared(end).await,
            7 => {
                let flushed = self.drive(end.flush()).await;
                self.judge(end, flushed.unwrap_or(Ok(())));
            }
            8 => {
                let payload = ControlPayload::try_from(self.number().as_slice()).expect("short");
                let pinged = self.drive(end.ping(payload)).await;
                self.judge(end, pinged.unwrap_or(Ok(())));
            }
            9 => self.sink(end).await,
            _ => {
                let ready = self.drive(end.ready()).await;
                self.judge(end, ready.unwrap_or(Ok(())));
            }
        }
    }

    fn try_send(&mut self, end: &mut impl Sends) {
        let message = self.message();
        match end.try_send(message.clone()) {
            Ok(()) => {
                assert!(!self.account.is_writing(), "taken in the middle of another");
                self.account.given(message, Taken::Certainly);
            }
            Err(SendError::Full(back)) => {
                assert_eq!(back, message);
                assert!(end.buffered_amount() + message.len() > self.config.limits.max_write_queue);
            }
            Err(SendError::Closed(back)) => {
                assert_eq!(back, message);
                assert_ne!(end.ready_state(), ReadyState::Open);
            }
            Err(SendError::Unfinished(back)) => {
                assert_eq!(back, message);
                assert!(self.account.is_writing(), "nothing is unfinished");
            }
            Err(error) => panic!("nothing is sent in parts: {error}"),
        }
    }

    async fn send_prepared(&mut self, end: &mut impl Sends) {
        let prepared = Prepared::new(self.message());
        let result = if self.choices.below(2) == 0 {
            self.drive(end.send_prepared(&prepared)).await
        } else {
            match end.try_send_prepared(&prepared) {
                Err(SendError::Full(())) => return,
                result => Some(result.map_err(Error::from)),
            }
        };
        self.give(end, prepared.message().clone(), result);
    }

    async fn sink(&mut self, end: &mut impl Sends) {
        let ready = self.drive(poll_fn(|cx| Sink::poll_ready(Pin::new(&mut *end), cx))).await;
        let Some(ready) = ready else { return };
        if ready.is_err() {
            return self.judge(end, ready);
        }
        let message = self.message();
        let result = Sink::start_send(Pin::new(&mut *end), message.clone());
        assert!(!matches!(&result, Err(error) if error.is_full()), "ready, and yet full");
        self.give(end, message, Some(result));
        let flushed = self.drive(poll_fn(|cx| Sink::poll_flush(Pin::new(&mut *end), cx))).await;
        self.judge(end, flushed.unwrap_or(Ok(())));
    }

    /// One half sends while the other receives, each in a task of its own.
    async fn both(&mut self, sender: &mut Sender<Pipe>, receiver: &mut Receiver<Pipe>) {
        let message = self.message();
        let (mut sent, mut heard) = (None, None);
        {
            let (mut sending, mut hearing) = (pin!(sender.send(message.clone())), pin!(receiver.recv()));
            self.wake(Task::First);
            self.wake(Task::Second);
            for _ in 0..self.choices.below(12) {
                let chance = self.choices.byte();
                if chance & 1 == 0 && sent.is_none() {
                    sent = ready(self.poll(Task::First, sending.as_mut()));
                } else if chance & 1 != 0 && heard.is_none() {
                    heard = ready(self.poll(Task::Second, hearing.as_mut()));
                }
                self.happen().await;
            }
        }
        self.give(sender, message, sent);
        self.take(receiver, heard);
    }

    async fn close(&mut self, end: &mut impl Receives) {
        self.account.drops = true;
        let closed = self.drive(end.close("bye")).await;
        if self.has_polled {
            self.account.leave();
        }
        self.judge(end, closed.map_or(Ok(()), |closed| closed.map(drop)));
    }

    /// Takes note of a message that the socket was given.
    fn give(&mut self, end: &impl End, message: Message, result: Option<Result<(), Error>>) {
        match result {
            Some(Ok(())) => {
                assert!(!self.account.is_writing(), "taken in the middle of another");
                self.account.given(message, Taken::Certainly);
            }
            // It was not taken, and says so.
            Some(Err(error)) if error.is_closed() => self.judge(end, Err(error)),
            Some(Err(error)) if error.is_misuse() => assert!(self.account.is_writing(), "{error}"),
            Some(Err(error)) => {
                self.account.given(message, Taken::Perhaps);
                self.judge(end, Err(error));
            }
            None => self.account.given(message, Taken::Perhaps),
        }
    }

    /// All that has been said arrives, the transport moves everything, the peer closes, and the account is settled.
    async fn finish(mut self, socket: Socket) {
        self.account.leave();
        match socket {
            Socket::Halves(sender, receiver) if self.ending & 8 == 0 => self.finish_halves(sender, receiver).await,
            Socket::Halves(sender, receiver) => {
                self.finish_whole(sender.reunite(receiver).expect("of one socket")).await;
            }
            Socket::Whole(socket) => self.finish_whole(socket).await,
        }
        let understood = understand(self.role, &self.pipe.wire().outbound);
        if !self.excused {
            assert_eq!(understood.torn, 0);
            assert!(understood.closed.as_ref().is_some_and(CloseOutcome::is_clean), "no Close frame");
        }
        self.account.settle(&understood, !self.excused);
    }

    async fn finish_whole(&mut self, mut socket: WebSocket<Pipe>) {
        self.hear_all(&mut socket).await;
        self.pipe.change(Wire::open);
        if self.ending & 2 != 0 {
            self.flush(&mut socket).await;
        } else if self.ending & 4 != 0 {
            self.receive_all(&mut socket).await;
            assert!(self.excused || (socket.buffered_amount() == 0 && self.pipe.wire().is_flushed()), "recv flushes");
        }
        self.hang_up(&mut socket).await;
        assert_eq!(socket.buffered_amount(), 0);
    }

    async fn finish_halves(&mut self, mut sender: Sender<Pipe>, mut receiver: Receiver<Pipe>) {
        self.hear_all(&mut receiver).await;
        self.pipe.change(Wire::open);
        if self.ending & 2 != 0 {
            self.flush(&mut sender).await;
        }
        let sender = if self.ending & 4 != 0 {
            drop(sender);
            None
        } else {
            Some(sender)
        };
        self.hang_up(&mut receiver).await;
        if let Some(sender) = sender {
            assert_eq!((sender.ready_state(), sender.buffered_amount()), (ReadyState::Closed, 0));
        }
    }

    /// A peer that reads nothing is heard all the same.
    async fn hear_all(&mut self, end: &mut impl Receives) {
        if self.ending & 1 != 0 {
            self.pipe.change(|wire| wire.arrived = wire.inbound.len());
            self.receive_all(end).await;
            let all = self.excused || self.account.drops || self.account.is_all_received();
            assert!(all, "not everything is received");
        }
    }

    async fn flush(&mut self, end: &mut impl Sends) {
        let flushed = timeout(FOREVER, end.flush()).await.expect("flush hangs");
        self.judge(end, flushed);
        assert!(self.excused || (end.buffered_amount() == 0 && self.pipe.wire().is_flushed()), "not flushed");
    }

    /// Receives until nothing comes any more.
    async fn receive_all(&mut self, end: &mut impl Receives) {
        while let Ok(result) = timeout(Duration::from_millis(1), end.recv()).await {
            let is_over = matches!(result, Ok(None));
            self.take(end, Some(result));
            if is_over {
                break;
            }
        }
    }

    /// The peer closes, and everything comes to its end.
    async fn hang_up(&mut self, end: &mut impl Receives) {
        let start = Instant::now();
        self.peer_closes();
        self.pipe.change(|wire| {
            wire.arrived = wire.inbound.len();
            wire.ended = true;
        });
        loop {
            let result = timeout(FOREVER, end.recv()).await.expect("recv hangs");
            let is_over = matches!(result, Ok(None));
            self.take(end, Some(result));
            if is_over {
                break;
            }
        }
        assert!(matches!(end.recv().await, Ok(None)));
        if !self.excused {
            assert_eq!(Instant::now(), start, "waits for something that has come");
            assert!(end.is_clean());
        }
    }
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
