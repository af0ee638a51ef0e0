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
    sync::Semaphore,
};

use super::{MIB, up_to};

/// Where it listens, and what its slow paths wait for.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// `/slow` receives a message for each permit.
    pub(crate) may_read: Arc<Semaphore>,
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
        let permits = Arc::clone(&may_read);
        let builder = Arc::new(builder);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (builder, permits) = (Arc::clone(&builder), Arc::clone(&permits));
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, Arc::clone(&permits)));
                    // What peers do wrong is seen by them.
                    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, may_read }
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

async fn answer(mut request: Request<Incoming>, may_read: Arc<Semaphore>) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    let config = config(&path);
    if !sockeye::is_upgrade(&request) && path == "/page" {
        return Ok(Response::new("a page".into()));
    }
    let result = match &*path {
        "/echo" | "/same" | "/chat" => serve(&mut request, &config, echo),
        "/close" => serve(&mut request, &config, close),
        "/drop" => serve(&mut request, &config, |_| async {}),
        "/slow" => serve(&mut request, &config, |socket| slow(socket, may_read)),
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
