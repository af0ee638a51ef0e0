//! Messages that are handed out as they come: what is handed out, when, and how much of it there may be.
mod common;
#[cfg(feature = "deflate")]
#[path = "common/deflate.rs"]
mod deflate;

use common::{BINARY, CLOSE, CONTINUATION, End, FIN, KIB, PING, TEXT, header, secs, with_limits};
use sockeye_proto::{Event, MessageKind, Part, Role};

/// An end that hands out what comes.
fn streaming(mut end: End) -> End {
    end.connection.set_streaming(true, end.now);
    end
}

fn server() -> End {
    streaming(End::server())
}

/// What has come of each message, and whether it is all of it.
fn received(end: &End) -> Vec<(MessageKind, Vec<u8>, bool)> {
    let mut received: Vec<(MessageKind, Vec<u8>, bool)> = Vec::new();
    for event in &end.events {
        let part = match event {
            Event::Message(message) => Part::from(message.clone()),
            Event::Part(part) => part.clone(),
            _ => continue,
        };
        match received.last_mut() {
            Some((kind, bytes, fin)) if !*fin => {
                assert_eq!(*kind, part.kind);
                bytes.extend_from_slice(&part.bytes);
                *fin = part.fin;
            }
            _ => received.push((part.kind, part.bytes.to_vec(), part.fin)),
        }
    }
    received
}

/// Whatever ends a message comes after what came of it, also when one read brings both.
#[test]
fn no_fault_overtakes_a_part() {
    let part = |end: &End| end.peer_frame(TEXT, b"a part");
    let ends: [(&str, Vec<u8>); 5] = [
        ("reserved_bits", End::server().peer_frame(FIN | 0x70, b"")),
        ("unfinished_message", End::server().peer_frame(FIN | TEXT, b"")),
        ("message_too_big", header(Role::Client, FIN, 1 << 40)),
        ("invalid_utf8", End::server().peer_frame(FIN, b"\xf0\x9f")),
        ("invalid_utf8", End::server().peer_frame(FIN, b"\xff")),
    ];
    for (name, fault) in ends {
        for together in [false, true] {
            let mut end = server();
            let part = part(&end);
            if together {
                end.feed(&[part, fault.clone()].concat());
            } else {
                end.feed(&part).feed(&fault);
            }
            assert_eq!(received(&end), [(MessageKind::Text, b"a part".to_vec(), false)], "{name}, {together}");
            end.pass(secs(10));
            assert_eq!(end.error().code(), name);
        }
    }
    let mut end = server();
    end.feed(&[part(&end), end.peer_frame(FIN | CLOSE, b"")].concat());
    assert_eq!(received(&end), [(MessageKind::Text, b"a part".to_vec(), false)]);
    assert!(end.closed.is_some());
}

/// A peer that only pings is not at work on its message.
#[test]
fn pings_are_no_progress_of_a_message() {
    let mut end = server();
    end.feed_frame(TEXT, b"and then");
    for _ in 0..5 {
        end.pass(secs(10)).feed_frame(FIN | PING, b"");
    }
    end.pass(secs(10));
    assert_eq!(end.error().code(), "message_timeout");

    let mut end = server();
    end.feed_frame(TEXT, b"and then");
    for _ in 0..5 {
        end.pass(secs(29)).feed_frame(CONTINUATION, b".");
    }
    assert!(end.connection.deadline().is_some() && end.closed.is_none());
    end.feed_frame(FIN, b"");
    assert_eq!(received(&end), [(MessageKind::Text, b"and then.....".to_vec(), true)]);
}

/// The limit is crossed by the first byte beyond it, in whatever frames, and not before.
#[test]
fn the_limit_of_what_is_streamed_is_exact() {
    for limit in [0, 1, 1_000, 100 * KIB] {
        for step in [7, 1_000, usize::MAX] {
            let config = || with_limits(|limits| (limits.max_streamed, limits.max_fragments) = (limit as u64, 20_000));
            for over in [0, 1] {
                let mut end = streaming(End::new(Role::Server, config()));
                let message = vec![b'x'; limit + over];
                let mut wire = Vec::new();
                fragments(&mut wire, BINARY, &message, step);
                end.feed(&wire);
                if over == 0 {
                    assert!(received(&end) == [(MessageKind::Binary, message, true)], "{limit}, {step}");
                } else {
                    assert!(received(&end).iter().all(|(_, bytes, fin)| bytes.len() <= limit && !fin));
                    end.assert_refused(1009, "message_too_big");
                }
            }
        }
    }
}

