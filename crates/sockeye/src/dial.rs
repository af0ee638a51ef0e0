//! Opening a TCP connection to a name that may have many addresses (RFC 8305, "happy eyeballs").
//!
//! Ours, in forty lines, because the one well-kept implementation for tokio comes with a whole HTTP client.
use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::timeout,
};

/// How long an address has for itself before the next is tried beside it (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses tried of one name.
const MAX_ADDRESSES: usize = 16;

/// The first connection that comes about to any address of `host`.
pub(crate) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut addresses = lookup(host, port).await?;
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = addresses.pop_front() {
            attempts.spawn(TcpStream::connect(address));
        }
        match timeout(ATTEMPT_DELAY, attempts.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => {
                // Messages are written when they are whole; waiting for more would only add the peer's delayed ACK.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Some(Ok(Err(error)))) => failure = error,
            Ok(Some(Err(error))) => failure = io::Error::other(error),
            Ok(None) => return Err(failure),
            Err(_elapsed) => {}
        }
    }
}

/// The addresses of a name, in the order to try them in.
pub(crate) async fn lookup(host: &str, port: u16) -> io::Result<VecDeque<SocketAddr>> {
    Ok(interleave(lookup_host((host, port)).await?))
}

/// The families in turn, beginning with the one the resolver prefers (RFC 8305 section 4).
fn interleave(addresses: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let addresses: Vec<_> = addresses.take(MAX_ADDRESSES).collect();
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut mixed: VecDeque<_> = first.into_iter().flat_map(|a| [Some(a), second.next()]).flatten().collect();
    mixed.extend(second);
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"].map(|a| a.parse().unwrap());
        let mixed: Vec<String> = interleave(addresses.into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(mixed, ["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
    }

    #[tokio::test]
    async fn a_name_with_a_dead_address_first_is_still_reached() {
        // localhost may be ::1 first, where nobody listens.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(dial("localhost", port).await.is_ok());
    }
}
