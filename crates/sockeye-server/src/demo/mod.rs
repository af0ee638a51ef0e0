//! The three demos: what the classic tutorials build, on the wires their clients speak (docs/demos.md).
mod chat;
mod cursors;
mod echo;

use std::sync::Arc;

use sockeye::{
    Config, Keepalive, Limits, OriginPolicy, Prepared, ServerConfig, Subprotocol, SubprotocolPolicy, WebSocket,
    proto::handshake::InvalidSubprotocol,
};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::{Demo, ServerOptions, exchange::Io, room::Room, routes::Routes};

/// The demos of one server, shared by its workers.
#[derive(Debug)]
pub(crate) struct Demos {
    routes: Routes,
    configs: [ServerConfig; 3],
    chat: chat::Chat,
    cursors: Room,
}

/// A place in a demo, from which nothing is missed that is said after it was taken.
#[derive(Debug)]
pub(crate) enum Seat {
    Hub,
    Echo,
    Chat,
    Cursors(broadcast::Receiver<Prepared>),
}

impl Demos {
    pub(crate) fn new(options: &ServerOptions, origins: &OriginPolicy) -> Result<Self, InvalidSubprotocol> {
        let subprotocols = SubprotocolPolicy::required_if_offered([Subprotocol::new("json")?]);
        let echo = Limits::with(|limits| {
            limits.max_message = options.max_message;
            limits.max_frame = options.max_message;
            limits.max_fragments = options.max_fragments;
        });
        let mut configs = [echo, chat::limits(), cursors::limits()].map(|limits| {
            let connection = Config::with(|config| {
                config.limits = limits;
                config.keepalive = Some(Keepalive::default());
            });
            ServerConfig::with(|config| {
                config.connection = Arc::new(connection);
                config.origins = origins.clone();
                config.subprotocols = subprotocols.clone();
            })
        });
        configs[0].deflate.clone_from(&options.deflate);
        Ok(Self {
            routes: Routes { site: options.site, page: options.page, demos: options.demos },
            configs,
            chat: chat::Chat::new(),
            cursors: cursors::room(),
        })
    }

    pub(crate) fn routes(&self) -> Routes {
        self.routes
    }

    pub(crate) fn config(&self, demo: Demo) -> &ServerConfig {
        let [echo, chat, cursors] = &self.configs;
        match demo {
            Demo::Echo => echo,
            Demo::Chat => chat,
            Demo::Cursors => cursors,
        }
    }

    /// To be taken before the client hears that it is in.
    pub(crate) fn seat(&self, demo: Demo) -> Seat {
        match demo {
            Demo::Echo => Seat::Echo,
            // Its first message is the whole state.
            Demo::Chat => Seat::Chat,
            Demo::Cursors => Seat::Cursors(self.cursors.listen()),
        }
    }

    pub(crate) async fn echo<S: Io>(socket: &mut WebSocket<S>, stop: &CancellationToken) {
        echo::run(socket, stop).await;
    }

    pub(crate) async fn chat<S: Io>(&self, socket: &mut WebSocket<S>, stop: &CancellationToken) {
        chat::run(&self.chat, socket, stop).await;
    }

    pub(crate) async fn cursors<S: Io>(
        &self,
        socket: &mut WebSocket<S>,
        told: &mut broadcast::Receiver<Prepared>,
        stop: &CancellationToken,
    ) {
        cursors::run(&self.cursors, socket, told, stop).await;
    }
}

/// The answer to a message that is not what the demo speaks, for its sender alone.
fn complaint(why: &str) -> sockeye::Message {
    sockeye::Message::text(serde_json::json!({ "error": why }).to_string())
}
