//! The way from a request to a transport: directly or through a proxy, with TLS on top where the URL says so.
use sockeye_proto::handshake::ClientRequest;

#[cfg(feature = "proxy")]
use crate::proxy::Proxy;
use crate::{
    Error, Transport,
    dial::dial,
    tls::{self, Tls},
};

/// What a [`Client`](crate::Client) was told about the way.
#[derive(Clone, Default)]
pub(crate) struct Route {
    pub(crate) http: Http,
    pub(crate) tls: Option<tls::Config>,
    /// `None` leaves it to the environment.
    #[cfg(feature = "proxy")]
    pub(crate) proxy: Option<Proxy>,
}

/// Which version of HTTP a WebSocket is opened by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Http {
    /// HTTP/1.1.
    #[default]
    One,
    /// HTTP/2, where the server agrees to it.
    #[cfg(feature = "http2")]
    Two,
}

impl Route {
    /// Which version to speak on a transport that was opened, given what ALPN has chosen.
    pub(crate) fn spoken(&self, request: &ClientRequest, alpn: Option<&[u8]>) -> Result<Http, Error> {
        match alpn {
            None if request.is_secure() => Ok(Http::One),
            // By prior knowledge (RFC 9113 section 3.3).
            None => Ok(self.http),
            Some(b"http/1.1") => Ok(Http::One),
            #[cfg(feature = "http2")]
            Some(b"h2") => Ok(Http::Two),
            Some(_) => Err(Error::misuse("alpn", "TLS: ALPN chose a protocol that this client does not speak")),
        }
    }

    /// For a proxy, and for a server that chose HTTP/2 and takes no WebSocket over it.
    pub(crate) fn stop_offering_http2(&mut self) {
        self.http = Http::One;
        if let Some(config) = &mut self.tls {
            tls::stop_offering_http2(config);
        }
    }

    /// Opens a transport on which the opening handshake can begin.
    pub(crate) async fn open(&self, request: &ClientRequest) -> Result<Transport, Error> {
        let reaching = self.reach(request);
        self.secure(request, reaching).await
    }

    /// Opens a transport and adds TLS if the request wants it. Never in the clear what was to be encrypted.
    pub(crate) async fn secure(
        &self,
        request: &ClientRequest,
        opening: impl Future<Output = Result<Transport, Error>>,
    ) -> Result<Transport, Error> {
        if !request.is_secure() {
            return opening.await;
        }
        let tls = Tls::with(request.host(), self.tls.as_ref(), self.http).await?;
        tls.secure(opening.await?).await
    }

    #[cfg(feature = "proxy")]
    async fn reach(&self, request: &ClientRequest) -> Result<Transport, Error> {
        let proxy = self.proxy.clone().unwrap_or_else(Proxy::from_env);
        match proxy.server_for(request)? {
            Some(server) => server.open(request, self).await.map_err(Error::at_proxy),
            None => direct(request).await,
        }
    }

    #[cfg(not(feature = "proxy"))]
    async fn reach(&self, request: &ClientRequest) -> Result<Transport, Error> {
        direct(request).await
    }
}

async fn direct(request: &ClientRequest) -> Result<Transport, Error> {
    let stream = dial(request.host(), request.port()).await.map_err(Error::io)?;
    Ok(Transport::tcp(stream))
}
