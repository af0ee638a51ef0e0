use std::{fmt, future::Future, mem, sync::Arc};

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::Response,
};
use http::{Request, StatusCode, request::Parts};
use sockeye::{Config, Error, OriginPolicy, Refusal, ServerConfig, Subprotocol, SubprotocolPolicy, UpgradeRequest};
use tokio_util::task::TaskTracker;

use crate::{Rejection, WebSocket};

/// Extracts an opening handshake that is in order. [`on_upgrade`](Self::on_upgrade) answers it.
///
/// What the other methods are given is checked there, so that calls can be chained.
///
/// ```
/// use axum::{Router, response::Response, routing::any};
/// use sockeye_axum::{WebSocket, WebSocketUpgrade};
///
/// async fn greet(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.on_upgrade(async |mut socket: WebSocket| {
///         // A peer that has left already misses nothing.
///         let _ = socket.send("welcome").await;
///         let _ = socket.close(sockeye::CloseCode::NORMAL, "").await;
///     })
/// }
///
/// let app: Router = Router::new().route("/greet", any(greet));
/// ```
#[must_use = "a handshake that is not answered is no connection"]
pub struct WebSocketUpgrade {
    request: UpgradeRequest,
    config: ServerConfig,
    /// A name given to `protocols` that is none.
    invalid_protocol: bool,
    tasks: Option<TaskTracker>,
    on_failed: Option<OnFailed>,
}

type OnFailed = Box<dyn FnOnce(Error) + Send>;

impl WebSocketUpgrade {
    /// Says which pages may connect (RFC 6455 section 10.2); all of them, if nothing is said.
    pub fn origins(mut self, origins: OriginPolicy) -> Self {
        self.config.origins = origins;
        self
    }

    /// Says which subprotocols are spoken, those preferred first. A client that speaks none of them is connected without
    /// one; [`server_config`](Self::server_config) can refuse it.
    ///
    /// A name that is no token (RFC 6455 section 4.1) is a mistake of the program, and every handshake is answered 500.
    pub fn protocols<I>(mut self, names: I) -> Self
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        match names.into_iter().map(|name| Subprotocol::new(name.as_ref())).collect::<Result<Vec<_>, _>>() {
            Ok(names) => self.config.subprotocols = SubprotocolPolicy::optional(names),
            Err(_) => self.invalid_protocol = true,
        }
        self
    }

    /// Sets limits and keepalive of the connection. An [`Arc`] is shared among all of them.
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config.connection = config.into();
        self
    }

    /// Sets all terms at once, in place of what was set before.
    pub fn server_config(mut self, config: ServerConfig) -> Self {
        self.config = config;
        self
    }

    /// Spawns the socket's task on this tracker, so that a shutdown can wait for it.
    pub fn tracked_by(mut self, tasks: &TaskTracker) -> Self {
        self.tasks = Some(tasks.clone());
        self
    }

    /// Is called instead of the handler's function if the client has left before it was connected, or did not take the
    /// response. Unless it is set, nobody is told.
    pub fn on_failed_upgrade(mut self, callback: impl FnOnce(Error) + Send + 'static) -> Self {
        self.on_failed = Some(Box::new(callback));
        self
    }

    /// The page the connection is made for; browsers say, others may not.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.request.origin()
    }

    /// The host asked for, and its port unless it is the default one: `Host`, or `:authority` over HTTP/2.
    #[must_use]
    pub fn host(&self) -> &str {
        self.request.host()
    }

    /// The subprotocols the client speaks, those it prefers first.
    pub fn offered_protocols(&self) -> impl Iterator<Item = &str> {
        self.request.subprotocols()
    }

    /// The handshake itself, for programs that answer it by their own means. What was set here is left behind.
    #[must_use]
    pub fn into_request(self) -> UpgradeRequest {
        self.request
    }

    /// Answers the handshake, and hands the socket to `callback` in a task of its own once the client is connected.
    ///
    /// The response is to be returned from the handler; headers may be added to it. It is a refusal if the origin or the
    /// subprotocols are not on the terms.
    pub fn on_upgrade<C, F>(self, callback: C) -> Response
    where
        C: FnOnce(WebSocket) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { request, config, invalid_protocol, tasks, on_failed } = self;
        if invalid_protocol {
            let refusal = Refusal::with_status(StatusCode::INTERNAL_SERVER_ERROR);
            return request.reject(refusal.reason_text("the server names a subprotocol that is no token")).into();
        }
        let (response, upgrade) = match request.accept(&config) {
            Ok(accepted) => accepted,
            Err(refusal) => return refusal.into(),
        };
        let task = async move {
            match upgrade.await {
                Ok(socket) => {
                    drop(on_failed);
                    callback(socket).await;
                }
                Err(error) => {
                    if let Some(on_failed) = on_failed {
                        on_failed(error);
                    }
                }
            }
        };
        match tasks {
            Some(tasks) => tasks.spawn(task),
            None => tokio::spawn(task),
        };
        response.map(|()| Body::empty())
    }
}

impl<S: Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        let request = with_request(parts, UpgradeRequest::new)?;
        let config = ServerConfig::default();
        Ok(Self { request, config, invalid_protocol: false, tasks: None, on_failed: None })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Rejection> {
        if !with_request(parts, |request| sockeye::is_upgrade(request)) {
            return Ok(None);
        }
        <Self as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Some)
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("request", &self.request)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Lends the parts as a request without a body.
fn with_request<T>(parts: &mut Parts, look: impl FnOnce(&mut Request<()>) -> T) -> T {
    let (nothing, ()) = Request::new(()).into_parts();
    let mut request = Request::from_parts(mem::replace(parts, nothing), ());
    let result = look(&mut request);
    *parts = request.into_parts().0;
    result
}
