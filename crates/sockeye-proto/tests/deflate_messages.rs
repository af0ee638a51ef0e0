//! permessage-deflate on the wire (RFC 7692 sections 6 and 7.2), and group D of the attacks but for memory.
#![cfg(feature = "deflate")]

mod common;
#[path = "common/deflate.rs"]
mod deflate;

use bytes::Bytes;
use common::{BINARY, CONTINUATION, End, FIN, KIB, MIB, PING, RSV1, TEXT, with_limits};
use deflate::{Agreed, Compressor, both, compressed, noise, takeover};
use sockeye_proto::{Config, Deflate, DeflateParams, Event, Message, Prepared, Role};
use zlib_rs::{DeflateConfig, DeflateFlush, Method, Strategy};

const COMPRESSED_TEXT: u8 = FIN | RSV1 | TEXT;
const COMPRESSED_BINARY: u8 = FIN | RSV1 | BINARY;

fn plain() -> Agreed {
    both(&Deflate::default())
}

fn server() -> End {
    plain().end(Role::Server, Config::default())
}

fn server_with_takeover() -> End {
    both(&takeover()).end(Role::Server, Config::default())
}

fn texts(end: &End) -> Vec<&str> {
    end.messages().iter().map(|message| message.as_text().unwrap()).collect()
}

/// What the ends say to each other arrives, whatever its form.
fn carry(from: &mut End, to: &mut End, message: &Message) -> Vec<common::Frame> {
    from.sent.clear();
    to.events.clear();
    from.send(message.clone());
    let wire = from.sent.clone();
    to.feed(&wire);
    assert_eq!(to.messages(), [message]);
    from.frames_maybe_compressed()
}

