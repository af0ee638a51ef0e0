//! What holds for every input, every split of it, and every order of calls.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{
    BINARY, CLOSE, CONTINUATION, End, FIN, KIB, MIB, PING, PONG, Pair, TEXT, close_payload, frame, parse,
    with_keepalive,
};
use proptest::prelude::*;
use proptest::sample::Index;
use sockeye_proto::{CloseCode, CloseFrame, Config, ControlPayload, Message, Prepared, Role};

/// Limits that short inputs cross, and a keepalive.
/// The largest message that is sent.
const LARGEST: usize = 17_000;

fn strict() -> Config {
    let mut config = with_keepalive(3, 2);
    config.limits.max_frame = 300;
    config.limits.max_message = 400;
    config.limits.max_fragments = 5;
    config.limits.control_burst = 6;
    config.limits.max_write_queue = 20 * KIB;
    config
}

fn generous() -> Config {
    let mut config = Config::default();
    config.limits.max_frame = 100 * MIB;
    config.limits.max_message = 100 * MIB;
    config.limits.control_burst = u32::MAX;
    config
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

/// A frame to be, as first byte and payload; whether a data frame begins or continues a message is decided later.
fn piece() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let text = prop_oneof![".{0,20}", Just("é水🐟".repeat(14)), Just("x".repeat(130))].prop_map(String::into_bytes);
    let code = prop_oneof![4 => Just(1000_u16), 1 => 990_u16..1020, 1 => any::<u16>()];
    prop_oneof![
        6 => (prop_oneof![Just(TEXT), Just(FIN | TEXT)], text),
        4 => (prop_oneof![Just(BINARY), Just(FIN | BINARY)], prop::collection::vec(any::<u8>(), 0..200)),
        2 => (prop_oneof![Just(FIN | PING), Just(FIN | PONG)], prop::collection::vec(any::<u8>(), 0..126)),
        1 => (Just(FIN | CLOSE), (code, "[a-zé]{0,20}").prop_map(|(code, why)| close_payload(code, why.as_bytes()))),
    ]
}

/// Frames that are mostly right: fragments follow one another, and texts may be cut within a code point.
fn conversation() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let pieces = prop::collection::vec((piece(), any::<Option<Index>>()), 0..12);
    pieces.prop_map(|pieces| {
        let mut frames = Vec::new();
        let mut unfinished = false;
        for ((first, payload), cut) in pieces {
            if first & 0x08 != 0 {
                frames.push((first, payload));
                continue;
            }
            let opcode = if unfinished { CONTINUATION } else { first & 0x0f };
            if let Some(cut) = cut.filter(|_| first & FIN != 0) {
                let (begin, end) = payload.split_at(cut.index(payload.len() + 1));
                frames.push((opcode, begin.to_vec()));
                frames.push((FIN | CONTINUATION, end.to_vec()));
            } else {
                frames.push((first & FIN | opcode, payload));
            }
            unfinished = first & FIN == 0;
        }
        frames
    })
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let mutation = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        any::<Index>().prop_map(Mutation::Truncate),
    ];
    prop_oneof![1 => Just(Vec::new()), 1 => prop::collection::vec(mutation, 1..4)]
}

fn wire(from: Role, frames: &[(u8, Vec<u8>)], mutations: &[Mutation]) -> Vec<u8> {
    let mut wire: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(from, *first, payload)).collect();
    for mutation in mutations {
        if wire.is_empty() {
            break;
        }
        match mutation {
            Mutation::Flip(at, bits) => *at.get_mut(&mut wire) ^= bits,
            Mutation::Insert(at, byte) => wire.insert(at.index(wire.len()), *byte),
            Mutation::Remove(at) => drop(wire.remove(at.index(wire.len()))),
            Mutation::Truncate(at) => wire.truncate(at.index(wire.len())),
        }
    }
    wire
}

fn pieces<'a>(input: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    cuts.extend([0, input.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &input[ends[0]..ends[1]]).collect()
}

fn peer_of(role: Role) -> Role {
    End::new(role, Config::default()).peer()
}

/// Everything that can be seen of a connection.
fn assert_same(a: &End, b: &End) {
    assert_eq!(a.events, b.events);
    assert_eq!(a.sent, b.sent);
    assert_eq!(a.closed, b.closed);
    assert_eq!(a.write_shut, b.write_shut);
    assert_eq!(a.connection.ready_state(), b.connection.ready_state());
    assert_eq!(a.connection.deadline().map(|at| at - a.now), b.connection.deadline().map(|at| at - b.now));
}

