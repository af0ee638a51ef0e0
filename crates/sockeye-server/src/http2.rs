//! HTTP/2 on the same port: pages by the same answers, and each WebSocket a stream (RFC 8441).
//!
//! hyper speaks HTTP/2, with the limits of [`ServerSettings`]: its `max_streams` is how many WebSocket streams one
//! connection can have. Everything that runs for a connection is among its worker's tasks: the connection itself, its
//! streams, and what became of them in the demos.
mod bodies;

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    rt::Executor,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use sockeye::{Refusal, UpgradeRequest, http2::ServerSettings, proto::handshake::is_plain_path};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::TaskTracker;
use tracing::debug;

pub(crate) use self::bodies::Bodies;
use crate::{
    admission::Ticket,
    api::{Api, BODY_TIMEOUT, MAX_BODY, Refused, without_body},
    dialect::ErrorCode,
    exchange::answer,
    pipe::{self, http2::Outgoing},
    sockjs::{self, Door},
    talk::Io,
    worker::Worker,
};

/// What a client begins with that knows that the server speaks HTTP/2 (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection without a WebSocket that asks for nothing this long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Time for a connection that has been idle to take our goodbye, and what it had asked for.
const GOODBYE: Duration = Duration::from_secs(5);

/// One TCP connection: counted once at the door, whatever goes on inside, until the last of it has ended.
#[derive(Debug)]
struct Visit {
    /// That have come.
    requests: AtomicU64,
    /// That are open.
    sockets: AtomicUsize,
    bodies: Bodies,
    ticket: Ticket,
}

/// One WebSocket of a visit, or one response that is written for a while, until dropped.
#[derive(Debug)]
struct Place(Arc<Visit>);

/// Serves a connection in a task of its own. By the deadline it has to have asked for something.
pub(crate) fn spawn(stream: impl Io, worker: Worker, ticket: Ticket, deadline: Instant) {
    worker.tasks.clone().spawn_local(async move { serve(stream, &worker, ticket, deadline).await });
}

