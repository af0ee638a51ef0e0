//! The build without the feature `deflate`: nothing is negotiated, so no connection has any of these.
use bytes::Bytes;

use super::DeflateParams;
use crate::{Limits, Role, error::Fault, utf8::Utf8Stream};

pub(crate) const PIECE: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Inflater;

#[derive(Debug)]
pub(crate) struct Inflating;

#[derive(Debug)]
pub(crate) struct Deflater;

#[derive(Debug)]
pub(crate) struct Parts;

#[derive(Debug, Default)]
pub(crate) struct Forms(());

#[expect(clippy::unused_self, reason = "as the real ones")]
impl Inflating {
    pub(crate) fn max_compressed(limits: &Limits) -> usize {
        limits.max_message
    }

    pub(crate) fn max_streamed(limits: &Limits) -> u64 {
        limits.max_streamed
    }

    pub(crate) fn set_limit(&mut self, _: usize) {}

    pub(crate) fn consumed(&self) -> usize {
        0
    }

    pub(crate) fn held(&self) -> usize {
        0
    }
}

#[expect(clippy::unused_self, reason = "as the real one")]
impl Inflater {
    pub(crate) fn new(_: Role, _: &DeflateParams) -> Option<Self> {
        None
    }

    pub(crate) fn begin(&self, _: usize, _: &Limits) -> Inflating {
        Inflating
    }

    pub(crate) fn finish(&mut self, _: Inflating, _: &[u8], _: Option<&mut Utf8Stream>) -> Result<Bytes, Fault> {
        Err(Fault::InvalidDeflate)
    }

    pub(crate) fn inflate(&mut self, _: &mut Inflating, _: &[u8], _: Option<&mut Utf8Stream>) -> Result<(), Fault> {
        Err(Fault::InvalidDeflate)
    }

    pub(crate) fn take_part(&mut self, _: &mut Inflating) -> Bytes {
        Bytes::new()
    }
}

#[expect(clippy::unused_self, reason = "as the real one")]
impl Deflater {
    pub(crate) fn new(_: Role, _: &DeflateParams) -> Option<Self> {
        None
    }

    pub(crate) fn deflate(&mut self, _: &[u8]) -> Option<Bytes> {
        None
    }

    pub(crate) fn begin_parts(&self) -> Parts {
        Parts
    }

    pub(crate) fn deflate_part(&mut self, _: &mut Parts, part: &[u8], _: bool) -> Bytes {
        Bytes::copy_from_slice(part)
    }

    pub(crate) fn deflate_shared<'a>(&mut self, _: &[u8], _: &'a Forms) -> Option<&'a Bytes> {
        None
    }
}

#[expect(clippy::unused_self, reason = "as the real one")]
impl Forms {
    pub(crate) fn count(&self) -> usize {
        0
    }
}
