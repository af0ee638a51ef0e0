//! Messages out of their compressed form (RFC 7692 section 7.2.2), with the output limited while it comes.
use std::fmt;

use bytes::Bytes;
use zlib_rs::{Inflate, InflateFlush, Status};

use super::{
    params::{DeflateParams, Direction},
    pool::{self, Decompressor},
    window::Window,
};
use crate::{Limits, Role, error::Fault, utf8::Utf8Stream};

/// Compressed bytes that are inflated at a time, and as many of an unfinished message are kept as they came. How the
/// network cut them makes no difference then, also not to which of two faults is found first.
pub(crate) const PIECE: usize = 16 * 1024;

/// "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the message", which ends the empty stored
/// block that the sender began; then an empty last block of our own. Only a message that was whole ends right behind it.
const TAIL: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];

/// What a connection has for the messages it receives.
#[derive(Debug)]
pub(crate) struct Inflater {
    window: Option<Box<Window>>,
}

/// A message that is being inflated.
pub(crate) struct Inflating {
    /// Lent from the first piece on.
    decompressor: Option<Decompressor>,
    /// What was inflated, in parts that never move: nothing is held twice while a message grows to its limit.
    parts: Vec<Vec<u8>>,
    /// Bytes that were inflated and moved out of the scratch.
    len: usize,
    /// Of those, the bytes that have been handed out.
    taken: usize,
    /// Compressed bytes that were inflated.
    consumed: usize,
    max_message: usize,
    max_waste: usize,
}

impl Inflater {
    /// `Some`, where this build can inflate.
    #[expect(clippy::unnecessary_wraps, reason = "the build without the feature has none")]
    pub(crate) fn new(role: Role, agreed: &DeflateParams) -> Option<Self> {
        let direction: Direction = if role == Role::Server { agreed.client } else { agreed.server };
        Some(Self { window: Window::new(direction, agreed.reservation.clone()) })
    }

    /// A message of which nothing has come, and of which no more than `max_message` bytes may come out.
    #[expect(clippy::unused_self, reason = "there is no message without what both ends agreed upon")]
    pub(crate) fn begin(&self, max_message: usize, limits: &Limits) -> Inflating {
        Inflating {
            decompressor: None,
            parts: Vec::new(),
            len: 0,
            taken: 0,
            consumed: 0,
            max_message,
            max_waste: limits.max_deflate_waste,
        }
    }

    /// The rest of a message; with nothing before it, all of it. `text` checks what comes out, if the message is text.
    pub(crate) fn finish(
        &mut self,
        mut message: Inflating,
        rest: &[u8],
        mut text: Option<&mut Utf8Stream>,
    ) -> Result<Bytes, Fault> {
        let (pieces, rest) = rest.as_chunks::<PIECE>();
        for piece in pieces {
            self.inflate(&mut message, piece, text.as_deref_mut())?;
        }
        message.borrow_context(self.window.as_deref());
        let bytes = pool::with_scratch(|scratch| {
            let mut filled = message.take(rest, scratch, &mut text)?;
            // zlib writes nothing for the second flush in a row, so some peers send an empty message as no bytes at all.
            if message.consumed > 0 {
                filled = message.end(scratch, filled, &mut text)?;
            }
            message.into_bytes(scratch.get(..filled).unwrap_or_default(), text)
        })?;
        if let Some(window) = &mut self.window {
            window.push(&bytes);
        }
        Ok(bytes)
    }

    /// A piece of a message: of [`PIECE`] bytes, unless it is wanted as it comes.
    pub(crate) fn inflate(
        &mut self,
        message: &mut Inflating,
        piece: &[u8],
        mut text: Option<&mut Utf8Stream>,
    ) -> Result<(), Fault> {
        message.borrow_context(self.window.as_deref());
        pool::with_scratch(|scratch| {
            let filled = message.take(piece, scratch, &mut text)?;
            message.keep(scratch.get(..filled).unwrap_or_default(), &mut text)
        })
    }

    /// What was inflated since the last part, for a message that is handed out as it comes.
    pub(crate) fn take_part(&mut self, message: &mut Inflating) -> Bytes {
        let bytes = message.drain();
        message.taken = message.taken.saturating_add(bytes.len());
        // Only the messages after this one look into the window.
        if let Some(window) = &mut self.window {
            window.push(&bytes);
        }
        bytes
    }
}

impl Inflating {
    /// The most bytes that a compressed message may have, whatever it inflates to.
    pub(crate) fn max_compressed(limits: &Limits) -> usize {
        fair_size(limits.max_message).saturating_add(limits.max_deflate_waste)
    }

    /// The same for a message that is handed out as it comes.
    pub(crate) fn max_streamed(limits: &Limits) -> u64 {
        let fair = limits.max_streamed.saturating_add(limits.max_streamed / 8);
        fair.saturating_add(u64::try_from(limits.max_deflate_waste).unwrap_or(u64::MAX))
    }

