//! Event streams, read back by a parser as the HTML standard has it (section 9.2.6): nothing that is said forges an
//! event.
use bytestring::ByteString;
use proptest::prelude::*;
use sockeye_pipe::{
    Batch, Farewell, Frame, Framing,
    sse::{BadLastEventId, Event, Events, MAX_CHANNELS, Position, Positions, write_comment, write_retry},
};

#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    event: String,
    data: String,
    /// Of this event or an earlier one.
    id: String,
}

/// The standard's steps, line by line.
fn parse(stream: &str) -> (Vec<Heard>, Option<u64>) {
    let (mut heard, mut retry) = (Vec::new(), None);
    let (mut data, mut event, mut id) = (String::new(), String::new(), String::new());
    let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream).replace("\r\n", "\n").replace('\r', "\n");
    for line in stream.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        if line.is_empty() {
            if let Some(text) = data.strip_suffix('\n') {
                let event = if event.is_empty() { "message".to_owned() } else { event.clone() };
                heard.push(Heard { event, data: text.to_owned(), id: id.clone() });
            }
            data.clear();
            event.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event),
            "data" => data.extend([value, "\n"]),
            "id" if !value.contains('\0') => value.clone_into(&mut id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => retry = value.parse().ok(),
            _ => {}
        }
    }
    (heard, retry)
}

fn written(event: Event<'_>) -> String {
    let mut out = String::new();
    event.write(&mut out);
    out
}

fn message(data: &str) -> Heard {
    Heard { event: "message".into(), data: data.into(), id: String::new() }
}

#[test]
fn an_event_with_all_it_can_have() {
    let event = Event { id: Some("1f:45,2a:7"), event: Some("typing"), data: "a\nb" };
    assert_eq!(written(event), "event: typing\nid: 1f:45,2a:7\ndata: a\ndata: b\n\n");
}

#[test]
fn data_of_any_lines_is_one_event() {
    for (data, expected) in [
        ("", ""),
        ("a", "a"),
        (" a", " a"),
        ("a\nb", "a\nb"),
        ("a\rb", "a\nb"),
        ("a\r\nb", "a\nb"),
        ("a\n\nb", "a\n\nb"),
        ("a\r\r\n\nb", "a\n\n\nb"),
        ("\n", "\n"),
        ("a\n", "a\n"),
        ("\u{feff}a\0b", "\u{feff}a\0b"),
        ("x\ndata: y\nevent: z\n\nid: 1", "x\ndata: y\nevent: z\n\nid: 1"),
    ] {
        let (heard, _) = parse(&written(Event { data, ..Event::default() }));
        assert_eq!(heard, [message(expected)], "{data:?}");
    }
}

#[test]
fn comments_and_retry_are_no_events() {
    let mut out = String::new();
    write_retry(&mut out, 1500);
    write_comment(&mut out, "still\nhere\r\ndata: x");
    assert_eq!(parse(&out), (vec![], Some(1500)));
}

#[test]
fn frames_of_a_stream_that_is_only_listened_to() {
    let events = |frame: &Frame| String::from_utf8(Events.encode(frame).to_vec()).unwrap();
    assert_eq!(parse(&events(&Frame::Open)).0, []);
    assert_eq!(parse(&events(&Frame::Heartbeat)).0, []);
    let messages = ["data: a\n\n", "data: b\n\n"].map(ByteString::from_static).to_vec();
    let heard = parse(&events(&Frame::Messages(Batch { before: 0, messages }))).0;
    assert_eq!(heard, [message("a"), message("b")]);
    let close = parse(&events(&Frame::Close(Farewell::new(4001, "\n\"")))).0;
    let data = "{\"code\":4001,\"reason\":\"\\n\\\"\"}".into();
    assert_eq!(close, [Heard { event: "close".into(), data, id: String::new() }]);
}

