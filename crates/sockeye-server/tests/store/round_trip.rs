//! What is written comes back.
use std::sync::Arc;

use bytes::Bytes;
use sockeye_hub::{
    Append, Encoded, Epoch, Kind, Payload, Position, Publication, Sender, SessionId, StoreReply, StoreRequest,
};
use sockeye_server::store::{DurableStore, NoStore, Store, StoreOptions};

use crate::harness::{Running, append, fields, name, offsets, sink, text};

/// One of each kind, with and without each of the parts.
fn all_kinds(epoch: Epoch) -> Vec<Publication> {
    let payload = |kind, bytes: &'static [u8]| Payload { kind, bytes: Bytes::from_static(bytes) };
    let user = |user: Option<&str>| Some(Sender { session: SessionId(u128::MAX - 7), user: user.map(Arc::from) });
    let parts = [
        (payload(Kind::Json, br#"{"a":[1,null,"\u00e4"]}"#), None, None, None),
        (payload(Kind::Text, "täxt\0".as_bytes()), Some("event"), None, user(None)),
        (payload(Kind::Binary, &[0, 255, 128]), None, Some("conflate"), user(Some("ünn"))),
        (payload(Kind::Binary, &[]), Some(""), Some(""), user(Some(""))),
    ];
    let publication = |(index, (payload, event, conflate, from))| {
        let offset = u64::try_from(index).unwrap() + 1;
        Publication {
            channel: name("chat:ä"),
            position: Some(Position { epoch, offset }),
            payload,
            event: Option::<&str>::map(event, Arc::from),
            conflate: Option::<&str>::map(conflate, Arc::from),
            from,
            echo: offset % 2 == 0,
            at_ms: offset * 1_000,
            encoded: Encoded::default(),
        }
    };
    parts.into_iter().enumerate().map(publication).collect()
}

#[test]
fn everything_of_a_publication_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path());
    let epoch = running.epoch("chat:ä");
    let written: Vec<_> = all_kinds(epoch).into_iter().map(Arc::new).collect();
    for publication in &written {
        let key = (publication.offset() != 2).then(|| format!("k{}", publication.offset()).into());
        let append = Append { publication: Arc::clone(publication), key, keep_from: 1 };
        assert_eq!(running.append(append), format!("chat:ä {}", publication.offset()));
    }
    let check = |running: &Running| {
        let loaded = running.load("chat:ä");
        assert_eq!((loaded.epoch, loaded.top), (epoch, 4));
        let all = |items: &[Arc<Publication>]| items.iter().map(|item| fields(item)).collect::<Vec<_>>();
        assert_eq!(all(&loaded.items), all(&written));
        let keys: Vec<_> = loaded.keys.iter().map(|(key, offset, at)| (&**key, *offset, *at)).collect();
        assert_eq!(keys, [("k1", 1, 1_000), ("k3", 3, 3_000), ("k4", 4, 4_000)]);
    };
    check(&running);
    running.store.close();
    let again = Running::open(folder.path());
    check(&again);
    assert_eq!(again.append(append("chat:ä", epoch, 5)), "chat:ä 5", "it goes on where it was");
}

#[test]
fn a_channel_has_its_epoch_before_anything_is_written() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let running = Running::open(folders[0].path());
    let epoch = running.epoch("a");
    assert_eq!(running.epoch("a"), epoch);
    assert_ne!(running.epoch("b"), epoch);
    drop(running);
    let again = Running::open(folders[0].path());
    assert_eq!(again.epoch("a"), epoch);
    assert_eq!(again.append(append("a", epoch, 1)), "a 1");
    assert_eq!(again.epoch("a"), epoch);
    assert_ne!(Running::open(folders[1].path()).epoch("a"), epoch, "another store, another secret");
}

#[test]
fn what_need_not_be_kept_goes_and_what_is_loaded_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path());
    let epoch = running.epoch("a");
    for offset in 1..=200 {
        running.submit(StoreRequest::Append(append("a", epoch, offset)));
    }
    // A bounded number goes at each append; so it takes some until all have gone.
    for offset in 201..=204 {
        running.submit(StoreRequest::Append(Append { keep_from: 195, ..append("a", epoch, offset) }));
    }
    running.submit(StoreRequest::Append(Append { keep_from: u64::MAX, ..append("a", epoch, 205) }));
    (1..=205).for_each(|offset| assert_eq!(running.reply(), format!("a {offset}")));
    assert_eq!(offsets(&running.load("a")), [205], "the newest one stays");
    for offset in 206..=210 {
        assert_eq!(running.append(append("a", epoch, offset)), format!("a {offset}"));
    }
    assert_eq!(offsets(&running.load("a")), [205, 206, 207, 208, 209, 210]);
    drop(running);

    let few = StoreOptions::with(|options| (options.load_count, options.load_keys) = (3, 2));
    let loaded = Running::with(folder.path(), few).unwrap().load("a");
    assert_eq!((offsets(&loaded), loaded.top), (vec![208, 209, 210], 210));
    assert_eq!(loaded.keys.iter().map(|key| key.1).collect::<Vec<_>>(), [209, 210]);
    let weight = loaded.items[0].weight();
    let small = StoreOptions::with(|options| options.load_bytes = 2 * weight + weight / 2);
    assert_eq!(offsets(&Running::with(folder.path(), small).unwrap().load("a")), [209, 210]);
}