    /// Sets the bytes that may come out, for a message that is wanted in another way than when it began.
    pub(crate) fn set_limit(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    /// Compressed bytes that were inflated.
    pub(crate) fn consumed(&self) -> usize {
        self.consumed
    }

    /// Bytes of memory that its output takes.
    pub(crate) fn held(&self) -> usize {
        self.len.saturating_sub(self.taken)
    }

    fn borrow_context(&mut self, window: Option<&Window>) {
        if self.decompressor.is_none() {
            self.decompressor = Some(Decompressor::new(window.map_or(&[], Window::bytes)));
        }
    }

    /// Inflates all of `input`. Output fills `scratch`, and moves on when that is full; returns how much is in it.
    fn take(
        &mut self,
        mut input: &[u8],
        scratch: &mut [u8],
        text: &mut Option<&mut Utf8Stream>,
    ) -> Result<usize, Fault> {
        let mut filled: usize = 0;
        loop {
            let before = (input.len(), filled);
            let status = self.step(&mut input, scratch, &mut filled)?;
            if status == Status::StreamEnd {
                // A block with BFINAL ends a stream, and what follows is the next (section 7.2.3.4). Who sends such blocks
                // begins anew behind them, without what came before.
                if let Some(inflate) = self.decompressor.as_mut().and_then(Decompressor::get) {
                    inflate.reset(false);
                }
            }
            // Without input there may still be output for which there was no room.
            if before == (input.len(), filled) && input.is_empty() {
                return Ok(filled);
            }
            self.move_on(scratch, &mut filled, text)?;
        }
    }

    /// Appends [`TAIL`], with which the message has to end, neither sooner nor later.
    fn end(
        &mut self,
        scratch: &mut [u8],
        mut filled: usize,
        text: &mut Option<&mut Utf8Stream>,
    ) -> Result<usize, Fault> {
        let mut input = &TAIL[..];
        loop {
            let before = (input.len(), filled);
            let status = self.step(&mut input, scratch, &mut filled)?;
            if status == Status::StreamEnd {
                return if input.is_empty() { Ok(filled) } else { Err(Fault::InvalidDeflate) };
            }
            if before == (input.len(), filled) {
                return Err(Fault::InvalidDeflate);
            }
            self.move_on(scratch, &mut filled, text)?;
        }
    }

    /// One call of zlib's, and the limits.
    fn step(&mut self, input: &mut &[u8], scratch: &mut [u8], filled: &mut usize) -> Result<Status, Fault> {
        let inflate = self.decompressor.as_mut().and_then(Decompressor::get).ok_or(Fault::InvalidDeflate)?;
        let before = (inflate.total_in(), inflate.total_out());
        let space = scratch.get_mut(*filled..).unwrap_or_default();
        let result = inflate.decompress(input, space, InflateFlush::NoFlush);
        let (used, written) = since(inflate, before);
        *input = input.get(used..).unwrap_or_default();
        *filled = filled.saturating_add(written);
        self.consumed = self.consumed.saturating_add(used);
        let inflated = self.len.saturating_add(*filled);
        if inflated > self.max_message {
            return Err(Fault::MessageTooBig);
        }
        let status = result.map_err(|_| Fault::InvalidDeflate)?;
        if self.consumed > fair_size(inflated).saturating_add(self.max_waste) {
            return Err(Fault::DeflateWaste);
        }
        Ok(status)
    }

    /// Makes room in a scratch that is full.
    fn move_on(&mut self, scratch: &[u8], filled: &mut usize, text: &mut Option<&mut Utf8Stream>) -> Result<(), Fault> {
        if *filled == scratch.len() {
            self.keep(scratch, text)?;
            *filled = 0;
        }
        Ok(())
    }

    fn keep(&mut self, part: &[u8], text: &mut Option<&mut Utf8Stream>) -> Result<(), Fault> {
        if let Some(text) = text {
            text.feed(part).map_err(|_| Fault::InvalidUtf8)?;
        }
        if !part.is_empty() {
            self.len = self.len.saturating_add(part.len());
            self.parts.push(part.to_vec());
        }
        Ok(())
    }

    fn into_bytes(mut self, last: &[u8], mut text: Option<&mut Utf8Stream>) -> Result<Bytes, Fault> {
        if self.parts.is_empty() && self.taken == 0 {
            // Text is checked as a whole by whoever makes a message of it.
            return Ok(Bytes::copy_from_slice(last));
        }
        self.keep(last, &mut text)?;
        if text.is_some_and(|text| !text.is_complete()) {
            return Err(Fault::InvalidUtf8);
        }
        Ok(self.drain())
    }

    /// The parts at hand, as one.
    fn drain(&mut self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.held());
        // Each part goes as it is copied.
        for part in std::mem::take(&mut self.parts) {
            bytes.extend_from_slice(&part);
        }
        Bytes::from(bytes)
    }
}

impl fmt::Debug for Inflating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflating").field("consumed", &self.consumed).field("len", &self.len).finish_non_exhaustive()
    }
}

/// What any honest compressor stays within, however badly the message compresses: the fixed codes of RFC 1951 take 9 bits for 8.
fn fair_size(inflated: usize) -> usize {
    inflated.saturating_add(inflated / 8)
}

/// What a call took and gave.
fn since(inflate: &Inflate, (total_in, total_out): (u64, u64)) -> (usize, usize) {
    let count = |now: u64, before: u64| usize::try_from(now.saturating_sub(before)).unwrap_or(usize::MAX);
    (count(inflate.total_in(), total_in), count(inflate.total_out(), total_out))
}
