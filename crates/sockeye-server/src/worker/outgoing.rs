//! The end of a turn: what sessions have been told goes to their sockets, one after the other.
#[cfg(unix)]
use std::os::fd::AsFd;
use std::{cell::Ref, sync::Arc};

use bytes::Bytes;
use sockeye::WebSocket;
use sockeye_uring::ToSend;
use tokio::net::TcpStream;

use super::ring::Rings;

/// Sessions that are gathered before the first of them is written to. They lie wherever they were made, and what is to be
/// fetched of one from memory is fetched while the others' is.
pub(super) const BATCH: usize = 32;

/// What one session's socket is to be given.
pub(crate) enum Outgoing<'a> {
    /// What is queued.
    Queued(Ref<'a, WebSocket<TcpStream>>),
    /// What is not queued there, but shared by many; and then nothing is queued.
    Shared(Ref<'a, WebSocket<TcpStream>>, &'a [u8]),
    /// What is staged (see [`Talk::stage`](crate::talk::Talk::stage)).
    Lent(Arc<TcpStream>, Bytes),
}

impl<'a> Outgoing<'a> {
    /// What is queued, which is one piece of memory.
    pub(crate) fn queued(socket: Ref<'a, WebSocket<TcpStream>>) -> Option<Self> {
        socket.queued().is_some_and(|bytes| !bytes.is_empty()).then_some(Self::Queued(socket))
    }

    /// Where to.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Queued(socket) | Self::Shared(socket, _) => socket.get_ref(),
            Self::Lent(socket, _) => socket,
        }
    }

    fn to_send(&self) -> ToSend<'_> {
        ToSend {
            #[cfg(unix)]
            socket: self.socket().as_fd(),
            bytes: self.bytes(),
        }
    }

    /// What.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Queued(socket) => socket.queued().unwrap_or_default(),
            Self::Shared(_, bytes) => bytes,
            Self::Lent(_, bytes) => bytes,
        }
    }
}

/// How much of an [`Outgoing`] a socket has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) bytes: usize,
    pub(super) is_all: bool,
}

/// How a worker writes to sockets.
pub(super) struct Writer {
    rings: Rings,
}

impl Writer {
    pub(super) fn new(io_uring: Option<usize>) -> Self {
        Self { rings: Rings::new(io_uring) }
    }

    /// How many are to be gathered when so many wait.
    pub(super) fn batch(&mut self, waiting: usize) -> usize {
        self.rings.batch(waiting).unwrap_or(BATCH)
    }

    /// Gives each socket what is for it. One that has no room, or has failed, takes nothing: it is tried again in the ordinary
    /// way, which waits for it, or finds out why. `all` says afterwards how much each has taken.
    pub(super) fn send_each(&mut self, batch: &[Option<Outgoing<'_>>], all: &mut Vec<Taken>) {
        let taken = |outgoing: &Outgoing<'_>, bytes| Taken { bytes, is_all: bytes == outgoing.bytes().len() };
        all.clear();
        all.resize(batch.len(), Taken::default());
        let mut places = all.iter_mut().zip(batch).filter_map(|(taken, outgoing)| Some((taken, outgoing.as_ref()?)));
        let Some(ring) = self.rings.for_so_many(batch.len()) else {
            return places
                .for_each(|(place, outgoing)| *place = taken(outgoing, send(outgoing.socket(), outgoing.bytes())));
        };
        let sends: Vec<_> = batch.iter().flatten().map(Outgoing::to_send).collect();
        for sent in ring.send(&sends) {
            let Some((place, outgoing)) = places.next() else { break };
            *place = taken(outgoing, sent.unwrap_or(0));
        }
    }
}

/// What a socket takes now; nothing if it has failed, which it is to be asked in the ordinary way.
#[cfg(unix)]
pub(crate) fn send(socket: &TcpStream, bytes: &[u8]) -> usize {
    // Past tokio, which would look into what it has noted about the socket first: one more thing to fetch from memory.
    rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL).unwrap_or(0)
}

#[cfg(not(unix))]
pub(crate) fn send(socket: &TcpStream, bytes: &[u8]) -> usize {
    socket.try_write(bytes).unwrap_or(0)
}
