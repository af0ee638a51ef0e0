//! The loop between a transport and the protocol: reads, writes, time. Polled, never spawned; it has no state of its own
//! beyond what [`Driver`] holds, so dropping whichever future polled it loses nothing.
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use sockeye_proto::{CloseOutcome, Connection, Event, Message, Output};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::coop,
};

use crate::{
    Error,
    buffer::Rest,
    timer::{Timer, now},
    transfer,
};

/// A transport and the protocol on it.
#[derive(Debug)]
pub(crate) struct Driver<S> {
    pub(crate) io: S,
    pub(crate) connection: Connection,
    pub(crate) rest: Rest,
    timer: Timer,
    /// The transport holds bytes back in a buffer of its own, and has to pass them on by then.
    pub(crate) flush_due: Option<Instant>,
    pub(crate) end: End,
}

/// How a connection ends: nothing, as long as all is well.
#[derive(Debug, Default)]
pub(crate) struct End(Option<Box<Ending>>);

#[derive(Debug, Default)]
struct Ending {
    /// The write side is to be shut down and the transport has not done it yet.
    shutting_down: bool,
    /// What the transport said when it failed; told when the protocol comes to its end.
    failure: Option<io::Error>,
    outcome: Option<Result<CloseOutcome, ()>>,
}

impl End {
    pub(crate) fn new(
        shutting_down: bool,
        failure: Option<io::Error>,
        outcome: Option<Result<CloseOutcome, ()>>,
    ) -> Self {
        let is_any = shutting_down || failure.is_some() || outcome.is_some();
        Self(is_any.then(|| Box::new(Ending { shutting_down, failure, outcome })))
    }

    #[inline]
    fn is_shutting_down(&self) -> bool {
        self.0.as_ref().is_some_and(|ending| ending.shutting_down)
    }

    fn set_shutting_down(&mut self, on: bool) {
        self.0.get_or_insert_default().shutting_down = on;
    }

    /// Whether it has come.
    #[inline]
    pub(crate) fn is_some(&self) -> bool {
        self.0.as_ref().is_some_and(|ending| ending.outcome.is_some())
    }

    /// Whether it is shutting down; the failure, if its news is still to be told; the outcome.
    pub(crate) fn into_parts(self) -> (bool, Option<io::Error>, Option<Result<CloseOutcome, ()>>) {
        self.0.map(|ending| (ending.shutting_down, ending.failure, ending.outcome)).unwrap_or_default()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// `rest` is input that came with the opening handshake.
    pub(crate) fn new(io: S, connection: Connection, rest: &[u8]) -> Self {
        Self {
            io,
            connection,
            rest: Rest::new(rest, now()),
            timer: Timer::default(),
            flush_due: None,
            end: End::default(),
        }
    }

    /// What [`WebSocket::split`](crate::WebSocket::split) took apart.
    pub(crate) fn from_parts(io: S, connection: Connection, rest: Rest, flush_due: Option<Instant>, end: End) -> Self {
        Self { io, connection, rest, timer: Timer::default(), flush_due, end }
    }

    /// The next event, or `None` after the end.
    ///
    /// Input at hand is used up before anything is written, so that the replies to pipelined messages leave together; and
    /// everything is written before it waits for more input.
    #[expect(clippy::inline_always, reason = "measured: 10 % of a small message went into moving it up the calls")]
    #[inline(always)]
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        let mut tried = false;
        // It takes no more. One that has taken all and is only to pass it on still takes a pong.
        let mut full = false;
        loop {
            if self.end.is_shutting_down() {
                ready!(self.poll_shutdown(cx));
            }
            // Messages apart from the rest, and no output where none is: that is what most turns find.
            if let Some(message) = self.connection.take_message() {
                return Poll::Ready(Ok(Some(Event::Message(message))));
            }
            if self.connection.has_output() {
                match self.connection.poll_output() {
                    Output::Event(Event::Closed(result)) => return Poll::Ready(self.ended(result).map(Some)),
                    Output::Event(event) => {
                        if matches!(event, Event::Ping(_)) && !full {
                            // Each ping gets its pong while the peer reads them; one that does not gets the newest.
                            let _ = self.poll_write(cx);
                        }
                        return Poll::Ready(Ok(Some(event)));
                    }
                    Output::ShutdownWrite => {
                        self.end.set_shutting_down(true);
                        continue;
                    }
                    Output::Transmit | Output::Wait(_) => {}
                    other => unreachable!("an output of the same workspace that is not handled: {other:?}"),
                }
            }
            if self.end.is_some() {
                return Poll::Ready(Ok(None));
            }
            if !self.rest.is_empty() {
                ready!(coop::poll_proceed(cx)).made_progress();
                self.rest.feed(|input, read_at| self.connection.handle_input(input, read_at));
                continue;
            }
            if self.is_writing() && !tried {
                tried = self.poll_write(cx).is_pending();
                full = tried && self.connection.buffered_amount() > 0;
                continue;
            }
            if self.poll_read(cx).is_ready() {
                continue;
            }
            ready!(self.poll_deadline(cx, self.connection.deadline(), Connection::handle_timeout));
        }
    }

