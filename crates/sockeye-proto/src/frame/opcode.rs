/// What a frame is (RFC 6455 section 11.8). The reserved opcodes 3–7 and 11–15 have no value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpCode {
    /// A further fragment of the message begun before.
    Continuation = 0,
    /// The first or only fragment of a text message.
    Text = 1,
    /// The first or only fragment of a binary message.
    Binary = 2,
    /// The closing handshake (section 5.5.1).
    Close = 8,
    /// A question whether the peer is there (section 5.5.2).
    Ping = 9,
    /// The answer to a ping, or a sign of life nobody asked for (section 5.5.3).
    Pong = 10,
}

impl OpCode {
    /// The opcode with this number, if RFC 6455 defines one.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Control frames carry at most 125 bytes, are never fragmented, and may stand between fragments (section 5.5).
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}
