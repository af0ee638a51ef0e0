//! The `token` rule of RFC 2616 section 2.2, which is `tchar` in RFC 9110 section 5.6.2.

pub(super) const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// Optional white space of a header value.
pub(super) const OWS: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_2616_section_2_2_token_is_any_char_except_ctls_and_separators() {
        let separators = b"()<>@,;:\\\"/[]?={} \t";
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii() && !byte.is_ascii_control() && !separators.contains(&byte);
            assert_eq!(is_tchar(byte), expected, "{byte:#04x}");
        }
    }
}
