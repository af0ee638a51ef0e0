//! Opening the database: it is whole and ours, or it is not opened.
use std::{
    collections::HashSet,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, limits::Limit};
use sockeye_hub::ChannelName;
use tracing::{error, warn};

use super::{
    Durability, StoreOptions,
    database::{Database, number},
    mark::{Mark, Marked},
    record::{Row, Secret, State},
};

/// In the file's header: this program's, and which version of the tables.
const APPLICATION: i64 = 0x736f_636b;
const VERSION: i64 = 1;

const DATABASE: &str = "history.db";
const MARK: &str = "acknowledged";

/// What of the database is kept in memory.
const CACHE_KIB: i64 = 16 * 1024;
/// A page of the database, in bytes.
const PAGE: u64 = 4096;
/// More than that it cannot have: 16 TiB.
const MAX_PAGES: u64 = 0xffff_fffe;

/// The tables. A database with any other ones is not ours.
const SCHEMA: [&str; 5] = [
    "CREATE TABLE channels (name BLOB NOT NULL PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE items (channel INTEGER NOT NULL, offset INTEGER NOT NULL, record BLOB NOT NULL, \
     PRIMARY KEY (channel, offset)) WITHOUT ROWID",
    "CREATE TABLE keys (channel INTEGER NOT NULL, offset INTEGER NOT NULL, at INTEGER NOT NULL, record BLOB NOT NULL, \
     PRIMARY KEY (channel, offset)) WITHOUT ROWID",
    "CREATE INDEX keys_at ON keys (at)",
    "CREATE TABLE store (name TEXT NOT NULL PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID",
];

/// Why a store was not opened. Its text names the folder and says what can be done.
#[derive(Debug)]
pub struct OpenError {
    folder: PathBuf,
    why: Why,
}

#[derive(Debug)]
pub(super) enum Why {
    Io(io::Error),
    Engine(rusqlite::Error),
    InUse,
    NotOurs,
    Version(i64),
    Damaged(String),
}

impl OpenError {
    pub(super) fn new(folder: &Path, why: impl Into<Why>) -> Self {
        Self { folder: folder.to_owned(), why: why.into() }
    }

    /// Whether another server has it open.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        matches!(self.why, Why::InUse)
    }

    /// Whether what is there is not what was written.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self.why, Why::Damaged(_))
    }

    /// Whether another version of this program wrote it.
    #[must_use]
    pub fn is_other_version(&self) -> bool {
        matches!(self.why, Why::Version(_))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        match &self.why {
            Why::Io(error) => write!(f, "the store in {folder} cannot be opened: {error}"),
            Why::Engine(error) => write!(f, "the store in {folder} cannot be opened: {error}"),
            Why::InUse => {
                write!(f, "the store in {folder} is in use by another server; each needs a folder of its own")
            }
            Why::NotOurs => write!(f, "{DATABASE} in {folder} is not a store of this server; give it another folder"),
            Why::Version(version) => {
                write!(
                    f,
                    "the store in {folder} has version {version}, and this server knows {VERSION}; use the server "
                )?;
                f.write_str("that wrote it, or move the folder away to begin with an empty history")
            }
            Why::Damaged(what) => {
                write!(
                    f,
                    "the store in {folder} is damaged ({what}); put a copy of the whole folder back that was made "
                )?;
                f.write_str(
                    "while no server ran, or move it away to begin with an empty history, which clients are told of",
                )
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::Io(error) => Some(error),
            Why::Engine(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rusqlite::Error> for Why {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            Some(ErrorCode::NotADatabase) => Self::Damaged("no database".into()),
            // Without a code it is a column that is not what the tables say.
            Some(ErrorCode::DatabaseCorrupt) | None => Self::Damaged(error.to_string()),
            Some(_) => Self::Engine(error),
        }
    }
}

/// Opens the database in this folder, or makes one.
pub(super) fn open(folder: &Path, options: StoreOptions) -> Result<Database, Why> {
    make_folder(folder)?;
    let (path, mark_path) = (folder.join(DATABASE), folder.join(MARK));
    // SQLite would throw the log of an empty database away, so this is looked at before.
    if fs::metadata(&path).map_or(0, |database| database.len()) == 0 && mark_path.try_exists()? {
        lost(folder, &options, format!("{DATABASE} is empty, and {MARK} says that there was something in it"))?;
    }
    let connection = connect(&path, &options)?;
    if check_header(&connection)? {
        // Before it has a log: a crash in the middle of this leaves an empty database again.
        let secret = create(&connection)?;
        begin_log(&connection, &options)?;
        let mark = make_mark(folder, &secret)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        return Ok(Database::new(connection, secret, State::default(), HashSet::new(), mark, options));
    }
    begin_log(&connection, &options)?;
    check_pages(&connection)?;
    let mut secret = read(&connection, "secret", Secret::decode)?;
    let mut state = read(&connection, "state", |bytes| State::decode(&secret, bytes))?;
    let mut known = check_channels(&connection, &secret, state)?;
    let marked = Mark::read(&mark_path, &secret)?;
    let what_is_lost = what_is_lost(marked, state);
    if let Some(what) = &what_is_lost {
        lost(folder, &options, what.clone())?;
        secret = begin_anew(&connection)?;
        state = State::default();
        known = HashSet::new();
    }
    let mark = match marked {
        Marked::Commit(_) if what_is_lost.is_none() => Mark::open(&mark_path)?,
        _ => make_mark(folder, &secret)?,
    };
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(Database::new(connection, secret, state, known, mark, options))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    // What is in it is nobody else's to read.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The database with nothing trusted that its file says.
fn connect(path: &Path, options: &StoreOptions) -> Result<Connection, Why> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Until it is known to be whole its log stays as it is: what is refused is left as it was found.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // A record, and what a statement around it takes.
    let longest = options.record_bytes.saturating_add(16 * 1024);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(longest).unwrap_or(i32::MAX))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "page_size", number(PAGE))?;
    // Held from the first look on, so that no other process opens it; and the index of the log stays in memory.
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    Ok(connection)
}

