//! An HTTP proxy's answer to `CONNECT` (RFC 9110 section 9.3.6).

use bytes::{BufMut, Bytes, BytesMut};
use http::header::HeaderValue;
use http::{Response, StatusCode};

use super::HandshakeLimits;
use super::error::{HandshakeError, Kind};
use super::error_body::ErrorBody;
use super::head::{HeadCollector, HeadKind};
use super::response::{parse, refused};

/// Reads a proxy's answer to the request for a tunnel, within the same limits as a server's.
///
/// ```text
///            2xx
///  ┌────────┐ ────────────────────────────> open
///  │  Head  │ ──> (100 and its like: next head)
///  └────────┘
///      │ another status
///      v
///  ┌────────┐  its end, the limit, end of stream, or no more time
///  │  Body  │ ────────────────────────────> HandshakeError::response
///  └────────┘
/// ```
#[derive(Debug)]
#[must_use]
pub struct ReadTunnel {
    state: State,
}

#[derive(Debug)]
enum State {
    Head(Box<HeadCollector>),
    Body { response: Response<()>, body: ErrorBody },
}

impl ReadTunnel {
    pub(super) fn new(limits: HandshakeLimits) -> Self {
        Self { state: State::Head(Box::new(HeadCollector::new(HeadKind::Response, limits))) }
    }

    /// Takes the next input. `None` says that the tunnel is open.
    ///
    /// # Errors
    ///
    /// Fails if the answer is not HTTP/1, crosses a limit or is a refusal, or if bytes follow it: the other end of the
    /// tunnel has not been sent anything that it could have answered.
    pub fn handle_input(self, input: &[u8]) -> Result<Option<Self>, HandshakeError> {
        match self.state {
            State::Head(collector) => handle_head(collector, input),
            State::Body { response, body } => handle_body(response, body, input),
        }
    }

    /// The proxy will send nothing more.
    #[must_use]
    pub fn handle_eof(self) -> HandshakeError {
        self.end(Kind::UnexpectedEof)
    }

    /// The time is over. A refusal whose body is still coming is reported with what came of it.
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

fn handle_head(mut collector: Box<HeadCollector>, mut input: &[u8]) -> Result<Option<ReadTunnel>, HandshakeError> {
    loop {
        let Some((head, rest)) = collector.push(input)? else {
            return Ok(Some(ReadTunnel { state: State::Head(collector) }));
        };
        // A length that a 2xx announces means nothing here, and proxies still answer in HTTP/1.0.
        let (response, _) = parse(&head)?;
        match response.status() {
            status if status.is_success() && rest.is_empty() => return Ok(None),
            status if status.is_success() => return Err(Kind::DataBeforeTunnel.into()),
            StatusCode::SWITCHING_PROTOCOLS => return Err(Kind::BadUpgrade.into()),
            status if status.is_informational() => {
                collector.begin_next();
                input = rest;
            }
            _ => {
                let body = ErrorBody::new(&response, collector.limits().max_error_body);
                return handle_body(response, body, rest);
            }
        }
    }
}

fn handle_body(
    response: Response<()>,
    mut body: ErrorBody,
    input: &[u8],
) -> Result<Option<ReadTunnel>, HandshakeError> {
    body.push(input);
    if body.is_done() {
        Err(refused(response, body))
    } else {
        Ok(Some(ReadTunnel { state: State::Body { response, body } }))
    }
}

/// `host` is one of a URL: IPv6 in brackets, and no byte that could end the line.
pub(super) fn write_connect(host: &str, port: u16, authorization: Option<&HeaderValue>) -> Bytes {
    let mut head = BytesMut::with_capacity(256);
    head.put_slice(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").as_bytes());
    if let Some(value) = authorization {
        head.put_slice(b"Proxy-Authorization: ");
        head.put_slice(value.as_bytes());
        head.put_slice(b"\r\n");
    }
    head.put_slice(b"\r\n");
    head.freeze()
}

#[cfg(test)]
mod tests {
    use super::super::ClientRequest;
    use super::*;

    fn read(answer: &[u8]) -> Result<Option<ReadTunnel>, HandshakeError> {
        let reading = || ReadTunnel::new(HandshakeLimits::default());
        let mut split = Ok(Some(reading()));
        for byte in answer {
            if let Ok(Some(state)) = split {
                split = state.handle_input(&[*byte]);
            }
        }
        let whole = reading().handle_input(answer);
        match (&whole, &split) {
            (Ok(whole), Ok(split)) => assert_eq!(whole.is_none(), split.is_none()),
            // What follows a head is seen only if it comes together with it.
            (Err(whole), Ok(None)) => assert_eq!(whole.code(), "data_before_tunnel"),
            (Err(whole), Err(split)) => assert_eq!(whole.code(), split.code()),
            other => panic!("{other:?}"),
        }
        whole
    }

    #[test]
    fn any_2xx_opens_the_tunnel() {
        for answer in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nProxy-agent: x\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ] {
            assert!(read(answer.as_bytes()).unwrap().is_none(), "{answer}");
        }
        assert!(read(b"HTTP/1.1 200 OK\r\n").unwrap().is_some());
    }

    #[test]
    fn k_answers_that_open_no_tunnel() {
        for (answer, code) in [
            ("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno", "refused"),
            ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "refused"),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "bad_upgrade"),
            ("HTTP/1.1 200 OK\r\n\r\nsmuggled", "data_before_tunnel"),
            ("HTTP/1.1 200 OK\n\n", "bare_lf"),
            ("HTTP/2 200\r\n\r\n", "bad_start_line"),
            ("SSH-2.0-OpenSSH_9.9\r\n", "bad_start_line"),
        ] {
            assert_eq!(read(answer.as_bytes()).unwrap_err().code(), code, "{answer}");
        }
        let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Header: x\r\n".repeat(2_000)].concat();
        assert_eq!(read(&endless).unwrap_err().code(), "too_many_headers");
        let reading = read(b"HTTP/1.1 407 No\r\nContent-Length: 9\r\n\r\nno").unwrap().unwrap();
        assert_eq!(reading.handle_timeout().response().unwrap().body(), "no");
        assert!(read(b"HTTP/1.1 4").unwrap().unwrap().handle_eof().is_eof());
    }

    #[test]
    fn the_request_names_host_and_port_and_authorizes_to_the_proxy_only() {
        let request = ClientRequest::new("ws://[::1]/x").unwrap().header("Authorization", "for the server").unwrap();
        let (head, _) = request.tunnel(Some(&HeaderValue::from_static("Basic eDp5")));
        assert_eq!(head, "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nProxy-Authorization: Basic eDp5\r\n\r\n");
    }
}
