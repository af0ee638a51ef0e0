use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};

use super::HandshakeLimits;
use super::accept_key::accept_key;
use super::error::{HandshakeError, Kind};
use super::error_body::ErrorBody;
use super::extensions::parse_answer;
use super::fields::{Single, list_contains, single};
use super::head::{Head, HeadCollector, HeadKind};
use super::subprotocol::Subprotocol;
use crate::deflate::{ClientOffer, DeflateParams};

/// Reads the server's answer. The second state of a client's handshake.
///
/// ```text
///            101 and every check passed
///  ┌────────┐ ────────────────────────────> Established
///  │  Head  │ ──> (100, 103 and their like: next head)
///  └────────┘
///      │ another status
///      v
///  ┌────────┐  its end, the limit, end of stream, or no more time
///  │  Body  │ ────────────────────────────> HandshakeError::response
///  └────────┘
/// ```
#[derive(Debug)]
#[must_use]
pub struct ReadResponse {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Boxed, so that handing the state on costs a pointer, however many pieces the head comes in.
    Head(Box<(HeadCollector, Expected)>),
    Body {
        response: Response<()>,
        body: ErrorBody,
    },
}

/// What the answer has to agree with.
#[derive(Debug)]
pub(super) struct Expected {
    /// Only HTTP/1.1 has it.
    pub(super) accept: String,
    pub(super) subprotocols: Vec<Subprotocol>,
    pub(super) deflate: Option<ClientOffer>,
}

/// What [`ReadResponse::handle_input`] came to.
#[derive(Debug)]
#[must_use]
pub enum ResponseProgress {
    /// The answer is not whole yet.
    More(ReadResponse),
    /// The connection speaks WebSocket.
    Done(Established),
}

/// A handshake that both sides agreed to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Established {
    /// The server's response, with status 101, or 2xx over HTTP/2.
    pub response: Response<()>,
    /// The subprotocol that the server chose from those offered.
    pub subprotocol: Option<Subprotocol>,
    /// The compression that the server agreed to, for [`Connection::with_deflate`](crate::Connection::with_deflate).
    pub deflate: Option<DeflateParams>,
    /// The input after the head: the first frames.
    pub rest: Bytes,
}

impl ReadResponse {
    pub(super) fn new(
        key: &str,
        subprotocols: Vec<Subprotocol>,
        deflate: Option<ClientOffer>,
        limits: HandshakeLimits,
    ) -> Self {
        let collector = HeadCollector::new(HeadKind::Response, limits);
        let expected = Expected { accept: accept_key(key), subprotocols, deflate };
        Self { state: State::Head(Box::new((collector, expected))) }
    }

    /// Takes the next input.
    ///
    /// # Errors
    ///
    /// Fails if the answer is not HTTP/1.1, crosses a limit, breaks a rule of RFC 6455 section 4.1, or is a refusal.
    /// A refusal is reported when its body is whole or as long as is kept. The connection is then of no more use.
    pub fn handle_input(self, mut input: &[u8]) -> Result<ResponseProgress, HandshakeError> {
        let mut state = match self.state {
            State::Head(state) => state,
            State::Body { response, body } => return handle_body(response, body, input),
        };
        loop {
            let Some((head, rest)) = state.0.push(input)? else {
                return Ok(ResponseProgress::More(Self { state: State::Head(state) }));
            };
            let (response, is_http_11) = parse(&head)?;
            match response.status() {
                StatusCode::SWITCHING_PROTOCOLS if !is_http_11 => return Err(Kind::Http10.into()),
                StatusCode::SWITCHING_PROTOCOLS => {
                    let (subprotocol, deflate) = state.1.check(response.headers())?;
                    let rest = Bytes::copy_from_slice(rest);
                    return Ok(ResponseProgress::Done(Established { response, subprotocol, deflate, rest }));
                }
                // RFC 9110 section 15.2: a client takes any number of these before the final response. Together
                // they may not be longer than one head.
                status if status.is_informational() => {
                    state.0.begin_next();
                    input = rest;
                }
                _ => {
                    let body = ErrorBody::new(&response, state.0.limits().max_error_body);
                    return handle_body(response, body, rest);
                }
            }
        }
    }

    /// The server will send nothing more.
    #[must_use]
    pub fn handle_eof(self) -> HandshakeError {
        self.end(Kind::UnexpectedEof)
    }

    /// The handshake's time is over. A refusal whose body is still coming is reported with what came of it.
    #[must_use]
    pub fn handle_timeout(self) -> HandshakeError {
        self.end(Kind::Timeout)
    }

    fn end(self, without_head: Kind) -> HandshakeError {
        match self.state {
            State::Head(_) => without_head.into(),
            State::Body { response, body } => refused(response, body),
        }
    }
}

impl Expected {
    /// The checks of RFC 6455 section 4.1, items 2 to 6 of the last list.
    fn check(self, headers: &HeaderMap) -> Result<(Option<Subprotocol>, Option<DeflateParams>), HandshakeError> {
        match single(headers, &header::UPGRADE) {
            Single::One(value) if value.as_bytes().eq_ignore_ascii_case(b"websocket") => {}
            _ => return Err(Kind::BadUpgrade.into()),
        }
        if !list_contains(headers, &header::CONNECTION, "upgrade") {
            return Err(Kind::BadConnection.into());
        }
        match single(headers, &header::SEC_WEBSOCKET_ACCEPT) {
            Single::One(value) if *value == *self.accept => {}
            _ => return Err(Kind::BadAccept.into()),
        }
        self.check_agreed(headers)
    }

    /// What the server chose of what was offered: the last two items, which every version of HTTP has.
    pub(super) fn check_agreed(
        self,
        headers: &HeaderMap,
    ) -> Result<(Option<Subprotocol>, Option<DeflateParams>), HandshakeError> {
        let deflate = match (single(headers, &header::SEC_WEBSOCKET_EXTENSIONS), self.deflate) {
            (Single::Absent, _) => None,
            (Single::One(_) | Single::Repeated, None) | (Single::Repeated, Some(_)) => {
                return Err(Kind::ExtensionNotOffered.into());
            }
            (Single::One(value), Some(offer)) => {
                let answer = parse_answer(value).map_err(|_| Kind::ExtensionNotOffered)?;
                Some(offer.check(&answer).map_err(|_| Kind::ExtensionNotOffered)?)
            }
        };
        let subprotocol = match single(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
            Single::Absent => None,
            Single::Repeated => return Err(Kind::SubprotocolNotOffered.into()),
            Single::One(value) => {
                let chosen = self.subprotocols.into_iter().find(|offered| value == offered.as_str());
                Some(chosen.ok_or(Kind::SubprotocolNotOffered)?)
            }
        };
        Ok((subprotocol, deflate))
    }
}

pub(super) fn parse(head: &Head) -> Result<(Response<()>, bool), HandshakeError> {
    let (status, is_http_11, headers) = head.parse_response()?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = if is_http_11 { http::Version::HTTP_11 } else { http::Version::HTTP_10 };
    *response.headers_mut() = headers;
    Ok((response, is_http_11))
}

fn handle_body(response: Response<()>, mut body: ErrorBody, input: &[u8]) -> Result<ResponseProgress, HandshakeError> {
    body.push(input);
    if body.is_done() {
        Err(refused(response, body))
    } else {
        Ok(ResponseProgress::More(ReadResponse { state: State::Body { response, body } }))
    }
}

pub(super) fn refused(response: Response<()>, body: ErrorBody) -> HandshakeError {
    Kind::Refused(response.map(|()| body.into_bytes())).into()
}
