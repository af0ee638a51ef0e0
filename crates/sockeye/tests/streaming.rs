//! Messages that are not held whole: parts as they come, parts as they are written, and what is left when either is dropped.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::{
    BINARY, CLOSE, CONTINUATION, Dice, FIN, KIB, MIB, PING, PONG, TEXT, assert_passed, head, masked, pair, read_frame,
    server, transport::Flaky, within,
};
use sockeye::{CloseCode, Config, Event, Message, MessageKind, SendError, WebSocket};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::unconstrained,
    time::{Instant, sleep},
};

fn streams_up_to(bytes: u64) -> Config {
    Config::with(|config| config.limits.max_streamed = bytes)
}

async fn read_all(socket: &mut WebSocket<DuplexStream>) -> (MessageKind, Vec<u8>) {
    let mut reader = socket.reader().await.unwrap().unwrap();
    let mut all = Vec::new();
    while let Some(bytes) = reader.read().await.unwrap() {
        assert!(!bytes.is_empty());
        all.extend_from_slice(&bytes);
    }
    assert_eq!(reader.read().await.unwrap(), None, "the end is the end");
    (reader.kind(), all)
}

/// Ten times `max_message` in one frame: handed out as it comes.
#[tokio::test(start_paused = true)]
async fn a_message_longer_than_any_that_is_held() {
    let (mut socket, mut peer) = server(64 * KIB, streams_up_to(10 * MIB as u64)).await;
    within(60, async {
        let sending = async {
            peer.write_all(&masked(FIN | BINARY, &vec![5; 10 * MIB])).await.unwrap();
            peer.write_all(&masked(FIN | TEXT, b"next")).await.unwrap();
            peer.write_all(&masked(FIN | TEXT, b"")).await.unwrap();
        };
        let receiving = async {
            let (kind, bytes) = read_all(&mut socket).await;
            assert_eq!((kind, bytes.len()), (MessageKind::Binary, 10 * MIB));
            assert!(bytes.iter().all(|byte| *byte == 5));
            assert_eq!(read_all(&mut socket).await, (MessageKind::Text, b"next".to_vec()));
            assert_eq!(read_all(&mut socket).await, (MessageKind::Text, Vec::new()));
        };
        tokio::join!(sending, receiving);
    })
    .await;
}

/// The limit of its own holds, over all fragments; many fragments are a limit too, but grow with the message.
#[tokio::test(start_paused = true)]
async fn a_streamed_message_is_limited() {
    for fragments in [false, true] {
        let (mut socket, mut peer) = server(64 * KIB, streams_up_to(100 * KIB as u64)).await;
        within(60, async {
            let sending = async {
                if fragments {
                    peer.write_all(&masked(BINARY, &vec![0; 100 * KIB])).await.unwrap();
                    peer.write_all(&masked(FIN, b"x")).await.unwrap();
                } else {
                    peer.write_all(&head(FIN | BINARY, 0x80, 100 * KIB as u64 + 1)).await.unwrap();
                    peer.write_all(&[0; 4]).await.unwrap();
                }
                let (first, payload) = read_frame(&mut peer).await.unwrap();
                assert_eq!((first, &payload[..2]), (FIN | CLOSE, &1009_u16.to_be_bytes()[..]));
                drop(peer);
            };
            let receiving = async {
                let error = match socket.reader().await {
                    Err(error) => error,
                    Ok(reader) => {
                        let mut reader = reader.unwrap();
                        loop {
                            match reader.read().await {
                                Ok(bytes) => assert!(bytes.is_some()),
                                Err(error) => break error,
                            }
                        }
                    }
                };
                assert!(error.is_too_big());
                assert!(socket.reader().await.unwrap().is_none());
            };
            tokio::join!(sending, receiving);
        })
        .await;
    }
    let (mut socket, mut peer) = server(MIB, Config::with(|config| config.limits.max_fragments = 10)).await;
    peer.write_all(&masked(TEXT, b"x")).await.unwrap();
    let mut reader = within(60, socket.reader()).await.unwrap().unwrap();
    assert!(reader.read().await.unwrap().is_some());
    peer.write_all(&masked(CONTINUATION, &[b'x'; KIB])).await.unwrap();
    assert!(reader.read().await.unwrap().is_some());
    // Nine more, and one for the KiB.
    peer.write_all(&masked(CONTINUATION, b"").repeat(9)).await.unwrap();
    assert!(poll_once(reader.read()).is_pending());
    peer.write_all(&masked(CONTINUATION, b"")).await.unwrap();
    drop(peer);
    assert!(reader.read().await.unwrap_err().close_code() == Some(CloseCode::POLICY_VIOLATION));
}

