//! SockJS over a WebSocket: each message travels in a frame of SockJS, which is a text message.
use std::{
    cell::RefCell,
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use bytestring::ByteString;
use sockeye::{CloseCode, CloseReason, Error, Message, Prepared, SendError, Utf8Bytes, WebSocket};
use sockeye_pipe::{
    Batch, Farewell, Frame, Framing,
    sockjs::{BrokenFraming, Transport, close_code, websocket_messages},
};

use crate::talk::{Io, Talk};

/// Prepared forms that a thread remembers, for those who are told the same: what was just told to one of them is told to the
/// next.
const REMEMBERED: usize = 4;

/// What clients are told with the Close frame; the reason is in the frame of SockJS before it.
const CLOSED: (CloseCode, &str) = (CloseCode::NORMAL, "Normal closure");

/// A WebSocket whose messages come and go in frames of SockJS.
pub(super) struct Framed<S> {
    socket: WebSocket<S>,
    /// Messages of a frame that have not been taken yet.
    at_hand: VecDeque<ByteString>,
    /// Bytes of the largest message.
    max_message: usize,
    /// What comes is not for anybody any more.
    is_closing: bool,
}

impl<S: Io> Framed<S> {
    /// Greets the client.
    pub(super) fn new(mut socket: WebSocket<S>, max_message: usize) -> Self {
        // Nothing is queued yet.
        let _ = socket.try_send(encode(&Frame::Open));
        Self { socket, at_hand: VecDeque::new(), max_message, is_closing: false }
    }

    /// Takes the messages out of a frame, or ends the connection because of it.
    fn unwrap(&mut self, frame: &Message) {
        if self.is_closing {
            return;
        }
        let Some(text) = frame.as_text() else {
            return self.refuse(CloseCode::UNSUPPORTED_DATA, "text messages only");
        };
        match websocket_messages(text) {
            Ok(messages) if messages.iter().any(|message| message.len() > self.max_message) => {
                self.start_close(CloseCode::TOO_BIG, "the message is too big");
            }
            Ok(messages) => self.at_hand.extend(messages),
            Err(BrokenFraming) => {
                // The code is one of those that are free for applications.
                let code = CloseCode::new(BrokenFraming::CODE).unwrap_or(CloseCode::PROTOCOL_ERROR);
                self.refuse(code, BrokenFraming::REASON);
            }
        }
    }

    /// Closes without a word of SockJS to somebody who does not speak it.
    fn refuse(&mut self, code: CloseCode, reason: &'static str) {
        self.is_closing = true;
        self.socket.start_close(code, reason);
    }

    fn take(&mut self) -> Option<Message> {
        self.at_hand.pop_front().map(|text| Message::text(utf8(text)))
    }
}

impl<S: Io> Talk for Framed<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            if let Some(message) = self.take() {
                return Poll::Ready(Some(Ok(message)));
            }
            match ready!(self.socket.poll_recv(cx)) {
                Some(Ok(frame)) => self.unwrap(&frame),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn try_recv(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.take() {
                return Some(message);
            }
            let frame = self.socket.try_recv()?;
            self.unwrap(&frame);
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.socket.poll_ready(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.socket.poll_flush(cx)
    }

    fn buffered_amount(&self) -> usize {
        self.socket.buffered_amount()
    }

    fn try_send(&mut self, message: Message) -> Result<(), SendError<Message>> {
        let Some(frame) = wrap(&message) else { return Err(SendError::InvalidText(message)) };
        self.socket.try_send(frame).map_err(|refused| match refused {
            SendError::Full(_) => SendError::Full(message),
            _ => SendError::Closed(message),
        })
    }

    fn try_send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError<()>> {
        let Some(frame) = Wrapped::of(prepared) else { return Err(SendError::InvalidText(())) };
        self.socket.try_send_prepared(&frame)
    }

    fn start_close(&mut self, code: CloseCode, reason: impl Into<CloseReason>) {
        if self.is_closing {
            return;
        }
        let reason = reason.into();
        let farewell = Farewell::new(close_code(code.get()), reason.as_str());
        // Who does not take it hears the Close frame alone, if anything.
        let _ = self.socket.try_send(encode(&Frame::Close(farewell)));
        self.is_closing = true;
        self.at_hand.clear();
        self.socket.start_close(CLOSED.0, CLOSED.1);
    }
}

/// The frame with this message; `None` if it is no text, which SockJS cannot say.
fn wrap(message: &Message) -> Option<Message> {
    let text = ByteString::from(message.as_text()?);
    Some(encode(&Frame::Messages(Batch { before: 0, messages: vec![text] })))
}

fn encode(frame: &Frame) -> Message {
    // It was made of strings.
    Message::text(Utf8Bytes::try_from(Transport::WebSocket.encode(frame)).unwrap_or_default())
}

fn utf8(text: ByteString) -> Utf8Bytes {
    Utf8Bytes::try_from(text.into_bytes()).unwrap_or_default()
}

/// A message that many are told, and the frame with it.
struct Wrapped {
    /// Kept, so that no other message can be where this one is.
    message: Prepared,
    frame: Prepared,
}

thread_local! {
    static WRAPPED: RefCell<VecDeque<Wrapped>> = const { RefCell::new(VecDeque::new()) };
}

impl Wrapped {
    /// The frame with this message, which is escaped once for all of the thread who are told it one after the other.
    fn of(message: &Prepared) -> Option<Prepared> {
        WRAPPED.with_borrow_mut(|wrapped| {
            if let Some(known) = wrapped.iter().find(|known| known.is(message)) {
                return Some(known.frame.clone());
            }
            let frame = Prepared::new(wrap(message.message())?);
            wrapped.truncate(REMEMBERED - 1);
            wrapped.push_front(Self { message: message.clone(), frame: frame.clone() });
            Some(frame)
        })
    }

    fn is(&self, message: &Prepared) -> bool {
        std::ptr::eq(self.message.message().as_bytes(), message.message().as_bytes())
    }
}
