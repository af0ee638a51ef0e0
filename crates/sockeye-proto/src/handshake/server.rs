use bytes::Bytes;
use http::{Method, Request};

use super::HandshakeLimits;
use super::fields;
use super::head::{Head, HeadCollector, HeadKind};
use super::refusal::{Cause, Refusal};
use super::target;

/// Reads the head of one HTTP/1.1 request, upgrade or not. The first state of a server's handshake.
///
/// Strict where software has been tricked before: CRLF only, ASCII only, no folded lines, one valid `Host`, one
/// meaning of the body's length, a path without dot segments. Each byte is looked at once, however it arrives.
///
/// ```
/// use sockeye_proto::handshake::{HandshakeLimits, ReadRequest, RequestProgress};
///
/// let RequestProgress::More(reading) =
///     ReadRequest::new(HandshakeLimits::default()).handle_input(b"GET /about HTTP/1.1\r\nHost: a")?
/// else { unreachable!() };
/// let RequestProgress::Done { request, rest } = reading.handle_input(b".example\r\n\r\nmore")? else { unreachable!() };
/// assert_eq!(request.uri().path(), "/about");
/// assert_eq!(rest, "more");
/// # Ok::<(), sockeye_proto::handshake::Refusal>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct ReadRequest {
    /// Boxed, so that handing the state on costs a pointer, however many pieces the head comes in.
    collector: Box<HeadCollector>,
}

/// What [`ReadRequest::handle_input`] came to.
#[derive(Debug)]
#[must_use]
#[allow(clippy::large_enum_variant, reason = "taken apart at once and never stored")]
pub enum RequestProgress {
    /// The head is not whole yet.
    More(ReadRequest),
    /// The head is whole and sound.
    Done {
        /// The request. Its URI is path and query, its version HTTP/1.1.
        request: Request<()>,
        /// The input after the head: a body for a page's request, frames for an upgrade.
        rest: Bytes,
    },
}

impl ReadRequest {
    /// Begins with nothing read.
    pub fn new(limits: HandshakeLimits) -> Self {
        Self { collector: Box::new(HeadCollector::new(HeadKind::Request, limits)) }
    }

    /// Takes the next input.
    ///
    /// # Errors
    ///
    /// Returns the refusal to be sent before the connection is closed: 414 or 431 as soon as a limit is crossed, 505
    /// for another version of HTTP, 405 for `CONNECT` and `TRACE`, 501 for an unknown transfer coding, else 400.
    pub fn handle_input(mut self, input: &[u8]) -> Result<RequestProgress, Refusal> {
        match self.collector.push(input)? {
            None => Ok(RequestProgress::More(self)),
            Some((head, rest)) => {
                Ok(RequestProgress::Done { request: request(&head)?, rest: Bytes::copy_from_slice(rest) })
            }
        }
    }

    /// The client will send nothing more. A connection on which nothing came needs no answer: `None`.
    #[must_use]
    pub fn handle_eof(self) -> Option<Refusal> {
        if self.collector.is_untouched() { None } else { Some(Cause::Incomplete.into()) }
    }

    /// The handshake's time is over. A connection on which nothing came needs no answer: `None`.
    #[must_use]
    pub fn handle_timeout(self) -> Option<Refusal> {
        if self.collector.is_untouched() { None } else { Some(Refusal::timeout()) }
    }
}

fn request(head: &Head) -> Result<Request<()>, Cause> {
    let (method, target, headers) = head.parse_request()?;
    // Neither has a meaning here, and a `CONNECT` has a target of its own form.
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(Cause::MethodNotAllowed);
    }
    let host = fields::host(&headers)?;
    fields::body_length(&headers)?;
    let uri = target::normalise(target, host.to_str().map_err(|_| Cause::BadHost)?)?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}
