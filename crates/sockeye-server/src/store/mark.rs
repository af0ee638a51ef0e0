//! How far the store has acknowledged, kept beside the database.
//!
//! A database that recovers from a crash goes back to its newest commit that is whole. Where the file was cut or
//! changed meanwhile that commit may be an old one, and nothing in the file says so; offsets would then be given twice
//! in one epoch. So the number of each commit is written here before anybody hears of it, and a database that has
//! fewer is not opened.
//!
//! Two slots in two sectors take turns: if one is torn by a crash, the other is one commit behind, and asks
//! for one commit less. It needs no fsync of its own: it survives a `kill -9` in the page cache,
//! and after a power cut an older number asks for less.
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::record::{Place, Secret};

const MAGIC: &[u8; 16] = b"sockeye store 1\n";
const SLOTS: [usize; 2] = [512, 1024];
const LEN: usize = 1536;

/// The open file.
#[derive(Debug)]
pub(super) struct Mark(File);

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marked {
    /// There is no such file.
    Missing,
    /// Nothing that can be believed.
    Damaged,
    /// Commits up to this one were acknowledged.
    Commit(u64),
}

impl Mark {
    pub(super) fn read(path: &Path, secret: &Secret) -> io::Result<Marked> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(LEN as u64).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Marked::Missing),
            Err(error) => return Err(error),
        };
        if !bytes.starts_with(MAGIC) {
            return Ok(Marked::Damaged);
        }
        let slot = |start: usize| {
            let slot = secret.open(Place::Mark, bytes.get(start..start + 16)?).ok()?;
            slot.try_into().ok().map(u64::from_le_bytes)
        };
        Ok(SLOTS.into_iter().filter_map(slot).max().map_or(Marked::Damaged, Marked::Commit))
    }

    /// The file that is there. It is not written anew, so that no crash can tear both slots.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().write(true).open(path).map(Self)
    }

    /// Makes the file anew, of a store that has acknowledged nothing.
    pub(super) fn create(path: &Path, secret: &Secret) -> io::Result<Self> {
        let mut bytes = vec![0; LEN];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        for start in SLOTS {
            bytes[start..start + 16].copy_from_slice(&slot(secret, 0));
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        file.set_len(LEN as u64)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        Ok(Self(file))
    }

    /// This commit is about to be acknowledged.
    pub(super) fn write(&mut self, secret: &Secret, commits: u64) -> io::Result<()> {
        let start = if commits.is_multiple_of(2) { SLOTS[0] } else { SLOTS[1] };
        self.0.seek(SeekFrom::Start(start as u64))?;
        self.0.write_all(&slot(secret, commits))
    }
}

fn slot(secret: &Secret, commits: u64) -> Vec<u8> {
    secret.seal(Place::Mark, commits.to_le_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn one_damaged_slot_is_made_up_for_by_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let secret = Secret::random();
        assert_eq!(Mark::read(&path, &secret).unwrap(), Marked::Missing);
        let mut mark = Mark::create(&path, &secret).unwrap();
        for commits in 1..=7 {
            if commits == 4 {
                mark = Mark::open(&path).unwrap();
            }
            mark.write(&secret, commits).unwrap();
            assert_eq!(Mark::read(&path, &secret).unwrap(), Marked::Commit(commits));
        }
        assert_eq!(Mark::read(&path, &Secret::random()).unwrap(), Marked::Damaged, "another store's");
        let good = std::fs::read(&path).unwrap();
        for (at, expected) in [(512, Marked::Commit(7)), (1030, Marked::Commit(6)), (0, Marked::Damaged)] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(Mark::read(&path, &secret).unwrap(), expected, "{at}");
        }
        std::fs::write(&path, b"").unwrap();
        assert_eq!(Mark::read(&path, &secret).unwrap(), Marked::Damaged);
    }
}
