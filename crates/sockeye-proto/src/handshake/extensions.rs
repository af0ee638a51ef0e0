//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).

use std::fmt;

use http::header::HeaderValue;

use super::token::{OWS, is_tchar, is_token};

/// One extension as a client offers it: a name and parameters.
///
/// ```
/// use sockeye_proto::handshake::ExtensionOffer;
///
/// let offers = ExtensionOffer::parse("permessage-deflate; client_max_window_bits; server_max_window_bits=\"10\"")?;
/// assert_eq!(offers[0].name(), "permessage-deflate");
/// assert_eq!(offers[0].params()[0], ("client_max_window_bits".to_owned(), None));
/// assert_eq!(offers[0].params()[1], ("server_max_window_bits".to_owned(), Some("10".to_owned())));
/// # Ok::<(), sockeye_proto::handshake::InvalidExtensions>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionOffer {
    name: String,
    params: Vec<(String, Option<String>)>,
}

/// A `Sec-WebSocket-Extensions` header that does not follow its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidExtensions;

impl ExtensionOffer {
    /// Most offers that are kept. Those after them are checked and declined.
    pub const MAX_OFFERS: usize = 32;

    /// Most parameters of an offer. One with more is checked and declined.
    pub const MAX_PARAMS: usize = 16;

    /// Reads one value of the header.
    ///
    /// # Errors
    ///
    /// Fails if the value does not follow the grammar of RFC 6455 section 9.1.
    pub fn parse(value: &str) -> Result<Vec<Self>, InvalidExtensions> {
        let mut offers = Vec::new();
        parse_value(value, &mut offers)?;
        Ok(offers)
    }

    /// The extension's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters in the order of the header, with what stood after `=` (without quotes) where it did.
    #[must_use]
    pub fn params(&self) -> &[(String, Option<String>)] {
        &self.params
    }
}

/// Reads all values of the header, which are parts of one list.
pub(super) fn parse_offers<'a>(
    values: impl Iterator<Item = &'a HeaderValue>,
) -> Result<Vec<ExtensionOffer>, InvalidExtensions> {
    let mut offers = Vec::new();
    for value in values {
        parse_value(value.to_str().map_err(|_| InvalidExtensions)?, &mut offers)?;
    }
    Ok(offers)
}

/// Reads the header of an answer, which names one extension.
pub(super) fn parse_answer(value: &HeaderValue) -> Result<ExtensionOffer, InvalidExtensions> {
    let mut cursor = Cursor { rest: value.to_str().map_err(|_| InvalidExtensions)? };
    let answer = cursor.offer()?.ok_or(InvalidExtensions)?;
    if cursor.rest.is_empty() { Ok(answer) } else { Err(InvalidExtensions) }
}

fn parse_value(value: &str, offers: &mut Vec<ExtensionOffer>) -> Result<(), InvalidExtensions> {
    let mut cursor = Cursor { rest: value };
    loop {
        if let Some(offer) = cursor.offer()?
            && offers.len() < ExtensionOffer::MAX_OFFERS
        {
            offers.push(offer);
        }
        if cursor.rest.is_empty() {
            return Ok(());
        }
        if !cursor.take(',') {
            return Err(InvalidExtensions);
        }
    }
}