/// A message in fragments, a ping after each of the first.
fn fragments(wire: &mut Vec<u8>, first: u8, payload: &[u8], step: usize) {
    let mut pieces = payload.chunks(step).peekable();
    let mut opcode = first;
    for n in 0.. {
        let piece = pieces.next().unwrap_or_default();
        let fin = if pieces.peek().is_none() { FIN } else { 0 };
        wire.extend(common::frame(Role::Client, fin | opcode, piece));
        if n < 5 {
            wire.extend(common::frame(Role::Client, FIN | PING, b"between"));
        }
        if fin != 0 {
            return;
        }
        opcode = CONTINUATION;
    }
}

#[cfg(feature = "deflate")]
mod compressed {
    use bytes::Bytes;
    use proptest::prelude::*;
    use sockeye_proto::{Config, Deflate, Message, SendError};
    use zlib_rs::DeflateFlush;

    use super::{
        deflate::{Agreed, Compressor, both, compressed, noise, takeover},
        *,
    };
    use common::RSV1;

    fn plain() -> Agreed {
        both(&Deflate::default())
    }

    /// A part in its compressed form, all of which can be inflated.
    fn flushed(peer: &mut Compressor, part: &[u8]) -> Vec<u8> {
        peer.run(part, DeflateFlush::SyncFlush)
    }

    #[test]
    fn the_limit_holds_for_the_inflated_form_and_is_exact() {
        for limit in [1, 1_000, 100 * KIB] {
            for noisy in [false, true] {
                for over in [0, 1] {
                    let config = with_limits(|limits| {
                        (limits.max_streamed, limits.max_fragments) = (limit as u64, 20_000);
                    });
                    let mut end = streaming(plain().end(Role::Server, config));
                    let message = if noisy { noise(limit + over, 3) } else { vec![b'x'; limit + over] };
                    let mut wire = Vec::new();
                    fragments(&mut wire, RSV1 | BINARY, &compressed(&message), 700);
                    end.feed(&wire);
                    if over == 0 {
                        assert!(received(&end) == [(MessageKind::Binary, message, true)], "{limit}");
                    } else {
                        assert!(received(&end).iter().all(|(_, bytes, fin)| bytes.len() <= limit && !fin));
                        end.assert_refused(1009, "message_too_big");
                    }
                }
            }
        }
    }

    /// Whole messages are wanted again in the middle of one: the rest of it still goes as it comes, and is held no longer.
    #[test]
    fn the_rest_of_a_streamed_message_goes_on_coming() {
        let config = with_limits(|limits| limits.max_streamed = 64 * 1024 * KIB as u64);
        let mut end = streaming(plain().end(Role::Server, config));
        let mut peer = Compressor::new(15);
        let first = flushed(&mut peer, b"first");
        end.feed_frame(RSV1 | BINARY, &first);
        assert_eq!(received(&end), [(MessageKind::Binary, b"first".to_vec(), false)]);
        end.connection.set_streaming(false, end.now);
        let second = flushed(&mut peer, b" second");
        end.feed_frame(CONTINUATION, &second);
        assert_eq!(received(&end), [(MessageKind::Binary, b"first second".to_vec(), false)]);
        let much = peer.message(&vec![0; 30 * 1024 * KIB]);
        end.feed_frame(FIN, &much);
        let [(_, bytes, true)] = &received(&end)[..] else { panic!("one message") };
        assert_eq!(bytes.len(), 12 + 30 * 1024 * KIB);
        let largest = end.events.iter().map(|event| if let Event::Part(part) = event { part.bytes.len() } else { 0 });
        assert!(largest.max().unwrap() <= 2 * 1024 * KIB);
    }

