//! The client that comes back by itself: what it comes back from, when, and what it never does. K and L of the list of
//! hostile inputs, in paused time over pipes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{CLOSE, FIN, KIB, TEXT, close_payload, masked, plain, read_frame, read_head, switching, within};
use futures_util::StreamExt;
use sockeye::{
    Backoff, Client, CloseCode, Config, Error, Message, Party, ReadyState, ReconnectingWebSocket, SendError,
    reconnect::{Disconnect, Event, Retry},
};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    net::TcpListener,
    sync::{Notify, mpsc},
    time::{Instant, advance, sleep, timeout},
};

const HOUR: u64 = 60 * 60;

/// What the server does about an attempt.
#[derive(Clone)]
enum Answer {
    /// Opens, with these frames right behind.
    Open(Vec<u8>),
    /// Answers with this instead.
    Instead(String),
    /// Says nothing, for ever.
    Hang,
}

/// A client, its server, and when it dialled, with the number of failures it said it had.
struct World {
    socket: ReconnectingWebSocket<DuplexStream>,
    /// The raw peers of the connections that were opened.
    peers: mpsc::UnboundedReceiver<DuplexStream>,
    dialled: Arc<Mutex<Vec<(Instant, u32)>>>,
}

impl World {
    /// The n-th attempt, from zero, is answered as `answer` says.
    fn new(answer: impl Fn(usize) -> Answer + Send + 'static) -> Self {
        let (opened, peers) = mpsc::unbounded_channel();
        let dialled = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&dialled);
        let socket = ReconnectingWebSocket::connect_with(move |failures| {
            let answer = answer(log.lock().unwrap().len());
            log.lock().unwrap().push((Instant::now(), failures));
            let opened = opened.clone();
            async move {
                let (io, mut peer) = duplex(4 * KIB);
                let answering = async {
                    let head = read_head(&mut peer).await;
                    match answer {
                        Answer::Open(frames) => {
                            let answer = [switching(&head, "").as_bytes(), &frames].concat();
                            peer.write_all(&answer).await.unwrap();
                            let _ = opened.send(peer);
                        }
                        Answer::Instead(text) => peer.write_all(text.as_bytes()).await.unwrap(),
                        Answer::Hang => std::future::pending().await,
                    }
                };
                let limits = Config::with(|config| config.limits.max_write_queue = KIB);
                let connecting = Client::new("ws://a/")?.config(limits).connect_over(io);
                tokio::join!(connecting, answering).0
            }
        });
        Self { socket, peers, dialled }
    }

    fn opening() -> Self {
        Self::new(|_| Answer::Open(Vec::new()))
    }

    fn refusing(status: u16, headers: &str) -> Self {
        let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n{headers}\r\n");
        Self::new(move |_| Answer::Instead(answer.clone()))
    }

    fn closing(code: u16) -> Self {
        let close = plain(FIN | CLOSE, &close_payload(code, "why"));
        Self::new(move |_| Answer::Open(close.clone()))
    }

    async fn next(&mut self) -> Option<Event> {
        within(HOUR, self.socket.recv()).await.unwrap()
    }

    async fn connected(&mut self) -> DuplexStream {
        let event = self.next().await.unwrap();
        assert!(matches!(event, Event::Connected), "{event:?}");
        self.peers.recv().await.unwrap()
    }

    /// Why and for how long, at the next disconnect.
    async fn disconnected(&mut self) -> (Disconnect, Duration) {
        loop {
            if let Event::Disconnected { why, retry_in, .. } = self.next().await.unwrap() {
                return (why, retry_in);
            }
        }
    }

    fn attempts(&self) -> usize {
        self.dialled.lock().unwrap().len()
    }
}

fn in_secs(time: Duration, from: u64, to: u64) -> bool {
    (Duration::from_secs(from)..=Duration::from_secs(to)).contains(&time)
}

fn assert_send<T: Send>(_: &T) {}

