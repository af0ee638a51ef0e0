//! A server that does what the test says, word by word, on a real socket.
#![allow(dead_code, reason = "each test file uses a part")]

use std::time::Duration;

use serde_json::{Value, json};
use sockeye::{CloseCode, Handshake, ServerConfig, Subprotocol, SubprotocolPolicy, WebSocket};
use sockeye_client::{Backoff, Builder, Client, Event, Publication, Subscription};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Bounds everything that is awaited.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("this takes too long")
}

pub(crate) struct Server {
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// A client that hurries back.
    pub(crate) fn client(&self) -> Builder {
        let backoff = Backoff::with(|backoff| {
            backoff.base = Duration::from_millis(10);
            backoff.spread = backoff.base;
        });
        Client::builder(&self.url()).unwrap().backoff(backoff)
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.listener.local_addr().unwrap())
    }

    /// A connection, on which `connect` has been answered.
    pub(crate) async fn accept(&self) -> Peer {
        let mut peer = self.accept_raw().await;
        let connect = peer.expect("connect").await;
        peer.ok(&connect, json!({"session": "s1"})).await;
        peer
    }

    pub(crate) async fn accept_raw(&self) -> Peer {
        let required = SubprotocolPolicy::required([Subprotocol::new("sockeye.v1.json").unwrap()]);
        self.accept_with(required).await
    }

    /// Opens a connection that does not speak our protocol.
    pub(crate) async fn accept_without_protocol(&self) {
        let mut peer = self.accept_with(SubprotocolPolicy::none()).await;
        // The client says nothing to it.
        assert!(!matches!(within(peer.socket.recv()).await, Ok(Some(_))));
    }

    async fn accept_with(&self, policy: SubprotocolPolicy) -> Peer {
        let config = ServerConfig::with(|config| config.subprotocols = policy);
        let handshake = within(Handshake::read(self.stream().await, &config)).await.unwrap();
        Peer { socket: within(handshake.accept()).await.unwrap() }
    }

    /// Says 503 to whoever comes.
    pub(crate) async fn refuse(&self) {
        let handshake = within(Handshake::read(self.stream().await, &ServerConfig::default())).await.unwrap();
        assert!(within(handshake.reject(503)).await.is_refused());
    }

    async fn stream(&self) -> TcpStream {
        within(self.listener.accept()).await.unwrap().0
    }
}

/// The server's end of a connection.
pub(crate) struct Peer {
    pub(crate) socket: WebSocket<TcpStream>,
}

impl Peer {
    pub(crate) async fn recv(&mut self) -> Value {
        let message = within(self.socket.recv()).await.unwrap().expect("the client has closed");
        serde_json::from_str(message.as_text().unwrap()).unwrap()
    }

    /// The next command, which has this verb.
    pub(crate) async fn expect(&mut self, verb: &str) -> Value {
        let command = self.recv().await;
        assert!(command.get(verb).is_some(), "{verb} was expected: {command}");
        command
    }

    pub(crate) async fn ok(&mut self, command: &Value, ok: Value) {
        self.say(json!({"id": command["id"], "ok": ok})).await;
    }

    pub(crate) async fn say(&mut self, object: Value) {
        within(self.socket.send(object.to_string())).await.unwrap();
    }

    pub(crate) async fn publication(&mut self, channel: &str, offset: u64) {
        self.say(json!({"on": channel, "offset": offset, "data": offset})).await;
    }

    /// Answers a subscription whose channel ends at this offset, with so many to catch up.
    pub(crate) async fn subscribed(&mut self, offset: u64, catch_up: u64) -> Value {
        let command = self.expect("subscribe").await;
        self.ok(&command, json!({"epoch": "e", "offset": offset, "catch_up": catch_up, "recovered": true})).await;
        command
    }

    pub(crate) async fn close(mut self, code: u16) {
        within(self.socket.close(CloseCode::new(code).unwrap(), "")).await.unwrap();
    }
}

pub(crate) async fn publication(subscription: &mut Subscription) -> Publication {
    match within(subscription.next()).await {
        Some(Event::Publication(publication)) => publication,
        other => panic!("no publication: {other:?}"),
    }
}
