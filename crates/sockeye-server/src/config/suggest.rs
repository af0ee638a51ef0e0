//! What somebody may have meant.
use super::Config;

/// How alike two names have to be, from 0 to 1.
const ALIKE: f64 = 0.8;

/// For a key that does not exist.
pub(super) fn key(config: &mut Config, section: &str, name: &str) -> String {
    const NONE: &str = "there is no such key";
    if let Some(part) = config.fixed_parts().iter().find(|part| part.has(name)) {
        return format!("{NONE}; it belongs under [{}]", part.path);
    }
    let part = config.part(section);
    match nearest(name, part.iter().flat_map(|part| &part.keys).map(|key| key.name)) {
        Some(meant) => format!("{NONE}; did you mean {meant}?"),
        None => NONE.to_owned(),
    }
}

/// For a section that does not exist, or a key that is in none.
pub(super) fn section(config: &mut Config, name: &str, is_table: bool) -> String {
    let parts = config.fixed_parts();
    let none = if is_table { "there is no such section" } else { "there is no such key here" };
    let sections = parts.iter().map(|part| part.path.as_str()).filter(|path| !path.contains('.'));
    let owner = parts.iter().find(|part| part.has(name));
    match (nearest(name, sections.chain(["namespaces"])), owner) {
        (_, Some(part)) if !is_table => format!("{none}; it belongs under [{}]", part.path),
        (Some("namespaces"), _) => format!("{none}; did you mean [namespaces.NAME]?"),
        (Some(meant), _) => format!("{none}; did you mean [{meant}]?"),
        (None, _) => none.to_owned(),
    }
}

/// The one that is most like it, if any is.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = known.map(|known| (strsim::jaro_winkler(name, known), known)).filter(|(alike, _)| *alike >= ALIKE);
    alike.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}
