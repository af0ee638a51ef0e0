//! What stands in a query.
use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::wrong;
use crate::dialect::Problem;

/// The parameters of a request, decoded. Those that mean nothing are left alone.
#[derive(Debug)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads `name=value&…`, as forms and every HTTP library write it.
    pub(crate) fn parse(query: &'a str) -> Result<Self, Problem> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The value of a parameter. One that comes twice is refused: programs differ in which of them counts.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(wrong(format!("{name} comes twice"))),
        }
    }

    /// All values of a parameter, in their order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// A number in these bounds.
    pub(crate) fn number(&self, name: &str, least: usize, most: usize) -> Result<Option<usize>, Problem> {
        let Some(text) = self.get(name)? else { return Ok(None) };
        match digits(text).and_then(|number| usize::try_from(number).ok()) {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(wrong(format!("{name} is an integer from {least} to {most}"))),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name)? {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(wrong(format!("{name} is true or false"))),
        }
    }
}

/// A number without a sign.
pub(super) fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    let not_text = |_| wrong("the query is not UTF-8");
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return percent_decode_str(&spaced).decode_utf8().map(|text| Cow::Owned(text.into_owned())).map_err(not_text);
    }
    percent_decode_str(text).decode_utf8().map_err(not_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_forms_write_it() {
        let query = Query::parse("channel=a%2Fb%3A..&&prefix=x+y&empty=&bare").unwrap();
        assert_eq!(query.get("channel").unwrap(), Some("a/b:.."));
        assert_eq!(query.get("prefix").unwrap(), Some("x y"));
        assert_eq!((query.get("empty").unwrap(), query.get("bare").unwrap()), (Some(""), Some("")));
        assert_eq!(query.get("other").unwrap(), None);
        assert!(Query::parse("channel=%ff").is_err(), "never another channel than was meant");
        assert!(Query::parse("limit=1&limit=2").unwrap().get("limit").is_err());
    }

    /// Attack line E13.
    #[test]
    fn numbers_have_bounds() {
        for bad in ["-1", "+1", "", "0", "301", "1.0", "1e2", "9223372036854775808", "99999999999999999999", " 1"] {
            let query = format!("limit={bad}").replace('+', "%2B");
            assert!(Query::parse(&query).unwrap().number("limit", 1, 300).is_err(), "{bad}");
        }
        assert_eq!(Query::parse("limit=300").unwrap().number("limit", 1, 300), Ok(Some(300)));
    }
}
