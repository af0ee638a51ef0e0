//! Messages that are not held whole, compressed (RFC 7692 section 6): sent part by part, handed out as they come.
#![cfg(feature = "deflate")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::Arc;

use common::{Dice, KIB, MIB, within};
use sockeye::{Client, Config, Deflate, Handshake, MessageKind, ServerConfig, WebSocket};
use tokio::io::{DuplexStream, duplex};

async fn pair(policy: Deflate, config: Config) -> [WebSocket<DuplexStream>; 2] {
    let (near, far) = duplex(16 * KIB);
    let request = Client::new("ws://a/").unwrap().config(config.clone()).deflate(policy.clone());
    let terms = ServerConfig::with(|terms| {
        terms.deflate = Some(policy);
        terms.connection = Arc::new(config);
    });
    let connect = async { request.connect_over(near).await.unwrap() };
    let accept = async { Handshake::read(far, &terms).await.unwrap().accept().await.unwrap() };
    let (client, server) = tokio::join!(connect, accept);
    assert!(client.extensions().starts_with("permessage-deflate"));
    [client, server]
}

fn policies() -> [Deflate; 3] {
    let takeover = Deflate::default().server_takeover(true).client_takeover(true);
    let small = takeover.clone().server_window_bits(9).unwrap().client_window_bits(9).unwrap();
    [Deflate::default(), takeover, small]
}

/// Text that compresses, and every third part bytes that do not.
fn parts(seed: u64) -> Vec<String> {
    let mut dice = Dice::new(seed);
    let noise =
        |dice: &mut Dice, len| (0..len).map(|_| char::from(b' ' + u8::try_from(dice.below(94)).unwrap())).collect();
    (0..40)
        .map(|number| match number % 3 {
            0 => noise(&mut dice, 700),
            1 => format!("part {number} of a message in parts ä € 🐟; ").repeat(1 + dice.below(90)),
            _ => String::new(),
        })
        .collect()
}

async fn read_all(socket: &mut WebSocket<DuplexStream>) -> Vec<u8> {
    let mut reader = socket.reader().await.unwrap().unwrap();
    let mut all = Vec::new();
    while let Some(bytes) = reader.read().await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    all
}

async fn write_all(socket: &mut WebSocket<DuplexStream>, parts: &[String]) {
    let mut writer = socket.writer(MessageKind::Text);
    for part in parts {
        writer.write(part.clone()).await.unwrap();
    }
    writer.finish().await.unwrap();
}

/// In parts to a reader, in parts to `recv`, whole to a reader: the same bytes, whatever was agreed upon, message after message.
#[tokio::test(start_paused = true)]
async fn parts_and_wholes_are_the_same_message() {
    for policy in policies() {
        let [mut client, mut server] = pair(policy.threshold(0), Config::default()).await;
        for seed in 0..6 {
            let parts = parts(seed);
            let whole = parts.concat();
            within(60, async {
                let ((), got) = tokio::join!(write_all(&mut client, &parts), read_all(&mut server));
                assert!(got == whole.as_bytes());
                let ((), got) = tokio::join!(write_all(&mut server, &parts), client.recv());
                assert!(got.unwrap().unwrap().as_text() == Some(&*whole));
                let (sent, got) = tokio::join!(client.send(whole.clone()), read_all(&mut server));
                sent.unwrap();
                assert!(got == whole.as_bytes());
                let (sent, got) = tokio::join!(server.send(whole.clone()), client.recv());
                sent.unwrap();
                assert!(got.unwrap().unwrap().as_text() == Some(&*whole));
            })
            .await;
        }
    }
}

/// A part is handed out when it has come, not when 16 KiB of its compressed form have.
#[tokio::test(start_paused = true)]
async fn a_part_does_not_wait_for_the_next() {
    let [mut client, mut server] = pair(Deflate::default().threshold(0), Config::default()).await;
    within(60, async {
        let mut writer = client.writer(MessageKind::Text);
        writer.write("now").await.unwrap();
        writer.flush().await.unwrap();
        let mut reader = server.reader().await.unwrap().unwrap();
        assert_eq!(reader.read().await.unwrap().unwrap(), "now".as_bytes());
        writer.write(" and then").await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(reader.read().await.unwrap().unwrap(), " and then".as_bytes());
        assert_eq!(reader.read().await.unwrap(), None);
    })
    .await;
}

/// D1, D2: what a reader may be given is limited by `max_streamed` while it is inflated, and little of it is held.
#[tokio::test(start_paused = true)]
async fn a_bomb_is_handed_out_in_small_parts_up_to_the_limit() {
    let config = Config::with(|config| {
        config.limits.max_streamed = 64 * MIB as u64;
        config.limits.max_write_queue = 128 * MIB;
    });
    let [mut client, mut server] = pair(Deflate::default(), config).await;
    within(600, async {
        let sending = client.send(vec![0; 70 * MIB]);
        let receiving = async {
            let mut reader = server.reader().await.unwrap().unwrap();
            let (mut all, mut largest) = (0, 0);
            let error = loop {
                match reader.read().await {
                    Ok(part) => {
                        let len = part.unwrap().len();
                        (all, largest) = (all + len, largest.max(len));
                    }
                    Err(error) => break error,
                }
            };
            assert!(error.is_too_big());
            assert!(all <= 64 * MIB && all > 60 * MIB, "{all}");
            assert!(largest <= 2 * MIB, "{largest}");
        };
        let _ = tokio::join!(sending, receiving);
    })
    .await;
}

/// A reader that is dropped: `recv` passes over the rest, and takeover goes on from all of it.
#[tokio::test(start_paused = true)]
async fn what_is_passed_over_is_still_in_the_window() {
    let policy = Deflate::default().server_takeover(true).client_takeover(true).threshold(0);
    let [mut client, mut server] = pair(policy, Config::default()).await;
    let parts = parts(9);
    within(60, async {
        let sending = async {
            write_all(&mut client, &parts).await;
            client.send(parts.concat()).await.unwrap();
        };
        let receiving = async {
            let mut reader = server.reader().await.unwrap().unwrap();
            assert!(reader.read().await.unwrap().is_some());
            assert!(server.recv().await.unwrap().unwrap().as_text() == Some(&*parts.concat()));
        };
        tokio::join!(sending, receiving);
    })
    .await;
}