/// Feeds in pieces; no more memory is held than twice what came since the last message, 1 MiB ahead at most.
fn feed_counting(end: &mut End, pieces: &[&[u8]]) {
    let mut received = 0;
    for piece in pieces {
        let before = end.messages().len();
        end.feed(piece);
        received = if end.messages().len() == before { received + piece.len() } else { piece.len() };
        let held = end.connection.buffered_input();
        assert!(held <= received + received.min(MIB) + ControlPayload::MAX_LEN, "{held} of {received}");
    }
}

proptest! {
    /// B12, C2 and all other lines at once.
    #[test]
    fn any_split_gives_the_same_events_and_the_same_output(
        role in role(), frames in conversation(), mutations in mutations(), cuts: Vec<Index>,
    ) {
        let wire = wire(peer_of(role), &frames, &mutations);
        let [mut whole, mut split, mut single] = [(); 3].map(|()| End::new(role, strict()));
        whole.feed(&wire);
        feed_counting(&mut split, &pieces(&wire, &cuts));
        feed_counting(&mut single, &wire.chunks(1).collect::<Vec<_>>());
        assert_same(&whole, &split);
        assert_same(&whole, &single);
        assert_same(whole.eof(), split.eof());
        prop_assert!(whole.closed.is_some());
        prop_assert_eq!(parse(role, &whole.sent).1, 0);
    }

    #[test]
    fn no_bytes_make_it_panic(role in role(), input: Vec<u8>, cuts: Vec<Index>) {
        let mut end = End::new(role, generous());
        feed_counting(&mut end, &pieces(&input, &cuts));
        end.pass(Duration::from_secs(100)).eof();
        prop_assert!(end.closed.is_some());
    }
}

/// A message's fragments, sized around what matters: the forms of the length, and what is read straight into its message.
fn large_message() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let len = prop_oneof![0..200_usize, 65_500..65_600_usize, 30_000..40_000_usize, 100_000..300_000_usize];
    let fragment = (len, any::<u8>())
        .prop_map(|(len, salt)| "aé水🐟".bytes().cycle().skip(usize::from(salt % 10)).take(len).collect());
    prop::collection::vec(fragment, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Text cut anywhere is mostly bad, so this is also C3 on the road of large payloads.
    #[test]
    fn large_payloads_read_straight_into_their_message_are_the_same(
        role in role(), fragments in large_message(), text: bool, step in 1000..70_000_usize, cuts: Vec<Index>,
    ) {
        let count = fragments.len();
        let frames: Vec<_> = fragments.into_iter().enumerate().map(|(index, payload)| {
            let opcode = if index > 0 { CONTINUATION } else if text { TEXT } else { BINARY };
            (if index + 1 == count { FIN | opcode } else { opcode }, payload)
        }).collect();
        let wire = wire(peer_of(role), &frames, &[]);
        let [mut whole, mut split, mut direct] = [(); 3].map(|()| End::new(role, generous()));
        whole.feed(&wire);
        feed_counting(&mut split, &pieces(&wire, &cuts));
        direct.feed_payload(&wire, step);
        assert_same(&whole, &split);
        assert_same(&whole, &direct);
    }
}

/// What a program, a peer and a transport can do to a connection.
#[derive(Clone, Debug)]
enum Op {
    Frames(Vec<(u8, Vec<u8>)>, Vec<Mutation>),
    Send(usize, bool),
    SendPrepared(usize),
    Ping(Vec<u8>),
    Close(Option<u16>),
    Pass(u64),
    EarlyTimeout,
    Window(usize),
    Block,
    Eof,
}

fn op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![0..200_usize, 1000..10_000_usize, Just(LARGEST)];
    prop_oneof![
        6 => (conversation(), mutations()).prop_map(|(frames, mutations)| Op::Frames(frames, mutations)),
        6 => (len(), any::<bool>()).prop_map(|(len, text)| Op::Send(len, text)),
        3 => len().prop_map(Op::SendPrepared),
        3 => prop::collection::vec(any::<u8>(), 0..126).prop_map(Op::Ping),
        1 => prop_oneof![Just(None), (3000..5000_u16).prop_map(Some)].prop_map(Op::Close),
        3 => (0..4000_u64).prop_map(Op::Pass),
        1 => Just(Op::EarlyTimeout),
        6 => prop_oneof![0..20_usize, 100..20_000_usize, Just(usize::MAX)].prop_map(Op::Window),
        2 => Just(Op::Block),
        1 => Just(Op::Eof),
    ]
}

