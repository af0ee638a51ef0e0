//! One turn of writing and one of reading, for a connection and for each of its halves.
use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, buf::Limit};
use sockeye_proto::{Config, Connection, Outgoing, ReceiveHalf, SendHalf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::{
    buffer::{Rest, with_thread_buffer},
    timer::now,
};

/// Pieces in one vectored write.
const SLICES: usize = 32;
/// The longest time a transport is given to pass on what it has taken; longer ones could leave the clock's range.
const FLUSH_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What has bytes to write.
pub(crate) trait Source {
    fn buffered_amount(&self) -> usize;
    fn outgoing(&mut self) -> Outgoing<'_>;
    fn handle_write_blocked(&mut self, now: Instant);
    fn config(&self) -> &Config;
}

/// What takes the bytes that were read.
pub(crate) trait Target {
    fn payload_space(&mut self) -> Option<Limit<&mut Vec<u8>>>;
    fn handle_payload(&mut self, now: Instant);
    fn handle_input(&mut self, input: &mut [u8], now: Instant) -> usize;
}

macro_rules! impl_source {
    ($($half:ty),+) => {$(
        impl Source for $half {
            #[inline]
            fn buffered_amount(&self) -> usize {
                self.buffered_amount()
            }

            #[inline]
            fn outgoing(&mut self) -> Outgoing<'_> {
                self.outgoing()
            }

            fn handle_write_blocked(&mut self, now: Instant) {
                self.handle_write_blocked(now);
            }

            fn config(&self) -> &Config {
                self.config()
            }
        }
    )+};
}
impl_source!(Connection, SendHalf);

macro_rules! impl_target {
    ($($half:ty),+) => {$(
        impl Target for $half {
            #[inline]
            fn payload_space(&mut self) -> Option<Limit<&mut Vec<u8>>> {
                self.payload_space()
            }

            #[inline]
            fn handle_payload(&mut self, now: Instant) {
                self.handle_payload(now);
            }

            #[inline]
            fn handle_input(&mut self, input: &mut [u8], now: Instant) -> usize {
                self.handle_input(input, now)
            }
        }
    )+};
}
impl_target!(Connection, ReceiveHalf);

/// Writes until nothing is queued and the transport has passed all of it on (ready), or it takes no more (pending).
/// `flush_due` is when a transport that holds bytes back, as TLS does, must have passed them on. Nothing more is asked of a
/// transport that has failed.
#[inline]
pub(crate) fn poll_write(
    io: &mut (impl AsyncWrite + Unpin),
    source: &mut impl Source,
    flush_due: &mut Option<Instant>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while source.buffered_amount() > 0 {
        match poll_write_some(Pin::new(io), cx, &source.outgoing()) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(count)) => source.outgoing().advance(count),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {
                source.handle_write_blocked(now());
                return Poll::Pending;
            }
        }
    }
    let Poll::Ready(result) = Pin::new(io).poll_flush(cx) else {
        flush_due.get_or_insert_with(|| now() + source.config().limits.write_timeout.min(FLUSH_MAX));
        return Poll::Pending;
    };
    *flush_due = None;
    Poll::Ready(result)
}

/// Writes what is queued in one call. The protocol has copied small frames together, so that mostly it is one piece;
/// pieces for a transport that takes only one at a time are copied here.
fn poll_write_some(
    io: Pin<&mut impl AsyncWrite>,
    cx: &mut Context<'_>,
    outgoing: &Outgoing<'_>,
) -> Poll<io::Result<usize>> {
    let first = outgoing.chunk();
    if first.len() == outgoing.remaining() {
        return io.poll_write(cx, first);
    }
    let mut slices = [io::IoSlice::new(&[]); SLICES];
    let slices = match outgoing.chunks_vectored(&mut slices) {
        1 => return io.poll_write(cx, &slices[0]),
        count => &slices[..count],
    };
    if io.is_write_vectored() {
        return io.poll_write_vectored(cx, slices);
    }
    with_thread_buffer(|buffer| {
        let mut filled = 0;
        for slice in slices {
            let take = slice.len().min(buffer.len() - filled);
            buffer[filled..filled + take].copy_from_slice(&slice[..take]);
            filled += take;
        }
        io.poll_write(cx, &buffer[..filled])
    })
}

/// Reads once; `false` at the end. Large payloads go straight into their message, all else through the thread's buffer.
/// `first` happens between the reading and the taking up.
#[inline]
pub(crate) fn poll_read<T: Target>(
    io: &mut (impl AsyncRead + Unpin),
    target: &mut T,
    rest: &mut Rest,
    cx: &mut Context<'_>,
    first: impl FnOnce(&mut T),
) -> Poll<io::Result<bool>> {
    if let Some(mut space) = target.payload_space() {
        let count = ready!(pin!(io.read_buf(&mut space)).poll(cx))?;
        if count > 0 {
            first(target);
            target.handle_payload(now());
        }
        return Poll::Ready(Ok(count > 0));
    }
    with_thread_buffer(|buffer| {
        let mut filled = ReadBuf::new(buffer);
        ready!(Pin::new(io).poll_read(cx, &mut filled))?;
        let input = filled.filled_mut();
        if input.is_empty() {
            return Poll::Ready(Ok(false));
        }
        first(target);
        let read_at = now();
        let consumed = target.handle_input(input, read_at);
        if consumed < input.len() {
            *rest = Rest::new(&input[consumed..], read_at);
        }
        Poll::Ready(Ok(true))
    })
}
