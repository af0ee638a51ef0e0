//! The tables, and what a batch does with them.
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction};
use sockeye_hub::{Append, ChannelName, Loaded, Position};

use super::{
    StoreOptions,
    mark::Mark,
    record::{self, Row, Secret, State},
};

/// Items of a channel that are removed at one append at most; more than come in, so that it gets down to where it should be.
const TRIM: u64 = 64;

/// Bytes of an idempotency key; far more than a hub takes.
const MAX_KEY: usize = 1024;

/// The open database. One thread has it.
pub(super) struct Database {
    connection: Connection,
    secret: Secret,
    state: State,
    /// Short names of all channels that there are: a row that does not come back has been lost, and was not never there.
    known: HashSet<u64>,
    mark: Mark,
    options: StoreOptions,
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Problem {
    /// With this request alone.
    Refused(&'static str),
    /// With this channel: what there is of it is not what was written.
    Damaged(&'static str),
    /// With the database: nothing of the batch has happened, or nobody knows.
    Engine(rusqlite::Error),
    /// It is written, but it could not be marked as acknowledged.
    Mark(std::io::Error),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(_) => Self::Engine(error),
            // A column that is not what the table says.
            None => Self::Damaged("a value has another type"),
        }
    }
}

impl From<record::Damaged> for Problem {
    fn from(_: record::Damaged) -> Self {
        Self::Damaged("a record does not match its checksum")
    }
}

/// What becomes durable together.
pub(super) struct Batch<'a> {
    transaction: Transaction<'a>,
    secret: &'a Secret,
    known: &'a mut HashSet<u64>,
    marked: &'a mut State,
    mark: &'a mut Mark,
    options: &'a StoreOptions,
    state: State,
    /// Channels that have changed, as they will be.
    rows: HashMap<ChannelName, Row>,
    new: Vec<u64>,
    appends: u64,
    /// The newest publication's time; the store needs no other clock.
    now_ms: u64,
}

impl Database {
    pub(super) fn new(
        connection: Connection,
        secret: Secret,
        state: State,
        known: HashSet<u64>,
        mark: Mark,
        options: StoreOptions,
    ) -> Self {
        connection.set_prepared_statement_cache_capacity(32);
        Self { connection, secret, state, known, mark, options }
    }

    pub(super) fn options(&self) -> &StoreOptions {
        &self.options
    }

    pub(super) fn begin(&mut self) -> Result<Batch<'_>, Problem> {
        let Self { connection, secret, state, known, mark, options } = self;
        Ok(Batch {
            transaction: connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?,
            secret,
            known,
            state: *state,
            marked: state,
            mark,
            options,
            rows: HashMap::new(),
            new: Vec::new(),
            appends: 0,
            now_ms: 0,
        })
    }

    /// Ends it: everything is in the main file, and the log is gone.
    pub(super) fn close(self) -> Result<(), rusqlite::Error> {
        self.connection.close().map_err(|(_, error)| error)
    }

    /// What there is of a channel.
    pub(super) fn load(&self, channel: &ChannelName) -> Result<Loaded, Problem> {
        let Self { connection, secret, known, options, .. } = self;
        View { connection, secret, known, options }.load(channel)
    }
}

