//! The account of a run: what was given and said, and what of it has arrived.
use sockeye::{Message, MessageKind};

use crate::peer::Understood;

/// Bytes that tell a message from all others.
pub(super) const NUMBER_LEN: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Certainly,
    /// The future was dropped, or failed; or the program has shown that it does not want it.
    Perhaps,
}

/// Both directions, and what is in the middle of either.
#[derive(Default)]
pub(super) struct Account {
    /// What the program gave to the socket, and whether the socket certainly took it.
    given: Vec<(Message, Taken)>,
    /// What the peer sent, and whether the program certainly gets it.
    said: Vec<(Message, Taken)>,
    pinged: Vec<Vec<u8>>,
    /// What the program received.
    received: Vec<Message>,
    /// The message of `said` that comes next.
    next: usize,
    /// It may be a later one: which messages a reader has seen the last of is not known.
    is_vague: bool,
    /// What a reader has handed out of that message.
    partial: Option<Partial>,
    /// What a writer has begun and not finished.
    pub(super) begun: Option<Begun>,
    /// `close` was called, which drops messages that still come.
    pub(super) drops: bool,
}

struct Partial {
    kind: MessageKind,
    bytes: Vec<u8>,
    /// Another reader goes on with it, or begins with the next if all of it has been handed out.
    is_left: bool,
}

pub(super) struct Begun {
    pub(super) message: Message,
    pub(super) written: usize,
}

impl Account {
    pub(super) fn given(&mut self, message: Message, taken: Taken) {
        self.given.push((message, taken));
    }

    pub(super) fn said(&mut self, message: Message) {
        self.said.push((message, Taken::Certainly));
    }

    pub(super) fn pinged(&mut self, payload: Vec<u8>) {
        self.pinged.push(payload);
    }

    pub(super) fn received(&mut self, message: Message) {
        let position = self.said.iter().position(|(said, _)| *said == message);
        self.next = position.expect("nobody said this") + 1;
        self.is_vague = false;
        self.received.push(message);
    }

    /// Whether the program has received all that it is to receive.
    pub(super) fn is_all_received(&self) -> bool {
        self.said[self.next..].iter().all(|(_, taken)| *taken == Taken::Perhaps)
    }

    /// Whether a writer has begun a message: then nothing else is taken.
    pub(super) fn is_writing(&self) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.written > 0)
    }

    /// Whether a reader has left something of a message.
    pub(super) fn is_reading(&self) -> bool {
        self.partial.is_some()
    }

    /// A reader is there.
    pub(super) fn begin_reading(&mut self, kind: MessageKind) {
        match &mut self.partial {
            Some(partial) => partial.is_left = true,
            none => *none = Some(Partial { kind, bytes: Vec::new(), is_left: false }),
        }
    }

    pub(super) fn read(&mut self, kind: MessageKind, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "a part of nothing");
        // The reader before had seen all of its message, though not that this was all.
        if let Some(whole) = self.partial.as_ref().filter(|partial| partial.is_left).and_then(|left| self.whole(left)) {
            self.partial = None;
            self.received(whole);
        }
        let partial = self.partial.get_or_insert_with(|| Partial { kind, bytes: Vec::new(), is_left: false });
        partial.is_left = false;
        assert_eq!(partial.kind, kind);
        partial.bytes.extend_from_slice(bytes);
    }

    /// The reader has come to the end of its message.
    pub(super) fn finish_reading(&mut self) {
        let partial = self.partial.take().expect("a reader");
        let whole = self.whole(&partial);
        self.received(whole.unwrap_or_else(|| panic!("{} bytes are not what was said", partial.bytes.len())));
    }

    /// What a reader has left is not wanted any more.
    pub(super) fn leave(&mut self) {
        let Some(partial) = self.partial.take() else { return };
        // All of a message was handed out, and a second reader may have begun with the next.
        let is_next = partial.is_left && self.whole(&partial).is_some();
        let begun = self.said.iter().position(|(said, _)| said.as_bytes().starts_with(&partial.bytes));
        self.next = begun.filter(|_| partial.bytes.len() >= NUMBER_LEN).unwrap_or(self.next);
        let known = partial.bytes.len() >= NUMBER_LEN || !self.is_vague;
        let count = if !known {
            usize::MAX
        } else if is_next {
            2
        } else {
            1
        };
        self.said.iter_mut().skip(self.next).take(count).for_each(|(_, taken)| *taken = Taken::Perhaps);
        self.next = self.said.len().min(self.next + 1);
        self.is_vague = !known || is_next;
    }

    /// The message that has been handed out, if that is all of one.
    fn whole(&self, partial: &Partial) -> Option<Message> {
        let is_same = |message: &Message| {
            message.as_bytes() == partial.bytes && message.is_text() == (partial.kind == MessageKind::Text)
        };
        self.said.iter().map(|(message, _)| message).find(|message| is_same(message)).cloned()
    }

    /// Compares everything; `all`: the connection lived to its end.
    pub(super) fn settle(&mut self, understood: &Understood, all: bool) {
        assert_delivered(&self.given, &understood.messages, all);
        if self.drops {
            self.said.iter_mut().for_each(|(_, taken)| *taken = Taken::Perhaps);
        }
        assert_delivered(&self.said, &self.received, all);
        let mut pinged = self.pinged.iter();
        for pong in &understood.pongs {
            assert!(pinged.any(|ping| ping == pong.as_bytes()), "a pong without its ping: {pong:?}");
        }
    }
}

/// What arrived is what was sent, in order, once each. Nothing that was certainly taken is missing; at the end, only if the
/// connection lived to its end (`all`).
fn assert_delivered(sent: &[(Message, Taken)], arrived: &[Message], all: bool) {
    let mut arrived = arrived.iter().peekable();
    for (message, taken) in sent {
        if arrived.next_if_eq(&message).is_some() || *taken == Taken::Perhaps {
            continue;
        }
        match arrived.peek() {
            Some(next) => panic!("{message:?} is missing before {next:?}"),
            None => assert!(!all, "{message:?} never arrived"),
        }
    }
    assert!(arrived.next().is_none(), "something was doubled, torn, or came out of order");
}
