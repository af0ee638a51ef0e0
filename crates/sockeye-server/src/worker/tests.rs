//! What workers do together.
mod fan_out;

use super::{lanes::Pressure, *};

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use sockeye::{Client, CloseCode, OriginPolicy, WebSocket};
use sockeye_hub::{
    Action, ChannelName, Done, Draft, Failure, FailureCode, HistoryPage, Kind, Payload, Request, SessionId,
};
use tokio::{
    io::{DuplexStream, duplex},
    runtime::{Builder, LocalOptions},
    time::{Instant, timeout},
};

use crate::{
    Demo, Site,
    auth::UserId,
    dialect::{Credentials, ErrorCode, Farewell, Problem},
    permit::{Anybody, Identity, Principal},
};

/// Three workers in one thread, where nothing hides behind another's speed.
fn with_workers(permit: impl Permit + 'static, test: impl AsyncFnOnce(Vec<Worker>)) {
    with_plans(permit, async |plans| test(plans.into_iter().map(Plan::begin).collect()).await);
}

fn with_plans(permit: impl Permit + 'static, test: impl AsyncFnOnce(Vec<Plan>)) {
    let mut options = ServerOptions::new(Site::Server);
    options.workers = 3;
    let common = Common {
        demos: Arc::new(Demos::new(&options, &OriginPolicy::any()).unwrap()),
        hub: Arc::default(),
        sockjs: Arc::default(),
        tls: None,
        stop: CancellationToken::new(),
    };
    let runtime =
        Builder::new_current_thread().enable_all().start_paused(true).build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        test(plan(&options, &common, Arc::new(permit)).unwrap()).await;
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
    with_workers(Anybody, async |workers| {
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
    with_workers(Anybody, async |workers| {
        let mut clients = Vec::new();
        for worker in &workers {
            let mut client = connect(worker).await;
            let hello = ask(&mut client, r#"{"id":1,"connect":{}}"#).await;
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

/// More than the queue to another worker holds: sessions are not read until that has taken enough of it, and then they are.
#[test]
fn publishers_feel_the_pressure_and_are_let_go() {
    with_workers(Anybody, async |workers| {
        let local = &workers[0].local;
        let mut ann = connect(&workers[0]).await;
        ask(&mut ann, r#"{"id":1,"connect":{}}"#).await;
        let home = |name: &str| local.look(|hub| hub.home_of(&name.parse().unwrap()));
        let elsewhere = (0..1_000).map(|number| format!("a{number}")).find(|name| home(name) == worker_id(1)).unwrap();
        local.turn(|hub, crew, now| {
            let session = hub.open_hidden(Principal::Server);
            for _ in 0..11_000 {
                hub.request(session, None, publish(&elsewhere, "1"), now, crew);
            }
        });
        assert!(local.pressure().on_sessions && !local.pressure().on_asks);
        let subscribed = format!(r#"{{"id":2,"subscribe":"{elsewhere}"}}"#);
        assert!(ask(&mut ann, &subscribed).await["ok"]["offset"].as_u64().unwrap() > 0);
        assert!(!local.pressure().on_sessions);
    });
}

/// Pressure that is off and on again before the session has run must not leave it out when it is off for good.
#[test]
fn pressure_that_comes_back_at_once_forgets_nobody() {
    with_workers(Anybody, async |workers| {
        let local = &workers[0].local;
        let mut ann = connect(&workers[0]).await;
        ask(&mut ann, r#"{"id":1,"connect":{}}"#).await;
        let on = Pressure { on_asks: false, on_sessions: true };
        local.press(on);
        ann.send(r#"{"id":2,"ping":{}}"#).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        local.press(Pressure::default());
        local.press(on);
        tokio::time::sleep(Duration::from_millis(1)).await;
        local.press(Pressure::default());
        let heard = timeout(Duration::from_secs(5), hear(&mut ann)).await;
        assert_eq!(heard.expect("it is read again"), json!({"id": 2, "ok": {}}));
    });
}

type Socket = WebSocket<DuplexStream>;

async fn connect(worker: &Worker) -> Socket {
    enter(worker, Service::Hub).await
}

async fn enter(worker: &Worker, service: Service) -> Socket {
    let (near, far) = duplex(64 * 1024);
    let client = Client::new("ws://a/ws").unwrap();
    let seat = worker.seat(service).await.unwrap();
    let (client, server) = tokio::join!(client.connect_over(near), sockeye::accept(far));
    worker.host(seat, server.unwrap(), ());
    client.unwrap()
}

async fn hear(client: &mut Socket) -> Value {
    serde_json::from_str(client.recv().await.unwrap().expect("it is open").as_text().unwrap()).unwrap()
}

async fn ask(client: &mut Socket, command: &str) -> Value {
    client.send(command).await.unwrap();
    hear(client).await
}

/// Tokens that say whose they are and for how many seconds: `ann 120`. Only the server may do anything once it is `closed`.
#[derive(Clone, Default)]
struct Tokens {
    closed: Arc<AtomicBool>,
}

impl Permit for Tokens {
    fn identify(&self, shown: &Credentials) -> Result<Identity, Problem> {
        let token = shown.token.as_deref().and_then(|token| token.split_once(' '));
        let (user, seconds) = token.ok_or_else(|| Problem::new(ErrorCode::Unauthorized, "no token"))?;
        let expires_in = Some(Duration::from_secs(seconds.parse().unwrap()));
        Ok(Identity { principal: Principal::User(UserId::new(user).unwrap()), expires_in })
    }

    fn authorize(&self, who: &Principal, _: Action, _: &ChannelName) -> Result<(), Failure> {
        if self.closed.load(Ordering::Relaxed) && *who != Principal::Server {
            return Err(Failure::new(FailureCode::Forbidden, "closed"));
        }
        Ok(())
    }

    fn may_call(&self, _: &Principal) -> Result<(), Problem> {
        Err(Problem::new(ErrorCode::Forbidden, "nobody may call"))
    }

    fn rules(&self) -> u64 {
        self.closed.load(Ordering::Relaxed).into()
    }
}

#[test]
fn tokens_run_out() {
    with_workers(Tokens::default(), async |workers| {
        let mut ann = connect(&workers[0]).await;
        let start = Instant::now();
        assert_eq!(ask(&mut ann, r#"{"id":1,"connect":{}}"#).await["error"]["code"], "unauthorized");
        let hello = ask(&mut ann, r#"{"id":2,"connect":{"token":"ann 120"}}"#).await;
        assert_eq!(hello["ok"]["user"], "ann");
        assert_eq!(ask(&mut ann, r#"{"id":3,"call":"x"}"#).await["error"]["code"], "forbidden");
        assert_eq!(hear(&mut ann).await, json!({"expiring": {"in_ms": 60_000}}));
        assert_eq!(start.elapsed().as_secs(), 60);
        let stolen = ask(&mut ann, r#"{"id":4,"refresh":{"token":"bob 1000"}}"#).await;
        assert_eq!(stolen["error"]["code"], "forbidden");
        let newer = ask(&mut ann, r#"{"id":5,"refresh":{"token":"ann 1000"}}"#).await;
        assert_eq!(newer["ok"], json!({"expires_in_ms": 1_000_000}));
        assert_eq!(hear(&mut ann).await, json!({"expiring": {"in_ms": 60_000}}));
        assert_eq!(start.elapsed().as_secs(), 1_000, "the first one does not count any more");
        assert_eq!(hear(&mut ann).await["bye"]["code"], 4100);
        assert!(ann.recv().await.unwrap().is_none());
        assert_eq!((ann.close_outcome().unwrap().code(), start.elapsed().as_secs()), (4100, 1_060));
        // One who leaves before leaves nothing.
        let mut bob = connect(&workers[0]).await;
        ask(&mut bob, r#"{"id":1,"connect":{"token":"bob 5"}}"#).await;
        assert!(bob.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
        assert_eq!(workers[0].local.look(|hub| hub.stats().sessions), 0);
        assert!(!workers[0].local.has_expiries());
    });
}

/// G3: what was allowed and is not any more ends with the next delivery.
#[test]
fn permission_is_asked_at_delivery() {
    let tokens = Tokens::default();
    let closed = Arc::clone(&tokens.closed);
    with_workers(tokens, async |workers| {
        let mut ann = connect(&workers[1]).await;
        ask(&mut ann, r#"{"id":1,"connect":{"token":"ann 3600"}}"#).await;
        assert!(ask(&mut ann, r#"{"id":2,"subscribe":"a"}"#).await["ok"].is_object());
        let heard = ask(&mut ann, r#"{"publish":"a","data":1}"#).await;
        assert_eq!((&heard["data"], &heard["from"]["user"]), (&json!(1), &json!("ann")));
        closed.store(true, Ordering::Relaxed);
        assert_eq!(ask(&mut ann, r#"{"id":3,"publish":"a","data":2}"#).await["error"]["code"], "forbidden");
        assert!(workers[0].local.ask(Principal::Server, publish("a", "3")).await.is_ok());
        assert_eq!(hear(&mut ann).await, json!({"on": "a", "end": {"code": "forbidden", "retry": false}}));
        let refused = ask(&mut ann, r#"{"id":4,"unsubscribe":"a"}"#).await;
        assert_eq!(refused["error"]["code"], "not_subscribed", "and nothing of it has come");
    });
}

const CHAT: Service = Service::Demo(Demo::Chat);
const CURSORS: Service = Service::Demo(Demo::Cursors);

/// Says this in the chat, and waits until it is the newest line of the state.
async fn say(client: &mut Socket, text: &str) {
    client.send(json!({"user": "ann", "text": text}).to_string()).await.unwrap();
    hear_line(client, text).await;
}

/// The state whose newest line is this.
async fn hear_line(client: &mut Socket, text: &str) -> Value {
    loop {
        let state = hear(client).await;
        if state["msg"].as_array().unwrap().last().is_some_and(|line| line["text"] == text) {
            return state;
        }
    }
}

/// Which worker will be the home of a channel.
fn home_of(plans: &[Plan], channel: &str) -> usize {
    let options = plans[0].hub.options.clone();
    let hub = Hub::<()>::new(worker_id(0), worker_id(plans.len()).0, Arc::default(), options, Box::new(|| 1));
    hub.home_of(&channel.parse().unwrap()).0.into()
}

async fn sessions(worker: &Worker) -> Vec<usize> {
    let mut sessions = worker.ask_everybody(|local| local.look(|hub| hub.stats().sessions)).await;
    sessions.sort_unstable();
    sessions
}

/// Whoever is where: all have the lines in the order of the channel, and what the channel keeps is the state of those who come
/// when nobody has been there for a while.
#[test]
fn chat_history_is_channel_history() {
    with_workers(Anybody, async |workers| {
        let mut clients = Vec::new();
        for worker in [&workers[0], &workers[1], &workers[2], &workers[0]] {
            let mut client = enter(worker, CHAT).await;
            assert_eq!(hear(&mut client).await, json!({"msg": []}));
            clients.push(client);
        }
        assert_eq!(sessions(&workers[0]).await, [1, 1, 1], "one for all members of a worker");
        // All at once, so that no order is given but the channel's.
        for round in 0..30 {
            for (number, client) in clients.iter_mut().enumerate() {
                client.feed(json!({"user": "ann", "text": format!("{round} of {number}")}).to_string()).await.unwrap();
            }
        }
        for client in &mut clients {
            client.flush().await.unwrap();
        }
        let mut states = Vec::new();
        for client in &mut clients {
            let mut state = Value::Null;
            while state["msg"].as_array().is_none_or(|lines| lines.len() < 100) {
                state = hear(client).await;
            }
            states.push(state);
        }
        // What is said last everybody hears last.
        say(&mut clients[1], "the end").await;
        for (number, state) in states.iter_mut().enumerate().filter(|(number, _)| *number != 1) {
            *state = hear_line(&mut clients[number], "the end").await;
        }
        let page = HistoryPage { since: None, limit: 200, reverse: false };
        let history = Request::History("$demo:chat".parse().unwrap(), page);
        let Ok(Done::History { items, .. }) = workers[2].local.ask(Principal::Server, history.clone()).await else {
            panic!("the chat has a history")
        };
        let kept = items.iter().map(|item| serde_json::from_slice::<Value>(&item.payload.bytes).unwrap());
        let kept = json!({"msg": kept.collect::<Vec<_>>()});
        assert_eq!(kept["msg"].as_array().unwrap().len(), 100);
        assert_eq!((&states[0], &states[2], &states[3]), (&kept, &kept, &kept));
        // The other way round: what is published in the channel is said in the chat.
        let line = publish("$demo:chat", r#"{"user":"bob","text":"from elsewhere","time":1}"#);
        assert!(workers[1].local.ask(Principal::Server, line).await.is_ok());
        let newest = hear_line(&mut clients[0], "from elsewhere").await;
        for client in &mut clients {
            assert!(client.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
        }
        while sessions(&workers[0]).await != [0, 0, 0] {
            tokio::task::yield_now().await;
        }
        for worker in &workers {
            assert_eq!(hear(&mut enter(worker, CHAT).await).await, newest);
        }
        let refused = workers[0].local.ask(Principal::Anonymous, history).await;
        assert!(matches!(refused, Err(Failure { code: FailureCode::Forbidden, .. })), "it is nobody else's");
    });
}

/// What is said after somebody is in reaches them, wherever they are, to the last: who is gone.
#[test]
fn cursors_meet_across_workers() {
    with_workers(Anybody, async |workers| {
        let mut ann = enter(&workers[0], CURSORS).await;
        for other in [1, 2, 0] {
            let mut bob = enter(&workers[other], CURSORS).await;
            for x in 0..20 {
                bob.feed(json!({"x": x, "y": 1}).to_string()).await.unwrap();
            }
            bob.flush().await.unwrap();
            let mut sender = Value::Null;
            for x in 0..20 {
                let heard = hear(&mut ann).await;
                assert_eq!((&heard["x"], hear(&mut bob).await), (&json!(x), heard.clone()));
                sender = heard["sender"].clone();
            }
            ann.send(r#"{"x":7,"y":7}"#).await.unwrap();
            assert_eq!(hear(&mut bob).await, hear(&mut ann).await);
            bob.abort();
            assert_eq!(hear(&mut ann).await, json!({"sender": sender, "gone": true}));
        }
        let channel = workers[0].ask_everybody(|local| local.look(|hub| hub.channels("$demo:cursors", 1))).await;
        assert_eq!(channel.concat()[0].kept, 0, "nothing of it is kept");
    });
}

/// The members of a demo are clients like others: where too much waits for another worker they are not read, until it has
/// been taken.
#[test]
fn members_feel_the_pressure_and_are_let_go() {
    with_plans(Anybody, async |mut plans| {
        let worker = plans.remove(home_of(&plans, "$demo:chat")).begin();
        let mut ann = enter(&worker, CHAT).await;
        assert_eq!(hear(&mut ann).await, json!({"msg": []}));
        worker.local.turn(|hub, crew, now| {
            let session = hub.open_hidden(Principal::Server);
            let here = hub.home_of(&"$demo:chat".parse().unwrap());
            let mut names = (0..).map(|number| format!("a{number}"));
            let elsewhere = names.find(|name| hub.home_of(&name.parse().unwrap()) != here).unwrap();
            for _ in 0..11_000 {
                hub.request(session, None, publish(&elsewhere, "1"), now, crew);
            }
        });
        ann.send(r#"{"user":"ann","text":"hi"}"#).await.unwrap();
        assert!(timeout(Duration::from_secs(1), hear(&mut ann)).await.is_err(), "nobody has taken anything");
        drop(plans);
        hear_line(&mut ann, "hi").await;
    });
}

/// A worker that does not get its place in the channel lets nobody in who would miss something.
#[test]
fn no_place_in_the_channel_is_no_place_in_the_demo() {
    with_plans(Anybody, async |mut plans| {
        let alone = plans.remove((home_of(&plans, "$demo:chat") + 1) % 3).begin();
        let start = Instant::now();
        let refused = alone.seat(CHAT).await.err().expect("its home never answers");
        assert_eq!((refused.status().as_u16(), start.elapsed().as_secs()), (503, 5));
        assert_eq!(alone.local.look(|hub| hub.stats().sessions), 0);
    });
}
