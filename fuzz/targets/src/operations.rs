//! Operations on a `WebSocket` whose futures are dropped after any number of polls, over a transport that stalls and fails.
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use sockeye::{
    Client, CloseCode, Config, ControlPayload, Error, Handshake, Keepalive, Message, Prepared, ReadyState, Role,
    SendError, ServerConfig, WebSocket,
};
use sockeye_proto::handshake::accept_key;
use tokio::time::{Instant, advance, timeout};

use crate::{
    input::{Choices, scaled},
    peer::{BINARY, CLOSE, CONTINUATION, FIN, PING, TEXT, frame, other, understand},
    transport::{Kind, Pipe, Wire, Writing},
};

/// Operations in one run, so that a long input does not take long.
const OPERATIONS_MAX: usize = 64;
/// Less than the shortest time limit, which is that of the closing handshake.
const HARMLESS_WAIT: Duration = Duration::from_secs(4);
/// Longer than all time limits together: whoever has not been woken by then never will.
const FOREVER: Duration = Duration::from_secs(3600);

/// Operations on a socket, cancelled at any poll, over a transport that gives, takes, stalls and fails as the input says.
///
/// # Panics
/// If a message is lost, torn, doubled or out of order, in either direction, without a reason; if a future makes progress
/// without having been woken; if the peer does not understand what was written.
pub fn operations(data: &[u8]) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(run(Choices::new(data)));
}

async fn run(choices: Choices<'_>) {
    let (mut world, mut socket) = World::open(choices);
    for _ in 0..OPERATIONS_MAX {
        if world.choices.is_empty() {
            break;
        }
        world.operate(&mut socket).await;
        world.happen().await;
        assert!(socket.buffered_amount() <= world.queue_max(), "{} bytes are queued", socket.buffered_amount());
    }
    world.finish(socket).await;
}

/// All that is around the socket, and what ought to come of it.
struct World<'a> {
    choices: Choices<'a>,
    /// Which way it is brought to its end.
    ending: u8,
    role: Role,
    config: Config,
    pipe: Pipe,
    woken: Arc<Flag>,
    /// Numbers messages and pings.
    count: usize,
    /// What the program gave to the socket, and whether the socket certainly took it.
    given: Vec<(Message, Taken)>,
    /// What the peer sent.
    said: Vec<Message>,
    pinged: Vec<Vec<u8>>,
    /// What the program received.
    received: Vec<Message>,
    peer_closed: bool,
    /// `close` was called, which drops messages that still come.
    drops: bool,
    /// The transport failed, or time ran out: then the end may come early.
    excused: bool,
    waited: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Certainly,
    /// The future was dropped, or failed.
    Perhaps,
}

