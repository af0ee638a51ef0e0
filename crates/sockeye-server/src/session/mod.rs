//! Sessions: a stream of messages on one side, a hub on the other, a dialect between them.
//!
//! What a session is told goes straight into its stream, say a WebSocket, from the turn in which it is said, and leaves at the end of that
//! turn; a publication that is all that it is told goes past the WebSocket's queue, if that is empty. Its own task is woken
//! only when the transport does not take all of it. While more than
//! [`SessionLimits::soft_output`] waits there the hub keeps publications for it, under the channel's policy for slow
//! subscribers, and the session is not read. What cannot wait in the hub, such as replies, may fill its output up to
//! [`SessionLimits::hard_output`], and then the session is ended.
//!
//! Nobody is too slow for what it has asked for. A command whose answer may be large is the last one that is taken until it has
//! been answered, and none is taken while the output is above the mark; what is left of a message waits meanwhile.
mod command;
mod line;

use std::{
    cell::{Ref, RefCell},
    ops::ControlFlow,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use sockeye::{Config, Keepalive, Limits};
use sockeye_hub::{Event, Publication};

use self::{
    command::Turn,
    line::{Line, Next, Rest, Stage, TooSlow},
};
use crate::{
    SessionLimits,
    dialect::{Answer, Dialect, Farewell, Problem, Said, json},
    talk::Talk,
    worker::{Crew, Local, Outgoing, Outlet, Put},
};

/// How connections of the hub behave.
pub(crate) fn config(limits: &SessionLimits) -> Config {
    Config::with(|config| {
        config.limits = Limits::with(|own| {
            own.max_message = json::MAX_MESSAGE;
            own.max_frame = json::MAX_MESSAGE;
            own.max_fragments = 256;
            // Where a session whose output was above it is well again. What else finds room, `Line::put` decides.
            own.high_water = limits.soft_output;
            own.max_write_queue = usize::MAX;
        });
        config.keepalive = Some(Keepalive::default());
    })
}

/// A stream of messages and its session, from now until either is over. `ticket` is dropped at the end.
pub(crate) fn converse<S: Talk, D: Dialect, T: Unpin>(
    socket: S,
    dialect: D,
    local: Rc<Local>,
    ticket: T,
) -> Conversation<S, D, T> {
    let line = RefCell::new(Line::new(socket));
    let session = Rc::new(Session { line, dialect });
    let key = local.open(Rc::<Session<S, D>>::clone(&session));
    let mut line = session.line.borrow_mut();
    // A server that is stopping has said goodbye already.
    if line.stage != Stage::Leaving {
        line.key = Some(key);
    }
    drop(line);
    Conversation { session, local, _ticket: ticket }
}

/// The task of one connection.
pub(crate) struct Conversation<S: Talk, D: Dialect, T> {
    session: Rc<Session<S, D>>,
    local: Rc<Local>,
    _ticket: T,
}

/// What its task and its worker share of a connection.
struct Session<S, D> {
    line: RefCell<Line<S>>,
    dialect: D,
}

impl<S: Talk, D: Dialect, T: Unpin> Future for Conversation<S, D, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = ready!(self.session.line.borrow_mut().poll_next(&self.local, cx));
            match next {
                Next::Take(rest) => self.session.take(rest, &self.local),
                Next::Writable(key) => self.local.turn(|hub, crew, now| hub.writable(key, now, crew)),
                Next::End => return Poll::Ready(()),
            }
        }
    }
}

/// However it ends, the hub hears of it.
impl<S: Talk, D: Dialect, T> Drop for Conversation<S, D, T> {
    fn drop(&mut self) {
        let mut line = self.session.line.borrow_mut();
        let (key, expiry) = (line.leave(), line.expiry.take());
        drop(line);
        if key.is_some() || expiry.is_some() {
            self.local.close(key, expiry);
        }
    }
}

impl<S: Talk, D: Dialect> Session<S, D> {
    /// What a client has said, and what else of it is here already, in one turn.
    fn take(self: &Rc<Self>, first: Rest, local: &Rc<Local>) {
        // Its own task flushes before it waits.
        self.line.borrow_mut().is_unflushed = true;
        local.turn(|hub, crew, now| {
            let turn = &mut Turn { hub, crew, now, local };
            let mut next = Some(first);
            while let Some(message) = next {
                self.take_message(message, turn);
                next = self.line.borrow_mut().next_at_hand(&local.limits);
            }
        });
        self.line.borrow_mut().is_unflushed = false;
    }

