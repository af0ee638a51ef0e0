//! The opening handshake (RFC 6455 section 4) as values: bytes in, a decision out.
//!
//! Nothing here reads a socket, a clock or a random source. The I/O layer feeds what arrived, writes what it is
//! handed, and keeps the one deadline ([`HandshakeLimits::timeout`]) itself.
//!
//! # Server
//!
//! ```text
//! ReadRequest ──bytes──> http::Request ──Offer::check──> Offer ──check_origin, select, accept──> Accepted
//!      │                      │                            │
//!      └──────────────────────┴────────────────────────────┴──> Refusal (its status, then the connection closes)
//! ```
//!
//! ```
//! use sockeye_proto::handshake::{HandshakeLimits, Offer, ReadRequest, RequestProgress, write_response};
//!
//! let bytes = b"GET /echo HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
//! let RequestProgress::Done { request, rest } = ReadRequest::new(HandshakeLimits::default()).handle_input(bytes)?
//! else { panic!("the head is complete") };
//! assert!(rest.is_empty());
//!
//! let offer = Offer::check(&request)?;
//! let accepted = offer.accept(None)?;
//! let mut out = bytes::BytesMut::new();
//! write_response(&accepted.response, b"", &mut out);
//! assert!(out.starts_with(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Client
//!
//! ```text
//! ClientRequest ──start(nonce)──> head to send, ReadResponse ──bytes──> Established
//!                                                    └────────────────> HandshakeError (with the refusal, if it was one)
//! ```
//!
//! ```
//! use sockeye_proto::handshake::{ClientRequest, ResponseProgress, Subprotocol};
//!
//! let request = ClientRequest::new("ws://example.org/chat")?.subprotocol(Subprotocol::new("chat")?)?;
//! let (head, response) = request.start(*b"the sample nonce");
//! assert!(head.starts_with(b"GET /chat HTTP/1.1\r\nHost: example.org\r\n"));
//!
//! let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
//! let ResponseProgress::Done(established) = response.handle_input(answer)? else { panic!("the head is complete") };
//! assert_eq!(established.subprotocol.unwrap().as_str(), "chat");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accept_key;
mod client;
mod error;
mod error_body;
mod extended_connect;
mod extensions;
mod fields;
mod head;
mod limits;
mod offer;
mod origin;
mod refusal;
mod response;
mod server;
mod subprotocol;
mod target;
mod token;
mod tunnel;
mod write;

pub use accept_key::accept_key;
pub use client::ClientRequest;
pub use error::HandshakeError;
pub use extended_connect::AwaitConnect;
pub use extensions::{ExtensionOffer, InvalidExtensions};
pub use fields::{BodyLength, is_upgrade};
pub use limits::HandshakeLimits;
pub use offer::{Accepted, Offer, SubprotocolNotOffered};
pub use origin::{InvalidOrigin, OriginPolicy};
pub use refusal::Refusal;
pub use response::{Established, ReadResponse, ResponseProgress};
pub use server::{ReadRequest, RequestProgress};
pub use subprotocol::{InvalidSubprotocol, Subprotocol, SubprotocolPolicy};
pub use target::is_plain_path;
pub use tunnel::ReadTunnel;
pub use write::{write_request, write_response, write_response_head};
