//! Echo: every message comes back as it was.
use std::pin::pin;

use sockeye::{CloseCode, Error, Message, WebSocket};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(super) async fn run(socket: &mut WebSocket, stop: &CancellationToken) {
    let mut stopped = pin!(stop.cancelled());
    loop {
        let received = tokio::select! {
            biased;
            received = socket.recv() => received,
            () = &mut stopped => {
                // However it ends now, this client is gone.
                let _ = socket.close(CloseCode::GOING_AWAY, "the server is stopping").await;
                return;
            }
        };
        let result = match received {
            Ok(Some(message)) => echo_all(socket, message).await,
            Ok(None) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            debug!(code = error.code(), "echo ended: {error}");
            return;
        }
    }
}

/// Echoes a message and those that came together with it. They are queued, and leave together when `recv` waits.
async fn echo_all(socket: &mut WebSocket, first: Message) -> Result<(), Error> {
    let mut next = Some(first);
    while let Some(message) = next {
        socket.feed(message).await?;
        next = socket.try_recv();
    }
    Ok(())
}
