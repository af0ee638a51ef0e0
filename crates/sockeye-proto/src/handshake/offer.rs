use std::fmt;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};

use super::accept_key::{accept_key, is_key};
use super::error::{HandshakeError, Kind};
use super::extensions::{ExtensionOffer, parse_offers};
use super::fields::{self, BodyLength, Single, is_reserved, single};
use super::origin::OriginPolicy;
use super::refusal::{Cause, Refusal};
use super::subprotocol::{Subprotocol, SubprotocolPolicy, parse_list};
use crate::deflate::{self, Deflate, DeflateParams};

/// Room for the headers of an answer: the three of every one, subprotocol, extension, and one of the program's.
const USUAL_HEADERS: usize = 6;

/// A client's opening handshake that has passed every check of RFC 6455 section 4.2.1.
///
/// Which origin, subprotocol and path to take is the program's decision; [`accept`](Self::accept) writes the answer.
///
/// ```
/// use sockeye_proto::handshake::{Offer, OriginPolicy, Subprotocol, SubprotocolPolicy};
///
/// let request = http::Request::get("/live")
///     .header("Host", "example.org")
///     .header("Upgrade", "websocket")
///     .header("Connection", "Upgrade")
///     .header("Origin", "https://example.org")
///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .header("Sec-WebSocket-Version", "13")
///     .header("Sec-WebSocket-Protocol", "chat, superchat")
///     .body(())?;
/// let offer = Offer::check(&request)?;
/// offer.check_origin(&OriginPolicy::same())?;
/// let subprotocol = offer.select(&SubprotocolPolicy::optional([Subprotocol::new("superchat")?]))?;
/// let accepted = offer.accept(subprotocol)?;
/// assert_eq!(accepted.response.headers()["sec-websocket-protocol"], "superchat");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Offer {
    proof: Proof,
    // Values that are text, shared with the request.
    host: HeaderValue,
    origin: Option<HeaderValue>,
    subprotocols: Vec<Subprotocol>,
    extensions: Vec<ExtensionOffer>,
    deflate: Option<Deflate>,
}

/// With what the response shows that the server has understood the request.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    /// HTTP/1.1: with the digest of this key.
    Key(HeaderValue),
    /// HTTP/2 and later: with nothing but its status, because `:protocol` cannot be misunderstood.
    None,
}

/// The answer to an [`Offer`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The response, with status 101, or 200 over HTTP/2. [`headers`](Self::headers) adds to it.
    pub response: Response<()>,
    /// The subprotocol that the response names.
    pub subprotocol: Option<Subprotocol>,
    /// The compression that the response agrees to, for [`Connection::with_deflate`](crate::Connection::with_deflate).
    pub deflate: Option<DeflateParams>,
}

/// The program chose a subprotocol that the client had not offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubprotocolNotOffered(Subprotocol);

impl Offer {
    /// Checks a request against RFC 6455 section 4.2.1.
    ///
    /// The request may come from [`ReadRequest`](super::ReadRequest) or from another HTTP/1.1 server; what the
    /// former has checked already is checked again for the latter.
    ///
    /// # Errors
    ///
    /// Returns the refusal to be sent: 405 (not `GET`), 417 (`Expect`), 426 (no `Upgrade: websocket`, or a version of
    /// WebSocket that is not 13), 505 (not HTTP/1.1), else 400.
    pub fn check<B>(request: &Request<B>) -> Result<Self, Refusal> {
        if request.version() != Version::HTTP_11 {
            return Err(Cause::HttpVersion.into());
        }
        if request.method() != Method::GET {
            let refusal = Refusal::from(Cause::MethodNotAllowed);
            return Err(if request.method() == Method::HEAD { refusal.without_body() } else { refusal });
        }
        Self::from_headers(request.headers()).map_err(Refusal::from)
    }

    fn from_headers(headers: &HeaderMap) -> Result<Self, Cause> {
        let host = fields::host(headers)?.clone();
        if !fields::list_contains(headers, &header::UPGRADE, "websocket")
            || !fields::list_contains(headers, &header::CONNECTION, "upgrade")
        {
            return Err(Cause::UpgradeRequired);
        }
        match single(headers, &header::SEC_WEBSOCKET_VERSION) {
            Single::One(version) if version == "13" => {}
            _ => return Err(Cause::WebSocketVersion),
        }
        let key = match single(headers, &header::SEC_WEBSOCKET_KEY) {
            Single::One(key) if is_key(text(key)) => key.clone(),
            Single::One(_) | Single::Absent | Single::Repeated => return Err(Cause::BadKey),
        };
        Self::from_parts(Proof::Key(key), host, headers)
    }

    /// What every version of HTTP has in common.
    pub(super) fn from_parts(proof: Proof, host: HeaderValue, headers: &HeaderMap) -> Result<Self, Cause> {
        match fields::body_length(headers)? {
            BodyLength::Absent | BodyLength::Known(0) => {}
            BodyLength::Known(_) | BodyLength::Chunked => return Err(Cause::BodyAnnounced),
        }
        if headers.contains_key(header::EXPECT) {
            return Err(Cause::Expectation);
        }
        let origin = match single(headers, &header::ORIGIN) {
            Single::Absent => None,
            Single::One(origin) if origin.to_str().is_ok() => Some(origin.clone()),
            Single::One(_) | Single::Repeated => return Err(Cause::BadOrigin),
        };
        let subprotocols =
            parse_list(headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter()).map_err(|_| Cause::BadSubprotocols)?;
        let extensions =
            parse_offers(headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter()).map_err(|_| Cause::BadExtensions)?;
        Ok(Self { proof, host, origin, subprotocols, extensions, deflate: None })
    }

