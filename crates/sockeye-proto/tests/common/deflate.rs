//! What the tests of permessage-deflate share. Needs the parent module beside it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use bytes::BytesMut;
use sockeye_proto::{
    Config, Deflate, DeflateParams, Role,
    handshake::{
        Accepted, ClientRequest, Established, ExtensionOffer, HandshakeError, Offer, ReadRequest, RequestProgress,
        ResponseProgress, write_response,
    },
};
use zlib_rs::{DeflateConfig, DeflateFlush, Method, Strategy};

use crate::common::End;

/// Both ends' view of what they agree upon.
pub(crate) struct Agreed {
    pub(crate) server: DeflateParams,
    pub(crate) client: DeflateParams,
}

impl Agreed {
    pub(crate) fn of(&self, role: Role) -> &DeflateParams {
        if role == Role::Server { &self.server } else { &self.client }
    }

    pub(crate) fn end(&self, role: Role, config: Config) -> End {
        End::with(role, config, |connection| connection.with_deflate(self.of(role)))
    }
}

/// A whole opening handshake.
pub(crate) fn agree(server: &Deflate, client: &Deflate) -> Agreed {
    let request = ClientRequest::new("ws://example.org/").unwrap().deflate(client.clone());
    let (head, response) = request.start([7; 16]);
    let Ok(RequestProgress::Done { request, .. }) = ReadRequest::new(<_>::default()).handle_input(&head) else {
        panic!("our request")
    };
    let accepted = Offer::check(&request).unwrap().deflate(server.clone()).accept(None).unwrap();
    let mut answer = BytesMut::new();
    write_response(&accepted.response, b"", &mut answer);
    let Ok(ResponseProgress::Done(established)) = response.handle_input(&answer) else { panic!("our answer") };
    Agreed { server: accepted.deflate.unwrap(), client: established.deflate.unwrap() }
}

/// The same policy at both ends.
pub(crate) fn both(policy: &Deflate) -> Agreed {
    agree(policy, policy)
}

pub(crate) fn takeover() -> Deflate {
    Deflate::default().server_takeover(true).client_takeover(true)
}

/// What a server with this policy makes of an offer.
pub(crate) fn accept(policy: &Deflate, offer: &str) -> Accepted {
    let request = http::Request::get("/")
        .header("Host", "a")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Extensions", offer)
        .body(())
        .unwrap();
    Offer::check(&request).unwrap().deflate(policy.clone()).accept(None).unwrap()
}

/// Its `Sec-WebSocket-Extensions`, without the extension's name.
pub(crate) fn answer(policy: &Deflate, offer: &str) -> Option<String> {
    let accepted = accept(policy, offer);
    let value = accepted.response.headers().get("sec-websocket-extensions");
    assert_eq!(value.is_some(), accepted.deflate.is_some());
    let text = value?.to_str().unwrap();
    assert_eq!(ExtensionOffer::parse(text).unwrap().len(), 1);
    Some(text.strip_prefix("permessage-deflate").unwrap().trim_start_matches("; ").to_owned())
}

/// What a client offers.
pub(crate) fn offers(policy: &Deflate) -> String {
    let (head, _) = ClientRequest::new("ws://a/").unwrap().deflate(policy.clone()).start([0; 16]);
    let head = String::from_utf8(head.to_vec()).unwrap();
    let line = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    line.expect("an offer").to_owned()
}

/// What a client with this policy makes of an answer: the lines of `Sec-WebSocket-Extensions`.
pub(crate) fn establish(policy: Option<&Deflate>, lines: &[&str]) -> Result<Established, HandshakeError> {
    let request = ClientRequest::new("ws://example.org/chat").unwrap();
    let request = if let Some(policy) = policy { request.deflate(policy.clone()) } else { request };
    let (_, response) = request.start(*b"the sample nonce");
    let mut answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        .to_owned();
    for line in lines {
        answer += "Sec-WebSocket-Extensions: ";
        answer += line;
        answer += "\r\n";
    }
    match response.handle_input((answer + "\r\n").as_bytes())? {
        ResponseProgress::Done(established) => Ok(established),
        ResponseProgress::More(_) => panic!("the head is complete"),
    }
}

/// A compressor as a peer may have it: one for all its messages.
pub(crate) struct Compressor(zlib_rs::Deflate);

impl Compressor {
    pub(crate) fn new(bits: i32) -> Self {
        Self::with(DeflateConfig {
            level: 6,
            method: Method::Deflated,
            window_bits: -bits,
            mem_level: 8,
            strategy: Strategy::Default,
        })
    }

    pub(crate) fn with(config: DeflateConfig) -> Self {
        Self(zlib_rs::Deflate::new_with_config(config))
    }

    /// What a message's payload is: a flush without its last four bytes.
    pub(crate) fn message(&mut self, data: &[u8]) -> Vec<u8> {
        let mut out = self.run(data, DeflateFlush::SyncFlush);
        // zlib writes nothing for the second flush in a row.
        if data.is_empty() && out.is_empty() {
            return out;
        }
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        out
    }

    pub(crate) fn run(&mut self, data: &[u8], flush: DeflateFlush) -> Vec<u8> {
        let mut out = vec![0; data.len() + data.len() / 4 + 1024];
        let before = self.0.total_out();
        self.0.compress(data, &mut out, flush).unwrap();
        out.truncate(usize::try_from(self.0.total_out() - before).unwrap());
        out
    }
}

/// One message alone.
pub(crate) fn compressed(data: &[u8]) -> Vec<u8> {
    Compressor::new(15).message(data)
}

/// Bytes that do not compress.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}
