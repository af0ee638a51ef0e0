use bytes::Bytes;
use http::{Method, Request, Version, header};

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
    is_lenient: bool,
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
        /// The request. Its URI is path and query, its version HTTP/1.1, unless it was read by
        /// [`lenient`](ReadRequest::lenient).
        request: Request<()>,
        /// The input after the head: a body for a page's request, frames for an upgrade.
        rest: Bytes,
    },
}

impl ReadRequest {
    /// Begins with nothing read.
    pub fn new(limits: HandshakeLimits) -> Self {
        Self { collector: Box::new(HeadCollector::new(HeadKind::Request, limits)), is_lenient: false }
    }

    /// The same for a program that serves more than WebSockets: it also gets requests of HTTP/1.0, and paths of whatever
    /// segments, and has to look at [`Request::version`] and [`is_plain_path`](super::is_plain_path) itself.
    pub fn lenient(limits: HandshakeLimits) -> Self {
        Self { collector: Box::new(HeadCollector::new(HeadKind::LenientRequest, limits)), is_lenient: true }
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
            Some((head, rest)) => Ok(RequestProgress::Done {
                request: request(&head, self.is_lenient)?,
                rest: Bytes::copy_from_slice(rest),
            }),
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

fn request(head: &Head, is_lenient: bool) -> Result<Request<()>, Cause> {
    let (method, target, version, headers) = head.parse_request()?;
    // Neither has a meaning here, and a `CONNECT` has a target of its own form.
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(Cause::MethodNotAllowed);
    }
    let host = fields::host(&headers)?;
    fields::body_length(&headers)?;
    // HTTP/1.0 has no chunks (RFC 9112 section 6.1).
    if version == Version::HTTP_10 && headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Cause::TransferEncodingOfOld);
    }
    let uri = target::normalise(target, host.to_str().map_err(|_| Cause::BadHost)?, is_lenient)?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    Ok(request)
}
