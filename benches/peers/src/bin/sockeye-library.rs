//! Our own library on tokio alone, without the realtime server around it: as its documentation advises, messages that came
//! together are queued, and leave together when `recv` waits.
use peers::{MAX_MESSAGE, Mode, serve_as_accepted};
use sockeye::{Config, Deflate, Error, Handshake, ServerConfig, WebSocket};
use std::sync::Arc;
use tokio::{net::TcpStream, task::spawn_local};

fn main() -> std::io::Result<()> {
    let mode = Mode::of_arguments(&[Mode::Echo, Mode::Large, Mode::Idle, Mode::Deflate]);
    let connection =
        Config::with(|config| (config.limits.max_message, config.limits.max_frame) = (MAX_MESSAGE, MAX_MESSAGE));
    let config = Arc::new(ServerConfig::with(|config| {
        config.connection = Arc::new(connection);
        config.deflate = (mode == Mode::Deflate).then(|| Deflate::default().threshold(0).level(1).unwrap_or_default());
    }));
    serve_as_accepted(move |stream| {
        let config = Arc::clone(&config);
        async move {
            if let Ok(request) = Handshake::read(stream, &config).await
                && let Ok(socket) = request.accept().await
            {
                spawn_local(echo(socket));
            }
        }
    })
}

/// An `async` block, since an `async fn` would have room for the socket twice: as its argument, and as its variable.
fn echo(mut socket: WebSocket<TcpStream>) -> impl Future<Output = Result<(), Error>> {
    async move {
        loop {
            let next = socket.try_recv();
            let Some(message) = (if next.is_some() { next } else { socket.recv().await? }) else { return Ok(()) };
            socket.feed(message).await?;
        }
    }
}
