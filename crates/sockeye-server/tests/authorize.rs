//! Who may do what: each cell of `authorize.txt`, on every path.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use sockeye_server::{
    auth::{Action, Denied, Door, KeyId, Path, Principal, Request, Rules, ServerAction, UserId},
    config::Sources,
};

const TABLE: &str = include_str!("authorize.txt");
const ACTIONS: [(&str, Action); 6] = [
    ("subscribe", Action::Subscribe),
    ("catch_up", Action::CatchUp),
    ("publish", Action::Publish),
    ("join", Action::Join),
    ("presence", Action::Presence),
    ("history", Action::History),
];
const SERVER_ACTIONS: [(&str, ServerAction); 3] =
    [("call", ServerAction::Call), ("disconnect", ServerAction::Disconnect), ("list", ServerAction::ListChannels)];

/// One cell: where the server listens, the channel, the options of its namespace, the action, who asks, what is answered.
#[derive(Debug)]
struct Cell<'a> {
    listen: &'a str,
    channel: String,
    options: &'a str,
    action: &'a str,
    who: &'a str,
    answer: &'a str,
}

fn cells() -> Vec<Cell<'static>> {
    let (mut listen, mut kind, mut columns, mut cells) = ("", ("", ""), Vec::new(), Vec::new());
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words = line.split_whitespace().collect::<Vec<_>>();
        if let Some(address) = line.strip_prefix("@ ") {
            listen = address;
        } else if !line.starts_with(' ') {
            kind = line.split_once(' ').unwrap();
        } else if words[0] == "A" {
            columns = words;
        } else {
            for (who, answer) in columns.iter().zip(&words[1..]) {
                let channel = kind.0.replace("\\u0020", " ").replace("\\u200b", "\u{200b}");
                cells.push(Cell { listen, channel, options: kind.1, action: words[0], who, answer });
            }
        }
    }
    cells
}

/// The options are for the namespace of the channel, where there is one for which they could be; else for one that is there.
fn rules(cell: &Cell<'_>) -> Rules {
    let namespace = if cell.channel.contains(':') || cell.channel == "-" { "chat" } else { "default" };
    let text = format!(
        "server.listen = '{}'\norigins.allowed = ['self']\n[namespaces]\n{namespace} = {}\n",
        cell.listen, cell.options
    );
    let loaded = Sources::new().text("s.toml", &text).load();
    Rules::new(&loaded.unwrap_or_else(|mistakes| panic!("{text}{mistakes}")).config)
}

fn principal(who: &str) -> Principal {
    match who {
        "A" => Principal::Anonymous,
        "U" => Principal::User(UserId::new("ann").unwrap()),
        "K" => Principal::ApiKey(KeyId(0)),
        "S" => Principal::Server,
        other => panic!("who is {other}?"),
    }
}

fn ask(door: &Door, cell: &Cell<'_>) -> Result<(), Denied> {
    let who = principal(cell.who);
    if cell.channel == "-" {
        let (_, action) = SERVER_ACTIONS.iter().find(|(name, _)| *name == cell.action).unwrap();
        return door.authorize(&who, Request::Server(*action));
    }
    let (_, action) = ACTIONS.iter().find(|(name, _)| *name == cell.action).unwrap();
    let channel = Rules::channel(&cell.channel)?;
    door.authorize(&who, Request::Channel(*action, &channel))
}

fn letter(answer: Result<(), Denied>) -> &'static str {
    match answer.map_err(|denied| denied.code.as_str()) {
        Ok(()) => "+",
        Err("unauthorized") => "u",
        Err("forbidden") => "f",
        Err("bad_channel") => "b",
        Err("bad_request") => "r",
        Err(other) => panic!("what is {other}?"),
    }
}

/// All doors of a server lead to the same rules, so no path decides anything else.
#[test]
fn every_cell_is_as_written_on_every_path() {
    let cells = cells();
    let mut wrong = Vec::new();
    for cell in &cells {
        let rules = rules(cell);
        for path in Path::ALL {
            let answer = letter(ask(&rules.door(path), cell));
            if answer != cell.answer {
                wrong.push(format!("{path:?}: {answer} for {cell:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cells.len() >= 200, "{}", cells.len());
}

/// A table with holes would prove nothing about them.
#[test]
fn the_table_is_whole() {
    type Cell<'a> = (&'a str, String, &'a str);
    let mut kinds: BTreeMap<Cell<'_>, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for cell in cells() {
        let is_new =
            kinds.entry((cell.listen, cell.channel, cell.options)).or_default().insert((cell.action, cell.who));
        assert!(is_new, "{} {} twice", cell.action, cell.who);
    }
    for ((_, channel, _), found) in &kinds {
        let actions = if channel == "-" { SERVER_ACTIONS.len() } else { ACTIONS.len() };
        assert_eq!(found.len(), 4 * actions, "{channel}");
    }
    let answers = cells().iter().map(|cell| cell.answer).collect::<BTreeSet<_>>();
    assert_eq!(answers, BTreeSet::from(["+", "b", "f", "r", "u"]));
}

/// What the anonymous may, whoever says who they are may too; what a key may, the server itself may too.
#[test]
fn nobody_may_less_for_having_said_who_they_are() {
    for row in cells().chunks(4) {
        let [anonymous, user, key, server] = row else { panic!("a row of {}", row.len()) };
        for (less, more) in [(anonymous, user), (key, server)] {
            assert!(less.answer != "+" || more.answer == "+", "{less:?} {more:?}");
        }
    }
}