/// UTF-8 is checked over the borders of parts, and pings between fragments are answered.
#[tokio::test(start_paused = true)]
async fn text_in_parts_with_pings_between() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    let fish = "🐟".as_bytes();
    within(600, async {
        let sending = async {
            peer.write_all(&masked(TEXT, &fish[..1])).await.unwrap();
            for byte in &fish[1..] {
                sleep(Duration::from_secs(20)).await;
                peer.write_all(&masked(FIN | PING, b"?")).await.unwrap();
                assert_eq!(read_frame(&mut peer).await.unwrap(), (FIN | PONG, b"?".to_vec()));
                peer.write_all(&masked(CONTINUATION, &[*byte])).await.unwrap();
            }
            peer.write_all(&masked(FIN, b"")).await.unwrap();
            peer.write_all(&masked(TEXT, &fish[..2])).await.unwrap();
            peer.write_all(&masked(FIN, b"not a fish")).await.unwrap();
            let (first, payload) = read_frame(&mut peer).await.unwrap();
            assert_eq!((first, &payload[..2]), (FIN | CLOSE, &1007_u16.to_be_bytes()[..]));
            drop(peer);
        };
        let receiving = async {
            // Longer than `message_timeout`, but something comes all the time.
            assert_eq!(read_all(&mut socket).await, (MessageKind::Text, fish.to_vec()));
            // It came together with its fault, and before it.
            let mut reader = socket.reader().await.unwrap().unwrap();
            assert_eq!(reader.read().await.unwrap().unwrap(), fish[..2]);
            assert_eq!(reader.read().await.unwrap_err().code(), "invalid_utf8");
        };
        tokio::join!(sending, receiving);
    })
    .await;
}

/// Nothing more comes of it: the message timeout, from what came last.
#[tokio::test(start_paused = true)]
async fn a_streamed_message_that_stops() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    peer.write_all(&masked(TEXT, b"and then")).await.unwrap();
    let mut reader = within(60, socket.reader()).await.unwrap().unwrap();
    assert!(reader.read().await.unwrap().is_some());
    let start = Instant::now();
    drop(peer);
    // The peer's end comes first, in this case.
    assert!(within(60, reader.read()).await.unwrap_err().is_abnormal());
    assert_passed(start, 0);

    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    peer.write_all(&masked(TEXT, b"and then")).await.unwrap();
    let mut reader = within(60, socket.reader()).await.unwrap().unwrap();
    assert!(reader.read().await.unwrap().is_some());
    let start = Instant::now();
    let (error, ()) = tokio::join!(within(60, reader.read()), async {
        sleep(Duration::from_secs(29)).await;
        peer.write_all(&head(CONTINUATION, 0x80, 10)).await.unwrap();
        peer.write_all(&[0; 4]).await.unwrap();
        peer.write_all(b"x").await.unwrap();
    });
    assert_eq!(error.unwrap().unwrap(), "x");
    let error = within(60, reader.read()).await.unwrap_err();
    assert_eq!(error.code(), "message_timeout");
    assert_passed(start, 29 + 30 + 5);
}

