//! Opening connections: one after the other, blocking, before anything is measured.

use crate::{Failure, wire};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::str::FromStr;
use std::time::Duration;

/// How long one step of opening a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// More head than any handshake answers with.
const HEAD_LIMIT: usize = 16 * 1024;

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: SocketAddrV4,
    path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("ws://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = address.parse().map_err(|_| format!("{address}: not an IPv4 address and port"))?;
        Ok(Self { address, path: format!("/{path}") })
    }
}

/// Connects from the given address; the port is the kernel's choice.
///
/// # Errors
///
/// When the kernel refuses.
pub(crate) fn open(target: &Target, source: Ipv4Addr) -> Result<TcpStream, Failure> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    connect(&socket, &target.address).map_err(|error| format!("connect to {}: {error}", target.address))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Connects and takes part in the opening handshake.
///
/// # Errors
///
/// When the server does not answer with 101 and the right key, or sends anything after it.
pub(crate) fn open_websocket(target: &Target, source: Ipv4Addr) -> Result<TcpStream, Failure> {
    let mut stream = open(target, source)?;
    stream.write_all(wire::handshake(&target.address.to_string(), &target.path).as_bytes())?;
    let mut head = Vec::new();
    let mut chunk = [0; 2048];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut chunk).map_err(|error| format!("no handshake response: {error}"))?;
        head.extend(chunk.iter().take(count));
        if count == 0 || head.len() > HEAD_LIMIT {
            return Err(format!("not a handshake response: {}", head.escape_ascii()).into());
        }
    }
    let head = String::from_utf8_lossy(&head);
    if head.starts_with("HTTP/1.1 101 ") && head.contains(wire::ACCEPT) {
        Ok(stream)
    } else {
        Err(format!("handshake refused: {}", head.escape_debug()).into())
    }
}

/// The source address of connection `index`: loopback addresses in turn, so that many connections to
/// one port do not run out of local ports.
pub(crate) fn source(index: usize) -> Ipv4Addr {
    const SOURCES: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
    Ipv4Addr::new(127, 0, 0, SOURCES.get(index % SOURCES.len()).copied().unwrap_or(1))
}
