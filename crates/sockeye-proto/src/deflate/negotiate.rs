//! The negotiation of RFC 7692 section 7.1: what is offered, what is answered, what is taken.
use std::{fmt, sync::Arc};

use super::params::{Deflate, DeflateParams, Direction, MAX_WINDOW_BITS};
use crate::handshake::ExtensionOffer;

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The smallest window that zlib compresses with.
const MIN_COMPRESSOR_BITS: u8 = 9;

/// The four parameters as they stand in one offer or answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Element {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    client_bits: Option<ClientBits>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientBits {
    /// Without a value: the client can be told. Only in offers.
    Any,
    AtMost(u8),
}

/// An element that RFC 7692 does not allow: an unknown name, a bad value, a parameter twice.
struct InvalidElement;

impl Element {
    fn parse(offer: &ExtensionOffer) -> Result<Self, InvalidElement> {
        let mut element = Self::default();
        for (name, value) in offer.params() {
            let value = value.as_deref();
            match name.as_str() {
                SERVER_NO_CONTEXT_TAKEOVER => set_flag(&mut element.server_no_takeover, value)?,
                CLIENT_NO_CONTEXT_TAKEOVER => set_flag(&mut element.client_no_takeover, value)?,
                SERVER_MAX_WINDOW_BITS => {
                    let bits = window_bits(value.ok_or(InvalidElement)?)?;
                    set(&mut element.server_bits, bits)?;
                }
                CLIENT_MAX_WINDOW_BITS => {
                    let bits = value.map(window_bits).transpose()?;
                    set(&mut element.client_bits, bits.map_or(ClientBits::Any, ClientBits::AtMost))?;
                }
                _ => return Err(InvalidElement),
            }
        }
        Ok(element)
    }
}

fn set_flag(flag: &mut bool, value: Option<&str>) -> Result<(), InvalidElement> {
    if *flag || value.is_some() {
        return Err(InvalidElement);
    }
    *flag = true;
    Ok(())
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), InvalidElement> {
    if slot.replace(value).is_some() { Err(InvalidElement) } else { Ok(()) }
}

/// "A decimal integer value without leading zeroes between 8 to 15, inclusive" (sections 7.1.2.1 and 7.1.2.2).
fn window_bits(value: &str) -> Result<u8, InvalidElement> {
    match value {
        "8" => Ok(8),
        "9" => Ok(9),
        "10" => Ok(10),
        "11" => Ok(11),
        "12" => Ok(12),
        "13" => Ok(13),
        "14" => Ok(14),
        "15" => Ok(15),
        _ => Err(InvalidElement),
    }
}

/// The form of the header.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_takeover {
            write!(f, "; {SERVER_NO_CONTEXT_TAKEOVER}")?;
        }
        if self.client_no_takeover {
            write!(f, "; {CLIENT_NO_CONTEXT_TAKEOVER}")?;
        }
        if let Some(bits) = self.server_bits {
            write!(f, "; {SERVER_MAX_WINDOW_BITS}={bits}")?;
        }
        match self.client_bits {
            Some(ClientBits::Any) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}"),
            Some(ClientBits::AtMost(bits)) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}={bits}"),
            None => Ok(()),
        }
    }
}

/// The server's side: takes the first offer that it can, in the client's order, and gives the parameters and the value of
/// the header that says so.
pub(crate) fn accept(policy: &Deflate, offers: &[ExtensionOffer]) -> Option<(DeflateParams, String)> {
    if !super::IS_AVAILABLE {
        return None;
    }
    offers
        .iter()
        .filter(|offer| offer.name().eq_ignore_ascii_case(NAME))
        .filter_map(|offer| Element::parse(offer).ok())
        .find_map(|offer| accept_one(policy, offer))
}

fn accept_one(policy: &Deflate, offer: Element) -> Option<(DeflateParams, String)> {
    let server_bits = policy.server.bits.min(offer.server_bits.unwrap_or(MAX_WINDOW_BITS));
    if server_bits < MIN_COMPRESSOR_BITS {
        return None;
    }
    // Only a client that said it can be told is told; never more than it said, and never 8, which few could obey.
    let asked = match offer.client_bits {
        Some(ClientBits::Any) => Some(policy.client.bits),
        Some(ClientBits::AtMost(hint)) => Some(policy.client.bits.min(hint)),
        None => None,
    };
    let client_bits = asked.filter(|bits| (MIN_COMPRESSOR_BITS..MAX_WINDOW_BITS).contains(bits));
    let wanted = [
        Direction { bits: server_bits, takeover: policy.server.takeover && !offer.server_no_takeover },
        Direction {
            bits: client_bits.unwrap_or(MAX_WINDOW_BITS),
            takeover: policy.client.takeover && !offer.client_no_takeover,
        },
    ];
    let (params, _) = reserve(policy, wanted);
    let answer = Element {
        server_no_takeover: !params.server.takeover,
        client_no_takeover: !params.client.takeover,
        server_bits: Some(server_bits).filter(|bits| offer.server_bits.is_some() || *bits < MAX_WINDOW_BITS),
        client_bits: client_bits.map(ClientBits::AtMost),
    };
    Some((params, answer.to_string()))
}

