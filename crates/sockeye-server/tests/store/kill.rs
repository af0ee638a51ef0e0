//! Processes that end, and disks that do.
use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sockeye_hub::{Append, StoreReply, StoreRequest};
use sockeye_server::store::{Durability, StoreOptions};

use crate::harness::{Running, fields, offsets, publication};

const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];
/// Where the child has its store.
const FOLDER: &str = "SOCKEYE_TEST_STORE";
/// How its publications are kept.
const DURABILITY: &str = "SOCKEYE_TEST_DURABILITY";

/// What the child process is: this test by its name, with a folder. Without one, as in every other run, it is a test of
/// what the child does.
#[test]
fn appends_without_end() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return append_until(&PathBuf::from(folder), u64::MAX);
    }
    let folder = tempfile::tempdir().unwrap();
    append_until(folder.path(), 30);
    let running = Running::open(folder.path());
    for channel in CHANNELS {
        assert!(running.load(channel).top >= 30);
    }
}

/// Keeps some appends of each channel on their way, and says of each that was acknowledged: `ack a 3`.
fn append_until(folder: &Path, top: u64) {
    let os = std::env::var_os(DURABILITY).is_some_and(|value| value == "os");
    let durability = if os { Durability::Os } else { Durability::Fsync };
    // Small batches, so that there are many of them to be killed in.
    let options = StoreOptions::with(|options| (options.durability, options.batch_count) = (durability, 7));
    let running = Running::with(folder, options).unwrap();
    let mut channels = CHANNELS.map(|channel| {
        let loaded = running.load(channel);
        (channel, loaded.epoch, loaded.top)
    });
    let submit = |(channel, epoch, given): &mut (&str, _, u64)| {
        *given += 1;
        running.submit(StoreRequest::Append(written(channel, *epoch, *given)));
    };
    for _ in 0..5 {
        channels.iter_mut().for_each(&submit);
    }
    while channels.iter().any(|(.., given)| *given < top.saturating_add(5)) {
        match running.next() {
            StoreReply::Appended(channel, offset) => {
                println!("\nack {channel} {offset}");
                channels.iter_mut().filter(|at| at.0 == channel.as_str()).for_each(&submit);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn written(channel: &str, epoch: sockeye_hub::Epoch, offset: u64) -> Append {
    let len = 50 + usize::try_from(offset % 7).unwrap() * 700;
    Append {
        publication: Arc::new(publication(channel, epoch, offset, len)),
        key: offset.is_multiple_of(2).then(|| format!("key {offset}").into()),
        keep_from: offset.saturating_sub(200),
    }
}

/// A process that runs one test of this file.
fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("kill::{test}"), "--nocapture"]).env(FOLDER, folder);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Kills it after so many acknowledgements, and says which was the last of each channel, as it said.
fn kill_after(mut child: Child, acknowledgements: usize) -> [u64; 4] {
    let mut last = [0; 4];
    let mut hear = |line: &str| {
        let mut words = line.split_whitespace();
        if let (Some("ack"), Some(channel), Some(offset)) = (words.next(), words.next(), words.next())
            && let Some(index) = CHANNELS.iter().position(|at| *at == channel)
        {
            last[index] = last[index].max(offset.parse().unwrap());
            return true;
        }
        false
    };
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut heard = 0;
    let mut line = String::new();
    while heard < acknowledgements {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the child has ended by itself");
        heard += usize::from(hear(&line));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it died, but for a line that is not whole.
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    for line in rest.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        hear(line);
    }
    last
}

/// Everything acknowledged is there, without a hole, byte for byte.
fn assert_kept(folder: &Path, last: [u64; 4]) -> [sockeye_hub::Epoch; 4] {
    let running = Running::open(folder);
    let mut epochs = Vec::new();
    for (channel, acknowledged) in CHANNELS.into_iter().zip(last) {
        let loaded = running.load(channel);
        assert!(loaded.top >= acknowledged, "{channel}: {acknowledged} was acknowledged, and {} is there", loaded.top);
        let first = loaded.top.saturating_sub(200).max(1);
        assert_eq!(offsets(&loaded), (first..=loaded.top).collect::<Vec<_>>());
        for item in &loaded.items {
            let expected = written(channel, loaded.epoch, item.offset());
            assert_eq!(fields(item), fields(&expected.publication));
        }
        let keys: Vec<_> = loaded.keys.iter().map(|(key, offset, _)| (key.to_string(), *offset)).collect();
        let expected =
            (1..=loaded.top).filter(|offset| offset % 2 == 0).map(|offset| (format!("key {offset}"), offset));
        assert_eq!(keys, expected.collect::<Vec<_>>());
        epochs.push(loaded.epoch);
    }
    epochs.try_into().unwrap()
}

fn rounds(durability: &str, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let mut epochs = None;
    let mut last = [0; 4];
    for round in 0..10 {
        // None at all is also a number: it may be killed while it makes the store.
        let child = child("appends_without_end", folder.path()).env(DURABILITY, durability).spawn().unwrap();
        let now = kill_after(child, random.random_range(0..150));
        last = std::array::from_fn(|index| last[index].max(now[index]));
        let now = assert_kept(folder.path(), last);
        assert_eq!(*epochs.get_or_insert(now), now, "round {round}: the same epochs");
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    rounds("fsync", 1);
}

#[test]
fn and_so_it_does_where_only_the_operating_system_has_it() {
    rounds("os", 2);
}

/// A child that is not allowed to write beyond so many bytes, until it allows itself: a disk that was full for a while.
#[test]
fn a_full_disk_fails_appends_and_nothing_else() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return meet_a_full_disk(&PathBuf::from(folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let direct = child("a_full_disk_fails_appends_and_nothing_else", folder.path());
    // The signal that comes with the limit is ignored, which only a parent can arrange without `unsafe`.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(direct.get_program()).args(direct.get_args());
    let output = shell.env(FOLDER, folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("it went on"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let running = Running::open(folder.path());
    let loaded = running.load("a");
    let top: u64 = text.split("it went on until ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(loaded.top, top);
    assert_eq!(offsets(&loaded), (1..=top).collect::<Vec<_>>());
}

fn meet_a_full_disk(folder: &Path) {
    let before = getrlimit(Resource::Fsize);
    let running = Running::open(folder);
    let epoch = running.epoch("a");
    let next = |offset| Append { keep_from: 1, key: None, ..written("a", epoch, offset) };
    assert_eq!(running.append(next(1)), "a 1");
    setrlimit(Resource::Fsize, Rlimit { current: Some(200_000), ..before }).unwrap();
    let mut offset = 1;
    while running.append(next(offset + 1)) != "a failed" {
        offset += 1;
        assert!(offset < 1_000, "the disk is never full");
    }
    // Reading goes on, and writing goes on failing; what was acknowledged stays.
    for _ in 0..3 {
        assert_eq!(offsets(&running.load("a")), (1..=offset).collect::<Vec<_>>());
        assert_eq!(running.append(next(offset + 1)), "a failed");
    }
    setrlimit(Resource::Fsize, before).unwrap();
    assert_eq!(running.load("a").top, offset);
    for _ in 0..20 {
        offset += 1;
        assert_eq!(running.append(next(offset)), format!("a {offset}"));
    }
    running.store.close();
    println!("\nit went on until {offset} ");
}
