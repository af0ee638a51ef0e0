//! A peer that speaks HTTP/2 frame by frame (RFC 9113 section 4), and may break every rule of it.
use std::{io, net::SocketAddr};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of a GOAWAY or `RST_STREAM`.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Header fields without compression (RFC 7541 section 6.2.2).
pub(crate) fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The fields of a proper extended CONNECT.
pub(crate) fn connect_fields(path: &str) -> Vec<u8> {
    literals(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a"),
        ("sec-websocket-version", "13"),
    ])
}

pub(crate) fn connect(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &connect_fields(path))
}

/// A connection whose SETTINGS have been exchanged.
pub(crate) struct Peer {
    pub(crate) io: TcpStream,
    input: BytesMut,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut peer = Self { io: TcpStream::connect(address).await.unwrap(), input: BytesMut::new() };
        peer.io.set_nodelay(true).unwrap();
        peer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        peer.write(&frame(SETTINGS, 0, 0, &[])).await;
        let settings = peer.read().await.unwrap();
        assert_eq!((settings.kind, settings.flags), (SETTINGS, 0));
        // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 section 3).
        assert!(settings.payload.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]));
        peer.write(&frame(SETTINGS, ACK, 0, &[])).await;
        assert_eq!(peer.read_until(SETTINGS).await.flags, ACK);
        peer
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None` at the end of the connection, however it comes. Dropping the future loses nothing.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            if self.io.read_buf(&mut self.input).await.ok()? == 0 {
                return None;
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let &[a, b, c, kind, flags, ref stream @ ..] = self.input.first_chunk::<9>()?;
        let stream = u32::from_be_bytes(*stream);
        let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
        if self.input.len() < end {
            return None;
        }
        let payload = self.input.split_to(end)[9..].to_vec();
        Some(Frame { kind, flags, stream, payload })
    }

    /// The next frame of this kind; others are passed over.
    pub(crate) async fn read_until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.read().await.expect("the connection goes on");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Opens a WebSocket on a stream.
    pub(crate) async fn open(&mut self, stream: u32, path: &str) {
        self.write(&connect(stream, path)).await;
        let head = self.read_until(HEADERS).await;
        // :status 200 is the eighth field of HPACK's static table.
        assert_eq!((head.stream, head.flags & END_STREAM, head.payload[0]), (stream, 0, 0x88));
    }

    /// Writes until the server has enough. It may have closed while more was on its way.
    pub(crate) async fn attack(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await
    }
}
