//! RFC 7692 section 7.1: which offers a server takes and what it answers; what a client offers and which answers it takes.
#![cfg(feature = "deflate")]

mod common;
#[path = "common/deflate.rs"]
mod deflate;

use deflate::{Agreed, accept, agree, answer, both, establish, offers, takeover};
use sockeye_proto::{Deflate, DeflateBudget};

const NONE: &str = "server_no_context_takeover; client_no_context_takeover";

fn bits(server: u8, client: u8) -> Deflate {
    Deflate::default().server_window_bits(server).unwrap().client_window_bits(client).unwrap()
}

#[test]
fn what_the_default_server_answers() {
    let policy = Deflate::default();
    for (offer, expected) in [
        ("", NONE),
        ("; client_max_window_bits", NONE),
        ("; client_max_window_bits=15", NONE),
        ("; server_no_context_takeover", NONE),
        ("; client_no_context_takeover", NONE),
        ("; client_no_context_takeover; server_no_context_takeover", NONE),
        ("; server_max_window_bits=15", &format!("{NONE}; server_max_window_bits=15")),
        ("; server_max_window_bits=10", &format!("{NONE}; server_max_window_bits=10")),
        ("; server_max_window_bits=\"9\"", &format!("{NONE}; server_max_window_bits=9")),
        ("; client_max_window_bits=10", &format!("{NONE}; client_max_window_bits=10")),
        // It need not be told what it said by itself.
        ("; client_max_window_bits=8", NONE),
    ] {
        assert_eq!(answer(&policy, &format!("permessage-deflate{offer}")).as_deref(), Some(expected), "{offer}");
    }
}

#[test]
fn a_server_with_smaller_windows_says_so_and_asks_only_who_can_be_told() {
    let policy = bits(12, 11);
    for (offer, expected) in [
        ("", "server_max_window_bits=12"),
        ("; server_max_window_bits=15", "server_max_window_bits=12"),
        ("; server_max_window_bits=10", "server_max_window_bits=10"),
        ("; client_max_window_bits", "server_max_window_bits=12; client_max_window_bits=11"),
        ("; client_max_window_bits=10", "server_max_window_bits=12; client_max_window_bits=10"),
        ("; client_max_window_bits=14", "server_max_window_bits=12; client_max_window_bits=11"),
    ] {
        let got = answer(&policy, &format!("permessage-deflate{offer}"));
        assert_eq!(got, Some(format!("{NONE}; {expected}")), "{offer}");
    }
}

#[test]
fn takeover_is_what_both_want() {
    for (offer, expected) in [
        ("", ""),
        ("; server_no_context_takeover", "server_no_context_takeover"),
        ("; client_no_context_takeover", "client_no_context_takeover"),
    ] {
        assert_eq!(answer(&takeover(), &format!("permessage-deflate{offer}")).as_deref(), Some(expected));
    }
    let one = Deflate::default().server_takeover(true);
    assert_eq!(answer(&one, "permessage-deflate").as_deref(), Some("client_no_context_takeover"));
    let accepted = accept(&one, "permessage-deflate").deflate.unwrap();
    assert!(accepted.server_takeover() && !accepted.client_takeover());
}

/// D8, and D3's first half: what is not understood is declined, and the connection opens without it.
#[test]
fn d8_a_server_declines_bad_parameters() {
    let mut bad = vec![
        "server_no_context_takeover=1".to_owned(),
        "client_no_context_takeover=true".to_owned(),
        "server_no_context_takeover; server_no_context_takeover".to_owned(),
        "client_no_context_takeover; client_no_context_takeover".to_owned(),
        "server_max_window_bits".to_owned(),
        "server_max_window_bits=10; server_max_window_bits=10".to_owned(),
        "client_max_window_bits; client_max_window_bits".to_owned(),
        "client_max_window_bits; client_max_window_bits=10".to_owned(),
        "unknown".to_owned(),
        "unknown=10".to_owned(),
        "Server_No_Context_Takeover".to_owned(),
        // There is no compressor for so small a window.
        "server_max_window_bits=8".to_owned(),
    ];
    for name in ["server_max_window_bits", "client_max_window_bits"] {
        for value in ["0", "1", "7", "16", "08", "010", "256", "99999999999999999999", "abc", "-9", "+9", "9.0", "0x9"]
        {
            bad.push(format!("{name}={value}"));
            bad.push(format!("{name}=\"{value}\""));
        }
    }
    for params in &bad {
        assert_eq!(answer(&takeover(), &format!("permessage-deflate; {params}")), None, "{params}");
    }
}

