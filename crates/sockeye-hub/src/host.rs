//! What a hub wants done.
use std::sync::Arc;

use crate::{ChannelName, Event, Failure, Publication, SessionKey, StoreRequest, Wire, WorkerId};

/// Who carries a hub's messages: the worker that owns it, or a simulation.
///
/// Its methods are called from within the hub's and must not call back. What it is told for one session, one worker or the
/// store is in order, and has to stay so.
pub trait Host {
    /// Who somebody is, as far as permission goes. The hub keeps one for each session and looks at none.
    type Principal;

    /// Puts a publication into the session's output. `own` is one that the session published itself without wanting it back: of
    /// that it gets the position alone, and nothing if it has none.
    ///
    /// [`Queued::Full`] says that it was not taken; the hub keeps it and offers it again after [`Hub::writable`](crate::Hub::writable).
    fn deliver(&mut self, to: SessionKey, publication: &Arc<Publication>, own: bool) -> Queued;

    /// Puts anything else into the session's output. It has to be taken; a host whose output for this session is beyond its
    /// bound ends the session.
    fn event(&mut self, to: SessionKey, event: Event);

    /// Brings something to another worker: into [`Hub::arrived`](crate::Hub::arrived) there.
    fn send(&mut self, to: WorkerId, wire: Wire);

    /// Asks the store, whose reply goes into [`Hub::stored`](crate::Hub::stored).
    fn store(&mut self, request: StoreRequest);

    /// Decides whether somebody may do something, on every path: the hub asks for each request, again when it answers from
    /// the history or the members, and for every delivery after [`rules`](Self::rules) has changed.
    ///
    /// # Errors
    /// What the session is told.
    fn authorize(&self, who: &Self::Principal, action: Action, channel: &ChannelName) -> Result<(), Failure>;

    /// A number that changes whenever [`authorize`](Self::authorize) might decide otherwise than before.
    fn rules(&self) -> u64;
}

/// Whether a session's output has taken a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It has.
    Taken,
    /// It has no room.
    Full,
}

/// What somebody wants to do with a channel. Not `non_exhaustive`: whoever decides has to decide about a new one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Get what is published from now on.
    Subscribe,
    /// Get what was published since a position of before, or the newest few.
    CatchUp,
    /// Publish.
    Publish,
    /// Be seen as a member.
    Join,
    /// See who is there, and who comes and goes.
    Presence,
    /// Read the history.
    History,
}