    /// A fragment more for each KiB of the message, not of its compressed form: who sends in parts what compresses well sends
    /// short frames.
    #[test]
    fn fragments_are_counted_against_what_is_inflated() {
        let config = with_limits(|limits| limits.max_fragments = 10);
        let mut end = streaming(plain().end(Role::Server, config));
        let mut peer = Compressor::new(15);
        let part = [b'x'; 2 * KIB];
        for n in 0..100 {
            let opcode = if n == 0 { RSV1 | BINARY } else { CONTINUATION };
            let payload = flushed(&mut peer, &part);
            end.feed_frame(opcode, &payload);
        }
        end.feed_frame(FIN, b"\x00");
        assert!(received(&end) == [(MessageKind::Binary, vec![b'x'; 200 * KIB], true)], "{:?}", end.closed);
    }

    /// What came before anybody wanted parts is a part too: nothing of it waits for what comes next.
    #[test]
    fn what_has_come_is_handed_out_when_parts_are_wanted() {
        for is_compressed in [false, true] {
            let mut end = plain().end(Role::Server, Config::default());
            let mut peer = Compressor::new(15);
            if is_compressed {
                end.feed_frame(RSV1 | TEXT, &flushed(&mut peer, b"a part"));
            } else {
                end.feed_frame(TEXT, b"a part");
            }
            assert_eq!(end.events, []);
            end.connection.set_streaming(true, end.now);
            end.drain();
            assert_eq!(received(&end), [(MessageKind::Text, b"a part".to_vec(), false)], "{is_compressed}");
        }
        // Or it is a fault.
        let mut end = plain().end(Role::Server, Config::default());
        end.feed_frame(RSV1 | TEXT, &flushed(&mut Compressor::new(15), b"\xff"));
        end.connection.set_streaming(true, end.now);
        end.drain();
        end.assert_refused(1007, "invalid_utf8");
    }

    /// A part that is refused leaves no trace in the window, so that what follows is understood.
    #[test]
    fn a_part_that_is_not_sent_is_not_in_the_window() {
        let config = || {
            with_limits(|limits| {
                (limits.high_water, limits.max_write_queue) = (0, 200);
            })
        };
        for policy in [takeover().threshold(0), Deflate::default().threshold(0)] {
            let agreed = both(&policy);
            let mut from = agreed.end(Role::Client, config());
            let mut to = agreed.end(Role::Server, Config::default());
            let text = |n: u64| Bytes::from(noise(300, n).iter().map(|byte| b' ' + byte % 90).collect::<Vec<_>>());
            let send = |from: &mut End, bytes: Bytes, fin| from.connection.send_part(MessageKind::Text, bytes, fin);
            for round in 0..3 {
                let mut bad = text(7).to_vec();
                bad.push(0xff);
                for n in [1, 2, 1] {
                    assert!(matches!(send(&mut from, bad.clone().into(), false), Err(SendError::InvalidText(_))));
                    send(&mut from, text(n), false).unwrap();
                    assert!(matches!(send(&mut from, text(7), false), Err(SendError::Full(_))));
                    from.drain();
                }
                assert!(matches!(send(&mut from, b"\xf0"[..].into(), true), Err(SendError::InvalidText(_))));
                send(&mut from, text(7), true).unwrap();
                from.drain();
                assert!(from.connection.unfinished().is_none());
                assert!(matches!(send(&mut from, bad.into(), true), Err(SendError::InvalidText(_))));
                assert!(from.connection.unfinished().is_none(), "nothing was begun");
                to.feed(&std::mem::take(&mut from.sent));
                let whole = [text(1), text(2), text(1), text(7)].concat();
                assert_eq!(to.messages().len(), round + 1);
                assert!(to.messages()[round].as_bytes() == whole);
            }
        }
    }

    fn message() -> impl Strategy<Value = Message> {
        let words =
            prop::collection::vec(prop::sample::select(vec!["price", "é水", " ", "{\"id\":", "🐟", "\n"]), 0..60);
        prop_oneof![
            (words, 1_usize..200).prop_map(|(words, times)| Message::from(words.concat().repeat(times))),
            (0_usize..60_000, any::<u64>()).prop_map(|(len, seed)| Message::binary(noise(len, seed))),
            (0_usize..300_000).prop_map(|len| Message::binary(vec![7; len])),
        ]
    }

