use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::header::HeaderValue;

use super::refusal::Cause;
use super::token::{OWS, is_token};

/// The name of a subprotocol: a token of RFC 2616, 1 to 4,096 bytes long, compared byte by byte.
///
/// Names are short, but browsers give programs no other header, so tokens for signing in travel here too. The bound
/// is chosen for those.
///
/// ```
/// use sockeye_proto::handshake::Subprotocol;
///
/// assert_eq!(Subprotocol::new("sockeye.v1.json")?.as_str(), "sockeye.v1.json");
/// assert!(Subprotocol::new("two words").is_err());
/// # Ok::<(), sockeye_proto::handshake::InvalidSubprotocol>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subprotocol(Arc<str>);

/// Text that cannot name a [`Subprotocol`], or a list of them that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidSubprotocol;

/// Which subprotocols a server speaks, and whether it goes on when the client offered none of them.
///
/// ```
/// use sockeye_proto::handshake::{Subprotocol, SubprotocolPolicy};
///
/// let policy = SubprotocolPolicy::required([Subprotocol::new("chat.v2")?, Subprotocol::new("chat.v1")?]);
/// assert_eq!(policy.supported().len(), 2);
/// # Ok::<(), sockeye_proto::handshake::InvalidSubprotocol>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SubprotocolPolicy {
    supported: Vec<Subprotocol>,
    without_match: WithoutMatch,
}

#[derive(Debug, Clone, Copy, Default)]
enum WithoutMatch {
    #[default]
    GoOn,
    RefuseOthers,
    Refuse,
}

impl Subprotocol {
    /// Longest name in bytes.
    pub const MAX_LENGTH: usize = 4096;

    /// Most names that a client may offer in one handshake.
    pub const MAX_OFFERED: usize = 64;

    /// Checks a name.
    ///
    /// # Errors
    ///
    /// Fails if it is empty, longer than [`MAX_LENGTH`](Self::MAX_LENGTH), or not a token.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidSubprotocol> {
        let name = name.as_ref();
        if name.len() <= Self::MAX_LENGTH && is_token(name) { Ok(Self(name.into())) } else { Err(InvalidSubprotocol) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn to_header_value(&self) -> HeaderValue {
        // A token holds nothing that a header value may not.
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl SubprotocolPolicy {
    /// No subprotocol is spoken; what the client offers is left unanswered. The default.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Goes on without a subprotocol where none matches.
    pub fn optional(supported: impl IntoIterator<Item = Subprotocol>) -> Self {
        Self::new(supported, WithoutMatch::GoOn)
    }

    /// Refuses a client that offered only others. One that offered nothing is taken without.
    pub fn required_if_offered(supported: impl IntoIterator<Item = Subprotocol>) -> Self {
        Self::new(supported, WithoutMatch::RefuseOthers)
    }

    /// Refuses a client that did not offer one of these.
    pub fn required(supported: impl IntoIterator<Item = Subprotocol>) -> Self {
        Self::new(supported, WithoutMatch::Refuse)
    }

    /// What the server speaks, in its order of preference.
    #[must_use]
    pub fn supported(&self) -> &[Subprotocol] {
        &self.supported
    }

    pub(super) fn select(&self, offered: &[Subprotocol]) -> Result<Option<Subprotocol>, Cause> {
        if let Some(chosen) = self.supported.iter().find(|own| offered.contains(own)) {
            return Ok(Some(chosen.clone()));
        }
        match self.without_match {
            WithoutMatch::GoOn => Ok(None),
            WithoutMatch::RefuseOthers if offered.is_empty() => Ok(None),
            WithoutMatch::RefuseOthers | WithoutMatch::Refuse => Err(Cause::NoSubprotocol),
        }
    }

    fn new(supported: impl IntoIterator<Item = Subprotocol>, without_match: WithoutMatch) -> Self {
        Self { supported: supported.into_iter().collect(), without_match }
    }
}

/// Reads `Sec-WebSocket-Protocol`: `1#token`, nothing empty, nothing twice (RFC 6455 section 4.1, item 10).
pub(super) fn parse_list<'a>(
    values: impl Iterator<Item = &'a HeaderValue>,
) -> Result<Vec<Subprotocol>, InvalidSubprotocol> {
    let mut names: Vec<Subprotocol> = Vec::new();
    for value in values {
        for element in value.to_str().map_err(|_| InvalidSubprotocol)?.split(',') {
            let name = Subprotocol::new(element.trim_matches(OWS))?;
            // With a bounded list, looking through it is linear in the input.
            if names.len() >= Subprotocol::MAX_OFFERED || names.contains(&name) {
                return Err(InvalidSubprotocol);
            }
            names.push(name);
        }
    }
    Ok(names)
}

impl fmt::Debug for Subprotocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Subprotocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Subprotocol {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Subprotocol {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Subprotocol {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl FromStr for Subprotocol {
    type Err = InvalidSubprotocol;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<&str> for Subprotocol {
    type Error = InvalidSubprotocol;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl TryFrom<String> for Subprotocol {
    type Error = InvalidSubprotocol;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl fmt::Display for InvalidSubprotocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a subprotocol is a token of at most 4096 bytes, and a list names each once")
    }
}

impl std::error::Error for InvalidSubprotocol {}
