//! Echo on tokio-tungstenite with its defaults.
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;

fn main() -> std::io::Result<()> {
    peers::serve(echo)
}

async fn echo(stream: TcpStream) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            break;
        }
    }
}
