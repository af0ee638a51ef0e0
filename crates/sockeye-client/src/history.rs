//! [`History`]: reading what was published.
use std::{future::IntoFuture, pin::Pin};

use crate::{Client, Error, Position, Publication, machine::Kind, wire};

/// A look into a channel's history, when awaited; from [`Client::history`].
///
/// ```no_run
/// # async fn run(client: sockeye_client::Client) -> Result<(), sockeye_client::Error> {
/// let newest = client.history("chat:lobby").reverse().limit(10).await?;
///
/// // All of it, page by page.
/// let mut pages = client.history("chat:lobby").pages();
/// while let Some(page) = pages.next().await? {
///     for publication in page.items {
///         println!("{publication:?}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The server's refusal: `position_lost` if the history does not hold the position that was given any more. That no
/// answer comes in [`Limits::request_timeout`](crate::Limits::request_timeout); [`Error::is_full`];
/// [`Error::is_closed`].
///
/// # Cancel safety
/// Dropping the future withdraws the question.
#[derive(Clone, Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct History {
    client: Client,
    channel: String,
    since: Option<Position>,
    limit: Option<u32>,
    is_reverse: bool,
}

/// Publications from a channel's history.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// Where the history ends.
    pub newest: Position,
    /// The publications.
    pub items: Vec<Publication>,
    /// There are others in this direction.
    pub more: bool,
}

impl History {
    pub(crate) fn new(client: Client, channel: String) -> Self {
        Self { client, channel, since: None, limit: None, is_reverse: false }
    }

    /// Leaves out what came up to this position; in reverse, begins before it.
    pub fn since(mut self, position: Position) -> Self {
        self.since = Some(position);
        self
    }

    /// Sets how many publications a page has at most. The server gives 50 by default and 300 at most.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// From the newest to the oldest.
    pub fn reverse(mut self) -> Self {
        self.is_reverse = true;
        self
    }

    /// Page after page.
    pub fn pages(self) -> Pages {
        Pages { next: Some(self) }
    }

    async fn read(self) -> Result<Page, Error> {
        let Self { client, channel, since, limit, is_reverse } = self;
        let reverse = is_reverse.then_some(true);
        let body = wire::body(&wire::History { history: &channel, since: since.as_ref(), limit, reverse })?;
        let answer = client.request(&body, Kind::Repeatable, client.limits().request_timeout).await?;
        let wire::Items { epoch, offset, items, more } = Error::read(&answer)?;
        let items = items.into_iter().map(Publication::try_from).collect::<Result<_, _>>().map_err(Error::protocol)?;
        Ok(Page { newest: Position { epoch, offset }, items, more })
    }
}

impl IntoFuture for History {
    type Output = Result<Page, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}

/// The pages of a [`History`].
#[derive(Debug)]
#[must_use = "nothing is read until it is asked for the next"]
pub struct Pages {
    next: Option<History>,
}

impl Pages {
    /// The next page; `None` behind the last.
    ///
    /// # Errors
    /// As [`History`]; then this is the place to ask again from.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call asks for the same page.
    pub async fn next(&mut self) -> Result<Option<Page>, Error> {
        let Some(history) = &self.next else { return Ok(None) };
        let page = history.clone().read().await?;
        let last = page.items.last().and_then(|item| item.offset);
        self.next = match (self.next.take(), last) {
            (Some(history), Some(offset)) if page.more => {
                let since = Position { epoch: page.newest.epoch.clone(), offset };
                // A server that gives the same page for ever is asked once.
                let is_progress = history.since.as_ref().is_none_or(|before| *before != since);
                is_progress.then(|| history.since(since))
            }
            _ => None,
        };
        Ok(Some(page))
    }
}
