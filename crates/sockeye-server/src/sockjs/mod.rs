//! SockJS: the hub and the demos for clients that no WebSocket reaches (docs/sockjs.md).
//!
//! ```text
//! path ──Mounts::find──▶ Found ──begin──▶ Step ─┬─ Whole      greeting, /info, page for frames, and every refusal
//!                                               ├─ WebSocket  socket: frames of SockJS in a WebSocket, or a bare one
//!                                               └─ Session    call: a response that goes on, or messages in a body
//! ```
//!
//! What SockJS says is in [`sockeye_pipe::sockjs`]; here it meets connections. Below a prefix nothing else is looked at but
//! what SockJS has there: a page or a WebSocket of the same path stays what it is.
mod call;
mod mount;
mod socket;

use std::{net::IpAddr, sync::Arc};

use http::{Method, Request};

use self::mount::{Mount, Step};
pub(crate) use self::{
    call::{Call, Name},
    mount::{Door, Mounts},
};
use crate::{api::without_body, pipe, worker::Worker};

/// What has become of a request by its head.
pub(crate) enum Begun {
    /// It is to be a WebSocket.
    WebSocket(Door),
    /// It is answered, or its body is to be read.
    Call(pipe::Begun),
}

/// Looks at the head of a request from this address; `None` if it is for something else.
pub(crate) fn begin<B>(request: &Request<B>, from: Option<IpAddr>, worker: &Worker) -> Option<Begun> {
    let (mounts, pipes) = (worker.sockjs(), worker.pipes()?);
    if request.method() == Method::CONNECT {
        return None;
    }
    let found = mounts.find(request, worker.demos().routes())?;
    Some(match found.begin(request) {
        Step::Whole(response) => Begun::Call(Err(without_body(request.method(), response).into())),
        Step::WebSocket(door) => Begun::WebSocket(door),
        Step::Session(id, asked, cors) => {
            let place = (Arc::clone(mounts), (found.index, id));
            let call = Call::new(place, asked, cors, request, (from, pipes));
            Begun::Call(Ok(pipe::Call::SockJs(call)))
        }
    })
}
