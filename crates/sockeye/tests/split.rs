//! A socket in two halves: full duplex, replies without the sender's help, ends from either side, cancellation.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::{
    BINARY, CLOSE, Dice, FIN, KIB, MIB, PING, PONG, TEXT, assert_passed, client, close_payload, masked, pair, plain,
    read_frame, server,
    transport::{Flaky, Joined},
    up_to, with_keepalive, within,
};
use futures_util::{SinkExt, StreamExt};
use sockeye::{CloseCode, Config, Message, Party, Prepared, ReadyState, Receiver, Sender, WebSocket};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt, DuplexStream, duplex, simplex},
    net::{TcpListener, TcpStream},
    task::unconstrained,
    time::Instant,
};

/// One poll, then the future is dropped.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

async fn tcp_pair(config: Config) -> (WebSocket<TcpStream>, WebSocket<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    pair((connected.unwrap(), accepted.unwrap().0), config).await
}

/// Two tasks an end, on two threads: large messages both ways at once, more than any buffer holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_duplex_with_large_messages() {
    within(60, async {
        let (client, server) = Box::pin(tcp_pair(up_to(4 * MIB))).await;
        let mut tasks = Vec::new();
        for socket in [client, server] {
            let (mut sender, mut receiver) = socket.split();
            let sending = tokio::spawn(async move {
                for number in 0..20_u8 {
                    sender.send(vec![number; 2 * MIB]).await.unwrap();
                    sender.ping(b"between"[..].try_into().unwrap()).await.unwrap();
                }
                sender
            });
            let receiving = tokio::spawn(async move {
                for number in 0..20_u8 {
                    let message = receiver.recv().await.unwrap().unwrap();
                    assert!(message.len() == 2 * MIB && message.as_bytes().iter().all(|byte| *byte == number));
                }
                receiver
            });
            tasks.push((sending, receiving));
        }
        let mut sockets = Vec::new();
        for (sending, receiving) in tasks {
            sockets.push(sending.await.unwrap().reunite(receiving.await.unwrap()).unwrap());
        }
        let [client, server] = &mut sockets[..] else { unreachable!("two ends") };
        let (closed, end) = tokio::join!(client.close(CloseCode::NORMAL, "all sent"), server.recv());
        assert!(closed.unwrap().is_clean() && end.unwrap().is_none());
    })
    .await;
}

/// Nobody polls the sender, and pings are answered; a Close frame too.
#[tokio::test(start_paused = true)]
async fn replies_leave_while_the_sender_is_idle() {
    let (socket, mut peer) = server(KIB, Config::default()).await;
    let (mut sender, mut receiver) = socket.split();
    let asking = async {
        for payload in [&b"1"[..], b"2"] {
            peer.write_all(&masked(FIN | PING, payload)).await.unwrap();
            assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | PONG, payload.to_vec()));
        }
        peer.write_all(&masked(FIN | CLOSE, &close_payload(1001, "bye"))).await.unwrap();
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | CLOSE, close_payload(1001, "bye")));
        assert!(read_frame(&mut peer).await.is_none(), "the server ends TCP first");
    };
    let (end, ()) = within(60, async { tokio::join!(receiver.recv(), asking) }).await;
    assert!(end.unwrap().is_none());
    assert_eq!((receiver.ready_state(), sender.ready_state()), (ReadyState::Closed, ReadyState::Closed));
    assert_eq!(receiver.close_outcome().unwrap().initiator(), Party::Remote);
    assert!(sender.send("late").await.unwrap_err().is_closed());
}