impl Batch<'_> {
    /// Adds a publication, if it is the next one of its channel.
    pub(super) fn append(&mut self, append: &Append) -> Result<(), Problem> {
        let publication = &append.publication;
        let channel = &publication.channel;
        let position = publication.position.ok_or(Problem::Refused("it has no position"))?;
        let record = record::encode_publication(self.secret, position, publication);
        if record.len() > self.options.record_bytes {
            return Err(Problem::Refused("it is larger than a record may be"));
        }
        if append.key.as_ref().is_some_and(|key| key.len() > MAX_KEY) {
            return Err(Problem::Refused("its key is too long"));
        }
        let before = match self.rows.get(channel) {
            Some(row) => Some(*row),
            None => self.view().row(channel)?,
        };
        let is_new = before.is_none();
        let mut row =
            before.unwrap_or(Row { id: self.state.next_id, epoch: self.secret.epoch(channel), top: 0, first: 1 });
        if position.epoch != row.epoch || Some(position.offset) != row.top.checked_add(1) {
            return Err(Problem::Refused("it does not follow on what there is"));
        }
        if is_new && self.state.channels >= self.options.max_channels {
            return Err(Problem::Refused("there are as many channels as there may be"));
        }
        row.top = position.offset;
        row.first = append.keep_from.clamp(row.first, position.offset).min(row.first.saturating_add(TRIM));
        self.savepoint(|batch| batch.write(append, row, &record))?;
        self.rows.insert(channel.clone(), row);
        self.appends += 1;
        self.now_ms = self.now_ms.max(publication.at_ms);
        if is_new {
            self.state.channels += 1;
            self.state.next_id += 1;
            self.new.push(self.secret.short(channel));
        }
        Ok(())
    }

    /// Whether a request for this channel has to see what this batch does.
    pub(super) fn changes(&self, channel: &ChannelName) -> bool {
        self.rows.contains_key(channel)
    }

    /// What there is of a channel that this batch does not change.
    pub(super) fn load(&self, channel: &ChannelName) -> Result<Loaded, Problem> {
        self.view().load(channel)
    }

    /// Whether there is nothing to make durable.
    pub(super) fn is_empty(&self) -> bool {
        self.appends == 0
    }

    /// Makes it durable. Only after this may anybody hear of it.
    pub(super) fn commit(mut self) -> Result<(), Problem> {
        self.forget_keys()?;
        self.state.commits += 1;
        {
            let mut statement =
                self.transaction.prepare_cached("INSERT OR REPLACE INTO channels (name, record) VALUES (?1, ?2)")?;
            for (channel, row) in &self.rows {
                statement.execute((channel.as_str().as_bytes(), row.encode(self.secret, channel)))?;
            }
            let mut statement = self.transaction.prepare_cached("UPDATE store SET record = ?1 WHERE name = 'state'")?;
            if statement.execute([self.state.encode(self.secret)])? != 1 {
                return Err(Problem::Damaged("the store's state is missing"));
            }
        }
        self.transaction.commit()?;
        *self.marked = self.state;
        self.known.extend(self.new);
        self.mark.write(self.secret, self.state.commits).map_err(Problem::Mark)
    }

    fn view(&self) -> View<'_> {
        View { connection: &self.transaction, secret: self.secret, known: self.known, options: self.options }
    }

    fn write(&self, append: &Append, row: Row, record: &[u8]) -> Result<(), rusqlite::Error> {
        let publication = &append.publication;
        let (id, offset) = (number(row.id), number(row.top));
        self.execute("DELETE FROM items WHERE channel = ?1 AND offset < ?2", (id, number(row.first)))?;
        self.execute("INSERT INTO items (channel, offset, record) VALUES (?1, ?2, ?3)", (id, offset, record))?;
        if let Some(key) = &append.key {
            let at_ms = publication.at_ms;
            let record = record::encode_key(self.secret, &publication.channel, row.top, at_ms, key);
            let insert = "INSERT INTO keys (channel, offset, at, record) VALUES (?1, ?2, ?3, ?4)";
            self.execute(insert, (id, offset, number(at_ms), record))?;
        }
        Ok(())
    }

    /// Does all of it or nothing of it. Where the store is full this one does not fit, and those that do are not to suffer.
    fn savepoint(&self, write: impl FnOnce(&Self) -> Result<(), rusqlite::Error>) -> Result<(), Problem> {
        self.execute("SAVEPOINT append", ())?;
        match write(self) {
            Err(error) if is_full(&error) && !self.transaction.is_autocommit() => {
                self.execute("ROLLBACK TO append", ())?;
                self.execute("RELEASE append", ())?;
                Err(Problem::Refused("the store is full"))
            }
            Err(error) => Err(error.into()),
            Ok(()) => Ok(self.execute("RELEASE append", ())?),
        }
    }

    /// Removes keys whose time is over: more than came in, so that they get fewer, and no more, so that a batch ends.
    fn forget_keys(&self) -> Result<(), rusqlite::Error> {
        let age_ms = u64::try_from(self.options.key_age.as_millis()).unwrap_or(u64::MAX);
        let delete = "DELETE FROM keys WHERE (channel, offset) IN \
                      (SELECT channel, offset FROM keys WHERE at < ?1 ORDER BY at LIMIT ?2)";
        self.execute(delete, (number(self.now_ms.saturating_sub(age_ms)), number(2 * self.appends + 64)))
    }

    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<(), rusqlite::Error> {
        self.transaction.prepare_cached(sql)?.execute(parameters)?;
        Ok(())
    }
}

