//! `sockeye serve` and `sockeye demo`.
use std::{
    error::Error,
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use sockeye::{Deflate, OriginPolicy};
use sockeye_server::{Demo, Server, ServerOptions, Site};
use tokio::signal::unix::{SignalKind, signal};

use crate::args;

pub(crate) fn site(args: &args::Serve) -> Result<(), Box<dyn Error>> {
    let mut options = options(Site::Server, &args.shared)?;
    options.listen = args.listen;
    run(&options)
}

pub(crate) fn demo(args: &args::Demo) -> Result<(), Box<dyn Error>> {
    let (demo, port) = match args.which {
        args::DemoName::Echo => (Demo::Echo, 1337),
        args::DemoName::Chat => (Demo::Chat, 8080),
        args::DemoName::Cursors => (Demo::Cursors, 7071),
    };
    let mut options = options(Site::Demo(demo), &args.shared)?;
    options.listen = args.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)));
    options.max_message = args.max_message;
    options.max_fragments = args.max_fragments;
    if args.deflate {
        options.deflate = Some(Deflate::default().server_takeover(true).client_takeover(true).threshold(0));
    }
    run(&options)
}

fn options(site: Site, shared: &args::Shared) -> Result<ServerOptions, Box<dyn Error>> {
    let mut options = ServerOptions::new(site);
    options.origins = match shared.allow_origin.as_slice() {
        [] => None,
        listed if listed.iter().any(|origin| origin == "*") => Some(OriginPolicy::any()),
        listed => Some(OriginPolicy::list(listed)?),
    };
    if let Some(workers) = shared.workers {
        options.workers = usize::from(workers.max(1));
    }
    Ok(options)
}

/// Serves until SIGINT or SIGTERM. A second SIGINT ends it at once: somebody is at the keyboard. A second SIGTERM changes
/// nothing: supervisors send them twice, and stopping is bounded anyway.
fn run(options: &ServerOptions) -> Result<(), Box<dyn Error>> {
    let server = Server::start(options)?;
    // Whoever started us may have closed the output; that is no reason to stop.
    let _ = announce(options.site, server.address());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        let stopping = tokio::task::spawn_blocking(move || server.stop());
        tokio::select! {
            stopped = stopping => stopped.map_err(io::Error::other),
            _ = interrupt.recv() => std::process::exit(130),
        }
    })?;
    Ok(())
}

/// The first line is for programs, the rest for people.
fn announce(site: Site, address: SocketAddr) -> io::Result<()> {
    let at = reachable(address);
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{at}/")?;
    match site {
        Site::Server => {
            for demo in Demo::ALL {
                writeln!(out, "  {:<9} http://{at}/{demo}   ws://{at}/{demo}", format!("{demo}:"))?;
            }
        }
        Site::Demo(demo) => writeln!(out, "  {:<9} ws://{at}/ and every other path", format!("{demo}:"))?,
    }
    writeln!(out, "Ctrl-C stops it.")?;
    out.flush()
}

/// An address to open: nobody can connect to "any".
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}
