//! WebSocket over HTTP/2 (RFC 8441): advice for servers, and the client.
//!
//! Many connections share one TCP connection, a stream each. A stream's end is `END_STREAM`, its failure `RST_STREAM`; its
//! flow control is the back-pressure that TCP has elsewhere, so a peer that stops reading stops being read, and holds no
//! more than a window.
//!
//! A server is [`upgrade`](crate::upgrade) with [`ServerSettings`]; a client is
//! [`Client::connect_http2_over`](crate::Client::connect_http2_over).
pub(crate) mod client;
mod settings;

pub use settings::ServerSettings;
