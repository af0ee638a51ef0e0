//! The half that sends: messages into frames, the queue, and the watch over a transport that does not take it.
use std::{fmt, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    MessageKind, Notice, Outgoing, Reply,
    outgoing::Stall,
    part::Unfinished,
    reply::{News, Owed},
};
use crate::{
    CloseFrame, Config, ControlPayload, Limits, Message, Prepared, Role, SendError,
    error::Fault,
    frame::{MaskKey, OpCode},
    limits,
    outbox::{OutFrame, Outbox},
};

/// The sending half of a [`Connection`](crate::Connection) that was [split](crate::Connection::split).
///
/// It owns whatever sending needs: the masking keys, the queue, the watch over a transport that takes too little. What
/// receiving owes the wire comes as [`Reply`] values; what receiving has to know leaves as [`Notice`] values.
///
/// **Invariant:** as with the whole connection, it is changed once, then drained with [`poll_output`](Self::poll_output) until
/// that says [`SendOutput::Wait`], then changed again.
pub struct SendHalf {
    config: Arc<Config>,
    end: End,
    stage: Stage,
    pub(super) outbox: Outbox,
    pub(super) stall: Option<Box<Stall>>,
    discarded: usize,
    notice: Option<Notice>,
    unfinished: Option<Box<Unfinished>>,
}

/// What the caller of a [`SendHalf`] is to do next.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum SendOutput {
    /// Hand this to the receiving half, before anything else is written.
    Notice(Notice),
    /// Bytes wait in [`SendHalf::outgoing`]: write what the transport takes. Not offered again after
    /// [`SendHalf::handle_write_blocked`] until something has left.
    Transmit,
    /// Shut down the transport's write side, and only then go on: the next output tells the receiving half.
    ShutdownWrite,
    /// Nothing to do until something is sent, or until this instant: then call [`SendHalf::handle_timeout`].
    Wait(Option<Instant>),
}

/// ```text
///   Open ──Close queued──▶ CloseQueued ──the reply says so──▶ Ending ──all has left──▶ Over
///     └──────────────────────────────── nothing more can leave ────────────────────────▲
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// Nothing follows a Close frame; what was queued before it still leaves.
    CloseQueued,
    /// And then the write side is shut down.
    Ending,
    Over,
}

/// Which end this is, with what only that end has.
pub(super) enum End {
    Server,
    Client(Box<Masks>),
}

/// Behind one pointer, and not the two that it takes itself: most connections are a server's.
pub(super) struct Masks(pub(super) Box<dyn FnMut() -> [u8; 4] + Send + Sync>);

