use std::fmt;

use url::Url;

/// Which pages' scripts may connect, judged by the `Origin` header that browsers send (RFC 6455 section 10.2).
///
/// A client without the header is no browser, so it is allowed unless [`require`](Self::require) says otherwise.
/// `Origin: null` (sandboxed frames, files) matches [`any`](Self::any) only.
///
/// ```
/// use sockeye_proto::handshake::OriginPolicy;
///
/// let policy = OriginPolicy::list(["https://example.org", "https://bücher.example:8443"])?;
/// assert!(policy.allows(Some("https://example.org"), "api.example.org"));
/// assert!(policy.allows(Some("https://xn--bcher-kva.example:8443"), "api.example.org"));
/// assert!(!policy.allows(Some("https://example.org.evil.example"), "api.example.org"));
/// # Ok::<(), sockeye_proto::handshake::InvalidOrigin>(())
/// ```
#[derive(Debug, Clone)]
pub struct OriginPolicy {
    rule: Rule,
    header_required: bool,
}

/// Text that is not an origin: a scheme, `://`, a host, and perhaps a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidOrigin {
    text: String,
}

#[derive(Debug, Clone)]
enum Rule {
    Any,
    Same,
    List(Vec<Origin>),
    SameOrList(Vec<Origin>),
}

impl OriginPolicy {
    /// Every page of every site. For services that know their users by something other than cookies.
    #[must_use]
    pub fn any() -> Self {
        Self { rule: Rule::Any, header_required: false }
    }

    /// Pages from the host and port that the request itself names in `Host`.
    ///
    /// A page whose name somebody lets point at this server (DNS rebinding) is such a page too; where that matters, a
    /// [`list`](Self::list) is safer.
    #[must_use]
    pub fn same() -> Self {
        Self { rule: Rule::Same, header_required: false }
    }

    /// Pages of exactly these origins, such as `https://example.org`.
    ///
    /// The case of scheme and host does not matter, a default port may be written or left out, and an international
    /// name equals its punycode form. There are no wildcards.
    ///
    /// # Errors
    ///
    /// Fails at the first text that is not an origin. `null` is none, as it names no site.
    pub fn list<I>(origins: I) -> Result<Self, InvalidOrigin>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let parse = |text: I::Item| {
            let text = text.as_ref();
            Origin::parse(text).ok_or_else(|| InvalidOrigin { text: text.to_owned() })
        };
        let origins = origins.into_iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { rule: Rule::List(origins), header_required: false })
    }

    /// Also takes the pages that [`same`](Self::same) would: a server's own need not be listed.
    ///
    /// ```
    /// use sockeye_proto::handshake::OriginPolicy;
    ///
    /// let policy = OriginPolicy::list(["https://example.org"])?.and_same();
    /// assert!(policy.allows(Some("https://example.org"), "192.0.2.7:7071"));
    /// assert!(policy.allows(Some("http://192.0.2.7:7071"), "192.0.2.7:7071"));
    /// assert!(!policy.allows(Some("http://192.0.2.8:7071"), "192.0.2.7:7071"));
    /// # Ok::<(), sockeye_proto::handshake::InvalidOrigin>(())
    /// ```
    #[must_use]
    pub fn and_same(mut self) -> Self {
        self.rule = match self.rule {
            Rule::List(allowed) => Rule::SameOrList(allowed),
            rule @ (Rule::Any | Rule::Same | Rule::SameOrList(_)) => rule,
        };
        self
    }

    /// Also refuses clients that send no `Origin`.
    #[must_use]
    pub fn require(mut self) -> Self {
        self.header_required = true;
        self
    }

    /// Whether a request with this `Origin` and this `Host` may go on.
    #[must_use]
    pub fn allows(&self, origin: Option<&str>, host: &str) -> bool {
        let Some(origin) = origin else { return !self.header_required };
        if matches!(self.rule, Rule::Any) {
            return true;
        }
        let Some(origin) = Origin::parse(origin) else { return false };
        match &self.rule {
            Rule::Any => true,
            Rule::Same => origin.is_at(host),
            Rule::List(allowed) => allowed.contains(&origin),
            Rule::SameOrList(allowed) => allowed.contains(&origin) || origin.is_at(host),
        }
    }
}

/// An origin in one spelling, so that equality is comparison (RFC 6454 section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// Nothing that a serialised origin cannot hold is let through to the URL parser, which would repair it.
    fn parse(text: &str) -> Option<Self> {
        let (_, authority) = text.split_once("://")?;
        let is_foreign = |char: char| {
            char.is_whitespace() || char.is_control() || matches!(char, '/' | '\\' | '?' | '#' | '@' | '%' | ',')
        };
        if authority.ends_with(':') || authority.contains(is_foreign) || text.starts_with(char::is_whitespace) {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let host = url.host_str().filter(|host| !host.is_empty())?;
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: host.to_ascii_lowercase(),
            port: url.port_or_known_default(),
        })
    }

    /// Whether this is a web page's, and from this host and port. Behind a proxy that ends TLS a server does not know its
    /// own scheme, so the page's is assumed.
    fn is_at(&self, host: &str) -> bool {
        matches!(&*self.scheme, "http" | "https")
            && Self::parse(&format!("{}://{host}", self.scheme)).is_some_and(|own| own == *self)
    }
}

impl InvalidOrigin {
    /// The text that is not an origin.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an origin such as \"https://example.org\"", self.text)
    }
}

impl std::error::Error for InvalidOrigin {}
