//! What compression may hold, counted by an allocator that counts the whole process. One test, so that nothing else runs
//! in it. The numbers are those of the table in `src/deflate/mod.rs`.
#![cfg(feature = "deflate")]

mod common;
#[path = "common/deflate.rs"]
mod deflate;

use std::{sync::Arc, time::Instant};

use bytes::Buf;
use common::{BINARY, CONTINUATION, FIN, KIB, MIB, RSV1, TEXT, frame};
use deflate::{Agreed, both, compressed, noise, takeover};
use peak_alloc::PeakAlloc;
use sockeye_proto::{Config, Connection, Deflate, DeflateBudget, Event, Output, Prepared, Role};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The box of a message of which something is missing, and what is kept of its inflating besides bytes.
const UNFINISHED: usize = 512;
/// A context of zlib-rs' that inflates.
const DECOMPRESSOR: usize = 48_000;

#[test]
fn memory_stays_within_its_bounds() {
    // What the tests themselves keep is made before anything is counted.
    for len in [1_000, 5_000, 40_000, 50_000] {
        hello(len);
    }
    the_threads_contexts();
    without_takeover_an_idle_connection_holds_nothing();
    takeover_holds_its_windows();
    d13_ten_thousand_connections_with_15_bits();
    d1_d2_a_bomb_holds_no_more_than_its_limit();
    d3_bombs_on_a_thousand_connections();
    a_message_in_pieces();
    a_broadcast_is_held_once();
}

/// The first message of a thread makes them; none after it makes more.
fn the_threads_contexts() {
    let agreed = both(&Deflate::default());
    let (_, inflating) = heap_of(|| feed(&mut server(&agreed), &mut hello(1_000)));
    let (_, deflating) = heap_of(|| send(&mut server(&agreed), 1_000));
    println!("a thread that inflates: {inflating} bytes, that deflates: {deflating} more");
    assert_near(inflating, DECOMPRESSOR + 64 * KIB);
    assert_near(deflating, 281_000);
    let (_, deflating) = heap_of(|| send(&mut server(&agreed), 5_000));
    assert_near(deflating, 381_000);
    let twelve = both(&Deflate::default().server_window_bits(12).unwrap().mem_level(5).unwrap());
    let (_, deflating) = heap_of(|| send(&mut server(&twelve), 1_000));
    println!("a compressor of 12 bits, memory level 5: {deflating}");
    assert_near(deflating, 165_000);
    let (_, again) = heap_of(|| {
        for _ in 0..100 {
            feed(&mut server(&agreed), &mut hello(1_000));
            send(&mut server(&agreed), 1_000);
            send(&mut server(&twelve), 1_000);
        }
    });
    assert_eq!(again, 0);
}

/// Issue: "deflate without takeover adds 0 bytes to an idle connection".
fn without_takeover_an_idle_connection_holds_nothing() {
    // The allocator counts for the whole process, and the test harness has a thread of its own: what comes every time is ours.
    let least = (0..3).map(|_| held_without_takeover()).min();
    assert_eq!(least, Some((0, 0)));
}

/// What 1,000 connections hold when they are made, and what more after a message each way.
fn held_without_takeover() -> (usize, usize) {
    let agreed = both(&Deflate::default());
    let mut connections: Vec<Connection> = Vec::with_capacity(1_000);
    let (_, made) = heap_of(|| connections.extend((0..1_000).map(|_| server(&agreed))));
    let (_, used) = heap_of(|| {
        for connection in &mut connections {
            feed(connection, &mut hello(5_000));
            send(connection, 5_000);
        }
    });
    println!("1,000 connections without takeover: {made} bytes, and {used} after a message each way");
    (made, used)
}

