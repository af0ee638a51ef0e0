//! Messages into their compressed form (RFC 7692 section 7.2.1).
use bytes::Bytes;
use zlib_rs::{Deflate, DeflateFlush};

use super::{
    params::{DeflateParams, Direction},
    pool::{self, Key},
    window::Window,
};
use crate::Role;

/// What a sync flush ends with, and a message does not: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end".
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The smallest window there is a compressor for. A client that was told 8 sends its messages as they are.
const MIN_BITS: u8 = 9;

/// What a connection has for the messages it sends.
#[derive(Debug)]
pub(crate) struct Deflater {
    /// Half a `usize`, with `form` in the other half, since every connection has room for it. Beyond 4 GiB it is 4 GiB.
    threshold: u32,
    form: FormKey,
    window: Option<Box<Window>>,
}

impl Deflater {
    /// `None` if this end compresses nothing.
    pub(crate) fn new(role: Role, agreed: &DeflateParams) -> Option<Self> {
        let direction: Direction = if role == Role::Server { agreed.server } else { agreed.client };
        let key = Key { effort: agreed.effort, bits: direction.bits };
        let form = FormKey { key, always: agreed.threshold == 0 };
        let window = Window::new(direction, agreed.reservation.clone());
        let threshold = u32::try_from(agreed.threshold).unwrap_or(u32::MAX);
        (direction.bits >= MIN_BITS).then_some(Self { threshold, form, window })
    }

    #[inline]
    fn is_worth(&self, message: &[u8]) -> bool {
        u32::try_from(message.len()).unwrap_or(u32::MAX) >= self.threshold
    }

    /// The compressed form of a message, if it is wanted and smaller. What is sent as it is leaves no trace in the window.
    pub(crate) fn deflate(&mut self, message: &[u8]) -> Option<Bytes> {
        if !self.is_worth(message) {
            return None;
        }
        let compressed = compress(self.form, self.window.as_deref().map_or(&[], Window::bytes), message)?;
        self.remember(message);
        Some(compressed)
    }

    /// The form of a message that all connections with the same parameters share: compressed without a window.
    pub(crate) fn deflate_shared<'a>(&mut self, message: &[u8], forms: &'a Forms) -> Option<&'a Bytes> {
        if !self.is_worth(message) {
            return None;
        }
        let compressed = forms.get(self.form, message)?;
        self.remember(message);
        Some(compressed)
    }

    /// A message that is compressed part by part.
    pub(crate) fn begin_parts(&self) -> Parts {
        let direction = Direction { bits: self.form.key.bits, takeover: true };
        Parts(if self.window.is_some() { None } else { Window::new(direction, None) })
    }

    /// The compressed form of a part of a message. The parts in a row are one stream, as if it had been compressed at once: each
    /// sees those before it as its window, and but for the last each ends with a whole flush.
    pub(crate) fn deflate_part(&mut self, parts: &mut Parts, part: &[u8], fin: bool) -> Bytes {
        let window = parts.0.as_mut().or(self.window.as_mut());
        let compressed = compress(self.form, window.as_ref().map_or(&[], |window| window.bytes()), part);
        if let Some(window) = window {
            window.push(part);
        }
        match compressed {
            Some(last) if fin => last,
            Some(part) => [&part[..], &TAIL].concat().into(),
            None => stored(part, fin),
        }
    }

    fn remember(&mut self, message: &[u8]) {
        if let Some(window) = &mut self.window {
            window.push(message);
        }
    }
}

/// What the compressed form of a message depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FormKey {
    key: Key,
    /// Also if it is no smaller.
    always: bool,
}

/// Compresses a message with `window` before it. `None` if that makes it no smaller.
fn compress(form: FormKey, window: &[u8], message: &[u8]) -> Option<Bytes> {
    let most = if form.always { usize::MAX } else { message.len().saturating_add(TAIL.len()) };
    pool::with_compressor(form.key.for_message(message.len()), |deflate| {
        if !window.is_empty() {
            // Between streams a raw one takes any dictionary.
            let _ = deflate.set_dictionary(window);
        }
        pool::with_scratch(|scratch| {
            let mut is_done = false;
            (run(deflate, message, most, scratch, &mut is_done), is_done)
        })
    })
}

/// `None` if `most` bytes come out, or more. `is_done` is set once all that comes out has come.
fn run(
    deflate: &mut Deflate,
    mut message: &[u8],
    most: usize,
    scratch: &mut [u8],
    is_done: &mut bool,
) -> Option<Bytes> {
    let mut before = Vec::new();
    loop {
        let (total_in, total_out) = (deflate.total_in(), deflate.total_out());
        deflate.compress(message, scratch, DeflateFlush::SyncFlush).ok()?;
        let used = usize::try_from(deflate.total_in().saturating_sub(total_in)).ok()?;
        let written = usize::try_from(deflate.total_out().saturating_sub(total_out)).ok()?;
        message = message.get(used..)?;
        let output = scratch.get(..written)?;
        // A flush is done when it left room.
        *is_done = written < scratch.len() && message.is_empty();
        if before.len().saturating_add(written) >= most {
            return None;
        }
        if *is_done {
            if before.is_empty() {
                return output.strip_suffix(&TAIL).map(Bytes::copy_from_slice);
            }
            before.extend_from_slice(output);
            before.truncate(before.strip_suffix(&TAIL)?.len());
            return Some(Bytes::from(before));
        }
        before.extend_from_slice(output);
    }
}

/// Bytes that do not shrink, in blocks that hold them as they are (RFC 1951 section 3.2.4); at the end of a message with the
/// beginning of the empty block whose rest is [`TAIL`].
fn stored(bytes: &[u8], fin: bool) -> Bytes {
    const BLOCK_MAX: usize = 0xffff;
    let mut blocks = Vec::with_capacity(bytes.len().saturating_add(16));
    for block in bytes.chunks(BLOCK_MAX) {
        let [low, high] = u16::try_from(block.len()).unwrap_or(u16::MAX).to_le_bytes();
        blocks.extend_from_slice(&[0, low, high, !low, !high]);
        blocks.extend_from_slice(block);
    }
    if fin {
        blocks.push(0);
    }
    Bytes::from(blocks)
}

/// What the parts of one message have in common: the end of those that were sent, unless the connection has a window that does.
#[derive(Debug)]
pub(crate) struct Parts(Option<Box<Window>>);

pub(crate) use forms::Forms;

mod forms {
    use std::sync::OnceLock;

    use bytes::Bytes;

    use super::{FormKey, compress};

    /// The compressed forms of one message: one for each set of parameters that asked for it, made when the first did. Whoever
    /// wants one that another thread is making waits for it.
    ///
    /// A process has few sets: the bits of a window are seven, and a policy has one effort.
    #[derive(Debug, Default)]
    pub(crate) struct Forms(OnceLock<Box<Form>>);

    #[derive(Debug)]
    struct Form {
        key: FormKey,
        /// `None` if the message does not shrink.
        compressed: Option<Bytes>,
        next: Forms,
    }

    impl Forms {
        pub(super) fn get(&self, key: FormKey, message: &[u8]) -> Option<&Bytes> {
            let make = || Box::new(Form { key, compressed: compress(key, &[], message), next: Self::default() });
            let mut forms = self;
            loop {
                let form = forms.0.get_or_init(make);
                if form.key == key {
                    return form.compressed.as_ref();
                }
                forms = &form.next;
            }
        }

        /// How many were made.
        pub(crate) fn count(&self) -> usize {
            std::iter::successors(self.0.get(), |form| form.next.0.get()).count()
        }
    }
}
