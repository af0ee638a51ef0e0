//! The promise, line by line. Every test runs with one worker and with three, whose homes are anywhere.
mod common;

use std::{sync::Arc, time::Duration};

use common::{World, draft, keyed, loaded, name, publish, seen_as, since, subscribe};
use sockeye_hub::{
    Action, CatchUp, ChannelOptions, Draft, Epoch, HistoryPage, HubOptions, Loaded, Namespaces, Publication, Request,
    SlowPolicy, StoreReply, StoreRequest, Subscribe,
};

fn in_worlds(test: impl Fn(&mut World)) {
    in_worlds_with(&ChannelOptions::default(), &HubOptions::default(), test);
}

fn in_worlds_with(options: &ChannelOptions, hub: &HubOptions, test: impl Fn(&mut World)) {
    for placement in 0..6 {
        for workers in [1, 3] {
            let mut hub = hub.clone();
            hub.placement = placement;
            test(&mut World::new(workers, Namespaces::new(Some(options.clone())), &hub));
        }
    }
}

/// The epoch of a channel, as its home has it.
fn epoch(world: &World, channel: &str) -> Epoch {
    let infos = world.hubs.iter().flat_map(|hub| hub.channels(channel, 10));
    infos.into_iter().next().unwrap().position.unwrap().epoch
}

#[test]
fn what_is_published_reaches_all_in_one_order() {
    in_worlds(|world| {
        let last = world.hubs.len() - 1;
        let (ann, bob) = (world.open(0, "ann"), world.open(last, "bob"));
        world.ask(ann, subscribe("a")).ask(bob, subscribe("a"));
        world.ask(ann, publish("a", "one")).ask(bob, publish("a", "two"));
        assert_eq!(world.heard(bob), ["subscribed at 0 with 0", "a@1 one", "a@2 two", "published 2"]);
        assert_eq!(world.heard(ann), ["subscribed at 0 with 0", "a@1 one", "published 1", "a@2 two"]);
    });
}

#[test]
fn catching_up_is_gapless_wherever_a_publication_falls() {
    // One publication on its way, one subscription on its way: however the wires between the workers take turns.
    for placement in 0..6 {
        for turns in 0..256_u32 {
            let hub = HubOptions::with(|options| options.placement = placement);
            let mut world = World::new(3, Namespaces::new(Some(ChannelOptions::default())), &hub);
            let (ann, bob, eve) = (world.open(0, "ann"), world.open(1, "bob"), world.open(2, "eve"));
            world.ask(eve, subscribe("a")).ask(ann, publish("a", "1"));
            let epoch = epoch(&world, "a");
            for text in ["2", "3", "4"] {
                world.begin(ann, publish("a", text));
            }
            world.begin(bob, since("a", epoch, 0));
            for text in ["5", "6"] {
                world.begin(ann, publish("a", text));
            }
            for turn in 0..8 {
                world.carry(usize::from(turns >> turn & 1 == 1));
                world.carry(2);
            }
            world.run();
            let heard: Vec<_> = world.heard(bob).into_iter().skip(1).collect();
            assert_eq!(heard, ["a@1 1", "a@2 2", "a@3 3", "a@4 4", "a@5 5", "a@6 6"], "{placement} {turns}");
        }
    }
}

#[test]
fn a_position_that_is_not_here_is_not_recovered() {
    let options = ChannelOptions::with(|options| options.history_size = 3);
    in_worlds_with(&options, &HubOptions::default(), |world| {
        let ann = world.open(0, "ann");
        for text in ["1", "2", "3", "4", "5"] {
            world.ask(ann, publish("a", text));
        }
        let here = epoch(world, "a");
        for (at, expected) in [
            (since("a", here, 5), "subscribed at 5 with 0 recovered true"),
            (since("a", here, 2), "subscribed at 5 with 3 recovered true"),
            (since("a", here, 1), "subscribed at 5 with 0 recovered false"),
            (since("a", here, 6), "subscribed at 5 with 0 recovered false"),
            (since("a", here, u64::MAX), "subscribed at 5 with 0 recovered false"),
            (since("a", Epoch(7), 4), "subscribed at 5 with 0 recovered false"),
        ] {
            let bob = world.open(0, "bob");
            world.ask(bob, at);
            assert_eq!(world.heard(bob)[0], expected);
        }
    });
}