/// The sender is stuck in the middle of a frame: the pong stands behind that frame, before the next, and both tasks are woken
/// although the transport knows one waker.
#[tokio::test(start_paused = true)]
async fn a_pong_overtakes_what_has_not_begun_and_tears_nothing() {
    let (socket, mut peer) = server(64, Config::default()).await;
    let (mut sender, mut receiver) = socket.split();
    within(60, async {
        sender.feed(vec![1; 10 * KIB]).await.unwrap();
        sender.feed(vec![2; 10 * KIB]).await.unwrap();
        let sending = tokio::spawn(async move {
            sender.flush().await.unwrap();
            sender
        });
        let receiving = tokio::spawn(async move {
            let message = receiver.recv().await.unwrap().unwrap();
            assert_eq!(message.as_text(), Some("done"));
        });
        tokio::task::yield_now().await;
        peer.write_all(&masked(FIN | PING, b"?")).await.unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | BINARY, vec![1; 10 * KIB]));
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | PONG, b"?".to_vec()));
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | BINARY, vec![2; 10 * KIB]));
        let sender = sending.await.unwrap();
        assert_eq!(sender.buffered_amount(), 0);
        peer.write_all(&masked(FIN | TEXT, b"done")).await.unwrap();
        receiving.await.unwrap();
    })
    .await;
}

/// Blocks the thread in a write until it is told to go on.
struct Blocking {
    entered: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
    /// Whether the next write blocks.
    blocks: Arc<AtomicBool>,
    io: tokio::io::WriteHalf<tokio::io::SimplexStream>,
}

impl AsyncWrite for Blocking {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.blocks.swap(false, Relaxed) {
            self.entered.send(()).unwrap();
            self.go_on.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Receiving never waits for a write: while one call of the transport's `write` does not return, on another thread, messages
/// and pings are received. The pong leaves when that call has returned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receiving_takes_no_lock_that_writing_holds() {
    within(60, async {
        let ((peer_read, write), (read, mut peer_write)) = (simplex(MIB), simplex(MIB));
        let (entered, has_entered) = mpsc::channel();
        let (release, go_on) = mpsc::channel();
        let blocks = Arc::new(AtomicBool::new(false));
        let write = Blocking { entered, go_on, blocks: Arc::clone(&blocks), io: write };
        let mut peer_read = peer_read;
        peer_write.write_all(common::UPGRADE).await.unwrap();
        let socket = sockeye::accept(Joined(read, write)).await.unwrap();
        common::read_head(&mut peer_read).await;
        let (mut sender, mut receiver) = socket.split();
        blocks.store(true, Relaxed);
        let sending = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(sender.send("slow")).unwrap();
            sender
        });
        has_entered.recv().unwrap();
        peer_write.write_all(&masked(FIN | PING, b"?")).await.unwrap();
        peer_write.write_all(&masked(FIN | TEXT, b"meanwhile")).await.unwrap();
        assert_eq!(receiver.recv().await.unwrap().unwrap().as_text(), Some("meanwhile"));
        release.send(()).unwrap();
        sending.join().unwrap();
        assert_eq!(read_frame(&mut peer_read).await.unwrap(), (FIN | TEXT, b"slow".to_vec()));
        assert_eq!(read_frame(&mut peer_read).await.unwrap(), (FIN | PONG, b"?".to_vec()));
    })
    .await;
}

/// Closing from either half, and what each half then says.
#[tokio::test(start_paused = true)]
async fn either_half_closes() {
    for by_receiver in [true, false] {
        let (socket, mut peer) = server(KIB, Config::default()).await;
        let (mut sender, mut receiver) = socket.split();
        within(60, async {
            sender.feed("before").await.unwrap();
            let answering = async {
                assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | TEXT, b"before".to_vec()));
                assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | CLOSE, close_payload(1000, "done")));
                peer.write_all(&masked(FIN | TEXT, b"on its way")).await.unwrap();
                peer.write_all(&masked(FIN | CLOSE, &close_payload(1000, "done"))).await.unwrap();
                assert!(read_frame(&mut peer).await.is_none());
            };
            let closing = async {
                if by_receiver {
                    receiver.close(CloseCode::NORMAL, "done").await.unwrap()
                } else {
                    sender.close(CloseCode::NORMAL, "done").await.unwrap();
                    assert_eq!(receiver.recv().await.unwrap().unwrap().as_text(), Some("on its way"));
                    assert!(receiver.recv().await.unwrap().is_none());
                    receiver.close_outcome().unwrap().clone()
                }
            };
            let (outcome, ()) = tokio::join!(closing, answering);
            assert!(outcome.is_clean());
            assert_eq!(outcome.initiator(), Party::Local);
            assert!(sender.send("late").await.unwrap_err().is_closed());
            assert_eq!(sender.discarded_amount(), 0);
        })
        .await;
    }
}

