//! SockJS 0.3.3: what its clients say and hear, as values.
//!
//! [`resolve`] says which endpoint a request is for. Receiving endpoints make a [`Transport`], which is the
//! [`Framing`](crate::Framing) of a [`Conversation`](crate::Conversation) with
//! [`Config::sockjs`](crate::Config::sockjs); sending ones give their body to [`xhr_send`] or [`jsonp_send`], *before*
//! they look for the conversation. The rest are [`Answers`].
//!
//! # Where it is stricter than others, or kinder
//!
//! - **Messages are strings.** Clients send nothing else. Other values are broken JSON on sending endpoints and broken
//!   framing on a WebSocket; the reference server makes `[object Object]` of them.
//! - **Half of a surrogate pair becomes U+FFFD**, in whichever way it is written. Browsers do the same to what a page
//!   gives to `WebSocket.send`, so a page says the same thing over every transport.
//! - **JSONP and htmlfile escape `<`** within strings, so that no message ends a script.
//! - **Sessions are bound to who opened them** ([`Conversations`](crate::Conversations)). To others a receiving
//!   endpoint answers 2010, a sending one 404, as if they had named a session that somebody uses, or none.
mod answer;
mod close;
mod escape;
mod page;
mod payload;
mod route;
mod wrap;

pub use answer::{Answers, Cors, Options};
pub use close::close_code;
pub(crate) use payload::Element;
pub use payload::{BadPayload, BrokenFraming, MAX_MESSAGES, jsonp_send, websocket_messages, xhr_send};
pub use route::{Endpoint, Method, Refused, SessionEndpoint, resolve};
pub use wrap::{BadCallback, Callback, RESPONSE_LIMIT, Transport};
