//! What is published, and whether what is delivered is just that: every publication has a number in it, so that one
//! that is lost, doubled or out of order shows as well as a wrong byte.

use crate::frames::{Piece, Whole, start};
use crate::wire::{self, MASK};
use crate::{Failure, channel};
use serde_json::value::RawValue;
use sockeye_proto::frame::OpCode;

/// Digits of a number.
const DIGITS: usize = 10;

/// What leaves for one publication, and what comes.
pub(crate) struct Publication {
    /// The frame, or the bytes where there are none.
    frame: Vec<u8>,
    /// Where the number stands in it, and in the payload, which the mask counts from.
    digits: Option<(usize, usize)>,
    /// What a delivery has in it.
    data: Vec<u8>,
    kind: Kind,
    /// The number that stands in `data`.
    number: u64,
    /// Where the data stood in the delivery before.
    place: usize,
    delivery_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Raw,
    /// A delivery is the data itself, in a message of this kind.
    Broadcast(OpCode),
    /// A delivery is an object with the data in it, or an array of them.
    Channel,
}

impl Publication {
    /// So many bytes without meaning.
    pub(crate) fn raw(bytes: usize) -> Self {
        let frame = wire::payload(bytes);
        Self { data: frame.clone(), frame, digits: None, kind: Kind::Raw, number: 0, place: 0, delivery_bytes: bytes }
    }

    /// A message that is passed on as it is.
    pub(crate) fn broadcast(bytes: usize, binary: bool) -> Self {
        let opcode = if binary { OpCode::Binary } else { OpCode::Text };
        let data = channel::data(bytes);
        Self::new(opcode, &data, &data, 0, Kind::Broadcast(opcode))
    }

    /// A command to publish in this channel.
    pub(crate) fn channel(channel: &str, bytes: usize) -> Self {
        let data = channel::data(bytes);
        let command = channel::command(channel, &data, None);
        let at = command.len() - 1 - data.len();
        Self::new(OpCode::Text, &command, &data, at, Kind::Channel)
    }

    fn new(opcode: OpCode, payload: &str, data: &str, at: usize, kind: Kind) -> Self {
        let frame = wire::client_frame(opcode, payload.as_bytes());
        let header = frame.len() - payload.len();
        // Behind the quote.
        let digits = (data.len() >= DIGITS + 2).then_some((header + at + 1, at + 1));
        let data = data.as_bytes().to_vec();
        let mut publication = Self { frame, digits, data, kind, number: 1, place: 0, delivery_bytes: 0 };
        publication.expect(0);
        publication
    }

    /// What the server sends for one delivery.
    pub(crate) fn delivery_bytes(&self) -> usize {
        self.delivery_bytes
    }

    /// What leaves as publication `number`.
    pub(crate) fn frame(&mut self, number: u64) -> &[u8] {
        if let Some((start, in_payload)) = self.digits {
            let mut digits = digits(number);
            MASK.apply(&mut digits, in_payload as u64);
            if let Some(place) = self.frame.get_mut(start..start + DIGITS) {
                place.copy_from_slice(&digits);
            }
        }
        &self.frame
    }

    /// Has the data of publication `number` at hand.
    fn expect(&mut self, number: u64) {
        if self.digits.is_some() && number != self.number {
            self.number = number;
            if let Some(place) = self.data.get_mut(1..=DIGITS) {
                place.copy_from_slice(&digits(number));
            }
        }
    }

    /// How many deliveries a message holds, the first of which must be publication `number`.
    fn deliveries(&mut self, opcode: OpCode, text: &[u8], number: u64) -> Result<u64, Failure> {
        let header = if text.len() < 126 { 2 } else { 4 + 6 * usize::from(text.len() > 0xffff) };
        self.delivery_bytes = header + text.len();
        if self.kind == Kind::Channel && text.first() == Some(&b'[') {
            let all: Vec<&RawValue> = serde_json::from_slice(text)?;
            for (one, number) in all.iter().zip(number..) {
                self.delivery(opcode, one.get().as_bytes(), number)?;
            }
            return Ok(all.len() as u64);
        }
        self.delivery(opcode, text, number).map(|()| 1)
    }

