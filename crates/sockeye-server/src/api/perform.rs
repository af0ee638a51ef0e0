//! Carrying out what was asked for.
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde::Serialize;
use sockeye_hub::{ChannelInfo, Done, Failure, Request};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::{
    Backend, Call, Refused, Target,
    answer::ok,
    query::Query,
    read::{self, Publish},
    route::Endpoint,
};
use crate::{
    auth::KeyId,
    dialect::{ErrorCode, Problem, json},
};

/// Time for the hub and its store to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// When to try again what could not be begun.
const SOON: Duration = Duration::from_secs(1);

/// What the API can do, for programs.
pub(super) const DESCRIPTION: &str = include_str!("openapi.json");

pub(super) async fn perform(call: Call, body: Bytes, backend: &impl Backend) -> Result<Response<Bytes>, Refused> {
    let query = Query::parse(&call.query)?;
    match call.endpoint {
        Endpoint::Publish => publish(&call, &body, backend).await,
        Endpoint::History => ask(call.id, Request::History(read::channel(&query)?, read::page(&query)?), backend).await,
        Endpoint::Presence => {
            ask(call.id, Request::Presence(read::channel(&query)?, read::members(&query)?), backend).await
        }
        Endpoint::Channels => channels(&query, backend).await,
        Endpoint::Disconnect => disconnect(&call.key, &body, backend).await,
        Endpoint::Description => Ok(ok(Bytes::from_static(DESCRIPTION.as_bytes()))),
    }
}

async fn ask(key: KeyId, request: Request, backend: &impl Backend) -> Result<Response<Bytes>, Refused> {
    let deadline = begin(backend).await?;
    let done = wait(backend.ask(key, request), deadline).await?;
    Ok(ok(json::done_alone(&done)))
}

/// One, or several: then all are under way at once, in their order, and each has an answer of its own.
async fn publish(call: &Call, body: &Bytes, backend: &impl Backend) -> Result<Response<Bytes>, Refused> {
    let key = &*call.key;
    let read = read::publish(body).inspect_err(|problem| {
        info!(?key, code = problem.code.as_str(), "API: a publication was refused");
    })?;
    let deadline = begin(backend).await?;
    let (drafts, is_one) = match read {
        Publish::One(draft) => (vec![draft], true),
        Publish::Many(drafts) => (drafts, false),
    };
    let asked = drafts.into_iter().map(|(channel, draft)| {
        let asked = backend.ask(call.id, Request::Publish(channel.clone(), draft));
        (channel, asked)
    });
    let mut answers = Vec::new();
    for (channel, asked) in asked.collect::<Vec<_>>() {
        let answer = wait(asked, deadline).await;
        answers.push(answer.inspect_err(|problem| {
            let channel = channel.as_str();
            info!(?key, ?channel, code = problem.code.as_str(), "API: a publication was refused");
        }));
    }
    if is_one && let Some(answer) = answers.pop() {
        return Ok(ok(json::done_alone(&answer?)));
    }
    let mut array = vec![b'['];
    for answer in answers {
        if array.len() > 1 {
            array.push(b',');
        }
        array.extend_from_slice(
            &answer.map_or_else(|problem| json::error_alone(&problem), |done| json::done_alone(&done)),
        );
    }
    array.push(b']');
    Ok(ok(array))
}

async fn channels(query: &Query<'_>, backend: &impl Backend) -> Result<Response<Bytes>, Refused> {
    #[derive(Serialize)]
    struct Channels<'a> {
        channels: Vec<Listed<'a>>,
        more: bool,
    }
    #[derive(Serialize)]
    struct Listed<'a> {
        channel: &'a str,
        subscribers: u64,
        members: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
    }
    let (prefix, limit) = read::channels(query)?;
    let deadline = begin(backend).await?;
    // One more, to know whether there are others.
    let infos = timeout_at(deadline, backend.channels(prefix, limit.saturating_add(1))).await.map_err(|_| late())?;
    let mut infos: Vec<_> = infos.iter().filter(|info| !info.name.is_reserved()).collect();
    infos.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let more = infos.len() > limit;
    infos.truncate(limit);
    let channels = infos.into_iter().map(|info: &ChannelInfo| Listed {
        channel: info.name.as_str(),
        subscribers: info.subscribers,
        members: info.members,
        epoch: info.position.map(|position| position.epoch.to_string()),
        offset: info.position.map(|position| position.offset),
    });
    write(&Channels { channels: channels.collect(), more })
}

async fn disconnect(key: &str, body: &Bytes, backend: &impl Backend) -> Result<Response<Bytes>, Refused> {
    #[derive(Serialize)]
    struct Ended {
        sessions: usize,
    }
    let (target, code) = read::disconnect(body)?;
    let deadline = begin(backend).await?;
    let ending = backend.disconnect(target.clone(), code);
    let sessions = timeout_at(deadline, ending).await.map_err(|_| late())?;
    match &target {
        Target::Session(session) => info!(?key, %session, code = code.get(), sessions, "API: sessions were ended"),
        Target::User(user) => info!(?key, ?user, code = code.get(), sessions, "API: sessions were ended"),
    }
    write(&Ended { sessions })
}

/// Waits until the worker takes new work, and says until when it may take.
async fn begin(backend: &impl Backend) -> Result<Instant, Problem> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let busy = || Problem::passing(ErrorCode::Unavailable, "the server is busy; nothing was done", SOON);
    timeout_at(deadline, backend.room()).await.map(|()| deadline).map_err(|_| busy())
}

async fn wait(asked: impl Future<Output = Result<Done, Failure>>, deadline: Instant) -> Result<Done, Problem> {
    match timeout_at(deadline, asked).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(failure)) => Err(passing(failure.into())),
        Err(_) => Err(late()),
    }
}

/// A 503 always says when to come back.
fn passing(mut problem: Problem) -> Problem {
    if matches!(problem.code, ErrorCode::Unavailable | ErrorCode::Limit | ErrorCode::RateLimited) {
        problem.retry_after.get_or_insert(SOON);
    }
    problem
}

fn late() -> Problem {
    Problem::new(ErrorCode::Timeout, "it took too long; whether it was done is not known")
}

fn write(value: &impl Serialize) -> Result<Response<Bytes>, Refused> {
    let failed = |_| Problem::new(ErrorCode::Internal, "the answer could not be written");
    Ok(ok(serde_json::to_vec(value).map_err(failed)?))
}
