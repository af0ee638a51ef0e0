//! fastwebsockets, as its own examples do it: hyper for the upgrade, then frames, out of tokio's budget for fairness; header
//! and payload in one `writev` above 1 KiB, as is its default. It has no buffer for several replies: each is written at once.
use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use peers::{MAX_MESSAGE, Mode, Room, serve};
use std::{future::ready, sync::Arc};
use tokio::task::{spawn_local, unconstrained};

type Chat = Arc<Room<(OpCode, Bytes)>>;

fn main() -> std::io::Result<()> {
    let mode = Mode::of_arguments(&[Mode::Echo, Mode::Large, Mode::Idle, Mode::Broadcast]);
    let chat = Chat::default();
    serve(move |stream| {
        let chat = Arc::clone(&chat);
        let service = service_fn(move |mut request| {
            ready(upgrade(&mut request).map(|(response, upgrade)| {
                match mode {
                    Mode::Broadcast => spawn_local(unconstrained(broadcast(upgrade, Arc::clone(&chat)))),
                    _ => spawn_local(unconstrained(echo(upgrade))),
                };
                response
            }))
        });
        // How a connection ended is no matter here.
        async { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await) }
    })
}

async fn echo(upgrade: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = upgrade.await?;
    socket.set_max_message_size(MAX_MESSAGE);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn broadcast(upgrade: UpgradeFut, chat: Chat) -> Result<(), WebSocketError> {
    let (reader, mut writer) = upgrade.await?.split(tokio::io::split);
    let (number, mut heard) = chat.join();
    spawn_local(async move {
        while let Some((opcode, payload)) = heard.recv().await {
            writer.write_frame(Frame::new(true, opcode, None, Payload::Borrowed(&payload))).await?;
        }
        Ok::<(), WebSocketError>(())
    });
    let mut reader = FragmentCollectorRead::new(reader);
    while let Ok(frame) = reader.read_frame(&mut |_| ready(Ok::<(), WebSocketError>(()))).await {
        if matches!(frame.opcode, OpCode::Text | OpCode::Binary) {
            chat.tell_others(number, &(frame.opcode, Bytes::copy_from_slice(&frame.payload)));
        }
    }
    chat.leave(number);
    Ok(())
}
