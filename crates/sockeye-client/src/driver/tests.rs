//! How long it waits, in paused time over pipes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
use std::{future::IntoFuture, time::Duration};

use serde_json::{Value, json};
use sockeye::{CloseCode, Handshake, ServerConfig, Subprotocol, SubprotocolPolicy, WebSocket};
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{Builder, Client, State};

type Peer = WebSocket<DuplexStream>;

const HOUR: Duration = Duration::from_secs(60 * 60);

struct Server {
    dialled: mpsc::UnboundedReceiver<DuplexStream>,
}

impl Server {
    fn start(change: impl FnOnce(Builder) -> Builder) -> (Client, Self) {
        let (dialling, dialled) = mpsc::unbounded_channel();
        let builder = change(Client::builder("ws://example.org/").unwrap());
        let transport = builder.transport.clone();
        let client = builder
            .start(move || {
                let (near, far) = duplex(4096);
                let _ = dialling.send(far);
                transport.clone().connect_over(near)
            })
            .unwrap();
        (client, Self { dialled })
    }

    /// The next attempt, and when it was made.
    async fn attempt(&mut self) -> (DuplexStream, Instant) {
        let far = timeout(HOUR, self.dialled.recv()).await.unwrap().unwrap();
        (far, Instant::now())
    }

    async fn accept(&mut self) -> (Peer, Instant) {
        let (far, at) = self.attempt().await;
        let required = SubprotocolPolicy::required([Subprotocol::new("sockeye.v1.json").unwrap()]);
        let config = ServerConfig::with(|config| config.subprotocols = required);
        let mut peer = Handshake::read(far, &config).await.unwrap().accept().await.unwrap();
        let connect = hear(&mut peer).await;
        say(&mut peer, json!({"id": connect["id"], "ok": {"session": "s"}})).await;
        (peer, at)
    }
}

async fn hear(peer: &mut Peer) -> Value {
    let message = timeout(HOUR, peer.recv()).await.unwrap().unwrap().unwrap();
    serde_json::from_str(message.as_text().unwrap()).unwrap()
}

async fn say(peer: &mut Peer, object: Value) {
    peer.send(object.to_string()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_waits_a_random_time_from_a_window_that_doubles() {
    let mut waits = Vec::new();
    for _ in 0..20 {
        let (_client, mut server) = Server::start(|builder| builder);
        let (_, mut before) = server.attempt().await;
        for (number, window) in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0].into_iter().enumerate() {
            let (_, at) = server.attempt().await;
            let wait = (at - before).as_secs_f64();
            // A millisecond more, for tokio's timers round up.
            assert!(wait <= window + 0.002, "{number}: {wait}");
            waits.push(wait / window);
            before = at;
        }
    }
    // Full jitter: over the whole window.
    assert!(waits.iter().any(|&wait| wait < 0.2) && waits.iter().any(|&wait| wait > 0.8));
}

#[tokio::test(start_paused = true)]
async fn it_never_comes_before_the_server_said() {
    let (client, mut server) = Server::start(|builder| builder);
    for _ in 0..10 {
        let (mut peer, _) = server.accept().await;
        say(&mut peer, json!({"bye": {"code": 1012, "reason": "restart", "retry_after_ms": 60_000}})).await;
        peer.close(CloseCode::SERVICE_RESTART, "").await.unwrap();
        let closed = Instant::now();
        let state = client.state().wait_for(|state| matches!(state, State::Waiting { .. })).await.unwrap().clone();
        let State::Waiting { retry_in, .. } = state else { unreachable!() };
        let (far, at) = server.attempt().await;
        assert!(at - closed >= Duration::from_secs(60), "{:?}", at - closed);
        assert!(retry_in >= Duration::from_secs(60) && retry_in <= Duration::from_secs(80), "{retry_in:?}");
        drop(far);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_hostile_server_asks_has_an_end() {
    let (_client, mut server) = Server::start(|builder| builder);
    let (mut peer, _) = server.accept().await;
    say(&mut peer, json!({"bye": {"retry_after_ms": u64::MAX}})).await;
    drop(peer);
    let lost = Instant::now();
    let (_, at) = server.attempt().await;
    assert!(at - lost <= Duration::from_secs(10 * 60 + 5 + 1), "{:?}", at - lost);
}

#[tokio::test(start_paused = true)]
async fn requests_fail_in_time() {
    let (client, mut server) = Server::start(|builder| builder);
    let (mut peer, _) = server.accept().await;
    let began = Instant::now();
    let answers = async {
        // It is heard, and pings are answered, but nothing more.
        timeout(HOUR, async { while let Ok(Some(_)) = peer.recv().await {} }).await.unwrap();
    };
    let asks = async {
        assert!(client.presence("a").await.unwrap_err().is_outcome_unknown());
        assert_eq!(began.elapsed().as_secs(), 30);
        assert!(client.subscribe("a").await.unwrap_err().is_timeout());
        assert_eq!(began.elapsed().as_secs(), 60);
        assert!(client.publish("a", &1).into_future().await.unwrap_err().is_timeout());
        assert_eq!(began.elapsed().as_secs(), 330);
        client.close().await;
    };
    tokio::join!(answers, asks);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_vanished_is_missed() {
    let (_client, mut server) = Server::start(|builder| builder);
    let (peer, _) = server.accept().await;
    // It neither reads nor closes.
    let vanished = Instant::now();
    let (_, at) = server.attempt().await;
    // 25 s of silence, 10 s for the pong, the time for closing, the back-off.
    assert!(at - vanished < Duration::from_secs(60), "{:?}", at - vanished);
    drop(peer);
}
