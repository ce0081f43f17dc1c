//! The small values that every station shares: numbers that must not be mixed up, and injected randomness.
//!
//! Nothing here knows a protocol. Time is `std::time::Instant`, always passed in as `now`.

mod date;

pub use date::Date;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The gateway's own number of a call: counts up from 1 and is never used again while the program runs.
/// People see it (`☎ Alice #3`), and every proof of `policy` is bound to one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallNumber(pub u32);

impl fmt::Display for CallNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Gives out call numbers, to all accounts from the same row.
#[derive(Clone, Debug, Default)]
pub struct CallNumbers(Arc<AtomicU32>);

impl CallNumbers {
    /// The next number: 1, 2, 3, …
    pub fn next_number(&self) -> CallNumber {
        CallNumber(self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }
}

/// A synchronisation source (RFC 3550 §5.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

impl fmt::Debug for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Samples per second of a sound.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SampleRate {
    /// 8 kHz: G.711.
    Hz8000,
    /// 48 kHz: Opus.
    Hz48000,
}

impl SampleRate {
    /// The rate in hertz.
    pub const fn hz(self) -> u32 {
        match self {
            SampleRate::Hz8000 => 8_000,
            SampleRate::Hz48000 => 48_000,
        }
    }

    /// Samples in the gateway's 20 ms frame.
    pub const fn frame(self) -> usize {
        (self.hz() / 50) as usize
    }
}

/// Unfolds a 16-bit sequence number next to the newest one seen (RFC 3550 A.1, RFC 3711 §3.3.1):
/// of all numbers congruent to `seq` the one nearest to `newest`, never below 0.
pub fn unfold_sequence(newest: u64, seq: u16) -> u64 {
    let delta = seq.wrapping_sub(newest as u16) as i16;
    match newest.checked_add_signed(i64::from(delta)) {
        Some(index) => index,
        None => u64::from(seq),
    }
}

/// Ties the monotonic clock to the wall clock, so that sender reports can carry NTP time without a clock being read.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    /// A moment …
    pub at: Instant,
    /// … and the time since 1970 at that moment.
    pub since_1970: Duration,
}

impl WallClock {
    /// `now` in whole seconds since 1970.
    pub fn unix(self, now: Instant) -> UnixTime {
        UnixTime((self.since_1970 + now.saturating_duration_since(self.at)).as_secs())
    }

    /// The day of `now`, in UTC.
    pub fn day(self, now: Instant) -> Date {
        Date::from_unix_days(u32::try_from(self.unix(now).0 / 86_400).unwrap_or(u32::MAX))
    }

    /// `now` in NTP's 32.32 bits since 1900 (RFC 3550 §4).
    pub fn ntp(self, now: Instant) -> u64 {
        const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
        let time = self.since_1970 + now.saturating_duration_since(self.at);
        let seconds = (time.as_secs() + SECONDS_1900_TO_1970) & 0xffff_ffff;
        (seconds << 32) | ((u64::from(time.subsec_nanos()) << 32) / 1_000_000_000)
    }
}

/// Seconds since 1970, UTC: for what outlives the program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// So many seconds later.
    pub fn later(self, seconds: u32) -> UnixTime {
        UnixTime(self.0.saturating_add(seconds.into()))
    }
}

/// Where random bytes come from. Injected, so that a whole call can be replayed in a test.
pub trait Random: Send {
    /// Fills `out` with bytes that nobody can guess (in production).
    fn fill(&mut self, out: &mut [u8]);
}

/// `bytes` random bytes as lower-case hexadecimal digits: tags, branches, Call-IDs, nonces.
pub fn random_hex(random: &mut dyn Random, bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    random.fill(&mut buffer);
    buffer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_unfold_to_the_nearest_index() {
        assert_eq!(unfold_sequence(65_535, 0), 65_536);
        assert_eq!(unfold_sequence(65_536, 65_535), 65_535);
        assert_eq!(unfold_sequence(0, 65_535), 65_535, "never below zero");
        assert_eq!(unfold_sequence(3 * 65_536 + 7, 9), 3 * 65_536 + 9);
    }
}
