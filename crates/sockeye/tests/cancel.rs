//! C15: "future dropped mid-read, mid-write, mid-close: no lost or torn frame on the next call". A script of operations, each
//! dropped after a random number of polls, over a pipe that says "not now" at random and moves random parts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use common::{Dice, KIB, pair, transport::Flaky};
use sockeye::{CloseCode, Config, Message, WebSocket};
use tokio::{io::duplex, task::unconstrained};

/// Futures dropped before they were done, for each seed.
const CANCELLATIONS: usize = 10_000;
/// Polls after which nothing more is expected of an operation.
const PATIENCE: usize = 1_000_000;

/// One end, with what it has sent for certain, what it may have sent, and what it got.
struct End {
    socket: WebSocket<Flaky>,
    next: u32,
    /// Numbers whose sending was seen through.
    sent: Vec<u32>,
    got: Vec<u32>,
    cancelled: usize,
}

#[tokio::test(start_paused = true)]
async fn c15_dropped_futures_lose_nothing_and_tear_nothing() {
    // Neither coop nor the clock may interfere: everything is polled by hand.
    unconstrained(async {
        for seed in 1..=4 {
            run(seed).await;
        }
    })
    .await;
}

async fn run(seed: u64) {
    let config = Config::with(|config| {
        config.limits.high_water = 2 * KIB;
        config.limits.max_write_queue = 32 * KIB;
        // The clock stands still, so all pings come at once.
        config.limits.control_rate = 1_000_000;
        config.limits.control_burst = 1_000_000;
    });
    let io = duplex(700);
    let io = (Flaky::new(io.0, seed, 300), Flaky::new(io.1, seed + 50, 300));
    let (client, server) = pair(io, config).await;
    let mut ends = [End::new(client), End::new(server)];
    let mut dice = Dice::new(seed);
    while ends.iter().map(|end| end.cancelled).sum::<usize>() < CANCELLATIONS {
        let end = dice.below(2);
        ends[end].step(&mut dice);
    }
    finish(&mut ends, &mut dice);
    let [client, server] = &ends;
    println!("seed {seed}: {} and {} messages", client.got.len(), server.got.len());
    for (from, to) in [(client, server), (server, client)] {
        assert!(to.got.is_sorted_by(|a, b| a < b), "doubled or out of order");
        let lost: Vec<_> = from.sent.iter().filter(|number| to.got.binary_search(number).is_err()).collect();
        assert!(lost.is_empty(), "seed {seed}: lost {lost:?}");
        assert!(from.sent.len() > 100, "the script sends something");
        assert!(from.socket.close_outcome().unwrap().is_clean());
        assert_eq!(from.socket.discarded_amount(), 0);
    }
}

/// Closes from both sides, cancelling on, until both are closed.
fn finish(ends: &mut [End; 2], dice: &mut Dice) {
    let mut closed = [false, false];
    for _ in 0..PATIENCE {
        let end = dice.below(2);
        if closed[end] {
            if closed == [true, true] {
                return;
            }
            continue;
        }
        closed[end] = if end == 0 && dice.below(2) == 0 {
            // What still comes is given by `recv`; `close` would drop it.
            ends[0].socket.start_close(CloseCode::NORMAL, "done");
            ends[0].receive(dice) == Some(true)
        } else {
            ends[end].receive(dice) == Some(true)
        };
    }
    panic!("the closing handshake does not end");
}

impl End {
    fn new(socket: WebSocket<Flaky>) -> Self {
        Self { socket, next: 0, sent: Vec::new(), got: Vec::new(), cancelled: 0 }
    }

    /// One operation at random, dropped after a few polls.
    fn step(&mut self, dice: &mut Dice) {
        let polls = 1 + dice.below(6);
        match dice.below(8) {
            0..4 => {
                assert_ne!(self.receive(dice), Some(true), "nobody closes");
            }
            4 => self.note(|socket| pin_poll(socket.flush(), polls)),
            5 => {
                let ping = b"ping"[..].try_into().unwrap();
                self.note(|socket| pin_poll(socket.ping(ping), polls));
            }
            6 => self.send(dice, true, polls),
            _ => self.send(dice, false, polls),
        }
    }

