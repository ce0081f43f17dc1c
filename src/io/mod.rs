//! The world: sockets, files, names, the clock, the admin socket. Everything else is told what happens here.
//!
//! [`run`](run::run) starts one task for each account ([`account`]) and one for each room ([`room`]). A task waits for
//! whatever comes first, feeds it to its machine, and carries out what the machine asks for.

pub mod account;
pub mod admin;
pub mod files;
pub mod flow;
pub mod group;
pub mod log;
pub mod ports;
pub mod resolve;
pub mod room;
pub mod run;
pub mod store;
pub mod tls;

use crate::units::{Random, WallClock};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use std::time::{Instant, SystemTime};

/// The monotonic clock, read nowhere else.
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock beside the monotonic one.
pub fn wall_clock() -> WallClock {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallClock { at: now(), since_1970 }
}

/// The system's random source.
#[derive(Clone, Debug, Default)]
pub struct SystemRandomness(SystemRandom);

impl Random for SystemRandomness {
    fn fill(&mut self, out: &mut [u8]) {
        if self.0.fill(out).is_err() {
            // without randomness no key, no tag and no branch is safe; nothing sensible can be done after this
            tracing::error!("the system's random source failed; stopping at once");
            std::process::abort();
        }
    }
}
