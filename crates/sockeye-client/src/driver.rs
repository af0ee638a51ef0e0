//! The task between a [`Machine`] and its connections.
use std::{
    future::{pending, poll_fn},
    io,
    ops::ControlFlow,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use futures_core::Stream;
use sockeye::{CloseCode, Message, ReadyState, ReconnectingWebSocket, SendError, reconnect::Event};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
    sync::{Notify, watch},
    task::yield_now,
    time::{Instant as TokioInstant, sleep_until},
};

use crate::{
    State,
    machine::{Machine, Output},
    wire,
};

/// Gives a token: what [`Builder::token_source`](crate::Builder::token_source) takes, behind one type.
pub(crate) type TokenSource = Arc<dyn Fn() -> Fetch + Send + Sync>;
pub(crate) type Fetch = Pin<Box<dyn Future<Output = io::Result<String>> + Send>>;

/// What handles and the driver share. The lock is never held across an await, nor while anything is read from JSON.
pub(crate) struct Shared {
    machine: Mutex<Machine>,
    /// The driver has something to look at.
    wake: Notify,
    /// Apart from the machine, and never told while that is locked: who holds what it borrowed from a receiver may ask
    /// for the lock.
    state: watch::Sender<State>,
}

impl Shared {
    pub(crate) fn new(machine: Machine) -> Self {
        Self { machine: Mutex::new(machine), wake: Notify::new(), state: watch::Sender::new(State::Connecting) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    fn tell_state(&self) {
        let state = self.lock().take_state();
        if let Some(state) = state {
            self.state.send_replace(state);
        }
    }
}

/// The clock that all deadlines are measured by. It stands still where tokio's does, in tests.
pub(crate) fn now() -> Instant {
    TokioInstant::now().into_std()
}

pub(crate) struct Driver<S> {
    shared: Arc<Shared>,
    socket: ReconnectingWebSocket<S>,
    source: Option<TokenSource>,
    /// Did not fit into the connection.
    refused: Option<Message>,
    /// Objects in this turn.
    handled: usize,
}

type News = Option<Result<Event, sockeye::Error>>;

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(crate) fn new(shared: Arc<Shared>, socket: ReconnectingWebSocket<S>, source: Option<TokenSource>) -> Self {
        let judge = Arc::clone(&shared);
        let socket = socket.policy(move |why| judge.lock().verdict(why));
        Self { shared, socket, source, refused: None, handled: 0 }
    }

    /// Until there will be no other connection.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut sleep = pin!(sleep_until(TokioInstant::now()));
        let mut fetch: Option<Fetch> = None;
        loop {
            let (deadline, wants_token) = {
                let mut machine = shared.lock();
                (machine.deadline().map(TokioInstant::from_std), fetch.is_none() && machine.take_token_wish())
            };
            if let Some(deadline) = deadline.filter(|&deadline| deadline != sleep.deadline()) {
                sleep.as_mut().reset(deadline);
            }
            if wants_token {
                fetch = self.source.as_ref().map(|source| source());
            }
            select! {
                news = poll_fn(|cx| self.poll_news(cx)) => {
                    let flow = self.handle_news(news);
                    shared.tell_state();
                    if flow.is_break() {
                        return;
                    }
                    if self.handled >= TURN {
                        self.handled = 0;
                        yield_now().await;
                    }
                }
                () = shared.wake.notified() => {}
                () = &mut sleep, if deadline.is_some() => shared.lock().handle_timeout(now()),
                token = fetched(&mut fetch) => {
                    fetch = None;
                    // Without one the server will close, and the next attempt asks again.
                    if let Ok(token) = token {
                        shared.lock().refresh(token);
                    }
                }
            }
        }
    }

    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        loop {
            self.pump();
            if let Poll::Ready(news) = Pin::new(&mut self.socket).poll_next(cx) {
                return Poll::Ready(news);
            }
            // What was queued is flushed by polling again, which also registers for what it could not flush.
            if !self.pump() {
                return Poll::Pending;
            }
        }
    }

    /// Does what the machine says, until the connection has enough. Whether anything was done.
    fn pump(&mut self) -> bool {
        let mut is_done = false;
        loop {
            let can_send = self.can_send();
            if can_send && let Some(message) = self.refused.take() {
                is_done |= self.send(message);
                continue;
            }
            let output = self.shared.lock().poll_output(can_send, now());
            match output {
                Some(Output::Send(text)) => is_done |= self.send(Message::text(text)),
                Some(Output::Close(code, reason)) => {
                    if let Some(socket) = self.socket.socket_mut() {
                        socket.start_close(code, reason);
                        is_done = true;
                    }
                }
                Some(Output::Finish) => {
                    self.socket.start_close(CloseCode::NORMAL, "");
                    is_done = true;
                }
                None => return is_done,
            }
        }
    }

    fn can_send(&self) -> bool {
        self.socket
            .socket()
            .is_some_and(|socket| socket.ready_state() == ReadyState::Open && socket.buffered_amount() <= HIGH_WATER)
    }

    fn send(&mut self, message: Message) -> bool {
        match self.socket.try_send(message) {
            Ok(()) => true,
            Err(SendError::Full(message)) => {
                self.refused = Some(message);
                false
            }
            // The connection has ended, and the machine will hear of it.
            Err(_) => false,
        }
    }

    fn handle_news(&mut self, news: News) -> ControlFlow<()> {
        match news {
            Some(Ok(Event::Connected)) => {
                self.refused = None;
                self.shared.lock().handle_connected();
            }
            Some(Ok(Event::Message(message))) => {
                let message = message.as_text().ok_or_else(|| "a binary message".into()).and_then(wire::parse);
                self.handled += message.as_ref().map_or(1, Vec::len);
                self.shared.lock().handle_message(message, now());
            }
            Some(Ok(Event::Disconnected { why, retry_in, .. })) => {
                self.shared.lock().handle_disconnected(why.to_string(), retry_in);
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                self.shared.lock().handle_over(Some(error));
                return ControlFlow::Break(());
            }
            None => {
                self.shared.lock().handle_over(None);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

async fn fetched(fetch: &mut Option<Fetch>) -> io::Result<String> {
    match fetch {
        Some(fetch) => fetch.await,
        None => pending().await,
    }
}

/// Without a driver there will be no connection: also where its task is dropped, with its runtime, before it ever ran.
impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        let mut machine = self.shared.lock();
        if !machine.is_over() {
            machine.handle_over(None);
        }
        drop(machine);
        self.shared.tell_state();
    }
}

/// Bytes queued in the connection above which the machine keeps its commands to itself, where they can still be
/// withdrawn.
const HIGH_WATER: usize = 16 * 1024;

/// Objects from the server after which the readers get their turn: where they share a thread with the driver, a burst
/// would else fill their queues before they could read, and they would pass for slow.
const TURN: usize = 64;

#[cfg(test)]
mod tests;
