//! Every bound, and what happens at it.
use std::sync::Arc;

use sockeye_hub::{Append, Epoch, StoreRequest};
use sockeye_server::store::{DurableStore, Store, StoreOptions};

use crate::harness::{Running, append, name, offsets, publication, sink, text};

fn large(channel: &str, epoch: Epoch, offset: u64, len: usize, keep_from: u64) -> Append {
    Append { publication: Arc::new(publication(channel, epoch, offset, len)), key: None, keep_from }
}

#[test]
fn a_full_queue_fails_and_the_channel_goes_on_once_it_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions::with(|options| options.queue_bytes = 10_000);
    let running = Running::with(folder.path(), options).unwrap();
    let epoch = running.epoch("a");
    // Larger than all that may wait, so however fast the store is, it does not fit.
    running.submit(StoreRequest::Append(append("a", epoch, 1)));
    running.submit(StoreRequest::Append(large("a", epoch, 2, 20_000, 0)));
    running.submit(StoreRequest::Append(append("a", epoch, 3)));
    assert_eq!([(); 2].map(|()| running.reply()), ["a 1", "a failed"]);
    assert_eq!(offsets(&running.load("a")), [1]);
    assert_eq!(running.append(append("a", epoch, 2)), "a 2");
}

#[test]
fn a_publication_and_the_number_of_channels_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions::with(|options| (options.record_bytes, options.max_channels) = (5_000, 2));
    let running = Running::with(folder.path(), options.clone()).unwrap();
    let epochs = ["a", "b", "c"].map(|channel| running.epoch(channel));
    assert_eq!(running.append(large("a", epochs[0], 1, 6_000, 0)), "a failed");
    running.load("a");
    let long_key = Append { key: Some("k".repeat(1_025).into()), ..append("a", epochs[0], 1) };
    assert_eq!(running.append(long_key), "a failed");
    running.load("a");
    assert_eq!(running.append(large("a", epochs[0], 1, 4_000, 0)), "a 1");
    assert_eq!(running.append(append("b", epochs[1], 1)), "b 1");
    assert_eq!(running.append(append("c", epochs[2], 1)), "c failed");
    assert_eq!(running.append(append("b", epochs[1], 2)), "b 2");
    drop(running);
    let again = Running::with(folder.path(), options).unwrap();
    assert_eq!(again.append(append("c", epochs[2], 1)), "c failed", "they are counted in the store");
    assert_eq!(again.append(append("b", epochs[1], 3)), "b 3");
}

#[test]
fn a_full_store_keeps_what_finds_room() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions::with(|options| options.max_bytes = 400_000);
    let running = Running::with(folder.path(), options).unwrap();
    let [a, b] = ["a", "b"].map(|channel| running.epoch(channel));
    for offset in 1..=20 {
        assert_eq!(running.append(large("a", a, offset, 10_000, 1)), format!("a {offset}"));
    }
    let mut offset = 0;
    loop {
        offset += 1;
        if running.append(large("b", b, offset, 10_000, 1)) == "b failed" {
            break;
        }
        assert!(offset < 20, "600 KB do not fit into 400 KB");
    }
    for offset in 21..=40 {
        assert_eq!(
            running.append(large("a", a, offset, 10_000, offset - 19)),
            format!("a {offset}"),
            "one goes, one comes"
        );
    }
    let loaded = running.load("b");
    assert_eq!(loaded.top, offset - 1);
    assert_eq!(
        running.append(large("b", b, offset, 10_000, offset)),
        format!("b {offset}"),
        "it has made room for itself"
    );
    assert_eq!(offsets(&running.load("a")), (21..=40).collect::<Vec<_>>());
    let size = std::fs::metadata(folder.path().join("history.db")).unwrap().len();
    assert!(size <= 400_000, "{size}");
}

#[test]
fn after_the_thread_s_end_everything_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, replies) = sink();
    let broken = Box::new(|_| panic!("a sink that panics ends the store's thread: this test wants that"));
    let store = DurableStore::open(folder.path(), StoreOptions::default(), vec![broken, sink]).unwrap();
    store.submit(1, StoreRequest::Load(name("a")));
    assert_eq!(text(&replies.recv().unwrap()), "a loaded");
    store.submit(0, StoreRequest::Load(name("b")));
    // Whether the thread has ended already or still has to: the answer comes.
    for channel in ["a", "c"] {
        store.submit(1, StoreRequest::Load(name(channel)));
        assert_eq!(text(&replies.recv().unwrap()), format!("{channel} failed"));
    }
}
