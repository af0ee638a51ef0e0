//! A server built on hyper as we advise it, and the ways to reach it.
use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use sockeye::{
    Client, CloseCode, Config, Error, OriginPolicy, Refusal, ServerConfig, Subprotocol, SubprotocolPolicy, Transport,
    UpgradeRequest, WebSocket, http2::ServerSettings,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};

use super::{KIB, MIB, up_to};

/// Where it listens, and what its slow paths wait for.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// `/slow` receives a message for each permit.
    pub(crate) may_read: Arc<Semaphore>,
    /// How the sockets of `/watch` ended: a close code, or an error's name.
    pub(crate) ends: mpsc::UnboundedReceiver<String>,
}

/// What the paths need of the server.
#[derive(Clone)]
struct Shared {
    may_read: Arc<Semaphore>,
    ends: mpsc::UnboundedSender<String>,
}

/// Which HTTP a client speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Http {
    One,
    Two,
}

pub(crate) const BOTH: [Http; 2] = [Http::One, Http::Two];

impl Server {
    pub(crate) async fn start() -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        ServerSettings::default().apply_auto(&mut builder);
        Self::start_with(builder).await
    }

    /// Speaks HTTP/1.1 and HTTP/2 on one port, until the test's runtime ends.
    pub(crate) async fn start_with(builder: auto::Builder<TokioExecutor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let may_read = Arc::new(Semaphore::new(0));
        let (ended, ends) = mpsc::unbounded_channel();
        let shared = Shared { may_read: Arc::clone(&may_read), ends: ended };
        let builder = Arc::new(builder);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (builder, shared) = (Arc::clone(&builder), shared.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, shared.clone()));
                    // What peers do wrong is seen by them.
                    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, may_read, ends }
    }

    pub(crate) fn client(&self, path: &str) -> Client {
        Client::new(&format!("ws://{}{path}", self.address)).unwrap().config(up_to(8 * MIB))
    }

    pub(crate) async fn connect(&self, http: Http, path: &str) -> Result<WebSocket<Transport>, Error> {
        self.open(http, self.client(path)).await
    }

    pub(crate) async fn open(&self, http: Http, client: Client) -> Result<WebSocket<Transport>, Error> {
        match http {
            Http::One => client.connect().await,
            Http::Two => client.connect_http2_over(TcpStream::connect(self.address).await.unwrap()).await,
        }
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(mut request: Request<Incoming>, shared: Shared) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    let config = config(&path);
    if !sockeye::is_upgrade(&request) && path == "/page" {
        return Ok(Response::new("a page".into()));
    }
    let result = match &*path {
        "/echo" | "/same" | "/chat" => serve(&mut request, &config, echo),
        "/close" => serve(&mut request, &config, close),
        "/drop" => serve(&mut request, &config, |_| async {}),
        "/slow" => serve(&mut request, &config, |socket| slow(socket, shared.may_read)),
        "/flood" => serve(&mut request, &config, flood),
        "/watch" => serve(&mut request, &config, |socket| watch(socket, shared.ends)),
        "/late" => late(&mut request, &config).await,
        "/never" => std::future::pending().await,
        "/busy" => UpgradeRequest::new(&mut request)
            .map(|it| {
                it.reject(
                    Refusal::with_status(StatusCode::SERVICE_UNAVAILABLE)
                        .header("retry-after".parse().unwrap(), 7.into()),
                )
            })
            .and_then(Err),
        _ => Err(UpgradeRequest::new(&mut request).map_or_else(|it| it, |it| it.reject(Refusal::not_found()))),
    };
    Ok(result.unwrap_or_else(Into::into))
}

fn config(path: &str) -> ServerConfig {
    let mut config = ServerConfig::default();
    match path {
        "/same" => config.origins = OriginPolicy::same(),
        "/chat" => config.subprotocols = SubprotocolPolicy::required([Subprotocol::new("chat").unwrap()]),
        _ => {}
    }
    config.connection = Arc::new(if path == "/slow" { Config::default() } else { up_to(8 * MIB) });
    config
}

fn serve<B, F>(
    request: &mut Request<B>,
    config: &ServerConfig,
    handle: impl FnOnce(WebSocket<Transport>) -> F + Send + 'static,
) -> Result<Answer, Refusal>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (response, upgrade) = sockeye::upgrade(request, config)?;
    tokio::spawn(async move {
        if let Ok(socket) = upgrade.await {
            handle(socket).await;
        }
    });
    Ok(response.map(|()| Full::default()))
}

/// Answers in a task, after some turns of the runtime, as one that asks a database does.
async fn late(request: &mut Request<Incoming>, config: &ServerConfig) -> Result<Answer, Refusal> {
    let handshake = UpgradeRequest::new(request)?;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let (mut response, upgrade) = handshake.accept(config)?;
    response.headers_mut().insert("x-room", 1.into());
    tokio::spawn(async move {
        if let Ok(socket) = upgrade.await {
            echo(socket).await;
        }
    });
    Ok(response.map(|()| Full::default()))
}

async fn echo(mut socket: WebSocket<Transport>) {
    while let Ok(Some(message)) = socket.recv().await {
        if socket.feed(message).await.is_err() {
            return;
        }
    }
}

async fn close(mut socket: WebSocket<Transport>) {
    let _ = socket.close(CloseCode::TRY_AGAIN_LATER, "later").await;
}

async fn slow(mut socket: WebSocket<Transport>, may_read: Arc<Semaphore>) {
    loop {
        may_read.acquire().await.unwrap().forget();
        let Ok(Some(_)) = socket.recv().await else { return };
    }
}

/// Messages of `/flood`, and the bytes of each.
pub(crate) const FLOOD: (usize, usize) = (256, 64 * KIB);

async fn flood(mut socket: WebSocket<Transport>) {
    for _ in 0..FLOOD.0 {
        if socket.send(vec![7; FLOOD.1]).await.is_err() {
            return;
        }
    }
    close(socket).await;
}

async fn watch(mut socket: WebSocket<Transport>, ends: mpsc::UnboundedSender<String>) {
    let end = loop {
        match socket.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => break socket.close_outcome().unwrap().code().to_string(),
            Err(error) => break error.code().to_owned(),
        }
    };
    // A test that has ended does not care.
    let _ = ends.send(end);
}
