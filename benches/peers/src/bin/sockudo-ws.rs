//! sockudo-ws: the stream over plain TCP without type erasure, replies that wait go out together, no heartbeat, its own
//! `PubSub` for the broadcast.
use bytes::BytesMut;
use peers::{MAX_MESSAGE, Mode, echo, serve};
use sockudo_ws::deflate::{DeflateConfig, negotiate_server_deflate};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request, server_handshake};
use sockudo_ws::{CompressedWebSocketStream, Config, Error, Message, PubSub, Result, WebSocketStream};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::{net::TcpStream, sync::mpsc};

fn main() -> std::io::Result<()> {
    let mode = Mode::of_arguments(&[Mode::Echo, Mode::Large, Mode::Idle, Mode::Deflate, Mode::Broadcast]);
    let chat = Arc::new(PubSub::new());
    serve(move |stream| {
        let connection = connection(stream, mode, Arc::clone(&chat));
        async { drop(connection.await) }
    })
}

async fn connection(mut stream: TcpStream, mode: Mode, chat: Arc<PubSub>) -> Result<()> {
    let config =
        Config::builder().max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE).auto_ping(false).idle_timeout(0);
    let config = if mode == Mode::Idle { config.write_buffer_size(0) } else { config }.build();
    if mode == Mode::Deflate {
        let deflate = handshake(&mut stream).await?;
        echo(CompressedWebSocketStream::server(stream, config, deflate), is_data).await;
        return Ok(());
    }
    server_handshake(&mut stream).await?;
    let socket = WebSocketStream::server(stream, config);
    if mode != Mode::Broadcast {
        echo(socket, is_data).await;
        return Ok(());
    }
    let (inbox, mut heard) = mpsc::unbounded_channel();
    let number = chat.create_subscriber(inbox);
    chat.subscribe(number, "bench");
    let (mut reader, mut writer) = socket.split();
    tokio::task::spawn_local(async move {
        while let Some(message) = heard.recv().await
            && writer.send(message).await.is_ok()
        {}
    });
    while let Some(Ok(message)) = reader.next().await {
        if is_data(&message) {
            chat.publish_excluding(number, "bench", message);
        }
    }
    chat.remove_subscriber(number);
    Ok(())
}

async fn handshake(stream: &mut TcpStream) -> Result<DeflateConfig> {
    let policy = DeflateConfig {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        compression_level: 1,
        compression_threshold: 0,
        ..DeflateConfig::default()
    };
    let mut head = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(Error::ConnectionClosed);
        }
        let Some((request, _)) = parse_request(&head)? else { continue };
        let agreed = negotiate_server_deflate(request.extensions.unwrap_or_default(), &policy)
            .ok_or(Error::HandshakeFailed("no deflate offered"))?;
        let response = build_response(&generate_accept_key(request.key), None, Some(&agreed.to_response_header()));
        stream.write_all(&response).await?;
        return Ok(agreed.config);
    }
}

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}