#[test]
fn positions_are_those_of_the_channels_of_the_url() {
    let mut positions = Positions::new(3);
    assert_eq!(positions.to_string(), ",,");
    positions.set(0, Position { epoch: 0x1f, offset: 45 });
    positions.set(2, Position { epoch: u128::MAX, offset: u64::MAX });
    positions.set(3, Position { epoch: 1, offset: 1 });
    let text = positions.to_string();
    assert_eq!(text, format!("1f:45,,{:x}:18446744073709551615", u128::MAX));
    assert_eq!(Positions::parse(&text, 3), Ok(positions.clone()));
    assert_eq!(positions.get(0), Some(Position { epoch: 0x1f, offset: 45 }));
    assert_eq!(positions.get(1), None);
    assert_eq!(positions.get(3), None);
}

#[test]
fn the_longest_positions_can_be_read_back() {
    let mut positions = Positions::new(MAX_CHANNELS);
    for channel in 0..MAX_CHANNELS {
        positions.set(channel, Position { epoch: u128::MAX, offset: u64::MAX });
    }
    assert_eq!(Positions::parse(&positions.to_string(), MAX_CHANNELS), Ok(positions));
}

/// Attack H9: whoever made it up is told that something may be missing; it is never taken for a position.
#[test]
fn a_last_event_id_that_was_not_made_here_is_none() {
    let long = "1:1,".repeat(1 << 18);
    let wide = format!("{}:1", "0".repeat(5000));
    for (text, channels) in [
        ("1:1", 2),
        ("1:1,1:1", 1),
        ("1", 1),
        ("1:", 1),
        ("x:1", 1),
        ("+1:1", 1),
        ("1:+1", 1),
        ("1:-1", 1),
        ("1:1:1", 1),
        (" 1:1", 1),
        ("1:18446744073709551616", 1),
        ("100000000000000000000000000000000:1", 1),
        ("", 0),
        (&long, MAX_CHANNELS),
        (&long, 1 << 18),
        (&wide, 1),
        ("é", 1),
    ] {
        assert_eq!(Positions::parse(text, channels), Err(BadLastEventId), "{channels} channels");
    }
    assert_eq!(Positions::parse("", 1), Ok(Positions::new(1)));
}

proptest! {
    /// Attack H8.
    #[test]
    fn no_text_forges_an_event(
        id in prop::option::of("[a-z:\r\n\0]{0,8}"),
        event in prop::option::of("[a-z:\r\n\0]{0,8}"),
        data in "[ad:\r\n\0\u{feff} ]{0,16}|event: x\r\n|.{0,16}",
    ) {
        let mut out = written(Event { id: id.as_deref(), event: event.as_deref(), data: &data });
        written(Event { id: None, event: None, data: "next" }).chars().for_each(|character| out.push(character));
        let (heard, retry) = parse(&out);
        prop_assert_eq!(retry, None);
        prop_assert_eq!(heard.len(), 2);
        prop_assert_eq!(&heard[0].data, &data.replace("\r\n", "\n").replace('\r', "\n"));
        prop_assert_eq!(&heard[1].data, "next");
        prop_assert_eq!(&heard[1].event, "message");
        let one_line = |text: String| text.replace(['\r', '\n', '\0'], " ");
        let without_space = |text: String| text.strip_prefix(' ').unwrap_or(&text).to_owned();
        // The one space that a parser takes away is ours.
        prop_assert_eq!(&heard[0].id, &id.map(one_line).unwrap_or_default());
        let event = event.map(one_line).filter(|event| !event.is_empty()).unwrap_or("message".into());
        prop_assert_eq!(without_space(format!(" {}", heard[0].event)), event);
    }

    #[test]
    fn positions_read_back(
        known in prop::collection::vec(prop::option::of((any::<u128>(), any::<u64>())), 1..=MAX_CHANNELS),
    ) {
        let mut positions = Positions::new(known.len());
        for (channel, position) in known.iter().enumerate() {
            if let Some((epoch, offset)) = *position {
                positions.set(channel, Position { epoch, offset });
            }
        }
        prop_assert_eq!(Positions::parse(&positions.to_string(), known.len()), Ok(positions));
    }
}
