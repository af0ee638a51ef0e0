//! The durable store: what it keeps, what it refuses, what it survives.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod faults;
mod harness;
mod kill;
mod limits;
mod round_trip;
