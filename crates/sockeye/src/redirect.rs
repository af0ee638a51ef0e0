//! Whether a client goes where a server sends it.
use http::{StatusCode, header};
use sockeye_proto::handshake::ClientRequest;

use crate::Error;

/// Whether redirects are followed, and how many in a row. The default is [`none`](Self::none), as in browsers: they are
/// refusals, and [`Error::response`] has the `Location`.
///
/// A redirect is a 301, 302, 303, 307 or 308 with a `Location`, which may be relative, and have `http` for `ws`. It never
/// leads from `wss` to `ws`. Where scheme, host or port change, `Authorization`, `Cookie` and every other header whose value
/// was marked [sensitive](http::HeaderValue::set_sensitive) stay behind; subprotocols and all other headers go along. The
/// time of the handshake is the time for all of it.
///
/// ```no_run
/// # async fn run() -> Result<(), sockeye::Error> {
/// use sockeye::{Client, RedirectPolicy};
///
/// let socket = Client::new("ws://example.org/live")?.redirects(RedirectPolicy::limited(3)).connect().await?;
/// println!("connected to {}", socket.url().unwrap_or_default());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedirectPolicy {
    max: usize,
}

impl RedirectPolicy {
    /// Follows none.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Follows up to so many in a row.
    #[must_use]
    pub fn limited(max: usize) -> Self {
        Self { max }
    }

    /// The request to make next, if this error is a redirect to follow; else the error to tell.
    pub(crate) fn follow(self, request: ClientRequest, followed: usize, error: Error) -> Result<ClientRequest, Error> {
        let Some(response) = error.response().filter(|response| self.max > 0 && is_redirect(response.status())) else {
            return Err(error);
        };
        let mut locations = response.headers().get_all(header::LOCATION).iter();
        let (Some(location), None) = (locations.next(), locations.next()) else { return Err(error) };
        let Ok(location) = location.to_str() else {
            return Err(Error::redirect("bad_redirect", "its Location is no URL", response.clone()));
        };
        if followed >= self.max {
            return Err(Error::redirect("too_many_redirects", "one redirect too many", response.clone()));
        }
        request.redirected(location).map_err(|error| Error::redirect(error.code(), error, response.clone()))
    }
}

/// RFC 9110 section 15.4: those that name another place for the same request.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
