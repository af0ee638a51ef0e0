//! WebSocket as a service of tower.
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{ServerConfig, Transport, WebSocket, is_upgrade, upgrade};

/// A [`Service`] that answers opening handshakes, over HTTP/1.1 and HTTP/2, and passes all other requests on to `inner`.
///
/// For each socket the handler is called in a task of its own, with the head of the request. Which paths there are is
/// `inner`'s and the handler's affair; a router that chooses by path stands before this service.
///
/// ```
/// use hyper_util::service::TowerToHyperService;
/// use sockeye::{ServerConfig, Transport, UpgradeService, WebSocket};
///
/// # fn show<S>(pages: S)
/// # where
/// #     S: tower_service::Service<http::Request<hyper::body::Incoming>, Response = http::Response<String>> + Clone,
/// # {
/// let echo = async |head: http::Request<()>, mut socket: WebSocket<Transport>| {
///     println!("{} is open", head.uri().path());
///     while let Ok(Some(message)) = socket.recv().await {
///         if socket.send(message).await.is_err() {
///             return;
///         }
///     }
/// };
/// let service = UpgradeService::new(pages, ServerConfig::default(), echo);
/// // hyper has a trait of its own for services.
/// let service = TowerToHyperService::new(service);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct UpgradeService<S, H> {
    inner: S,
    config: Arc<ServerConfig>,
    handler: H,
}

impl<S, H> UpgradeService<S, H> {
    /// Accepts on these terms; `handler` gets the sockets.
    pub fn new(inner: S, config: impl Into<Arc<ServerConfig>>, handler: H) -> Self {
        Self { inner, config: config.into(), handler }
    }
}

impl<S, H, F, B, R> Service<Request<B>> for UpgradeService<S, H>
where
    S: Service<Request<B>, Response = Response<R>>,
    H: FnOnce(Request<()>, WebSocket<Transport>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
    R: Default + From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = UpgradeFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if !is_upgrade(&request) {
            return UpgradeFuture { answer: Answer::Inner { future: self.inner.call(request) } };
        }
        let response = match upgrade(&mut request, &self.config) {
            Ok((response, upgrade)) => {
                let (handler, head) = (self.handler.clone(), request.map(|_| ()));
                tokio::spawn(async move {
                    // A client that has left before it was answered has no socket.
                    if let Ok(socket) = upgrade.await {
                        handler(head, socket).await;
                    }
                });
                response.map(|()| R::default())
            }
            Err(refusal) => refusal.into(),
        };
        UpgradeFuture { answer: Answer::Here { response: Some(response) } }
    }
}

pin_project! {
    /// The response to come of an [`UpgradeService`].
    #[derive(Debug)]
    pub struct UpgradeFuture<F, R> {
        #[pin]
        answer: Answer<F, R>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Answer<F, R> {
        Here { response: Option<Response<R>> },
        Inner { #[pin] future: F },
    }
}

impl<F, R, E> Future for UpgradeFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().answer.project() {
            Projected::Inner { future } => future.poll(cx),
            Projected::Here { response } => response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
        }
    }
}
