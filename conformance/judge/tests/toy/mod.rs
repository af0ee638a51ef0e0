//! A reference system in the small: a hub, its clients, and what can happen to them, by the seed.

pub mod bug;
pub mod dice;
pub mod hub;
mod reading;
pub mod world;
