//! What the API needs of the rest of the server.
use std::{future::poll_fn, task::Poll};

use sockeye::CloseCode;
use sockeye_hub::{ChannelInfo, Done, Failure, Request, SessionId};

use crate::{
    auth::{KeyId, Principal},
    dialect::Farewell,
    worker::{Local, Worker},
};

/// Who is sent away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// One session.
    Session(SessionId),
    /// All sessions of a user.
    User(String),
}

/// A server as the API sees it.
pub(crate) trait Backend {
    /// Ready once new work is taken.
    fn room(&self) -> impl Future<Output = ()>;
    /// Something about a channel. It is asked before this returns, so that what is asked in some order is done in it.
    fn ask(&self, key: KeyId, request: Request) -> impl Future<Output = Result<Done, Failure>>;
    /// Channels that begin so, of all workers; of each so many at most.
    fn channels(&self, prefix: String, limit: usize) -> impl Future<Output = Vec<ChannelInfo>>;
    /// Ends sessions, and says how many they were.
    fn disconnect(&self, who: Target, code: CloseCode) -> impl Future<Output = usize>;
}

impl Backend for Worker {
    async fn room(&self) {
        let mut asked = 0;
        poll_fn(|cx| {
            if self.local.pressure().on_sessions {
                self.local.wait_for_room(cx.waker(), &mut asked);
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    fn ask(&self, key: KeyId, request: Request) -> impl Future<Output = Result<Done, Failure>> {
        self.local.ask(Principal::ApiKey(key), request)
    }

    async fn channels(&self, prefix: String, limit: usize) -> Vec<ChannelInfo> {
        let list = move |local: &Local| local.look(|hub| hub.channels(&prefix, limit));
        self.ask_everybody(list).await.into_iter().flatten().collect()
    }

    async fn disconnect(&self, who: Target, code: CloseCode) -> usize {
        let dismiss = move |local: &Local| {
            local.dismiss(Farewell::Dismissed(code), |session, principal| match &who {
                Target::Session(id) => session == *id,
                Target::User(user) => principal.user().as_deref() == Some(user),
            })
        };
        self.ask_everybody(dismiss).await.into_iter().sum()
    }
}
