//! [`Subscribe`] and [`Subscription`]: what comes from a channel.
use std::{
    collections::VecDeque,
    fmt,
    future::{IntoFuture, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use serde::Serialize;
use serde_json::value::to_raw_value;
use tokio::sync::oneshot;

use crate::{
    Client, Error, Event, Member, Position,
    client::Handle,
    driver::now,
    machine::{Item, Wish},
    roster::Roster,
};

/// A subscription to be, when awaited; from [`Client::subscribe`].
///
/// # Errors
/// The server's refusal; that no answer comes in [`Limits::request_timeout`](crate::Limits::request_timeout);
/// `already_subscribed` while this client has another [`Subscription`] to the channel; [`Error::is_closed`].
///
/// # Cancel safety
/// Dropping the future ends what it began.
#[derive(Debug)]
#[must_use = "nothing is subscribed to until it is awaited"]
pub struct Subscribe {
    client: Client,
    channel: String,
    wish: Result<Wish, Error>,
}

impl Subscribe {
    pub(crate) fn new(client: Client, channel: String) -> Self {
        Self { client, channel, wish: Ok(Wish::default()) }
    }

    /// Catches up with what came after this position; what is missing from the history is told as [`Event::Lost`].
    /// [`last`](Self::last) then does not count.
    pub fn since(self, position: impl Into<Option<Position>>) -> Self {
        self.change(|wish| wish.since = position.into())
    }

    /// Begins with the last publications, at most 300.
    pub fn last(self, count: u32) -> Self {
        self.change(|wish| wish.last = Some(count))
    }

    /// Is a member, whom others see with this, up to 4 KiB of JSON; and sees the others, unless
    /// [`members(false)`](Self::members).
    pub fn members_as(mut self, info: &(impl Serialize + ?Sized)) -> Self {
        match to_raw_value(info) {
            Ok(info) => self.change(|wish| wish.info = Some(info)),
            Err(error) => {
                self.wish = self.wish.and_then(|_| Err(Error::misuse(error.to_string())));
                self
            }
        }
    }

    /// Whether it sees who is there, comes and goes.
    pub fn members(self, wanted: bool) -> Self {
        self.change(|wish| wish.members = Some(wanted))
    }

    /// Whether this client's own publications come back. They do, by default.
    pub fn echo(self, echo: bool) -> Self {
        self.change(|wish| wish.echo = (!echo).then_some(false))
    }

    fn change(mut self, change: impl FnOnce(&mut Wish)) -> Self {
        if let Ok(wish) = &mut self.wish {
            change(wish);
        }
        self
    }

    async fn open(self) -> Result<Subscription, Error> {
        let Self { client, channel, wish } = self;
        let handle = Arc::clone(client.handle());
        let (opened, members) = oneshot::channel();
        let serial = handle.shared.lock().subscribe(&channel, wish?, opened, now())?;
        handle.shared.wake();
        // From here on dropping it is unsubscribing.
        let mut subscription =
            Subscription { handle, serial, channel, roster: Roster::default(), news: VecDeque::new() };
        let members = members.await.unwrap_or_else(|_gone| Err(Error::closed()))?;
        subscription.roster = Roster::new(members);
        Ok(subscription)
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

/// What comes from a channel, each publication once and in order, whatever happens to the connection. Dropping it ends
/// it.
///
/// ```no_run
/// # async fn run(client: sockeye_client::Client) -> Result<(), sockeye_client::Error> {
/// use sockeye_client::Event;
///
/// let mut lobby = client.subscribe("chat:lobby").last(20).members_as(&"Ann").await?;
/// println!("{} are here", lobby.members().len());
/// while let Some(event) = lobby.next().await {
///     match event {
///         Event::Publication(publication) => println!("{:?}", publication.data),
///         Event::Joined(member) => println!("{} came", member.session),
///         Event::Left(member) => println!("{} went", member.session),
///         Event::Lost { reason, .. } => println!("something is missing: {reason:?}"),
///         Event::Ended { why, .. } => println!("over: {why}"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # What it promises
///
/// In a channel with history each offset is told once, in order, or lies within an [`Event::Lost`]. After a reconnect
/// it asks for what came since; what comes twice is dropped; where offsets are missing it asks again from before the
/// hole. In a channel without history there is nothing to ask for, and each lost connection is an [`Event::Lost`].
///
/// # A reader that does not read
///
/// Up to [`Limits::max_events`](crate::Limits::max_events) wait for it. Then it pauses: it leaves the channel at the
/// server, so that one reader holds up neither the others nor the connection, and memory stays bounded. When half of
/// what waited has been read, it subscribes again from where it stood. So nothing is lost while the history holds it,
/// and an [`Event::Lost`] says so where it does not. Volatile publications, which no history holds, pass it by
/// meanwhile, and its member is absent.
pub struct Subscription {
    handle: Arc<Handle>,
    serial: u64,
    channel: String,
    roster: Roster,
    /// Who came and went while the members were out of sight.
    news: VecDeque<Event>,
}

impl Subscription {
    /// Waits for the next event; `None` at the end.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Behind the last event that [`next`](Self::next) has returned: the place to go on from with [`Subscribe::since`].
    /// `None` in a channel without history.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.handle.shared.lock().position(self.serial)
    }

    /// Who is there, as far as the events that were read tell; none if it does not see members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        self.roster.members()
    }

    /// The channel's name.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Ends it, and waits until the server has taken note. To end it without waiting, drop it.
    ///
    /// # Cancel safety
    /// It is over when this is first polled.
    pub async fn unsubscribe(self) {
        let left = self.end();
        if let Some(left) = left {
            // An error says that the connection is gone, and the subscription with it.
            let _ = left.await;
        }
    }

    fn end(&self) -> Option<oneshot::Receiver<()>> {
        let left = self.handle.shared.lock().unsubscribe(self.serial);
        self.handle.shared.wake();
        left
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.news.pop_front() {
                return Poll::Ready(Some(event));
            }
            let (item, resumes) = self.handle.shared.lock().poll_next(self.serial, cx);
            if resumes {
                self.handle.shared.wake();
            }
            match ready!(item) {
                Some(Item::Members(members)) => self.news = self.roster.replace(members).into(),
                Some(Item::Event(event)) => {
                    match &event {
                        Event::Joined(member) => self.roster.joined(member, self.handle.limits.max_members),
                        Event::Left(member) => self.roster.left(member),
                        _ => {}
                    }
                    return Poll::Ready(Some(event));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll_event(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("channel", &self.channel).finish_non_exhaustive()
    }
}
