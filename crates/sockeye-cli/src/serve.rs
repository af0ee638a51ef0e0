//! `sockeye serve` and `sockeye demo`.
use std::{
    error::Error,
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use sockeye::{Deflate, OriginPolicy};
use sockeye_server::{Demo, Server, ServerOptions, Site, StartError, Tls};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{args, config};

pub(crate) fn site(args: &args::Serve) -> Result<(), Box<dyn Error>> {
    let loaded = config::load(args)?;
    for note in loaded.notes() {
        eprintln!("sockeye: {note}");
    }
    run(&loaded.config.server_options())
}

pub(crate) fn demo(demo: &args::Demo) -> Result<(), Box<dyn Error>> {
    run(&match demo {
        args::Demo::Echo(args) => {
            let mut options = options(Site::Demo(Demo::Echo), args.listen, &args.shared)?;
            options.max_message = args.max_message;
            options.max_fragments = args.max_fragments;
            if args.deflate {
                let takeover = args.takeover;
                let deflate = Deflate::default().server_takeover(takeover).client_takeover(takeover);
                // However short: it is for trying out, and for other people's tests.
                options.deflate = Some(deflate.threshold(0));
            }
            options
        }
        args::Demo::Chat(args) => options(Site::Demo(Demo::Chat), args.listen, &args.shared)?,
        args::Demo::Cursors(args) => options(Site::Demo(Demo::Cursors), args.listen, &args.shared)?,
        args::Demo::Sockjs(args) => options(Site::SockJs, args.listen, &args.shared)?,
    })
}

fn options(site: Site, listen: SocketAddr, shared: &args::Shared) -> Result<ServerOptions, Box<dyn Error>> {
    let mut options = ServerOptions::new(site);
    options.listen = listen;
    options.origins = match shared.allow_origin.as_slice() {
        [] => None,
        origins if origins.iter().any(|origin| origin == "*") => Some(OriginPolicy::any()),
        origins => Some(OriginPolicy::list(origins)?.and_same()),
    };
    if let (Some(cert), Some(key)) = (&shared.tls_cert, &shared.tls_key) {
        options.tls = Some(Tls::files(cert, key));
    }
    if let Some(workers) = shared.workers {
        options.workers = usize::from(workers.max(1));
    }
    Ok(options)
}

/// Serves until SIGINT or SIGTERM. A second SIGINT ends it at once: somebody is at the keyboard. A second SIGTERM changes
/// nothing: supervisors send them twice, and stopping is bounded anyway.
fn run(options: &ServerOptions) -> Result<(), Box<dyn Error>> {
    let server = Server::start(options).map_err(advise)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // Without TLS a SIGHUP means what it always does: the end.
        let mut hangup = if options.tls.is_some() { Some(signal(SignalKind::hangup())?) } else { None };
        // Whoever reads this may send signals. Or has closed our output, which is no reason to stop.
        let _ = announce(options, server.address());
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = reload_on(&mut hangup, &server) => {}
        }
        let stopping = tokio::task::spawn_blocking(move || server.stop());
        tokio::select! {
            stopped = stopping => stopped.map_err(io::Error::other),
            _ = interrupt.recv() => std::process::exit(130),
        }
    })?;
    Ok(())
}

/// Reads the certificate again at every SIGHUP. Does not return.
async fn reload_on(hangup: &mut Option<Signal>, server: &Server) {
    if let Some(hangup) = hangup {
        while hangup.recv().await.is_some() {
            server.reload_certificates();
        }
    }
    std::future::pending::<()>().await;
}

/// What the command line can do about it.
fn advise(error: StartError) -> Box<dyn Error> {
    match error {
        StartError::OriginsNeeded => format!(
            "{error}: --allow-origin https://example.org (repeatable; pages from this server need not be named), or \
             --allow-origin '*' for every page"
        )
        .into(),
        error => error.into(),
    }
}

/// The first line is for programs, the rest for people.
fn announce(options: &ServerOptions, address: SocketAddr) -> io::Result<()> {
    let at = reachable(address);
    let (http, ws) = if options.tls.is_some() { ("https", "wss") } else { ("http", "ws") };
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {http}://{at}/")?;
    match options.site {
        Site::Server => {
            writeln!(out, "  {:<9} {http}://{at}/   {ws}://{at}/ws", "channels:")?;
            for demo in Demo::ALL {
                writeln!(out, "  {:<9} {http}://{at}/{demo}   {ws}://{at}/{demo}", format!("{demo}:"))?;
            }
        }
        Site::SockJs => {
            for prefix in ["echo", "disabled_websocket_echo", "cookie_needed_echo", "close"] {
                writeln!(out, "  {:<9} {http}://{at}/{prefix}", "SockJS:")?;
            }
        }
        Site::Demo(demo) => writeln!(out, "  {:<9} {ws}://{at}/ and every other path", format!("{demo}:"))?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_for_want_of_origins_is_told_the_option() {
        let mut options = ServerOptions::new(Site::Server);
        options.listen = SocketAddr::from(([0, 0, 0, 0], 0));
        let Err(error) = Server::start(&options) else { panic!("an open address without origins") };
        assert!(advise(error).to_string().contains("--allow-origin"));
    }
}
