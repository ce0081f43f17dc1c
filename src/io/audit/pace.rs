//! How often an audit may knock at one address: at most ten connections a second, and at most eighty in all.
//!
//! Shared by every probe of that address, however many run at once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The most connections to one address.
pub const MOST: u32 = 80;
/// The time between two connections, on average.
const INTERVAL: Duration = Duration::from_millis(100);
/// How many may come at once.
const BURST: u32 = 3;

/// The connections to one address.
pub struct Pace {
    state: Mutex<State>,
    most: u32,
}

struct State {
    used: u32,
    /// When the connections so far would be done, one an interval.
    paid_until: Option<Instant>,
}

/// There were too many connections already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the audit opens at most {0} connections to one address")]
pub struct TooMany(u32);

impl Default for Pace {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl Pace {
    /// At most so many connections in all.
    pub fn new(most: u32) -> Self {
        Pace { state: Mutex::new(State { used: 0, paid_until: None }), most }
    }

    /// Waits until one more connection may be opened, and counts it.
    ///
    /// # Errors
    /// When there were too many.
    pub async fn turn(&self) -> Result<(), TooMany> {
        let start = self.book(Instant::now())?;
        tokio::time::sleep_until(start).await;
        Ok(())
    }

    /// How many were opened.
    pub fn used(&self) -> u32 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used
    }

    /// When the next connection may be opened.
    fn book(&self, now: Instant) -> Result<Instant, TooMany> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.used >= self.most {
            return Err(TooMany(self.most));
        }
        state.used += 1;
        let paid_until = state.paid_until.map_or(now, |until| until.max(now));
        state.paid_until = Some(paid_until + INTERVAL);
        Ok(paid_until.checked_sub(INTERVAL * (BURST - 1)).map_or(now, |start| start.max(now)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn three_at_once_then_ten_a_second() {
        let (pace, start) = (Pace::default(), Instant::now());
        let wait = |now: Instant| (pace.book(now).unwrap() - now).as_millis();
        let times: Vec<u128> = (0..23).map(|_| wait(start)).collect();
        assert_eq!(times[..5], [0, 0, 0, 100, 200]);
        assert_eq!(times[22], 2000);
        let rested = start + Duration::from_secs(10);
        let times: Vec<u128> = (0..4).map(|_| wait(rested)).collect();
        assert_eq!(times, [0, 0, 0, 100], "a rest earns one burst and no more");
    }

    #[tokio::test]
    async fn the_last_turn_is_the_last() {
        let pace = Pace::new(2);
        assert_eq!((pace.turn().await, pace.turn().await, pace.turn().await), (Ok(()), Ok(()), Err(TooMany(2))));
        assert_eq!(pace.used(), 2);
    }
}
