//! Echo: every message comes back as it was.
use std::pin::pin;

use sockeye::{CloseCode, WebSocket};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::exchange::Io;

pub(crate) async fn run<S: Io>(socket: &mut WebSocket<S>, stop: &CancellationToken) {
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
        let mut next = match received {
            Ok(Some(message)) => Some(message),
            Ok(None) => return,
            Err(error) => return debug!(code = error.code(), "echo ended: {error}"),
        };
        // The echoes of messages that came together are queued, and leave together when `recv` waits.
        while let Some(message) = next {
            if let Err(error) = socket.feed(message).await {
                return debug!(code = error.code(), "echo ended: {error}");
            }
            next = socket.try_recv();
        }
    }
}
