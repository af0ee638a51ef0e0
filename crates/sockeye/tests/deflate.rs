//! Compression from end to end: what is agreed upon, what is sent, and what the limits say of it.
#![cfg(feature = "deflate")]

mod common;

use std::sync::Arc;

use common::{BINARY, CLOSE, FIN, KIB, MIB, TEXT, masked, read_frame, read_head, switching, up_to, within};
use sockeye::{Client, Config, Deflate, DeflateBudget, Handshake, Message, Prepared, ServerConfig, WebSocket};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

const RSV1: u8 = 0x40;
const USUAL: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn takeover() -> Deflate {
    Deflate::default().server_takeover(true).client_takeover(true)
}

async fn pair(
    server: Option<Deflate>,
    client: Option<Deflate>,
    config: Config,
) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (near, far) = duplex(16 * KIB);
    let server = ServerConfig::with(|terms| {
        terms.deflate = server;
        terms.connection = Arc::new(config.clone());
    });
    let request = Client::new("ws://a/").unwrap().config(config);
    let request = if let Some(policy) = client { request.deflate(policy) } else { request };
    let connect = async { request.connect_over(near).await.unwrap() };
    let accept = async { Handshake::read(far, &server).await.unwrap().accept().await.unwrap() };
    let (client, server) = tokio::join!(connect, accept);
    (server, client)
}

#[tokio::test]
async fn both_ends_say_what_they_agreed_upon() {
    for (server, client, expected) in [
        (None, None, ""),
        (None, Some(Deflate::default()), ""),
        (Some(Deflate::default()), None, ""),
        (Some(Deflate::default()), Some(Deflate::default()), USUAL),
        (Some(takeover()), Some(takeover()), "permessage-deflate"),
        (
            Some(takeover().server_window_bits(12).unwrap()),
            Some(takeover().client_window_bits(10).unwrap()),
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=10",
        ),
    ] {
        let (server, client) = pair(server, client, Config::default()).await;
        assert_eq!((server.extensions(), client.extensions()), (expected, expected));
    }
}

#[tokio::test]
async fn messages_of_all_sizes_both_ways() {
    for policy in [Deflate::default(), takeover(), takeover().threshold(0)] {
        let (mut server, mut client) = pair(Some(policy.clone()), Some(policy), up_to(4 * MIB)).await;
        let text = "{\"id\":1,\"text\":\"the same again, and again\"},".repeat(60_000);
        let work = async {
            for len in [0, 1, 100, 200, 5_000, 70_000, 2_500_000] {
                let message = Message::text(&text[..len]);
                let (sent, got) = tokio::join!(client.send(message.clone()), server.recv());
                sent.unwrap();
                assert_eq!(got.unwrap().unwrap(), message);
                let prepared = Prepared::new(message.clone());
                let (sent, got) = tokio::join!(server.send_prepared(&prepared), client.recv());
                sent.unwrap();
                assert_eq!(got.unwrap().unwrap(), message);
            }
        };
        within(60, work).await;
    }
}

/// What a raw client sees, and sends, after its own offer.
async fn raw(policy: Deflate, config: Config, offer: &str) -> (WebSocket<DuplexStream>, DuplexStream, String) {
    let (mut peer, io) = duplex(MIB);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"
    );
    peer.write_all(request.as_bytes()).await.unwrap();
    let config = ServerConfig::with(|terms| {
        terms.deflate = Some(policy);
        terms.connection = Arc::new(config);
    });
    let socket = Handshake::read(io, &config).await.unwrap().accept().await.unwrap();
    let head = read_head(&mut peer).await;
    (socket, peer, head)
}