/// D8: an empty value is against the grammar of RFC 6455 section 9.1, so the whole request is refused.
#[test]
fn d8_an_empty_value_is_no_header() {
    use sockeye_proto::handshake::ExtensionOffer;
    for value in ["permessage-deflate; server_max_window_bits=", "permessage-deflate; server_max_window_bits=\"\""] {
        assert!(ExtensionOffer::parse(value).is_err());
    }
}

#[test]
fn the_first_offer_that_can_be_met_is_taken() {
    let policy = Deflate::default();
    for (offers, expected) in [
        ("x-webkit-deflate-frame, permessage-deflate", Some(NONE)),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate; unknown, permessage-deflate", Some(NONE)),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=99", None),
        ("x-webkit-deflate-frame", None),
        ("permessage-bzip2, permessage-foo; server_no_context_takeover", None),
    ] {
        assert_eq!(answer(&policy, offers).as_deref(), expected, "{offers}");
    }
    let preferred = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
    assert!(answer(&policy, preferred).unwrap().ends_with("server_max_window_bits=10"));
}

#[test]
fn what_a_client_offers() {
    let bare = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(offers(&Deflate::default()), format!("{bare}; client_max_window_bits"));
    // Some servers ask for no takeover only of who said that it can do without.
    assert_eq!(
        offers(&takeover()),
        "permessage-deflate; client_max_window_bits, \
         permessage-deflate; client_no_context_takeover; client_max_window_bits"
    );
    // A server that knows no limit for itself has a second offer to take.
    assert_eq!(
        offers(&bits(10, 12)),
        format!("{bare}; server_max_window_bits=10; client_max_window_bits=12, {bare}; client_max_window_bits=12")
    );
}

/// The lines a client of this policy takes, and what they mean: server bits and takeover, client bits and takeover.
#[test]
fn which_answers_a_client_takes() {
    for (policy, line, expected) in [
        (Deflate::default(), "server_no_context_takeover", (15, false, 15, false)),
        (Deflate::default(), NONE, (15, false, 15, false)),
        (Deflate::default(), "server_no_context_takeover; server_max_window_bits=9", (9, false, 15, false)),
        (Deflate::default(), "server_no_context_takeover; client_max_window_bits=9", (15, false, 9, false)),
        (takeover(), "", (15, true, 15, true)),
        (takeover(), "server_no_context_takeover", (15, false, 15, true)),
        (takeover(), "client_no_context_takeover", (15, true, 15, false)),
        (takeover(), "client_max_window_bits=8; server_max_window_bits=8", (8, true, 8, true)),
        (takeover(), "client_max_window_bits=\"12\"", (15, true, 12, true)),
        (bits(10, 12), "server_no_context_takeover; server_max_window_bits=9", (9, false, 12, false)),
        (bits(10, 12), "server_no_context_takeover; client_max_window_bits=12", (15, false, 12, false)),
        (bits(10, 12), "server_no_context_takeover", (15, false, 12, false)),
    ] {
        let answer = format!("permessage-deflate; {line}");
        let established = establish(Some(&policy), &[answer.trim_end_matches("; ")]).unwrap();
        let agreed = established.deflate.unwrap();
        let got = (
            agreed.server_window_bits(),
            agreed.server_takeover(),
            agreed.client_window_bits(),
            agreed.client_takeover(),
        );
        assert_eq!(got, expected, "{line}");
    }
    assert!(establish(Some(&takeover()), &[]).unwrap().deflate.is_none(), "a server may decline");
}

