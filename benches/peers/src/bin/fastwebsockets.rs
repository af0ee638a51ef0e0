//! fastwebsockets, as its own examples do it: hyper for the upgrade, then frames; header and payload in one `writev` above
//! 1 KiB, as is its default. It has no buffer for several replies: each is written at once.
use bytes::Bytes;
use fastwebsockets::{FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, upgrade};
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use peers::{MAX_MESSAGE, Mode, Room, serve};
use std::{future::ready, sync::Arc};
use tokio::task::spawn_local;

type Chat = Arc<Room<(OpCode, Bytes)>>;

fn main() -> std::io::Result<()> {
    let mode = Mode::of_arguments(&[Mode::Echo, Mode::Large, Mode::Idle, Mode::Broadcast]);
    let chat = Chat::default();
    serve(move |stream| {
        let chat = Arc::clone(&chat);
        let service = service_fn(move |request| ready(handshake(request, mode, Arc::clone(&chat))));
        async move {
            // How a connection ended is no matter here.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        }
    })
}

fn handshake(mut request: Request<Incoming>, mode: Mode, chat: Chat) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgrade) = upgrade::upgrade(&mut request)?;
    // Its example takes the connection out of tokio's budget for fairness as well.
    match mode {
        Mode::Broadcast => spawn_local(tokio::task::unconstrained(broadcast(upgrade, chat))),
        _ => spawn_local(tokio::task::unconstrained(echo(upgrade))),
    };
    Ok(response)
}

async fn echo(upgrade: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
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

async fn broadcast(upgrade: upgrade::UpgradeFut, chat: Chat) -> Result<(), WebSocketError> {
    let (reader, mut writer) = upgrade.await?.split(tokio::io::split);
    let (number, mut heard) = chat.join();
    spawn_local(async move {
        while let Some((opcode, payload)) = heard.recv().await {
            writer.write_frame(Frame::new(true, opcode, None, Payload::Borrowed(&payload))).await?;
        }
        Ok::<(), WebSocketError>(())
    });
    let mut reader = FragmentCollectorRead::new(reader);
    while let Ok(frame) = reader.read_frame(&mut |_| async { Ok::<(), WebSocketError>(()) }).await {
        if matches!(frame.opcode, OpCode::Text | OpCode::Binary) {
            chat.tell_others(number, &(frame.opcode, Bytes::copy_from_slice(&frame.payload)));
        }
    }
    chat.leave(number);
    Ok(())
}
