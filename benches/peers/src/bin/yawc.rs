//! yawc, tuned as in its own benchmark: 64 KiB to read into (128 there, which cost more here), 64 KiB before it writes,
//! replies that wait go out together. zlib-rs, from a pool, as its documentation advises without context takeover.
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use peers::{MAX_MESSAGE, Mode, echo, serve};
use std::future::ready;
use yawc::{CompressionLevel, DeflatePool, Frame, HttpStream, OpCode, Options, WebSocket, WebSocketError};

fn main() -> std::io::Result<()> {
    let options = options(Mode::of_arguments(&[Mode::Echo, Mode::Large, Mode::Idle, Mode::Deflate]));
    serve(move |stream| {
        let options = options.clone();
        let service = service_fn(move |request| ready(handshake(request, options.clone())));
        async move {
            // How a connection ended is no matter here.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        }
    })
}

fn options(mode: Mode) -> Options {
    let options = Options::default().with_limits(MAX_MESSAGE, 2 * MAX_MESSAGE).with_utf8();
    let fast = |options: Options| options.with_read_buffer_capacity(64 * 1024).with_backpressure_boundary(64 * 1024);
    match mode {
        Mode::Idle => options.with_read_buffer_capacity(512).with_write_buffer_capacity(512),
        Mode::Deflate => fast(options)
            .with_compression_level(CompressionLevel::fast())
            .server_no_context_takeover()
            .client_no_context_takeover()
            .with_deflate_pool(DeflatePool::new(4)),
        Mode::Echo | Mode::Large | Mode::Broadcast => fast(options),
    }
}

fn handshake(mut request: Request<Incoming>, options: Options) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgrade) = WebSocket::<HttpStream>::upgrade_with_options(&mut request, options)?;
    tokio::task::spawn_local(async {
        if let Ok(socket) = upgrade.await {
            echo(socket.map(Ok::<Frame, WebSocketError>), is_data).await;
        }
    });
    Ok(response)
}

fn is_data(frame: &Frame) -> bool {
    matches!(frame.opcode(), OpCode::Text | OpCode::Binary)
}
