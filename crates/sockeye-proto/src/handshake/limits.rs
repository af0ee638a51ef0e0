use std::time::Duration;

/// Every bound that a peer can push against during the opening handshake.
///
/// Zero never means "without limit": a limit of zero refuses everything that the limit counts.
///
/// ```
/// use sockeye_proto::handshake::HandshakeLimits;
///
/// let limits = HandshakeLimits::with(|limits| limits.max_headers = 32);
/// assert_eq!(limits.max_head, 16 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeLimits {
    /// Longest request line (or status line, for a client) in bytes, without its CRLF. Default 8 KiB.
    ///
    /// A server answers a longer one with 414.
    pub max_request_line: usize,
    /// Longest header line in bytes, without its CRLF. Default 8 KiB. A server answers a longer one with 431.
    pub max_header_line: usize,
    /// Longest head in bytes, from the first byte to the last CRLF. Default 16 KiB.
    ///
    /// A server answers a longer one with 431. For a client it bounds all heads of one response together: the
    /// informational ones (100, 103) and the final one.
    pub max_head: usize,
    /// Most header lines in one head. Default 100. A server answers more with 431.
    pub max_headers: usize,
    /// Bytes of a refusal's body that a client keeps for its user. Default 4 KiB. The rest is not read.
    pub max_error_body: usize,
    /// Time from the first moment of the handshake to its last, whatever arrives between. Default 10 s.
    ///
    /// This crate has no clock: the I/O layer holds this deadline and tells the state when it has passed.
    pub timeout: Duration,
}

impl HandshakeLimits {
    /// The defaults, changed.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut limits = Self::default();
        change(&mut limits);
        limits
    }
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self {
            max_request_line: 8 * 1024,
            max_header_line: 8 * 1024,
            max_head: 16 * 1024,
            max_headers: 100,
            max_error_body: 4 * 1024,
            timeout: Duration::from_secs(10),
        }
    }
}