    /// The commands of one message, or of what is left of it, as far as they may be taken now.
    fn take_message(self: &Rc<Self>, mut message: Rest, turn: &mut Turn<'_>) {
        let Rest { is_text, bytes, taken } = &mut message;
        let before = *taken;
        let read = self.dialect.read(*is_text, bytes, before, |id, verb| {
            *taken += 1;
            self.command(id, verb, turn);
            if self.line.borrow().is_busy(&turn.local.limits) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        match read {
            Ok(ControlFlow::Break(())) => self.line.borrow_mut().rest = Some(Box::new(message)),
            // Even nothing takes its time.
            Ok(ControlFlow::Continue(())) if *taken == 0 => {
                self.is_allowed(None, turn);
            }
            Ok(ControlFlow::Continue(())) => {}
            Err(farewell) => self.dismiss(farewell, turn.crew),
        }
    }

    fn answer(&self, id: Option<u64>, answer: &Answer<'_>, crew: &mut Crew) {
        if let Some(message) = id.and_then(|id| self.dialect.answer(id, answer)) {
            self.tell(Said::One(message), crew);
        }
    }

    fn complain(&self, id: Option<u64>, problem: &Problem, crew: &mut Crew) {
        if let Some(message) = self.dialect.problem(id, problem) {
            self.tell(Said::One(message), crew);
        }
    }

    /// Tells the client something that cannot wait in the hub.
    fn tell(&self, said: Said, crew: &mut Crew) {
        let Some(key) = self.line.borrow().key else { return };
        crew.settle(key);
        let put = self.put(said, crew.limits().hard_output);
        crew.note(key, put);
    }

    fn dismiss(&self, farewell: Farewell, crew: &mut Crew) {
        let Some(key) = self.line.borrow().key else { return };
        crew.settle(key);
        self.end(farewell);
        crew.is_over(key);
    }

    fn put(&self, said: Said, room: usize) -> Put {
        let put = self.line.borrow_mut().put(said, room);
        put.unwrap_or_else(|TooSlow| {
            self.end(Farewell::TooSlow);
            Put::Over
        })
    }
}

impl<S: Talk, D: Dialect> Outlet for Session<S, D> {
    fn deliver(&self, publication: &Arc<Publication>, own: bool, limits: &SessionLimits) -> Put {
        let mut line = self.line.borrow_mut();
        if line.stage == Stage::Leaving {
            return Put::Taken;
        }
        if line.is_full || line.socket.buffered_amount() > limits.soft_output {
            line.is_full = true;
            // Its task sees to it that the rest leaves, and says when.
            line.wake();
            return Put::Full;
        }
        drop(line);
        let Some(said) = self.dialect.publication(publication, own) else { return Put::Taken };
        self.put(said, limits.hard_output)
    }

    fn event(&self, event: Event, limits: &SessionLimits) -> Put {
        if let Event::Closing(cause) = event {
            self.end(cause.into());
            return Put::Over;
        }
        let mut line = self.line.borrow_mut();
        if line.stage == Stage::Leaving {
            return Put::Taken;
        }
        if let Event::Done(id, _) | Event::Failed(Some(id), _) = event
            && line.reading == Some(id)
        {
            line.reading = None;
            if line.rest.is_some() {
                line.wake();
            }
        }
        drop(line);
        self.dialect.event(&event).map_or(Put::Taken, |said| self.put(said, limits.hard_output))
    }

    fn put_held(&self, publication: &Publication, limits: &SessionLimits) -> Put {
        if self.line.borrow().stage == Stage::Leaving {
            return Put::Taken;
        }
        self.dialect.publication(publication, false).map_or(Put::Taken, |said| self.put(said, limits.hard_output))
    }

    fn outgoing<'a>(&'a self, held: Option<&'a Publication>) -> Option<Outgoing<'a>> {
        let socket = match Ref::filter_map(self.line.borrow(), |line| line.socket.bare()) {
            Ok(socket) => socket,
            // Nothing is held for those.
            Err(line) => return line.socket.stage().map(|(socket, bytes)| Outgoing::Lent(socket, bytes)),
        };
        let Some(publication) = held else { return Outgoing::queued(socket) };
        let bytes = socket.alone(self.dialect.shared(publication)?)?;
        Some(Outgoing::Shared(socket, bytes))
    }

    fn advance(&self, count: usize) {
        let mut line = self.line.borrow_mut();
        match line.socket.bare_mut() {
            Some(socket) => socket.advance(count),
            None => line.socket.staged(count),
        }
    }

    fn flush(&self) -> bool {
        let mut line = self.line.borrow_mut();
        line.is_unflushed = false;
        if !line.socket.is_flushed() {
            line.write();
        }
        line.stage != Stage::Leaving
            && !line.is_full
            && line.socket.bare().is_some_and(|socket| socket.buffered_amount() == 0)
    }

    fn expiring(&self, within: Duration, limits: &SessionLimits) -> Put {
        let said = self.dialect.expiring(within);
        said.map_or(Put::Taken, |message| self.put(Said::One(message), limits.hard_output))
    }

    fn end(&self, farewell: Farewell) {
        let mut line = self.line.borrow_mut();
        if line.stage == Stage::Leaving {
            return;
        }
        line.leave();
        let (message, code, reason) = self.dialect.bye(farewell);
        if let Some(message) = message {
            // The output has room for it; and who is gone needs none.
            let _ = line.socket.try_send(message);
        }
        line.socket.start_close(code, reason);
        line.wake();
    }
}