    /// In any pieces; at each, parts may begin or cease to be wanted.
    fn feed_cut(end: &mut End, wire: &[u8], cuts: &[(prop::sample::Index, Option<bool>)]) {
        let mut cuts: Vec<_> = cuts.iter().map(|(cut, toggle)| (cut.index(wire.len() + 1), *toggle)).collect();
        cuts.push((wire.len(), None));
        cuts.sort_by_key(|(at, _)| *at);
        let mut from = 0;
        for (at, toggle) in cuts {
            end.feed(&wire[from..at]);
            from = at;
            if let Some(on) = toggle {
                end.connection.set_streaming(on, end.now);
                end.drain();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        /// Parts, put together, are the messages that come whole: in any split of the input, with pings between fragments of
        /// any size, with takeover or without, compressed or not, wanted all the time or now and then; and after damage
        /// they are no others.
        #[test]
        fn parts_are_the_whole_in_any_split(
            messages in prop::collection::vec((message(), any::<bool>(), 1_usize..40_000), 1..5),
            has_takeover: bool,
            damage in prop::option::weighted(0.3, (any::<prop::sample::Index>(), 0_u32..8)),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<Option<bool>>()), 0..20),
            step in 1_usize..20_000,
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
            // Of fragments a streamed message may have more.
            let config = || with_limits(|limits| limits.max_fragments = usize::MAX);
            let mut whole = agreed.end(Role::Server, config());
            let [mut cut, mut direct, mut bytes] =
                [(); 3].map(|()| streaming(agreed.end(Role::Server, config())));
            whole.feed(&wire);
            feed_cut(&mut cut, &wire, &cuts);
            direct.feed_payload(&wire, step);
            wire.chunks(step.min(97)).for_each(|piece| { bytes.feed(piece); });
            for other in [&mut cut, &mut direct, &mut bytes] {
                let (expected, got) = (received(&whole), received(other));
                if damage.is_none() {
                    prop_assert!(whole.sent == other.sent);
                    prop_assert!(expected == got);
                    continue;
                }
                // What was not whole before the damage may have been handed out in part.
                prop_assert!(got.starts_with(&expected));
                prop_assert!(got.len() <= expected.len() + 1);
                prop_assert!(got[expected.len()..].iter().all(|(_, _, fin)| !fin));
                prop_assert_eq!(whole.write_shut, other.write_shut);
                whole.eof();
                other.eof();
                let code = |end: &End| end.closed.as_ref().unwrap().as_ref().err().and_then(sockeye_proto::Error::close_code);
                prop_assert_eq!(code(&whole), code(other));
            }
        }

        /// What is sent in parts arrives, whole or in parts: any sizes, both roles, any windows, whole messages and pings between.
        #[test]
        fn what_is_sent_in_parts_arrives(
            messages in prop::collection::vec((message(), prop::collection::vec(any::<prop::sample::Index>(), 0..8)), 1..5),
            takes_over: [bool; 2], bits in (9_u8..=15, 9_u8..=15), threshold in prop::sample::select(vec![0_usize, 128]),
            from_server: bool, step in 1_usize..70_000,
        ) {
            let policy = Deflate::default().threshold(threshold).server_takeover(takes_over[0]);
            let policy = policy.client_takeover(takes_over[1]).server_window_bits(bits.0).unwrap();
            let agreed = both(&policy.client_window_bits(bits.1).unwrap());
            let roles = if from_server { [Role::Server, Role::Client] } else { [Role::Client, Role::Server] };
            let mut from = agreed.end(roles[0], with_limits(|limits| limits.max_write_queue = usize::MAX));
            let mut expected = Vec::new();
            for (message, cuts) in &messages {
                let (kind, bytes) = (message.kind(), message.clone().into_bytes());
                let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
                cuts.sort_unstable();
                let mut at = 0;
                for cut in cuts {
                    from.connection.send_part(kind, bytes.slice(at..cut), false).unwrap();
                    from.connection.ping(b"between"[..].try_into().unwrap()).unwrap();
                    at = cut;
                }
                from.connection.send_part(kind, bytes.slice(at..), true).unwrap();
                from.send(message.clone());
                expected.extend([(); 2].map(|()| (kind, bytes.to_vec(), true)));
            }
            for on in [false, true] {
                let mut to = agreed.end(roles[1], Config::default());
                to.connection.set_streaming(on, to.now);
                from.sent.chunks(step).for_each(|piece| { to.feed(piece); });
                prop_assert!(received(&to) == expected);
            }
        }
    }
}
