//! A room: what is told there all its members get, who are those of one worker.
//!
//! Bounded everywhere: a member is told nothing more while [`ENOUGH`] waits in its socket, so what it does not take stays
//! in the room, once for all; the room keeps a number of messages, then the slowest member loses the oldest and the demo
//! decides what that means. A member that takes nothing at all meets its socket's
//! [`write_timeout`](sockeye::Limits::write_timeout).
use std::{cell::RefCell, future::poll_fn, task::Poll, time::Instant};

use sockeye::{CloseCode, Message, Prepared};
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{talk::Talk, worker::Local};

/// Bytes queued in a member's socket above which it is told nothing more until some have left.
pub(crate) const ENOUGH: usize = 64 * 1024;

/// Where the members of one worker are told.
pub(crate) struct Room {
    /// `None` once it is closed.
    messages: RefCell<Option<broadcast::Sender<Prepared>>>,
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
        Self { messages: RefCell::new(Some(broadcast::Sender::new(backlog))) }
    }

    /// Tells everybody. What is told to nobody is not made.
    pub(crate) fn tell(&self, message: impl FnOnce() -> Prepared) {
        if let Some(messages) = self.messages.borrow().as_ref().filter(|messages| messages.receiver_count() > 0) {
            // Somebody is there.
            let _ = messages.send(message());
        }
    }

    /// Everything told from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Prepared> {
        self.messages.borrow().as_ref().map_or_else(|| broadcast::channel(1).1, broadcast::Sender::subscribe)
    }

    /// Nothing more is told; the members have to leave.
    pub(crate) fn close(&self) {
        self.messages.take();
    }
}

/// Keeps a member in its room until either side closes.
pub(crate) async fn stay<S: Talk>(
    socket: &mut S,
    told: &mut broadcast::Receiver<Prepared>,
    member: &mut impl Member,
    local: &Local,
    stop: &CancellationToken,
) {
    let mut asked = 0;
    let leave = loop {
        let full = socket.buffered_amount() > ENOUGH;
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => Answer::Close(CloseCode::GOING_AWAY, "the server is stopping"),
            heard = told.recv(), if !full => pass_on(socket, told, member, heard),
            received = receive(socket, full, local, &mut asked) => match received {
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
    socket.start_close(leave.0, leave.1);
    // However it ends now, this member is gone.
    while let Some(Ok(_)) = poll_fn(|cx| socket.poll_recv(cx)).await {}
}

/// The next message; `None` after a clean close, and as soon as a queue that was `full` is not any more. While its worker is
/// under pressure the socket is not read; `asked` is for [`Local::wait_for_room`].
async fn receive<S: Talk>(
    socket: &mut S,
    full: bool,
    local: &Local,
    asked: &mut u64,
) -> Option<Result<Message, sockeye::Error>> {
    poll_fn(|cx| {
        let received = if local.pressure().on_sessions {
            local.wait_for_room(cx.waker(), asked);
            // What fails here is told when it is read again.
            let _ = socket.poll_flush(cx);
            Poll::Pending
        } else {
            socket.poll_recv(cx)
        };
        // It has written what it could.
        if received.is_pending() && full && socket.buffered_amount() <= ENOUGH { Poll::Ready(None) } else { received }
    })
    .await
}

/// Queues what was heard, and what else there is to hear, up to [`ENOUGH`]; all of it leaves together when the socket is
/// polled next.
fn pass_on<S: Talk>(
    socket: &mut S,
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
