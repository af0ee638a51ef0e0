//! What the opening handshake settled.
use http::header::{HeaderMap, SEC_WEBSOCKET_EXTENSIONS};
use sockeye_proto::handshake::Subprotocol;

/// Small, because every connection carries it, and few have anything to say in it.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    extensions: Extensions,
    names: Option<Box<Names>>,
}

#[derive(Debug, Default)]
enum Extensions {
    #[default]
    None,
    /// What a server answers by default to what browsers offer: [`USUAL`].
    Usual,
    Other(Box<str>),
}

#[derive(Debug)]
struct Names {
    protocol: Option<Subprotocol>,
    url: Option<Box<str>>,
}

const USUAL: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

impl Agreed {
    /// `headers` are those of the response; only a client has a URL.
    pub(crate) fn new(protocol: Option<Subprotocol>, headers: &HeaderMap, url: Option<Box<str>>) -> Self {
        let value = headers.get(SEC_WEBSOCKET_EXTENSIONS).and_then(|value| value.to_str().ok());
        let extensions = match value {
            None => Extensions::None,
            Some(USUAL) => Extensions::Usual,
            Some(other) => Extensions::Other(other.into()),
        };
        let is_named = protocol.is_some() || url.is_some();
        Self { extensions, names: is_named.then(|| Box::new(Names { protocol, url })) }
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        self.names.as_ref()?.protocol.as_ref().map(Subprotocol::as_str)
    }

    pub(crate) fn extensions(&self) -> &str {
        match &self.extensions {
            Extensions::None => "",
            Extensions::Usual => USUAL,
            Extensions::Other(value) => value,
        }
    }

    pub(crate) fn url(&self) -> Option<&str> {
        self.names.as_ref()?.url.as_deref()
    }
}
