//! JSON that is passed on as it came: whatever may be in it that would hurt who reads it.
use super::{MAX_DEPTH, MAX_NUMBER};

/// Looks at a JSON value that is known to be well formed: how deep it is, and whether its numbers and strings are such as
/// every parser takes. In one pass, without recursion.
pub(crate) fn check(value: &str) -> Result<(), &'static str> {
    let mut rest = value.as_bytes();
    let mut depth = 0_usize;
    while let Some((&first, after)) = rest.split_first() {
        rest = match first {
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err("a value is nested more than 64 deep");
                }
                after
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                after
            }
            b'"' => string(after)?,
            b'-' | b'0'..=b'9' => number(rest)?,
            _ => after,
        };
    }
    Ok(())
}

/// What follows a string that has just begun.
fn string(mut rest: &[u8]) -> Result<&[u8], &'static str> {
    const LONE: &str = "a string has half a pair of surrogates";
    // The first half of a pair of surrogates, whose second has to be next.
    let mut half = false;
    loop {
        let plain = rest.iter().position(|&byte| byte == b'"' || byte == b'\\').unwrap_or(rest.len());
        if half && plain > 0 {
            return Err(LONE);
        }
        let (_, special) = rest.split_at(plain);
        rest = match special {
            [b'\\', b'u', a, b, c, d, after @ ..] => {
                let unit = [a, b, c, d].into_iter().fold(0, |unit, &digit| unit * 16 + hex(digit));
                half = match (half, unit) {
                    (false, 0xd800..=0xdbff) => true,
                    (true, 0xdc00..=0xdfff) => false,
                    (true, _) | (false, 0xdc00..=0xdfff) => return Err(LONE),
                    (false, _) => false,
                };
                after
            }
            _ if half => return Err(LONE),
            [b'\\', _, after @ ..] | [_, after @ ..] => {
                if special.first() == Some(&b'"') {
                    return Ok(after);
                }
                after
            }
            [] => return Ok(special),
        };
    }
}

fn hex(digit: u8) -> u32 {
    char::from(digit).to_digit(16).unwrap_or(0)
}

/// What follows a number.
fn number(rest: &[u8]) -> Result<&[u8], &'static str> {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let (digits, after) = rest.split_at(rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len()));
    if digits.len() > MAX_NUMBER {
        return Err("a number has more than 400 characters");
    }
    // Without an exponent it is at most as large as it is long.
    let may_be_large = digits.len() > 300 || digits.iter().any(|byte| matches!(byte, b'e' | b'E'));
    let is_finite = || std::str::from_utf8(digits).ok()?.parse().ok().map(f64::is_finite);
    if may_be_large && is_finite() != Some(true) {
        return Err("a number is too large");
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(64)), Ok(()));
        assert!(check(&nested(65)).is_err());
        assert!(check(&nested(30_000)).is_err());
        assert_eq!(check(&format!("[{}]", vec!["[]"; 1_000].join(","))), Ok(()), "side by side is not deep");
        assert_eq!(check(&format!("\"{}\"", "[".repeat(100))), Ok(()), "nor is what stands in a string");
        assert_eq!(check(r#""\"[[[""#), Ok(()));
    }

    #[test]
    fn numbers_are_such_as_everybody_reads() {
        for good in ["0", "-1.5", "1e308", "18446744073709551616", "[1E-400,2]", r#"{"a":1e5}"#, "\"1e400\""] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = "9".repeat(64 * 1024);
        let large = "9".repeat(310);
        for bad in ["1e400", "-1e400", r#"{"a":[1e309]}"#, &long, &large] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn strings_have_no_half_characters() {
        for good in [r#""\ud83d\udc1f""#, r#""\u00e4""#, r#""\\ud800""#, r#"["a\"b","\\"]"#, "\"🐟\""] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in
            [r#""\ud800""#, r#""\udc00""#, r#""\ud800x""#, r#""\ud800\n""#, r#""\ud800\ud800""#, r#"{"\udc1f":1}"#]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