#[test]
fn the_same_key_is_one_entry_for_five_minutes() {
    in_worlds(|world| {
        let last = world.hubs.len() - 1;
        let (ann, bob) = (world.open(0, "ann"), world.open(last, "bob"));
        world.ask(bob, subscribe("a")).ask(ann, keyed("a", "one", "k")).ask(bob, keyed("a", "other", "k"));
        assert_eq!(world.heard(bob), ["subscribed at 0 with 0", "a@1 one", "published 1"]);
        world.pass(Duration::from_secs(299));
        world.ask(bob, keyed("a", "other", "k"));
        assert_eq!(world.heard(bob), ["published 1"]);
        world.pass(Duration::from_secs(2));
        world.ask(bob, keyed("a", "other", "k"));
        assert_eq!(world.heard(bob), ["a@2 other", "published 2"]);
    });
}

#[test]
fn who_wants_no_echo_hears_where_its_own_stands() {
    in_worlds(|world| {
        let (ann, bob) = (world.open(0, "ann"), world.open(0, "bob"));
        let quiet = Subscribe { echo: false, ..Subscribe::default() };
        world.ask(ann, Request::Subscribe(name("a"), quiet)).ask(bob, subscribe("a"));
        world.ask(ann, publish("a", "1"));
        world.ask(bob, Request::Publish(name("a"), Draft { echo: false, ..draft("2") }));
        world.ask(ann, Request::Publish(name("a"), Draft { volatile: true, ..draft("3") }));
        assert_eq!(
            world.heard(ann),
            ["subscribed at 0 with 0", "a@1 own", "published 1", "a@2 2", "published nowhere"]
        );
        assert_eq!(world.heard(bob), ["subscribed at 0 with 0", "a@1 1", "a@2 own", "published 2", "a@0 3"]);
    });
}

#[test]
fn after_the_reply_to_unsubscribe_nothing_follows() {
    in_worlds(|world| {
        let (ann, bob) = (world.open(0, "ann"), world.open(0, "bob"));
        world.ask(bob, subscribe("a"));
        world.room(bob, 1);
        world.ask(ann, publish("a", "1")).ask(ann, publish("a", "2"));
        world.begin(ann, publish("a", "3"));
        world.ask(bob, Request::Unsubscribe(name("a")));
        world.room(bob, 10);
        assert_eq!(world.heard(bob), ["subscribed at 0 with 0", "a@1 1", "unsubscribed"]);
        world.ask(bob, Request::Unsubscribe(name("a")));
        assert_eq!(world.heard(bob), ["failed NotSubscribed"]);
    });
}

#[test]
fn subscribing_and_leaving_in_one_breath_leaves_nothing_behind() {
    in_worlds(|world| {
        let (ann, bob) = (world.open(0, "ann"), world.open(world.hubs.len() - 1, "bob"));
        for _ in 0..3 {
            world.begin(bob, seen_as("a"));
            world.begin(bob, Request::Unsubscribe(name("a")));
        }
        world.begin(bob, seen_as("a"));
        world.run();
        world.ask(ann, Request::Presence(name("a"), 10)).ask(ann, publish("a", "1"));
        assert_eq!(world.heard(ann), ["1 present [bob]", "published 1"]);
        assert_eq!(world.heard(bob).iter().filter(|words| words.starts_with("a@")).count(), 1);
        world.close(bob);
        world.ask(ann, Request::Presence(name("a"), 10));
        assert_eq!(world.heard(ann), ["0 present []"]);
        world.pass(Duration::from_secs(600));
        assert_eq!(world.hubs.iter().map(|hub| hub.stats().channels).sum::<usize>(), 0, "idle channels are freed");
    });
}

