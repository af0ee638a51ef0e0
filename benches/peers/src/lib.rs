//! What the echo servers of the other libraries have in common: they run like ours, on one thread, and say where.
#![forbid(unsafe_code)]

use std::{future::Future, io};

use tokio::net::{TcpListener, TcpStream};

/// Accepts connections at a free port of 127.0.0.1, prints where in the form `run` reads, and echoes on each.
///
/// # Errors
/// If the port cannot be bound, or accepting fails.
pub fn serve<F: Future<Output = ()> + 'static>(echo: impl Fn(TcpStream) -> F) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}/", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(echo(stream));
        }
    })
}
