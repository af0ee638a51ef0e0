//! A worker: one core, its runtime, its connections and its hub.
mod crew;
mod expiry;
mod goodbye;
mod lanes;
mod local;
mod outgoing;
mod pump;
mod ring;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod tests;

use std::{rc::Rc, sync::Arc};

use rand::Rng;
use sockeye::{HandshakeLimits, Refusal, ServerConfig};
use sockeye_hub::{Hub, HubOptions, Namespaces, StoreReply};
use sockeye_pipe::sse::Events;
use tokio::{
    sync::{
        mpsc::{Receiver, Sender, UnboundedReceiver, channel, unbounded_channel},
        oneshot,
    },
    task::spawn_local,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::{
    crew::{Crew, Outlet, Put},
    expiry::Expiry,
    goodbye::Goodbye,
    local::Local,
    outgoing::{Outgoing, send},
    pump::Errand,
};
use self::{
    goodbye::Goodbyes,
    lanes::{Inward, Outward, lanes, worker_id},
    outgoing::Writer,
    pump::{MAX_ERRANDS, pump},
};
use crate::{
    Calls, Demo, ServerOptions, SessionLimits, Site,
    api::{self, Api},
    demo::{self, Demos, Echo, Places, Seat},
    dialect::json::Json,
    permit::Permit,
    pipe::{End, Listen, Pipes},
    routes::Service,
    session,
    sockjs::Mounts,
    store::{DurableStore, NoStore, OpenError, Sink, Store},
    talk::Talk,
    tls::Acceptor,
};

/// What a worker is made of, on whichever thread; what it becomes there stays there.
pub(crate) struct Plan {
    common: Common,
    hub: HubPlan,
    index: usize,
    outward: Outward,
    inward: Inward,
    replies: UnboundedReceiver<StoreReply>,
    errands: Receiver<Errand>,
}

/// What the workers of one server share.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) demos: Arc<Demos>,
    /// How a WebSocket of the hub is opened.
    pub(crate) hub: Arc<ServerConfig>,
    /// What is there as SockJS.
    pub(crate) sockjs: Arc<Mounts>,
    /// What every connection begins with, if it is not plain.
    pub(crate) tls: Option<Acceptor>,
    /// Cancelled when the server stops.
    pub(crate) stop: CancellationToken,
}

/// What the workers' hubs have in common.
#[derive(Clone)]
struct HubPlan {
    workers: u16,
    namespaces: Arc<Namespaces>,
    options: HubOptions,
    store: Arc<dyn Store>,
    permit: Arc<dyn Permit>,
    limits: Arc<SessionLimits>,
    calls: Arc<Calls>,
    everybody: Arc<[Sender<Errand>]>,
    api: Option<Arc<Api>>,
    pipes: Option<Arc<Pipes>>,
    io_uring: Option<usize>,
}

/// One thread's world, as its connections have it.
#[derive(Clone)]
pub(crate) struct Worker {
    common: Rc<Common>,
    pub(crate) local: Rc<Local>,
    demos: Rc<Places>,
    goodbyes: Rc<Goodbyes>,
    /// Everything that runs for a connection, so that stopping can wait for it.
    pub(crate) tasks: TaskTracker,
    /// Every worker of the server, this one too.
    everybody: Arc<[Sender<Errand>]>,
    api: Option<Arc<Api>>,
    pipes: Option<Arc<Pipes>>,
}

/// The plans of all workers of a server.
pub(crate) fn plan(options: &ServerOptions, common: &Common, permit: Arc<dyn Permit>) -> Result<Vec<Plan>, OpenError> {
    let workers = options.workers.clamp(1, usize::from(u16::MAX));
    let (sinks, replies): (Vec<Sink>, Vec<_>) = (0..workers)
        .map(|_| {
            let (sender, replies) = unbounded_channel();
            // A worker that is gone needs no replies.
            let sink: Sink = Box::new(move |reply| drop(sender.send(reply)));
            (sink, replies)
        })
        .unzip();
    let (everybody, errands): (Vec<_>, Vec<_>) = (0..workers).map(|_| channel(MAX_ERRANDS)).unzip();
    let mut hub_options = options.hub.clone();
    hub_options.placement = rand::random();
    let hub = HubPlan {
        workers: worker_id(workers).0,
        namespaces: Arc::new((*options.namespaces).clone().and(demo::NAMESPACE, demo::channel_options())),
        options: hub_options,
        store: match &options.store {
            Some(place) => Arc::new(DurableStore::open(&place.folder, place.options.clone(), sinks)?),
            None => Arc::new(NoStore::new(sinks)),
        },
        permit,
        limits: Arc::new(options.session.clone()),
        calls: Arc::new(options.calls.clone()),
        everybody: everybody.into(),
        api: if options.site == Site::Server { Api::new(&options.api_keys).map(Arc::new) } else { None },
        pipes: (options.pipes.enabled || !common.sockjs.is_empty())
            .then(|| Arc::new(Pipes::new(&options.pipes, &options.session))),
        io_uring: options.io_uring,
    };
    let ends = lanes(workers).into_iter().zip(replies).zip(errands).enumerate();
    let plans = ends.map(|(index, (((outward, inward), replies), errands))| Plan {
        common: common.clone(),
        hub: hub.clone(),
        index,
        outward,
        inward,
        replies,
        errands,
    });
    Ok(plans.collect())
}

