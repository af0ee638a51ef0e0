//! From the command line to an open connection.
use sockeye::{Client, Config, Transport, WebSocket};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use crate::args;

pub(super) async fn open(args: &args::Connect, deadline: Option<Instant>) -> Result<WebSocket<Transport>, Failure> {
    let connecting = async { client(args)?.connect().await };
    let result = match deadline {
        Some(deadline) => timeout_at(deadline, connecting).await.map_err(|_elapsed| Failure::time_up())?,
        None => connecting.await,
    };
    result.map_err(|error| Failure::opening(&args.url, error))
}

fn client(args: &args::Connect) -> Result<Client, sockeye::Error> {
    let config = Config::with(|config| {
        config.limits.max_message = args.max_message;
        config.limits.max_frame = args.max_message;
        // What is queued is one line of the user's own beyond `HIGH_WATER`.
        config.limits.max_write_queue = usize::MAX;
    });
    let mut client = Client::new(&args.url)?.config(config);
    for protocol in &args.protocol {
        client = client.subprotocol(protocol);
    }
    for (name, value) in args.header.iter().flat_map(|headers| &headers.0) {
        client = client.header(name, value);
    }
    if let Some(origin) = &args.origin {
        client = client.origin(origin);
    }
    Ok(client)
}
