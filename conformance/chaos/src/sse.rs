//! Server-sent events, as the HTML standard has them read.

/// Reads a stream of events, piece by piece.
#[derive(Default)]
pub(crate) struct Parser {
    pending: Vec<u8>,
    event: Event,
    /// As an `EventSource` keeps it.
    last_id: String,
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
    /// What a client that has got this event says when it comes back.
    pub(crate) last_id: String,
}

impl Parser {
    /// What these bytes complete. Lines end with LF here; a CR would be a part of the data, and so be noticed.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.pending.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut read = 0;
        while let Some(length) = self.pending[read..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.pending[read..read + length]).into_owned();
            read += length + 1;
            events.extend(self.line(&line));
        }
        self.pending.drain(..read);
        events
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let mut event = std::mem::take(&mut self.event);
            event.last_id.clone_from(&self.last_id);
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => value.clone_into(&mut self.last_id),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Parser};

    #[test]
    fn events_are_the_same_wherever_they_are_torn() {
        let text = "retry: 2000\n\n: open\n\nid: a:1\ndata: {\ndata: }\n\nevent: lost\ndata:x\n\nid: a:2\ndata: half";
        let event = |name: &str, data: &str| Event { name: name.into(), data: data.into(), last_id: "a:1".into() };
        for at in 0..=text.len() {
            let mut parser = Parser::default();
            let mut events = parser.feed(&text.as_bytes()[..at]);
            events.extend(parser.feed(&text.as_bytes()[at..]));
            assert_eq!(events, [event("", "{\n}"), event("lost", "x")], "torn at {at}");
        }
    }
}
