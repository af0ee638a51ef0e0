//! How many publications the durable store acknowledges in a second, with so many on their way.
//!
//! ```text
//! cargo run --release -p sockeye-server --example store -- [FOLDER] [SECONDS]
//! ```
//!
//! The folder decides what a flush costs, so name one on the disk in question. Default: the system's temporary one, and
//! 3 seconds for each line. Publications have 128 bytes and an idempotency key, and go to 100 channels in turn, each of
//! which keeps its newest 100.
use std::{
    env,
    error::Error,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use sockeye_hub::{Append, Encoded, Epoch, Kind, Payload, Position, Publication, StoreReply, StoreRequest};
use sockeye_server::store::{Durability, DurableStore, Sink, Store, StoreOptions};

const CHANNELS: usize = 100;
const KEPT: u64 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let parent = arguments.next().map_or_else(env::temp_dir, PathBuf::from);
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    println!("{:>10} {:>8} {:>12} {:>10} {:>10} {:>10}", "durability", "on way", "acked/s", "p50", "p99", "opened in");
    for durability in [Durability::Fsync, Durability::Os] {
        for on_their_way in [1, 100, 1_000] {
            let folder = tempfile::tempdir_in(&parent)?;
            let options = StoreOptions::with(|options| options.durability = durability);
            let (rate, mut waits) = {
                let (sink, replies) = channel();
                let store = DurableStore::open(folder.path(), options.clone(), vec![sink])?;
                measure(&store, &replies, on_their_way, Duration::from_secs(seconds))?
            };
            waits.sort_unstable();
            let begun = Instant::now();
            DurableStore::open(folder.path(), options, Vec::new())?.close();
            let opened = begun.elapsed();
            let (p50, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
            let durability = format!("{durability:?}");
            println!("{durability:>10} {on_their_way:>8} {rate:>12} {p50:>10.1?} {p99:>10.1?} {opened:>10.1?}");
        }
    }
    Ok(())
}

fn channel() -> (Sink, mpsc::Receiver<StoreReply>) {
    let (sender, receiver) = mpsc::channel();
    (Box::new(move |reply| drop(sender.send(reply))), receiver)
}

/// Acknowledgements a second, and how long each took.
fn measure(
    store: &DurableStore,
    replies: &mpsc::Receiver<StoreReply>,
    on_their_way: usize,
    time: Duration,
) -> Result<(u128, Vec<Duration>), Box<dyn Error>> {
    let mut channels = Vec::new();
    for index in 0..CHANNELS {
        store.submit(0, StoreRequest::Load(format!("bench:{index}").parse()?));
        let StoreReply::Loaded(name, loaded) = replies.recv()? else { return Err("it cannot be loaded".into()) };
        channels.push((name, loaded.epoch, 0));
    }
    let mut next = 0;
    let mut begun = std::collections::VecDeque::new();
    let mut submit = |begun: &mut std::collections::VecDeque<Instant>| {
        let (name, epoch, top) = &mut channels[next % CHANNELS];
        *top += 1;
        begun.push_back(Instant::now());
        store.submit(0, StoreRequest::Append(append(name, *epoch, *top)));
        next += 1;
    };
    let start = Instant::now();
    (0..on_their_way).for_each(|_| submit(&mut begun));
    let mut waits = Vec::new();
    while let Some(at) = begun.pop_front() {
        let StoreReply::Appended(..) = replies.recv()? else { return Err("it cannot be kept".into()) };
        waits.push(at.elapsed());
        if start.elapsed() < time {
            submit(&mut begun);
        }
    }
    let rate = waits.len() as u128 * 1_000_000 / start.elapsed().as_micros().max(1);
    Ok((rate, waits))
}

fn append(channel: &sockeye_hub::ChannelName, epoch: Epoch, offset: u64) -> Append {
    let publication = Publication {
        channel: channel.clone(),
        position: Some(Position { epoch, offset }),
        payload: Payload { kind: Kind::Binary, bytes: Bytes::from_static(&[b'x'; 128]) },
        event: None,
        conflate: None,
        from: None,
        echo: true,
        at_ms: 1_700_000_000_000 + offset,
        encoded: Encoded::default(),
    };
    let key = Some(format!("{channel}/{offset}").into());
    Append { publication: Arc::new(publication), key, keep_from: offset.saturating_sub(KEPT) + 1 }
}
