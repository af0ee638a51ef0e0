//! A client of the hub that says JSON and hears JSON.
use serde_json::{Value, json};
use sockeye::{Client, Message, Transport, WebSocket};
use sockeye_server::{ServerOptions, Site};

use super::{Running, options, within};

/// Options for a hub on two threads, whose clients may do as much as a test likes.
pub(crate) fn hub_options() -> ServerOptions {
    let mut options = options(Site::Server);
    (options.session.commands_per_second, options.session.commands_burst) = (1_000_000, 1_000_000);
    options
}

/// A client.
pub(crate) struct Talk {
    pub(crate) socket: WebSocket<Transport>,
    id: u64,
    /// What came while a reply was waited for.
    heard: Vec<Value>,
}

impl Talk {
    pub(crate) async fn to(server: &Running) -> Self {
        Self::over(server.client("/ws")).await
    }

    pub(crate) async fn over(client: Client) -> Self {
        let client = client.subprotocol("sockeye.v1.json");
        Self { socket: within(client.connect()).await.unwrap(), id: 0, heard: Vec::new() }
    }

    pub(crate) async fn say(&mut self, value: &Value) {
        self.say_text(&value.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, text: &str) {
        within(self.socket.send(Message::text(text))).await.unwrap();
    }

    /// The reply to a command, which gets an id here.
    pub(crate) async fn ask(&mut self, mut command: Value) -> Value {
        self.id += 1;
        command["id"] = self.id.into();
        self.say(&command).await;
        loop {
            let value = self.receive().await;
            if value["id"] == self.id {
                return value;
            }
            self.heard.push(value);
        }
    }

    /// The same, and it was done.
    #[track_caller]
    pub(crate) fn done(&mut self, command: Value) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let reply = self.ask(command).await;
            assert!(reply["ok"].is_object(), "{place}: {reply}");
            reply["ok"].clone()
        }
    }

    /// The code of the error that a command is answered with.
    pub(crate) async fn refused(&mut self, command: Value) -> String {
        let reply = self.ask(command).await;
        reply["error"]["code"].as_str().unwrap_or_else(|| panic!("not refused: {reply}")).to_owned()
    }

    /// The next that is said, in order.
    pub(crate) async fn hear(&mut self) -> Value {
        if self.heard.is_empty() { self.receive().await } else { self.heard.remove(0) }
    }

    /// Nothing else has been said up to here.
    pub(crate) async fn hears_nothing(&mut self) {
        self.done(json!({"ping": {}})).await;
        assert_eq!(self.heard, Vec::<Value>::new());
    }

    /// How it ends: the close code, and what was said before.
    pub(crate) async fn ends(&mut self) -> (u16, Vec<Value>) {
        let mut said = std::mem::take(&mut self.heard);
        while let Some(message) = within(self.socket.recv()).await.unwrap() {
            said.push(serde_json::from_str(message.as_text().unwrap()).unwrap());
        }
        (self.socket.close_outcome().unwrap().code(), said)
    }

    async fn receive(&mut self) -> Value {
        let message = within(self.socket.recv()).await.unwrap().expect("it is open");
        serde_json::from_str(message.as_text().unwrap()).unwrap()
    }
}

/// What is the data of a publication.
pub(crate) fn data(publication: &Value) -> &Value {
    &publication["data"]
}
