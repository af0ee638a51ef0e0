//! What [`slot`](super::slot) is built on. Its model in `tests/loom_slot.rs` puts loom's in this place.
pub(super) use std::sync::Mutex;
