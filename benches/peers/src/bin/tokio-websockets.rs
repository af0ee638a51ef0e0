//! tokio-websockets: replies that wait go out together, up to 64 KiB of them. Reading makes it write what is queued, so
//! that all is read first.
use futures_util::{FutureExt, SinkExt, StreamExt};
use peers::{MAX_MESSAGE, Mode, serve};
use tokio::{net::TcpStream, task::spawn_local};
use tokio_websockets::{Config, Error, Limits, Message, ServerBuilder, WebSocketStream};

/// What is answered with one flush, at most.
const BATCH: usize = 32;

fn main() -> std::io::Result<()> {
    let _the_same = Mode::of_arguments(&[Mode::Echo, Mode::Large, Mode::Idle]);
    serve(|stream| async {
        if let Ok(socket) = accept(stream).await {
            // A task of its own has no room for the handshake.
            spawn_local(echo(socket));
        }
    })
}

async fn accept(stream: TcpStream) -> Result<WebSocketStream<TcpStream>, Error> {
    let limits = Limits::default().max_payload_len(Some(MAX_MESSAGE));
    let config = Config::default().flush_threshold(64 * 1024);
    Ok(ServerBuilder::new().limits(limits).config(config).accept(stream).await?.1)
}

async fn echo(mut socket: WebSocketStream<TcpStream>) -> Result<(), Error> {
    let mut batch: Vec<Message> = Vec::new();
    while let Some(message) = socket.next().await {
        batch.push(message?);
        while batch.len() < BATCH
            && let Some(Some(message)) = socket.next().now_or_never()
        {
            batch.push(message?);
        }
        for message in batch.drain(..).filter(|message| message.is_text() || message.is_binary()) {
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}
