//! What the servers on the other libraries have in common: they run on one thread like ours, say where they listen, and
//! work as their command line says. What a library advises for speed is in its own file under `bin/`.
#![forbid(unsafe_code)]

mod room;

pub use room::{Room, broadcast, relay};

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use std::{future::Future, io};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;

/// No limit on messages is below what `attack` announces.
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// What the server does, as its one argument says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every message goes back to its sender; buffers of the size that makes small messages cost least.
    Echo,
    /// The same with buffers of the size that makes messages of 64 KiB and more cost least.
    Large,
    /// The same with buffers as small as the library allows, for many connections.
    Idle,
    /// The same, compressed where the client offers it: level 1, no context takeover, every message.
    Deflate,
    /// Every message goes to all others.
    Broadcast,
}

impl Mode {
    /// The mode that the command line names; an echo without one.
    ///
    /// # Panics
    /// If it names none of those that this server has.
    #[must_use]
    pub fn of_arguments(all: &[Self]) -> Self {
        let mode = match std::env::args().nth(1).as_deref() {
            None | Some("echo") => Self::Echo,
            Some("large") => Self::Large,
            Some("idle") => Self::Idle,
            Some("deflate") => Self::Deflate,
            Some("broadcast") => Self::Broadcast,
            Some(other) => panic!("{other}: no such mode"),
        };
        assert!(all.contains(&mode), "{mode:?}: not with this library");
        mode
    }
}

/// Accepts connections at a free port of 127.0.0.1, prints where in the form `run` reads, and serves each. Sets `TCP_NODELAY`,
/// which these libraries leave to the program.
///
/// # Errors
/// If the port cannot be bound, or accepting fails.
pub fn serve<F: Future<Output = ()> + 'static>(connection: impl Fn(TcpStream) -> F) -> io::Result<()> {
    serve_as_accepted(move |stream| {
        // It fails where the peer has left already, which the library will notice.
        let _ = stream.set_nodelay(true);
        connection(stream)
    })
}

/// The same, for a library that sets `TCP_NODELAY` itself.
///
/// # Errors
/// As [`serve`].
pub fn serve_as_accepted<F: Future<Output = ()> + 'static>(connection: impl Fn(TcpStream) -> F) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = listen().await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(connection(stream));
        }
    })
}

/// For frameworks that accept connections themselves: the listener, after it was said where.
///
/// # Errors
/// If the port cannot be bound.
pub async fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}/", listener.local_addr()?);
    Ok(listener)
}

/// Sends every message back that is one of data; those that are there at once, with one flush.
pub async fn echo<M, E, S>(mut socket: S, is_data: impl Fn(&M) -> bool)
where
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
{
    let mut ended = false;
    while !ended {
        let mut next = socket.next().await;
        loop {
            match next {
                Some(Ok(message)) if is_data(&message) => ended = socket.feed(message).await.is_err(),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => ended = true,
            }
            if ended {
                break;
            }
            let Some(ready) = socket.next().now_or_never() else { break };
            next = ready;
        }
        ended |= socket.flush().await.is_err();
    }
}
