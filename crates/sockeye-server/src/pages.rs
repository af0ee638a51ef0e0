//! The pages, embedded in the binary: no file is read, whatever a path says.
use std::borrow::Cow;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{HeaderValue, Request, Response, StatusCode, header};
use rust_embed::{Embed, EmbeddedFile};

#[derive(Embed)]
#[folder = "../../web/pages/"]
struct Pages;

/// The JavaScript client, as it is published.
#[derive(Embed)]
#[folder = "../../web/client/"]
#[include = "sockeye.js"]
#[include = "sockeye.d.ts"]
#[include = "sockeye/*.js"]
struct Client;

/// The client of SockJS, as it is published, which the page for frames loads.
#[derive(Embed)]
#[folder = "../../web/vendor/"]
#[include = "*.js"]
struct Vendor;

/// Only what this server sends may run; sockets may go anywhere, which the pages' address fields allow.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
);

/// The response to a GET of this file, with its body; `None` if there is no such file.
pub(crate) fn respond<B>(request: &Request<B>, file: &str) -> Option<(Response<()>, Bytes)> {
    let (page, is_client) = match Client::get(file) {
        Some(module) => (module, true),
        None => (Pages::get(file).or_else(|| Vendor::get(file))?, false),
    };
    let etag = etag(&page);
    let unchanged =
        request.headers().get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    if is_client {
        // Pages from anywhere may use it; whether they may connect is another question.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Some((response, Bytes::new()));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(file)));
    let body = match page.data {
        Cow::Borrowed(embedded) => Bytes::from_static(embedded),
        Cow::Owned(read) => read.into(),
    };
    Some((response, body))
}

fn etag(page: &EmbeddedFile) -> HeaderValue {
    let hash = HEXLOWER.encode(&page.metadata.sha256_hash()[..16]);
    HeaderValue::try_from(format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

fn content_type(file: &str) -> &'static str {
    match file.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("ts") => "text/plain; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}
