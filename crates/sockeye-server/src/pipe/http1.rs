//! Conversations over HTTP/1.1: responses that are written for a while, and connections that can be used again after them.
use std::{
    cell::RefCell,
    fmt::Write as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use sockeye::proto::handshake::{BodyLength, write_response, write_response_head};
use sockeye_pipe::Output;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::{Answer, BODY_TIMEOUT, Begun, Streaming, shared::Outflow};
use crate::{
    api::{Refused, http1::read_body},
    dialect::ErrorCode,
    talk::Io,
    worker::Worker,
};

/// Bytes of a frame that is asked for; a single message can be larger.
pub(super) const ROOM: usize = 32 * 1024;
/// Bytes of further requests that are read while a response is written. Beyond it nobody notices that the client leaves before
/// something is written to it.
const MAX_AHEAD: usize = 8 * 1024;
/// Memory that a thread keeps to put frames together.
const MAX_SCRATCH: usize = 64 * 1024;

thread_local! {
    /// For what is written at once, so that a delivery takes no memory.
    static SCRATCH: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    /// The last that was put together for several, and what of.
    static LAST: RefCell<Option<(Bytes, Bytes)>> = const { RefCell::new(None) };
}

/// Reads what is left of a request, and carries it out. With the answer comes what was read beyond the request; `None` if not
/// all of the request has been read, so that nothing can follow it.
///
/// # Errors
/// If the client leaves in the middle of its request.
pub(crate) async fn answer(
    request: &Request<()>,
    stream: &mut impl Io,
    rest: Bytes,
    begun: Begun,
    worker: &Worker,
) -> io::Result<(Answer, Option<Bytes>)> {
    let length = BodyLength::of(request.headers());
    let is_absent = matches!(length, Ok(BodyLength::Absent | BodyLength::Known(0)));
    let call = match begun {
        Ok(call) => call,
        Err(response) => return Ok((Answer::Full(*response), is_absent.then_some(rest))),
    };
    let most = worker.pipes().map_or(0, |pipes| call.max_body(pipes));
    let refused = match length {
        _ if is_absent => return Ok((call.perform(Bytes::new(), Box::new(()), worker).await, Some(rest))),
        // The reader of heads has looked at it already.
        Err(_) => Refused::new(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, "the length of the body is not clear"),
        Ok(_) if most == 0 => Refused::new(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, "nothing is sent here"),
        Ok(length) => match read_body(request.headers(), length, (most, BODY_TIMEOUT), stream, rest).await? {
            Ok((body, rest)) => return Ok((call.perform(body, Box::new(()), worker).await, Some(rest))),
            Err(refused) => refused,
        },
    };
    Ok((Answer::Full(call.refuse(refused)), None))
}

/// A response while it is written; ready when it is whole, with the connection and what has come on it meanwhile.
pub(crate) struct Writing<S> {
    stream: Option<S>,
    body: Box<dyn Outflow>,
    /// Not written yet.
    head: Option<Box<Response<()>>>,
    has_chunks: bool,
    /// What the connection has not taken yet.
    out: BytesMut,
    stage: Stage,
    /// Further requests.
    ahead: BytesMut,
    /// For the last of it to be taken.
    time: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// What has been put together is the last.
    Ending,
}

impl Writing<Lent> {
    /// The same over a plain socket, which is lent to those who say what is written.
    pub(crate) fn lending(
        socket: TcpStream,
        (mut answer, version): (Streaming, Version),
        ahead: Bytes,
        time: Duration,
    ) -> Self {
        let socket = Arc::new(socket);
        // What is written past the task is written in chunks, which HTTP/1.0 does not have.
        if !answer.is_poll && version == Version::HTTP_11 {
            answer.body.lend(&socket);
        }
        Self::new(Lent(socket), (answer, version), ahead, time)
    }
}

impl<S: Io> Writing<S> {
    /// `ahead` was read beyond the request; `time` is how long the client has to take the end of the response.
    pub(crate) fn new(stream: S, (answer, version): (Streaming, Version), ahead: Bytes, time: Duration) -> Self {
        let Streaming { head, prelude, body, is_poll } = answer;
        let mut writing = Self {
            stream: Some(stream),
            body,
            head: Some(Box::new(head)),
            // To HTTP/1.0 the end of the connection is that of the response (RFC 9112 section 6.3).
            has_chunks: version != Version::HTTP_10,
            out: BytesMut::new(),
            stage: Stage::Open,
            ahead: ahead.into(),
            time,
            timer: None,
        };
        if !is_poll {
            let mut out = BytesMut::new();
            writing.begin(&mut out);
            writing.piece(&prelude, &mut out);
            writing.out = out;
        }
        writing
    }

    /// The head of a response of any length, if it has not been written.
    fn begin(&mut self, out: &mut BytesMut) {
        if let Some(mut head) = self.head.take() {
            if self.has_chunks {
                head.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            write_response_head(&head, out);
        }
    }

    fn piece(&self, bytes: &[u8], out: &mut BytesMut) {
        if self.has_chunks {
            chunk(bytes, out);
        } else {
            out.extend_from_slice(bytes);
        }
    }

    /// Puts the next piece together, and writes of it what is taken at once.
    fn write(&mut self, bytes: &[u8], is_last: bool, cx: &mut Context<'_>) -> io::Result<()> {
        with_scratch(|scratch| {
            if let Some(head) = self.head.take_if(|_| is_last) {
                write_response(&head, bytes, scratch);
            } else {
                self.begin(scratch);
                self.piece(bytes, scratch);
                if is_last && self.has_chunks {
                    scratch.extend_from_slice(b"0\r\n\r\n");
                }
            }
            let mut written = 0;
            if let Some(stream) = &mut self.stream {
                while written < scratch.len() {
                    match Pin::new(&mut *stream).poll_write(cx, &scratch[written..])? {
                        Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Poll::Ready(count) => written += count,
                        Poll::Pending => break,
                    }
                }
            }
            self.out = BytesMut::from(&scratch[written..]);
            Ok(())
        })
    }

    /// Ready once the connection has taken all that has been put together.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        while !self.out.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.out.advance(count),
            }
        }
        // Who is idle owns no memory.
        self.out = BytesMut::new();
        Pin::new(stream).poll_flush(cx)
    }

    /// Never ready with anything but an error: the client is gone, or has had enough time.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match self.stage {
            Stage::Open => ready!(self.body.poll_blocked(cx)),
            Stage::Ending => {
                let time = self.time;
                ready!(self.timer.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx));
            }
        }
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// Whether the client is gone, which only reading tells.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        while self.ahead.len() < MAX_AHEAD {
            let mut space = [0; 512];
            let mut read = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut read)) {
                Ok(()) if read.filled().is_empty() => return Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
                Ok(()) => self.ahead.extend_from_slice(read.filled()),
                Err(error) => return Poll::Ready(error),
            }
        }
        Poll::Pending
    }
}

