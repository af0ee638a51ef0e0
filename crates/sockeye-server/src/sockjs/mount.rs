//! Where SockJS is, with which options, and what a request asks of it.
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use sockeye::{Config, ServerConfig, WebSocket, proto::handshake::is_upgrade};
use sockeye_pipe::sockjs::{Answers, Cors, Endpoint, Method, Options, Refused, SessionEndpoint, Transport, resolve};

use super::{call::Asked, socket::Framed};
use crate::{
    Demo, PipeOptions, ServerOptions, Site, SockJsOptions,
    demo::{Demos, Seat},
    dialect::json,
    pipe::{MAX_QUEUED_MESSAGES, is_allowed},
    routes::{Routes, Service},
    talk::Io,
    worker::Worker,
};

/// For how long caches keep what never changes.
const A_YEAR: Duration = Duration::from_secs(31_536_000);

/// Where a streaming response ends that conformance tests look at.
const TEST_LIMIT: usize = 4_096;

/// Every place of SockJS on a server.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    all: Vec<Mount>,
}

/// One place of SockJS.
#[derive(Debug)]
pub(super) struct Mount {
    prefix: String,
    pub(super) service: Service,
    pub(super) answers: Answers,
    has_websockets: bool,
    /// JSONP and htmlfile.
    has_scripts: bool,
    pub(super) response_limit: usize,
    /// Bytes of the largest message.
    pub(super) max_message: usize,
    /// How its sessions behave.
    pub(super) config: Arc<sockeye_pipe::Config>,
    /// How a WebSocket with frames is opened.
    framed: Arc<ServerConfig>,
}

/// Where a WebSocket goes.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) service: Service,
    /// With frames of SockJS in it: how it is opened, and bytes of the largest message in them.
    framed: Option<(Arc<ServerConfig>, usize)>,
}

/// A request below a prefix.
#[derive(Debug)]
pub(super) struct Found<'m, 'r> {
    mount: &'m Mount,
    pub(super) index: u8,
    endpoint: Result<Endpoint<'r>, Refused>,
}

/// What is to be done for a request.
#[derive(Debug)]
pub(super) enum Step {
    /// It is answered.
    Whole(Response<Bytes>),
    /// A WebSocket is to be opened.
    WebSocket(Door),
    /// Something is asked of the session of this id.
    Session(Box<str>, Asked, Cors),
}

impl Mounts {
    pub(crate) fn new(options: &ServerOptions, hub: &ServerConfig, demos: &Demos) -> Self {
        let echo = Service::Demo(Demo::Echo);
        let own = &options.sockjs;
        let places: Vec<(String, Service, SockJsOptions)> = match options.site {
            Site::SockJs => {
                let test = SockJsOptions { scripts: true, response_limit: TEST_LIMIT, ..own.clone() };
                let without = SockJsOptions { websocket: false, ..test.clone() };
                let cookie = SockJsOptions { cookie: true, ..test.clone() };
                vec![
                    ("/echo".into(), echo, test.clone()),
                    ("/disabled_websocket_echo".into(), echo, without),
                    ("/cookie_needed_echo".into(), echo, cookie),
                    ("/close".into(), Service::Close, test),
                ]
            }
            _ if !own.enabled => Vec::new(),
            Site::Demo(demo) => {
                let places = ["ws", demo.name()].map(|name| (format!("/{name}"), Service::Demo(demo), own.clone()));
                places.into()
            }
            Site::Server => {
                let demos = if options.demos { &Demo::ALL[..] } else { &[] };
                let demos = demos.iter().map(|demo| (format!("/{demo}"), Service::Demo(*demo), own.clone()));
                demos.chain([("/sockjs".into(), Service::Hub, own.clone())]).collect()
            }
        };
        let mounts = places.into_iter().filter_map(|(prefix, service, own)| {
            let (plain, max_message) = match service {
                Service::Hub => (hub, json::MAX_MESSAGE),
                Service::Demo(demo) => (demos.config(demo), demos.config(demo).connection.limits.max_message),
                Service::Close => (demos.config(Demo::Echo), json::MAX_MESSAGE),
            };
            Mount::new(prefix, service, &own, &options.pipes, (plain, max_message))
        });
        Self { all: mounts.collect() }
    }