/// With takeover a connection has its two windows, as far as they are filled; the contexts stay the thread's. DESIGN has
/// 165 KB and 48 KB for contexts of the connection's own at 12 bits: this is a fortieth.
fn takeover_holds_its_windows() {
    for bits in [9, 12, 15] {
        let policy = takeover().server_window_bits(bits).unwrap().client_window_bits(bits).unwrap();
        let agreed = both(&policy);
        // Makes the thread's compressor of these bits, for which it may drop another.
        send(&mut server(&agreed), 50_000);
        let mut connections: Vec<Connection> = Vec::with_capacity(100);
        let (_, made) = heap_of(|| connections.extend((0..100).map(|_| server(&agreed))));
        let (_, used) = heap_of(|| {
            for connection in &mut connections {
                for _ in 0..3 {
                    feed(connection, &mut hello(50_000));
                    send(connection, 50_000);
                }
            }
        });
        let context = HEAP.current_usage();
        let windows = 2 << bits;
        println!("takeover of {bits} bits: {} bytes a connection at first, {} more when full", made / 100, used / 100);
        assert!(made / 100 <= 200);
        assert!(used / 100 >= windows && used / 100 <= windows + 500, "{used}");
        drop(connections);
        assert!(context - HEAP.current_usage() >= 100 * windows);
    }
}

/// D13: the windows of 10,000 connections are what was computed, and over the budget there is no takeover.
fn d13_ten_thousand_connections_with_15_bits() {
    let room = 1_000;
    let policy = takeover().budget(DeflateBudget::new(room * 2 * 32 * KIB));
    let connections: Vec<_> = (0..10_000)
        .map(|_| {
            let agreed = deflate::accept(&policy, "permessage-deflate").deflate.unwrap();
            (agreed.server_takeover(), with(Role::Server, &agreed))
        })
        .collect();
    assert_eq!(connections.iter().filter(|(takeover, _)| *takeover).count(), room);
    let mut connections: Vec<Connection> = connections.into_iter().map(|(_, connection)| connection).collect();
    let (_, used) = heap_of(|| {
        for connection in &mut connections {
            feed(connection, &mut hello(40_000));
            send(connection, 40_000);
        }
    });
    println!("10,000 connections, a budget for 1,000: {used} bytes of {}", room * 2 * 32 * KIB);
    assert_near(used, room * 2 * 32 * KIB);
    drop(connections);
}

/// D1 and D2: at most the limit and 64 KiB.
fn d1_d2_a_bomb_holds_no_more_than_its_limit() {
    let agreed = both(&Deflate::default());
    let limit = Config::default().limits.max_message;
    let bomb = compressed(&vec![b'a'; 64 * MIB]);
    let whole = frame(Role::Client, FIN | RSV1 | BINARY, &bomb);
    let mut fragments = frame(Role::Client, RSV1 | BINARY, &bomb[..100]);
    for fragment in bomb[100..].chunks(100) {
        fragments.extend(frame(Role::Client, CONTINUATION, fragment));
    }
    for (what, wire) in [("one frame", whole), ("fragments of 100 bytes", fragments)] {
        for step in [1_000, 64 * KIB] {
            let mut connection = server(&agreed);
            let mut pieces: Vec<Vec<u8>> = wire.chunks(step).map(<[u8]>::to_vec).collect();
            let (peak, _) = heap_of(|| pieces.iter_mut().for_each(|piece| feed(&mut connection, piece)));
            println!("a bomb of 64 MiB as {what}, {step} at a time: {peak} bytes at most");
            assert!(peak <= limit + 64 * KIB, "{peak}");
            assert!(connection.buffered_input() == 0);
        }
    }
}

/// D3: bombs that wait for their end hold what the limits say: on 1,000 connections no more than a thousand times the limit,
/// and nothing once they are refused.
fn d3_bombs_on_a_thousand_connections() {
    let agreed = both(&Deflate::default());
    let limit = 32 * KIB;
    let config = Arc::new(common::with_limits(|limits| limits.max_message = limit));
    let bomb = compressed(&vec![b'a'; 32 * MIB]);
    let wire = frame(Role::Client, RSV1 | BINARY, &bomb[..bomb.len() - 1]);
    let mut connections: Vec<Connection> = Vec::with_capacity(1_000);
    let (peak, _) = heap_of(|| {
        for _ in 0..1_000 {
            let mut connection = Connection::server(Arc::clone(&config), Instant::now()).with_deflate(&agreed.server);
            feed(&mut connection, &mut wire.clone());
            connections.push(connection);
        }
    });
    println!("1,000 bombs against a limit of 32 KiB: {peak} bytes at most");
    assert!(peak <= 1_000 * limit);
    assert!(peak / 1_000 <= 4 * KIB, "refused, each holds its Close frame");
}

