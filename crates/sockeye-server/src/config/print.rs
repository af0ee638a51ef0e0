//! The configuration as text: the commented default, what is in force, and the page of documentation.
use std::fmt::Write;

use super::{Config, Loaded, environment, kind::quoted, mistake::Place, safety, schema::Part, section::Key};

/// Columns of a line, comments included.
const WIDTH: usize = 110;

const HEAD: &str = "\
# The configuration of Sockeye. Everything here is as it is by default; what is commented out has no default.
# docs/configuration.md has the same as a page. `sockeye config check --config FILE` checks a file, `config show` prints
# what is in force and where it comes from. A flag goes before the environment, the environment before the file.
# Every key can be set by environment: SOCKEYE_SERVER_LISTEN, SOCKEYE_NAMESPACES_CHAT_HISTORY_SIZE.
";

/// A file with every key, its meaning and its default, which when read gives the defaults.
///
/// ```
/// use sockeye_server::config::{Config, Sources, default_file};
/// let loaded = Sources::new().text("default.toml", &default_file()).load()?;
/// assert_eq!(loaded.config, Config::default());
/// # Ok::<(), sockeye_server::config::Mistakes>(())
/// ```
#[must_use]
pub fn default_file() -> String {
    let mut text = HEAD.to_owned();
    for part in Config::default().parts() {
        text.push('\n');
        comment(&mut text, part.about);
        line(&mut text, &header(&part.path));
        for key in &part.keys {
            comment(&mut text, key.doc);
            comment(&mut text, &[&format!("Allowed: {}.", key.allowed())]);
            line(&mut text, &assignment(key));
        }
    }
    text
}

/// All keys, as a page of Markdown: what docs/configuration.md has below its introduction.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    for part in Config::default().parts() {
        line(&mut text, &format!("\n## `[{}]`\n", part.path));
        line(&mut text, &joined(part.about));
        line(&mut text, "\n| key | default | allowed | meaning |\n| --- | --- | --- | --- |");
        for key in &part.keys {
            let default = key.value().map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
            let (allowed, doc) = (key.allowed().replace('*', "\\*"), joined(key.doc));
            line(&mut text, &format!("| `{}` | {default} | {allowed} | {doc} |", key.name));
        }
    }
    text
}

/// The variables of all keys, with their paths. Those of `namespaces.default` stand for every namespace.
#[must_use]
pub fn variables() -> Vec<(String, String)> {
    let path = |part: &Part<'_>, key: &Key<'_>| format!("{}.{}", part.path, key.name);
    let mut config = Config::default();
    let parts = config.parts();
    let all = parts.iter().flat_map(|part| part.keys.iter().map(move |key| path(part, key)));
    all.map(|path| (environment::variable(&path), path)).collect()
}

impl Loaded {
    /// Every key with its value and where that was written, as a file that could be read again. Secrets are hidden.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = String::new();
        for part in self.config.clone().parts() {
            if !text.is_empty() {
                text.push('\n');
            }
            line(&mut text, &header(&part.path));
            let width = part.keys.iter().map(|key| assignment(key).chars().count()).max().unwrap_or(0);
            for key in &part.keys {
                let place = match key.value() {
                    Some(_) => self.place(&format!("{}.{}", part.path, key.name)).to_string(),
                    None => "not set".to_owned(),
                };
                line(&mut text, &format!("{:width$}  # {place}", assignment(key)));
            }
        }
        text
    }

    /// Where the value of this key was written.
    #[must_use]
    pub fn place(&self, key: &str) -> &Place {
        self.places.get(key).unwrap_or(&Place::Default)
    }

    /// What is allowed but worth a word at the start, a line each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        safety::notes(&self.config)
    }
}

fn header(path: &str) -> String {
    match path.split_once('.') {
        Some((section, name))
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') =>
        {
            format!("[{section}.{}]", quoted(name))
        }
        _ => format!("[{path}]"),
    }
}

fn assignment(key: &Key<'_>) -> String {
    match key.value() {
        Some(value) => format!("{} = {value}", key.name),
        None => format!("# {} = {:?}", key.name, key.example()),
    }
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// Writes text behind `#`, broken where it is too wide, without the backticks of Markdown.
fn comment(text: &mut String, lines: &[&str]) {
    let mut row = "#".to_owned();
    for word in joined(lines).replace('`', "").split(' ') {
        if row.chars().count() + 1 + word.chars().count() > WIDTH {
            line(text, &row);
            row.truncate(1);
        }
        row.push(' ');
        row.push_str(word);
    }
    line(text, &row);
}

fn line(text: &mut String, line: &str) {
    let _: std::fmt::Result = writeln!(text, "{line}");
}
