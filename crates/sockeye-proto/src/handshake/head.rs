//! Collects the head of a request or a response as it arrives, and judges each byte once.

use std::mem::MaybeUninit;

use bytes::Bytes;
use bytestring::ByteString;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};

use super::HandshakeLimits;

/// A head with no more headers than this is taken apart on the stack.
const USUAL_HEADERS: usize = 32;

/// What is wrong with a head, for either side. A server turns it into a status, a client into an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadError {
    StartLineTooLong,
    HeaderLineTooLong,
    HeadTooLong,
    TooManyHeaders,
    BareLf,
    BareCr,
    BadByte,
    Folded,
    BadStartLine,
    BadVersion,
    BadHeader,
}

impl HeadError {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::StartLineTooLong => "start_line_too_long",
            Self::HeaderLineTooLong => "header_too_long",
            Self::HeadTooLong => "head_too_long",
            Self::TooManyHeaders => "too_many_headers",
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::BadByte => "bad_byte",
            Self::Folded => "folded_header",
            Self::BadStartLine => "bad_start_line",
            Self::BadVersion => "bad_http_version",
            Self::BadHeader => "bad_header",
        }
    }

    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::StartLineTooLong => "the first line is too long",
            Self::HeaderLineTooLong => "a header line is too long",
            Self::HeadTooLong => "the head is too long",
            Self::TooManyHeaders => "there are too many headers",
            Self::BareLf => "a line ends with LF instead of CRLF",
            Self::BareCr => "a CR is not followed by LF",
            Self::BadByte => "the head holds a byte that is not allowed there",
            Self::Folded => "a header line begins with white space",
            Self::BadStartLine => "the first line is not one of HTTP/1.1",
            Self::BadVersion => "only HTTP/1.1 is spoken here",
            Self::BadHeader => "a header line is not a name, a colon and a value",
        }
    }

    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::StartLineTooLong => StatusCode::URI_TOO_LONG,
            Self::HeaderLineTooLong | Self::HeadTooLong | Self::TooManyHeaders => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::BadVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Which of the two heads is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadKind {
    /// Visible ASCII only: no client that people use sends anything else.
    Request,
    /// The same, and HTTP/1.0 is as good as HTTP/1.1.
    LenientRequest,
    /// Bytes from 0x80 are let through as RFC 9110 `obs-text`: reason phrases and cookies of servers hold them,
    /// and a refusal that cannot be read helps nobody.
    Response,
}

/// The bytes of a head that is whole. It ends with an empty line, and every line with CRLF. What is read out of it shares
/// them.
#[derive(Debug)]
pub(super) struct Head {
    bytes: Bytes,
    headers: usize,
}

/// The bytes of a head so far, each looked at once.
#[derive(Debug)]
pub(super) struct HeadCollector {
    kind: HeadKind,
    limits: HandshakeLimits,
    bytes: Vec<u8>,
    /// Bytes taken so far, the skipped ones too.
    taken: usize,
    /// Lines ended so far.
    lines: usize,
    /// Bytes of the current line, without its CR.
    line_length: usize,
    after_cr: bool,
}

impl HeadCollector {
    pub(super) fn new(kind: HeadKind, limits: HandshakeLimits) -> Self {
        Self { kind, limits, bytes: Vec::new(), taken: 0, lines: 0, line_length: 0, after_cr: false }
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.taken == 0
    }

    pub(super) fn limits(&self) -> HandshakeLimits {
        self.limits
    }

    /// Begins the next head of the same peer, whose bytes count against the same total.
    pub(super) fn begin_next(&mut self) {
        self.lines = 0;
        self.line_length = 0;
        self.after_cr = false;
    }