#[tokio::test]
async fn on_the_wire_a_message_has_its_bit_and_is_smaller() {
    let (mut socket, mut peer, head) = raw(Deflate::default(), Config::default(), "permessage-deflate").await;
    assert!(head.contains(&format!("Sec-WebSocket-Extensions: {USUAL}\r\n")), "{head}");
    peer.write_all(&masked(FIN | RSV1 | TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00")).await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("Hello"));
    socket.send("a".repeat(1_000)).await.unwrap();
    socket.send_prepared(&Prepared::plain("a".repeat(1_000).into())).await.unwrap();
    let (first, payload) = read_frame(&mut peer).await.unwrap();
    assert!(first == FIN | RSV1 | TEXT && payload.len() < 30);
    assert_eq!(read_frame(&mut peer).await.unwrap().1.len(), 1_000);
}

/// D1, over a transport: told 1009, and an error that says so.
#[tokio::test]
async fn d1_a_bomb_ends_with_1009() {
    let policy = takeover().threshold(0);
    let (mut server, mut client) = pair(Some(policy.clone()), Some(policy), up_to(2 * MIB)).await;
    let config = Config::with(|config| config.limits.max_message = 64 * KIB);
    let (mut small, mut peer, _) = raw(Deflate::default(), config, "permessage-deflate").await;
    let bomb = vec![0; 2 * MIB];
    let (sent, got) = tokio::join!(client.send(bomb.clone()), server.recv());
    sent.unwrap();
    assert_eq!(got.unwrap().unwrap().len(), 2 * MIB);
    // 2 MiB of zeros: stored blocks of one byte would not do, so a compressor makes them.
    let mut deflate = zlib_rs::Deflate::new(6, false, 15);
    let mut payload = vec![0; 100_000];
    deflate.compress(&bomb, &mut payload, zlib_rs::DeflateFlush::SyncFlush).unwrap();
    let len = usize::try_from(deflate.total_out()).unwrap();
    peer.write_all(&masked(FIN | RSV1 | BINARY, &payload[..len - 4])).await.unwrap();
    let error = tokio::spawn(async move { small.recv().await.unwrap_err() });
    let (first, close) = read_frame(&mut peer).await.unwrap();
    assert_eq!((first, &close[..2]), (FIN | CLOSE, &1009_u16.to_be_bytes()[..]));
    drop(peer);
    assert!(error.await.unwrap().to_string().contains("size limit"));
}

#[tokio::test]
async fn a_handshake_may_decide_for_itself() {
    for (policy, expected) in [(None, ""), (Some(takeover().client_takeover(false)), "client_no_context_takeover")] {
        let (near, far) = duplex(16 * KIB);
        let config = ServerConfig::with(|config| config.deflate = Some(Deflate::default()));
        let client = Client::new("ws://a/").unwrap().deflate(takeover());
        let connect = async { client.connect_over(near).await.unwrap() };
        let accept = async { Handshake::read(far, &config).await.unwrap().deflate(policy).accept().await.unwrap() };
        let (client, server) = tokio::join!(connect, accept);
        assert!(server.extensions().ends_with(expected) && client.extensions().ends_with(expected));
        assert_eq!(server.extensions().is_empty(), expected.is_empty());
    }
}

/// D9.
#[tokio::test]
async fn d9_a_server_that_answers_what_was_not_offered() {
    let (io, mut peer) = duplex(4 * KIB);
    let connect = Client::new("ws://a/").unwrap().deflate(Deflate::default()).connect_over(io);
    let answer = async {
        let head = read_head(&mut peer).await;
        let line = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n";
        peer.write_all(switching(&head, line).as_bytes()).await.unwrap();
    };
    let (result, ()) = tokio::join!(connect, answer);
    assert_eq!(result.unwrap_err().code(), "extension_not_offered");
}

/// D13: the budget is held for as long as the socket is.
#[tokio::test]
async fn d13_a_budget_is_the_sockets() {
    let budget = DeflateBudget::new(64 * KIB);
    let policy = takeover().budget(budget.clone());
    let (first, peer) = pair(Some(policy.clone()), Some(takeover()), Config::default()).await;
    assert_eq!(budget.used(), 64 * KIB);
    let (second, _) = pair(Some(policy), Some(takeover()), Config::default()).await;
    assert_eq!((first.extensions(), second.extensions()), ("permessage-deflate", USUAL));
    drop((first, peer));
    assert_eq!(budget.used(), 0);
}