#[tokio::test(start_paused = true)]
async fn each_connection_is_told_of_and_nothing_is_sent_twice() {
    let mut world = World::opening();
    assert_send(&world.socket);
    assert_send(&world.socket.recv());
    assert_send(&world.socket.send("x"));
    let mut peer = world.connected().await;
    world.socket.send("first").await.unwrap();
    peer.write_all(&plain(FIN | TEXT, b"hello")).await.unwrap();
    assert!(matches!(world.next().await, Some(Event::Message(message)) if message.as_text() == Some("hello")));
    world.socket.try_send("queued and lost").unwrap();
    drop(peer);

    let (why, retry_in) = world.disconnected().await;
    assert!(matches!(&why, Disconnect::Broken(error) if error.is_abnormal()), "{why}");
    assert!(world.socket.socket().is_none());
    let lost_at = Instant::now();
    let mut peer = world.connected().await;
    // The virtual clock counts milliseconds.
    assert!(lost_at.elapsed() >= retry_in && lost_at.elapsed() <= retry_in + Duration::from_millis(1));
    world.socket.send("second").await.unwrap();
    assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | TEXT, b"second".to_vec()));
    assert_eq!(world.socket.socket().unwrap().ready_state(), ReadyState::Open);
}

/// A message is taken by a connection or given back.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_given_back() {
    let mut world = World::opening();
    let given_back = |result: Result<(), SendError<Message>>| match result {
        Err(SendError::Closed(message)) => message.as_text().unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(given_back(world.socket.send("before").await), "before");
    assert_eq!(given_back(world.socket.try_send("before")), "before");
    assert_eq!(world.attempts(), 0, "sending does not connect");

    let peer = world.connected().await;
    let large = "x".repeat(2 * KIB);
    world.socket.try_send(large.as_str()).unwrap();
    assert!(matches!(world.socket.try_send(&large), Err(SendError::Full(_))));
    // More than the queue: it waits for what is before it.
    within(60, world.socket.send(&large)).await.unwrap();
    drop(peer);
    // The first may still be taken by a connection that does not know yet.
    let _ = world.socket.send("lost").await;
    assert_eq!(given_back(world.socket.send("after").await), "after");
    world.disconnected().await;
    assert_eq!(given_back(world.socket.send("between").await), "between");
}

/// A failure that a send met first is still told, with its reason.
#[tokio::test(start_paused = true)]
async fn recv_tells_why_sending_failed() {
    let mut world = World::opening();
    let peer = world.connected().await;
    let large = "x".repeat(64 * KIB);
    // Taken, and nobody reads it: 10 s.
    within(60, world.socket.send(&large)).await.unwrap();
    assert!(matches!(world.socket.send("next").await, Err(SendError::Closed(_))));
    let (why, _) = world.disconnected().await;
    assert_eq!(why.error().unwrap().code(), "write_timeout", "{why}");
    drop(peer);
    drop(world.connected().await);
    assert!(world.disconnected().await.0.error().unwrap().is_abnormal());
}

/// K: "close/reconnect loop: the client's back-off must reach its cap (≤ 1 attempt / 20 s average after 10 failures, full
/// jitter)", though each connection opens and says something.
#[tokio::test(start_paused = true)]
async fn k_a_close_reconnect_loop_reaches_the_cap() {
    let welcome_and_close = [plain(FIN | TEXT, b"welcome"), plain(FIN | CLOSE, &close_payload(1011, "oops"))].concat();
    let mut world = World::new(move |_| Answer::Open(welcome_and_close.clone()));
    while world.attempts() < 411 {
        within(100 * HOUR, world.socket.recv()).await.unwrap().unwrap();
        // The server ends TCP as soon as it has said all.
        while world.peers.try_recv().is_ok() {}
    }
    let dialled = world.dialled.lock().unwrap();
    assert!(dialled.iter().enumerate().all(|(index, (_, failures))| index == *failures as usize));
    let after_ten: Vec<Duration> = dialled[10..].windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let mean = after_ten.iter().sum::<Duration>() / 400;
    // Uniform over 60 s: a mean of 30 s with a standard deviation of 0.9 s.
    assert!(in_secs(mean, 25, 35), "{mean:?}");
    assert!(after_ten.iter().all(|wait| *wait <= Duration::from_millis(60_010)));
    for quarter in 0..4 {
        let range = Duration::from_secs(quarter * 15)..Duration::from_secs(quarter * 15 + 15);
        let count = after_ten.iter().filter(|wait| range.contains(wait)).count();
        assert!((50..150).contains(&count), "{count} of 400 in {range:?}");
    }
}