/// The sender starts to close and is never polled again: the Close frame leaves all the same.
#[tokio::test(start_paused = true)]
async fn a_close_that_was_started_leaves_without_the_sender() {
    let (socket, mut peer) = server(8, Config::default()).await;
    let (mut sender, mut receiver) = socket.split();
    sender.try_send("x".repeat(100)).unwrap();
    let receiving = tokio::spawn(async move { receiver.recv().await });
    tokio::task::yield_now().await;
    sender.start_close(CloseCode::NORMAL, "done");
    within(60, async {
        assert_eq!(read_frame(&mut peer).await.unwrap().1.len(), 100);
        assert_eq!(read_frame(&mut peer).await.unwrap().0, FIN | CLOSE);
        peer.write_all(&masked(FIN | CLOSE, b"")).await.unwrap();
        assert!(receiving.await.unwrap().unwrap().is_none());
    })
    .await;
}

/// A dropped sender: what it had queued leaves, pings are answered, messages come.
#[tokio::test(start_paused = true)]
async fn the_receiver_goes_on_without_the_sender() {
    let (socket, mut peer) = server(16, Config::default()).await;
    let (mut sender, mut receiver) = socket.split();
    within(60, async {
        sender.feed("last words".repeat(10)).await.unwrap();
        drop(sender);
        let asking = async {
            assert_eq!(read_frame(&mut peer).await.unwrap().1.len(), 100);
            peer.write_all(&masked(FIN | PING, b"?")).await.unwrap();
            assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | PONG, b"?".to_vec()));
            peer.write_all(&masked(FIN | TEXT, b"heard")).await.unwrap();
        };
        let (message, ()) = tokio::join!(receiver.recv(), asking);
        assert_eq!(message.unwrap().unwrap().as_text(), Some("heard"));
        // And then the last half goes.
        drop(receiver);
        assert!(read_frame(&mut peer).await.is_none());
    })
    .await;
}

/// A dropped receiver: the sender can still send.
#[tokio::test(start_paused = true)]
async fn the_sender_goes_on_without_the_receiver() {
    let (socket, mut peer) = server(KIB, Config::default()).await;
    let (mut sender, receiver) = socket.split();
    drop(receiver);
    within(60, async {
        peer.write_all(&masked(FIN | PING, b"unanswered")).await.unwrap();
        sender.send("still").await.unwrap();
        sender.send_prepared(&Prepared::new("here".into())).await.unwrap();
        sender.close(CloseCode::NORMAL, "").await.unwrap();
        drop(sender);
        for expected in [FIN | TEXT, FIN | TEXT, FIN | CLOSE] {
            assert_eq!(read_frame(&mut peer).await.unwrap().0, expected);
        }
        assert!(read_frame(&mut peer).await.is_none());
    })
    .await;
}

/// Every deadline holds, whichever half is being polled.
#[tokio::test(start_paused = true)]
async fn deadlines_hold() {
    // Keepalive, by the receiver.
    let (socket, mut peer) = server(KIB, with_keepalive()).await;
    let (sender, mut receiver) = socket.split();
    let start = Instant::now();
    assert_eq!(within(120, receiver.recv()).await.unwrap_err().code(), "pong_timeout");
    assert_passed(start, 35);
    assert_eq!(read_frame(&mut peer).await.unwrap().0, FIN | PING);
    drop(sender);
    // An unfinished message.
    let (socket, mut peer) = server(KIB, Config::default()).await;
    let (_sender, mut receiver) = socket.split();
    peer.write_all(&masked(TEXT, b"not the")).await.unwrap();
    let start = Instant::now();
    assert_eq!(within(120, receiver.recv()).await.unwrap_err().code(), "message_timeout");
    assert_passed(start, 35);
    // The closing handshake.
    let (socket, _peer) = server(KIB, Config::default()).await;
    let (mut sender, mut receiver) = socket.split();
    sender.close(CloseCode::NORMAL, "").await.unwrap();
    let start = Instant::now();
    assert!(within(60, receiver.recv()).await.unwrap().is_none());
    assert!(!receiver.close_outcome().unwrap().is_clean());
    assert_passed(start, 5);
}

