//! The three demos: what the classic tutorials build, on the wires their clients speak (docs/demos.md).
mod chat;
mod close;
mod cursors;
mod echo;
mod feed;
mod room;

use std::{rc::Rc, sync::Arc};

use sockeye::{
    Config, Keepalive, Limits, OriginPolicy, Prepared, Refusal, ServerConfig, Subprotocol, SubprotocolPolicy,
    proto::handshake::InvalidSubprotocol,
};
use tokio::sync::broadcast;

use self::{
    chat::Lines,
    cursors::Pointers,
    feed::{Feed, Place},
};
pub(crate) use self::{chat::run as chat, close::run as close, cursors::run as cursors, echo::Echo};
pub(crate) use self::{
    feed::{NAMESPACE, channel_options},
    room::ENOUGH,
};
use crate::{Demo, ServerOptions, routes::Routes, worker::Local};

/// How the demos of one server are reached, for all its workers.
#[derive(Debug)]
pub(crate) struct Demos {
    routes: Routes,
    configs: [ServerConfig; 3],
}

/// The demos of one worker.
#[derive(Default)]
pub(crate) struct Places {
    chat: Place<Lines>,
    cursors: Place<Pointers>,
}

/// A place in a demo, from which nothing is missed that is said after it was taken.
pub(crate) enum Seat {
    Hub,
    Echo,
    Chat(Rc<Feed<Lines>>),
    Cursors(Rc<Feed<Pointers>>, broadcast::Receiver<Prepared>),
    Close,
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
                // Members are told to wait at one mark and to go on at the other.
                config.limits.high_water = ENOUGH;
                config.keepalive = Some(Keepalive::default());
            });
            ServerConfig::with(|config| {
                config.connection = Arc::new(connection);
                config.origins = origins.clone();
                config.subprotocols = subprotocols.clone();
            })
        });
        configs[0].deflate.clone_from(&options.deflate);
        Ok(Self { routes: Routes { site: options.site, page: options.page, demos: options.demos }, configs })
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
}

impl Places {
    /// To be taken before the client hears that it is in; a refusal if it cannot be had in time.
    pub(crate) async fn seat(&self, demo: Demo, local: &Rc<Local>) -> Result<Seat, Refusal> {
        Ok(match demo {
            Demo::Echo => Seat::Echo,
            // Its first message is the whole state.
            Demo::Chat => Seat::Chat(self.chat.take(local).await?),
            Demo::Cursors => {
                let feed = self.cursors.take(local).await?;
                let told = feed.room().listen();
                Seat::Cursors(feed, told)
            }
        })
    }
}

/// The answer to a message that is not what the demo speaks, for its sender alone.
fn complaint(why: &str) -> sockeye::Message {
    sockeye::Message::text(serde_json::json!({ "error": why }).to_string())
}
