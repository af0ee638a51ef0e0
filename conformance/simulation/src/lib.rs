//! A whole server of channels in one thread and virtual time: hubs of several workers, what is on its way between them, a
//! store, clients that come, go and come back, and misfortunes; all of it drawn from one seed. What the clients see goes to
//! `sockeye-judge`.
//!
//! ```text
//! clients ── commands ──▶ hubs ⇄ hubs (asks and tells, each in order, taking turns at random)
//!    ▲                     │  └──▶ store (carries out late, fails, survives what the hubs do not)
//!    └──── outboxes ◀──────┘
//! ```
//!
//! One [`Simulation::step`] is one thing that happens: a client does something, one message moves one hop, the store carries
//! out one request, a connection breaks, the server is killed. Which, chance says; so every order in which things can happen
//! will, sooner or later, and [`run`] with the same seed is the same history to the byte.
//!
//! A bug is put in where parts meet ([`Bug`], behind the feature `seeded-bugs`), so that the hub's own code has no trace of it.

mod bugs;
mod client;
mod server;
mod simulation;
mod store;

pub use bugs::Bug;
pub use simulation::{Outcome, Simulation, run, run_writing};
