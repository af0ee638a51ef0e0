//! Files that are not what was written: an error, or what was written; never anything else.
use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use sockeye_hub::{Append, Loaded, StoreRequest};
use sockeye_server::store::{Durability, StoreOptions};

use crate::harness::{Running, append, fields};

const CHANNELS: [&str; 3] = ["a", "b", "chat:lobby"];
const FILES: [&str; 3] = ["history.db", "history.db-wal", "acknowledged"];

/// What a folder held, and what has to come back of it.
struct Image {
    files: Vec<(&'static str, Vec<u8>)>,
    loaded: Vec<Loaded>,
}

impl Image {
    /// Of a store that was closed, or as a `kill -9` leaves it, with most of it in its log.
    fn take(closed: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut running = Running::open(folder.path());
        fill(&running, 1, 60);
        if !closed {
            running.store.close();
            running = Running::open(folder.path());
            fill(&running, 61, 90);
        }
        let loaded: Vec<_> = CHANNELS.iter().map(|channel| running.load(channel)).collect();
        if closed {
            running.store.close();
        }
        Self { files: contents(folder.path()), loaded }
    }

    /// Opens a copy in which one file is another one.
    fn open_with(&self, durability: Durability, changed: &str, bytes: Option<&[u8]>) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        for (file, original) in &self.files {
            let bytes = if *file == changed { bytes } else { Some(&original[..]) };
            if let Some(bytes) = bytes {
                fs::write(folder.path().join(file), bytes).unwrap();
            }
        }
        let before = contents(folder.path());
        let outcome = self.open(folder.path(), durability);
        if let Outcome::Refused(why) = &outcome {
            let mut after = contents(folder.path());
            after.retain(|(_, bytes)| !bytes.is_empty());
            let kept = before.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect::<Vec<_>>();
            assert!(after == kept, "what is refused is left as it was: {why}");
        }
        outcome
    }

    fn open(&self, folder: &Path, durability: Durability) -> Outcome {
        let options = StoreOptions::with(|options| options.durability = durability);
        let running = match Running::with(folder, options) {
            Ok(running) => running,
            Err(error) => {
                assert!(error.to_string().contains(&folder.display().to_string()), "{error}");
                assert!(!error.is_in_use(), "{error}");
                return Outcome::Refused(error.to_string());
            }
        };
        let mut outcome = Outcome::Whole;
        for (channel, written) in CHANNELS.iter().zip(&self.loaded) {
            match running.try_load(channel) {
                None => outcome = Outcome::Failed,
                Some(loaded) if loaded.epoch != written.epoch => {
                    assert!(durability == Durability::Os, "another epoch where nothing may be lost");
                    assert_eq!((loaded.top, loaded.items.len(), loaded.keys.len()), (0, 0, 0));
                    outcome = Outcome::Anew;
                }
                Some(loaded) => assert_same(&loaded, written),
            }
        }
        outcome
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Whole,
    /// Some channel cannot be loaded.
    Failed,
    Refused(String),
    Anew,
}

fn contents(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    FILES.into_iter().filter_map(|file| Some((file, fs::read(folder.join(file)).ok()?))).collect()
}

fn fill(running: &Running, from: u64, to: u64) {
    for channel in CHANNELS {
        let epoch = running.epoch(channel);
        for offset in from..=to {
            running.submit(StoreRequest::Append(Append {
                keep_from: offset.saturating_sub(50),
                ..append(channel, epoch, offset)
            }));
        }
        (from..=to).for_each(|offset| assert_eq!(running.reply(), format!("{channel} {offset}")));
    }
}

fn assert_same(loaded: &Loaded, written: &Loaded) {
    assert_eq!((loaded.top, &loaded.keys), (written.top, &written.keys));
    assert!(loaded.items.iter().map(|item| fields(item)).eq(written.items.iter().map(|item| fields(item))));
}

#[test]
fn what_is_whole_comes_back_whole() {
    for closed in [true, false] {
        let image = Image::take(closed);
        assert_eq!(image.files.len(), if closed { 2 } else { 3 }, "the log is there only while it is open");
        assert_eq!(image.open_with(Durability::Fsync, "", None), Outcome::Whole);
    }
}

#[test]
fn a_file_that_was_cut_is_found_out() {
    for closed in [true, false] {
        let image = Image::take(closed);
        for (file, bytes) in &image.files {
            let step = if *file == "acknowledged" { 256 } else { 4096 };
            // SQLite takes zeros for what is missing of a page, so one that is cut off at its end is not missed.
            let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            let cuts = (0..bytes.len()).step_by(step).chain([last]);
            for cut in cuts {
                let outcome = image.open_with(Durability::Fsync, file, Some(&bytes[..cut]));
                let what = format!("{file} cut at {cut} of {}, closed {closed}: {outcome:?}", bytes.len());
                match *file {
                    // One of its two slots is enough.
                    "acknowledged" => assert_eq!(outcome == Outcome::Whole, cut >= 528, "{what}"),
                    // What is missing may be in the log, if there is one.
                    "history.db" if !closed => assert_ne!(outcome, Outcome::Anew, "{what}"),
                    _ => assert!(matches!(outcome, Outcome::Refused(_) | Outcome::Failed), "{what}"),
                }
            }
            let outcome = image.open_with(Durability::Fsync, file, None);
            assert!(matches!(outcome, Outcome::Refused(_)), "{file} is missing: {outcome:?}");
        }
    }
}

#[test]
fn a_bit_that_flipped_changes_nothing_that_is_read() {
    let seen = AtomicU32::new(0);
    // The seed is in the name of the failure; two threads share the work.
    std::thread::scope(|scope| {
        for closed in [true, false] {
            let seen = &seen;
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(u64::from(closed));
                let image = Image::take(closed);
                for round in 0..150 {
                    let (file, bytes) = &image.files[random.random_range(0..image.files.len())];
                    let (at, bit) = (random.random_range(0..bytes.len()), random.random_range(0..8));
                    let mut changed = bytes.clone();
                    changed[at] ^= 1 << bit;
                    let outcome = image.open_with(Durability::Fsync, file, Some(&changed));
                    if outcome != Outcome::Whole {
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                    assert_ne!(outcome, Outcome::Anew, "closed {closed}, round {round}: {file}, byte {at}, bit {bit}");
                }
            });
        }
    });
    assert!(seen.into_inner() > 50, "most bytes matter, so most flips are seen");
}

