//! Keys, and those who try to guess them.
use std::{
    collections::HashMap,
    fmt, mem,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Refused;
use crate::{
    auth::KeyId,
    config::Secret,
    dialect::{ErrorCode, Problem},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sockeye::Rate;

/// Wrong keys that an address may show at once after a quiet time.
const GUESSES_BURST: u32 = 20;
/// And in a second, in the long run. While it has none left, no key of that address is looked at.
const GUESSES_PER_SECOND: u32 = 1;
/// Addresses that have shown a wrong key and are remembered.
const MAX_GUESSERS: usize = 20_000;

/// A key of the HTTP API, and its name, by which what is done with it is put down. It is never shown.
///
/// ```
/// use sockeye_server::ApiKey;
/// let key = ApiKey::new("billing", "a-secret-of-16-or-more")?;
/// assert_eq!(format!("{key:?}"), "ApiKey(\"billing\")");
/// assert!(ApiKey::new("billing", "too short").is_err());
/// # Ok::<(), sockeye_server::BadKey>(())
/// ```
#[derive(Clone)]
pub struct ApiKey {
    name: Arc<str>,
    secret: Secret,
}

/// A secret that cannot be one: it has fewer than 16 or more than 256 bytes, or one that is no visible ASCII character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey;

/// Who has shown wrong keys lately, in two generations: when the younger is full the older is forgotten as a whole.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<Guessers>);

#[derive(Debug, Default)]
struct Guessers {
    younger: HashMap<IpAddr, Rate>,
    older: HashMap<IpAddr, Rate>,
}

impl ApiKey {
    /// Bytes of a secret, at least: nobody guesses 16 that were chosen at random.
    pub const MIN_LEN: usize = 16;
    /// Bytes of a secret, at most.
    pub const MAX_LEN: usize = 256;

    /// A key with this name.
    ///
    /// # Errors
    /// If the secret is too short, too long, or no visible ASCII.
    pub fn new(name: &str, secret: &str) -> Result<Self, BadKey> {
        let is_one = (Self::MIN_LEN..=Self::MAX_LEN).contains(&secret.len())
            && secret.bytes().all(|byte| byte.is_ascii_graphic());
        if is_one { Ok(Self { name: name.into(), secret: Secret::new(secret) }) } else { Err(BadKey) }
    }

    /// One that a configuration has, which has checked it; its name is its place there.
    pub(crate) fn configured(index: usize, secret: &Secret) -> Self {
        Self { name: format!("api.keys[{index}]").into(), secret: secret.clone() }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKey").field(&self.name).finish()
    }
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key of the API has 16 to 256 visible ASCII characters")
    }
}

impl std::error::Error for BadKey {}

impl Guesses {
    /// Which of the keys a request shows.
    pub(super) fn identify(
        &self,
        keys: &[ApiKey],
        headers: &HeaderMap,
        from: Option<IpAddr>,
        now: Instant,
    ) -> Result<KeyId, Refused> {
        let Some(shown) = shown(headers) else { return Err(unauthorized("show a key: Authorization: Bearer KEY")) };
        let Some(from) = from else { return find(keys, shown).ok_or_else(wrong_key) };
        let mut guessers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rate = guessers.rate(from).cloned().unwrap_or_default();
        // Of this copy, since only a wrong key costs anything.
        if !rate.take(now, GUESSES_PER_SECOND, GUESSES_BURST) {
            return Err(too_many());
        }
        find(keys, shown).ok_or_else(|| {
            guessers.put(from, rate);
            wrong_key()
        })
    }
}

impl Guessers {
    fn rate(&self, address: IpAddr) -> Option<&Rate> {
        self.younger.get(&address).or_else(|| self.older.get(&address))
    }

    fn put(&mut self, address: IpAddr, rate: Rate) {
        if self.younger.len() >= MAX_GUESSERS / 2 {
            mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
        }
        self.younger.insert(address, rate);
    }
}

/// The one key of a request, in the one way to show it.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).into_iter();
    let (only, None) = (values.next()?, values.next()) else { return None };
    let (scheme, key) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| key.trim())
}

/// Compares all, so that time does not say which one it was.
fn find(keys: &[ApiKey], shown: &str) -> Option<KeyId> {
    KeyId::find(keys.iter().map(|key| &key.secret), shown)
}

fn wrong_key() -> Refused {
    unauthorized("this is none of the keys")
}

fn unauthorized(message: &'static str) -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

fn too_many() -> Refused {
    let wait = Duration::from_secs(1) / GUESSES_PER_SECOND;
    Problem::passing(ErrorCode::RateLimited, "too many wrong keys from this address", wait).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "Bearer right-right-right-right";

    fn ask(guesses: &Guesses, value: &str, from: &str, now: Instant) -> Result<usize, u16> {
        let keys = [("a", "another-key-of-16"), ("b", "right-right-right-right")];
        let keys = keys.map(|(name, secret)| ApiKey::new(name, secret).unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        let from = (!from.is_empty()).then(|| from.parse().unwrap());
        guesses.identify(&keys, &headers, from, now).map(|key| key.0).map_err(|refused| refused.status().as_u16())
    }

    #[test]
    fn the_key_is_shown_in_one_way() {
        let guesses = Guesses::default();
        let now = Instant::now();
        assert_eq!(ask(&guesses, RIGHT, "", now), Ok(1));
        assert_eq!(ask(&guesses, "bearer right-right-right-right", "", now), Ok(1));
        for bad in ["right-right-right-right", "Basic right-right-right-right", "Bearer", "Bearer ", "Bearer right"] {
            assert_eq!(ask(&guesses, bad, "", now), Err(401), "{bad}");
        }
    }

    /// Otherwise it would be told which guess was right.
    #[test]
    fn who_has_guessed_too_often_is_not_even_told_that_it_is_right() {
        let guesses = Guesses::default();
        let now = Instant::now();
        for _ in 0..GUESSES_BURST {
            assert_eq!(ask(&guesses, "Bearer wrong-wrong-wrong", "192.0.2.1", now), Err(401));
        }
        assert_eq!(ask(&guesses, "Bearer wrong-wrong-wrong", "192.0.2.1", now), Err(429));
        assert_eq!(ask(&guesses, RIGHT, "192.0.2.1", now), Err(429));
        assert_eq!(ask(&guesses, RIGHT, "192.0.2.2", now), Ok(1), "others are not affected");
        let later = now + Duration::from_secs(1);
        assert_eq!(ask(&guesses, RIGHT, "192.0.2.1", later), Ok(1));
        assert_eq!(ask(&guesses, "Bearer wrong-wrong-wrong", "192.0.2.1", later), Err(401));
        assert_eq!(ask(&guesses, RIGHT, "192.0.2.1", later), Err(429), "being right does not win back what was lost");
    }

    #[test]
    fn the_right_key_costs_nothing_and_is_not_remembered() {
        let guesses = Guesses::default();
        let now = Instant::now();
        for _ in 0..3 * GUESSES_BURST {
            assert!(ask(&guesses, RIGHT, "192.0.2.1", now).is_ok());
        }
        assert!(guesses.0.lock().unwrap().younger.is_empty());
    }

    #[test]
    fn memory_of_guessers_is_bounded() {
        let guesses = Guesses::default();
        let now = Instant::now();
        for number in 0..2 * u32::try_from(MAX_GUESSERS).unwrap() {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
            assert_eq!(ask(&guesses, "Bearer wrong-wrong-wrong", &address, now), Err(401));
        }
        let known = guesses.0.lock().unwrap();
        assert!(known.younger.len() + known.older.len() <= MAX_GUESSERS);
    }
}
