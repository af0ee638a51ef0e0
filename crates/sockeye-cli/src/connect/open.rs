//! From the command line to an open connection.
use std::borrow::Cow;

use sockeye::{Client, Config, Deflate, Proxy, RedirectPolicy, Transport, WebSocket};
use tokio::time::{Instant, timeout_at};

use super::{failure::Failure, tls};
use crate::args;

pub(super) async fn open(args: &args::Connect, deadline: Option<Instant>) -> Result<WebSocket<Transport>, Failure> {
    let client = along(client(args)?, &args.way)?;
    let connecting = async {
        match &args.way.unix {
            Some(path) => client.connect_unix(path).await,
            None => client.connect().await,
        }
    };
    let result = match deadline {
        Some(deadline) => timeout_at(deadline, connecting).await.map_err(|_elapsed| Failure::time_up())?,
        None => connecting.await,
    };
    result.map_err(|error| {
        let place = args.way.unix.as_ref().map_or(Cow::Borrowed(args.url.as_str()), |path| path.to_string_lossy());
        Failure::opening(&place, &args.way, &error)
    })
}

/// What the server is told.
fn client(args: &args::Connect) -> Result<Client, Failure> {
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
    if args.way.deflate {
        client = client.deflate(Deflate::default());
    }
    Ok(client)
}

/// How it is reached.
fn along(client: Client, way: &args::Way) -> Result<Client, Failure> {
    let mut client = client.redirects(RedirectPolicy::limited(way.max_redirects));
    if way.http2 {
        client = client.http2();
    }
    if let Some(file) = &way.cacert {
        client = client.tls(tls::trusting(file)?);
    }
    if way.insecure {
        eprintln!(
            "sockeye: WARNING: --insecure verifies no certificate: anybody on the way can read and change everything"
        );
        client = client.tls(tls::trusting_anybody()?);
    }
    if let Some(url) = &way.proxy {
        client = client.proxy(Proxy::new(url).map_err(|error| Failure::opening(url, way, &error))?);
    }
    if way.no_proxy {
        client = client.proxy(Proxy::none());
    }
    Ok(client)
}
