//! Bytes into messages: frames in any split, fragments with control frames between them, UTF-8 as it arrives.
//!
//! Memory follows the bytes that came, never the length a header announces. Input is consumed at once: what is unfinished
//! lives in the [`Receiver`], so nothing is lost when the future that fed it is dropped.
//!
//! A compressed message is inflated in pieces of [`PIECE`] bytes; what is less of one that is unfinished is kept as it came.
use std::time::Instant;

use bytes::{BufMut, Bytes, buf::Limit};

use crate::{
    CloseFrame, ControlPayload, DeflateParams, Event, Limits, Message, MessageKind, Part, Role, Utf8Bytes,
    append::{append, copied},
    deflate::{Inflater, Inflating, PIECE},
    error::Fault,
    frame::{Header, HeaderReader, MaskKey, OpCode, Rsv},
    utf8::Utf8Stream,
};

/// A message of at least this many bytes so far is read straight into its own memory.
const DIRECT_READ_MIN: usize = 32 * 1024;
/// A message's memory runs ahead of its bytes by no more than they are, and by no more than this.
const GROWTH_MAX: usize = 1024 * 1024;

/// Of a compressed message that is handed out as it comes, so many bytes are inflated at a time: about 1 MiB may come of them.
const STREAMED_PIECE: usize = 1024;

/// What a step came to. Events go through a slot of the caller's: they are large, and moving them up through every
/// return value was a measurable part of a small message's cost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing is whole yet.
    More,
    /// A message, ping or pong is in the slot.
    Event,
    /// A Close frame came.
    Close(Option<CloseFrame>),
}

#[derive(Debug)]
pub(crate) struct Receiver {
    role: Role,
    frame: Frame,
    message: Option<Box<Partial>>,
    /// Only if both ends agreed upon permessage-deflate.
    inflater: Option<Inflater>,
    /// Whether messages are handed out as they come.
    streaming: bool,
}

/// ```text
///             header whole, payload not        payload whole
///   Header ──────────────────────────────▶ Data ───────────▶ Header
///      └─────────────────────────────────▶ Control ────────▶ Header
/// ```
/// A frame that is whole in the input passes through without a stop.
#[derive(Debug)]
enum Frame {
    Header(HeaderReader),
    Data {
        fin: bool,
        mask: Option<MaskKey>,
        offset: u64,
        remaining: u64,
    },
    /// Boxed, as few are cut, and every connection has room for a frame.
    Control(Box<ControlFrame>),
}

#[derive(Debug)]
struct ControlFrame {
    opcode: OpCode,
    mask: Option<MaskKey>,
    payload: Vec<u8>,
    remaining: usize,
}

/// A message of which something is still missing.
#[derive(Debug)]
struct Partial {
    kind: Kind,
    /// Unmasked and checked up to `checked`; beyond that, bytes just read. Of a compressed message, what is not inflated yet.
    payload: Vec<u8>,
    checked: usize,
    fragments: usize,
    since: Instant,
    /// Whether something of its payload came with this input.
    has_grown: bool,
    /// Bytes that came before those of `payload` and have been handed out.
    delivered: u64,
    inflating: Option<Box<Inflating>>,
}

#[derive(Debug)]
enum Kind {
    Text(Utf8Stream),
    Binary,
}