    /// Takes input up to the end of the head. With the head comes the input that follows it.
    ///
    /// Input that breaks a rule is not stored, so a collector never holds more than `max_head` bytes.
    pub(super) fn push<'a>(&mut self, mut input: &'a [u8]) -> Result<Option<(Head, &'a [u8])>, HeadError> {
        self.bytes.reserve(input.len().min(self.limits.max_head.saturating_sub(self.taken)));
        while !input.is_empty() {
            let (line_ended, length) = self.scan(input)?;
            let Some((piece, rest)) = input.split_at_checked(length) else { break };
            self.bytes.extend_from_slice(piece);
            input = rest;
            if line_ended && self.end_line()? {
                let headers = self.lines.saturating_sub(2);
                return Ok(Some((Head { bytes: std::mem::take(&mut self.bytes).into(), headers }, input)));
            }
        }
        Ok(None)
    }

    /// Judges the input up to the end of its first line. Returns whether the line ended, and how much was judged.
    fn scan(&mut self, input: &[u8]) -> Result<(bool, usize), HeadError> {
        let mut at = 0_usize;
        loop {
            at = at.saturating_add(self.take_plain(input.get(at..).unwrap_or_default()));
            let Some(&byte) = input.get(at) else { return Ok((false, input.len())) };
            at = at.saturating_add(1);
            self.taken = self.taken.saturating_add(1);
            match (self.after_cr, byte) {
                (true, b'\n') => {}
                (true, _) => return Err(HeadError::BareCr),
                (false, b'\n') => return Err(HeadError::BareLf),
                (false, b'\r') => self.after_cr = true,
                (false, _) => self.scan_in_line(byte)?,
            }
            if self.taken > self.limits.max_head {
                return Err(self.head_too_long());
            }
            if byte == b'\n' {
                return Ok((true, at));
            }
        }
    }

    /// Takes the bytes that need no look of their own, and says how many: inside a line, printable, and within every limit. That
    /// is most of a head.
    fn take_plain(&mut self, input: &[u8]) -> usize {
        if self.after_cr || self.line_length == 0 {
            return 0;
        }
        let max_line = if self.lines == 0 { self.limits.max_request_line } else { self.limits.max_header_line };
        let room = max_line.saturating_sub(self.line_length).min(self.limits.max_head.saturating_sub(self.taken));
        let input = input.get(..room).unwrap_or(input);
        let (blocks, _) = input.as_chunks::<16>();
        // Without a branch for each byte, so that the compiler looks at a block at once.
        let are_plain = |block: &&[u8; 16]| block.iter().fold(true, |plain, byte| plain & is_plain(*byte));
        let whole = blocks.iter().take_while(are_plain).count().saturating_mul(16);
        let count = input.iter().skip(whole).take_while(|byte| is_plain(**byte)).count().saturating_add(whole);
        self.taken = self.taken.saturating_add(count);
        self.line_length = self.line_length.saturating_add(count);
        count
    }

    fn head_too_long(&self) -> HeadError {
        let in_request_line = self.lines == 0 && self.kind != HeadKind::Response;
        if in_request_line { HeadError::StartLineTooLong } else { HeadError::HeadTooLong }
    }

    fn scan_in_line(&mut self, byte: u8) -> Result<(), HeadError> {
        let in_start_line = self.lines == 0;
        let allowed = match byte {
            b' '..=b'~' => true,
            b'\t' => !in_start_line,
            0x80.. => self.kind == HeadKind::Response,
            _ => false,
        };
        if !allowed {
            return Err(HeadError::BadByte);
        }
        if self.line_length == 0 && !in_start_line {
            if byte == b' ' || byte == b'\t' {
                return Err(HeadError::Folded);
            }
            // The start line is one of `lines`, so this header's own number equals it.
            if self.lines > self.limits.max_headers {
                return Err(HeadError::TooManyHeaders);
            }
        }
        self.line_length = self.line_length.saturating_add(1);
        if in_start_line && self.line_length > self.limits.max_request_line {
            return Err(HeadError::StartLineTooLong);
        }
        if !in_start_line && self.line_length > self.limits.max_header_line {
            return Err(HeadError::HeaderLineTooLong);
        }
        Ok(())
    }

    /// Closes the line whose CRLF has been stored. Returns whether the head is whole.
    fn end_line(&mut self) -> Result<bool, HeadError> {
        let length = std::mem::take(&mut self.line_length);
        self.after_cr = false;
        if self.lines == 0 {
            if length == 0 && self.kind != HeadKind::Response && self.taken == 2 {
                // RFC 9112 section 2.2: one empty line before the request line is ignored.
                self.bytes.clear();
                return Ok(false);
            }
            let line = self.bytes.get(..length).unwrap_or_default();
            match self.kind {
                HeadKind::Request => check_request_line(line, false)?,
                HeadKind::LenientRequest => check_request_line(line, true)?,
                HeadKind::Response => check_status_line(line)?,
            }
        }
        self.lines = self.lines.saturating_add(1);
        Ok(length == 0)
    }
}

