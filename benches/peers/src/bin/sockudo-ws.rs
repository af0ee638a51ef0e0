//! sockudo-ws: the stream over plain TCP without type erasure, replies that wait go out together, no heartbeat, its own
//! `PubSub` for the broadcast.
use bytes::BytesMut;
use peers::{MAX_MESSAGE, Mode, echo, relay, serve};
use sockudo_ws::deflate::{DeflateConfig, negotiate_server_deflate};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request, server_handshake};
use sockudo_ws::{CompressedWebSocketStream, Config, Error, Message, PubSub, Result, WebSocketStream};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::{net::TcpStream, sync::mpsc, task::spawn_local};

fn main() -> std::io::Result<()> {
    let mode = Mode::of_arguments(&[Mode::Echo, Mode::Large, Mode::Idle, Mode::Deflate, Mode::Broadcast]);
    let chat = Arc::new(PubSub::new());
    serve(move |stream| {
        let connection = connection(stream, mode, Arc::clone(&chat));
        async { drop(connection.await) }
    })
}

async fn connection(mut stream: TcpStream, mode: Mode, chat: Arc<PubSub>) -> Result<()> {
    let config = Config::builder().max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    let config = config.auto_ping(false).idle_timeout(0).build();
    let is_data = |message: &Message| !message.is_control();
    if mode == Mode::Deflate {
        let agreed = handshake(&mut stream).await?;
        echo(CompressedWebSocketStream::server(stream, config, agreed), is_data).await;
        return Ok(());
    }
    server_handshake(&mut stream).await?;
    let socket = WebSocketStream::server(stream, config);
    if mode == Mode::Broadcast {
        let (inbox, heard) = mpsc::unbounded_channel();
        let number = chat.create_subscriber(inbox);
        chat.subscribe(number, "bench");
        relay(socket, heard, is_data, |message| _ = chat.publish_excluding(number, "bench", message)).await;
        chat.remove_subscriber(number);
    } else {
        // A task of its own has no room for the handshake.
        spawn_local(echo(socket, is_data));
    }
    Ok(())
}

async fn handshake(stream: &mut TcpStream) -> Result<DeflateConfig> {
    let mut policy = DeflateConfig { compression_level: 1, compression_threshold: 0, ..DeflateConfig::default() };
    (policy.server_no_context_takeover, policy.client_no_context_takeover) = (true, true);
    let mut head = BytesMut::with_capacity(4096);
    while stream.read_buf(&mut head).await? > 0 {
        let Some((request, _)) = parse_request(&head)? else { continue };
        let agreed = negotiate_server_deflate(request.extensions.unwrap_or_default(), &policy)
            .ok_or(Error::HandshakeFailed("no deflate offered"))?;
        let response = build_response(&generate_accept_key(request.key), None, Some(&agreed.to_response_header()));
        stream.write_all(&response).await?;
        return Ok(agreed.config);
    }
    Err(Error::ConnectionClosed)
}