/// A peer that does not read: by the sender, by the receiver, and by both, each of which is told.
#[tokio::test(start_paused = true)]
async fn c14_a_peer_that_stops_reading() {
    for (by_sender, by_receiver) in [(true, true), (true, false), (false, true)] {
        let (socket, _peer) = server(KIB, Config::default()).await;
        let (mut sender, mut receiver) = socket.split();
        let start = Instant::now();
        sender.try_send(vec![0; MIB]).unwrap();
        // The transport has said no once, and then the future is dropped.
        assert!(poll_once(sender.flush()).is_pending());
        let sending = async {
            if by_sender {
                let error = sender.flush().await.unwrap_err();
                assert_eq!(error.code(), "write_timeout");
            }
        };
        let receiving = async {
            if by_receiver {
                assert_eq!(receiver.recv().await.unwrap_err().code(), "write_timeout");
                assert!(receiver.recv().await.unwrap().is_none());
            }
        };
        within(60, async { tokio::join!(sending, receiving) }).await;
        assert_passed(start, 10);
        assert!(within(60, sender.ready()).await.is_err());
        assert!(sender.discarded_amount() > 0);
    }
}

/// A violation ends the sender as well.
#[tokio::test(start_paused = true)]
async fn a_violation_is_answered_and_ends_both() {
    let (socket, mut peer) = server(KIB, Config::default()).await;
    let (mut sender, mut receiver) = socket.split();
    within(60, async {
        let breaking = async {
            peer.write_all(&plain(FIN | TEXT, b"unmasked")).await.unwrap();
            let (first, payload) = read_frame(&mut peer).await.unwrap();
            assert_eq!((first, &payload[..2]), (FIN | CLOSE, &1002_u16.to_be_bytes()[..]));
            assert!(read_frame(&mut peer).await.is_none());
            drop(peer);
        };
        let (end, ()) = tokio::join!(receiver.recv(), breaking);
        assert!(end.unwrap_err().is_protocol());
        assert!(sender.send("late").await.unwrap_err().is_closed());
    })
    .await;
}

/// In the middle of a message that comes, of one that leaves, and of a reply.
#[tokio::test(start_paused = true)]
async fn reunited_in_the_middle_of_everything() {
    let (socket, mut peer) = server(64, up_to(MIB)).await;
    let (mut sender, mut receiver) = socket.split();
    within(60, async {
        sender.try_send(vec![7; 10 * KIB]).unwrap();
        assert!(poll_once(sender.flush()).is_pending());
        peer.write_all(&masked(TEXT, b"first half, ")).await.unwrap();
        peer.write_all(&masked(FIN | PING, b"?")).await.unwrap();
        assert!(poll_once(receiver.recv()).is_pending());
        let mut socket = sender.reunite(receiver).unwrap();
        let reading = async {
            assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | BINARY, vec![7; 10 * KIB]));
            assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | PONG, b"?".to_vec()));
            peer.write_all(&masked(FIN, b"second half")).await.unwrap();
        };
        let (message, ()) = tokio::join!(socket.recv(), reading);
        assert_eq!(message.unwrap().unwrap().as_text(), Some("first half, second half"));
        // And apart and together again.
        let (sender, receiver) = socket.split();
        let (other, _peer) = server(64, Config::default()).await;
        let (other_sender, other_receiver) = other.split();
        let error = sender.reunite(other_receiver).unwrap_err();
        let mut socket = error.0.reunite(receiver).unwrap();
        drop((error.1, other_sender));
        socket.send("whole").await.unwrap();
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | TEXT, b"whole".to_vec()));
    })
    .await;
}

