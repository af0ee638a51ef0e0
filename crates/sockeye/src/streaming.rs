//! Messages that are not held whole: [`MessageReader`] and [`MessageWriter`].
use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use sockeye_proto::{Event, MessageKind, Part};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{Error, WebSocket, timer::now};

/// The longest part that [`AsyncWrite`] makes of one write: it copies.
const COPY_MAX: usize = 16 * 1024;

/// How far a message has been read that is handed out as it comes. It lives in the [`WebSocket`], so that no reader takes it
/// along when it is dropped.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Something of it waits in `part`, or will come. `is_begun`: the program has seen something of it.
    Open { part: Part, is_begun: bool },
    /// Its rest is of no interest.
    Discarding,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Waits for the next message and hands out its bytes as they come: for messages longer than one wants to hold. `None`
    /// after a clean close.
    ///
    /// Such a message may have up to [`max_streamed`](crate::Limits::max_streamed) bytes, in frames of any size; and it has not
    /// to be whole within [`message_timeout`](crate::Limits::message_timeout): that begins anew whenever something of it comes.
    ///
    /// ```
    /// # async fn run(socket: &mut sockeye::WebSocket) -> Result<(), sockeye::Error> {
    /// if let Some(mut reader) = socket.reader().await? {
    ///     let mut len = 0;
    ///     while let Some(bytes) = reader.read().await? {
    ///         len += bytes.len();
    ///     }
    ///     println!("{:?} of {len} bytes", reader.kind());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// Nothing is lost. A reader that is dropped in the middle of a message leaves the rest in the `WebSocket`: the next
    /// `reader` goes on with it; [`recv`](Self::recv) drops the rest and waits for the next message. Of a message that no
    /// reader was given for yet, `recv` returns the whole, unless it is longer than
    /// [`max_message`](crate::Limits::max_message), which then ends the connection with 1009.
    pub async fn reader(&mut self) -> Result<Option<MessageReader<'_, S>>, Error> {
        let kind = poll_fn(|cx| self.poll_begin(cx)).await?;
        Ok(kind.map(|kind| MessageReader { socket: self, kind, is_done: false }))
    }

    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<MessageKind>, Error>> {
        if let Some(Reading::Open { part, is_begun }) = self.reading.as_deref() {
            if !(part.fin && part.bytes.is_empty() && *is_begun) {
                return Poll::Ready(Ok(Some(part.kind)));
            }
            self.reading = None;
        }
        self.driver.connection.set_streaming(true, now());
        loop {
            let part = match ready!(self.driver.poll_event(cx))? {
                Some(Event::Message(message)) => Part::from(message),
                Some(Event::Part(part)) if self.reading.is_some() => {
                    self.discard(&part);
                    continue;
                }
                Some(Event::Part(part)) => part,
                Some(Event::Closed(_)) | None => return Poll::Ready(Ok(None)),
                Some(_) => continue,
            };
            let kind = part.kind;
            self.reading = Some(Box::new(Reading::Open { part, is_begun: false }));
            return Poll::Ready(Ok(Some(kind)));
        }
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            let Some(Reading::Open { part, is_begun }) = self.reading.as_deref_mut() else {
                return Poll::Ready(Ok(None));
            };
            *is_begun = true;
            if !part.bytes.is_empty() {
                return Poll::Ready(Ok(Some(std::mem::take(&mut part.bytes))));
            }
            if part.fin {
                self.reading = None;
                return Poll::Ready(Ok(None));
            }
            match ready!(self.driver.poll_event(cx)) {
                Ok(Some(Event::Part(next))) => *part = next,
                // The peer closed in the middle of its message.
                Ok(Some(Event::Closed(_)) | None) => {
                    self.reading = None;
                    return Poll::Ready(Err(Error::closed()));
                }
                Ok(Some(_)) => {}
                Err(error) => {
                    self.reading = None;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// From here on whole messages are wanted.
    #[cold]
    pub(crate) fn stop_streaming(&mut self) {
        self.driver.connection.set_streaming(false, now());
        self.stop_reading();
    }

    /// What a reader has left is of no interest.
    pub(crate) fn stop_reading(&mut self) {
        let is_whole = matches!(self.reading.as_deref(), Some(Reading::Open { part: Part { fin: true, .. }, .. }));
        self.reading = self.reading.take().filter(|_| !is_whole).map(|_| Box::new(Reading::Discarding));
    }

    /// Passes over a part of a message that a reader has left in its middle.
    pub(crate) fn discard(&mut self, part: &Part) {
        if part.fin {
            self.reading = None;
        }
    }

    /// Drops a part that a reader might have wanted; then its message is of no interest either.
    pub(crate) fn pass_over(&mut self, part: &Part) {
        self.reading = if part.fin { None } else { Some(Box::new(Reading::Discarding)) };
    }

    /// Sends a message of unknown length, in parts: each [`write`](MessageWriter::write) is a frame (RFC 6455 section 5.4).
    ///
    /// Pings, pongs and a Close frame leave between the parts. Until [`finish`](MessageWriter::finish) no other message can be
    /// sent. If a message has been begun and not finished, the writer goes on with that, whatever `kind` says.
    ///
    /// ```
    /// # async fn run(socket: &mut sockeye::WebSocket) -> Result<(), sockeye::Error> {
    /// let mut writer = socket.writer(sockeye::MessageKind::Text);
    /// for line in ["first line\n", "second line\n"] {
    ///     writer.write(line).await?;
    /// }
    /// writer.finish().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn writer(&mut self, kind: MessageKind) -> MessageWriter<'_, S> {
        let kind = self.driver.connection.unfinished().unwrap_or(kind);
        MessageWriter { socket: self, kind }
    }
}

/// A message whose bytes are handed out as they come; from [`WebSocket::reader`].
///
/// As an [`AsyncRead`] it ends with the message; what went wrong is the source of the [`io::Error`].
pub struct MessageReader<'a, S = TcpStream> {
    socket: &'a mut WebSocket<S>,
    kind: MessageKind,
    is_done: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> MessageReader<'_, S> {
    /// What the message carries. All its bytes together are UTF-8 if that is text; a part may end inside a code point.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Waits for the next bytes, of which there is at least one; `None` at the end of the message. While it waits, the
    /// connection is served as by [`recv`](WebSocket::recv).
    ///
    /// # Errors
    /// As [`recv`](WebSocket::recv); [`Error::is_closed`] if the peer closed in the middle of the message.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_bytes(cx)).await
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        if self.is_done {
            return Poll::Ready(Ok(None));
        }
        let result = ready!(self.socket.poll_part(cx));
        self.is_done = !matches!(result, Ok(Some(_)));
        Poll::Ready(result)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MessageReader<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(mut bytes) = ready!(self.poll_bytes(cx)).map_err(io::Error::other)? {
            buf.put_slice(&bytes.split_to(bytes.len().min(buf.remaining())));
            if let Some(Reading::Open { part, .. }) = self.socket.reading.as_deref_mut() {
                part.bytes = bytes;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> fmt::Debug for MessageReader<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A message that is sent in parts; from [`WebSocket::writer`].
///
/// Dropped before [`finish`](Self::finish) it leaves the message open: every method that sends another fails until a writer has
/// finished it. As an [`AsyncWrite`] it is finished by `shutdown`.
pub struct MessageWriter<'a, S = TcpStream> {
    socket: &'a mut WebSocket<S>,
    kind: MessageKind,
}

impl<S: AsyncRead + AsyncWrite + Unpin> MessageWriter<'_, S> {
    /// What the message carries.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Queues a part as a frame of its own. A part of a text may end inside a code point. Waits while more than
    /// [`high_water`](crate::Limits::high_water) bytes are queued; what is queued leaves then, or with
    /// [`flush`](Self::flush).
    ///
    /// Peers limit the number of fragments, ours to 1,024: parts of some KiB are better than parts of some bytes.
    ///
    /// # Errors
    /// As [`send`](WebSocket::send); [`Error::is_misuse`] if the parts of a text, together, are not UTF-8: this one is not sent.
    ///
    /// # Cancel safety
    /// The part is taken whole or not at all. It is taken at once unless the queue is above `high_water`.
    pub async fn write(&mut self, bytes: impl Into<Bytes>) -> Result<(), Error> {
        let bytes = bytes.into();
        self.socket.ready().await?;
        if bytes.is_empty() {
            return Ok(());
        }
        Ok(self.socket.driver.connection.send_part(self.kind, bytes, false)?)
    }

    /// [`WebSocket::flush`].
    ///
    /// # Errors
    /// As [`send`](WebSocket::send).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.socket.flush().await
    }

    /// Ends the message and flushes. Nothing written makes an empty message.
    ///
    /// # Errors
    /// As [`write`](Self::write): a text that ends inside a code point is not finished.
    ///
    /// # Cancel safety
    /// The end is taken at once unless the queue is above [`high_water`](crate::Limits::high_water). If the future is dropped
    /// before, the message is still open.
    pub async fn finish(self) -> Result<(), Error> {
        self.socket.ready().await?;
        self.socket.driver.connection.send_part(self.kind, Bytes::new(), true)?;
        self.socket.flush().await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MessageWriter<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.socket.poll_ready(cx)).map_err(io::Error::other)?;
        let count = buf.len().min(COPY_MAX);
        if count > 0 {
            let (kind, bytes) = (self.kind, Bytes::copy_from_slice(&buf[..count]));
            let sent = self.socket.driver.connection.send_part(kind, bytes, false);
            sent.map_err(|error| io::Error::other(Error::from(error)))?;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(cx).map_err(io::Error::other)
    }

    /// Finishes the message. Only a message that was begun is finished, so that this can be polled again.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(kind) = self.socket.driver.connection.unfinished() {
            ready!(self.socket.poll_ready(cx)).map_err(io::Error::other)?;
            let sent = self.socket.driver.connection.send_part(kind, Bytes::new(), true);
            sent.map_err(|error| io::Error::other(Error::from(error)))?;
        }
        self.socket.poll_flush(cx).map_err(io::Error::other)
    }
}

impl<S> fmt::Debug for MessageWriter<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter").field("kind", &self.kind).finish_non_exhaustive()
    }
}