impl<S: Io> Future for Writing<S> {
    type Output = io::Result<(S, Bytes)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.out.is_empty() {
            this.out = this.body.take_rest().into();
        }
        loop {
            if this.poll_written(cx)?.is_pending() {
                return this.poll_stuck(cx).map(Err);
            }
            if this.stage == Stage::Ending {
                this.body.finished();
                let ahead = std::mem::take(&mut this.ahead).freeze();
                return match this.stream.take() {
                    Some(stream) => Poll::Ready(Ok((stream, ahead))),
                    // It is polled after it was ready.
                    None => Poll::Pending,
                };
            }
            match this.body.poll_output(cx, ROOM) {
                Poll::Ready(Output::Write(bytes)) => this.write(&bytes, false, cx)?,
                Poll::Ready(Output::Last(bytes)) => {
                    this.stage = Stage::Ending;
                    this.write(&bytes, true, cx)?;
                }
                Poll::Ready(Output::Cut | Output::Wait) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                Poll::Pending => return this.poll_gone(cx).map(Err),
            }
        }
    }
}

/// A chunk of these bytes; of none there is none, as that would be the end.
fn chunk(bytes: &[u8], out: &mut BytesMut) {
    if !bytes.is_empty() {
        // Memory takes all.
        let _ = write!(out, "{:x}\r\n", bytes.len());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

/// The same for a moment, in memory that is the thread's.
pub(super) fn with_chunk<T>(bytes: &[u8], with: impl FnOnce(&[u8]) -> T) -> T {
    with_scratch(|scratch| {
        chunk(bytes, scratch);
        with(scratch)
    })
}

/// The same in memory of its own. What one after the other is told of is put together once.
pub(super) fn shared_chunk(bytes: &Bytes) -> Bytes {
    LAST.with_borrow_mut(|last| {
        if let Some((of, chunk)) = last
            && (of.as_ptr(), of.len()) == (bytes.as_ptr(), bytes.len())
        {
            return chunk.clone();
        }
        let chunk = with_chunk(bytes, Bytes::copy_from_slice);
        // As long as it is kept, nothing else can have its address.
        *last = (bytes.len() <= MAX_SCRATCH).then(|| (bytes.clone(), chunk.clone()));
        chunk
    })
}

fn with_scratch<T>(with: impl FnOnce(&mut BytesMut) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        let result = with(scratch);
        if scratch.capacity() > MAX_SCRATCH {
            *scratch = BytesMut::new();
        }
        result
    })
}

/// A plain socket that whoever says something to its client may write to, while its task waits.
pub(crate) struct Lent(pub(crate) Arc<TcpStream>);

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Whoever has the socket alone again ends it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