/// 16 KiB of what came, a context, and what came out.
fn a_message_in_pieces() {
    let agreed = both(&Deflate::default());
    let data = noise(200_000, 8);
    let payload = compressed(&data);
    let mut wire = frame(Role::Client, FIN | RSV1 | BINARY, &payload);
    let (last, rest) = wire.split_last_mut().unwrap();
    let mut connection = server(&agreed);
    let mut first = rest[..10_000].to_vec();
    let (_, kept) = heap_of(|| feed(&mut connection, &mut first));
    println!("10,000 compressed bytes: {kept} bytes held");
    assert!(kept <= 2 * 10_000 + UNFINISHED, "below 16 KiB only what came");
    let (peak, kept) = heap_of(|| rest[10_000..].chunks_mut(1_400).for_each(|piece| feed(&mut connection, piece)));
    println!("a message of 200,000 bytes in pieces: {peak} bytes more at most, {kept} before its last byte");
    assert!(peak <= data.len() + 16 * KIB + DECOMPRESSOR + UNFINISHED);
    assert!(connection.buffered_input() <= data.len() + 16 * KIB);
    connection.handle_input(std::slice::from_mut(last), Instant::now());
    let Output::Event(Event::Message(message)) = connection.poll_output() else { panic!("no message") };
    assert_eq!(message.as_bytes(), data);
}

/// A broadcast to connections that compress is held once, compressed.
fn a_broadcast_is_held_once() {
    let agreed = both(&Deflate::default());
    let mut connections: Vec<Connection> = (0..1_000).map(|_| server(&agreed)).collect();
    // Compressed, still large enough to be shared and not copied.
    let half: Vec<u8> = noise(64 * KIB, 6).iter().map(|byte| byte & 0x0f).collect();
    let prepared = Prepared::new(half.into());
    let (_, kept) = heap_of(|| {
        for connection in &mut connections {
            connection.send_prepared(&prepared).unwrap();
        }
    });
    println!("64 KiB to 1,000 connections that do not read: {kept} bytes");
    assert_eq!(prepared.compressions(), 1);
    assert!(kept <= 40 * KIB + 1_000 * 400);
}

fn with(role: Role, agreed: &sockeye_proto::DeflateParams) -> Connection {
    assert_eq!(role, Role::Server);
    Connection::server(config(), Instant::now()).with_deflate(agreed)
}

fn server(agreed: &Agreed) -> Connection {
    with(Role::Server, &agreed.server)
}

/// One for all, as a listener has it.
fn config() -> Arc<Config> {
    static CONFIG: std::sync::OnceLock<Arc<Config>> = std::sync::OnceLock::new();
    Arc::clone(CONFIG.get_or_init(Arc::default))
}

/// A compressed message of a client's, as it stands on the wire.
fn hello(len: usize) -> Vec<u8> {
    static WIRES: std::sync::Mutex<Vec<(usize, Vec<u8>)>> = std::sync::Mutex::new(Vec::new());
    let mut wires = WIRES.lock().unwrap();
    if !wires.iter().any(|(of, _)| *of == len) {
        wires.push((len, frame(Role::Client, FIN | RSV1 | TEXT, &compressed(&vec![b'h'; len]))));
    }
    wires.iter().find(|(of, _)| *of == len).unwrap().1.clone()
}

fn send(connection: &mut Connection, len: usize) {
    connection.send("h".repeat(len).into()).unwrap();
    drain(connection);
}

fn feed(connection: &mut Connection, mut input: &mut [u8]) {
    while !input.is_empty() {
        let consumed = connection.handle_input(input, Instant::now());
        input = &mut input[consumed..];
        drain(connection);
    }
}

fn drain(connection: &mut Connection) {
    loop {
        match connection.poll_output() {
            Output::Transmit => {
                let mut outgoing = connection.outgoing();
                let remaining = outgoing.remaining();
                outgoing.advance(remaining);
            }
            Output::Wait(_) => return,
            _ => {}
        }
    }
}

/// Bytes of the heap: the most while it runs, and what stays.
fn heap_of(run: impl FnOnce()) -> (usize, usize) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    run();
    (HEAP.peak_usage() - before, HEAP.current_usage().saturating_sub(before))
}

#[track_caller]
fn assert_near(bytes: usize, expected: usize) {
    assert!(bytes.abs_diff(expected) <= expected / 10, "{bytes} is not near {expected}");
}
