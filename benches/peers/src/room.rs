//! A broadcast in the way that the libraries' own chat examples have it: a queue for each connection.

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Those who hear each other.
pub struct Room<M> {
    members: Mutex<Members<M>>,
}

struct Members<M> {
    next: u64,
    inboxes: HashMap<u64, UnboundedSender<M>>,
}

impl<M> Default for Room<M> {
    fn default() -> Self {
        Self { members: Mutex::new(Members { next: 0, inboxes: HashMap::new() }) }
    }
}

impl<M: Clone> Room<M> {
    /// One more member: its number, and what it will hear.
    pub fn join(&self) -> (u64, UnboundedReceiver<M>) {
        let (inbox, heard) = mpsc::unbounded_channel();
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let number = members.next;
        members.next += 1;
        members.inboxes.insert(number, inbox);
        (number, heard)
    }

    /// Puts the message into the queues of all but its sender.
    pub fn tell_others(&self, sender: u64, message: &M) {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, inbox) in members.inboxes.iter().filter(|(number, _)| **number != sender) {
            // Whoever has gone hears nothing.
            let _ = inbox.send(message.clone());
        }
    }

    /// This member hears nothing more.
    pub fn leave(&self, number: u64) {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).inboxes.remove(&number);
    }
}

/// Passes each message of data to the others, and sends what they say.
pub async fn broadcast<M: Clone, E, S>(room: &Room<M>, socket: S, is_data: impl Fn(&M) -> bool)
where
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
{
    let (number, heard) = room.join();
    relay(socket, heard, is_data, |message| room.tell_others(number, &message)).await;
    room.leave(number);
}

/// The same, wherever what is said goes and what is heard comes from. What waits is sent with one flush.
pub async fn relay<M, E, S>(
    mut socket: S,
    mut heard: UnboundedReceiver<M>,
    is_data: impl Fn(&M) -> bool,
    say: impl Fn(M),
) where
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
{
    loop {
        tokio::select! {
            biased;
            Some(message) = heard.recv() => {
                let mut fed = socket.feed(message).await;
                while let (Ok(()), Ok(message)) = (&fed, heard.try_recv()) {
                    fed = socket.feed(message).await;
                }
                if fed.is_err() || socket.flush().await.is_err() {
                    break;
                }
            }
            message = socket.next() => match message {
                Some(Ok(message)) if is_data(&message) => say(message),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
}