#[test]
fn trimming_catches_up_in_bounded_steps() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path());
    let epoch = running.epoch("a");
    for offset in 1..=200 {
        assert_eq!(running.append(append("a", epoch, offset)), format!("a {offset}"));
    }
    let mut kept = Vec::new();
    for offset in 201..=204 {
        running.append(Append { keep_from: 195, ..append("a", epoch, offset) });
        kept.push(offsets(&running.load("a")).len());
    }
    assert_eq!(kept, [137, 74, 11, 10], "64 at a time, then what there is");
}

#[test]
fn keys_are_forgotten_when_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path());
    let at = |channel: &str, epoch, offset, at_ms| {
        let append = append(channel, epoch, offset);
        let mut publication = crate::harness::publication(channel, epoch, offset, 10);
        publication.at_ms = at_ms;
        Append { publication: Arc::new(publication), ..append }
    };
    let (a, b) = (running.epoch("a"), running.epoch("b"));
    for offset in 1..=100 {
        running.append(at("a", a, offset, 1_000 + offset));
    }
    running.append(at("b", b, 1, 301_000));
    assert_eq!(running.load("a").keys.len(), 100, "exactly five minutes is not over");
    let mut left = Vec::new();
    for offset in 2..=3 {
        running.append(at("b", b, offset, 301_090));
        left.push(running.load("a").keys.first().unwrap().1);
    }
    assert_eq!(left, [67, 90], "89 of them, at most 66 at one append");
}

#[test]
fn what_does_not_follow_fails_once_and_until_the_channel_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path());
    let epoch = running.epoch("a");
    let submit = |offset| running.submit(StoreRequest::Append(append("a", epoch, offset)));
    [1, 2, 4, 5, 3].into_iter().for_each(submit);
    running.submit(StoreRequest::Append(append("b", Epoch(1), 1)));
    assert_eq!([(); 4].map(|()| running.reply()), ["a 1", "a 2", "a failed", "b failed"]);
    assert_eq!(offsets(&running.load("a")), [1, 2]);
    assert_eq!(running.append(append("a", epoch, 3)), "a 3");
    for wrong in
        [append("a", Epoch(0), 4), append("a", epoch, 3), append("a", epoch, u64::MAX), append("c", Epoch(0), 1)]
    {
        let channel = wrong.publication.channel.clone();
        assert_eq!(running.append(wrong), format!("{channel} failed"));
        running.load(channel.as_str());
    }
    let no_position = Publication { position: None, ..crate::harness::publication("a", epoch, 4, 10) };
    let nowhere = Append { publication: Arc::new(no_position), key: None, keep_from: 0 };
    assert_eq!(running.append(nowhere), "a failed");
    assert_eq!(offsets(&running.load("a")), [1, 2, 3]);
}

#[test]
fn loading_sees_the_appends_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path());
    let epoch = running.epoch("a");
    running.submit(StoreRequest::Append(append("a", epoch, 1)));
    running.submit(StoreRequest::Load(name("b")));
    running.submit(StoreRequest::Load(name("a")));
    running.submit(StoreRequest::Append(append("a", epoch, 2)));
    let mut of_a = Vec::new();
    for reply in [(); 4].map(|()| running.next()) {
        if let StoreReply::Loaded(channel, loaded) = &reply
            && *channel == name("a")
        {
            assert_eq!(offsets(loaded), [1]);
        }
        of_a.push(text(&reply));
    }
    of_a.retain(|text| text.starts_with("a "));
    assert_eq!(of_a, ["a 1", "a loaded", "a 2"]);
}

#[test]
fn what_was_submitted_is_written_before_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path());
    let epoch = running.epoch("a");
    for offset in 1..=3_000 {
        running.submit(StoreRequest::Append(append("a", epoch, offset)));
    }
    running.store.close();
    let heard: Vec<_> = running.replies.try_iter().map(|reply| text(&reply)).collect();
    assert_eq!(heard.len(), 3_000);
    assert_eq!(heard.last().unwrap(), "a 3000");
    assert_eq!(Running::open(folder.path()).load("a").top, 3_000);
}

#[test]
fn replies_go_to_the_worker_that_asked() {
    let folder = tempfile::tempdir().unwrap();
    let ((first, to_first), (second, to_second)) = (sink(), sink());
    let store = DurableStore::open(folder.path(), StoreOptions::default(), vec![first, second]).unwrap();
    store.submit(1, StoreRequest::Load(name("b")));
    store.submit(0, StoreRequest::Load(name("a")));
    // There is no such worker; nobody else hears it.
    store.submit(2, StoreRequest::Load(name("c")));
    store.close();
    assert_eq!(to_first.iter().map(|reply| text(&reply)).collect::<Vec<_>>(), ["a loaded"]);
    assert_eq!(to_second.iter().map(|reply| text(&reply)).collect::<Vec<_>>(), ["b loaded"]);
}

#[test]
fn without_a_store_everything_fails() {
    let (sink, replies) = sink();
    let store: Box<dyn Store> = Box::new(NoStore::new(vec![sink]));
    store.submit(0, StoreRequest::Load(name("a")));
    store.submit(0, StoreRequest::Append(append("b", Epoch(1), 1)));
    assert_eq!([(); 2].map(|()| text(&replies.try_recv().unwrap())), ["a failed", "b failed"]);
}
