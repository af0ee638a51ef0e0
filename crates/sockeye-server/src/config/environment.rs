//! Keys as variables: `SOCKEYE_`, then section and key in capitals, `_` between.
use super::{Config, suggest::nearest};

pub(super) const PREFIX: &str = "SOCKEYE_";
const NAMESPACES: &str = "SOCKEYE_NAMESPACES_";

/// Variables that are no keys: which file to read and what to log, and those of this repository's scripts and tests.
pub(super) const OTHERS: [&str; 7] = [
    "SOCKEYE_CONFIG",
    "SOCKEYE_LOG",
    "SOCKEYE_AUTOBAHN_CLIENT",
    "SOCKEYE_BIN",
    "SOCKEYE_CACHE",
    "SOCKEYE_INTEROP_CLIENT",
    "SOCKEYE_PYTHON",
];
const TESTS: &str = "SOCKEYE_TEST_";

/// Whether this variable is for somebody else.
pub(super) fn is_other(name: &str) -> bool {
    OTHERS.contains(&name) || name.starts_with(TESTS)
}

/// The variable for a key.
pub(super) fn variable(path: &str) -> String {
    let capital =
        |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' };
    PREFIX.chars().chain(path.chars().map(capital)).collect()
}

/// The path of the key that a variable is for. A namespace that no file has is named in small letters.
pub(super) fn key(config: &mut Config, name: &str) -> Result<String, String> {
    if let Some(rest) = name.strip_prefix(NAMESPACES)
        && let Some(found) = in_namespace(config, rest)
    {
        return found;
    }
    let paths = config.fixed_parts().iter().flat_map(paths).collect::<Vec<_>>();
    if let Some(path) = paths.iter().find(|path| variable(path) == name) {
        return Ok(path.clone());
    }
    let variables = paths.iter().map(|path| variable(path)).collect::<Vec<_>>();
    let meant = nearest(name, variables.iter().map(String::as_str).chain(OTHERS.into_iter().take(2)));
    Err(match meant {
        Some(meant) => format!("there is no such variable; did you mean {meant}?"),
        None => "there is no such variable".to_owned(),
    })
}

fn paths(part: &super::schema::Part<'_>) -> Vec<String> {
    part.keys.iter().map(|key| format!("{}.{}", part.path, key.name)).collect()
}

/// `CHAT_HISTORY_SIZE`: the end is a key, what is before it a namespace.
fn in_namespace(config: &mut Config, rest: &str) -> Option<Result<String, String>> {
    let (namespace, key) = {
        let options = config.part("namespaces.default")?;
        options.keys.iter().find_map(|key| {
            let namespace = rest.strip_suffix(&key.name.to_ascii_uppercase())?.strip_suffix('_')?;
            (!namespace.is_empty()).then_some((namespace, key.name))
        })?
    };
    let is_meant = |name: &&String| variable(name)[PREFIX.len()..] == *namespace;
    let mut meant = config.namespaces.named.keys().filter(is_meant);
    let name = match (meant.next(), meant.next()) {
        (Some(one), Some(other)) => return Some(Err(format!("this could be for the namespace {one} or {other}"))),
        (Some(one), None) => one.clone(),
        (None, _) if namespace.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_')) => {
            namespace.to_ascii_lowercase()
        }
        (None, _) => return None,
    };
    Some(Ok(format!("namespaces.{name}.{key}")))
}
