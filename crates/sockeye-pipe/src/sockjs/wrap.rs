//! Frames on the wire, for each transport.
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::{
    escape::{write_script_string, write_string},
    page,
};
use crate::{Frame, Framing, ReceiverKind};

/// Bytes from which on a streaming response ends, not counting its prelude; 128 KiB.
pub const RESPONSE_LIMIT: usize = 128 * 1024;

/// Characters of the longest callback of JSONP.
const MAX_JSONP_CALLBACK: usize = 32;

/// How frames reach a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Lines in a response that goes on.
    XhrStreaming,
    /// One line a response.
    Xhr,
    /// Server-sent events.
    EventSource,
    /// Scripts in a page that never ends.
    HtmlFile(Callback),
    /// One script a response.
    Jsonp(Callback),
    /// Text messages.
    WebSocket,
}

/// The name of a function in a page: letters, digits, `-`, `_` and `.` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback(Box<str>);

/// Why there is no callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCallback {
    /// The query names none.
    Missing,
    /// It names what is none.
    Invalid,
}

impl Transport {
    /// For `jsonp` with this query.
    ///
    /// # Errors
    /// It names no callback, or none of up to 32 characters.
    pub fn jsonp(query: &str) -> Result<Self, BadCallback> {
        let callback = Callback::find(query)?;
        if callback.0.len() > MAX_JSONP_CALLBACK {
            return Err(BadCallback::Invalid);
        }
        Ok(Self::Jsonp(callback))
    }

    /// For `htmlfile` with this query.
    ///
    /// # Errors
    /// It names no callback.
    pub fn html_file(query: &str) -> Result<Self, BadCallback> {
        Callback::find(query).map(Self::HtmlFile)
    }

    /// When responses end; a WebSocket does not. `limit` is that of streaming responses, usually [`RESPONSE_LIMIT`].
    #[must_use]
    pub fn receiver_kind(&self, limit: usize) -> ReceiverKind {
        match self {
            Self::Xhr | Self::Jsonp(_) => ReceiverKind::Poll,
            Self::XhrStreaming | Self::EventSource | Self::HtmlFile(_) => ReceiverKind::Streaming { limit },
            Self::WebSocket => ReceiverKind::Streaming { limit: usize::MAX },
        }
    }

    /// `Content-Type` of responses; a WebSocket has none.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::XhrStreaming | Self::Xhr | Self::Jsonp(_) => "application/javascript; charset=UTF-8",
            Self::EventSource => "text/event-stream",
            Self::HtmlFile(_) => "text/html; charset=UTF-8",
            Self::WebSocket => "",
        }
    }
}

impl Framing for Transport {
    fn prelude(&self) -> Bytes {
        match self {
            Self::XhrStreaming => {
                let mut prelude = "h".repeat(2048);
                prelude.push('\n');
                prelude.into()
            }
            Self::EventSource => Bytes::from_static(b"\r\n"),
            Self::HtmlFile(callback) => page::html_file(&callback.0).into(),
            Self::Xhr | Self::Jsonp(_) | Self::WebSocket => Bytes::new(),
        }
    }

    fn encode(&self, frame: &Frame) -> Bytes {
        let mut inner = String::new();
        write_frame(&mut inner, frame);
        match self {
            Self::XhrStreaming | Self::Xhr => {
                inner.push('\n');
                inner.into()
            }
            Self::WebSocket => inner.into(),
            Self::EventSource => {
                let mut out = String::from("data: ");
                write_for_decode_uri(&mut out, &inner);
                out.push_str("\r\n\r\n");
                out.into()
            }
            Self::HtmlFile(_) => {
                let mut out = String::from("<script>\np(");
                write_script_string(&mut out, &inner);
                out.push_str(");\n</script>\r\n");
                out.into()
            }
            Self::Jsonp(callback) => {
                let mut out = format!("/**/{}(", callback.0);
                write_script_string(&mut out, &inner);
                out.push_str(");\r\n");
                out.into()
            }
        }
    }
}

impl Callback {
    /// The callback that a query names as `c` or `callback`.
    fn find(query: &str) -> Result<Self, BadCallback> {
        let value = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, value)| matches!(*name, "c" | "callback") && !value.is_empty())
            .map(|(_, value)| value)
            .ok_or(BadCallback::Missing)?;
        let name = percent_decode_str(value).decode_utf8().map_err(|_| BadCallback::Invalid)?;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.bytes().all(is_allowed) { Ok(Self(name.into())) } else { Err(BadCallback::Invalid) }
    }
}

impl BadCallback {
    /// What the client is told, with status 500.
    #[must_use]
    pub fn body(self) -> &'static str {
        match self {
            Self::Missing => "\"callback\" parameter required",
            Self::Invalid => "invalid \"callback\" parameter",
        }
    }
}

fn write_frame(out: &mut String, frame: &Frame) {
    match frame {
        Frame::Open => out.push('o'),
        Frame::Heartbeat => out.push('h'),
        Frame::Messages(batch) => {
            out.push_str("a[");
            for (index, message) in batch.messages.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, message);
            }
            out.push(']');
        }
        Frame::Close(farewell) => {
            out.push_str("c[");
            out.push_str(&farewell.code.to_string());
            out.push(',');
            write_string(out, &farewell.reason);
            out.push(']');
        }
    }
}

/// The client gives the data of an event to `decodeURI`, which throws at a `%` that begins nothing.
fn write_for_decode_uri(out: &mut String, frame: &str) {
    for character in frame.chars() {
        match character {
            '%' => out.push_str("%25"),
            '\r' => out.push_str("%0D"),
            '\n' => out.push_str("%0A"),
            '\0' => out.push_str("%00"),
            _ => out.push(character),
        }
    }
}