/// L7: nobody is there; each window is twice the one before, up to the cap, and all of it is used.
#[tokio::test(start_paused = true)]
async fn l7_windows_double_while_nobody_is_there() {
    let mut longest = [Duration::ZERO; 8];
    for _ in 0..200 {
        let mut world = World::new(|_| Answer::Instead(String::new()));
        for (longest, window) in longest.iter_mut().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
            let (why, retry_in) = world.disconnected().await;
            assert!(matches!(why, Disconnect::Failed(error) if error.is_abnormal()));
            assert!(in_secs(retry_in, 0, window));
            *longest = retry_in.max(*longest);
        }
    }
    for (longest, window) in longest.iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert!(longest.as_secs_f64() > 0.9 * f64::from(window), "{longest:?} of {window} s");
    }
}

/// L2: a server that leaves everybody, or is overloaded, is not met by everybody at once.
#[tokio::test(start_paused = true)]
async fn l2_the_first_wait_is_spread_where_many_come_back() {
    let mut kinds: Vec<Box<dyn Fn() -> World>> = vec![Box::new(|| World::refusing(503, ""))];
    kinds.push(Box::new(|| World::refusing(429, "")));
    for code in [1001, 1012, 1013] {
        kinds.push(Box::new(move || World::closing(code)));
    }
    for kind in kinds {
        let mut waits = Vec::new();
        for _ in 0..200 {
            waits.push(kind().disconnected().await.1);
        }
        assert!(waits.iter().all(|wait| in_secs(*wait, 0, 5)));
        assert!(waits.iter().max().unwrap().as_secs_f64() > 4.5);
        assert!(waits.iter().min().unwrap().as_secs_f64() < 0.5);
    }
}

/// A connection resets the back-off once it was open for 30 s, and not before.
#[tokio::test(start_paused = true)]
async fn only_a_stable_connection_resets_the_backoff() {
    for (open_for, resets) in [(29, false), (30, true)] {
        let mut longest = Duration::ZERO;
        for _ in 0..40 {
            let mut world = World::new(|n| if n < 8 { Answer::Instead(String::new()) } else { Answer::Open(vec![]) });
            for _ in 0..8 {
                world.disconnected().await;
            }
            let peer = world.connected().await;
            advance(Duration::from_secs(open_for)).await;
            drop(peer);
            longest = world.disconnected().await.1.max(longest);
            world.connected().await;
            assert_eq!(world.dialled.lock().unwrap().last().unwrap().1, if resets { 1 } else { 9 });
        }
        assert_eq!(longest <= Duration::from_secs(1), resets, "{longest:?}");
    }
}

/// L3: "503 + Retry-After honoured", whatever the status, in both forms, with a spread on top and a bound.
#[tokio::test(start_paused = true)]
async fn l3_retry_after_is_honoured_and_bounded() {
    let date = "Date: Sat, 21 Nov 2026 07:00:00 GMT\r\nRetry-After: Sat, 21 Nov 2026 07:01:30 GMT\r\n";
    for (status, headers, from, to) in [
        (503, "Retry-After: 30\r\n", 30, 35),
        (429, "Retry-After: 120\r\n", 120, 125),
        (403, "Retry-After: 7\r\n", 7, 8),
        (302, "Retry-After: 7\r\n", 7, 8),
        (503, date, 90, 95),
        (503, "Retry-After: Sat, 21 Nov 2020 07:01:30 GMT\r\n", 0, 5),
        (503, "Retry-After: 86400\r\n", 600, 605),
        (503, "Retry-After: 99999999999999999999\r\n", 600, 605),
        (503, "Retry-After: when it pleases\r\n", 0, 5),
    ] {
        for _ in 0..5 {
            let mut world = World::refusing(status, headers);
            let (why, retry_in) = world.disconnected().await;
            assert_eq!(why.status().unwrap(), status);
            assert!(in_secs(retry_in, from, to), "{status} {headers}: {retry_in:?}");
            let start = Instant::now();
            world.disconnected().await;
            assert!(start.elapsed() >= retry_in);
        }
    }
}