/// What is left of a message: another reader goes on with it, `recv` passes over it, and neither begins inside one.
#[tokio::test(start_paused = true)]
async fn a_reader_dropped_in_the_middle() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    within(60, async {
        peer.write_all(&masked(TEXT, b"one ")).await.unwrap();
        assert_eq!(socket.reader().await.unwrap().unwrap().read().await.unwrap().unwrap(), "one ");
        peer.write_all(&masked(FIN, b"two")).await.unwrap();
        let mut reader = socket.reader().await.unwrap().unwrap();
        assert_eq!(reader.read().await.unwrap().unwrap(), "two");
        // It goes before it has seen the end: all of the message was seen, and the next is the next.
        peer.write_all(&masked(TEXT, b"three ")).await.unwrap();
        assert_eq!(socket.reader().await.unwrap().unwrap().read().await.unwrap().unwrap(), "three ");
        peer.write_all(&masked(CONTINUATION, b"of which nobody wants ")).await.unwrap();
        assert!(poll_once(socket.recv()).is_pending());
        assert!(poll_once(socket.reader()).is_pending(), "never in the middle of a message");
        peer.write_all(&masked(FIN, b"the rest")).await.unwrap();
        peer.write_all(&masked(FIN | TEXT, b"four")).await.unwrap();
        assert_eq!(read_all(&mut socket).await.1, b"four");
        // And a message that no reader was given for is not lost to `recv`.
        peer.write_all(&head(FIN | TEXT, 0x80, 4)).await.unwrap();
        assert!(poll_once(socket.reader()).is_pending());
        peer.write_all(&[0, 0, 0, 0, b'f', b'i', b'v', b'e']).await.unwrap();
        assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("five"));
        // Unless it is longer than what is held.
        peer.write_all(&masked(BINARY, &[0; 10])).await.unwrap();
        assert!(socket.reader().await.unwrap().is_some());
        peer.write_all(&masked(FIN, b"")).await.unwrap();
        peer.write_all(&masked(FIN | TEXT, b"six")).await.unwrap();
        assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("six"));
    })
    .await;
}

/// A frame that only a streamed message may have, begun while a reader was awaited, and then the whole of it is wanted.
#[tokio::test(start_paused = true)]
async fn too_long_to_be_held_after_all() {
    let (mut socket, mut peer) = server(KIB, streams_up_to(10 * MIB as u64)).await;
    peer.write_all(&head(FIN | BINARY, 0x80, 2 * MIB as u64)).await.unwrap();
    peer.write_all(&[0; 4]).await.unwrap();
    assert!(poll_once(socket.reader()).is_pending());
    let error = within(60, socket.recv()).await.unwrap_err();
    assert!(error.is_too_big());
}

/// Parts as they are written, a ping between them, and no other message.
#[tokio::test(start_paused = true)]
async fn a_writer_sends_fragments() {
    let (mut socket, mut peer) = server(64 * KIB, Config::default()).await;
    within(60, async {
        let mut writer = socket.writer(MessageKind::Text);
        let fish = "🐟".as_bytes();
        writer.write(&b"a "[..]).await.unwrap();
        writer.write(fish[..2].to_vec()).await.unwrap();
        let Err(SendError::Unfinished(back)) = socket.try_send("no") else { panic!("in the middle of a message") };
        assert_eq!(back.as_text(), Some("no"));
        assert!(socket.send("no").await.unwrap_err().is_misuse());
        socket.ping(b"between"[..].try_into().unwrap()).await.unwrap();
        let mut writer = socket.writer(MessageKind::Binary);
        assert_eq!(writer.kind(), MessageKind::Text, "it goes on with what was begun");
        assert!(writer.write(&b"not a fish"[..]).await.unwrap_err().is_misuse());
        writer.write(fish[2..].to_vec()).await.unwrap();
        writer.finish().await.unwrap();
        socket.send("yes").await.unwrap();
        socket.writer(MessageKind::Binary).finish().await.unwrap();
        let expected = [
            (FIN | PING, b"between".to_vec()),
            (TEXT, b"a ".to_vec()),
            (CONTINUATION, fish[..2].to_vec()),
            (CONTINUATION, fish[2..].to_vec()),
            (FIN, Vec::new()),
            (FIN | TEXT, b"yes".to_vec()),
            (FIN | BINARY, Vec::new()),
        ];
        for frame in expected {
            assert_eq!(read_frame(&mut peer).await.unwrap(), frame);
        }
        // A text that ends inside a code point cannot be finished; a Close frame may still leave.
        let mut writer = socket.writer(MessageKind::Text);
        writer.write(fish[..2].to_vec()).await.unwrap();
        assert!(writer.finish().await.unwrap_err().is_misuse());
        socket.start_close(CloseCode::NORMAL, "");
        socket.flush().await.unwrap();
        assert_eq!(read_frame(&mut peer).await.unwrap().0, TEXT);
        assert_eq!(read_frame(&mut peer).await.unwrap().0, FIN | CLOSE);
    })
    .await;
}