/// Answers streams until the client leaves, has nothing to ask for a while, or the server stops.
async fn serve(stream: impl Io, worker: &Worker, ticket: Ticket, deadline: Instant) {
    let (requests, sockets) = (AtomicU64::new(0), AtomicUsize::new(0));
    let visit = Arc::new(Visit { requests, sockets, bodies: Bodies::default(), ticket });
    let mut builder = http2::Builder::new(Tasks(worker.tasks.clone()));
    ServerSettings::default().apply(&mut builder);
    let service = service_fn(|request| {
        visit.requests.fetch_add(1, Ordering::Relaxed);
        let (worker, visit) = (worker.clone(), Arc::clone(&visit));
        async move {
            if !names_one_host(&request) {
                return Ok(respond(request, &worker, &visit).await.map(Outgoing::Full));
            }
            let api = worker.api(request.uri().path()).filter(|_| request.method() != Method::CONNECT).cloned();
            let from = visit.ticket.address();
            let begun = match sockjs::begin(&request, from, &worker) {
                Some(sockjs::Begun::Call(begun)) => Some(begun),
                None if is_plain_target(request.uri()) => pipe::begin(&request, from, &worker),
                // A WebSocket has a method of its own here, and goes another way.
                Some(sockjs::Begun::WebSocket(_)) | None => None,
            };
            if let Some(begun) = begun {
                let held = Box::new(Place::of(&visit));
                return Ok(pipe::http2::answer(request.into_body(), begun, held, (&visit.bodies, &worker)).await);
            }
            Ok::<_, Infallible>(match api {
                Some(api) => call(request, &api, &visit, &worker).await.map(Outgoing::full),
                None => respond(request, &worker, &visit).await.map(Outgoing::Full),
            })
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = worker.stop().cancelled() => {
            // GOAWAY; the WebSockets are told by their demos, and stopping has a bound of its own.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = visit.is_idle(deadline) => {
            connection.as_mut().graceful_shutdown();
            timeout(GOODBYE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!("HTTP/2 connection ended: {error}");
    }
}

impl Visit {
    /// Ready if nothing was asked for by the deadline, or after [`IDLE`] without a request and without a WebSocket. That the
    /// client still answers pings is no reason to keep it.
    async fn is_idle(&self, deadline: Instant) {
        sleep_until(deadline).await;
        let mut seen = 0;
        loop {
            let requests = self.requests.load(Ordering::Relaxed);
            if requests == seen && self.sockets.load(Ordering::Relaxed) == 0 {
                return;
            }
            seen = requests;
            sleep(IDLE).await;
        }
    }
}

impl Place {
    fn of(visit: &Arc<Visit>) -> Self {
        visit.sockets.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(visit))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn respond(mut request: Request<Incoming>, worker: &Worker, visit: &Arc<Visit>) -> Response<Full<Bytes>> {
    let head_only = *request.method() == Method::HEAD;
    let response = if !is_plain_target(request.uri()) {
        // As the reader of HTTP/1.1 has it.
        Err(Refusal::with_status(StatusCode::BAD_REQUEST).reason_text("the path is not a plain one"))
    } else if !names_one_host(&request) {
        Err(Refusal::with_status(StatusCode::BAD_REQUEST).reason_text("the request names more than one host"))
    } else if request.method() == Method::CONNECT {
        upgrade(&mut request, worker, visit).await
    } else {
        answer(&request, worker.demos().routes(), worker.stop().is_cancelled()).and_then(|(response, body)| {
            if request.body().is_end_stream() {
                Ok(response.map(|()| Full::new(body)))
            } else {
                Err(Refusal::with_status(StatusCode::BAD_REQUEST).reason_text("a GET request has no body here"))
            }
        })
    };
    response.unwrap_or_else(|refusal| {
        let refusal = if head_only { refusal.without_body() } else { refusal };
        refusal.without_connection_headers().into()
    })
}

/// A request of the API.
async fn call(request: Request<Incoming>, api: &Api, visit: &Visit, worker: &Worker) -> Response<Bytes> {
    let call = match api.begin(&request, visit.ticket.address()) {
        Ok(call) => call,
        Err(refused) => return without_body(request.method(), refused.into_response()),
    };
    let (head, body) = request.into_parts();
    let refused = if !call.takes_body() && !body.is_end_stream() {
        Refused::new(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, "a GET request has no body here")
    } else {
        match visit.bodies.read(body, MAX_BODY, BODY_TIMEOUT).await {
            Ok((body, _share)) => return without_body(&head.method, call.perform(body, worker).await),
            Err(refused) => refused,
        }
    };
    without_body(&head.method, refused.into_response())
}

/// A plain CONNECT names no path, and is refused for what it is.
fn is_plain_target(uri: &Uri) -> bool {
    uri.path_and_query().is_none() || is_plain_path(uri.path())
}

/// Whether `Host`, if it is there, says what `:authority` says (RFC 9113 section 8.3.1): what is decided by one of them shall
/// hold for whoever looks at the other.
fn names_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).into_iter();
    let (host, None) = (hosts.next(), hosts.next()) else { return false };
    host.zip(request.uri().authority())
        .is_none_or(|(host, authority)| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()))
}

/// Accepts an extended CONNECT; its WebSocket goes to a task of its own as soon as hyper lets the stream go.
async fn upgrade(
    request: &mut Request<Incoming>,
    worker: &Worker,
    visit: &Arc<Visit>,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let handshake = UpgradeRequest::new(request)?;
    let path = request.uri().path();
    let own = || worker.demos().routes().socket(path).map(Door::of);
    let door = worker.sockjs().websocket(path).or_else(own).ok_or_else(Refusal::not_found)?;
    let (response, upgrade) = handshake.accept(door.config(worker))?;
    let (seat, place) = (worker.seat(door.service).await?, Place::of(visit));
    let host = worker.clone();
    worker.tasks.spawn_local(async move {
        match upgrade.await {
            Ok(socket) => door.host(&host, seat, socket, place),
            Err(error) => debug!(code = error.code(), "stream ended: {error}"),
        }
    });
    Ok(response.map(|()| Full::default()))
}

/// Spawns what hyper runs for a connection among the worker's tasks.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F: Future<Output = ()> + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn_local(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use sockeye::{Client, CloseCode, OriginPolicy};
    use tokio::{
        io::{AsyncReadExt, DuplexStream, duplex},
        runtime::{Builder, LocalOptions},
    };
    use tokio_util::sync::CancellationToken;

    use crate::{
        Admission, ServerOptions, Site,
        admission::Gate,
        demo::Demos,
        permit::Anybody,
        worker::{Common, plan},
    };

    const DEADLINE: Duration = Duration::from_secs(10);

    /// Runs a test on the clock that stands still, with the client's end of a connection to a server of all demos.
    fn with_connection(test: impl AsyncFnOnce(DuplexStream)) {
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async { test(connection().await).await });
    }

    async fn connection() -> DuplexStream {
        let mut options = ServerOptions::new(Site::Server);
        options.workers = 1;
        let common = Common {
            demos: Arc::new(Demos::new(&options, &OriginPolicy::any()).unwrap()),
            hub: Arc::default(),
            sockjs: Arc::default(),
            tls: None,
            stop: CancellationToken::new(),
        };
        let worker = plan(&options, &common, Arc::new(Anybody)).unwrap().remove(0).begin();
        let visit = Gate::new(Admission::default()).admit([127, 0, 0, 1].into(), Instant::now().into_std()).unwrap();
        let (client, server) = duplex(64 * 1024);
        spawn(server, worker, visit.wait_for_room().await, Instant::now() + DEADLINE);
        client
    }

    #[test]
    fn who_asks_for_nothing_is_sent_away() {
        for asks in [false, true] {
            with_connection(async |stream| {
                let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
                let (start, connection) = (Instant::now(), tokio::spawn(connection));
                if asks {
                    let request = Request::get("http://a/health").body(()).unwrap();
                    let (response, _) = send.send_request(request, true).unwrap();
                    assert_eq!(response.await.unwrap().status(), 200);
                }
                connection.await.unwrap().expect("GOAWAY without an error");
                let stayed = if asks { DEADLINE + IDLE } else { DEADLINE };
                assert!((stayed..stayed + GOODBYE).contains(&start.elapsed()), "{:?}", start.elapsed());
            });
        }
    }

    /// After TLS has agreed on HTTP/2, not even a preface.
    #[test]
    fn who_says_nothing_is_dropped() {
        with_connection(async |mut client| {
            let start = Instant::now();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            assert!((DEADLINE..=DEADLINE + GOODBYE).contains(&start.elapsed()), "{:?}", start.elapsed());
        });
    }

    #[test]
    fn who_has_a_websocket_may_stay() {
        with_connection(async |stream| {
            let client = Client::new("ws://a/echo").unwrap();
            let mut socket = client.connect_http2_over(stream).await.unwrap();
            assert!(timeout(IDLE * 10, socket.recv()).await.is_err(), "it is still open");
            socket.send("x").await.unwrap();
            assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("x"));
            assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().is_clean());
        });
    }

    /// What nobody reads is no reason to keep the connection either: a page, and the one frame of a poll, which hyper
    /// has taken and keeps until there is room.
    #[test]
    fn who_takes_no_answer_is_dropped() {
        for path in ["", "ws/poll"] {
            with_connection(async |stream| {
                let connecting = h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream);
                let (mut send, connection) = connecting.await.unwrap();
                let (start, connection) = (Instant::now(), tokio::spawn(connection));
                let request = Request::get(format!("http://a/{path}")).body(()).unwrap();
                let (response, _) = send.send_request(request, true).unwrap();
                let response = response.await.unwrap();
                assert_eq!(response.status(), 200, "/{path}");
                let body = response.into_body();
                let ended = timeout(IDLE * 10, connection).await;
                assert!(ended.is_ok(), "/{path}: it is still open");
                let took = start.elapsed();
                assert!((IDLE..=DEADLINE + IDLE + GOODBYE).contains(&took), "/{path}: {took:?}");
                drop(body);
            });
        }
    }
}