#[test]
fn every_tag_is_answered_even_of_a_subscription_that_was_left_before_it_began() {
    let answers = |world: &mut World, load_it: bool| {
        let bob = world.open(world.hubs.len() - 1, "bob");
        world.begin(bob, subscribe("a"));
        world.begin(bob, Request::Unsubscribe(name("a")));
        world.run();
        if load_it {
            load(world, 9, &[]);
        }
        assert_eq!(world.heard(bob).len(), 2);
        world.begin(bob, subscribe("a"));
        world.close(bob);
    };
    in_worlds(|world| answers(world, false));
    in_durable_worlds(|world| answers(world, true));
}

#[test]
fn members_see_each_other_come_and_go() {
    in_worlds(|world| {
        let (ann, bob) = (world.open(0, "ann"), world.open(world.hubs.len() - 1, "bob"));
        world.ask(ann, seen_as("a"));
        world.pass(Duration::from_secs(1));
        world.ask(bob, seen_as("a"));
        assert_eq!(world.heard(ann), ["subscribed at 0 with 0 [ann]", "bob joined a"]);
        assert_eq!(world.heard(bob), ["subscribed at 0 with 0 [ann bob]"]);
        world.pass(Duration::from_secs(1));
        world.close(bob);
        assert_eq!(world.heard(ann), ["bob left a"]);
        for _ in 0..100 {
            let eve = world.open(0, "eve");
            world.ask(eve, seen_as("a"));
            world.close(eve);
        }
        world.pass(Duration::from_secs(1));
        assert!(world.heard(ann).len() <= 2, "coming and going in a flood is not told one by one");
    });
}

#[test]
fn a_slow_subscriber_is_ended_or_told_what_it_missed() {
    for (policy, expected) in [
        (SlowPolicy::Disconnect, vec!["a@1 x", "closing Slow"]),
        (SlowPolicy::Skip, vec!["a@1 x", "a lost 8 slow", "a@9 x", "a@10 x"]),
        (SlowPolicy::Latest, vec!["a@1 x", "a lost 8 slow", "a@9 x", "a@10 x"]),
    ] {
        let options = ChannelOptions::with(|options| options.slow = policy);
        let hub = HubOptions::with(|options| options.backlog_bytes = 3 * 130);
        in_worlds_with(&options, &hub, |world| {
            let (ann, bob) = (world.open(0, "ann"), world.open(0, "bob"));
            world.ask(bob, subscribe("a"));
            world.room(bob, 1);
            world.heard(bob);
            for _ in 1..=10 {
                world.ask(ann, publish("a", "x"));
            }
            if policy != SlowPolicy::Disconnect {
                world.room(bob, 100);
            }
            assert_eq!(world.heard(bob), expected, "{policy:?}");
            assert_eq!(world.heard(ann).len(), 10, "the others lose nothing");
        });
    }
}

#[test]
fn permission_is_checked_at_delivery_on_every_path() {
    in_worlds(|world| {
        let (ann, bob) = (world.open(0, "ann"), world.open(world.hubs.len() - 1, "bob"));
        world.ask(ann, publish("a", "1")).ask(bob, subscribe("a"));
        let here = epoch(world, "a");
        world.deny("bob", Action::Subscribe, "a");
        world.ask(ann, publish("a", "2"));
        assert_eq!(world.heard(bob), ["subscribed at 1 with 0", "a ended Forbidden"]);
        world.ask(bob, since("a", here, 0));
        assert_eq!(world.heard(bob), ["failed Forbidden"]);

        let eve = world.open(world.hubs.len() - 1, "eve");
        // Asked while it was allowed; answered when it is not any more, if it was on its way.
        let page = HistoryPage { since: None, limit: 10, reverse: false };
        for (request, action) in [
            (since("a", here, 0), Action::CatchUp),
            (seen_as("a"), Action::Presence),
            (Request::History(name("a"), page), Action::History),
            (Request::Presence(name("a"), 10), Action::Presence),
        ] {
            world.begin(eve, request);
            world.deny("eve", action, "a");
            world.run();
            let at_once = world.hubs.len() == 1 || world.hubs[eve.worker].home_of(&name("a")).0 == 2;
            let heard = world.heard(eve);
            assert!(at_once || heard == ["failed Forbidden"], "{action:?}: {heard:?}");
            for host in &mut world.hosts {
                host.rules.denied.clear();
            }
            world.ask(eve, Request::Unsubscribe(name("a")));
            world.heard(eve);
        }
    });
}

