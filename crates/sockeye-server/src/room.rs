//! A room: what one member says, all members get, encoded once.
//!
//! Bounded everywhere: a member is told nothing more while [`ENOUGH`] waits in its socket, so what it does not take stays
//! in the room, once for all; the room keeps a number of messages, then the slowest member loses the oldest and the demo
//! decides what that means. A member that takes nothing at all meets its socket's
//! [`write_timeout`](sockeye::Limits::write_timeout).
use std::{future::poll_fn, task::Poll, time::Instant};

use sockeye::{CloseCode, Message, Prepared, WebSocket};
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::exchange::Io;

/// Bytes queued in a member's socket above which it is told nothing more until some have left.
pub(crate) const ENOUGH: usize = 64 * 1024;

/// Where members meet. Workers share it.
#[derive(Debug)]
pub(crate) struct Room {
    messages: broadcast::Sender<Prepared>,
}

/// What a demo does for one of its members.
pub(crate) trait Member {
    /// Takes a message of this member.
    fn message(&mut self, message: Message, now: Instant) -> Answer;
    /// What is sent in place of messages that came too fast for this member, and everything told from then on; `None` if
    /// that cannot be made good.
    fn catch_up(&mut self) -> Option<(Prepared, broadcast::Receiver<Prepared>)>;
}

/// What becomes of a member's message.
pub(crate) enum Answer {
    /// Everybody has been told already.
    Done,
    /// The member alone gets this.
    Only(Message),
    /// The member has to go.
    Close(CloseCode, &'static str),
}

impl Room {
    /// A room that keeps so many messages for members who have not taken them yet.
    pub(crate) fn new(backlog: usize) -> Self {
        Self { messages: broadcast::Sender::new(backlog) }
    }

    /// Tells everybody.
    pub(crate) fn tell(&self, message: Prepared) {
        // With nobody there, nobody hears it.
        let _ = self.messages.send(message);
    }

    /// Everything told from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Prepared> {
        self.messages.subscribe()
    }
}

/// Keeps a member in its room until either side closes.
pub(crate) async fn stay<S: Io>(
    socket: &mut WebSocket<S>,
    told: &mut broadcast::Receiver<Prepared>,
    member: &mut impl Member,
    stop: &CancellationToken,
) {
    let leave = loop {
        let full = socket.buffered_amount() > ENOUGH;
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => Answer::Close(CloseCode::GOING_AWAY, "the server is stopping"),
            heard = told.recv(), if !full => pass_on(socket, told, member, heard),
            received = receive(socket, full) => match received {
                Some(Ok(message)) => member.message(message, Instant::now()),
                Some(Err(error)) => {
                    debug!(code = error.code(), "member lost: {error}");
                    return;
                }
                None if full => Answer::Done,
                None => return,
            },
        };
        match answer {
            Answer::Done => {}
            Answer::Only(message) => {
                if let Err(error) = socket.try_send(message) {
                    debug!("member does not read: {error}");
                    return;
                }
            }
            Answer::Close(code, reason) => break (code, reason),
        }
    };
    // However it ends now, this member is gone.
    let _ = socket.close(leave.0, leave.1).await;
}

/// The next message; `None` after a clean close, and as soon as a queue that was `full` is not any more.
async fn receive<S: Io>(socket: &mut WebSocket<S>, full: bool) -> Option<Result<Message, sockeye::Error>> {
    poll_fn(|cx| match socket.poll_recv(cx) {
        // It has written what it could.
        Poll::Pending if full && socket.buffered_amount() <= ENOUGH => Poll::Ready(None),
        received => received,
    })
    .await
}

/// Queues what was heard, and what else there is to hear, up to [`ENOUGH`]; all of it leaves together when the socket is
/// polled next.
fn pass_on<S: Io>(
    socket: &mut WebSocket<S>,
    told: &mut broadcast::Receiver<Prepared>,
    member: &mut impl Member,
    mut heard: Result<Prepared, RecvError>,
) -> Answer {
    const TOO_SLOW: Answer = Answer::Close(CloseCode::TRY_AGAIN_LATER, "too slow");
    loop {
        let message = match heard {
            Ok(message) => message,
            Err(RecvError::Lagged(_)) => match member.catch_up() {
                Some((message, from_now_on)) => {
                    *told = from_now_on;
                    message
                }
                None => return TOO_SLOW,
            },
            Err(RecvError::Closed) => return Answer::Close(CloseCode::GOING_AWAY, "the room is gone"),
        };
        if socket.try_send_prepared(&message).is_err() {
            return TOO_SLOW;
        }
        if socket.buffered_amount() > ENOUGH {
            return Answer::Done;
        }
        heard = match told.try_recv() {
            Ok(message) => Ok(message),
            Err(TryRecvError::Empty) => return Answer::Done,
            Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
            Err(TryRecvError::Closed) => Err(RecvError::Closed),
        };
    }
}
