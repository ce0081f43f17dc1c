//! The world: sockets, files, names, the clock, the admin socket. Everything else is told what happens here.
//!
//! [`run`](run::run) starts one task for each account ([`account`]) and one for each room ([`room`]). A task waits for
//! whatever comes first, feeds it to its machine, and carries out what the machine asks for.

pub mod account;
pub mod admin;
pub mod audit;
pub mod dns;
pub mod files;
pub mod flow;
pub mod group;
pub mod log;
pub mod peers;
pub mod ports;
pub mod room;
pub mod run;
pub mod store;
mod tcp;
pub mod tls;
pub mod trial;

use crate::config::Date;
use crate::units::{Random, UnixTime, WallClock};
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

/// The wall clock in whole seconds.
pub fn unix_time() -> UnixTime {
    let wall_clock = wall_clock();
    wall_clock.unix(wall_clock.at)
}

/// `2026-11-25T09:15:00Z` (RFC 3339).
pub(crate) fn utc(time: UnixTime) -> String {
    const LAST_DAY: u64 = 2_932_896; // 9999-12-31
    let date = Date::from_unix_days((time.0 / 86_400).min(LAST_DAY) as u32);
    let seconds = time.0 % 86_400;
    format!("{date}T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_says() {
        assert_eq!(utc(UnixTime(1_795_598_107)), "2026-11-25T09:15:07Z");
        assert_eq!(utc(UnixTime(0)), "1970-01-01T00:00:00Z");
        assert!(utc(UnixTime(u64::MAX)).starts_with("9999-12-31T"), "and no time is too late");
    }
}