/// Reading, in a batch or outside.
struct View<'a> {
    connection: &'a Connection,
    secret: &'a Secret,
    known: &'a HashSet<u64>,
    options: &'a StoreOptions,
}

impl View<'_> {
    /// `None` if the channel was never seen.
    fn row(&self, channel: &ChannelName) -> Result<Option<Row>, Problem> {
        if !self.known.contains(&self.secret.short(channel)) {
            return Ok(None);
        }
        let mut statement = self.connection.prepare_cached("SELECT record FROM channels WHERE name = ?1")?;
        let row = statement
            .query_row([channel.as_str().as_bytes()], |row| {
                Ok(Row::decode(self.secret, channel, row.get_ref(0)?.as_blob()?))
            })
            .optional()?;
        match row {
            Some(row) => Ok(Some(row?)),
            None => Err(Problem::Damaged("a channel is missing")),
        }
    }

    fn load(&self, channel: &ChannelName) -> Result<Loaded, Problem> {
        let Some(row) = self.row(channel)? else {
            return Ok(Loaded { epoch: self.secret.epoch(channel), top: 0, items: Vec::new(), keys: Vec::new() });
        };
        let items = self.items(channel, row)?;
        let keys = self.keys(channel, row)?;
        Ok(Loaded { epoch: row.epoch, top: row.top, items, keys })
    }

    /// The newest ones in order; each that should be there is there and whole, or there are none.
    fn items(&self, channel: &ChannelName, row: Row) -> Result<Vec<Arc<sockeye_hub::Publication>>, Problem> {
        let mut items = Vec::new();
        let mut bytes = 0_usize;
        let mut statement = self.connection.prepare_cached(
            "SELECT offset, record FROM items WHERE channel = ?1 AND offset BETWEEN ?2 AND ?3 ORDER BY offset DESC",
        )?;
        let mut rows = statement.query((number(row.id), number(row.first), number(row.top)))?;
        let mut offset = row.top;
        while offset >= row.first && items.len() < self.options.load_count {
            let found = rows.next()?.ok_or(Problem::Damaged("a publication is missing"))?;
            if found.get::<_, i64>(0)? != number(offset) {
                return Err(Problem::Damaged("a publication is missing"));
            }
            let record = found.get_ref(1)?.as_blob().map_err(|_| record::Damaged)?;
            let position = Position { epoch: row.epoch, offset };
            let item = record::decode_publication(self.secret, channel, position, record)?;
            bytes = bytes.saturating_add(item.weight());
            if bytes > self.options.load_bytes {
                break;
            }
            items.push(Arc::new(item));
            offset -= 1;
        }
        items.reverse();
        Ok(items)
    }

    fn keys(&self, channel: &ChannelName, row: Row) -> Result<Vec<(Arc<str>, u64, u64)>, Problem> {
        let mut keys = Vec::new();
        let mut statement = self
            .connection
            .prepare_cached("SELECT offset, record FROM keys WHERE channel = ?1 ORDER BY offset DESC LIMIT ?2")?;
        let limit = i64::try_from(self.options.load_keys).unwrap_or(i64::MAX);
        let mut rows = statement.query((number(row.id), limit))?;
        while let Some(found) = rows.next()? {
            let offset = u64::try_from(found.get::<_, i64>(0)?).map_err(|_| record::Damaged)?;
            let record = found.get_ref(1)?.as_blob().map_err(|_| record::Damaged)?;
            let (key, at_ms) = record::decode_key(self.secret, channel, offset, record)?;
            if offset > row.top || key.len() > MAX_KEY {
                return Err(Problem::Damaged("a key is newer than its channel, or longer than a key may be"));
            }
            keys.push((key, offset, at_ms));
        }
        keys.reverse();
        Ok(keys)
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::TooBig))
}

/// As `SQLite` has numbers. Offsets count up by one and times are of this age, so neither gets there.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