impl Head {
    /// Method, request target as sent, version, headers.
    pub(super) fn parse_request(&self) -> Result<(Method, ByteString, Version, HeaderMap), HeadError> {
        let (mut usual, mut many) = ([MaybeUninit::uninit(); USUAL_HEADERS], Vec::new());
        let mut request = httparse::Request::new(&mut []);
        request.parse_with_uninit_headers(&self.bytes, self.room(&mut usual, &mut many)).map_err(parse_error)?;
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Err(HeadError::BadStartLine);
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::BadStartLine)?;
        let target = self.bytes.slice_ref(target.as_bytes()).try_into().map_err(|_| HeadError::BadStartLine)?;
        let version = if request.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        Ok((method, target, version, self.header_map(request.headers)?))
    }

    /// Status, whether the version is 1.1 (not 1.0), headers.
    pub(super) fn parse_response(&self) -> Result<(StatusCode, bool, HeaderMap), HeadError> {
        let (mut usual, mut many) = ([MaybeUninit::uninit(); USUAL_HEADERS], Vec::new());
        let mut response = httparse::Response::new(&mut []);
        let room = self.room(&mut usual, &mut many);
        httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, &self.bytes, room)
            .map_err(parse_error)?;
        let (Some(status), Some(version)) = (response.code, response.version) else {
            return Err(HeadError::BadStartLine);
        };
        let status = StatusCode::from_u16(status).map_err(|_| HeadError::BadStartLine)?;
        Ok((status, version == 1, self.header_map(response.headers)?))
    }

    /// Room for as many headers as there are.
    fn room<'a, 'b>(&self, usual: &'a mut [Line<'b>], many: &'a mut Vec<Line<'b>>) -> &'a mut [Line<'b>] {
        if self.headers <= usual.len() {
            return usual;
        }
        many.resize(self.headers, MaybeUninit::uninit());
        many
    }

    fn header_map(&self, lines: &[httparse::Header<'_>]) -> Result<HeaderMap, HeadError> {
        let mut map = HeaderMap::with_capacity(lines.len().min(128));
        for line in lines {
            let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| HeadError::BadHeader)?;
            let value = HeaderValue::from_maybe_shared(self.bytes.slice_ref(line.value));
            let mut value = value.map_err(|_| HeadError::BadHeader)?;
            value.set_sensitive(is_secret(&name));
            map.try_append(name, value).map_err(|_| HeadError::TooManyHeaders)?;
        }
        Ok(map)
    }
}

/// Where the parser notes a header.
type Line<'a> = MaybeUninit<httparse::Header<'a>>;

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// Judges a request line as soon as it has ended, so that HTTP/0.9 and other protocols need not send a whole head.
fn check_request_line(line: &[u8], is_lenient: bool) -> Result<(), HeadError> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadError::BadStartLine);
    };
    if method.is_empty() || target.is_empty() {
        return Err(HeadError::BadStartLine);
    }
    match version {
        b"HTTP/1.1" => Ok(()),
        b"HTTP/1.0" if is_lenient => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(HeadError::BadVersion)
        }
        _ => Err(HeadError::BadStartLine),
    }
}

fn check_status_line(line: &[u8]) -> Result<(), HeadError> {
    let Some((version, status)) = line.split_at_checked(9) else { return Err(HeadError::BadStartLine) };
    let status_is_whole = match status {
        [a, b, c] | [a, b, c, b' ', ..] => [a, b, c].iter().all(|digit| digit.is_ascii_digit()),
        _ => false,
    };
    match version {
        b"HTTP/1.1 " | b"HTTP/1.0 " if status_is_whole => Ok(()),
        _ => Err(HeadError::BadStartLine),
    }
}

fn parse_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HeadError::BadHeader,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::Version => HeadError::BadVersion,
        httparse::Error::NewLine => HeadError::BareCr,
        _ => HeadError::BadStartLine,
    }
}

/// Whether a header's value gives its reader somebody's rights. Such values stay out of debug output.
pub(super) fn is_secret(name: &HeaderName) -> bool {
    const SECRET: [HeaderName; 4] =
        [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION, header::SET_COOKIE];
    SECRET.contains(name)
}
