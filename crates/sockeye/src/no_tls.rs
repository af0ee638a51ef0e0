//! `tls.rs` without the feature `tls`: every attempt fails, before anything is sent in the clear.
use std::convert::Infallible;

use crate::{Error, Transport, route::Http};

pub(crate) type Config = Infallible;

pub(crate) struct Tls(Infallible);

pub(crate) fn stop_offering_http2(config: &mut Config) {
    match *config {}
}

impl Tls {
    #[expect(clippy::unused_async, reason = "it stands in for one that waits")]
    pub(crate) async fn with(_host: &str, _config: Option<&Config>, _http: Http) -> Result<Self, Error> {
        Err(Error::misuse("no_tls", "TLS is switched off: use sockeye's feature `tls`, or connect_over a TLS stream"))
    }

    #[expect(clippy::unused_async, reason = "it stands in for one that waits")]
    pub(crate) async fn secure(self, _transport: Transport) -> Result<Transport, Error> {
        match self.0 {}
    }
}
