//! From what was written to the configuration in force. A flag goes before the environment, the environment before the
//! file, the file before the default.
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::{DeTable, DeValue};

use super::{
    Config, environment,
    kind::{Given, Wrong},
    mistake::{Mistake, Mistakes, Place, Text, shown},
    safety, suggest,
};

/// Bytes of the largest file that is read.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Where a configuration comes from.
///
/// ```
/// use sockeye_server::config::Sources;
/// let variables = [("SOCKEYE_SERVER_WORKERS", "3"), ("HOME", "/root")];
/// let loaded = Sources::new()
///     .text("sockeye.toml", "[server]\nworkers = 2\nlisten = \"127.0.0.1:9\"\n")
///     .environment(variables.map(|(name, value)| (name.into(), value.into())))
///     .flag("--listen", "server.listen", "127.0.0.1:7071")
///     .load()?;
/// assert_eq!(loaded.config.server.workers, Some(3));
/// assert_eq!(loaded.config.server.listen.port(), 7071);
/// # Ok::<(), sockeye_server::config::Mistakes>(())
/// ```
#[derive(Clone, Default)]
pub struct Sources {
    file: Option<File>,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<Flag>,
}

#[derive(Clone)]
struct File {
    name: Arc<str>,
    folder: PathBuf,
    text: String,
}

#[derive(Clone)]
struct Flag {
    name: &'static str,
    key: &'static str,
    value: String,
}

/// A configuration, and where each of its values was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    pub(super) places: Places,
}

/// Where each key was written, by its path; what is not here is so by default.
pub(super) type Places = BTreeMap<String, Place>;

impl Sources {
    /// None: everything is as by default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// This file.
    ///
    /// # Errors
    /// If it cannot be read, is not UTF-8 or is larger than 4 MiB.
    pub fn file(self, path: &Path) -> io::Result<Self> {
        if fs::metadata(path)?.len() > MAX_FILE {
            return Err(io::Error::other("it is larger than 4 MiB"));
        }
        let text = fs::read_to_string(path)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { file: Some(File { name: path.display().to_string().into(), folder, text }), ..self })
    }

    /// This text, which would be in a file of this name. Paths in it are relative to the working directory.
    #[must_use]
    pub fn text(self, name: &str, text: &str) -> Self {
        let file = File { name: name.into(), folder: PathBuf::new(), text: text.to_owned() };
        Self { file: Some(file), ..self }
    }

    /// These variables, such as [`std::env::vars_os`]; those that do not begin with `SOCKEYE_` are passed over.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = |name: &OsString| name.as_encoded_bytes().starts_with(environment::PREFIX.as_bytes());
        self.environment.extend(variables.into_iter().filter(|(name, _)| ours(name)));
        self.environment.sort();
        self
    }

    /// What the command line says for a key, with the option's name.
    #[must_use]
    pub fn flag(mut self, name: &'static str, key: &'static str, value: impl Into<String>) -> Self {
        self.flags.push(Flag { name, key, value: value.into() });
        self
    }

    /// Puts them together. Nothing but files with secrets is read.
    ///
    /// # Errors
    /// Every mistake there is, and every choice that would not be safe, each with the line to add.
    pub fn load(&self) -> Result<Loaded, Mistakes> {
        let mut loading = Loading::default();
        if let Some(file) = &self.file {
            loading.file(file);
        }
        loading.environment(&self.environment);
        for flag in &self.flags {
            loading.set(flag.key, Given::Text(&flag.value), Place::Flag(flag.name));
        }
        if !loading.is_broken {
            safety::check(&loading.config, &loading.places, &loading.wrong, &mut loading.mistakes);
        }
        if loading.mistakes.is_empty() {
            Ok(Loaded { config: loading.config, places: loading.places })
        } else {
            Err(Mistakes(loading.mistakes))
        }
    }
}

/// A configuration on its way.
#[derive(Default)]
struct Loading {
    config: Config,
    places: Places,
    mistakes: Vec<Mistake>,
    /// The file is not TOML everywhere, so what it does not say it may say nevertheless.
    is_broken: bool,
    /// Keys whose values are not what somebody wanted.
    wrong: BTreeSet<String>,
}

