//! tokio-websockets: replies that wait go out together, up to 64 KiB of them. Reading makes it write what is queued, so
//! that all is read first.
use futures_util::{FutureExt, SinkExt, StreamExt};
use peers::{MAX_MESSAGE, Mode, serve};
use tokio::net::TcpStream;
use tokio_websockets::{Config, Error, Limits, Message, ServerBuilder};

/// What is answered with one flush, at most.
const BATCH: usize = 32;

fn main() -> std::io::Result<()> {
    let _the_same = Mode::of_arguments(&[Mode::Echo, Mode::Large, Mode::Idle]);
    serve(|stream| async { drop(echo(stream).await) })
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    let limits = Limits::default().max_payload_len(Some(MAX_MESSAGE));
    let config = Config::default().flush_threshold(64 * 1024);
    let (_, mut socket) = ServerBuilder::new().limits(limits).config(config).accept(stream).await?;
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
