//! The kinds of values there are: how each is written, and which are allowed.
use std::{
    fmt, fs,
    marker::PhantomData,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use sockeye::OriginPolicy;
use toml::de::DeValue;

use super::{
    secret::{Secret, SecretsFile},
    units::{parse_size, parse_time, write_size, write_time},
};

/// Bytes of a secret.
const SECRET_BYTES: Range<usize> = 16..257;
/// Bytes of a file with secrets.
const MAX_SECRETS_FILE: u64 = 64 * 1024;

/// A value as somebody gave it.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// In a file in this folder.
    Toml(&'a DeValue<'a>, &'a Path),
    /// In the environment or on the command line.
    Text(&'a str),
}

/// An element of a list, and where it stands in the file.
type Item<'a> = (&'a str, Option<Range<usize>>);

/// Why a value cannot be taken, other than that it is not what was expected. It never repeats the value, which may be a
/// secret in the wrong place.
#[derive(Debug, Default)]
pub(super) struct Wrong {
    /// Which part of the file, if not the whole value.
    pub(super) at: Option<Range<usize>>,
    pub(super) why: Option<String>,
}

/// How values of one sort are written.
pub(super) trait Kind {
    type Value;

    fn read(&self, given: Given<'_>) -> Result<Self::Value, Wrong>;

    /// As it stands in a file; `None` if there is no value.
    fn write(&self, value: &Self::Value) -> Option<String>;

    /// What to write for a value that is none by default.
    fn example(&self) -> &'static str {
        ""
    }
}

impl<'a> Given<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Toml(value, _) => value.as_str(),
            Self::Text(text) => Some(text),
        }
    }

    fn number(self) -> Option<u64> {
        match self {
            Self::Toml(value, _) => {
                let integer = value.as_integer()?;
                u64::from_str_radix(integer.as_str(), integer.radix()).ok()
            }
            Self::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Self::Text(_) => None,
        }
    }

    /// The elements; of text, what stands between commas.
    fn list(self) -> Result<Vec<Item<'a>>, Wrong> {
        match self {
            Self::Toml(value, _) => value
                .as_array()
                .ok_or_else(Wrong::default)?
                .iter()
                .map(|item| match item.get_ref().as_str() {
                    Some(text) => Ok((text, Some(item.span()))),
                    None => Err(Wrong { at: Some(item.span()), why: None }),
                })
                .collect(),
            Self::Text(text) => {
                Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| (item, None)).collect())
            }
        }
    }

    /// A path, which in a file begins where the file is.
    fn path(self) -> Option<PathBuf> {
        let text = self.text().filter(|text| !text.is_empty() && !text.contains('\0'))?;
        Some(match self {
            Self::Toml(_, folder) => folder.join(text),
            Self::Text(_) => PathBuf::from(text),
        })
    }
}

impl Wrong {
    fn because(why: impl Into<String>) -> Self {
        Self { at: None, why: Some(why.into()) }
    }
}

/// A whole number, from the first to the second.
pub(super) struct Count<T>(pub(super) T, pub(super) T);

impl<T: Copy + PartialOrd + TryFrom<u64> + fmt::Display> Kind for Count<T> {
    type Value = T;

    fn read(&self, given: Given<'_>) -> Result<T, Wrong> {
        let number = given.number().and_then(|number| T::try_from(number).ok());
        number.filter(|number| (self.0..=self.1).contains(number)).ok_or_else(Wrong::default)
    }

    fn write(&self, value: &T) -> Option<String> {
        Some(value.to_string())
    }
}

impl<T: fmt::Display> fmt::Display for Count<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", self.0, self.1)
    }
}

/// The same, or `"auto"`, which is `None`.
pub(super) struct AutoCount(pub(super) usize, pub(super) usize);

impl Kind for AutoCount {
    type Value = Option<usize>;

    fn read(&self, given: Given<'_>) -> Result<Option<usize>, Wrong> {
        if given.text() == Some("auto") {
            return Ok(None);
        }
        Count(self.0, self.1).read(given).map(Some)
    }

    fn write(&self, value: &Option<usize>) -> Option<String> {
        Some(value.map_or_else(|| quoted("auto"), |value| value.to_string()))
    }
}

impl fmt::Display for AutoCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"auto\" or {}", Count(self.0, self.1))
    }
}

/// A number of bytes with its unit, from the first to the second.
pub(super) struct Size<T>(pub(super) T, pub(super) T);

impl<T: Copy + PartialOrd + TryFrom<u64> + TryInto<u64>> Kind for Size<T> {
    type Value = T;

    fn read(&self, given: Given<'_>) -> Result<T, Wrong> {
        let size = given.text().and_then(parse_size).and_then(|size| T::try_from(size).ok());
        size.filter(|size| (self.0..=self.1).contains(size)).ok_or_else(Wrong::default)
    }

    fn write(&self, value: &T) -> Option<String> {
        Some(quoted(&size(*value)))
    }
}

impl<T: Copy + TryInto<u64>> fmt::Display for Size<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a size with its unit (B, KiB, MiB, GiB) from \"{}\" to \"{}\"", size(self.0), size(self.1))
    }
}

fn size(bytes: impl TryInto<u64>) -> String {
    write_size(bytes.try_into().unwrap_or(u64::MAX))
}

/// A time with its unit, from the first to the second.
pub(super) struct Time(pub(super) Duration, pub(super) Duration);

impl Kind for Time {
    type Value = Duration;

    fn read(&self, given: Given<'_>) -> Result<Duration, Wrong> {
        let time = given.text().and_then(parse_time);
        time.filter(|time| (self.0..=self.1).contains(time)).ok_or_else(Wrong::default)
    }

