//! One TCP connection while it speaks HTTP: pages are answered, a WebSocket leaves for its demo.
use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use sockeye::{
    Error, HttpRequest, Refusal, ServerConfig,
    proto::handshake::{BodyLength, write_response},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tracing::debug;

use crate::{Demo, Site, admission::Ticket, demo::Demos, pages, worker::Worker};

/// Requests answered on one connection before it is closed.
const MAX_REQUESTS: usize = 1_000;

/// Answers requests until the connection closes or becomes a WebSocket.
pub(crate) async fn serve(stream: TcpStream, worker: Worker, ticket: Ticket) {
    if let Err(error) = exchange(stream, &worker, ticket).await {
        debug!(code = error.code(), "connection ended: {error}");
    }
}

async fn exchange(mut stream: TcpStream, worker: &Worker, ticket: Ticket) -> Result<(), Error> {
    let demos = &worker.demos;
    let mut rest = Bytes::new();
    for served in 1..=MAX_REQUESTS {
        let http = HttpRequest::read(stream, rest, &demos.handshake_limits()).await?;
        if http.is_upgrade() {
            return upgrade(http, worker, ticket).await;
        }
        let answer = match answer(http.request(), demos.site()) {
            Ok(answer) => answer,
            Err(refusal) => return Err(http.reject(refusal).await),
        };
        let last = wants_close(http.request()) || served == MAX_REQUESTS || worker.stop.is_cancelled();
        (_, stream, rest) = http.into_parts();
        // Whoever does not take the answer is as slow as whoever does not finish the request.
        let limit = demos.handshake_limits().timeout;
        timeout(limit, write(&mut stream, answer, last)).await.map_err(io::Error::from)??;
        if last {
            break;
        }
    }
    Ok(())
}

/// Shakes hands and hands the socket to a task of its own, since this one has the size of an HTTP exchange.
async fn upgrade(http: HttpRequest<TcpStream>, worker: &Worker, ticket: Ticket) -> Result<(), Error> {
    let Some(demo) = worker.demos.site().socket(http.request().uri().path()) else {
        return Err(http.reject(Refusal::not_found()).await);
    };
    let config: &ServerConfig = worker.demos.config(demo);
    // Tasks that own the socket and lend it: an argument of an `async fn` is kept twice in its future.
    let mut socket = http.handshake(config).await?.accept().await?;
    let stop = worker.stop.clone();
    let demos = Arc::clone(&worker.demos);
    match demo {
        Demo::Echo => worker.tasks.spawn(async move {
            Demos::echo(&mut socket, &stop).await;
            drop(ticket);
        }),
        Demo::Chat => worker.tasks.spawn(async move {
            demos.chat(&mut socket, &stop).await;
            drop(ticket);
        }),
        Demo::Cursors => worker.tasks.spawn(async move {
            demos.cursors(&mut socket, &stop).await;
            drop(ticket);
        }),
    };
    Ok(())
}

/// The answer to a plain request, as head and body.
fn answer(request: &Request<()>, site: Site) -> Result<(Response<()>, Bytes), Refusal> {
    let head_only = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        _ => {
            let refusal = Refusal::with_status(StatusCode::METHOD_NOT_ALLOWED);
            return Err(refusal.header(header::ALLOW, HeaderValue::from_static("GET, HEAD")));
        }
    };
    if request.headers().contains_key(header::EXPECT) {
        return Err(Refusal::with_status(StatusCode::EXPECTATION_FAILED));
    }
    if !matches!(BodyLength::of(request.headers())?, BodyLength::Absent | BodyLength::Known(0)) {
        return Err(Refusal::with_status(StatusCode::BAD_REQUEST).reason_text("a GET request has no body here"));
    }
    let path = request.uri().path();
    let (mut response, body) = if site == Site::Server && path == "/health" {
        (health(), Bytes::from_static(b"{\"status\":\"ok\"}"))
    } else if let Some((response, body)) = site.page(path).and_then(|file| pages::respond(request, file)) {
        (response, Bytes::from(body))
    } else {
        return Err(Refusal::not_found());
    };
    if !head_only || response.status() == StatusCode::NOT_MODIFIED {
        return Ok((response, body));
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
    Ok((response, Bytes::new()))
}

fn health() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn wants_close(request: &Request<()>) -> bool {
    let options = request.headers().get_all(header::CONNECTION).into_iter();
    options
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("close"))
}

async fn write(stream: &mut TcpStream, answer: (Response<()>, Bytes), last: bool) -> io::Result<()> {
    let (mut response, body) = answer;
    if last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let mut bytes = BytesMut::new();
    write_response(&response, &body, &mut bytes);
    stream.write_all(&bytes).await
}
