//! One TCP connection while it speaks HTTP: pages are answered, a WebSocket leaves for its demo.
use std::{
    any::Any,
    io::{self, Cursor},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use sockeye::{
    Error, HandshakeLimits, HttpRequest, Refusal,
    proto::handshake::{BodyLength, is_plain_path, is_upgrade, write_response},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Chain, Join},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, timeout},
};
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::{
    Site,
    admission::Ticket,
    api::http1::{self, Answered},
    http2::{self, PREFACE},
    pages,
    pipe::{
        self, Answer, Streaming,
        http1::{Lent, Writing},
    },
    routes::Routes,
    sockjs::{self, Door},
    talk::Io,
    tls::{self, Acceptor},
    worker::Worker,
};

/// Requests answered on one connection before it is closed.
const MAX_REQUESTS: usize = 1_000;
/// Time for a client to hear that not all of its request is wanted.
const LINGER: Duration = Duration::from_secs(2);

/// Answers requests until the connection closes, or becomes a WebSocket or one of HTTP/2, which have tasks of their own:
/// this one may be dropped when the server stops.
pub(crate) async fn serve(stream: TcpStream, worker: Worker, ticket: Ticket) {
    // Whoever comes has shaken hands and asked for something by then, however many layers that takes.
    let deadline = Instant::now() + worker.handshake_limits().timeout;
    let limits = worker.handshake_limits();
    let ended = match worker.tls() {
        None => match sniff(stream, until(deadline, limits)).await {
            Ok(Start::Http1(stream, start)) => exchange(stream, start, &worker, ticket, (deadline, 1)).await,
            Ok(Start::Http2(stream)) => return http2::spawn(stream, worker, ticket, deadline),
            Err(error) => Err(error),
        },
        Some(tls) => match encrypt(stream, tls, until(deadline, limits)).await {
            Ok(stream) if tls::is_http2(&stream) => return http2::spawn(stream, worker, ticket, deadline),
            Ok(stream) => exchange(stream, Bytes::new(), &worker, ticket, (deadline, 1)).await,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = ended {
        debug!(code = error.code(), "connection ended: {error}");
    }
}

/// What a connection in the clear begins with.
enum Start {
    /// Anything else, and what was read of it.
    Http1(TcpStream, Bytes),
    /// The preface of HTTP/2, which is there to be read again.
    Http2(Join<Chain<Cursor<Bytes>, OwnedReadHalf>, OwnedWriteHalf>),
}

/// Reads until it is clear which HTTP it is, by the bytes that no request of HTTP/1.1 has.
async fn sniff(stream: TcpStream, limits: HandshakeLimits) -> Result<Start, Error> {
    let mut start = BytesMut::new();
    let reading = async {
        loop {
            stream.readable().await?;
            match read_now(&stream, &mut start) {
                Ok(0) => break,
                // A request of HTTP/1.1 that is a GET is seen at its first byte.
                Ok(_) if start.len() >= PREFACE.len() || !PREFACE.starts_with(&start) => break,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(())
    };
    // Whoever is too late is told so by the reader of HTTP/1.1, if it said anything.
    timeout(limits.timeout, reading).await.unwrap_or(Ok(()))?;
    let start = start.freeze();
    if !start.starts_with(PREFACE) {
        return Ok(Start::Http1(stream, start));
    }
    // As a WebSocket's messages: written when they are whole.
    stream.set_nodelay(true)?;
    let (reading, writing) = stream.into_split();
    Ok(Start::Http2(tokio::io::join(Cursor::new(start).chain(reading), writing)))
}

/// Takes what is there, on the stack: whoever has said nothing yet has no buffer.
fn read_now(stream: &TcpStream, start: &mut BytesMut) -> io::Result<usize> {
    let mut input = [0; 2_048];
    let count = stream.try_read(&mut input)?;
    start.extend_from_slice(&input[..count]);
    Ok(count)
}

/// The TLS handshake. The stream is boxed, because rustls' state is a kilobyte that every future on its way would have
/// room for.
async fn encrypt(
    stream: TcpStream,
    tls: &Acceptor,
    limits: HandshakeLimits,
) -> Result<Box<TlsStream<TcpStream>>, Error> {
    let handshake = async {
        let mut first = [0];
        // TLS begins with a record of type 22. What begins like a method of HTTP mistook the port.
        if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
            return Ok(Err(stream));
        }
        io::Result::Ok(Ok(Box::new(tls.accept(stream).await?)))
    };
    let plain = match timeout(limits.timeout, handshake).await.map_err(io::Error::from)?? {
        Ok(stream) => return Ok(stream),
        Err(plain) => plain,
    };
    // So it is told in its own language.
    let http = HttpRequest::read(plain, Bytes::new(), &limits).await?;
    let refusal = Refusal::with_status(StatusCode::BAD_REQUEST);
    Err(http.reject(refusal.reason_text("this port speaks TLS: use https:// or wss://")).await)
}

async fn exchange(
    mut stream: impl Io,
    start: Bytes,
    worker: &Worker,
    ticket: Ticket,
    (deadline, first): (Instant, usize),
) -> Result<(), Error> {
    let mut rest = start;
    let mut limits = until(deadline, worker.handshake_limits());
    for served in first..=MAX_REQUESTS {
        let http = HttpRequest::read_lenient(stream, rest, &limits).await?;
        limits = worker.handshake_limits();
        let begun = match sockjs::begin(http.request(), ticket.address(), worker) {
            Some(sockjs::Begun::WebSocket(door)) => return upgrade(http, &door, worker, ticket).await,
            Some(sockjs::Begun::Call(begun)) => Some(begun),
            None => {
                if let Some(refusal) = unusual(http.request()) {
                    return Err(http.reject(refusal).await);
                }
                pipe::begin(http.request(), ticket.address(), worker)
            }
        };
        if let Some(begun) = begun {
            let last = wants_close(http.request()) || served == MAX_REQUESTS;
            let (request, mut io, read) = http.into_parts();
            let (answer, read) = pipe::http1::answer(&request, &mut io, read, begun, worker).await?;
            let response = match answer {
                Answer::Full(response) => response,
                Answer::Stream(answer) => {
                    let next = (!last).then_some(served + 1);
                    stream_on(io, (answer, request.version()), read.unwrap_or_default(), worker, ticket, next);
                    return Ok(());
                }
            };
            let Some(next) = give(&mut io, Answered { response, rest: read }, last, limits.timeout).await? else {
                break;
            };
            (stream, rest) = (io, next);
            continue;
        }
        if http.is_upgrade() {
            let Some(service) = worker.demos().routes().socket(http.request().uri().path()) else {
                return Err(http.reject(Refusal::not_found()).await);
            };
            return upgrade(http, &Door::of(service), worker, ticket).await;
        }
        let last = wants_close(http.request()) || served == MAX_REQUESTS || worker.stop().is_cancelled();
        if let Some(api) = worker.api(http.request().uri().path()) {
            let (request, mut io, read) = http.into_parts();
            let answered = http1::answer(&request, &mut io, read, (api, ticket.address()), worker).await?;
            let Some(next) = give(&mut io, answered, last, limits.timeout).await? else { break };
            (stream, rest) = (io, next);
            continue;
        }
        let answer = match answer(http.request(), worker.demos().routes(), worker.stop().is_cancelled()) {
            Ok(answer) => answer,
            Err(refusal) => return Err(http.reject(refusal).await),
        };
        (_, stream, rest) = http.into_parts();
        // Whoever does not take the answer is as slow as whoever does not finish the request.
        timeout(limits.timeout, write(&mut stream, answer, last)).await.map_err(io::Error::from)??;
        if last {
            break;
        }
    }
    Ok(())
}

/// Writes a response that takes its time in a task of its own: this one has the size of an HTTP exchange, and ends when the server
/// stops. Then the connection goes on with its `next` request, if there may be one.
fn stream_on(
    stream: impl Io,
    (mut answer, version): (Streaming, Version),
    ahead: Bytes,
    worker: &Worker,
    ticket: Ticket,
    next: Option<usize>,
) {
    set_nodelay(&stream);
    if next.is_none() {
        answer.head.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let (worker, time) = (worker.clone(), worker.handshake_limits().timeout);
    let tasks = worker.tasks.clone();
    let mut stream = Some(stream);
    let plain = (&mut stream as &mut dyn Any).downcast_mut().and_then(Option::<TcpStream>::take);
    if let Some(socket) = plain {
        let writing = Writing::lending(socket, (answer, version), ahead, time);
        tasks.spawn_local(async move {
            let written = writing.await.and_then(|(Lent(socket), ahead)| {
                // Its conversation has let go of it by now.
                Ok((Arc::into_inner(socket).ok_or(io::ErrorKind::NotConnected)?, ahead))
            });
            after_stream(written, worker, ticket, (next, time)).await;
        });
    } else if let Some(stream) = stream {
        let writing = Writing::new(stream, (answer, version), ahead, time);
        tasks.spawn_local(async move { after_stream(writing.await, worker, ticket, (next, time)).await });
    }
}

/// What becomes of a connection on which a response has been written.
async fn after_stream(
    written: io::Result<(impl Io, Bytes)>,
    worker: Worker,
    ticket: Ticket,
    (next, time): (Option<usize>, Duration),
) {
    let ended = match written {
        Ok((mut stream, _)) if next.is_none() || worker.stop().is_cancelled() => {
            // TLS says its own goodbye, without which the answer could have been cut short by somebody else.
            timeout(time, stream.shutdown()).await.unwrap_or_else(|late| Err(late.into())).map_err(Error::from)
        }
        Ok((stream, ahead)) => go_on(stream, ahead, worker, ticket, next.unwrap_or(MAX_REQUESTS)).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = ended {
        debug!(code = error.code(), "connection ended: {error}");
    }
}

/// In a box, as the first requests are.
fn go_on(
    stream: impl Io,
    start: Bytes,
    worker: Worker,
    ticket: Ticket,
    next: usize,
) -> Pin<Box<dyn Future<Output = Result<(), Error>>>> {
    Box::pin(async move {
        let deadline = Instant::now() + worker.handshake_limits().timeout;
        let stop = worker.stop().clone();
        stop.run_until_cancelled(exchange(stream, start, &worker, ticket, (deadline, next))).await.unwrap_or(Ok(()))
    })
}

/// What is written to a client that waits for it leaves at once.
fn set_nodelay(stream: &dyn Any) {
    let tls = stream.downcast_ref::<Box<TlsStream<TcpStream>>>().map(|stream| stream.get_ref().0);
    if let Some(stream) = stream.downcast_ref::<TcpStream>().or(tls) {
        // A socket on which that fails, fails.
        let _ = stream.set_nodelay(true);
    }
}

/// Gives an answer of the API, and what was read beyond the request if another may follow.
async fn give(stream: &mut impl Io, answered: Answered, last: bool, time: Duration) -> io::Result<Option<Bytes>> {
    let Answered { response, rest } = answered;
    let (head, body) = response.into_parts();
    let is_unread = rest.is_none();
    let rest = rest.filter(|_| !last);
    let answer = (Response::from_parts(head, ()), body);
    timeout(time, write(stream, answer, rest.is_none())).await??;
    if is_unread {
        // A socket that is closed with unread input is reset, and the answer may be lost on its way.
        let mut unread = vec![0; 16 * 1024];
        let drain = async {
            while stream.read(&mut unread).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = timeout(LINGER, drain).await;
    }
    Ok(rest)
}

/// The limits with what is left of the time.
fn until(deadline: Instant, mut limits: HandshakeLimits) -> HandshakeLimits {
    limits.timeout = deadline.saturating_duration_since(Instant::now());
    limits
}

/// Shakes hands and hands the socket to a task of its own, since this one has the size of an HTTP exchange.
async fn upgrade(http: HttpRequest<impl Io>, door: &Door, worker: &Worker, ticket: Ticket) -> Result<(), Error> {
    let handshake = http.handshake(door.config(worker)).await?;
    match worker.seat(door.service).await {
        Ok(seat) => door.host(worker, seat, handshake.accept().await?, ticket),
        Err(refusal) => return Err(handshake.reject(refusal).await),
    }
    Ok(())
}

/// The answer to a plain request, as head and body.
pub(crate) fn answer<B>(
    request: &Request<B>,
    routes: Routes,
    is_stopping: bool,
) -> Result<(Response<()>, Bytes), Refusal> {
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
    let (mut response, body) = if let Some(health) = health(routes.site, path, is_stopping) {
        health
    } else if let Some((response, body)) = routes.page(path).and_then(|file| pages::respond(request, file)) {
        (response, body)
    } else {
        return Err(Refusal::not_found());
    };
    if !head_only || response.status() == StatusCode::NOT_MODIFIED {
        return Ok((response, body));
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
    Ok((response, Bytes::new()))
}

/// Whether the server is alive, and whether it takes new work.
fn health(site: Site, path: &str, is_stopping: bool) -> Option<(Response<()>, Bytes)> {
    let is_well = match (site, path) {
        (Site::Server, "/health" | "/live") => true,
        (Site::Server, "/ready") => !is_stopping,
        _ => return None,
    };
    let (status, body) = if is_well {
        (StatusCode::OK, Bytes::from_static(b"{\"status\":\"ok\"}"))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"{\"status\":\"stopping\"}"))
    };
    let mut response = Response::new(());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some((response, body))
}

/// What only SockJS has a use for: its conformance tests want HTTP/1.0, and 404 for paths that are not plain.
fn unusual(request: &Request<()>) -> Option<Refusal> {
    if request.version() == Version::HTTP_10 {
        let refusal = Refusal::with_status(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
        return Some(refusal.reason_text("only HTTP/1.1 is spoken here"));
    }
    let refusal = || Refusal::with_status(StatusCode::BAD_REQUEST).reason_text("the path is not a plain one");
    (!is_plain_path(request.uri().path())).then(refusal)
}

/// Those of HTTP/1.0 are not kept, whatever they say; nor is one on which a WebSocket was refused, as its client may go on as if
/// it had not been.
fn wants_close(request: &Request<()>) -> bool {
    if request.version() == Version::HTTP_10 || is_upgrade(request) {
        return true;
    }
    let options = request.headers().get_all(header::CONNECTION).into_iter();
    options
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("close"))
}

async fn write(stream: &mut impl Io, answer: (Response<()>, Bytes), last: bool) -> io::Result<()> {
    let (mut response, body) = answer;
    if last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let mut bytes = BytesMut::new();
    write_response(&response, &body, &mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    if last {
        // TLS says its own goodbye, without which the answer could have been cut short by somebody else.
        stream.shutdown().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack line J17.
    #[test]
    fn a_server_that_stops_is_alive_and_not_ready() {
        let routes = Routes { site: Site::Server, page: true, demos: true };
        for (path, is_stopping, status) in
            [("/health", true, 200), ("/live", true, 200), ("/ready", false, 200), ("/ready", true, 503)]
        {
            let request = Request::get(path).body(()).unwrap();
            let (response, _) = answer(&request, routes, is_stopping).unwrap();
            assert_eq!(response.status(), status, "{path}");
        }
    }
}
