//! Where there is no `io_uring`.
use std::{convert::Infallible, io};

use crate::{Outcomes, ToSend};

/// There is none on this system: [`new`](Self::new) always fails.
#[derive(Debug)]
pub struct Ring(Infallible);

impl Ring {
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported), always.
    pub fn new(_: u16) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends a batch.
    pub fn send(&mut self, _: &[ToSend<'_>]) -> Outcomes<'_> {
        match self.0 {}
    }

    /// Why the ring is not used any more.
    #[must_use]
    pub fn failure(&self) -> Option<&io::Error> {
        match self.0 {}
    }
}