/// What has not been read yet. Every method only moves forward.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// One offer and the white space after it. `None` for one with too many parameters.
    fn offer(&mut self) -> Result<Option<ExtensionOffer>, InvalidExtensions> {
        let name = self.token()?.to_owned();
        let mut params = Vec::new();
        let mut too_many = false;
        while self.take(';') {
            let param = self.param()?;
            if params.len() < ExtensionOffer::MAX_PARAMS {
                params.push(param);
            } else {
                too_many = true;
            }
        }
        Ok(if too_many { None } else { Some(ExtensionOffer { name, params }) })
    }

    fn param(&mut self) -> Result<(String, Option<String>), InvalidExtensions> {
        let name = self.token()?.to_owned();
        if !self.take('=') {
            return Ok((name, None));
        }
        let value = if self.take('"') { self.quoted()? } else { self.token()?.to_owned() };
        self.skip_space();
        Ok((name, Some(value)))
    }

    /// A token with the white space around it.
    fn token(&mut self) -> Result<&'a str, InvalidExtensions> {
        self.skip_space();
        let end = self.rest.bytes().position(|byte| !is_tchar(byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(end).ok_or(InvalidExtensions)?;
        if token.is_empty() {
            return Err(InvalidExtensions);
        }
        self.rest = rest;
        self.skip_space();
        Ok(token)
    }

    /// The rest of a quoted string. What it says, once unescaped, has to be a token.
    fn quoted(&mut self) -> Result<String, InvalidExtensions> {
        let mut content = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next().ok_or(InvalidExtensions)? {
                '"' => break,
                '\\' => content.push(chars.next().ok_or(InvalidExtensions)?),
                char => content.push(char),
            }
        }
        self.rest = chars.as_str();
        if is_token(&content) { Ok(content) } else { Err(InvalidExtensions) }
    }

    /// White space before a sign has been skipped by what came before; that after it is skipped by a token.
    /// The one before an opening quote is skipped here.
    fn take(&mut self, sign: char) -> bool {
        let rest = if sign == '"' { self.rest.trim_start_matches(OWS) } else { self.rest };
        match rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches(OWS);
    }
}

impl fmt::Display for InvalidExtensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list of extensions does not follow its grammar")
    }
}

impl std::error::Error for InvalidExtensions {}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str) -> ExtensionOffer {
        let mut offers = ExtensionOffer::parse(value).unwrap();
        assert_eq!(offers.len(), 1, "{value}");
        offers.remove(0)
    }

    #[test]
    fn rfc_6455_section_9_1_examples() {
        assert_eq!(one("foo").name(), "foo");
        let offers =
            ExtensionOffer::parse("deflate-stream, mux; max-channels=4; flow-control, deflate-stream").unwrap();
        assert_eq!(
            offers.iter().map(ExtensionOffer::name).collect::<Vec<_>>(),
            ["deflate-stream", "mux", "deflate-stream"]
        );
        assert_eq!(offers[1].params(), [("max-channels".into(), Some("4".into())), ("flow-control".into(), None)]);
        assert_eq!(one("private-extension; y").params(), [("y".into(), None)]);
    }

    #[test]
    fn quoted_values_are_unescaped_and_must_be_tokens() {
        assert_eq!(one(r#"a; b="10""#), one("a; b=10"));
        assert_eq!(one(r#"a;b="\1\0""#), one("a ; b = 10"));
        assert_eq!(one("a; b= \"10\" "), one("a; b=10"));
        for bad in [r#"a; b="""#, r#"a; b="1 0""#, r#"a; b="1,0""#, r#"a; b="\"""#, r#"a; b="é""#] {
            assert_eq!(ExtensionOffer::parse(bad), Err(InvalidExtensions), "{bad}");
        }
    }

    #[test]
    fn malformed_lists() {
        for bad in [
            "",
            " ",
            ",",
            "a,",
            ",a",
            "a,,b",
            ";",
            "a;",
            "a;;b",
            "a;=1",
            "a;b=",
            "a b",
            "a;b c",
            "a;b=1 2",
            "a;b=\"1",
            "a;b=\"1\\",
            "a=1",
            "a;b=\"1\"2",
            "a;b=\"1\"\"2\"",
            "\"a\"",
            "a/b",
            "é",
            "a;b==1",
        ] {
            assert_eq!(ExtensionOffer::parse(bad), Err(InvalidExtensions), "{bad}");
        }
    }

    #[test]
    fn a20_counts_are_bounded_and_the_rest_is_declined() {
        let many = vec!["x"; 10_000].join(",");
        assert_eq!(ExtensionOffer::parse(&many).unwrap().len(), ExtensionOffer::MAX_OFFERS);
        let deep = format!("a{}, b", "; p".repeat(ExtensionOffer::MAX_PARAMS + 1));
        assert_eq!(one(&deep).name(), "b");
    }
}