/// A waker that can be looked at.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'a> World<'a> {
    fn open(mut choices: Choices<'a>) -> (Self, WebSocket<Pipe>) {
        let (setting, ending) = (choices.byte(), choices.byte());
        let role = if setting & 1 == 0 { Role::Server } else { Role::Client };
        let mut config = Config::default();
        config.limits.control_burst = u32::MAX;
        if setting & 2 != 0 {
            config.limits.high_water = 500;
            config.limits.max_write_queue = 3_000;
        }
        if setting & 4 != 0 {
            config.keepalive = Some(Keepalive::with(|keepalive| {
                keepalive.interval = Duration::from_secs(1);
                keepalive.timeout = Duration::from_secs(7);
            }));
        }
        let pipe = Pipe::default();
        let mut world = Self {
            choices,
            ending,
            role,
            config,
            pipe: pipe.clone(),
            woken: Arc::default(),
            count: 0,
            given: Vec::new(),
            said: Vec::new(),
            pinged: Vec::new(),
            received: Vec::new(),
            peer_closed: false,
            drops: false,
            excused: false,
            waited: Duration::ZERO,
        };
        let socket = world.shake_hands(setting & 8 != 0);
        pipe.change(|wire| {
            wire.outbound.clear();
            wire.window = 0;
            wire.kind.is_vectored = setting & 16 != 0;
            wire.kind.is_buffered = setting & 32 != 0;
            if setting & 64 != 0 {
                wire.kind = Kind { read_max: 17, write_max: 13, ..wire.kind };
            }
        });
        (world, socket)
    }

    /// The opening handshake, with frames in the same packet if the peer is `hasty`.
    fn shake_hands(&mut self, hasty: bool) -> WebSocket<Pipe> {
        self.pipe.wire().open();
        let pipe = self.pipe.clone();
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut cx = Context::from_waker(&waker);
        let opened = match self.role {
            Role::Server => {
                self.comes(REQUEST, hasty);
                let server = ServerConfig::with(|server| server.connection = Arc::new(self.config.clone()));
                let accept = async { Handshake::read(pipe, &server).await?.accept().await };
                pin!(accept).poll(&mut cx)
            }
            Role::Client => {
                let client = Client::new("ws://example.org/").expect("a URL").config(self.config.clone());
                let mut connect = pin!(client.connect_over(pipe));
                assert!(connect.as_mut().poll(&mut cx).is_pending());
                let request = String::from_utf8(self.pipe.wire().outbound.clone()).expect("a request");
                let (_, key) = request.split_once("Sec-WebSocket-Key: ").expect("a key");
                let accept = accept_key(&key[..24]);
                self.comes(&format!("{ANSWER}Sec-WebSocket-Accept: {accept}\r\n\r\n"), hasty);
                connect.poll(&mut cx)
            }
        };
        match opened {
            Poll::Ready(Ok(socket)) => socket,
            other => panic!("no handshake: {other:?}"),
        }
    }

    fn comes(&mut self, head: &str, hasty: bool) {
        self.pipe.wire().inbound.extend(head.as_bytes());
        if hasty {
            self.peer_speaks();
        }
        self.pipe.change(|wire| wire.arrived = wire.inbound.len());
    }

    async fn operate(&mut self, socket: &mut WebSocket<Pipe>) {
        match self.choices.below(12) {
            0..=2 => self.receive(socket).await,
            3 => self.send(socket).await,
            4 => self.feed(socket).await,
            5 => self.try_send(socket),
            6 => self.send_prepared(socket).await,
            7 => {
                let flushed = self.drive(socket.flush()).await;
                self.judge(socket, flushed.unwrap_or(Ok(())));
            }
            8 => {
                let payload = ControlPayload::try_from(self.number().as_slice()).expect("short");
                let pinged = self.drive(socket.ping(payload)).await;
                self.judge(socket, pinged.unwrap_or(Ok(())));
            }
            9 => self.sink(socket).await,
            10 => {
                let ready = self.drive(socket.ready()).await;
                self.judge(socket, ready.unwrap_or(Ok(())));
            }
            // A close ends the fun, so it is rare.
            _ => match self.choices.below(8) {
                0 => socket.start_close(CloseCode::NORMAL, "done"),
                1 => self.close(socket).await,
                _ => {}
            },
        }
    }

    async fn receive(&mut self, socket: &mut WebSocket<Pipe>) {
        let result = if self.choices.below(4) == 0 {
            let next = poll_fn(|cx| Pin::new(&mut *socket).poll_next(cx));
            self.drive(next).await.map(Option::transpose)
        } else {
            self.drive(socket.recv()).await
        };
        match result {
            None => {}
            Some(Ok(Some(message))) => self.received.push(message),
            Some(Ok(None)) => assert_eq!(socket.ready_state(), ReadyState::Closed),
            Some(Err(error)) => self.judge(socket, Err(error)),
        }
    }

    async fn send(&mut self, socket: &mut WebSocket<Pipe>) {
        let message = self.message();
        let result = self.drive(socket.send(message.clone())).await;
        self.give(socket, message, result);
    }

    async fn feed(&mut self, socket: &mut WebSocket<Pipe>) {
        let message = self.message();
        let result = self.drive(socket.feed(message.clone())).await;
        // What `feed` has taken it says at once.
        if result.is_some() {
            self.give(socket, message, result);
        }
    }

    fn try_send(&mut self, socket: &mut WebSocket<Pipe>) {
        let message = self.message();
        match socket.try_send(message.clone()) {
            Ok(()) => self.given.push((message, Taken::Certainly)),
            Err(SendError::Full(back)) => {
                assert_eq!(back, message);
                assert!(socket.buffered_amount() + message.len() > self.config.limits.max_write_queue);
            }
            Err(SendError::Closed(back)) => {
                assert_eq!(back, message);
                assert_ne!(socket.ready_state(), ReadyState::Open);
            }
            Err(error) => panic!("nothing is sent in parts: {error}"),
        }
    }

    async fn send_prepared(&mut self, socket: &mut WebSocket<Pipe>) {
        let prepared = Prepared::new(self.message());
        let result = if self.choices.below(2) == 0 {
            self.drive(socket.send_prepared(&prepared)).await
        } else {
            match socket.try_send_prepared(&prepared) {
                Err(SendError::Full(())) => return,
                result => Some(result.map_err(Error::from)),
            }
        };
        self.give(socket, prepared.message().clone(), result);
    }

    async fn sink(&mut self, socket: &mut WebSocket<Pipe>) {
        let ready = self.drive(poll_fn(|cx| Sink::poll_ready(Pin::new(&mut *socket), cx))).await;
        let Some(ready) = ready else { return };
        if ready.is_err() {
            return self.judge(socket, ready);
        }
        let message = self.message();
        let result = Sink::start_send(Pin::new(&mut *socket), message.clone());
        assert!(!matches!(&result, Err(error) if error.is_full()), "ready, and yet full");
        self.give(socket, message, Some(result));
        let flushed = self.drive(poll_fn(|cx| Sink::poll_flush(Pin::new(&mut *socket), cx))).await;
        self.judge(socket, flushed.unwrap_or(Ok(())));
    }

    async fn close(&mut self, socket: &mut WebSocket<Pipe>) {
        self.drops = true;
        let closed = self.drive(socket.close(CloseCode::GOING_AWAY, "bye")).await;
        self.judge(socket, closed.map_or(Ok(()), |closed| closed.map(drop)));
    }

    /// Takes note of a message that the socket was given.
    fn give(&mut self, socket: &WebSocket<Pipe>, message: Message, result: Option<Result<(), Error>>) {
        match result {
            Some(Ok(())) => self.given.push((message, Taken::Certainly)),
            // It was not taken, and says so.
            Some(Err(error)) if error.is_closed() => self.judge(socket, Err(error)),
            Some(Err(error)) => {
                self.given.push((message, Taken::Perhaps));
                self.judge(socket, Err(error));
            }
            None => self.given.push((message, Taken::Perhaps)),
        }
    }

    /// Nothing fails without a reason.
    fn judge(&self, socket: &WebSocket<Pipe>, result: Result<(), Error>) {
        match result {
            Err(error) if error.is_closed() => assert_ne!(socket.ready_state(), ReadyState::Open),
            Err(error) => assert!(self.excused, "fails without a reason: {error}"),
            Ok(()) => {}
        }
    }

    /// Polls a few times and drops the future. Between polls something happens. Whoever was not woken gets nowhere.
    async fn drive<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        let polls = self.choices.below(5);
        self.woken.0.store(true, Ordering::Relaxed);
        for _ in 0..polls {
            let woken = self.woken.0.swap(false, Ordering::Relaxed);
            let before = self.pipe.progress();
            let polled = future.as_mut().poll(&mut cx);
            assert!(woken || (polled.is_pending() && self.pipe.progress() == before), "progress without a wake");
            if let Poll::Ready(output) = polled {
                return Some(output);
            }
            self.happen().await;
        }
        None
    }

    /// Something happens to the transport, to the peer, or to the clock.
    async fn happen(&mut self) {
        let amount = self.choices.byte();
        match amount & 7 {
            0 => {}
            1 | 2 => self.pipe.change(|wire| wire.window += scaled(amount) / 4),
            3 | 4 => {
                self.pipe.change(|wire| wire.arrived = (wire.arrived + scaled(amount) / 4).min(wire.inbound.len()));
            }
            5 => self.peer_speaks(),
            6 => self.pipe.change(|wire| {
                wire.window += 1 << 20;
                wire.arrived = wire.inbound.len();
            }),
            _ => match amount >> 3 {
                0 => self.wait(Duration::from_secs(60)).await,
                1 => self.wait(Duration::from_secs(6)).await,
                2..=4 => self.wait(Duration::from_millis(990)).await,
                5..=7 => self.wait(Duration::from_millis(1)).await,
                8 => self.fault(|wire| wire.writing = Writing::Fails),
                9 => self.fault(|wire| wire.writing = Writing::TakesZero),
                10 => self.fault(|wire| wire.reading_fails = true),
                11 => self.fault(|wire| wire.ended = true),
                12 => self.peer_closes(),
                _ => {}
            },
        }
        // Lets the clock's wheel turn, and refills the budget of a task's turn.
        tokio::task::yield_now().await;
    }

    async fn wait(&mut self, time: Duration) {
        self.waited += time;
        self.excused |= self.waited > HARMLESS_WAIT;
        advance(time).await;
    }

    fn fault(&mut self, change: impl FnOnce(&mut Wire)) {
        self.excused = true;
        self.pipe.change(change);
    }

    /// The peer sends a message, in one frame or in several with a ping between them, or a ping alone.
    fn peer_speaks(&mut self) {
        if self.peer_closed {
            return;
        }
        let peer = other(self.role);
        let mut wire = Vec::new();
        let shape = self.choices.below(8);
        if shape < 2 {
            self.peer_pings(&mut wire);
        } else {
            let message = self.message();
            let opcode = if message.is_text() { TEXT } else { BINARY };
            let (begin, end) = message.as_bytes().split_at(message.len() / 2);
            if shape < 4 {
                wire.extend(frame(peer, opcode, begin));
                self.peer_pings(&mut wire);
                wire.extend(frame(peer, FIN | CONTINUATION, end));
            } else {
                wire.extend(frame(peer, FIN | opcode, message.as_bytes()));
            }
            self.said.push(message);
        }
        self.pipe.wire().inbound.extend(wire);
    }

    fn peer_pings(&mut self, wire: &mut Vec<u8>) {
        let payload = self.number();
        wire.extend(frame(other(self.role), FIN | PING, &payload));
        self.pinged.push(payload);
    }

    fn peer_closes(&mut self) {
        if !std::mem::replace(&mut self.peer_closed, true) {
            let close = frame(other(self.role), FIN | CLOSE, &4001_u16.to_be_bytes());
            self.pipe.wire().inbound.extend(close);
        }
    }

    fn number(&mut self) -> Vec<u8> {
        self.count += 1;
        self.count.to_string().into_bytes()
    }

    /// A message like no other.
    fn message(&mut self) -> Message {
        let shape = self.choices.byte();
        let mut payload = self.number();
        let blocks = match shape & 7 {
            // Rare, because it takes long: as much as is read straight into its message.
            7 if shape & 0x30 == 0 => LARGE_BLOCKS,
            short => [0, 3, 4, 20, 80, 300, 10, 1][usize::from(short)],
        };
        for _ in 0..blocks {
            payload.extend_from_slice(BLOCK.as_bytes());
        }
        if shape & 8 == 0 { Message::from(payload) } else { Message::from(String::from_utf8(payload).expect("text")) }
    }

    /// The queue; one message that is let in beside it; headers; a ping and pongs, and what has begun.
    fn queue_max(&self) -> usize {
        self.config.limits.max_write_queue.max(self.config.limits.high_water)
            + (LARGE_BLOCKS + 1) * BLOCK.len()
            + 4 * 139
    }

    /// All that has been said arrives, the transport moves everything, the peer closes, and the account is settled.
    async fn finish(mut self, mut socket: WebSocket<Pipe>) {
        let way = self.ending;
        if way & 1 != 0 {
            // A peer that reads nothing is heard all the same.
            self.pipe.change(|wire| wire.arrived = wire.inbound.len());
            self.receive_all(&mut socket).await;
            assert!(self.excused || self.drops || self.received == self.said, "not everything is received");
        }
        self.pipe.change(Wire::open);
        if way & 2 != 0 {
            let flushed = timeout(FOREVER, socket.flush()).await.expect("flush hangs");
            self.judge(&socket, flushed);
            assert!(self.excused || (socket.buffered_amount() == 0 && self.pipe.wire().is_flushed()), "not flushed");
        } else if way & 4 != 0 {
            self.receive_all(&mut socket).await;
            assert!(self.excused || (socket.buffered_amount() == 0 && self.pipe.wire().is_flushed()), "recv flushes");
        }
        let start = Instant::now();
        self.peer_closes();
        self.pipe.change(|wire| {
            wire.arrived = wire.inbound.len();
            wire.ended = true;
        });
        loop {
            match timeout(FOREVER, socket.recv()).await.expect("recv hangs") {
                Ok(Some(message)) => self.received.push(message),
                Ok(None) => break,
                Err(error) => self.judge(&socket, Err(error)),
            }
        }
        assert_eq!(socket.ready_state(), ReadyState::Closed);
        assert!(matches!(socket.recv().await, Ok(None)) && socket.buffered_amount() == 0);
        if !self.excused {
            assert_eq!(Instant::now(), start, "waits for something that has come");
            assert!(socket.close_outcome().is_some_and(sockeye::CloseOutcome::is_clean));
        }
        drop(socket);
        self.settle();
    }

    /// Receives until nothing comes any more.
    async fn receive_all(&mut self, socket: &mut WebSocket<Pipe>) {
        while let Ok(result) = timeout(Duration::from_millis(1), socket.recv()).await {
            match result {
                Ok(Some(message)) => self.received.push(message),
                Ok(None) => break,
                Err(error) => self.judge(socket, Err(error)),
            }
        }
    }

    fn settle(&self) {
        let understood = understand(self.role, &self.pipe.wire().outbound);
        if !self.excused {
            assert_eq!(understood.torn, 0);
            assert!(understood.closed.is_some_and(|outcome| outcome.is_clean()), "no Close frame");
        }
        assert_delivered(&self.given, &understood.messages, !self.excused);
        let certainty = if self.drops { Taken::Perhaps } else { Taken::Certainly };
        let said: Vec<_> = self.said.iter().map(|message| (message.clone(), certainty)).collect();
        assert_delivered(&said, &self.received, !self.excused);
        let mut pinged = self.pinged.iter();
        for pong in &understood.pongs {
            assert!(pinged.any(|ping| ping == pong.as_bytes()), "a pong without its ping: {pong:?}");
        }
    }
}

/// What arrived is what was sent, in order, once each. Nothing that was certainly taken is missing; at the end, only if the
/// connection lived to its end (`all`).
fn assert_delivered(sent: &[(Message, Taken)], arrived: &[Message], all: bool) {
    let mut arrived = arrived.iter().peekable();
    for (message, taken) in sent {
        if arrived.next_if_eq(&message).is_some() || *taken == Taken::Perhaps {
            continue;
        }
        match arrived.peek() {
            Some(next) => panic!("{message:?} is missing before {next:?}"),
            None => assert!(!all, "{message:?} never arrived"),
        }
    }
    assert!(arrived.next().is_none(), "something was doubled, torn, or came out of order");
}

/// What messages are made of.
const BLOCK: &str = "é水🐟 two ends of a wire, ";
const LARGE_BLOCKS: usize = 1_300;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