/// The parameters with as much takeover as the budget has left for: that of both directions, or none.
fn reserve(policy: &Deflate, [mut server, mut client]: [Direction; 2]) -> (DeflateParams, [Direction; 2]) {
    let bytes = server.kept().saturating_add(client.kept());
    let reservation = if bytes == 0 { None } else { policy.budget.reserve(bytes) };
    if reservation.is_none() {
        (server.takeover, client.takeover) = (false, false);
    }
    let Deflate { effort, threshold, .. } = *policy;
    let params = DeflateParams { server, client, effort, threshold, reservation: reservation.map(Arc::new) };
    (params, [server, client])
}

/// The client's side: what it offers, and against which it holds the answer.
#[derive(Debug)]
pub(crate) struct ClientOffer {
    /// In order of preference.
    elements: Vec<Element>,
    /// With the takeover that was offered, and its reservation.
    params: DeflateParams,
}

/// The server answered with something that was not offered, or that RFC 7692 does not know (D8, D9).
#[derive(Debug)]
pub(crate) struct InvalidAnswer;

impl ClientOffer {
    /// `None` where this build cannot compress.
    pub(crate) fn new(policy: &Deflate) -> Option<Self> {
        if !super::IS_AVAILABLE {
            return None;
        }
        // The server may answer with any window, so the largest is reserved until it has answered.
        let server = Direction { bits: MAX_WINDOW_BITS, ..policy.server };
        let (params, [server, client]) = reserve(policy, [server, policy.client]);
        let client_bits = if client.bits < MAX_WINDOW_BITS { ClientBits::AtMost(client.bits) } else { ClientBits::Any };
        let base = Element {
            server_no_takeover: !server.takeover,
            client_no_takeover: !client.takeover,
            server_bits: None,
            client_bits: Some(client_bits),
        };
        let limit = Some(policy.server.bits).filter(|bits| *bits < MAX_WINDOW_BITS);
        // A server that cannot keep to a window, or that cannot keep one for us and was not told it need not, has another to
        // take.
        let mut elements = Vec::new();
        for client_no_takeover in [!client.takeover, true] {
            for server_bits in [limit, None] {
                let element = Element { client_no_takeover, server_bits, ..base };
                if !elements.contains(&element) {
                    elements.push(element);
                }
            }
        }
        Some(Self { elements, params })
    }

    /// The value of the header.
    pub(crate) fn header(&self) -> String {
        self.elements.iter().map(Element::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Holds the answer against the offers: it has to agree to one of them.
    pub(crate) fn check(self, answer: &ExtensionOffer) -> Result<DeflateParams, InvalidAnswer> {
        if !answer.name().eq_ignore_ascii_case(NAME) {
            return Err(InvalidAnswer);
        }
        let answer = Element::parse(answer).map_err(|InvalidElement| InvalidAnswer)?;
        if !self.elements.iter().any(|offer| offer.admits(answer)) {
            return Err(InvalidAnswer);
        }
        let mut params = self.params;
        params.server.bits = answer.server_bits.unwrap_or(MAX_WINDOW_BITS);
        params.server.takeover &= !answer.server_no_takeover;
        params.client.takeover &= !answer.client_no_takeover;
        if let Some(ClientBits::AtMost(bits)) = answer.client_bits {
            // 8 is possible: what this end sends then goes plain, which every receiver takes.
            params.client.bits = bits.min(params.client.bits);
        }
        if !params.server.takeover && !params.client.takeover {
            params.reservation = None;
        }
        Ok(params)
    }
}

impl Element {
    /// Whether a server may answer this offer so.
    fn admits(self, answer: Self) -> bool {
        let server_takeover = answer.server_no_takeover || !self.server_no_takeover;
        let server_bits = match (self.server_bits, answer.server_bits) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(offered), Some(answered)) => answered <= offered,
        };
        let client_bits = match (self.client_bits, answer.client_bits) {
            (_, None) | (Some(ClientBits::Any), Some(ClientBits::AtMost(_))) => true,
            // A value is required in an answer.
            (None, Some(_)) | (_, Some(ClientBits::Any)) => false,
            (Some(ClientBits::AtMost(offered)), Some(ClientBits::AtMost(answered))) => answered <= offered,
        };
        server_takeover && server_bits && client_bits
    }
}
