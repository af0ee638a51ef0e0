//! Bodies of the requests of one connection, which have a bound together: each of its streams can bring one at a time.
use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::{
    api::{Refused, http1::too_big},
    dialect::{ErrorCode, Problem},
};

/// Bytes of bodies at a time; a larger one is taken where it may be that large, and is alone then.
const MAX_BODIES: usize = 1024 * 1024;
/// When to try again after that.
const SOON: Duration = Duration::from_secs(1);

/// Bytes of bodies that are here, and whose requests have not been carried out.
#[derive(Debug, Default)]
pub(crate) struct Bodies(AtomicUsize);

/// What one of them takes of it, until dropped.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    bodies: &'a Bodies,
    bytes: usize,
}

impl Bodies {
    /// Reads a body of at most so many bytes. It counts until its share is dropped.
    ///
    /// # Errors
    /// It is larger, takes longer, or comes with too much of others.
    ///
    /// # Cancel safety
    /// Dropped, the rest of the body is not read.
    pub(crate) async fn read(
        &self,
        body: Incoming,
        most: usize,
        time: Duration,
    ) -> Result<(Bytes, Share<'_>), Refused> {
        let mut share = Share { bodies: self, bytes: 0 };
        let body = timeout(time, share.fill(body, most)).await.unwrap_or_else(|_| {
            Err(Refused::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::Timeout, "the body did not come in time"))
        })?;
        Ok((body, share))
    }
}

impl Share<'_> {
    /// Frames are copied together: of many small ones each would keep more than its bytes.
    async fn fill(&mut self, body: Incoming, most: usize) -> Result<Bytes, Refused> {
        let mut body = pin!(Limited::new(body, most));
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            // Or the stream was reset, and nobody hears it.
            let frame = frame.map_err(|_| too_big())?;
            let Ok(data) = frame.into_data() else { continue };
            if !self.grow(data.len(), most) {
                return Err(
                    Problem::passing(ErrorCode::Limit, "too much comes at once over this connection", SOON).into()
                );
            }
            all.extend_from_slice(&data);
        }
        Ok(all.freeze())
    }

    fn grow(&mut self, bytes: usize, most: usize) -> bool {
        let before = self.bodies.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        before + bytes <= MAX_BODIES.max(most)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.bodies.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
