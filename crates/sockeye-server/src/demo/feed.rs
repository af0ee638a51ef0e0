//! A demo on the hub: its channel as one worker hears it, and what its members there are told of it.
//!
//! ```text
//! member ──publish──▶ Feed ──▶ hub ──▶ the channel's home ──▶ hub ──▶ Ear ──▶ Room ──▶ members
//! ```
//!
//! The channel's home says in which order things were said, for all workers. A worker has one session there while it has
//! members, however many.
use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use sockeye::Refusal;
use sockeye_hub::{
    CatchUp, ChannelName, ChannelOptions, Done, Draft, Event, Kind, Payload, Publication, Request, SessionKey,
    Subscribe,
};
use tokio::{sync::watch, time::timeout};
use tracing::debug;

use super::room::Room;
use crate::{
    SessionLimits,
    dialect::Farewell,
    permit::Principal,
    worker::{Local, Outlet, Put},
};

/// The namespace of the demos' channels. Like every name that begins with `$` it is closed to all but the server.
pub(crate) const NAMESPACE: &str = "$demo";

/// For how long a member waits for its worker's place in the channel, before it is told to come again.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The tag of the one request that is answered.
const SUBSCRIBE: u64 = 0;

/// What holds for the demos' channels. Members have rates of their own.
pub(crate) fn channel_options() -> ChannelOptions {
    ChannelOptions::with(|options| {
        options.history_size = super::chat::HISTORY;
        options.history_bytes = super::chat::MAX_STATE;
        // The chat's last lines have no age.
        options.history_age = Duration::MAX;
        (options.presence, options.join_leave) = (false, false);
        options.channel_rate = 1_000_000;
    })
}

/// What a demo makes of its channel.
pub(crate) trait Show: Default + 'static {
    /// The channel's name, in [`NAMESPACE`].
    const CHANNEL: &str;
    /// What of the past it begins with, as far as the hub lets anybody catch up.
    const CATCH_UP: CatchUp;
    /// Messages kept for members who have not taken them yet.
    const BACKLOG: usize;

    /// Something was said.
    fn hear(&self, publication: &Arc<Publication>, room: &Room);
}

/// One worker's place in a demo's channel, from when somebody comes to when nobody is there any more.
pub(crate) struct Feed<D> {
    ear: Rc<Ear<D>>,
    local: Rc<Local>,
    key: SessionKey,
    channel: ChannelName,
}

/// What the hub tells.
struct Ear<D> {
    stage: watch::Sender<Stage>,
    show: D,
    room: Room,
}

/// ```text
/// Pending ──▶ Live ──▶ Over
///    └──────────────────▲
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The channel's home has not answered.
    Pending,
    /// Nothing is missed from here on.
    Live,
    /// Nothing is heard any more.
    Over,
}

/// Where the members of one worker find the feed that the others have.
pub(crate) struct Place<D>(RefCell<Weak<Feed<D>>>);

impl<D> Default for Place<D> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<D: Show> Place<D> {
    /// The feed, once nothing is missed that is said from now on; a refusal if that takes too long.
    pub(crate) async fn take(&self, local: &Rc<Local>) -> Result<Rc<Feed<D>>, Refusal> {
        let feed = self.feed(local);
        let mut stage = feed.ear.stage.subscribe();
        let answered = timeout(JOIN_TIMEOUT, stage.wait_for(|stage| *stage != Stage::Pending)).await;
        match answered.map(|stage| stage.map(|stage| *stage)) {
            Ok(Ok(Stage::Live)) => Ok(feed),
            _ => Err(Refusal::with_status(StatusCode::SERVICE_UNAVAILABLE)),
        }
    }

    fn feed(&self, local: &Rc<Local>) -> Rc<Feed<D>> {
        let own = self.0.borrow().upgrade();
        own.filter(|feed| *feed.ear.stage.borrow() != Stage::Over).unwrap_or_else(|| {
            let feed = Rc::new(Feed::open(Rc::clone(local)));
            *self.0.borrow_mut() = Rc::downgrade(&feed);
            feed
        })
    }
}

impl<D: Show> Feed<D> {
    fn open(local: Rc<Local>) -> Self {
        let stage = watch::Sender::new(Stage::Pending);
        let ear = Rc::new(Ear { stage, show: D::default(), room: Room::new(D::BACKLOG) });
        let channel = ChannelName::parse(D::CHANNEL).expect("the demos' own names are names");
        let subscribe = Subscribe { catch_up: D::CATCH_UP, ..Subscribe::default() };
        let key = local.turn(|hub, crew, now| {
            let key = hub.open_hidden(Principal::Server);
            crew.insert(key, Rc::<Ear<D>>::clone(&ear));
            hub.request(key, Some(SUBSCRIBE), Request::Subscribe(channel.clone(), subscribe), now, crew);
            key
        });
        Self { ear, local, key, channel }
    }

    /// Has everybody hear it, on all workers.
    pub(super) fn publish(&self, json: String, volatile: bool) {
        // Without the runtime, nothing that follows could be done.
        if self.local.is_stopping() {
            return;
        }
        let payload = Payload { kind: Kind::Json, bytes: json.into() };
        let request = Request::Publish(self.channel.clone(), Draft { volatile, ..Draft::new(payload) });
        self.local.turn(|hub, crew, now| hub.request(self.key, None, request, now, crew));
    }
}

impl<D> Feed<D> {
    pub(super) fn show(&self) -> &D {
        &self.ear.show
    }

    pub(super) fn room(&self) -> &Room {
        &self.ear.room
    }

    pub(super) fn local(&self) -> &Local {
        &self.local
    }
}

/// The last member has left.
impl<D> Drop for Feed<D> {
    fn drop(&mut self) {
        self.local.close(Some(self.key), None);
    }
}

impl<D: Show> Ear<D> {
    /// Members have to come back.
    fn is_over(&self) {
        self.stage.send_replace(Stage::Over);
        self.room.close();
    }
}

impl<D: Show> Outlet for Ear<D> {
    fn deliver(&self, publication: &Arc<Publication>, _: bool, _: &SessionLimits) -> Put {
        self.show.hear(publication, &self.room);
        Put::Taken
    }

    fn event(&self, event: Event, _: &SessionLimits) -> Put {
        match event {
            // What it begins with comes in the same turn.
            Event::Done(SUBSCRIBE, Done::Subscribed { .. }) => {
                self.stage.send_replace(Stage::Live);
            }
            Event::Failed(None, failure) => debug!("{} did not take a message: {}", D::CHANNEL, failure.message),
            Event::Failed(Some(_), failure) => {
                debug!("{} cannot be had: {}", D::CHANNEL, failure.message);
                self.is_over();
            }
            Event::Ended(..) | Event::Closing(_) => self.is_over(),
            _ => {}
        }
        Put::Taken
    }

    fn put_held(&self, _: &Publication, _: &SessionLimits) -> Put {
        Put::Taken
    }

    fn flush(&self) -> bool {
        false
    }

    fn expiring(&self, _: Duration, _: &SessionLimits) -> Put {
        Put::Taken
    }

    fn end(&self, _: Farewell) {
        self.is_over();
    }
}
