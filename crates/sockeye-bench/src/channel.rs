//! A channel of the realtime server: what a session says and hears, as bytes.

use crate::socket::{self, Target};
use crate::{Failure, wire};
use std::io::{Read, Write};
use std::net::TcpStream;

/// More than any reply that is waited for here.
const REPLY_LIMIT: usize = 64 * 1024;
const FIN_TEXT: u8 = 0x80 | wire::TEXT;
const FIN_BINARY: u8 = 0x80 | wire::BINARY;

/// Opens a session and subscribes it; both are answered when this returns.
///
/// # Errors
///
/// When the server refuses either.
pub(crate) fn subscriber(target: &Target, index: usize, channel: &str) -> Result<TcpStream, Failure> {
    let mut stream = socket::open_websocket(target, socket::source(index))?;
    let command = format!(r#"{{"id":1,"subscribe":"{channel}"}}"#);
    stream.write_all(&wire::client_frame(wire::TEXT, command.as_bytes()))?;
    let mut frames = Frames::default();
    let mut byte = [0];
    let mut reply = None;
    while reply.is_none() {
        stream.read_exact(&mut byte)?;
        frames.take(&byte, |text| reply = Some(String::from_utf8_lossy(text).into_owned()))?;
    }
    match reply {
        Some(reply) if reply.contains(r#""ok""#) => Ok(stream),
        reply => Err(format!("not subscribed: {}", reply.unwrap_or_default()).into()),
    }
}

/// The payload of a publication: a JSON string of so many bytes.
pub(crate) fn data(bytes: usize) -> String {
    let text: String = ('a'..='z').cycle().take(bytes.saturating_sub(2)).collect();
    format!("\"{text}\"")
}

/// The frame with which a client publishes; with an id it is answered.
pub(crate) fn publish(channel: &str, data: &str, id: Option<u64>) -> Vec<u8> {
    let id = id.map_or(String::new(), |id| format!(r#""id":{id},"#));
    wire::client_frame(wire::TEXT, format!(r#"{{{id}"publish":"{channel}","data":{data}}}"#).as_bytes())
}

/// Takes a server's frames apart, in any split.
#[derive(Default)]
pub(crate) struct Frames {
    head: Vec<u8>,
    body: Vec<u8>,
    missing: Option<usize>,
}

impl Frames {
    /// Hands out the payload of each message that is complete.
    ///
    /// # Errors
    ///
    /// When something else than a message, ping or pong comes.
    pub(crate) fn take(&mut self, mut bytes: &[u8], mut text: impl FnMut(&[u8])) -> Result<(), Failure> {
        while !bytes.is_empty() || self.missing == Some(0) {
            let Some(missing) = self.missing else {
                let (first, rest) = bytes.split_first().ok_or("no byte")?;
                self.head.push(*first);
                bytes = rest;
                self.missing = length(&self.head);
                continue;
            };
            // A frame that is here in one piece is handed out where it lies.
            let (part, rest) = bytes.split_at(missing.min(bytes.len()));
            bytes = rest;
            if part.len() < missing {
                self.body.extend(part);
                self.missing = Some(missing - part.len());
                if self.body.len() > REPLY_LIMIT {
                    return Err("a frame longer than any should be".into());
                }
                return Ok(());
            }
            let whole = if self.body.is_empty() {
                part
            } else {
                self.body.extend(part);
                &self.body
            };
            match self.head.first() {
                Some(&(FIN_TEXT | FIN_BINARY)) => text(whole),
                Some(0x89 | 0x8a) => {}
                _ => return Err(format!("frame {:?}: {}", self.head, whole.escape_ascii()).into()),
            }
            self.head.clear();
            self.body.clear();
            self.missing = None;
        }
        Ok(())
    }
}

/// The payload's length, once the header is whole.
fn length(head: &[u8]) -> Option<usize> {
    match head {
        [_, length @ 0..=125] => Some(usize::from(*length)),
        [_, 126, high, low] => Some(usize::from(u16::from_be_bytes([*high, *low]))),
        [_, 127, length @ ..] => {
            Some(usize::try_from(u64::from_be_bytes(length.try_into().ok()?)).unwrap_or(usize::MAX))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_in_any_split() {
        let long = "x".repeat(300);
        let mut input = vec![0x81, 2, b'h', b'i', 0x89, 1, 7, 0x81, 126, 1, 44];
        input.extend(long.as_bytes());
        input.extend([0x81, 0]);
        for size in 1..=input.len() {
            let mut frames = Frames::default();
            let mut all = Vec::new();
            for chunk in input.chunks(size) {
                frames.take(chunk, |text| all.push(String::from_utf8(text.to_vec()).unwrap())).unwrap();
            }
            assert_eq!(all, ["hi", &long, ""], "chunks of {size}");
        }
    }

    #[test]
    fn a_close_frame_is_an_error() {
        assert!(Frames::default().take(&[0x88, 0], |_| {}).is_err());
    }
}
