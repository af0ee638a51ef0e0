//! [`Client`]: the handle that programs hold.
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::{
    Builder, Error, History, Limits, Presence, Publish, State, Subscribe,
    driver::{Shared, now},
    machine::Kind,
    wire,
};

/// A connection to a Sockeye server, made anew whenever it is lost. Clones are the same connection.
///
/// It is driven by one task, and can be used before it is open: what is asked for waits until it is, or until its time
/// is over. The connection is closed when the last handle of it is gone: each clone, each
/// [`Subscription`](crate::Subscription), and each future of theirs is one.
///
/// ```no_run
/// # async fn run() -> Result<(), sockeye_client::Error> {
/// let client = sockeye_client::Client::connect("wss://example.org/live")?;
/// let position = client.publish("chat:lobby", &"hello").await?;
/// println!("published at {position:?}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// What all clones share; the connection ends with it.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
    /// What the idempotency keys of this client begin with.
    keys: String,
    next_key: AtomicU64,
}

impl Client {
    /// Starts connecting to this URL, whose scheme is `ws` or `wss`, and returns at once.
    ///
    /// # Errors
    /// If it is no such URL, or this is not called within a tokio runtime.
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::builder(url)?.connect()
    }

    /// A client to be, with a token, TLS, limits.
    ///
    /// # Errors
    /// If it is no URL whose scheme is `ws` or `wss`.
    pub fn builder(url: &str) -> Result<Builder, Error> {
        Builder::new(url)
    }

    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle: Arc::new(handle) }
    }

    /// Subscribes to a channel, when awaited.
    ///
    /// ```no_run
    /// # async fn run(client: sockeye_client::Client) -> Result<(), sockeye_client::Error> {
    /// let mut lobby = client.subscribe("chat:lobby").last(20).await?;
    /// while let Some(event) = lobby.next().await {
    ///     println!("{event:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self, channel: impl Into<String>) -> Subscribe {
        Subscribe::new(self.clone(), channel.into())
    }

    /// Publishes a JSON value, when awaited. What is sent again after a lost connection still takes effect once: see
    /// [`Publish`].
    ///
    /// ```no_run
    /// # async fn run(client: sockeye_client::Client) -> Result<(), sockeye_client::Error> {
    /// client.publish("chat:lobby", &"hello").event("greeting").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish(&self, channel: impl Into<String>, data: &(impl Serialize + ?Sized)) -> Publish {
        Publish::json(self.clone(), channel.into(), data)
    }

    /// Publishes bytes, when awaited.
    pub fn publish_bytes(&self, channel: impl Into<String>, bytes: impl Into<Bytes>) -> Publish {
        Publish::bytes(self.clone(), channel.into(), &bytes.into())
    }

    /// Who is in a channel.
    ///
    /// # Errors
    /// If the server refuses, or does not answer in [`Limits::request_timeout`]; [`Error::is_full`];
    /// [`Error::is_closed`].
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the question.
    pub async fn presence(&self, channel: &str) -> Result<Presence, Error> {
        let body = wire::body(&wire::Presence { presence: channel })?;
        Error::read(&self.request(&body, Kind::Repeatable, self.limits().request_timeout).await?)
    }

    /// Reads a channel's history, when awaited.
    pub fn history(&self, channel: impl Into<String>) -> History {
        History::new(self.clone(), channel.into())
    }

    /// Calls a method of the application behind the server. It is sent once: if the connection is lost before the
    /// answer comes, nobody knows whether it was carried out.
    ///
    /// # Errors
    /// As [`presence`](Self::presence); [`Error::is_disconnected`] if the connection is lost.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the call if it has not been sent; else the answer is dropped.
    pub fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        data: &(impl Serialize + ?Sized),
    ) -> impl Future<Output = Result<T, Error>> + Send {
        // Before the future, which then need not hold `data`, nor ask that others may look at it.
        let body = wire::body(&wire::Call { call: method, data });
        let client = self.clone();
        async move {
            let answer = client.request(&body?, Kind::Once, client.limits().request_timeout).await?;
            Ok(Error::read::<wire::Called<T>>(&answer)?.data)
        }
    }

    /// Asks the server for a sign of life, behind all that was asked before.
    ///
    /// # Errors
    /// As [`presence`](Self::presence).
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the question.
    pub async fn ping(&self) -> Result<(), Error> {
        let body = wire::body(&wire::Ping { ping: wire::Nothing {} })?;
        self.request(&body, Kind::Repeatable, self.limits().request_timeout).await.map(drop)
    }

    /// How it is doing, now and from now on.
    ///
    /// ```no_run
    /// # async fn run(client: sockeye_client::Client) {
    /// let mut state = client.state();
    /// while state.changed().await.is_ok() {
    ///     println!("{:?}", *state.borrow_and_update());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.handle.shared.state()
    }

    /// Waits until the server knows us.
    ///
    /// # Errors
    /// Why it never will.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut state = self.state();
        match state.wait_for(|state| state.is_open() || state.is_closed()).await.as_deref() {
            Ok(State::Closed { error }) => Err(error.clone().unwrap_or_else(Error::closed)),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::closed()),
        }
    }

    /// Closes the connection for good, for all handles, and waits until it is. What was not answered fails; what was
    /// queued before for subscriptions can still be read.
    ///
    /// # Cancel safety
    /// That this is the end is settled when it is first polled.
    pub async fn close(&self) {
        self.handle.close();
        // An error says that the state is gone, and with it the client.
        let _ = self.state().wait_for(State::is_closed).await;
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.handle.limits
    }

    /// Another key at each call.
    pub(crate) fn key(&self) -> String {
        format!("{}.{}", self.handle.keys, self.handle.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// Cancel safety: what was not sent is withdrawn.
    pub(crate) async fn request(&self, body: &str, kind: Kind, timeout: Duration) -> Result<Box<RawValue>, Error> {
        let shared = &self.handle.shared;
        let (id, answer) = shared.lock().request(body, kind, timeout, now())?;
        shared.wake();
        let _withdraw = Withdraw { shared, id };
        answer.await.unwrap_or_else(|_gone| Err(Error::closed()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("state", &*self.state().borrow()).finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, limits: Limits, keys: String) -> Self {
        Self { shared, limits, keys, next_key: AtomicU64::new(1) }
    }

    fn close(&self) {
        self.shared.lock().close();
        self.shared.wake();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// Who asked has gone, or has the answer.
struct Withdraw<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        self.shared.lock().cancel(self.id);
    }
}
