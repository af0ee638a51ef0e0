//! HTTP/1.1 on hyper, which knows nothing of our server.
use std::{io, net::SocketAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

/// One connection at a time, which is kept for the next request as long as it can be.
pub(crate) struct Http {
    address: SocketAddr,
    kept: Option<http1::SendRequest<Full<Bytes>>>,
    carrying: JoinSet<()>,
}

impl Http {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, kept: None, carrying: JoinSet::new() }
    }

    /// The head of the answer.
    ///
    /// # Errors
    /// There is no connection, or it breaks before that.
    ///
    /// # Cancel safety
    /// Dropped, the request may have been made, and the connection is given up.
    pub(crate) async fn ask(
        &mut self,
        request: hyper::http::request::Builder,
        body: String,
    ) -> io::Result<Response<Incoming>> {
        let mut sender = match self.reuse().await {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let request = request.header(header::HOST, self.address.to_string()).body(Full::from(body));
        let response = sender.send_request(request.map_err(io::Error::other)?).await.map_err(io::Error::other)?;
        self.kept = Some(sender);
        Ok(response)
    }

    /// The connection is of no use any more.
    pub(crate) fn hang_up(&mut self) {
        self.kept = None;
        self.carrying.abort_all();
    }

    async fn reuse(&mut self) -> Option<http1::SendRequest<Full<Bytes>>> {
        let mut kept = self.kept.take()?;
        kept.ready().await.ok().map(|()| kept)
    }

    async fn connect(&mut self) -> io::Result<http1::SendRequest<Full<Bytes>>> {
        self.hang_up();
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        self.carrying.spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

/// A GET request.
pub(crate) fn get(path: &str) -> hyper::http::request::Builder {
    Request::get(path)
}

/// A POST request as `navigator.sendBeacon` and pages without preflight make it.
pub(crate) fn post(path: &str) -> hyper::http::request::Builder {
    Request::post(path).header(header::CONTENT_TYPE, "text/plain")
}
