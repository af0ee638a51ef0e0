//! Echo: every message comes back as it was.
use std::pin::pin;

use sockeye::{CloseCode, WebSocket};
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
        // `feed`, so that the echoes of messages that came together leave together when `recv` waits.
        let result = match received {
            Ok(Some(message)) => socket.feed(message).await,
            Ok(None) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            debug!(code = error.code(), "echo ended: {error}");
            return;
        }
    }
}
