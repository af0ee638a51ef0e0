//! The client under test for the Autobahn suite: `autobahn_client HOST:PORT` runs every case of a fuzzing server.
use std::sync::Arc;

use sockeye::{Client, Config, Deflate, Error, Limits, Transport, WebSocket};

const AGENT: &str = "sockeye";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).ok_or("usage: autobahn_client HOST:PORT")?;
    let mut counter = open(&format!("ws://{server}/getCaseCount")).await?;
    let count = counter.recv().await?.ok_or("the server closed without a case count")?;
    let count: usize = count.as_text().ok_or("the case count is no text")?.parse()?;
    for case in 1..=count {
        // That a case ends in an error is often its point; the suite judges by what it saw on the wire.
        if let Err(error) = run(&format!("ws://{server}/runCase?case={case}&agent={AGENT}")).await {
            println!("case {case}: {error}");
        }
    }
    let mut socket = open(&format!("ws://{server}/updateReports?agent={AGENT}")).await?;
    // The suite may exit without a Close frame once it has written them.
    while let Ok(Some(_)) = socket.recv().await {}
    Ok(())
}

async fn open(url: &str) -> Result<WebSocket<Transport>, Error> {
    const MAX_MESSAGE: usize = 64 << 20;
    let limits =
        Limits { max_message: MAX_MESSAGE, max_frame: MAX_MESSAGE, max_fragments: 100_000, ..Limits::default() };
    // The suite's cases about compression count only what is compressed.
    let deflate = Deflate::default().server_takeover(true).client_takeover(true).threshold(0);
    Client::new(url)?.deflate(deflate).config(Arc::new(Config { limits, ..Config::default() })).connect().await
}

async fn run(url: &str) -> Result<(), Error> {
    let mut socket = open(url).await?;
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}
