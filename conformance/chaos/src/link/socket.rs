//! Over a WebSocket.
use sockeye::{Client, CloseCode, Transport as Stream, WebSocket};
use tokio::time::timeout;

use super::{Lost, SILENCE, Way};

/// Asked of a server that has been silent, under an id that nobody else uses.
const PING: &str = r#"{"id":9007199254740991,"ping":{}}"#;

pub(crate) struct Socket {
    socket: WebSocket<Stream>,
    /// It was asked whether it is still there.
    is_asked: bool,
}

impl Socket {
    pub(super) async fn open(way: &Way) -> Result<Self, Lost> {
        let client = Client::new(&format!("ws://{}/ws", way.proxy)).map_err(|error| Lost(error.to_string()))?;
        let connect = client.subprotocol("sockeye.v1.json").connect();
        match timeout(SILENCE, connect).await {
            Ok(Ok(socket)) => Ok(Self { socket, is_asked: false }),
            Ok(Err(_)) => Err(Lost("the WebSocket was refused".to_owned())),
            Err(_) => Err(Lost("the WebSocket is not answered".to_owned())),
        }
    }

    /// Cancel safe, as `recv` is.
    pub(super) async fn hear(&mut self) -> Result<String, Lost> {
        loop {
            match timeout(SILENCE / 2, self.socket.recv()).await {
                Ok(Ok(Some(message))) => {
                    self.is_asked = false;
                    return message.as_text().map(str::to_owned).ok_or_else(|| Lost("a binary message".to_owned()));
                }
                Ok(Ok(None)) => return Err(Lost("the WebSocket was closed".to_owned())),
                Ok(Err(_)) => return Err(Lost("the WebSocket broke".to_owned())),
                Err(_) if self.is_asked => return Err(Lost("the WebSocket is silent".to_owned())),
                Err(_) => {
                    self.is_asked = true;
                    self.say(PING.to_owned()).await?;
                }
            }
        }
    }

    pub(super) async fn say(&mut self, message: String) -> Result<(), Lost> {
        match timeout(SILENCE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Lost("the WebSocket broke".to_owned())),
            Err(_) => Err(Lost("the WebSocket takes nothing".to_owned())),
        }
    }

    pub(super) async fn leave(mut self) {
        drop(timeout(SILENCE, self.socket.close(CloseCode::NORMAL, "")).await);
    }
}
