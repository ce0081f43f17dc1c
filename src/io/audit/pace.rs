//! How often an audit may knock at one address: at most ten connections a second, and at most eighty in all.
//!
//! Shared by every probe of that address, however many run at once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The most connections to one address.
pub const MOST: u32 = 80;
/// The time between two connections: a little more than a tenth of a second, so that no second has more than ten of them.
const INTERVAL: Duration = Duration::from_millis(105);

/// The connections to one address.
pub struct Pace {
    state: Mutex<State>,
    most: u32,
}

struct State {
    used: u32,
    /// When the next one may come.
    next: Option<Instant>,
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
        Pace { state: Mutex::new(State { used: 0, next: None }), most }
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
        let start = state.next.map_or(now, |next| next.max(now));
        state.next = Some(start + INTERVAL);
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn no_second_has_more_than_ten_however_long_the_rest_before_it() {
        let (pace, start) = (Pace::default(), Instant::now());
        let times = |from: Instant| (0..25).map(|_| pace.book(from).unwrap()).collect::<Vec<_>>();
        for times in [times(start), times(start + Duration::from_secs(10))] {
            assert!(times.windows(11).all(|eleven| eleven[10] - eleven[0] > Duration::from_secs(1)), "{times:?}");
            assert!(times[24] - times[0] < Duration::from_secs(3), "{times:?}");
        }
    }

    #[tokio::test]
    async fn the_last_turn_is_the_last() {
        let pace = Pace::new(2);
        assert_eq!((pace.turn().await, pace.turn().await, pace.turn().await), (Ok(()), Ok(()), Err(TooMany(2))));
        assert_eq!(pace.used(), 2);
    }
}
