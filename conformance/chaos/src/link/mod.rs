//! A conversation in `sockeye.v1.json`, whatever carries it: each message is heard once, in order, until it is lost.
mod ear;
mod pipe;
mod socket;
mod sockjs;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use self::{pipe::Pipe, socket::Socket, sockjs::SockJs};
use crate::transport::{Tally, Transport};

/// Who hears nothing for so long has lost its connection: heartbeats come each second.
pub(crate) const SILENCE: Duration = Duration::from_millis(2_500);

/// Reasons for which a server may end a conversation that nobody has broken.
pub(crate) const CODES: [u16; 6] = [1001, 1012, 1013, 4101, 4102, 4103];

/// What everybody needs to know who converses through the proxy.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) proxy: SocketAddr,
    /// Those that there are to choose from.
    pub(crate) transports: Arc<[Transport]>,
    pub(crate) tally: Arc<Tally>,
}

/// A conversation.
pub(crate) enum Link {
    Socket(Box<Socket>),
    Pipe(Box<Pipe>),
    SockJs(Box<SockJs>),
}

/// It is over, and this is why.
#[derive(Debug)]
pub(crate) struct Lost(pub(crate) String);

impl Way {
    /// Whether this reader only listens: one of four, if there are others; all, if there are none.
    pub(crate) fn only_listens(&self, actor: u32) -> bool {
        let can_listen = self.transports.contains(&Transport::Sse);
        can_listen && (actor.is_multiple_of(4) || self.transports.len() == 1)
    }

    /// One of those that converse.
    pub(crate) fn choose(&self, rng: &mut StdRng) -> Transport {
        let conversing: Vec<_> = self.transports.iter().filter(|way| **way != Transport::Sse).collect();
        conversing.choose(rng).map_or(Transport::Stream, |way| **way)
    }
}

impl Link {
    /// Begins a conversation.
    ///
    /// # Errors
    /// This way is barred.
    pub(crate) async fn open(transport: Transport, way: &Way, rng: &mut StdRng) -> Result<Self, Lost> {
        Ok(match transport {
            Transport::Websocket => Self::Socket(Box::new(Socket::open(way).await?)),
            Transport::Sockjs => Self::SockJs(Box::new(SockJs::new(way, rng.random()))),
            _ => Self::Pipe(Box::new(Pipe::new(transport, way, rng.random()))),
        })
    }

    /// By what it hears at the moment.
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Socket(_) => Transport::Websocket,
            Self::Pipe(pipe) => pipe.transport(),
            Self::SockJs(_) => Transport::Sockjs,
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// There will be no other.
    ///
    /// # Cancel safety
    /// Dropped, no message is lost. A request to hear that was under way is made again, though, which is well only for those who
    /// [`switch`](Self::switch) or leave; and time begins anew until silence counts as loss.
    pub(crate) async fn hear(&mut self) -> Result<String, Lost> {
        match self {
            Self::Socket(socket) => socket.hear().await,
            Self::Pipe(pipe) => pipe.hear().await,
            Self::SockJs(session) => session.hear().await,
        }
    }

    /// Says something, or has it said soon.
    ///
    /// # Errors
    /// The conversation is lost.
    pub(crate) async fn say(&mut self, message: String) -> Result<(), Lost> {
        match self {
            Self::Socket(socket) => socket.say(message).await,
            Self::Pipe(pipe) => {
                pipe.say(message);
                Ok(())
            }
            Self::SockJs(session) => {
                session.say(message);
                Ok(())
            }
        }
    }

    /// Goes on hearing by another transport, if the conversation can.
    pub(crate) fn switch(&mut self, to: Transport) -> bool {
        match self {
            Self::Pipe(pipe) if matches!(to, Transport::Stream | Transport::Events | Transport::Poll) => {
                pipe.switch(to);
                true
            }
            _ => false,
        }
    }

    /// Goes for good, with a word or without.
    pub(crate) async fn leave(self) {
        match self {
            Self::Socket(socket) => socket.leave().await,
            Self::Pipe(pipe) => pipe.leave().await,
            // It has no word for that.
            Self::SockJs(_) => {}
        }
    }
}