/// A close that one half has begun goes on in the whole.
#[tokio::test(start_paused = true)]
async fn reunited_while_closing() {
    let (socket, mut peer) = client(KIB, Config::default()).await;
    let (mut sender, receiver) = socket.split();
    sender.start_close(CloseCode::GOING_AWAY, "");
    let mut socket = sender.reunite(receiver).unwrap();
    assert_eq!(socket.ready_state(), ReadyState::Closing);
    within(60, async {
        assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | CLOSE, close_payload(1001, "")));
        peer.write_all(&plain(FIN | CLOSE, &close_payload(1001, ""))).await.unwrap();
        drop(peer);
        let outcome = socket.close(CloseCode::NORMAL, "").await.unwrap();
        assert_eq!((outcome.code(), outcome.initiator()), (1001, Party::Local));
    })
    .await;
}

/// Stream and sink.
#[tokio::test(start_paused = true)]
async fn streams_and_sinks() {
    let (client, server) = pair(duplex(KIB), Config::default()).await;
    within(60, async {
        let (mut sink, mut stream) = client.split();
        let (echo_sink, echo_stream) = server.split();
        let echoing = tokio::spawn(echo_stream.forward(echo_sink));
        for text in ["a", "b"] {
            sink.send(Message::from(text)).await.unwrap();
            assert_eq!(stream.next().await.unwrap().unwrap().as_text(), Some(text));
        }
        SinkExt::close(&mut sink).await.unwrap();
        assert!(stream.next().await.is_none());
        echoing.await.unwrap().ok();
    })
    .await;
}

/// Every future dropped at every poll: nothing is lost, torn or doubled.
#[tokio::test(start_paused = true)]
async fn c15_dropped_futures_of_both_halves_lose_nothing() {
    unconstrained(async {
        for seed in 1..=3 {
            cancel_at_random(seed).await;
        }
        for polls in 1..30 {
            close_dropped_at(polls, true).await;
            close_dropped_at(polls, false).await;
        }
    })
    .await;
}

struct End {
    sender: Sender<Flaky>,
    receiver: Receiver<Flaky>,
    next: u32,
    sent: Vec<u32>,
    got: Vec<u32>,
    cancelled: usize,
}

impl End {
    fn new(socket: WebSocket<Flaky>) -> Self {
        let (sender, receiver) = socket.split();
        Self { sender, receiver, next: 0, sent: Vec::new(), got: Vec::new(), cancelled: 0 }
    }

    fn step(&mut self, dice: &mut Dice) {
        let polls = 1 + dice.below(6);
        match dice.below(6) {
            0..3 => drop(self.receive(polls)),
            3 => match poll_so_often(self.sender.flush(), polls) {
                Poll::Ready(result) => result.unwrap(),
                Poll::Pending => self.cancelled += 1,
            },
            4 => match poll_so_often(self.sender.ping(b"ping"[..].try_into().unwrap()), polls) {
                Poll::Ready(result) => result.unwrap(),
                Poll::Pending => self.cancelled += 1,
            },
            _ => self.send(dice, polls),
        }
    }

    fn send(&mut self, dice: &mut Dice, polls: usize) {
        self.next += 1;
        let text = format!("{} {}", self.next, "x".repeat([0, 200, 3_000, 9_000][dice.below(4)]));
        let is_taken = self.sender.buffered_amount() <= 2 * KIB;
        match poll_so_often(self.sender.send(text), polls) {
            Poll::Ready(result) => {
                result.unwrap();
                self.sent.push(self.next);
            }
            Poll::Pending => {
                self.cancelled += 1;
                if is_taken {
                    self.sent.push(self.next);
                }
            }
        }
    }

