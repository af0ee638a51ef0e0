//! The ways round: redirects and proxies.
use http::HeaderValue;
use sockeye_proto::handshake::{ClientRequest, HandshakeLimits, ReadRequest, ReadTunnel, RequestProgress};

use crate::input::{Choices, Cuts};

/// A URL, a `Location`, and bytes from a proxy in any split.
///
/// # Panics
/// If a redirect leads out of TLS or takes secrets elsewhere, if our own server does not understand the request that
/// follows it, or if the split of a proxy's answer makes a difference.
pub fn detour(data: &[u8]) {
    let mut choices = Choices::new(data);
    let cuts = Cuts::read(&mut choices);
    let mut text = || {
        let len = choices.byte();
        String::from_utf8_lossy(choices.take(len.into())).into_owned()
    };
    let (url, location) = (text(), text());
    let input = choices.rest();

    let Ok(request) = ClientRequest::new(&url).or_else(|_| ClientRequest::new("wss://example.org/")) else { return };
    let request = request.header("authorization", "secret").and_then(|request| request.header("x-open", "open"));
    let request = request.expect("two headers");
    redirect(&request, &location);
    tunnel(&request, input, &cuts);
}

fn redirect(from: &ClientRequest, location: &str) {
    let to = match from.clone().redirected(location) {
        Ok(to) => to,
        Err(error) => {
            assert!(error.is_protocol() && !error.is_user() && error.response().is_none());
            return assert!(matches!(error.code(), "bad_redirect" | "redirect_to_plaintext"), "{error}");
        }
    };
    assert!(to.is_secure() || !from.is_secure());
    let origin = |request: &ClientRequest| (request.is_secure(), request.host().to_owned(), request.port());
    assert_eq!(to.headers().contains_key("authorization"), origin(&to) == origin(from));
    assert_eq!(to.headers()["x-open"], "open");
    let (head, _) = to.clone().start([0; 16]);
    match ReadRequest::new(HandshakeLimits::default()).handle_input(&head) {
        Ok(RequestProgress::Done { request, .. }) => assert_eq!(request.headers()["host"], to.headers()["host"]),
        // Our server is stricter with paths and names than URLs are.
        other => assert!(matches!(other.expect_err("whole").code(), "bad_target" | "bad_host" | "start_line_too_long")),
    }
}

fn tunnel(request: &ClientRequest, input: &[u8], cuts: &Cuts<'_>) {
    let (head, reading) = request.tunnel(Some(&HeaderValue::from_static("Basic eDp5")));
    assert!(head.starts_with(b"CONNECT ") && head.ends_with(b"\r\nProxy-Authorization: Basic eDp5\r\n\r\n"));
    assert_eq!(head.windows(2).filter(|pair| pair == b"\r\n").count(), 4);
    let whole = read(reading, &[input]);
    let split = read(request.tunnel(None).1, &cuts.pieces(input));
    // What follows a head is told from what the tunnel brings only if it comes with it.
    assert!(whole == split || whole == "data_before_tunnel" && split == "open", "{whole} {split}");
}

/// All that can be seen of reading a proxy's answer.
fn read(mut reading: ReadTunnel, pieces: &[&[u8]]) -> String {
    for piece in pieces {
        match reading.handle_input(piece) {
            Ok(Some(next)) => reading = next,
            Ok(None) => return "open".to_owned(),
            Err(error) if error.code() == "data_before_tunnel" => return error.code().to_owned(),
            Err(error) => {
                assert!(!error.is_user() && !error.is_timeout());
                return format!("{error:?}");
            }
        }
    }
    format!("{:?}", reading.handle_eof())
}