/// D8 and D9 at the client: the connection fails.
#[test]
fn d9_answers_that_were_not_offered_fail() {
    let no_hint = "client_max_window_bits=13";
    let mut bad = vec![
        (takeover(), "permessage-deflate; unknown".to_owned()),
        (takeover(), "permessage-deflate; client_max_window_bits".to_owned()),
        (takeover(), "permessage-deflate; server_max_window_bits".to_owned()),
        (takeover(), "permessage-deflate; server_no_context_takeover=1".to_owned()),
        (takeover(), "permessage-deflate; server_no_context_takeover; server_no_context_takeover".to_owned()),
        (takeover(), "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9".to_owned()),
        (takeover(), "permessage-deflate, permessage-deflate".to_owned()),
        (takeover(), "permessage-deflate, x-other".to_owned()),
        (takeover(), "x-webkit-deflate-frame".to_owned()),
        (takeover(), "permessage-deflate;".to_owned()),
        (takeover(), "permessage-deflate; server_max_window_bits=\"".to_owned()),
        (takeover(), format!("permessage-deflate{}", "; x".repeat(100))),
        // We asked for no takeover, so the answer has to say so.
        (Deflate::default(), "permessage-deflate".to_owned()),
        (Deflate::default(), "permessage-deflate; client_no_context_takeover".to_owned()),
        // Larger than the hint we gave.
        (bits(15, 12), format!("permessage-deflate; server_no_context_takeover; {no_hint}")),
    ];
    for name in ["server_max_window_bits", "client_max_window_bits"] {
        for value in ["7", "16", "08", "abc", "\"\"", ""] {
            bad.push((takeover(), format!("permessage-deflate; {name}={value}")));
        }
    }
    for (policy, line) in &bad {
        let error = establish(Some(policy), &[line]).expect_err(line);
        assert_eq!(error.code(), "extension_not_offered", "{line}");
        assert!(error.is_protocol());
    }
    let twice = establish(Some(&takeover()), &["permessage-deflate", "permessage-deflate"]).unwrap_err();
    assert_eq!(twice.code(), "extension_not_offered");
    let unasked = establish(None, &["permessage-deflate"]).unwrap_err();
    assert_eq!(unasked.code(), "extension_not_offered");
}

#[test]
fn both_ends_understand_the_same() {
    for server in [Deflate::default(), takeover(), bits(9, 10), takeover().server_window_bits(11).unwrap()] {
        for client in [Deflate::default(), takeover(), bits(12, 9), takeover().client_window_bits(13).unwrap()] {
            let Agreed { server, client } = agree(&server, &client);
            assert_eq!(server.server_window_bits(), client.server_window_bits());
            assert_eq!(server.server_takeover(), client.server_takeover());
            assert!(server.client_window_bits() >= client.client_window_bits());
            assert!(server.client_takeover() || !client.client_takeover());
        }
    }
}

/// D13's second half: over the budget a server agrees to no takeover, and a client offers none.
#[test]
fn d13_a_spent_budget_downgrades_and_a_closed_connection_gives_back() {
    let window = 32 * 1024;
    let budget = DeflateBudget::new(2 * 2 * window);
    let policy = takeover().budget(budget.clone());
    let first = accept(&policy, "permessage-deflate");
    let second = accept(&policy, "permessage-deflate; client_no_context_takeover");
    assert_eq!(budget.used(), 3 * window);
    // One window is left, and this would take two.
    assert_eq!(answer(&policy, "permessage-deflate").as_deref(), Some(NONE));
    assert_eq!(budget.used(), 3 * window);
    drop((first, second));
    assert_eq!(budget.used(), 0);

    let budget = DeflateBudget::new(window);
    let policy = takeover().budget(budget.clone());
    assert!(offers(&policy).contains("server_no_context_takeover; client_no_context_takeover"));
    let one = policy.clone().server_takeover(false);
    assert!(offers(&one).starts_with("permessage-deflate; server_no_context_takeover; client_max_window_bits,"));
    // A server that declines takeover takes nothing of the client's budget.
    let established = establish(Some(&one), &[&format!("permessage-deflate; {NONE}")]).unwrap();
    assert_eq!(budget.used(), 0);
    drop(established);
    let established = establish(Some(&one), &["permessage-deflate; server_no_context_takeover"]).unwrap();
    assert_eq!(budget.used(), window);
    let connection = both(&Deflate::default()).end(sockeye_proto::Role::Client, <_>::default()).connection;
    let connection = connection.with_deflate(established.deflate.as_ref().unwrap());
    drop(established);
    assert_eq!(budget.used(), window, "the connection holds it");
    drop(connection);
    assert_eq!(budget.used(), 0);
}

#[test]
fn numbers_outside_their_ranges_are_errors() {
    for bits in [0, 7, 8, 16, 255] {
        assert!(Deflate::default().server_window_bits(bits).is_err());
        assert!(Deflate::default().client_window_bits(bits).is_err());
    }
    for level in [0, 10, 255] {
        assert!(Deflate::default().level(level).is_err());
        assert!(Deflate::default().mem_level(level).is_err());
    }
    assert_eq!(Deflate::default().level(10).unwrap_err().to_string(), "the level must be from 1 to 9");
}
