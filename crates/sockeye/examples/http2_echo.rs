//! An echo server inside hyper, over HTTP/1.1 and HTTP/2 on one port: `http2_echo [ADDRESS]`.
//!
//! The server under test when the Autobahn suite is run over HTTP/2.
use std::{convert::Infallible, sync::Arc};

use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use sockeye::{Error, ServerConfig, Upgrade, http2::ServerSettings};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    let mut server = auto::Builder::new(TokioExecutor::new());
    ServerSettings::default().apply_auto(&mut server);
    let server = Arc::new(server);
    let config = Arc::new(config());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (server, config) = (Arc::clone(&server), Arc::clone(&config));
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(request, &config);
                async move { Ok::<_, Infallible>(answer) }
            });
            if let Err(error) = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
                eprintln!("connection: {error}");
            }
        });
    }
}

/// The suite sends messages of 16 MiB, some of them in 65,536 fragments.
fn config() -> ServerConfig {
    const MAX_MESSAGE: usize = 64 << 20;
    let mut config = ServerConfig::default();
    let mut connection = sockeye::Config::default();
    connection.limits.max_message = MAX_MESSAGE;
    connection.limits.max_frame = MAX_MESSAGE;
    connection.limits.max_fragments = 100_000;
    config.connection = Arc::new(connection);
    config
}

fn answer(mut request: Request<Incoming>, config: &ServerConfig) -> Response<Full<Bytes>> {
    match sockeye::upgrade(&mut request, config) {
        Ok((response, upgrade)) => {
            tokio::spawn(async move {
                if let Err(error) = echo(upgrade).await {
                    eprintln!("socket: {error}");
                }
            });
            response.map(|()| Full::default())
        }
        Err(refusal) => refusal.into(),
    }
}

async fn echo(upgrade: Upgrade) -> Result<(), Error> {
    let mut socket = upgrade.await?;
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}