    fn write(&self, value: &Duration) -> Option<String> {
        Some(quoted(&write_time(*value)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (write_time(self.0), write_time(self.1));
        write!(f, "a time with its unit (ms, s, m, h, d) from \"{from}\" to \"{to}\"")
    }
}

/// Yes or no.
pub(super) struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn read(&self, given: Given<'_>) -> Result<bool, Wrong> {
        let flag = match given {
            Given::Toml(value, _) => value.as_bool(),
            Given::Text(text) => text.parse().ok(),
        };
        flag.ok_or_else(Wrong::default)
    }

    fn write(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }
}

/// A choice of words.
pub(super) struct Word<T>(PhantomData<T>);

/// The values of an enum by the words for them.
pub(super) trait Words: Copy + PartialEq + 'static {
    const ALL: &'static [(&'static str, Self)];
}

impl<T> Word<T> {
    pub(super) const NEW: Self = Self(PhantomData);
}

impl<T: Words> Kind for Word<T> {
    type Value = T;

    fn read(&self, given: Given<'_>) -> Result<T, Wrong> {
        let text = given.text().ok_or_else(Wrong::default)?;
        let found = T::ALL.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(Wrong::default)
    }

    fn write(&self, value: &T) -> Option<String> {
        T::ALL.iter().find(|(_, one)| one == value).map(|(word, _)| quoted(word))
    }
}

impl<T: Words> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (word, _)) in T::ALL.iter().enumerate() {
            let before = match index {
                0 => "",
                _ if index + 1 == T::ALL.len() => " or ",
                _ => ", ",
            };
            write!(f, "{before}\"{word}\"")?;
        }
        Ok(())
    }
}

/// An IP address and a port.
pub(super) struct Address;

impl Kind for Address {
    type Value = SocketAddr;

    fn read(&self, given: Given<'_>) -> Result<SocketAddr, Wrong> {
        given.text().and_then(|text| text.parse().ok()).ok_or_else(Wrong::default)
    }

    fn write(&self, value: &SocketAddr) -> Option<String> {
        Some(quoted(&value.to_string()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an IP address and a port such as \"127.0.0.1:7071\" or \"[::1]:7071\"")
    }
}

/// A file or a folder, with an example.
pub(super) struct Location(pub(super) &'static str);

impl Kind for Location {
    type Value = Option<PathBuf>;

    fn read(&self, given: Given<'_>) -> Result<Option<PathBuf>, Wrong> {
        given.path().map(Some).ok_or_else(Wrong::default)
    }

    fn write(&self, value: &Option<PathBuf>) -> Option<String> {
        value.as_ref().map(|path| quoted(&path.to_string_lossy()))
    }

    fn example(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path")
    }
}

/// Origins of pages.
pub(super) struct Origins;

impl Kind for Origins {
    type Value = Vec<String>;

    fn read(&self, given: Given<'_>) -> Result<Vec<String>, Wrong> {
        let is_one = |text: &str| matches!(text, "*" | "self") || OriginPolicy::list([text]).is_ok();
        let check =
            |(text, at): (&str, _)| if is_one(text) { Ok(text.to_owned()) } else { Err(Wrong { at, why: None }) };
        given.list()?.into_iter().map(check).collect()
    }

    fn write(&self, value: &Vec<String>) -> Option<String> {
        Some(list(value.iter().map(String::as_str)))
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of origins such as \"https://example.org\", \"self\" or \"*\"")
    }
}

/// Secrets, written where they are used.
pub(super) struct Secrets;

impl Kind for Secrets {
    type Value = Vec<Secret>;

    fn read(&self, given: Given<'_>) -> Result<Vec<Secret>, Wrong> {
        given.list()?.into_iter().map(|(text, at)| secret(text).ok_or(Wrong { at, why: None })).collect()
    }

    fn write(&self, value: &Vec<Secret>) -> Option<String> {
        Some(list(value.iter().map(|_| Secret::HIDDEN)))
    }
}

impl fmt::Display for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (SECRET_BYTES.start, SECRET_BYTES.end - 1);
        write!(f, "a list of secrets, each of {from} to {to} visible ASCII characters")
    }
}

/// Secrets in a file of their own, which is read along with the configuration.
pub(super) struct SecretsIn(pub(super) &'static str);

impl Kind for SecretsIn {
    type Value = Option<SecretsFile>;

    fn read(&self, given: Given<'_>) -> Result<Option<SecretsFile>, Wrong> {
        let path = given.path().ok_or_else(Wrong::default)?;
        let text = read_small(&path).map_err(Wrong::because)?;
        let lines = text.lines().map(str::trim).zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let check = |(line, number): (&str, usize)| {
            secret(line).ok_or_else(|| Wrong::because(format!("line {number} of the file is not: {Secrets}")))
        };
        let secrets = lines.map(check).collect::<Result<_, _>>()?;
        Ok(Some(SecretsFile { path, secrets }))
    }

    fn write(&self, value: &Option<SecretsFile>) -> Option<String> {
        value.as_ref().map(|file| quoted(&file.path.to_string_lossy()))
    }

    fn example(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for SecretsIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the path of a file with a secret in each line")
    }
}

fn secret(text: &str) -> Option<Secret> {
    let is_one = SECRET_BYTES.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_one.then(|| Secret::new(text))
}

fn read_small(path: &Path) -> Result<String, String> {
    let length = fs::metadata(path).map_err(|error| format!("the file cannot be read: {error}"))?.len();
    if length > MAX_SECRETS_FILE {
        return Err(format!("the file is larger than {}", write_size(MAX_SECRETS_FILE)));
    }
    fs::read_to_string(path).map_err(|error| format!("the file cannot be read: {error}"))
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.map(quoted).collect::<Vec<_>>().join(", "))
}

/// Text as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