    fn delivery(&mut self, opcode: OpCode, text: &[u8], number: u64) -> Result<(), Failure> {
        self.expect(number);
        let is_it = match self.kind {
            Kind::Raw => false,
            Kind::Broadcast(kind) => kind == opcode && text == self.data,
            Kind::Channel => text.starts_with(br#"{"on":"#) && self.holds_data(text),
        };
        if is_it { Ok(()) } else { Err(format!("not publication {}: {}", number + 1, start(text)).into()) }
    }

    fn holds_data(&mut self, text: &[u8]) -> bool {
        let data = &self.data[..];
        if text.get(self.place..).is_some_and(|rest| rest.starts_with(data)) {
            return true;
        }
        let found = text.windows(data.len()).position(|window| window == data);
        self.place = found.unwrap_or(self.place);
        found.is_some()
    }
}

/// What one subscriber has of a delivery.
pub(crate) enum Delivery {
    /// So many bytes of it.
    Raw(usize),
    /// Its message.
    Message(Whole),
    /// Its event, and what came before.
    Event(Events),
}

/// An event stream over HTTP/1.1, whose chunks hold whole events.
#[derive(Default)]
pub(crate) struct Events {
    /// Of an event that is not whole.
    text: Vec<u8>,
    pub(crate) is_subscribed: bool,
}

impl Delivery {
    /// Takes the next piece and returns how many deliveries it completed, the first of which must be publication
    /// `number`.
    ///
    /// # Errors
    ///
    /// When it is another, or something else.
    pub(crate) fn hear(
        &mut self,
        piece: &Piece<'_>,
        publication: &mut Publication,
        number: u64,
    ) -> Result<u64, Failure> {
        match self {
            Self::Message(_) if piece.compressed => Err("a compressed message, which nobody offered to take".into()),
            Self::Message(whole) => {
                whole.take(piece, |text| publication.deliveries(piece.opcode, text, number)).unwrap_or(Ok(0))
            }
            Self::Event(events) => events.take(piece.bytes, publication, number),
            Self::Raw(at) => {
                let (data, mut rest, mut count) = (&publication.data, piece.bytes, 0);
                while !rest.is_empty() {
                    let expected = data.get(*at..).unwrap_or_default();
                    let (here, next) = rest.split_at(expected.len().min(rest.len()));
                    if here.is_empty() || !expected.starts_with(here) {
                        return Err(format!("wrong bytes at {at}: {}", start(here)).into());
                    }
                    (*at, rest) = (*at + here.len(), next);
                    if *at == data.len() {
                        (*at, count) = (0, count + 1);
                    }
                }
                Ok(count)
            }
        }
    }
}

impl Events {
    fn take(&mut self, bytes: &[u8], publication: &mut Publication, number: u64) -> Result<u64, Failure> {
        let kept = std::mem::take(&mut self.text);
        let joined;
        let mut rest = bytes;
        if !kept.is_empty() {
            joined = [&kept[..], bytes].concat();
            rest = &joined;
        }
        let mut count = 0;
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
            let (event, after) = rest.split_at(end + 2);
            count += self.event(event, publication, number + count)?;
            rest = after;
        }
        self.text = rest.to_vec();
        Ok(count)
    }

    /// How many deliveries that was.
    fn event(&mut self, event: &[u8], publication: &mut Publication, number: u64) -> Result<u64, Failure> {
        let unexpected = || -> Failure { format!("not an event of this stream: {}", start(event)).into() };
        let text = std::str::from_utf8(event).map_err(|_| unexpected())?;
        if text.starts_with("HTTP/") && !text.starts_with("HTTP/1.1 200 ") {
            return Err(unexpected());
        }
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
        match (field("event: "), field("data: ")) {
            (None, None) => Ok(0),
            (Some("subscribed"), Some(_)) if !self.is_subscribed => {
                self.is_subscribed = true;
                Ok(0)
            }
            (None, Some(data)) => {
                publication.delivery(OpCode::Text, data.as_bytes(), number)?;
                publication.delivery_bytes = event.len();
                Ok(1)
            }
            _ => Err(unexpected()),
        }
    }
}

