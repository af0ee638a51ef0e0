//! Claims about compressed messages that hold for any messages, any split and any damage.
#![cfg(feature = "deflate")]

mod common;
#[path = "common/deflate.rs"]
mod deflate;

use common::{BINARY, CONTINUATION, End, FIN, KIB, PING, RSV1, TEXT, frame, with_limits};
use deflate::{Compressor, agree, both, compressed, noise, takeover};
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
};
use proptest::prelude::*;
use sockeye_proto::{Config, Deflate, Message, Prepared, Role};

fn text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "price",
        "é水",
        " ",
        "{\"id\":",
        "0",
        "1234567",
        "🐟",
        "\n",
        "long ".repeat(50).leak(),
    ]);
    (prop::collection::vec(word, 0..60), 1_usize..40).prop_map(|(words, times)| words.concat().repeat(times))
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        text().prop_map(Message::from),
        (0_usize..100_000, any::<u64>()).prop_map(|(len, seed)| Message::binary(noise(len, seed))),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Message::from),
    ]
}

fn policy() -> impl Strategy<Value = Deflate> {
    let numbers = (1_u8..=9, 1_u8..=9, 9_u8..=15, 9_u8..=15, prop::sample::select(vec![0_usize, 1, 128, 5_000]));
    (numbers, any::<bool>(), any::<bool>()).prop_map(|((level, mem_level, server, client, threshold), up, down)| {
        let policy = Deflate::default().level(level).and_then(|policy| policy.mem_level(mem_level));
        let policy = policy.and_then(|policy| policy.server_window_bits(server)?.client_window_bits(client));
        policy.unwrap().server_takeover(down).client_takeover(up).threshold(threshold)
    })
}

/// How a message is sent.
#[derive(Clone, Copy, Debug)]
enum How {
    Alone,
    Prepared,
    Plain,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Both roles, takeover or not, any window bits, any effort, prepared or not: what was said is what is heard.
    #[test]
    fn what_is_sent_arrives(
        server in policy(), client in policy(),
        messages in prop::collection::vec((message(), prop::sample::select(vec![How::Alone, How::Prepared, How::Plain])), 1..8),
        step in 1_usize..70_000,
    ) {
        let agreed = agree(&server, &client);
        let mut ends = [agreed.end(Role::Server, Config::default()), agreed.end(Role::Client, Config::default())];
        for round in 0..2 {
            ends.swap(0, 1);
            let [from, to] = &mut ends;
            for (message, how) in &messages {
                match how {
                    How::Alone => from.connection.send(message.clone()).unwrap(),
                    How::Prepared => from.connection.send_prepared(&Prepared::new(message.clone())).unwrap(),
                    How::Plain => from.connection.send_prepared(&Prepared::plain(message.clone())).unwrap(),
                }
                from.drain();
            }
            let wire = std::mem::take(&mut from.sent);
            wire.chunks(step).for_each(|piece| { to.feed(piece); });
            prop_assert_eq!(to.messages(), messages.iter().map(|(message, _)| message).collect::<Vec<_>>(), "round {}", round);
        }
    }

    /// Any split of the input gives the same events, output and end: fragments, pings between them, damage.
    #[test]
    fn any_split_gives_the_same(
        messages in prop::collection::vec((message(), any::<bool>(), 1_usize..40_000), 1..5),
        damage in prop::option::of((any::<prop::sample::Index>(), 0_u32..8)),
        has_takeover: bool, cuts: Vec<prop::sample::Index>, step in 1_usize..40_000,
    ) {
        let agreed = both(&if has_takeover { takeover() } else { Deflate::default() });
        let mut peer = Compressor::new(15);
        let mut wire = Vec::new();
        for (message, is_compressed, fragment) in &messages {
            let opcode = if message.is_text() { TEXT } else { BINARY };
            let payload = match (is_compressed, has_takeover) {
                (false, _) => message.as_bytes().to_vec(),
                (true, true) => peer.message(message.as_bytes()),
                (true, false) => compressed(message.as_bytes()),
            };
            let first = if *is_compressed { RSV1 | opcode } else { opcode };
            fragments(&mut wire, first, &payload, *fragment);
        }
        if let Some((at, bit)) = damage {
            let at = at.index(wire.len());
            wire[at] ^= 1 << bit;
        }
        let config = || with_limits(|limits| limits.max_message = 64 * KIB);
        let [mut whole, mut cut, mut direct] = [(); 3].map(|()| agreed.end(Role::Server, config()));
        whole.feed(&wire);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        at.extend([0, wire.len()]);
        at.sort_unstable();
        at.windows(2).for_each(|piece| { cut.feed(&wire[piece[0]..piece[1]]); });
        direct.feed_payload(&wire, step);
        for other in [&mut cut, &mut direct] {
            prop_assert_eq!(&whole.events, &other.events);
            prop_assert_eq!(&whole.sent, &other.sent);
            prop_assert_eq!(whole.write_shut, other.write_shut);
        }
        whole.eof();
        cut.eof();
        prop_assert_eq!(whole.closed, cut.closed);
    }