#[test]
fn a_page_of_nonsense_is_found_out() {
    let image = Image::take(true);
    let (file, bytes) = &image.files[0];
    for page in 0..bytes.len() / 4096 {
        for filling in [0, 255] {
            let mut changed = bytes.clone();
            changed[page * 4096..(page + 1) * 4096].fill(filling);
            let outcome = image.open_with(Durability::Fsync, file, Some(&changed));
            assert!(outcome != Outcome::Anew, "page {page}: {outcome:?}");
        }
    }
}

#[test]
fn where_a_power_cut_may_lose_something_all_channels_begin_anew() {
    let image = Image::take(false);
    let log = &image.files[1].1;
    for cut in [0, 32, log.len() / 2, log.len() - 1] {
        let outcome = image.open_with(Durability::Os, "history.db-wal", Some(&log[..cut]));
        assert_eq!(outcome, Outcome::Anew, "{cut}");
    }
    assert_eq!(image.open_with(Durability::Os, "history.db", None), Outcome::Anew);
    assert_eq!(image.open_with(Durability::Os, "acknowledged", None), Outcome::Anew);
    let damaged = Image::take(true).open_with(Durability::Os, "history.db", Some(b"SQLite format 3\0"));
    assert!(matches!(damaged, Outcome::Refused(_)), "what a power cut cannot do is refused: {damaged:?}");
}

#[test]
fn an_older_copy_of_the_database_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path());
    fill(&running, 1, 10);
    running.store.close();
    let old = fs::read(folder.path().join("history.db")).unwrap();
    let running = Running::open(folder.path());
    fill(&running, 11, 12);
    running.store.close();
    fs::write(folder.path().join("history.db"), old).unwrap();
    let error = Running::with(folder.path(), StoreOptions::default()).err().unwrap();
    assert!(error.is_damaged(), "{error}");
    assert!(error.to_string().contains("were acknowledged"), "{error}");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(foreign);
    let before = fs::read(&path).unwrap();
    let error = Running::with(folder.path(), StoreOptions::default()).err().unwrap();
    assert!(error.to_string().contains("not a store of this server"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::write(&path, "some text that is long enough for a header, ".repeat(100)).unwrap();
    assert!(Running::with(folder.path(), StoreOptions::default()).err().unwrap().is_damaged());
}

#[test]
fn another_version_and_other_tables_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path());
    fill(&running, 1, 3);
    running.store.close();
    let path = folder.path().join("history.db");
    let change = |sql: &str| {
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        Running::with(folder.path(), StoreOptions::default()).err()
    };
    let error = change("PRAGMA user_version = 2").unwrap();
    assert!(error.is_other_version() && error.to_string().contains("version 2"), "{error}");
    assert!(change("PRAGMA user_version = 1").is_none(), "nothing has changed");
    let error = change("CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items; END").unwrap();
    assert!(error.is_damaged(), "{error}");
}

/// Rows that are well formed and wrong: taken away, or another one's.
#[test]
fn rows_that_were_moved_or_taken_away_are_found_out() {
    for (sql, refused) in [
        ("DELETE FROM channels WHERE name = CAST('a' AS BLOB)", true),
        ("UPDATE channels SET name = CAST('x' AS BLOB) WHERE name = CAST('a' AS BLOB)", true),
        ("UPDATE store SET record = x'00' WHERE name = 'state'", true),
        ("UPDATE store SET record = 7 WHERE name = 'secret'", true),
        ("DELETE FROM store", true),
        ("DELETE FROM items WHERE channel = 0 AND offset = 30", false),
        ("DELETE FROM items WHERE channel = 0", false),
        ("UPDATE items SET offset = 1000 WHERE channel = 0 AND offset = 60", false),
        (
            "UPDATE items SET record = (SELECT record FROM items WHERE channel = 1 AND offset = 60) WHERE offset = 60",
            false,
        ),
        ("UPDATE items SET record = 'text' WHERE channel = 0", false),
        ("UPDATE keys SET offset = offset + 1000 WHERE channel = 0", false),
        ("UPDATE keys SET record = x'' WHERE channel = 0", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::open(folder.path());
        fill(&running, 1, 60);
        let loaded = CHANNELS.iter().map(|channel| running.load(channel)).collect();
        running.store.close();
        let image = Image { files: Vec::new(), loaded };
        rusqlite::Connection::open(folder.path().join("history.db")).unwrap().execute_batch(sql).unwrap();
        let outcome = image.open(folder.path(), Durability::Fsync);
        assert_eq!(matches!(outcome, Outcome::Refused(_)), refused, "{sql}: {outcome:?}");
        assert_ne!(outcome, Outcome::Whole, "{sql}");
    }
}

#[test]
fn two_servers_cannot_have_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path());
    let error = Running::with(folder.path(), StoreOptions::default()).err().unwrap();
    assert!(error.is_in_use() && error.to_string().contains("another server"), "{error}");
    assert_eq!(running.append(append("a", running.epoch("a"), 1)), "a 1", "the first has taken no harm");
    drop(running);
    assert_eq!(Running::open(folder.path()).load("a").top, 1);
}