fn apply(end: &mut End, op: Op) {
    match op {
        Op::Frames(frames, mutations) => {
            end.feed(&wire(end.peer(), &frames, &mutations));
        }
        Op::Send(len, text) => {
            let message = if text { Message::from("t".repeat(len)) } else { Message::from(vec![b'b'; len]) };
            if let Err(error) = end.connection.send(message.clone()) {
                assert_eq!(error.into_inner(), message);
            }
        }
        Op::SendPrepared(len) => {
            let prepared = Prepared::new(Message::from(vec![b'p'; len]));
            drop(end.connection.send_prepared(&prepared));
        }
        Op::Ping(payload) => {
            drop(end.connection.ping(ControlPayload::try_from(Bytes::from(payload)).unwrap()));
        }
        Op::Close(code) => {
            let frame = code.map(|code| CloseFrame::new(CloseCode::new(code).unwrap(), "over"));
            end.connection.start_close(frame, end.now);
        }
        Op::Pass(millis) => {
            end.pass(Duration::from_millis(millis));
        }
        Op::EarlyTimeout => end.connection.handle_timeout(end.now),
        Op::Window(bytes) => {
            end.open_window(bytes);
        }
        Op::Block => end.window = 0,
        Op::Eof => {
            end.eof();
        }
    }
    end.drain();
}

proptest! {
    #[test]
    fn any_order_of_calls_ends_once_and_what_was_sent_is_understood(
        role in role(), ops in prop::collection::vec(op(), 0..40),
    ) {
        let config = strict();
        let queue_max = config.limits.max_write_queue;
        let mut end = End::new(role, config);
        end.window = 1000;
        for op in ops {
            apply(&mut end, op);
            // The queue, the largest message, which is let in while there is room for one, headers, a Close, a pong and a
            // ping and one begun.
            prop_assert!(end.connection.buffered_amount() <= queue_max + LARGEST + 4 * 139);
            prop_assert_eq!(end.connection.is_over(), end.closed.is_some());
        }
        end.eof();
        prop_assert!(end.closed.is_some());
        let (_, torn) = parse(role, &end.sent);
        prop_assert!(torn == 0 || end.connection.discarded_amount() > 0, "torn without a reason");
        let mut peer = End::new(end.peer(), generous());
        peer.feed(&end.sent);
        prop_assert!(peer.closed.as_ref().is_none_or(Result::is_ok), "{:?}", peer.closed);
        prop_assert!(peer.write_shut == peer.closed.is_some() || role == Role::Server);
    }

    #[test]
    fn two_ends_deliver_everything_once_and_in_order_and_end_clean(
        messages in prop::collection::vec((any::<bool>(), any::<bool>(), message_len()), 0..20),
        chunks in prop::collection::vec(1..9000_usize, 1..10),
        closing in 1..4_u8,
    ) {
        let mut pair = Pair::new(&generous());
        let mut turn = chunks.iter().cycle();
        let mut sent: [Vec<Message>; 2] = Default::default();
        for (index, (from_client, run, len)) in messages.into_iter().enumerate() {
            let text = format!("{index} ").repeat(len / 2);
            let message = if index % 2 == 0 { Message::from(text) } else { Message::from(text.into_bytes()) };
            let end = if from_client { &mut pair.client } else { &mut pair.server };
            end.send(message.clone());
            sent[usize::from(from_client)].push(message);
            if run {
                pair.run_in_pieces(|| *turn.next().unwrap());
            }
        }
        if closing & 1 != 0 {
            pair.client.close(1000, "client");
        }
        if closing & 2 != 0 {
            pair.server.close(1001, "server");
        }
        pair.run_in_pieces(|| *turn.next().unwrap());
        let [from_server, from_client] = &sent;
        prop_assert_eq!(pair.server.messages(), from_client.iter().collect::<Vec<_>>());
        prop_assert_eq!(pair.client.messages(), from_server.iter().collect::<Vec<_>>());
        for end in [&pair.client, &pair.server] {
            prop_assert!(end.outcome().is_clean());
            prop_assert_eq!(end.closed_at, Some(Duration::ZERO));
            prop_assert_eq!(end.connection.discarded_amount(), 0);
        }
    }
}

fn message_len() -> impl Strategy<Value = usize> {
    prop_oneof![0..10_usize, 50..200_usize, 5_000..20_000_usize, 40_000..80_000_usize]
}