impl SendHalf {
    pub(super) fn new(config: Arc<Config>, end: End) -> Self {
        Self {
            config,
            end,
            stage: Stage::Open,
            outbox: Outbox::default(),
            stall: None,
            discarded: 0,
            notice: None,
            unfinished: None,
        }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// Gives the message back if it finds no room in [`max_write_queue`](crate::Limits::max_write_queue), or if the connection
    /// is closing. It is never [`Full`](SendError::Full) while at most [`high_water`](crate::Limits::high_water) bytes wait.
    #[inline]
    pub fn send(&mut self, message: Message) -> Result<(), SendError<Message>> {
        if let Some(refuse) = self.refusal(message.len()) {
            return Err(refuse(()).map(|()| message));
        }
        let frame = self.end.frame(message.opcode(), message.into_bytes());
        self.outbox.push_message(frame);
        Ok(())
    }

    /// Queues a message that was encoded before. A client masks it like any other.
    ///
    /// # Errors
    /// As [`send`](Self::send), without the message: the caller still has it.
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError<()>> {
        let message = prepared.message();
        if let Some(refuse) = self.refusal(message.len()) {
            return Err(refuse(()));
        }
        let frame = self.end.frame(message.opcode(), message.clone().into_bytes());
        self.outbox.push_prepared(prepared, frame);
        Ok(())
    }

    /// Queues a part of a message as a frame of its own (RFC 6455 section 5.4). `kind` is that of the first part's message. Until
    /// a part with `fin` no other message can be sent; pings, pongs and the Close frame go between the parts.
    ///
    /// # Errors
    /// Gives the bytes back: [`Full`](SendError::Full) and [`Closed`](SendError::Closed) as [`send`](Self::send),
    /// [`InvalidText`](SendError::InvalidText) if the parts of a text, together, are not UTF-8.
    pub fn send_part(&mut self, kind: MessageKind, bytes: Bytes, fin: bool) -> Result<(), SendError<Bytes>> {
        if let Some(refuse) = self.no_room(bytes.len()) {
            return Err(refuse(()).map(|()| bytes));
        }
        let begins = self.unfinished.is_none();
        let outbox = &mut self.outbox;
        let unfinished = self.unfinished.get_or_insert_with(|| Box::new(Unfinished::new(kind, outbox.begin_parts())));
        if !unfinished.admits(&bytes, fin) {
            self.unfinished.take_if(|_| begins);
            return Err(SendError::InvalidText(bytes));
        }
        let opcode = if begins { unfinished.kind.opcode() } else { OpCode::Continuation };
        let frame = OutFrame { fin, ..self.end.frame(opcode, bytes) };
        self.outbox.push_part(frame, unfinished.parts.as_mut());
        self.unfinished.take_if(|_| fin);
        Ok(())
    }

    /// The kind of the message that was begun with [`send_part`](Self::send_part) and is not finished.
    #[must_use]
    pub fn unfinished(&self) -> Option<MessageKind> {
        self.unfinished.as_ref().map(|unfinished| unfinished.kind)
    }

    /// Queues a ping, ahead of messages. An earlier ping that has not left is replaced.
    ///
    /// # Errors
    /// If the connection is closing.
    pub fn ping(&mut self, payload: ControlPayload) -> Result<(), SendError<ControlPayload>> {
        if self.stage != Stage::Open {
            return Err(SendError::Closed(payload));
        }
        if self.config.keepalive.is_some() {
            self.notice = Some(Notice::new(News::Pinged(payload.clone())));
        }
        self.push_urgent(OpCode::Ping, payload.into());
        Ok(())
    }

    /// Starts the closing handshake: what is queued leaves first, then a Close frame with this code and reason (`None`
    /// sends an empty one). Does nothing if the connection is closing already.
    pub fn start_close(&mut self, frame: Option<CloseFrame>, now: Instant) {
        if self.stage == Stage::Open {
            self.push_close(frame);
            let until = limits::deadline(now, self.config.limits.close_timeout);
            self.notice = Some(Notice::new(News::CloseQueued { until }));
        }
    }

    /// Queues what receiving owes the wire, as far as it may still be sent.
    pub fn handle_reply(&mut self, reply: Reply) {
        match *reply.0 {
            Owed::Control { pong, ping } if self.stage == Stage::Open => {
                for (opcode, payload) in [(OpCode::Pong, pong), (OpCode::Ping, ping)] {
                    if let Some(payload) = payload {
                        self.push_urgent(opcode, payload.into());
                    }
                }
            }
            Owed::Control { .. } => {}
            Owed::Close { frame, shutdown } => {
                if self.stage == Stage::Open {
                    self.push_close(frame);
                }
                if shutdown && self.stage == Stage::CloseQueued {
                    self.stage = Stage::Ending;
                }
            }
            Owed::Nothing => self.abandon(),
        }
    }

    /// Tells that the transport does not take all of [`outgoing`](Self::outgoing) now. Starts the watch over
    /// [`write_timeout`](crate::Limits::write_timeout).
    pub fn handle_write_blocked(&mut self, now: Instant) {
        match &mut self.stall {
            Some(stall) => stall.blocked = true,
            None if self.outbox.is_empty() => {}
            None => self.stall = Some(Box::new(self.new_stall(now))),
        }
    }

    /// The transport takes nothing more: it ended, or it failed.
    pub fn handle_eof(&mut self, now: Instant) {
        self.fail(Fault::Eof, now);
    }

    /// Tells that the deadline of [`SendOutput::Wait`] has come. Calling it earlier does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &self.stall {
            Some(stall) if stall.due <= now && stall.owed > 0 => self.fail(Fault::WriteTimeout, now),
            Some(stall) if stall.due <= now => {
                let blocked = stall.blocked;
                self.stall = Some(Box::new(Stall { blocked, ..self.new_stall(now) }));
            }
            _ => {}
        }
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> SendOutput {
        if let Some(notice) = self.notice.take() {
            return SendOutput::Notice(notice);
        }
        if !self.outbox.is_empty() && !self.stall.as_ref().is_some_and(|stall| stall.blocked) {
            return SendOutput::Transmit;
        }
        if self.is_to_shut_down() {
            self.stage = Stage::Over;
            self.notice = Some(Notice::new(News::Shut));
            return SendOutput::ShutdownWrite;
        }
        SendOutput::Wait(self.deadline())
    }