    /// The next message, if it is among the input at hand and nothing comes before it. See [`Connection::take_message`] for why
    /// nothing needs to be drained in between.
    pub(crate) fn take_message(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.connection.take_message() {
                return Some(message);
            }
            if self.rest.feed(|input, read_at| self.connection.handle_input(input, read_at)) == 0 {
                return None;
            }
        }
    }

    /// Ready once at most `left` bytes are queued, or the connection can send no more.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<()> {
        while !self.is_drained(left) {
            if self.poll_write(cx).is_pending() && !self.is_drained(left) {
                // What has not been read meanwhile is not missed.
                let deadline = self.connection.write_deadline();
                ready!(self.poll_deadline(cx, deadline, Connection::handle_write_timeout));
            }
        }
        Poll::Ready(())
    }

    /// Tells of an end that has come while nobody was receiving, such as a failed write.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        if self.connection.is_over()
            && let Output::Event(Event::Closed(result)) = self.connection.poll_output()
        {
            self.ended(result)?;
        }
        Ok(())
    }

    /// How the connection ended, if it has: `Err` if not by a closing handshake.
    pub(crate) fn end(&self) -> Option<Result<&CloseOutcome, ()>> {
        self.end.0.as_ref()?.outcome.as_ref().map(|outcome| outcome.as_ref().map_err(|&()| ()))
    }

    /// Whether at most `left` bytes are queued and, if that is none, the transport holds none back either.
    fn is_drained(&self, left: usize) -> bool {
        if left == 0 { !self.is_writing() } else { self.connection.buffered_amount() <= left }
    }

    fn is_writing(&self) -> bool {
        self.connection.buffered_amount() > 0 || self.flush_due.is_some()
    }

    /// Writes until nothing is queued (ready) or the transport takes no more (pending).
    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = ready!(transfer::poll_write(&mut self.io, &mut self.connection, &mut self.flush_due, cx)) {
            self.failed(error);
        }
        Poll::Ready(())
    }

    /// Ready once the write side is shut down, or the time for it is over. A transport that cannot even be shut down has
    /// nothing more to say.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.io).poll_shutdown(cx).is_pending() {
            ready!(self.poll_deadline(cx, self.connection.deadline(), Connection::handle_timeout));
        }
        self.end.set_shutting_down(false);
        Poll::Ready(())
    }

    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(transfer::poll_read(&mut self.io, &mut self.connection, &mut self.rest, cx, |_| {})) {
            Ok(true) => {}
            Ok(false) => self.connection.handle_eof(now()),
            Err(error) => self.failed(error),
        }
        Poll::Ready(())
    }

    /// Ready once this deadline, or the transport's, has passed and was handled.
    fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
        handle: fn(&mut Connection, Instant),
    ) -> Poll<()> {
        ready!(self.timer.poll(cx, deadline.into_iter().chain(self.flush_due).min()));
        let now = now();
        if self.flush_due.is_some_and(|due| due <= now) {
            self.failed(io::ErrorKind::TimedOut.into());
        }
        handle(&mut self.connection, now);
        Poll::Ready(())
    }

    /// A failing transport after the closing handshake is still a clean close; before it, its first failure is the reason.
    fn failed(&mut self, error: io::Error) {
        self.flush_due = None;
        self.end.0.get_or_insert_default().failure.get_or_insert(error);
        self.connection.handle_eof(now());
    }

    fn ended(&mut self, result: Result<CloseOutcome, sockeye_proto::Error>) -> Result<Event, Error> {
        let ending = self.end.0.get_or_insert_default();
        ending.outcome = Some(result.clone().map_err(|_| ()));
        outcome(result, ending.failure.take()).map(|outcome| Event::Closed(Ok(outcome)))
    }
}

/// What the end is for the program: where the transport's end is the reason, its failure says more.
pub(crate) fn outcome(
    result: Result<CloseOutcome, sockeye_proto::Error>,
    failure: Option<io::Error>,
) -> Result<CloseOutcome, Error> {
    match (result, failure) {
        (Err(error), Some(failure)) if error.is_eof() => Err(Error::io(failure)),
        (result, _) => result.map_err(Error::protocol),
    }
}