    /// What a connection leaves in the thread's contexts when it ends in the middle of a message, received or given up, is none of
    /// the next one's business.
    #[test]
    fn contexts_forget(
        first in message(), limit in 1_usize..300_000, cut: prop::sample::Index, policy in policy(),
        messages in prop::collection::vec(message(), 1..4),
    ) {
        let agreed = both(&policy);
        let payload = compressed(first.as_bytes());
        let mut wire = frame(Role::Client, FIN | RSV1 | BINARY, &payload);
        wire.truncate(cut.index(wire.len() + 1));
        let limited = with_limits(|limits| limits.max_message = limit);
        agreed.end(Role::Server, limited).feed(&wire);
        agreed.end(Role::Client, Config::default()).send(first);
        let mut from = agreed.end(Role::Client, Config::default());
        for message in &messages {
            from.send(message.clone());
        }
        let mut to = agreed.end(Role::Server, Config::default());
        to.feed(&from.sent);
        prop_assert!(to.messages().into_iter().eq(&messages));
    }

    /// D14, D6: noise is inflated or refused as another implementation does.
    #[test]
    fn d14_noise_agrees(payload in prop::collection::vec(any::<u8>(), 0..100)) {
        assert_agrees(&payload);
    }
}

/// A message in fragments, a ping after each.
fn fragments(wire: &mut Vec<u8>, first: u8, payload: &[u8], step: usize) {
    let count = payload.len().div_ceil(step).max(1);
    for n in 0..count {
        let piece = &payload[n * step..payload.len().min((n + 1) * step)];
        let fin = if n + 1 == count { FIN } else { 0 };
        let opcode = if n == 0 { first } else { CONTINUATION };
        wire.extend(frame(Role::Client, fin | opcode, piece));
        if n < 5 {
            wire.extend(frame(Role::Client, FIN | PING, b"between"));
        }
    }
}

/// D14: every prefix and every bit flip of valid streams, of every kind of block.
#[test]
fn d14_every_prefix_and_every_bit_flip() {
    let dynamic = compressed("a quick brown fox, and 1234567890 lazy dogs. ".repeat(9).as_bytes());
    let streams = [
        compressed(b"Hello"),
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00".to_vec(),
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00".to_vec(),
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00".to_vec(),
        compressed(&noise(40, 7)),
        compressed(&[b'a'; 1_000]),
        dynamic,
        compressed(&(0..=255).flat_map(|n| [n; 3]).collect::<Vec<u8>>()),
    ];
    for stream in streams {
        assert_agrees(&stream);
        for len in 0..stream.len() {
            assert_agrees(&stream[..len]);
        }
        for bit in 0..stream.len() * 8 {
            let mut flipped = stream.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_agrees(&flipped);
        }
    }
}

#[track_caller]
fn assert_agrees(payload: &[u8]) {
    let expected = if payload.is_empty() { Some(Vec::new()) } else { judge(payload) };
    let mut end: End = both(&Deflate::default()).end(Role::Server, Config::default());
    end.feed_frame(FIN | RSV1 | BINARY, payload);
    match expected {
        Some(data) => assert_eq!(end.messages(), [&Message::from(data)], "{payload:x?}"),
        None => end.assert_refused(1007, "invalid_deflate"),
    }
}

/// Another implementation: the streams of a payload (more than one if it has final blocks), then its tail and an empty last
/// block, all to the last byte.
fn judge(payload: &[u8]) -> Option<Vec<u8>> {
    let input = [payload, &[0, 0, 0xff, 0xff, 3, 0]].concat();
    let (mut at, mut data) = (0, Vec::new());
    loop {
        let mut out = vec![0; 300_000];
        let mut decompressor = DecompressorOxide::new();
        let (status, used, written) =
            decompress(&mut decompressor, &input[at..], &mut out, 0, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
        if status != TINFLStatus::Done {
            return None;
        }
        at += used;
        data.extend_from_slice(&out[..written]);
        if at > payload.len() {
            return (at == input.len()).then_some(data);
        }
    }
}