/// A request that will be refused again is not repeated.
#[tokio::test(start_paused = true)]
async fn refusals_of_the_request_are_final() {
    for status in [400, 401, 403, 404, 405, 410, 426, 451] {
        let mut world = World::refusing(status, "");
        let error = within(HOUR, world.socket.recv()).await.unwrap_err();
        assert_eq!(error.response().unwrap().status(), status);
        assert!(world.next().await.is_none() && world.next().await.is_none());
        assert_eq!(world.attempts(), 1);
        assert!(world.socket.close_outcome().is_none() && world.socket.try_send("x").is_err());
    }
    for status in [200, 302, 408, 421, 425, 429, 500, 502, 503, 504] {
        let mut world = World::refusing(status, "");
        world.disconnected().await;
        world.disconnected().await;
        assert_eq!(world.attempts(), 2, "{status}");
    }
}

/// The program's own mistakes come as they do from `connect`.
#[tokio::test]
async fn mistakes_of_the_program_are_final() {
    let client = Client::new("ws://127.0.0.1:9/").unwrap().header("sec-websocket-key", "x");
    let error = within(60, ReconnectingWebSocket::new(client.clone()).recv()).await.unwrap_err();
    assert_eq!((error.code(), error.guilty()), ("reserved_header", Some(Party::Local)));
    assert_eq!(client.connect().await.unwrap_err().code(), error.clone().code());
}

/// "1000 indicates a normal closure, meaning that the purpose for which the connection was established has been fulfilled"
/// (RFC 6455 section 7.4.1). After any other it comes back.
#[tokio::test(start_paused = true)]
async fn a_normal_close_is_final_and_no_other() {
    let mut world = World::closing(1000);
    world.connected().await;
    assert!(world.next().await.is_none());
    let outcome = world.socket.close_outcome().unwrap();
    assert_eq!((outcome.code(), outcome.reason(), outcome.is_clean()), (1000, "why", true));
    for code in [1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999] {
        let mut world = World::closing(code);
        let (why, _) = world.disconnected().await;
        assert_eq!(why.close_code(), Some(code));
        assert_eq!(why.to_string(), format!("closed with {code} \"why\""));
        world.connected().await;
    }
    let mut world = World::new(|_| Answer::Open(plain(FIN | CLOSE, b"")));
    assert_eq!(world.disconnected().await.0.close_code(), Some(1005));
}

/// Pusher's ranges, as the documentation has them.
#[tokio::test(start_paused = true)]
async fn a_policy_decides() {
    for (code, from, to) in [(4100, 20, 21), (4200, 0, 1)] {
        let mut world = World::closing(code);
        world.socket = world.socket.policy(|why| match why.close_code() {
            Some(4000..=4099) => Retry::Never,
            Some(4100..=4199) => Retry::AtLeast(Duration::from_secs(20)),
            _ => why.retry(),
        });
        assert!(in_secs(world.disconnected().await.1, from, to));
    }
    let mut world = World::closing(4001);
    world.socket = world.socket.policy(|_| Retry::Never);
    world.connected().await;
    assert!(world.next().await.is_none());
    assert_eq!(world.socket.close_outcome().unwrap().code(), 4001);
    // What is not a close ends with its error.
    let mut world = World::opening();
    world.socket = world.socket.policy(|_| Retry::Never);
    drop(world.connected().await);
    assert!(within(60, world.socket.recv()).await.unwrap_err().is_abnormal());
    assert!(world.next().await.is_none());
}