    /// The bytes to write. Advance it by what the transport took.
    pub fn outgoing(&mut self) -> Outgoing<'_> {
        Outgoing { half: self }
    }

    /// All that is queued, if it is one piece.
    #[must_use]
    #[inline]
    pub fn queued(&self) -> Option<&[u8]> {
        self.outbox.whole()
    }

    /// What [`send_prepared`](Self::send_prepared) would queue, if that were all that is queued, in one piece that all
    /// connections share. Whoever writes it without queueing it spares a connection that takes it the queue; of what was taken
    /// in part the whole has to be queued, and [`outgoing`](Self::outgoing) advanced by that part.
    #[must_use]
    #[inline]
    pub fn alone<'a>(&self, prepared: &'a Prepared) -> Option<&'a [u8]> {
        let takes = self.stage == Stage::Open && self.unfinished.is_none() && matches!(self.end, End::Server);
        if takes { self.outbox.alone(prepared) } else { None }
    }

    /// Bytes queued that the transport has not taken.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.outbox.len()
    }

    /// Bytes that were queued and will never leave, because the transport ended or a deadline passed first.
    #[must_use]
    pub fn discarded_amount(&self) -> usize {
        self.discarded
    }

    /// Whether the next output is a [`Notice`].
    #[must_use]
    pub fn has_notice(&self) -> bool {
        self.notice.is_some()
    }

    /// Whether messages are taken: neither end has begun to close.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted: what the next [`SendOutput::Wait`] will say.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.stall.as_ref().map(|stall| stall.due)
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.end {
            End::Server => Role::Server,
            End::Client(_) => Role::Client,
        }
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn shared_config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(super) fn config_mut(&mut self) -> &mut Arc<Config> {
        &mut self.config
    }

    #[inline]
    pub(super) fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    /// Whether the next output is [`SendOutput::ShutdownWrite`].
    #[inline]
    pub(super) fn is_to_shut_down(&self) -> bool {
        self.stage == Stage::Ending && self.outbox.is_empty()
    }

    fn fail(&mut self, fault: Fault, now: Instant) {
        if self.stage != Stage::Over {
            self.notice = Some(Notice::new(News::Failed { fault, at: now }));
        }
        self.abandon();
    }

    fn abandon(&mut self) {
        self.stage = Stage::Over;
        self.discarded = self.discarded.saturating_add(self.outbox.len());
        self.outbox.clear();
        self.stall = None;
    }

    fn new_stall(&self, now: Instant) -> Stall {
        let Limits { write_progress, write_timeout, .. } = self.config.limits;
        let owed = write_progress.min(self.outbox.len());
        Stall { due: limits::deadline(now, write_timeout), owed, blocked: true }
    }

    /// Why a message of `len` bytes is not taken, as the error's constructor.
    #[inline]
    fn refusal(&self, len: usize) -> Option<fn(()) -> SendError<()>> {
        if self.unfinished.is_some() && self.stage == Stage::Open {
            return Some(SendError::Unfinished);
        }
        self.no_room(len)
    }

    #[inline]
    fn no_room(&self, len: usize) -> Option<fn(()) -> SendError<()>> {
        if self.stage != Stage::Open {
            return Some(SendError::Closed);
        }
        let (queued, limits) = (self.outbox.len(), &self.config.limits);
        let full = queued > limits.high_water.min(limits.max_write_queue)
            && queued.saturating_add(len) > limits.max_write_queue;
        full.then_some(SendError::Full)
    }

    #[inline]
    fn push_frame(&mut self, opcode: OpCode, payload: Bytes) {
        let frame = self.end.frame(opcode, payload);
        self.outbox.push(frame);
    }

    fn push_urgent(&mut self, opcode: OpCode, payload: Bytes) {
        let frame = self.end.frame(opcode, payload);
        self.outbox.push_urgent(&frame);
    }

    fn push_close(&mut self, frame: Option<CloseFrame>) {
        self.push_frame(OpCode::Close, frame.map(|frame| frame.encode()).unwrap_or_default());
        self.stage = Stage::CloseQueued;
    }
}

impl fmt::Debug for SendHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf")
            .field("role", &self.role())
            .field("stage", &self.stage)
            .field("buffered_amount", &self.buffered_amount())
            .finish_non_exhaustive()
    }
}

impl End {
    /// A frame of this end: masked if it is the client's.
    #[inline]
    fn frame(&mut self, opcode: OpCode, payload: Bytes) -> OutFrame {
        let mask = match self {
            Self::Server => None,
            Self::Client(masks) => Some(MaskKey((masks.0)())),
        };
        OutFrame { fin: true, opcode, payload, mask }
    }
}
