//! What the machine says to the server, and in which order: who it is, which channels it wants, then what the program
//! asks.
use std::{mem, time::Instant};

use super::{Ask, Link, Machine, Output, Timer, after, channel::Phase};
use crate::wire;

impl Machine {
    /// What the driver is to do next, asked until it is nothing. It is to send something only if it can.
    pub(crate) fn poll_output(&mut self, can_send: bool, now: Instant) -> Option<Output> {
        if let Some(urgent) = self.urgent.take() {
            return Some(urgent);
        }
        match self.link {
            _ if !can_send => None,
            Link::Fresh => {
                self.link = Link::Greeting;
                let token = self.token.value.as_deref();
                let connect = wire::Connect { connect: wire::ConnectOptions { token, client: CLIENT } };
                let body = wire::body(&connect).ok()?;
                Some(self.ask(Ask::Connect, &body, now))
            }
            Link::Open => {
                let command = self.refresh_command(now).or_else(|| self.channel_command(now));
                command.or_else(|| self.requests.next(&self.limits).map(Output::Send))
            }
            Link::Down | Link::Greeting | Link::Leaving { .. } => None,
        }
    }

    fn refresh_command(&mut self, now: Instant) -> Option<Output> {
        if !mem::take(&mut self.token.is_due) {
            return None;
        }
        let token = self.token.value.as_deref()?;
        let body = wire::body(&wire::Refresh { refresh: wire::RefreshOptions { token } }).ok()?;
        Some(self.ask(Ask::Refresh, &body, now))
    }

    /// What brings the server's subscriptions nearer to those that are wanted.
    fn channel_command(&mut self, now: Instant) -> Option<Output> {
        while let Some(name) = self.dirty.first().cloned() {
            let serial = self.names.get(&name).copied();
            let channel = serial.and_then(|serial| self.channels.get(&serial));
            let is_told = channel.is_some_and(|channel| matches!(channel.phase, Phase::Asked { .. } | Phase::Live));
            if !is_told && self.held.remove(&name) {
                let body = wire::body(&wire::Unsubscribe { unsubscribe: &name }).ok()?;
                let left = self.leaving.remove(&name).unwrap_or_default();
                return Some(self.ask(Ask::Unsubscribe(left), &body, now));
            }
            self.dirty.pop_first();
            let (Some(serial), Some(channel)) = (serial, channel) else { continue };
            if channel.phase == Phase::Wanted {
                let body = channel.command().ok()?;
                self.held.insert(name);
                let id = self.next_id;
                if let Some(channel) = self.channels.get_mut(&serial) {
                    channel.phase = Phase::Asked { id };
                }
                return Some(self.ask(Ask::Subscribe(serial), &body, now));
            }
        }
        None
    }

    fn ask(&mut self, ask: Ask, body: &str, now: Instant) -> Output {
        let id = self.id();
        self.asks.insert(id, ask);
        self.timers.set(Timer::Ask(id), after(now, self.limits.request_timeout));
        Output::Send(wire::with_id(id, body))
    }
}

/// What this client calls itself.
const CLIENT: &str = concat!("rust/", env!("CARGO_PKG_VERSION"));
