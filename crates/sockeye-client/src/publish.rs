//! [`Publish`]: something to be published.
use std::{future::IntoFuture, pin::Pin};

use bytes::Bytes;
use data_encoding::BASE64;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{Client, Error, Limits, Position, machine::Kind, wire};

/// Something to be published, when awaited; from [`Client::publish`].
///
/// Awaited, it gives the position at which it stands in the channel's history; `None` if it is volatile or the channel
/// has no history.
///
/// ```no_run
/// # async fn run(client: sockeye_client::Client) -> Result<(), sockeye_client::Error> {
/// let position = client.publish("chat:lobby", &"hello").echo(false).await?;
/// client.publish("chat:lobby", &true).event("typing").volatile().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Once
///
/// Each gets an idempotency key of its own, unless [`key`](Self::key) gives one. It waits while there is no connection;
/// if the connection is lost before the answer came, it is sent again over the next with the same key, by which the
/// server knows it. So it takes effect once, however often it is sent. After [`Limits::publish_timeout`] (or
/// [`Limits::max_tries`]) it fails, and [`Error::is_outcome_unknown`] says if it may have taken effect all the same:
/// the server's memory of keys ends after five minutes, so it is not tried any longer.
///
/// [`volatile`](Self::volatile) ones and those with [`retry(false)`](Self::retry) are sent once at most.
///
/// # Order
///
/// Publications are sent in the order in which their futures are first polled, and sent again in this order, before any
/// that came later. Since the server carries out commands in their order, a connection that is lost cuts that order at
/// one place: what is before has taken effect, and is known by its key when it comes again; what is behind has not. So
/// the order in the history is the order of sending also where the first try of one was lost and another was sent
/// behind it.
///
/// With one exception: if the server *refuses* the first (`rate_limited`, say) and takes the second, and the connection
/// is lost before the refusal arrives, then the first is tried again, may now be taken, and stands behind the second.
/// Who cannot live with that sets [`Limits::max_in_flight`] to 1: then the second is sent when the first is answered,
/// which costs a round trip each. A refusal that does arrive is not tried again but returned.
///
/// # Errors
/// The server's refusal; [`Error::is_timeout`]; [`Error::is_full`] if more waits than [`Limits`] allow; `too_big` if it
/// is bigger than [`Limits::max_command`]; [`Error::is_disconnected`] for what is not sent again; [`Error::is_closed`].
///
/// # Cancel safety
/// Dropping the future withdraws what has not been sent. What has been sent takes effect, or not, and is not sent
/// again.
#[derive(Debug)]
#[must_use = "nothing is published until it is awaited"]
pub struct Publish {
    client: Client,
    channel: String,
    data: Result<Payload, Error>,
    event: Option<String>,
    key: Option<String>,
    conflate: Option<String>,
    echo: bool,
    volatile: bool,
    retry: bool,
}

#[derive(Debug)]
enum Payload {
    Json(Box<RawValue>),
    Base64(String),
}

impl Publish {
    pub(crate) fn json(client: Client, channel: String, data: &(impl Serialize + ?Sized)) -> Self {
        let data = to_raw_value(data).map(Payload::Json).map_err(|error| Error::misuse(error.to_string()));
        Self::new(client, channel, data)
    }

    pub(crate) fn bytes(client: Client, channel: String, bytes: &Bytes) -> Self {
        Self::new(client, channel, Ok(Payload::Base64(BASE64.encode(bytes))))
    }

    fn new(client: Client, channel: String, data: Result<Payload, Error>) -> Self {
        Self { client, channel, data, event: None, key: None, conflate: None, echo: true, volatile: false, retry: true }
    }

    /// Names the kind of event, in up to 64 bytes.
    pub fn event(mut self, name: impl Into<String>) -> Self {
        self.event = Some(name.into());
        self
    }

    /// Sets the idempotency key, up to 128 bytes: the same key in the same channel within five minutes is one
    /// publication, also from another client, or after a restart of this program.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Whether this client's own subscription is to see it. It is, by default.
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
    }

    /// For those who are there now: it is not kept in the history, does not wait for a connection and is not sent
    /// again.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// For a subscriber that is behind, a newer publication with the same value replaces this one, in channels that
    /// conflate.
    pub fn conflate(mut self, value: impl Into<String>) -> Self {
        self.conflate = Some(value.into());
        self
    }

    /// Whether it is sent again if its connection is lost. It is, by default. Otherwise it has no key but one set by
    /// [`key`](Self::key).
    pub fn retry(mut self, retry: bool) -> Self {
        self.retry = retry;
        self
    }

    async fn send(self) -> Result<Option<Position>, Error> {
        let Self { client, channel, data, event, key, conflate, echo, volatile, retry } = self;
        let (kind, timeout) = match (volatile, retry) {
            (true, _) => (Kind::Volatile, client.limits().request_timeout),
            (false, true) => (Kind::Repeatable, client.limits().publish_timeout.min(Limits::MAX_PUBLISH_TIMEOUT)),
            (false, false) => (Kind::Once, client.limits().publish_timeout),
        };
        let key = key.or_else(|| (kind == Kind::Repeatable).then(|| client.key()));
        let (data, base64) = match data? {
            Payload::Json(json) => (Some(json), None),
            Payload::Base64(text) => (None, Some(text)),
        };
        let body = wire::body(&wire::Publish {
            publish: &channel,
            data: data.as_deref(),
            base64,
            event: event.as_deref(),
            key: key.as_deref(),
            echo: (!echo).then_some(false),
            volatile: volatile.then_some(true),
            conflate: conflate.as_deref(),
        })?;
        let answer = client.request(&body, kind, timeout).await?;
        Ok(Error::read::<wire::Published>(&answer)?.position())
    }
}

impl IntoFuture for Publish {
    type Output = Result<Option<Position>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