impl Loading {
    fn file(&mut self, file: &File) {
        let source = Text::new(&file.name, &file.text);
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        let mut broken = Vec::new();
        for error in errors {
            let place = source.place(&error.span().unwrap_or(0..0));
            broken.extend(source.spoilt_by(&place));
            self.mistake(place, "", format!("this is not TOML: {}", error.message().replace('\n', ", ")));
        }
        let reader = Reader { source, folder: &file.folder };
        for (name, value) in table.get_ref() {
            let place = reader.source.place(&name.span());
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("namespaces", DeValue::Table(namespaces)) => self.namespaces(&reader, namespaces),
                (section, DeValue::Table(keys)) if self.has_section(section) => self.section(&reader, section, keys),
                (section, _) if section == "namespaces" || self.has_section(section) => {
                    self.mistake(place, section, format!("expected a section: [{section}]"));
                }
                (other, value) => {
                    let message = suggest::section(&mut self.config, other, value.is_table());
                    self.mistake(place, &shown(other), message);
                }
            }
        }
        if !broken.is_empty() {
            self.is_broken = true;
            self.forget_what_follows_from(&broken);
        }
        // The parser goes by the alphabet; people go by lines.
        self.mistakes.sort_by_key(|mistake| match mistake.place {
            Place::File { line, column, .. } => (line, column),
            _ => (usize::MAX, 0),
        });
    }

    /// Of a file that is not TOML everywhere the parser guesses the rest: a name that does not exist may be a piece of
    /// a value.
    fn forget_what_follows_from(&mut self, broken: &[Range<usize>]) {
        let mut mistakes = std::mem::take(&mut self.mistakes);
        mistakes.retain(|mistake| {
            let exists = mistake.key.rsplit_once('.').is_some_and(|(section, name)| self.has_key(section, name));
            mistake.key.is_empty() || (exists && !broken.iter().any(|lines| mistake.place.is_in(lines)))
        });
        self.mistakes = mistakes;
    }

    fn has_section(&mut self, name: &str) -> bool {
        self.config.fixed_parts().iter().any(|part| part.path == name)
    }

    fn namespaces(&mut self, reader: &Reader<'_>, namespaces: &DeTable<'_>) {
        for (name, value) in namespaces {
            let place = reader.source.place(&name.span());
            let path = format!("namespaces.{}", shown(name.get_ref()));
            let name = name.get_ref().as_ref();
            match value.get_ref() {
                DeValue::Table(_) if !is_namespace(name) => self.mistake(place, &path, BAD_NAMESPACE.to_owned()),
                DeValue::Table(keys) => {
                    self.namespace(name);
                    self.section(reader, &format!("namespaces.{name}"), keys);
                }
                _ => self.mistake(place, &path, "expected a section: [namespaces.NAME]".to_owned()),
            }
        }
    }

    /// Makes it exist.
    fn namespace(&mut self, name: &str) {
        if name != "default" {
            self.config.namespaces.named.entry(name.to_owned()).or_default();
        }
    }

    fn section(&mut self, reader: &Reader<'_>, section: &str, keys: &DeTable<'_>) {
        for (name, value) in keys {
            let path = format!("{section}.{}", name.get_ref());
            let given = Given::Toml(value.get_ref(), reader.folder);
            let at = if self.has_key(section, name.get_ref()) { value.span() } else { name.span() };
            match self.put(section, name.get_ref(), given) {
                Ok(()) => drop(self.places.insert(path, reader.source.place(&at))),
                Err(Refused { part, message }) => {
                    let place = reader.source.place(&part.unwrap_or(at));
                    self.mistake(place, &format!("{section}.{}", shown(name.get_ref())), message);
                    self.wrong.insert(path);
                }
            }
        }
    }

    fn environment(&mut self, variables: &[(OsString, OsString)]) {
        for (name, value) in variables {
            let Some(name) = name.to_str() else {
                let place = Place::Environment(shown(&name.to_string_lossy()));
                self.mistake(place, "", "there is no such variable".to_owned());
                continue;
            };
            if environment::is_other(name) {
                continue;
            }
            let place = Place::Environment(shown(name));
            match environment::key(&mut self.config, name) {
                Ok(key) => {
                    if let Some((namespace, _)) = key.strip_prefix("namespaces.").and_then(|key| key.rsplit_once('.')) {
                        self.namespace(namespace);
                    }
                    match value.to_str() {
                        Some(value) => self.set(&key, Given::Text(value), place),
                        None => self.mistake(place, &key, "the value is not UTF-8".to_owned()),
                    }
                }
                Err(message) => self.mistake(place, "", message),
            }
        }
    }

    /// Takes a value that stands by itself.
    fn set(&mut self, key: &str, given: Given<'_>, place: Place) {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        match self.put(section, name, given) {
            Ok(()) => drop(self.places.insert(key.to_owned(), place)),
            Err(refused) => {
                self.mistake(place, key, refused.message);
                self.wrong.insert(key.to_owned());
            }
        }
    }

    fn has_key(&mut self, section: &str, name: &str) -> bool {
        self.config.part(section).is_some_and(|part| part.has(name))
    }

    fn put(&mut self, section: &str, name: &str, given: Given<'_>) -> Result<(), Refused> {
        let mut part = self.config.part(section);
        let Some(key) = part.iter_mut().flat_map(|part| &mut part.keys).find(|key| key.name == name) else {
            drop(part);
            return Err(Refused { part: None, message: suggest::key(&mut self.config, section, name) });
        };
        key.take(given).map_err(|Wrong { at, why }| {
            let message = why.unwrap_or_else(|| format!("expected {}", key.allowed()));
            Refused { part: at, message }
        })
    }

    fn mistake(&mut self, place: Place, key: &str, message: String) {
        self.mistakes.push(Mistake { place, key: key.to_owned(), message });
    }
}

/// What is the same for all of a file.
struct Reader<'a> {
    source: Text<'a>,
    folder: &'a Path,
}

struct Refused {
    /// Which part of the file it is about, if not the whole value.
    part: Option<Range<usize>>,
    message: String,
}

const BAD_NAMESPACE: &str = "this cannot be a namespace: 1 to 64 bytes, without \":\", white space or any of \
                             * # > + ?, and not beginning with $";

fn is_namespace(name: &str) -> bool {
    let is_part_of_a_name = crate::auth::ChannelName::parse(name).is_ok_and(|name| !name.is_reserved());
    is_part_of_a_name && name.len() <= 64 && !name.contains(':')
}
