//! The request target (RFC 9112 section 3.2), reduced to one spelling: an absolute path without tricks.

use bytestring::ByteString;
use http::Uri;

use super::fields::is_authority;
use super::refusal::Cause;

/// Turns a request target into a `Uri` of path and query.
///
/// A route must mean the same to whoever reads it, so a path that decodes to dot segments, empty segments, `\` or
/// control characters is refused, not repaired; `is_lenient` leaves that to the caller. The query is the
/// application's: it only has to be what a `Uri` takes.
pub(super) fn normalise(target: ByteString, host: &str, is_lenient: bool) -> Result<Uri, Cause> {
    // The Uri type would drop a fragment in silence.
    if target.contains('#') {
        return Err(Cause::BadTarget);
    }
    let path_and_query = if target.starts_with('/') { target } else { absolute_form(&target, host)?.into() };
    let path = path_and_query.split_once('?').map_or(&*path_and_query, |(path, _)| path);
    if !is_lenient && !is_plain_path(path) {
        return Err(Cause::BadTarget);
    }
    Uri::from_maybe_shared(path_and_query.into_bytes()).map_err(|_| Cause::BadTarget)
}

/// `http://host/path?query` -> `/path?query`. The authority has to be the one in `Host` (RFC 9112 section 3.2.2).
fn absolute_form(target: &str, host: &str) -> Result<String, Cause> {
    let (scheme, rest) = target.split_once("://").ok_or(Cause::BadTarget)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Cause::BadTarget);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).ok_or(Cause::BadTarget)?;
    if !is_authority(authority) || !authority.eq_ignore_ascii_case(host) {
        return Err(Cause::BadTarget);
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

/// Whether a path, percent-decoded once, has only plain segments: no dot segments, no empty ones, no `\`, no control
/// characters. [`ReadRequest`](super::ReadRequest) takes no other; this is for requests that another HTTP library has read.
///
/// ```
/// use sockeye_proto::handshake::is_plain_path;
///
/// assert!(is_plain_path("/live/room-1") && is_plain_path("/caf%c3%a9/"));
/// assert!(!is_plain_path("/live//room") && !is_plain_path("/live/%2e%2e/admin"));
/// ```
#[must_use]
pub fn is_plain_path(path: &str) -> bool {
    // One pass over the bytes.
    let mut bytes = path.bytes();
    if bytes.next() != Some(b'/') {
        return false;
    }
    let mut segment = Segment::Empty;
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                (Some(high), Some(low)) => (high << 4) | low,
                _ => return false,
            }
        } else {
            byte
        };
        segment = match (byte, segment) {
            // The second half is `//`, `/./` and `/../`, also where the slash itself was encoded.
            (0..=0x1f | 0x7f | b'\\', _) | (b'/', Segment::Empty | Segment::Dot | Segment::DotDot) => {
                return false;
            }
            (b'/', Segment::Plain) => Segment::Empty,
            (b'.', Segment::Empty) => Segment::Dot,
            (b'.', Segment::Dot) => Segment::DotDot,
            _ => Segment::Plain,
        };
    }
    !matches!(segment, Segment::Dot | Segment::DotDot)
}

/// What the current segment is so far.
#[derive(Clone, Copy)]
enum Segment {
    Empty,
    Dot,
    DotDot,
    Plain,
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a17_targets_that_are_taken() {
        for (target, expected) in [
            ("/", "/"),
            ("/ws", "/ws"),
            ("/a/b/", "/a/b/"),
            ("/a%20b", "/a%20b"),
            ("/%C3%BC", "/%C3%BC"),
            ("/a%2Fb", "/a%2Fb"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a..b/..c/d..", "/a..b/..c/d.."),
            ("/%252e%252e", "/%252e%252e"),
            ("/ws?a=../..//\\&b={%22c%22:[1]}|`^%", "/ws?a=../..//\\&b={%22c%22:[1]}|`^%"),
            ("http://example.org", "/"),
            ("http://example.org/ws?x", "/ws?x"),
            ("HTTPS://EXAMPLE.org?x", "/?x"),
        ] {
            let uri = normalise(target.into(), "example.org", false).unwrap_or_else(|_| panic!("{target}"));
            assert_eq!(uri.to_string(), expected, "{target}");
        }
    }

    #[test]
    fn a17_targets_that_are_refused() {
        for target in [
            "",
            "*",
            "ws",
            "example.org:443",
            "//",
            "//evil",
            "/a//b",
            "/%2f",
            "/a/%2Fb",
            "/.",
            "/..",
            "/./a",
            "/../a",
            "/a/..",
            "/a/.",
            "/%2e%2e",
            "/%2E./a",
            "/a/%2e",
            "/a/..%2fb",
            "/..%5ca",
            "/a\\b",
            "/%00",
            "/a%00.html",
            "/%0d%0a",
            "/%7f",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/a#b",
            "#",
            "ftp://example.org/",
            "http://",
            "http:///a",
            "http://evil.org/",
            "http://user@example.org/",
            "http://example.org:80/",
            "http://example.org/../a",
            "http://example.org\\a",
            "ws://example.org/",
            "javascript:alert(1)",
        ] {
            assert!(normalise(target.into(), "example.org", false).is_err(), "{target}");
        }
    }
}