    /// What a request asks of SockJS; `None` if it is not for SockJS. The path is as the client wrote it.
    pub(super) fn find<'r, B>(&self, request: &'r Request<B>, routes: Routes) -> Option<Found<'_, 'r>> {
        let path = request.uri().path();
        let (index, mount, below) = (0..).zip(&self.all).find_map(|(index, mount)| {
            let below = path.strip_prefix(&*mount.prefix)?;
            (below.is_empty() || below.starts_with('/')).then_some((index, mount, below))
        })?;
        let endpoint = resolve(&mount.prefix, &Method::from(request.method()), path);
        let is_alone = routes.site == Site::SockJs;
        let is_for_others = match endpoint {
            _ if is_alone => false,
            // What has a page greets with that.
            _ if matches!(below, "" | "/") => below.is_empty() || routes.page(path).is_some(),
            Err(Refused::NotFound) => true,
            _ => false,
        };
        (!is_for_others).then_some(Found { mount, index, endpoint })
    }

    pub(super) fn at(&self, index: u8) -> Option<&Mount> {
        self.all.get(usize::from(index))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Where a WebSocket of this path goes.
    pub(crate) fn websocket(&self, path: &str) -> Option<Door> {
        self.all.iter().filter(|mount| mount.has_websockets).find_map(|mount| {
            match resolve(&mount.prefix, &Method::Get, path).ok()? {
                Endpoint::RawWebSocket => Some(mount.door(false)),
                Endpoint::Session { endpoint: SessionEndpoint::WebSocket, .. } => Some(mount.door(true)),
                _ => None,
            }
        })
    }
}

impl Mount {
    fn new(
        prefix: String,
        service: Service,
        options: &SockJsOptions,
        pipes: &PipeOptions,
        (plain, max_message): (&ServerConfig, usize),
    ) -> Option<Self> {
        let answers = Answers::new(Options {
            websocket: options.websocket,
            cookie_needed: options.cookie,
            client_url: options.client_url.clone(),
            base_url: None,
            frame_ancestors: options.frame_ancestors.as_deref().and_then(|pages| pages.parse().ok()),
        })?;
        let mut framed = plain.clone();
        framed.connection = Arc::new(wider((*plain.connection).clone(), max_message));
        Some(Self {
            prefix,
            service,
            answers,
            has_websockets: options.websocket,
            has_scripts: options.scripts,
            response_limit: options.response_limit,
            max_message,
            config: Arc::new(conversation(pipes, max_message)),
            framed: Arc::new(framed),
        })
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn door(&self, is_framed: bool) -> Door {
        let framed = is_framed.then(|| (Arc::clone(&self.framed), self.max_message));
        Door { service: self.service, framed }
    }
}

impl Door {
    /// Of a WebSocket that is no SockJS.
    pub(crate) fn of(service: Service) -> Self {
        Self { service, framed: None }
    }

    pub(crate) fn config<'a>(&'a self, worker: &'a Worker) -> &'a ServerConfig {
        self.framed.as_ref().map_or(worker.config(self.service), |(config, _)| config)
    }

    /// Gives the WebSocket its place.
    pub(crate) fn host<S: Io>(&self, worker: &Worker, seat: Seat, socket: WebSocket<S>, ticket: impl Unpin + 'static) {
        match self.framed {
            Some((_, max_message)) => worker.host(seat, Framed::new(socket, max_message), ticket),
            None => worker.host(seat, socket, ticket),
        }
    }
}

/// With room for a message in a frame of SockJS; what is in it is measured again.
fn wider(mut config: Config, max_message: usize) -> Config {
    config.limits.max_message = framed_len(max_message);
    config.limits.max_frame = config.limits.max_message;
    config
}

/// Bytes of a message of so many in a frame of SockJS, if each is escaped by another, and some for what is around it.
fn framed_len(message: usize) -> usize {
    message.saturating_mul(2).saturating_add(1_024)
}

/// How sessions behave, but for those in WebSockets.
fn conversation(options: &PipeOptions, max_message: usize) -> sockeye_pipe::Config {
    sockeye_pipe::Config {
        heartbeat: options.heartbeat,
        disconnect_delay: options.linger,
        closing_linger: options.linger,
        max_queued_messages: MAX_QUEUED_MESSAGES,
        // What finds room, sessions and demos decide.
        max_queued_bytes: usize::MAX,
        // Clients send in one request whatever was said during the one before.
        max_received_bytes: framed_len(max_message).max(options.max_body),
        ..sockeye_pipe::Config::sockjs()
    }
}

impl Found<'_, '_> {
    /// What is to be done, as far as the head says it.
    pub(super) fn begin<B>(&self, request: &Request<B>) -> Step {
        let answers = &self.mount.answers;
        let endpoint = match self.endpoint {
            Ok(endpoint) if self.is_there(&endpoint) => endpoint,
            Ok(Endpoint::RawWebSocket | Endpoint::Session { endpoint: SessionEndpoint::WebSocket, .. }) => {
                return Step::Whole(answers.no_websockets(in_a_year()));
            }
            Ok(_) => return Step::Whole(answers.refused(Refused::NotFound)),
            Err(refused) => return Step::Whole(answers.refused(refused)),
        };
        let is_websocket =
            matches!(endpoint, Endpoint::RawWebSocket | Endpoint::Session { endpoint: SessionEndpoint::WebSocket, .. });
        if is_websocket {
            // Its own handshake looks at the origin.
            let door = self.mount.door(endpoint != Endpoint::RawWebSocket);
            let is_one = is_handshake(request);
            return if is_one { Step::WebSocket(door) } else { Step::Whole(answers.not_a_websocket()) };
        }
        if is_upgrade(request) {
            // Attack lines A7 and H18.
            return Step::Whole(refuse(StatusCode::NOT_FOUND, "there is no WebSocket here\n"));
        }
        self.begin_at(endpoint, request)
    }