/// The number, in as many digits as there are always.
fn digits(number: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    let mut left = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: &[u8]) -> Piece<'_> {
        Piece { opcode: OpCode::Text, compressed: false, offset: 0, bytes, end: true }
    }

    #[test]
    fn events_count_in_any_split() {
        let mut publication = Publication::channel("a", 32);
        let mut wire = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nd\r\nretry: 2000\n\n\r\n".to_owned();
        wire += "20\r\nevent: subscribed\nid: 1:0\ndata: {}\n\n\r\n3\r\n: \n\n\r\n";
        for number in 0..3 {
            publication.expect(number);
            let data = String::from_utf8(publication.data.clone()).unwrap();
            wire.extend(["41\r\nid: 1:7\ndata: {\"on\":\"a\",\"data\":", &data, "}\n\n\r\n"]);
        }
        for size in 1..=wire.len() {
            let mut delivery = Delivery::Event(Events::default());
            let mut count = 0;
            for chunk in wire.as_bytes().chunks(size) {
                count += delivery.hear(&piece(chunk), &mut publication, count).unwrap();
            }
            assert_eq!(count, 3, "chunks of {size}");
        }
        for wrong in ["HTTP/1.1 404 Not Found\r\n\r\n\n\n", "event: lost\ndata: {}\n\n", "data: {\"on\":\"a\"}\n\n"] {
            assert!(Delivery::Event(Events::default()).hear(&piece(wrong.as_bytes()), &mut publication, 0).is_err());
        }
    }

    /// What a server would read in the frame.
    fn unmasked(frame: &[u8], header: usize) -> String {
        let mut payload = frame[header..].to_vec();
        MASK.apply(&mut payload, 0);
        String::from_utf8(payload).unwrap()
    }

    #[test]
    fn every_frame_has_its_number() {
        let mut publication = Publication::channel("a", 16);
        for number in [0, 7, 1_234_567_890] {
            let text = unmasked(publication.frame(number), 6);
            assert_eq!(text, format!(r#"{{"publish":"a","data":"{number:010}klmn"}}"#));
        }
        assert_eq!(unmasked(Publication::broadcast(12, false).frame(5), 6), r#""0000000005""#);
        assert_eq!(unmasked(Publication::broadcast(5, false).frame(5), 6), r#""abc""#, "too short for one");
    }

    #[test]
    fn only_the_next_publication_is_a_delivery() {
        let mut publication = Publication::channel("a", 16);
        let mut delivery = Delivery::Message(Whole::default());
        let mut hear = |text: &str, number| delivery.hear(&piece(text.as_bytes()), &mut publication, number);
        let one = r#"{"on":"a","data":"0000000003klmn","at":1}"#;
        assert_eq!(hear(one, 3).unwrap(), 1);
        assert_eq!(hear(&one.replace("\"data\"", "\"offset\":3,\"data\""), 3).unwrap(), 1);
        assert_eq!(hear(&format!("[{one},{}]", one.replace('3', "4")), 3).unwrap(), 2);
        for (text, number) in [(one, 2), (one, 4), (&one.replace("klmn", "klmm"), 3), (&one.replace("on", "to"), 3)] {
            assert!(hear(text, number).is_err(), "{text} as {number}");
        }
        assert!(hear(&format!("[{one},{one}]"), 3).is_err(), "doubled");
    }

    #[test]
    fn a_broadcast_comes_as_it_was_sent() {
        let mut publication = Publication::broadcast(16, false);
        let mut hear = |piece| Delivery::Message(Whole::default()).hear(&piece, &mut publication, 3);
        assert_eq!(hear(piece(br#""0000000003klmn""#)).unwrap(), 1);
        assert!(hear(piece(br#""0000000004klmn""#)).is_err());
        assert!(hear(Piece { opcode: OpCode::Binary, ..piece(br#""0000000003klmn""#) }).is_err());
    }

    #[test]
    fn raw_publications_are_counted_in_any_split() {
        let mut publication = Publication::raw(10);
        let input = publication.data.repeat(3);
        for size in 1..=input.len() {
            let mut delivery = Delivery::Raw(0);
            let count: u64 =
                input.chunks(size).map(|chunk| delivery.hear(&piece(chunk), &mut publication, 0).unwrap()).sum();
            assert_eq!(count, 3, "chunks of {size}");
        }
        assert!(Delivery::Raw(0).hear(&piece(b"wrong"), &mut publication, 0).is_err());
    }
}
