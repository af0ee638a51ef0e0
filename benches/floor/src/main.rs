//! The floor: a TCP echo with no protocol, on one thread and one epoll. Each readiness costs one
//! `recv` and one `send`; nothing is parsed, copied or allocated. No server can do less per message.
//!
//! `floor ADDRESS fanout` is the floor for a channel: what one connection sends goes to all others, with one `send` each.

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

const LISTENER: u64 = u64::MAX;
/// Of the sizes from 16 KiB to 2 MiB the one at which large messages cost least; small ones do not care.
const BUFFER: usize = 256 * 1024;

struct Connection {
    stream: TcpStream,
    /// What the kernel would not take yet. Stays empty, and without memory, while the peer reads.
    pending: Vec<u8>,
    /// So much of it has been taken since.
    taken: usize,
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let fan_out = std::env::args().nth(2).is_some_and(|mode| mode == "fanout");
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on http://{}/", listener.local_addr()?);
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    // A connection's place is its token; closed places are used again.
    let mut places: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; BUFFER];
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    loop {
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            if event.data.u64() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let place = free.pop().unwrap_or(places.len());
                    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
                    epoll::add(&poll, &stream, EventData::new_u64(place as u64), flags)?;
                    places.resize_with(places.len().max(place + 1), || None);
                    places[place] = Some(Connection { stream, pending: Vec::new(), taken: 0 });
                }
                continue;
            }
            let place = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
            let Some(connection) = places[place].as_mut() else { continue };
            let lives =
                if fan_out { tell_others(&mut places, place, &mut buffer) } else { connection.turn(&mut buffer) };
            if !lives {
                places[place] = None;
                free.push(place);
            }
        }
    }
}

/// Sends what this connection has sent to all others. Says whether the connection lives on.
fn tell_others(places: &mut [Option<Connection>], publisher: usize, buffer: &mut [u8]) -> bool {
    loop {
        let Some(connection) = places[publisher].as_mut() else { return false };
        let read = match connection.stream.read(buffer) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        for (_, other) in places.iter_mut().enumerate().filter(|(place, _)| *place != publisher) {
            // The load generator reads before it publishes again, so that the kernel always has room.
            if other.as_mut().is_some_and(|other| other.stream.write_all(&buffer[..read]).is_err()) {
                *other = None;
            }
        }
        if read < buffer.len() {
            return true;
        }
    }
}

impl Connection {
    /// Echoes what is there. Says whether the connection lives on.
    fn turn(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            while self.taken < self.pending.len() {
                match self.stream.write(&self.pending[self.taken..]) {
                    Ok(count) => self.taken += count,
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            }
            self.pending.clear();
            self.taken = 0;
            let read = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            let written = match self.stream.write(&buffer[..read]) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => return false,
            };
            self.pending.extend_from_slice(&buffer[written..read]);
            // A short read emptied the socket: the next bytes bring the next event.
            if read < buffer.len() && self.pending.is_empty() {
                return true;
            }
        }
    }
}
