//! Whole calls and registrations between agents in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod calls;
mod challenges;
mod flows;
mod refusals;
mod registering;
mod renegotiating;
mod storms;
mod world;
