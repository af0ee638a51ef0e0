//! Echo on tokio-websockets with its defaults, and its limit on messages raised to what `attack` sends.
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_websockets::{Limits, ServerBuilder};

fn main() -> std::io::Result<()> {
    peers::serve(echo)
}

async fn echo(stream: TcpStream) {
    let limits = Limits::default().max_payload_len(Some(64 * 1024 * 1024));
    let Ok((_, mut socket)) = ServerBuilder::new().limits(limits).accept(stream).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            break;
        }
    }
}
