//! What goes to many goes past the queues, as long as sockets take it: nobody must see a difference.
use std::{future::poll_fn, task::Poll};

use socket2::SockRef;
use sockeye::{Event, WebSocket};
use sockeye_hub::SessionKey;
use tokio::{
    net::{TcpListener, TcpStream},
    task::coop,
};

use super::*;

/// A frame of it is shared, and the sockets of these tests have room for few of them.
const FILLER: usize = 6 * 1024;
const BUFFER: usize = 8 * 1024;

/// One worker, whose clients come over TCP; and a session to publish with.
fn with_worker(test: impl AsyncFnOnce(Worker, SessionKey)) {
    with_worker_of(Some(16), test);
}

fn with_worker_of(io_uring: Option<usize>, test: impl AsyncFnOnce(Worker, SessionKey)) {
    let mut options = ServerOptions::new(Site::Server);
    (options.workers, options.io_uring) = (1, io_uring);
    let common = Common {
        demos: Arc::new(Demos::new(&options, &OriginPolicy::any()).unwrap()),
        hub: Arc::default(),
        sockjs: Arc::default(),
        tls: None,
        stop: CancellationToken::new(),
    };
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let worker = plan(&options, &common, Arc::new(Anybody)).unwrap().remove(0).begin();
        let publisher = worker.local.turn(|hub, _, _| hub.open_hidden(Principal::Server));
        timeout(Duration::from_secs(60), test(worker, publisher)).await.expect("in time");
    });
}

/// Subscribed, and told of one publication already, numbered 0.
async fn subscriber(worker: &Worker, publisher: SessionKey) -> WebSocket<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    SockRef::from(&listener).set_recv_buffer_size(BUFFER).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    let (near, (far, _)) = (near.unwrap(), far.unwrap());
    SockRef::from(&near).set_recv_buffer_size(BUFFER).unwrap();
    SockRef::from(&far).set_send_buffer_size(BUFFER).unwrap();
    let client = Client::new("ws://a/ws").unwrap();
    let seat = worker.seat(Service::Hub).await.unwrap();
    let (client, server) = tokio::join!(client.connect_over(near), sockeye::accept(far));
    worker.host(seat, server.unwrap(), ());
    let mut client = client.unwrap();
    client.send(r#"{"id":1,"connect":{}}"#).await.unwrap();
    client.send(r#"{"id":2,"subscribe":"a"}"#).await.unwrap();
    for id in [1, 2] {
        assert_eq!(hear(&mut client).await["id"], id);
    }
    publish_all(worker, publisher, 0..1);
    assert_eq!(hear(&mut client).await["data"][0], 0);
    client
}

async fn subscribers(count: usize, worker: &Worker, publisher: SessionKey) -> Vec<WebSocket<TcpStream>> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(subscriber(worker, publisher).await);
        for earlier in clients.iter_mut().rev().skip(1) {
            assert_eq!(hear(earlier).await["data"][0], 0);
        }
    }
    clients
}

/// In one turn.
fn publish_all(worker: &Worker, publisher: SessionKey, numbers: std::ops::Range<usize>) {
    worker.local.turn(|hub, crew, now| {
        for number in numbers {
            let json = format!("[{number},\"{}\"]", "x".repeat(FILLER));
            let payload = Payload { kind: Kind::Json, bytes: Bytes::from(json) };
            let request = Request::Publish("a".parse().unwrap(), Draft::new(payload));
            hub.request(publisher, None, request, now, crew);
        }
    });
}

async fn hear(client: &mut WebSocket<TcpStream>) -> Value {
    let heard = client.recv().await.unwrap().expect("it is open");
    serde_json::from_str(heard.as_text().unwrap()).unwrap()
}

/// Sockets that take a part of a frame, or nothing, of one publication in a turn and of several; and a pong that finds its way
/// between them.
#[test]
fn whoever_reads_late_gets_every_frame_whole_and_in_order() {
    late_readers(3, Some(4));
}

/// The same, where they are so many that they are written to in one system call; and where that is not wanted.
#[test]
fn whoever_reads_late_of_many_does_so_too() {
    late_readers(20, Some(16));
    late_readers(20, None);
}