#[test]
fn what_waits_for_room_is_not_given_to_whom_it_is_denied_now() {
    in_worlds(|world| {
        let (ann, bob) = (world.open(0, "ann"), world.open(0, "bob"));
        world.ask(bob, subscribe("a")).ask(bob, subscribe("b"));
        world.room(bob, 0);
        world.ask(ann, publish("a", "1")).ask(ann, publish("b", "2"));
        world.heard(bob);
        world.deny("bob", Action::Subscribe, "a");
        world.room(bob, 10);
        assert_eq!(world.heard(bob), ["b@1 2", "a ended Forbidden"]);
    });
}

#[test]
fn offsets_stay_contiguous_when_the_clock_steps_back() {
    in_worlds(|world| {
        let ann = world.open(0, "ann");
        world.ask(ann, subscribe("a"));
        for step in 0..5 {
            world.now.unix_ms -= 3_600_000 * step;
            world.ask(ann, publish("a", "x"));
        }
        let heard = world.heard(ann);
        assert_eq!(heard.iter().filter(|words| words.starts_with("a@")).count(), 5);
        assert_eq!(heard.last().unwrap(), "published 5");
    });
}

#[test]
fn limits_are_answered_by_name() {
    let hub = HubOptions::with(|options| {
        options.subscriptions = 2;
        options.payload_bytes = 4;
        options.key_bytes = 4;
        options.keys = 2;
        options.channels = 3;
    });
    let options = ChannelOptions::with(|options| {
        options.session_rate = 5;
        options.max_members = 1;
    });
    in_worlds_with(&options, &hub, |world| {
        let (ann, bob) = (world.open(0, "ann"), world.open(0, "bob"));
        world.ask(ann, seen_as("a")).ask(ann, subscribe("a")).ask(ann, subscribe("b")).ask(ann, subscribe("c"));
        world.ask(bob, seen_as("a")).ask(bob, subscribe("x:nowhere"));
        assert_eq!(world.heard(bob), ["failed Limit", "failed BadChannel"]);
        assert_eq!(world.heard(ann)[1..], ["failed AlreadySubscribed", "subscribed at 0 with 0", "failed Limit"]);
        world.ask(ann, publish("a", "12345")).ask(ann, keyed("a", "x", "12345"));
        assert_eq!(world.heard(ann), ["failed TooBig", "failed TooBig"]);
        for key in ["1", "2", "3"] {
            world.ask(bob, keyed("a", "x", key));
        }
        assert_eq!(world.heard(bob), ["published 1", "published 2", "failed Limit"], "no key is forgotten too early");
        for _ in 0..3 {
            world.ask(bob, publish("a", "x"));
        }
        assert_eq!(world.heard(bob), ["published 3", "published 4", "failed RateLimited"]);
    });
}

#[test]
fn names_of_channels_that_nobody_is_in_do_not_fill_the_server() {
    let hub = HubOptions::with(|options| options.channels = 10);
    in_worlds_with(&ChannelOptions::default(), &hub, |world| {
        let (ann, eve) = (world.open(0, "ann"), world.open(0, "eve"));
        world.ask(ann, subscribe("kept")).ask(ann, publish("full", "1"));
        world.heard(ann);
        for number in 0..100 {
            let name = format!("x{number}");
            world.ask(eve, subscribe(&name)).ask(eve, Request::Unsubscribe(self::name(&name)));
        }
        let heard = world.heard(eve);
        assert!(heard.iter().all(|words| !words.starts_with("failed")), "{heard:?}");
        let page = HistoryPage { since: None, limit: 10, reverse: false };
        world.ask(ann, publish("kept", "2")).ask(ann, Request::History(name("full"), page));
        assert_eq!(world.heard(ann), ["kept@1 2", "published 1", "history at 1 [1] more false"]);
        for number in 0..40 {
            world.ask(eve, subscribe(&format!("y{number}")));
        }
        assert!(world.heard(eve).contains(&"failed Limit".to_owned()), "who stays in them reaches the bound");
    });
}

