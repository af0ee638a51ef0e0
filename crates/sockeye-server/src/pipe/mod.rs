//! Conversations over HTTP, for clients that WebSockets do not reach: the server around `sockeye-pipe`.
//!
//! ```text
//! exchange ─┐           ┌─▶ native: /ws/stream, events, poll, send, leave ─┐             ┌─▶ End ──▶ session, demos
//!           ├─▶ begin ──┤                                                  ├─▶ Registry ─┤
//! http2 ────┘           └─▶ listen: /sse ──────────────────────────────────┘             └─▶ Receiver ──▶ http1, http2
//! ```
//!
//! A request is looked at by its head (`begin`), then its body is read by whoever speaks its version of HTTP, and then it is
//! carried out ([`Call::perform`]) and answered: at once, or by a response that is written for a while ([`Streaming`]). The
//! session lives on the worker of the request that has opened the conversation, and other requests of it may come in anywhere.
//!
//! Whose a conversation is, is said by the address its requests come from, by the origin of the page, and by the service: to
//! others it does not exist.
mod answer;
mod end;
pub(crate) mod http1;
pub(crate) mod http2;
mod listen;
mod native;
mod registry;
mod shared;
mod visitor;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use sockeye_pipe::{Binding, Config, ConversationId, Limits, native::Wire, sse::Events};

use self::visitor::Keys;
pub(crate) use self::{
    answer::{Answer, Streaming},
    end::{End, Texts},
    listen::Listen,
    registry::{Opening, Registry},
    shared::{Held, Outflow, now},
    visitor::{Visitor, is_allowed},
};
use crate::{
    PipeOptions, SessionLimits,
    api::{Refused, without_body},
    demo::ENOUGH,
    routes::Service,
    sockjs,
    worker::Worker,
};

/// Time for the body of a request to arrive, all of it.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages that may wait for a client, however small: by then no session and no demo says more, for their bytes.
pub(crate) const MAX_QUEUED_MESSAGES: usize = 32 * 1024;

/// The conversations of one server, for all its workers.
pub(crate) struct Pipes {
    options: PipeOptions,
    keys: Keys,
    native: Arc<Registry<ConversationId, Wire>>,
    pub(crate) sockjs: Arc<Registry<sockjs::Name, sockeye_pipe::sockjs::Transport>>,
    config: Arc<Config>,
    listeners: Arc<Registry<ConversationId, Events>>,
    listening: Arc<Config>,
    /// How little has to be queued for a session of the hub to go on.
    high_water: usize,
}

/// What has become of a request by its head: `Err` is its answer already.
pub(crate) type Begun<C = Call> = Result<C, Box<Response<Bytes>>>;

/// A request that has been looked at, and whose body, if any, is to be read.
pub(crate) enum Call {
    Native(native::Call),
    Listen(listen::Call),
    SockJs(sockjs::Call),
}

impl Pipes {
    pub(crate) fn new(options: &PipeOptions, session: &SessionLimits) -> Self {
        let limits = Limits {
            max_open: options.max_open,
            max_open_of_binding: options.per_address,
            // Names of 128 bits are not guessed, and a guesser shall not be in the way of others at its address.
            stops_guessers: false,
            ..Limits::default()
        };
        let config = Config {
            heartbeat: options.heartbeat,
            disconnect_delay: options.linger,
            closing_linger: options.linger,
            max_queued_messages: MAX_QUEUED_MESSAGES,
            // What finds room, sessions and demos decide.
            max_queued_bytes: usize::MAX,
            max_received_bytes: options.max_body,
            ..Config::native()
        };
        Self {
            options: options.clone(),
            keys: Keys::random(),
            native: Registry::new(limits.clone()),
            sockjs: Registry::new(Limits { stops_guessers: true, ..limits.clone() }),
            listeners: Registry::new(limits),
            listening: Arc::new(listen::config(&config)),
            config: Arc::new(config),
            high_water: session.soft_output,
        }
    }

    /// How little has to be queued for a session of this service to go on: as little as over a WebSocket.
    pub(crate) fn high_water(&self, service: Service) -> usize {
        if service == Service::Hub { self.high_water } else { ENOUGH }
    }

    /// Whose a conversation is that is bound to an address alone.
    pub(crate) fn bind(&self, from: Option<IpAddr>, place: &str) -> Binding {
        self.keys.bind(from, None, place)
    }
}

/// Looks at the head of a request from this address; `None` if it is for something else.
pub(crate) fn begin<B>(request: &Request<B>, from: Option<IpAddr>, worker: &Worker) -> Option<Begun> {
    let begun = native::begin(request, from, worker).map(|begun| begun.map(Call::Native));
    let begun = begun.or_else(|| listen::begin(request, from, worker).map(|begun| begun.map(Call::Listen)))?;
    // What is asked for with `HEAD` is refused, and that has no body then.
    Some(begun.map_err(|response| without_body(request.method(), *response).into()))
}

impl Call {
    /// Bytes of the body that it takes, at most.
    pub(crate) fn max_body(&self, pipes: &Pipes) -> usize {
        match self {
            Self::Native(call) => call.max_body(pipes),
            Self::Listen(_) => 0,
            Self::SockJs(call) => call.max_body(),
        }
    }

    /// How it is refused that its body is not what it may be.
    pub(crate) fn refuse(&self, refused: Refused) -> Response<Bytes> {
        match self {
            Self::Native(call) => call.visitor().finish(refused.into_response()),
            Self::Listen(call) => call.visitor().finish(refused.into_response()),
            Self::SockJs(call) => call.refuse(refused.into_response().status()),
        }
    }

    /// Carries it out. `held` is what a response that is written for a while keeps as long as its client takes it.
    ///
    /// # Cancel safety
    /// Dropped, nobody hears the answer; a conversation that was opened for it ends by and by.
    pub(crate) async fn perform(self, body: Bytes, held: Held, worker: &Worker) -> Answer {
        match self {
            Self::Native(call) => call.perform(body, held, worker).await,
            Self::Listen(call) => call.perform(held, worker),
            Self::SockJs(call) => call.perform(body, held, worker).await,
        }
    }
}
