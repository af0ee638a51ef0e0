//! The three demos: what the classic tutorials build, on the wires their clients speak (docs/demos.md).
mod chat;
mod cursors;
mod echo;

use std::sync::Arc;

use sockeye::{
    Config, HandshakeLimits, Keepalive, Limits, OriginPolicy, ServerConfig, Subprotocol, SubprotocolPolicy, WebSocket,
    proto::handshake::InvalidSubprotocol,
};
use tokio_util::sync::CancellationToken;

use crate::{Demo, ServerOptions, Site, room::Room};

/// The demos of one server, shared by its workers.
#[derive(Debug)]
pub(crate) struct Demos {
    site: Site,
    configs: [ServerConfig; 3],
    chat: chat::Chat,
    cursors: Room,
}

impl Demos {
    pub(crate) fn new(options: &ServerOptions, origins: &OriginPolicy) -> Result<Self, InvalidSubprotocol> {
        let subprotocols = SubprotocolPolicy::required_if_offered([Subprotocol::new("json")?]);
        let echo = Limits {
            max_message: options.max_message,
            max_frame: options.max_message,
            max_fragments: options.max_fragments,
            ..Limits::default()
        };
        let mut configs = [echo, chat::limits(), cursors::limits()].map(|limits| ServerConfig {
            connection: Arc::new(Config { limits, keepalive: Some(Keepalive::default()) }),
            handshake: HandshakeLimits::default(),
            origins: origins.clone(),
            subprotocols: subprotocols.clone(),
            deflate: None,
        });
        configs[0].deflate.clone_from(&options.deflate);
        Ok(Self { site: options.site, configs, chat: chat::Chat::new(), cursors: cursors::room() })
    }

    pub(crate) fn site(&self) -> Site {
        self.site
    }

    pub(crate) fn config(&self, demo: Demo) -> &ServerConfig {
        let [echo, chat, cursors] = &self.configs;
        match demo {
            Demo::Echo => echo,
            Demo::Chat => chat,
            Demo::Cursors => cursors,
        }
    }

    pub(crate) fn handshake_limits(&self) -> HandshakeLimits {
        self.configs[0].handshake
    }

    pub(crate) async fn echo(socket: &mut WebSocket, stop: &CancellationToken) {
        echo::run(socket, stop).await;
    }

    pub(crate) async fn chat(&self, socket: &mut WebSocket, stop: &CancellationToken) {
        chat::run(&self.chat, socket, stop).await;
    }

    pub(crate) async fn cursors(&self, socket: &mut WebSocket, stop: &CancellationToken) {
        cursors::run(&self.cursors, socket, stop).await;
    }
}

/// The answer to a message that is not what the demo speaks, for its sender alone.
fn complaint(why: &str) -> sockeye::Message {
    sockeye::Message::text(serde_json::json!({ "error": why }).to_string())
}