    fn receive(&mut self, polls: usize) -> Option<bool> {
        match poll_so_often(self.receiver.recv(), polls) {
            Poll::Ready(message) => {
                let Some(message) = message.unwrap() else { return Some(true) };
                let (number, body) = message.as_text().unwrap().split_once(' ').unwrap();
                assert!(body.bytes().all(|byte| byte == b'x'));
                self.got.push(number.parse().unwrap());
                Some(false)
            }
            Poll::Pending => {
                self.cancelled += 1;
                None
            }
        }
    }
}

fn poll_so_often<F: Future>(future: F, polls: usize) -> Poll<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let ready @ Poll::Ready(_) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return ready;
        }
    }
    Poll::Pending
}

async fn cancel_at_random(seed: u64) {
    let config = Config::with(|config| {
        config.limits.high_water = 2 * KIB;
        config.limits.max_write_queue = 32 * KIB;
        (config.limits.control_rate, config.limits.control_burst) = (1_000_000, 1_000_000);
    });
    let io = duplex(700);
    let io = (Flaky::new(io.0, seed, 300), Flaky::new(io.1, seed + 50, 300));
    let (client, server) = pair(io, config).await;
    let mut ends = [End::new(client), End::new(server)];
    let mut dice = Dice::new(seed);
    while ends.iter().map(|end| end.cancelled).sum::<usize>() < 10_000 {
        let end = dice.below(2);
        ends[end].step(&mut dice);
        if dice.below(100) == 0 {
            // Together and apart again, wherever they are.
            ends = ends.map(|end| {
                let (sender, receiver) = end.sender.reunite(end.receiver).unwrap().split();
                End { sender, receiver, ..end }
            });
        }
    }
    ends[0].sender.start_close(CloseCode::NORMAL, "done");
    let mut closed = [false; 2];
    for turn in 0..1_000_000 {
        let end = turn % 2;
        closed[end] = closed[end] || ends[end].receive(2) == Some(true);
        if closed == [true; 2] {
            break;
        }
    }
    assert_eq!(closed, [true; 2], "the closing handshake ends");
    let [client, server] = &ends;
    for (from, to) in [(client, server), (server, client)] {
        assert!(to.got.is_sorted_by(|a, b| a < b), "doubled or out of order");
        assert!(from.sent.iter().all(|number| to.got.binary_search(number).is_ok()), "seed {seed}: lost");
        assert!(from.sent.len() > 100);
        assert!(from.receiver.close_outcome().unwrap().is_clean());
        assert_eq!(from.sender.discarded_amount(), 0);
    }
}

async fn close_dropped_at(polls: usize, by_receiver: bool) {
    let io = duplex(64);
    let io = (Flaky::new(io.0, 7, 20), Flaky::new(io.1, 8, 20));
    let (client, mut server) = pair(io, Config::default()).await;
    let (mut sender, mut receiver) = client.split();
    sender.try_send("x".repeat(500)).unwrap();
    if by_receiver {
        assert!(poll_so_often(receiver.close(CloseCode::GOING_AWAY, "first"), polls).is_pending());
    } else {
        assert!(poll_so_often(sender.close(CloseCode::GOING_AWAY, "first"), polls).is_pending());
        // It leaves although nobody asks the sender again.
    }
    let mut got = 0;
    let ended = (0..1_000_000).any(|_| {
        if let Poll::Ready(received) = poll_once(server.recv()) {
            got += usize::from(received.unwrap().is_some());
        }
        poll_once(poll_fn(|cx| receiver.poll_recv(cx))).is_ready()
    });
    assert!(ended && receiver.close_outcome().unwrap().is_clean());
    assert_eq!((got, server.close_outcome().unwrap().code()), (1, 1001), "one Close frame, the first");
}

/// The types can go to other tasks.
#[test]
fn halves_are_send() {
    fn is_send<T: Send>() {}
    is_send::<Sender<TcpStream>>();
    is_send::<Receiver<TcpStream>>();
    is_send::<Sender<DuplexStream>>();
    is_send::<Receiver<sockeye::Transport>>();
    is_send::<Sender<sockeye::Transport>>();
}