impl Plan {
    /// Begins to work, on this thread, in a [`LocalRuntime`](tokio::runtime::LocalRuntime).
    pub(crate) fn begin(self) -> Worker {
        let HubPlan { workers, namespaces, options, store, permit, limits, calls, everybody, api, pipes, io_uring } =
            self.hub;
        let hub = Hub::new(worker_id(self.index), workers, namespaces, options, Box::new(|| rand::rng().random()));
        let crew = Crew::new(self.index, self.outward, store, permit, Arc::clone(&limits), Writer::new(io_uring));
        let local = Rc::new(Local::new(hub, crew, limits, calls));
        spawn_local(pump(Rc::clone(&local), self.inward, self.replies, self.errands));
        let (demos, goodbyes, tasks) = (Rc::default(), Rc::default(), TaskTracker::new());
        Worker { common: Rc::new(self.common), local, demos, goodbyes, tasks, everybody, api, pipes }
    }
}

impl Worker {
    pub(crate) fn demos(&self) -> &Arc<Demos> {
        &self.common.demos
    }

    pub(crate) fn sockjs(&self) -> &Arc<Mounts> {
        &self.common.sockjs
    }

    pub(crate) fn tls(&self) -> Option<&Acceptor> {
        self.common.tls.as_ref()
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.common.stop
    }

    /// The HTTP API, if this is the path of a part of it.
    pub(crate) fn api(&self, path: &str) -> Option<&Arc<Api>> {
        self.api.as_ref().filter(|_| path.starts_with(api::PREFIX))
    }

    /// The conversations over HTTP, if there are any.
    pub(crate) fn pipes(&self) -> Option<&Arc<Pipes>> {
        self.pipes.as_ref()
    }

    pub(crate) fn handshake_limits(&self) -> HandshakeLimits {
        self.common.hub.handshake
    }

    /// How a WebSocket of this service is opened.
    pub(crate) fn config(&self, service: Service) -> &ServerConfig {
        match service {
            Service::Hub => &self.common.hub,
            Service::Demo(demo) => self.common.demos.config(demo),
            Service::Close => self.common.demos.config(Demo::Echo),
        }
    }

    /// A place in a service, from which nothing is missed that is said after it was taken; a refusal if it cannot be had
    /// in time.
    pub(crate) async fn seat(&self, service: Service) -> Result<Seat, Refusal> {
        match service {
            Service::Hub => Ok(Seat::Hub),
            Service::Demo(demo) => self.demos.seat(demo, &self.local).await,
            Service::Close => Ok(Seat::Close),
        }
    }

    /// Gives a stream of messages its place, in a task of its own. `ticket` is dropped when it has left.
    pub(crate) fn host<S: Talk>(&self, seat: Seat, mut socket: S, ticket: impl Unpin + 'static) {
        let stop = self.common.stop.clone();
        // Tasks that own the socket and lend it: an argument of an `async fn` is kept twice in its future.
        match seat {
            Seat::Hub => self.tasks.spawn_local(session::converse(socket, Json, Rc::clone(&self.local), ticket)),
            Seat::Echo => self.tasks.spawn_local(Echo::new(socket, self.goodbyes.listen(), ticket)),
            Seat::Chat(feed) => self.tasks.spawn_local(async move {
                demo::chat(&feed, &mut socket, &stop).await;
                drop(ticket);
            }),
            Seat::Close => self.tasks.spawn_local(async move {
                demo::close(&mut socket).await;
                drop(ticket);
            }),
            Seat::Cursors(feed, mut told) => self.tasks.spawn_local(async move {
                demo::cursors(&feed, &mut socket, &mut told, &stop).await;
                drop(ticket);
            }),
        };
    }

    /// Has somebody listen, in a task of its own.
    pub(crate) fn listen(&self, end: End<Events>, dialect: Listen) {
        self.tasks.spawn_local(session::converse(end, dialect, Rc::clone(&self.local), ()));
    }

    /// Has something done by every worker, and gathers what they say. A worker that has too many errands, or has stopped, says
    /// nothing.
    ///
    /// # Cancel safety
    /// Dropped, what was begun is done.
    pub(crate) async fn ask_everybody<T: Send + 'static>(
        &self,
        errand: impl Fn(&Local) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let answers = self.everybody.iter().filter_map(|worker| {
            let (reply, answer) = oneshot::channel();
            let errand = errand.clone();
            // Who asked may have left.
            let errand: Errand = Box::new(move |local| drop(reply.send(errand(local))));
            worker.try_send(errand).ok().map(|()| answer)
        });
        let mut said = Vec::new();
        for answer in answers.collect::<Vec<_>>() {
            said.extend(answer.await.ok());
        }
        said
    }

    /// The server stops: every client of the hub is told, and of the echo.
    pub(crate) fn say_goodbye(&self) {
        self.goodbyes.say();
        self.local.stop();
    }

    /// The time for that is over.
    pub(crate) fn stopped(&self) {
        self.local.stopped();
    }
}
