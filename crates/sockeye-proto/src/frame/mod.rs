//! Frames as they stand on the wire (RFC 6455 section 5.2): header, opcode, masking. Stateless.

mod header;
mod mask;
mod opcode;
mod reader;

pub use header::{EncodedHeader, Header, HeaderError, Rsv};
pub use mask::MaskKey;
pub use opcode::OpCode;
pub(crate) use reader::HeaderReader;
