//! A room: what one member says, all members get, encoded once.
//!
//! Bounded everywhere: [`BACKLOG`] messages wait for the slowest member, then it loses the oldest and the demo decides what
//! that means; a socket queues at most its [`max_write_queue`](sockeye::Limits::max_write_queue).
use std::time::Instant;

use sockeye::{CloseCode, Message, Prepared, WebSocket};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Messages kept for members who have not taken them yet.
const BACKLOG: usize = 1_024;

/// Where members meet. Workers share it.
#[derive(Debug)]
pub(crate) struct Room {
    messages: broadcast::Sender<Prepared>,
}

/// What a demo does for one of its members.
pub(crate) trait Member {
    /// Takes a message of this member.
    fn message(&mut self, message: Message, now: Instant) -> Answer;
    /// What is sent in place of messages that came too fast for this member, if that can be made good at all.
    fn catch_up(&mut self) -> Option<Prepared>;
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
    pub(crate) fn new() -> Self {
        Self { messages: broadcast::Sender::new(BACKLOG) }
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
pub(crate) async fn stay(
    socket: &mut WebSocket,
    told: &mut broadcast::Receiver<Prepared>,
    member: &mut impl Member,
    stop: &CancellationToken,
) {
    let leave = loop {
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => Answer::Close(CloseCode::GOING_AWAY, "the server is stopping"),
            heard = told.recv() => match heard {
                Ok(message) => pass_on(socket, &message),
                Err(RecvError::Lagged(_)) => match member.catch_up() {
                    Some(message) => pass_on(socket, &message),
                    None => Answer::Close(CloseCode::TRY_AGAIN_LATER, "too slow"),
                },
                Err(RecvError::Closed) => Answer::Close(CloseCode::GOING_AWAY, "the room is gone"),
            },
            received = socket.recv() => match received {
                Ok(Some(message)) => member.message(message, Instant::now()),
                Ok(None) => return,
                Err(error) => {
                    debug!(code = error.code(), "member lost: {error}");
                    return;
                }
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

/// Queues without waiting; it leaves when the member's socket is polled next, together with what else is queued.
fn pass_on(socket: &mut WebSocket, message: &Prepared) -> Answer {
    match socket.try_send_prepared(message) {
        Ok(()) => Answer::Done,
        Err(_) => Answer::Close(CloseCode::TRY_AGAIN_LATER, "too slow"),
    }
}