/// Dropped at any await, `recv` goes on where it was: no second attempt, no longer wait, no lost message.
#[tokio::test(start_paused = true)]
async fn recv_is_cancel_safe() {
    let slice = Duration::from_millis(7);
    let mut world = World::new(|n| if n == 0 { Answer::Hang } else { Answer::Open(plain(FIN | TEXT, b"one")) });
    let start = Instant::now();
    let mut events = Vec::new();
    while events.len() < 3 {
        if let Ok(event) = timeout(slice, world.socket.recv()).await {
            events.push((event.unwrap().unwrap(), start.elapsed()));
        }
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    let [(Event::Disconnected { why, retry_in, .. }, failed), (Event::Connected, opened), (Event::Message(message), _)] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert!(matches!(why, Disconnect::Failed(error) if error.is_timeout()));
    // The time for an attempt, however often it was asked; then the wait.
    assert!((30_000..30_020).contains(&failed.as_millis()), "{failed:?}");
    assert!(*opened >= *failed + *retry_in && *opened <= *failed + *retry_in + 2 * slice, "{opened:?}");
    assert_eq!(message.as_text(), Some("one"));
    assert_eq!(world.attempts(), 2);
}

/// An attempt that hangs somewhere in the program's own code is given up as well.
#[tokio::test(start_paused = true)]
async fn an_attempt_has_a_time_limit() {
    let mut socket = ReconnectingWebSocket::<DuplexStream>::connect_with(|_| std::future::pending());
    let start = Instant::now();
    let event = within(60, socket.recv()).await.unwrap().unwrap();
    assert!(matches!(event, Event::Disconnected { why: Disconnect::Failed(error), .. } if error.is_timeout()));
    assert_eq!(start.elapsed().as_secs(), 30);
}

/// Whatever it is doing, `close` is the end.
#[tokio::test(start_paused = true)]
async fn close_is_for_good() {
    let closed = |world: &mut World| {
        assert!(world.socket.socket().is_none());
        assert!(world.socket.try_send("x").is_err());
    };
    // Never begun; waiting.
    let mut world = World::opening();
    assert!(world.socket.close(CloseCode::NORMAL, "").await.unwrap().is_none());
    assert!(world.next().await.is_none());
    closed(&mut world);
    assert_eq!(world.attempts(), 0);
    let mut world = World::refusing(503, "");
    world.disconnected().await;
    assert!(world.socket.close(CloseCode::NORMAL, "").await.unwrap().is_none());
    sleep(Duration::from_secs(HOUR)).await;
    assert!(world.next().await.is_none());
    assert_eq!(world.attempts(), 1);
    // Dialling.
    let mut world = World::new(|_| Answer::Hang);
    assert!(timeout(Duration::from_secs(1), world.socket.recv()).await.is_err());
    assert!(world.socket.close(CloseCode::NORMAL, "").await.unwrap().is_none());
    assert!(world.next().await.is_none());
    // Open: a closing handshake, and messages that were on their way, if they are asked for.
    let mut world = World::opening();
    let mut peer = world.connected().await;
    world.socket.start_close(CloseCode::GOING_AWAY, "bye");
    assert!(matches!(world.socket.try_send("late"), Err(SendError::Closed(_))));
    assert_eq!(read_frame_of(&mut world, &mut peer).await, (FIN | CLOSE, close_payload(1001, "bye")));
    peer.write_all(&[plain(FIN | TEXT, b"last"), plain(FIN | CLOSE, &close_payload(1001, "bye"))].concat())
        .await
        .unwrap();
    drop(peer);
    assert!(matches!(world.next().await, Some(Event::Message(message)) if message.as_text() == Some("last")));
    let outcome = within(60, world.socket.close(CloseCode::NORMAL, "")).await.unwrap().unwrap();
    assert_eq!((outcome.code(), outcome.initiator()), (1001, Party::Local));
    assert!(world.next().await.is_none());
    closed(&mut world);
    assert_eq!(world.attempts(), 1);
    // A server that does not answer: 5 s, then it is over all the same.
    let mut world = World::opening();
    let _peer = world.connected().await;
    let outcome = within(60, world.socket.close(CloseCode::NORMAL, "")).await.unwrap().unwrap();
    assert!(!outcome.is_clean());
    assert!(world.next().await.is_none());
}

/// The next frame, while the client does its part.
async fn read_frame_of(world: &mut World, peer: &mut DuplexStream) -> (u8, Vec<u8>) {
    within(60, async {
        tokio::select! {
            frame = read_frame(peer) => frame.unwrap(),
            event = world.socket.recv() => panic!("{event:?}"),
        }
    })
    .await
}

/// Closing the connection rather than the client is the way to a new one.
#[tokio::test(start_paused = true)]
async fn a_connection_closed_by_the_program_comes_back() {
    let mut world = World::opening();
    let mut peer = world.connected().await;
    world.socket.socket_mut().unwrap().start_close(CloseCode::NORMAL, "refresh");
    read_frame_of(&mut world, &mut peer).await;
    peer.write_all(&plain(FIN | CLOSE, &close_payload(1000, "refresh"))).await.unwrap();
    drop(peer);
    let (why, _) = world.disconnected().await;
    assert_eq!((why.close_code(), why.retry()), (Some(1000), Retry::Backoff));
    world.connected().await;
}

/// An error that the program saw on the connection itself is a disconnect like any other.
#[tokio::test(start_paused = true)]
async fn an_end_seen_by_the_program_first() {
    let mut world = World::opening();
    drop(world.connected().await);
    assert!(world.socket.socket_mut().unwrap().recv().await.unwrap_err().is_abnormal());
    assert!(matches!(world.disconnected().await.0, Disconnect::Broken(error) if error.is_closed()));
    world.connected().await;
}

#[tokio::test(start_paused = true)]
async fn as_a_stream() {
    let frames = [plain(FIN | TEXT, b"one"), plain(FIN | CLOSE, &close_payload(1000, ""))].concat();
    let world = World::new(move |_| Answer::Open(frames.clone()));
    let events: Vec<Result<Event, Error>> = within(60, world.socket.collect()).await;
    assert!(matches!(&events[..], [Ok(Event::Connected), Ok(Event::Message(_))]), "{events:?}");
}

/// Over real sockets: a server that is gone and comes back, and a client built once.
#[tokio::test]
async fn a_server_that_restarts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let missed = Notify::new();
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = sockeye::accept(stream).await.unwrap();
        let hello = socket.recv().await.unwrap().unwrap();
        socket.send(hello).await.unwrap();
        drop((socket, listener));
        // Nobody listens until the client has found that out.
        missed.notified().await;
        let listener = TcpListener::bind(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = sockeye::accept(stream).await.unwrap();
        let hello = socket.recv().await.unwrap().unwrap();
        socket.send(hello).await.unwrap();
        socket.close(CloseCode::NORMAL, "done").await.unwrap();
    };
    let living = async {
        let backoff = Backoff::with(|backoff| backoff.max = Duration::from_millis(20));
        let client = Client::new(&format!("ws://{address}/")).unwrap();
        let mut socket = ReconnectingWebSocket::new(client).backoff(backoff);
        let mut seen = String::new();
        while let Some(event) = socket.recv().await.unwrap() {
            match event {
                Event::Connected => {
                    socket.send("hello").await.unwrap();
                    seen.push('c');
                }
                Event::Message(message) => {
                    assert_eq!(message.as_text(), Some("hello"));
                    seen.push('m');
                }
                Event::Disconnected { why: Disconnect::Failed(_), .. } => missed.notify_one(),
                Event::Disconnected { .. } => seen.push('d'),
                _ => {}
            }
        }
        seen
    };
    let seen = within(20, Box::pin(async { tokio::join!(serving, living).1 })).await;
    assert_eq!(seen, "cmdcm");
}

/// A frame that breaks the protocol ends the connection, not the client.
#[tokio::test(start_paused = true)]
async fn a_violation_is_a_disconnect() {
    let mut world = World::new(|_| Answer::Open(masked(FIN | TEXT, b"masked")));
    let (why, _) = world.disconnected().await;
    assert!(matches!(&why, Disconnect::Broken(error) if error.is_protocol()), "{why}");
    world.connected().await;
}