    fn note(&mut self, operation: impl FnOnce(&mut WebSocket<Flaky>) -> Poll<Result<(), sockeye::Error>>) {
        match operation(&mut self.socket) {
            Poll::Ready(result) => result.unwrap(),
            Poll::Pending => self.cancelled += 1,
        }
    }

    fn send(&mut self, dice: &mut Dice, flush: bool, polls: usize) {
        self.next += 1;
        let message = numbered(self.next, dice);
        let below = self.socket.buffered_amount() <= 2 * KIB;
        let before = self.socket.buffered_amount();
        let polled =
            if flush { pin_poll(self.socket.send(message), polls) } else { pin_poll(self.socket.feed(message), polls) };
        match polled {
            Poll::Ready(result) => {
                result.unwrap();
                self.sent.push(self.next);
            }
            Poll::Pending => {
                self.cancelled += 1;
                // "It is taken at once unless the queue is above `high_water`."
                if below && before < 20 * KIB {
                    self.sent.push(self.next);
                }
            }
        }
    }

    /// Whether the connection is closed; `None` if the future was dropped first.
    fn receive(&mut self, dice: &mut Dice) -> Option<bool> {
        match pin_poll(self.socket.recv(), 1 + dice.below(6)) {
            Poll::Ready(Ok(Some(message))) => {
                self.got.push(check(&message));
                Some(false)
            }
            Poll::Ready(Ok(None)) => Some(true),
            Poll::Ready(Err(error)) => panic!("{error}"),
            Poll::Pending => {
                self.cancelled += 1;
                None
            }
        }
    }
}

/// Polls so often, then drops.
fn pin_poll<F: Future>(future: F, polls: usize) -> Poll<F::Output> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let ready @ Poll::Ready(_) = future.as_mut().poll(&mut cx) {
            return ready;
        }
    }
    Poll::Pending
}

/// A message that shows if a byte of it was lost, doubled or changed.
fn numbered(number: u32, dice: &mut Dice) -> Message {
    let len = [0, 10, 200, 3_000, 12_000][dice.below(5)];
    let body = (0..len).map(|i| char::from(b'a' + u8::try_from((i + number as usize) % 26).unwrap()));
    let text = format!("{number} {len} {}", body.collect::<String>());
    if number.is_multiple_of(2) { Message::from(text) } else { Message::from(text.into_bytes()) }
}

fn check(message: &Message) -> u32 {
    let text = std::str::from_utf8(message.as_bytes()).unwrap();
    let mut parts = text.splitn(3, ' ');
    let number: u32 = parts.next().unwrap().parse().unwrap();
    let len: usize = parts.next().unwrap().parse().unwrap();
    let body = parts.next().unwrap().as_bytes();
    assert_eq!(body.len(), len);
    assert!(body.iter().enumerate().all(|(i, &byte)| usize::from(byte - b'a') == (i + number as usize) % 26));
    assert_eq!(message.is_text(), number.is_multiple_of(2));
    number
}

/// `close` dropped at each poll number and called again ends as if it had not been dropped.
#[tokio::test(start_paused = true)]
async fn c15_close_dropped_at_every_poll() {
    unconstrained(async {
        for polls in 1..40 {
            let io = duplex(64);
            let io = (Flaky::new(io.0, 7, 20), Flaky::new(io.1, 8, 20));
            let (mut client, mut server) = pair(io, Config::default()).await;
            client.try_send("x".repeat(500)).unwrap();
            assert!(pin_poll(client.close(CloseCode::GOING_AWAY, "first"), polls).is_pending());
            let mut got = 0;
            let outcome = (0..PATIENCE).find_map(|_| {
                if let Poll::Ready(received) = pin_poll(server.recv(), 1) {
                    got += usize::from(received.unwrap().is_some());
                }
                match pin_poll(client.close(CloseCode::NORMAL, "second"), 1) {
                    Poll::Ready(outcome) => Some(outcome.unwrap()),
                    Poll::Pending => None,
                }
            });
            assert!(outcome.unwrap().is_clean());
            assert_eq!(got, 1);
            let at_server = server.close_outcome().unwrap();
            assert_eq!((at_server.code(), at_server.reason()), (1001, "first"), "one Close frame, the first");
        }
    })
    .await;
}
