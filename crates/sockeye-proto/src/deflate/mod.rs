//! permessage-deflate (RFC 7692): messages compressed one by one, with zlib-rs.
//!
//! # What it costs
//!
//! Contexts belong to the thread, not to the connection: a message borrows one and gives it back. Context takeover keeps, for
//! each direction that has it, the end of what was said as plain bytes, and the next message's context takes them as its
//! dictionary. That is all a context would carry over, in a tenth to a fortieth of its memory; it costs the time to read
//! the window again, once a message.
//!
//! | | memory | time a message |
//! | --- | ---: | --- |
//! | a thread that compresses | 381 KB for each set of parameters, 281 KB if all messages are below 4 KiB; at most 4 times | |
//! | a thread that inflates | 48 KB, at most 4 times; 64 KiB scratch | |
//! | an idle connection, no takeover | 0 | 5 µs and up |
//! | takeover, 15 window bits | up to 32 KiB each way | 30 µs more to compress, 1 µs more to inflate |
//! | takeover, 12 window bits | up to 4 KiB each way | 3 µs more to compress |
//! | a compressed message arriving in pieces | 16 KiB, a context (48 KB), what came out so far | |
//!
//! The memory is asserted by `tests/deflate_memory.rs`. A connection that held contexts of its own would take
//! 381 KB and 48 KB at 15 bits, 165 KB and 48 KB at 12.
//!
//! # What bounds it
//!
//! Output is compared with [`max_message`](crate::Limits::max_message) while it comes, and input that inflates to nothing with
//! [`max_deflate_waste`](crate::Limits::max_deflate_waste). Windows are reserved from a [`DeflateBudget`] at the opening
//! handshake.

mod budget;
mod negotiate;
mod params;

#[cfg(not(feature = "deflate"))]
#[path = "absent.rs"]
mod codec;
#[cfg(feature = "deflate")]
mod codec {
    pub(crate) use super::{
        deflater::{Deflater, Forms, Parts},
        inflater::{Inflater, Inflating, PIECE},
    };
}
#[cfg(feature = "deflate")]
mod deflater;
#[cfg(feature = "deflate")]
mod inflater;
#[cfg(feature = "deflate")]
mod pool;
#[cfg(feature = "deflate")]
mod window;

pub use budget::DeflateBudget;
pub(crate) use codec::{Deflater, Forms, Inflater, Inflating, PIECE, Parts};
pub(crate) use negotiate::{ClientOffer, accept};
pub use params::{Deflate, DeflateParams, InvalidDeflate};

/// Whether this build can compress.
const IS_AVAILABLE: bool = cfg!(feature = "deflate");