#[test]
fn rfc_7692_section_7_2_3_1_one_block() {
    let mut end = server();
    end.feed_frame(COMPRESSED_TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    end.feed_frame(RSV1 | TEXT, b"\xf2\x48\xcd").feed_frame(FIN | CONTINUATION, b"\xc9\xc9\x07\x00");
    assert_eq!(texts(&end), ["Hello", "Hello"]);
}

#[test]
fn rfc_7692_section_7_2_3_2_sharing_the_window() {
    let mut end = server_with_takeover();
    end.feed_frame(COMPRESSED_TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    end.feed_frame(COMPRESSED_TEXT, b"\xf2\x00\x11\x00\x00");
    assert_eq!(texts(&end), ["Hello", "Hello"]);
    // The other direction has a window of its own.
    let mut client = both(&takeover()).end(Role::Client, Config::default());
    client.feed_frame(COMPRESSED_TEXT, b"\xf2\x00\x11\x00\x00").assert_refused(1007, "invalid_deflate");
}

#[test]
fn rfc_7692_section_7_2_3_3_no_compression() {
    let mut end = server();
    end.feed_frame(COMPRESSED_TEXT, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00");
    assert_eq!(texts(&end), ["Hello"]);
}

#[test]
fn rfc_7692_section_7_2_3_4_bfinal() {
    let mut end = server();
    end.feed_frame(COMPRESSED_TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00");
    assert_eq!(texts(&end), ["Hello"]);
    // Block after final block, in one message; and what comes next is not disturbed.
    end.feed_frame(
        COMPRESSED_TEXT,
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00",
    );
    end.feed_frame(COMPRESSED_TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    assert_eq!(texts(&end), ["Hello", "HelloHelloHello", "Hello"]);
}

#[test]
fn rfc_7692_section_7_2_3_5_two_blocks() {
    let mut end = server();
    end.feed_frame(COMPRESSED_TEXT, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00");
    assert_eq!(texts(&end), ["Hello"]);
}

/// D7's first half.
#[test]
fn d7_rfc_7692_section_7_2_3_6_an_empty_message() {
    for mut end in [server(), server_with_takeover()] {
        end.feed_frame(COMPRESSED_TEXT, b"\x00").feed_frame(COMPRESSED_BINARY, b"\x00");
        // Peers whose zlib writes nothing for a second flush in a row send this.
        end.feed_frame(COMPRESSED_TEXT, b"");
        end.feed_frame(RSV1 | TEXT, b"").feed_frame(FIN | CONTINUATION, b"");
        end.feed_frame(RSV1 | TEXT, b"").feed_frame(FIN | CONTINUATION, b"\x00");
        assert_eq!(end.messages().len(), 5);
        assert!(end.messages().iter().all(|message| message.is_empty()));
    }
}

#[test]
fn compression_is_the_senders_choice_message_by_message() {
    let text = "hello ".repeat(50);
    for agreed in [plain(), both(&takeover())] {
        let (mut server, mut client) =
            (agreed.end(Role::Server, Config::default()), agreed.end(Role::Client, Config::default()));
        let long = carry(&mut server, &mut client, &text.as_str().into());
        assert_eq!(long[0].first, COMPRESSED_TEXT);
        assert!(long[0].payload.len() < 40);
        // Below the threshold, and what does not shrink.
        let short = carry(&mut server, &mut client, &"hello".into());
        assert_eq!(short[0].first, FIN | TEXT);
        let dense = carry(&mut server, &mut client, &Message::binary(noise(5_000, 1)));
        assert_eq!(dense[0].first, FIN | BINARY);
        // Neither is in the window, and the next still fits.
        let again = carry(&mut server, &mut client, &text.as_str().into());
        assert_eq!(again[0].payload.len() < long[0].payload.len(), agreed.server.server_takeover());
        // The client's end, masked.
        let up = carry(&mut client, &mut server, &text.as_str().into());
        assert_eq!(up[0].first, COMPRESSED_TEXT);
    }
}

#[test]
fn the_threshold_is_the_policys() {
    let agreed = both(&Deflate::default().threshold(10));
    let (mut server, mut client) =
        (agreed.end(Role::Server, Config::default()), agreed.end(Role::Client, Config::default()));
    assert_eq!(carry(&mut server, &mut client, &"aaaaaaaaaa".into())[0].first, COMPRESSED_TEXT);
    assert_eq!(carry(&mut server, &mut client, &"aaaaaaaaa".into())[0].first, FIN | TEXT);
}

#[test]
fn a_threshold_of_zero_compresses_everything() {
    let agreed = both(&takeover().threshold(0));
    let (mut server, mut client) =
        (agreed.end(Role::Server, Config::default()), agreed.end(Role::Client, Config::default()));
    // RFC 7692 section 7.2.3.6, 7.2.3.1 and 7.2.3.2, byte for byte.
    assert_eq!(carry(&mut server, &mut client, &"".into())[0].payload, b"\x00");
    let hello = carry(&mut server, &mut client, &"Hello".into());
    assert_eq!((hello[0].first, &*hello[0].payload), (COMPRESSED_TEXT, &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..]));
    let again = carry(&mut server, &mut client, &"Hello".into());
    assert_eq!((again[0].first, &*again[0].payload), (COMPRESSED_TEXT, &b"\xf2\x00\x11\x00\x00"[..]));
    let dense = Message::binary(noise(200_000, 2));
    assert_eq!(carry(&mut server, &mut client, &dense)[0].first, COMPRESSED_BINARY);
    let prepared = Prepared::new(dense);
    server.connection.send_prepared(&prepared).unwrap();
    server.drain();
    assert_eq!(server.frames_maybe_compressed().last().unwrap().first, COMPRESSED_BINARY);
}

/// Window bits 8 have no compressor: what this end sends then goes plain.
#[test]
fn a_client_told_8_bits_compresses_nothing() {
    let established = deflate::establish(Some(&takeover()), &["permessage-deflate; client_max_window_bits=8"]).unwrap();
    let agreed: DeflateParams = established.deflate.unwrap();
    let mut client = End::with(Role::Client, Config::default(), |connection| connection.with_deflate(&agreed));
    client.send("hello ".repeat(100));
    assert_eq!(client.frames_maybe_compressed()[0].first, FIN | TEXT);
}

#[test]
fn nothing_is_compressed_that_is_no_message() {
    let mut end = server();
    end.connection.ping(vec![b'a'; 125].as_slice().try_into().unwrap()).unwrap();
    end.drain();
    end.feed_frame(FIN | PING, &[b'a'; 125]);
    end.close(1000, &"a".repeat(123));
    assert_eq!(end.frames().iter().map(|frame| frame.first & RSV1).max(), Some(0));
}

/// D1: the limit is the inflated message's.
#[test]
fn d1_a_bomb_is_too_big() {
    let limit = 256 * KIB;
    for (len, fits) in [(limit, true), (limit + 1, false), (64 * MIB, false)] {
        let bomb = compressed(&vec![b'a'; len]);
        let config = || with_limits(|limits| limits.max_message = limit);
        for step in [usize::MAX, 7_000] {
            let mut end = plain().end(Role::Server, config());
            let wire = end.peer_frame(COMPRESSED_TEXT, &bomb);
            for piece in wire.chunks(step) {
                end.feed(piece);
            }
            if fits {
                assert_eq!(end.messages()[0].len(), limit);
            } else {
                end.assert_refused(1009, "message_too_big");
            }
        }
    }
}

/// D2: and of all fragments together.
#[test]
fn d2_a_bomb_in_small_fragments_is_too_big() {
    let bomb = compressed(&vec![b'a'; 64 * MIB]);
    let mut end = server();
    let mut fragments = bomb.chunks(100);
    end.feed_frame(RSV1 | TEXT, fragments.next().unwrap());
    let sent =
        fragments.take_while(|fragment| end.feed_frame(CONTINUATION, fragment).closed.is_none() && !end.write_shut);
    let sent = sent.count();
    assert!(sent < 200, "told after {sent} fragments of 600");
    end.assert_refused(1009, "message_too_big");
}

/// The announced length alone can be too much, before a byte of payload came.
#[test]
fn a_compressed_message_far_above_the_limit_is_refused_at_its_header() {
    let config = with_limits(|limits| (limits.max_message, limits.max_frame) = (100_000, 10 * MIB));
    let mut end = plain().end(Role::Server, config);
    let fair = 100_000 + 100_000 / 8 + 64 * KIB;
    end.feed(&common::header(Role::Client, COMPRESSED_BINARY, fair as u64 + 1)).assert_refused(1009, "message_too_big");
}

/// D4.
#[test]
fn d4_a_compressed_control_frame() {
    for opcode in [PING, common::PONG, common::CLOSE] {
        server().feed_frame(FIN | RSV1 | opcode, b"").assert_refused(1002, "reserved_bits");
    }
}

/// D5, and the other reserved bits.
#[test]
fn d5_rsv1_on_a_continuation() {
    for (first, payload) in [(RSV1 | TEXT, &b"\xf2\x48\xcd"[..]), (TEXT, b"Hel")] {
        let mut end = server();
        end.feed_frame(first, payload);
        end.feed_frame(FIN | RSV1 | CONTINUATION, b"\xc9\xc9\x07\x00").assert_refused(1002, "reserved_bits");
    }
    for bits in [0x20, 0x10, 0x60, 0x50, 0x70] {
        server().feed_frame(FIN | bits | TEXT, b"\x00").assert_refused(1002, "reserved_bits");
    }
    End::server().feed_frame(COMPRESSED_TEXT, b"\x00").assert_refused(1002, "reserved_bits");
}

/// D6.
#[test]
fn d6_what_cannot_be_inflated() {
    for (what, payload) in [
        ("the block type that is none", &b"\xff\xff\xff"[..]),
        ("a stored block whose length is not confirmed", b"\x00\x05\x00\xfb\xff\x48\x65\x6c\x6c\x6f\x00"),
        ("cut within a code", b"\xf2\x48\xcd\xc9"),
        ("cut before its last byte", b"\xf2\x48\xcd\xc9\xc9\x07"),
        ("cut within a stored block", b"\x00\x05\x00\xfa\xff\x48\x65"),
        ("with the tail that was to be removed, cut", b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff"),
        ("a final block and nothing behind it", b"\xf3\x48\xcd\xc9\xc9\x07\x00"),
        ("bytes behind a final block", b"\xf3\x48\xcd\xc9\xc9\x07\x00Hello"),
        ("bytes behind the last block", b"\xf2\x48\xcd\xc9\xc9\x07\x00\x99\x99"),
        ("a zlib header", b"\x78\x9c\xf2\x48\xcd\xc9\xc9\x07\x00"),
        ("a gzip header", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xf2\x48\xcd\xc9\xc9\x07\x00"),
    ] {
        for mut end in [server(), server_with_takeover()] {
            println!("{what}");
            end.feed_frame(COMPRESSED_BINARY, payload).assert_refused(1007, "invalid_deflate");
        }
        let mut end = server();
        let wire = end.peer_frame(COMPRESSED_BINARY, payload);
        end.feed_bytes(&wire).assert_refused(1007, "invalid_deflate");
    }
}

/// A whole flush, its tail included, is an empty block more than needed, and allowed.
#[test]
fn the_tail_may_be_left_on() {
    let mut end = server();
    end.feed_frame(COMPRESSED_TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\x00");
    assert_eq!(texts(&end), ["Hello"]);
}

/// D7's second half: a million empty blocks come to nothing, and are stopped after 64 KiB of them.
#[test]
fn d7_empty_blocks_without_end() {
    let config = || with_limits(|limits| (limits.max_message, limits.max_frame) = (64 * MIB, 64 * MIB));
    for (what, block) in [
        ("stored", &b"\x00\x00\x00\xff\xff"[..]),
        ("final, fixed codes", b"\x03\x00"),
        ("final, stored", b"\x01\x00\x00\xff\xff"),
    ] {
        println!("{what}");
        let message = block.repeat(1_000_000);
        let mut end = plain().end(Role::Server, config());
        let started = std::time::Instant::now();
        end.feed_frame(COMPRESSED_TEXT, &message).assert_refused(1008, "deflate_waste");
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }
    let mut few = [b"\x00\x00\x00\xff\xff".repeat(10_000), b"\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec()].concat();
    let mut end = server();
    end.feed_frame(COMPRESSED_TEXT, &few);
    assert_eq!(texts(&end), ["Hello"]);
    // What a compressor may need for what does not compress is no waste.
    let dense: Vec<u8> = noise(3_000_000, 5).iter().map(|byte| byte | 0x90).collect();
    few = fixed_literals(&dense);
    assert!(few.len() > dense.len() + dense.len() / 10);
    let mut end =
        plain().end(Role::Server, with_limits(|limits| (limits.max_message, limits.max_frame) = (4 * MIB, 4 * MIB)));
    end.feed_frame(COMPRESSED_BINARY, &few);
    assert_eq!(end.messages(), [&Message::binary(dense)]);
}

/// Bytes from 144 on as literals of a block with fixed codes, 9 bits each (RFC 1951 section 3.2.6), and a flush.
fn fixed_literals(bytes: &[u8]) -> Vec<u8> {
    let codes = bytes.iter().map(|byte| 0b1_1001_0000 + u16::from(byte - 144));
    let literals = codes.flat_map(|code| (0..9).rev().map(move |bit| code >> bit & 1 == 1));
    let end_of_block = [false; 7];
    let flush = [false; 3];
    let bits: Vec<bool> = [false, true, false].into_iter().chain(literals).chain(end_of_block).chain(flush).collect();
    bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, &bit| sum << 1 | u8::from(bit))).collect()
}

/// D10, with takeover: what left the agreed window is not there any more.
#[test]
fn d10_a_reference_beyond_the_agreed_window() {
    let policy = takeover().client_window_bits(9).unwrap();
    let agreed = both(&policy);
    let (first, second) = (noise(2_000, 3), noise(2_000, 3));
    for (bits, fits) in [(9, true), (15, false)] {
        let mut end = agreed.end(Role::Server, Config::default());
        let mut peer = Compressor::new(bits);
        end.feed_frame(COMPRESSED_BINARY, &peer.message(&first));
        end.feed_frame(COMPRESSED_BINARY, &peer.message(&second));
        assert_eq!(end.messages().len(), if fits { 2 } else { 1 });
        if !fits {
            end.assert_refused(1007, "invalid_deflate");
        }
    }
}

/// D10, within one message: an answer of ours that differs from the list. zlib-rs has a window of 32 KiB whatever it is told,
/// so it follows a reference beyond the agreed window. It costs no memory that was not there, and nothing is wrong with what
/// comes out; to find such a reference would take a second reading of every message.
#[test]
fn d10_a_reference_beyond_the_agreed_window_within_a_message_is_followed() {
    let policy = Deflate::default().client_window_bits(9).unwrap();
    let message = [noise(2_000, 3), noise(2_000, 3)].concat();
    let payload = compressed(&message);
    assert!(payload.len() < 3_000, "it refers back by 2,000 bytes");
    let mut end = both(&policy).end(Role::Server, Config::default());
    end.feed_frame(COMPRESSED_BINARY, &payload);
    assert_eq!(end.messages(), [&Message::binary(message)]);
}

/// D10, without: before its first byte a message has no window.
#[test]
fn d10_a_reference_beyond_the_beginning() {
    // A match of three bytes one byte back, as the first code of a fixed block.
    server().feed_frame(COMPRESSED_BINARY, b"\x02\x02\x00").assert_refused(1007, "invalid_deflate");
}

/// D11: a peer that takes its context over where none was agreed upon.
#[test]
fn d11_a_takeover_mismatch() {
    let text = "what was said before ".repeat(20);
    let mut peer = Compressor::new(15);
    let (first, second) = (peer.message(text.as_bytes()), peer.message(text.as_bytes()));
    for mut end in [server(), plain().end(Role::Client, Config::default())] {
        end.feed_frame(COMPRESSED_TEXT, &first);
        end.feed_frame(COMPRESSED_TEXT, &second).assert_refused(1007, "invalid_deflate");
        assert_eq!(texts(&end), [&text]);
    }
    // The other way round does no harm.
    let mut end = server_with_takeover();
    end.feed_frame(COMPRESSED_TEXT, &first).feed_frame(COMPRESSED_TEXT, &first);
    assert_eq!(texts(&end), [&text, &text]);
}

/// D12: a message with a secret beside a stranger's words is sent as it is, where the program says so.
#[test]
fn d12_a_message_can_be_kept_from_compression() {
    let secret = Message::from("token=0123456789abcdef; ".repeat(20) + "search=token=0");
    for agreed in [plain(), both(&takeover())] {
        for role in [Role::Server, Role::Client] {
            let mut end = agreed.end(role, Config::default());
            end.connection.send_prepared(&Prepared::plain(secret.clone())).unwrap();
            end.connection.send_prepared(&Prepared::new(secret.clone())).unwrap();
            end.drain();
            let frames = end.frames_maybe_compressed();
            assert_eq!((frames[0].first, frames[0].payload.as_slice()), (FIN | TEXT, secret.as_bytes()));
            assert_eq!(frames[1].first, COMPRESSED_TEXT);
        }
    }
}

/// "Broadcasting one 4 KiB message to 1,000 compressing connections costs one compression", with takeover or without.
#[test]
fn a_broadcast_is_compressed_once_for_each_set_of_parameters() {
    let text = "{\"price\":1234,\"symbol\":\"SCKY\"},".repeat(132);
    assert!(text.len() >= 4_000);
    let kinds = [plain(), both(&takeover()), both(&Deflate::default().server_window_bits(10).unwrap())];
    let mut pairs: Vec<(End, End)> = (0..999)
        .map(|n| &kinds[n % 3])
        .map(|agreed| (agreed.end(Role::Server, Config::default()), agreed.end(Role::Client, Config::default())))
        .collect();
    for round in 0..3 {
        let prepared = Prepared::new(format!("{round}{text}").into());
        let clone = prepared.clone();
        for (server, client) in &mut pairs {
            server.sent.clear();
            server.connection.send_prepared(&prepared).unwrap();
            server.drain();
            assert!(server.sent.len() < 300);
            client.feed(&server.sent);
            assert_eq!(client.messages().last(), Some(&prepared.message()));
        }
        // One for 15 bits, with and without takeover; one for 10.
        assert_eq!((prepared.compressions(), clone.compressions()), (2, 2));
    }
    // After what was shared, what is not finds the same window at both ends.
    for (server, client) in pairs.iter_mut().take(3) {
        carry(server, client, &text.as_str().into());
    }
}

#[test]
fn a_prepared_message_that_does_not_pay_goes_plain_and_is_tried_once() {
    let agreed = plain();
    let dense = Prepared::new(Message::binary(noise(4_000, 9)));
    let short = Prepared::new("short".into());
    for role in [Role::Server, Role::Client] {
        let mut end = agreed.end(role, Config::default());
        for _ in 0..3 {
            end.connection.send_prepared(&dense).unwrap();
            end.connection.send_prepared(&short).unwrap();
        }
        end.drain();
        assert_eq!(end.frames().len(), 6);
    }
    assert_eq!((dense.compressions(), short.compressions()), (1, 0));
}

#[test]
fn text_is_checked_when_it_is_inflated() {
    let long = [b"x".repeat(200_000), "é".as_bytes()[..1].to_vec()].concat();
    for bad in [&b"\xff"[..], b"caf\xc3", &[b"\xff".as_slice(), &b"x".repeat(200_000)].concat(), &long] {
        server().feed_frame(COMPRESSED_TEXT, &compressed(bad)).assert_refused(1007, "invalid_utf8");
        let mut end = server();
        end.feed_frame(COMPRESSED_BINARY, &compressed(bad));
        assert_eq!(end.messages(), [&Message::Binary(Bytes::copy_from_slice(bad))]);
    }
    // Cut by the end of a part of the output, not by the end of the text.
    let text = "é".repeat(150_001) + "x";
    let mut end = server();
    end.feed_frame(COMPRESSED_TEXT, &compressed(text.as_bytes()));
    assert_eq!(texts(&end), [text]);
}

/// An invalid byte is found while the message comes, as far as it has been inflated: every 16 KiB of what came.
#[test]
fn bad_text_ends_a_long_compressed_message_before_its_end() {
    let bad = [b"\xff".to_vec(), noise(60_000, 4)].concat();
    let payload = compressed(&bad);
    let mut end = server();
    end.feed_frame(RSV1 | TEXT, &payload[..20 * KIB]).assert_refused(1007, "invalid_utf8");
}

/// A message that does not shrink is given up while the compressor still has output that nobody wants. zlib-rs does not forget
/// where in its buffer that began, and panicked over one of the next messages, whoever's it was.
#[test]
fn a_compressor_that_was_given_up_is_not_used_again() {
    let agreed = both(&Deflate::default().level(1).and_then(|policy| policy.mem_level(1)).unwrap());
    let [mut from, mut to] = [Role::Server, Role::Client].map(|role| agreed.end(role, Config::default()));
    let numbers: String = (0..2_000_u32).map(|n| n.wrapping_mul(0x9e37_79b1).to_string()).collect();
    for n in 0..40 {
        from.send(noise(65_500 + n * 7, n as u64 * 77 + 3)).send(numbers.clone());
        to.feed(&std::mem::take(&mut from.sent));
        let events = std::mem::take(&mut to.events);
        assert!(events.len() == 2 && events[1] == Event::Message(numbers.clone().into()));
    }
}

#[test]
fn messages_of_all_sizes_take_both_ways() {
    let mut random = noise(3 * MIB, 11);
    for byte in &mut random {
        *byte = b'a' + *byte % 16;
    }
    for agreed in [plain(), both(&takeover()), both(&takeover().server_window_bits(9).unwrap())] {
        let config = || with_limits(|limits| (limits.max_message, limits.max_frame) = (4 * MIB, 4 * MIB));
        let (mut server, mut client) = (agreed.end(Role::Server, config()), agreed.end(Role::Client, config()));
        for len in [0, 1, 127, 128, 129, 5_000, 16 * KIB, 64 * KIB, 64 * KIB + 1, 128 * KIB, 1_000_000, 3 * MIB] {
            let message = Message::binary(random[..len].to_vec());
            carry(&mut server, &mut client, &message);
            carry(&mut client, &mut server, &message);
        }
    }
}

/// A peer may flush within a message, use any window and any strategy.
#[test]
fn what_other_compressors_send() {
    let text = "the quick brown fox jumps over the lazy dog ".repeat(2_000);
    for strategy in [Strategy::Default, Strategy::Filtered, Strategy::HuffmanOnly, Strategy::Rle, Strategy::Fixed] {
        for (level, bits, mem_level) in [(0, 15, 8), (1, 9, 1), (6, 12, 5), (9, 15, 9)] {
            let config = DeflateConfig { level, method: Method::Deflated, window_bits: -bits, mem_level, strategy };
            let mut peer = Compressor::with(config);
            let mut end = server_with_takeover();
            for _ in 0..2 {
                let mut payload = peer.run(&text.as_bytes()[..1_000], DeflateFlush::PartialFlush);
                payload.extend(peer.run(&text.as_bytes()[1_000..5_000], DeflateFlush::SyncFlush));
                payload.extend(peer.run(&text.as_bytes()[5_000..9_000], DeflateFlush::FullFlush));
                payload.extend(peer.message(&text.as_bytes()[9_000..]));
                end.feed_frame(COMPRESSED_TEXT, &payload);
            }
            assert_eq!(texts(&end), [&text, &text], "{config:?}");
        }
    }
}
