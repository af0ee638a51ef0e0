use bytes::{BufMut, BytesMut};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Room for the answer to a handshake, and for most others.
const USUAL_HEAD: usize = 256;
/// Headers that open a head, in this order, as the RFCs write them. The others follow in the order of their map.
const LEADING: [(HeaderName, &str); 8] = [
    (header::HOST, "Host"),
    (header::UPGRADE, "Upgrade"),
    (header::CONNECTION, "Connection"),
    (header::SEC_WEBSOCKET_ACCEPT, "Sec-WebSocket-Accept"),
    (header::SEC_WEBSOCKET_KEY, "Sec-WebSocket-Key"),
    (header::SEC_WEBSOCKET_VERSION, "Sec-WebSocket-Version"),
    (header::SEC_WEBSOCKET_PROTOCOL, "Sec-WebSocket-Protocol"),
    (header::SEC_WEBSOCKET_EXTENSIONS, "Sec-WebSocket-Extensions"),
];

/// Appends an HTTP/1.1 response, head and body.
///
/// Where a body may follow the status and the head says nothing about its length, `Content-Length` is added. A
/// program that answers `HEAD` sets `Content-Length` itself and gives no body.
///
/// ```
/// let mut out = bytes::BytesMut::new();
/// sockeye_proto::handshake::write_response(&http::Response::new(()), b"ok", &mut out);
/// assert_eq!(out, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
/// ```
pub fn write_response(response: &http::Response<()>, body: &[u8], out: &mut BytesMut) {
    let status = response.status();
    out.reserve(USUAL_HEAD.saturating_add(body.len()));
    write_lines(response, out);
    let has_length = || {
        response.headers().contains_key(header::CONTENT_LENGTH)
            || response.headers().contains_key(header::TRANSFER_ENCODING)
    };
    if has_body(status) && !has_length() {
        write_header(b"Content-Length", &body.len().into(), out);
    }
    out.put_slice(b"\r\n");
    if has_body(status) {
        out.put_slice(body);
    }
}

/// Appends the head of an HTTP/1.1 response as it is. If it says nothing about the length of its body, that ends with the
/// connection (RFC 9112 section 6.3).
///
/// ```
/// let mut out = bytes::BytesMut::new();
/// sockeye_proto::handshake::write_response_head(&http::Response::new(()), &mut out);
/// assert_eq!(out, "HTTP/1.1 200 OK\r\n\r\n");
/// ```
pub fn write_response_head(response: &http::Response<()>, out: &mut BytesMut) {
    write_lines(response, out);
    out.put_slice(b"\r\n");
}

/// Appends the head of an HTTP/1.1 request. The target is the URI's path and query.
///
/// ```
/// let request = http::Request::get("/live?x=1").header("host", "example.org").body(()).unwrap();
/// let mut out = bytes::BytesMut::new();
/// sockeye_proto::handshake::write_request(&request, &mut out);
/// assert_eq!(out, "GET /live?x=1 HTTP/1.1\r\nHost: example.org\r\n\r\n");
/// ```
pub fn write_request(request: &http::Request<()>, out: &mut BytesMut) {
    out.put_slice(request.method().as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    write_headers(request.headers(), out);
    out.put_slice(b"\r\n");
}

fn write_lines(response: &http::Response<()>, out: &mut BytesMut) {
    let status = response.status();
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    write_headers(response.headers(), out);
}

/// Whether a response with this status has a body at all (RFC 9110 section 6.4.1).
pub(super) fn has_body(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

fn write_headers(headers: &HeaderMap, out: &mut BytesMut) {
    // A head has few headers: to go through them is less work than to look up each name.
    let mut written = 0_usize;
    for (name, spelled) in &LEADING {
        for (_, value) in headers.iter().filter(|(own, _)| *own == name) {
            write_header(spelled.as_bytes(), value, out);
            written = written.saturating_add(1);
        }
    }
    if written == headers.len() {
        return;
    }
    for (name, value) in headers {
        if !LEADING.iter().any(|(leading, _)| leading == name) {
            let start = out.len();
            write_header(name.as_str().as_bytes(), value, out);
            spell(out.get_mut(start..).and_then(|line| line.get_mut(..name.as_str().len())).unwrap_or_default());
        }
    }
}

fn write_header(name: &[u8], value: &HeaderValue, out: &mut BytesMut) {
    // Asked for once, and not by each of the four.
    out.reserve(name.len().saturating_add(value.len()).saturating_add(b": \r\n".len()));
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Turns a lower-case name into what the RFCs write. Case has no meaning, but some old clients think it has.
fn spell(name: &mut [u8]) {
    for word in name.split_mut(|&byte| byte == b'-') {
        match &*word {
            b"websocket" => word.copy_from_slice(b"WebSocket"),
            b"www" => word.make_ascii_uppercase(),
            _ => word.get_mut(..1).unwrap_or_default().make_ascii_uppercase(),
        }
    }
}
