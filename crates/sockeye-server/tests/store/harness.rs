//! A store and what it says.
use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    time::Duration,
};

use sockeye_hub::{
    Append, ChannelName, Encoded, Epoch, Kind, Loaded, Payload, Position, Publication, Sender, SessionId, StoreReply,
    StoreRequest,
};
use sockeye_server::store::{DurableStore, OpenError, Sink, Store, StoreOptions};

/// Longer than anything here takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) store: DurableStore,
    pub(crate) replies: Receiver<StoreReply>,
}

impl Running {
    pub(crate) fn open(folder: &Path) -> Self {
        Self::with(folder, StoreOptions::default()).unwrap()
    }

    pub(crate) fn with(folder: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let (sink, replies) = sink();
        Ok(Self { store: DurableStore::open(folder, options, vec![sink])?, replies })
    }

    pub(crate) fn submit(&self, request: StoreRequest) {
        self.store.submit(0, request);
    }

    /// The next reply: `a 3` is appended, `a failed`, `a loaded`.
    pub(crate) fn reply(&self) -> String {
        text(&self.next())
    }

    pub(crate) fn next(&self) -> StoreReply {
        self.replies.recv_timeout(PATIENCE).expect("the store answers")
    }

    /// Appends, and waits for the answer.
    pub(crate) fn append(&self, append: Append) -> String {
        self.submit(StoreRequest::Append(append));
        self.reply()
    }

    /// What there is of a channel, or `None` if that fails.
    pub(crate) fn try_load(&self, channel: &str) -> Option<Loaded> {
        self.submit(StoreRequest::Load(name(channel)));
        match self.next() {
            StoreReply::Loaded(at, loaded) if at == name(channel) => Some(loaded),
            StoreReply::NotLoaded(at) if at == name(channel) => None,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn load(&self, channel: &str) -> Loaded {
        self.try_load(channel).expect("it can be loaded")
    }

    pub(crate) fn epoch(&self, channel: &str) -> Epoch {
        self.load(channel).epoch
    }
}

pub(crate) fn sink() -> (Sink, Receiver<StoreReply>) {
    let (sender, receiver) = mpsc::channel();
    // A test that has heard enough may be gone.
    (Box::new(move |reply| drop(sender.send(reply))), receiver)
}

pub(crate) fn text(reply: &StoreReply) -> String {
    match reply {
        StoreReply::Loaded(channel, _) => format!("{channel} loaded"),
        StoreReply::Appended(channel, offset) => format!("{channel} {offset}"),
        StoreReply::NotLoaded(channel) | StoreReply::NotAppended(channel) => format!("{channel} failed"),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn name(text: &str) -> ChannelName {
    text.parse().unwrap()
}

/// A publication that says where it is, padded to this length.
pub(crate) fn publication(channel: &str, epoch: Epoch, offset: u64, len: usize) -> Publication {
    let mut text = format!("{channel}/{offset}/");
    while text.len() < len {
        text.push(char::from(b'a' + u8::try_from(offset.wrapping_add(text.len() as u64) % 26).unwrap()));
    }
    Publication {
        channel: name(channel),
        position: Some(Position { epoch, offset }),
        payload: Payload { kind: Kind::Text, bytes: text.into() },
        event: Some("said".into()),
        conflate: offset.is_multiple_of(2).then(|| "last".into()),
        from: Some(Sender { session: SessionId(offset.into()), user: Some("ann".into()) }),
        echo: offset.is_multiple_of(3),
        at_ms: offset.saturating_add(1_700_000_000_000),
        encoded: Encoded::default(),
    }
}

pub(crate) fn append(channel: &str, epoch: Epoch, offset: u64) -> Append {
    Append {
        publication: Arc::new(publication(channel, epoch, offset, 100)),
        key: Some(format!("key {offset}").into()),
        keep_from: 0,
    }
}

/// All of a publication that can be compared.
pub(crate) fn fields(publication: &Publication) -> impl PartialEq + std::fmt::Debug + use<> {
    let Publication { channel, position, payload, event, conflate, from, echo, at_ms, .. } = publication;
    let at = position.map(|position| (position.epoch, position.offset));
    (channel.clone(), at, payload.clone(), event.clone(), conflate.clone(), from.clone(), *echo, *at_ms)
}

pub(crate) fn offsets(loaded: &Loaded) -> Vec<u64> {
    loaded.items.iter().map(|item| item.offset()).collect()
}