impl Receiver {
    pub(crate) fn new(role: Role) -> Self {
        Self { role, frame: Frame::Header(HeaderReader::default()), message: None, inflater: None, streaming: false }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// From now on messages may be compressed.
    pub(crate) fn set_deflate(&mut self, agreed: &DeflateParams) {
        self.inflater = Inflater::new(self.role, agreed);
    }

    /// What was kept of a compressed message until there is a whole piece of it is inflated when parts are wanted.
    pub(crate) fn set_streaming(&mut self, on: bool, limits: &Limits) -> Result<(), Fault> {
        self.streaming = on;
        if let Some(partial) = self.message.as_mut().filter(|partial| on || partial.delivered == 0)
            && let (Some(inflating), Some(inflater)) = (&mut partial.inflating, &mut self.inflater)
        {
            inflating.set_limit(most_inflated(on, limits));
            partial.inflate(inflater, on)?;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// What came of a message since the last part, if parts are wanted of it.
    #[inline]
    pub(crate) fn take_part(&mut self) -> Option<Part> {
        let streaming = self.streaming;
        let partial = self.message.as_mut().filter(|partial| partial.is_streamed(streaming))?;
        partial.take_part(self.inflater.as_mut())
    }

    /// Whether there is a part that is to be handed out before anything that follows: more of the message, or its fault.
    #[inline]
    pub(crate) fn has_part(&self) -> bool {
        self.message.as_ref().is_some_and(|partial| partial.is_streamed(self.streaming) && partial.has_part())
    }

    /// Time begins anew for a message of which something came just now, if nobody waits for the whole of it.
    #[inline]
    pub(crate) fn progressed(&mut self, now: Instant) {
        let streaming = self.streaming;
        if let Some(partial) = &mut self.message
            && std::mem::take(&mut partial.has_grown)
            && partial.is_streamed(streaming)
        {
            partial.since = now;
        }
    }

    /// Bytes that will be held of the unfinished message at the end of its frame: none of one that is handed out in parts. Of a
    /// compressed one, those that are held already.
    pub(crate) fn held_when_whole(&self) -> usize {
        let Some(partial) = self.message.as_ref().filter(|partial| partial.delivered == 0) else { return 0 };
        if let Some(inflating) = &partial.inflating {
            return inflating.held();
        }
        let remaining = if let Frame::Data { remaining, .. } = self.frame { remaining } else { 0 };
        partial.payload.len().saturating_add(usize::try_from(remaining).unwrap_or(usize::MAX))
    }

    /// The message at the start of `input`, if it is one plain frame that is whole and beyond doubt: what nearly every message
    /// is, and at half the cost of [`receive`](Self::receive). Everything else is for that to take, or to refuse.
    #[inline]
    pub(crate) fn receive_message(&self, input: &[u8], limits: &Limits) -> Option<(usize, Message)> {
        if !matches!(&self.frame, Frame::Header(reader) if !reader.has_begun())
            || self.message.is_some()
            || self.streaming
        {
            return None;
        }
        let (header, used) = Header::decode(input).ok()??;
        let is_plain = header.fin && !header.rsv.any() && header.mask.is_some() == (self.role == Role::Server);
        let len = usize::try_from(header.len).ok()?;
        if !is_plain || len > limits.max_frame.min(limits.max_message) || limits.max_fragments == 0 {
            return None;
        }
        let is_text = match header.opcode {
            OpCode::Text => true,
            OpCode::Binary => false,
            _ => return None,
        };
        let mut payload = copied(input.get(used..)?.get(..len)?);
        if let Some(mask) = header.mask {
            mask.apply(&mut payload, 0);
        }
        let payload = Bytes::from(payload);
        let message = if is_text { text(payload).ok()? } else { Message::Binary(payload) };
        Some((used.saturating_add(len), message))
    }

    /// Reads `input` until something is whole or nothing is left. Returns how much was consumed.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        mut input: &mut [u8],
        limits: &Limits,
        now: Instant,
        slot: &mut Option<Event>,
    ) -> (usize, Result<Step, Fault>) {
        let total = input.len();
        while !input.is_empty() {
            let (used, result) = match self.frame {
                Frame::Header(_) => self.read_header(input, limits, now, slot),
                Frame::Data { .. } => self.read_data(input, slot),
                Frame::Control(_) => self.read_control(input, slot),
            };
            input = input.get_mut(used..).unwrap_or_default();
            if !matches!(result, Ok(Step::More)) || self.has_part() {
                return (total.saturating_sub(input.len()), result);
            }
        }
        (total, Ok(Step::More))
    }

    /// Memory of the message itself, for reading the rest of a large payload into; [`Self::payload_read`] takes it up.
    #[inline]
    pub(crate) fn payload_space(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        if self.is_inside_payload() { self.direct_space() } else { None }
    }

    fn direct_space(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        let Frame::Data { remaining, fin, .. } = self.frame else { return None };
        let partial = self.message.as_mut()?;
        if partial.checked < DIRECT_READ_MIN || partial.inflating.is_some() {
            return None;
        }
        partial.make_room(1, remaining, fin);
        let spare = partial.payload.capacity().saturating_sub(partial.payload.len());
        let most = usize::try_from(remaining).unwrap_or(usize::MAX);
        Some((&mut partial.payload).limit(most.min(spare)))
    }

    /// Takes up what was read into [`Self::payload_space`].
    pub(crate) fn payload_read(&mut self, slot: &mut Option<Event>) -> Result<Step, Fault> {
        let Frame::Data { fin, mask, offset, remaining } = &mut self.frame else { return Ok(Step::More) };
        let Some(partial) = &mut self.message else { return Ok(Step::More) };
        let fresh = partial.absorb(*mask, *offset)?;
        *offset = offset.wrapping_add(fresh);
        *remaining = remaining.saturating_sub(fresh);
        if let Some(inflater) = &mut self.inflater {
            partial.inflate(inflater, self.streaming)?;
        }
        if *remaining > 0 {
            return Ok(Step::More);
        }
        let fin = *fin;
        self.frame = Frame::Header(HeaderReader::default());
        match self.message.take_if(|_| fin) {
            Some(partial) => {
                *slot = Some(partial.finish(self.inflater.as_mut())?);
                Ok(Step::Event)
            }
            None => Ok(Step::More),
        }
    }

    /// Whether the next byte belongs to a data frame that has begun, which no control frame can interrupt.
    #[inline]
    pub(crate) fn is_inside_payload(&self) -> bool {
        matches!(self.frame, Frame::Data { .. })
    }

    /// Since when a message has been unfinished.
    pub(crate) fn unfinished_since(&self) -> Option<Instant> {
        self.message.as_ref().map(|partial| partial.since)
    }

    /// Bytes of memory held for what is unfinished.
    pub(crate) fn held(&self) -> usize {
        let control = if let Frame::Control(frame) = &self.frame { frame.payload.capacity() } else { 0 };
        self.message.as_ref().map_or(0, |partial| partial.held()).saturating_add(control)
    }

    #[inline]
    fn read_header(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        now: Instant,
        slot: &mut Option<Event>,
    ) -> (usize, Result<Step, Fault>) {
        let Frame::Header(reader) = &mut self.frame else { return (0, Ok(Step::More)) };
        let (used, header) = match reader.read(input) {
            Ok((used, Some(header))) => (used, header),
            Ok((used, None)) => return (used, Ok(Step::More)),
            Err(error) => return (input.len(), Err(error.into())),
        };
        if let Err(fault) = self.admit(&header, limits) {
            return (used, Err(fault));
        }
        let whole = usize::try_from(header.len)
            .ok()
            .and_then(|len| input.get_mut(used..)?.get_mut(..len))
            .filter(|_| header.opcode.is_control() || (header.fin && self.message.is_none()))
            // What is compressed and handed out as it comes is inflated a little at a time.
            .filter(|_| !(self.streaming && header.rsv == Rsv::COMPRESSED));
        if let Some(payload) = whole {
            if let Some(mask) = header.mask {
                mask.apply(payload, 0);
            }
            self.frame = Frame::Header(HeaderReader::default());
            let consumed = used.saturating_add(payload.len());
            let inflater = self.inflater.as_mut().filter(|_| header.rsv == Rsv::COMPRESSED);
            return match inflater {
                Some(inflater) => (consumed, finish_compressed(header.opcode, payload, inflater, limits, slot)),
                None => (consumed, finish_frame(header.opcode, payload, slot)),
            };
        }
        (used, self.begin(&header, limits, now, slot))
    }

    /// What RFC 6455 and the limits say of a header before any of its payload is looked at.
    #[inline]
    fn admit(&self, header: &Header, limits: &Limits) -> Result<(), Fault> {
        // "An endpoint MUST NOT set the 'Per-Message Compressed' bit of control frames and non-first fragments of a data
        // message" (RFC 7692 section 6.1).
        let is_first = matches!(header.opcode, OpCode::Text | OpCode::Binary);
        let is_compressed = header.rsv == Rsv::COMPRESSED && is_first && self.inflater.is_some();
        if header.rsv.any() && !is_compressed {
            return Err(Fault::ReservedBits);
        }
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(Fault::MaskMissing),
            (Role::Client, Some(_)) => return Err(Fault::MaskUnexpected),
            _ => {}
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        let partial = match (self.message.as_deref(), header.opcode) {
            (None, OpCode::Continuation) => return Err(Fault::UnexpectedContinuation),
            (partial, OpCode::Continuation) => partial,
            (Some(_), _) => return Err(Fault::UnfinishedMessage),
            (None, _) => None,
        };
        let is_compressed = partial.map_or(is_compressed, |partial| partial.inflating.is_some());
        if partial.map_or(self.streaming, |partial| partial.is_streamed(self.streaming)) {
            return admit_streamed(header.len, partial, is_compressed, limits);
        }
        let (so_far, fragments) = partial.map_or((0, 0), |partial| (partial.came(), partial.fragments));
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        if len > limits.max_frame {
            return Err(Fault::FrameTooBig);
        }
        let most = if is_compressed { Inflating::max_compressed(limits) } else { limits.max_message };
        if so_far.saturating_add(len) > most {
            return Err(Fault::MessageTooBig);
        }
        if fragments >= limits.max_fragments {
            return Err(Fault::TooManyFragments);
        }
        Ok(())
    }

    /// Begins a frame whose payload is not whole in the input, or that is part of a longer message.
    fn begin(
        &mut self,
        header: &Header,
        limits: &Limits,
        now: Instant,
        slot: &mut Option<Event>,
    ) -> Result<Step, Fault> {
        if header.opcode.is_control() {
            let remaining = usize::try_from(header.len).unwrap_or_default();
            let payload = Vec::with_capacity(remaining);
            let frame = ControlFrame { opcode: header.opcode, mask: header.mask, payload, remaining };
            self.frame = Frame::Control(Box::new(frame));
            return Ok(Step::More);
        }
        let partial = self.message.get_or_insert_with(|| {
            let inflater = self.inflater.as_ref().filter(|_| header.rsv == Rsv::COMPRESSED);
            let most = most_inflated(self.streaming, limits);
            let inflating = inflater.map(|inflater| Box::new(inflater.begin(most, limits)));
            Box::new(Partial::new(header.opcode, now, inflating))
        });
        partial.fragments = partial.fragments.saturating_add(1);
        self.frame = Frame::Data { fin: header.fin, mask: header.mask, offset: 0, remaining: header.len };
        // An empty fragment is whole already.
        self.payload_read(slot)
    }

    fn read_data(&mut self, input: &[u8], slot: &mut Option<Event>) -> (usize, Result<Step, Fault>) {
        let (Frame::Data { fin, remaining, .. }, Some(partial)) = (&self.frame, &mut self.message) else {
            return (input.len(), Ok(Step::More));
        };
        let take = usize::try_from(*remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
        let take = take.min(partial.room(self.streaming));
        partial.make_room(take, *remaining, *fin);
        append(&mut partial.payload, input.get(..take).unwrap_or_default());
        (take, self.payload_read(slot))
    }

    fn read_control(&mut self, input: &[u8], slot: &mut Option<Event>) -> (usize, Result<Step, Fault>) {
        let Frame::Control(frame) = &mut self.frame else {
            return (input.len(), Ok(Step::More));
        };
        let ControlFrame { opcode, mask, payload, remaining } = &mut **frame;
        let take = input.len().min(*remaining);
        payload.extend_from_slice(input.get(..take).unwrap_or_default());
        *remaining = remaining.saturating_sub(take);
        if *remaining > 0 {
            return (take, Ok(Step::More));
        }
        if let Some(mask) = *mask {
            mask.apply(payload, 0);
        }
        let result = finish_frame(*opcode, payload, slot);
        self.frame = Frame::Header(HeaderReader::default());
        (take, result)
    }
}

/// A frame of a message that is handed out as it comes: what is not held may be longer.
fn admit_streamed(len: u64, partial: Option<&Partial>, is_compressed: bool, limits: &Limits) -> Result<(), Fault> {
    let (came, given, fragments) =
        partial.map_or((0, 0, 0), |partial| (partial.came() as u64, partial.given(), partial.fragments));
    // What comes out of a compressed message is limited where that is done.
    let (so_far, most) =
        if is_compressed { (came, Inflating::max_streamed(limits)) } else { (given, limits.max_streamed) };
    if so_far.saturating_add(len) > most {
        return Err(Fault::MessageTooBig);
    }
    let more = usize::try_from(given / 1024).unwrap_or(usize::MAX);
    if fragments >= limits.max_fragments.saturating_add(more) { Err(Fault::TooManyFragments) } else { Ok(()) }
}

/// The bytes that a message may have once it is inflated.
fn most_inflated(streaming: bool, limits: &Limits) -> usize {
    if streaming { usize::try_from(limits.max_streamed).unwrap_or(usize::MAX) } else { limits.max_message }
}

/// A frame that is whole and is all of its message.
#[inline]
fn finish_frame(opcode: OpCode, payload: &[u8], slot: &mut Option<Event>) -> Result<Step, Fault> {
    let control = |payload| ControlPayload::checked_by_header(Bytes::copy_from_slice(payload));
    *slot = Some(match opcode {
        OpCode::Text => Event::Message(text(Bytes::copy_from_slice(payload))?),
        OpCode::Binary => Event::Message(Message::Binary(Bytes::copy_from_slice(payload))),
        OpCode::Ping => Event::Ping(control(payload)),
        OpCode::Pong => Event::Pong(control(payload)),
        OpCode::Close => return Ok(Step::Close(CloseFrame::decode(payload)?)),
        OpCode::Continuation => return Err(Fault::UnexpectedContinuation),
    });
    Ok(Step::Event)
}

/// [`finish_frame`] for a message that is compressed.
fn finish_compressed(
    opcode: OpCode,
    payload: &[u8],
    inflater: &mut Inflater,
    limits: &Limits,
    slot: &mut Option<Event>,
) -> Result<Step, Fault> {
    let mut kind = Kind::new(opcode);
    let bytes = inflater.finish(inflater.begin(limits.max_message, limits), payload, kind.text())?;
    *slot = Some(Event::Message(if opcode == OpCode::Text { text(bytes)? } else { Message::Binary(bytes) }));
    Ok(Step::Event)
}

fn text(payload: Bytes) -> Result<Message, Fault> {
    Utf8Bytes::try_from(payload).map(Message::Text).map_err(|_| Fault::InvalidUtf8)
}

impl Kind {
    fn new(opcode: OpCode) -> Self {
        if opcode == OpCode::Text { Self::Text(Utf8Stream::default()) } else { Self::Binary }
    }

    fn text(&mut self) -> Option<&mut Utf8Stream> {
        match self {
            Self::Text(stream) => Some(stream),
            Self::Binary => None,
        }
    }
}

impl Partial {
    fn new(opcode: OpCode, now: Instant, inflating: Option<Box<Inflating>>) -> Self {
        let kind = Kind::new(opcode);
        Self {
            kind,
            payload: Vec::new(),
            checked: 0,
            fragments: 0,
            since: now,
            has_grown: false,
            delivered: 0,
            inflating,
        }
    }

    /// Bytes of payload that came, compressed if the message is; but for those of a plain one that were handed out.
    fn came(&self) -> usize {
        self.inflating.as_ref().map_or(0, |inflating| inflating.consumed()).saturating_add(self.payload.len())
    }

    /// Bytes of the message itself: what was handed out and what will be, of a compressed one what was inflated.
    fn given(&self) -> u64 {
        let waiting = self.inflating.as_ref().map_or(self.payload.len(), |inflating| inflating.held());
        self.delivered.saturating_add(waiting as u64)
    }

    /// Bytes of memory that it takes.
    fn held(&self) -> usize {
        self.inflating.as_ref().map_or(0, |inflating| inflating.held()).saturating_add(self.payload.capacity())
    }

    /// Bytes that may come before [`Self::inflate`] wants to see them.
    fn room(&self, streaming: bool) -> usize {
        let piece = if self.is_streamed(streaming) { STREAMED_PIECE } else { PIECE };
        if self.inflating.is_some() { piece.saturating_sub(self.payload.len()).max(1) } else { usize::MAX }
    }

    /// Makes room for `needed` more bytes, and ahead of them for about as many as came so far, but never for more than
    /// the message can still have when this is known.
    fn make_room(&mut self, needed: usize, remaining: u64, fin: bool) {
        let spare = self.payload.capacity().saturating_sub(self.payload.len());
        if spare >= needed {
            return;
        }
        let ahead = needed.max(self.payload.len().min(GROWTH_MAX));
        let most = if fin { usize::try_from(remaining).unwrap_or(usize::MAX) } else { usize::MAX };
        self.payload.reserve_exact(ahead.min(most).min(self.room(false)));
    }

    /// Unmasks and checks the bytes just read; returns how many they were.
    fn absorb(&mut self, mask: Option<MaskKey>, offset: u64) -> Result<u64, Fault> {
        let fresh = self.payload.get_mut(self.checked..).unwrap_or_default();
        if let Some(mask) = mask {
            mask.apply(fresh, offset);
        }
        if let (Kind::Text(stream), None) = (&mut self.kind, &self.inflating) {
            stream.feed(fresh).map_err(|_| Fault::InvalidUtf8)?;
        }
        let count = fresh.len() as u64;
        self.has_grown |= count > 0;
        self.checked = self.payload.len();
        Ok(count)
    }

    /// Inflates a whole piece of a compressed message; or what there is of one, if it is wanted as it comes.
    fn inflate(&mut self, inflater: &mut Inflater, streaming: bool) -> Result<(), Fault> {
        let least = if self.is_streamed(streaming) { 1 } else { PIECE };
        if let Some(inflating) = &mut self.inflating
            && self.payload.len() >= least
        {
            inflater.inflate(inflating, &self.payload, self.kind.text())?;
            self.payload.clear();
            self.checked = 0;
        }
        Ok(())
    }

    fn finish(mut self, inflater: Option<&mut Inflater>) -> Result<Event, Fault> {
        let kind = self.kind();
        let bytes = match (self.inflating.take(), inflater) {
            (Some(inflating), Some(inflater)) => inflater.finish(*inflating, &self.payload, self.kind.text())?,
            _ if matches!(&self.kind, Kind::Text(stream) if !stream.is_complete()) => return Err(Fault::InvalidUtf8),
            _ => Bytes::from(self.payload),
        };
        Ok(match kind {
            _ if self.delivered > 0 => Event::Part(Part { kind, bytes, fin: true }),
            MessageKind::Text => Event::Message(text(bytes)?),
            MessageKind::Binary => Event::Message(Message::Binary(bytes)),
        })
    }

    /// Whether it is handed out as it comes. Once some of it was, so is the rest, whatever is wanted of the messages after it.
    fn is_streamed(&self, streaming: bool) -> bool {
        streaming || self.delivered > 0
    }

    fn has_part(&self) -> bool {
        match &self.inflating {
            Some(inflating) => inflating.held() > 0,
            None => !self.payload.is_empty(),
        }
    }

    /// What has come since the last part: checked, and handed out instead of held.
    fn take_part(&mut self, inflater: Option<&mut Inflater>) -> Option<Part> {
        let bytes = if let (Some(inflating), Some(inflater)) = (&mut self.inflating, inflater) {
            inflater.take_part(inflating)
        } else {
            self.checked = 0;
            Bytes::from(std::mem::take(&mut self.payload))
        };
        if bytes.is_empty() {
            return None;
        }
        self.delivered = self.delivered.saturating_add(bytes.len() as u64);
        Some(Part { kind: self.kind(), bytes, fin: false })
    }

    fn kind(&self) -> MessageKind {
        match self.kind {
            Kind::Text(_) => MessageKind::Text,
            Kind::Binary => MessageKind::Binary,
        }
    }
}
