//! Rules about header fields that both the reader of requests and the judge of offers need.

use std::net::Ipv6Addr;

use http::header::{self, GetAll, HeaderMap, HeaderName, HeaderValue};

use super::refusal::Cause;
use super::token::OWS;

/// Whether a request asks for WebSocket at all: its `Upgrade` names `websocket`.
///
/// A server sends such a request to [`Offer::check`](super::Offer::check) and serves a page to the others.
///
/// ```
/// use sockeye_proto::handshake::is_upgrade;
///
/// let page = http::Request::get("/").body(()).unwrap();
/// assert!(!is_upgrade(&page));
/// let upgrade = http::Request::get("/").header("Upgrade", "WebSocket").body(()).unwrap();
/// assert!(is_upgrade(&upgrade));
/// ```
#[must_use]
pub fn is_upgrade<B>(request: &http::Request<B>) -> bool {
    list_contains(request.headers(), &header::UPGRADE, "websocket")
}

/// The body that a request or response announces in its head (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// Nothing is announced.
    Absent,
    /// `Content-Length` in bytes. The number is the peer's word: allocate nothing for it.
    Known(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl BodyLength {
    /// Reads `Content-Length` and `Transfer-Encoding`.
    ///
    /// A request from [`ReadRequest`](super::ReadRequest) has passed this already.
    ///
    /// # Errors
    ///
    /// 400 if the two stand together, if a length is not a plain decimal number or stands twice, or if `chunked` is
    /// not there once and last; 501 for another transfer coding.
    pub fn of(headers: &HeaderMap) -> Result<Self, super::Refusal> {
        body_length(headers).map_err(super::Refusal::from)
    }
}

pub(super) fn body_length(headers: &HeaderMap) -> Result<BodyLength, Cause> {
    let encodings = headers.get_all(header::TRANSFER_ENCODING);
    let length = match single(headers, &header::CONTENT_LENGTH) {
        Single::Absent => None,
        // One of two equal lengths could be taken (RFC 9112 section 6.3), but no honest client sends two.
        Single::Repeated => return Err(Cause::BadContentLength),
        Single::One(value) => Some(decimal(value).ok_or(Cause::BadContentLength)?),
    };
    if encodings.iter().next().is_none() {
        return Ok(length.map_or(BodyLength::Absent, BodyLength::Known));
    }
    if length.is_some() {
        return Err(Cause::LengthAndEncoding);
    }
    let mut chunked = false;
    let mut other = false;
    for coding in list(&encodings) {
        // Nothing may come after `chunked`, itself least of all.
        if chunked || coding.is_empty() {
            return Err(Cause::BadTransferEncoding);
        }
        chunked = coding.eq_ignore_ascii_case("chunked");
        other |= !chunked;
    }
    match (chunked, other) {
        (false, _) => Err(Cause::BadTransferEncoding),
        (true, true) => Err(Cause::UnknownTransferCoding),
        (true, false) => Ok(BodyLength::Chunked),
    }
}

/// `1*DIGIT` that fits; no sign, no `0x`, no list.
fn decimal(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The value of the one `Host` header (RFC 9112 section 3.2).
pub(super) fn host(headers: &HeaderMap) -> Result<&HeaderValue, Cause> {
    match single(headers, &header::HOST) {
        Single::One(value) if value.to_str().is_ok_and(is_authority) => Ok(value),
        Single::One(_) | Single::Absent | Single::Repeated => Err(Cause::BadHost),
    }
}

/// A host name, IPv4 address or bracketed IPv6 address, and perhaps a port. No user, nothing empty.
pub(super) fn is_authority(text: &str) -> bool {
    let (host_is_valid, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let end = text.bytes().position(|byte| !is_name_byte(byte)).unwrap_or(text.len());
        let (host, port) = text.split_at_checked(end).unwrap_or((text, ""));
        (host.bytes().any(|byte| byte.is_ascii_alphanumeric()), port)
    };
    let port_is_valid = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    host_is_valid && port_is_valid
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// How often a header is there that may be there once.
pub(super) enum Single<'a> {
    Absent,
    One(&'a HeaderValue),
    Repeated,
}

pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Single<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Single::Absent,
        (Some(value), None) => Single::One(value),
        (Some(_), Some(_)) => Single::Repeated,
    }
}

/// Whether a comma-separated header holds a name, in any case of its letters.
pub(super) fn list_contains(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name);
    // Mostly it is the one thing that is said.
    values.iter().any(|value| value.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()))
        || list(&values).any(|element| element.eq_ignore_ascii_case(wanted))
}

/// Whether a header is the handshake's own, which a program cannot set beside it.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [HeaderName; 8] = [
        header::HOST,
        header::CONNECTION,
        header::UPGRADE,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::EXPECT,
    ];
    RESERVED.contains(name) || name.as_str().starts_with("sec-websocket-")
}

/// The elements of a comma-separated header, empty ones too. A value that is not ASCII counts as one empty element.
fn list<'a>(values: &GetAll<'a, HeaderValue>) -> impl Iterator<Item = &'a str> + use<'a> {
    values
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(|element| element.trim_matches(OWS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a3_authorities() {
        for good in
            ["a", "example.org", "example.org:80", "127.0.0.1:0", "[::1]", "[::1]:7071", "my_host", "xn--bcher-kva"]
        {
            assert!(is_authority(good), "{good}");
        }
        for bad in [
            "", ":80", "a:", "a:b", "a:65536", "a:+1", "a:-1", "a:80:80", "user@a", "a b", "a/b", "a,b", "::1", "[::1",
            "[::1]a", "[]", "[g]", "a?b", "a#b", "a%41", "a\\b", ".", "-", "a:80 ", "bücher",
        ] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
