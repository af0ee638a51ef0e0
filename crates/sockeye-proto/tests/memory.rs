//! What a connection may hold, counted by an allocator that counts the whole process. One test, so that nothing else
//! runs in it.

mod common;

use std::{mem::size_of, sync::Arc, time::Instant};

use bytes::{Buf, Bytes};
use common::{BINARY, CLOSE, CONTINUATION, FIN, KIB, MIB, PING, TEXT, close_payload, frame, header, secs, with_limits};
use peak_alloc::PeakAlloc;
use sockeye_proto::{Config, Connection, Event, Message, Output, Prepared, Role};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The box of a message of which something is missing, or a cut control frame.
const UNFINISHED: usize = 160;

#[test]
fn memory_stays_within_its_bounds() {
    println!("size_of::<Connection>() = {}", size_of::<Connection>());
    assert!(size_of::<Connection>() <= 512);
    a_header_that_announces_16_mib_reserves_nothing();
    a_hundred_thousand_pings_to_a_peer_that_never_reads();
    single_bytes_of_a_message_of_64_kib();
    a_large_message_arriving();
    empty_fragments_cost_nothing();
    an_idle_connection_owns_no_heap();
    a_prepared_message_is_not_copied();
    small_messages_to_a_peer_that_never_reads();
    after_a_violation_nothing_is_kept();
}

/// Issue: "a 14-byte header that announces 16 MiB reserves nothing" (B9).
fn a_header_that_announces_16_mib_reserves_nothing() {
    let config = raised();
    let mut input = header(Role::Client, FIN | BINARY, 16 * MIB as u64);
    assert_eq!(input.len(), 14);
    let mut connection = Connection::server(config, Instant::now());
    let (peak, kept) = heap_of(|| feed(&mut connection, &mut input));
    println!("header of 16 MiB: {peak} bytes at most, {kept} kept");
    assert!(peak <= UNFINISHED);
    assert_eq!(connection.buffered_input(), 0);
}

/// Issue: "100,000 pings from a peer that never reads leave memory flat" (B20).
fn a_hundred_thousand_pings_to_a_peer_that_never_reads() {
    let now = Instant::now();
    let mut connection = Connection::server(raised(), now);
    let input = frame(Role::Client, FIN | PING, &[b'p'; 125]);
    let mut wire = input.clone();
    let mut ping = |connection: &mut Connection| {
        wire.copy_from_slice(&input);
        feed(connection, &mut wire);
        connection.handle_write_blocked(now);
    };
    let (first, _) = heap_of(|| (0..10).for_each(|_| ping(&mut connection)));
    // The allocator counts for the whole process, and the test harness has a thread of its own: what comes every time is ours.
    let counts = (0..3).map(|_| heap_of(|| (0..100_000).for_each(|_| ping(&mut connection))));
    let (peak, kept) = counts.min().unwrap();
    println!("pings: {first} bytes for 10, {peak} more for 100,000, {kept} kept");
    // The event and the pong that replaces the last one.
    assert!(first <= 2 * KIB && peak <= 512 && kept == 0);
    assert_eq!(connection.buffered_amount(), 127);
}

/// B19: at most twice the message, and no more than the message once it is nearly whole.
fn single_bytes_of_a_message_of_64_kib() {
    for len in [64 * KIB, 50_000] {
        let mut connection = Connection::server(raised(), Instant::now());
        let mut input = frame(Role::Client, FIN | BINARY, &vec![b'x'; len]);
        let (last, rest) = input.split_last_mut().unwrap();
        let (peak, kept) = heap_of(|| {
            for byte in rest {
                feed(&mut connection, std::slice::from_mut(byte));
            }
        });
        println!("{len} bytes one by one: {peak} bytes at most, {kept} kept before the last");
        // While it grows, the allocator has the old and the new.
        assert!(kept <= len + UNFINISHED && peak <= 2 * len + UNFINISHED);
        connection.handle_input(std::slice::from_mut(last), Instant::now());
        let Output::Event(Event::Message(message)) = connection.poll_output() else { panic!("no message") };
        assert_eq!(message.len(), len);
    }
}

/// What is held is at most twice what came, and at most 1 MiB ahead of it.
fn a_large_message_arriving() {
    let mut connection = Connection::server(raised(), Instant::now());
    feed(&mut connection, &mut header(Role::Client, FIN | BINARY, 16 * MIB as u64));
    let before = HEAP.current_usage();
    let mut chunk = vec![0; 10_000];
    let overhead = chunk.len();
    for count in 1..1_600 {
        feed(&mut connection, &mut chunk);
        let (came, held) = (count * chunk.len(), HEAP.current_usage() - before - overhead);
        assert!(held <= came + came.min(MIB), "{held} for {came}");
    }
}

/// B16, in memory.
fn empty_fragments_cost_nothing() {
    let config = with_limits(|limits| limits.max_fragments = usize::MAX);
    let mut connection = Connection::server(Arc::new(config), Instant::now());
    let mut first = frame(Role::Client, TEXT, b"");
    let mut input = frame(Role::Client, CONTINUATION, b"").repeat(10_000);
    let (peak, _) = heap_of(|| {
        feed(&mut connection, &mut first);
        feed(&mut connection, &mut input);
    });
    assert!(peak <= UNFINISHED, "{peak}");
}

