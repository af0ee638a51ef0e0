//! The client: one WebSocket on an HTTP/2 connection of its own.
use std::{
    any::Any,
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use h2::{
    Ping, Reason, RecvStream, SendStream,
    client::{Connection, SendRequest},
    ext::Protocol,
};
use http::Response;
use sockeye_proto::{
    Config,
    handshake::{ClientRequest, Established, HandshakeError, HandshakeLimits},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    Client, Error, Transport, WebSocket,
    agreed::Agreed,
    timer::{deadline, now},
    upgraded::Upgraded,
};

/// Bytes the server may send before they are read. There is one stream, so the connection's window is the same.
const WINDOW: u32 = 256 * 1024;
/// Bytes kept for a server that does not take them, beside the connection's own queue.
const SEND_BUFFER: usize = 64 * 1024;
/// What DATA frames shorter than 256 bytes may cost while the program does not read them, 256 bytes less their own each:
/// room for 4,000 small messages. More of them end the connection. h2's own figure is 500, which a program that is busy for
/// a moment would exceed.
const SMALL_FRAMES: usize = 1024 * 1024;
/// Time for the connection to say goodbye, after its WebSocket is gone.
const GOODBYE: Duration = Duration::from_secs(5);

impl Client {
    /// Connects over HTTP/2 (RFC 8441) on a transport that is connected already: after TLS whose ALPN says `h2`, or in the
    /// clear to a server known to speak it. Host and path come from the URL.
    ///
    /// A task of its own carries the HTTP/2 connection, and ends with the WebSocket.
    ///
    /// # Errors
    /// As [`connect`](Self::connect). The code is `no_extended_connect` if the server speaks HTTP/2 but takes no WebSocket
    /// over it; it may over HTTP/1.1.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, at the latest 5 s later.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), sockeye::Error> {
    /// let stream = tokio::net::TcpStream::connect("127.0.0.1:7071").await?;
    /// let mut socket = sockeye::Client::new("ws://127.0.0.1:7071/echo")?.connect_http2_over(stream).await?;
    /// socket.send("hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_http2_over<S>(self, transport: S) -> Result<WebSocket<Transport>, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        connect_over(transport, self.request?, self.config, deadline(self.timeout)).await
    }
}

/// Shakes hands over HTTP/2 on a connected transport.
pub(crate) async fn connect_over<S>(
    io: S,
    request: ClientRequest,
    config: Arc<Config>,
    deadline: Instant,
) -> Result<WebSocket<Transport>, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let url = Some(request.url().into());
    // Frames are written when they are whole; waiting for more would only add the peer's delayed ACK.
    if let Some(stream) = (&io as &dyn Any).downcast_ref::<TcpStream>() {
        stream.set_nodelay(true)?;
    }
    let attempt = async {
        let (send_request, alive) = open_connection(io, request.handshake_limits()).await?;
        shake_hands(send_request, alive, request, deadline).await
    };
    let result = timeout_at(deadline, attempt).await;
    let (stream, Established { subprotocol, deflate, response, .. }) =
        result.unwrap_or_else(|_| Err(Error::timeout("connecting")))?;
    let mut connection = sockeye_proto::Connection::client(config, rand::random, now());
    if let Some(agreed) = &deflate {
        connection = connection.with_deflate(agreed);
    }
    let agreed = Agreed::new(subprotocol, response.headers(), url);
    Ok(WebSocket::new(Transport::upgraded(Upgraded::new(stream)), connection, &[], agreed))
}

/// Keeps the task of the connection going as long as it exists.
type Alive = oneshot::Sender<Infallible>;

/// Speaks HTTP/2 until the server has said that it takes WebSocket, then leaves the connection to a task.
async fn open_connection<S>(io: S, limits: &HandshakeLimits) -> Result<(SendRequest<Bytes>, Alive), Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (send_request, mut connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES)
        .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
        .enable_push(false)
        .handshake(io)
        .await
        .map_err(h2_error)?;
    if !is_enabled(&mut connection, &send_request).await? {
        return Err(HandshakeError::no_extended_connect().into());
    }
    let (alive, released) = oneshot::channel();
    tokio::spawn(carry(connection, released));
    Ok((send_request, alive))
}

