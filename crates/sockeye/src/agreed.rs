//! What the opening handshake settled.
use std::sync::{Arc, LazyLock};

use http::header::{HeaderMap, SEC_WEBSOCKET_EXTENSIONS};
use sockeye_proto::handshake::Subprotocol;

/// Small, because every connection carries it, and few have anything to say in it.
#[derive(Debug, Default)]
pub(crate) struct Agreed(Option<Arc<Terms>>);

#[derive(Debug, Default)]
struct Terms {
    extensions: Box<str>,
    protocol: Option<Subprotocol>,
    url: Option<Box<str>>,
}

/// What a server answers by default to what browsers offer. Those who have agreed on no more share it.
static USUAL: LazyLock<Arc<Terms>> = LazyLock::new(|| {
    let extensions = "permessage-deflate; server_no_context_takeover; client_no_context_takeover".into();
    Arc::new(Terms { extensions, ..Terms::default() })
});

impl Agreed {
    /// `headers` are those of the response; only a client has a URL.
    pub(crate) fn new(protocol: Option<Subprotocol>, headers: &HeaderMap, url: Option<Box<str>>) -> Self {
        let value = headers.get(SEC_WEBSOCKET_EXTENSIONS).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_named = protocol.is_some() || url.is_some();
        Self(match value {
            "" if !is_named => None,
            value if !is_named && *value == *USUAL.extensions => Some(Arc::clone(&USUAL)),
            value => Some(Arc::new(Terms { extensions: value.into(), protocol, url })),
        })
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        self.0.as_ref()?.protocol.as_ref().map(Subprotocol::as_str)
    }

    pub(crate) fn extensions(&self) -> &str {
        self.0.as_ref().map_or("", |terms| &terms.extensions)
    }

    pub(crate) fn url(&self) -> Option<&str> {
        self.0.as_ref()?.url.as_deref()
    }
}