/// Whether there is nothing yet. What is there must be ours, in this version, with no other tables.
fn check_header(connection: &Connection) -> Result<bool, Why> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if number("page_count")? == 0 {
        return Ok(true);
    }
    if number("application_id")? != APPLICATION {
        return Err(Why::NotOurs);
    }
    match number("user_version")? {
        VERSION => {}
        other => return Err(Why::Version(other)),
    }
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name")?;
    let found = statement.query_map((), |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    if found == SCHEMA { Ok(false) } else { Err(Why::Damaged("its tables are not those of a store".into())) }
}

/// Takes over the log that a crash has left, or begins one.
fn begin_log(connection: &Connection, options: &StoreOptions) -> Result<(), Why> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Why::Damaged(format!("its journal is {mode}")));
    }
    let synchronous = match options.durability {
        Durability::Fsync => "full",
        // The log is written at each commit, and flushed before it moves into the database.
        Durability::Os => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    let pages = (options.max_bytes / PAGE).clamp(16, MAX_PAGES);
    connection.pragma_update(None, "max_page_count", number(pages))?;
    Ok(())
}

fn create(connection: &Connection) -> Result<Secret, Why> {
    let transaction = connection.unchecked_transaction()?;
    for sql in SCHEMA {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    let secret = Secret::random();
    write_store(&transaction, &secret)?;
    transaction.commit()?;
    Ok(secret)
}

/// Forgets everything: another secret, other epochs.
fn begin_anew(connection: &Connection) -> Result<Secret, Why> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch("DELETE FROM items; DELETE FROM keys; DELETE FROM channels; DELETE FROM store")?;
    let secret = Secret::random();
    write_store(&transaction, &secret)?;
    transaction.commit()?;
    Ok(secret)
}

fn write_store(connection: &Connection, secret: &Secret) -> Result<(), rusqlite::Error> {
    let insert = "INSERT INTO store (name, record) VALUES (?1, ?2)";
    connection.execute(insert, ("secret", secret.encode()))?;
    connection.execute(insert, ("state", State::default().encode(secret)))?;
    Ok(())
}

fn read<T>(
    connection: &Connection,
    name: &str,
    decode: impl FnOnce(&[u8]) -> Result<T, super::record::Damaged>,
) -> Result<T, Why> {
    connection.query_row("SELECT record FROM store WHERE name = ?1", [name], |row| {
        Ok(decode(row.get_ref(0)?.as_blob()?)
            .map_err(|_| Why::Damaged(format!("its {name} does not match its checksum"))))
    })?
}

/// Reads every page once: what points where, and whether it is in order. What records say is checked when they are read.
fn check_pages(connection: &Connection) -> Result<(), Why> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(Why::Damaged(verdict.replace('\n', ": "))) }
}

/// Reads every channel once, so that none that is there passes for one that was never seen.
fn check_channels(connection: &Connection, secret: &Secret, state: State) -> Result<HashSet<u64>, Why> {
    let mut known = HashSet::new();
    let mut statement = connection.prepare("SELECT name, record FROM channels")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let whole = || -> Option<ChannelName> {
            let name = std::str::from_utf8(row.get_ref(0).ok()?.as_blob().ok()?).ok()?.parse().ok()?;
            let found = Row::decode(secret, &name, row.get_ref(1).ok()?.as_blob().ok()?).ok()?;
            (found.id < state.next_id).then_some(name)
        };
        let name = whole().ok_or_else(|| Why::Damaged("a channel does not match its checksum".into()))?;
        known.insert(secret.short(&name));
    }
    if known.len() as u64 == state.channels { Ok(known) } else { Err(Why::Damaged("channels are missing".into())) }
}

fn what_is_lost(marked: Marked, state: State) -> Option<String> {
    match marked {
        Marked::Commit(commits) if commits > state.commits => {
            Some(format!("it ends with commit {}, and {commits} were acknowledged", state.commits))
        }
        Marked::Commit(_) => None,
        // Nothing was ever acknowledged: it was made, and that was all.
        _ if state.commits == 0 => None,
        Marked::Missing => Some(format!("{MARK} is missing, which says how far it was acknowledged")),
        Marked::Damaged => Some(format!("{MARK} does not match its checksum")),
    }
}

/// What was acknowledged is not there. Where the machine may lose that by design, all begins anew; else nothing begins.
fn lost(folder: &Path, options: &StoreOptions, what: String) -> Result<(), Why> {
    match options.durability {
        Durability::Fsync => Err(Why::Damaged(what)),
        Durability::Os => {
            warn!(folder = %folder.display(), what, "the store has lost what it acknowledged; all channels begin anew");
            Ok(())
        }
    }
}

fn make_mark(folder: &Path, secret: &Secret) -> Result<Mark, Why> {
    let mark = Mark::create(&folder.join(MARK), secret)?;
    // The names of both files survive a power cut from here on.
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all().inspect_err(|error| error!(%error, "the store's folder cannot be flushed"))?;
    Ok(mark)
}
