//! What the fuzz targets do. Each is a function from bytes that panics where a claim of `fuzz/README.md` does not hold.
//!
//! libFuzzer calls them from `fuzz/fuzz_targets/`; `tests/replay.rs` calls them with the inputs in `fuzz/corpus/`.
#![forbid(unsafe_code)]

mod deflate;
mod detour;
mod frames;
mod handshake;
mod header;
mod input;
mod operations;
mod peer;
mod pipe;
mod transport;

pub use deflate::{deflate, inflate, negotiation};
pub use detour::detour;
pub use frames::{frames_client, frames_server};
pub use handshake::{handshake_request, handshake_response};
pub use header::header;
pub use operations::operations;
pub use pipe::{conversation, sockjs_paths, sockjs_payload};

/// A target: what is done with an input.
pub type Target = fn(&[u8]);

/// All targets, by the names of their binaries and of their folders in `fuzz/corpus/`.
pub const TARGETS: [(&str, Target); 13] = [
    ("header", header),
    ("frames_server", frames_server),
    ("frames_client", frames_client),
    ("handshake_request", handshake_request),
    ("handshake_response", handshake_response),
    ("detour", detour),
    ("operations", operations),
    ("inflate", inflate),
    ("deflate", deflate),
    ("negotiation", negotiation),
    ("conversation", conversation),
    ("sockjs_paths", sockjs_paths),
    ("sockjs_payload", sockjs_payload),
];
