//! All that is around the socket, and what ought to come of it.
use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use sockeye::{Client, Config, Error, Handshake, Keepalive, Message, ReadyState, Role, ServerConfig, WebSocket};
use sockeye_proto::handshake::accept_key;
use tokio::time::advance;

use super::{
    account::{Account, NUMBER_LEN},
    ends::End,
};
use crate::{
    input::{Choices, scaled},
    peer::{BINARY, CLOSE, CONTINUATION, FIN, PING, TEXT, frame, other},
    transport::{Kind, Pipe, Wire, Writing},
};

/// Less than the shortest time limit, which is that of the closing handshake.
const HARMLESS_WAIT: Duration = Duration::from_secs(4);

pub(super) struct World<'a> {
    pub(super) choices: Choices<'a>,
    /// Which way it is brought to its end.
    pub(super) ending: u8,
    pub(super) role: Role,
    pub(super) config: Config,
    pub(super) pipe: Pipe,
    pub(super) account: Account,
    /// The transport failed, or time ran out: then the end may come early.
    pub(super) excused: bool,
    /// The future driven last was polled at all.
    pub(super) has_polled: bool,
    /// Of the two tasks there may be.
    woken: [Arc<Flag>; 2],
    /// Numbers messages and pings.
    count: usize,
    peer_closed: bool,
    waited: Duration,
}

/// A task, by its waker.
#[derive(Clone, Copy)]
pub(super) enum Task {
    /// That of a whole socket, or of a sender.
    First,
    /// That of a receiver while the first is at work too.
    Second,
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
    pub(super) fn open(mut choices: Choices<'a>) -> (Self, WebSocket<Pipe>) {
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
            account: Account::default(),
            excused: false,
            has_polled: false,
            woken: Default::default(),
            count: 0,
            peer_closed: false,
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
        let waker = self.waker(Task::First);
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

    /// Polls a few times and drops the future. Between polls something happens.
    pub(super) async fn drive<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let polls = self.choices.below(5);
        self.has_polled = polls > 0;
        self.wake(Task::First);
        for _ in 0..polls {
            if let Poll::Ready(output) = self.poll(Task::First, future.as_mut()) {
                return Some(output);
            }
            self.happen().await;
        }
        None
    }

    /// Whoever was not woken gets nowhere.
    pub(super) fn poll<F: Future>(&mut self, task: Task, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = self.waker(task);
        let woken = self.woken[task as usize].0.swap(false, Ordering::Relaxed);
        let before = self.pipe.progress();
        let polled = future.poll(&mut Context::from_waker(&waker));
        assert!(woken || (polled.is_pending() && self.pipe.progress() == before), "progress without a wake");
        polled
    }

    /// A future that was never polled has to be polled.
    pub(super) fn wake(&self, task: Task) {
        self.woken[task as usize].0.store(true, Ordering::Relaxed);
    }

    fn waker(&self, task: Task) -> Waker {
        Waker::from(Arc::clone(&self.woken[task as usize]))
    }

    /// Nothing fails without a reason.
    pub(super) fn judge(&self, end: &impl End, result: Result<(), Error>) {
        match result {
            Err(error) if error.is_closed() => assert_ne!(end.ready_state(), ReadyState::Open),
            Err(error) => assert!(self.excused, "fails without a reason: {error}"),
            Ok(()) => {}
        }
    }

    /// Something happens to the transport, to the peer, or to the clock.
    pub(super) async fn happen(&mut self) {
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
            self.account.said(message);
        }
        self.pipe.wire().inbound.extend(wire);
    }

    fn peer_pings(&mut self, wire: &mut Vec<u8>) {
        let payload = self.number();
        wire.extend(frame(other(self.role), FIN | PING, &payload));
        self.account.pinged(payload);
    }

    pub(super) fn peer_closes(&mut self) {
        if !std::mem::replace(&mut self.peer_closed, true) {
            let close = frame(other(self.role), FIN | CLOSE, &4001_u16.to_be_bytes());
            self.pipe.wire().inbound.extend(close);
        }
    }

    pub(super) fn number(&mut self) -> Vec<u8> {
        self.count += 1;
        format!("{:0NUMBER_LEN$}", self.count).into_bytes()
    }

    /// A message like no other.
    pub(super) fn message(&mut self) -> Message {
        let shape = self.choices.byte();
        let mut payload = self.number();
        let blocks = match shape & 7 {
            // Rare, because it takes long: as much as is read straight into its message, and as much as fills a queue.
            7 if shape & 0xf0 == 0 => LARGE_BLOCKS,
            5 if shape & 0x30 == 0 => 300,
            short => [0, 3, 4, 20, 80, 12, 10, 1][usize::from(short)],
        };
        for _ in 0..blocks {
            payload.extend_from_slice(BLOCK.as_bytes());
        }
        if shape & 8 == 0 { Message::from(payload) } else { Message::from(String::from_utf8(payload).expect("text")) }
    }

    /// The queue; one message that is let in beside it; headers; a ping and pongs, and what has begun.
    pub(super) fn queue_max(&self) -> usize {
        self.config.limits.max_write_queue.max(self.config.limits.high_water)
            + (LARGE_BLOCKS + 1) * BLOCK.len()
            + 4 * 139
    }
}

/// What messages are made of.
const BLOCK: &str = "é水🐟 two ends of a wire, ";
const LARGE_BLOCKS: usize = 1_300;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
