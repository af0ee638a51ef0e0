//! A channel of the realtime server, in `sockeye.v1.json`: what a session says, as frames.

use crate::options::Common;
use crate::{Failure, wire};
use sockeye_proto::frame::OpCode;
use sockeye_proto::handshake::{ClientRequest, Subprotocol};
use std::fmt::Write as _;

const SUBPROTOCOL: &str = "sockeye.v1.json";

/// The opening handshake of a session.
///
/// # Errors
///
/// None in practice: the name is sound.
pub(crate) fn request(common: &Common) -> Result<ClientRequest, Failure> {
    Ok(common.target.request().subprotocol(Subprotocol::new(SUBPROTOCOL)?)?)
}

/// The frame with which a session subscribes.
pub(crate) fn subscribe(channel: &str) -> Vec<u8> {
    let channel = quoted(channel);
    wire::client_frame(OpCode::Text, format!(r#"{{"id":1,"subscribe":{channel}}}"#).as_bytes())
}

/// The request of those who listen to it over HTTP.
pub(crate) fn events_request(common: &Common, channel: &str) -> Vec<u8> {
    let mut name = String::new();
    for byte in channel.bytes() {
        // A `String` takes all.
        let _ = write!(name, "%{byte:02x}");
    }
    let host = common.target.host();
    format!("GET /sse?channel={name} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n").into_bytes()
}

/// The payload of a publication: a JSON string of so many bytes, quotes included.
pub(crate) fn data(bytes: usize) -> String {
    let text: String = ('a'..='z').cycle().take(bytes.saturating_sub(2)).collect();
    format!("\"{text}\"")
}

/// The command that publishes; with an id it is answered.
pub(crate) fn command(channel: &str, data: &str, id: Option<u64>) -> String {
    let id = id.map_or(String::new(), |id| format!(r#""id":{id},"#));
    format!(r#"{{{id}"publish":{},"data":{data}}}"#, quoted(channel))
}

/// The frame that publishes.
pub(crate) fn publish(channel: &str, data: &str, id: Option<u64>) -> Vec<u8> {
    wire::client_frame(OpCode::Text, command(channel, data, id).as_bytes())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