fn late_readers(count: usize, io_uring: Option<usize>) {
    with_worker_of(io_uring, async |worker, publisher| {
        let mut clients = subscribers(count, &worker, publisher).await;
        let mut next = 1;
        for together in [1, 1, 3, 1, 2].into_iter().cycle().take(20) {
            publish_all(&worker, publisher, next..next + together);
            next += together;
            if together == 3 {
                clients[1].ping("there?".try_into().unwrap()).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
        let mut pongs = 0;
        for expected in 1..next {
            for client in &mut clients {
                let heard = loop {
                    match client.recv_event().await.unwrap().expect("it is open") {
                        Event::Message(message) => break message,
                        Event::Pong(_) => pongs += 1,
                        other => panic!("{other:?}"),
                    }
                };
                let heard: Value = serde_json::from_str(heard.as_text().unwrap()).unwrap();
                assert_eq!(heard["data"][0], expected);
                assert_eq!(heard["data"][1].as_str().unwrap().len(), FILLER);
            }
        }
        assert!(pongs > 0);
    });
}

/// Sockets that fail while many are written to are nobody else's affair.
#[test]
fn who_leaves_takes_nobody_along() {
    with_worker(async |worker, publisher| {
        let mut clients = subscribers(30, &worker, publisher).await;
        let mut leaving = clients.split_off(20).into_iter();
        for number in 1..30 {
            // Without a word, and with something unread sometimes, which resets the connection.
            drop(leaving.next());
            publish_all(&worker, publisher, number..number + 1);
            for client in &mut clients {
                assert_eq!(hear(client).await["data"][0], number);
            }
        }
    });
}

/// What was said before the end comes before it.
#[test]
fn the_end_comes_behind_what_was_held() {
    with_worker(async |worker, publisher| {
        let mut client = subscriber(&worker, publisher).await;
        for number in 1..6 {
            publish_all(&worker, publisher, number..number + 1);
        }
        assert_eq!(worker.local.dismiss(Farewell::Forbidden, |_, _| true), 1);
        for number in 1..6 {
            assert_eq!(hear(&mut client).await["data"][0], number);
        }
        assert_eq!(hear(&mut client).await["bye"]["code"], 4003);
        assert!(client.recv().await.unwrap().is_none());
        assert_eq!(client.close_outcome().unwrap().code(), 4003);
    });
}

/// Told a publication and then something else in one turn, or the other way round, one hears them in that order; and a
/// publication by itself again after that.
#[test]
fn what_a_turn_says_keeps_its_order() {
    with_worker(async |worker, publisher| {
        let mut client = subscriber(&worker, publisher).await;
        let key = worker.local.turn(|hub, crew, _| {
            let keys = crew.keys();
            keys.into_iter().find(|key| hub.session_id(*key).is_some()).expect("the subscriber")
        });
        let question = |tag| (tag, Request::Presence("a".parse().unwrap(), 1));
        for round in 1..4 {
            worker.local.turn(|hub, crew, now| {
                let json = |number: usize| Payload { kind: Kind::Json, bytes: Bytes::from(format!("[{number}]")) };
                for (tag, request) in [question(10), question(11)] {
                    let draft = Draft::new(json(round));
                    hub.request(publisher, None, Request::Publish("a".parse().unwrap(), draft), now, crew);
                    hub.request(key, Some(tag), request, now, crew);
                }
            });
            for tag in [10, 11] {
                assert_eq!(hear(&mut client).await["data"][0], round);
                assert_eq!(hear(&mut client).await["id"], tag);
            }
            publish_all(&worker, publisher, 99..100);
            assert_eq!(hear(&mut client).await["data"][0], 99);
        }
    });
}

/// A session that ends in a turn in which something is held for it, and whose place another one takes.
#[test]
fn who_comes_after_gets_nothing_of_who_was_before() {
    with_worker(async |worker, publisher| {
        for _ in 0..3 {
            let mut client = subscriber(&worker, publisher).await;
            publish_all(&worker, publisher, 1..2);
            worker.local.turn(|hub, crew, now| {
                let json = Payload { kind: Kind::Json, bytes: Bytes::from_static(b"[2]") };
                hub.request(publisher, None, Request::Publish("a".parse().unwrap(), Draft::new(json)), now, crew);
                crew.end_those(|| Farewell::Forbidden, |_| true);
            });
            assert_eq!(hear(&mut client).await["data"][0], 1);
            assert_eq!(hear(&mut client).await["data"][0], 2);
            assert_eq!(hear(&mut client).await["bye"]["code"], 4003);
            assert!(client.recv().await.unwrap().is_none());
        }
    });
}

/// Who is told much by a turn is written to in the middle of it, and a write that was not even tried would look like a client
/// that reads nothing.
#[test]
fn a_turn_is_not_cut_short_by_the_budget_of_its_task() {
    with_worker(async |worker, _| {
        poll_fn(|cx| {
            while let Poll::Ready(left) = coop::poll_proceed(cx) {
                left.made_progress();
            }
            assert!(!coop::has_budget_remaining());
            worker.local.turn(|_, _, _| assert!(coop::has_budget_remaining()));
            Poll::Ready(())
        })
        .await;
    });
}