/// Whether the server's SETTINGS enable extended CONNECT. They are the first it sends, so with its answer to a PING they
/// have come; mostly they come before.
async fn is_enabled<S>(connection: &mut Connection<S>, send_request: &SendRequest<Bytes>) -> Result<bool, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut ping = connection.ping_pong().ok_or_else(|| Error::misuse("misuse", "a connection has one PING"))?;
    ping.send_ping(Ping::opaque()).map_err(h2_error)?;
    poll_fn(|cx| {
        let is_over = Pin::new(&mut *connection).poll(cx);
        if send_request.is_extended_connect_protocol_enabled() {
            return Poll::Ready(Ok(true));
        }
        if let Poll::Ready(result) = is_over {
            let left = || Error::io(io::ErrorKind::UnexpectedEof.into());
            return Poll::Ready(Err(result.map_or_else(h2_error, |()| left())));
        }
        ping.poll_pong(cx).map(|result| result.map(|_| false).map_err(h2_error))
    })
    .await
}

/// Carries the connection until it ends, or until its stream is gone and it has said so, or could not.
async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    connection: Connection<S>,
    mut released: oneshot::Receiver<Infallible>,
) {
    let mut connection = pin!(connection);
    let is_over = poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending => Pin::new(&mut released).poll(cx).map(|_| false),
    });
    if !is_over.await {
        // Streams learn of failures themselves, and there are none any more.
        let _ = timeout(GOODBYE, connection).await;
    }
}

async fn shake_hands(
    send_request: SendRequest<Bytes>,
    alive: Alive,
    request: ClientRequest,
    deadline: Instant,
) -> Result<(Stream, Established), Error> {
    let (mut request, answer) = request.start_connect()?;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let mut send_request = send_request.ready().await.map_err(h2_error)?;
    let (response, send) = send_request.send_request(request, false).map_err(h2_error)?;
    let (head, mut recv) = response.await.map_err(h2_error)?.into_parts();
    let body = if head.status.is_success() {
        Bytes::new()
    } else {
        read_error_body(&mut recv, answer.max_error_body(), deadline).await
    };
    let established = answer.handle_response(Response::from_parts(head, body))?;
    Ok((Stream { send, recv, unread: Bytes::new(), is_shut_down: false, _alive: alive }, established))
}

/// As much of it as is kept, or as came before it failed or time was over: it is for people to read. It is given a little
/// less time than there is, so that the refusal is still told.
async fn read_error_body(recv: &mut RecvStream, max: usize, deadline: Instant) -> Bytes {
    const SPARE: Duration = Duration::from_millis(100);
    let mut body = BytesMut::new();
    let read = async {
        while body.len() < max
            && let Some(Ok(data)) = recv.data().await
        {
            body.extend_from_slice(&data[..data.len().min(max - body.len())]);
            let _ = recv.flow_control().release_capacity(data.len());
        }
    };
    let _ = timeout_at(deadline.checked_sub(SPARE).unwrap_or(deadline), read).await;
    body.freeze()
}

/// The two directions of a stream as one transport.
struct Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// The rest of a DATA frame that did not fit where it was read to.
    unread: Bytes,
    is_shut_down: bool,
    _alive: Alive,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.recv.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(data)) => self.unread = data,
                // The server wants nothing more of what it is sent (RFC 9113 section 8.1). That is no failure.
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        let count = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        // What has been read makes room for more, not what has come.
        let _ = self.recv.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(buf.len());
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = self.send.capacity().min(buf.len());
        self.send.send_data(Bytes::copy_from_slice(&buf[..count]), false).map_err(io_error)?;
        Poll::Ready(Ok(count))
    }

    /// The task of the connection writes what it is given as soon as it can.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut_down {
            self.is_shut_down = true;
            self.send.send_data(Bytes::new(), true).map_err(io_error)?;
        }
        Poll::Ready(Ok(()))
    }
}

/// Before the stream is open.
fn h2_error(error: h2::Error) -> Error {
    if error.is_remote() && error.reason() == Some(Reason::HTTP_1_1_REQUIRED) {
        return HandshakeError::no_extended_connect().into();
    }
    Error::io(io_error(error))
}

/// `RST_STREAM` stands for TCP's RST (RFC 8441 section 5).
fn io_error(error: h2::Error) -> io::Error {
    if error.is_reset() {
        return io::Error::new(io::ErrorKind::ConnectionReset, error);
    }
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::other(error)
}
