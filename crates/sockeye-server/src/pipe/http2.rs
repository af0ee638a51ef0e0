//! Conversations over HTTP/2, whose frames are hyper's.
use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use sockeye_pipe::Output;

use super::{Answer, BODY_TIMEOUT, Begun, Held, Streaming, shared::Outflow};
use crate::{api::Refused, dialect::ErrorCode, http2::Bodies, worker::Worker};

/// Bytes of a frame that is asked for. hyper asks for one before there is room, and keeps it until then.
const ROOM: usize = 16 * 1024;

/// The body of a response.
pub(crate) enum Outgoing {
    Full(Full<Bytes>),
    Stream(Flow),
}

/// One that is written for a while.
pub(crate) struct Flow {
    prelude: Bytes,
    body: Box<dyn Outflow>,
    is_last: bool,
}

/// Reads the body of a request, and carries it out.
pub(crate) async fn answer(
    body: Incoming,
    begun: Begun,
    held: Held,
    (bodies, worker): (&Bodies, &Worker),
) -> Response<Outgoing> {
    let call = match begun {
        Ok(call) => call,
        Err(response) => return (*response).map(Outgoing::full),
    };
    let most = worker.pipes().map_or(0, |pipes| call.max_body(pipes));
    let refused = if body.is_end_stream() {
        return respond(call.perform(Bytes::new(), held, worker).await);
    } else if most == 0 {
        Refused::new(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, "nothing is sent here")
    } else {
        match bodies.read(body, most, BODY_TIMEOUT).await {
            Ok((body, _share)) => return respond(call.perform(body, held, worker).await),
            Err(refused) => refused,
        }
    };
    call.refuse(refused).map(Outgoing::full)
}

fn respond(answer: Answer) -> Response<Outgoing> {
    match answer {
        Answer::Full(response) => response.map(Outgoing::full),
        Answer::Stream(Streaming { head, prelude, body, is_poll: _ }) => {
            head.map(|()| Outgoing::Stream(Flow { prelude, body, is_last: false }))
        }
    }
}

impl Outgoing {
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self::Full(Full::new(bytes))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Full(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never: Infallible| match never {}))),
            Self::Stream(flow) => flow.poll_data(cx).map(|data| data.map(|data| data.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(body) => body.is_end_stream(),
            // It has to be asked again after the last of it, to know that that has been taken.
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => body.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

impl Flow {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if !self.prelude.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.prelude))));
        }
        if self.is_last {
            self.body.finished();
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.body.poll_output(cx, ROOM)) {
            Output::Write(bytes) => Some(Ok(bytes)),
            Output::Last(bytes) => {
                self.is_last = true;
                if bytes.is_empty() {
                    self.body.finished();
                    None
                } else {
                    Some(Ok(bytes))
                }
            }
            Output::Cut | Output::Wait => Some(Err(io::ErrorKind::ConnectionAborted.into())),
        })
    }
}
