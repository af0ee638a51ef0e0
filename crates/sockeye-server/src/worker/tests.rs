//! What workers do together.
use super::*;

use bytes::Bytes;
use serde_json::Value;
use sockeye::{Client, OriginPolicy};
use sockeye_hub::{Done, Draft, HistoryPage, Kind, Payload, Request, SessionId};
use tokio::{io::duplex, task::LocalSet};

use crate::{Site, dialect::Farewell, permit::Principal};

/// Three workers in one thread, where nothing hides behind another's speed.
fn with_workers(test: impl AsyncFnOnce(Vec<Worker>)) {
    let mut options = ServerOptions::new(Site::Server);
    options.workers = 3;
    let common = Common {
        demos: Arc::new(Demos::new(&options, &OriginPolicy::any()).unwrap()),
        hub: Arc::default(),
        tls: None,
        stop: CancellationToken::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let _within = runtime.enter();
    LocalSet::new().block_on(&runtime, async {
        test(plan(&options, &common).unwrap().into_iter().map(Plan::begin).collect()).await;
    });
}

fn publish(channel: &str, json: &'static str) -> Request {
    let payload = Payload { kind: Kind::Json, bytes: Bytes::from_static(json.as_bytes()) };
    Request::Publish(channel.parse().unwrap(), Draft::new(payload))
}

/// What the server's own interface does: it publishes and reads wherever a channel is at home, lists the channels of all
/// workers, and leaves no session behind.
#[test]
fn asking_on_the_servers_behalf() {
    with_workers(async |workers| {
        for (number, channel) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
            let worker = &workers[number % 3];
            for json in ["1", "2"] {
                let done = worker.local.ask(Principal::Server, publish(channel, json)).await;
                assert!(matches!(done, Ok(Done::Published(Some(_)))), "{done:?}");
            }
            let page = HistoryPage { since: None, limit: 10, reverse: false };
            let history = Request::History(channel.parse().unwrap(), page);
            let Ok(Done::History { items, .. }) = worker.local.ask(Principal::Anonymous, history).await else {
                panic!("{channel} has a history")
            };
            assert!(items.len() == 2 && items[0].from.is_none());
        }
        let channels = workers[0].ask_everybody(|local| local.look(|hub| hub.channels("", 10))).await;
        assert_eq!(channels.iter().flatten().count(), 6);
        let sessions = workers[0].ask_everybody(|local| local.look(|hub| hub.stats().sessions)).await;
        assert_eq!(sessions, [0, 0, 0]);
        let refused = workers[0].local.ask(Principal::Anonymous, publish("$demo", "1")).await;
        assert!(refused.is_err());
    });
}

/// By the name that others see, wherever it is connected; nobody else notices.
#[test]
fn sending_somebody_away() {
    with_workers(async |workers| {
        let mut clients = Vec::new();
        for worker in &workers {
            let (near, far) = duplex(64 * 1024);
            let client = Client::new("ws://a/ws").unwrap();
            let (client, server) = tokio::join!(client.connect_over(near), sockeye::accept(far));
            worker.host(Seat::Hub, server.unwrap(), ());
            let mut client = client.unwrap();
            client.send(r#"{"id":1,"connect":{}}"#).await.unwrap();
            let hello: Value = serde_json::from_str(client.recv().await.unwrap().unwrap().as_text().unwrap()).unwrap();
            clients.push((client, hello["ok"]["session"].as_str().unwrap().parse::<SessionId>().unwrap()));
        }
        let (mut meant, id) = clients.remove(1);
        let dismiss = move |local: &Local| local.dismiss(Farewell::Forbidden, |session, _| session == id);
        assert_eq!(workers[0].ask_everybody(dismiss).await, [0, 1, 0]);
        assert!(meant.recv().await.unwrap().unwrap().as_text().unwrap().contains(r#""code":4003"#));
        assert!(meant.recv().await.unwrap().is_none());
        assert_eq!(meant.close_outcome().unwrap().code(), 4003);
        for (client, _) in &mut clients {
            client.send(r#"{"id":2,"ping":{}}"#).await.unwrap();
            assert_eq!(client.recv().await.unwrap().unwrap().as_text(), Some(r#"{"id":2,"ok":{}}"#));
        }
        let sessions = workers[0].ask_everybody(|local| local.look(|hub| hub.stats().sessions)).await;
        assert_eq!(sessions, [1, 0, 1]);
    });
}
