//! Close codes for clients of SockJS.

/// A code as a client of SockJS may be told it: 1000, what RFC 6455 lets a server say, and 3000 to 4999 are themselves;
/// all else, which means something to SockJS itself or nothing to anybody, is 3000.
#[must_use]
pub fn close_code(code: u16) -> u16 {
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => code,
        _ => 3000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_mean_something_else_to_sockjs_become_3000() {
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3001, 4000, 4103, 4999] {
            assert_eq!(close_code(code), code);
        }
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2007, 2010, 2999, 5000, u16::MAX] {
            assert_eq!(close_code(code), 3000);
        }
    }
}