    /// Refuses an origin that the policy does not allow.
    ///
    /// # Errors
    ///
    /// 403, code `origin_not_allowed`.
    pub fn check_origin(&self, policy: &OriginPolicy) -> Result<(), Refusal> {
        if policy.allows(self.origin(), self.host()) { Ok(()) } else { Err(Refusal::origin_not_allowed()) }
    }

    /// Chooses the subprotocol: the first of the policy's that the client offered.
    ///
    /// # Errors
    ///
    /// 400, code `no_subprotocol`, where there is none and the policy does not go on without.
    pub fn select(&self, policy: &SubprotocolPolicy) -> Result<Option<Subprotocol>, Refusal> {
        policy.select(&self.subprotocols).map_err(Refusal::from)
    }

    /// Lets [`accept`](Self::accept) agree to permessage-deflate (RFC 7692), on the first of the client's offers that this
    /// policy and this end can meet. Without this, or after `None`, it is declined.
    ///
    /// ```
    /// # use sockeye_proto::{Deflate, handshake::Offer};
    /// # let request = http::Request::get("/").header("Host", "a").header("Upgrade", "websocket")
    /// #     .header("Connection", "Upgrade").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    /// #     .header("Sec-WebSocket-Version", "13")
    /// #     .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits").body(())?;
    /// let accepted = Offer::check(&request)?.deflate(Deflate::default()).accept(None)?;
    /// # if cfg!(feature = "deflate") {
    /// assert_eq!(
    ///     accepted.response.headers()["sec-websocket-extensions"],
    ///     "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    /// );
    /// assert!(accepted.deflate.is_some());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn deflate(mut self, policy: impl Into<Option<Deflate>>) -> Self {
        self.deflate = policy.into();
        self
    }

    /// Writes the answer (RFC 6455 section 4.2.2). Extensions are declined, but for [`deflate`](Self::deflate).
    ///
    /// # Errors
    ///
    /// Fails if the client did not offer this subprotocol, which it would have to take as a broken handshake.
    pub fn accept(&self, subprotocol: Option<Subprotocol>) -> Result<Accepted, SubprotocolNotOffered> {
        let mut response = Response::new(());
        response.headers_mut().reserve(USUAL_HEADERS);
        if let Proof::Key(key) = &self.proof {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            if let Ok(accept) = HeaderValue::try_from(accept_key(text(key))) {
                headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            }
        }
        let headers = response.headers_mut();
        if let Some(chosen) = &subprotocol {
            if !self.subprotocols.contains(chosen) {
                return Err(SubprotocolNotOffered(chosen.clone()));
            }
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, chosen.to_header_value());
        }
        let agreed = self.deflate.as_ref().and_then(|policy| deflate::accept(policy, &self.extensions));
        let deflate = agreed.and_then(|(params, answer)| {
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::try_from(answer).ok()?);
            Some(params)
        });
        Ok(Accepted { response, subprotocol, deflate })
    }

    /// The `Origin` header as sent. Browsers always send one, other clients seldom.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_ref().map(text)
    }

    /// The `Host` header (`:authority` over HTTP/2): name or address, and the port unless it is the default one.
    #[must_use]
    pub fn host(&self) -> &str {
        text(&self.host)
    }

    /// The subprotocols offered, in the client's order of preference.
    #[must_use]
    pub fn subprotocols(&self) -> &[Subprotocol] {
        &self.subprotocols
    }

    /// The extensions offered, in the client's order of preference.
    #[must_use]
    pub fn extensions(&self) -> &[ExtensionOffer] {
        &self.extensions
    }

    /// The `Sec-WebSocket-Key` as sent: the base64 form of 16 bytes. Over HTTP/2 there is none.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match &self.proof {
            Proof::Key(key) => Some(text(key)),
            Proof::None => None,
        }
    }
}

/// What a value says, if it is text.
fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

impl Accepted {
    /// Adds headers to the response, such as `Set-Cookie`.
    ///
    /// # Errors
    ///
    /// Fails with a [user error](HandshakeError::is_user) if one is the handshake's own: `Connection`, `Upgrade`, every
    /// `Sec-WebSocket-…`, and those that announce a body.
    pub fn headers(mut self, headers: HeaderMap) -> Result<Self, HandshakeError> {
        if let Some(name) = headers.keys().find(|name| is_reserved(name)) {
            return Err(Kind::ReservedHeader(name.clone()).into());
        }
        self.response.headers_mut().extend(headers);
        Ok(self)
    }
}

impl SubprotocolNotOffered {
    /// The subprotocol that was chosen.
    #[must_use]
    pub fn subprotocol(&self) -> &Subprotocol {
        &self.0
    }
}

impl fmt::Display for SubprotocolNotOffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client did not offer the subprotocol {}", self.0)
    }
}

impl std::error::Error for SubprotocolNotOffered {}
