//! The client under test for the Autobahn suite: `autobahn_client HOST:PORT` runs every case of a fuzzing server.
//!
//! With the feature `http2`, `autobahn_client HOST:PORT --http2` does it over HTTP/2, to a proxy before the suite.
use sockeye::{Client, Config, Deflate, Error, Transport, WebSocket};

const AGENT: &str = "sockeye";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).ok_or("usage: autobahn_client HOST:PORT")?;
    if let Some(option) = std::env::args().nth(2)
        && !(cfg!(feature = "http2") && option == "--http2")
    {
        return Err(format!("{option}: this build has no such option").into());
    }
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
    let client = Client::new(url)?.config(Config::with(|config| {
        config.limits.max_message = MAX_MESSAGE;
        config.limits.max_frame = MAX_MESSAGE;
        config.limits.max_fragments = 100_000;
    }));
    // The suite's cases about compression count only what is compressed.
    let client = client.deflate(Deflate::default().server_takeover(true).client_takeover(true).threshold(0));
    #[cfg(feature = "http2")]
    if std::env::args().nth(2).as_deref() == Some("--http2") {
        return client.http2().connect().await;
    }
    client.connect().await
}

async fn run(url: &str) -> Result<(), Error> {
    let mut socket = open(url).await?;
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}
