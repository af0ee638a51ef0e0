//! Pings that were sent, and how long their pongs took.
use std::{collections::VecDeque, time::Duration};

use sockeye::ControlPayload;
use tokio::time::Instant;

/// Pings whose pongs are waited for; the oldest are given up.
const WAITING: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Pings {
    sent: u64,
    waiting: VecDeque<(ControlPayload, Instant)>,
}

impl Pings {
    /// The payload of the next ping that was given none: its number, so that each pong tells which it answers.
    pub(super) fn number(&mut self) -> String {
        self.sent += 1;
        self.sent.to_string()
    }

    pub(super) fn sent(&mut self, payload: ControlPayload, now: Instant) {
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((payload, now));
    }

    /// The round trip of the ping this pong answers; `None` if nobody asked. A peer may answer only the newest of several
    /// (RFC 6455 section 5.5.3), so older ones are settled with it.
    pub(super) fn answered(&mut self, pong: &ControlPayload, now: Instant) -> Option<Duration> {
        let at = self.waiting.iter().position(|(payload, _)| payload.as_bytes() == pong.as_bytes())?;
        self.waiting.drain(..=at).next_back().map(|(_, sent)| now.duration_since(sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(text: &str) -> ControlPayload {
        ControlPayload::try_from(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_pong_settles_its_ping_and_those_before() {
        let start = Instant::now();
        let mut pings = Pings::default();
        for (second, name) in ["a", "b", "c"].into_iter().enumerate() {
            pings.sent(payload(name), start + Duration::from_secs(second as u64));
        }
        let now = start + Duration::from_secs(3);
        assert_eq!(pings.answered(&payload("z"), now), None);
        assert_eq!(pings.answered(&payload("b"), now), Some(Duration::from_secs(2)));
        assert_eq!(pings.answered(&payload("a"), now), None);
        assert_eq!(pings.answered(&payload("c"), now), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_peer_that_never_answers_costs_a_bounded_amount() {
        let mut pings = Pings::default();
        for _ in 0..1_000 {
            let number = pings.number();
            pings.sent(payload(&number), Instant::now());
        }
        assert_eq!(pings.waiting.len(), WAITING);
    }
}