/// Issue: an idle connection, also after it has echoed a message, owns no buffer. A client's source of masks is boxed.
fn an_idle_connection_owns_no_heap() {
    let now = Instant::now();
    let config = Arc::new(Config::default());
    fill_the_threads_spares();
    for len in [0, 10, 128, 5_000, 20_000, 500_000] {
        for role in [Role::Server, Role::Client] {
            let from = if role == Role::Server { Role::Client } else { Role::Server };
            let input = [
                frame(from, TEXT, &vec![b'x'; len]),
                frame(from, FIN | PING, b"ping"),
                frame(from, FIN | CONTINUATION, b"end"),
            ]
            .concat();
            let mut inputs = [input.clone(), input];
            let mut connection = match role {
                Role::Server => Connection::server(config.clone(), now),
                Role::Client => Connection::client(config.clone(), || [1, 2, 3, 4], now),
            };
            let (_, kept) = heap_of(|| {
                let [whole, cut] = &mut inputs;
                echo(&mut connection, whole);
                cut.chunks_mut(1000).for_each(|chunk| echo(&mut connection, chunk));
            });
            assert_eq!(kept, 0, "{role:?} after {len} bytes");
        }
    }
}

/// A broadcast is encoded once: a connection's part is its place in the queue.
fn a_prepared_message_is_not_copied() {
    let now = Instant::now();
    let config = Arc::new(Config::default());
    let prepared = Prepared::new(Message::from(Bytes::from(vec![0; 100 * KIB])));
    let mut connections: Vec<_> = (0..100).map(|_| Connection::server(config.clone(), now)).collect();
    let (peak, _) = heap_of(|| {
        for connection in &mut connections {
            connection.send_prepared(&prepared).unwrap();
        }
    });
    println!("100 KiB prepared for 100: {} bytes each", peak / 100);
    assert!(peak <= 100 * 512);
}

/// The queue's limit counts bytes of the wire; what it costs is not much more, whatever is queued in turn.
fn small_messages_to_a_peer_that_never_reads() {
    let message = |len| Message::from(Bytes::from(vec![0; len]));
    for lens in [[0, 0], [1, 1], [100, 100], [8_000, 8_000], [8_192, 8_192], [1, 8_192], [1_100, 8_192], [8_191, 8_192]]
    {
        let mut connection = Connection::server(Arc::new(Config::default()), Instant::now());
        let messages = lens.map(message);
        let (peak, _) = heap_of(|| while messages.iter().all(|message| connection.send(message.clone()).is_ok()) {});
        // Payloads from 8 KiB on are shared, so their memory is the sender's.
        let shared: usize = lens.iter().filter(|len| **len >= 8_192).sum();
        let queued = connection.buffered_amount();
        let copied = queued - queued * shared / (lens[0] + lens[1] + 8);
        println!("queue full of messages of {lens:?} bytes: {queued} bytes, {copied} copied, {peak} of heap");
        assert!(queued <= MIB + 16);
        assert!(peak <= copied + MIB / 4, "{peak}");
    }
}

fn after_a_violation_nothing_is_kept() {
    fill_the_threads_spares();
    let mut connection = Connection::server(raised(), Instant::now());
    let mut begun = frame(Role::Client, BINARY, &vec![0; MIB]);
    let mut bad = frame(Role::Client, FIN | CLOSE, &close_payload(999, b""));
    let (_, kept) = heap_of(|| {
        feed(&mut connection, &mut begun);
        feed(&mut connection, &mut bad);
        echo(&mut connection, &mut []);
    });
    assert!(kept <= 64, "{kept}: more than the outcome, which waits to be told");
}

/// What the thread keeps for its next queue is nobody's.
fn fill_the_threads_spares() {
    for len in [10, 5_000] {
        let mut connection = Connection::server(Arc::new(Config::default()), Instant::now());
        echo(&mut connection, &mut frame(Role::Client, FIN | BINARY, &vec![0; len]));
    }
}

/// Limits at which nothing but memory itself bounds memory.
fn raised() -> Arc<Config> {
    Arc::new(with_limits(|limits| {
        (limits.max_frame, limits.max_message) = (100 * MIB, 100 * MIB);
        (limits.control_rate, limits.control_burst) = (1_000_000_000, u32::MAX);
        limits.message_timeout = secs(1_000_000);
    }))
}

/// Bytes allocated at the worst moment of `action`, and bytes more after it than before.
fn heap_of(action: impl FnOnce()) -> (usize, usize) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    action();
    (HEAP.peak_usage() - before, HEAP.current_usage().saturating_sub(before))
}

/// Input whose events nobody keeps and whose answers nobody takes.
fn feed(connection: &mut Connection, input: &mut [u8]) {
    let now = Instant::now();
    let mut at = 0;
    while at < input.len() {
        at += connection.handle_input(&mut input[at..], now);
        while let Output::Event(_) = connection.poll_output() {}
    }
}

/// Input whose messages go back and whose answers leave.
fn echo(connection: &mut Connection, input: &mut [u8]) {
    let now = Instant::now();
    let mut at = 0;
    loop {
        at += connection.handle_input(&mut input[at..], now);
        loop {
            match connection.poll_output() {
                Output::Event(Event::Message(message)) => connection.send(message).unwrap(),
                Output::Transmit => {
                    let mut outgoing = connection.outgoing();
                    let all = outgoing.remaining();
                    outgoing.advance(all);
                }
                Output::Wait(_) => break,
                _ => {}
            }
        }
        if at == input.len() {
            return;
        }
    }
}