/// However many there are with something in them, whose time comes before that of those that can go.
#[test]
fn channels_in_use_do_not_hide_those_that_nobody_is_in() {
    let hub = HubOptions::with(|options| options.channels = 300);
    let options = ChannelOptions::with(|options| options.session_rate = 1_000);
    in_worlds_with(&options, &hub, |world| {
        let (ann, eve) = (world.open(0, "ann"), world.open(0, "eve"));
        for number in 0..250 {
            world.ask(ann, publish(&format!("full{number}"), "1"));
        }
        let heard = world.heard(ann);
        assert!(heard.iter().all(|words| words == "published 1"), "{heard:?}");
        for number in 0..1_000 {
            let name = format!("x{number}");
            world.ask(eve, subscribe(&name)).ask(eve, Request::Unsubscribe(self::name(&name)));
        }
        let heard = world.heard(eve);
        assert!(heard.iter().all(|words| !words.starts_with("failed")), "{:?}", heard.last());
        let page = HistoryPage { since: None, limit: 10, reverse: false };
        for number in 0..250 {
            world.ask(ann, Request::History(name(&format!("full{number}")), page));
        }
        assert!(world.heard(ann).iter().all(|words| words == "history at 1 [1] more false"), "none of them had to go");
    });
}

#[test]
fn without_history_there_are_no_positions() {
    let options = ChannelOptions::with(|options| options.history_size = 0);
    in_worlds_with(&options, &HubOptions::default(), |world| {
        let ann = world.open(0, "ann");
        let last = Subscribe { catch_up: CatchUp::Last(5), ..Subscribe::default() };
        let page = HistoryPage { since: None, limit: 10, reverse: false };
        world.ask(ann, since("a", Epoch(1), 1)).ask(ann, Request::Subscribe(name("a"), last));
        world.ask(ann, Request::History(name("a"), page)).ask(ann, subscribe("a")).ask(ann, publish("a", "x"));
        let refused = "failed BadRequest";
        assert_eq!(
            world.heard(ann),
            [refused, refused, refused, "subscribed at nowhere with 0", "a@0 x", "published nowhere"]
        );
    });
}

// --- durable channels ------------------------------------------------------------------------------------------------------

fn in_durable_worlds(test: impl Fn(&mut World)) {
    let options = ChannelOptions::with(|options| options.durable = true);
    in_worlds_with(&options, &HubOptions::default(), test);
}

/// What the store is asked to append next.
fn appended(world: &mut World) -> (usize, Arc<Publication>) {
    match world.asked_of_store() {
        Some((worker, StoreRequest::Append(append))) => (worker, append.publication),
        other => panic!("expected an append, not {other:?}"),
    }
}

fn load(world: &mut World, epoch: u128, items: &[Arc<Publication>]) {
    let (worker, request) = world.asked_of_store().unwrap();
    assert!(matches!(request, StoreRequest::Load(_)), "{request:?}");
    world.store_replies(worker, loaded("a", epoch, items));
}