    fn begin_at<B>(&self, endpoint: Endpoint<'_>, request: &Request<B>) -> Step {
        let (answers, headers) = (&self.mount.answers, request.headers());
        let cors = self.cors(request);
        if request.method() == http::Method::OPTIONS {
            return Step::Whole(answers.preflight(&endpoint, headers, cors, in_a_year()));
        }
        let (id, endpoint) = match endpoint {
            Endpoint::Session { id, endpoint } => (id, endpoint),
            Endpoint::Info => return Step::Whole(answers.info(headers, cors, rand::random())),
            Endpoint::Iframe => return Step::Whole(answers.iframe(headers, in_a_year())),
            _ => return Step::Whole(answers.greeting()),
        };
        if cors == Cors::Denied {
            return Step::Whole(refuse(StatusCode::FORBIDDEN, "pages of this origin may not connect\n"));
        }
        let query = request.uri().query().unwrap_or_default();
        let transport = match endpoint {
            SessionEndpoint::XhrStreaming => Ok(Transport::XhrStreaming),
            SessionEndpoint::Xhr => Ok(Transport::Xhr),
            SessionEndpoint::EventSource => Ok(Transport::EventSource),
            SessionEndpoint::HtmlFile => Transport::html_file(query),
            SessionEndpoint::Jsonp => Transport::jsonp(query),
            SessionEndpoint::XhrSend | SessionEndpoint::JsonpSend | SessionEndpoint::WebSocket => {
                return Step::Session(id.into(), Asked::Say(endpoint), cors);
            }
        };
        match transport {
            Ok(transport) => Step::Session(id.into(), Asked::Hear(endpoint, transport), cors),
            Err(bad) => Step::Whole(answers.bad_callback(bad)),
        }
    }

    /// What is switched off is absent.
    fn is_there(&self, endpoint: &Endpoint<'_>) -> bool {
        match endpoint {
            Endpoint::RawWebSocket => self.mount.has_websockets,
            Endpoint::Session { endpoint, .. } => match endpoint {
                SessionEndpoint::WebSocket => self.mount.has_websockets,
                SessionEndpoint::HtmlFile | SessionEndpoint::Jsonp | SessionEndpoint::JsonpSend => {
                    self.mount.has_scripts
                }
                _ => true,
            },
            _ => true,
        }
    }

    /// Whether pages of the request's origin may connect.
    fn cors<B>(&self, request: &Request<B>) -> Cors {
        let (headers, uri) = (request.headers(), request.uri());
        let host = text(headers, &header::HOST).or(uri.authority().map(http::uri::Authority::as_str));
        let mut origins = headers.get_all(header::ORIGIN).into_iter();
        let (origin, None) = (origins.next(), origins.next()) else { return Cors::Denied };
        let origin = origin.map(|origin| origin.to_str().unwrap_or("null"));
        let policy = &self.mount.framed.origins;
        if is_allowed(headers, origin, host.unwrap_or_default(), policy) { Cors::Allowed } else { Cors::Denied }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether it asks for a WebSocket in the way that reaches us: some proxies leave `Upgrade` and change `Connection`. Over
/// HTTP/2 its method says it.
fn is_handshake<B>(request: &Request<B>) -> bool {
    let options = request.headers().get_all(header::CONNECTION).into_iter();
    let has_upgrade = options
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    is_upgrade(request) && has_upgrade
}

fn refuse(status: StatusCode, why: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(why.as_bytes()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn in_a_year() -> HeaderValue {
    let date = httpdate::fmt_http_date(SystemTime::now() + A_YEAR);
    HeaderValue::try_from(date).unwrap_or(HeaderValue::from_static("0"))
}
