//! A publication in one worker's hub.
use std::{hint::black_box, sync::Arc, time::Instant};

use bytes::Bytes;
use gungraun::prelude::*;
use sockeye_hub::{
    Action, ChannelName, ChannelOptions, Draft, Event, Failure, Host, Hub, HubOptions, Kind, Namespaces, Now, Payload,
    Publication, Queued, Request, SessionKey, StoreRequest, Subscribe, Wire, WorkerId,
};

library_benchmark_group!(name = publishing, benchmarks = publish);

/// Takes everything and keeps nothing.
#[derive(Default)]
struct Counting {
    delivered: usize,
    told: usize,
}

impl Host for Counting {
    type Principal = ();

    fn deliver(&mut self, _to: SessionKey, publication: &Arc<Publication>, _own: bool) -> Queued {
        self.delivered += black_box(publication.payload.bytes.len()).min(1);
        Queued::Taken
    }

    fn event(&mut self, _to: SessionKey, event: Event) {
        black_box(event);
        self.told += 1;
    }

    fn send(&mut self, _to: WorkerId, _wire: Wire) {}

    fn store(&mut self, _request: StoreRequest) {}

    fn authorize(&self, _who: &(), _action: Action, _channel: &ChannelName) -> Result<(), Failure> {
        Ok(())
    }

    fn rules(&self) -> u64 {
        0
    }
}

struct Setup {
    hub: Hub<()>,
    host: Counting,
    publisher: SessionKey,
    channel: ChannelName,
    payload: Bytes,
    now: Now,
}

impl Setup {
    /// A channel with so many subscribers, who have heard of one publication.
    fn new(subscribers: usize) -> Self {
        let now = Now { instant: Instant::now(), unix_ms: 1_700_000_000_000 };
        let namespaces = Arc::new(Namespaces::new(Some(ChannelOptions::default())));
        let mut dice = 0;
        let dice = Box::new(move || {
            dice += 1;
            dice
        });
        let mut hub = Hub::new(WorkerId(0), 1, namespaces, HubOptions::default(), dice);
        let publisher = hub.open((), None);
        let channel: ChannelName = "lobby".parse().unwrap_or_else(|_| unreachable!("a good name"));
        let payload = Bytes::from(format!(r#""{}""#, "x".repeat(126)));
        let mut setup = Self { hub, host: Counting::default(), publisher, channel, payload, now };
        for _ in 0..subscribers {
            let session = setup.hub.open((), None);
            let request = Request::Subscribe(setup.channel.clone(), Subscribe::default());
            setup.hub.request(session, Some(1), request, now, &mut setup.host);
        }
        setup.publish();
        assert_eq!((setup.host.delivered, setup.host.told), (subscribers, subscribers + 1), "all have subscribed");
        setup
    }

    fn publish(&mut self) {
        let draft = Draft::new(Payload { kind: Kind::Json, bytes: self.payload.clone() });
        let request = Request::Publish(self.channel.clone(), draft);
        self.hub.request(self.publisher, Some(2), request, self.now, &mut self.host);
    }
}

// Without anybody's output: the hub's own part of a publication and of each delivery.
#[library_benchmark]
#[bench::to_1(Setup::new(1))]
#[bench::to_1000(Setup::new(1_000))]
fn publish(mut setup: Setup) -> Setup {
    setup.publish();
    setup
}
