//! Names of conversations: whose they are, how many there may be, who guesses, and when they are due.
use std::time::{Duration, Instant};

use sockeye_pipe::{Binding, ConversationId, Conversations, Found, Limits, Missing, OpenError};

fn binding(byte: u8) -> Binding {
    Binding::new([byte; 32])
}

fn conversations(change: impl FnOnce(&mut Limits)) -> Conversations<&'static str, u32> {
    let mut limits = Limits::default();
    change(&mut limits);
    Conversations::new(limits)
}

#[test]
fn an_id_is_written_in_one_way() {
    let id = ConversationId::from_random([0xab; 16]);
    assert_eq!(id.to_string(), "ab".repeat(16));
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in ["", "ab", &"AB".repeat(16), &"ab".repeat(17), &format!("+{}", "a".repeat(31)), &"é".repeat(16)] {
        assert!(text.parse::<ConversationId>().is_err(), "{text}");
    }
}

#[test]
fn secrets_are_not_shown() {
    assert_eq!(format!("{:?}", ConversationId::from_random([0xab; 16])), "ConversationId(…)");
    assert_eq!(format!("{:?}", binding(1)), "Binding(…)");
}

/// Attack H1.
#[test]
fn a_conversation_is_found_by_those_it_is_bound_to() {
    let now = Instant::now();
    let mut all = conversations(|_| ());
    assert_eq!(all.open("a", binding(1), 7).copied(), Ok(7));
    assert_eq!(all.find(now, &"a", &binding(1)).copied(), Ok(7));
    assert_eq!(all.find(now, &"a", &binding(2)), Err(Missing::Theirs));
    assert_eq!(all.find(now, &"b", &binding(1)), Err(Missing::Unknown));
    assert!(matches!(all.look(&"a", &binding(1)), Found::Yours(7)));
    assert!(matches!(all.look(&"a", &binding(2)), Found::Theirs));
    assert!(matches!(all.look(&"b", &binding(2)), Found::Nothing));
    assert_eq!(all.get(&"a").copied(), Some(7));
}

#[test]
fn a_name_is_given_once_until_it_is_free_again() {
    let mut all = conversations(|_| ());
    all.open("a", binding(1), 1).unwrap();
    assert_eq!(all.open("a", binding(1), 2), Err(OpenError::Taken));
    assert_eq!(all.remove(&"a"), Some(1));
    assert_eq!(all.remove(&"a"), None);
    assert!(all.open("a", binding(2), 3).is_ok());
    assert_eq!(all.len(), 1);
}

#[test]
fn there_are_so_many_in_all_and_of_each_binding() {
    let mut all = conversations(|limits| (limits.max_open, limits.max_open_of_binding) = (3, 2));
    all.open("a", binding(1), 1).unwrap();
    all.open("b", binding(1), 2).unwrap();
    assert_eq!(all.open("c", binding(1), 3), Err(OpenError::TooManyOfBinding));
    all.open("c", binding(2), 3).unwrap();
    assert_eq!(all.open("d", binding(3), 4), Err(OpenError::TooMany));
    all.remove(&"a");
    all.open("d", binding(1), 4).unwrap();
    for name in ["b", "c", "d"] {
        all.remove(&name);
    }
    assert!(all.is_empty());
    assert!(format!("{all:?}").contains("of_binding: {}"), "who has gone is not remembered");
    all.open("a", binding(1), 1).unwrap();
    all.open("b", binding(1), 2).unwrap();
    assert_eq!(all.open("c", binding(1), 3), Err(OpenError::TooManyOfBinding), "the count is right after all that");
}

#[test]
fn those_of_one_count_are_counted_together_and_are_not_the_same() {
    let now = Instant::now();
    let mut all = conversations(|limits| (limits.max_open_of_binding, limits.max_guesses) = (1, 2));
    let [first, second] = [1, 2].map(|byte| binding(byte).counted_as(3));
    all.open("a", first, 1).unwrap();
    assert_eq!(all.open("b", second, 2), Err(OpenError::TooManyOfBinding));
    assert_eq!(all.find(now, &"a", &second), Err(Missing::Theirs));
    assert_eq!(all.find(now, &"b", &first), Err(Missing::Unknown));
    assert_eq!(all.find(now, &"a", &second), Err(Missing::TooManyGuesses));
    all.remove(&"a");
    assert!(all.open("b", second, 2).is_ok());
}

#[test]
fn who_guesses_too_often_is_not_heard_for_a_while() {
    let now = Instant::now();
    let mut all = conversations(|limits| limits.max_guesses = 3);
    all.open("a", binding(1), 7).unwrap();
    for name in ["b", "c", "d"] {
        assert_eq!(all.find(now, &name, &binding(1)), Err(Missing::Unknown));
    }
    assert_eq!(all.find(now, &"a", &binding(1)), Err(Missing::TooManyGuesses));
    assert_eq!(all.find(now, &"a", &binding(2)), Err(Missing::Theirs), "others are heard");
    let later = now + Duration::from_secs(60);
    assert_eq!(all.find(later, &"a", &binding(1)).copied(), Ok(7));
}

/// Names that are secret are not guessed: who has one is let in, whatever others of its binding have tried.
#[test]
fn who_knows_a_secret_name_is_heard_whoever_guesses() {
    let now = Instant::now();
    let mut all = conversations(|limits| (limits.max_guesses, limits.stops_guessers) = (1, false));
    all.open("a", binding(1), 7).unwrap();
    assert_eq!(all.find(now, &"b", &binding(1)), Err(Missing::Unknown));
    assert_eq!(all.find(now, &"b", &binding(1)), Err(Missing::TooManyGuesses));
    assert_eq!(all.find(now, &"a", &binding(1)).copied(), Ok(7));
}

#[test]
fn conversations_are_due_one_after_the_other() {
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let mut all = conversations(|_| ());
    for name in ["a", "b", "c"] {
        all.open(name, binding(1), 0).unwrap();
    }
    all.schedule(&"a", Some(at(3)));
    all.schedule(&"b", Some(at(1)));
    all.schedule(&"c", Some(at(1)));
    all.schedule(&"a", Some(at(2)));
    all.schedule(&"x", Some(at(0)));
    assert_eq!(all.deadline(), Some(at(1)));
    assert_eq!(all.next_due(now), None);
    assert_eq!(all.next_due(at(1)), Some("b"));
    assert_eq!(all.next_due(at(1)), Some("c"));
    assert_eq!(all.next_due(at(1)), None);
    all.schedule(&"b", Some(at(4)));
    all.remove(&"a");
    assert_eq!(all.next_due(at(9)), Some("b"));
    assert_eq!(all.deadline(), None);
}
