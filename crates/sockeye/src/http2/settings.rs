use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::{rt::TokioTimer, server::conn::auto};

/// How an HTTP server built on hyper should be set for WebSocket: with extended CONNECT, and with every effect of a peer
/// bounded.
///
/// What stands against which attack:
///
/// | a peer sends | and gets | bounded by |
/// |---|---|---|
/// | requests and resets them (rapid reset) | GOAWAY `ENHANCE_YOUR_CALM` | [`max_pending_resets`](Self::max_pending_resets) |
/// | frames that make the server reset (`MadeYouReset`) | GOAWAY `ENHANCE_YOUR_CALM` | [`max_error_resets`](Self::max_error_resets) |
/// | CONTINUATION without end, an HPACK bomb | 431, then GOAWAY | [`max_header_list`](Self::max_header_list) |
/// | DATA without data | GOAWAY `ENHANCE_YOUR_CALM` | 100 frames (h2) |
/// | DATA of a few bytes that nobody reads | GOAWAY `ENHANCE_YOUR_CALM` | half of [`connection_window`](Self::connection_window), 256 bytes a frame (h2) |
/// | PING or SETTINGS and reads no answer | nothing: it is not read either | one answer at a time (h2) |
/// | `WINDOW_UPDATE` beyond 2³¹ − 1 | `RST_STREAM` or GOAWAY `FLOW_CONTROL_ERROR` | – |
/// | requests for large pages and reads none | nothing more | [`max_streams`](Self::max_streams) × [`send_buffer`](Self::send_buffer) |
/// | nothing at all | the connection's end | [`ping_every`](Self::ping_every), [`pong_within`](Self::pong_within) |
///
/// A connection that does nothing but this costs less than 2 MiB; each WebSocket on it has the memory of its
/// [`Limits`](crate::Limits) and, while its peer does not read, up to 160 KiB under way.
///
/// What hyper has no limit for is the server's own: the time in which a connection says its first bytes (those that tell the
/// versions of HTTP apart), how long it may be open without a request, and how many connections there are.
///
/// The TCP stream wants `set_nodelay(true)`. Without it the peer's delayed acknowledgements hold replies back by 40 ms:
/// where a plain upgrade takes the stream over and sets it, HTTP/2 keeps it.
///
/// ```
/// use hyper_util::{rt::TokioExecutor, server::conn::auto};
/// use sockeye::http2::ServerSettings;
///
/// let mut server = auto::Builder::new(TokioExecutor::new());
/// let mut settings = ServerSettings::default();
/// settings.max_streams = 20;
/// settings.apply_auto(&mut server);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerSettings {
    /// Streams open at once on one connection (`SETTINGS_MAX_CONCURRENT_STREAMS`). Default 100, the least that RFC 9113
    /// advises. Each may be a WebSocket.
    pub max_streams: u32,
    /// Bytes that a peer may send on one stream before they are read. Default 256 KiB: 5 MB/s at a round trip of 50 ms.
    pub stream_window: u32,
    /// Bytes that a peer may send on all streams of a connection before they are read. Default 1 MiB.
    ///
    /// Streams whose bytes nobody reads keep their part of it, so that four of them stop all others of the connection.
    ///
    /// h2 ends a connection whose small DATA frames (below 256 bytes) wait unread: at 2,000 with this default, in proportion
    /// with another. A handler that stops reading for long, while its client goes on sending small messages, meets that.
    pub connection_window: u32,
    /// Bytes kept for a stream whose peer does not take them. Default 16 KiB.
    pub send_buffer: usize,
    /// Bytes of a request's headers (`SETTINGS_MAX_HEADER_LIST_SIZE`), 32 more for each. Default 16 KiB.
    pub max_header_list: u32,
    /// Headers of an HTTP/1.1 request. Default 100.
    pub max_headers: usize,
    /// Streams that a peer may have opened and reset before the server has looked at them. Default 20.
    pub max_pending_resets: usize,
    /// Streams that the server may have had to reset because of a peer's errors, in the life of a connection. Default 100.
    pub max_error_resets: usize,
    /// Time without a sign of life after which the peer is asked for one (PING). Default 25 s.
    pub ping_every: Duration,
    /// Time for the answer, then the connection ends. Default 10 s.
    pub pong_within: Duration,
    /// Time for the head of an HTTP/1.1 request. Default 10 s.
    pub head_within: Duration,
}

/// hyper's builder and that of hyper-util have the same methods, and no trait in common.
macro_rules! set_http2 {
    ($settings:expr, $builder:expr) => {
        $builder
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .max_concurrent_streams($settings.max_streams)
            .initial_stream_window_size($settings.stream_window)
            .initial_connection_window_size($settings.connection_window)
            .max_send_buf_size($settings.send_buffer)
            .max_header_list_size($settings.max_header_list)
            .max_pending_accept_reset_streams($settings.max_pending_resets)
            .max_local_error_reset_streams($settings.max_error_resets)
            .keep_alive_interval($settings.ping_every)
            .keep_alive_timeout($settings.pong_within);
    };
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_streams: 100,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            send_buffer: 16 * 1024,
            max_header_list: 16 * 1024,
            max_headers: 100,
            max_pending_resets: 20,
            max_error_resets: 100,
            ping_every: Duration::from_secs(25),
            pong_within: Duration::from_secs(10),
            head_within: Duration::from_secs(10),
        }
    }
}

impl ServerSettings {
    /// Sets a server of HTTP/2 alone, such as one that has asked ALPN.
    pub fn apply<E>(&self, builder: &mut http2::Builder<E>) {
        set_http2!(self, builder);
    }

    /// Sets a server that finds out which HTTP its clients speak. It is to be used with `serve_connection_with_upgrades`.
    pub fn apply_auto<E>(&self, builder: &mut auto::Builder<E>) {
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_within)
            .max_headers(self.max_headers)
            // hyper takes no less than 8 KiB.
            .max_buf_size((self.max_header_list as usize).max(8 * 1024));
        let mut http2 = builder.http2();
        set_http2!(self, http2);
    }
}