#[test]
fn ok_means_stored_and_nobody_hears_of_it_before() {
    in_durable_worlds(|world| {
        let (ann, bob) = (world.open(0, "ann"), world.open(world.hubs.len() - 1, "bob"));
        world.ask(bob, subscribe("a")).ask(ann, publish("a", "1")).ask(ann, publish("a", "2"));
        assert_eq!((world.heard(ann).len(), world.heard(bob).len()), (0, 0), "it is not known yet what there is");
        load(world, 9, &[]);
        assert_eq!((world.heard(ann).len(), world.heard(bob)), (0, vec!["subscribed at 0 with 0".into()]));
        let (worker, first) = appended(world);
        let second = appended(world).1;
        world.store_replies(worker, StoreReply::Appended(name("a"), first.offset()));
        assert_eq!((world.heard(ann), world.heard(bob)), (vec!["published 1".into()], vec!["a@1 1".into()]));
        // Who reads now sees what is stored, and waits for what is on its way.
        world.ask(ann, since("a", Epoch(9), 0));
        assert_eq!(world.heard(ann).len(), 0);
        world.store_replies(worker, StoreReply::Appended(name("a"), second.offset()));
        assert_eq!(world.heard(ann), ["published 2", "subscribed at 2 with 2 recovered true", "a@1 1", "a@2 2"]);
    });
}

#[test]
fn a_key_that_comes_again_while_its_entry_is_on_its_way_waits_for_it() {
    in_durable_worlds(|world| {
        let ann = world.open(0, "ann");
        world.ask(ann, keyed("a", "1", "k")).ask(ann, keyed("a", "1", "k"));
        load(world, 9, &[]);
        let (worker, first) = appended(world);
        assert!(world.asked_of_store().is_none(), "once");
        assert_eq!(world.heard(ann).len(), 0);
        world.store_replies(worker, StoreReply::Appended(name("a"), first.offset()));
        assert_eq!(world.heard(ann), ["published 1", "published 1"]);
    });
}

#[test]
fn a_key_is_not_ok_before_its_entry_is_stored_though_a_volatile_one_had_it_first() {
    in_durable_worlds(|world| {
        let ann = world.open(0, "ann");
        world.ask(ann, subscribe("a"));
        load(world, 9, &[]);
        let volatile = Draft { volatile: true, key: Some("k".into()), ..draft("2") };
        world
            .ask(ann, publish("a", "1"))
            .ask(ann, Request::Publish(name("a"), volatile))
            .ask(ann, keyed("a", "3", "k"));
        let (worker, first) = appended(world);
        let (_, second) = appended(world);
        world.heard(ann);
        world.store_replies(worker, StoreReply::Appended(name("a"), first.offset()));
        assert_eq!(world.heard(ann), ["a@1 1", "published 1", "failed Unavailable"]);
        world.store_replies(worker, StoreReply::Appended(name("a"), second.offset()));
        assert_eq!(world.heard(ann), ["a@2 3", "published 2"]);
    });
}

#[test]
fn a_key_that_the_store_remembers_too_long_is_forgotten() {
    in_durable_worlds(|world| {
        let ann = world.open(0, "ann");
        world.ask(ann, keyed("a", "1", "k"));
        let (worker, _) = world.asked_of_store().unwrap();
        let at_ms = world.now.unix_ms - 300_000;
        let keys = vec![("k".into(), 1, at_ms)];
        let there = Loaded { epoch: Epoch(9), top: 1, items: Vec::new(), keys };
        world.store_replies(worker, StoreReply::Loaded(name("a"), there));
        assert_eq!(appended(world).1.offset(), 2);
    });
}

#[test]
fn what_waits_for_the_store_is_bounded_in_bytes() {
    let options = ChannelOptions::with(|options| options.durable = true);
    let hub = HubOptions::with(|options| options.pending_bytes = 1_000);
    in_worlds_with(&options, &hub, |world| {
        let ann = world.open(0, "ann");
        let long = "x".repeat(400);
        for _ in 0..4 {
            world.ask(ann, publish("a", &long));
        }
        assert_eq!(world.heard(ann), ["failed Unavailable"; 2], "while it is loaded");
        load(world, 9, &[]);
        let (worker, first) = appended(world);
        world.ask(ann, publish("a", &long));
        assert_eq!(world.heard(ann), ["failed Unavailable"], "while it is stored");
        world.store_replies(worker, StoreReply::Appended(name("a"), first.offset()));
        world.ask(ann, publish("a", &long));
        assert_eq!(world.heard(ann), ["published 1"], "and there is room again");
    });
}