/// Back-pressure: a writer waits above `high_water`, whoever reads.
#[tokio::test(start_paused = true)]
async fn a_writer_waits() {
    let (mut socket, mut peer) = server(KIB, Config::with(|config| config.limits.high_water = 4 * KIB)).await;
    within(60, async {
        let mut writer = socket.writer(MessageKind::Binary);
        let mut written = 0;
        while let Poll::Ready(result) = poll_once(writer.write(vec![0; KIB])) {
            result.unwrap();
            written += 1;
        }
        assert!((5..8).contains(&written), "{written}");
        let reading = async { while read_frame(&mut peer).await.unwrap().0 & FIN == 0 {} };
        let (finished, ()) = tokio::join!(writer.finish(), reading);
        finished.unwrap();
    })
    .await;
}

/// From one end's reader to the other's writer, as `AsyncRead` and `AsyncWrite`.
#[tokio::test(start_paused = true)]
async fn copied_by_tokio() {
    let (mut client, mut server) = pair(duplex(KIB), streams_up_to(4 * MIB as u64)).await;
    let body: Vec<u8> = (0..3 * MIB).map(|i| u8::try_from(i % 251).unwrap()).collect();
    within(60, async {
        let sending = async {
            let mut writer = client.writer(MessageKind::Binary);
            writer.write_all(&body).await.unwrap();
            writer.shutdown().await.unwrap();
            writer.shutdown().await.unwrap();
            client.send("after").await.unwrap();
        };
        let receiving = async {
            let mut received = Vec::new();
            server.reader().await.unwrap().unwrap().read_to_end(&mut received).await.unwrap();
            assert!(received == body);
            assert_eq!(server.recv().await.unwrap().unwrap().as_text(), Some("after"));
        };
        tokio::join!(sending, receiving);
    })
    .await;
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
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

/// C15 for `reader` and `writer`, beside `recv` and `send`: each future dropped after a few polls, and not one message lost,
/// torn or doubled.
#[tokio::test(start_paused = true)]
async fn c15_readers_and_writers_dropped_at_any_poll() {
    unconstrained(async {
        for seed in 1..=3 {
            cancel_at_random(seed).await;
        }
    })
    .await;
}

struct End {
    socket: WebSocket<Flaky>,
    next: u32,
    /// Of the message that is being written: its number, and how much of it has been taken.
    writing: Option<(u32, usize)>,
    sent: Vec<u32>,
    /// Of the message that is being read.
    part: Vec<u8>,
    got: Vec<u32>,
    cancelled: usize,
}

const PARTS: usize = 4;

fn part_of(number: u32, part: usize) -> String {
    format!("{number}:{part} {} ", "x".repeat(number as usize % 900))
}

impl End {
    fn step(&mut self, dice: &mut Dice) {
        let polls = 1 + dice.below(6);
        match dice.below(6) {
            0 | 1 => drop(self.read(polls)),
            2 if self.part.is_empty() => drop(self.receive(polls)),
            3 if self.writing.is_none() => self.send(polls),
            _ => self.write(polls),
        }
    }

    fn send(&mut self, polls: usize) {
        self.next += 1;
        let number = self.next;
        let text: String = (0..PARTS).map(|part| part_of(number, part)).collect();
        let is_taken = self.socket.buffered_amount() <= 2 * KIB;
        match poll_so_often(self.socket.send(text), polls) {
            Poll::Ready(result) => result.unwrap(),
            Poll::Pending => self.cancelled += 1,
        }
        // "Taken at once unless the queue is above `high_water`": and if it was above, it may have been taken or not.
        if is_taken {
            self.sent.push(number);
        }
    }

    fn write(&mut self, polls: usize) {
        let (number, part) = *self.writing.get_or_insert_with(|| {
            self.next += 1;
            (self.next, 0)
        });
        if self.socket.buffered_amount() > 2 * KIB {
            // Whether it would be taken is not known, so only try to get there.
            self.cancelled += usize::from(poll_so_often(self.socket.ready(), polls).is_pending());
            return;
        }
        let mut writer = self.socket.writer(MessageKind::Text);
        if part < PARTS {
            assert!(poll_once(writer.write(part_of(number, part))).is_ready(), "there is room");
            self.writing = Some((number, part + 1));
        } else {
            self.cancelled += usize::from(poll_so_often(writer.finish(), polls).is_pending());
            self.writing = None;
            self.sent.push(number);
        }
    }

    fn read(&mut self, polls: usize) -> Option<bool> {
        let reading = async {
            let Some(mut reader) = self.socket.reader().await.unwrap() else { return true };
            while let Some(bytes) = reader.read().await.unwrap() {
                self.part.extend_from_slice(&bytes);
                if is_whole(&self.part) {
                    // Whether a reader is there to see the end or not.
                    self.got.push(check(std::str::from_utf8(&self.part).unwrap()));
                    self.part.clear();
                }
            }
            assert!(self.part.is_empty(), "the end in the middle");
            false
        };
        match poll_so_often(reading, polls) {
            Poll::Ready(is_closed) => Some(is_closed),
            Poll::Pending => {
                self.cancelled += 1;
                None
            }
        }
    }

    fn receive(&mut self, polls: usize) -> Option<bool> {
        match poll_so_often(self.socket.recv(), polls) {
            Poll::Ready(message) => {
                let Some(message) = message.unwrap() else { return Some(true) };
                self.got.push(check(message.as_text().unwrap()));
                Some(false)
            }
            Poll::Pending => {
                self.cancelled += 1;
                None
            }
        }
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap();
    let number: u32 = text.split(':').next().unwrap().parse().unwrap();
    text.len() == (0..PARTS).map(|part| part_of(number, part).len()).sum::<usize>()
}

fn check(text: &str) -> u32 {
    let number: u32 = text.split(':').next().unwrap().parse().unwrap();
    assert_eq!(text, (0..PARTS).map(|part| part_of(number, part)).collect::<String>());
    number
}

async fn cancel_at_random(seed: u64) {
    let config = Config::with(|config| {
        config.limits.high_water = 2 * KIB;
        config.limits.max_write_queue = 64 * KIB;
    });
    let io = duplex(700);
    let io = (Flaky::new(io.0, seed, 300), Flaky::new(io.1, seed + 50, 300));
    let (client, server) = pair(io, config).await;
    let mut ends = [client, server].map(|socket| End {
        socket,
        next: 0,
        writing: None,
        sent: Vec::new(),
        part: Vec::new(),
        got: Vec::new(),
        cancelled: 0,
    });
    let mut dice = Dice::new(seed);
    while ends.iter().map(|end| end.cancelled).sum::<usize>() < 10_000 {
        let end = dice.below(2);
        ends[end].step(&mut dice);
    }
    let mut closed = [false; 2];
    for turn in 0..1_000_000 {
        let end = turn % 2;
        if ends[end].writing.is_some() {
            ends[end].write(3);
        } else if ends[1 - end].writing.is_none() {
            ends[end].socket.start_close(CloseCode::NORMAL, "done");
        }
        closed[end] = closed[end] || ends[end].read(3) == Some(true);
        if closed == [true; 2] {
            break;
        }
    }
    assert_eq!(closed, [true; 2], "the closing handshake ends");
    for (from, to) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
        assert!(to.got.is_sorted_by(|a, b| a < b), "doubled or out of order");
        let lost: Vec<_> = from.sent.iter().filter(|number| to.got.binary_search(number).is_err()).collect();
        assert!(lost.is_empty(), "seed {seed}: lost {lost:?}");
        assert!(from.sent.len() > 100, "{}", from.sent.len());
    }
}

/// A whole message is a part too.
#[tokio::test(start_paused = true)]
async fn readers_take_what_came_whole() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    within(60, async {
        for text in ["one", "two"] {
            peer.write_all(&masked(FIN | TEXT, text.as_bytes())).await.unwrap();
        }
        assert_eq!(socket.recv().await.unwrap().unwrap(), Message::from("one"));
        assert_eq!(read_all(&mut socket).await, (MessageKind::Text, b"two".to_vec()));
    })
    .await;
}