#[test]
fn when_the_store_fails_the_outcome_is_unknown_and_what_it_kept_is_made_good() {
    in_durable_worlds(|world| {
        let (ann, bob) = (world.open(0, "ann"), world.open(world.hubs.len() - 1, "bob"));
        world.ask(bob, subscribe("a"));
        load(world, 9, &[]);
        world.ask(ann, publish("a", "1")).ask(ann, keyed("a", "2", "k"));
        let (worker, first) = appended(world);
        let _second = appended(world);
        world.heard(bob);
        world.store_replies(worker, StoreReply::NotAppended(name("a")));
        world.store_replies(worker, StoreReply::NotAppended(name("a")));
        assert_eq!(world.heard(ann), ["failed Unavailable", "failed Unavailable"]);
        // It had kept the first one after all.
        load(world, 9, &[first]);
        assert_eq!(world.heard(bob), ["a@1 1"]);
        world.ask(ann, keyed("a", "2", "k"));
        let (worker, again) = appended(world);
        world.store_replies(worker, StoreReply::Appended(name("a"), again.offset()));
        assert_eq!((world.heard(ann), world.heard(bob)), (vec!["published 2".into()], vec!["a@2 2".into()]));
    });
}

#[test]
fn a_store_that_lost_something_is_told_of() {
    in_durable_worlds(|world| {
        let (ann, bob) = (world.open(0, "ann"), world.open(0, "bob"));
        world.ask(bob, subscribe("a"));
        load(world, 9, &[]);
        world.ask(ann, publish("a", "1"));
        let (worker, _) = appended(world);
        world.heard(bob);
        world.store_replies(worker, StoreReply::NotAppended(name("a")));
        load(world, 10, &[]);
        assert_eq!(world.heard(bob), ["a lost 0 Store"]);
    });
}

#[test]
fn a_store_that_cannot_be_read_is_asked_again() {
    in_durable_worlds(|world| {
        let ann = world.open(0, "ann");
        world.ask(ann, subscribe("a")).ask(ann, publish("a", "1"));
        let (worker, _) = world.asked_of_store().unwrap();
        world.store_replies(worker, StoreReply::NotLoaded(name("a")));
        assert_eq!(world.heard(ann), ["failed Unavailable", "failed Unavailable"]);
        world.ask(ann, subscribe("a"));
        load(world, 9, &[]);
        assert_eq!(world.heard(ann), ["subscribed at 0 with 0"]);
    });
}

#[test]
fn a_durable_channel_that_nobody_uses_is_left_to_the_store() {
    in_durable_worlds(|world| {
        let ann = world.open(0, "ann");
        world.ask(ann, subscribe("a"));
        load(world, 9, &[]);
        world.pass(Duration::from_secs(3600));
        assert_eq!(world.hubs.iter().map(|hub| hub.stats().channels).sum::<usize>(), 1);
        world.close(ann);
        world.pass(Duration::from_secs(61));
        assert_eq!(world.hubs.iter().map(|hub| hub.stats().channels).sum::<usize>(), 0);
    });
}

#[test]
fn what_a_store_says_is_believed_only_where_it_fits() {
    in_durable_worlds(|world| {
        let ann = world.open(0, "ann");
        world.ask(ann, subscribe("a"));
        load(world, 9, &[]);
        world.ask(ann, publish("a", "1")).ask(ann, publish("a", "2")).ask(ann, publish("a", "3"));
        let (worker, one) = appended(world);
        let _two = appended(world);
        let (_, three) = appended(world);
        world.store_replies(worker, StoreReply::Appended(name("a"), 77));
        world.store_replies(worker, StoreReply::NotAppended(name("a")));
        world.heard(ann);
        load(world, 9, &[one, three]);
        assert_eq!(world.heard(ann), ["a lost 3 Store"], "a hole is no history");
    });
}