/// `try_recv` waits for nothing, so it leaves to the next reader, or to `recv`, what one has left.
#[tokio::test(start_paused = true)]
async fn try_recv_leaves_alone_what_a_reader_left() {
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    within(60, async {
        peer.write_all(&masked(TEXT, b"one, ")).await.unwrap();
        let mut reader = socket.reader().await.unwrap().unwrap();
        assert_eq!(reader.read().await.unwrap().unwrap(), "one, ");
        assert_eq!(socket.try_recv(), None);
        peer.write_all(&masked(FIN, b"all")).await.unwrap();
        peer.write_all(&masked(FIN | TEXT, b"two")).await.unwrap();
        assert_eq!(read_all(&mut socket).await.1, b"all", "it goes on where the other was");
        assert_eq!(read_all(&mut socket).await.1, b"two");
    })
    .await;
}

/// What a reader has left of a message is passed over by whatever else receives; and no reader begins where that got to.
#[tokio::test(start_paused = true)]
async fn whatever_receives_passes_over_what_a_reader_left() {
    for (name, way) in [("recv_event", 0), ("close", 1)] {
        let (mut socket, mut peer) = server(KIB, Config::default()).await;
        within(60, async {
            peer.write_all(&masked(TEXT, b"one, ")).await.unwrap();
            let mut reader = socket.reader().await.unwrap().unwrap();
            assert_eq!(reader.read().await.unwrap().unwrap(), "one, ");
            peer.write_all(&masked(CONTINUATION, b"more, ")).await.unwrap();
            match way {
                0 => assert!(poll_once(socket.recv_event()).is_pending(), "it gives no parts"),
                _ => assert!(poll_once(socket.close(CloseCode::NORMAL, "")).is_pending()),
            }
            assert!(poll_once(socket.reader()).is_pending(), "{name}: a message with a hole in it");
            peer.write_all(&masked(FIN, b"all")).await.unwrap();
            peer.write_all(&masked(FIN | TEXT, b"two")).await.unwrap();
            assert_eq!(read_all(&mut socket).await.1, b"two", "{name}");
        })
        .await;
    }
    // And nothing that follows it is lost.
    let (mut socket, mut peer) = server(KIB, Config::default()).await;
    within(60, async {
        peer.write_all(&masked(TEXT, b"one, ")).await.unwrap();
        assert!(socket.reader().await.unwrap().is_some());
        peer.write_all(&masked(FIN, b"all")).await.unwrap();
        peer.write_all(&masked(FIN | PING, b"?")).await.unwrap();
        assert!(matches!(socket.recv_event().await.unwrap(), Some(Event::Ping(_))));
        peer.write_all(&masked(FIN | TEXT, b"two")).await.unwrap();
        assert_eq!(read_all(&mut socket).await.1, b"two");
    })
    .await;
}
